import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/** A consumer that polls in a thread until it is told to stop; commits what it processed on revocation and at its end. */
final class Member implements ConsumerRebalanceListener {
    final String name;
    final ConcurrentLinkedQueue<Integer> processed = new ConcurrentLinkedQueue<>();
    volatile Set<TopicPartition> owned = Set.of();
    volatile int revocations;
    volatile int generation;
    volatile Exception error;
    private final Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>();
    private final Consumer<byte[], byte[]> consumer;
    private final Thread thread;
    private volatile boolean stopping;

    Member(Context context, String topic, String name, Map<String, ?> settings) {
        this.name = name;
        Map<String, Object> all = new HashMap<>(settings);
        all.put("client.id", context.name(name));
        consumer = context.consumer(all);
        consumer.subscribe(List.of(topic), this);
        thread = new Thread(this::run, name);
        thread.setDaemon(true);
        thread.start();
    }

    void stop() throws InterruptedException {
        stopping = true;
        thread.join(30_000);
        Context.check(!thread.isAlive(), "member " + name + " does not close within 30 s");
    }

    private void run() {
        try (consumer) {
            while (!stopping) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(java.time.Duration.ofMillis(100))) {
                    processed.add(Integer.parseInt(Context.text(record.value())));
                    next.put(new TopicPartition(record.topic(), record.partition()), new OffsetAndMetadata(record.offset() + 1));
                }
                owned = Set.copyOf(consumer.assignment());
                generation = consumer.groupMetadata().generationId();
            }
            commit(new ArrayList<>(owned));
        } catch (Exception thrown) {
            error = thrown;
        } finally {
            owned = Set.of();
        }
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        next.keySet().removeAll(partitions);
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        if (!partitions.isEmpty() && !stopping) {
            revocations++;
        }
        commit(partitions);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        next.keySet().removeAll(partitions);
    }

    private void commit(Collection<TopicPartition> partitions) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (TopicPartition partition : partitions) {
            OffsetAndMetadata offset = next.remove(partition);
            if (offset != null) {
                offsets.put(partition, offset);
            }
        }
        if (!offsets.isEmpty()) {
            consumer.commitSync(offsets);
        }
    }
}

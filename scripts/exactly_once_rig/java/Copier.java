import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Members of a group that copy what they read, with its offsets, in transactions, every fourth of which is aborted on
 * purpose and its records marked. A copy has the place of the original as its key. */
final class Copier implements Runnable {
    private static final int ABORT_EVERY = 4;
    private static final Duration POLL = Duration.ofMillis(100);

    private final String bootstrap;
    private final String name;
    private int transactions;

    private Copier(String bootstrap, String name) {
        this.bootstrap = bootstrap;
        this.name = name;
    }

    static void run(String bootstrap, int members) throws InterruptedException {
        List<Thread> threads = new ArrayList<>();
        for (int member = 0; member < members; member++) {
            Thread thread = new Thread(new Copier(bootstrap, "copier-" + member));
            thread.setUncaughtExceptionHandler((where, error) -> {
                error.printStackTrace();
                System.exit(1);
            });
            threads.add(thread);
            thread.start();
        }
        for (Thread thread : threads) {
            thread.join();
        }
    }

    @Override
    public void run() {
        try (Consumer<String, String> consumer = consumer(); Transactions output = new Transactions(bootstrap, name)) {
            consumer.subscribe(List.of("sentences"));
            while (!Main.isEnded()) {
                ConsumerRecords<String, String> records = consumer.poll(POLL);
                if (!records.isEmpty()) {
                    copy(consumer, output, records);
                }
            }
        }
    }

    private void copy(Consumer<String, String> consumer, Transactions output, ConsumerRecords<String, String> records) {
        transactions++;
        boolean abort = transactions % ABORT_EVERY == 0;
        Transactions.Outcome outcome = output.run(abort, producer -> {
            for (ConsumerRecord<String, String> record : records) {
                String place = record.partition() + "-" + record.offset();
                String value = abort ? record.value() + " aborted" : record.value();
                producer.send(new ProducerRecord<>("copies", record.partition(), place, value));
            }
            producer.sendOffsetsToTransaction(ends(records), consumer.groupMetadata());
        });
        Main.say("copied " + outcome + " " + records.count());
        if (outcome != Transactions.Outcome.COMMITTED) {
            rewind(consumer);
        }
    }

    private static Map<TopicPartition, OffsetAndMetadata> ends(ConsumerRecords<String, String> records) {
        return new HashMap<>(records.nextOffsets());
    }

    /** Go back to what is committed, as the transaction that would have moved it was not. */
    private void rewind(Consumer<String, String> consumer) {
        while (true) {
            try {
                Set<TopicPartition> assigned = consumer.assignment();
                Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(assigned);
                for (TopicPartition partition : assigned) {
                    OffsetAndMetadata offset = committed.get(partition);
                    consumer.seek(partition, offset == null ? 0 : offset.offset());
                }
                return;
            } catch (KafkaException error) {
                Main.say("error " + name + " while rewinding: " + Transactions.oneLine(error));
            }
        }
    }

    private Consumer<String, String> consumer() {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("client.id", name);
        settings.put("group.id", "copier");
        settings.put("isolation.level", "read_committed");
        settings.put("enable.auto.commit", false);
        settings.put("auto.offset.reset", "earliest");
        settings.put("key.deserializer", StringDeserializer.class);
        settings.put("value.deserializer", StringDeserializer.class);
        return new KafkaConsumer<>(settings);
    }
}

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Reads what is committed in some topics, from the beginning, until it is told to end, or once to the ends.
 *
 * A record is printed as `record`, topic, partition, offset, key and value with tabs between. Reading once, it prints
 * `end`, topic, partition, last stable offset and high watermark of each partition first. */
final class Reader {
    private final String bootstrap;
    private final String[] topics;
    private final boolean once;

    Reader(String bootstrap, String[] topics, boolean once) {
        this.bootstrap = bootstrap;
        this.topics = topics;
        this.once = once;
    }

    void run() {
        try (Consumer<String, String> consumer = consumer("read_committed")) {
            List<TopicPartition> partitions = partitions(consumer);
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = once ? ends(consumer, partitions) : Map.of();
            while (once ? !isAt(consumer, ends) : !Main.isEnded()) {
                for (ConsumerRecord<String, String> record : consumer.poll(Duration.ofMillis(200))) {
                    say("record", record.topic(), record.partition(), record.offset(), record.key(), record.value());
                }
            }
        }
    }

    private List<TopicPartition> partitions(Consumer<String, String> consumer) {
        List<TopicPartition> partitions = new ArrayList<>();
        for (String topic : topics) {
            consumer.partitionsFor(topic).forEach(each -> partitions.add(new TopicPartition(topic, each.partition())));
        }
        return partitions;
    }

    private Map<TopicPartition, Long> ends(Consumer<String, String> consumer, List<TopicPartition> partitions) {
        Map<TopicPartition, Long> stable = consumer.endOffsets(partitions);
        try (Consumer<String, String> everything = consumer("read_uncommitted")) {
            Map<TopicPartition, Long> all = everything.endOffsets(partitions);
            stable.forEach((partition, end) -> say("end", partition.topic(), partition.partition(), end, all.get(partition)));
        }
        return stable;
    }

    private static boolean isAt(Consumer<String, String> consumer, Map<TopicPartition, Long> ends) {
        return ends.entrySet().stream().allMatch(end -> consumer.position(end.getKey()) >= end.getValue());
    }

    private static void say(Object... fields) {
        StringBuilder line = new StringBuilder();
        for (Object field : fields) {
            line.append(line.length() == 0 ? "" : "\t").append(field == null ? "" : field);
        }
        Main.say(line.toString());
    }

    private Consumer<String, String> consumer(String isolation) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("client.id", "reader-" + isolation);
        settings.put("isolation.level", isolation);
        settings.put("auto.offset.reset", "none");
        settings.put("key.deserializer", StringDeserializer.class);
        settings.put("value.deserializer", StringDeserializer.class);
        return new KafkaConsumer<>(settings);
    }
}

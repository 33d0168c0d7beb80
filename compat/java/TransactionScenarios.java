import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ProducerFencedException;

/** Producing in transactions, and reading what was committed. */
final class TransactionScenarios {
    private static final int ROUND = 20;

    private TransactionScenarios() {}

    static void addTo(Map<String, Main.Scenario> scenarios) {
        scenarios.put("transactions", TransactionScenarios::transactions);
        scenarios.put("transactional_offsets", TransactionScenarios::transactionalOffsets);
    }

    private static void transactions(Context context) throws Exception {
        String topic = context.name();
        context.createTopic(topic, 2);
        try (Producer<byte[], byte[]> first = producer(context)) {
            for (int number = 0; number < 3; number++) {
                first.beginTransaction();
                send(first, topic, "" + number);
                if (number == 1) {
                    first.abortTransaction();
                } else {
                    first.commitTransaction();
                }
            }
            first.beginTransaction();
            send(first, topic, "open");
            try (Consumer<byte[], byte[]> consumer = reader(context, topic, "read_committed")) {
                List<String> committed = new ArrayList<>(expected("0"));
                committed.addAll(expected("2"));
                Context.equal(values(context.read(consumer, 2 * ROUND)), committed, "committed records");
                context.readNothing(consumer, "after the committed records");
                try (Consumer<byte[], byte[]> everything = reader(context, topic, "read_uncommitted")) {
                    List<String> all = values(context.read(everything, 4 * ROUND));
                    Context.check(all.contains("1-0") && all.contains("open-0"), "read_uncommitted does not see all");
                }
                try (Producer<byte[], byte[]> second = producer(context)) {
                    second.beginTransaction();
                    send(second, topic, "3");
                    try {
                        first.commitTransaction();
                        throw new AssertionError("the first producer is not fenced");
                    } catch (ProducerFencedException fenced) {
                        // as it has to be
                    }
                    second.commitTransaction();
                    Context.equal(values(context.read(consumer, ROUND)), expected("3"), "records of the second producer");
                    context.readNothing(consumer, "after the records of the second producer");
                }
            }
        }
    }

    private static void transactionalOffsets(Context context) throws Exception {
        String source = context.name("source");
        String sink = context.name("sink");
        context.createTopic(source, 1);
        context.createTopic(sink, 2);
        context.produceNumbers(source, ROUND);
        TopicPartition partition = new TopicPartition(source, 0);
        try (Consumer<byte[], byte[]> consumer = context.consumer(Map.of("group.id", context.name("group")));
             Producer<byte[], byte[]> producer = producer(context)) {
            consumer.subscribe(List.of(source));
            context.read(consumer, ROUND);
            for (String text : List.of("0", "1")) {
                producer.beginTransaction();
                send(producer, sink, text);
                producer.sendOffsetsToTransaction(Map.of(partition, new OffsetAndMetadata(ROUND)), consumer.groupMetadata());
                if (text.equals("0")) {
                    producer.abortTransaction();
                } else {
                    producer.commitTransaction();
                }
                OffsetAndMetadata committed = consumer.committed(Set.of(partition)).get(partition);
                Long offset = committed == null ? null : committed.offset();
                Context.equal(offset, text.equals("0") ? null : (long) ROUND, "committed offset");
            }
        }
        try (Consumer<byte[], byte[]> consumer = reader(context, sink, "read_committed")) {
            Context.equal(values(context.read(consumer, ROUND)), expected("1"), "records of the transaction that committed");
            context.readNothing(consumer, "after the records of the transaction that committed");
        }
    }

    private static Producer<byte[], byte[]> producer(Context context) {
        Producer<byte[], byte[]> producer = context.producer(Map.of("transactional.id", context.name("id")));
        producer.initTransactions();
        return producer;
    }

    private static void send(Producer<byte[], byte[]> producer, String topic, String text) {
        for (int index = 0; index < ROUND; index++) {
            producer.send(new ProducerRecord<>(topic, index % 2, null, Context.bytes(text + "-" + index)));
        }
        producer.flush();
    }

    private static Consumer<byte[], byte[]> reader(Context context, String topic, String isolation) {
        Consumer<byte[], byte[]> consumer = context.consumer(Map.of("isolation.level", isolation));
        List<TopicPartition> partitions = List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1));
        consumer.assign(partitions);
        consumer.seekToBeginning(partitions);
        return consumer;
    }

    /** The values of a round, those of partition 0 first. */
    private static List<String> expected(String text) {
        List<String> values = new ArrayList<>();
        for (int partition = 0; partition < 2; partition++) {
            for (int index = partition; index < ROUND; index += 2) {
                values.add(text + "-" + index);
            }
        }
        return values;
    }

    /** The values, round by round as they were written, those of partition 0 first. */
    private static List<String> values(List<ConsumerRecord<byte[], byte[]>> records) {
        Map<String, List<String>> rounds = new TreeMap<>();
        for (int partition = 0; partition < 2; partition++) {
            for (ConsumerRecord<byte[], byte[]> record : records) {
                if (record.partition() == partition) {
                    String value = Context.text(record.value());
                    rounds.computeIfAbsent(value.split("-")[0], key -> new ArrayList<>()).add(value);
                }
            }
        }
        List<String> values = new ArrayList<>();
        rounds.values().forEach(values::addAll);
        return values;
    }
}

import static java.util.stream.Collectors.toMap;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.header.Header;

/** Producing and consuming. */
final class RecordScenarios {
    private RecordScenarios() {}

    static void addTo(Map<String, Main.Scenario> scenarios) {
        scenarios.put("produce_consume", RecordScenarios::produceConsume);
        scenarios.put("compression", RecordScenarios::compression);
        scenarios.put("cross_compression", RecordScenarios::crossCompression);
        scenarios.put("acks", RecordScenarios::acks);
        scenarios.put("idempotent", RecordScenarios::idempotent);
        scenarios.put("large_messages", RecordScenarios::largeMessages);
        scenarios.put("auto_create", RecordScenarios::autoCreate);
    }

    private static void produceConsume(Context context) throws Exception {
        String topic = context.name();
        context.createTopic(topic, 4);
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int index = 0; index < 1000; index++) {
            records.add(record(topic, index));
        }
        List<RecordMetadata> acknowledged = context.produce(Map.of(), records);
        List<TopicPartition> partitions = IntStream.range(0, 4).mapToObj(each -> new TopicPartition(topic, each)).toList();
        List<ConsumerRecord<byte[], byte[]>> read = context.readFromStart(partitions, 1000);
        Map<Integer, List<Long>> offsets = new HashMap<>();
        read.forEach(each -> offsets.computeIfAbsent(each.partition(), key -> new ArrayList<>()).add(each.offset()));
        for (int partition = 0; partition < 4; partition++) {
            Context.equal(offsets.get(partition), Context.range(0, 250), "offsets read from partition " + partition);
        }
        Map<List<Long>, ConsumerRecord<byte[], byte[]>> byPlace =
            read.stream().collect(toMap(each -> List.of((long) each.partition(), each.offset()), each -> each));
        for (int index = 0; index < 1000; index++) {
            RecordMetadata place = acknowledged.get(index);
            Context.equal(place.partition(), index % 4, "partition acknowledged for record " + index);
            compare(byPlace.get(List.of((long) place.partition(), place.offset())), records.get(index), index);
        }
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, int index) {
        byte[] key = index % 10 == 3 ? null : Context.bytes("key-" + index);
        byte[] value = index % 10 == 7 ? null : Context.bytes("value-" + index + "x".repeat(index));
        ProducerRecord<byte[], byte[]> record =
            new ProducerRecord<>(topic, index % 4, Context.BASE_TIMESTAMP + index, key, value);
        record.headers().add("index", Context.bytes("" + index)).add("empty", new byte[0]).add("none", null)
            .add("index", Context.bytes("again"));
        return record;
    }

    private static void compare(ConsumerRecord<byte[], byte[]> read, ProducerRecord<byte[], byte[]> sent, int index) {
        Context.equal(Context.text(read.key()), Context.text(sent.key()), "key of record " + index);
        Context.equal(Context.text(read.value()), Context.text(sent.value()), "value of record " + index);
        Context.equal(read.timestamp(), sent.timestamp(), "timestamp of record " + index);
        Context.equal(headers(read.headers()), headers(sent.headers()), "headers of record " + index);
    }

    private static List<String> headers(Iterable<Header> headers) {
        List<String> all = new ArrayList<>();
        headers.forEach(each -> all.add(each.key() + "=" + Context.text(each.value())));
        return all;
    }

    private static void compression(Context context) throws Exception {
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            String topic = context.name(codec);
            context.createTopic(topic, 1);
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (int index = 0; index < 200; index++) {
                records.add(new ProducerRecord<>(topic, 0, Context.bytes(standardKey(index)), Context.bytes(standardValue(index))));
            }
            context.produce(Map.of("compression.type", codec, "linger.ms", 50), records);
            checkStandardRecords(context, topic);
        }
    }

    private static void crossCompression(Context context) {
        Context.check(!context.topics.isEmpty(), "no topics were given");
        for (String topic : context.topics) {
            checkStandardRecords(context, topic);
        }
    }

    private static void checkStandardRecords(Context context, String topic) {
        try {
            List<ConsumerRecord<byte[], byte[]>> read = context.readFromStart(List.of(new TopicPartition(topic, 0)), 200);
            for (int index = 0; index < 200; index++) {
                Context.equal(Context.text(read.get(index).key()), standardKey(index), "key at " + index);
                Context.equal(Context.text(read.get(index).value()), standardValue(index), "value at " + index);
            }
        } catch (AssertionError | RuntimeException error) {
            throw new AssertionError(topic + ": " + error.getMessage(), error);
        }
    }

    private static String standardKey(int index) {
        return String.format("key-%04d", index);
    }

    private static String standardValue(int index) {
        return String.format("value-%04d-", index) + "abcdefghij".repeat(20);
    }

    private static void acks(Context context) throws Exception {
        for (String setting : List.of("0", "1", "all")) {
            String topic = context.name(setting);
            context.createTopic(topic, 1);
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (int index = 0; index < 100; index++) {
                records.add(new ProducerRecord<>(topic, 0, null, Context.bytes("" + index)));
            }
            Map<String, ?> settings = Map.of("acks", setting, "enable.idempotence", false);
            List<Long> acknowledged = context.produce(settings, records).stream().map(RecordMetadata::offset).toList();
            if (!setting.equals("0")) {
                Context.equal(acknowledged, Context.range(0, 100), "acknowledged offsets with acks=" + setting);
            }
            List<ConsumerRecord<byte[], byte[]>> read = context.readFromStart(List.of(new TopicPartition(topic, 0)), 100);
            for (int index = 0; index < 100; index++) {
                Context.equal(Context.text(read.get(index).value()), "" + index, "record with acks=" + setting);
            }
        }
    }

    private static void idempotent(Context context) throws Exception {
        String topic = context.name();
        context.createTopic(topic, 3);
        Map<String, ?> settings = Map.of("enable.idempotence", true, "batch.size", 500, "linger.ms", 0);
        for (int half = 0; half < 1000; half += 500) {
            List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
            for (int index = half; index < half + 500; index++) {
                records.add(new ProducerRecord<>(topic, index % 3, null, Context.bytes("" + index)));
            }
            context.produce(settings, records);
        }
        List<TopicPartition> partitions = IntStream.range(0, 3).mapToObj(each -> new TopicPartition(topic, each)).toList();
        int[] next = {0, 1, 2};
        for (ConsumerRecord<byte[], byte[]> record : context.readFromStart(partitions, 1000)) {
            int partition = record.partition();
            Context.equal(Context.text(record.value()), "" + next[partition], "record of partition " + partition);
            next[partition] += 3;
        }
    }

    private static void largeMessages(Context context) throws Exception {
        String topic = context.name();
        String raised = context.name("raised");
        context.createTopic(topic, 1);
        context.createTopic(new NewTopic(raised, 1, Context.REPLICATION_FACTOR).configs(Map.of("max.message.bytes", "2000000")));
        byte[] large = Context.bytes("0123456789".repeat(90_000));
        byte[] tooLarge = Context.bytes("0123456789".repeat(150_000));
        Map<String, ?> more = Map.of("max.request.size", 2_000_000);
        context.produce(Map.of(), List.of(new ProducerRecord<>(topic, 0, null, large)));
        Context.expect(RecordTooLargeException.class, "value of 1 500 000 bytes",
            () -> context.produce(more, List.of(new ProducerRecord<>(topic, 0, null, tooLarge))));
        context.produce(more, List.of(new ProducerRecord<>(raised, 0, null, tooLarge)));
        for (Map.Entry<String, byte[]> each : Map.of(topic, large, raised, tooLarge).entrySet()) {
            try (Consumer<byte[], byte[]> consumer = context.consumer(Map.of("max.partition.fetch.bytes", 1000))) {
                consumer.assign(List.of(new TopicPartition(each.getKey(), 0)));
                byte[] value = context.read(consumer, 1).get(0).value();
                Context.check(Arrays.equals(value, each.getValue()), each.getKey() + ": the value came back changed");
            }
        }
    }

    private static void autoCreate(Context context) throws Exception {
        String topic = context.name();
        String never = context.name("never");
        context.produce(Map.of(), List.of(new ProducerRecord<>(topic, Context.bytes("hello"))));
        ConsumerRecord<byte[], byte[]> read = context.readFromStart(List.of(new TopicPartition(topic, 0)), 1).get(0);
        Context.equal(Context.text(read.value()), "hello", "value");
        int partitions = Context.get(context.admin().describeTopics(List.of(topic)).topicNameValues().get(topic)).partitions().size();
        Context.equal(partitions, 1, "number of partitions of the created topic");
        Map<String, ?> settings = Map.of("allow.auto.create.topics", false, "group.id", context.name("group"));
        try (Consumer<byte[], byte[]> consumer = context.consumer(settings)) {
            consumer.subscribe(List.of(never));
            context.readNothing(consumer, "an unknown topic");
        }
        Context.check(!context.topicNames().contains(never), "a consumer without auto-creation created its topic");
    }
}

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidSessionTimeoutException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Offsets: seeking, committing, what happens out of range. */
final class OffsetScenarios {
    private OffsetScenarios() {}

    static void addTo(Map<String, Main.Scenario> scenarios) {
        scenarios.put("seek_replay", OffsetScenarios::seekReplay);
        scenarios.put("commit_resume", OffsetScenarios::commitResume);
        scenarios.put("errors", OffsetScenarios::errors);
    }

    private static void seekReplay(Context context) throws Exception {
        String topic = context.name();
        TopicPartition partition = new TopicPartition(topic, 0);
        context.createTopic(topic, 1);
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int index = 0; index < 500; index++) {
            records.add(new ProducerRecord<>(topic, 0, Context.BASE_TIMESTAMP + 1000L * index, null, Context.bytes("" + index)));
        }
        context.produce(Map.of(), records);
        try (Consumer<byte[], byte[]> consumer = context.consumer(Map.of())) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 123);
            ConsumerRecord<byte[], byte[]> first = context.read(consumer, 1).get(0);
            Context.equal(first.offset() + "=" + Context.text(first.value()), "123=123", "first record after seek to 123");
            consumer.seekToBeginning(List.of(partition));
            Context.equal(context.read(consumer, 1).get(0).offset(), 0L, "first record after seek to the beginning");
            consumer.seekToEnd(List.of(partition));
            context.readNothing(consumer, "seek to the end");
            Context.equal(consumer.position(partition), 500L, "position after seek to the end");
            Context.equal(consumer.beginningOffsets(List.of(partition)).get(partition), 0L, "earliest offset");
            Context.equal(consumer.endOffsets(List.of(partition)).get(partition), 500L, "latest offset");
            checkTimes(consumer, partition);
            consumer.seek(partition, 0);
            Context.equal(Context.offsets(context.read(consumer, 500)), Context.range(0, 500), "replayed offsets");
        }
        long newest = Context.get(
            context.admin().listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).partitionResult(partition)).offset();
        Context.equal(newest, 499L, "offset of the largest timestamp");
    }

    private static void checkTimes(Consumer<byte[], byte[]> consumer, TopicPartition partition) {
        for (Map.Entry<Long, Long> each : Map.of(0L, 0L, 250_000L, 250L, 250_001L, 251L).entrySet()) {
            String what = each.getKey() + " ms after the first record";
            OffsetAndTimestamp found =
                consumer.offsetsForTimes(Map.of(partition, Context.BASE_TIMESTAMP + each.getKey())).get(partition);
            Context.check(found != null, "no offset for " + what);
            Context.equal(found.offset(), each.getValue(), "offset for " + what);
            Context.equal(found.timestamp(), Context.BASE_TIMESTAMP + 1000 * each.getValue(), "timestamp found for " + what);
        }
        long after = Context.BASE_TIMESTAMP + 500_000;
        Context.equal(consumer.offsetsForTimes(Map.of(partition, after)).get(partition), null, "offset for a time after the last");
    }

    private static void commitResume(Context context) throws Exception {
        String topic = context.name();
        TopicPartition partition = new TopicPartition(topic, 0);
        context.createTopic(topic, 1);
        context.produceNumbers(topic, 100);
        Map<String, ?> settings = Map.of("group.id", context.name("group"), "max.poll.records", 20);
        try (Consumer<byte[], byte[]> consumer = context.consumer(settings)) {
            consumer.subscribe(List.of(topic));
            Context.equal(Context.offsets(context.read(consumer, 40)), Context.range(0, 40), "first consumer's offsets");
            consumer.commitSync(Map.of(partition, new OffsetAndMetadata(40, "at-40")));
            checkCommitted(consumer, partition, 40, "at-40");
            Context.equal(consumer.endOffsets(List.of(partition)).get(partition) - 40, 60L, "lag");
        }
        try (Consumer<byte[], byte[]> consumer = context.consumer(settings)) {
            consumer.subscribe(List.of(topic));
            Context.equal(Context.offsets(context.read(consumer, 60)), Context.range(40, 100), "second consumer's offsets");
            consumer.commitSync();
        }
        try (Consumer<byte[], byte[]> consumer = context.consumer(settings)) {
            consumer.subscribe(List.of(topic));
            context.waitUntil("the third consumer owns the partition", () -> {
                Context.check(consumer.poll(Context.POLL).isEmpty(), "the third consumer got a record");
                return !consumer.assignment().isEmpty();
            });
            context.readNothing(consumer, "third consumer after everything was committed");
            Context.equal(consumer.position(partition), 100L, "third consumer's position");
            checkCommitted(consumer, partition, 100, "");
        }
    }

    private static void checkCommitted(Consumer<byte[], byte[]> consumer, TopicPartition partition, long offset, String metadata) {
        OffsetAndMetadata committed = consumer.committed(java.util.Set.of(partition)).get(partition);
        Context.check(committed != null, "there is no committed offset");
        Context.equal(committed.offset(), offset, "committed offset");
        Context.equal(committed.metadata(), metadata, "committed metadata");
    }

    private static void errors(Context context) throws Exception {
        String topic = context.name();
        String unknown = context.name("unknown");
        TopicPartition partition = new TopicPartition(topic, 0);
        context.createTopic(topic, 1);
        Context.expect(UnknownTopicOrPartitionException.class, "describe an unknown topic",
            () -> Context.get(context.admin().describeTopics(List.of(unknown)).topicNameValues().get(unknown)));
        Context.check(!context.topicNames().contains(unknown), "describing an unknown topic created it");
        context.produceNumbers(topic, 10);
        try (Consumer<byte[], byte[]> consumer = at1000(context, partition, "earliest")) {
            Context.equal(context.read(consumer, 1).get(0).offset(), 0L, "record after reset to earliest");
        }
        try (Consumer<byte[], byte[]> consumer = at1000(context, partition, "latest")) {
            context.readNothing(consumer, "reset to latest");
            context.produce(Map.of(), List.of(new ProducerRecord<>(topic, 0, null, Context.bytes("after"))));
            Context.equal(Context.text(context.read(consumer, 1).get(0).value()), "after", "record after reset to latest");
        }
        try (Consumer<byte[], byte[]> consumer = at1000(context, partition, "none")) {
            Context.expect(OffsetOutOfRangeException.class, "reset policy none", () -> context.read(consumer, 1));
        }
        Map<String, ?> wait = Map.of("max.block.ms", 2000);
        Context.expect(org.apache.kafka.common.errors.TimeoutException.class, "produce to partition 99",
            () -> context.produce(wait, List.of(new ProducerRecord<>(topic, 99, null, Context.bytes("x")))));
        Map<String, ?> settings = Map.of("group.id", context.name("group"), "session.timeout.ms", 3_600_000);
        try (Consumer<byte[], byte[]> consumer = context.consumer(settings)) {
            consumer.subscribe(List.of(topic));
            Context.expect(InvalidSessionTimeoutException.class, "session timeout of an hour", () -> context.read(consumer, 1));
        }
    }

    private static Consumer<byte[], byte[]> at1000(Context context, TopicPartition partition, String reset) {
        Consumer<byte[], byte[]> consumer = context.consumer(Map.of("auto.offset.reset", reset));
        consumer.assign(List.of(partition));
        consumer.seek(partition, 1000);
        return consumer;
    }
}

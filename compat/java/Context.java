import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** What one scenario is given: the cluster, names of its own, clients, its deadline, and checks. */
final class Context implements AutoCloseable {
    static final long BASE_TIMESTAMP = 1_700_000_000_000L;
    static final Duration POLL = Duration.ofMillis(200);
    static final Duration QUIET = Duration.ofSeconds(2);

    static final short REPLICATION_FACTOR =
        Short.parseShort(System.getenv().getOrDefault("COMPAT_REPLICATION_FACTOR", "1"));

    final List<String> topics;
    private final String scenario;
    private final String bootstrap;
    private final String prefix;
    private final long deadline = System.nanoTime() + Duration.ofSeconds(60).toNanos();
    private Admin admin;

    Context(String scenario, String bootstrap, String prefix, List<String> topics) {
        this.scenario = scenario;
        this.bootstrap = bootstrap;
        this.prefix = prefix;
        this.topics = topics;
    }

    @Override
    public void close() {
        if (admin != null) {
            admin.close(Duration.ofSeconds(5));
        }
    }

    /** A topic, group or client name that is unique to this run and scenario. */
    String name(String... parts) {
        StringBuilder name = new StringBuilder(prefix).append('-').append(scenario.replace('_', '-'));
        for (String part : parts) {
            name.append('-').append(part);
        }
        return name.toString();
    }

    String prefixed(String rest) {
        return prefix + "-" + rest;
    }

    private Map<String, Object> settings(Map<String, ?> more) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("client.id", name("client"));
        settings.putAll(more);
        return settings;
    }

    Admin admin() {
        if (admin == null) {
            admin = Admin.create(settings(Map.of()));
        }
        return admin;
    }

    Producer<byte[], byte[]> producer(Map<String, ?> more) {
        return new KafkaProducer<>(settings(more), new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** A consumer that never commits by itself and starts at the earliest offset unless told otherwise. */
    Consumer<byte[], byte[]> consumer(Map<String, ?> more) {
        Map<String, Object> all = new HashMap<>(Map.of(
            "auto.offset.reset", "earliest", "enable.auto.commit", false, "heartbeat.interval.ms", 500,
            "group.protocol", "classic"));
        all.putAll(more);
        return new KafkaConsumer<>(settings(all), new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    void createTopic(String topic, int partitions) throws Exception {
        createTopic(new NewTopic(topic, partitions, REPLICATION_FACTOR));
    }

    /** Create a topic and wait until the leaders of its partitions answer (why: README.md). */
    void createTopic(NewTopic topic) throws Exception {
        get(admin().createTopics(List.of(topic)).all());
        waitUntil("the leaders of the created topic answer", () -> leadersAnswer(topic.name()));
    }

    private boolean leadersAnswer(String topic) throws Exception {
        try {
            Map<TopicPartition, OffsetSpec> all = new HashMap<>();
            get(admin().describeTopics(List.of(topic)).topicNameValues().get(topic)).partitions()
                .forEach(each -> all.put(new TopicPartition(topic, each.partition()), OffsetSpec.latest()));
            get(admin().listOffsets(all).all());
            return true;
        } catch (RetriableException error) {
            return false;
        }
    }

    /** Send all, wait for all acknowledgements, return them in order. */
    List<RecordMetadata> produce(Map<String, ?> settings, List<ProducerRecord<byte[], byte[]>> records) throws Exception {
        try (Producer<byte[], byte[]> producer = producer(settings)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (ProducerRecord<byte[], byte[]> record : records) {
                sent.add(producer.send(record));
            }
            producer.flush();
            List<RecordMetadata> acknowledged = new ArrayList<>();
            for (Future<RecordMetadata> each : sent) {
                acknowledged.add(get(each));
            }
            return acknowledged;
        }
    }

    /** `count` records to partition 0, with the index as value. */
    void produceNumbers(String topic, int count) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int index = 0; index < count; index++) {
            records.add(new ProducerRecord<>(topic, 0, null, bytes("" + index)));
        }
        produce(Map.of(), records);
    }

    List<ConsumerRecord<byte[], byte[]>> read(Consumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        long end = Math.min(deadline, System.nanoTime() + Duration.ofSeconds(30).toNanos());
        while (records.size() < count) {
            consumer.poll(POLL).forEach(records::add);
            check(System.nanoTime() < end, "got " + records.size() + " of " + count + " records within 30 s");
        }
        return records;
    }

    void readNothing(Consumer<byte[], byte[]> consumer, String what) {
        long end = System.nanoTime() + QUIET.toNanos();
        while (System.nanoTime() < end) {
            consumer.poll(POLL).forEach(record -> {
                throw new AssertionError(what + ": expected no record, got offset " + record.offset());
            });
        }
    }

    /** Read `count` records of these partitions from the beginning and check that no more come. */
    List<ConsumerRecord<byte[], byte[]>> readFromStart(Collection<TopicPartition> partitions, int count) {
        try (Consumer<byte[], byte[]> consumer = consumer(Map.of())) {
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            List<ConsumerRecord<byte[], byte[]>> records = read(consumer, count);
            consumer.poll(POLL).forEach(records::add);
            equal(records.size(), count, "number of records");
            return records;
        }
    }

    void waitUntil(String what, Callable<Boolean> condition) throws Exception {
        long end = Math.min(deadline, System.nanoTime() + Duration.ofSeconds(30).toNanos());
        while (!condition.call()) {
            check(System.nanoTime() < end, "not within 30 s: " + what);
            Thread.sleep(50);
        }
    }

    Set<String> topicNames() throws Exception {
        return get(admin().listTopics().names());
    }

    /** Wait for an answer; throws the broker's error itself, without the wrapping. */
    static <T> T get(Future<T> future) throws Exception {
        try {
            return future.get(20, TimeUnit.SECONDS);
        } catch (ExecutionException error) {
            if (error.getCause() instanceof Exception cause) {
                throw cause;
            }
            throw error;
        }
    }

    /** Fail unless the call throws this exception. */
    static void expect(Class<? extends Exception> expected, String what, Callable<?> call) {
        try {
            call.call();
        } catch (Exception error) {
            check(expected.isInstance(error), what + ": expected " + expected.getSimpleName() + ", got " + error);
            return;
        }
        throw new AssertionError(what + ": expected " + expected.getSimpleName() + ", got success");
    }

    static void check(boolean condition, String message) {
        if (!condition) {
            throw new AssertionError(message);
        }
    }

    static void equal(Object actual, Object expected, String what) {
        check(Objects.equals(actual, expected), what + ": expected " + expected + ", got " + actual);
    }

    static byte[] bytes(String text) {
        return text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return Optional.ofNullable(bytes).map(each -> new String(each, java.nio.charset.StandardCharsets.UTF_8)).orElse(null);
    }

    static List<Long> offsets(List<ConsumerRecord<byte[], byte[]>> records) {
        return records.stream().map(ConsumerRecord::offset).toList();
    }

    /** The numbers from start (inclusive) to end (exclusive). */
    static List<Long> range(long start, long end) {
        return java.util.stream.LongStream.range(start, end).boxed().toList();
    }
}

import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Produced;

/** The word count of Kafka Streams, exactly once. Each change of a count is written: nothing is cached. */
final class WordCount {
    private static final int THREADS = 2;

    private WordCount() {}

    static void run(String bootstrap, String directory) throws InterruptedException {
        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream("sentences")
            .flatMapValues(WordCount::words)
            .groupBy((key, word) -> word)
            .count()
            .mapValues(String::valueOf)
            .toStream()
            .to("counts", Produced.with(Serdes.String(), Serdes.String()));
        AtomicBoolean failed = new AtomicBoolean();
        KafkaStreams streams = new KafkaStreams(builder.build(), settings(bootstrap, directory));
        streams.setUncaughtExceptionHandler(error -> {
            Main.say("error wordcount " + Transactions.oneLine(error));
            failed.set(true);
            return StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        streams.start();
        while (!Main.isEnded()) {
            Thread.sleep(100);
        }
        if (!streams.close(Duration.ofSeconds(60))) {
            Main.say("error wordcount did not close in time");
        }
    }

    /** The words after the number of the sentence. */
    private static List<String> words(String sentence) {
        String[] parts = sentence.split(" ");
        return Arrays.asList(parts).subList(1, parts.length);
    }

    private static Properties settings(String bootstrap, String directory) {
        Properties settings = new Properties();
        settings.put("application.id", "word-count");
        settings.put("bootstrap.servers", bootstrap);
        settings.put("processing.guarantee", "exactly_once_v2");
        settings.put("num.stream.threads", THREADS);
        settings.put("replication.factor", 3);
        settings.put("topic.min.insync.replicas", "2");
        settings.put("statestore.cache.max.bytes", 0);
        settings.put("state.dir", directory);
        settings.put("default.key.serde", Serdes.String().getClass());
        settings.put("default.value.serde", Serdes.String().getClass());
        settings.put("consumer.auto.offset.reset", "earliest");
        return settings;
    }
}

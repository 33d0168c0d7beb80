// How a Java program's client takes it when its broker fails, tested with nothing but the JDK and kafka-clients:
//
//     pykbroker test -- java -cp 'libs/*' RetryTest.java

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

public class RetryTest {
    public static void main(String[] arguments) throws Exception {
        producerFindsTheLeaderAgain();
        answerThatIsLostCostsNoSecondRecord();
        System.out.println("2 tests passed");
    }

    static void producerFindsTheLeaderAgain() throws Exception {
        Kafka.order("/faults/actions/reset", "{}");
        var fault = Kafka.order("/faults", """
            {"api": "Produce", "topic": "orders", "error": "NOT_LEADER_OR_FOLLOWER", "times": 2}""");
        try (var producer = producer()) {
            check(producer.send(new ProducerRecord<>("orders", "tea")).get().offset() == 0);
        }
        check(Kafka.hits(fault) == 2);
    }

    static void answerThatIsLostCostsNoSecondRecord() throws Exception {
        Kafka.order("/faults/actions/reset", "{}");
        var fault = Kafka.order("/faults", """
            {"api": "Produce", "topic": "orders", "drop": true, "when": "after", "times": 1}""");
        try (var producer = producer()) {
            check(producer.send(new ProducerRecord<>("orders", "tea")).get().offset() == 0);
            check(producer.send(new ProducerRecord<>("orders", "cake")).get().offset() == 1);
        }
        check(Kafka.hits(fault) == 1);
    }

    static KafkaProducer<String, String> producer() {
        Map<String, Object> settings = Map.of("bootstrap.servers", System.getenv("KAFKA_BOOTSTRAP_SERVERS"));
        return new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer());
    }

    static void check(boolean holds) {
        if (!holds) throw new AssertionError();
    }

    /** Orders faults of the brokers that run beside this test. */
    static class Kafka {
        static final URI ADDRESS = URI.create(System.getenv("PYKBROKER_HTTP"));
        static final HttpClient CLIENT = HttpClient.newHttpClient();

        /** Returns where to ask for a fault; of an action, the address of the action. */
        static URI order(String path, String json) throws Exception {
            var request = HttpRequest.newBuilder(ADDRESS.resolve(path)).POST(BodyPublishers.ofString(json)).build();
            var answer = CLIENT.send(request, BodyHandlers.ofString());
            if (answer.statusCode() >= 300) throw new IllegalArgumentException(answer.body());
            return ADDRESS.resolve(answer.headers().firstValue("location").orElse(path));
        }

        static int hits(URI fault) throws Exception {
            var request = HttpRequest.newBuilder(URI.create(fault + "/hits")).build();
            return Integer.parseInt(CLIENT.send(request, BodyHandlers.ofString()).body());
        }
    }
}

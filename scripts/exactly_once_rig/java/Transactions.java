import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.errors.ApplicationRecoverableException;
import org.apache.kafka.common.errors.OutOfOrderSequenceException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.serialization.StringSerializer;

/** A transactional producer used as Kafka's documentation says: what times out is asked again, what fails is aborted,
 * and after a fatal error there is a new producer. */
final class Transactions implements AutoCloseable {
    interface Work {
        void run(Producer<String, String> producer) throws Exception;
    }

    enum Outcome { COMMITTED, ABORTED, UNKNOWN }

    private final String name;
    private final Map<String, Object> settings;
    private Producer<String, String> producer;

    Transactions(String bootstrap, String transactionalId) {
        name = transactionalId;
        settings = Map.of(
            "bootstrap.servers", bootstrap,
            "client.id", transactionalId,
            "transactional.id", transactionalId,
            "key.serializer", StringSerializer.class,
            "value.serializer", StringSerializer.class);
    }

    /** Do the work in a transaction and commit it, or abort it where that is wished. */
    Outcome run(boolean abort, Work work) {
        boolean isDecided = false;
        try {
            if (producer == null) {
                producer = new KafkaProducer<>(settings);
                untilInTime(producer::initTransactions);
            }
            producer.beginTransaction();
            work.run(producer);
            if (abort) {
                producer.flush();
                untilInTime(producer::abortTransaction);
                return Outcome.ABORTED;
            }
            isDecided = true;
            untilInTime(producer::commitTransaction);
            return Outcome.COMMITTED;
        } catch (Exception error) {
            Main.say("error " + name + " " + oneLine(error));
            if (isFatal(error)) {
                forget();
                return isDecided ? Outcome.UNKNOWN : Outcome.ABORTED;
            }
            return abort();
        }
    }

    private Outcome abort() {
        try {
            untilInTime(producer::abortTransaction);
        } catch (KafkaException error) {
            Main.say("error " + name + " while aborting: " + oneLine(error));
            forget();
        }
        return Outcome.ABORTED;
    }

    private static void untilInTime(Runnable action) {
        while (true) {
            try {
                action.run();
                return;
            } catch (TimeoutException late) {
                Main.say("late " + oneLine(late));
            }
        }
    }

    private static boolean isFatal(Exception error) {
        return error instanceof ProducerFencedException || error instanceof OutOfOrderSequenceException
            || error instanceof ApplicationRecoverableException || !(error instanceof KafkaException);
    }

    private void forget() {
        producer.close(java.time.Duration.ZERO);
        producer = null;
    }

    @Override
    public void close() {
        if (producer != null) {
            producer.close();
        }
    }

    static String oneLine(Throwable error) {
        Throwable cause = error.getCause();
        String text = error + (cause == null ? "" : " / " + cause);
        return text.replaceAll("\\s+", " ");
    }
}

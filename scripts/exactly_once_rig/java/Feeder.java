import java.util.Locale;
import org.apache.kafka.clients.producer.ProducerRecord;

/** Writes sentences in transactions, every fifth of which is aborted on purpose.
 *
 * A sentence is `<transaction>.<attempt>.<index>` and some words; what came of an attempt is printed as
 * `<outcome> <transaction> <attempt> <count>`. A transaction that fails is attempted again. */
final class Feeder {
    private static final int RECORDS = 10;
    private static final int WORDS = 4;
    private static final int VOCABULARY = 50;
    private static final int ABORT_EVERY = 5;

    private final String bootstrap;
    private final int rate;

    Feeder(String bootstrap, int rate) {
        this.bootstrap = bootstrap;
        this.rate = rate;
    }

    void run() throws InterruptedException {
        try (Transactions transactions = new Transactions(bootstrap, "feeder")) {
            for (int transaction = 0; !Main.isEnded(); transaction++) {
                boolean abort = transaction % ABORT_EVERY == ABORT_EVERY - 1;
                long started = System.nanoTime();
                for (int attempt = 0; !attempt(transactions, transaction, attempt, abort); attempt++) {
                    Thread.sleep(100);
                }
                long pause = 1000L * RECORDS / rate - (System.nanoTime() - started) / 1_000_000;
                Thread.sleep(Math.max(0, pause));
            }
        }
    }

    /** Returns whether there need not be another attempt. */
    private static boolean attempt(Transactions transactions, int transaction, int attempt, boolean abort) {
        Transactions.Outcome outcome = transactions.run(abort, producer -> {
            for (int index = 0; index < RECORDS; index++) {
                producer.send(new ProducerRecord<>("sentences", null, sentence(transaction, attempt, index, abort)));
            }
        });
        String label = outcome.name().toLowerCase(Locale.ROOT);
        Main.say(label + " " + transaction + " " + attempt + " " + RECORDS);
        return abort || outcome != Transactions.Outcome.ABORTED;
    }

    private static String sentence(int transaction, int attempt, int index, boolean abort) {
        StringBuilder text = new StringBuilder(transaction + "." + attempt + "." + index);
        for (int word = 0; word < WORDS; word++) {
            text.append(" word").append((transaction * 31 + index * 17 + word * word * 7) % VOCABULARY);
        }
        return abort ? text + " aborted" : text.toString();
    }
}

import java.io.IOException;
import java.util.HashMap;
import java.util.Map;

/** One of the programs that work on the cluster, by name; each prints what it was told, one line each. */
public final class Main {
    private static volatile boolean ended;

    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 2) {
            System.err.println("usage: Main feeder|copier|wordcount|reader BOOTSTRAP [NAME=VALUE…]");
            System.exit(2);
        }
        Map<String, String> options = new HashMap<>();
        for (int index = 2; index < arguments.length; index++) {
            String[] option = arguments[index].split("=", 2);
            options.put(option[0], option[1]);
        }
        watchInput();
        switch (arguments[0]) {
            case "feeder" -> new Feeder(arguments[1], Integer.parseInt(options.get("rate"))).run();
            case "copier" -> Copier.run(arguments[1], Integer.parseInt(options.get("members")));
            case "wordcount" -> WordCount.run(arguments[1], options.get("state"));
            case "reader" -> new Reader(arguments[1], options.get("topics").split(","), options.containsKey("once")).run();
            default -> throw new IllegalArgumentException(arguments[0]);
        }
        System.exit(0);
    }

    /** Whether the program is to finish what it does and end: its standard input is closed. */
    static boolean isEnded() {
        return ended;
    }

    static synchronized void say(String line) {
        System.out.println(line);
        System.out.flush();
    }

    private static void watchInput() {
        Thread watcher = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    // nothing is said to it
                }
            } catch (IOException gone) {
                // as good as closed
            }
            ended = true;
        });
        watcher.setDaemon(true);
        watcher.start();
    }

    private Main() {}
}

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Runs the scenarios of ../README.md with Apache Kafka's own Java client, all in one JVM. */
public final class Main {
    /** One scenario; throws when something does not hold. */
    interface Scenario {
        void run(Context context) throws Exception;
    }

    /** The library cannot do this; the message is the reason. */
    static final class NotApplicable extends Exception {
        NotApplicable(String reason) {
            super(reason);
        }
    }

    public static void main(String[] arguments) {
        if (arguments.length != 3 && arguments.length != 4) {
            System.err.println("usage: Main SCENARIO[,SCENARIO…] BOOTSTRAP UNIQUE_PREFIX [TOPIC,TOPIC…]");
            System.exit(2);
        }
        Map<String, Scenario> scenarios = new LinkedHashMap<>();
        RecordScenarios.addTo(scenarios);
        OffsetScenarios.addTo(scenarios);
        GroupScenarios.addTo(scenarios);
        TransactionScenarios.addTo(scenarios);
        AdminScenarios.addTo(scenarios);
        List<String> topics = arguments.length == 4 ? List.of(arguments[3].split(",")) : List.of();
        boolean failed = false;
        for (String name : arguments[0].split(",")) {
            System.err.println("--- " + name);
            String line = runOne(scenarios.get(name), name, new Context(name, arguments[1], arguments[2], topics));
            failed |= line.startsWith("fail");
            System.out.println(line);
            System.out.flush();
        }
        System.exit(failed ? 1 : 0);
    }

    private static String runOne(Scenario scenario, String name, Context context) {
        if (scenario == null) {
            return "fail " + name + ": this client has no such scenario";
        }
        try (context) {
            scenario.run(context);
            return "ok " + name;
        } catch (NotApplicable reason) {
            return "n/a " + name + ": " + oneLine(reason.getMessage());
        } catch (AssertionError error) {
            error.printStackTrace();
            return "fail " + name + ": " + oneLine(error.getMessage());
        } catch (Exception error) {
            error.printStackTrace();
            return "fail " + name + ": " + oneLine(error.toString());
        }
    }

    private static String oneLine(String text) {
        String line = String.valueOf(text).replaceAll("\\s+", " ");
        return line.length() > 600 ? line.substring(0, 600) : line;
    }
}

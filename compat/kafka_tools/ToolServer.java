import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command line tools one after the other in one JVM, since starting a JVM costs more than most tools do.
 * A request is a line of tab-separated words: the file that is the tool's standard input ("" for none), its main class, its
 * arguments. The answer is three parts: exit status (int), then standard output and standard error (length and bytes each).
 */
public final class ToolServer {
    /** Thrown in place of ending the JVM. */
    static final class ToolExit extends Error {
        ToolExit() {
            super("the tool ended", null, false, false);
        }
    }

    private static final List<Runnable> HOOKS = new ArrayList<>();
    private static Integer status;

    public static void main(String[] arguments) throws Exception {
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        DataOutputStream answers = new DataOutputStream(System.out);
        Exit.Procedure end = (code, message) -> {
            if (status == null) { // a tool that catches everything asks to exit again, with another status
                status = code;
            }
            throw new ToolExit();
        };
        Exit.setExitProcedure(end);
        Exit.setHaltProcedure(end);
        Exit.setShutdownHookAdder((name, hook) -> HOOKS.add(hook));
        PrintStream log = System.err;
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            String[] words = line.split("\t", -1);
            answer(answers, words[0], words[1], Arrays.copyOfRange(words, 2, words.length));
            System.setErr(log);
        }
    }

    private static void answer(DataOutputStream answers, String input, String tool, String[] arguments) throws Exception {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        InputStream in = input.isEmpty() ? new ByteArrayInputStream(new byte[0]) : Files.newInputStream(Path.of(input));
        System.setIn(in);
        System.setOut(new PrintStream(out, true, StandardCharsets.UTF_8));
        System.setErr(new PrintStream(err, true, StandardCharsets.UTF_8));
        status = null;
        HOOKS.clear();
        int uncaught = 0;
        try {
            Class.forName(tool).getMethod("main", String[].class).invoke(null, (Object) arguments);
        } catch (InvocationTargetException thrown) {
            if (!(thrown.getCause() instanceof ToolExit)) {
                thrown.getCause().printStackTrace();
                uncaught = 1;
            }
        } finally {
            HOOKS.forEach(Runnable::run); // what a tool does as its JVM ends: the console producer flushes
            in.close();
        }
        System.out.flush();
        System.err.flush();
        answers.writeInt(status == null ? uncaught : status);
        write(answers, out);
        write(answers, err);
        answers.flush();
    }

    private static void write(DataOutputStream answers, ByteArrayOutputStream bytes) throws IOException {
        answers.writeInt(bytes.size());
        bytes.writeTo(answers);
    }
}

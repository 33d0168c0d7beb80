import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HexFormat;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/** Reads lines "name version hex" with Kafka's own message classes and writes each message again. See compare_codec. */
public class CompareCodec {
    static final String[] PACKAGES = {
        "org.apache.kafka.common.message.",
        "org.apache.kafka.coordinator.group.generated.",
        "org.apache.kafka.coordinator.transaction.generated.",
        "org.apache.kafka.coordinator.share.generated.",
    };

    public static void main(String[] arguments) throws Exception {
        int same = 0, different = 0, unknown = 0;
        for (String line : Files.readAllLines(Path.of(arguments[0]))) {
            String[] words = line.split(" ", -1);
            Class<?> type = find(words[0]);
            if (type == null) {
                unknown++;
                continue;
            }
            String wrong = compare(type, Short.parseShort(words[1]), HexFormat.of().parseHex(words[2]));
            if (wrong == null) {
                same++;
            } else {
                different++;
                System.out.println(words[0] + " v" + words[1] + ": " + wrong + ": " + words[2]);
            }
        }
        System.out.println(same + " messages alike, " + different + " different, " + unknown + " without a class");
        System.exit(different == 0 ? 0 : 1);
    }

    static Class<?> find(String name) {
        for (String prefix : PACKAGES) {
            for (String suffix : new String[] {"Data", ""}) {
                try {
                    Class<?> type = Class.forName(prefix + name + suffix);
                    if (Message.class.isAssignableFrom(type)) return type;
                } catch (ClassNotFoundException | NoClassDefFoundError absent) {
                    // the next package may have it
                }
            }
        }
        return null;
    }

    static String compare(Class<?> type, short version, byte[] bytes) throws Exception {
        Message message = (Message) type.getDeclaredConstructor().newInstance();
        ByteBufferAccessor in = new ByteBufferAccessor(ByteBuffer.wrap(bytes));
        try {
            message.read(in, version);
        } catch (RuntimeException refused) {
            return refused.toString();
        }
        if (in.remaining() != 0) return in.remaining() + " bytes left over";
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer out = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(out), cache, version);
        return Arrays.equals(out.array(), bytes) ? null : "written as " + HexFormat.of().formatHex(out.array());
    }
}

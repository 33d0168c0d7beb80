import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.producer.Producer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;

/** Members that come and go. */
final class GroupScenarios {
    private static final int RECORDS = 600;
    private static final int PARTITIONS = 6;

    private GroupScenarios() {}

    static void addTo(Map<String, Main.Scenario> scenarios) {
        scenarios.put("group_rebalance", GroupScenarios::groupRebalance);
        scenarios.put("static_membership", GroupScenarios::staticMembership);
    }

    private static void groupRebalance(Context context) throws Exception {
        rebalance(context, "eager", RangeAssignor.class);
        rebalance(context, "cooperative", CooperativeStickyAssignor.class);
    }

    private static void rebalance(Context context, String strategy, Class<?> assignor) throws Exception {
        String topic = context.name(strategy);
        Map<String, ?> settings = Map.of(
            "group.id", context.name(strategy, "group"), "partition.assignment.strategy", List.of(assignor));
        context.createTopic(topic, PARTITIONS);
        CountDownLatch finish = new CountDownLatch(1);
        Thread producing = new Thread(() -> produceSlowly(context, topic, finish));
        producing.start();
        List<Member> members = new ArrayList<>(List.of(new Member(context, topic, "a", settings)));
        try {
            waitForShares(context, strategy, members, 6);
            members.add(new Member(context, topic, "b", settings));
            members.add(new Member(context, topic, "c", settings));
            waitForShares(context, strategy, members, 2, 2, 2);
            members.get(1).stop();
            waitForShares(context, strategy, members, 3, 0, 3);
            members.get(2).stop();
            waitForShares(context, strategy, members, 6, 0, 0);
            finish.countDown();
            producing.join(30_000);
            context.waitUntil(strategy + ": every record was processed", () -> processed(members).size() == RECORDS);
        } finally {
            finish.countDown();
            for (Member member : members) {
                member.stop();
            }
        }
        for (Member member : members) {
            Context.check(member.error == null, strategy + ": member " + member.name + " failed: " + member.error);
        }
        try (Consumer<byte[], byte[]> consumer = context.consumer(settings)) {
            Set<TopicPartition> all = new HashSet<>();
            IntStream.range(0, PARTITIONS).forEach(each -> all.add(new TopicPartition(topic, each)));
            long sum = consumer.committed(all).values().stream().mapToLong(OffsetAndMetadata::offset).sum();
            Context.equal(sum, (long) RECORDS, strategy + ": sum of the committed offsets");
        }
    }

    /** Produce for as long as the members come and go; the last portion waits for the last leave. */
    private static void produceSlowly(Context context, String topic, CountDownLatch finish) {
        try (Producer<byte[], byte[]> producer = context.producer(Map.of())) {
            for (int start = 0; start < RECORDS; start += PARTITIONS) {
                boolean last = start + PARTITIONS >= RECORDS;
                finish.await(last ? 60_000 : 100, TimeUnit.MILLISECONDS);
                for (int index = start; index < start + PARTITIONS; index++) {
                    producer.send(new ProducerRecord<>(topic, index % PARTITIONS, null, Context.bytes("" + index)));
                }
                producer.flush();
            }
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private static Set<Integer> processed(List<Member> members) {
        Set<Integer> all = new TreeSet<>();
        members.forEach(member -> all.addAll(member.processed));
        return all;
    }

    private static void waitForShares(Context context, String strategy, List<Member> members, int... shares) throws Exception {
        String what = strategy + ": the members own " + Arrays.toString(shares) + " partitions";
        try {
            context.waitUntil(what, () -> {
                Set<TopicPartition> all = new HashSet<>();
                boolean settled = true;
                for (int index = 0; index < members.size(); index++) {
                    Member member = members.get(index);
                    Context.check(member.error == null, "member " + member.name + " failed: " + member.error);
                    settled &= member.owned.size() == shares[index];
                    all.addAll(member.owned);
                }
                return settled && all.size() == IntStream.of(shares).sum();
            });
        } catch (AssertionError error) {
            List<String> owned = members.stream().map(member -> member.name + " " + member.owned).toList();
            throw new AssertionError(error.getMessage() + "; they own " + owned, error);
        }
    }

    private static void staticMembership(Context context) throws Exception {
        String topic = context.name();
        context.createTopic(topic, 4);
        Member one = staticMember(context, topic, "one");
        Member two = staticMember(context, topic, "two");
        List<Member> all = new ArrayList<>(List.of(one, two));
        try {
            waitForShares(context, "static", all, 2, 2);
            checkDescribed(context);
            String before = one.owned + " " + one.revocations + " " + one.generation;
            Set<TopicPartition> ownedByTwo = two.owned;
            two.stop();
            Member again = staticMember(context, topic, "two");
            all.add(again);
            context.waitUntil("the restarted member owns its partitions again", () -> again.owned.equals(ownedByTwo));
            Thread.sleep(1000);
            Context.equal(one.owned + " " + one.revocations + " " + one.generation, before,
                "member one's partitions, revocations, generation");
            Member usurper = staticMember(context, topic, "one");
            all.add(usurper);
            context.waitUntil("the replaced member is told that it is fenced", () -> one.error != null);
            Context.check(one.error instanceof FencedInstanceIdException,
                "replaced member: expected FencedInstanceIdException, got " + one.error);
            context.waitUntil("the new member one owns two partitions", () -> usurper.owned.size() == 2);
        } finally {
            for (Member member : all) {
                member.stop();
            }
        }
    }

    private static Member staticMember(Context context, String topic, String name) {
        return new Member(context, topic, name, Map.of(
            "group.id", context.name("group"), "group.instance.id", context.name(name), "session.timeout.ms", 30_000,
            "partition.assignment.strategy", List.of(RangeAssignor.class)));
    }

    private static void checkDescribed(Context context) throws Exception {
        String group = context.name("group");
        Set<String> instances = new TreeSet<>();
        for (MemberDescription member
            : Context.get(context.admin().describeConsumerGroups(List.of(group)).describedGroups().get(group)).members()) {
            instances.add(member.groupInstanceId().orElse("none"));
        }
        Context.equal(instances, new TreeSet<>(Set.of(context.name("one"), context.name("two"))), "described instance ids");
    }
}

import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Topics, configs, records and groups as an admin sees them. */
final class AdminScenarios {
    private AdminScenarios() {}

    static void addTo(Map<String, Main.Scenario> scenarios) {
        scenarios.put("admin_topics", AdminScenarios::adminTopics);
        scenarios.put("admin_configs", AdminScenarios::adminConfigs);
        scenarios.put("admin_records", AdminScenarios::adminRecords);
        scenarios.put("admin_groups", AdminScenarios::adminGroups);
    }

    private static void adminTopics(Context context) throws Exception {
        Admin admin = context.admin();
        String first = context.name("a");
        String second = context.name("b");
        int broker = Context.get(admin.describeCluster().nodes()).iterator().next().id();
        context.createTopic(new NewTopic(first, 3, Context.REPLICATION_FACTOR).configs(Map.of("cleanup.policy", "compact")));
        context.createTopic(new NewTopic(second, Map.of(0, List.of(broker), 1, List.of(broker))));
        for (Map.Entry<String, Integer> each : Map.of(first, 3, second, 2).entrySet()) {
            int replicas = each.getKey().equals(first) ? Context.REPLICATION_FACTOR : 1;
            Context.equal(describe(admin, each.getKey()).partitions().size(), each.getValue(), "partitions of " + each.getKey());
            context.waitUntil("all " + replicas + " replicas of " + each.getKey() + " are in sync",
                () -> describe(admin, each.getKey()).partitions().stream().allMatch(partition -> asCreated(partition, replicas)));
        }
        for (TopicPartitionInfo partition : describe(admin, second).partitions()) {
            Context.equal(partition.replicas().get(0).id(), broker, "the replica asked for");
        }
        Context.check(context.topicNames().containsAll(Set.of(first, second)), "the list of topics lacks the created ones");
        Context.equal(config(admin, topic(first)).get("cleanup.policy").value(), "compact", "cleanup.policy");
        Context.get(admin.createPartitions(Map.of(first, NewPartitions.increaseTo(5))).all());
        context.waitUntil("the topic has 5 partitions", () -> describe(admin, first).partitions().size() == 5);
        Context.expect(InvalidPartitionsException.class, "5 to 4 partitions",
            () -> Context.get(admin.createPartitions(Map.of(first, NewPartitions.increaseTo(4))).all()));
        checkRefused(context, first);
        Context.get(admin.deleteTopics(Set.of(first, second)).all());
        context.waitUntil("deleted topics are gone",
            () -> !context.topicNames().contains(first) && !context.topicNames().contains(second));
        Context.expect(UnknownTopicOrPartitionException.class, "delete again",
            () -> Context.get(admin.deleteTopics(Set.of(first)).all()));
    }

    private static boolean asCreated(TopicPartitionInfo partition, int replicas) {
        return partition.replicas().size() == replicas && partition.replicas().contains(partition.leader())
            && Set.copyOf(partition.isr()).equals(Set.copyOf(partition.replicas()));
    }

    private static void checkRefused(Context context, String existing) throws Exception {
        Map<NewTopic, Class<? extends Exception>> refused = Map.of(
            new NewTopic(existing, 1, (short) 1), TopicExistsException.class,
            new NewTopic(context.prefixed("bad/name"), 1, (short) 1), InvalidTopicException.class,
            new NewTopic(context.name("r"), 1, (short) 99), InvalidReplicationFactorException.class,
            new NewTopic(context.name("z"), 0, (short) 1), InvalidPartitionsException.class,
            new NewTopic(context.name("c"), 1, (short) 1).configs(Map.of("no.such.config", "1")), InvalidConfigurationException.class);
        for (Map.Entry<NewTopic, Class<? extends Exception>> each : refused.entrySet()) {
            Context.expect(each.getValue(), "create " + each.getKey(), () -> {
                context.createTopic(each.getKey());
                return null;
            });
        }
        NewTopic validated = new NewTopic(context.name("v"), 1, (short) 1);
        Context.get(context.admin().createTopics(List.of(validated), new CreateTopicsOptions().validateOnly(true)).all());
        Set<String> created = new HashSet<>(context.topicNames());
        created.retainAll(Set.of(context.name("r"), context.name("z"), context.name("c"), context.name("v")));
        Context.check(created.isEmpty(), "a refused or only validated topic was created: " + created);
    }

    private static void adminConfigs(Context context) throws Exception {
        Admin admin = context.admin();
        String name = context.name();
        ConfigResource topic = topic(name);
        context.createTopic(new NewTopic(name, 1, Context.REPLICATION_FACTOR).configs(Map.of("retention.ms", "3600000")));
        checkEntry(config(admin, topic).get("retention.ms"), "3600000", ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
        checkEntry(config(admin, topic).get("segment.bytes"), "1073741824", ConfigEntry.ConfigSource.DEFAULT_CONFIG);
        alter(admin, topic, op(OpType.SET, "max.message.bytes", "123456"), op(OpType.DELETE, "retention.ms", null));
        context.waitUntil("max.message.bytes is 123456",
            () -> config(admin, topic).get("max.message.bytes").value().equals("123456"));
        checkEntry(config(admin, topic).get("retention.ms"), "604800000", ConfigEntry.ConfigSource.DEFAULT_CONFIG);
        alter(admin, topic, op(OpType.APPEND, "cleanup.policy", "compact"));
        context.waitUntil("cleanup.policy is delete,compact",
            () -> config(admin, topic).get("cleanup.policy").value().equals("delete,compact"));
        alter(admin, topic, op(OpType.SUBTRACT, "cleanup.policy", "delete"));
        context.waitUntil("cleanup.policy is compact",
            () -> config(admin, topic).get("cleanup.policy").value().equals("compact"));
        for (Map.Entry<String, String> each : Map.of("retention.ms", "abc", "no.such.config", "1").entrySet()) {
            Context.expect(InvalidConfigurationException.class, "set " + each, () -> {
                alter(admin, topic, op(OpType.SET, each.getKey(), each.getValue()));
                return null;
            });
        }
        int broker = Context.get(admin.describeCluster().nodes()).iterator().next().id();
        ConfigEntry segmentBytes = config(admin, new ConfigResource(ConfigResource.Type.BROKER, "" + broker)).get("log.segment.bytes");
        Context.check(segmentBytes != null, "the broker's configs lack log.segment.bytes");
    }

    private static void checkEntry(ConfigEntry entry, String value, ConfigEntry.ConfigSource source) {
        Context.equal(entry.value() + " " + entry.source(), value + " " + source, "value and source of " + entry.name());
    }

    private static AlterConfigOp op(OpType type, String name, String value) {
        return new AlterConfigOp(new ConfigEntry(name, value), type);
    }

    private static void alter(Admin admin, ConfigResource topic, AlterConfigOp... operations) throws Exception {
        Context.get(admin.incrementalAlterConfigs(Map.of(topic, List.of(operations))).all());
    }

    private static Config config(Admin admin, ConfigResource resource) throws Exception {
        return Context.get(admin.describeConfigs(List.of(resource)).values().get(resource));
    }

    private static ConfigResource topic(String name) {
        return new ConfigResource(ConfigResource.Type.TOPIC, name);
    }

    private static TopicDescription describe(Admin admin, String topic) throws Exception {
        return Context.get(admin.describeTopics(List.of(topic)).topicNameValues().get(topic));
    }

    private static void adminRecords(Context context) throws Exception {
        String topic = context.name();
        TopicPartition partition = new TopicPartition(topic, 0);
        context.createTopic(topic, 1);
        context.produceNumbers(topic, 100);
        Context.equal(deleteBefore(context, partition, 30), 30L, "low watermark after deleting before 30");
        try (Consumer<byte[], byte[]> consumer = context.consumer(Map.of())) {
            consumer.assign(List.of(partition));
            Context.equal(consumer.beginningOffsets(List.of(partition)).get(partition), 30L, "earliest offset");
            consumer.seekToBeginning(List.of(partition));
            Context.equal(Context.offsets(context.read(consumer, 70)), Context.range(30, 100), "offsets left");
            Context.equal(deleteBefore(context, partition, -1), 100L, "low watermark after deleting everything");
            consumer.seekToBeginning(List.of(partition));
            context.readNothing(consumer, "everything was deleted");
        }
        Context.expect(OffsetOutOfRangeException.class, "delete before 1000 of 100", () -> deleteBefore(context, partition, 1000));
    }

    private static long deleteBefore(Context context, TopicPartition partition, long offset) throws Exception {
        Map<TopicPartition, RecordsToDelete> wanted = Map.of(partition, RecordsToDelete.beforeOffset(offset));
        return Context.get(context.admin().deleteRecords(wanted).lowWatermarks().get(partition)).lowWatermark();
    }

    private static void adminGroups(Context context) throws Exception {
        Admin admin = context.admin();
        String topic = context.name();
        String group = context.name("group");
        TopicPartition zero = new TopicPartition(topic, 0);
        TopicPartition one = new TopicPartition(topic, 1);
        context.createTopic(topic, 2);
        context.produceNumbers(topic, 10);
        for (int index = 0; index < 10; index++) {
            context.produce(Map.of(), List.of(new ProducerRecord<>(topic, 1, null, Context.bytes("0"))));
        }
        Member member = new Member(context, topic, "member", Map.of("group.id", group));
        try {
            context.waitUntil("the member processed 20 records", () -> member.processed.size() == 20);
            Context.check(groups(admin).contains(group), "the list of groups lacks a group with a member");
            ConsumerGroupDescription described = describeGroup(admin, group);
            Context.equal(described.groupState(), GroupState.STABLE, "state");
            Context.equal(described.members().size(), 1, "number of members");
            MemberDescription only = described.members().iterator().next();
            Context.equal(only.clientId(), context.name("member"), "described client id");
            Context.check(only.host().contains("127.0.0.1"), "described host is " + only.host());
            Context.equal(only.assignment().topicPartitions(), Set.of(zero, one), "described assignment");
            Context.expect(GroupNotEmptyException.class, "delete a group with a member", () -> delete(admin, group));
        } finally {
            member.stop();
        }
        context.waitUntil("the group is Empty", () -> describeGroup(admin, group).groupState() == GroupState.EMPTY);
        Context.equal(offset(admin, group, zero) + " " + offset(admin, group, one), "10 10", "offsets of the group");
        Context.get(admin.alterConsumerGroupOffsets(group, Map.of(zero, new OffsetAndMetadata(5))).all());
        Context.equal(offset(admin, group, zero), 5L, "altered offset");
        Context.get(admin.deleteConsumerGroupOffsets(group, Set.of(one)).all());
        Context.equal(offset(admin, group, one), -1L, "deleted offset");
        delete(admin, group);
        Context.check(!groups(admin).contains(group), "a deleted group is still listed");
        Context.expect(GroupIdNotFoundException.class, "delete a group again", () -> delete(admin, group));
    }

    private static Set<String> groups(Admin admin) throws Exception {
        Set<String> ids = new HashSet<>();
        for (GroupListing listing : Context.get(admin.listGroups().all())) {
            ids.add(listing.groupId());
        }
        return ids;
    }

    private static ConsumerGroupDescription describeGroup(Admin admin, String group) throws Exception {
        return Context.get(admin.describeConsumerGroups(List.of(group)).describedGroups().get(group));
    }

    private static Void delete(Admin admin, String group) throws Exception {
        return Context.get(admin.deleteConsumerGroups(List.of(group)).all());
    }

    /** The committed offset, -1 if there is none. */
    private static long offset(Admin admin, String group, TopicPartition partition) throws Exception {
        Map<TopicPartition, OffsetAndMetadata> offsets =
            Context.get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
        return offsets.get(partition) == null ? -1 : offsets.get(partition).offset();
    }
}

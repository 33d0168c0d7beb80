package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/IBM/sarama"

	"pykbroker.compat/program"
)

func adminTopics(t *program.T) {
	a, b, dry := t.Name("a"), t.Name("b"), t.Name("dry")
	admin := newAdmin(t)
	defer admin.Close()
	brokers, controller, err := admin.DescribeCluster()
	t.NoError(err, "describe cluster")
	node := brokers[0].ID()
	t.True(slices.ContainsFunc(brokers, func(broker *sarama.Broker) bool { return broker.ID() == controller }),
		"controller %d is not among the brokers", controller)
	createTopic(t, admin, 3, a, map[string]*string{"cleanup.policy": text("compact")})
	assigned := &sarama.TopicDetail{NumPartitions: -1, ReplicationFactor: -1, ReplicaAssignment: map[int32][]int32{0: {node}, 1: {node}}}
	t.NoError(admin.CreateTopic(b, assigned, false), "create B")
	waitForLeaders(t, admin, b, 2)
	for topic, replicas := range map[string]int16{a: program.ReplicationFactor(), b: 1} {
		t.WaitUntil("all replicas of "+topic+" are in sync", patient, func() bool {
			return !slices.ContainsFunc(describeTopic(t, admin, topic).Partitions, func(partition *sarama.PartitionMetadata) bool {
				return !program.AsCreated(partition.Leader, partition.Replicas, partition.Isr, replicas)
			})
		})
	}
	for _, partition := range describeTopic(t, admin, b).Partitions {
		program.Equal(t, partition.Replicas, []int32{node}, "replicas asked for")
	}
	listed := listTopics(t, admin)
	t.True(listed[b].NumPartitions == 2, "list topics: B with 2 partitions is not listed")
	program.Equal(t, listed[a].ConfigEntries["cleanup.policy"], text("compact"), "config of the listed A")

	t.NoError(admin.CreatePartitions(a, 5, nil, false), "raise A to 5 partitions")
	waitForLeaders(t, admin, a, 5)
	expectError(t, admin.CreatePartitions(a, 4, nil, false), sarama.ErrInvalidPartitions, "lower A to 4 partitions")
	checkRefusedTopics(t, admin, a, dry)
	t.NoError(admin.CreateTopic(dry, &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}, true), "validate")
	_, created := listTopics(t, admin)[dry]
	t.True(!created, "list topics: validate-only has created a topic")

	t.NoError(admin.DeleteTopic(a), "delete A")
	t.NoError(admin.DeleteTopic(b), "delete B")
	t.WaitUntil("A and B are no longer listed", patient, func() bool {
		topics := listTopics(t, admin)
		_, hasA := topics[a]
		_, hasB := topics[b]
		return !hasA && !hasB
	})
	expectError(t, admin.DeleteTopic(dry), sarama.ErrUnknownTopicOrPartition, "delete a topic that does not exist")
}

func listTopics(t *program.T, admin sarama.ClusterAdmin) map[string]sarama.TopicDetail {
	topics, err := admin.ListTopics()
	t.NoError(err, "list topics")
	return topics
}

func checkRefusedTopics(t *program.T, admin sarama.ClusterAdmin, existing, absent string) {
	create := func(topic string, partitions int32, replicas int16, configs map[string]*string) error {
		detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: replicas, ConfigEntries: configs}
		return admin.CreateTopic(topic, detail, false)
	}
	unknown := map[string]*string{"no.such.config": text("1")}
	expectError(t, create(existing, 1, 1, nil), sarama.ErrTopicAlreadyExists, "create A again")
	expectError(t, create("bad/name", 1, 1, nil), sarama.ErrInvalidTopic, "create bad/name")
	expectError(t, create(absent, 1, 99, nil), sarama.ErrInvalidReplicationFactor, "create with 99 replicas")
	expectError(t, create(absent, 0, 1, nil), sarama.ErrInvalidPartitions, "create with 0 partitions")
	expectError(t, create(absent, 1, 1, unknown), sarama.ErrInvalidConfig, "create with an unknown config")
}

func adminConfigs(t *program.T) {
	topic := t.Name()
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, 1, topic, map[string]*string{"retention.ms": text("3600000")})
	expect := func(name, value string, source sarama.ConfigSource) {
		t.WaitUntil(fmt.Sprintf("config %s=%s from source %v", name, value, source), patient, func() bool {
			found := describedConfig(t, admin, sarama.TopicResource, topic, name)
			return found.Value == value && found.Source == source
		})
	}
	expect("retention.ms", "3600000", sarama.SourceTopic)
	expect("segment.bytes", "1073741824", sarama.SourceDefault)

	const (
		set      = sarama.IncrementalAlterConfigsOperationSet
		unset    = sarama.IncrementalAlterConfigsOperationDelete
		appendTo = sarama.IncrementalAlterConfigsOperationAppend
		subtract = sarama.IncrementalAlterConfigsOperationSubtract
	)
	alter := func(operation sarama.IncrementalAlterConfigsOperation, name string, value *string) error {
		entries := map[string]sarama.IncrementalAlterConfigsEntry{name: {Operation: operation, Value: value}}
		return admin.IncrementalAlterConfig(sarama.TopicResource, topic, entries, false)
	}
	t.NoError(alter(set, "max.message.bytes", text("123456")), "set max.message.bytes")
	t.NoError(alter(unset, "retention.ms", nil), "delete retention.ms")
	expect("max.message.bytes", "123456", sarama.SourceTopic)
	expect("retention.ms", "604800000", sarama.SourceDefault)
	t.NoError(alter(appendTo, "cleanup.policy", text("compact")), "append to cleanup.policy")
	expect("cleanup.policy", "delete,compact", sarama.SourceTopic)
	t.NoError(alter(subtract, "cleanup.policy", text("delete")), "subtract from cleanup.policy")
	expect("cleanup.policy", "compact", sarama.SourceTopic)
	expectError(t, alter(set, "retention.ms", text("abc")), sarama.ErrInvalidConfig, "set retention.ms=abc")
	expectError(t, alter(set, "no.such.config", text("1")), sarama.ErrInvalidConfig, "set an unknown config")

	// The old AlterConfigs replaces all configs of the topic.
	t.NoError(admin.AlterConfig(sarama.TopicResource, topic, map[string]*string{"retention.ms": text("7200000")}, false), "replace configs")
	expect("retention.ms", "7200000", sarama.SourceTopic)
	expect("cleanup.policy", "delete", sarama.SourceDefault)

	brokers, _, err := admin.DescribeCluster()
	t.NoError(err, "describe cluster")
	describedConfig(t, admin, sarama.BrokerResource, strconv.Itoa(int(brokers[0].ID())), "log.segment.bytes")
}

func describedConfig(t *program.T, admin sarama.ClusterAdmin, kind sarama.ConfigResourceType, resource, name string) sarama.ConfigEntry {
	entries, err := admin.DescribeConfig(sarama.ConfigResource{Type: kind, Name: resource})
	t.NoError(err, "describe configs")
	at := slices.IndexFunc(entries, func(entry sarama.ConfigEntry) bool { return entry.Name == name })
	t.True(at >= 0, "describe configs of %s: no %s", resource, name)
	return entries[at]
}

func adminGroups(t *program.T) {
	topic, group, records := t.Name(), t.Name("group"), program.NumberedRecords(10)
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, 2, topic, nil)
	for i := range records {
		records[i].Partition = int32(i % 2)
	}
	produce(t, topic, records)
	seen := &seenValues{values: map[string]bool{}}
	consumer := newMember(t, topic, group, seen.add, func(config *sarama.Config) { config.ClientID = t.Name("member") })
	defer consumer.stop()
	waitOwned(t, "the member", 2, 2, consumer)
	t.WaitUntil("all records processed", patient, func() bool { return seen.count() == len(records) })

	program.Equal(t, listGroups(t, admin)[group], "consumer", "protocol type of the listed group")
	checkLiveGroup(t, describeGroup(t, admin, group), topic)
	expectError(t, admin.DeleteConsumerGroup(group), sarama.ErrNonEmptyGroup, "delete a group with a member")
	t.NoError(consumer.stop(), "stop the member")
	t.WaitUntil("group is Empty", patient, func() bool {
		described := describeGroup(t, admin, group)
		return described.State == "Empty" && len(described.Members) == 0
	})
	checkGroupOffsets(t, admin, group, topic)

	t.NoError(admin.DeleteConsumerGroup(group), "delete group")
	_, listed := listGroups(t, admin)[group]
	t.True(!listed, "the deleted group is still listed")
	expectError(t, admin.DeleteConsumerGroup(group), sarama.ErrGroupIDNotFound, "delete the group again")
}

func listGroups(t *program.T, admin sarama.ClusterAdmin) map[string]string {
	groups, err := admin.ListConsumerGroups()
	t.NoError(err, "list groups")
	return groups
}

func checkLiveGroup(t *program.T, described *sarama.GroupDescription, topic string) {
	program.Equal(t, described.Err, sarama.ErrNoError, "error of the described group")
	program.Equal(t, described.State, "Stable", "state")
	program.Equal(t, described.ProtocolType, "consumer", "protocol type")
	program.Equal(t, described.Protocol, "range", "protocol")
	program.Equal(t, len(described.Members), 1, "members")
	for _, member := range described.Members {
		program.Equal(t, member.ClientId, t.Name("member"), "client id of the member")
		program.Equal(t, member.ClientHost, "/127.0.0.1", "host of the member")
		program.Equal(t, member.GroupInstanceId, nil, "instance id of the member")
		subscription, err := member.GetMemberMetadata()
		t.NoError(err, "member metadata")
		program.Equal(t, subscription.Topics, []string{topic}, "subscription of the member")
		assignment, err := member.GetMemberAssignment()
		t.NoError(err, "member assignment")
		slices.Sort(assignment.Topics[topic])
		program.Equal(t, assignment.Topics, map[string][]int32{topic: {0, 1}}, "assignment of the member")
	}
}

// checkGroupOffsets looks at, alters and deletes the offsets of a group without members.
func checkGroupOffsets(t *program.T, admin sarama.ClusterAdmin, group, topic string) {
	fetch := func() map[int32]int64 {
		offsets := map[int32]int64{}
		for name, partitions := range committedOffsets(t, admin, group, nil).Blocks { // nil asks for all
			program.Equal(t, name, topic, "topic of a committed offset")
			for partition, block := range partitions {
				program.Equal(t, block.Err, sarama.ErrNoError, "error of a committed offset")
				offsets[partition] = block.Offset
			}
		}
		return offsets
	}
	program.Equal(t, fetch(), map[int32]int64{0: 5, 1: 5}, "committed offsets")
	altered := map[string]map[int32]sarama.OffsetAndMetadata{topic: {0: {Offset: 3, LeaderEpoch: -1}}}
	response, err := admin.AlterConsumerGroupOffsets(group, altered, nil)
	t.NoError(err, "alter offsets")
	program.Equal(t, response.Errors[topic][0], sarama.ErrNoError, "answer to altering offsets")
	program.Equal(t, fetch(), map[int32]int64{0: 3, 1: 5}, "offsets after alteration")
	t.NoError(admin.DeleteConsumerGroupOffset(group, topic, 1), "delete offset")
	program.Equal(t, fetch(), map[int32]int64{0: 3}, "offsets after deletion")
}

// The library does not return low watermarks.
func adminRecords(t *program.T) {
	topic, records := t.Name(), program.NumberedRecords(100)
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, 1, topic, nil)
	produce(t, topic, records)
	expectDeleted := func(before, earliest int64) {
		t.NoError(admin.DeleteRecords(topic, map[int32]int64{0: before}), fmt.Sprintf("delete records before %d", before))
		listed, err := admin.ListOffsets(map[string]map[int32]int64{topic: {0: sarama.OffsetOldest}}, nil)
		t.NoError(err, "list offsets")
		program.Equal(t, listed[topic][0].Offset, earliest, "earliest offset")
	}
	// The library waits for the leader only, and what followers do not have yet cannot be deleted.
	t.WaitUntil("the high watermark is 100", patient, func() bool {
		listed, err := admin.ListOffsets(map[string]map[int32]int64{topic: {0: sarama.OffsetNewest}}, nil)
		return err == nil && listed[topic][0].Offset == 100
	})
	expectDeleted(30, 30)
	remaining := fromLibrary(readAt(t, topic, sarama.OffsetOldest, 70))
	program.SameRecords(t, remaining, records[30:], "after deletion")
	expectDeleted(-1, 100)
	consumer := newConsumer(t)
	defer consumer.Close()
	claimed, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	t.NoError(err, "consume")
	defer claimed.Close()
	receiveNothing(t, claimed, "after deletion of all")
	expectError(t, admin.DeleteRecords(topic, map[int32]int64{0: 1000}), sarama.ErrOffsetOutOfRange, "delete records before 1000")
}

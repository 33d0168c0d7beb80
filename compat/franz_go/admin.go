package main

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"pykbroker.compat/program"
)

func adminTopics(t *program.T) {
	a, b, dry := t.Name("a"), t.Name("b"), t.Name("dry")
	client := newClient(t, quickMetadata())
	admin := kadm.NewClient(client)
	defer admin.Close()
	createTopic(t, admin, 3, a, map[string]*string{"cleanup.policy": kadm.StringPtr("compact")})
	createAssigned(t, client, b)
	checkDescribed(t, admin, map[string]int{a: 3, b: 2}, b)

	update := func(topic string, count int) error {
		responses, err := admin.UpdatePartitions(t.Context(), count, topic)
		t.NoError(err, "create partitions")
		return responses[topic].Err
	}
	t.NoError(update(a, 5), "raise A to 5 partitions")
	t.WaitUntil("A has 5 partitions", patient, func() bool {
		topics, err := admin.ListTopics(t.Context(), a)
		t.NoError(err, "describe A")
		return len(topics[a].Partitions) == 5
	})
	expectError(t, update(a, 4), kerr.InvalidPartitions, "lower A to 4 partitions")

	create := func(topic string, partitions int32, replicas int16, configs map[string]*string) error {
		_, err := admin.CreateTopic(t.Context(), partitions, replicas, configs, topic)
		return err
	}
	unknown := map[string]*string{"no.such.config": kadm.StringPtr("1")}
	expectError(t, create(a, 1, 1, nil), kerr.TopicAlreadyExists, "create A again")
	expectError(t, create("bad/name", 1, 1, nil), kerr.InvalidTopicException, "create bad/name")
	expectError(t, create(dry, 1, 99, nil), kerr.InvalidReplicationFactor, "create with 99 replicas")
	expectError(t, create(dry, 0, 1, nil), kerr.InvalidPartitions, "create with 0 partitions")
	expectError(t, create(dry, 1, 1, unknown), kerr.InvalidConfig, "create with an unknown config")
	validated, err := admin.ValidateCreateTopics(t.Context(), 2, 1, nil, dry)
	t.NoError(err, "validate")
	t.NoError(validated[dry].Err, "validate")

	topics := listAll(t, admin)
	t.True(topics.Has(a) && topics.Has(b), "list topics: A or B is not listed")
	t.True(!topics.Has(dry), "list topics: validate-only has created a topic")
	deleted, err := admin.DeleteTopics(t.Context(), a, b)
	t.NoError(err, "delete topics")
	t.NoError(deleted.Error(), "delete topics")
	t.WaitUntil("A and B are no longer listed", patient, func() bool {
		topics := listAll(t, admin)
		return !topics.Has(a) && !topics.Has(b)
	})
	_, err = admin.DeleteTopic(t.Context(), dry)
	expectError(t, err, kerr.UnknownTopicOrPartition, "delete a topic that does not exist")
}

// createAssigned creates a topic with two partitions on a chosen broker. kadm has no assignments, so this is the request itself.
func createAssigned(t *program.T, client *kgo.Client, topic string) {
	brokers, err := kadm.NewClient(client).ListBrokers(t.Context())
	t.NoError(err, "list brokers")
	request := kmsg.NewPtrCreateTopicsRequest()
	wanted := kmsg.NewCreateTopicsRequestTopic()
	wanted.Topic, wanted.NumPartitions, wanted.ReplicationFactor = topic, -1, -1
	for partition := range int32(2) {
		assignment := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
		assignment.Partition, assignment.Replicas = partition, []int32{brokers[0].NodeID}
		wanted.ReplicaAssignment = append(wanted.ReplicaAssignment, assignment)
	}
	request.Topics = append(request.Topics, wanted)
	response, err := request.RequestWith(t.Context(), client)
	t.NoError(err, "create B")
	t.NoError(kerr.ErrorForCode(response.Topics[0].ErrorCode), "create B")
	program.Equal(t, response.Topics[0].NumPartitions, int32(2), "partitions in the answer to create B")
}

// allAsCreated says whether all replicas of all partitions are in sync; an assigned topic has one each.
func allAsCreated(partitions kadm.PartitionDetails, assigned bool) bool {
	count := program.ReplicationFactor()
	if assigned {
		count = 1
	}
	return !slices.ContainsFunc(partitions.Sorted(), func(each kadm.PartitionDetail) bool {
		return each.Err != nil || !program.AsCreated(each.Leader, each.Replicas, each.ISR, count)
	})
}

func checkDescribed(t *program.T, admin *kadm.Client, partitions map[string]int, assigned string) {
	metadata, err := admin.Metadata(t.Context())
	t.NoError(err, "metadata")
	node := metadata.Brokers.NodeIDs()[0]
	for topic, count := range partitions {
		t.WaitUntil("described partitions of "+topic, patient, func() bool {
			topics, err := admin.ListTopics(t.Context(), topic)
			t.NoError(err, "describe "+topic)
			return len(topics[topic].Partitions) == count && allAsCreated(topics[topic].Partitions, topic == assigned)
		})
		topics, err := admin.ListTopics(t.Context(), topic)
		t.NoError(err, "describe "+topic)
		t.True(topics[topic].ID != kadm.TopicID{}, "topic %s has no id", topic)
		if topic == assigned {
			for _, partition := range topics[topic].Partitions.Sorted() {
				program.Equal(t, partition.Replicas, []int32{node}, "replicas asked for")
			}
		}
	}
}

func adminConfigs(t *program.T) {
	topic := t.Name()
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, 1, topic, map[string]*string{"retention.ms": kadm.StringPtr("3600000")})
	expect := func(name, value string, source kmsg.ConfigSource) {
		t.WaitUntil(fmt.Sprintf("config %s=%s from %v", name, value, source), patient, func() bool {
			found := describedConfig(t, admin, topic, name)
			return found.MaybeValue() == value && found.Source == source
		})
	}
	expect("retention.ms", "3600000", kmsg.ConfigSourceDynamicTopicConfig)
	expect("segment.bytes", "1073741824", kmsg.ConfigSourceDefaultConfig)

	alter := func(operation kadm.IncrementalOp, name string, value *string) error {
		responses, err := admin.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Op: operation, Name: name, Value: value}}, topic)
		t.NoError(err, "alter "+name)
		response, err := responses.On(topic, nil)
		t.NoError(err, "alter "+name)
		return response.Err
	}
	t.NoError(alter(kadm.SetConfig, "max.message.bytes", kadm.StringPtr("123456")), "set max.message.bytes")
	t.NoError(alter(kadm.DeleteConfig, "retention.ms", nil), "delete retention.ms")
	expect("max.message.bytes", "123456", kmsg.ConfigSourceDynamicTopicConfig)
	expect("retention.ms", "604800000", kmsg.ConfigSourceDefaultConfig)
	t.NoError(alter(kadm.AppendConfig, "cleanup.policy", kadm.StringPtr("compact")), "append to cleanup.policy")
	expect("cleanup.policy", "delete,compact", kmsg.ConfigSourceDynamicTopicConfig)
	t.NoError(alter(kadm.SubtractConfig, "cleanup.policy", kadm.StringPtr("delete")), "subtract from cleanup.policy")
	expect("cleanup.policy", "compact", kmsg.ConfigSourceDynamicTopicConfig)
	expectError(t, alter(kadm.SetConfig, "retention.ms", kadm.StringPtr("abc")), kerr.InvalidConfig, "set retention.ms=abc")
	expectError(t, alter(kadm.SetConfig, "no.such.config", kadm.StringPtr("1")), kerr.InvalidConfig, "set an unknown config")

	// The old AlterConfigs replaces all configs of the topic.
	only := []kadm.AlterConfig{{Name: "retention.ms", Value: kadm.StringPtr("7200000")}}
	replaced, err := admin.AlterTopicConfigsState(t.Context(), only, topic)
	t.NoError(err, "replace configs")
	t.NoError(replaced[0].Err, "replace configs")
	expect("retention.ms", "7200000", kmsg.ConfigSourceDynamicTopicConfig)
	expect("cleanup.policy", "delete", kmsg.ConfigSourceDefaultConfig)

	metadata, err := admin.BrokerMetadata(t.Context())
	t.NoError(err, "metadata")
	brokers, err := admin.DescribeBrokerConfigs(t.Context(), metadata.Brokers[0].NodeID)
	t.NoError(err, "describe broker")
	t.NoError(brokers[0].Err, "describe broker")
	hasSegmentBytes := slices.ContainsFunc(brokers[0].Configs, func(c kadm.Config) bool { return c.Key == "log.segment.bytes" })
	t.True(hasSegmentBytes, "describe broker: no log.segment.bytes")
}

func describedConfig(t *program.T, admin *kadm.Client, topic, name string) kadm.Config {
	resources, err := admin.DescribeTopicConfigs(t.Context(), topic)
	t.NoError(err, "describe configs")
	resource, err := resources.On(topic, nil)
	t.NoError(err, "describe configs")
	t.NoError(resource.Err, "describe configs")
	at := slices.IndexFunc(resource.Configs, func(config kadm.Config) bool { return config.Key == name })
	t.True(at >= 0, "describe configs: no %s", name)
	return resource.Configs[at]
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
	consumer := newClient(t,
		kgo.ClientID(t.Name("member")),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
	)
	defer consumer.Close()
	poll(t, consumer, len(records))
	t.NoError(consumer.CommitUncommittedOffsets(t.Context()), "commit")

	groups, err := admin.ListGroups(t.Context())
	t.NoError(err, "list groups")
	program.Equal(t, groups[group].ProtocolType, "consumer", "protocol type of the listed group")
	program.Equal(t, groups[group].State, "Stable", "state of the listed group")
	checkLiveGroup(t, admin, group, topic)
	_, err = admin.DeleteGroup(t.Context(), group)
	expectError(t, err, kerr.NonEmptyGroup, "delete a group with a member")
	consumer.Close()
	t.WaitUntil("group is Empty", patient, func() bool {
		described, err := admin.DescribeGroups(t.Context(), group)
		t.NoError(err, "describe group")
		return described[group].State == "Empty" && len(described[group].Members) == 0
	})
	checkGroupOffsets(t, admin, group, topic)

	_, err = admin.DeleteGroup(t.Context(), group)
	t.NoError(err, "delete group")
	groups, err = admin.ListGroups(t.Context())
	t.NoError(err, "list groups")
	_, listed := groups[group]
	t.True(!listed, "the deleted group is still listed")
	_, err = admin.DeleteGroup(t.Context(), group)
	expectError(t, err, kerr.GroupIDNotFound, "delete the group again")
}

func checkLiveGroup(t *program.T, admin *kadm.Client, group, topic string) {
	described, err := admin.DescribeGroups(t.Context(), group)
	t.NoError(err, "describe group")
	found := described[group]
	t.NoError(found.Err, "describe group")
	program.Equal(t, found.State, "Stable", "state")
	program.Equal(t, found.ProtocolType, "consumer", "protocol type")
	program.Equal(t, found.Protocol, "cooperative-sticky", "protocol")
	program.Equal(t, len(found.Members), 1, "members")
	program.Equal(t, found.Members[0].ClientID, t.Name("member"), "client id of the member")
	program.Equal(t, found.Members[0].ClientHost, "/127.0.0.1", "host of the member")
	program.Equal(t, found.Members[0].InstanceID, nil, "instance id of the member")
	program.Equal(t, found.JoinTopics(), []string{topic}, "subscription of the member")
	assignment, ok := found.Members[0].Assigned.AsConsumer()
	t.True(ok && len(assignment.Topics) == 1, "describe group: the member's assignment is not that of a consumer")
	assigned := assignment.Topics[0]
	slices.Sort(assigned.Partitions)
	program.Equal(t, assigned.Topic, topic, "assigned topic")
	program.Equal(t, assigned.Partitions, []int32{0, 1}, "assigned partitions")
}

// checkGroupOffsets looks at, alters and deletes the offsets of a group without members.
func checkGroupOffsets(t *program.T, admin *kadm.Client, group, topic string) {
	fetch := func() map[int32]int64 {
		committed, err := admin.FetchOffsets(t.Context(), group)
		t.NoError(err, "fetch offsets")
		offsets := map[int32]int64{}
		committed.Each(func(offset kadm.OffsetResponse) {
			t.NoError(offset.Err, "fetch offsets")
			program.Equal(t, offset.Topic, topic, "topic of a committed offset")
			offsets[offset.Partition] = offset.At
		})
		return offsets
	}
	program.Equal(t, fetch(), map[int32]int64{0: 5, 1: 5}, "committed offsets")
	var altered kadm.Offsets
	altered.AddOffset(topic, 0, 3, -1)
	t.NoError(admin.CommitAllOffsets(t.Context(), group, altered), "alter offsets")
	program.Equal(t, fetch(), map[int32]int64{0: 3, 1: 5}, "offsets after alteration")
	var partition kadm.TopicsSet
	partition.Add(topic, 1)
	deleted, err := admin.DeleteOffsets(t.Context(), group, partition)
	t.NoError(err, "delete offsets")
	t.NoError(deleted.Error(), "delete offsets")
	program.Equal(t, fetch(), map[int32]int64{0: 3}, "offsets after deletion")
}

func adminRecords(t *program.T) {
	topic, records := t.Name(), program.NumberedRecords(100)
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, 1, topic, nil)
	produce(t, topic, records)
	deleteBefore := func(offset int64) (int64, error) {
		var before kadm.Offsets
		before.AddOffset(topic, 0, offset, -1)
		responses, err := admin.DeleteRecords(t.Context(), before)
		t.NoError(err, "delete records")
		response, _ := responses.Lookup(topic, 0)
		return response.LowWatermark, response.Err
	}
	expectDeleted := func(before, lowWatermark int64) {
		low, err := deleteBefore(before)
		t.NoError(err, fmt.Sprintf("delete records before %d", before))
		program.Equal(t, low, lowWatermark, "low watermark")
		starts, err := admin.ListStartOffsets(t.Context(), topic)
		t.NoError(err, "list offsets")
		start, _ := starts.Lookup(topic, 0)
		program.Equal(t, start.Offset, lowWatermark, "earliest offset")
	}
	expectDeleted(30, 30)
	program.SameRecords(t, renumbered(fromLibrary(consume(t, topic, 70))), renumbered(records[30:]), "after deletion")
	expectDeleted(-1, 100)
	consumer := newClient(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer consumer.Close()
	pollNothing(t, consumer, "after deletion of all")
	_, err := deleteBefore(1000)
	expectError(t, err, kerr.OffsetOutOfRange, "delete records before 1000")
}

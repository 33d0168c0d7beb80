package main

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"

	"pykbroker.compat/program"
)

// heartbeatInterval is below the default, so that members hear sooner of a rebalance.
const heartbeatInterval = 200 * time.Millisecond

// handler is a sarama.ConsumerGroupHandler made of functions.
type handler struct {
	setup   func(sarama.ConsumerGroupSession)
	consume func(sarama.ConsumerGroupSession, sarama.ConsumerGroupClaim) error
}

func (h handler) Setup(session sarama.ConsumerGroupSession) error {
	if h.setup != nil {
		h.setup(session)
	}
	return nil
}

func (h handler) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h handler) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	return h.consume(session, claim)
}

// untilEnd is what a handler does with a claim: messages until the claim is revoked or the session ends.
func untilEnd(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim, each func(*sarama.ConsumerMessage)) error {
	for {
		select {
		case message, open := <-claim.Messages():
			if !open {
				return nil
			}
			each(message)
		case <-session.Context().Done():
			return nil
		}
	}
}

func newGroup(t *program.T, group string, changes ...configure) sarama.ConsumerGroup {
	consumer, err := sarama.NewConsumerGroup(t.Bootstrap, group, newConfig(t, append([]configure{groupSettings}, changes...)...))
	t.NoError(err, "new consumer group")
	return consumer
}

func groupSettings(config *sarama.Config) {
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Group.Heartbeat.Interval = heartbeatInterval
}

func commitResume(t *program.T) {
	topic, group, records := t.Name(), t.Name("group"), program.NumberedRecords(100)
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, 1, topic, nil)
	produce(t, topic, records)

	messages, _ := readInGroup(t, topic, group, 40, "at-40")
	program.SameRecords(t, fromLibrary(messages), records[:40], "first consumer")
	committed := committedOffsets(t, admin, group, map[string][]int32{topic: {0}}).GetBlock(topic, 0)
	program.Equal(t, committed.Offset, int64(40), "committed offset")
	program.Equal(t, committed.Metadata, "at-40", "committed metadata")
	latest, err := admin.ListOffsets(map[string]map[int32]int64{topic: {0: sarama.OffsetNewest}}, nil)
	t.NoError(err, "list offsets")
	program.Equal(t, latest[topic][0].Offset-committed.Offset, int64(60), "lag")

	messages, start := readInGroup(t, topic, group, 60, "")
	program.Equal(t, start, int64(40), "second consumer starts from")
	program.SameRecords(t, fromLibrary(messages), records[40:], "second consumer")
	messages, start = readInGroup(t, topic, group, 0, "")
	program.Equal(t, start, int64(100), "third consumer starts from")
	program.Equal(t, len(messages), 0, "records of the third consumer")
}

func committedOffsets(t *program.T, admin sarama.ClusterAdmin, group string, partitions map[string][]int32) *sarama.OffsetFetchResponse {
	committed, err := admin.ListConsumerGroupOffsets(group, partitions)
	t.NoError(err, "list offsets of the group")
	t.True(committed.Err == sarama.ErrNoError, "list offsets of the group: %v", committed.Err)
	return committed
}

// readInGroup joins, reads `count` records (with 0: whatever comes until it is quiet), commits and leaves.
// It returns the records and the offset that partition 0 was started from.
func readInGroup(t *program.T, topic, group string, count int, metadata string, changes ...configure) ([]*sarama.ConsumerMessage, int64) {
	consumer := newGroup(t, group, changes...)
	defer consumer.Close()
	ctx, finish := context.WithCancel(t.Context())
	defer finish()
	var messages []*sarama.ConsumerMessage
	start := int64(-1)
	read := func(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
		defer finish()
		start = claim.InitialOffset()
		for count == 0 || len(messages) < count {
			silence := make(<-chan time.Time)
			if count == 0 {
				silence = time.After(quiet)
			}
			select {
			case message, open := <-claim.Messages():
				if !open {
					return errors.New("the claim ended early")
				}
				messages = append(messages, message)
			case <-silence:
				return nil
			case <-session.Context().Done():
				return session.Context().Err()
			}
		}
		last := messages[len(messages)-1]
		session.MarkOffset(topic, last.Partition, last.Offset+1, metadata)
		session.Commit()
		return nil
	}
	err := consumer.Consume(ctx, []string{topic}, handler{consume: read})
	t.NoError(err, "consume in a group")
	t.NoError(consumer.Close(), "close the consumer group")
	for err := range consumer.Errors() {
		t.Fatalf("consumer group: %v", err)
	}
	t.True(count == 0 || len(messages) == count, "got %d of %d records", len(messages), count)
	return messages, start
}

func staticMembership(t *program.T) {
	topic, group, one, two := t.Name(), t.Name("group"), t.Name("one"), t.Name("two")
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, 4, topic, nil)
	join := func(instance string) *member {
		return newMember(t, topic, group, func(*sarama.ConsumerMessage) {}, func(config *sarama.Config) {
			config.Consumer.Group.InstanceId = instance
			config.Consumer.Group.Session.Timeout = 30 * time.Second
		})
	}
	first, second := join(one), join(two)
	defer first.stop()
	defer second.stop()
	waitOwned(t, "static members", 4, 2, first, second)
	instances := map[string]bool{}
	for _, described := range describeGroup(t, admin, group).Members {
		t.True(described.GroupInstanceId != nil, "describe group: a member without an instance id")
		instances[*described.GroupInstanceId] = true
	}
	program.Equal(t, instances, map[string]bool{one: true, two: true}, "instance ids in the described group")

	before, held := first.state(), second.state()
	t.NoError(second.stop(), "stop member two")
	again := join(two)
	defer again.stop()
	t.WaitUntil("the restarted member owns 2 partitions", patient, func() bool { return len(again.state().owned) == 2 })
	program.Equal(t, again.state().owned, held.owned, "partitions of the restarted member")
	program.Equal(t, first.state(), before, "partitions, sessions and generation of the member that stayed")
	program.Equal(t, again.state().generation, before.generation, "generation of the restarted member")

	usurper := join(one)
	defer usurper.stop()
	select {
	case err := <-first.failed:
		expectError(t, err, sarama.ErrFencedInstancedId, "member whose instance id was taken")
	case <-time.After(patient):
		t.Fatalf("member whose instance id was taken: expected %v, got nothing", sarama.ErrFencedInstancedId)
	}
}

func describeGroup(t *program.T, admin sarama.ClusterAdmin, group string) *sarama.GroupDescription {
	groups, err := admin.DescribeConsumerGroups([]string{group})
	t.NoError(err, "describe group")
	program.Equal(t, len(groups), 1, "described groups")
	return groups[0]
}

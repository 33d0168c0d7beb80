package main

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"pykbroker.compat/program"
)

// heartbeatInterval is below the default, so that members hear sooner of a rebalance.
const heartbeatInterval = 200 * time.Millisecond

func commitResume(t *program.T) {
	topic, group, records := t.Name(), t.Name("group"), program.NumberedRecords(100)
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, 1, topic, nil)
	produce(t, topic, records)
	options := []kgo.Opt{
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.DisableAutoCommit(),
	}

	first := newClient(t, options...)
	defer first.Close()
	read := poll(t, first, 40)
	program.SameRecords(t, fromLibrary(read), records[:40], "first consumer")
	withMetadata := kgo.PreCommitFnContext(t.Context(), func(request *kmsg.OffsetCommitRequest) error {
		request.Topics[0].Partitions[0].Metadata = kadm.StringPtr("at-40")
		return nil
	})
	t.NoError(first.CommitRecords(withMetadata, read...), "commit 40")
	first.Close()
	committed, err := admin.FetchOffsets(t.Context(), group)
	t.NoError(err, "fetch offsets")
	offset, _ := committed.Lookup(topic, 0)
	program.Equal(t, offset.At, int64(40), "committed offset")
	program.Equal(t, offset.Metadata, "at-40", "committed metadata")
	lags, err := admin.Lag(t.Context(), group)
	t.NoError(err, "lag")
	t.NoError(lags.Error(), "lag")
	program.Equal(t, lags[group].Lag.Total(), int64(60), "lag")

	second := newClient(t, options...)
	defer second.Close()
	program.SameRecords(t, fromLibrary(poll(t, second, 60)), records[40:], "second consumer")
	t.NoError(second.CommitUncommittedOffsets(t.Context()), "commit 100")
	second.Close()

	third := newClient(t, options...)
	defer third.Close()
	pollNothing(t, third, "third consumer")
	// The library does not tell a position: the next record shows it.
	program.Equal(t, third.CommittedOffsets()[topic][0].Offset, int64(100), "third consumer starts from")
	produce(t, topic, records[:1])
	program.Equal(t, poll(t, third, 1)[0].Offset, int64(100), "position of the third consumer")
}

// staticMember is a member with an instance id that only holds its partitions and counts what its callbacks say.
type staticMember struct {
	client  *kgo.Client
	mu      sync.Mutex
	owned   map[int32]bool
	changes atomic.Int32 // revocations and losses
	failed  chan error   // the first error that polling gave
}

func newStaticMember(t *program.T, topic, group, instance string) *staticMember {
	member := &staticMember{owned: map[int32]bool{}, failed: make(chan error, 1)}
	left := func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
		member.changes.Add(1)
		member.own(lost[topic], false)
	}
	member.client = newClient(t,
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.InstanceID(instance),
		kgo.SessionTimeout(30*time.Second),
		kgo.HeartbeatInterval(heartbeatInterval),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) { member.own(got[topic], true) }),
		kgo.OnPartitionsRevoked(left),
		kgo.OnPartitionsLost(left),
	)
	go func() {
		for {
			fetches := member.client.PollFetches(t.Context())
			if fetches.IsClientClosed() || t.Context().Err() != nil {
				return
			}
			if err := fetches.Err(); err != nil {
				select {
				case member.failed <- err:
				default:
				}
			}
		}
	}()
	return member
}

func (m *staticMember) own(partitions []int32, owned bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, partition := range partitions {
		if owned {
			m.owned[partition] = true
		} else {
			delete(m.owned, partition)
		}
	}
}

func (m *staticMember) partitions() map[int32]bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.owned)
}

func staticMembership(t *program.T) {
	topic, group, one, two := t.Name(), t.Name("group"), t.Name("one"), t.Name("two")
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, 4, topic, nil)

	first, second := newStaticMember(t, topic, group, one), newStaticMember(t, topic, group, two)
	defer first.client.Close()
	defer second.client.Close()
	t.WaitUntil("each static member owns 2 partitions", patient, func() bool {
		return len(first.partitions()) == 2 && len(second.partitions()) == 2
	})
	described, err := admin.DescribeGroups(t.Context(), group)
	t.NoError(err, "describe group")
	instances := map[string]bool{}
	for _, member := range described[group].Members {
		t.True(member.InstanceID != nil, "describe group: a member without an instance id")
		instances[*member.InstanceID] = true
	}
	program.Equal(t, instances, map[string]bool{one: true, two: true}, "instance ids in the described group")

	held, kept, changes := second.partitions(), first.partitions(), first.changes.Load()
	_, generation := first.client.GroupMetadata()
	second.client.Close()
	again := newStaticMember(t, topic, group, two)
	defer again.client.Close()
	t.WaitUntil("the restarted member owns 2 partitions", patient, func() bool { return len(again.partitions()) == 2 })
	program.Equal(t, again.partitions(), held, "partitions of the restarted member")
	program.Equal(t, first.partitions(), kept, "partitions of the member that stayed")
	program.Equal(t, first.changes.Load(), changes, "revocations of the member that stayed")
	_, after := first.client.GroupMetadata()
	program.Equal(t, after, generation, "generation")

	usurper := newStaticMember(t, topic, group, one)
	defer usurper.client.Close()
	select {
	case err := <-first.failed:
		expectError(t, err, kerr.FencedInstanceID, "member whose instance id was taken")
	case <-time.After(patient):
		t.Fatalf("member whose instance id was taken: expected %v, got nothing", kerr.FencedInstanceID)
	}
}

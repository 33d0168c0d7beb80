package main

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"pykbroker.compat/program"
)

const (
	rebalancePartitions = 6
	rebalancePerEach    = 100
	producePause        = 30 * time.Millisecond
)

func groupRebalance(t *program.T) {
	for name, balancer := range map[string]kgo.GroupBalancer{
		"eager":       kgo.RangeBalancer(),
		"cooperative": kgo.CooperativeStickyBalancer(),
	} {
		membersComeAndGo(t, t.Name(name), name, balancer)
	}
}

func membersComeAndGo(t *program.T, topic, name string, balancer kgo.GroupBalancer) {
	group := topic + "-group"
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, rebalancePartitions, topic, nil)
	allLeft, produced := make(chan struct{}), make(chan error, 1)
	go func() {
		produced <- produceMeanwhile(t.Context(), newClient(t, kgo.RecordPartitioner(kgo.ManualPartitioner())), topic, allLeft)
	}()

	seen := &seenValues{values: map[string]bool{}}
	join := func(id string) *member { return newMember(t, topic, group, id, balancer, seen) }
	a := join("a")
	defer a.client.CloseAllowingRebalance()
	waitOwned(t, name+": A alone", 6, a)
	b, c := join("b"), join("c")
	defer b.client.CloseAllowingRebalance()
	defer c.client.CloseAllowingRebalance()
	waitOwned(t, name+": A, B and C", 2, a, b, c)
	b.leave(t)
	waitOwned(t, name+": A and C", 3, a, c)
	c.leave(t)
	waitOwned(t, name+": A alone again", 6, a)
	close(allLeft)

	t.NoError(<-produced, name+": produce")
	total := rebalancePartitions * rebalancePerEach
	t.WaitUntil(fmt.Sprintf("%s: every one of %d records processed", name, total), patient, func() bool { return seen.count() == total })
	a.leave(t)
	offsets, err := admin.FetchOffsets(t.Context(), group)
	t.NoError(err, name+": fetch offsets")
	sum := int64(0)
	for _, offset := range offsets.Sorted() {
		sum += offset.At
	}
	program.Equal(t, sum, int64(total), "%s: sum of the committed offsets", name)
}

// produceMeanwhile writes one record to each partition at a time, and keeps some for after the last leave.
func produceMeanwhile(ctx context.Context, client *kgo.Client, topic string, allLeft <-chan struct{}) error {
	defer client.Close()
	ticker := time.NewTicker(producePause)
	defer ticker.Stop()
	for round := range rebalancePerEach {
		var records []*kgo.Record
		for partition := range int32(rebalancePartitions) {
			value := fmt.Appendf(nil, "%d", round*rebalancePartitions+int(partition))
			records = append(records, &kgo.Record{Topic: topic, Partition: partition, Value: value})
		}
		if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
			return err
		}
		pause := ticker.C
		if round >= rebalancePerEach-10 {
			pause = nil
		}
		select {
		case <-pause:
		case <-allLeft:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// seenValues are the values that any member processed.
type seenValues struct {
	mu     sync.Mutex
	values map[string]bool
}

func (s *seenValues) add(records []*kgo.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, record := range records {
		s.values[string(record.Value)] = true
	}
}

func (s *seenValues) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.values)
}

// member processes records until it leaves. A rebalance waits until what was polled is processed, and revocation commits it.
type member struct {
	client *kgo.Client
	mu     sync.Mutex
	owned  map[int32]bool
	failed error
}

func newMember(t *program.T, topic, group, id string, balancer kgo.GroupBalancer, seen *seenValues) *member {
	m := &member{owned: map[int32]bool{}}
	m.client = newClient(t,
		kgo.ClientID(t.Name(id)),
		kgo.ConsumerGroup(group),
		kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.Balancers(balancer),
		kgo.HeartbeatInterval(heartbeatInterval),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, got map[string][]int32) { m.own(got[topic]) }),
		kgo.OnPartitionsRevoked(func(ctx context.Context, client *kgo.Client, lost map[string][]int32) {
			if err := client.CommitUncommittedOffsets(ctx); err != nil {
				m.fail(fmt.Errorf("commit on revocation: %w", err))
			}
			m.disown(lost[topic])
		}),
		kgo.OnPartitionsLost(func(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
			m.fail(fmt.Errorf("member %s lost partitions %v", id, lost[topic]))
			m.disown(lost[topic])
		}),
	)
	go m.process(t.Context(), seen)
	return m
}

func (m *member) process(ctx context.Context, seen *seenValues) {
	for {
		fetches := m.client.PollFetches(ctx)
		if fetches.IsClientClosed() || ctx.Err() != nil {
			return
		}
		if err := fetches.Err(); err != nil {
			m.fail(err)
		}
		seen.add(fetches.Records())
		m.client.AllowRebalance()
	}
}

func (m *member) own(partitions []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, partition := range partitions {
		m.owned[partition] = true
	}
}

func (m *member) disown(partitions []int32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, partition := range partitions {
		delete(m.owned, partition)
	}
}

func (m *member) fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed == nil {
		m.failed = err
	}
}

// leave closes the member: leaving revokes its partitions, and that commits.
func (m *member) leave(t *program.T) {
	m.client.CloseAllowingRebalance()
	_, failed := m.state()
	t.NoError(failed, "member")
}

func (m *member) state() (owned map[int32]bool, failed error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.owned), m.failed
}

// waitOwned waits until the members own all partitions, each exactly once and `each` per member.
func waitOwned(t *program.T, what string, each int, members ...*member) {
	t.WaitUntil(fmt.Sprintf("%s own %d partitions each, all exactly once", what, each), patient, func() bool {
		owners := map[int32]int{}
		balanced := true
		for _, m := range members {
			owned, failed := m.state()
			t.NoError(failed, what)
			balanced = balanced && len(owned) == each
			for partition := range owned {
				owners[partition]++
			}
		}
		return balanced && len(owners) == rebalancePartitions
	})
}

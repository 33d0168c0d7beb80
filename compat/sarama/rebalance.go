package main

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"pykbroker.compat/program"
)

const (
	rebalancePartitions = 6
	rebalancePerEach    = 100
	producePause        = 30 * time.Millisecond
)

func groupRebalance(t *program.T) {
	for name, strategy := range map[string]sarama.BalanceStrategy{
		"eager":       sarama.NewBalanceStrategyRange(),
		"cooperative": sarama.NewBalanceStrategyCooperativeSticky(),
	} {
		membersComeAndGo(t, t.Name(name), name, strategy)
	}
}

func membersComeAndGo(t *program.T, topic, name string, strategy sarama.BalanceStrategy) {
	group := topic + "-group"
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, rebalancePartitions, topic, nil)
	allLeft, produced := make(chan struct{}), make(chan error, 1)
	producer := newProducer(t)
	go func() { produced <- produceMeanwhile(t.Context(), producer, topic, allLeft) }()

	seen := &seenValues{values: map[string]bool{}}
	join := func() *member {
		return newMember(t, topic, group, seen.add, func(config *sarama.Config) {
			config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
		})
	}
	a := join()
	defer a.stop()
	waitOwned(t, name+": A alone", rebalancePartitions, 6, a)
	b, c := join(), join()
	defer b.stop()
	defer c.stop()
	waitOwned(t, name+": A, B and C", rebalancePartitions, 2, a, b, c)
	t.NoError(b.stop(), "stop B")
	waitOwned(t, name+": A and C", rebalancePartitions, 3, a, c)
	t.NoError(c.stop(), "stop C")
	waitOwned(t, name+": A alone again", rebalancePartitions, 6, a)
	close(allLeft)

	t.NoError(<-produced, name+": produce")
	total := rebalancePartitions * rebalancePerEach
	t.WaitUntil(fmt.Sprintf("%s: every one of %d records processed", name, total), patient, func() bool { return seen.count() == total })
	t.NoError(a.stop(), "stop A")
	partitions := []int32{0, 1, 2, 3, 4, 5}
	committed, sum := committedOffsets(t, admin, group, map[string][]int32{topic: partitions}), int64(0)
	for _, partition := range partitions {
		sum += committed.GetBlock(topic, partition).Offset
	}
	program.Equal(t, sum, int64(total), "%s: sum of the committed offsets", name)
}

// produceMeanwhile writes one record to each partition at a time, and keeps some for after the last leave.
func produceMeanwhile(ctx context.Context, producer sarama.SyncProducer, topic string, allLeft <-chan struct{}) error {
	defer producer.Close()
	ticker := time.NewTicker(producePause)
	defer ticker.Stop()
	for round := range rebalancePerEach {
		var records []program.Record
		for partition := range int32(rebalancePartitions) {
			value := fmt.Appendf(nil, "%d", round*rebalancePartitions+int(partition))
			records = append(records, program.Record{Partition: partition, Value: value})
		}
		if err := producer.SendMessages(toLibrary(topic, records)); err != nil {
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

func (s *seenValues) add(message *sarama.ConsumerMessage) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.values[string(message.Value)] = true
}

func (s *seenValues) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.values)
}

// member consumes in a group until it is stopped, and commits each claim that it loses. With an eager strategy every rebalance ends a
// session, with a cooperative one the session goes on; in both a partition is owned while its claim is being consumed.
type member struct {
	group   sarama.ConsumerGroup
	cancel  context.CancelFunc
	ended   chan struct{}
	failed  chan error // the first error; nothing more is consumed after it
	process func(*sarama.ConsumerMessage)
	mu      sync.Mutex
	now     memberState
}

type memberState struct {
	owned      map[int32]bool
	sessions   int
	generation int32
}

func newMember(t *program.T, topic, group string, process func(*sarama.ConsumerMessage), changes ...configure) *member {
	ctx, cancel := context.WithCancel(t.Context())
	m := &member{
		group:   newGroup(t, group, changes...),
		cancel:  cancel,
		ended:   make(chan struct{}),
		failed:  make(chan error, 1),
		process: process,
		now:     memberState{owned: map[int32]bool{}},
	}
	go func() {
		for err := range m.group.Errors() {
			m.fail(err)
		}
	}()
	go func() {
		defer close(m.ended)
		for ctx.Err() == nil {
			if err := m.group.Consume(ctx, []string{topic}, handler{setup: m.setup, consume: m.consume}); err != nil {
				m.fail(err)
			}
		}
	}()
	return m
}

func (m *member) setup(session sarama.ConsumerGroupSession) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now.sessions++
	m.now.generation = session.GenerationID()
}

func (m *member) consume(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	m.own(claim.Partition(), true)
	defer m.own(claim.Partition(), false)
	defer session.Commit()
	return untilEnd(session, claim, func(message *sarama.ConsumerMessage) {
		m.process(message)
		session.MarkMessage(message, "")
	})
}

func (m *member) own(partition int32, owned bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if owned {
		m.now.owned[partition] = true
	} else {
		delete(m.now.owned, partition)
	}
}

func (m *member) fail(err error) {
	m.cancel()
	select {
	case m.failed <- err:
	default:
	}
}

func (m *member) state() memberState {
	m.mu.Lock()
	defer m.mu.Unlock()
	copied := m.now
	copied.owned = maps.Clone(m.now.owned)
	return copied
}

// stop ends consuming and closes the member, which leaves the group unless it is static. It may be called again.
func (m *member) stop() error {
	m.cancel()
	<-m.ended
	err := m.group.Close()
	select {
	case failed := <-m.failed:
		return failed
	default:
		return err
	}
}

// waitOwned waits until the members own all partitions, each exactly once and `each` per member.
func waitOwned(t *program.T, what string, partitions, each int, members ...*member) {
	t.WaitUntil(fmt.Sprintf("%s own %d partitions each, all exactly once", what, each), patient, func() bool {
		owners, balanced := map[int32]int{}, true
		for _, m := range members {
			select {
			case err := <-m.failed:
				t.Fatalf("%s: %v", what, err)
			default:
			}
			owned := m.state().owned
			balanced = balanced && len(owned) == each
			for partition := range owned {
				owners[partition]++
			}
		}
		return balanced && len(owners) == partitions
	})
}

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/IBM/sarama"

	"pykbroker.compat/program"
)

const round = 20 // records of a transaction

func transactions(t *program.T) {
	topic := t.Name()
	withTopic(t, 2, topic, nil)
	first := transactional(t)
	defer first.Close()
	for number, end := range []func() error{first.CommitTxn, first.AbortTxn, first.CommitTxn} {
		t.NoError(first.BeginTxn(), "begin")
		sendRound(t, first, topic, fmt.Sprint(number))
		t.NoError(end(), "end")
	}
	t.NoError(first.BeginTxn(), "begin")
	sendRound(t, first, topic, "open")
	program.Equal(t, readCommitted(t, topic, 2*round), append(expected("0"), expected("2")...), "committed records")
	program.Equal(t, len(consume(t, topic, 4*round)), 4*round, "records of a read_uncommitted consumer")
	second := transactional(t)
	defer second.Close()
	t.NoError(second.BeginTxn(), "begin of the second")
	sendRound(t, second, topic, "3")
	err := first.CommitTxn()
	t.True(errors.Is(err, sarama.ErrProducerFenced) || errors.Is(err, sarama.ErrInvalidProducerEpoch) || first.TxnStatus()&sarama.ProducerTxnFlagInError != 0,
		"commit of the first producer: expected PRODUCER_FENCED, got %v", err)
	t.NoError(second.CommitTxn(), "commit of the second")
	all := slices.Concat(expected("0"), expected("2"), expected("3"))
	program.Equal(t, readCommitted(t, topic, 3*round), all, "committed records of both")
}

func transactionalOffsets(t *program.T) {
	source, sink, group := t.Name("source"), t.Name("sink"), t.Name("group")
	withTopic(t, 1, source, nil)
	withTopic(t, 2, sink, nil)
	produce(t, source, program.NumberedRecords(round))
	admin := newAdmin(t)
	defer admin.Close()
	producer := transactional(t)
	defer producer.Close()
	// The library takes no member of the group: generation and member id are not sent.
	for number, end := range []func() error{producer.AbortTxn, producer.CommitTxn} {
		t.NoError(producer.BeginTxn(), "begin")
		sendRound(t, producer, sink, fmt.Sprint(number))
		offsets := map[string][]*sarama.PartitionOffsetMetadata{source: {{Partition: 0, Offset: round, LeaderEpoch: -1}}}
		t.NoError(producer.AddOffsetsToTxn(offsets, group), "add offsets")
		t.NoError(end(), "end")
		// The markers are written after the answer to EndTxn, and the library does not ask for stable offsets.
		committed := func() bool {
			return committedOffsets(t, admin, group, map[string][]int32{source: {0}}).GetBlock(source, 0).Offset == round
		}
		t.WaitUntil("the offset is as the transaction ended", patient, func() bool { return committed() == (number == 1) })
	}
	program.Equal(t, readCommitted(t, sink, round), expected("1"), "records of the transaction that committed")
}

func transactional(t *program.T) sarama.SyncProducer {
	return newProducer(t, func(config *sarama.Config) {
		config.Producer.Idempotent = true
		config.Producer.RequiredAcks = sarama.WaitForAll
		config.Producer.Transaction.ID = t.Name("id")
		config.Producer.Partitioner = sarama.NewManualPartitioner
		config.Net.MaxOpenRequests = 1
	})
}

func sendRound(t *program.T, producer sarama.SyncProducer, topic, text string) {
	messages := make([]*sarama.ProducerMessage, round)
	for index := range messages {
		value := sarama.StringEncoder(fmt.Sprintf("%s-%d", text, index))
		messages[index] = &sarama.ProducerMessage{Topic: topic, Partition: int32(index % 2), Value: value}
	}
	t.NoError(producer.SendMessages(messages), "produce")
}

// readCommitted returns the values of the topic, round by round, those of partition 0 first, and sees that no more come with them.
func readCommitted(t *program.T, topic string, count int) []string {
	messages := consume(t, topic, count, func(config *sarama.Config) { config.Consumer.IsolationLevel = sarama.ReadCommitted })
	slices.SortStableFunc(messages, func(one, other *sarama.ConsumerMessage) int {
		first, second := strings.Split(string(one.Value), "-")[0], strings.Split(string(other.Value), "-")[0]
		if first != second {
			return strings.Compare(first, second)
		}
		if one.Partition != other.Partition {
			return int(one.Partition - other.Partition)
		}
		return int(one.Offset - other.Offset)
	})
	all := make([]string, len(messages))
	for index, message := range messages {
		all[index] = string(message.Value)
	}
	return all
}

// expected returns the values of a round, those of partition 0 first.
func expected(text string) []string {
	var all []string
	for partition := range 2 {
		for index := partition; index < round; index += 2 {
			all = append(all, fmt.Sprintf("%s-%d", text, index))
		}
	}
	return all
}

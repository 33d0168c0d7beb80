package main

import (
	"context"
	"fmt"
	"sort"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"pykbroker.compat/program"
)

const round = 20 // records of a transaction

func transactions(t *program.T) {
	topic := t.Name()
	withTopic(t, 2, topic, nil)
	first := transactional(t, t.Name("id"))
	defer first.Close()
	for number, end := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort, kgo.TryCommit} {
		t.NoError(first.BeginTransaction(), "begin")
		sendRound(t, first, topic, fmt.Sprint(number))
		t.NoError(first.EndTransaction(t.Context(), end), "end")
	}
	t.NoError(first.BeginTransaction(), "begin")
	sendRound(t, first, topic, "open")
	committed := reader(t, topic, kgo.ReadCommitted())
	defer committed.Close()
	program.Equal(t, values(poll(t, committed, 2*round)), append(expected("0"), expected("2")...), "committed records")
	pollNothing(t, committed, "after the committed records")
	everything := reader(t, topic, kgo.ReadUncommitted())
	defer everything.Close()
	program.Equal(t, len(poll(t, everything, 4*round)), 4*round, "records of a read_uncommitted consumer")
	second := transactional(t, t.Name("id"))
	defer second.Close()
	t.NoError(second.BeginTransaction(), "begin of the second")
	sendRound(t, second, topic, "3")
	expectFenced(t, first.EndTransaction(t.Context(), kgo.TryCommit))
	t.NoError(second.EndTransaction(t.Context(), kgo.TryCommit), "end of the second")
	program.Equal(t, values(poll(t, committed, round)), expected("3"), "records of the second producer")
	pollNothing(t, committed, "after the records of the second producer")
}

func transactionalOffsets(t *program.T) {
	source, sink, group := t.Name("source"), t.Name("sink"), t.Name("group")
	withTopic(t, 1, source, nil)
	withTopic(t, 2, sink, nil)
	produce(t, source, program.NumberedRecords(round))
	admin := newAdmin(t)
	defer admin.Close()
	for number, end := range []kgo.TransactionEndTry{kgo.TryAbort, kgo.TryCommit} {
		session, err := kgo.NewGroupTransactSession(
			kgo.SeedBrokers(t.Bootstrap...), kgo.TransactionalID(t.Name("id")), kgo.ConsumerGroup(group), kgo.ConsumeTopics(source),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.RequireStableFetchOffsets(),
			kgo.RecordPartitioner(kgo.ManualPartitioner()),
		)
		t.NoError(err, "new session")
		read := 0
		for read < round {
			fetches := session.PollFetches(t.Context())
			t.NoError(fetches.Err(), "poll")
			read += fetches.NumRecords()
		}
		t.NoError(session.Begin(), "begin")
		sendRound(t, session.Client(), sink, fmt.Sprint(number))
		ended, err := session.End(t.Context(), end)
		t.NoError(err, "end")
		program.Equal(t, ended, bool(end), "committed")
		session.Close()
		offsets, err := admin.FetchOffsets(t.Context(), group)
		t.NoError(err, "fetch offsets")
		offset, found := offsets.Lookup(source, 0)
		program.Equal(t, found && offset.At == round, bool(end), "the offset is committed")
	}
	committed := reader(t, sink, kgo.ReadCommitted())
	defer committed.Close()
	program.Equal(t, values(poll(t, committed, round)), expected("1"), "records of the transaction that committed")
	pollNothing(t, committed, "after the records of the transaction that committed")
}

func transactional(t *program.T, id string) *kgo.Client {
	client := newClient(t, kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	// The library asks for its producer id with the first transaction; an empty one fences whoever had the id.
	t.NoError(client.BeginTransaction(), "first begin")
	_, _, err := client.ProducerID(t.Context())
	t.NoError(err, "producer id")
	t.NoError(client.EndTransaction(t.Context(), kgo.TryAbort), "first end")
	return client
}

func sendRound(t *program.T, client *kgo.Client, topic, text string) {
	records := make([]*kgo.Record, round)
	for index := range records {
		records[index] = &kgo.Record{Topic: topic, Partition: int32(index % 2), Value: fmt.Appendf(nil, "%s-%d", text, index)}
	}
	t.NoError(client.ProduceSync(t.Context(), records...).FirstErr(), "produce")
}

func reader(t *program.T, topic string, level kgo.IsolationLevel) *kgo.Client {
	return newClient(t, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(level))
}

func expectFenced(t *program.T, err error) {
	known := kerr.ErrorForCode(kerr.ProducerFenced.Code) == err || err == kerr.InvalidProducerEpoch || err == context.Canceled
	t.True(known || (err != nil && strings.Contains(err.Error(), kerr.ProducerFenced.Message)),
		"commit of the first producer: expected PRODUCER_FENCED, got %v", err)
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

// values returns the values, round by round, those of partition 0 first.
func values(records []*kgo.Record) []string {
	sort.SliceStable(records, func(one, other int) bool {
		a, b := records[one], records[other]
		first, second := strings.Split(string(a.Value), "-")[0], strings.Split(string(b.Value), "-")[0]
		if first != second {
			return first < second
		}
		if a.Partition != b.Partition {
			return a.Partition < b.Partition
		}
		return a.Offset < b.Offset
	})
	all := make([]string, len(records))
	for index, record := range records {
		all[index] = string(record.Value)
	}
	return all
}

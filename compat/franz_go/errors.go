package main

import (
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"pykbroker.compat/program"
)

func autoCreate(t *program.T) {
	topic, missing := t.Name(), t.Name("missing")
	admin := newAdmin(t)
	defer admin.Close()
	producer := newClient(t, kgo.AllowAutoTopicCreation())
	defer producer.Close()
	t.NoError(producer.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Value: []byte("0")}).FirstErr(), "produce")
	topics, err := admin.ListTopics(t.Context(), topic)
	t.NoError(err, "describe the created topic")
	t.NoError(topics[topic].Err, "describe the created topic")
	program.Equal(t, len(topics[topic].Partitions), 1, "partitions of the created topic")
	program.Equal(t, string(consume(t, topic, 1)[0].Value), "0", "value")

	// Without the option the library's metadata requests ask for no creation.
	consumer := newClient(t, kgo.ConsumeTopics(missing))
	defer consumer.Close()
	pollNothing(t, consumer, "a topic that is not there")
	t.True(!listAll(t, admin).Has(missing), "a consumer has created the topic that it asked for")
}

func clientErrors(t *program.T) {
	topic, missing := t.Name(), t.Name("missing")
	admin := newAdmin(t)
	defer admin.Close()
	topics, err := admin.ListTopics(t.Context(), missing)
	t.NoError(err, "describe an unknown topic")
	expectError(t, topics[missing].Err, kerr.UnknownTopicOrPartition, "describe an unknown topic")
	t.True(!listAll(t, admin).Has(missing), "describing has created the topic")

	createTopic(t, admin, 1, topic, nil)
	produce(t, topic, program.NumberedRecords(10))
	checkResets(t, topic)

	producer := newClient(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	defer producer.Close()
	err = producer.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Partition: 99, Value: []byte("x")}).FirstErr()
	t.True(err != nil, "produce to partition 99: expected an error, got success")

	consumer := newClient(t,
		kgo.ConsumerGroup(t.Name("group")),
		kgo.ConsumeTopics(topic),
		kgo.SessionTimeout(5_400_000*time.Millisecond),
	)
	defer consumer.Close()
	err = pollError(t, consumer, "join with a session of 90 minutes")
	expectError(t, err, kerr.InvalidSessionTimeout, "join with a session of 90 minutes")
	expectError(t, joinFor(t, 1), kerr.InvalidSessionTimeout, "join with a session of 1 ms")
}

// checkResets starts consumers at offset 1000 of a topic with 10 records.
func checkResets(t *program.T, topic string) {
	at1000 := func(reset kgo.Offset) *kgo.Client {
		start := map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(1000)}}
		return newClient(t, kgo.ConsumePartitions(start), kgo.ConsumeResetOffset(reset), kgo.FetchMaxWait(100*time.Millisecond))
	}
	none := at1000(kgo.NoResetOffset())
	defer none.Close()
	expectError(t, pollError(t, none, "offset 1000 without reset"), kerr.OffsetOutOfRange, "offset 1000 without reset")

	earliest := at1000(kgo.NewOffset().AtStart())
	defer earliest.Close()
	program.Equal(t, poll(t, earliest, 1)[0].Offset, int64(0), "offset 1000 with reset to the start")

	// The library does not tell when it has reset: records are produced until one arrives, and that must be none of the first 10.
	latest := at1000(kgo.NewOffset().AtEnd())
	defer latest.Close()
	got := make(chan int64, 1)
	go func() {
		for t.Context().Err() == nil {
			if records := latest.PollRecords(t.Context(), 1).Records(); len(records) > 0 {
				got <- records[0].Offset
				return
			}
		}
	}()
	t.WaitUntil("a record after the reset to the end", patient, func() bool {
		produce(t, topic, program.NumberedRecords(1))
		select {
		case offset := <-got:
			t.True(offset >= 10, "offset 1000 with reset to the end: expected a new record, got offset %d", offset)
			return true
		default:
			return false
		}
	})
}

// joinFor asks to join with a session timeout that the library itself does not let out.
func joinFor(t *program.T, sessionTimeoutMillis int32) error {
	client := newClient(t)
	defer client.Close()
	request := kmsg.NewPtrJoinGroupRequest()
	request.Group, request.ProtocolType = t.Name("other-group"), "consumer"
	request.SessionTimeoutMillis, request.RebalanceTimeoutMillis = sessionTimeoutMillis, 1000
	protocol := kmsg.NewJoinGroupRequestProtocol()
	protocol.Name = "range"
	protocol.Metadata = (&kmsg.ConsumerMemberMetadata{Topics: []string{t.Name()}}).AppendTo(nil)
	request.Protocols = append(request.Protocols, protocol)
	response, err := request.RequestWith(t.Context(), client)
	t.NoError(err, "join")
	return kerr.ErrorForCode(response.ErrorCode)
}

// renumbered gives records offsets from 0 for a comparison that starts amid the partition; their order stays.
func renumbered(records []program.Record) []program.Record {
	copied := append([]program.Record(nil), records...)
	for i := range copied {
		copied[i].Offset = int64(i)
	}
	return copied
}

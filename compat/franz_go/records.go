package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"pykbroker.compat/program"
)

var codecs = []struct {
	name       string
	codec      kgo.CompressionCodec
	attributes uint8 // what a record batch's attributes say
}{
	{"none", kgo.NoCompression(), 0},
	{"gzip", kgo.GzipCompression(), 1},
	{"snappy", kgo.SnappyCompression(), 2},
	{"lz4", kgo.Lz4Compression(), 3},
	{"zstd", kgo.ZstdCompression(), 4},
}

func produceConsume(t *program.T) {
	topic, records := t.Name(), program.VariedRecords()
	withTopic(t, program.VariedPartitions, topic, program.KeepForever())
	for _, result := range produce(t, topic, records) {
		acknowledged := result.Record
		sent := records[acknowledged.Timestamp.UnixMilli()-program.BaseTimestamp]
		program.Equal(t, acknowledged.Partition, sent.Partition, "acknowledged partition of record %d", sent.Timestamp)
		program.Equal(t, acknowledged.Offset, sent.Offset, "acknowledged offset of record %d", sent.Timestamp)
	}
	program.SameRecords(t, fromLibrary(consume(t, topic, len(records))), records, "consumed")
}

func compression(t *program.T) {
	for _, each := range codecs {
		topic := t.Name(each.name)
		withTopic(t, 1, topic, nil)
		produce(t, topic, program.StandardRecords(), kgo.ProducerBatchCompression(each.codec))
		records := readStandard(t, topic)
		for _, record := range records {
			program.Equal(t, record.Attrs.CompressionType(), each.attributes, "codec of a batch in %s", topic)
		}
	}
}

func crossCompression(t *program.T) {
	for _, topic := range t.Topics {
		readStandard(t, topic)
	}
}

func readStandard(t *program.T, topic string) []*kgo.Record {
	want := program.StandardRecords()
	for i := range want {
		want[i].Offset = int64(i)
	}
	records := consume(t, topic, len(want))
	program.SameRecords(t, fromLibrary(records), want, topic)
	return records
}

func acks(t *program.T) {
	for name, level := range map[string]kgo.Acks{"0": kgo.NoAck(), "1": kgo.LeaderAck(), "all": kgo.AllISRAcks()} {
		topic, records := t.Name(name), program.NumberedRecords(100)
		withTopic(t, 1, topic, nil)
		results := produce(t, topic, records, kgo.RequiredAcks(level), kgo.DisableIdempotentWrite())
		for i, result := range results {
			if name != "0" {
				program.Equal(t, result.Record.Offset, int64(i), "acks=%s offset of record %d", name, i)
			}
		}
		program.SameRecords(t, fromLibrary(consume(t, topic, len(records))), records, "acks="+name)
	}
}

// Idempotence with five requests in flight is this library's default; 512 bytes is the smallest batch that it allows.
func idempotent(t *program.T) {
	const partitions, perProducer = 3, 500
	topic := t.Name()
	withTopic(t, partitions, topic, nil)
	records := make([]program.Record, 2*perProducer)
	for i := range records {
		records[i] = program.Record{
			Partition: int32(i % partitions),
			Offset:    int64(i / partitions),
			Value:     fmt.Appendf(nil, "value-%04d", i),
		}
	}
	for _, half := range [][]program.Record{records[:perProducer], records[perProducer:]} {
		produce(t, topic, half, kgo.ProducerBatchMaxBytes(512), kgo.ProducerBatchCompression(kgo.NoCompression()))
	}
	program.SameRecords(t, fromLibrary(consume(t, topic, len(records))), records, "consumed")
}

func largeMessages(t *program.T) {
	const raised = 2_000_000
	uncompressed := kgo.ProducerBatchCompression(kgo.NoCompression())
	topic, wideTopic := t.Name(), t.Name("wide")
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, 1, topic, nil)
	createTopic(t, admin, 1, wideTopic, map[string]*string{"max.message.bytes": kadm.StringPtr(fmt.Sprint(raised))})

	large := []program.Record{{Value: program.LargeValue(900_000)}}
	produce(t, topic, large, uncompressed)
	program.SameRecords(t, fromLibrary(consume(t, topic, 1)), large, "900 000 bytes")
	program.SameRecords(t, fromLibrary(consume(t, topic, 1, kgo.FetchMaxPartitionBytes(1000))), large, "with a fetch limit of 1000")

	larger := []program.Record{{Value: program.LargeValue(1_500_000)}}
	producer := newClient(t, kgo.ProducerBatchMaxBytes(raised), uncompressed)
	defer producer.Close()
	err := producer.ProduceSync(t.Context(), toLibrary(topic, larger)...).FirstErr()
	expectError(t, err, kerr.MessageTooLarge, "1 500 000 bytes")
	produce(t, wideTopic, larger, uncompressed, kgo.ProducerBatchMaxBytes(raised))
	program.SameRecords(t, fromLibrary(consume(t, wideTopic, 1)), larger, "1 500 000 bytes")
}

// The library does not tell a position; the end's is shown by the record that is produced after the seek.
func seekReplay(t *program.T) {
	topic, records := t.Name(), program.TimedRecords(500)
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, 1, topic, program.KeepForever())
	produce(t, topic, records)
	checkListedOffsets(t, admin, topic)

	consumer := newClient(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().At(123)}}))
	defer consumer.Close()
	program.SameRecords(t, fromLibrary(poll(t, consumer, 1)), records[123:124], "seek to 123")
	seek := func(offset int64) {
		consumer.SetOffsets(map[string]map[int32]kgo.EpochOffset{topic: {0: {Epoch: -1, Offset: offset}}})
	}
	for _, offset := range []int64{499, 0, 250} {
		seek(offset)
		program.SameRecords(t, fromLibrary(poll(t, consumer, 1)), records[offset:offset+1], fmt.Sprintf("seek to %d", offset))
	}
	seek(0)
	program.SameRecords(t, fromLibrary(poll(t, consumer, len(records))), records, "replay")

	for offset, from := range map[int64]kgo.Offset{
		0:   kgo.NewOffset().AtStart(),
		495: kgo.NewOffset().AtEnd().Relative(-5),
		251: kgo.NewOffset().AfterMilli(program.BaseTimestamp + 1000*250 + 1),
	} {
		at := newClient(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: from}}))
		program.SameRecords(t, fromLibrary(poll(t, at, 1)), records[offset:offset+1], "consume from "+from.String())
		at.Close()
	}
	atEnd := newClient(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtEnd()}}))
	defer atEnd.Close()
	pollNothing(t, atEnd, "at the end")
	produce(t, topic, records[:1])
	program.Equal(t, poll(t, atEnd, 1)[0].Offset, int64(500), "first offset after the end")
}

func checkListedOffsets(t *program.T, admin *kadm.Client, topic string) {
	at := func(milliseconds int64) func() (kadm.ListedOffsets, error) {
		return func() (kadm.ListedOffsets, error) {
			return admin.ListOffsetsAfterMilli(t.Context(), milliseconds, topic)
		}
	}
	const between, last = program.BaseTimestamp + 1000*250, program.BaseTimestamp + 1000*499
	for _, question := range []struct {
		what      string
		ask       func() (kadm.ListedOffsets, error)
		offset    int64
		timestamp int64
	}{
		{"earliest", func() (kadm.ListedOffsets, error) { return admin.ListStartOffsets(t.Context(), topic) }, 0, -1},
		{"latest", func() (kadm.ListedOffsets, error) { return admin.ListEndOffsets(t.Context(), topic) }, 500, -1},
		{"latest committed", func() (kadm.ListedOffsets, error) { return admin.ListCommittedOffsets(t.Context(), topic) }, 500, -1},
		{"max timestamp", func() (kadm.ListedOffsets, error) { return admin.ListMaxTimestampOffsets(t.Context(), topic) }, 499, last},
		{"local log start", func() (kadm.ListedOffsets, error) { return admin.ListLocalLogStartOffsets(t.Context(), topic) }, 0, -1},
		{"at a record's time", at(between), 250, between},
		{"1 ms later", at(between + 1), 251, between + 1000},
		{"after the last", at(last + 1), 500, -1}, // where the broker finds none, kadm asks for the end
	} {
		listed, err := question.ask()
		t.NoError(err, "list offsets "+question.what)
		t.NoError(listed.Error(), "list offsets "+question.what)
		found, _ := listed.Lookup(topic, 0)
		program.Equal(t, found.Offset, question.offset, "listed offset %s", question.what)
		program.Equal(t, found.Timestamp, question.timestamp, "listed timestamp %s", question.what)
	}
}

package main

import (
	"fmt"

	"github.com/IBM/sarama"

	"pykbroker.compat/program"
)

var codecs = map[string]sarama.CompressionCodec{
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

func produceConsume(t *program.T) {
	topic, records := t.Name(), program.VariedRecords()
	withTopic(t, program.VariedPartitions, topic, program.KeepForever())
	for i, acknowledged := range produce(t, topic, records) {
		program.Equal(t, acknowledged.Partition, records[i].Partition, "acknowledged partition of record %d", i)
		program.Equal(t, acknowledged.Offset, records[i].Offset, "acknowledged offset of record %d", i)
	}
	program.SameRecords(t, fromLibrary(consume(t, topic, len(records))), records, "consumed")
}

// The library does not tell which codec a consumed record came in.
func compression(t *program.T) {
	for name, codec := range codecs {
		topic := t.Name(name)
		withTopic(t, 1, topic, nil)
		produce(t, topic, program.StandardRecords(), func(config *sarama.Config) {
			config.Producer.Compression = codec
			config.Producer.Flush.Messages = len(program.StandardRecords()) // one batch
		})
		readStandard(t, topic)
	}
}

func crossCompression(t *program.T) {
	for _, topic := range t.Topics {
		readStandard(t, topic)
	}
}

func readStandard(t *program.T, topic string) {
	want := program.StandardRecords()
	for i := range want {
		want[i].Offset = int64(i)
	}
	program.SameRecords(t, fromLibrary(consume(t, topic, len(want))), want, topic)
}

func acks(t *program.T) {
	for name, level := range map[string]sarama.RequiredAcks{"0": sarama.NoResponse, "1": sarama.WaitForLocal, "all": sarama.WaitForAll} {
		topic, records := t.Name(name), program.NumberedRecords(100)
		withTopic(t, 1, topic, nil)
		messages := produce(t, topic, records, func(config *sarama.Config) { config.Producer.RequiredAcks = level })
		for i, message := range messages {
			if level != sarama.NoResponse { // the offset is then undefined, the library says
				program.Equal(t, message.Offset, int64(i), "acks=%s offset of record %d", name, i)
			}
		}
		program.SameRecords(t, fromLibrary(consume(t, topic, len(records))), records, "acks="+name)
	}
}

// The library allows one request in flight for an idempotent producer, not five.
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
		produce(t, topic, half, func(config *sarama.Config) {
			config.Producer.Idempotent = true
			config.Producer.RequiredAcks = sarama.WaitForAll
			config.Producer.Flush.MaxMessages = 60 // of all partitions
			config.Net.MaxOpenRequests = 1
		})
	}
	program.SameRecords(t, fromLibrary(consume(t, topic, len(records))), records, "consumed")
}

func largeMessages(t *program.T) {
	const raisedTo = 2_000_000
	raised := func(config *sarama.Config) { config.Producer.MaxMessageBytes = raisedTo }
	topic, wideTopic := t.Name(), t.Name("wide")
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, 1, topic, nil)
	createTopic(t, admin, 1, wideTopic, map[string]*string{"max.message.bytes": text(fmt.Sprint(raisedTo))})

	large := []program.Record{{Value: program.LargeValue(900_000)}}
	produce(t, topic, large)
	program.SameRecords(t, fromLibrary(consume(t, topic, 1)), large, "900 000 bytes")
	small := func(config *sarama.Config) { config.Consumer.Fetch.Default, config.Consumer.Fetch.Max = 1000, 1000 }
	program.SameRecords(t, fromLibrary(consume(t, topic, 1, small)), large, "with a fetch limit of 1000")

	larger := []program.Record{{Value: program.LargeValue(1_500_000)}}
	producer := newProducer(t, raised)
	defer producer.Close()
	_, _, err := producer.SendMessage(toLibrary(topic, larger)[0])
	expectError(t, err, sarama.ErrMessageSizeTooLarge, "1 500 000 bytes")
	produce(t, wideTopic, larger, raised)
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

	for _, offset := range []int64{123, 499, 0, 250} {
		program.SameRecords(t, fromLibrary(readAt(t, topic, offset, 1)), records[offset:offset+1], fmt.Sprintf("read at %d", offset))
	}
	program.SameRecords(t, fromLibrary(readAt(t, topic, sarama.OffsetOldest, len(records))), records, "replay")

	consumer := newConsumer(t)
	defer consumer.Close()
	atEnd, err := consumer.ConsumePartition(topic, 0, sarama.OffsetNewest)
	t.NoError(err, "consume from the end")
	defer atEnd.Close()
	receiveNothing(t, atEnd, "at the end")
	produce(t, topic, records[:1])
	select {
	case message := <-atEnd.Messages():
		program.Equal(t, message.Offset, int64(500), "first offset after the end")
	case <-t.Context().Done():
		t.Fatalf("got no record after the end")
	}
}

func checkListedOffsets(t *program.T, admin sarama.ClusterAdmin, topic string) {
	client, err := sarama.NewClient(t.Bootstrap, newConfig(t))
	t.NoError(err, "new client")
	defer client.Close()
	waitForHighWatermark(t, admin, topic, 500)
	const between, last = program.BaseTimestamp + 1000*250, program.BaseTimestamp + 1000*499
	for _, question := range []struct {
		what              string
		at                int64
		offset, timestamp int64
	}{
		{"earliest", sarama.OffsetOldest, 0, -1},
		{"latest", sarama.OffsetNewest, 500, -1},
		{"at a record's time", between, 250, between},
		{"1 ms later", between + 1, 251, between + 1000},
		{"after the last", last + 1, -1, -1},
	} {
		listed, err := admin.ListOffsets(map[string]map[int32]int64{topic: {0: question.at}}, nil)
		t.NoError(err, "list offsets "+question.what)
		found := listed[topic][0]
		t.True(found.Err == nil || found.Err == sarama.ErrNoError, "list offsets %s: %v", question.what, found.Err)
		program.Equal(t, found.Offset, question.offset, "listed offset %s", question.what)
		program.Equal(t, found.Timestamp, question.timestamp, "listed timestamp %s", question.what)
		offset, err := client.GetOffset(topic, 0, question.at)
		t.NoError(err, "get offset "+question.what)
		program.Equal(t, offset, question.offset, "offset got %s", question.what)
	}
	// The library asks with a version that is older than the special timestamp -3 (KIP-734), which brokers refuse.
	_, err = client.GetOffset(topic, 0, -3)
	expectError(t, err, sarama.ErrUnsupportedVersion, "get the offset of the largest timestamp")
}

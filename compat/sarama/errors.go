package main

import (
	"time"

	"github.com/IBM/sarama"

	"pykbroker.compat/program"
)

func autoCreate(t *program.T) {
	topic, missing := t.Name(), t.Name("missing")
	admin := newAdmin(t)
	defer admin.Close()
	record := []program.Record{{Value: []byte("0")}}
	produce(t, topic, record)
	program.Equal(t, len(describeTopic(t, admin, topic).Partitions), 1, "partitions of the created topic")
	program.SameRecords(t, fromLibrary(consume(t, topic, 1)), record, "consumed")

	consumer := newConsumer(t, func(config *sarama.Config) { config.Metadata.AllowAutoTopicCreation = false })
	defer consumer.Close()
	_, err := consumer.ConsumePartition(missing, 0, sarama.OffsetOldest)
	expectError(t, err, sarama.ErrUnknownTopicOrPartition, "consume a topic that is not there")
	_, created := listTopics(t, admin)[missing]
	t.True(!created, "a consumer has created the topic that it asked for")
}

func clientErrors(t *program.T) {
	topic, missing := t.Name(), t.Name("missing")
	admin := newAdmin(t)
	defer admin.Close()
	expectError(t, describeTopic(t, admin, missing).Err, sarama.ErrUnknownTopicOrPartition, "describe an unknown topic")
	_, created := listTopics(t, admin)[missing]
	t.True(!created, "describing has created the topic")

	createTopic(t, admin, 1, topic, nil)
	produce(t, topic, program.NumberedRecords(10))
	checkResets(t, admin, topic)

	producer := newProducer(t)
	defer producer.Close()
	_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Partition: 99, Value: sarama.StringEncoder("x")})
	t.True(err != nil, "produce to partition 99: expected an error, got success")

	for _, timeout := range []time.Duration{3 * time.Millisecond, 5_400_000 * time.Millisecond} {
		consumer := newGroup(t, t.Name("group"), func(config *sarama.Config) {
			config.Consumer.Group.Session.Timeout = timeout
			config.Consumer.Group.Heartbeat.Interval = time.Millisecond
		})
		defer consumer.Close()
		err := consumer.Consume(t.Context(), []string{topic}, handler{})
		expectError(t, err, sarama.ErrInvalidSessionTimeout, "join with a session of "+timeout.String())
	}
}

// checkResets starts consumers at offset 1000 of a topic with 10 records. Only a group's consumer has a reset policy; its committed
// offset is put there.
func checkResets(t *program.T, admin sarama.ClusterAdmin, topic string) {
	consumer := newConsumer(t)
	defer consumer.Close()
	_, err := consumer.ConsumePartition(topic, 0, 1000)
	expectError(t, err, sarama.ErrOffsetOutOfRange, "offset 1000")

	inGroup := func(name string, initial int64, reset bool) (*member, <-chan int64) {
		group, offsets := t.Name(name), make(chan int64, 100)
		committed := map[string]map[int32]sarama.OffsetAndMetadata{topic: {0: {Offset: 1000, LeaderEpoch: -1}}}
		_, err := admin.AlterConsumerGroupOffsets(group, committed, nil)
		t.NoError(err, "alter offsets")
		process := func(message *sarama.ConsumerMessage) { offsets <- message.Offset }
		return newMember(t, topic, group, process, func(config *sarama.Config) {
			config.Consumer.Offsets.Initial = initial
			config.Consumer.Group.ResetInvalidOffsets = reset
		}), offsets
	}
	none, _ := inGroup("none", sarama.OffsetOldest, false)
	defer none.stop()
	select {
	case err := <-none.failed:
		expectError(t, err, sarama.ErrOffsetOutOfRange, "offset 1000 without reset")
	case <-t.Context().Done():
		t.Fatalf("offset 1000 without reset: no error came")
	}

	oldest, offsets := inGroup("oldest", sarama.OffsetOldest, true)
	defer oldest.stop()
	select {
	case offset := <-offsets:
		program.Equal(t, offset, int64(0), "offset 1000 with reset to the start")
	case <-t.Context().Done():
		t.Fatalf("offset 1000 with reset to the start: no record came")
	}

	newest, offsets := inGroup("newest", sarama.OffsetNewest, true)
	defer newest.stop()
	waitOwned(t, "reset to the end", 1, 1, newest) // a claim begins after its offset was chosen
	produce(t, topic, program.NumberedRecords(1))
	select {
	case offset := <-offsets:
		program.Equal(t, offset, int64(10), "offset 1000 with reset to the end")
	case <-t.Context().Done():
		t.Fatalf("offset 1000 with reset to the end: no record came")
	}
}

// protocolVersions: what a configuration for an older Kafka sends is still served. 2.1 is the oldest client release that Kafka 4 serves,
// 2.8 is the library's default, and the others first use flexible versions or newer ones of some requests.
func protocolVersions(t *program.T) {
	for _, version := range []sarama.KafkaVersion{sarama.V2_1_0_0, sarama.V2_4_0_0, sarama.DefaultVersion, sarama.V3_6_0_0} {
		at := func(config *sarama.Config) { config.Version = version }
		topic, records := t.Name(version.String()), program.VariedRecords()[:100]
		admin := newAdmin(t, at)
		defer admin.Close()
		createTopic(t, admin, program.VariedPartitions, topic, program.KeepForever())
		produce(t, topic, records, at)
		program.SameRecords(t, fromLibrary(consume(t, topic, len(records), at)), records, "consumed with "+version.String())

		single, numbered, group := topic+"-single", program.NumberedRecords(20), topic+"-group"
		createTopic(t, admin, 1, single, nil)
		produce(t, single, numbered, at)
		messages, _ := readInGroup(t, single, group, 20, "", at)
		program.SameRecords(t, fromLibrary(messages), numbered, "consumed in a group with "+version.String())
		committed := committedOffsets(t, admin, group, map[string][]int32{single: {0}}).GetBlock(single, 0)
		program.Equal(t, committed.Offset, int64(20), "offset committed with %s", version)
		program.Equal(t, describeGroup(t, admin, group).State, "Empty", "state of the group described with %s", version)
		t.NoError(admin.DeleteConsumerGroup(group), "delete group with "+version.String())
		t.NoError(admin.DeleteTopic(topic), "delete topic with "+version.String())
	}
}

// The scenarios of compat/README.md with sarama.
//
// Here: the table of scenarios and what all of them use. Not here: records.go, groups.go, rebalance.go, admin.go, errors.go.
//
// Rules: Config.Version is the newest that the library knows, as its users set it to their cluster's; protocol_versions uses older ones.
package main

import (
	"errors"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/IBM/sarama"

	"pykbroker.compat/program"
)

const (
	// How long a consumer must get nothing before a scenario believes that there is nothing.
	quiet   = 2 * time.Second
	patient = 30 * time.Second
)

func main() {
	sarama.Logger = log.New(os.Stderr, "[sarama] ", log.Ltime|log.Lmicroseconds)
	program.Main(map[string]program.Scenario{
		"produce_consume":       produceConsume,
		"compression":           compression,
		"cross_compression":     crossCompression,
		"acks":                  acks,
		"idempotent":            idempotent,
		"large_messages":        largeMessages,
		"seek_replay":           seekReplay,
		"commit_resume":         commitResume,
		"group_rebalance":       groupRebalance,
		"static_membership":     staticMembership,
		"transactions":          transactions,
		"admin_topics":          adminTopics,
		"admin_configs":         adminConfigs,
		"admin_groups":          adminGroups,
		"admin_records":         adminRecords,
		"auto_create":           autoCreate,
		"errors":                clientErrors,
		"transactional_offsets": transactionalOffsets,
		"protocol_versions":     protocolVersions,
	})
}

// configure changes a configuration before it is used.
type configure func(*sarama.Config)

func newConfig(t *program.T, changes ...configure) *sarama.Config {
	config := sarama.NewConfig()
	config.ClientID = t.Name("client")
	config.Version = sarama.MaxVersion
	config.Consumer.Return.Errors = true
	for _, change := range changes {
		change(config)
	}
	return config
}

func newAdmin(t *program.T, changes ...configure) sarama.ClusterAdmin {
	admin, err := sarama.NewClusterAdmin(t.Bootstrap, newConfig(t, changes...))
	t.NoError(err, "new admin client")
	return admin
}

// createTopic creates a topic and waits until the leader of every partition answers (why: ../README.md).
func createTopic(t *program.T, admin sarama.ClusterAdmin, partitions int32, topic string, configs map[string]*string) {
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: program.ReplicationFactor(), ConfigEntries: configs}
	t.NoError(admin.CreateTopic(topic, detail, false), "create topic "+topic)
	waitForLeaders(t, admin, topic, int(partitions))
}

// waitForHighWatermark waits until the followers of partition 0 have what was produced: the library waits for its leader only.
func waitForHighWatermark(t *program.T, admin sarama.ClusterAdmin, topic string, offset int64) {
	t.WaitUntil(fmt.Sprintf("the high watermark of %s is %d", topic, offset), patient, func() bool {
		listed, err := admin.ListOffsets(map[string]map[int32]int64{topic: {0: sarama.OffsetNewest}}, nil)
		return err == nil && listed[topic][0].Offset >= offset
	})
}

func waitForLeaders(t *program.T, admin sarama.ClusterAdmin, topic string, partitions int) {
	t.WaitUntil("leaders of topic "+topic, patient, func() bool {
		asked := make(map[int32]int64, partitions)
		for partition := range partitions {
			asked[int32(partition)] = sarama.OffsetNewest
		}
		listed, err := admin.ListOffsets(map[string]map[int32]int64{topic: asked}, nil)
		ready := err == nil && len(describeTopic(t, admin, topic).Partitions) == partitions
		for _, answer := range listed[topic] {
			ready = ready && (answer.Err == nil || answer.Err == sarama.ErrNoError)
		}
		return ready
	})
}

func describeTopic(t *program.T, admin sarama.ClusterAdmin, topic string) *sarama.TopicMetadata {
	topics, err := admin.DescribeTopics([]string{topic})
	t.NoError(err, "describe topic "+topic)
	program.Equal(t, len(topics), 1, "described topics")
	return topics[0]
}

// withTopic creates a topic and leaves no admin client behind.
func withTopic(t *program.T, partitions int32, topic string, configs map[string]*string) {
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, partitions, topic, configs)
}

func newProducer(t *program.T, changes ...configure) sarama.SyncProducer {
	config := newConfig(t, changes...)
	config.Producer.Return.Successes = true
	config.Producer.Partitioner = sarama.NewManualPartitioner
	producer, err := sarama.NewSyncProducer(t.Bootstrap, config)
	t.NoError(err, "new producer")
	return producer
}

// produce sends the records to the partitions that they name and returns what was acknowledged.
func produce(t *program.T, topic string, records []program.Record, changes ...configure) []*sarama.ProducerMessage {
	producer := newProducer(t, changes...)
	defer producer.Close()
	messages := toLibrary(topic, records)
	t.NoError(producer.SendMessages(messages), "produce to "+topic)
	return messages
}

func toLibrary(topic string, records []program.Record) []*sarama.ProducerMessage {
	messages := make([]*sarama.ProducerMessage, len(records))
	for i, record := range records {
		messages[i] = &sarama.ProducerMessage{Topic: topic, Partition: record.Partition}
		if record.Key != nil {
			messages[i].Key = sarama.ByteEncoder(record.Key)
		}
		if record.Value != nil {
			messages[i].Value = sarama.ByteEncoder(record.Value)
		}
		if record.Timestamp != 0 {
			messages[i].Timestamp = program.Time(record.Timestamp)
		}
		for _, header := range record.Headers {
			messages[i].Headers = append(messages[i].Headers, sarama.RecordHeader{Key: []byte(header.Key), Value: header.Value})
		}
	}
	return messages
}

func fromLibrary(messages []*sarama.ConsumerMessage) []program.Record {
	records := make([]program.Record, len(messages))
	for i, message := range messages {
		records[i] = program.Record{
			Partition: message.Partition,
			Offset:    message.Offset,
			Key:       message.Key,
			Value:     message.Value,
			Timestamp: message.Timestamp.UnixMilli(),
		}
		for _, header := range message.Headers {
			records[i].Headers = append(records[i].Headers, program.Header{Key: string(header.Key), Value: header.Value})
		}
	}
	return records
}

func newConsumer(t *program.T, changes ...configure) sarama.Consumer {
	consumer, err := sarama.NewConsumer(t.Bootstrap, newConfig(t, changes...))
	t.NoError(err, "new consumer")
	return consumer
}

// consume reads `count` records of all partitions from the beginning, without a group.
func consume(t *program.T, topic string, count int, changes ...configure) []*sarama.ConsumerMessage {
	consumer := newConsumer(t, changes...)
	defer consumer.Close()
	partitions, err := consumer.Partitions(topic)
	t.NoError(err, "partitions of "+topic)
	messages, failures := make(chan *sarama.ConsumerMessage), make(chan error, len(partitions))
	for _, partition := range partitions {
		claimed, err := consumer.ConsumePartition(topic, partition, sarama.OffsetOldest)
		t.NoError(err, "consume "+topic)
		defer claimed.Close()
		go forward(t, claimed, messages, failures)
	}
	return receive(t, messages, failures, count)
}

func forward(t *program.T, claimed sarama.PartitionConsumer, messages chan<- *sarama.ConsumerMessage, failures chan<- error) {
	for {
		select {
		case message, open := <-claimed.Messages():
			if !open {
				return
			}
			select {
			case messages <- message:
			case <-t.Context().Done():
				return
			}
		case err, open := <-claimed.Errors():
			if !open {
				return
			}
			failures <- err
			return
		}
	}
}

func receive(t *program.T, messages <-chan *sarama.ConsumerMessage, failures <-chan error, count int) []*sarama.ConsumerMessage {
	var received []*sarama.ConsumerMessage
	for len(received) < count {
		select {
		case message := <-messages:
			received = append(received, message)
		case err := <-failures:
			t.Fatalf("consume: %v", err)
		case <-t.Context().Done():
			t.Fatalf("got %d of %d records", len(received), count)
		}
	}
	return received
}

// readAt reads `count` records of partition 0 from an offset, which may be OffsetOldest or OffsetNewest.
func readAt(t *program.T, topic string, offset int64, count int) []*sarama.ConsumerMessage {
	consumer := newConsumer(t)
	defer consumer.Close()
	claimed, err := consumer.ConsumePartition(topic, 0, offset)
	t.NoError(err, "consume "+topic)
	defer claimed.Close()
	messages, failures := make(chan *sarama.ConsumerMessage), make(chan error, 1)
	go forward(t, claimed, messages, failures)
	return receive(t, messages, failures, count)
}

// receiveNothing fails if a record arrives before `quiet` is over.
func receiveNothing(t *program.T, claimed sarama.PartitionConsumer, what string) {
	select {
	case message := <-claimed.Messages():
		t.Fatalf("%s: expected no record, got offset %d", what, message.Offset)
	case err := <-claimed.Errors():
		t.Fatalf("%s: %v", what, err)
	case <-time.After(quiet):
	}
}

// expectError fails unless `err` is the Kafka error that is wanted.
func expectError(t *program.T, err error, want sarama.KError, what string) {
	if err == nil {
		t.Fatalf("%s: expected %v, got success", what, want)
	}
	t.True(errors.Is(err, want), "%s: expected %v, got %v", what, want, err)
}

func text(value string) *string { return &value }

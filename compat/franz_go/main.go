// The scenarios of compat/README.md with franz-go: kgo for records and groups, kadm for administration.
//
// Here: the table of scenarios and what all of them use. Not here: records.go, groups.go, rebalance.go, admin.go, errors.go and, for the
// requests that only this client sends, protocol.go.
package main

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"pykbroker.compat/program"
)

const (
	// How long a consumer must get nothing before a scenario believes that there is nothing.
	quiet   = 2 * time.Second
	patient = 30 * time.Second
)

func main() {
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
		"describe_cluster":      describeCluster,
		"topic_partitions":      topicPartitions,
		"leader_epochs":         leaderEpochs,
		"api_versions":          apiVersions,
	})
}

// newClient returns a client of this scenario; the caller closes it.
func newClient(t *program.T, options ...kgo.Opt) *kgo.Client {
	options = append([]kgo.Opt{kgo.SeedBrokers(t.Bootstrap...), kgo.ClientID(t.Name("client"))}, options...)
	client, err := kgo.NewClient(options...)
	t.NoError(err, "new client")
	return client
}

// quickMetadata lets an admin client see soon what it has changed. It is not for producers: they give up on an unknown topic after five
// answers, which this would make a fraction of a second.
func quickMetadata() kgo.Opt { return kgo.MetadataMinAge(50 * time.Millisecond) }

// newAdmin returns an admin client of this scenario; the caller closes it.
func newAdmin(t *program.T) *kadm.Client { return kadm.NewClient(newClient(t, quickMetadata())) }

// createTopic creates a topic and waits until the leader of every partition answers (why: ../README.md).
func createTopic(t *program.T, admin *kadm.Client, partitions int32, topic string, configs map[string]*string) {
	_, err := admin.CreateTopic(t.Context(), partitions, program.ReplicationFactor(), configs, topic)
	t.NoError(err, "create topic "+topic)
	t.WaitUntil("leaders of topic "+topic, patient, func() bool {
		listed, err := admin.ListEndOffsets(t.Context(), topic)
		return err == nil && listed.Error() == nil && len(listed[topic]) == int(partitions)
	})
	t.WaitUntil("every broker knows topic "+topic, patient, func() bool { return knownToAll(t, topic) })
}

// knownToAll says whether every broker that answers knows the topic: a cluster's others learn of it a moment later.
func knownToAll(t *program.T, topic string) bool {
	client := newClient(t)
	defer client.Close()
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = &topic
	for _, broker := range client.SeedBrokers() {
		request := kmsg.NewPtrMetadataRequest()
		request.Topics = []kmsg.MetadataRequestTopic{asked}
		response, err := broker.Request(t.Context(), request)
		if err == nil && response.(*kmsg.MetadataResponse).Topics[0].ErrorCode != 0 {
			return false
		}
	}
	return true
}

// listAll asks the broker for all topics. Without the question for authorized operations kadm may answer from what it asked before.
func listAll(t *program.T, admin *kadm.Client) kadm.TopicDetails {
	topics, err := admin.ListTopics(kadm.WithAuthorizedOps(t.Context()))
	t.NoError(err, "list topics")
	return topics
}

// withTopic creates a topic and leaves no admin client behind.
func withTopic(t *program.T, partitions int32, topic string, configs map[string]*string) {
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, partitions, topic, configs)
}

// produce sends the records to the partitions that they name and returns what was acknowledged.
func produce(t *program.T, topic string, records []program.Record, options ...kgo.Opt) kgo.ProduceResults {
	client := newClient(t, append([]kgo.Opt{kgo.RecordPartitioner(kgo.ManualPartitioner())}, options...)...)
	defer client.Close()
	results := client.ProduceSync(t.Context(), toLibrary(topic, records)...)
	t.NoError(results.FirstErr(), "produce to "+topic)
	return results
}

func toLibrary(topic string, records []program.Record) []*kgo.Record {
	converted := make([]*kgo.Record, len(records))
	for i, record := range records {
		converted[i] = &kgo.Record{Topic: topic, Partition: record.Partition, Key: record.Key, Value: record.Value}
		if record.Timestamp != 0 {
			converted[i].Timestamp = program.Time(record.Timestamp)
		}
		for _, header := range record.Headers {
			converted[i].Headers = append(converted[i].Headers, kgo.RecordHeader(header))
		}
	}
	return converted
}

func fromLibrary(records []*kgo.Record) []program.Record {
	converted := make([]program.Record, len(records))
	for i, record := range records {
		converted[i] = program.Record{
			Partition: record.Partition,
			Offset:    record.Offset,
			Key:       record.Key,
			Value:     record.Value,
			Timestamp: record.Timestamp.UnixMilli(),
		}
		for _, header := range record.Headers {
			converted[i].Headers = append(converted[i].Headers, program.Header(header))
		}
	}
	return converted
}

// consume reads `count` records of the topic from the beginning, without a group.
func consume(t *program.T, topic string, count int, options ...kgo.Opt) []*kgo.Record {
	options = append([]kgo.Opt{kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, options...)
	client := newClient(t, options...)
	defer client.Close()
	return poll(t, client, count)
}

// poll reads until there are `count` records and leaves the rest in the client.
func poll(t *program.T, client *kgo.Client, count int) []*kgo.Record {
	var records []*kgo.Record
	for len(records) < count {
		fetches := client.PollRecords(t.Context(), count-len(records))
		if t.Context().Err() != nil {
			t.Fatalf("got %d of %d records", len(records), count)
		}
		t.NoError(fetches.Err(), "poll")
		records = append(records, fetches.Records()...)
	}
	return records
}

// pollNothing fails if a record arrives before `quiet` is over.
func pollNothing(t *program.T, client *kgo.Client, what string) {
	ctx, cancel := context.WithTimeout(t.Context(), quiet)
	defer cancel()
	fetches := client.PollFetches(ctx)
	if records := fetches.Records(); len(records) > 0 {
		t.Fatalf("%s: expected no record, got offset %d of partition %d", what, records[0].Offset, records[0].Partition)
	}
	if err := fetches.Err(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%s: %v", what, err)
	}
}

// pollError polls until the library reports an error other than the end of the scenario.
func pollError(t *program.T, client *kgo.Client, what string) error {
	for {
		fetches := client.PollFetches(t.Context())
		if t.Context().Err() != nil {
			t.Fatalf("%s: no error came", what)
		}
		if err := fetches.Err(); err != nil {
			return err
		}
	}
}

// expectError fails unless `err` is the Kafka error that is wanted.
func expectError(t *program.T, err, want error, what string) {
	if err == nil {
		t.Fatalf("%s: expected %v, got success", what, want)
	}
	t.True(errors.Is(err, want), "%s: expected %v, got %v", what, want, err)
}

package main

// Requests that only this client's users send: kadm's and kmsg's views of the cluster.

import (
	"net"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"pykbroker.compat/program"
)

// describeCluster: DescribeCluster and Metadata agree on the cluster id, the brokers and the operations that are allowed (KIP-700).
func describeCluster(t *program.T) {
	client := newClient(t, quickMetadata())
	admin := kadm.NewClient(client)
	defer admin.Close()
	metadata, err := admin.BrokerMetadata(t.Context())
	t.NoError(err, "metadata")
	request := kmsg.NewPtrDescribeClusterRequest()
	request.IncludeClusterAuthorizedOperations = true
	request.EndpointType = 1
	response, err := request.RequestWith(t.Context(), client)
	t.NoError(err, "describe cluster")
	t.NoError(kerr.ErrorForCode(response.ErrorCode), "describe cluster")
	t.True(response.ClusterID != "", "describe cluster: no cluster id")
	program.Equal(t, response.ClusterID, metadata.Cluster, "cluster id")
	program.Equal(t, len(response.Brokers), len(metadata.Brokers), "brokers")
	known := map[int32]string{}
	for _, broker := range metadata.Brokers {
		known[broker.NodeID] = net.JoinHostPort(broker.Host, strconv.Itoa(int(broker.Port)))
	}
	for _, broker := range response.Brokers {
		address := net.JoinHostPort(broker.Host, strconv.Itoa(int(broker.Port)))
		program.Equal(t, known[broker.NodeID], address, "address of broker %d", broker.NodeID)
		t.True(!broker.IsFenced, "broker %d is fenced", broker.NodeID)
	}
	_, hasController := known[response.ControllerID]
	t.True(hasController, "controller %d is not among the brokers", response.ControllerID)
	operations := kadm.DecodeACLOperations(response.ClusterAuthorizedOperations)
	t.True(len(operations) > 0, "describe cluster: no authorized operations")
	request.EndpointType = 9
	response, err = request.RequestWith(t.Context(), client)
	t.NoError(err, "describe cluster")
	expectError(t, kerr.ErrorForCode(response.ErrorCode), kerr.UnsupportedEndpointType, "describe cluster with endpoint type 9")
}

// topicPartitions: DescribeTopicPartitions page by page (KIP-966).
func topicPartitions(t *program.T) {
	topics := []string{t.Name("a"), t.Name("b")}
	client := newClient(t, quickMetadata())
	admin := kadm.NewClient(client)
	defer admin.Close()
	for _, topic := range topics {
		createTopic(t, admin, 3, topic, nil)
	}
	request := kmsg.NewPtrDescribeTopicPartitionsRequest()
	request.ResponsePartitionLimit = 2
	for _, topic := range append(topics, t.Name("missing")) {
		wanted := kmsg.NewDescribeTopicPartitionsRequestTopic()
		wanted.Topic = topic
		request.Topics = append(request.Topics, wanted)
	}
	found := map[string][]int32{}
	missing := false
	for pages := 1; ; pages++ {
		t.True(pages <= 4, "more pages than 6 partitions need: the cursor does not advance")
		response, err := request.RequestWith(t.Context(), client)
		t.NoError(err, "describe topic partitions")
		for _, topic := range response.Topics {
			if topic.Topic != nil && *topic.Topic == t.Name("missing") {
				expectError(t, kerr.ErrorForCode(topic.ErrorCode), kerr.UnknownTopicOrPartition, "a topic that is not there")
				missing = true
				continue
			}
			t.NoError(kerr.ErrorForCode(topic.ErrorCode), "topic")
			for _, partition := range topic.Partitions {
				t.NoError(kerr.ErrorForCode(partition.ErrorCode), "partition")
				program.Equal(t, len(partition.Replicas), int(program.ReplicationFactor()), "number of replicas")
				t.True(slices.Contains(partition.Replicas, partition.LeaderID), "the leader is not among the replicas")
				t.True(slices.Contains(partition.ISR, partition.LeaderID), "the leader is not in sync")
				found[*topic.Topic] = append(found[*topic.Topic], partition.Partition)
			}
		}
		if response.NextCursor == nil {
			break
		}
		request.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{
			Topic:     response.NextCursor.Topic,
			Partition: response.NextCursor.Partition,
		}
	}
	all := []int32{0, 1, 2}
	program.Equal(t, found, map[string][]int32{topics[0]: all, topics[1]: all}, "partitions of all pages")
	t.True(missing, "the topic that is not there was not answered")
}

// leaderEpochs: OffsetForLeaderEpoch of the current, an unknown and a negative epoch (KIP-320).
func leaderEpochs(t *program.T) {
	topic := t.Name()
	admin := newAdmin(t)
	defer admin.Close()
	createTopic(t, admin, 1, topic, nil)
	produce(t, topic, program.NumberedRecords(10))
	topics, err := admin.ListTopics(t.Context(), topic)
	t.NoError(err, "describe topic")
	epoch := topics[topic].Partitions[0].LeaderEpoch
	t.True(epoch >= 0, "leader epoch %d", epoch)
	program.Equal(t, consume(t, topic, 1)[0].LeaderEpoch, epoch, "leader epoch of a record")
	for _, question := range []struct {
		asked, epoch int32
		endOffset    int64
	}{{epoch, epoch, 10}, {epoch + 5, -1, -1}, {-1, -1, -1}} {
		var request kadm.OffsetForLeaderEpochRequest
		request.Add(topic, 0, question.asked)
		answers, err := admin.OffsetForLeaderEpoch(t.Context(), request)
		t.NoError(err, "offset for leader epoch")
		answer := answers[topic][0]
		t.NoError(answer.Err, "offset for leader epoch")
		program.Equal(t, answer.LeaderEpoch, question.epoch, "leader epoch for %d", question.asked)
		program.Equal(t, answer.EndOffset, question.endOffset, "end offset of epoch %d", question.asked)
	}
	ends, err := admin.ListEndOffsets(t.Context(), topic)
	t.NoError(err, "list offsets")
	end, _ := ends.Lookup(topic, 0)
	program.Equal(t, end.LeaderEpoch, epoch, "leader epoch of the listed end")
}

// apiVersions: each key that the broker lists is served up to the newest version that the library speaks. (The library's
// guess of a release asks for every key of that release, so it says nothing of a broker that serves some of them.)
func apiVersions(t *program.T) {
	admin := newAdmin(t)
	defer admin.Close()
	brokers, err := admin.ApiVersions(t.Context())
	t.NoError(err, "api versions")
	for _, broker := range brokers.Sorted() {
		t.NoError(broker.Err, "api versions")
		_, highest, exists := broker.KeyVersions(kmsg.NewPtrProduceRequest().Key())
		t.True(exists && highest >= 12, "highest version of Produce: expected 12 or more, got %d", highest)
		broker.EachKeySorted(func(key, _, highest int16) {
			if request := kmsg.RequestForKey(key); request != nil {
				newest := request.MaxVersion()
				t.True(highest >= newest, "highest version of %s: expected %d, got %d", kmsg.NameForKey(key), newest, highest)
			}
		})
	}
}

// How a Go program's client takes it when its broker fails:
//
//	pykbroker test -- go test
package retry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Fault has the fields of docs/TESTING.md that these tests use.
type Fault struct {
	ID       int    `json:"id,omitempty"`
	API      string `json:"api,omitempty"`
	Topic    string `json:"topic,omitempty"`
	Error    string `json:"error,omitempty"`
	Drop     bool   `json:"drop,omitempty"`
	When     string `json:"when,omitempty"`
	CutBytes int    `json:"cut_bytes,omitempty"`
	Times    int    `json:"times,omitempty"`
}

func TestProducerFindsTheLeaderAgain(t *testing.T) {
	client := emptyKafka(t)
	fault := order(t, "/faults", Fault{API: "Produce", Topic: "orders", Error: "NOT_LEADER_OR_FOLLOWER", Times: 2})
	sent, err := client.ProduceSync(t.Context(), record("tea")).First()
	if err != nil || sent.Offset != 0 {
		t.Fatal(sent.Offset, err)
	}
	if met := hits(t, fault); met != 2 {
		t.Fatal(met)
	}
}

func TestAnswerThatIsLostCostsNoSecondRecord(t *testing.T) {
	client := emptyKafka(t)
	order(t, "/faults", Fault{API: "Produce", Topic: "orders", Drop: true, When: "after", Times: 1})
	for offset, value := range []string{"tea", "cake"} {
		sent, err := client.ProduceSync(t.Context(), record(value)).First()
		if err != nil || sent.Offset != int64(offset) {
			t.Fatal(sent.Offset, err)
		}
	}
}

func TestConsumerSurvivesHalfAnAnswer(t *testing.T) {
	client := emptyKafka(t, kgo.ConsumeTopics("orders"))
	fault := order(t, "/faults", Fault{API: "Fetch", CutBytes: 20, Times: 1})
	if err := client.ProduceSync(t.Context(), record("tea")).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if got := client.PollFetches(t.Context()).Records(); len(got) != 1 || string(got[0].Value) != "tea" {
		t.Fatal(got)
	}
	if met := hits(t, fault); met != 1 {
		t.Fatal(met)
	}
}

func record(value string) *kgo.Record {
	return &kgo.Record{Topic: "orders", Value: []byte(value)}
}

// emptyKafka ends what earlier tests left and returns a client.
func emptyKafka(t *testing.T, more ...kgo.Opt) *kgo.Client {
	order(t, "/faults/actions/reset", struct{}{})
	client, err := kgo.NewClient(append(more,
		kgo.SeedBrokers(strings.Split(os.Getenv("KAFKA_BOOTSTRAP_SERVERS"), ",")...),
		kgo.AllowAutoTopicCreation(),
		kgo.MetadataMinAge(10*time.Millisecond), // else it asks for the leader every five seconds
	)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// order asks the brokers' HTTP address for a fault, or for an action.
func order(t *testing.T, path string, body any) Fault {
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.Post(os.Getenv("PYKBROKER_HTTP")+path, "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	told, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode >= 300 {
		t.Fatal(answer.Status, string(told), err)
	}
	var fault Fault
	if err := json.Unmarshal(told, &fault); err != nil {
		t.Fatal(err)
	}
	return fault
}

func hits(t *testing.T, fault Fault) (met int) {
	answer, err := http.Get(fmt.Sprintf("%s/faults/%d/hits", os.Getenv("PYKBROKER_HTTP"), fault.ID))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&met); err != nil {
		t.Fatal(err)
	}
	return met
}

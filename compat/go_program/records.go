package program

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// Record is what scenarios compare, in no library's terms. A nil key or value is Kafka's null.
type Record struct {
	Partition int32
	Offset    int64
	Key       []byte
	Value     []byte
	Headers   []Header
	Timestamp int64 // milliseconds
}

// Header is one header of a record; a nil value is Kafka's null.
type Header struct {
	Key   string
	Value []byte
}

const (
	// BaseTimestamp is the timestamp of the first record where a scenario sets timestamps.
	BaseTimestamp = int64(1700000000000)

	standardCount = 200
	variedCount   = 1000
	// VariedPartitions is the number of partitions that VariedRecords are for.
	VariedPartitions = 4
)

// Time returns a timestamp's time.Time, which Go libraries want.
func Time(millis int64) time.Time { return time.UnixMilli(millis) }

// StandardRecords returns the records of `compression` and `cross_compression`.
func StandardRecords() []Record {
	records := make([]Record, standardCount)
	for i := range records {
		records[i].Key = fmt.Appendf(nil, "key-%04d", i)
		records[i].Value = fmt.Appendf(nil, "value-%04d-%s", i, strings.Repeat("abcdefghij", 20))
	}
	return records
}

// VariedRecords returns the records of `produce_consume`, with the offsets that they must get. Their topic needs KeepForever.
func VariedRecords() []Record {
	records := make([]Record, variedCount)
	for i := range records {
		records[i] = Record{
			Partition: int32(i % VariedPartitions),
			Offset:    int64(i / VariedPartitions),
			Timestamp: BaseTimestamp + int64(i),
			Headers: []Header{
				{"index", fmt.Appendf(nil, "%d", i)},
				{"empty", []byte{}},
				{"none", nil},
				{"index", []byte("again")},
			},
		}
		if i%10 != 3 {
			records[i].Key = fmt.Appendf(nil, "key-%d", i)
		}
		if i%10 != 7 {
			records[i].Value = append(fmt.Appendf(nil, "value-%d", i), bytes.Repeat([]byte("x"), i)...)
		}
	}
	return records
}

// NumberedRecords returns `count` records of one partition whose value is their index.
func NumberedRecords(count int) []Record {
	records := make([]Record, count)
	for i := range records {
		records[i] = Record{
			Offset: int64(i),
			Value:  fmt.Appendf(nil, "%d", i),
		}
	}
	return records
}

// TimedRecords returns NumberedRecords whose timestamps are a second apart. Their topic needs KeepForever.
func TimedRecords(count int) []Record {
	records := NumberedRecords(count)
	for i := range records {
		records[i].Timestamp = BaseTimestamp + 1000*int64(i)
	}
	return records
}

// KeepForever returns the configs of a topic whose records are from BaseTimestamp on. They are past the default retention: a broker may
// delete them as soon as they are written.
func KeepForever() map[string]*string {
	forever := "-1"
	return map[string]*string{"retention.ms": &forever}
}

// LargeValue returns bytes that no codec makes smaller, the same on every call.
func LargeValue(size int) []byte {
	value := make([]byte, size)
	if _, err := rand.NewChaCha8([32]byte{}).Read(value); err != nil {
		panic(err) // it never fails
	}
	return value
}

// SameRecords ends the scenario as failed unless the records are these, in this order within each partition.
// Headers and timestamps are compared where the wanted record has them.
func SameRecords(t *T, got, want []Record, what string) {
	byPartition := make(map[int32][]Record)
	for _, record := range got {
		byPartition[record.Partition] = append(byPartition[record.Partition], record)
	}
	next := make(map[int32]int)
	for _, expected := range want {
		partition := expected.Partition
		at := next[partition]
		next[partition]++
		if at >= len(byPartition[partition]) {
			t.Fatalf("%s: partition %d has %d records, expected more", what, partition, len(byPartition[partition]))
		}
		record := byPartition[partition][at]
		where := fmt.Sprintf("%s: partition %d record %d", what, partition, at)
		Equal(t, record.Offset, expected.Offset, "%s offset", where)
		Equal(t, record.Key, expected.Key, "%s key", where)
		Equal(t, record.Value, expected.Value, "%s value", where)
		if expected.Headers != nil {
			Equal(t, record.Headers, expected.Headers, "%s headers", where)
		}
		if expected.Timestamp != 0 {
			Equal(t, record.Timestamp, expected.Timestamp, "%s timestamp", where)
		}
	}
	Equal(t, len(got), len(want), "%s: number of records", what)
}

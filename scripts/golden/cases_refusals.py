"""What a broker refuses: wrong batches, odd arguments, topics and partitions that are not there."""

from __future__ import annotations

import struct

from golden.caller import FIRST_TIMESTAMP, Caller, Story, Values, batch
from golden.cases_records import TOPIC
from wire.compression import Codec
from wire.crc32c import crc32c

STAMPED, COMPACTED, SMALL, ZSTD = "stamped", "compacted", "small", "zstd"
ATTRIBUTES, LAST_OFFSET_DELTA, PRODUCER_EPOCH, RECORD_COUNT = 21, 23, 51, 57  # where they stand in a batch


def changed(records: bytes, position: int, form: str, value: int, *, with_crc: bool = True) -> bytes:
    """Return the batch with another value at `position`."""
    made = bytearray(records)
    struct.pack_into(form, made, position, value)
    if with_crc:
        struct.pack_into(">I", made, 17, crc32c(made[21:]))
    return bytes(made)


def produce_refusals(caller: Caller) -> None:
    configs = {
        STAMPED: ("message.timestamp.type", "LogAppendTime"),
        COMPACTED: ("cleanup.policy", "compact"),
        SMALL: ("max.message.bytes", "150"),
    }
    made = [
        {"name": name, "num_partitions": 1, "replication_factor": 1, "configs": [{"name": config, "value": value}]}
        for name, (config, value) in configs.items()
    ]
    caller.call("CreateTopics", 7, {"topics": made, "timeout_ms": 30000})
    for name in configs:
        partitions = [{"partition_index": 0, "timestamp": -1, "current_leader_epoch": 0}]
        caller.settle("ListOffsets", 9, {"replica_id": -1, "topics": [{"name": name, "partitions": partitions}]},
                      lambda answer: not answer.topics[0].partitions[0].error_code)  # fmt: skip
    good = batch(b"one")
    framing = {
        "empty": b"",  # null is not asked: Kafka never answers it
        "short": good[:40],
        "cut": good[:-1],
        "two": good + good,
        "junk behind": good + b"\0" * 5,
        "crc": changed(good, len(good) - 1, ">B", 1, with_crc=False),
        "magic 1": changed(good, 16, ">b", 1, with_crc=False),
        "magic 9": changed(good, 16, ">b", 9, with_crc=False),
        "length": changed(good, 8, ">i", 3, with_crc=False),
        "base offset": changed(good, 0, ">q", 5, with_crc=False),
        "codec": changed(good, ATTRIBUTES, ">h", 6),
        "control": changed(good, ATTRIBUTES, ">h", 0x20),
        "append time": changed(good, ATTRIBUTES, ">h", 8),
        "count": changed(good, RECORD_COUNT, ">i", 2),
        "no count": changed(good, RECORD_COUNT, ">i", 0),
        "delta": changed(good, LAST_OFFSET_DELTA, ">i", -1),
        "future": batch(b"one", timestamp=FIRST_TIMESTAMP * 4),
        "sequence": batch(b"one", producer_id=7, sequence=-1),
        "gap": batch(b"one", producer_id=70, sequence=5),
    }
    for records in framing.values():
        caller.every("Produce", produced(caller, TOPIC, records))
    caller.every("Produce", produced(caller, COMPACTED, batch(b"one", b"two", key=None)))
    caller.every("Produce", produced(caller, SMALL, batch(b"x" * 200)))
    caller.every("Produce", produced(caller, STAMPED, good))
    caller.every("Produce", produced(caller, TOPIC, batch(b"one", compression=Codec.ZSTD)))
    for acks in (2, -2):
        caller.every("Produce", {**produced(caller, TOPIC, good), "acks": acks})
        caller.every("Produce", {**produced(caller, "absent", good), "acks": acks})
    caller.every("Produce", produced(caller, TOPIC, batch(b"one", producer_id=7, sequence=0, transactional=True)))
    caller.every("Produce", produced(caller, TOPIC, batch(b"one", transactional=True)))


def sequences(caller: Caller) -> None:
    """What an idempotent producer can have wrong, each a producer of its own in each version."""
    steps = [
        [(0, 0), (0, 0), (0, 1), (0, 3), (0, 1), (0, 0)],
        [(1, 0), (0, 1), (2, 1), (2, 0), (1, 1)],
        [(0, 2147483647), (0, 0)],
    ]
    for version in caller.versions("Produce"):
        for number, story in enumerate(steps):
            for epoch, sequence in story:
                records = batch(b"one", producer_id=1000 + 10 * version + number, sequence=sequence)
                caller.call("Produce", version, produced(caller, TOPIC, changed(records, PRODUCER_EPOCH, ">h", epoch)))


def zstd(caller: Caller) -> None:
    config = [{"name": "compression.type", "value": "zstd"}]
    made = {"name": ZSTD, "num_partitions": 1, "replication_factor": 1, "configs": config}
    created = caller.call("CreateTopics", 7, {"topics": [made], "timeout_ms": 30000})
    partitions = [{"partition_index": 0, "timestamp": -1, "current_leader_epoch": 0}]
    caller.settle("ListOffsets", 9, {"replica_id": -1, "topics": [{"name": ZSTD, "partitions": partitions}]},
                  lambda answer: not answer.topics[0].partitions[0].error_code)  # fmt: skip
    asked = [{"partition": 0, "fetch_offset": 0, "partition_max_bytes": 1000}]
    topics = [{"topic": ZSTD, "topic_id": created.topics[0].topic_id, "partitions": asked}]
    caller.every("Fetch", {"max_wait_ms": 10, "min_bytes": 0, "session_epoch": -1, "topics": topics})


def produced(caller: Caller, topic: str, records: bytes | None) -> Values:
    topic_id = caller.topic_id if topic == TOPIC else bytes(range(16))
    partitions = [{"index": 0, "records": records}]
    return {
        "acks": -1,
        "timeout_ms": 30000,
        "topic_data": [{"name": topic, "topic_id": topic_id, "partition_data": partitions}],
    }


def fetch_refusals(caller: Caller) -> None:
    def asked(partition: int = 0, **values: int) -> list[Values]:
        wanted = {"partition": partition, "fetch_offset": 1, "partition_max_bytes": 1000, **values}
        return [{"topic": TOPIC, "topic_id": caller.topic_id, "partitions": [wanted]}]

    plain = {"max_wait_ms": 10, "min_bytes": 1, "session_epoch": -1}
    caller.every("Fetch", {**plain, "topics": asked(9)})
    caller.every("Fetch", {**plain, "topics": asked(fetch_offset=-1)})
    for replica_id in (1, 5):
        state = {"replica_id": replica_id, "replica_epoch": -1}
        caller.every("Fetch", {**plain, "topics": asked(), "replica_id": replica_id, "replica_state": state})
    caller.every("Fetch", {**plain, "topics": asked(last_fetched_epoch=3, current_leader_epoch=0)})
    caller.every("Fetch", {**plain, "topics": asked(last_fetched_epoch=0, current_leader_epoch=0)})
    caller.every("Fetch", {**plain, "session_id": 99, "session_epoch": 4, "topics": asked()})
    caller.every("Fetch", {**plain, "session_id": 0, "session_epoch": 4, "topics": asked()})
    caller.every("Fetch", {**plain, "session_id": 0, "session_epoch": 0, "topics": []})
    caller.every("Fetch", {**plain, "max_bytes": 0, "topics": asked()})
    caller.every("Fetch", {**plain, "max_wait_ms": 0, "topics": asked(fetch_offset=22)})


def offset_refusals(caller: Caller) -> None:
    def listed(partitions: list[Values], **values: int) -> Values:
        return {"replica_id": -1, "topics": [{"name": TOPIC, "partitions": partitions}], "timeout_ms": 1000, **values}

    def one(**values: int) -> list[Values]:
        return [{"partition_index": 0, "timestamp": -1, "current_leader_epoch": -1, **values}]

    caller.every("ListOffsets", listed(one(partition_index=9)))
    caller.every("ListOffsets", listed(one(current_leader_epoch=5)))
    caller.every("ListOffsets", listed(one(timestamp=-1) + one(timestamp=-2)))
    caller.every("ListOffsets", listed(one(), isolation_level=1))
    for timestamp in (-4, -5, -6, -7, -20):
        caller.every("ListOffsets", listed(one(timestamp=timestamp)))
    caller.every("ListOffsets", listed(one(), replica_id=5))
    epochs = [
        {"partition": 0, "leader_epoch": epoch, "current_leader_epoch": current}
        for epoch, current in ((-1, 0), (5, 0), (0, 5), (0, -1))
    ]
    for epoch in epochs:
        caller.every("OffsetForLeaderEpoch", {"replica_id": -1, "topics": [{"topic": TOPIC, "partitions": [epoch]}]})
    absent = [{"topic": "absent", "partitions": epochs[:1]}]
    caller.every("OffsetForLeaderEpoch", {"replica_id": -1, "topics": absent})
    for offset in (-1, -2, 10_000):
        cut = [{"partition_index": 1, "offset": offset}]
        topics = [{"name": TOPIC, "partitions": cut}, {"name": "absent", "partitions": cut}]
        caller.every("DeleteRecords", {"topics": topics, "timeout_ms": 30000})
    cut = [{"partition_index": 0, "offset": 0}]
    caller.every("DeleteRecords", {"topics": [{"name": COMPACTED, "partitions": cut}], "timeout_ms": 30000})


def topic_refusals(caller: Caller) -> None:
    odd: list[Values] = [
        {"name": TOPIC, "num_partitions": 1, "replication_factor": 1},
        {"name": "many-replicas", "num_partitions": 1, "replication_factor": 3},
        {"name": "no-replicas", "num_partitions": 1, "replication_factor": 0},
        {"name": "no-partitions", "num_partitions": 0, "replication_factor": 1},
        {"name": "odd-config", "num_partitions": 1, "replication_factor": 1,
         "configs": [{"name": "odd", "value": "1"}]},
        {"name": "odd-value", "num_partitions": 1, "replication_factor": 1,
         "configs": [{"name": "retention.ms", "value": "soon"}]},
        {"name": "null-value", "num_partitions": 1, "replication_factor": 1,
         "configs": [{"name": "retention.ms", "value": None}]},
        {"name": "both", "num_partitions": 1, "replication_factor": 1,
         "assignments": [{"partition_index": 0, "broker_ids": [1]}]},
        {"name": "gap", "num_partitions": -1, "replication_factor": -1,
         "assignments": [{"partition_index": 1, "broker_ids": [1]}]},
        {"name": "unknown-broker", "num_partitions": -1, "replication_factor": -1,
         "assignments": [{"partition_index": 0, "broker_ids": [8]}]},
        {"name": "twice-here", "num_partitions": -1, "replication_factor": -1,
         "assignments": [{"partition_index": 0, "broker_ids": [1, 1]}]},
        {"name": "", "num_partitions": 1, "replication_factor": 1},
        {"name": "..", "num_partitions": 1, "replication_factor": 1},
        {"name": "x" * 250, "num_partitions": 1, "replication_factor": 1},
    ]  # fmt: skip
    for topic in odd:
        for version in caller.versions("CreateTopics"):
            caller.call("CreateTopics", version, {"topics": [topic], "timeout_ms": 30000})
    twice = {"name": "twice", "num_partitions": 1, "replication_factor": 1}
    caller.every("CreateTopics", {"topics": [twice, twice], "timeout_ms": 30000})
    caller.every("CreateTopics", {"topics": [twice], "timeout_ms": 30000, "validate_only": True})
    unknown, nowhere = [{"broker_ids": [8]}], [{"broker_ids": []}]
    for count, placed in ((2, None), (1, None), (0, None), (4, []), (3, unknown), (3, nowhere)):
        grown = {"name": TOPIC, "count": count, "assignments": placed}
        caller.every("CreatePartitions", {"topics": [grown], "timeout_ms": 30000, "validate_only": True})
    grown = {"name": TOPIC, "count": 5, "assignments": None}
    caller.every("CreatePartitions", {"topics": [grown, grown], "timeout_ms": 30000, "validate_only": True})
    caller.call("DeleteTopics", 6, {"topics": [{"name": None, "topic_id": bytes(range(16))}], "timeout_ms": 30000})
    caller.call("DeleteTopics", 6, {"topics": [{"name": "absent"}, {"name": "absent"}], "timeout_ms": 30000})
    caller.call("DeleteTopics", 6, {"topics": [{"name": "absent", "topic_id": caller.topic_id}], "timeout_ms": 30000})
    caller.call("DeleteTopics", 6, {"topics": [{"name": None}], "timeout_ms": 30000})
    for asked in ({"name": "not a name"}, {"name": ""}, {"name": "x" * 250}):
        for version in caller.versions("Metadata"):
            caller.call("Metadata", version, {"topics": [asked], "allow_auto_topic_creation": version > 3})
    caller.call("Metadata", 13, {"topics": [{"name": None, "topic_id": bytes(range(16))}]})
    caller.every("DescribeTopicPartitions", {"topics": [{"name": "not a name"}]})
    caller.every("DescribeTopicPartitions", {"topics": [{"name": TOPIC}], "response_partition_limit": 0})
    caller.every("DescribeCluster", lambda version: {"endpoint_type": 2} if version else {})
    caller.every("DescribeCluster", lambda version: {"endpoint_type": 9} if version else {})


STORIES = (
    Story(produce_refusals),
    Story(fetch_refusals),
    Story(offset_refusals),
    Story(topic_refusals),
    Story(sequences),
    Story(zstd),
)

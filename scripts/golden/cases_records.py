"""Topics, metadata and records: the stories that make what the others use."""

from __future__ import annotations

from collections.abc import Callable

from golden.caller import Caller, Story, Values, batch

TOPIC = "golden"


def api_versions(caller: Caller) -> None:
    software = {"client_software_name": "capture-frames", "client_software_version": "1"}
    caller.every("ApiVersions", software)
    wrong = {"client_software_name": "-", "client_software_version": "1"}
    caller.every("ApiVersions", lambda version: wrong if version >= 3 else {})
    caller.call("ApiVersions", 5, {**software, "cluster_id": "another", "node_id": 1})
    caller.call("ApiVersions", 5, {**software, "cluster_id": "another"})


def topics(caller: Caller) -> None:
    for version in caller.versions("CreateTopics"):
        plain = {"num_partitions": 2, "replication_factor": 1, "configs": [{"name": "retention.ms", "value": "-1"}]}
        placed = {"num_partitions": -1, "replication_factor": -1}
        placed["assignments"] = [{"partition_index": 0, "broker_ids": [1]}]
        created = [{"name": f"created-{version}", **plain}, {"name": f"placed-{version}", **placed}]
        wrong = [{"name": "not a name", **plain}]
        caller.call("CreateTopics", version, {"topics": created, "timeout_ms": 30000})
        caller.call("CreateTopics", version, {"topics": wrong, "timeout_ms": 30000, "validate_only": True})
    # The records are old: without this they would be gone as soon as retention looks.
    kept = {"num_partitions": 2, "replication_factor": 1, "configs": [{"name": "retention.ms", "value": "-1"}]}
    caller.call("CreateTopics", 7, {"topics": [{"name": TOPIC, **kept}]})
    for version in caller.versions("CreatePartitions"):
        grown = [{"name": f"created-{version + 2}", "count": 3, "assignments": [{"broker_ids": [1]}]}]
        grown.append({"name": "absent", "count": 3, "assignments": None})
        caller.call("CreatePartitions", version, {"topics": grown, "timeout_ms": 30000})
    for version in caller.versions("DeleteTopics"):
        names = [f"placed-{version + 1}", "absent"]
        named = {"topics": [{"name": name} for name in names], "topic_names": names, "timeout_ms": 30000}
        caller.call("DeleteTopics", version, named)


def wait_for_topics(caller: Caller) -> None:
    """Ask until deleted topics are gone and the topic can be read; how soon that is shall not matter."""
    caller.settle("Metadata", 1, {"topics": None},
                  lambda answer: not any(topic.name.startswith("placed-") for topic in answer.topics))  # fmt: skip
    partitions = [{"partition_index": index, "timestamp": -1, "current_leader_epoch": 0} for index in (0, 1)]
    asked = {"replica_id": -1, "topics": [{"name": TOPIC, "partitions": partitions}], "timeout_ms": 1000}
    caller.settle("ListOffsets", 9, asked,
                  lambda answer: not any(each.error_code for each in answer.topics[0].partitions))  # fmt: skip


def metadata(caller: Caller) -> None:
    wait_for_topics(caller)
    asked = [{"name": TOPIC}, {"name": "absent"}]
    rights = {"include_cluster_authorized_operations": True, "include_topic_authorized_operations": True}
    # Before version 4 asking for a topic creates it.
    answer = caller.every(
        "Metadata",
        lambda version: {"topics": asked[: 1 + (version >= 4)], "allow_auto_topic_creation": False, **rights},
    )
    caller.topic_id = answer.topics[0].topic_id
    caller.every("Metadata", lambda version: {"topics": None if version else []})
    caller.call("Metadata", 13, {"topics": [{"name": None, "topic_id": caller.topic_id}]})
    caller.every("DescribeTopicPartitions", {"topics": [{"name": TOPIC}, {"name": "absent"}],
                                             "response_partition_limit": 1})  # fmt: skip
    caller.every("DescribeTopicPartitions", {"topics": [{"name": TOPIC}],
                                             "cursor": {"topic_name": TOPIC, "partition_index": 1}})  # fmt: skip
    caller.every("DescribeCluster", {"include_cluster_authorized_operations": True})


def produce_and_fetch(caller: Caller) -> None:
    def partition(index: int) -> Values:
        return {"index": index, "records": batch(b"one", b"two")}

    def to(version: int, *indexes: int) -> Values:
        topic = {"name": TOPIC, "topic_id": caller.topic_id, "partition_data": [partition(index) for index in indexes]}
        return {"acks": -1, "timeout_ms": 30000, "topic_data": [topic]}

    caller.every("Produce", lambda version: to(version, 0, 1))
    caller.every("Produce", lambda version: to(version, 7))  # no such partition
    corrupt = to(9, 0)
    corrupt["topic_data"][0]["partition_data"][0]["records"] = batch(b"x")[:-1] + b"?"
    caller.every("Produce", corrupt)

    def fetch(offset: int, epoch: int = -1, topic: str = TOPIC) -> Callable[[int], Values]:
        partitions = [
            {"partition": 0, "fetch_offset": offset, "partition_max_bytes": 250, "current_leader_epoch": epoch}
        ]
        topic_id = caller.topic_id if topic == TOPIC else bytes(range(16))
        asked = [{"topic": topic, "topic_id": topic_id, "partitions": partitions}]
        return lambda version: {
            "max_wait_ms": 10,
            "min_bytes": 1,
            "session_epoch": 0,
            "isolation_level": version % 2,
            "topics": asked,
        }

    caller.every("Fetch", fetch(2))
    caller.every("Fetch", fetch(1000))  # out of range
    caller.every("Fetch", fetch(0, topic="absent"))
    caller.every("Fetch", fetch(0, epoch=9))
    for timestamp in (-1, -2, -3, 1_600_000_000_001, 1_900_000_000_000):
        partitions = [{"partition_index": 0, "timestamp": timestamp, "current_leader_epoch": 0}]
        asked = [{"name": TOPIC, "partitions": partitions}, {"name": "absent", "partitions": partitions}]
        caller.every("ListOffsets", {"replica_id": -1, "topics": asked, "timeout_ms": 1000})
    epochs = [{"partition": 0, "leader_epoch": 0, "current_leader_epoch": 0}, {"partition": 9, "leader_epoch": 0}]
    caller.every("OffsetForLeaderEpoch", {"replica_id": -1, "topics": [{"topic": TOPIC, "partitions": epochs}]})
    cut = [{"partition_index": 0, "offset": 1}, {"partition_index": 5, "offset": 1}]
    caller.every("DeleteRecords", {"topics": [{"name": TOPIC, "partitions": cut}], "timeout_ms": 30000})


STORIES = (Story(api_versions), Story(topics), Story(metadata), Story(produce_and_fetch))

"""Corners of what every broker serves: configurations of every kind, fetch sessions, members that err, new topics by
asking for them.
"""

from __future__ import annotations

from golden.caller import Caller, Story, Values, batch
from golden.cases_records import TOPIC

SET, DELETE, APPEND, SUBTRACT = range(4)
TOPIC_TYPE, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
CONFIGURED = "created-7"


def described_configs(caller: Caller) -> None:
    asked = [
        (TOPIC_TYPE, CONFIGURED), (TOPIC_TYPE, ""), (TOPIC_TYPE, "not a name"), (BROKER, "9"), (BROKER, "one"),
        (LOGGER, "9"), (LOGGER, "one"), (METRICS, "absent"), (METRICS, ""), (GROUP, "absent"), (GROUP, ""),
        (0, "unknown"), (3, "cluster"), (64, "none"), (BROKER, ""),
    ]  # fmt: skip
    for resource_type, name in asked:
        resource = {"resource_type": resource_type, "resource_name": name, "configuration_keys": None}
        for synonyms in (True, False):
            wanted = {"resources": [resource], "include_synonyms": synonyms, "include_documentation": synonyms}
            caller.every("DescribeConfigs", wanted)
    twice = {"resource_type": TOPIC_TYPE, "resource_name": CONFIGURED, "configuration_keys": ["odd", "retention.ms"]}
    caller.every("DescribeConfigs", {"resources": [twice, twice]})
    for types in ([], [2], [99], [32], [8]):
        caller.every("ListConfigResources", lambda version, types=types: {"resource_types": types if version else []})


def changed_configs(caller: Caller) -> None:
    changes: list[list[tuple[str, int, str | None]]] = [
        [("retention.ms", SET, None)],
        [("retention.ms", SET, "soon")],
        [("retention.ms", DELETE, None)],
        [("retention.ms", APPEND, "1")],
        [("retention.ms", 7, "1")],
        [("cleanup.policy", APPEND, "compact")],
        [("cleanup.policy", SUBTRACT, "compact")],
        [("cleanup.policy", APPEND, "odd")],
        [("odd", SET, "1")],
        [("odd", DELETE, None)],
        [("retention.ms", SET, "1"), ("retention.ms", SET, "2")],
        [("min.insync.replicas", SET, "0")],
        [],
    ]
    for change in changes:
        configs = [{"name": name, "config_operation": operation, "value": value} for name, operation, value in change]
        resource = {"resource_type": TOPIC_TYPE, "resource_name": CONFIGURED, "configs": configs}
        for validate_only in (True, False):
            caller.every("IncrementalAlterConfigs", {"resources": [resource], "validate_only": validate_only})
        if all(operation == SET for _, operation, _ in change):
            plain = [{"name": config["name"], "value": config["value"]} for config in configs]
            caller.every("AlterConfigs", {"resources": [{**resource, "configs": plain}], "validate_only": True})
    settings: list[tuple[int, str, str, str]] = [
        (BROKER, "1", "odd", "1"), (BROKER, "9", "log.cleaner.threads", "1"),
        (BROKER, "one", "log.cleaner.threads", "1"),
        (BROKER, "1", "log.cleaner.threads", "none"), (BROKER, "1", "node.id", "2"), (BROKER, "", "node.id", "2"),
        (TOPIC_TYPE, "", "retention.ms", "1"), (TOPIC_TYPE, "not a name", "retention.ms", "1"),
        (METRICS, "absent", "odd", "1"), (METRICS, "", "interval.ms", "1000"), (METRICS, "one", "interval.ms", "1"),
        (GROUP, "absent", "odd", "1"), (GROUP, "", "consumer.session.timeout.ms", "50000"),
        (GROUP, "absent", "consumer.session.timeout.ms", "1"), (0, "unknown", "odd", "1"), (3, "cluster", "odd", "1"),
        (64, "none", "odd", "1"),
    ]  # fmt: skip
    for resource_type, resource_name, name, value in settings:
        resource = {"resource_type": resource_type, "resource_name": resource_name}
        incremental = {**resource, "configs": [{"name": name, "config_operation": SET, "value": value}]}
        caller.every("IncrementalAlterConfigs", {"resources": [incremental], "validate_only": True})
        caller.every("AlterConfigs", {"resources": [{**resource, "configs": [{"name": name, "value": value}]}],
                                      "validate_only": True})  # fmt: skip
    twice = {"resource_type": TOPIC_TYPE, "resource_name": CONFIGURED}
    one = {**twice, "configs": [{"name": "retention.ms", "config_operation": SET, "value": "1"}]}
    caller.every("IncrementalAlterConfigs", {"resources": [one, one], "validate_only": True})


def fetch_sessions(caller: Caller) -> None:
    def asked(*partitions: int) -> list[Values]:
        wanted = [{"partition": index, "fetch_offset": 1, "partition_max_bytes": 100} for index in partitions]
        return [{"topic": TOPIC, "topic_id": caller.topic_id, "partitions": wanted}] if wanted else []

    forgotten = [{"topic": TOPIC, "topic_id": caller.topic_id, "partitions": [1]}]
    for version in caller.versions("Fetch"):
        if version < 7:
            continue
        plain = {"max_wait_ms": 10, "min_bytes": 1}
        opened = caller.call("Fetch", version, {**plain, "session_epoch": 0, "topics": asked(0, 1, 9)})
        session = {**plain, "session_id": opened.session_id}
        caller.call("Fetch", version, {**session, "session_epoch": 1, "topics": []})
        caller.call("Fetch", version, {**session, "session_epoch": 1, "topics": []})
        caller.call("Fetch", version, {**session, "session_epoch": 2, "forgotten_topics_data": forgotten})
        caller.call("Fetch", version, {**session, "session_epoch": 3, "topics": asked(1)})
        caller.call("Fetch", version, {**session, "session_epoch": -1, "topics": asked(0)})
        caller.call("Fetch", version, {**session, "session_epoch": 4, "topics": []})
    for max_bytes in (1, 100, 250):
        whole = {"max_wait_ms": 10, "min_bytes": 1, "max_bytes": max_bytes, "session_epoch": -1}
        caller.every("Fetch", {**whole, "topics": asked(0, 1)})


def erring_members(caller: Caller) -> None:
    group = "created-by-mistakes"
    join = {"group_id": group, "session_timeout_ms": 45000, "rebalance_timeout_ms": 60000, "protocol_type": "consumer"}
    join["protocols"] = [{"name": "range", "metadata": b"range"}, {"name": "sticky", "metadata": b"sticky"}]
    caller.settle("OffsetFetch", 7, {"group_id": group, "topics": []}, lambda answer: not answer.error_code)
    member_id = caller.call("JoinGroup", 5, join).member_id
    joined = caller.call("JoinGroup", 5, {**join, "member_id": member_id})
    member = {"group_id": group, "member_id": member_id, "generation_id": joined.generation_id}
    caller.every("Heartbeat", member)
    caller.every("SyncGroup", {**member, "protocol_type": "connect", "protocol_name": "range"})
    caller.every("SyncGroup", {**member, "protocol_type": "consumer", "protocol_name": "sticky"})
    sync = {**member, "protocol_type": "consumer", "protocol_name": "range"}
    caller.every("SyncGroup", {**sync, "assignments": [{"member_id": member_id, "assignment": b"all"}]})
    for wrong in ({"generation_id": 7}, {"member_id": "nobody"}, {"group_instance_id": "static"}):
        caller.every("Heartbeat", {**member, **wrong})
        caller.every("SyncGroup", {**sync, **wrong})
    offsets = [{"partition_index": 0, "committed_offset": 1, "committed_metadata": None}]
    topics = [{"name": TOPIC, "topic_id": caller.topic_id, "partitions": offsets}]
    for generation_id in (joined.generation_id, 7, -1):
        commit = {"group_id": group, "member_id": member_id, "generation_id_or_member_epoch": generation_id}
        caller.every("OffsetCommit", {**commit, "topics": topics})
    caller.every("OffsetCommit", {"group_id": group, "topics": topics})
    wanted = [{"name": TOPIC, "topic_id": caller.topic_id, "partition_indexes": [0]}]
    for epoch in (joined.generation_id, 7):
        groups = [{"group_id": group, "member_id": member_id, "member_epoch": epoch, "topics": wanted}]
        caller.call("OffsetFetch", 9, {"groups": groups})
        caller.call("OffsetFetch", 10, {"groups": groups})
    caller.every("DescribeGroups", {"groups": [group]})
    caller.every("DeleteGroups", {"groups_names": [group, ""]})
    leaving = [{"member_id": "nobody"}, {"member_id": member_id, "group_instance_id": "static"}, {"member_id": ""}]
    for version in caller.versions("LeaveGroup"):
        if version >= 3:
            caller.call("LeaveGroup", version, {"group_id": group, "members": leaving})
        caller.call("LeaveGroup", version, {"group_id": "", "member_id": "nobody", "members": leaving[:1]})
        caller.call("LeaveGroup", version, {"group_id": "absent", "member_id": "nobody", "members": leaving[:1]})
    caller.call("LeaveGroup", 2, {"group_id": group, "member_id": member_id})
    caller.every("DescribeGroups", {"groups": [group]})


def topics_by_asking(caller: Caller) -> None:
    for version in caller.versions("Metadata"):
        asked = {"topics": [{"name": f"asked-{version}"}], "allow_auto_topic_creation": True}
        caller.call("Metadata", version, asked)
    for version in caller.versions("Metadata"):
        asked = {"topics": [{"name": f"asked-{version}"}], "allow_auto_topic_creation": False}
        caller.settle("Metadata", version, asked, lambda answer: not answer.topics[0].error_code)
        caller.call("Metadata", version, asked)
        caller.call("Metadata", version, {"topics": [{"name": TOPIC}, {"name": TOPIC}]})
    internal = [{"name": "__consumer_offsets", "num_partitions": 1, "replication_factor": 1}]
    caller.every("CreateTopics", {"topics": internal, "timeout_ms": 30000})
    records = batch(b"one")
    sent = {"name": "__consumer_offsets", "partition_data": [{"index": 0, "records": records}]}
    caller.call("Produce", 12, {"acks": -1, "timeout_ms": 30000, "topic_data": [sent]})
    data = [{"index": index, "records": batch(b"one")} for index in (1, 0)]
    several = [{"name": name, "partition_data": data} for name in (TOPIC, "asked-9", "absent")]
    caller.call("Produce", 12, {"acks": 1, "timeout_ms": 30000, "topic_data": several})
    caller.call("Produce", 12, {"acks": 1, "timeout_ms": 30000, "topic_data": []})
    for asked in ({"producer_id": 5, "producer_epoch": 0}, {"producer_id": -1, "producer_epoch": 3},
                  {"producer_id": 5, "producer_epoch": -1}):  # fmt: skip
        caller.every("InitProducerId", {"transactional_id": None, "transaction_timeout_ms": 1000, **asked})


STORIES = (
    Story(described_configs),
    Story(changed_configs),
    Story(fetch_sessions),
    Story(erring_members),
    Story(topics_by_asking),
)

"""Groups of every type, and their offsets."""

from __future__ import annotations

from golden.caller import Caller, Story
from golden.cases_records import TOPIC
from wire import codec
from wire.catalog import API_BY_NAME, request_class
from wire.messages.log_records import ConsumerProtocolAssignment, ConsumerProtocolSubscription
from wire.schema import spec_of

SHARE_STATE = ("InitializeShareGroupState", "ReadShareGroupState", "WriteShareGroupState", "ReadShareGroupStateSummary",
               "DeleteShareGroupState")  # fmt: skip


def find_coordinator(caller: Caller) -> None:
    both = {"key": "group", "coordinator_keys": ["group", "other"]}
    caller.every("FindCoordinator", {**both, "key_type": 0})
    caller.every("FindCoordinator", lambda version: {**both, "key_type": 9 if version else 0})
    caller.every("FindCoordinator", {"key": "", "coordinator_keys": ["", "group"], "key_type": 0})


def refused_members(caller: Caller) -> None:
    protocols = [{"name": "range", "metadata": b""}]
    join = {"session_timeout_ms": 45000, "rebalance_timeout_ms": 60000, "protocol_type": "consumer"}
    caller.every("JoinGroup", {**join, "group_id": "", "protocols": protocols})
    caller.every("JoinGroup", {**join, "group_id": "simple", "protocols": protocols, "session_timeout_ms": 1})
    caller.every("JoinGroup", {**join, "group_id": "simple", "protocols": []})
    caller.every("JoinGroup", {**join, "group_id": "simple", "protocols": protocols, "member_id": "nobody"})
    other = {**join, "group_id": "group-3", "protocol_type": "connect", "protocols": protocols, "member_id": "nobody"}
    caller.every("JoinGroup", other)
    caller.every("JoinGroup", {**other, "protocol_type": "consumer"})
    for group_id in ("", "absent", "group-3"):
        member = {"group_id": group_id, "member_id": "nobody", "generation_id": 1}
        caller.every("SyncGroup", {**member, "protocol_type": "consumer", "protocol_name": "range"})
        caller.every("Heartbeat", member)
    fenced = {"group_id": "group-9", "member_id": "nobody", "generation_id": 1, "group_instance_id": "static"}
    caller.every("SyncGroup", fenced)
    caller.every("Heartbeat", fenced)


LOADING = (14, 15, 16)  # COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR
GROUPS = (*(f"group-{version}" for version in range(10)), "simple", "absent", "txn-group", "share", "state",
          *(f"{kind}-{version}" for kind in ("modern", "streams") for version in (0, 1)))  # fmt: skip


def wait_for_coordinators(caller: Caller) -> None:
    """Ask until the coordinator of every group has loaded: an answer shall not depend on how soon that is."""
    caller.settle("FindCoordinator", 2, {"key": "group"}, lambda answer: answer.error_code not in LOADING)
    for group_id in GROUPS:
        caller.settle(
            "OffsetFetch", 7, {"group_id": group_id, "topics": []}, lambda answer: answer.error_code not in LOADING
        )


def classic_groups(caller: Caller) -> None:
    wait_for_coordinators(caller)
    find_coordinator(caller)
    subscription = codec.encode_bytes(ConsumerProtocolSubscription(topics=[TOPIC]), 1)
    assignment = codec.encode_bytes(ConsumerProtocolAssignment(), 1)
    sync_versions, heartbeat_versions = list(caller.versions("SyncGroup")), list(caller.versions("Heartbeat"))
    for version in caller.versions("JoinGroup"):
        group = f"group-{version}"
        join = {"group_id": group, "session_timeout_ms": 45000, "rebalance_timeout_ms": 60000}
        join |= {"protocol_type": "consumer", "protocols": [{"name": "range", "metadata": subscription}]}
        if version == 9:
            join |= {"group_instance_id": "static", "reason": "golden"}
        joined = caller.call("JoinGroup", version, join)
        if joined.error_code:  # MEMBER_ID_REQUIRED
            joined = caller.call("JoinGroup", version, {**join, "member_id": joined.member_id})
        member = {"group_id": group, "member_id": joined.member_id, "generation_id": joined.generation_id}
        sync_version = sync_versions[min(version, len(sync_versions) - 1)]
        sync = {**member, "protocol_type": "consumer", "protocol_name": "range"}
        sync["assignments"] = [{"member_id": joined.member_id, "assignment": assignment}]
        caller.call("SyncGroup", sync_version, sync)
        caller.call("Heartbeat", heartbeat_versions[min(version, len(heartbeat_versions) - 1)], member)
    caller.call("Heartbeat", 4, {"group_id": "group-9", "member_id": "nobody"})
    described = {"groups": ["group-3", "group-9", "absent"], "include_authorized_operations": True}
    caller.every("DescribeGroups", described)
    refused_members(caller)
    group_offsets(caller)
    caller.every("ListGroups", {"states_filter": ["Stable"], "types_filter": ["classic"]})
    caller.every("ListGroups", {})
    caller.every("ListGroups", {"states_filter": ["odd"], "types_filter": ["Consumer", "CLASSIC"]})
    caller.every("LeaveGroup", lambda version: {"group_id": f"group-{version}", "member_id": "nobody",
                                                "members": [{"member_id": "nobody", "reason": "golden"}]})  # fmt: skip
    static = [{"member_id": "", "group_instance_id": "static"}]
    caller.call("LeaveGroup", 5, {"group_id": "group-9", "members": static})
    caller.every("DeleteGroups", {"groups_names": ["group-1", "simple", "absent", "simple"]})
    caller.every("DescribeGroups", {"groups": ["simple", ""], "include_authorized_operations": True})


def group_offsets(caller: Caller) -> None:
    partitions = [
        {"partition_index": 0, "committed_offset": 7, "committed_leader_epoch": 0, "committed_metadata": "note"}
    ]
    partitions.append({"partition_index": 1, "committed_offset": 8, "committed_metadata": ""})
    topic = {"name": TOPIC, "topic_id": caller.topic_id, "partitions": partitions}
    absent = {"name": "absent", "topic_id": bytes(range(16)), "partitions": partitions[:1]}
    caller.every("OffsetCommit", {"group_id": "simple", "topics": [topic, absent]})
    caller.every("OffsetCommit", {"group_id": "group-0", "member_id": "nobody", "topics": [topic]})
    wanted = {"name": TOPIC, "topic_id": caller.topic_id, "partition_indexes": [0, 1, 5]}
    groups = [{"group_id": "simple", "topics": [wanted]}, {"group_id": "absent", "topics": [wanted]}]
    older = {"name": TOPIC, "partition_indexes": [0, 1, 5]}
    caller.every("OffsetFetch", {"group_id": "simple", "topics": [older], "groups": groups})
    everything = {"group_id": "simple", "topics": None, "groups": [{"group_id": "simple", "topics": None}]}
    for version in caller.versions("OffsetFetch"):
        if version >= 2:
            caller.call("OffsetFetch", version, everything)
    for stable in (True, False):
        asked = {"group_id": "", "topics": [older], "groups": [{"group_id": "", "topics": [wanted]}]}
        caller.every("OffsetFetch", {**asked, "require_stable": stable})
    caller.every("OffsetCommit", {"group_id": "", "topics": [topic]})
    caller.every("OffsetCommit", {"group_id": "simple", "generation_id_or_member_epoch": 3, "topics": [topic]})
    long = {**topic, "partitions": [{**partitions[0], "committed_metadata": "x" * 5000}, {"partition_index": 9}]}
    caller.every("OffsetCommit", {"group_id": "simple", "topics": [long]})
    removed = [{"name": TOPIC, "partitions": [{"partition_index": 1}, {"partition_index": 9}]}]
    removed.append({"name": "absent", "partitions": [{"partition_index": 0}]})
    caller.every("OffsetDelete", {"group_id": "simple", "topics": removed})
    caller.every("OffsetDelete", {"group_id": "absent", "topics": removed})
    caller.every("OffsetDelete", {"group_id": "group-3", "topics": removed})


def consumer_groups(caller: Caller) -> None:
    for version in caller.versions("ConsumerGroupHeartbeat"):
        member = {"group_id": f"modern-{version}", "member_id": "AAAAAAAAAAAAAAAAAAAAAQ"}
        first = {**member, "member_epoch": 0, "rebalance_timeout_ms": 60000, "subscribed_topic_names": [TOPIC]}
        first |= {"topic_partitions": [], "subscribed_topic_regex": "gold.*"}
        joined = caller.call("ConsumerGroupHeartbeat", version, first)
        caller.call("ConsumerGroupHeartbeat", version, {**member, "member_epoch": joined.member_epoch})
        caller.call("ConsumerGroupHeartbeat", version, {**member, "member_epoch": 99})
    groups = {"group_ids": ["modern-0", "modern-1", "absent"], "include_authorized_operations": True}
    caller.every("ConsumerGroupDescribe", groups)
    caller.call("ConsumerGroupHeartbeat", 1, {**member, "member_epoch": -1})


def share_groups(caller: Caller) -> None:
    member = {"group_id": "share", "member_id": "AAAAAAAAAAAAAAAAAAAAAg"}
    first = {**member, "member_epoch": 0, "subscribed_topic_names": [TOPIC]}
    earliest = [{"name": "share.auto.offset.reset", "value": "earliest", "config_operation": 0}]
    settings = {"resource_type": 32, "resource_name": "share", "configs": earliest}
    caller.call("IncrementalAlterConfigs", 1, {"resources": [settings]})
    joined = caller.every("ShareGroupHeartbeat", first)
    for _ in range(3):
        joined = caller.call("ShareGroupHeartbeat", 1, {**member, "member_epoch": joined.member_epoch})
    caller.every("ShareGroupDescribe", {"group_ids": ["share", "absent"], "include_authorized_operations": True})
    for epoch, version in enumerate(caller.versions("ShareFetch")):
        partition = {"partition_index": 0, "partition_max_bytes": 1000}
        asked = {"max_wait_ms": 200, "min_bytes": 0, "max_bytes": 1 << 20, "max_records": 10, "batch_size": 10}
        asked |= {"topics": [{"topic_id": caller.topic_id, "partitions": [partition]}], "share_session_epoch": epoch}
        caller.call("ShareFetch", version, {**member, **asked})
    acknowledged = {"partition_index": 0}
    acknowledged["acknowledgement_batches"] = [{"first_offset": 0, "last_offset": 0, "acknowledge_types": [1]}]
    for epoch, version in enumerate(caller.versions("ShareAcknowledge"), 2):
        given = {"topics": [{"topic_id": caller.topic_id, "partitions": [acknowledged]}], "share_session_epoch": epoch}
        caller.call("ShareAcknowledge", version, {**member, **given})
    wanted = [
        {"group_id": "share", "topics": [{"topic_name": TOPIC, "partitions": [0, 1]}]},
        {"group_id": "absent", "topics": None},
    ]
    caller.every("DescribeShareGroupOffsets", {"groups": wanted})
    reset = [{"topic_name": TOPIC, "partitions": [{"partition_index": 0, "start_offset": 3}]}]
    caller.every("AlterShareGroupOffsets", {"group_id": "share", "topics": reset})
    caller.call("ShareGroupHeartbeat", 1, {**member, "member_epoch": -1})
    caller.every("DeleteShareGroupOffsets", {"group_id": "share", "topics": [{"topic_name": TOPIC}]})


def share_state(caller: Caller) -> None:
    for name in SHARE_STATE:
        partition = {"partition": 0, "leader_epoch": 0, "state_epoch": 1, "start_offset": 0}
        if name == "WriteShareGroupState":
            partition["state_batches"] = [
                {"first_offset": 0, "last_offset": 4, "delivery_state": 2, "delivery_count": 1}
            ]
        request = request_class(API_BY_NAME[name].key)
        (topics,) = (field for field in spec_of(request).fields if field.name == "topics")
        (inner,) = (field for field in spec_of(topics.element).fields if field.name == "partitions")
        known = {field.name for field in spec_of(inner.element).fields}
        partition = {name: value for name, value in partition.items() if name in known}
        caller.every(name, {"group_id": "state", "topics": [{"topic_id": caller.topic_id, "partitions": [partition]}]})


def streams_groups(caller: Caller) -> None:
    subtopology = {"subtopology_id": "0", "source_topics": [TOPIC]}
    for version in caller.versions("StreamsGroupHeartbeat"):
        member = {"group_id": f"streams-{version}", "member_id": "AAAAAAAAAAAAAAAAAAAAAw"}
        first = {**member, "member_epoch": 0, "rebalance_timeout_ms": 60000, "process_id": "process"}
        first |= {"topology": {"epoch": 0, "subtopologies": [subtopology]}, "active_tasks": [], "standby_tasks": []}
        first |= {"warmup_tasks": [], "client_tags": [{"key": "zone", "value": "a"}]}
        first |= {"user_endpoint": {"host": "127.0.0.1", "port": 8080}}
        joined = caller.call("StreamsGroupHeartbeat", version, first)
        caller.call("StreamsGroupHeartbeat", version, {**member, "member_epoch": joined.member_epoch})
    groups = {"group_ids": ["streams-0", "streams-1", "absent"], "include_authorized_operations": True}
    caller.every("StreamsGroupDescribe", groups)
    caller.every("StreamsGroupTopologyDescriptionUpdate", member)


CLASSIC = (Story(classic_groups, needs=["JoinGroup", "OffsetCommit"]),)
NEWER = (
    Story(consumer_groups, needs=["ConsumerGroupHeartbeat"]),
    Story(share_groups, needs=["ShareGroupHeartbeat", "ShareFetch"]),
    Story(share_state, needs=SHARE_STATE),
    Story(streams_groups, needs=["StreamsGroupHeartbeat"]),
)

"""Elections, reassignments, and what a cluster of one broker says of itself and its features."""

from __future__ import annotations

from golden.caller import Caller, Story
from golden.cases_records import TOPIC


def elections(caller: Caller) -> None:
    def elect(kind: int, *topics: tuple[str, list[int]]) -> None:
        parts = [{"topic": name, "partitions": partitions} for name, partitions in topics]
        asked = {"topic_partitions": parts, "timeout_ms": 1000}
        caller.every("ElectLeaders", lambda version: {**asked, "election_type": kind} if version else asked)

    elect(0, (TOPIC, [0]))
    elect(1, (TOPIC, [0, 1]))
    elect(0, ("absent", [0]), (TOPIC, [9, -1]))
    elect(1, ("absent", [0]), (TOPIC, [0, 0]))
    elect(7, (TOPIC, [0]))
    elect(0)


def reassignments(caller: Caller) -> None:
    def move(*moves: tuple[int, list[int] | None], name: str = TOPIC) -> None:
        partitions = [{"partition_index": index, "replicas": replicas} for index, replicas in moves]
        caller.every("AlterPartitionReassignments", {"topics": [{"name": name, "partitions": partitions}]})

    move((0, [1]), (1, None), (8, None))
    move((0, []), (1, [1, 1]), (2, [1, 7]))
    move((0, [-1]), (-1, [1]), (0, [1]))
    move((0, [1]), name="absent")
    insists = {"allow_replication_factor_change": False}
    partitions = [{"partition_index": 0, "replicas": [1]}]
    caller.call("AlterPartitionReassignments", 1, {"topics": [{"name": TOPIC, "partitions": partitions}], **insists})
    caller.every("AlterPartitionReassignments", {"topics": []})
    caller.every("ListPartitionReassignments", {"topics": None})
    caller.every("ListPartitionReassignments", {"topics": [{"name": TOPIC, "partition_indexes": [0, 9]}]})
    caller.every("ListPartitionReassignments", {"topics": []})


def quorum(caller: Caller) -> None:
    def ask(*topics: tuple[str, list[int]]) -> None:
        asked = [(name, [{"partition_index": index} for index in indexes]) for name, indexes in topics]
        caller.every("DescribeQuorum", {"topics": [{"topic_name": name, "partitions": each} for name, each in asked]})

    ask(("__cluster_metadata", [0]))
    ask(("__cluster_metadata", [1]))
    ask(("__cluster_metadata", [0, 0]))
    ask(("absent", [0]))
    ask()


def features(caller: Caller) -> None:
    def update(*updates: tuple[str, int, int], validate_only: bool = True) -> None:
        def asked(version: int) -> dict[str, object]:
            keys = [{"feature": name, "max_version_level": level} for name, level, _ in updates]
            if not version:
                return {"feature_updates": keys}
            typed = [{**key, "upgrade_type": kind} for key, (_, _, kind) in zip(keys, updates, strict=True)]
            return {"feature_updates": typed, "validate_only": validate_only}

        caller.every("UpdateFeatures", asked)

    update(("group.version", 1, 1))
    update(("absent.version", 1, 1))
    update(("group.version", 9, 1))
    update(("group.version", -1, 2))
    for level, kind in ((0, 1), (1, 0), (1, 4), (9, 2)):
        update(("group.version", level, kind))
    for level, kind in ((20, 1), (20, 2), (20, 3), (1, 3), (0, 3)):
        update(("metadata.version", level, kind))
    for level, kind in ((0, 2), (1, 1), (2, 1)):
        update(("kraft.version", level, kind))
    update(("group.version", 1, 1), ("absent", 1, 1))
    update()


def brokers(caller: Caller) -> None:
    for broker_id in (77, -1):
        caller.every("UnregisterBroker", {"broker_id": broker_id})


STORIES = (
    Story(elections, needs=["ElectLeaders"]),
    Story(reassignments, needs=["AlterPartitionReassignments", "ListPartitionReassignments"]),
    Story(quorum, needs=["DescribeQuorum"]),
    Story(features, needs=["UpdateFeatures"]),
    Story(brokers, needs=["UnregisterBroker"]),
)

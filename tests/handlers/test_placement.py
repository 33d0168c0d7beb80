"""Elections and reassignments that clients ask for, on a cluster where some brokers are away."""

from typing import Any

import pytest

from pykbroker.cluster.changes import create_topic
from pykbroker.cluster.partition_changes import alter_isr, put_partition, settled
from tests.handlers.cluster_rig import ClusterRig
from wire.errors import ErrorCode
from wire.messages.placement import (
    AlterPartitionReassignmentsRequest,
    ElectLeadersRequest,
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsTopics,
    ReassignablePartition,
    ReassignableTopic,
    TopicPartitions,
)

pytestmark = pytest.mark.anyio

PREFERRED, UNCLEAN = 0, 1
TOPIC_ID = b"t" * 16


async def create(rig: ClusterRig, *replicas: tuple[int, ...], name: str = "t", topic_id: bytes = TOPIC_ID) -> None:
    await rig.cluster.propose(lambda image: create_topic(image, name, topic_id, replicas, {}))


async def fence(rig: ClusterRig, broker_id: int) -> None:
    """Fence a broker and settle what it led, as a controller does."""
    await rig.fence(broker_id)
    for index in range(len(rig.cluster.image.topics["t"].partitions)):
        await rig.cluster.propose(
            lambda image, index=index: put_partition(  # type: ignore[misc]
                image, image.topics["t"], index, settled(image, image.topics["t"], index, unclean=False)
            )
        )


async def elect(rig: ClusterRig, kind: int, *topics: tuple[str, list[int]], version: int = 2) -> dict[Any, str]:
    asked = [TopicPartitions(name, partitions) for name, partitions in topics] or None
    request = ElectLeadersRequest(election_type=kind if version else 0, topic_partitions=asked)
    answer = await rig.ask(request, version)
    assert answer.error_code == 0
    return {
        (topic.topic, result.partition_id): ErrorCode(result.error_code).name
        for topic in answer.replica_election_results
        for result in topic.partition_result
    }


def leaders(rig: ClusterRig) -> list[int]:
    return [partition.leader for partition in rig.cluster.image.topics["t"].partitions]


async def reassign(rig: ClusterRig, *moves: tuple[int, list[int] | None], factor_may_change: bool = True) -> list[str]:
    partitions = [ReassignablePartition(index, replicas) for index, replicas in moves]
    request = AlterPartitionReassignmentsRequest(
        allow_replication_factor_change=factor_may_change, topics=[ReassignableTopic("t", partitions)]
    )
    answer = await rig.ask(request, 1)
    assert (answer.error_code, answer.allow_replication_factor_change) == (0, factor_may_change)
    (topic,) = answer.responses
    assert [result.partition_index for result in topic.partitions] == [index for index, _ in moves]
    return [ErrorCode(result.error_code).name for result in topic.partitions]


async def ongoing(rig: ClusterRig, *asked: tuple[str, list[int]]) -> list[tuple[Any, ...]]:
    topics = [ListPartitionReassignmentsTopics(name, indexes) for name, indexes in asked] or None
    answer = await rig.ask(ListPartitionReassignmentsRequest(topics=topics), 0)
    return [
        (topic.name, each.partition_index, each.replicas, each.adding_replicas, each.removing_replicas)
        for topic in answer.topics
        for each in topic.partitions
    ]


async def test_election_gives_the_preferred_replica_its_partition_back(rig: ClusterRig) -> None:
    await rig.add_broker(2)
    await create(rig, (2, 1), (1, 2))
    await fence(rig, 2)
    assert leaders(rig) == [1, 1]
    assert await elect(rig, PREFERRED, ("t", [0, 1])) == {
        ("t", 0): "PREFERRED_LEADER_NOT_AVAILABLE",
        ("t", 1): "ELECTION_NOT_NEEDED",
    }
    await rig.add_broker(2)
    assert await elect(rig, PREFERRED, ("t", [0])) == {("t", 0): "PREFERRED_LEADER_NOT_AVAILABLE"}
    await rig.cluster.propose(
        lambda image: alter_isr(image, TOPIC_ID, 0, broker_id=1, leader_epoch=1, partition_epoch=1, isr=(1, 2))
    )
    for version in (0, 1, 2):
        assert (await elect(rig, PREFERRED, ("t", [0]), version=version))["t", 0] == (
            "ELECTION_NOT_NEEDED" if version else "NONE"
        )
    assert leaders(rig) == [2, 1]


async def test_election_of_all_leaves_out_who_needs_none(rig: ClusterRig) -> None:
    await rig.add_broker(2)
    await create(rig, (2, 1), (1, 2), (2,))
    await fence(rig, 2)
    assert await elect(rig, PREFERRED) == {
        ("t", 0): "PREFERRED_LEADER_NOT_AVAILABLE",
        ("t", 2): "PREFERRED_LEADER_NOT_AVAILABLE",
    }


async def test_unclean_election_needs_a_replica_that_is_there_and_no_configuration(rig: ClusterRig) -> None:
    await rig.add_broker(2)
    await create(rig, (2, 1), (2,), (1,))
    await rig.cluster.propose(
        lambda image: alter_isr(image, TOPIC_ID, 0, broker_id=2, leader_epoch=0, partition_epoch=0, isr=(2,))
    )
    await fence(rig, 2)
    assert leaders(rig) == [-1, -1, 1]
    assert await elect(rig, UNCLEAN) == {("t", 0): "NONE", ("t", 1): "ELIGIBLE_LEADERS_NOT_AVAILABLE"}
    assert leaders(rig) == [1, -1, 1]


async def test_elections_of_more_partitions_than_a_transaction_takes_are_all_done(start_rig: Any) -> None:
    rig = await start_rig(pykbroker_partitions_per_transaction="2")
    await rig.add_broker(2)
    await create(rig, *[(2, 1)] * 5)
    await fence(rig, 2)
    await rig.add_broker(2)
    for index in range(5):
        await rig.cluster.propose(
            lambda image, index=index: alter_isr(  # type: ignore[misc]
                image, TOPIC_ID, index, broker_id=1, leader_epoch=1, partition_epoch=1, isr=(1, 2)
            )
        )
    assert set((await elect(rig, PREFERRED)).values()) == {"NONE"}
    assert leaders(rig) == [2] * 5


async def test_reassignment_is_listed_until_it_is_cancelled(rig: ClusterRig) -> None:
    for broker_id in (2, 3):
        await rig.add_broker(broker_id)
    await create(rig, (1, 2), (1, 2))
    assert await reassign(rig, (0, [3, 2]), (1, [2, 1])) == ["NONE", "NONE"]
    moving = ("t", 0, [3, 2, 1], [3], [1])
    assert await ongoing(rig) == [moving]
    assert await ongoing(rig, ("t", [1, 9]), ("absent", [0])) == []
    assert await ongoing(rig, ("t", [0])) == [moving]
    assert await reassign(rig, (0, [3]), factor_may_change=False) == ["INVALID_REPLICATION_FACTOR"]
    assert await reassign(rig, (0, None), (1, None)) == ["NONE", "NO_REASSIGNMENT_IN_PROGRESS"]
    assert await ongoing(rig) == []
    assert rig.cluster.image.topics["t"].partitions[0].replicas == (2, 1)


@pytest.mark.parametrize("replicas", [[], [1, 1], [1, 7], [-1]])
async def test_reassignment_to_what_cannot_be_is_refused(rig: ClusterRig, replicas: list[int]) -> None:
    await create(rig, (1,))
    assert await reassign(rig, (0, replicas), (5, [1])) == [
        "INVALID_REPLICA_ASSIGNMENT",
        "UNKNOWN_TOPIC_OR_PARTITION",
    ]

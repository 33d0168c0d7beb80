"""Where replicas are to be, and who leads: reassignments that begin, are under way or are cancelled, and elections.

Rules: a request names so many partitions at most as Kafka's controller takes in one write. Sources: KIP-183, KIP-455,
KIP-860.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from pykbroker.client.client import Client, check, check_answer
from pykbroker.client.connection import Question
from pykbroker.errors import KafkaError, error_of
from pykbroker.topic_partition import TopicPartition, by_topic
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

PARTITIONS_PER_REQUEST = 1_000

Outcomes = dict[TopicPartition, KafkaError | None]


@attrs.frozen
class Reassignment:
    replicas: tuple[int, ...]  # the wanted ones, in their order, and behind them those that go
    adding: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()

    @classmethod
    def between(cls, before: Sequence[int], wanted: Sequence[int]) -> "Reassignment":
        """What the cluster makes of a partition that is to have other replicas."""
        removing = [each for each in before if each not in wanted]
        adding = [each for each in wanted if each not in before]
        return cls((*wanted, *removing), tuple(adding), tuple(removing))

    @property
    def wanted(self) -> tuple[int, ...]:
        return tuple(each for each in self.replicas if each not in self.removing)

    @property
    def sources(self) -> tuple[int, ...]:
        """Who had the partition before."""
        return tuple(each for each in self.replicas if each not in self.adding)


async def list_reassignments(
    client: Client, partitions: Iterable[TopicPartition] | None = None
) -> dict[TopicPartition, Reassignment]:
    """Return what is under way, of these partitions or of all. Raises: KafkaError, OSError."""
    topics = None
    if partitions is not None:
        topics = [ListPartitionReassignmentsTopics(name, indexes) for name, indexes in by_topic(partitions).items()]
    request = ListPartitionReassignmentsRequest(client.settings.request_timeout_ms, topics)
    answer = await client.ask_controller(Question.of(request), check_answer)
    return {
        TopicPartition(topic.name, each.partition_index): Reassignment(
            tuple(each.replicas), tuple(each.adding_replicas), tuple(each.removing_replicas)
        )
        for topic in answer.topics
        for each in topic.partitions
    }


async def alter_reassignments(
    client: Client, wanted: Mapping[TopicPartition, Sequence[int] | None], *, may_change_factor: bool = True
) -> Outcomes:
    """Let partitions move to these replicas; None: let them go back. Returns what became of each.

    Brokers older than Kafka 4.1 do not look at the number of replicas.
    """
    outcomes: Outcomes = {}
    for tps in _batches(wanted):
        topics = [
            ReassignableTopic(name, [_reassignable(index, wanted[TopicPartition(name, index)]) for index in indexes])
            for name, indexes in by_topic(tps).items()
        ]

        def build(version: int, topics: list[ReassignableTopic] = topics) -> AlterPartitionReassignmentsRequest:
            timeout_ms, is_free = client.settings.request_timeout_ms, may_change_factor or version < 1
            return AlterPartitionReassignmentsRequest(timeout_ms, is_free, topics)

        answer = await client.ask_controller(Question(AlterPartitionReassignmentsRequest, build), check_answer)
        outcomes |= {
            TopicPartition(topic.name, each.partition_index): _outcome(each)
            for topic in answer.responses
            for each in topic.partitions
        }
    client.forget()
    return outcomes


def _reassignable(index: int, replicas: Sequence[int] | None) -> ReassignablePartition:
    return ReassignablePartition(index, None if replicas is None else list(replicas))


async def elect_preferred_leaders(client: Client, partitions: Iterable[TopicPartition] | None = None) -> Outcomes:
    """Let the first replicas lead, of these partitions or of all. Returns what became of each that needed it."""
    if partitions is None:
        return await _elect(client, None)
    outcomes: Outcomes = {}
    for tps in _batches(partitions):
        outcomes |= await _elect(client, tps)
    return outcomes


async def _elect(client: Client, partitions: Sequence[TopicPartition] | None) -> Outcomes:
    topics = None
    if partitions is not None:
        topics = [TopicPartitions(name, indexes) for name, indexes in by_topic(partitions).items()]
    request = ElectLeadersRequest(topic_partitions=topics, timeout_ms=client.settings.request_timeout_ms)
    answer = await client.ask_controller(Question.of(request), lambda answer: check(answer.error_code))
    client.forget()
    return {
        TopicPartition(result.topic, each.partition_id): _outcome(each)
        for result in answer.replica_election_results
        for each in result.partition_result
        if each.error_code != ErrorCode.ELECTION_NOT_NEEDED
    }


def _batches(partitions: Iterable[TopicPartition]) -> Iterable[Sequence[TopicPartition]]:
    tps = list(partitions)
    return (tps[start : start + PARTITIONS_PER_REQUEST] for start in range(0, len(tps), PARTITIONS_PER_REQUEST))


def _outcome(told: Any) -> KafkaError | None:
    return KafkaError(error_of(told.error_code), told.error_message) if told.error_code else None

"""Where partitions are and who leads them.

ElectLeaders (43), versions 0-2
- Preferred leaders, and from version 1 unclean elections, which are for partitions without a leader and need no
  configuration. Partitions null: all, and those that need no election are left out of the answer.
- Errors of a partition: ELECTION_NOT_NEEDED, PREFERRED_LEADER_NOT_AVAILABLE, ELIGIBLE_LEADERS_NOT_AVAILABLE,
  UNKNOWN_TOPIC_OR_PARTITION. Another type of election is INVALID_REQUEST for all of it.

AlterPartitionReassignments (45), versions 0-1
- Replicas null cancel. From version 1 the request may insist on the replication factor (KIP-860).
- Errors of a partition: UNKNOWN_TOPIC_OR_PARTITION, INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICATION_FACTOR,
  NO_REASSIGNMENT_IN_PROGRESS.

ListPartitionReassignments (46), version 0
- Topics null: all. What is unknown or does not move is left out.

Rules: each partition succeeds or fails by itself, and those that succeed are written several at a time; a partition
that is named twice gets both answers, and the last of the two decides. Timeouts need no attention: the answer waits for
writes to the store alone.
Sources: KIP-183, KIP-455, KIP-460; Kafka's ReplicationControlManager.
"""

import enum
from collections.abc import Callable, Sequence
from typing import TypeVar

from pykbroker.cluster.changes import Change
from pykbroker.cluster.image import NO_BROKER, MetadataImage, TopicImage
from pykbroker.cluster.partition_changes import (
    Election,
    allows_unclean_election,
    circumstances,
    next_state,
    put_partition,
)
from pykbroker.cluster.reassignments import cancel_reassignment, is_reassigned, reassign
from pykbroker.errors import KafkaError
from pykbroker.handlers.context import RequestContext
from wire.errors import ErrorCode
from wire.messages.placement import (
    AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse,
    ElectLeadersRequest,
    ElectLeadersResponse,
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
    OngoingPartitionReassignment,
    OngoingTopicReassignment,
    PartitionResult,
    ReassignablePartition,
    ReassignablePartitionResponse,
    ReassignableTopicResponse,
    ReplicaElectionResult,
)

T = TypeVar("T")


class ElectionType(enum.IntEnum):
    PREFERRED = 0
    UNCLEAN = 1


async def elect_leaders(ctx: RequestContext, request: ElectLeadersRequest) -> ElectLeadersResponse:
    try:
        kind = ElectionType(request.election_type)
    except ValueError:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"{request.election_type} is no type of election") from None
    asked = request.topic_partitions
    image = ctx.services.cluster.image
    wanted = _all_partitions(image) if asked is None else [(each.topic, each.partitions) for each in asked]
    flat = [(name, index) for name, indexes in wanted for index in indexes]
    outcomes = iter(await _decide_each(ctx, flat, lambda image, each: _election(image, *each, kind)))
    response = ElectLeadersResponse()
    for name, indexes in wanted:
        answered = ReplicaElectionResult(topic=name)
        response.replica_election_results.append(answered)
        for index, error in zip(indexes, outcomes, strict=False):
            if asked is None and error is not None and error.code is ErrorCode.ELECTION_NOT_NEEDED:
                continue
            code, message = (ErrorCode.NONE, None) if error is None else (error.code, error.message)
            answered.partition_result.append(
                PartitionResult(partition_id=index, error_code=code, error_message=message)
            )
    return response


async def _decide_each(
    ctx: RequestContext, items: Sequence[T], decide: Callable[[MetadataImage, T], Change]
) -> list[KafkaError | None]:
    """Write what `decide` makes of each item, several in one transaction; return what is wrong with each."""
    size = ctx.services.config.pykbroker_partitions_per_transaction
    outcomes: list[KafkaError | None] = []
    for start in range(0, len(items), size):
        failures: list[KafkaError | None] = []

        def change(
            image: MetadataImage,
            batch: Sequence[T] = items[start : start + size],
            failures: list[KafkaError | None] = failures,
        ) -> Change:
            failures.clear()
            change = Change()
            for item in batch:
                try:
                    change += decide(image, item)
                    failures.append(None)
                except KafkaError as error:
                    failures.append(error)
            return change

        await ctx.services.cluster.decide(change)
        outcomes += failures
    return outcomes


def _all_partitions(image: MetadataImage) -> Sequence[tuple[str, Sequence[int]]]:
    return [(topic.name, range(len(topic.partitions))) for topic in image.topics.values()]


def _election(image: MetadataImage, name: str, index: int, kind: ElectionType) -> Change:
    topic = _topic(image, name, index)
    old = topic.partitions[index]
    is_preferred = kind is ElectionType.PREFERRED
    if old.leader == old.replicas[0] if is_preferred else old.leader != NO_BROKER:
        raise KafkaError(ErrorCode.ELECTION_NOT_NEEDED, "the partition needs no election")
    election = Election.PREFERRED if is_preferred else Election.UNCLEAN
    state = next_state(old, circumstances(image, topic, election=election))
    if state is old and is_preferred:
        raise KafkaError(ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE, "the preferred replica is not in sync, or away")
    if state is old:
        raise KafkaError(ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE, "no replica of the partition is there")
    return put_partition(image, topic, index, state)


def _topic(image: MetadataImage, name: str, index: int) -> TopicImage:
    topic = image.topics.get(name)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {name}")
    if not 0 <= index < len(topic.partitions):
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"there is no partition {name}-{index}")
    return topic


async def alter_partition_reassignments(
    ctx: RequestContext, request: AlterPartitionReassignmentsRequest
) -> AlterPartitionReassignmentsResponse:
    may_change_factor = request.allow_replication_factor_change
    response = AlterPartitionReassignmentsResponse(allow_replication_factor_change=may_change_factor)
    if not request.topics:
        return response
    response.error_message = None
    flat = [(topic.name, partition) for topic in request.topics for partition in topic.partitions]
    outcomes = iter(
        await _decide_each(ctx, flat, lambda image, each: _reassignment(ctx, image, *each, may_change_factor))
    )
    for topic in request.topics:
        answered = ReassignableTopicResponse(name=topic.name)
        response.responses.append(answered)
        for partition, error in zip(topic.partitions, outcomes, strict=False):
            code, message = (ErrorCode.NONE, None) if error is None else (error.code, error.message)
            answered.partitions.append(
                ReassignablePartitionResponse(
                    partition_index=partition.partition_index, error_code=code, error_message=message
                )
            )
    return response


def _reassignment(
    ctx: RequestContext, image: MetadataImage, name: str, partition: ReassignablePartition, may_change_factor: bool
) -> Change:
    index = partition.partition_index
    topic = _topic(image, name, index)
    if partition.replicas is not None:
        return reassign(image, topic, index, partition.replicas, may_change_factor=may_change_factor)
    unclean = allows_unclean_election(image, name, ctx.services.config.unclean_leader_election_enable)
    return cancel_reassignment(image, topic, index, unclean=unclean)


def list_partition_reassignments(
    ctx: RequestContext, request: ListPartitionReassignmentsRequest
) -> ListPartitionReassignmentsResponse:
    image = ctx.services.cluster.image
    if request.topics is None:
        wanted = _all_partitions(image)
    else:
        wanted = [(topic.name, topic.partition_indexes) for topic in request.topics]
    response = ListPartitionReassignmentsResponse(error_message=None)
    for name, indexes in wanted:
        found = [
            OngoingPartitionReassignment(
                partition_index=index,
                replicas=list(partition.replicas),
                adding_replicas=list(partition.adding_replicas),
                removing_replicas=list(partition.removing_replicas),
            )
            for index in indexes
            if (partition := image.partition(name, index)) is not None and is_reassigned(partition)
        ]
        if found:
            response.topics.append(OngoingTopicReassignment(name=name, partitions=found))
    return response

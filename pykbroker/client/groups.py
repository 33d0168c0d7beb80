"""Groups: which there are, who is in them, what they have committed, and changing that from outside.

Rules
- Each broker knows the groups that it coordinates, so a list asks all of them.
- A group of the consumer protocol (KIP-848) is described by ConsumerGroupDescribe, a classic one by DescribeGroups,
  share groups (KIP-932) and those of Streams (KIP-1071) by their own; none knows the others'. Brokers before 3.7 know
  classic ones only.
- Offsets can be set from outside only while the group has no members.

Not here: being a member (member).
"""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from pykbroker.client.client import Client, CoordinatorType, check
from pykbroker.client.connection import Question
from pykbroker.client.errors import NotServedError
from pykbroker.errors import KafkaError, error_of
from pykbroker.topic_partition import TopicPartition, by_topic
from wire import codec
from wire.errors import ErrorCode, ProtocolError
from wire.messages.classic_groups import DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest
from wire.messages.consumer_groups import ConsumerGroupDescribeRequest
from wire.messages.group_offsets import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)
from wire.messages.log_records import ConsumerProtocolAssignment
from wire.messages.share_groups import (
    DescribeShareGroupOffsetsRequest,
    DescribeShareGroupOffsetsRequestGroup,
    ShareGroupDescribeRequest,
)
from wire.messages.streams_groups import StreamsGroupDescribeRequest

NO_OFFSET = -1
_MAX_OFFSET_VERSION = 9  # later ones name topics by id
_EMPTY_STATES = ("Empty", "Dead")
SHARE = "share"


@attrs.frozen
class ListedGroup:
    id: str
    protocol_type: str
    state: str  # "": the broker does not tell
    type: str  # "": the broker does not tell
    coordinator: int


@attrs.frozen
class GroupMember:
    id: str
    instance_id: str | None
    client_id: str
    host: str
    partitions: tuple[TopicPartition, ...]


@attrs.frozen
class Group:
    id: str
    state: str
    type: str  # classic, consumer, share or streams
    assignor: str
    members: tuple[GroupMember, ...]

    @property
    def is_empty(self) -> bool:
        return self.state in _EMPTY_STATES


@attrs.frozen
class CommittedOffset:
    offset: int
    metadata: str = ""
    leader_epoch: int = -1


async def list_groups(client: Client) -> list[ListedGroup]:
    """Raises: KafkaError, OSError where a broker that should be there cannot be asked."""
    groups = []
    for broker_id in sorted((await client.metadata([])).brokers):
        groups += await list_groups_of(client, broker_id)
    return sorted(groups, key=lambda group: group.id)


async def list_groups_of(client: Client, broker_id: int) -> list[ListedGroup]:
    """Return the groups that one broker coordinates. Raises: KafkaError, OSError."""

    async def ask() -> Any:
        answer = await client.ask_broker(broker_id, Question.of(ListGroupsRequest()))
        check(answer.error_code)
        return answer

    return [
        ListedGroup(told.group_id, told.protocol_type, told.group_state, told.group_type, broker_id)
        for told in (await client.retry(ask)).groups
    ]


async def describe_group(client: Client, group_id: str) -> Group:
    """Raises: KafkaError, GROUP_ID_NOT_FOUND."""
    failure: KafkaError | None = None
    for describe in (_describe_consumer_group, _describe_classic_group, _describe_share_group, _describe_streams_group):
        with contextlib.suppress(NotServedError):
            try:
                return await describe(client, group_id)
            except KafkaError as error:
                if error.code not in (ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.UNSUPPORTED_VERSION):
                    raise
                failure = error
    assert failure is not None  # every broker knows classic ones
    raise failure


async def _ask_of(client: Client, group_id: str, request: object) -> Any:
    answer = await client.ask_coordinator(CoordinatorType.GROUP, group_id, Question.of(request), _check_groups)
    (told,) = answer.groups
    return told


async def _describe_consumer_group(client: Client, group_id: str) -> Group:
    told = await _ask_of(client, group_id, ConsumerGroupDescribeRequest([group_id]))
    members = [_member(member, _assigned(member.assignment), member.instance_id) for member in told.members]
    return Group(group_id, told.group_state, "consumer", told.assignor_name, tuple(members))


async def _describe_share_group(client: Client, group_id: str) -> Group:
    told = await _ask_of(client, group_id, ShareGroupDescribeRequest([group_id]))
    members = [_member(member, _assigned(member.assignment)) for member in told.members]
    return Group(group_id, told.group_state, SHARE, told.assignor_name, tuple(members))


async def _describe_streams_group(client: Client, group_id: str) -> Group:
    """A member's partitions are those that its active tasks read."""
    told = await _ask_of(client, group_id, StreamsGroupDescribeRequest([group_id]))
    sources = {
        each.subtopology_id: [*each.source_topics, *(topic.name for topic in each.repartition_source_topics)]
        for each in (told.topology.subtopologies if told.topology else None) or ()
    }
    members = [
        _member(
            member,
            (
                TopicPartition(topic, partition)
                for task in member.assignment.active_tasks
                for topic in sources.get(task.subtopology_id, ())
                for partition in task.partitions
            ),
            member.instance_id,
        )
        for member in told.members
    ]
    return Group(group_id, told.group_state, "streams", "", tuple(members))


def _assigned(assignment: Any) -> Iterable[TopicPartition]:
    return (
        TopicPartition(topic.topic_name, partition)
        for topic in assignment.topic_partitions
        for partition in topic.partitions
    )


def _member(told: Any, partitions: Iterable[TopicPartition], instance_id: str | None = None) -> GroupMember:
    return GroupMember(told.member_id, instance_id, told.client_id, told.client_host, tuple(partitions))


async def _describe_classic_group(client: Client, group_id: str) -> Group:
    told = await _ask_of(client, group_id, DescribeGroupsRequest([group_id]))
    if told.group_state == "Dead":  # what brokers before 4.0 say of a group that is not there
        raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} not found.")
    is_consumer = told.protocol_type == "consumer"
    members = [
        _member(member, assigned_partitions(member.member_assignment) if is_consumer else (), member.group_instance_id)
        for member in told.members
    ]
    return Group(group_id, told.group_state, "classic", told.protocol_data, tuple(members))


def _check_groups(answer: Any) -> None:
    for told in answer.groups:
        check(told.error_code, told.error_message)


def assigned_partitions(assignment: bytes) -> tuple[TopicPartition, ...]:
    """Read what a consumer was assigned; nothing where its bytes are somebody else's."""
    if len(assignment) < 2:
        return ()
    try:
        told, _ = codec.decode(ConsumerProtocolAssignment, 0, assignment, 2)
    except ProtocolError:
        return ()
    return tuple(
        TopicPartition(topic.topic, partition) for topic in told.assigned_partitions for partition in topic.partitions
    )


async def delete_groups(client: Client, group_ids: Iterable[str]) -> dict[str, KafkaError | None]:
    """Delete empty groups with their offsets; return what became of each."""
    outcomes: dict[str, KafkaError | None] = {}
    for group_id in group_ids:
        try:
            question = Question.of(DeleteGroupsRequest([group_id]))
            await client.ask_coordinator(
                CoordinatorType.GROUP,
                group_id,
                question,
                lambda answer: check(answer.results[0].error_code, answer.results[0].error_message),
            )
            outcomes[group_id] = None
        except KafkaError as error:
            outcomes[group_id] = error
    return outcomes


# Offsets


async def committed_offsets(
    client: Client, group_id: str, partitions: Iterable[TopicPartition] | None = None
) -> dict[TopicPartition, CommittedOffset]:
    """Return what a group has committed, of these partitions or of all. Raises: KafkaError."""
    wanted = None if partitions is None else by_topic(partitions)

    def build(version: int) -> OffsetFetchRequest:
        if version >= 8:
            topics = (
                None
                if wanted is None
                else [OffsetFetchRequestTopics(name, partition_indexes=ids) for name, ids in wanted.items()]
            )
            return OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id, topics=topics)])
        older = None if wanted is None else [OffsetFetchRequestTopic(name, ids) for name, ids in wanted.items()]
        return OffsetFetchRequest(group_id, older)

    def told_of(answer: Any) -> Any:
        return answer.groups[0] if answer.groups else answer

    answer = await client.ask_coordinator(
        CoordinatorType.GROUP,
        group_id,
        Question(OffsetFetchRequest, build, _MAX_OFFSET_VERSION),
        lambda answer: check(told_of(answer).error_code),
    )
    offsets = {}
    for topic in told_of(answer).topics:
        for told in topic.partitions:
            check(told.error_code)
            if told.committed_offset != NO_OFFSET:
                offsets[TopicPartition(topic.name, told.partition_index)] = CommittedOffset(
                    told.committed_offset, told.metadata or "", told.committed_leader_epoch
                )
    return offsets


async def share_offsets(client: Client, group_id: str) -> dict[TopicPartition, int]:
    """Return from where on a share group still hands out records. Raises: KafkaError."""
    request = DescribeShareGroupOffsetsRequest([DescribeShareGroupOffsetsRequestGroup(group_id, None)])
    told = await _ask_of(client, group_id, request)
    return {
        TopicPartition(topic.topic_name, each.partition_index): each.start_offset
        for topic in told.topics
        for each in topic.partitions
        if not each.error_code and each.start_offset >= 0
    }


async def commit_offsets(
    client: Client,
    group_id: str,
    offsets: Mapping[TopicPartition, CommittedOffset],
    *,
    generation_id: int = -1,
    member_id: str = "",
) -> None:
    """Store offsets, as a member or, in a group without members, from outside. Raises: KafkaError."""
    by_topic: dict[str, list[OffsetCommitRequestPartition]] = {}
    for tp, committed in offsets.items():
        partition = OffsetCommitRequestPartition(
            tp.partition, committed.offset, committed.leader_epoch, committed.metadata
        )
        by_topic.setdefault(tp.topic, []).append(partition)
    request = OffsetCommitRequest(
        group_id,
        generation_id,
        member_id,
        topics=[OffsetCommitRequestTopic(name, partitions=partitions) for name, partitions in by_topic.items()],
    )

    def check_answer(answer: Any) -> None:
        for topic in answer.topics:
            for told in topic.partitions:
                check(told.error_code, f"{topic.name}-{told.partition_index}")

    question = Question.of(request, _MAX_OFFSET_VERSION)
    await client.ask_coordinator(CoordinatorType.GROUP, group_id, question, check_answer)


async def delete_offsets(
    client: Client, group_id: str, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, KafkaError | None]:
    """Forget what a group has committed; return what became of each partition. Raises: KafkaError."""
    topics = [
        OffsetDeleteRequestTopic(name, [OffsetDeleteRequestPartition(index) for index in indexes])
        for name, indexes in by_topic(partitions).items()
    ]
    answer = await client.ask_coordinator(
        CoordinatorType.GROUP,
        group_id,
        Question.of(OffsetDeleteRequest(group_id, topics)),
        lambda answer: check(answer.error_code),
    )
    return {
        TopicPartition(topic.name, told.partition_index): KafkaError(error_of(told.error_code))
        if told.error_code
        else None
        for topic in answer.topics
        for told in topic.partitions
    }

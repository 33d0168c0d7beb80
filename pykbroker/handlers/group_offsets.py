"""OffsetCommit (key 8, versions 2-10), OffsetFetch (9, 1-10), OffsetDelete (47, 0).

All of them: NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE while the group cannot be served
here.

OffsetCommit is answered when the offsets are committed.
- By partition: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID (10+), OFFSET_METADATA_TOO_LARGE; an error of the group
  stands at each partition that is known: UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, FENCED_INSTANCE_ID (7+),
  REBALANCE_IN_PROGRESS, and for a generation of an unknown group GROUP_ID_NOT_FOUND (9+), ILLEGAL_GENERATION before.
- Generation -1 commits for a group without members, which is made if it does not exist; its id may even be empty.
- 2-4: a retention time of the request's own. 6: leader epochs. 10: topic ids instead of names.
OffsetFetch: offset -1 where nothing is committed, also for unknown groups.
- 2: topics null fetches all; an error of the group stands in the response, in 1 at each partition. 5: leader epochs.
- 7: require_stable waits for what is being committed, and answers UNSTABLE_OFFSET_COMMIT where a transaction is open
  (KIP-447).
- 8: several groups (KIP-709). 10: topic ids, UNKNOWN_TOPIC_ID.
OffsetDelete: GROUP_SUBSCRIBED_TO_TOPIC, UNKNOWN_TOPIC_OR_PARTITION; for the group INVALID_GROUP_ID,
GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
"""

from collections.abc import Callable

import attrs

from pykbroker.cluster.image import MetadataImage, TopicImage
from pykbroker.errors import KafkaError
from pykbroker.groups.offsets import CommittedOffset, Key
from pykbroker.groups.shard import GroupShard
from pykbroker.handlers.context import RequestContext
from pykbroker.waiters import Answer, Parked
from wire.errors import ErrorCode
from wire.messages.group_offsets import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetCommitResponse,
    OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
    OffsetDeleteRequest,
    OffsetDeleteResponse,
    OffsetDeleteResponsePartition,
    OffsetDeleteResponseTopic,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
    OffsetFetchResponse,
    OffsetFetchResponseGroup,
    OffsetFetchResponsePartition,
    OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
)
from wire.schema import ZERO_UUID, Uuid

_TOPIC_ID_VERSION = 10
_GROUPS_VERSION = 8
_NO_OFFSET = -1
_DEFAULT_RETENTION = -1

Topic = tuple[str, Uuid]  # as the request names it: one of the two may be empty


# OffsetCommit


def offset_commit(ctx: RequestContext, request: OffsetCommitRequest) -> OffsetCommitResponse | Parked:
    outcome = _CommitOutcome()
    accepted: list[tuple[Topic, int]] = []
    offsets: list[tuple[str, int, CommittedOffset]] = []
    too_large: set[tuple[Topic, int]] = set()
    now_ms = ctx.services.clock.time_ms()
    for topic in request.topics:
        named = (topic.name, topic.topic_id)
        image, unknown = _find_topic(ctx, topic)
        for partition in topic.partitions:
            index = partition.partition_index
            if image is None or not 0 <= index < len(image.partitions):
                outcome.add(named, index, unknown)
                continue
            accepted.append((named, index))
            metadata = partition.committed_metadata or ""
            if len(metadata) > ctx.services.groups.settings.offset_metadata_max_bytes:
                too_large.add((named, index))
            else:
                offsets.append((image.name, index, _committed(request, partition, image.id, now_ms)))
    if not accepted:
        return outcome.response()
    answer = Answer[OffsetCommitResponse]()

    def stored(error: ErrorCode) -> None:
        for named, index in accepted:
            is_too_large = error is ErrorCode.NONE and (named, index) in too_large
            outcome.add(named, index, ErrorCode.OFFSET_METADATA_TOO_LARGE if is_too_large else error)
        answer.complete(outcome.response())

    try:
        ctx.services.groups.shard_for(request.group_id).commit_offsets(
            request.group_id,
            member_id=request.member_id,
            group_instance_id=request.group_instance_id,
            generation_id=request.generation_id_or_member_epoch,
            offsets=offsets,
            done=stored,
        )
    except KafkaError as error:
        # Clients know GROUP_ID_NOT_FOUND from version 9 on.
        is_old = error.code is ErrorCode.GROUP_ID_NOT_FOUND and ctx.api_version < 9
        stored(ErrorCode.ILLEGAL_GENERATION if is_old else error.code)
    return answer.outcome


def _find_topic(ctx: RequestContext, topic: OffsetCommitRequestTopic) -> tuple[TopicImage | None, ErrorCode]:
    """Return the topic, or None, and the error of those of its partitions that are not known."""
    image = ctx.services.cluster.image
    if ctx.api_version < _TOPIC_ID_VERSION:
        return image.topics.get(topic.name), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    found = _topic_by_id(image, topic.topic_id)
    return found, ErrorCode.UNKNOWN_TOPIC_ID if found is None else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def _topic_by_id(image: MetadataImage, topic_id: Uuid) -> TopicImage | None:
    name = image.topic_names_by_id.get(topic_id)
    return None if name is None else image.topics[name]


def _committed(
    request: OffsetCommitRequest, partition: OffsetCommitRequestPartition, topic_id: Uuid, now_ms: int
) -> CommittedOffset:
    retention_ms = request.retention_time_ms
    return CommittedOffset(
        offset=partition.committed_offset,
        leader_epoch=partition.committed_leader_epoch,
        metadata=partition.committed_metadata or "",
        commit_timestamp_ms=now_ms,
        expire_timestamp_ms=None if retention_ms == _DEFAULT_RETENTION else now_ms + retention_ms,
        topic_id=topic_id,
    )


@attrs.define
class _CommitOutcome:
    """The response of a commit, topic by topic in the order in which their partitions are settled."""

    topics: dict[Topic, list[OffsetCommitResponsePartition]] = attrs.field(factory=dict)

    def add(self, topic: Topic, index: int, error: ErrorCode) -> None:
        partition = OffsetCommitResponsePartition(partition_index=index, error_code=error)
        self.topics.setdefault(topic, []).append(partition)

    def response(self) -> OffsetCommitResponse:
        return OffsetCommitResponse(
            topics=[
                OffsetCommitResponseTopic(name=name, topic_id=topic_id, partitions=partitions)
                for (name, topic_id), partitions in self.topics.items()
            ]
        )


# OffsetFetch


def offset_fetch(ctx: RequestContext, request: OffsetFetchRequest) -> OffsetFetchResponse | Parked:
    wanted = request.groups if ctx.api_version >= _GROUPS_VERSION else [_only_group(request)]
    found: list[OffsetFetchResponseGroup | None] = [None] * len(wanted)
    answer = Answer[OffsetFetchResponse]()

    def settle(position: int, group: OffsetFetchResponseGroup) -> None:
        found[position] = group
        complete = [each for each in found if each is not None]
        if len(complete) == len(found):
            answer.complete(_fetch_response(ctx, request, complete))

    if not wanted:
        return OffsetFetchResponse()
    for position, group in enumerate(wanted):
        _fetch_group(ctx, group, request.require_stable, _settler(settle, position))
    return answer.outcome


def _settler(
    settle: Callable[[int, OffsetFetchResponseGroup], None], position: int
) -> Callable[[OffsetFetchResponseGroup], None]:
    return lambda group: settle(position, group)


def _only_group(request: OffsetFetchRequest) -> OffsetFetchRequestGroup:
    topics = request.topics
    return OffsetFetchRequestGroup(
        group_id=request.group_id,
        topics=None
        if topics is None
        else [OffsetFetchRequestTopics(name=topic.name, partition_indexes=topic.partition_indexes) for topic in topics],
    )


def _fetch_group(
    ctx: RequestContext,
    group: OffsetFetchRequestGroup,
    require_stable: bool,
    done: Callable[[OffsetFetchResponseGroup], None],
) -> None:
    try:
        shard = ctx.services.groups.shard_for(group.group_id)
    except KafkaError as error:
        done(OffsetFetchResponseGroup(group_id=group.group_id, error_code=error.code))
        return
    topics = (
        _fetch_all(ctx, shard, group.group_id, require_stable)
        if group.topics is None
        else _fetch_topics(ctx, shard, group.group_id, group.topics, require_stable)
    )
    fetched = OffsetFetchResponseGroup(group_id=group.group_id, topics=topics)
    if not require_stable:
        done(fetched)
        return

    def committed(error: ErrorCode) -> None:
        if error is ErrorCode.NONE:
            done(fetched)
            return
        # Older consumers do not retry on COORDINATOR_NOT_AVAILABLE here; NOT_COORDINATOR makes them look again.
        code = ErrorCode.NOT_COORDINATOR if error is ErrorCode.COORDINATOR_NOT_AVAILABLE else error
        done(OffsetFetchResponseGroup(group_id=group.group_id, error_code=code))

    shard.commit((), committed)


def _fetch_all(
    ctx: RequestContext, shard: GroupShard, group_id: str, require_stable: bool
) -> list[OffsetFetchResponseTopics]:
    found = []
    for name, partitions in shard.read_offsets(group_id, require_stable=require_stable).items():
        image = ctx.services.cluster.image.topics.get(name)
        if image is None and ctx.api_version >= _TOPIC_ID_VERSION:
            continue  # deleted, and without an id there is no naming it
        rows = [
            _row(shard, (group_id, name, index), committed, require_stable=require_stable)
            for index, committed in partitions.items()
        ]
        topic_id = ZERO_UUID if image is None else image.id
        found.append(OffsetFetchResponseTopics(name=name, topic_id=topic_id, partitions=rows))
    return found


def _fetch_topics(
    ctx: RequestContext,
    shard: GroupShard,
    group_id: str,
    topics: list[OffsetFetchRequestTopics],
    require_stable: bool,
) -> list[OffsetFetchResponseTopics]:
    offsets = shard.read_offsets(group_id, require_stable=require_stable)
    found: list[OffsetFetchResponseTopics] = []
    unknown: list[OffsetFetchResponseTopics] = []
    for topic in topics:
        name: str | None = topic.name
        if ctx.api_version >= _TOPIC_ID_VERSION:
            name = ctx.services.cluster.image.topic_names_by_id.get(topic.topic_id)
        if name is None:
            rows = [_no_row(index, ErrorCode.UNKNOWN_TOPIC_ID) for index in topic.partition_indexes]
            unknown.append(OffsetFetchResponseTopics(topic_id=topic.topic_id, partitions=rows))
            continue
        rows = []
        for index in topic.partition_indexes:
            committed = offsets.get(name, {}).get(index)
            if committed is not None and committed.is_of_other_topic(topic.topic_id):
                committed = None
            rows.append(_row(shard, (group_id, name, index), committed, require_stable=require_stable))
        found.append(OffsetFetchResponseTopics(name=name, topic_id=topic.topic_id, partitions=rows))
    return found + unknown


def _row(
    shard: GroupShard, key: Key, committed: CommittedOffset | None, *, require_stable: bool
) -> OffsetFetchResponsePartitions:
    if require_stable and shard.offsets.has_pending_transaction(*key):
        return _no_row(key[2], ErrorCode.UNSTABLE_OFFSET_COMMIT)
    if committed is None:
        return _no_row(key[2], ErrorCode.NONE)
    return OffsetFetchResponsePartitions(
        partition_index=key[2],
        committed_offset=committed.offset,
        committed_leader_epoch=committed.leader_epoch,
        metadata=committed.metadata,
    )


def _no_row(index: int, error: ErrorCode) -> OffsetFetchResponsePartitions:
    return OffsetFetchResponsePartitions(
        partition_index=index, committed_offset=_NO_OFFSET, metadata="", error_code=error
    )


def _fetch_response(
    ctx: RequestContext, request: OffsetFetchRequest, groups: list[OffsetFetchResponseGroup]
) -> OffsetFetchResponse:
    if ctx.api_version >= _GROUPS_VERSION:
        return OffsetFetchResponse(groups=groups)
    (group,) = groups
    if group.error_code != ErrorCode.NONE and ctx.api_version == 1:
        rows = [
            OffsetFetchResponseTopics(
                name=topic.name,
                partitions=[_no_row(index, ErrorCode(group.error_code)) for index in topic.partition_indexes],
            )
            for topic in request.topics or []
        ]
        group = OffsetFetchResponseGroup(topics=rows)
    return OffsetFetchResponse(
        error_code=group.error_code,
        topics=[
            OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponsePartition(
                        partition_index=row.partition_index,
                        committed_offset=row.committed_offset,
                        committed_leader_epoch=row.committed_leader_epoch,
                        metadata=row.metadata,
                        error_code=row.error_code,
                    )
                    for row in topic.partitions
                ],
            )
            for topic in group.topics
        ],
    )


# OffsetDelete


def offset_delete(ctx: RequestContext, request: OffsetDeleteRequest) -> OffsetDeleteResponse | Parked:
    if not request.group_id:
        return OffsetDeleteResponse(error_code=ErrorCode.INVALID_GROUP_ID)
    outcome: dict[str, list[OffsetDeleteResponsePartition]] = {}

    def settle(topic: str, index: int, error: ErrorCode) -> None:
        row = OffsetDeleteResponsePartition(partition_index=index, error_code=error)
        outcome.setdefault(topic, []).append(row)

    known: list[tuple[str, int]] = []
    for topic in request.topics:
        image = ctx.services.cluster.image.topics.get(topic.name)
        for partition in topic.partitions:
            index = partition.partition_index
            if image is not None and 0 <= index < len(image.partitions):
                known.append((topic.name, index))
            else:
                settle(topic.name, index, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    answer = Answer[OffsetDeleteResponse]()

    def deleted(errors: list[ErrorCode]) -> None:
        for (name, index), error in zip(known, errors, strict=True):
            settle(name, index, error)
        topics = [OffsetDeleteResponseTopic(name=name, partitions=rows) for name, rows in outcome.items()]
        answer.complete(OffsetDeleteResponse(topics=topics))

    try:
        ctx.services.groups.shard_for(request.group_id).delete_offsets(request.group_id, known, deleted)
    except KafkaError as error:
        return OffsetDeleteResponse(error_code=error.code)
    return answer.outcome

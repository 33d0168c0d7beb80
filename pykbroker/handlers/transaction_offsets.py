"""TxnOffsetCommit (key 28, versions 0-6): offsets of a group that count when a transaction commits.

- Before anything is stored, the transaction's coordinator has to know of the group: it is asked, and from version 5
  on it adds the group itself. Not in the transaction: INVALID_TXN_STATE, from 4 on TRANSACTION_ABORTABLE.
- Members are checked as for OffsetCommit, except that a client without member id, generation and instance may always
  commit (KIP-447): UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, and for a generation of an unknown
  group ILLEGAL_GENERATION, GROUP_ID_NOT_FOUND from 6 on.
- INVALID_PRODUCER_ID_MAPPING, INVALID_PRODUCER_EPOCH, CONCURRENT_TRANSACTIONS (retriable) from the transaction;
  NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE, COORDINATOR_LOAD_IN_PROGRESS (which 0 and 1 do not know) of either.
- By partition: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID (6+), OFFSET_METADATA_TOO_LARGE.
Versions: 2 leader epochs; 3 member and generation; 5 adds the group; 6 topic ids.
Sources: KIP-98, KIP-447, KIP-890, KIP-1319.
"""

import attrs

from pykbroker.cluster.image import TopicImage
from pykbroker.errors import KafkaError
from pykbroker.groups.coordinator import OFFSETS_TOPIC
from pykbroker.groups.offsets import CommittedOffset
from pykbroker.groups.shard import GroupShard
from pykbroker.handlers.context import RequestContext
from pykbroker.replication.coordinator_log import Done
from pykbroker.topic_partition import TopicPartition
from pykbroker.transactions.verification import Errors, Question
from pykbroker.waiters import Answer, Parked
from wire.errors import ErrorCode
from wire.messages.transactions import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
    TxnOffsetCommitResponse,
    TxnOffsetCommitResponsePartition,
    TxnOffsetCommitResponseTopic,
)
from wire.schema import Uuid

LOADING_KNOWN_FROM = 2
ABORTABLE_FROM = 4
ADDS_GROUP_FROM = 5
TOPIC_IDS_FROM = 6

Topic = tuple[str, Uuid]  # as the request names it: one of the two may be empty


def txn_offset_commit(ctx: RequestContext, request: TxnOffsetCommitRequest) -> TxnOffsetCommitResponse | Parked:
    commit = _Commit(ctx, request)
    for topic in request.topics:
        commit.take(topic)
    if not commit.accepted:
        return commit.response()
    answer = Answer[TxnOffsetCommitResponse]()

    def stored(error: ErrorCode) -> None:
        commit.settle(error)
        answer.complete(commit.response())

    commit.begin(stored)
    return answer.outcome


@attrs.define(eq=False)
class _Commit:
    """One request on its way: checked, verified, stored."""

    ctx: RequestContext
    request: TxnOffsetCommitRequest
    accepted: list[tuple[Topic, int]] = attrs.field(factory=list)
    too_large: set[tuple[Topic, int]] = attrs.field(factory=set)
    offsets: list[tuple[str, int, CommittedOffset]] = attrs.field(factory=list)
    outcome: dict[Topic, list[TxnOffsetCommitResponsePartition]] = attrs.field(factory=dict)

    def take(self, topic: TxnOffsetCommitRequestTopic) -> None:
        named = (topic.name, topic.topic_id)
        image, unknown = self._find(topic)
        for partition in topic.partitions:
            index = partition.partition_index
            if image is None or not 0 <= index < len(image.partitions):
                self._add(named, index, unknown)
                continue
            self.accepted.append((named, index))
            if len(partition.committed_metadata or "") > self.ctx.services.groups.settings.offset_metadata_max_bytes:
                self.too_large.add((named, index))
            else:
                self.offsets.append((image.name, index, self._committed(partition, image.id)))

    def _find(self, topic: TxnOffsetCommitRequestTopic) -> tuple[TopicImage | None, ErrorCode]:
        image = self.ctx.services.cluster.image
        if self.ctx.api_version < TOPIC_IDS_FROM:
            return image.topics.get(topic.name), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        found = image.topic_by_id(topic.topic_id)
        return found, ErrorCode.UNKNOWN_TOPIC_ID if found is None else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    def _committed(self, partition: TxnOffsetCommitRequestPartition, topic_id: Uuid) -> CommittedOffset:
        return CommittedOffset(
            offset=partition.committed_offset,
            leader_epoch=partition.committed_leader_epoch,
            metadata=partition.committed_metadata or "",
            commit_timestamp_ms=self.ctx.services.clock.time_ms(),
            topic_id=topic_id,
        )

    def begin(self, stored: Done) -> None:
        """Check the group's coordinator, ask the transaction's, and store."""
        request = self.request
        try:
            shard = self._shard()
        except KafkaError as error:
            stored(error.code)
            return
        producers = shard.partition.log.producers
        if producers.has_open_transaction(request.producer_id, request.producer_epoch):
            self._store(shard, stored)
            return
        where = TopicPartition(OFFSETS_TOPIC, shard.partition.topic_partition.partition)
        adds = self.ctx.api_version >= ADDS_GROUP_FROM
        verification = producers.begin_verification(request.producer_id, request.producer_epoch, 0, raises_epoch=adds)

        def verified(errors: Errors) -> None:
            if where in errors:
                stored(self._known(errors[where]))
                return
            try:
                shard = self._shard()  # it may be another one by now
                producers = shard.partition.log.producers
                producers.check_verified(request.producer_id, request.producer_epoch, 0, verification)
            except KafkaError as error:
                stored(error.code)
                return
            self._store(shard, stored)

        self.ctx.services.verifier.ask(
            Question(
                request.transactional_id,
                request.producer_id,
                request.producer_epoch,
                (where,),
                add=adds,
            ),
            verified,
        )

    def _shard(self) -> GroupShard:
        if not self.request.group_id:
            raise KafkaError(ErrorCode.INVALID_GROUP_ID)
        return self.ctx.services.groups.shard_for(self.request.group_id)

    def _known(self, error: ErrorCode) -> ErrorCode:
        """Return what this version's clients know of the transaction coordinator's errors."""
        if error is ErrorCode.NETWORK_EXCEPTION:
            return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        if error is ErrorCode.TRANSACTION_ABORTABLE and self.ctx.api_version < ABORTABLE_FROM:
            return ErrorCode.INVALID_TXN_STATE
        return error

    def _store(self, shard: GroupShard, stored: Done) -> None:
        request = self.request
        try:
            shard.commit_offsets(
                request.group_id,
                member_id=request.member_id,
                group_instance_id=request.group_instance_id,
                generation_id=request.generation_id_or_member_epoch,
                offsets=self.offsets,
                producer_id=request.producer_id,
                producer_epoch=request.producer_epoch,
                done=stored,
            )
        except KafkaError as error:
            is_old = error.code is ErrorCode.GROUP_ID_NOT_FOUND and self.ctx.api_version < TOPIC_IDS_FROM
            stored(ErrorCode.ILLEGAL_GENERATION if is_old else error.code)

    def settle(self, error: ErrorCode) -> None:
        if error is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS and self.ctx.api_version < LOADING_KNOWN_FROM:
            error = ErrorCode.COORDINATOR_NOT_AVAILABLE
        for named, index in self.accepted:
            is_too_large = error is ErrorCode.NONE and (named, index) in self.too_large
            self._add(named, index, ErrorCode.OFFSET_METADATA_TOO_LARGE if is_too_large else error)

    def _add(self, topic: Topic, index: int, error: ErrorCode) -> None:
        row = TxnOffsetCommitResponsePartition(partition_index=index, error_code=error)
        self.outcome.setdefault(topic, []).append(row)

    def response(self) -> TxnOffsetCommitResponse:
        return TxnOffsetCommitResponse(
            topics=[
                TxnOffsetCommitResponseTopic(name=name, topic_id=topic_id, partitions=rows)
                for (name, topic_id), rows in self.outcome.items()
            ]
        )

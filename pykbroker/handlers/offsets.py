"""ListOffsets (key 2, versions 1-11), DeleteRecords (21, 0-2), OffsetForLeaderEpoch (23, 2-4).

ListOffsets finds the offset that belongs to a timestamp: that of the first record not older than it, or for a negative
one:
- -1 the end (the high watermark; the last stable offset for read_committed), -2 the log start;
- -3 the record with the greatest timestamp (7+, KIP-734); -4 the first offset on local disk (8+, KIP-405);
- -5 the last offset in tiered storage (9+, KIP-1005), -6 the first offset not yet uploaded to it (11+, KIP-1023).
  There is no tiered storage here: all data is local, nothing is uploaded.
- Not found: offset -1. A partition named twice: INVALID_REQUEST. Errors besides: UNKNOWN_TOPIC_OR_PARTITION,
  NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, UNSUPPORTED_VERSION (a timestamp of a later
  version).
- A leader whose high watermark is not yet where its epoch began does not know the end that consumers have seen: it
  answers OFFSET_NOT_AVAILABLE (5+, before LEADER_NOT_AVAILABLE) for the end, and for what lies behind the high
  watermark (KIP-207).

DeleteRecords moves the log start offset: POLICY_VIOLATION for compacted topics, OFFSET_OUT_OF_RANGE beyond the high
watermark (KIP-107). It is answered when all replicas that are alive have followed, or with REQUEST_TIMED_OUT.

OffsetForLeaderEpoch answers where a leader epoch ends in this log: the start of the next epoch, or the log end offset
for the current one; epoch and offset -1 where the epoch is not known (KIP-101, KIP-320).
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import ParamSpec, TypeVar

import attrs

from pykbroker.errors import KafkaError, StorageError
from pykbroker.handlers.context import RequestContext
from pykbroker.replication.partition import Partition
from pykbroker.waiters import Parked
from wire.errors import ErrorCode
from wire.messages.offsets import (
    DeleteRecordsPartition,
    DeleteRecordsPartitionResult,
    DeleteRecordsRequest,
    DeleteRecordsResponse,
    DeleteRecordsTopicResult,
    EpochEndOffset,
    ListOffsetsPartition,
    ListOffsetsPartitionResponse,
    ListOffsetsRequest,
    ListOffsetsResponse,
    ListOffsetsTopicResponse,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderEpochResponse,
    OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
)

LATEST = -1
EARLIEST = -2
MAX_TIMESTAMP = -3
EARLIEST_LOCAL = -4
LATEST_TIERED = -5
EARLIEST_PENDING_UPLOAD = -6

SPECIAL_FROM_VERSION = {
    LATEST: 1,
    EARLIEST: 1,
    MAX_TIMESTAMP: 7,
    EARLIEST_LOCAL: 8,
    LATEST_TIERED: 9,
    EARLIEST_PENDING_UPLOAD: 11,
}
LEADER_EPOCHS_FROM = 4
NOT_AVAILABLE_FROM = 5
CONSUMER = -1
DEBUGGING_CONSUMER = -2  # may ask any replica
READ_COMMITTED = 1

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def list_offsets(ctx: RequestContext, request: ListOffsetsRequest) -> ListOffsetsResponse:
    twice = set(_named_twice(request))
    refused = set()
    response = ListOffsetsResponse()
    for topic in request.topics:
        answers = []
        for wanted in topic.partitions:
            failed = partial(ListOffsetsPartitionResponse, wanted.partition_index)
            key = (topic.name, wanted.partition_index)
            if key in twice:
                if key not in refused:  # one answer for all
                    answers.append(failed(ErrorCode.INVALID_REQUEST))
                refused.add(key)
            else:
                answers.append(_answer_or(failed, _list_offset, ctx, request, topic.name, wanted))
        response.topics.append(ListOffsetsTopicResponse(topic.name, answers))
    return response


def _named_twice(request: ListOffsetsRequest) -> Iterator[tuple[str, int]]:
    seen = set()
    for topic in request.topics:
        for wanted in topic.partitions:
            key = (topic.name, wanted.partition_index)
            if key in seen:
                yield key
            seen.add(key)


def _list_offset(
    ctx: RequestContext, request: ListOffsetsRequest, topic: str, wanted: ListOffsetsPartition
) -> ListOffsetsPartitionResponse:
    timestamp = wanted.timestamp
    if timestamp < 0 and ctx.api_version < SPECIAL_FROM_VERSION.get(timestamp, 2**15):
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION)
    partition = ctx.services.replicas.partition(topic, wanted.partition_index)
    if request.replica_id != DEBUGGING_CONSUMER:
        partition.check_leader(wanted.current_leader_epoch)
    is_read_committed = request.isolation_level == READ_COMMITTED
    end_offset = (
        partition.end_offset_for(is_read_committed=is_read_committed)
        if request.replica_id == CONSUMER
        else partition.log.log_end_offset
    )
    found = _find(partition, timestamp, end_offset)
    is_behind = found is not None and (timestamp >= 0 or timestamp == MAX_TIMESTAMP) and found[1] >= end_offset
    if (is_behind or timestamp == LATEST) and request.replica_id == CONSUMER and not partition.knows_what_was_committed:
        is_told = ctx.api_version >= NOT_AVAILABLE_FROM
        raise KafkaError(ErrorCode.OFFSET_NOT_AVAILABLE if is_told else ErrorCode.LEADER_NOT_AVAILABLE)
    if found is None or is_behind:
        found = (-1, -1, -1)
    found_timestamp, offset, leader_epoch = found
    return ListOffsetsPartitionResponse(
        wanted.partition_index,
        ErrorCode.NONE,
        found_timestamp,
        offset,
        leader_epoch if ctx.api_version >= LEADER_EPOCHS_FROM else -1,
    )


def _find(partition: Partition, timestamp: int, end_offset: int) -> tuple[int, int, int] | None:
    """Return (timestamp, offset, leader epoch); the timestamp is -1 where an offset was asked for, not a record."""
    log = partition.log
    if timestamp == LATEST:
        return (
            -1,
            end_offset,
            log.epoch_for_offset(end_offset - 1) if end_offset > log.log_start_offset else partition.leader_epoch,
        )
    if timestamp in (EARLIEST, EARLIEST_LOCAL):
        return -1, log.log_start_offset, log.epoch_for_offset(log.log_start_offset)
    if timestamp in (LATEST_TIERED, EARLIEST_PENDING_UPLOAD):
        return None
    if timestamp == MAX_TIMESTAMP:
        return log.offset_of_max_timestamp()
    return log.offset_for_timestamp(timestamp)


def delete_records(ctx: RequestContext, request: DeleteRecordsRequest) -> DeleteRecordsResponse | Parked:
    response = DeleteRecordsResponse()
    waiting: list[_Deleting] = []
    for topic in request.topics:
        answers = []
        for wanted in topic.partitions:
            failed = partial(DeleteRecordsPartitionResult, wanted.partition_index, -1)
            answers.append(_answer_or(failed, _delete_records, ctx, topic.name, wanted, waiting))
        response.topics.append(DeleteRecordsTopicResult(topic.name, answers))
    if not waiting:
        return response
    return _wait_for_followers(ctx, request.timeout_ms, response, waiting)


@attrs.define(eq=False)
class _Deleting:
    """A partition where followers still have what the leader has deleted."""

    partition: Partition
    leader_epoch: int
    log_start_offset: int
    answer: DeleteRecordsPartitionResult

    def look(self) -> bool:
        """Complete the answer with how things are now; tell whether that is final."""
        partition, answer = self.partition, self.answer
        if partition.leader_epoch != self.leader_epoch:
            answer.error_code, answer.low_watermark = ErrorCode.NOT_LEADER_OR_FOLLOWER, -1
            return True
        answer.low_watermark = partition.low_watermark
        is_final = answer.low_watermark >= self.log_start_offset
        answer.error_code = ErrorCode.NONE if is_final else ErrorCode.REQUEST_TIMED_OUT
        return is_final


def _delete_records(
    ctx: RequestContext, topic: str, wanted: DeleteRecordsPartition, waiting: list[_Deleting]
) -> DeleteRecordsPartitionResult:
    partition = ctx.services.replicas.partition(topic, wanted.partition_index)
    log_start_offset = partition.delete_records(wanted.offset)
    answer = DeleteRecordsPartitionResult(wanted.partition_index, log_start_offset)
    deleting = _Deleting(partition, partition.leader_epoch, log_start_offset, answer)
    if not deleting.look():
        waiting.append(deleting)
    return answer


def _wait_for_followers(
    ctx: RequestContext, timeout_ms: int, response: DeleteRecordsResponse, waiting: list[_Deleting]
) -> Parked:
    parked = Parked(lambda: response, clock=ctx.services.clock, timeout_ms=max(timeout_ms, 0))

    def look() -> None:
        if not parked.ended and not [deleting for deleting in waiting if not deleting.look()]:
            parked.release()

    for deleting in waiting:
        deleting.partition.low_watermark_moved.subscribe(look)

    def forget() -> None:
        for deleting in waiting:
            deleting.partition.low_watermark_moved.unsubscribe(look)

    parked.on_end(forget)
    return parked


def offset_for_leader_epoch(ctx: RequestContext, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse:
    response = OffsetForLeaderEpochResponse()
    for topic in request.topics:
        answers = []
        for wanted in topic.partitions:

            def failed(code: ErrorCode, index: int = wanted.partition) -> EpochEndOffset:
                return EpochEndOffset(code, index)

            answers.append(_answer_or(failed, _end_of_epoch, ctx, topic.topic, wanted))
        response.topics.append(OffsetForLeaderTopicResult(topic.topic, answers))
    return response


def _end_of_epoch(ctx: RequestContext, topic: str, wanted: OffsetForLeaderPartition) -> EpochEndOffset:
    partition = ctx.services.replicas.partition(topic, wanted.partition)
    partition.check_leader(wanted.current_leader_epoch)
    epoch, end_offset = partition.log.end_offset_for_epoch(wanted.leader_epoch)
    return EpochEndOffset(partition=wanted.partition, leader_epoch=epoch, end_offset=end_offset)


def _answer_or(
    failed: Callable[[ErrorCode], Answer],
    answer: Callable[Arguments, Answer],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Answer:
    """Return a partition's answer, or the one with the error code that it ended in."""
    try:
        return answer(*args, **kwargs)
    except KafkaError as error:
        return failed(error.code)
    except StorageError:
        return failed(ErrorCode.KAFKA_STORAGE_ERROR)

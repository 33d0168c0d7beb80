"""Produce (key 0, versions 3-13): append batches to partitions.

- Each partition succeeds or fails by itself. All partitions are appended first, then one wait serves acks=all.
- acks=0 gets no answer; an error then closes the connection, since nothing else can tell the client.
- acks=1 is answered after the append, acks=all (-1) when every partition's high watermark has passed it, or with
  REQUEST_TIMED_OUT after `timeout_ms`; the records may still be committed later.
- A transactional batch without a transactional id fails the whole request.
- The batches of a transaction are checked with its coordinator first (produce_in_transaction).
- An idempotent producer's duplicate is answered with the offset of the original.

Errors: INVALID_REQUIRED_ACKS, UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS
(before the append), NOT_ENOUGH_REPLICAS_AFTER_APPEND, REQUEST_TIMED_OUT, INVALID_TOPIC_EXCEPTION (an internal topic),
TRANSACTIONAL_ID_AUTHORIZATION_FAILED, UNSUPPORTED_COMPRESSION_TYPE (zstd below version 7), and those of
`PartitionLog.append_as_leader`.
Versions: 5 log_start_offset; 7 zstd (KIP-110); 8 record_errors, error_message (KIP-467); 10 current_leader and
node_endpoints (KIP-951); 11 TRANSACTION_ABORTABLE; 12 partitions join the transaction by being written to (KIP-890); 13
topic ids in place of names (KIP-516).
Source: KIP-98, KIP-679.
"""

from typing import TYPE_CHECKING

import attrs

from pykbroker.errors import CloseConnection, KafkaError, StorageError
from pykbroker.handlers.context import RequestContext
from pykbroker.handlers.leaders import endpoints, leader_of
from pykbroker.log.refusal import NotOneBatch, RecordsError, Refusal
from pykbroker.log.validate import check_one_batch
from pykbroker.replication.partition import ALL, Partition
from pykbroker.waiters import Parked
from wire.compression import Codec
from wire.errors import ErrorCode
from wire.messages.produce import (
    BatchIndexAndErrorMessage,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionProduceData,
    PartitionProduceResponse,
    ProduceRequest,
    ProduceResponse,
    TopicProduceData,
    TopicProduceResponse,
)
from wire.records import ATTRIBUTES_POSITION, CODEC_MASK, TRANSACTIONAL_BIT

if TYPE_CHECKING:
    from pykbroker.handlers.produce_in_transaction import Verified

TOPIC_IDS_FROM = 13
LEADERS_FROM = 10
ZSTD_FROM = 7
_LOOK_CLOSER = TRANSACTIONAL_BIT | Codec.ZSTD
# Kafka tells the log start offset with an error that its log found, except with these.
_WITHOUT_LOG_START_OFFSET = frozenset(
    {
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.MESSAGE_TOO_LARGE,
        ErrorCode.RECORD_LIST_TOO_LARGE,
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.KAFKA_STORAGE_ERROR,
    }
)
ADMIN_CLIENT_ID = "__admin_client"  # may write internal topics, as in Kafka

_NO_LEADER = LeaderIdAndEpoch()  # shared: it is replaced where there is one to tell
Appended = tuple[Partition, int, PartitionProduceResponse]  # with the last offset


def produce(ctx: RequestContext, request: ProduceRequest) -> ProduceResponse | Parked | None:
    if request.transactional_id is not None:
        from pykbroker.handlers.produce_in_transaction import produce_in_transaction

        return produce_in_transaction(ctx, request, lambda verified: _append_all(ctx, request, verified))
    return _append_all(ctx, request, None)


def _append_all(
    ctx: RequestContext, request: ProduceRequest, verified: "Verified | None"
) -> ProduceResponse | Parked | None:
    acks = request.acks
    response = ProduceResponse()
    appended: list[Appended] = []
    has_failed = False
    for topic in request.topic_data:
        answers: list[PartitionProduceResponse] = []
        response.responses.append(TopicProduceResponse(topic.name, topic.topic_id, answers))
        for data in topic.partition_data:
            try:
                answers.append(_append(ctx, request, topic, data, appended, verified=verified))
            except _NotAuthorized:
                return _refused(request)
            except KafkaError as error:
                has_failed = True
                answers.append(_error_answer(data.index, error))
            except StorageError as error:
                has_failed = True
                answers.append(_error_answer(data.index, KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(error))))
    if acks == ALL:
        waiting = [item for item in appended if item[0].high_watermark <= item[1]]
        if waiting:
            return _wait(ctx, request.timeout_ms, response, waiting)
    elif acks == 0:
        _close_on_error(response)
        return None
    return _with_leaders(ctx, response) if has_failed else response


def _append(
    ctx: RequestContext,
    request: ProduceRequest,
    topic: TopicProduceData,
    data: PartitionProduceData,
    appended: list[Appended],
    *,
    verified: "Verified | None",
) -> PartitionProduceResponse:
    replicas = ctx.services.replicas
    partition = (
        replicas.partition_by_id(topic.topic_id, data.index)
        if ctx.api_version >= TOPIC_IDS_FROM
        else replicas.partition(topic.name, data.index)
    )
    records = data.records
    if not records:
        raise KafkaError(ErrorCode.INVALID_RECORD)
    assert isinstance(records, memoryview)
    if len(records) > ATTRIBUTES_POSITION and records[ATTRIBUTES_POSITION] & _LOOK_CLOSER:
        _check_attributes(ctx, request, records[ATTRIBUTES_POSITION])
    if not -1 <= request.acks <= 1:
        check_one_batch(records)
        raise KafkaError(ErrorCode.INVALID_REQUIRED_ACKS)
    if partition.is_internal and ctx.client_id != ADMIN_CLIENT_ID:
        raise Refusal(
            ErrorCode.INVALID_TOPIC_EXCEPTION, f"{partition.topic_partition.topic} is written by the broker itself only"
        )
    if verified is not None:
        verified.refuse(partition)
    try:
        if verified is not None:
            verified.check(partition, records)
        base_offset, last_offset, append_time_ms, start_offset, _ = partition.append(records, acks=request.acks)
    except KafkaError as error:
        if isinstance(error, NotOneBatch) or error.code in _WITHOUT_LOG_START_OFFSET:
            raise
        return _error_answer(data.index, error, partition.log.log_start_offset)
    answer = PartitionProduceResponse(data.index, 0, base_offset, append_time_ms, start_offset, [], None, _NO_LEADER)
    appended.append((partition, last_offset, answer))
    return answer


def _check_attributes(ctx: RequestContext, request: ProduceRequest, attributes: int) -> None:
    """Check what only a transactional or a zstd batch can have wrong.

    Raises: UNSUPPORTED_COMPRESSION_TYPE, UNKNOWN_SERVER_ERROR.
    """
    if attributes & TRANSACTIONAL_BIT and request.transactional_id is None:
        raise _NotAuthorized
    if ctx.api_version < ZSTD_FROM:
        if attributes & CODEC_MASK == Codec.ZSTD:
            raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
        if attributes & CODEC_MASK > Codec.ZSTD:  # with the log's error, but without its start offset
            raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR)


class _NotAuthorized(Exception):
    """A transactional batch came without a transactional id: Kafka refuses the whole request.

    Partitions before it in the request have their records then: a producer of Kafka's sends no such mixture.
    """


def _refused(request: ProduceRequest) -> ProduceResponse | None:
    error = KafkaError(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    response = ProduceResponse(
        responses=[
            TopicProduceResponse(
                topic.name, topic.topic_id, [_error_answer(data.index, error) for data in topic.partition_data]
            )
            for topic in request.topic_data
        ]
    )
    if request.acks == 0:
        _close_on_error(response)
    return response


def _error_answer(index: int, error: KafkaError, log_start_offset: int = -1) -> PartitionProduceResponse:
    answer = PartitionProduceResponse(
        index,
        error.code,
        base_offset=-1,
        log_append_time_ms=-1,
        log_start_offset=log_start_offset,
        error_message=error.message,
    )
    if isinstance(error, RecordsError):
        answer.record_errors = [
            BatchIndexAndErrorMessage(batch_index=position, batch_index_error_message=message)
            for position, message in error.record_errors
        ]
    return answer


def _close_on_error(response: ProduceResponse) -> None:
    for topic in response.responses:
        for answer in topic.partition_responses:
            if answer.error_code:
                raise CloseConnection(f"produce with acks=0 failed: {ErrorCode(answer.error_code).name}")


@attrs.define(eq=False)
class _Unanswered:
    """How many partitions of a request are not yet committed."""

    count: int


def _wait(
    ctx: RequestContext,
    timeout_ms: int,
    response: ProduceResponse,
    waiting: list[Appended],
) -> Parked:
    """Park the answer until every partition's records are committed; those that are not by then have timed out."""
    unanswered = _Unanswered(len(waiting))
    parked = Parked(lambda: _with_leaders(ctx, response), clock=ctx.services.clock, timeout_ms=max(timeout_ms, 0))
    for partition, last_offset, answer in waiting:
        answer.error_code = ErrorCode.REQUEST_TIMED_OUT

        def committed(code: ErrorCode, answer: PartitionProduceResponse = answer) -> None:
            if parked.ended:
                return
            answer.error_code = code
            if code != ErrorCode.NONE:
                answer.base_offset = answer.log_append_time_ms = answer.log_start_offset = -1
            unanswered.count -= 1
            if not unanswered.count:
                parked.release()

        partition.when_committed(last_offset, committed)
    return parked


def _with_leaders(ctx: RequestContext, response: ProduceResponse) -> ProduceResponse:
    """Tell a client that asked the wrong broker who leads (KIP-951)."""
    if ctx.api_version < LEADERS_FROM:
        return response
    leaders: set[int] = set()
    for topic in response.responses:
        for answer in topic.partition_responses:
            if answer.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER:
                leader = leader_of(ctx, topic.name, topic.topic_id, answer.index)
                if leader is not None:
                    answer.current_leader = LeaderIdAndEpoch(*leader)
                    leaders.add(leader[0])
    if leaders:
        response.node_endpoints = [NodeEndpoint(*endpoint) for endpoint in endpoints(ctx, leaders)]
    return response

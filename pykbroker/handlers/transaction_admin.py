"""WriteTxnMarkers (key 27, versions 1-2), DescribeProducers (61, 0), DescribeTransactions (65, 0), ListTransactions
(66, 0-2).

WriteTxnMarkers comes from transaction coordinators, and from admins who abort a transaction by hand. It is answered
when the markers are committed, or with REQUEST_TIMED_OUT after request.timeout.ms.
- By partition: UNKNOWN_TOPIC_OR_PARTITION (no replica here), NOT_LEADER_OR_FOLLOWER (also while the group coordinator
  of a partition of offsets is loading), INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED, NOT_ENOUGH_REPLICAS,
  KAFKA_STORAGE_ERROR; UNKNOWN_SERVER_ERROR for a negative epoch, which Kafka fails to build a batch of.
- 2: the transaction version, by which a marker of the transaction's own epoch is refused (KIP-1228).
DescribeProducers: the producers that a partition's leader remembers. UNKNOWN_TOPIC_OR_PARTITION,
NOT_LEADER_OR_FOLLOWER. DescribeTransactions: INVALID_REQUEST for an empty id, TRANSACTIONAL_ID_NOT_FOUND,
NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS. ListTransactions: those of this coordinator.
COORDINATOR_LOAD_IN_PROGRESS, INVALID_REGULAR_EXPRESSION (2+).
- 1: only those open for some time (KIP-994). 2: only those whose id matches a pattern (KIP-1152).
Sources: KIP-98, KIP-664.
"""

from collections.abc import Callable

from pykbroker.errors import KafkaError
from pykbroker.handlers.context import RequestContext
from pykbroker.pattern import Pattern
from pykbroker.topic_partition import TopicPartition, by_topic
from pykbroker.transactions.requests import Marker
from pykbroker.transactions.state import STATES_BY_LABEL, Transaction
from pykbroker.waiters import Answer, Parked
from wire.errors import ErrorCode
from wire.messages.transactions import (
    DescribeProducersRequest,
    DescribeProducersResponse,
    DescribeTransactionsRequest,
    DescribeTransactionsResponse,
    DescribeTransactionsResponseTransactionState,
    ListTransactionsRequest,
    ListTransactionsResponse,
    ListTransactionsResponseTransactionState,
    PartitionResponse,
    ProducerState,
    TopicData,
    TopicResponse,
    WritableTxnMarker,
    WritableTxnMarkerPartitionResult,
    WritableTxnMarkerResult,
    WritableTxnMarkerTopicResult,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
)

# WriteTxnMarkers


def write_txn_markers(ctx: RequestContext, request: WriteTxnMarkersRequest) -> WriteTxnMarkersResponse | Parked:
    response = WriteTxnMarkersResponse()
    if not request.markers:
        return response
    answer = Answer[WriteTxnMarkersResponse]()
    waiting = sum(len(topic.partition_indexes) for marker in request.markers for topic in marker.topics)
    if not waiting:
        return response

    def one_is_done() -> None:
        nonlocal waiting
        waiting -= 1
        if not waiting:
            answer.complete(response)

    for marker in request.markers:
        response.markers.append(_write(ctx, marker, one_is_done))
    if answer.response is None:
        timeout_ms = ctx.services.config.request_timeout_ms
        timer = ctx.services.clock.call_later(timeout_ms, lambda: answer.complete(response))
        answer.parked.on_end(timer.cancel)
    return answer.outcome


def _write(ctx: RequestContext, asked: WritableTxnMarker, one_is_done: Callable[[], None]) -> WritableTxnMarkerResult:
    marker = Marker(
        asked.producer_id,
        asked.producer_epoch,
        asked.transaction_result,
        asked.coordinator_epoch,
        asked.transaction_version,
    )
    result = WritableTxnMarkerResult(producer_id=asked.producer_id)
    for topic in asked.topics:
        rows = WritableTxnMarkerTopicResult(name=topic.name)
        result.topics.append(rows)
        for index in topic.partition_indexes:
            row = WritableTxnMarkerPartitionResult(partition_index=index, error_code=ErrorCode.REQUEST_TIMED_OUT)
            rows.partitions.append(row)
            _write_one(ctx, marker, TopicPartition(topic.name, index), row, one_is_done)
    return result


def _write_one(
    ctx: RequestContext,
    marker: Marker,
    where: TopicPartition,
    row: WritableTxnMarkerPartitionResult,
    one_is_done: Callable[[], None],
) -> None:
    def done(error: ErrorCode) -> None:
        row.error_code = error
        one_is_done()

    if marker.producer_epoch < 0:
        done(ErrorCode.UNKNOWN_SERVER_ERROR)
        return
    try:
        ctx.services.replicas.partition(*where)
    except KafkaError:
        done(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        return
    ctx.services.transactions.markers.append(marker, where, done)


# DescribeProducers


def describe_producers(ctx: RequestContext, request: DescribeProducersRequest) -> DescribeProducersResponse:
    return DescribeProducersResponse(
        topics=[
            TopicResponse(
                name=topic.name,
                partitions=[_producers(ctx, TopicPartition(topic.name, index)) for index in topic.partition_indexes],
            )
            for topic in request.topics
        ]
    )


def _producers(ctx: RequestContext, where: TopicPartition) -> PartitionResponse:
    try:
        partition = ctx.services.replicas.partition(*where)
        partition.check_leader()
    except KafkaError as error:
        is_unknown_topic = where.topic not in ctx.services.cluster.image.topics
        message = f"there is no topic {where.topic}" if is_unknown_topic else None
        return PartitionResponse(partition_index=where.partition, error_code=error.code, error_message=message)
    return PartitionResponse(
        partition_index=where.partition,
        active_producers=[
            ProducerState(
                producer_id=producer_id,
                producer_epoch=state.producer_epoch,
                last_sequence=state.batches[-1].last_sequence if state.batches else -1,
                last_timestamp=state.last_timestamp,
                coordinator_epoch=state.coordinator_epoch,
                current_txn_start_offset=state.txn_first_offset,
            )
            for producer_id, state in partition.log.active_producers()
        ],
    )


# DescribeTransactions


def describe_transactions(ctx: RequestContext, request: DescribeTransactionsRequest) -> DescribeTransactionsResponse:
    return DescribeTransactionsResponse(
        transaction_states=[_described(ctx, transactional_id) for transactional_id in request.transactional_ids]
    )


def _described(ctx: RequestContext, transactional_id: str) -> DescribeTransactionsResponseTransactionState:
    try:
        if not transactional_id:
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        transaction = ctx.services.transactions.shard_for(transactional_id).transactions.get(transactional_id)
        if transaction is None:
            raise KafkaError(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND)
    except KafkaError as error:
        return DescribeTransactionsResponseTransactionState(error_code=error.code, transactional_id=transactional_id)
    return DescribeTransactionsResponseTransactionState(
        transactional_id=transactional_id,
        transaction_state=transaction.state.label,
        transaction_timeout_ms=transaction.timeout_ms,
        transaction_start_time_ms=transaction.start_ms,
        producer_id=transaction.producer_id,
        producer_epoch=transaction.producer_epoch,
        topics=[TopicData(topic, indexes) for topic, indexes in by_topic(sorted(transaction.partitions)).items()],
    )


# ListTransactions


def list_transactions(ctx: RequestContext, request: ListTransactionsRequest) -> ListTransactionsResponse:
    pattern = request.transactional_id_pattern
    matcher = Pattern(pattern) if pattern else None  # raises INVALID_REGULAR_EXPRESSION
    states = {STATES_BY_LABEL[label] for label in request.state_filters if label in STATES_BY_LABEL}
    now_ms = ctx.services.clock.time_ms()

    def is_wanted(transaction: Transaction) -> bool:
        return (
            (not request.producer_id_filters or transaction.producer_id in request.producer_id_filters)
            and (not request.state_filters or transaction.state in states)
            and not 0 <= request.duration_filter >= now_ms - transaction.start_ms
            and (matcher is None or matcher.matches(transaction.transactional_id))
        )

    return ListTransactionsResponse(
        unknown_state_filters=[label for label in request.state_filters if label not in STATES_BY_LABEL],
        transaction_states=[
            ListTransactionsResponseTransactionState(
                transactional_id=transaction.transactional_id,
                producer_id=transaction.producer_id,
                transaction_state=transaction.state.label,
            )
            for shard in ctx.services.transactions.shards()
            for transaction in shard.transactions.values()
            if is_wanted(transaction)
        ],
    )

"""InitProducerId (key 22, versions 0-5), AddPartitionsToTxn (24, 0-5), AddOffsetsToTxn (25, 0-4), EndTxn (26, 0-5).

All of them: NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE while the transactional id
cannot be served here; CONCURRENT_TRANSACTIONS while it changes; INVALID_REQUEST for an empty one;
INVALID_PRODUCER_ID_MAPPING for an unknown one or another producer id; PRODUCER_FENCED for another epoch, which old
versions call INVALID_PRODUCER_EPOCH.

InitProducerId without a transactional id gives a new producer id with epoch 0; ids come in blocks from the store, so
no two brokers give the same one. With one it gives the next epoch, which fences whoever had the last.
- A timeout that is not positive or over transaction.max.timeout.ms is INVALID_TRANSACTION_TIMEOUT.
- An open transaction is aborted first: CONCURRENT_TRANSACTIONS, the client comes again.
- 3: a producer id and epoch to go on with (KIP-360); one without the other is INVALID_REQUEST. 4: PRODUCER_FENCED.
AddPartitionsToTxn begins the transaction or adds to it: all partitions or none.
- Where one is unknown: UNKNOWN_TOPIC_OR_PARTITION, and OPERATION_NOT_ATTEMPTED at the others.
- 2: PRODUCER_FENCED. 4: several transactions, from brokers; `verify_only` asks, TRANSACTION_ABORTABLE where a
  partition is not in the transaction (KIP-890).
AddOffsetsToTxn adds the partition that holds the group's offsets. 2: PRODUCER_FENCED. EndTxn commits or aborts, and
is answered as soon as that is decided. INVALID_TXN_STATE where nothing is open, or where the end was another.
- 2: PRODUCER_FENCED. 5: the id and epoch of the next transaction; an abort needs no partitions (KIP-890).

Sources: KIP-98, KIP-360, KIP-588, KIP-890.
"""

from collections.abc import Callable, Coroutine
from functools import partial

from pykbroker.errors import KafkaError
from pykbroker.groups.coordinator import OFFSETS_TOPIC
from pykbroker.handlers.context import RequestContext
from pykbroker.topic_partition import TopicPartition
from pykbroker.transactions.shard import TransactionShard
from pykbroker.transactions.state import EPOCH_BUMP_VERSION, NO_EPOCH, NO_PRODUCER_ID, ProducerIdNeeded
from pykbroker.waiters import Answer, Parked
from wire.errors import ErrorCode
from wire.messages.transactions import (
    AddOffsetsToTxnRequest,
    AddOffsetsToTxnResponse,
    AddPartitionsToTxnPartitionResult,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnResult,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTopicResult,
    AddPartitionsToTxnTransaction,
    EndTxnRequest,
    EndTxnResponse,
    InitProducerIdRequest,
    InitProducerIdResponse,
)

SEVERAL_FROM = 4  # AddPartitionsToTxn
EPOCH_BUMP_FROM = 5  # EndTxn
FENCED_FROM = 2
FENCED_FROM_INIT = 4

Settle = Callable[[AddPartitionsToTxnResult], None]


def _shard(ctx: RequestContext, transactional_id: str) -> TransactionShard:
    """Raises: INVALID_REQUEST, NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS."""
    if not transactional_id:
        raise KafkaError(ErrorCode.INVALID_REQUEST)
    return ctx.services.transactions.shard_for(transactional_id)


def _known_to(ctx: RequestContext, error: ErrorCode, fenced_from: int = FENCED_FROM) -> ErrorCode:
    is_old = error is ErrorCode.PRODUCER_FENCED and ctx.api_version < fenced_from
    return ErrorCode.INVALID_PRODUCER_EPOCH if is_old else error


# InitProducerId


async def init_producer_id(ctx: RequestContext, request: InitProducerIdRequest) -> InitProducerIdResponse | Parked:
    if (request.producer_id == NO_PRODUCER_ID) != (request.producer_epoch == NO_EPOCH):
        return _no_producer(ErrorCode.INVALID_REQUEST)
    if request.transactional_id is None:
        return InitProducerIdResponse(producer_id=await ctx.services.producer_ids.next(), producer_epoch=0)
    max_timeout_ms = ctx.services.config.transaction_max_timeout_ms
    if request.transactional_id and not 0 < request.transaction_timeout_ms <= max_timeout_ms:
        return _no_producer(ErrorCode.INVALID_TRANSACTION_TIMEOUT)
    try:
        return _init(ctx, request, request.transactional_id, None)
    except ProducerIdNeeded:
        new_producer_id = await ctx.services.producer_ids.next()
        return _init(ctx, request, request.transactional_id, new_producer_id)


def _init(
    ctx: RequestContext, request: InitProducerIdRequest, transactional_id: str, new_producer_id: int | None
) -> InitProducerIdResponse | Parked:
    answer = Answer[InitProducerIdResponse]()

    def told(error: ErrorCode, producer_id: int, producer_epoch: int) -> None:
        if error is ErrorCode.NONE:
            answer.complete(InitProducerIdResponse(producer_id=producer_id, producer_epoch=producer_epoch))
        else:
            answer.complete(_no_producer(_known_to(ctx, error, FENCED_FROM_INIT)))

    is_new = request.producer_id == NO_PRODUCER_ID
    try:
        _shard(ctx, transactional_id).init_producer_id(
            transactional_id,
            expected=None if is_new else (request.producer_id, request.producer_epoch),
            timeout_ms=request.transaction_timeout_ms,
            new_producer_id=new_producer_id,
            told=told,
        )
    except KafkaError as error:
        return _no_producer(error.code)
    return answer.outcome


def _no_producer(code: ErrorCode) -> InitProducerIdResponse:
    return InitProducerIdResponse(error_code=code, producer_id=NO_PRODUCER_ID, producer_epoch=NO_EPOCH)


# AddPartitionsToTxn


def add_partitions_to_txn(
    ctx: RequestContext, request: AddPartitionsToTxnRequest
) -> AddPartitionsToTxnResponse | Parked:
    is_old = ctx.api_version < SEVERAL_FROM
    transactions = [_only_transaction(request)] if is_old else request.transactions
    results: list[AddPartitionsToTxnResult | None] = [None] * len(transactions)
    answer = Answer[AddPartitionsToTxnResponse]()

    def settle(position: int, result: AddPartitionsToTxnResult) -> None:
        results[position] = result
        complete = [each for each in results if each is not None]
        if len(complete) < len(results):
            return
        if is_old:
            answer.complete(AddPartitionsToTxnResponse(results_by_topic_v3_and_below=complete[0].topic_results))
        else:
            answer.complete(AddPartitionsToTxnResponse(results_by_transaction=complete))

    if not transactions:
        return AddPartitionsToTxnResponse()
    for position, transaction in enumerate(transactions):
        _add(ctx, transaction, partial(settle, position))
    return answer.outcome


def _only_transaction(request: AddPartitionsToTxnRequest) -> AddPartitionsToTxnTransaction:
    return AddPartitionsToTxnTransaction(
        transactional_id=request.v3_and_below_transactional_id,
        producer_id=request.v3_and_below_producer_id,
        producer_epoch=request.v3_and_below_producer_epoch,
        topics=request.v3_and_below_topics,
    )


class _Added:
    """The outcome of one transaction of the request: what is to be told of each partition."""

    def __init__(self, ctx: RequestContext, transaction: AddPartitionsToTxnTransaction) -> None:
        self._ctx = ctx
        self._transaction = transaction
        self.partitions = [
            TopicPartition(topic.name, index) for topic in transaction.topics for index in topic.partitions
        ]

    def missing(self) -> dict[TopicPartition, ErrorCode]:
        """Return an error for each partition, if there is one that the metadata does not know."""
        image = self._ctx.services.cluster.image
        unknown = {each for each in self.partitions if image.partition(*each) is None}
        if not unknown:
            return {}
        return {
            each: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if each in unknown else ErrorCode.OPERATION_NOT_ATTEMPTED
            for each in self.partitions
        }

    def all(self, error: ErrorCode) -> AddPartitionsToTxnResult:
        return self.result(dict.fromkeys(self.partitions, _known_to(self._ctx, error)))

    def result(self, errors: dict[TopicPartition, ErrorCode]) -> AddPartitionsToTxnResult:
        return AddPartitionsToTxnResult(
            transactional_id=self._transaction.transactional_id,
            topic_results=[_topic_result(topic, errors) for topic in self._transaction.topics],
        )


def _topic_result(
    topic: AddPartitionsToTxnTopic, errors: dict[TopicPartition, ErrorCode]
) -> AddPartitionsToTxnTopicResult:
    return AddPartitionsToTxnTopicResult(
        name=topic.name,
        results_by_partition=[
            AddPartitionsToTxnPartitionResult(
                partition_index=index, partition_error_code=errors[TopicPartition(topic.name, index)]
            )
            for index in topic.partitions
        ],
    )


def _add(ctx: RequestContext, transaction: AddPartitionsToTxnTransaction, settle: Settle) -> None:
    added = _Added(ctx, transaction)
    missing = added.missing()
    if missing:
        settle(added.result(missing))
        return
    who = (transaction.transactional_id, transaction.producer_id, transaction.producer_epoch)
    try:
        shard = _shard(ctx, transaction.transactional_id)
        if transaction.verify_only:
            settle(added.result(shard.verify_partitions(*who, added.partitions)))
            return
        # Only brokers ask for several, on behalf of clients of transactions version 2.
        is_from_broker = ctx.api_version >= SEVERAL_FROM
        shard.add_partitions(
            *who,
            added.partitions,
            client_version=ctx.services.transactions.transaction_version() if is_from_broker else 0,
            done=lambda error: settle(added.all(error)),
        )
    except KafkaError as error:
        settle(added.all(error.code))


# AddOffsetsToTxn


def add_offsets_to_txn(ctx: RequestContext, request: AddOffsetsToTxnRequest) -> AddOffsetsToTxnResponse | Parked:
    answer = Answer[AddOffsetsToTxnResponse]()

    def done(error: ErrorCode) -> None:
        answer.complete(AddOffsetsToTxnResponse(error_code=_known_to(ctx, error)))

    offsets = TopicPartition(OFFSETS_TOPIC, ctx.services.groups.partition_for(request.group_id))
    try:
        _shard(ctx, request.transactional_id).add_partitions(
            request.transactional_id,
            request.producer_id,
            request.producer_epoch,
            [offsets],
            client_version=0,
            done=done,
        )
    except KafkaError as error:
        done(error.code)
    return answer.outcome


# EndTxn


def end_txn(
    ctx: RequestContext, request: EndTxnRequest
) -> EndTxnResponse | Parked | Coroutine[object, object, EndTxnResponse | Parked]:
    try:
        return _end(ctx, request, None)
    except ProducerIdNeeded:
        return _end_with_new_id(ctx, request)


async def _end_with_new_id(ctx: RequestContext, request: EndTxnRequest) -> EndTxnResponse | Parked:
    return _end(ctx, request, await ctx.services.producer_ids.next())


def _end(ctx: RequestContext, request: EndTxnRequest, new_producer_id: int | None) -> EndTxnResponse | Parked:
    answer = Answer[EndTxnResponse]()

    def told(error: ErrorCode, producer_id: int, producer_epoch: int) -> None:
        if error is not ErrorCode.NONE:
            producer_id, producer_epoch = NO_PRODUCER_ID, NO_EPOCH
        answer.complete(
            EndTxnResponse(
                error_code=_known_to(ctx, error),
                producer_id=producer_id,
                producer_epoch=producer_epoch,
            )
        )

    try:
        _shard(ctx, request.transactional_id).end(
            request.transactional_id,
            request.producer_id,
            request.producer_epoch,
            commit=request.committed,
            client_version=EPOCH_BUMP_VERSION if ctx.api_version >= EPOCH_BUMP_FROM else 0,
            new_producer_id=new_producer_id,
            told=told,
        )
    except KafkaError as error:
        told(error.code, NO_PRODUCER_ID, NO_EPOCH)
    return answer.outcome

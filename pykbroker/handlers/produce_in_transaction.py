"""What Produce does before it appends the batches of a transaction: ask the coordinator about them (KIP-890).

- A partition that has records of the open transaction already needs no asking. For others the coordinator is asked
  whether the transaction includes them; from version 12 on it is told to include them.
- Not included: INVALID_TXN_STATE, from version 11 on TRANSACTION_ABORTABLE. Fenced: INVALID_PRODUCER_EPOCH. A
  coordinator that cannot answer now: NOT_ENOUGH_REPLICAS, which every producer tries again.
- While an answer is waited for, later batches of the same transactional id wait in their turn, so that sequences stay
  in order. What a marker ended meanwhile is INVALID_TXN_STATE: no late batch joins the next transaction.
- Several producers in one request: INVALID_PRODUCER_ID_MAPPING.
Not here: appending (produce), questions on their way (transactions/verification).
Source: KIP-890; Kafka's ReplicaManager.maybeStartTransactionVerificationForPartitions.
"""

from collections.abc import Callable, Iterator
from struct import Struct

import attrs

from pykbroker.errors import CloseConnection, KafkaError
from pykbroker.handlers.context import RequestContext
from pykbroker.log.producer_state import Verification
from pykbroker.replication.partition import Partition
from pykbroker.topic_partition import TopicPartition
from pykbroker.transactions.verification import Errors, Question
from pykbroker.waiters import Parked
from wire.errors import ErrorCode
from wire.messages.produce import PartitionProduceData, ProduceRequest, ProduceResponse
from wire.records import ATTRIBUTES_POSITION, BATCH_HEADER_SIZE, TRANSACTIONAL_BIT

TOPIC_IDS_FROM = 13
ADDS_PARTITIONS_FROM = 12
ABORTABLE_FROM = 11
ACKS_NONE = 0

_PRODUCER_AT = 43
_PRODUCER = Struct(">qhi").unpack_from  # id, epoch, base sequence

_TRY_AGAIN = frozenset(
    {
        ErrorCode.CONCURRENT_TRANSACTIONS,
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
    }
)

Outcome = ProduceResponse | Parked | None


@attrs.define(eq=False)
class Verified:
    """What the coordinator said of the batches of one request."""

    api_version: int
    led: set[TopicPartition] = attrs.field(factory=set)  # when the request came
    waiting: dict[TopicPartition, Verification] = attrs.field(factory=dict)
    errors: Errors = attrs.field(factory=dict)
    is_settled: bool = False

    def refuse(self, partition: Partition) -> None:
        """Raises: what the coordinator said of a partition, in words that producers know."""
        error = self.errors.get(partition.topic_partition)
        if error is None:
            return
        if error is ErrorCode.TRANSACTION_ABORTABLE and self.api_version < ABORTABLE_FROM:
            error = ErrorCode.INVALID_TXN_STATE
        if error is ErrorCode.INVALID_TXN_STATE:
            raise KafkaError(error, f"the transaction does not include {partition.topic_partition}")
        if error in _TRY_AGAIN and not (
            error is ErrorCode.CONCURRENT_TRANSACTIONS and self.api_version >= ADDS_PARTITIONS_FROM
        ):
            raise KafkaError(
                ErrorCode.NOT_ENOUGH_REPLICAS,
                f"whether the transaction includes {partition.topic_partition} is not known: {error.name}",
            )
        raise KafkaError(error)

    def check(self, partition: Partition, records: memoryview) -> None:
        """Check a batch right before it is appended.

        Raises: NOT_LEADER_OR_FOLLOWER, INVALID_TXN_STATE, OUT_OF_ORDER_SEQUENCE_NUMBER.
        """
        producer = _transactional_producer(records)
        if producer is not None:
            # Nobody was asked about a partition that is led elsewhere, or is led here only since a moment ago.
            if partition.topic_partition not in self.led:
                raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
            verification = self.waiting.get(partition.topic_partition)
            partition.log.producers.check_verified(*producer, verification)


def produce_in_transaction(
    ctx: RequestContext, request: ProduceRequest, append: Callable[[Verified | None], Outcome]
) -> Outcome:
    """Have the coordinator asked where it has to be, and append then."""
    adds = ctx.api_version >= ADDS_PARTITIONS_FROM
    if not adds and not ctx.services.transactions.verifies_partitions():
        return append(None)
    verified = Verified(ctx.api_version)
    producers = set()
    for partition, producer_id, producer_epoch, sequence in _batches(ctx, request):
        producers.add((producer_id, producer_epoch))
        verified.led.add(partition.topic_partition)
        states = partition.log.producers
        if not states.has_open_transaction(producer_id, producer_epoch):
            verified.waiting[partition.topic_partition] = states.begin_verification(
                producer_id, producer_epoch, sequence, raises_epoch=adds
            )
    if len(producers) > 1:
        raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    assert request.transactional_id is not None
    verifier = ctx.services.verifier
    if not verified.waiting and not verifier.is_busy(request.transactional_id):
        return append(verified)
    later = _Later(lambda: append(verified))

    def settled(errors: Errors) -> None:
        verified.errors = errors
        verified.is_settled = True
        later.go_on()

    producer_id, producer_epoch = next(iter(producers), (-1, -1))
    verifier.ask(
        Question(request.transactional_id, producer_id, producer_epoch, tuple(verified.waiting), add=adds), settled
    )
    if verified.is_settled:
        return append(verified)
    for topic in request.topic_data:
        for data in topic.partition_data:
            if data.records is not None:
                data.records = memoryview(bytearray(data.records))
    later.is_awaited = True
    return None if request.acks == ACKS_NONE else later.parked


class _Later:
    """An answer that is there when the batches are appended, and committed if that is asked for."""

    def __init__(self, append: Callable[[], Outcome]) -> None:
        self.parked = Parked(self._built)
        self.is_awaited = False
        self._append = append
        self._build: Callable[[], object] = append

    def go_on(self) -> None:
        if not self.is_awaited:
            return
        try:
            outcome = self._append()
        except CloseConnection:
            return  # acks=0: nobody waits for an answer, and the connection has gone on to other things
        if not isinstance(outcome, Parked):
            self._arrive(lambda: outcome)
        elif outcome.ended:
            self._arrive(outcome.build_now)
        else:
            outcome.deliver = self._arrive
            self.parked.on_end(outcome.cancel)

    def _built(self) -> object:
        return self._build()

    def _arrive(self, build: Callable[[], object]) -> None:
        self._build = build
        self.parked.release()


def _batches(ctx: RequestContext, request: ProduceRequest) -> Iterator[tuple[Partition, int, int, int]]:
    """Yield partition, producer id and epoch, and base sequence of each transactional batch for a leader here."""
    replicas = ctx.services.replicas
    by_id = ctx.api_version >= TOPIC_IDS_FROM
    for topic in request.topic_data:
        for data in topic.partition_data:
            producer = _transactional_producer(_records(data))
            if producer is None:
                continue
            try:
                partition = (
                    replicas.partition_by_id(topic.topic_id, data.index)
                    if by_id
                    else replicas.partition(topic.name, data.index)
                )
                partition.check_leader()
            except KafkaError:
                continue  # the answer will say so
            yield partition, *producer


def _records(data: PartitionProduceData) -> memoryview:
    return memoryview(b"") if data.records is None else memoryview(data.records)


def _transactional_producer(records: memoryview) -> tuple[int, int, int] | None:
    if len(records) < BATCH_HEADER_SIZE or not records[ATTRIBUTES_POSITION] & TRANSACTIONAL_BIT:
        return None
    producer_id, producer_epoch, sequence = _PRODUCER(records, _PRODUCER_AT)
    return None if producer_id < 0 else (producer_id, producer_epoch, sequence)

"""A transactional id and what may become of it: pure decisions, each from one state to the next.

    Empty -> Ongoing -> PrepareCommit -> CompleteCommit -> Ongoing ...
                     -> PrepareAbort  -> CompleteAbort  -> Ongoing ...

Rules
- A decision returns the next `Transaction`; it counts once its record is committed (shard).
- What the Prepare states decide is final: nothing but markers and the Complete state follows.
- With transactions version 2 each end raises the epoch, so that its markers and its repetitions can be told from
  those of other transactions. An abort then needs no partitions: nobody knows whether a batch is on its way.
- An epoch of 32767 is never a client's: the coordinator can always fence. When 32766 is used up, a new producer id
  follows; who decides then needs one and says so with `ProducerIdNeeded`.
Not here: the log, timers, markers.
Sources: KIP-98, KIP-360, KIP-890; Kafka's TransactionMetadata, TransactionCoordinator.
"""

import enum
from typing import Any

import attrs

from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode

NO_PRODUCER_ID = NO_EPOCH = -1
MAX_EPOCH = 2**15 - 1
EPOCH_BUMP_VERSION = 2  # of transactions: from there on each end raises the epoch


class TransactionState(enum.IntEnum):
    """The numbers are those of the log."""

    EMPTY = 0
    ONGOING = 1
    PREPARE_COMMIT = 2
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    COMPLETE_ABORT = 5
    DEAD = 6  # never in the log: what is being forgotten
    PREPARE_EPOCH_FENCE = 7  # never in the log

    @property
    def label(self) -> str:
        """Kafka's name of the state, as clients see it."""
        return self.name.title().replace("_", "")


EMPTY, ONGOING = TransactionState.EMPTY, TransactionState.ONGOING
PREPARE_COMMIT, PREPARE_ABORT = TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT
COMPLETE_COMMIT, COMPLETE_ABORT = TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT
STATES_BY_LABEL = {state.label: state for state in TransactionState}
_PREPARED = (PREPARE_COMMIT, PREPARE_ABORT)


class ProducerIdNeeded(Exception):
    """The epochs of the producer id are used up: decide again with a new one."""


@attrs.frozen
class Transaction:
    """A transactional id with its producer and the transaction that is open or was the last."""

    transactional_id: str
    producer_id: int
    timeout_ms: int
    producer_epoch: int = NO_EPOCH
    previous_producer_id: int = NO_PRODUCER_ID  # before the last change
    next_producer_id: int = NO_PRODUCER_ID  # of the next transaction, decided with the end of this one
    last_producer_epoch: int = NO_EPOCH  # that was told to the client before; lost when the coordinator changes
    state: TransactionState = EMPTY
    partitions: frozenset[TopicPartition] = frozenset()
    start_ms: int = -1
    last_update_ms: int = -1
    client_version: int = 0  # of transactions, as the client used them

    @property
    def is_prepared(self) -> bool:
        return self.state in _PREPARED

    @property
    def is_commit(self) -> bool:
        return self.state in (PREPARE_COMMIT, COMPLETE_COMMIT)

    @property
    def is_epoch_exhausted(self) -> bool:
        return is_epoch_exhausted(self.producer_epoch)

    @property
    def may_expire(self) -> bool:
        return self.state in (EMPTY, COMPLETE_COMMIT, COMPLETE_ABORT)

    def has_timed_out(self, now_ms: int) -> bool:
        return self.state is ONGOING and self.start_ms + self.timeout_ms < now_ms


def is_epoch_exhausted(producer_epoch: int) -> bool:
    return producer_epoch >= MAX_EPOCH - 1


def _next(transaction: Transaction, **changes: Any) -> Transaction:
    return attrs.evolve(transaction, previous_producer_id=transaction.producer_id, **changes)


# InitProducerId


def init_producer_id(
    transaction: Transaction,
    *,
    expected: tuple[int, int] | None,
    timeout_ms: int,
    now_ms: int,
    new_producer_id: int | None,
    transaction_version: int,
) -> Transaction:
    """Give the producer its next epoch. `expected` is the id and epoch that a client goes on with (KIP-360).

    An open transaction is aborted instead, in the Prepare state: the client has to come again.
    Raises: CONCURRENT_TRANSACTIONS, PRODUCER_FENCED; ProducerIdNeeded.
    """
    if expected is not None and not _may_continue(transaction, *expected):
        raise KafkaError(ErrorCode.PRODUCER_FENCED)
    if transaction.is_prepared:
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
    if transaction.state is ONGOING:
        return fence(transaction, now_ms=now_ms, transaction_version=transaction_version)
    changes: dict[str, object] = {
        "state": EMPTY,
        "timeout_ms": timeout_ms,
        "partitions": frozenset(),
        "start_ms": -1,
        "last_update_ms": now_ms,
    }
    epoch = transaction.producer_epoch
    if transaction.is_epoch_exhausted and (expected is None or expected[1] == epoch):
        if new_producer_id is None:
            raise ProducerIdNeeded
        last = NO_EPOCH if expected is None else epoch
        return _next(transaction, producer_id=new_producer_id, producer_epoch=0, last_producer_epoch=last, **changes)
    if expected is None:
        return _next(transaction, producer_epoch=epoch + 1, last_producer_epoch=NO_EPOCH, **changes)
    if epoch in (NO_EPOCH, expected[1]):
        return _next(transaction, producer_epoch=epoch + 1, last_producer_epoch=epoch, **changes)
    if expected[1] == transaction.last_producer_epoch:
        return _next(transaction, **changes)  # the same request again: its answer was lost
    raise KafkaError(ErrorCode.PRODUCER_FENCED)


def _may_continue(transaction: Transaction, producer_id: int, producer_epoch: int) -> bool:
    return (
        transaction.producer_epoch == NO_EPOCH  # it was forgotten, and is new
        or producer_id == transaction.producer_id
        or (producer_id == transaction.previous_producer_id and is_epoch_exhausted(producer_epoch))
    )


def fence(transaction: Transaction, *, now_ms: int, transaction_version: int) -> Transaction:
    """Abort an open transaction whose producer is replaced or silent; its epoch ends here."""
    assert transaction.state is ONGOING
    return _next(
        transaction,
        state=PREPARE_ABORT,
        producer_epoch=min(transaction.producer_epoch + 1, MAX_EPOCH),
        last_producer_epoch=NO_EPOCH,
        next_producer_id=NO_PRODUCER_ID,
        client_version=transaction_version,
        last_update_ms=now_ms,
    )


# AddPartitionsToTxn, AddOffsetsToTxn


def check_producer(transaction: Transaction, producer_id: int, producer_epoch: int) -> None:
    """Raises: INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED."""
    if transaction.producer_id != producer_id:
        raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if transaction.producer_epoch != producer_epoch:
        raise KafkaError(ErrorCode.PRODUCER_FENCED)


def add_partitions(
    transaction: Transaction, partitions: frozenset[TopicPartition], *, client_version: int, now_ms: int
) -> Transaction | None:
    """Begin the transaction or let it grow; None where it has the partitions already.

    Raises: CONCURRENT_TRANSACTIONS.
    """
    if transaction.is_prepared:
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
    is_open = transaction.state is ONGOING
    if is_open and partitions <= transaction.partitions:
        return None
    return _next(
        transaction,
        state=ONGOING,
        partitions=transaction.partitions | partitions,
        start_ms=transaction.start_ms if is_open else now_ms,
        last_update_ms=now_ms,
        client_version=client_version,
    )


# EndTxn


def end(
    transaction: Transaction,
    *,
    producer_id: int,
    producer_epoch: int,
    commit: bool,
    client_version: int,
    is_pending: bool,
    now_ms: int,
    new_producer_id: int | None,
) -> Transaction | None:
    """Decide the end of the transaction; None: it is a repetition, and the answer is that all is well.

    `is_pending`: an earlier change is not committed yet.
    Raises: INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS, INVALID_TXN_STATE; ProducerIdNeeded.
    """
    raises_epoch = client_version >= EPOCH_BUMP_VERSION
    epoch = transaction.producer_epoch
    after_new_id = (
        raises_epoch
        and transaction.previous_producer_id == producer_id
        and producer_epoch == MAX_EPOCH - 1
        and epoch == 0
    )
    is_retry = raises_epoch and (after_new_id or epoch == producer_epoch + 1)
    if transaction.producer_id != producer_id and not after_new_id:
        raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if not _is_epoch_to_end(transaction, producer_epoch, is_retry=is_retry, raises_epoch=raises_epoch):
        raise KafkaError(ErrorCode.PRODUCER_FENCED)
    if is_pending:
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
    if transaction.is_prepared:
        code = ErrorCode.CONCURRENT_TRANSACTIONS if transaction.is_commit == commit else ErrorCode.INVALID_TXN_STATE
        raise KafkaError(code)
    if transaction.state is not ONGOING:
        has_ended_so = transaction.state is (COMPLETE_COMMIT if commit else COMPLETE_ABORT)
        if has_ended_so and (is_retry or not raises_epoch):
            return None
        if commit or is_retry or not raises_epoch:
            raise KafkaError(ErrorCode.INVALID_TXN_STATE)
    return _prepare(
        transaction, commit=commit, client_version=client_version, now_ms=now_ms, new_producer_id=new_producer_id
    )


def _is_epoch_to_end(transaction: Transaction, producer_epoch: int, *, is_retry: bool, raises_epoch: bool) -> bool:
    is_present = producer_epoch == transaction.producer_epoch
    if not raises_epoch or transaction.state in (EMPTY, ONGOING):
        return is_present
    return is_retry if transaction.is_prepared else is_retry or is_present


def _prepare(
    transaction: Transaction, *, commit: bool, client_version: int, now_ms: int, new_producer_id: int | None
) -> Transaction:
    changes: dict[str, object] = {
        "state": PREPARE_COMMIT if commit else PREPARE_ABORT,
        "next_producer_id": NO_PRODUCER_ID,
        "last_update_ms": now_ms,
        "client_version": client_version,
    }
    if transaction.state is not ONGOING:
        changes["start_ms"] = now_ms
    if client_version >= EPOCH_BUMP_VERSION:
        if transaction.is_epoch_exhausted:
            if new_producer_id is None:
                raise ProducerIdNeeded
            changes["next_producer_id"] = new_producer_id
        changes["producer_epoch"] = min(transaction.producer_epoch + 1, MAX_EPOCH)
        changes["last_producer_epoch"] = transaction.producer_epoch
    return _next(transaction, **changes)


def complete(transaction: Transaction, *, now_ms: int) -> Transaction:
    """Conclude a prepared transaction all of whose markers are written."""
    assert transaction.is_prepared
    changes: dict[str, object] = {}
    if transaction.client_version >= EPOCH_BUMP_VERSION and transaction.next_producer_id != NO_PRODUCER_ID:
        changes = {"producer_id": transaction.next_producer_id, "producer_epoch": 0}
    return _next(
        transaction,
        state=COMPLETE_COMMIT if transaction.is_commit else COMPLETE_ABORT,
        next_producer_id=NO_PRODUCER_ID,
        partitions=frozenset(),
        last_update_ms=now_ms,
        **changes,
    )

"""The transactional ids of one `__transaction_state` partition that this broker leads.

Owns: transactional id -> Transaction as it is committed; which of them are on the way to their next state. A change:
decide -> record -> append -> it counts, and is answered, when the high watermark has passed the record.
Rules
- One change at a time for each transactional id: whoever comes meanwhile is told CONCURRENT_TRANSACTIONS, and comes
  again.
- A transaction is decided by the committed record of its Prepare state. Then its markers are written, until each
  partition has one, and only after that the Complete state: killed anywhere in between, the next coordinator finds
  the Prepare state and does the same.
- An append that is refused changes nothing. One that was not acknowledged in time may still count; a client that is
  told so finds out when it asks again.
Not here: which shard has an id (coordinator), what may follow on what (state), markers (markers), formats (records).
Sources: KIP-98, KIP-890; Kafka's TransactionStateManager, TransactionCoordinator.
"""

import logging
from collections.abc import Callable, Iterable

from pykbroker.clock import Clock, Timer
from pykbroker.config import BrokerConfig
from pykbroker.errors import KafkaError
from pykbroker.replication.coordinator_log import CoordinatorLog, Done
from pykbroker.replication.partition import Partition
from pykbroker.replication.replica_manager import ReplicaManager
from pykbroker.topic_partition import TopicPartition
from pykbroker.transactions import state
from pykbroker.transactions.markers import Ending, MarkerWriter
from pykbroker.transactions.records import decode_record, tombstone, transaction_record
from pykbroker.transactions.requests import Marker
from pykbroker.transactions.state import NO_EPOCH, NO_PRODUCER_ID, ProducerIdNeeded, Transaction
from wire.errors import ErrorCode, ProtocolError
from wire.records import BatchHeader, Record

Told = Callable[[ErrorCode, int, int], None]  # an error, or NONE with a producer id and epoch
_TOMBSTONES_MAX = 1000  # in one batch

_log = logging.getLogger(__name__)


class TransactionShard:
    def __init__(
        self,
        partition: Partition,
        *,
        replicas: ReplicaManager,
        config: BrokerConfig,
        clock: Clock,
        markers: MarkerWriter,
        transaction_version: Callable[[], int],
    ) -> None:
        self.partition = partition
        self.transactions: dict[str, Transaction] = {}
        self.is_loading = True
        self.is_failed = False
        self._config = config
        self._clock = clock
        self._markers = markers
        self._transaction_version = transaction_version
        self._coordinator_epoch = partition.leader_epoch
        self._coordinator_log = CoordinatorLog(
            partition,
            replicas,
            clock,
            load_buffer_size=config.transaction_state_log_load_buffer_size,
            base_sequence=-1,
        )
        self._changing: set[str] = set()  # has a record that is not committed
        self._ending: dict[str, Ending | None] = {}  # is decided, but not complete
        self._is_closed = False
        self._timers: list[Timer] = []

    # Loading and unloading

    def load(self) -> None:
        """Replay the partition, then go on with what was being ended."""
        self._coordinator_log.load(self._replay, self._loaded)

    @property
    def load_time_ms(self) -> float | None:
        return self._coordinator_log.load_time_ms

    def _replay(self, header: BatchHeader, record: Record) -> None:
        if header.is_control or record.key is None:
            return
        try:
            decoded = decode_record(record.key, record.value)
        except ProtocolError as error:
            _log.error("%s: offset %s: %s", self.partition.topic_partition, record.offset, error)
            return
        if decoded is None:
            return
        transactional_id, transaction = decoded
        if transaction is None:
            self.transactions.pop(transactional_id, None)
        else:
            self.transactions[transactional_id] = transaction

    def _loaded(self, is_complete: bool) -> None:
        self.is_loading = False
        if not is_complete:
            self.is_failed = True
            return
        for transaction in list(self.transactions.values()):
            if transaction.is_prepared:
                self._write_markers(transaction)
        self._repeat(self._config.transaction_abort_timed_out_transaction_cleanup_interval_ms, self.abort_timed_out)
        self._repeat(self._config.transaction_remove_expired_transaction_cleanup_interval_ms, self.remove_expired)
        _log.debug("%s: loaded %s transactional ids", self.partition.topic_partition, len(self.transactions))

    def close(self) -> None:
        """The partition is led elsewhere, or the broker stops."""
        self._is_closed = True
        self._coordinator_log.close()
        for timer in self._timers:
            timer.cancel()
        for ending in self._ending.values():
            if ending is not None:
                ending.is_over = True
        self.transactions.clear()

    def _repeat(self, interval_ms: int, action: Callable[[], None]) -> None:
        place = len(self._timers)

        def run() -> None:
            self._timers[place] = self._clock.call_later(interval_ms, run)
            action()

        self._timers.append(self._clock.call_later(interval_ms, run))

    # Changes

    def is_changing(self, transactional_id: str) -> bool:
        """Say whether an earlier change of the transactional id is not complete."""
        return transactional_id in self._changing or transactional_id in self._ending

    def init_producer_id(
        self,
        transactional_id: str,
        *,
        expected: tuple[int, int] | None,
        timeout_ms: int,
        new_producer_id: int | None,
        told: Told,
    ) -> None:
        """Give a producer its id and epoch; `told` learns them. An open transaction is aborted first.

        Errors: CONCURRENT_TRANSACTIONS, PRODUCER_FENCED. Raises: ProducerIdNeeded.
        """

        def failed(error: ErrorCode) -> None:
            told(error, NO_PRODUCER_ID, NO_EPOCH)

        if self.is_changing(transactional_id):
            failed(ErrorCode.CONCURRENT_TRANSACTIONS)
            return
        known = self.transactions.get(transactional_id)
        if known is None:
            if new_producer_id is None:
                raise ProducerIdNeeded
            known = Transaction(transactional_id, new_producer_id, timeout_ms)
        try:
            following = state.init_producer_id(
                known,
                expected=expected,
                timeout_ms=timeout_ms,
                now_ms=self._clock.time_ms(),
                new_producer_id=new_producer_id,
                transaction_version=self._transaction_version(),
            )
        except KafkaError as error:
            failed(error.code)
            return
        if following.is_prepared:
            self._decide(following, lambda error: failed(error or ErrorCode.CONCURRENT_TRANSACTIONS))
        else:
            self._change(following, lambda error: told(error, following.producer_id, following.producer_epoch))

    def add_partitions(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        partitions: Iterable[TopicPartition],
        *,
        client_version: int,
        done: Done,
    ) -> None:
        """Begin the transaction or let it grow.

        Errors: INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS.
        """
        try:
            transaction = self._of_producer(transactional_id, producer_id, producer_epoch)
            if self.is_changing(transactional_id):
                raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
            following = state.add_partitions(
                transaction, frozenset(partitions), client_version=client_version, now_ms=self._clock.time_ms()
            )
        except KafkaError as error:
            done(error.code)
            return
        if following is None:
            done(ErrorCode.NONE)
        else:
            self._change(following, done)

    def verify_partitions(
        self, transactional_id: str, producer_id: int, producer_epoch: int, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, ErrorCode]:
        """Say of each partition whether it is in the open transaction, as far as that is committed.

        Errors: TRANSACTION_ABORTABLE. Raises: INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS.
        """
        transaction = self._of_producer(transactional_id, producer_id, producer_epoch)
        if transaction.is_prepared:
            raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
        return {
            each: ErrorCode.NONE if each in transaction.partitions else ErrorCode.TRANSACTION_ABORTABLE
            for each in partitions
        }

    def _of_producer(self, transactional_id: str, producer_id: int, producer_epoch: int) -> Transaction:
        transaction = self.transactions.get(transactional_id)
        if transaction is None:
            raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        state.check_producer(transaction, producer_id, producer_epoch)
        return transaction

    def end(
        self,
        transactional_id: str,
        producer_id: int,
        producer_epoch: int,
        *,
        commit: bool,
        client_version: int,
        new_producer_id: int | None,
        told: Told,
    ) -> None:
        """Commit or abort; `told` learns the producer id and epoch of the next transaction as soon as it is decided.

        Errors: INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS, INVALID_TXN_STATE.
        Raises: ProducerIdNeeded.
        """
        transaction = self.transactions.get(transactional_id)
        try:
            if transaction is None:
                raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
            following = state.end(
                transaction,
                producer_id=producer_id,
                producer_epoch=producer_epoch,
                commit=commit,
                client_version=client_version,
                is_pending=self.is_changing(transactional_id),
                now_ms=self._clock.time_ms(),
                new_producer_id=new_producer_id,
            )
        except KafkaError as error:
            told(error.code, NO_PRODUCER_ID, NO_EPOCH)
            return
        if following is None:
            told(ErrorCode.NONE, transaction.producer_id, transaction.producer_epoch)
            return
        of_next = state.complete(following, now_ms=following.last_update_ms)
        self._decide(following, lambda error: told(error, of_next.producer_id, of_next.producer_epoch))

    def _decide(self, prepared: Transaction, done: Done) -> None:
        self._change(prepared, done, lambda: self._write_markers(prepared))

    def _change(self, following: Transaction, done: Done, counts: Callable[[], None] | None = None) -> None:
        """Append the next state of a transactional id, and when it is committed take it over and call `counts`."""
        transactional_id = following.transactional_id
        try:
            self._coordinator_log.append([transaction_record(following, self._transaction_version())])
        except KafkaError as error:
            done(error.code)
            return
        self._changing.add(transactional_id)

        def settled() -> None:
            if not self._is_closed:
                self._changing.discard(transactional_id)
                self.transactions[transactional_id] = following
                if counts is not None:
                    counts()

        self._coordinator_log.when_committed(done, following.timeout_ms, settled=settled)

    # Ending

    def _write_markers(self, prepared: Transaction) -> None:
        transactional_id = prepared.transactional_id
        marker = Marker(
            prepared.producer_id,
            prepared.producer_epoch,
            prepared.is_commit,
            self._coordinator_epoch,
            prepared.client_version,
        )
        self._ending[transactional_id] = None
        ending = self._markers.write(marker, prepared.partitions, lambda: self._complete(prepared))
        if transactional_id in self._ending:  # it may be over already
            self._ending[transactional_id] = ending

    def _complete(self, prepared: Transaction) -> None:
        """All markers are written: nothing of the transaction is left to be done."""
        transactional_id = prepared.transactional_id
        if self._is_closed:
            return

        def done(error: ErrorCode) -> None:
            if error is not ErrorCode.NONE and transactional_id not in self._changing:
                retry_ms = self._config.pykbroker_transaction_marker_retry_ms
                self._clock.call_later(retry_ms, lambda: self._complete(prepared))

        completed = state.complete(prepared, now_ms=self._clock.time_ms())
        self._change(completed, done, lambda: self._ended(transactional_id))

    def _ended(self, transactional_id: str) -> None:
        del self._ending[transactional_id]

    def missing_markers(self) -> Iterable[TopicPartition]:
        """Yield the partitions that still lack a marker, once for each transaction."""
        for ending in self._ending.values():
            if ending is not None and not ending.is_over:
                yield from ending.missing

    def count_unwritten_completions(self) -> int:
        """Count the transactions that have all their markers, and whose Complete state could not be written yet."""
        return sum(
            ending is not None and not ending.missing and each not in self._changing
            for each, ending in self._ending.items()
        )

    # Time

    def abort_timed_out(self) -> None:
        """Abort the transactions that are open for longer than their timeout."""
        now_ms = self._clock.time_ms()
        for transaction in list(self.transactions.values()):
            if transaction.has_timed_out(now_ms):
                self._time_out(transaction)

    def time_out(self, transactional_id: str) -> None:
        """Abort the open transaction as if it had been open for too long.

        Raises: TRANSACTIONAL_ID_NOT_FOUND, INVALID_TXN_STATE, CONCURRENT_TRANSACTIONS while it is being changed.
        """
        transaction = self._known(transactional_id)
        if transaction.state is not state.ONGOING:
            raise KafkaError(ErrorCode.INVALID_TXN_STATE, f"{transactional_id} has no open transaction")
        if self.is_changing(transactional_id):
            raise KafkaError(
                ErrorCode.CONCURRENT_TRANSACTIONS, f"the transaction of {transactional_id} is being changed"
            )
        self._time_out(transaction)

    def _time_out(self, transaction: Transaction) -> None:
        if not self.is_changing(transaction.transactional_id):
            _log.info("%s: its transaction has timed out", transaction.transactional_id)
            fenced = state.fence(
                transaction, now_ms=self._clock.time_ms(), transaction_version=self._transaction_version()
            )
            self._decide(fenced, self._log_failure)

    def expire(self, transactional_id: str) -> None:
        """Forget a transactional id as if it had not been used for long.

        Raises: TRANSACTIONAL_ID_NOT_FOUND, CONCURRENT_TRANSACTIONS while it has a transaction.
        """
        if not self._known(transactional_id).may_expire or self.is_changing(transactional_id):
            raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS, f"{transactional_id} has a transaction")
        self._forget([transactional_id])

    def _known(self, transactional_id: str) -> Transaction:
        transaction = self.transactions.get(transactional_id)
        if transaction is None:
            raise KafkaError(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND, f"there is no transactional id {transactional_id}")
        return transaction

    def remove_expired(self) -> None:
        """Forget the transactional ids that were not used for `transactional.id.expiration.ms`."""
        limit = self._clock.time_ms() - self._config.transactional_id_expiration_ms
        expired = [
            transaction.transactional_id
            for transaction in self.transactions.values()
            if transaction.may_expire
            and transaction.last_update_ms <= limit
            and not self.is_changing(transaction.transactional_id)
        ]
        for start in range(0, len(expired), _TOMBSTONES_MAX):
            self._forget(expired[start : start + _TOMBSTONES_MAX])

    def _forget(self, transactional_ids: list[str]) -> None:
        try:
            self._coordinator_log.append([tombstone(each) for each in transactional_ids])
        except KafkaError as error:
            self._log_failure(error.code)
            return
        self._changing.update(transactional_ids)

        def settled() -> None:
            if not self._is_closed:
                for each in transactional_ids:
                    self._changing.discard(each)
                    del self.transactions[each]

        self._coordinator_log.when_committed(self._log_failure, self._config.request_timeout_ms, settled=settled)

    def _log_failure(self, error: ErrorCode) -> None:
        if error is not ErrorCode.NONE:
            _log.warning("%s: a change was not written: %s", self.partition.topic_partition, error.name)

"""A partition of an internal topic as the coordinator that leads it uses it: replayed from its start, then appended to.

Owns: how far the log is replayed, and the offset of the newest record that the coordinator knows.
Rules
- Loading takes a slice at a time, so that a long log does not hold up the event loop; what is appended meanwhile (a
  transaction marker) is replayed too. It is over when everything loaded is committed: a new leader does not know at
  first what its predecessor has shown.
- The records of one append are one batch: all of them or none.
- Errors are told in the words of a coordinator's clients: look for the coordinator elsewhere, or try again.
Not here: what a record means (groups, transactions).
Source: Kafka's CoordinatorRuntime, CoordinatorLoader.
"""

import logging
from collections.abc import Callable, Sequence

import attrs

from pykbroker.clock import Clock, Timer
from pykbroker.errors import KafkaError, StorageError
from pykbroker.replication.partition import Partition
from pykbroker.replication.replica_manager import ReplicaManager
from wire.compression import Codec
from wire.errors import ErrorCode, ProtocolError
from wire.records import BatchHeader, Record, build_batch, iter_batches, read_records

Done = Callable[[ErrorCode], None]
Replay = Callable[[BatchHeader, Record], None]

_CLIENT_ERRORS = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.REQUEST_TIMED_OUT: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_LEADER_OR_FOLLOWER: ErrorCode.NOT_COORDINATOR,
    ErrorCode.KAFKA_STORAGE_ERROR: ErrorCode.NOT_COORDINATOR,
    ErrorCode.MESSAGE_TOO_LARGE: ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.RECORD_LIST_TOO_LARGE: ErrorCode.UNKNOWN_SERVER_ERROR,
}

_log = logging.getLogger(__name__)


@attrs.frozen
class CoordinatorRecord:
    """A record as it is appended; `value` None is a tombstone."""

    key: bytes
    value: bytes | None


class CoordinatorLog:
    def __init__(
        self,
        partition: Partition,
        replicas: ReplicaManager,
        clock: Clock,
        *,
        load_buffer_size: int,
        codec: Codec = Codec.NONE,
        base_sequence: int,
    ) -> None:
        """`base_sequence`: what Kafka's coordinator of the topic writes into its batches; it means nothing."""
        self.partition = partition
        self.last_offset = -1  # of what was replayed or appended
        self._replicas = replicas
        self._clock = clock
        self._load_buffer_size = load_buffer_size
        self._codec = codec
        self._base_sequence = base_sequence
        self._load_offset = 0
        self._load_began_ms = clock.monotonic_ms()
        self.load_time_ms: float | None = None  # how long it took to replay what was there
        self._is_closed = False

    def close(self) -> None:
        """The partition is led elsewhere, or the broker stops: nothing more is loaded."""
        self._is_closed = True

    # Loading

    def load(self, replay: Replay, loaded: Callable[[bool], None]) -> None:
        """Replay each record; `loaded` is told once all are committed, or with False that the log could not be read."""
        if self._is_closed:
            return
        log = self.partition.log
        self._load_offset = max(self._load_offset, log.log_start_offset)
        try:
            while self._load_offset < log.log_end_offset:
                loaded_bytes = self._load_slice(replay)
                if loaded_bytes >= self._load_buffer_size and self._load_offset < log.log_end_offset:
                    self._clock.call_later(0, lambda: self.load(replay, loaded))
                    return
        except (KafkaError, ProtocolError, StorageError) as error:
            _log.error("%s: not loaded: %s", self.partition.topic_partition, error)
            loaded(False)
            return
        self.last_offset = log.log_end_offset - 1
        self.load_time_ms = self._clock.monotonic_ms() - self._load_began_ms
        if self.is_committed(self.last_offset):
            loaded(True)
        else:
            self.partition.when_committed(self.last_offset, lambda _: self._loaded_is_committed(loaded))

    def _loaded_is_committed(self, loaded: Callable[[bool], None]) -> None:
        if not self._is_closed and self.is_committed(self.last_offset):
            loaded(True)

    def _load_slice(self, replay: Replay) -> int:
        """Replay what one read brings and return its size in bytes."""
        log = self.partition.log
        data = log.read(self._load_offset, self._load_buffer_size, end_offset=log.log_end_offset, min_one_batch=True)
        buffer = memoryview(data.read() if data is not None else b"")
        if not buffer:
            self._load_offset = log.log_end_offset
        for header, batch in iter_batches(buffer):
            if header.last_offset >= self._load_offset:
                for record in read_records(batch):
                    if record.offset >= self._load_offset:
                        replay(header, record)
            self._load_offset = max(self._load_offset, header.last_offset + 1)
        return len(buffer)

    # Appending

    def append(self, records: Sequence[CoordinatorRecord], *, producer_id: int = -1, producer_epoch: int = -1) -> int:
        """Append `records` as one batch and return the offset of the first.

        With a producer id the batch is part of that producer's transaction.
        Raises: NOT_COORDINATOR, COORDINATOR_NOT_AVAILABLE, UNKNOWN_SERVER_ERROR.
        """
        now_ms = self._clock.time_ms()
        batch = build_batch(
            [Record(timestamp=now_ms, key=record.key, value=record.value) for record in records],
            codec=self._codec,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            base_sequence=self._base_sequence,
            is_transactional=producer_id >= 0,
        )
        try:
            info = self._replicas.append_internal(self.partition.topic_partition, batch)
        except KafkaError as error:
            raise KafkaError(client_error(error.code), error.message) from None
        except StorageError as error:
            raise KafkaError(ErrorCode.NOT_COORDINATOR, str(error)) from None
        self.last_offset = info.last_offset
        return info.base_offset

    def is_committed(self, offset: int) -> bool:
        high_watermark: int = self.partition.high_watermark
        return offset < high_watermark

    def when_committed(self, done: Done, timeout_ms: float, *, settled: Callable[[], None] | None = None) -> None:
        """Tell `done`, once, that everything appended so far is committed, or why not yet or never.

        `settled` is called when it is committed, however long that takes, and even if the in-sync replicas are too few
        by then to tell `done` that all is well.
        """
        last_offset = self.last_offset
        is_done = False

        def finish(error: ErrorCode) -> None:
            nonlocal is_done
            if not is_done:
                is_done = True
                if timer is not None:
                    timer.cancel()
                done(client_error(error))

        def committed(error: ErrorCode) -> None:
            if settled is not None and self.is_committed(last_offset):
                settled()
            finish(error)

        timer: Timer | None = None
        if not self.is_committed(last_offset):
            timer = self._clock.call_later(timeout_ms, lambda: finish(ErrorCode.REQUEST_TIMED_OUT))
        self.partition.when_committed(last_offset, committed)


def client_error(error: ErrorCode) -> ErrorCode:
    """Return what a failed append means to a client of the coordinator."""
    return _CLIENT_ERRORS.get(error, error)

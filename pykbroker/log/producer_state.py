"""What a partition remembers of each producer: duplicates are recognized by it, gaps refused, transactions followed.

Owns: the five newest batches of each producer, its epoch, its open transaction; all derived from the log's batches.

Format of `<offset>.snapshot`, the state before that offset: version i16 (1), crc32c u32 of what follows, count i32,
then per producer: producer_id i64, producer_epoch i16, last_sequence i32, last_offset i64, offset_delta i32 (of its
last batch), timestamp i64, coordinator_epoch i32, current_txn_first_offset i64 (-1: none).

Rules
- A duplicate of one of the five batches gets its original offsets. A snapshot holds only the last of them: the others
  are looked for in the log when a client repeats one (snapshots.recall).
- The first batch of an unknown producer may have any sequence (KIP-360: its state may have expired).
- Sequences wrap: 0 follows 2^31-1. A new epoch starts at 0.
- `check` changes nothing; `update` follows the write.
- A transaction begins in the partition only with a batch that the coordinator vouched for since the last marker.

Not here: when snapshots are taken (partition_log.py). Sources: KIP-98, KIP-360, KIP-890, Kafka's ProducerStateManager,
ProducerAppendInfo, ProducerStateEntry.
"""

import struct
from typing import NamedTuple

from pykbroker.log.refusal import Refusal
from pykbroker.log.transaction_index import AbortedTransaction
from pykbroker.topic_partition import TopicPartition
from wire.crc32c import crc32c
from wire.errors import ErrorCode
from wire.records import BatchHeader, ControlType, read_end_txn_marker, read_records

MAX_BATCHES = 5
MAX_VERIFICATIONS = 1000  # of transactions that begin in a partition; with more, the oldest have to be asked for again
NO_EPOCH = -1

_HEADER = struct.Struct(">hIi")
_ENTRY = struct.Struct(">qhiqiqiq")
_CRC_COVERS_FROM = 6


class ProducerBatch(NamedTuple):
    last_sequence: int
    last_offset: int
    offset_delta: int
    timestamp: int

    @classmethod
    def of(cls, header: BatchHeader) -> "ProducerBatch":
        return cls(header.last_sequence, header.last_offset, header.last_offset_delta, header.max_timestamp)

    @property
    def base_offset(self) -> int:
        return self.last_offset - self.offset_delta

    @property
    def base_sequence(self) -> int:
        return (self.last_sequence - self.offset_delta) & 0x7FFFFFFF


class ProducerState:
    """One producer in one partition."""

    __slots__ = (
        "batches",
        "coordinator_epoch",
        "has_forgotten",
        "last_timestamp",
        "next_sequence",
        "producer_epoch",
        "txn_first_offset",
    )

    def __init__(self, producer_epoch: int = NO_EPOCH) -> None:
        self.producer_epoch = producer_epoch
        self.batches: list[ProducerBatch] = []
        self.next_sequence = -1  # -1: no batch of this epoch yet
        self.coordinator_epoch = -1
        self.last_timestamp = -1
        self.txn_first_offset = -1
        self.has_forgotten = False  # it comes from a snapshot: the log may tell of batches before the known ones

    def set_epoch(self, producer_epoch: int) -> None:
        if producer_epoch != self.producer_epoch:
            self.producer_epoch = producer_epoch
            self.batches.clear()
            self.next_sequence = -1

    def recall(self, earlier: list[ProducerBatch]) -> None:
        """Take the batches before the known ones, the newest last."""
        self.has_forgotten = False
        room = MAX_BATCHES - len(self.batches)
        self.batches[:0] = earlier[-room:] if room else []

    def add_batch(self, batch: ProducerBatch) -> None:
        batches = self.batches
        if len(batches) == MAX_BATCHES:
            del batches[0]
        batches.append(batch)
        self.next_sequence = (batch.last_sequence + 1) & 0x7FFFFFFF
        self.last_timestamp = batch.timestamp


class Verification:
    """That the coordinator is being asked whether a producer's transaction includes the partition (KIP-890).

    `raises_epoch`: the transaction will end with a higher epoch (version 2), so that a marker of its own epoch is the
    end of the one before.
    """

    __slots__ = ("lowest_sequence", "producer_epoch", "raises_epoch")

    def __init__(self, producer_epoch: int, sequence: int, *, raises_epoch: bool) -> None:
        self.producer_epoch = producer_epoch
        self.lowest_sequence = sequence
        self.raises_epoch = raises_epoch


class ProducerStates:
    """All producers of one partition."""

    __slots__ = ("_completed", "_open", "_verifications", "producers", "topic_partition")

    def __init__(self, topic_partition: TopicPartition) -> None:
        self.topic_partition = topic_partition
        self.producers: dict[int, ProducerState] = {}
        self._open: dict[int, int] = {}  # first offset -> producer id; ascending, as transactions begin in order
        self._verifications: dict[int, Verification] = {}  # by producer id
        self._completed: dict[int, int] = {}  # first offset -> offset of the marker, not yet below the high watermark

    # --- checks before an append

    def check(
        self, producer_id: int, producer_epoch: int, base_sequence: int, last_offset_delta: int, transactional: bool
    ) -> ProducerBatch | None:
        """Check a client's batch; return the batch that it is a duplicate of, None if it may be appended.

        Raises: INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_TXN_STATE.
        """
        state = self.producers.get(producer_id)
        if state is None or (producer_epoch == state.producer_epoch and base_sequence == state.next_sequence):
            if state is not None and state.txn_first_offset >= 0 and not transactional:
                raise self._not_transactional(producer_id)
            return None
        if producer_epoch == state.producer_epoch:
            last_sequence = (base_sequence + last_offset_delta) & 0x7FFFFFFF
            for batch in state.batches:
                if batch.last_sequence == last_sequence and batch.base_sequence == base_sequence:
                    return batch
        self._check_order(state, producer_id, producer_epoch, base_sequence)
        if state.txn_first_offset >= 0 and not transactional:
            raise self._not_transactional(producer_id)
        return None

    def check_epoch(self, producer_id: int, producer_epoch: int) -> None:
        """Check a coordinator's batch, whose sequences mean nothing. Raises: INVALID_PRODUCER_EPOCH."""
        state = self.producers.get(producer_id)
        if state is not None and producer_epoch < state.producer_epoch:
            self._check_order(state, producer_id, producer_epoch, 0)

    def _check_order(self, state: ProducerState, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
        if producer_epoch < state.producer_epoch:
            raise Refusal(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"producer {producer_id} of epoch {producer_epoch} writes to {self.topic_partition} after one of epoch "
                f"{state.producer_epoch}",
            )
        if state.producer_epoch == NO_EPOCH:
            return
        if producer_epoch != state.producer_epoch:
            if base_sequence != 0:
                raise Refusal(
                    ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                    f"producer {producer_id} begins epoch {producer_epoch} in {self.topic_partition} with sequence "
                    f"{base_sequence} instead of 0 (its epoch was {state.producer_epoch})",
                )
            return
        expected = state.next_sequence if state.next_sequence >= 0 else 0
        if base_sequence != expected:
            raise Refusal(
                ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                f"producer {producer_id} sends sequence {base_sequence} to {self.topic_partition}, where {expected} is "
                "due",
            )

    def _not_transactional(self, producer_id: int) -> Refusal:
        return Refusal(
            ErrorCode.INVALID_TXN_STATE,
            f"producer {producer_id} writes outside of its open transaction in {self.topic_partition}",
        )

    def check_marker(
        self, producer_id: int, producer_epoch: int, coordinator_epoch: int, transaction_version: int = 0
    ) -> None:
        """Check a transaction marker of a coordinator.

        With transactions version 2 a marker's epoch is higher than the transaction's; the same epoch again is a
        repetition, and comes after the end (KIP-890).
        Raises: INVALID_PRODUCER_EPOCH, TRANSACTION_COORDINATOR_FENCED.
        """
        state = self.producers.get(producer_id)
        if state is None:
            return
        self.check_epoch(producer_id, producer_epoch)
        if transaction_version >= 2 and producer_epoch == state.producer_epoch and state.txn_first_offset >= 0:
            raise Refusal(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"a marker for producer {producer_id} in {self.topic_partition} has the epoch {producer_epoch} of the "
                "open transaction",
            )
        if coordinator_epoch < state.coordinator_epoch:
            raise Refusal(
                ErrorCode.TRANSACTION_COORDINATOR_FENCED,
                f"a marker for producer {producer_id} in {self.topic_partition} comes from a coordinator of epoch "
                f"{coordinator_epoch}, after one of epoch {state.coordinator_epoch}",
            )

    # --- verification of transactions

    def has_open_transaction(self, producer_id: int, producer_epoch: int) -> bool:
        """Say whether the partition has records of this producer's transaction already: then no one has to be asked."""
        state = self.producers.get(producer_id)
        return state is not None and state.txn_first_offset >= 0 and state.producer_epoch == producer_epoch

    def begin_verification(
        self, producer_id: int, producer_epoch: int, sequence: int, *, raises_epoch: bool
    ) -> Verification:
        """Note that a batch of a transaction waits for the coordinator's word, and return what it has to show then.

        The lowest sequence of those that wait comes first, whichever is verified first.
        """
        verification = self._verifications.get(producer_id)
        if verification is None or verification.producer_epoch != producer_epoch:
            if len(self._verifications) >= MAX_VERIFICATIONS:
                del self._verifications[next(iter(self._verifications))]
            verification = Verification(producer_epoch, sequence, raises_epoch=raises_epoch)
            self._verifications[producer_id] = verification
        verification.lowest_sequence = min(verification.lowest_sequence, sequence)
        return verification

    def check_verified(
        self, producer_id: int, producer_epoch: int, sequence: int, verification: Verification | None
    ) -> None:
        """Check that a batch may begin or continue its transaction here.

        A marker that was written since the coordinator was asked ended the transaction that it spoke of, unless its
        epoch tells that it belongs to the one before.
        Raises: INVALID_TXN_STATE, OUT_OF_ORDER_SEQUENCE_NUMBER.
        """
        if self.has_open_transaction(producer_id, producer_epoch):
            return
        if verification is None or self._verifications.get(producer_id) is not verification:
            raise Refusal(
                ErrorCode.INVALID_TXN_STATE,
                f"a batch of producer {producer_id} in {self.topic_partition} is not part of an open transaction",
            )
        if sequence > verification.lowest_sequence:
            raise Refusal(
                ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
                f"producer {producer_id} sends sequence {sequence} to {self.topic_partition}, after "
                f"{verification.lowest_sequence} that was not written",
            )

    # --- updates after an append

    def update(self, producer_id: int, producer_epoch: int, batch: ProducerBatch, transactional: bool) -> None:
        """Remember a data batch that is in the log."""
        state = self.producers.get(producer_id)
        if state is None:
            state = self.producers[producer_id] = ProducerState(producer_epoch)
        elif state.producer_epoch != producer_epoch:
            state.set_epoch(producer_epoch)
        state.add_batch(batch)
        if transactional and state.txn_first_offset < 0:
            state.txn_first_offset = batch.base_offset
            self._open[state.txn_first_offset] = producer_id
            self._verifications.pop(producer_id, None)

    def update_from_batch(self, header: BatchHeader, batch: memoryview) -> AbortedTransaction | None:
        """Remember any batch of the log; return the transaction that it aborts, if it is such a marker.

        Raises: ProtocolError where a control batch is malformed.
        """
        if header.producer_id < 0:
            return None
        if not header.is_control:
            remembered = ProducerBatch.of(header)
            self.update(header.producer_id, header.producer_epoch, remembered, header.is_transactional)
            return None
        if not header.record_count:
            return None  # compaction took the marker: nothing is left of its transaction
        record = read_records(batch)[0]
        marker = read_end_txn_marker(record)
        if marker is None:
            return None
        control_type, coordinator_epoch = marker
        return self.end_transaction(header, control_type, coordinator_epoch)

    def end_transaction(
        self, header: BatchHeader, control_type: ControlType, coordinator_epoch: int
    ) -> AbortedTransaction | None:
        """Remember a marker; return the transaction if it was aborted and had any batch."""
        verification = self._verifications.get(header.producer_id)
        if verification is not None and not (
            verification.raises_epoch and verification.producer_epoch == header.producer_epoch
        ):
            del self._verifications[header.producer_id]
        state = self.producers.get(header.producer_id)
        if state is None:
            state = self.producers[header.producer_id] = ProducerState(header.producer_epoch)
        state.set_epoch(header.producer_epoch)
        state.coordinator_epoch = coordinator_epoch
        state.last_timestamp = header.max_timestamp
        first_offset, state.txn_first_offset = state.txn_first_offset, -1
        if first_offset < 0:
            return None
        self._open.pop(first_offset, None)
        self._completed[first_offset] = header.base_offset
        if control_type is not ControlType.ABORT:
            return None
        last_stable_offset = next(iter(self._open), header.base_offset + 1)
        return AbortedTransaction(header.producer_id, first_offset, header.base_offset, last_stable_offset)

    def oldest_open_ms(self) -> int | None:
        """Return when the producer of the first open transaction last wrote; None if none is open."""
        producer_id = next(iter(self._open.values()), None)
        return None if producer_id is None else self.producers[producer_id].last_timestamp

    def first_unstable_offset(self, high_watermark: int) -> int | None:
        """Return the first offset of a transaction that is open, or whose marker is not below the high watermark."""
        completed = self._completed
        if completed:
            for first_offset in [first for first, last in completed.items() if last < high_watermark]:
                del completed[first_offset]
            if completed:
                return min([*completed, *self._open])
        return next(iter(self._open), None)

    def remove_expired(self, now_ms: int, expiration_ms: int) -> None:
        """Forget the producers that were silent for `expiration_ms`, except those with an open transaction."""
        limit = now_ms - expiration_ms
        producers = self.producers
        expired = [
            producer_id
            for producer_id, state in producers.items()
            if state.last_timestamp <= limit and state.txn_first_offset < 0
        ]
        for producer_id in expired:
            del producers[producer_id]

    # --- snapshots

    def encode(self) -> bytes:
        entries = []
        for producer_id, state in self.producers.items():
            last = state.batches[-1] if state.batches else ProducerBatch(-1, -1, 0, state.last_timestamp)
            entries.append(
                _ENTRY.pack(
                    producer_id,
                    state.producer_epoch,
                    last.last_sequence,
                    last.last_offset,
                    last.offset_delta,
                    state.last_timestamp,
                    state.coordinator_epoch,
                    state.txn_first_offset,
                )
            )
        body = struct.pack(">i", len(entries)) + b"".join(entries)
        return _HEADER.pack(1, crc32c(body), len(entries))[:_CRC_COVERS_FROM] + body

    def decode(self, data: bytes, *, now_ms: int, expiration_ms: int) -> None:
        """Take over a snapshot. Raises: ValueError where it is cut or garbage."""
        try:
            version, crc, count = _HEADER.unpack_from(data)
            if version != 1 or crc != crc32c(memoryview(data)[_CRC_COVERS_FROM:]):
                raise ValueError("producer snapshot of another version or with a wrong CRC")
            if len(data) != _HEADER.size + count * _ENTRY.size:
                raise ValueError("producer snapshot of the wrong length")
        except struct.error:
            raise ValueError("producer snapshot cut short") from None
        for entry in _ENTRY.iter_unpack(memoryview(data)[_HEADER.size :]):
            producer_id, epoch, last_sequence, last_offset, delta, timestamp, coordinator_epoch, txn_first_offset = (
                entry
            )
            state = ProducerState(epoch)
            state.has_forgotten = True
            if last_sequence >= 0:
                state.add_batch(ProducerBatch(last_sequence, last_offset, delta, timestamp))
            state.last_timestamp = timestamp
            state.coordinator_epoch = coordinator_epoch
            state.txn_first_offset = txn_first_offset
            self.producers[producer_id] = state
        self.remove_expired(now_ms, expiration_ms)
        self._open = {
            state.txn_first_offset: producer_id
            for producer_id, state in sorted(self.producers.items(), key=lambda item: item[1].txn_first_offset)
            if state.txn_first_offset >= 0
        }

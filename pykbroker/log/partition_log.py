"""The log of one partition: appends, reads, and everything that moves its ends.

Owns: the partition's directory: segments, producer states and their snapshots, leader epochs; log start and end offset.

Rules
- Each record below the log end offset is in a segment; nothing else is visible to readers.
- A batch becomes part of the log with its write; what is derived from it (indexes, producers) is updated after that.
- A new epoch is in `leader-epoch-checkpoint` before its first record is in the log.
- An empty partition is a directory: segments, descriptors and tables come with the first record.
- The append that reaches `flush.messages` flushes before it returns, as in Kafka, so that nothing is acknowledged or
  shown to consumers before; if that fails, so does the append. This holds up everyone, not only this partition: who
  sets it pays for each flush anyway, and no answer, whatever its acks, has to know of flushes. What rolling a segment
  or `flush.ms` flushes is acknowledged already, and left to a thread.

Not here: roles, ISR and the high watermark (replication/partition.py); reading (readable_log.py); what is wrong with a
client's batch (validate.py); reading a directory at start (recovery.py).
Sources: Kafka's UnifiedLog, LocalLog.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from pykbroker.errors import KafkaError
from pykbroker.log import snapshots, validate
from pykbroker.log.cleaned_segment import CleanedSegment
from pykbroker.log.files import write_atomically
from pykbroker.log.leader_epochs import LeaderEpochs, encode_leader_epochs
from pykbroker.log.local_log import LocalLog, remove_later
from pykbroker.log.producer_state import ProducerBatch, ProducerStates
from pykbroker.log.readable_log import NOT_WRITTEN, ReadableLog
from pykbroker.log.refusal import Refusal
from pykbroker.log.retention import deletable_segments
from pykbroker.log.segment import Segment
from pykbroker.log.storage import FlushJob
from pykbroker.topic_config import TopicConfig
from wire.compression import Codec
from wire.crc32c import crc32c
from wire.errors import ErrorCode, ProtocolError
from wire.records import (
    BATCH_HEADER_SIZE,
    BATCH_OVERHEAD,
    CRC_START,
    HEADER,
    MAGIC,
    TRANSACTIONAL_BIT,
    iter_batches,
    read_end_txn_marker,
    read_records,
    set_log_append_time,
)
from wire.schema import RecordBytes

LEADER_EPOCH_FILE = "leader-epoch-checkpoint"
# Attributes of batches that clients send: a codec, transactional or not; not control, not LogAppendTime.
_FROM_CLIENTS = frozenset({*Codec, *(codec | TRANSACTIONAL_BIT for codec in Codec)})
_NEVER = -1

_unpack = HEADER.unpack_from
_stamp = struct.Struct(">qii").pack_into


class AppendInfo(NamedTuple):
    base_offset: int
    last_offset: int
    log_append_time_ms: int  # -1 with CreateTime
    log_start_offset: int
    is_duplicate: bool = False


class PartitionLog(ReadableLog):
    """See the top of the file; ReadableLog has the reading half."""

    __slots__ = ()

    def update_config(self, config: TopicConfig) -> None:
        """Take the topic's new configuration."""
        self.config = config
        self._rules = self._storage.rules(config)
        if self._local is not None:
            self._local.config_changed()

    # --- appending

    def append_as_leader(self, records: memoryview, *, leader_epoch: int, from_client: bool = True) -> AppendInfo:
        """Append a client's batch, stamped in place, or the batches of a coordinator; return their offsets.

        Raises: CORRUPT_MESSAGE, INVALID_RECORD, INVALID_TIMESTAMP, MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE,
        UNKNOWN_SERVER_ERROR (of a codec), OUT_OF_ORDER_SEQUENCE_NUMBER, INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE,
        TRANSACTION_COORDINATOR_FENCED, KAFKA_STORAGE_ERROR. Source: KIP-98, KIP-101.
        """
        storage = self._storage
        if storage.offline is not None:
            storage.check_online()
        if not from_client:
            return self._append_internal(records, leader_epoch)
        rules = self._rules
        now = storage.clock.time_ms()
        size = len(records)
        if size < BATCH_HEADER_SIZE:
            raise validate.rejection(records, self.topic_partition, rules)
        base, length, _, magic, crc, attributes, delta, begun, youngest, producer_id, epoch, sequence, count = _unpack(
            records
        )
        if (
            magic != MAGIC
            or length + BATCH_OVERHEAD != size
            or crc32c(records[CRC_START:]) != crc
            or base
            or count != delta + 1
            or count < 1
            or attributes not in _FROM_CLIENTS
            or producer_id >= 0 > sequence
            or size > rules.unexamined_bytes
            or not begun <= youngest <= now + rules.timestamp_after_max_ms
        ):
            records = validate.prepare(records, self.topic_partition, rules, now, storage.observer)
            size = len(records)
            _, length, _, _, _, attributes, delta, _, youngest, *_ = _unpack(records)
            if size > rules.segment_bytes:
                raise self._larger_than_segment(size)
        transactional = attributes & TRANSACTIONAL_BIT != 0
        if producer_id >= 0:
            try:
                duplicate = self.producers.check(producer_id, epoch, sequence, delta, transactional)
            except KafkaError as error:
                if error.code is not ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER or not self._recall(producer_id):
                    raise
                duplicate = self.producers.check(producer_id, epoch, sequence, delta, transactional)
            if duplicate is not None:
                return AppendInfo(
                    duplicate.base_offset, duplicate.last_offset, duplicate.timestamp, self.log_start_offset, True
                )
        first = self.log_end_offset
        last = first + delta
        try:
            if leader_epoch != self._epoch_on_disk:
                self._begin_epoch(leader_epoch, first)
            _stamp(records, 0, first, length, leader_epoch)
            self._write(records, last, youngest, now)
        except OSError as error:
            raise storage.failed(error) from error
        if producer_id >= 0:
            last_sequence = (sequence + delta) & 0x7FFFFFFF
            self.producers.update(
                producer_id, epoch, ProducerBatch(last_sequence, last, delta, youngest), transactional
            )
        return AppendInfo(first, last, now if rules.log_append_time else -1, self.log_start_offset)

    def _recall(self, producer_id: int) -> bool:
        """Whether the log tells more of a producer than is remembered. Raises: KAFKA_STORAGE_ERROR."""
        try:
            return snapshots.recall(self, producer_id)
        except OSError as error:
            raise self._storage.failed(error) from error

    def _write(self, records: RecordBytes, last: int, youngest: int, now: int) -> None:
        """Write one stamped batch, and flush it where it is due.

        Raises: OSError, then the log is as before; KAFKA_STORAGE_ERROR, then its directory is offline.
        """
        rules = self._rules
        local = self._local or self._begin(self.log_end_offset, now)
        if not local.append(rules, records, last, youngest, now):
            self.roll()
            local.append(rules, records, last, youngest, now)
        self.log_end_offset = last + 1
        if last - self.recovery_point >= rules.flush_messages - 1:
            self.flush()

    def _begin(self, base_offset: int, now: int) -> LocalLog:
        directory = str(self.directory)
        first = Segment(directory, base_offset, self._storage.pool, created_ms=now)
        self._local = LocalLog(directory, self._storage, [first])
        return self._local

    def _larger_than_segment(self, size: int) -> KafkaError:
        return Refusal(
            ErrorCode.RECORD_LIST_TOO_LARGE,
            f"a batch of {size} bytes for {self.topic_partition}, where segment.bytes is {self._rules.segment_bytes}",
        )

    def _append_internal(self, records: memoryview, leader_epoch: int) -> AppendInfo:
        """Append batches that this broker built: trusted, but markers are checked for zombies."""
        base_offset = self.log_end_offset
        now = self._storage.clock.time_ms()
        for header, batch in iter_batches(records):
            if header.size > self._rules.max_message_bytes:
                raise validate.too_large(header.size, self.topic_partition, self._rules.max_message_bytes)
            if header.is_control and header.producer_id >= 0:
                marker = read_end_txn_marker(read_records(batch)[0])
                if marker is not None:
                    self.producers.check_marker(header.producer_id, header.producer_epoch, marker[1])
            if self._rules.log_append_time:
                set_log_append_time(batch, now)
            first = self.log_end_offset
            try:
                if leader_epoch != self._epoch_on_disk:
                    self._begin_epoch(leader_epoch, first)
                _stamp(batch, 0, first, header.batch_length, leader_epoch)
                self._append_whole(batch, now)
            except OSError as error:
                raise self._storage.failed(error) from error
        append_time = now if self._rules.log_append_time else -1
        return AppendInfo(base_offset, self.log_end_offset - 1, append_time, self.log_start_offset)

    def append_as_follower(self, records: memoryview) -> AppendInfo:
        """Append a leader's batches byte for byte; a partial batch at the end is left out.

        Raises: CORRUPT_MESSAGE, KAFKA_STORAGE_ERROR; OFFSET_OUT_OF_RANGE where offsets do not follow those of the log.
        """
        self._storage.check_online()
        base_offset = self.log_end_offset
        now = self._storage.clock.time_ms()
        try:
            for header, batch in iter_batches(records):
                if crc32c(batch[CRC_START:]) != header.crc:
                    raise KafkaError(
                        ErrorCode.CORRUPT_MESSAGE, f"a leader's batch for {self.topic_partition} has another CRC"
                    )
                if header.base_offset < self.log_end_offset:
                    raise KafkaError(
                        ErrorCode.OFFSET_OUT_OF_RANGE,
                        f"Batch at {header.base_offset} of {self.topic_partition} is below its end",
                    )
                epoch = header.partition_leader_epoch
                if epoch >= 0 and epoch != self._epoch_on_disk:
                    self._begin_epoch(epoch, header.base_offset)
                self._append_whole(batch, now)
        except ProtocolError as broken:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, str(broken)) from None
        except OSError as error:
            raise self._storage.failed(error) from error
        return AppendInfo(base_offset, self.log_end_offset - 1, -1, self.log_start_offset)

    def _append_whole(self, batch: memoryview, now: int) -> None:
        """Write a stamped batch of any kind and learn from it. Raises: OSError."""
        header = next(iter_batches(batch))[0]
        self._write(batch, header.last_offset, header.max_timestamp, now)
        if header.producer_id >= 0:
            aborted = self.producers.update_from_batch(header, batch)
            if aborted is not None and self._local is not None:
                self._local.active.transaction_index.append(aborted)

    # --- leader epochs

    def assign_epoch_start(self, epoch: int, offset: int) -> None:
        """Note that a leader epoch begins at `offset`. Raises: KAFKA_STORAGE_ERROR.

        For an empty partition this stays in memory until its first record: there is nothing yet to disagree about.
        """
        if self._epochs is None:
            self._epochs = LeaderEpochs()
        if self._epochs.assign(epoch, offset):
            self._epochs_changed()

    def _epochs_changed(self) -> None:
        self._epoch_on_disk = NOT_WRITTEN
        if self._local is not None:
            try:
                self._save_epochs()
            except OSError as error:
                raise self._storage.failed(error) from error

    def _begin_epoch(self, epoch: int, offset: int) -> None:
        """Note the epoch of a batch that is about to be written. Raises: OSError."""
        if self._epochs is None:
            self._epochs = LeaderEpochs()
        if epoch > self._epochs.latest:
            self._epoch_on_disk = NOT_WRITTEN
            self._epochs.assign(epoch, offset)
        if self._epoch_on_disk == NOT_WRITTEN:
            self._save_epochs()

    def _save_epochs(self) -> None:
        if self._epochs is not None:
            path = f"{self.directory}/{LEADER_EPOCH_FILE}"
            write_atomically(path, encode_leader_epochs(self._epochs), sync=False)
            self._epoch_on_disk = self._epochs.latest

    # --- moving the ends

    def roll(self) -> None:
        """Begin a new segment; the old one's files are complete, and flushed by the thread. Raises: OSError."""
        local = self._local
        if local is None or not local.active.size:
            return
        local.active.finish()
        self._take_snapshot()
        self.request_flush()
        local.add_segment(self.log_end_offset, self._storage.clock.time_ms())

    def _take_snapshot(self) -> None:
        snapshots.write(str(self.directory), self.log_end_offset, self.producers)

    def advance_log_start(self, offset: int) -> None:
        """Make `offset` the first one that is readable (DeleteRecords, retention, a leader's answer).

        What lies below goes with the next retention. Raises: OFFSET_OUT_OF_RANGE above the end of the log.
        """
        if offset > self.log_end_offset:
            raise KafkaError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"{self.topic_partition} ends at {self.log_end_offset}, it cannot start at {offset}",
            )
        if offset > self.log_start_offset:
            self.log_start_offset = offset
            if self._epochs is not None and self._epochs.truncate_from_start(offset):
                self._epochs_changed()

    def apply_retention(self, now: int, *, high_watermark: int | None = None) -> int:
        """Delete the old segments that the topic's configuration lets go; return how many.

        Raises: KAFKA_STORAGE_ERROR.
        """
        local = self._local
        if local is None or self._storage.offline is not None:
            return 0
        try:
            count = deletable_segments(
                local.segments,
                self._rules,
                now_ms=now,
                size_bytes=local.size_bytes,
                log_start_offset=self.log_start_offset,
                log_end_offset=self.log_end_offset,
                high_watermark=self.log_end_offset if high_watermark is None else high_watermark,
            )
            if not count:
                return 0
            if count == len(local.segments):
                self.roll()
            removed = local.remove_first(count)
            self.advance_log_start(local.segments[0].base_offset)
            self._discard(removed)
        except OSError as error:
            raise self._storage.failed(error) from error
        return count

    def _discard(self, segments: list[Segment]) -> None:
        assert self._local is not None
        delay_ms = self._rules.file_delete_delay_ms
        self._local.discard(segments, delay_ms)
        paths = snapshots.discard(str(self.directory), [segment.base_offset for segment in segments])
        remove_later(self._storage, paths, delay_ms)

    def replace_segments(self, base_offsets: Sequence[int], cleaned: CleanedSegment) -> bool:
        """Put what compaction wrote in the place of the segments that it read; False if these are no longer there.

        Raises: KAFKA_STORAGE_ERROR.
        """
        local = self._local
        if local is None or self._storage.offline is not None:
            return False
        try:
            removed = local.replace(base_offsets, cleaned, self._rules.file_delete_delay_ms)
            if removed is None:
                return False
            paths = snapshots.discard(str(self.directory), [segment.base_offset for segment in removed[1:]])
            remove_later(self._storage, paths, self._rules.file_delete_delay_ms)
            self._storage.flusher.submit(FlushJob(self.topic_partition, 0, (), local.directory))
        except OSError as error:
            self._storage.fail(f"compaction of {self.topic_partition} failed half-way: {error}")
            raise self._storage.failed(error) from error
        return True

    def truncate_to(self, offset: int) -> None:
        """Remove the records at and above `offset`. Raises: KAFKA_STORAGE_ERROR, CORRUPT_MESSAGE.

        An epoch that began at the end and got no record goes, too: the leader may not have it, and would tell so again
        and again.
        """
        if offset >= self.log_end_offset or self._local is None:
            if self._epochs is not None and self._epochs.truncate_from_end(self.log_end_offset):
                self._epochs_changed()
            return
        if offset < self._local.segments[0].base_offset:
            self.truncate_fully_and_start_at(offset)
            return
        try:
            self._discard(self._local.truncate(offset))
            snapshots.remove_above(str(self.directory), offset)
            self._moved_end(offset)
            self._producers = snapshots.rebuild_producers(self, self.segments, offset)
        except OSError as error:
            raise self._storage.failed(error) from error

    def truncate_fully_and_start_at(self, offset: int) -> None:
        """Remove all records; the next one gets `offset`. Raises: KAFKA_STORAGE_ERROR."""
        try:
            if self._local is not None:
                self._discard(self._local.segments)
                self._local.close()
                self._local = None
                snapshots.remove_above(str(self.directory), -1)
                self._begin(offset, self._storage.clock.time_ms())
            self._moved_end(offset)
            self.log_start_offset = offset
            self._producers = None
            if self._epochs is not None and self._epochs.entries:
                self._epochs.entries.clear()
                self._epochs_changed()
        except OSError as error:
            raise self._storage.failed(error) from error

    def _moved_end(self, offset: int) -> None:
        self.log_end_offset = offset
        self.log_start_offset = min(self.log_start_offset, offset)
        self.first_dirty_offset = min(self.first_dirty_offset, offset)
        self.cuts += 1
        self.recovery_point = min(self.recovery_point, offset)
        self._complete_at = _NEVER
        self._flush_requested = min(self._flush_requested, offset)
        if self._epochs is not None and self._epochs.truncate_from_end(offset):
            self._epochs_changed()

    # --- durability

    def request_flush(self) -> None:
        """Have the thread flush everything up to the end of the log. Raises: OSError."""
        job = self._flush_job(self._flush_requested)
        if job is not None:
            self._flush_requested = self.log_end_offset
            self.last_flush_ms = self._storage.clock.time_ms()
            self._storage.flusher.submit(job)

    def flush(self) -> None:
        """Flush everything up to the end of the log, now. Raises: KAFKA_STORAGE_ERROR."""
        try:
            # Not from where flushes were asked for: the thread may not have come to them yet.
            job = self._flush_job(self.recovery_point)
            if job is not None:
                self._storage.flush(job)
                self.recovery_point = self._flush_requested = job.end_offset
                self.last_flush_ms = self._storage.clock.time_ms()
        except OSError as error:
            self._storage.fail(f"flush failed: {error}")
            raise self._storage.failed(error) from error

    def _flush_job(self, start_offset: int) -> FlushJob | None:
        local = self._local
        if local is None or start_offset >= self.log_end_offset:
            return None
        files = []
        for segment in local.from_offset(start_offset):
            segment.write_indexes()
            files += [file.open() for file in segment.files() if file.exists()]
        return FlushJob(self.topic_partition, self.log_end_offset, tuple(files), local.directory)

    def close(self) -> None:
        """Complete the files of a clean shutdown. Raises: KAFKA_STORAGE_ERROR."""
        local = self._local
        if local is None or self._complete_at == self.log_end_offset:
            return
        try:
            local.active.finish()
            if local.active.size:
                self._take_snapshot()
            self.flush()
            local.close()
            self._complete_at = self.log_end_offset
        except OSError as error:
            raise self._storage.failed(error) from error

    def abandon(self) -> None:
        """Let go of the files as they are: the directory is offline, or the partition is being deleted."""
        if self._local is not None:
            self._local.close()

    def restore(
        self,
        segments: list[Segment],
        *,
        log_start_offset: int,
        recovery_point: int,
        epochs: LeaderEpochs,
        epochs_changed: bool,
        producers: ProducerStates | None = None,
    ) -> None:
        """Take what recovery found in the directory. Raises: OSError."""
        self.log_start_offset = log_start_offset
        self.log_end_offset = log_start_offset
        self.recovery_point = self._flush_requested = recovery_point
        if epochs.entries:
            self._epochs = epochs
            self._epoch_on_disk = NOT_WRITTEN if epochs_changed else epochs.latest
        if segments:
            self._local = LocalLog(str(self.directory), self._storage, segments)
            self.log_end_offset = max(segments[-1].end_offset, log_start_offset)
            if epochs_changed:
                self._save_epochs()
            if producers is None:
                producers = snapshots.rebuild_producers(self, segments, self.log_end_offset)
                self._complete_at = self.log_end_offset
            self._producers = producers

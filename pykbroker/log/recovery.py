"""Reading a partition's directory at start, and repairing what an unclean stop left.

Rules
- After a clean stop only the end of the last segment is read.
- After an unclean one, all batches from the segment of the recovery point on are checked, CRC included. The log ends
  before the first that is short or damaged; what follows is cut. Indexes, producer states, aborted transactions and
  leader epochs are rebuilt on the way.
- Files that a crash left in the middle of a deletion or a compaction are removed, or their renaming is completed.

Not here: indexes of segments that were complete before (segment.py rebuilds those on first use).
Sources: Kafka's LogLoader, LogSegment.recover.
"""

import logging
import os
import struct
import zlib
from itertools import pairwise
from pathlib import Path

from pykbroker.errors import StorageError
from pykbroker.log import snapshots
from pykbroker.log.leader_epochs import LeaderEpochs, decode_leader_epochs
from pykbroker.log.local_log import DELETED
from pykbroker.log.partition_log import LEADER_EPOCH_FILE, PartitionLog
from pykbroker.log.producer_state import ProducerStates
from pykbroker.log.segment import BrokenSegmentError, Segment
from wire.crc32c import crc32c
from wire.errors import ProtocolError
from wire.records import BATCH_HEADER_SIZE, BATCH_OVERHEAD, CRC_START, HEADER, MAGIC, MAGIC_POSITION, BatchHeader

logger = logging.getLogger(__name__)

_LOG = ".log"
_INDEXES = (".index", ".timeindex", ".txnindex")
_CLEANED = ".cleaned"
_SWAP = ".swap"
_OLD_OVERHEAD = 14  # what a message of format version 0 has at least
_CHUNK_BYTES = 1024 * 1024


def load(log: PartitionLog, *, clean: bool, recovery_point: int, log_start_offset: int) -> None:
    """Fill an empty log with what its directory holds. Raises: OSError, StorageError."""
    directory = log.directory
    names = _tidy(directory, os.listdir(directory))
    segments = _segments(log, directory, names)
    epochs = _load_epochs(directory)
    if not segments:
        # An empty log that begins above 0 has an empty segment to say so; here the checkpoint is all there is.
        log.restore([], log_start_offset=log_start_offset, recovery_point=0, epochs=epochs, epochs_changed=False)
        return
    snapshots.remove_stray(str(directory), {segment.base_offset for segment in segments})
    first_damaged = _first_to_recover(segments, names, clean=clean, recovery_point=recovery_point)
    before = list(epochs.entries)
    log_start_offset = max(log_start_offset, segments[0].base_offset)
    # A crash may come between the file that forgot the epochs of deleted records and what says that they are deleted.
    if not epochs.entries or epochs.entries[0][1] > log_start_offset:
        _rebuild_epochs(segments, epochs)
    producers = None
    if first_damaged is not None:
        producers = _recover_from(log, segments, first_damaged, epochs)
    end_offset = segments[-1].end_offset
    epochs.truncate_from_end(max(end_offset, log_start_offset))
    epochs.truncate_from_start(log_start_offset)
    log.restore(
        segments,
        log_start_offset=log_start_offset,
        recovery_point=end_offset if first_damaged is None else min(recovery_point, end_offset),
        epochs=epochs,
        epochs_changed=before != epochs.entries,
        producers=producers,
    )
    if end_offset < log_start_offset:
        log.truncate_fully_and_start_at(log_start_offset)


def _tidy(directory: Path, names: list[str]) -> set[str]:
    """Finish what was interrupted; return the names that are left."""
    kept = set(names)

    def remove(name: str) -> None:
        (directory / name).unlink()
        kept.discard(name)

    cleaned = [int(name[:20]) for name in names if name.endswith(_CLEANED) and name[:20].isdecimal()]
    for name in names:
        if name.endswith((DELETED, _CLEANED, ".tmp")):
            remove(name)
        elif name.endswith(_SWAP) and cleaned and int(name[:20]) >= min(cleaned):
            remove(name)  # the compaction had not finished writing: the old segments are still there
    for name in sorted(name for name in kept if name.endswith(_LOG + _SWAP)):
        base_offset = int(name[:20])
        end_offset = _end_of_swap(directory / name, base_offset)
        for old in [
            old for old in kept if old.endswith((_LOG, *_INDEXES)) and base_offset <= int(old[:20]) < end_offset
        ]:
            remove(old)
    for name in [name for name in kept if name.endswith(_SWAP)]:
        os.rename(directory / name, directory / name.removesuffix(_SWAP))
        kept.discard(name)
        kept.add(name.removesuffix(_SWAP))
    for name in [name for name in kept if name.endswith(_INDEXES) and f"{name[:20]}{_LOG}" not in kept]:
        remove(name)  # an index without its segment
    return kept


def _end_of_swap(path: Path, base_offset: int) -> int:
    """Return the offset after the last batch of a segment that compaction wrote."""
    end_offset = base_offset
    data = path.read_bytes()
    position = 0
    while position + BATCH_HEADER_SIZE <= len(data):
        header = BatchHeader._make(HEADER.unpack_from(data, position))
        end_offset = max(end_offset, header.last_offset + 1)
        position += max(header.size, BATCH_HEADER_SIZE)
    return end_offset


def _segments(log: PartitionLog, directory: Path, names: set[str]) -> list[Segment]:
    storage = log.log_directory
    bases = sorted(
        int(name[:20]) for name in names if len(name) == 24 and name.endswith(_LOG) and name[:20].isdecimal()
    )
    segments = []
    for base_offset in bases:
        status = os.stat(directory / f"{base_offset:020d}{_LOG}")
        segments.append(
            Segment(
                str(directory),
                base_offset,
                storage.pool,
                created_ms=status.st_mtime_ns // 1_000_000,
                size=status.st_size,
                is_new=False,
            )
        )
    for segment, following in pairwise(segments):
        segment.end_offset = following.base_offset
    return segments


def _first_to_recover(segments: list[Segment], names: set[str], *, clean: bool, recovery_point: int) -> int | None:
    """Return the number of the first segment whose batches have to be checked; None if none has."""
    damaged = None
    if not clean:
        damaged = max((n for n, segment in enumerate(segments) if segment.base_offset <= recovery_point), default=0)
    else:
        try:
            segments[-1].load_end_offset()
        except BrokenSegmentError as broken:
            logger.warning("%s: no batch at position %d", segments[-1].file.path, broken.position)
            damaged = len(segments) - 1
    for number, segment in enumerate(segments[:damaged]):
        if f"{segment.base_offset:020d}.txnindex" in names and not segment.transaction_index.is_plausible(
            segment.base_offset, segment.end_offset
        ):
            logger.warning("%s is not readable: rebuilt", segment.transaction_index.file.path)
            return number
    return damaged


def _load_epochs(directory: Path) -> LeaderEpochs:
    """Return the leader epochs; none where the file cannot be read."""
    path = directory / LEADER_EPOCH_FILE
    try:
        return decode_leader_epochs(path.read_bytes())
    except FileNotFoundError:
        return LeaderEpochs()
    except ValueError as error:
        logger.warning("%s is not readable (%s): rebuilt", path, error)
        return LeaderEpochs()


def _rebuild_epochs(segments: list[Segment], epochs: LeaderEpochs) -> None:
    """Learn the leader epochs from all batches."""
    epochs.entries.clear()
    for segment in segments:
        try:
            for header, _ in segment.headers(0):
                if header.partition_leader_epoch > epochs.latest:
                    epochs.assign(header.partition_leader_epoch, header.base_offset)
        except BrokenSegmentError as broken:
            logger.error("%s: leader epochs are incomplete from position %d", segment.file.path, broken.position)


def _recover_from(log: PartitionLog, segments: list[Segment], first: int, epochs: LeaderEpochs) -> ProducerStates:
    """Check the segments from number `first` on; cut the log where it is damaged. Returns the producers at its end."""
    directory = str(log.directory)
    start_offset = segments[first].base_offset
    snapshots.remove_above(directory, start_offset)
    producers = snapshots.rebuild_producers(log, segments[:first], start_offset)
    for number in range(first, len(segments)):
        segment = segments[number]
        if segment.base_offset > start_offset:
            snapshots.write(directory, segment.base_offset, producers)
        valid = _recover_segment(segment, epochs, producers, log.config.index_interval_bytes)
        if valid == segment.size:
            if number + 1 < len(segments):
                segment.end_offset = segments[number + 1].base_offset
            continue
        lost = segment.size - valid + sum(later.size for later in segments[number + 1 :])
        logger.warning(
            "%s: no valid batch at position %d; the log ends at offset %d, %d bytes are cut",
            segment.file.path,
            valid,
            segment.end_offset,
            lost,
        )
        segment.file.truncate(valid)
        segment.size = valid
        for later in segments[number + 1 :]:
            for file in later.files():
                file.remove()
        del segments[number + 1 :]
        break
    return producers


def _recover_segment(segment: Segment, epochs: LeaderEpochs, producers: ProducerStates, interval_bytes: int) -> int:
    """Rebuild what is derived from a segment's batches; return the position after the last valid one."""
    segment.offset_index.clear()
    segment.time_index.clear()
    segment.transaction_index.clear()
    max_timestamp, max_timestamp_offset = -1, segment.base_offset
    end_offset = segment.base_offset
    since_entry = 0
    position = 0
    reader = _Reader(segment)
    while position < segment.size:
        batch = reader.batch_at(position, end_offset)
        if batch is None:
            break
        header = BatchHeader._make(HEADER.unpack_from(batch))
        try:
            aborted = producers.update_from_batch(header, batch)
        except ProtocolError:
            break
        if aborted is not None:
            segment.transaction_index.append(aborted)
        if header.partition_leader_epoch > epochs.latest:
            epochs.assign(header.partition_leader_epoch, header.base_offset)
        if header.max_timestamp > max_timestamp and header.record_count:
            max_timestamp, max_timestamp_offset = header.max_timestamp, header.last_offset
        if since_entry > interval_bytes:
            segment.offset_index.append(header.last_offset, position)
            segment.time_index.append(max_timestamp, max_timestamp_offset)
            since_entry = 0
        since_entry += header.size
        position += header.size
        end_offset = header.last_offset + 1
    segment.set_recovered(end_offset, max_timestamp, max_timestamp_offset)
    segment.bytes_since_index_entry = since_entry
    segment.time_index.append(max_timestamp, max_timestamp_offset)
    segment.write_indexes()
    return position


class _Reader:
    """Reads a segment's batches in large pieces and checks them."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._start = 0
        self._chunk = memoryview(b"")

    def batch_at(self, position: int, lowest_offset: int) -> memoryview | None:
        """Return the batch at `position`; None if it is short or damaged, or below `lowest_offset`.

        Raises: StorageError where it is of a format that Kafka 4 no longer writes.
        """
        left = self._segment.size - position
        head = self._bytes(position, min(BATCH_HEADER_SIZE, left))
        self._refuse_old_format(position, head, left)
        if len(head) < BATCH_HEADER_SIZE:
            return None
        header = BatchHeader._make(HEADER.unpack_from(head))
        size = header.size
        if (
            header.magic != MAGIC
            or not BATCH_HEADER_SIZE <= size <= left
            or header.base_offset < lowest_offset
            or header.last_offset_delta < 0
        ):
            return None
        batch = self._bytes(position, size)
        return batch if len(batch) == size and crc32c(batch[CRC_START:]) == header.crc else None

    def _bytes(self, position: int, length: int) -> memoryview:
        if position + length > self._start + len(self._chunk):
            self._chunk = memoryview(self._segment.file.read_at(position, max(length, _CHUNK_BYTES)))
            self._start = position
        return self._chunk[position - self._start : position - self._start + length]

    def _refuse_old_format(self, position: int, head: memoryview, left: int) -> None:
        """Raises: StorageError where a whole, valid message of format version 0 or 1 starts at `position`."""
        if len(head) <= MAGIC_POSITION or head[MAGIC_POSITION] not in (0, 1):
            return
        length, crc = struct.unpack_from(">iI", head, 8)
        if not _OLD_OVERHEAD <= length <= left - BATCH_OVERHEAD:
            return
        message = self._bytes(position, BATCH_OVERHEAD + length)
        if zlib.crc32(message[BATCH_OVERHEAD + 4 :]) == crc:
            raise StorageError(
                f"{self._segment.file.path} has messages of format version {message[MAGIC_POSITION]}, which Kafka 4 no "
                "longer writes: rewrite the topic with an older Kafka first"
            )

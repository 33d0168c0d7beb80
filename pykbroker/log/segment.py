"""One segment of a log: a file of record batches, its two indexes, and its index of aborted transactions.

Owns: `<base offset>.log`, `.index`, `.timeindex` and `.txnindex`, and what is known about them: size, youngest
timestamp, timestamp of the first batch.

Rules
- Offsets ascend; none is more than 2^31-1 above the base offset.
- A batch gets an index entry when more than `index.interval.bytes` were written since the last one: its last offset and
  its position, and the youngest timestamp so far with the last offset of its batch.
- Old segments load what they need to know on first use.

Not here: when to roll, which segment holds an offset (partition_log.py), CRCs of what is on disk (recovery.py).
Sources: Kafka's LogSegment, FileRecords.
"""

import os
import struct
from collections.abc import Iterator

from pykbroker.errors import KafkaError
from pykbroker.log.files import FilePool, LogFile
from pykbroker.log.index import OffsetIndex, TimeIndex
from pykbroker.log.transaction_index import TransactionIndex
from wire.errors import ErrorCode
from wire.records import BATCH_HEADER_SIZE, BATCH_OVERHEAD, HEADER, MAGIC, BatchHeader
from wire.schema import RecordBytes

MAX_RELATIVE_OFFSET = 0x7FFFFFFF
_SCAN_BYTES = 4096
_POSITION = struct.Struct(">qiibIhi")  # as far as the last offset delta
_UNKNOWN = -2


def file_name(offset: int, suffix: str) -> str:
    """Name a file of a partition's directory: 20 digits of offset, then the suffix."""
    return f"{offset:020d}{suffix}"


class BrokenSegmentError(Exception):
    """The bytes at a position are no batch."""

    def __init__(self, position: int) -> None:
        super().__init__(position)
        self.position = position


class Segment:
    __slots__ = (
        "_first_timestamp",
        "_indexes_checked",
        "_max_timestamp",
        "_max_timestamp_offset",
        "base_offset",
        "bytes_since_index_entry",
        "created_ms",
        "end_offset",
        "file",
        "offset_index",
        "size",
        "time_index",
        "transaction_index",
    )

    def __init__(
        self, directory: str, base_offset: int, pool: FilePool, *, created_ms: int, size: int = 0, is_new: bool = True
    ) -> None:
        """A new segment makes its file with the first write; `size` is that of an existing one."""
        self.base_offset = base_offset
        self.file = LogFile(os.path.join(directory, file_name(base_offset, ".log")), pool)
        self.offset_index = OffsetIndex(self._path(".index"), pool, base_offset, is_new=is_new)
        self.time_index = TimeIndex(self._path(".timeindex"), pool, base_offset, is_new=is_new)
        self.transaction_index = TransactionIndex(self._path(".txnindex"), pool)
        self.size = size
        self.end_offset = base_offset  # of the active segment and those that were active: where the next begins
        self.bytes_since_index_entry = 0
        self.created_ms = created_ms
        self._max_timestamp = -1 if is_new else _UNKNOWN
        self._max_timestamp_offset = base_offset
        self._first_timestamp = _UNKNOWN
        self._indexes_checked = is_new

    def _path(self, suffix: str) -> str:
        return self.file.path[: -len(".log")] + suffix

    # --- writing

    def append(
        self, records: RecordBytes, size: int, last_offset: int, max_timestamp: int, index_interval_bytes: int
    ) -> bool:
        """Write one stamped batch at the end, and say whether it got an index entry.

        Raises: OSError; then nothing is changed.
        """
        if self._max_timestamp == _UNKNOWN:
            self._load_max_timestamp()
        position = self.size
        self.file.append_at(position, records, size)
        self.size = position + size
        self.end_offset = last_offset + 1
        if max_timestamp > self._max_timestamp:
            self._max_timestamp = max_timestamp
            self._max_timestamp_offset = last_offset
        if self.bytes_since_index_entry > index_interval_bytes:
            self.offset_index.append(last_offset, position)
            self.time_index.append(self._max_timestamp, self._max_timestamp_offset)
            self.bytes_since_index_entry = size
            return True
        self.bytes_since_index_entry += size
        return False

    def index_is_full(self, segment_index_bytes: int) -> bool:
        return (
            len(self.offset_index) >= segment_index_bytes // 8 or len(self.time_index) >= segment_index_bytes // 12 - 1
        )

    def finish(self) -> None:
        """Write the indexes as they stay: the segment is rolled or closed. Raises: OSError."""
        self.check_indexes()
        if self.max_timestamp >= 0:
            self.time_index.append(self._max_timestamp, self._max_timestamp_offset)
        self.write_indexes()
        self.offset_index.trim()
        self.time_index.trim()

    def write_indexes(self) -> None:
        """Write what of the indexes is only in memory. Raises: OSError."""
        self.offset_index.write_pending()
        self.time_index.write_pending()

    def files(self) -> tuple[LogFile, ...]:
        return (self.file, self.offset_index.file, self.time_index.file, self.transaction_index.file)

    def close(self) -> None:
        for file in self.files():
            file.close()

    # --- what is known

    @property
    def max_timestamp(self) -> int:
        """The youngest timestamp of a batch; -1 if none has one."""
        if self._max_timestamp == _UNKNOWN:
            self._load_max_timestamp()
        return self._max_timestamp

    @property
    def max_timestamp_offset(self) -> int:
        """The last offset of the first batch with `max_timestamp`."""
        if self._max_timestamp == _UNKNOWN:
            self._load_max_timestamp()
        return self._max_timestamp_offset

    @property
    def first_timestamp(self) -> int:
        """The youngest timestamp of the first batch; -1 if it has none, or if there is no batch."""
        if self._first_timestamp == _UNKNOWN:
            if not self.size:
                return -1
            header = self.file.read_at(0, BATCH_HEADER_SIZE)
            self._first_timestamp = HEADER.unpack(header)[8] if len(header) == BATCH_HEADER_SIZE else -1
        return self._first_timestamp

    @property
    def largest_timestamp(self) -> int:
        """What retention goes by: the youngest timestamp, or the file's time where the records have none."""
        if self.max_timestamp >= 0:
            return self._max_timestamp
        try:
            return os.stat(self.file.path).st_mtime_ns // 1_000_000
        except FileNotFoundError:
            return self.created_ms

    def _load_max_timestamp(self) -> None:
        """Take it from the time index and the batches behind its last entry."""
        self.check_indexes()
        timestamp, offset = self.time_index.last_entry()
        self._max_timestamp, self._max_timestamp_offset = timestamp, offset
        _, position = self.offset_index.lookup(offset)
        try:
            for header, _ in self.headers(position):
                if header.max_timestamp > self._max_timestamp and header.record_count:
                    self._max_timestamp, self._max_timestamp_offset = header.max_timestamp, header.last_offset
        except BrokenSegmentError:
            return  # what reads those batches says so

    def set_recovered(self, end_offset: int, max_timestamp: int, max_timestamp_offset: int) -> None:
        """Take what a scan of the whole segment found; the indexes were rebuilt by it."""
        self.end_offset = end_offset
        self._max_timestamp, self._max_timestamp_offset = max_timestamp, max_timestamp_offset
        self._first_timestamp = _UNKNOWN
        self._indexes_checked = True

    # --- finding batches

    def headers(self, position: int, end: int | None = None) -> Iterator[tuple[BatchHeader, int]]:
        """Yield the header and position of each batch from `position` on. Raises: BrokenSegmentError."""
        end = self.size if end is None else end
        chunk = b""
        start = position
        lowest = -1
        while position < end:
            if position + BATCH_HEADER_SIZE > start + len(chunk):
                start = position
                chunk = self.file.read_at(position, min(_SCAN_BYTES, end - position))
                if len(chunk) < BATCH_HEADER_SIZE:
                    raise BrokenSegmentError(position)
            header = BatchHeader._make(HEADER.unpack_from(chunk, position - start))
            next_position = position + BATCH_OVERHEAD + header.batch_length
            if (
                header.magic != MAGIC
                or header.batch_length < BATCH_HEADER_SIZE - BATCH_OVERHEAD
                or next_position > end
                or header.base_offset < max(self.base_offset, lowest)
                or header.last_offset_delta < 0
            ):
                raise BrokenSegmentError(position)
            lowest = header.last_offset + 1
            yield header, position
            position = next_position

    def find(self, offset: int) -> tuple[int, int, int] | None:
        """Find the first batch whose last offset is at or above `offset`.

        Returns (position, size, base offset), or None where the segment ends before. Raises: OSError; CORRUPT_MESSAGE
        where the bytes that hold the offset are no batch.
        """
        self.check_indexes()
        entry_offset, position = self.offset_index.lookup(offset)
        if position and not self._is_batch_of(position, entry_offset):
            position = self._distrust_index(entry_offset, position, offset)
        try:
            for header, found in self.headers(position):
                if header.base_offset + header.last_offset_delta >= offset:
                    return found, BATCH_OVERHEAD + header.batch_length, header.base_offset
        except BrokenSegmentError as broken:
            raise KafkaError(
                ErrorCode.CORRUPT_MESSAGE, f"no batch begins at position {broken.position} of {self.file.path}"
            ) from None
        return None

    def _is_batch_of(self, position: int, entry_offset: int) -> bool:
        """Whether a batch starts at `position` that may be the one of the index entry."""
        data = self.file.read_at(position, _POSITION.size)
        if len(data) < _POSITION.size:
            return False
        base, length, _, magic, _, _, last_delta = _POSITION.unpack(data)
        return bool(
            magic == MAGIC
            and length >= BATCH_HEADER_SIZE - BATCH_OVERHEAD
            and position + BATCH_OVERHEAD + length <= self.size
            and self.base_offset <= base <= base + last_delta <= entry_offset
        )

    def _distrust_index(self, entry_offset: int, position: int, offset: int) -> int:
        """Decide between a lying index and a damaged batch; return where to search from.

        The batches before the entry tell: if they lead to its position, the index is right.
        """
        try:
            for header, found in self.headers(0):
                if found == position or header.base_offset > entry_offset:
                    break
        except BrokenSegmentError as broken:
            if broken.position <= position:
                return broken.position if broken.position == position else 0
        self.rebuild_indexes()
        return self.offset_index.lookup(offset)[1]

    # --- indexes

    def check_indexes(self) -> None:
        """Rebuild the indexes if they are missing or cannot be right. Raises: OSError."""
        if self._indexes_checked:
            return
        self._indexes_checked = True
        index_size, time_size = self.offset_index.file.size(), self.time_index.file.size()
        offset, position = self.offset_index.last_entry()
        if (
            (self.size and not (self.offset_index.file.exists() and self.time_index.file.exists()))
            or index_size % self.offset_index.entry.size
            or time_size % self.time_index.entry.size
            or position >= max(self.size, 1)
            or (position and not self._is_batch_of(position, offset))
            or not self.time_index.is_ascending(self.base_offset + MAX_RELATIVE_OFFSET)
            or (len(self.time_index) and not self._time_entry_is_true())
        ):
            self.rebuild_indexes()

    def _time_entry_is_true(self) -> bool:
        """Whether the last time index entry points to a batch with its timestamp."""
        timestamp, offset = self.time_index.last_entry()
        _, position = self.offset_index.lookup(offset)
        try:
            for header, _ in self.headers(position):
                if header.last_offset >= offset:
                    return header.max_timestamp == timestamp
        except BrokenSegmentError:
            return True  # the batches are damaged, not the index
        return False

    def rebuild_indexes(self, index_interval_bytes: int = 4096) -> None:
        """Write both indexes anew from the batches, as far as these can be read. Raises: OSError."""
        self._indexes_checked = True
        self.offset_index.clear()
        self.time_index.clear()
        max_timestamp, max_timestamp_offset = -1, self.base_offset
        since_entry = 0
        try:
            for header, position in self.headers(0):
                if header.max_timestamp > max_timestamp and header.record_count:
                    max_timestamp, max_timestamp_offset = header.max_timestamp, header.last_offset
                if since_entry > index_interval_bytes:
                    self.offset_index.append(header.last_offset, position)
                    self.time_index.append(max_timestamp, max_timestamp_offset)
                    since_entry = 0
                since_entry += header.size
        except BrokenSegmentError:
            pass  # what reads there says so
        self._max_timestamp, self._max_timestamp_offset = max_timestamp, max_timestamp_offset
        self.time_index.append(max_timestamp, max_timestamp_offset)
        self.write_indexes()

    def load_end_offset(self) -> int:
        """Learn where the next segment begins, from the last batch of one that was closed.

        Raises: OSError, BrokenSegmentError.
        """
        self.check_indexes()
        _, position = self.offset_index.last_entry()
        self.end_offset = self.base_offset
        since_entry = 0
        for header, _ in self.headers(position):
            self.end_offset = header.last_offset + 1
            since_entry += header.size
        self.bytes_since_index_entry = since_entry
        return self.end_offset

    def truncate(self, position: int, offset: int) -> None:
        """Cut the batches from `position` on, whose first offset is `offset`. Raises: OSError."""
        self.check_indexes()
        self.file.truncate(position)
        self.size = position
        self.end_offset = offset
        self.offset_index.truncate(offset)
        self.time_index.truncate(offset)
        self.transaction_index.truncate(offset)
        self._max_timestamp = _UNKNOWN
        if not position:
            self._max_timestamp, self._max_timestamp_offset = -1, self.base_offset
            self._first_timestamp = _UNKNOWN
        self.bytes_since_index_entry = 0

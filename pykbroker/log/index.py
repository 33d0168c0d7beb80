"""Sparse indexes of one segment: offset to position, and timestamp to offset.

Format: the offset index has 8-byte entries, the last offset of a batch relative to the segment's base (u32) and the
position where that batch starts (u32); the time index has 12-byte entries, a timestamp (i64) and a relative offset
(u32): no record before that offset is younger. Both ascend.

Rules
- Entries are collected in memory and written `PENDING_BYTES` at a time, and when the segment is rolled, flushed or
  closed: after a crash, recovery rebuilds them.
- An index is a hint: whoever uses an entry checks the batch that it points to, and has the index rebuilt when it lies.
- Kafka gives the index of a live segment its full size in zeros: what does not ascend at the end is not counted.

Not here: which batches get entries (segment.py), rebuilding (recovery.py). Sources: Kafka's OffsetIndex, TimeIndex.
"""

import struct

from pykbroker.log.files import FilePool, LogFile

PENDING_BYTES = 4096
_WINDOW_BYTES = 4096
OFFSET_ENTRY = struct.Struct(">II")
TIME_ENTRY = struct.Struct(">qI")


class SparseIndex:
    """What both indexes share: entries in a file, the newest of them still in memory."""

    __slots__ = ("_file_entries", "_pending", "base_offset", "file", "last")
    entry: struct.Struct

    def __init__(self, path: str, pool: FilePool, base_offset: int, *, is_new: bool) -> None:
        self.file = LogFile(path, pool)
        self.base_offset = base_offset
        self._pending = bytearray()
        self._file_entries = 0 if is_new else -1  # -1: not looked at yet
        self.last: tuple[int, int] | None = None  # the last entry

    def __len__(self) -> int:
        """How many entries there are."""
        return self._entries_in_file() + len(self._pending) // self.entry.size

    def _entries_in_file(self) -> int:
        if self._file_entries < 0:
            self._file_entries = self._usable_entries(self.file.size())
            self.last = self._read(self._file_entries - 1) if self._file_entries else None
        return self._file_entries

    def _usable_entries(self, size: int) -> int:
        """Count the entries up to the zeros that follow the last one in a file that was not closed."""
        entries = size // self.entry.size
        if not entries:
            return 0
        end = self.entry.size * entries
        while end > 0:
            start = max(end - 1024 * self.entry.size, 0)
            kept = self.file.read_at(start, end - start).rstrip(b"\0")
            if kept:
                return -(-(start + len(kept)) // self.entry.size)
            end = start
        return 0

    def load(self) -> None:
        """Learn the last entry."""
        self._entries_in_file()

    def _read(self, number: int) -> tuple[int, int]:
        size = self.entry.size
        in_file = self._entries_in_file()
        if number >= in_file:
            first, second = self.entry.unpack_from(self._pending, (number - in_file) * size)
        else:
            first, second = self.entry.unpack(self.file.read_at(number * size, size))
        return first, second

    def _floor(self, key: int, field: int) -> tuple[int, int] | None:
        """Return the last entry whose `field` is at most `key`."""
        in_file = self._entries_in_file()
        pending = self._pending
        size = self.entry.size
        if pending and self.entry.unpack_from(pending, 0)[field] <= key:
            return _floor_in(self.entry, pending, key, field)
        low, high = 0, in_file
        while (high - low) * size > _WINDOW_BYTES:
            middle = (low + high) // 2
            if self._read(middle)[field] <= key:
                low = middle
            else:
                high = middle
        if low == high:
            return None
        return _floor_in(self.entry, self.file.read_at(low * size, (high - low) * size), key, field)

    def _append(self, first: int, second: int) -> None:
        self._pending += self.entry.pack(first, second)
        self.last = (first, second)
        if len(self._pending) >= PENDING_BYTES:
            try:
                self.write_pending()
            except OSError:
                # The entries stay in memory, so nothing is lost: the batch is in the log, and a disk that is broken
                # shows with the next one.
                return

    def write_pending(self) -> None:
        """Write what is only in memory, creating the file even if there is nothing. Raises: OSError."""
        in_file = self._entries_in_file()
        if self._pending:
            self.file.write_at(in_file * self.entry.size, self._pending)
            self._file_entries = in_file + len(self._pending) // self.entry.size
            self._pending = bytearray()
        elif not in_file:
            self.file.open(create=True)

    def trim(self) -> None:
        """Cut off zeros and torn entries behind the last entry. Raises: OSError."""
        if self.file.size() > self._entries_in_file() * self.entry.size:
            self.file.truncate(self._file_entries * self.entry.size)

    def clear(self) -> None:
        """Remove all entries. Raises: OSError."""
        self._pending = bytearray()
        self._file_entries = 0
        self.last = None
        if self.file.exists():
            self.file.truncate(0)

    def _cut(self, entries: int) -> None:
        """Keep only the first `entries`. Raises: OSError."""
        in_file = self._entries_in_file()
        if entries < in_file:
            self.file.truncate(entries * self.entry.size)
            self._file_entries = entries
            self._pending = bytearray()
        else:
            del self._pending[(entries - in_file) * self.entry.size :]
        self.last = self._read(entries - 1) if entries else None

    def _count_below(self, key: int, field: int) -> int:
        """Count the entries whose `field` is below `key`."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._read(middle)[field] < key:
                low = middle + 1
            else:
                high = middle
        return low


def _floor_in(entry: struct.Struct, data: bytes | bytearray, key: int, field: int) -> tuple[int, int] | None:
    low, high = 0, len(data) // entry.size
    while low < high:
        middle = (low + high) // 2
        if entry.unpack_from(data, middle * entry.size)[field] <= key:
            low = middle + 1
        else:
            high = middle
    if not low:
        return None
    first, second = entry.unpack_from(data, (low - 1) * entry.size)
    return first, second


class OffsetIndex(SparseIndex):
    __slots__ = ()
    entry = OFFSET_ENTRY

    def append(self, last_offset: int, position: int) -> None:
        self._append(last_offset - self.base_offset, position)

    def lookup(self, offset: int) -> tuple[int, int]:
        """Return (offset, position) of the last entry at or below `offset`; the segment's start if there is none."""
        found = self._floor(offset - self.base_offset, 0)
        return (self.base_offset + found[0], found[1]) if found else (self.base_offset, 0)

    def offset_behind(self, position: int) -> int | None:
        """Return the offset of the first entry at or behind `position`; None if there is none."""
        number = self._count_below(position, 1)
        return self.base_offset + self._read(number)[0] if number < len(self) else None

    def last_entry(self) -> tuple[int, int]:
        self._entries_in_file()
        return (self.base_offset + self.last[0], self.last[1]) if self.last else (self.base_offset, 0)

    def truncate(self, offset: int) -> None:
        """Remove the entries at and after `offset`. Raises: OSError."""
        self._cut(self._count_below(offset - self.base_offset, 0))


class TimeIndex(SparseIndex):
    __slots__ = ()
    entry = TIME_ENTRY

    def append(self, timestamp: int, offset: int) -> None:
        """Add an entry, unless the last one is as young."""
        self._entries_in_file()
        if timestamp >= 0 and (self.last is None or timestamp > self.last[0]):
            self._append(timestamp, offset - self.base_offset)

    def lookup(self, timestamp: int) -> int:
        """Return the offset before which no record is younger than `timestamp`."""
        found = self._floor(timestamp, 0)
        return self.base_offset + found[1] if found else self.base_offset

    def last_entry(self) -> tuple[int, int]:
        """Return (timestamp, offset); a timestamp of -1 if there is no entry."""
        self._entries_in_file()
        return (self.last[0], self.base_offset + self.last[1]) if self.last else (-1, self.base_offset)

    def truncate(self, offset: int) -> None:
        """Remove the entries at and after `offset`. Raises: OSError."""
        self._cut(self._count_below(offset - self.base_offset, 1))

    def is_ascending(self, end_offset: int) -> bool:
        """Whether each entry is younger than the one before, and all lie below `end_offset`."""
        size = self._entries_in_file() * self.entry.size
        data = (self.file.read_at(0, size) if size else b"") + bytes(self._pending)
        if len(data) % self.entry.size:
            return False
        timestamp, offset = -1, -1
        for next_timestamp, next_offset in self.entry.iter_unpack(data):
            if next_timestamp <= timestamp or next_offset < offset:
                return False
            timestamp, offset = next_timestamp, next_offset
        return self.base_offset + offset < end_offset

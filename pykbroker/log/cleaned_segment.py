"""The segment that compaction writes: the log and its three indexes, as `.cleaned` files, in a thread.

Format: as segment.py, index.py and transaction_index.py have it. Names: `<base offset>.log.cleaned` and so on; they
become `.swap` and then lose the suffix when the loop puts the segment into the log (local_log.py).

Rules: written to the end and flushed before anyone is told of it; the time of the newest old segment's file stays,
since retention goes by it where records have no timestamps.
Sources: Kafka's UnifiedLog.createNewCleanedSegment.
"""

import contextlib
import os
from collections.abc import Sequence

from attrs import frozen

from pykbroker.log.index import OFFSET_ENTRY, TIME_ENTRY
from pykbroker.log.segment import file_name
from pykbroker.log.transaction_index import AbortedTransaction, encode_transactions
from wire.records import HEADER
from wire.schema import RecordBytes

CLEANED = ".cleaned"
SWAP = ".swap"
SUFFIXES = (".log", ".index", ".timeindex", ".txnindex")
_WRITE_BYTES = 1024 * 1024


@frozen(eq=False)
class CleanedSegment:
    """A segment that is whole on disk, still under its temporary names."""

    directory: str
    base_offset: int
    size: int
    max_timestamp: int
    max_timestamp_offset: int
    suffixes: tuple[str, ...]  # which of SUFFIXES there are

    def path(self, suffix: str) -> str:
        return os.path.join(self.directory, file_name(self.base_offset, suffix))

    def remove(self) -> None:
        """Remove the files that nobody wants. Raises: OSError."""
        for suffix in self.suffixes:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path(suffix) + CLEANED)


class SegmentWriter:
    def __init__(self, directory: str, base_offset: int, index_interval_bytes: int) -> None:
        """Begin the file. Raises: OSError."""
        self._directory = directory
        self._base_offset = base_offset
        self._interval_bytes = index_interval_bytes
        self._fd = os.open(self._path(".log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        self._pending = bytearray()
        self._offsets, self._times = bytearray(), bytearray()
        self._since_entry = 0
        self._max_timestamp, self._max_timestamp_offset = -1, base_offset
        self._indexed_timestamp = -1
        self.size = 0

    def _path(self, suffix: str) -> str:
        return os.path.join(self._directory, file_name(self._base_offset, suffix)) + CLEANED

    def append(self, batch: RecordBytes) -> None:
        """Write a batch, at once or with those that follow. Raises: OSError."""
        size = len(batch)
        base_offset, _, _, _, _, _, last_delta, _, max_timestamp, _, _, _, count = HEADER.unpack_from(batch)
        last_offset = base_offset + last_delta
        if max_timestamp > self._max_timestamp and count:
            self._max_timestamp, self._max_timestamp_offset = max_timestamp, last_offset
        if self._since_entry > self._interval_bytes:
            self._offsets += OFFSET_ENTRY.pack(last_offset - self._base_offset, self.size)
            self._index_time()
            self._since_entry = 0
        self._since_entry += size
        self.size += size
        self._pending += batch
        if len(self._pending) >= _WRITE_BYTES:
            self._write()

    def _write(self) -> None:
        _write_all(self._fd, self._pending)
        self._pending = bytearray()

    def _index_time(self) -> None:
        if self._max_timestamp > self._indexed_timestamp:
            self._times += TIME_ENTRY.pack(self._max_timestamp, self._max_timestamp_offset - self._base_offset)
            self._indexed_timestamp = self._max_timestamp

    def finish(self, transactions: Sequence[AbortedTransaction], modified_ns: int) -> CleanedSegment:
        """Write and flush everything. Raises: OSError."""
        self._write()
        self._index_time()
        os.fsync(self._fd)
        os.utime(self._fd, ns=(modified_ns, modified_ns))
        os.close(self._fd)
        self._fd = -1
        indexes = [(".index", bytes(self._offsets)), (".timeindex", bytes(self._times))]
        if transactions:
            indexes.append((".txnindex", encode_transactions(transactions)))
        for suffix, data in indexes:
            fd = os.open(self._path(suffix), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
            try:
                _write_all(fd, data)
                os.fsync(fd)
            finally:
                os.close(fd)
        return CleanedSegment(
            self._directory,
            self._base_offset,
            self.size,
            self._max_timestamp,
            self._max_timestamp_offset,
            (".log", *(suffix for suffix, _ in indexes)),
        )

    def abandon(self) -> None:
        """Remove what was written."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        for suffix in SUFFIXES:
            with contextlib.suppress(OSError):  # a start removes what is left
                os.unlink(self._path(suffix))


def _write_all(fd: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]

"""Compaction of one log, in a thread: read the dirty part, then write all segments anew without what is superseded.

    compacted = compact(job, pace, report)      # report is called with each Replacement, as soon as it is on disk

Rules
- The thread gets immutable arguments, opens files by their paths, and writes `.cleaned` files. It never touches the
  log: the loop puts in what is reported (cleaner.py), after a look at what has changed meanwhile.
- First pass: the dirty batches, from the first dirty offset up to the end or until the map of keys is full. Second
  pass: all segments from the first to where the map ends, several small ones into one.
- A file that is gone, because the log was cut or deleted, ends the job (Abandoned), and so does a damaged batch
  (ProtocolError): what cannot be read is not rewritten.

Not here: which log is cleaned and how far (cleanable.py), what is kept of a batch (cleaned_batch.py), the swap
(local_log.py). Sources: Kafka's Cleaner.
"""

import os
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from attrs import frozen

from pykbroker.log.cleaned_batch import BatchFilter, KeepRules, batch_data
from pykbroker.log.cleaned_segment import CleanedSegment, SegmentWriter
from pykbroker.log.cleaned_transactions import CleanedTransactions
from pykbroker.log.key_offsets import KeyOffsets
from pykbroker.log.segment import MAX_RELATIVE_OFFSET, file_name
from pykbroker.log.transaction_index import AbortedTransaction
from wire.errors import ProtocolError
from wire.records import BATCH_HEADER_SIZE, HEADER, MAGIC, BatchHeader

_LEAST_WAIT_S = 0.001
_LONGEST_WAIT_S = 0.5  # how soon another bound counts
_UNLIMITED = 1e15  # bytes a second


class Abandoned(Exception):
    """The job is not wanted any more, or its files are gone."""


@frozen(eq=False)
class SourceSegment:
    base_offset: int
    end_offset: int
    size: int


@frozen(eq=False)
class CompactionJob:
    """What the thread is given. `sources`: all segments up to the last that may be cleaned."""

    directory: str
    sources: tuple[SourceSegment, ...]
    rules: KeepRules
    aborted: tuple[AbortedTransaction, ...]
    segment_bytes: int
    segment_index_bytes: int
    index_interval_bytes: int
    max_keys: int
    buffer_bytes: int


@frozen(eq=False)
class Replacement:
    """The segments of these base offsets are now one."""

    base_offsets: tuple[int, ...]
    cleaned: CleanedSegment


@frozen
class Compacted:
    """The log is clean below `end_offset`."""

    end_offset: int
    keys: int  # different ones in the dirty part; `max_keys` of the job, or nearly, where there was room for no more
    read_bytes: int
    written_bytes: int


class Throttle:
    """Bounds the bytes a second of all threads together; the bound may change while they wait."""

    def __init__(self, bytes_per_second: float, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._bytes_per_second = bytes_per_second
        self._monotonic_s = monotonic_s
        self._lock = threading.Lock()
        self._since_s = monotonic_s()
        self._taken = 0.0
        self._allowed = 0.0  # bytes, up to `_since_s`

    def change(self, bytes_per_second: float) -> None:
        with self._lock:
            self._count_on()
            self._bytes_per_second = bytes_per_second

    def take(self, size: int) -> float:
        """Take `size` bytes; return what to ask `wait_s` with."""
        with self._lock:
            self._count_on()
            self._taken = max(self._taken, self._allowed) + size  # what nobody took meanwhile is not saved up
            return self._taken

    def wait_s(self, taken: float) -> float:
        """Return how long to wait until so many bytes are allowed."""
        with self._lock:
            if not self._is_limited:
                return 0.0
            self._count_on()
            return (taken - self._allowed) / self._bytes_per_second

    @property
    def _is_limited(self) -> bool:
        return 0 < self._bytes_per_second < _UNLIMITED

    def _count_on(self) -> None:
        now_s = self._monotonic_s()
        self._allowed += (now_s - self._since_s) * self._bytes_per_second if self._is_limited else 0
        self._since_s = now_s
        if not self._is_limited:
            self._allowed = self._taken


class Pace:
    """Lets a job be stopped, and keeps it within its rate."""

    def __init__(self, throttle: Throttle) -> None:
        self.stopped = threading.Event()
        self._throttle = throttle

    def moved(self, size: int) -> None:
        """Call after each piece that was read or written. Raises: Abandoned."""
        taken = self._throttle.take(size)
        while (wait_s := self._throttle.wait_s(taken)) > _LEAST_WAIT_S and not self.stopped.is_set():
            self.stopped.wait(min(wait_s, _LONGEST_WAIT_S))
        if self.stopped.is_set():
            raise Abandoned


def compact(job: CompactionJob, pace: Pace, report: Callable[[Replacement], None]) -> Compacted:
    """Clean a log.

    Raises: Abandoned, OSError, ProtocolError. What was reported stays valid.
    """
    keys = KeyOffsets(job.rules.start_offset, job.max_keys)
    try:
        _map_keys(job, keys, pace)
        sources = [source for source in job.sources if source.base_offset < keys.end_offset]
        transactions = CleanedTransactions(job.aborted)
        batch_filter = BatchFilter(job.rules, keys, transactions)
        written_bytes = 0
        for group in group_segments(job, sources):
            replacement = _clean_group(job, group, batch_filter, transactions, pace)
            written_bytes += replacement.cleaned.size
            report(replacement)
        key_count = len(keys.latest)
    except FileNotFoundError:
        raise Abandoned from None
    finally:
        keys.release()
    return Compacted(keys.end_offset, key_count, sum(source.size for source in sources), written_bytes)


def _map_keys(job: CompactionJob, keys: KeyOffsets, pace: Pace) -> None:
    start_offset = job.rules.start_offset
    transactions = CleanedTransactions(job.aborted)
    for source in job.sources:
        if source.end_offset <= start_offset:
            continue
        for header, batch in _batches(job, source, pace):
            is_discarded = transactions.discards(header, batch)
            if header.last_offset < start_offset:
                continue
            if not (
                is_discarded
                or header.is_control
                or keys.add(batch_data(header, batch), header.record_count, header.base_offset, start_offset)
            ):
                keys.finish()
                return
            keys.end_offset = header.last_offset + 1
        keys.end_offset = source.end_offset
    keys.finish()


def group_segments(job: CompactionJob, sources: Sequence[SourceSegment]) -> list[list[SourceSegment]]:
    """Put neighbours together that fit into one segment, with their indexes and offsets. Raises: OSError."""
    groups: list[list[SourceSegment]] = []
    bytes_left = index_left = time_left = 0
    for source in sources:
        index_bytes, time_bytes = (_size(job, source, suffix) for suffix in (".index", ".timeindex"))
        bytes_left -= source.size
        index_left -= index_bytes
        time_left -= time_bytes
        if (
            not groups
            or min(bytes_left, index_left, time_left) < 0
            or source.end_offset - 1 - groups[-1][0].base_offset > MAX_RELATIVE_OFFSET
        ):
            groups.append([])
            bytes_left = job.segment_bytes - source.size
            index_left = job.segment_index_bytes - index_bytes
            time_left = job.segment_index_bytes - time_bytes
        groups[-1].append(source)
    return groups


def _path(job: CompactionJob, source: SourceSegment, suffix: str) -> str:
    return os.path.join(job.directory, file_name(source.base_offset, suffix))


def _size(job: CompactionJob, source: SourceSegment, suffix: str) -> int:
    try:
        return os.stat(_path(job, source, suffix)).st_size
    except FileNotFoundError:
        return 0


def _clean_group(
    job: CompactionJob,
    group: list[SourceSegment],
    batch_filter: BatchFilter,
    transactions: CleanedTransactions,
    pace: Pace,
) -> Replacement:
    writer = SegmentWriter(job.directory, group[0].base_offset, job.index_interval_bytes)
    transactions.retained = []
    try:
        for source in group:
            written = writer.size
            for header, batch in _batches(job, source, pace):
                kept = batch_filter.keep(header, batch)
                if kept is not None:
                    writer.append(kept)
            pace.moved(writer.size - written)
        modified_ns = os.stat(_path(job, group[-1], ".log")).st_mtime_ns
        cleaned = writer.finish(transactions.retained, modified_ns)
    except BaseException:
        writer.abandon()
        raise
    return Replacement(tuple(source.base_offset for source in group), cleaned)


def _batches(job: CompactionJob, source: SourceSegment, pace: Pace) -> Iterator[tuple[BatchHeader, memoryview]]:
    """Yield the batches of a segment. Raises: OSError; ProtocolError where there is none at a position."""
    fd = os.open(_path(job, source, ".log"), os.O_RDONLY | os.O_CLOEXEC)
    unpack, new = HEADER.unpack_from, BatchHeader._make
    try:
        start, chunk, position, lowest = 0, memoryview(b""), 0, source.base_offset
        wanted = BATCH_HEADER_SIZE
        while position < source.size:
            if position - start + wanted > len(chunk):
                length = min(max(wanted, job.buffer_bytes), source.size - position)
                start, chunk = position, memoryview(os.pread(fd, length, position))
                pace.moved(len(chunk))
            offset = position - start
            try:
                header = new(unpack(chunk, offset))
            except struct.error:
                raise ProtocolError(f"no batch at position {position} of segment {source.base_offset}") from None
            size = header.batch_length + 12
            if (
                header.magic != MAGIC
                or size < BATCH_HEADER_SIZE
                or position + size > source.size
                or header.base_offset < lowest
                or header.last_offset_delta < 0
            ):
                raise ProtocolError(f"no batch at position {position} of segment {source.base_offset}")
            if offset + size > len(chunk):
                if start == position and size <= wanted:
                    raise ProtocolError(f"segment {source.base_offset} is shorter than it was")
                wanted = size
                continue
            wanted = BATCH_HEADER_SIZE
            lowest = header.base_offset + header.last_offset_delta + 1
            yield header, chunk[offset : offset + size]
            position += size
    finally:
        os.close(fd)

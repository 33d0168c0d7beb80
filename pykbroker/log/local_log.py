"""The segments of one log: where the next batch goes, and where a batch is.

Owns: the list of segments, the active one last; positions of the newest batches.

Rules
- Segments follow one another without overlap; the base offset of each is the end offset of the one before.
- The end of the log is read without the index or the file: the positions of the newest batches are kept in memory.
- A removed segment's files get the suffix `.deleted` at once and go after `file.delete.delay.ms`.

Not here: what offsets a batch gets, producers, epochs (partition_log.py). Sources: Kafka's LocalLog, LogSegments.
"""

import os
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import pairwise

from pykbroker.log.cleaned_segment import CLEANED, SWAP, CleanedSegment
from pykbroker.log.files import FileSlice, LogFile
from pykbroker.log.rules import AppendRules
from pykbroker.log.segment import MAX_RELATIVE_OFFSET, Segment
from pykbroker.log.storage import LogDirectory
from pykbroker.log.transaction_index import AbortedTransaction
from wire.schema import RecordBytes

DELETED = ".deleted"
_RECENT_BATCHES = 256
_NEVER = 0x7FFFFFFFFFFFFFFF


class LocalLog:
    __slots__ = (
        "_bases",
        "_index_full",
        "_recent_offsets",
        "_recent_positions",
        "_roll_timestamp",
        "active",
        "directory",
        "removed_bytes",
        "segments",
        "size_bytes",
        "storage",
    )

    def __init__(self, directory: str, storage: LogDirectory, segments: list[Segment]) -> None:
        """Take over the segments of a directory, at least one, the last of which knows its end offset."""
        self.directory = directory
        self.storage = storage
        self.segments = segments
        self._bases = [segment.base_offset for segment in segments]
        self.active = segments[-1]
        self.size_bytes = sum(segment.size for segment in segments)
        self.removed_bytes = 0  # since it was opened, by retention, truncation and compaction
        for segment, following in pairwise(segments):
            segment.end_offset = following.base_offset
        self._roll_timestamp = -2  # younger batches need a closer look
        self._index_full = False
        # Last offset and position of the newest batches in the active segment. The first entry only bounds the others.
        self._recent_offsets: array[int] | None = None
        self._recent_positions: array[int] | None = None

    # --- appending

    def append(self, rules: AppendRules, records: RecordBytes, last_offset: int, youngest: int, now: int) -> bool:
        """Write one stamped batch, or return False: it belongs into a new segment.

        Raises: OSError; then nothing is changed.
        """
        active = self.active
        position, size = active.size, len(records)
        if position and (
            position + size > rules.segment_bytes
            or last_offset - active.base_offset > MAX_RELATIVE_OFFSET
            or self._index_full
        ):
            return False
        if youngest > self._roll_timestamp and self._is_old(rules, youngest, now):
            return False
        end_offset = active.end_offset
        if active.append(records, size, last_offset, youngest, rules.index_interval_bytes):
            self._index_full = active.index_is_full(rules.segment_index_bytes)
        self.size_bytes += size
        offsets, positions = self._recent_offsets, self._recent_positions
        if offsets is None or positions is None:
            offsets, positions = array("q", (end_offset - 1,)), array("q", (position,))
            self._recent_offsets, self._recent_positions = offsets, positions
        offsets.append(last_offset)
        positions.append(position)
        if len(offsets) > _RECENT_BATCHES:
            del offsets[: _RECENT_BATCHES // 2]
            del positions[: _RECENT_BATCHES // 2]
        return True

    def _is_old(self, rules: AppendRules, youngest: int, now: int) -> bool:
        active = self.active
        wait_ms = rules.segment_ms
        if rules.segment_jitter_ms:
            # Spreads the rolls of partitions that were created together.
            wait_ms -= zlib.crc32(active.file.path.encode()) % rules.segment_jitter_ms
        if not active.size:
            self._roll_timestamp = youngest + wait_ms if youngest >= 0 else -2
            return False
        begun = active.first_timestamp
        if begun < 0:  # no timestamps: the time since the segment was made counts, at every append
            return now - active.created_ms > wait_ms
        self._roll_timestamp = begun + wait_ms
        return youngest > self._roll_timestamp

    def config_changed(self) -> None:
        self._roll_timestamp = -2

    def add_segment(self, base_offset: int, now: int) -> Segment:
        """Make a new, empty segment the active one."""
        segment = Segment(self.directory, base_offset, self.storage.pool, created_ms=now)
        self.segments.append(segment)
        self._bases.append(base_offset)
        self._set_active(segment)
        return segment

    def _set_active(self, segment: Segment) -> None:
        self.active = segment
        self._index_full = False
        self._roll_timestamp = -2
        self._recent_offsets = self._recent_positions = None

    # --- reading

    def number_of(self, offset: int) -> int:
        """Return which segment holds `offset`, or would."""
        return max(bisect_right(self._bases, offset) - 1, 0)

    def from_offset(self, offset: int) -> list[Segment]:
        """Return the segment that holds `offset`, and those after it."""
        return self.segments[self.number_of(offset) :]

    def read(self, offset: int, max_bytes: int, end_offset: int, min_one_batch: bool) -> FileSlice | None:
        """See PartitionLog.read. Raises: OSError, CORRUPT_MESSAGE."""
        active = self.active
        segments: Iterable[Segment] = (active,) if offset >= active.base_offset else self.from_offset(offset)
        for segment in segments:
            found = self.find(segment, offset)
            if found is None:
                continue  # compaction took the end of the segment
            position, batch_size, base_offset = found
            if base_offset >= end_offset:
                return None
            end = segment.size
            if end_offset < segment.end_offset:
                found = self.find(segment, end_offset)
                if found is not None:
                    end = found[0]
            available = end - position
            length = max_bytes if max_bytes < available else available
            if length < batch_size:
                if not min_one_batch:
                    return None
                length = min(batch_size, available)
            if length <= 0:
                return None
            segment.file.used = True
            return FileSlice(segment.file.open_file or segment.file.open(), position, length)
        return None

    def find(self, segment: Segment, offset: int) -> tuple[int, int, int] | None:
        """Find the first batch of a segment that ends at or above `offset`: (position, size, base offset).

        The base offset is exact, unless it is below `offset`. Raises: OSError, CORRUPT_MESSAGE.
        """
        offsets, positions = self._recent_offsets, self._recent_positions
        if segment is self.active and offsets is not None and positions is not None and offset > offsets[0]:
            number = bisect_left(offsets, offset)
            if number == len(offsets):
                return None
            position = positions[number]
            end = positions[number + 1] if number + 1 < len(positions) else segment.size
            return position, end - position, offset
        return segment.find(offset)

    def bytes_between(self, offset: int, end_offset: int) -> int:
        """Estimate how many bytes lie between two offsets, within the distance of index entries. Raises: OSError."""
        first, last = self.number_of(offset), self.number_of(end_offset - 1)
        total = sum(segment.size for segment in self.segments[first:last])
        total -= self._position_estimate(self.segments[first], offset)
        return max(total + self._position_estimate(self.segments[last], end_offset), 1)

    def _position_estimate(self, segment: Segment, offset: int) -> int:
        if offset >= segment.end_offset:
            return segment.size
        offsets, positions = self._recent_offsets, self._recent_positions
        if segment is self.active and offsets is not None and positions is not None and offset > offsets[0]:
            return positions[bisect_left(offsets, offset)]
        segment.check_indexes()
        return segment.offset_index.lookup(offset)[1]

    def aborted_transactions(
        self, offset: int, end_offset: int, end_position: int | None = None
    ) -> list[AbortedTransaction]:
        """Return the aborted transactions with records from `offset` up to `end_offset`. Raises: OSError.

        With an `end_position` a read of one segment ended there: what lies behind the next entry of its index, or
        behind the segment, does not count.
        """
        segments = [segment for segment in self.from_offset(offset) if segment.transaction_index]
        if not segments:
            return []
        if end_position is not None:
            end_offset = min(end_offset, self._end_of_read(offset, end_position))
        found: list[AbortedTransaction] = []
        for segment in segments:
            for transaction in segment.transaction_index.ending_from(offset):
                if transaction.first_offset < end_offset:
                    found.append(transaction)
                if transaction.last_stable_offset >= end_offset:
                    return found
        return found

    def _end_of_read(self, offset: int, end_position: int) -> int:
        """Return an offset at which a read from `offset` to a position of its segment had ended. Raises: OSError."""
        for segment in self.from_offset(offset):
            if self.find(segment, offset) is not None:
                segment.check_indexes()
                behind = segment.offset_index.offset_behind(end_position)
                return segment.end_offset if behind is None else behind
        return self.active.end_offset

    # --- removing

    def remove_first(self, count: int) -> list[Segment]:
        """Take the first segments out of the log; at least one stays."""
        removed, self.segments = self.segments[:count], self.segments[count:]
        del self._bases[:count]
        self._resized(self.size_bytes - sum(segment.size for segment in removed))
        return removed

    def _resized(self, size_bytes: int) -> None:
        """Note the new size, which is another for a reason other than an append."""
        self.removed_bytes += self.size_bytes - size_bytes
        self.size_bytes = size_bytes

    def truncate(self, offset: int) -> list[Segment]:
        """Remove the batches at and above `offset`, and those that hold it; return the segments taken out.

        Raises: OSError, CORRUPT_MESSAGE.
        """
        keep = self.number_of(offset) + 1
        removed = self.segments[keep:]
        del self.segments[keep:]
        del self._bases[keep:]
        self._set_active(self.segments[-1])
        found = self.active.find(offset)
        if found is not None:
            self.active.truncate(found[0], offset)
        self.active.end_offset = offset
        self._resized(sum(segment.size for segment in self.segments))
        return removed

    def replace(self, base_offsets: Sequence[int], cleaned: CleanedSegment, delay_ms: int) -> list[Segment] | None:
        """Put one segment, still under its temporary names, in the place of several; return these.

        None where they are not there any more. After a crash in the middle the next start finds either the old ones,
        or, from the moment when all names end in `.swap`, the new one. Raises: OSError.
        """
        first = bisect_left(self._bases, base_offsets[0])
        last = first + len(base_offsets)
        if self._bases[first:last] != list(base_offsets) or last >= len(self._bases):
            return None
        removed = self.segments[first:last]
        for suffix in cleaned.suffixes:
            os.rename(cleaned.path(suffix) + CLEANED, cleaned.path(suffix) + SWAP)
        self.discard(removed, delay_ms)
        for suffix in cleaned.suffixes:
            os.rename(cleaned.path(suffix) + SWAP, cleaned.path(suffix))
        segment = Segment(
            self.directory,
            cleaned.base_offset,
            self.storage.pool,
            created_ms=removed[-1].created_ms,
            size=cleaned.size,
            is_new=False,
        )
        segment.set_recovered(removed[-1].end_offset, cleaned.max_timestamp, cleaned.max_timestamp_offset)
        self.segments = [*self.segments[:first], segment, *self.segments[last:]]
        self._bases[first:last] = [segment.base_offset]
        self._resized(self.size_bytes + segment.size - sum(old.size for old in removed))
        return removed

    def discard(self, segments: list[Segment], delay_ms: int) -> None:
        """Rename the files of segments that were taken out, and remove them later. Raises: OSError."""
        files: list[LogFile] = []
        for segment in segments:
            for file in segment.files():
                file.close()
                file.rename(file.path + DELETED)
                files.append(file)
        remove_later(self.storage, [file.path for file in files], delay_ms)

    def close(self) -> None:
        for segment in self.segments:
            segment.close()


def remove_later(storage: LogDirectory, paths: list[str], delay_ms: int) -> None:
    """Remove files after a delay; those that are gone by then are none of our business."""

    def remove() -> None:
        for path in paths:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                storage.failed(error)

    if paths:
        storage.clock.call_later(delay_ms, remove)

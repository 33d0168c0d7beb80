"""Searches by timestamp, for ListOffsets. They read records, decompressing the one batch that has the answer.

Sources: Kafka's LogSegment.findOffsetByTimestamp, UnifiedLog.fetchOffsetByTimestamp; KIP-734 (the youngest record).
"""

from collections.abc import Iterator, Sequence

from pykbroker.errors import KafkaError
from pykbroker.log.segment import BrokenSegmentError, Segment
from wire.errors import ErrorCode, LimitError, ProtocolError
from wire.record_walk import walk_records
from wire.records import BatchHeader

Found = tuple[int, int, int]  # timestamp, offset, leader epoch


def offset_for_timestamp(
    segments: Sequence[Segment], timestamp: int, log_start_offset: int, max_batch_bytes: int
) -> Found | None:
    """Find the first record at or above `log_start_offset` that is not older than `timestamp`.

    Raises: OSError, CORRUPT_MESSAGE.
    """
    for segment in segments:
        if segment.end_offset <= log_start_offset or segment.max_timestamp < timestamp:
            continue
        segment.check_indexes()
        start_offset = max(segment.time_index.lookup(timestamp), log_start_offset)
        for header, position in _headers_from(segment, start_offset):
            if header.max_timestamp < timestamp or header.last_offset < log_start_offset:
                continue
            for found, offset in _records(segment, header, position, max_batch_bytes, log_start_offset):
                if found >= timestamp:
                    return found, offset, header.partition_leader_epoch
    return None


def offset_of_max_timestamp(segments: Sequence[Segment], max_batch_bytes: int) -> Found | None:
    """Find the first of the youngest records. Raises: OSError, CORRUPT_MESSAGE."""
    youngest = max(segments, key=lambda segment: segment.max_timestamp, default=None)
    if youngest is None or youngest.max_timestamp < 0:
        return None
    for header, position in _headers_from(youngest, youngest.max_timestamp_offset):
        for timestamp, offset in _records(youngest, header, position, max_batch_bytes):
            if timestamp >= header.max_timestamp:
                return timestamp, offset, header.partition_leader_epoch
        break
    return None


def _headers_from(segment: Segment, offset: int) -> Iterator[tuple[BatchHeader, int]]:
    """Yield the batches from the one that holds `offset` on. Raises: OSError, CORRUPT_MESSAGE."""
    found = segment.find(offset)
    if found is None:
        return
    try:
        yield from segment.headers(found[0])
    except BrokenSegmentError as broken:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"no batch begins at position {broken.position}") from None


def _records(
    segment: Segment, header: BatchHeader, position: int, max_batch_bytes: int, start_offset: int = 0
) -> Iterator[tuple[int, int]]:
    """Yield timestamp and offset of the records of a batch that are not below `start_offset`.

    Where a batch is too much to walk, its first record stands for the rest: who reads from there misses nothing.
    Raises: OSError, CORRUPT_MESSAGE.
    """
    try:
        for offset, timestamp, _, _ in walk_records(segment.file.read_at(position, header.size), max_batch_bytes):
            if offset >= start_offset:
                yield timestamp, offset
    except LimitError:
        yield header.max_timestamp, max(header.base_offset, start_offset)
    except ProtocolError as error:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{error}, at position {position} of {segment.file.path}") from None

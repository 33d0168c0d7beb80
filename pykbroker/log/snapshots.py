"""Producer snapshots on disk, and rebuilding producer states from them and the batches after them.

Rules
- A snapshot is written where a segment begins, and at the end of the log when it is closed.
- One that is cut or garbage is deleted and the one before is taken: batches tell the rest.

Not here: the format (producer_state.py). Sources: Kafka's ProducerStateManager, UnifiedLog.rebuildProducerState.
"""

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pykbroker.log.files import write_atomically
from pykbroker.log.local_log import DELETED
from pykbroker.log.producer_state import MAX_BATCHES, ProducerBatch, ProducerStates
from pykbroker.log.segment import BrokenSegmentError, Segment, file_name
from wire.errors import ProtocolError

if TYPE_CHECKING:
    from pykbroker.log.partition_log import PartitionLog

logger = logging.getLogger(__name__)

SUFFIX = ".snapshot"
RECALL_BYTES = 16 * 1024 * 1024  # of the log's end are searched for a producer's earlier batches


def write(directory: str, offset: int, producers: ProducerStates) -> None:
    """Write the state of the producers before `offset`. Raises: OSError."""
    write_atomically(os.path.join(directory, file_name(offset, SUFFIX)), producers.encode(), sync=False)


def offsets(directory: str) -> list[int]:
    """Return the offsets of the snapshots, ascending. Raises: OSError."""
    names = (name for name in os.listdir(directory) if name.endswith(SUFFIX))
    return sorted(int(stem) for name in names if (stem := name.removesuffix(SUFFIX)).isdecimal())


def discard(directory: str, offsets: list[int]) -> list[str]:
    """Rename the snapshots at these offsets; return their paths, to be removed later. Raises: OSError."""
    paths = []
    for offset in offsets:
        path = os.path.join(directory, file_name(offset, SUFFIX))
        try:
            os.rename(path, path + DELETED)
        except FileNotFoundError:
            continue
        paths.append(path + DELETED)
    return paths


def remove_above(directory: str, offset: int) -> None:
    """Remove the snapshots after `offset`. Raises: OSError."""
    for found in offsets(directory):
        if found > offset:
            os.unlink(os.path.join(directory, file_name(found, SUFFIX)))


def remove_stray(directory: str, base_offsets: set[int]) -> None:
    """Remove the snapshots that belong to no segment, except the newest. Raises: OSError."""
    for found in offsets(directory)[:-1]:
        if found not in base_offsets:
            os.unlink(os.path.join(directory, file_name(found, SUFFIX)))


def rebuild_producers(log: "PartitionLog", segments: Sequence[Segment], end_offset: int) -> ProducerStates:
    """Return the producers' states at `end_offset`, where `segments`, the first of a log, end.

    Segments that begin after the newest snapshot get one. Raises: OSError.
    """
    directory = str(log.directory)
    producers, start_offset = _newest(log, directory, end_offset)
    for segment in segments:
        if segment.end_offset <= start_offset or not segment.size:
            continue
        if segment.base_offset > start_offset:
            write(directory, segment.base_offset, producers)
        position = 0
        if start_offset > segment.base_offset:
            found = segment.find(start_offset)
            if found is None:
                continue
            position = found[0]
        segment.check_indexes()
        try:
            for header, where in segment.headers(position):
                if header.producer_id < 0 or header.base_offset < start_offset:
                    continue
                batch = memoryview(segment.file.read_at(where, header.size)) if header.is_control else _NO_BYTES
                producers.update_from_batch(header, batch)
        except (BrokenSegmentError, ProtocolError) as error:
            logger.error("%s: producer states are incomplete: %s", segment.file.path, error)
    return producers


def recall(log: "PartitionLog", producer_id: int) -> bool:
    """Find what a snapshot did not tell of a producer: its batches before the known ones, in the last RECALL_BYTES.

    Returns whether there were any; looks once only. Raises: OSError.
    """
    state = log.producers.producers.get(producer_id)
    if state is None or not state.has_forgotten:
        return False
    before = state.batches[0].base_offset if state.batches else log.log_end_offset
    found: list[ProducerBatch] = []
    room = RECALL_BYTES
    for segment in reversed(log.segments):
        if room <= 0 or len(found) >= MAX_BATCHES:
            break
        found[:0] = _batches_of(producer_id, state.producer_epoch, segment, before, room)
        room -= segment.size
    state.recall(found)
    return bool(found)


def _batches_of(producer_id: int, epoch: int, segment: Segment, before: int, room: int) -> list[ProducerBatch]:
    """Return a producer's batches below `before` in about the last `room` bytes of a segment. Raises: OSError."""
    position = 0
    if segment.size > room:
        share = (segment.end_offset - segment.base_offset) * room // segment.size
        found = segment.find(segment.end_offset - share)
        position = found[0] if found is not None else segment.size
    batches = []
    try:
        for header, _ in segment.headers(position):
            if header.base_offset >= before:
                break
            if header.producer_id == producer_id and header.producer_epoch == epoch and not header.is_control:
                batches.append(ProducerBatch.of(header))
    except BrokenSegmentError as error:
        logger.error("%s: batches of producer %d are not found: %s", segment.file.path, producer_id, error)
    return batches


def _newest(log: "PartitionLog", directory: str, end_offset: int) -> tuple[ProducerStates, int]:
    """Load the newest usable snapshot at or below `end_offset`; return it with its offset."""
    storage = log.log_directory
    for offset in reversed(offsets(directory)):
        if offset > end_offset or offset < log.log_start_offset:
            continue
        path = os.path.join(directory, file_name(offset, SUFFIX))
        producers = ProducerStates(log.topic_partition)
        try:
            with open(path, "rb") as file:
                data = file.read()
            producers.decode(data, now_ms=storage.clock.time_ms(), expiration_ms=storage.producer_id_expiration_ms)
        except ValueError as error:
            logger.warning("%s: %s; removed", path, error)
            os.unlink(path)
            continue
        return producers, offset
    return ProducerStates(log.topic_partition), log.log_start_offset


_NO_BYTES = memoryview(b"")

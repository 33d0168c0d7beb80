"""Files of a partition's folder as annotated trees: segments batch by batch, and what lies beside them.

What a file is, its name tells: `.log`, `.index`, `.timeindex`, `.txnindex`, `.snapshot`, and `.checkpoint` for the
snapshots of `__cluster_metadata`, which are segments, too; which topic it is of, its folder's, such as
`__consumer_offsets-12`, or its first record. Others, such as `leader-epoch-checkpoint`, are text already (`is_text`).

Not here: reading on in the files (decode_command), what is in a batch (records).
"""

import re
from collections.abc import Callable
from pathlib import Path, PurePath

from wire.messages.control_records import AbortedTxn, ProducerSnapshot
from wire.records import BATCH_OVERHEAD
from wire.schema import Kind
from wire.study.contents import CLUSTER_METADATA, COORDINATOR_TOPICS, Contents, read_topic
from wire.study.explain import time_text
from wire.study.internal_records import is_metadata
from wire.study.tree import Node
from wire.study.walk import MAX_NODES, Walker

BATCH_START_BYTES = BATCH_OVERHEAD  # what tells how long a batch is
MAX_BATCH_BYTES = 1024 * 1024 * 1024
_MAX_METADATA_BATCH_BYTES = 8 * 1024 * 1024  # that a controller writes
SEGMENT_SUFFIXES = (".log", ".checkpoint")
_TEXTS = ("partition.metadata", "meta.properties", ".kafka_cleanshutdown", "quorum-state")
_FOLDER = re.compile(r"(.+)-\d+(?:\.[0-9a-f]+-(?:delete|future|stray))?")


def is_text(path: PurePath) -> bool:
    """Tell whether a file of a data folder is one that people can read as it is."""
    return path.name in _TEXTS or path.name.endswith("-checkpoint")


def topic_of(path: Path) -> str | None:
    """Return whose records a segment has. Those of controllers are known wherever they lie. Raises: OSError."""
    match = _FOLDER.fullmatch(path.absolute().parent.name)
    topic = match[1] if match else None
    if topic in (*COORDINATOR_TOPICS, CLUSTER_METADATA):
        return topic
    with path.open("rb") as file:
        start = file.read(BATCH_START_BYTES)
        size = batch_bytes(start)
        first = start + file.read(size - len(start)) if size <= _MAX_METADATA_BATCH_BYTES else b""
    return CLUSTER_METADATA if path.suffix == ".checkpoint" or is_metadata(first) else topic


def batch_bytes(start: bytes) -> int:
    """Return the size of the batch that begins so; what makes no sense is taken for the rest of the file."""
    size = BATCH_OVERHEAD + int.from_bytes(start[8:12], "big", signed=True)
    return size if BATCH_OVERHEAD < size <= MAX_BATCH_BYTES else MAX_BATCH_BYTES


def walk_segment_batch(batch: bytes, topic: str | None) -> Node:
    root = Node("batch", "RecordBatch", 0, len(batch))
    read_topic(Walker(batch, root, contents=Contents()), root, topic)
    return root


def walk_index(suffix: str, data: bytes) -> Node | None:
    """Read the file beside a segment, None where the name says that it is none."""
    read = _READERS.get(suffix)
    if read is None:
        return None
    root = Node(suffix.removeprefix("."), "file", 0, len(data))
    walker = Walker(data, root, max_nodes=MAX_NODES)
    walker.guarded(lambda: _entries(walker, read))
    return root


def _entries(walker: Walker, read: Callable[[Walker], None]) -> None:
    number = 0
    while walker.pos < walker.end:
        if not any(walker.buffer[walker.pos : walker.pos + 4096]) and not any(walker.buffer[walker.pos :]):
            walker.raw("unused", walker.end - walker.pos)  # an active segment's index has room ahead
            return
        with walker.group(f"[{number}]", "entry"):
            read(walker)
        number += 1


def _offset_entry(walker: Walker) -> None:
    walker.fixed("relative_offset", Kind.UINT32)
    walker.fixed("position", Kind.UINT32)


def _time_entry(walker: Walker) -> None:
    node = walker.fixed("timestamp", Kind.INT64)
    node.note = time_text(node.value)
    walker.fixed("relative_offset", Kind.UINT32)


def _aborted_transaction(walker: Walker) -> None:
    walker.fixed("version", Kind.INT16)
    walker.message(AbortedTxn, 0)


def _snapshot(walker: Walker) -> None:
    walker.fixed("version", Kind.INT16)
    walker.message(ProducerSnapshot, 1)


_READERS: dict[str, Callable[[Walker], None]] = {
    ".index": _offset_entry,
    ".timeindex": _time_entry,
    ".txnindex": _aborted_transaction,
    ".snapshot": _snapshot,
}

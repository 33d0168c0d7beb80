"""Record batches as annotated trees: headers, records, what is compressed in a buffer of its own.

Rules
- A last batch that is cut short, as a fetch may bring one, is no error. Neither are messages of the formats before v2,
  which stay bytes where they are no such messages; what is compressed in them stays bytes, too.
- Keys and values are given to `contents`, which knows the records of internal topics and control records.

Not here: what keys and values mean (contents). The format itself stands in wire.records.
"""

import struct
import zlib
from collections.abc import Callable

from wire.compression import decompress
from wire.errors import ProtocolError
from wire.records import (
    BATCH_HEADER_SIZE,
    BATCH_OVERHEAD,
    CODEC_MASK,
    CONTROL_BIT,
    DELETE_HORIZON_BIT,
    LOG_APPEND_TIME_BIT,
    MAGIC,
    MAGIC_POSITION,
    TRANSACTIONAL_BIT,
    BatchHeader,
    batch_crc,
    codec_of,
    read_batch_header,
)
from wire.schema import Kind
from wire.study.explain import time_text
from wire.study.tree import Inner, Node, NoValue
from wire.study.walk import Walker

# Asked of each record: (walker, the batch's header, the nodes of its key and its value).
RecordContents = Callable[[Walker, BatchHeader, Node, Node], None]

_HEADER_KINDS = {
    "base_offset": Kind.INT64,
    "batch_length": Kind.INT32,
    "partition_leader_epoch": Kind.INT32,
    "magic": Kind.INT8,
    "crc": Kind.UINT32,
    "attributes": Kind.INT16,
    "last_offset_delta": Kind.INT32,
    "base_timestamp": Kind.INT64,
    "max_timestamp": Kind.INT64,
    "producer_id": Kind.INT64,
    "producer_epoch": Kind.INT16,
    "base_sequence": Kind.INT32,
    "record_count": Kind.INT32,
}


def walk_batches(walker: Walker, contents: RecordContents | None = None) -> None:
    """Read record batches, from where the walker is to its end, below the node that is open."""
    number = 0
    while walker.pos < walker.end:
        left = walker.end - walker.pos
        if left > MAGIC_POSITION:
            (length,) = struct.unpack_from(">i", walker.buffer, walker.pos + 8)
            size, magic = BATCH_OVERHEAD + length, walker.buffer[walker.pos + MAGIC_POSITION]
            if size < (BATCH_HEADER_SIZE if magic == MAGIC else MAGIC_POSITION):
                raise ProtocolError(f"a record batch of {size} bytes")
            if magic != MAGIC and size <= left:
                _old_message(walker, f"[{number}]", size, magic)
                number += 1
                continue
        if left <= MAGIC_POSITION or size > left:
            walker.raw(f"[{number}]", left).note = "the start of a batch: the size that was asked for ends here"
            return
        end, walker.end = walker.end, walker.pos + size
        with walker.group(f"[{number}]", "RecordBatch") as batch:
            _batch(walker, batch, contents)
        walker.end = end
        number += 1


def _old_message(walker: Walker, name: str, size: int, magic: int) -> None:
    start = walker.pos
    node = walker.raw(name, size)
    node.note = f"a message of the old format {magic}"
    message = Node(name, "Message", start, walker.pos, note=node.note)
    if magic in (0, 1) and walker.inside(walker.buffer, message, lambda inside: _message(inside, magic)):
        walker.open[-1].children[-1] = message


def _message(walker: Walker, magic: int) -> None:
    walker.fixed("offset", Kind.INT64)
    walker.fixed("message_size", Kind.INT32)
    crc = walker.fixed("crc", Kind.UINT32)
    right = zlib.crc32(walker.buffer[walker.pos : walker.end])
    crc.note = "right" if right == crc.value else f"wrong: the bytes have {right}"
    walker.fixed("magic", Kind.INT8)
    attributes = walker.fixed("attributes", Kind.INT8)
    attributes.note = _attributes(attributes.value & (CODEC_MASK | LOG_APPEND_TIME_BIT))
    if magic:
        timestamp = walker.fixed("timestamp", Kind.INT64)
        timestamp.note = time_text(timestamp.value)
    for name in ("key", "value"):
        with walker.group(name, "bytes") as node:
            length = walker.fixed("length", Kind.INT32)
            length.note = "null" if length.value == -1 else ""
            node.value = None if length.value == -1 else walker.raw("content", length.value).value
    if walker.pos != walker.end:
        raise ProtocolError(f"{walker.end - walker.pos} bytes follow the message")


def _batch(walker: Walker, batch: Node, contents: RecordContents | None) -> None:
    header = read_batch_header(walker.buffer, walker.pos)
    right = batch_crc(walker.buffer[walker.pos : walker.end])
    notes = {
        "attributes": _attributes(header.attributes),
        "base_timestamp": time_text(header.base_timestamp),
        "max_timestamp": time_text(header.max_timestamp),
        "crc": "right" if right == header.crc else f"wrong: the bytes have {right}",
        "last_offset_delta": f"offset {header.last_offset}",
    }
    for name, kind in _HEADER_KINDS.items():
        walker.fixed(name, kind).note = notes.get(name, "")
    batch.note = f"offsets {header.base_offset} to {header.last_offset}"
    if header.attributes & CODEC_MASK:
        _compressed(walker, header, contents)
        return
    with walker.group("records", "[Record]"):
        _records(walker, header, contents)


def _attributes(attributes: int) -> str:
    codec = attributes & CODEC_MASK
    words = [("none", "gzip", "snappy", "lz4", "zstd")[codec] if codec < 5 else f"no codec {codec}"]
    words += [
        word
        for bit, word in (
            (LOG_APPEND_TIME_BIT, "log append time"),
            (TRANSACTIONAL_BIT, "transactional"),
            (CONTROL_BIT, "control"),
            (DELETE_HORIZON_BIT, "base timestamp is the delete horizon"),
        )
        if attributes & bit
    ]
    return ", ".join(words)


def _compressed(walker: Walker, header: BatchHeader, contents: RecordContents | None) -> None:
    node = walker.raw("records", walker.end - walker.pos)
    try:
        codec = codec_of(header.attributes)
        data = decompress(codec, bytes(node.value), walker.decompressed_bytes_left)
    except ProtocolError as error:
        node.error = str(error)
        return
    walker.decompressed_bytes_left -= len(data)
    node.note = f"{codec.name.lower()}, {len(data)} bytes when decompressed"
    root = Node("records", "[Record]", 0, len(data))
    walker.inside(data, root, lambda inside: _records(inside, header, contents))
    node.inner = Inner(f"{codec.name.lower()}, decompressed", data, root)


def _records(walker: Walker, header: BatchHeader, contents: RecordContents | None) -> None:
    if header.record_count < 0:
        raise ProtocolError(f"{header.record_count} records")
    for number in range(header.record_count):
        with walker.group(f"[{number}]", "Record") as node:
            size = walker.varint("length")
            if not 0 <= size <= walker.end - walker.pos:
                raise ProtocolError(f"a record of {size} bytes, where {walker.end - walker.pos} are left")
            end, walker.end = walker.end, walker.pos + size
            _record(walker, header, node, contents)
            if walker.pos != walker.end:
                raise ProtocolError(f"{walker.end - walker.pos} bytes left of a record")
            walker.end = end
    if walker.pos != walker.end:
        raise ProtocolError(f"{walker.end - walker.pos} bytes follow the last record")


def _record(walker: Walker, header: BatchHeader, node: Node, contents: RecordContents | None) -> None:
    walker.fixed("attributes", Kind.INT8)
    walker.varlong("timestamp_delta", lambda delta: time_text(header.base_timestamp + delta))
    offset = header.base_offset + walker.varint("offset_delta")
    node.note = f"offset {offset}"
    key, value = _bytes(walker, "key"), _bytes(walker, "value")
    if contents is not None:
        contents(walker, header, key, value)
    count = walker.varint("header_count")
    if count < 0 or count * 2 > walker.end - walker.pos:
        raise ProtocolError(f"a record of {count} headers")
    for number in range(count):
        with walker.group(f"headers[{number}]", "Header"):
            name = _bytes(walker, "key")
            if name.value is None:
                raise ProtocolError("a record header without a name")
            name.value = str(name.value, "utf-8", "replace")
            _bytes(walker, "value")


def _bytes(walker: Walker, name: str) -> Node:
    with walker.group(name, "bytes") as node:
        size = walker.varint("length", lambda size: "null" if size < 0 else "")
        if size < -1:
            raise ProtocolError(f"a {name} of {size} bytes")
        node.value = None if size < 0 else walker.raw("content", size).value
    assert node.value is not NoValue.CONTAINER
    return node

"""Record batches (magic 2): read their headers, walk them, build them, stamp them.

Format: a header of 61 bytes, big-endian, then the records, compressed together if the attributes say so.
```
 0 base_offset i64 | 8 batch_length i32 (of what follows) | 12 partition_leader_epoch i32 | 16 magic i8 | 17 crc u32
21 attributes i16 | 23 last_offset_delta i32 | 27 base_timestamp i64 | 35 max_timestamp i64 | 43 producer_id i64
51 producer_epoch i16 | 53 base_sequence i32 | 57 record_count i32
```
Attributes: bits 0-2 codec, 3 LogAppendTime, 4 transactional, 5 control, 6 delete horizon (in base_timestamp).
A record is `length varint, attributes i8, timestamp delta varlong, offset delta varint, key, value, headers`, a key or
value being a varint length (-1: null) and its bytes.

Rules: the CRC-32C covers everything from the attributes on, so base offset and leader epoch are stamped in place
without touching it; whatever else is changed needs a new one.

Not here: looking at the records of a large batch without holding them in memory (record_walk).
Sources: KIP-98 (the format), KIP-101 (leader epoch), KIP-534 (delete horizon).
"""

import enum
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wire.compression import Codec, compress, compress_pieces, decompress, decompress_pieces
from wire.crc32c import crc32c
from wire.errors import ProtocolError
from wire.primitives import read_varint, read_varlong, write_varint
from wire.schema import RecordBytes

BATCH_OVERHEAD = 12  # base offset and length: what batch_length does not count
BATCH_HEADER_SIZE = 61
CRC_START = 21
MAGIC = 2
MAGIC_POSITION = 16
ATTRIBUTES_POSITION = 22  # of their low byte, which has all of them

CODEC_MASK = 0x07
LOG_APPEND_TIME_BIT = 0x08
TRANSACTIONAL_BIT = 0x10
CONTROL_BIT = 0x20
DELETE_HORIZON_BIT = 0x40

NO_TIMESTAMP = -1
NO_PRODUCER_ID = -1
MAX_DECOMPRESSED_BYTES = 256 * 1024 * 1024

HEADER = struct.Struct(">qiibIhiqqqhii")
_STAMP = struct.Struct(">qii")
_CRC = struct.Struct(">I")
_CONTROL_KEY = struct.Struct(">hh")
_END_TXN_VALUE = struct.Struct(">hi")


class TimestampType(enum.IntEnum):
    CREATE_TIME = 0
    LOG_APPEND_TIME = 1


class ControlType(enum.IntEnum):
    """What the record of a control batch says about its producer's transaction."""

    ABORT = 0
    COMMIT = 1


class BatchHeader(NamedTuple):
    base_offset: int
    batch_length: int
    partition_leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size(self) -> int:
        return BATCH_OVERHEAD + self.batch_length

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def last_sequence(self) -> int:
        """-1 without a base sequence; sequences wrap from 2^31-1 to 0."""
        return increment_sequence(self.base_sequence, self.last_offset_delta) if self.base_sequence >= 0 else -1

    @property
    def codec(self) -> Codec:
        """Raises: ProtocolError where the codec is unknown."""
        return codec_of(self.attributes)

    @property
    def timestamp_type(self) -> TimestampType:
        return TimestampType(bool(self.attributes & LOG_APPEND_TIME_BIT))

    @property
    def is_transactional(self) -> bool:
        return bool(self.attributes & TRANSACTIONAL_BIT)

    @property
    def is_control(self) -> bool:
        return bool(self.attributes & CONTROL_BIT)

    @property
    def has_delete_horizon(self) -> bool:
        return bool(self.attributes & DELETE_HORIZON_BIT)


class Record(NamedTuple):
    """One record. In `build_batch`, an offset of -1 means the next one, and a timestamp of -1 means none."""

    offset: int = -1
    timestamp: int = NO_TIMESTAMP
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


def codec_of(attributes: int) -> Codec:
    try:
        return Codec(attributes & CODEC_MASK)
    except ValueError:
        raise ProtocolError(f"there is no codec {attributes & CODEC_MASK}") from None


def increment_sequence(sequence: int, increment: int) -> int:
    """Advance a sequence number; 0 follows 2^31-1."""
    return (sequence + increment) & 0x7FFFFFFF


def read_batch_header(buffer: RecordBytes, pos: int = 0) -> BatchHeader:
    """Raises: ProtocolError where fewer than 61 bytes are left."""
    try:
        return BatchHeader._make(HEADER.unpack_from(buffer, pos))
    except struct.error:
        raise ProtocolError("record batch shorter than its header") from None


def iter_batches(buffer: RecordBytes) -> Iterator[tuple[BatchHeader, memoryview]]:
    """Yield each whole batch with its header. A partial batch at the end, as a fetch may bring one, is left out.

    Raises: ProtocolError where a batch is of another magic or shorter than its header.
    """
    view = memoryview(buffer)
    pos, end = 0, len(view)
    while end - pos > MAGIC_POSITION:
        (length,) = struct.unpack_from(">i", view, pos + 8)
        if view[pos + MAGIC_POSITION] != MAGIC:
            raise ProtocolError(f"record batch of magic {view[pos + MAGIC_POSITION]}")
        size = BATCH_OVERHEAD + length
        if size < BATCH_HEADER_SIZE:
            raise ProtocolError(f"record batch of only {size} bytes")
        if size > end - pos:
            return
        yield read_batch_header(view, pos), view[pos : pos + size]
        pos += size


def batch_crc(batch: RecordBytes) -> int:
    """Compute the CRC that a whole batch should hold."""
    return crc32c(memoryview(batch)[CRC_START:])


def read_records(batch: RecordBytes, max_bytes: int = MAX_DECOMPRESSED_BYTES) -> list[Record]:
    """Decompress one whole batch and return its records with their offsets and timestamps.

    Raises: ProtocolError where the batch is malformed, LimitError where it has more than `max_bytes` decompressed.
    """
    return list(iter_records(batch, max_bytes))


def iter_records(batch: RecordBytes, max_bytes: int = MAX_DECOMPRESSED_BYTES) -> Iterator[Record]:
    """Yield what `read_records` returns. Raises: the same, perhaps after records were yielded."""
    header = read_batch_header(batch)
    if header.size != len(batch) or header.record_count < 0:
        raise ProtocolError("record batch of the wrong length or count")
    body: RecordBytes = memoryview(batch)[BATCH_HEADER_SIZE:]
    if header.attributes & CODEC_MASK:
        body = decompress(header.codec, body, max_bytes)
    else:
        body = bytes(body)
    if header.record_count * 7 > len(body):  # the smallest record takes seven bytes
        raise ProtocolError(f"{header.record_count} records do not fit into {len(body)} bytes")
    timestamp = header.max_timestamp if header.timestamp_type == TimestampType.LOG_APPEND_TIME else None
    pos = 0
    try:
        for _ in range(header.record_count):
            record, pos = _read_record(body, pos, header.base_offset, header.base_timestamp, timestamp)
            yield record
    except (IndexError, UnicodeDecodeError) as error:
        raise ProtocolError(f"malformed record: {error}") from None
    if pos != len(body):
        raise ProtocolError(f"{len(body) - pos} bytes follow the last record")


def _read_record(
    body: bytes, pos: int, base_offset: int, base_timestamp: int, append_time: int | None
) -> tuple[Record, int]:
    length, pos = read_varint(body, pos)
    end = pos + length
    if length < 0 or end > len(body):
        raise ProtocolError("record longer than its batch")
    timestamp_delta, pos = read_varlong(body, pos + 1)  # a record's attributes are unused
    offset_delta, pos = read_varint(body, pos)
    key, pos = _read_bytes(body, pos)
    value, pos = _read_bytes(body, pos)
    count, pos = read_varint(body, pos)
    if count < 0 or count * 2 > end - pos:
        raise ProtocolError(f"a record of {count} headers")
    headers: tuple[tuple[str, bytes | None], ...] = ()
    if count:
        pairs = []
        for _ in range(count):
            name, pos = _read_bytes(body, pos)
            if name is None:
                raise ProtocolError("a record header without a name")
            header_value, pos = _read_bytes(body, pos)
            pairs.append((name.decode(), header_value))
        headers = tuple(pairs)
    if pos != end:
        raise ProtocolError("a record's length is not that of its fields")
    timestamp = base_timestamp + timestamp_delta if append_time is None else append_time
    return Record(base_offset + offset_delta, timestamp, key, value, headers), pos


def _read_bytes(body: bytes, pos: int) -> tuple[bytes | None, int]:
    length = body[pos]
    if length < 0x80:
        length = (length >> 1) ^ -(length & 1)
        pos += 1
    else:
        length, pos = read_varint(body, pos)
    if length < 0:
        if length != -1:
            raise ProtocolError(f"a length of {length}")
        return None, pos
    end = pos + length
    if end > len(body):
        raise ProtocolError("a record's field is longer than its batch")
    return body[pos:end], end


def build_batch(
    records: Sequence[Record],
    *,
    base_offset: int = 0,
    codec: Codec = Codec.NONE,
    level: int | None = None,
    producer_id: int = NO_PRODUCER_ID,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    is_transactional: bool = False,
    is_control: bool = False,
    partition_leader_epoch: int = -1,
    timestamp_type: TimestampType = TimestampType.CREATE_TIME,
    last_offset_delta: int | None = None,
    delete_horizon_ms: int | None = None,
) -> bytearray:
    """Build a batch. With LOG_APPEND_TIME, the highest of the records' timestamps is that of the batch.

    `last_offset_delta` keeps the offsets of records that compaction took from the end of the batch, or all of it.
    """
    base_timestamp = records[0].timestamp if records else NO_TIMESTAMP
    if delete_horizon_ms is not None:
        base_timestamp = delete_horizon_ms
    parts: list[bytes] = []
    delta = -1
    for record in records:
        delta = record.offset - base_offset if record.offset >= 0 else delta + 1
        parts.append(_encode_record(record, record.timestamp - base_timestamp, delta))
    body = b"".join(parts)
    if codec:
        body = compress(codec, body, level)
    attributes = (
        codec
        | (LOG_APPEND_TIME_BIT if timestamp_type else 0)
        | (TRANSACTIONAL_BIT if is_transactional else 0)
        | (CONTROL_BIT if is_control else 0)
        | (DELETE_HORIZON_BIT if delete_horizon_ms is not None else 0)
    )
    batch = bytearray(BATCH_HEADER_SIZE)
    batch += body
    HEADER.pack_into(
        batch,
        0,
        base_offset,
        len(batch) - BATCH_OVERHEAD,
        partition_leader_epoch,
        MAGIC,
        0,
        attributes,
        delta if last_offset_delta is None else last_offset_delta,
        base_timestamp,
        max((record.timestamp for record in records), default=NO_TIMESTAMP),
        producer_id,
        producer_epoch,
        base_sequence,
        len(records),
    )
    _set_crc(batch)
    return batch


def _encode_record(record: Record, timestamp_delta: int, offset_delta: int) -> bytes:
    parts = [b"\x00", write_varint(timestamp_delta), write_varint(offset_delta)]
    for field in (record.key, record.value):
        parts += (b"\x01",) if field is None else (write_varint(len(field)), field)
    parts.append(write_varint(len(record.headers)))
    for name, value in record.headers:
        encoded = name.encode()
        parts += (write_varint(len(encoded)), encoded)
        parts += (b"\x01",) if value is None else (write_varint(len(value)), value)
    fields = b"".join(parts)
    return write_varint(len(fields)) + fields


def _set_crc(batch: bytearray | memoryview) -> None:
    _CRC.pack_into(batch, 17, batch_crc(batch))


def stamp_batch(batch: bytearray | memoryview, base_offset: int, partition_leader_epoch: int) -> None:
    """Write what the leader decides into a whole batch, in place; the CRC does not cover it."""
    _STAMP.pack_into(batch, 0, base_offset, len(batch) - BATCH_OVERHEAD, partition_leader_epoch)


def set_log_append_time(batch: bytearray | memoryview, time_ms: int) -> None:
    """Make `time_ms` the timestamp of all records of a batch, in place, with a new CRC."""
    (attributes,) = struct.unpack_from(">h", batch, CRC_START)
    struct.pack_into(">h", batch, CRC_START, attributes | LOG_APPEND_TIME_BIT)
    struct.pack_into(">q", batch, 35, time_ms)
    _set_crc(batch)


def set_create_time(batch: bytearray | memoryview, max_timestamp: int) -> None:
    """Let the records have their own timestamps, the youngest of which is given, in place, with a new CRC."""
    (attributes,) = struct.unpack_from(">h", batch, CRC_START)
    struct.pack_into(">h", batch, CRC_START, attributes & ~LOG_APPEND_TIME_BIT)
    struct.pack_into(">q", batch, 35, max_timestamp)
    _set_crc(batch)


def recompress(
    batch: RecordBytes, codec: Codec, level: int | None = None, max_bytes: int = MAX_DECOMPRESSED_BYTES
) -> bytearray:
    """Return the same batch with its records under another codec. Raises: ProtocolError as `read_records` does."""
    header = read_batch_header(batch)
    pieces = decompress_pieces(header.codec, memoryview(batch)[BATCH_HEADER_SIZE:], max_bytes)
    result = bytearray(batch[:BATCH_HEADER_SIZE])
    result += compress_pieces(codec, pieces, level)
    struct.pack_into(">i", result, 8, len(result) - BATCH_OVERHEAD)
    struct.pack_into(">h", result, CRC_START, header.attributes & ~CODEC_MASK | codec)
    _set_crc(result)
    return result


def build_end_txn_marker(
    control_type: ControlType, *, producer_id: int, producer_epoch: int, coordinator_epoch: int, timestamp: int
) -> bytearray:
    """Build the control batch that ends a producer's transaction in one partition."""
    marker = Record(
        timestamp=timestamp,
        key=_CONTROL_KEY.pack(0, control_type),
        value=_END_TXN_VALUE.pack(0, coordinator_epoch),
    )
    return build_batch(
        [marker], producer_id=producer_id, producer_epoch=producer_epoch, is_transactional=True, is_control=True
    )


def read_end_txn_marker(record: Record) -> tuple[ControlType, int] | None:
    """Return what a control record says and its coordinator epoch; None for control records of another kind.

    Raises: ProtocolError where the record is malformed.
    """
    try:
        _, control_type = _CONTROL_KEY.unpack_from(record.key or b"")
        if control_type not in (ControlType.ABORT, ControlType.COMMIT):
            return None
        _, coordinator_epoch = _END_TXN_VALUE.unpack_from(record.value or b"")
    except struct.error:
        raise ProtocolError("malformed control record") from None
    return ControlType(control_type), coordinator_epoch

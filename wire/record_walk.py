"""Look at the records of a batch one after the other, without their contents and without holding them in memory.

Rules
- Malformed records are found as by `read_records`, except that the names of headers are not decoded.
- The work is bounded by `max_bytes` of decompressed data, where a record and a header of a record count as at least
  ITEM_COST bytes: it is their number that takes the time.

Not here: records with their contents (records), decompression in pieces (compression).
"""

from collections.abc import Iterator

from wire.compression import decompress_pieces
from wire.errors import LimitError, ProtocolError
from wire.primitives import read_varint, read_varlong
from wire.records import BATCH_HEADER_SIZE, CODEC_MASK, TimestampType, read_batch_header
from wire.schema import RecordBytes

ITEM_COST = 256

_FIELDS_BYTES = 32  # no run of length, attributes, two deltas and a key's size takes more

WalkedRecord = tuple[int, int, int, int]  # offset, timestamp, sizes of key and value (-1: null)


def walk_records(batch: RecordBytes, max_bytes: int) -> Iterator[WalkedRecord]:
    """Yield the offset, the timestamp and the sizes of key and value of each record of a whole batch.

    Raises: ProtocolError where the batch is malformed, LimitError where it is too much to walk; either may come after
    records were yielded.
    """
    header = read_batch_header(batch)
    if header.size != len(batch) or header.record_count < 0:
        raise ProtocolError("record batch of the wrong length or count")
    headers_left = max_bytes // ITEM_COST - header.record_count
    if headers_left < 0:
        raise LimitError(f"{header.record_count} records are too many to look at")
    base_offset, base_timestamp = header.base_offset, header.base_timestamp
    append_time = header.max_timestamp if header.timestamp_type is TimestampType.LOG_APPEND_TIME else None
    body = memoryview(batch)[BATCH_HEADER_SIZE:]
    window = _Window(decompress_pieces(header.codec, body, max_bytes) if header.attributes & CODEC_MASK else (body,))
    data, safe, pos = b"", -_FIELDS_BYTES, 0  # `safe`: from here on, fields may reach beyond the window
    try:
        for _ in range(header.record_count):
            if pos > safe:
                data, pos = window.advance(pos)
                safe = len(data) - _FIELDS_BYTES
            size, pos = _varint(data, pos)
            end = window.start + pos + size
            pos += 1  # a record's attributes are unused
            delta = data[pos]
            if delta < 0x80:
                delta = (delta >> 1) ^ -(delta & 1)
                pos += 1
            else:
                delta, pos = read_varlong(data, pos)
            timestamp = base_timestamp + delta if append_time is None else append_time
            offset_delta, pos = _varint(data, pos)
            key_size, pos = _varint(data, pos)
            if key_size > 0:
                pos += key_size
            if pos > safe:
                data, pos = window.advance(pos)
                safe = len(data) - _FIELDS_BYTES
            value_size, pos = _varint(data, pos)
            if value_size > 0:
                pos += value_size
            if pos > safe:
                data, pos = window.advance(pos)
                safe = len(data) - _FIELDS_BYTES
            count, pos = _varint(data, pos)
            if key_size < -1 or value_size < -1 or count < 0:
                raise ProtocolError("a record with a negative size")
            if count:
                headers_left -= count
                if headers_left < 0:
                    raise LimitError("more record headers than are looked at")
                data, pos = _skip_headers(window, data, pos, count)
                safe = len(data) - _FIELDS_BYTES
            if window.start + pos != end:
                raise ProtocolError("a record's length is not that of its fields")
            yield base_offset + offset_delta, timestamp, key_size, value_size
    except IndexError:
        raise ProtocolError("a record ends early") from None
    if not window.ends_at(pos):
        raise ProtocolError("bytes follow the last record")


def _varint(data: bytes, pos: int) -> tuple[int, int]:
    """Do what `read_varint` does, sooner for numbers of one and two bytes."""
    low = data[pos]
    if low < 0x80:
        return (low >> 1) ^ -(low & 1), pos + 1
    high = data[pos + 1]
    if high < 0x80:
        return ((low & 0x7F | high << 7) >> 1) ^ -(low & 1), pos + 2
    return read_varint(data, pos)


def _skip_headers(window: "_Window", data: bytes, pos: int, count: int) -> tuple[bytes, int]:
    for _ in range(count):
        for smallest in (0, -1):  # a name is not null, a value may be
            if pos + _FIELDS_BYTES > len(data):
                data, pos = window.advance(pos)
            size, pos = _varint(data, pos)
            if size < smallest:
                raise ProtocolError("a record header with a negative size")
            if size > 0:
                pos += size
    return window.advance(pos)


class _Window:
    """What of the decompressed data is in memory; `start` is where it begins."""

    __slots__ = ("_data", "_pieces", "start")

    def __init__(self, pieces: Iterator[bytes] | tuple[RecordBytes]) -> None:
        self._pieces = iter(pieces)
        self._data = b""
        self.start = 0

    def advance(self, pos: int) -> tuple[bytes, int]:
        """Move on to `pos`, which may lie beyond the window; return the data there and the position in it.

        As far as there are more, at least _FIELDS_BYTES follow. Raises: ProtocolError beyond the end.
        """
        data = self._data
        while len(data) - pos < _FIELDS_BYTES:
            piece = next(self._pieces, None)
            if piece is None:
                break
            if pos >= len(data):
                pos -= len(data)
                self.start += len(data)
                data = bytes(piece)
            else:
                self.start += pos
                data = data[pos:] + bytes(piece)
                pos = 0
        if pos > len(data):
            raise ProtocolError("a record's field is longer than its batch")
        self._data = data
        return data, pos

    def ends_at(self, pos: int) -> bool:
        data, pos = self.advance(pos)
        return pos == len(data)

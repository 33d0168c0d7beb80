"""Where the records of one batch lie in its decompressed bytes: what compaction keeps it copies, and never builds anew.

Rules
- The loops below run once for each record of a log that is compacted: they are written for speed, not for beauty.
- Records of one size and shape that follow one another, as of counters, are not looped over at all: one byte of each
  lies in a slice with a step, so a few comparisons of slices check a whole run, and `struct` cuts its keys out.
- A key of up to MAX_PLAIN_KEY bytes stands for itself, a longer one is represented by a digest of one byte more, so
  that nobody can write a key that is taken for another's digest.
- Lengths are checked against the record and the batch; header names and values of a record are not looked at.

Not here: records with their contents (records), with bounded memory (record_walk).
"""

from collections.abc import MutableMapping
from collections.abc import Set as AbstractSet
from hashlib import blake2b
from itertools import chain
from struct import iter_unpack
from typing import NamedTuple

from wire.errors import ProtocolError
from wire.primitives import read_varint, read_varlong, write_varint

MAX_PLAIN_KEY = 32
_DIGEST_BYTES = MAX_PLAIN_KEY + 1
_NULL = 1  # the length -1 as a varint
_MIN_RUN = 8
# The varints of offset deltas: of one byte up to 63, then of two.
_DELTA_SHORT = bytes(2 * delta for delta in range(64))
_DELTA_LOW = bytes(0x80 | 2 * delta & 0x7F for delta in range(8192))
_DELTA_HIGH = bytes(2 * delta >> 7 for delta in range(8192))


class RecordSpan(NamedTuple):
    """One record, from `start` (of its length) to `end`."""

    start: int
    end: int
    fields: int  # where its offset delta begins
    timestamp_delta: int
    offset_delta: int
    key: bytes | None  # or what represents it
    has_value: bool


def represent_key(key: bytes) -> bytes:
    return key if len(key) <= MAX_PLAIN_KEY else blake2b(key, digest_size=_DIGEST_BYTES).digest()


def note_keys(data: bytes, count: int, base_offset: int, start_offset: int, latest: MutableMapping[bytes, int]) -> None:
    """Note in `latest` the offset of each record with a key from `start_offset` on; ~offset where its value is null.

    Raises: ProtocolError where the records are malformed.
    """
    least = start_offset - base_offset
    pos, number = _note_runs(data, count, base_offset, latest) if least <= 0 else (0, 0)
    try:
        for _ in range(number, count):
            size = data[pos]
            pos += 1
            if size < 0x80:
                end = pos + (size >> 1)
            else:
                size, pos = read_varint(data, pos - 1)
                end = pos + size
            pos += 1  # a record's attributes are unused
            while data[pos] >= 0x80:
                pos += 1
            delta = data[pos + 1]
            pos += 2
            if delta < 0x80:
                delta >>= 1
            else:
                high = data[pos]
                if high < 0x80:
                    delta = (delta & 0x7F | high << 7) >> 1
                    pos += 1
                else:
                    delta, pos = read_varint(data, pos - 1)
            size = data[pos]
            if size < 0x80:
                pos += 1
            else:
                size, pos = read_varint(data, pos)
                size <<= 1
            if size & 1 == 0 and delta >= least:
                value = pos + (size >> 1)
                if not pos <= value < end:
                    raise ProtocolError("a record's key is longer than the record")
                key = data[pos:value] if size <= 2 * MAX_PLAIN_KEY else represent_key(data[pos:value])
                latest[key] = base_offset + delta if data[value] != _NULL else ~(base_offset + delta)
            if end < pos:
                raise ProtocolError("a record shorter than its fields")
            pos = end
    except IndexError:
        raise ProtocolError("a record ends early") from None
    if pos != len(data):
        raise ProtocolError(f"{len(data) - pos} bytes follow the last record")


def _note_runs(data: bytes, count: int, base_offset: int, latest: MutableMapping[bytes, int]) -> tuple[int, int]:
    """Note the keys of records with one shape; return the position and the number of the first that is left.

    A run ends where offset deltas become longer; the next one begins there. All deltas are a record's number.
    """
    pos = number = 0
    while count - number >= _MIN_RUN:
        end = 64 if number < 64 else len(_DELTA_LOW)
        found = _note_run(data, pos, number, min(count, end) - number, base_offset=base_offset, latest=latest)
        if not found:
            break
        pos += found
        number = min(count, end)
    return pos, number


def _note_run(
    data: bytes, pos: int, number: int, count: int, *, base_offset: int, latest: MutableMapping[bytes, int]
) -> int:
    """Note `count` records if all have the shape of the first, none a null; return their bytes, 0 if it is not so."""
    try:
        size, at = read_varint(data, pos)
        stride = at - pos + size
        _, delta_at = read_varlong(data, at + 1)
        key_size_at = delta_at + (1 if number < 64 else 2)
        key_size, key_at = read_varint(data, key_size_at)
        value_at = key_at + key_size
    except (IndexError, ProtocolError):
        return 0
    end = pos + count * stride
    if (
        count < _MIN_RUN
        or not 0 <= key_size <= MAX_PLAIN_KEY
        or not key_at <= value_at < pos + stride
        or end > len(data)
    ):
        return 0

    def column(position: int) -> bytes:
        return data[position:end:stride]

    same = [*range(pos, at), *range(key_size_at, key_at)]
    if any(column(position).count(data[position]) != count for position in same):
        return 0
    *longer, last = range(at + 1, delta_at)
    if not column(last).isascii() or any(min(column(position)) < 0x80 for position in longer):
        return 0
    if number < 64:
        if column(delta_at) != _DELTA_SHORT[number : number + count]:
            return 0
    elif (
        column(delta_at) != _DELTA_LOW[number : number + count]
        or column(delta_at + 1) != _DELTA_HIGH[number : number + count]
    ):
        return 0
    if _NULL in column(value_at):
        return 0
    cut = f"{key_at - pos}x{key_size}s{pos + stride - value_at}x"
    keys = chain.from_iterable(iter_unpack(cut, memoryview(data)[pos:end]))
    latest.update(zip(keys, range(base_offset + number, base_offset + number + count), strict=True))
    return end - pos


def record_spans(data: bytes, count: int, start_at: int = 0) -> list[RecordSpan]:
    """Find all records; `start_at` is where `data` begins. Raises: ProtocolError where they are malformed."""
    spans = []
    pos = 0
    new = RecordSpan._make
    try:
        for _ in range(count):
            start = pos
            size, pos = read_varint(data, pos)
            end = pos + size
            timestamp_delta, fields = read_varlong(data, pos + 1)
            offset_delta, pos = read_varint(data, fields)
            key_size, pos = read_varint(data, pos)
            key = None
            if key_size < -1:
                raise ProtocolError(f"a key of {key_size} bytes")
            if key_size >= 0:
                key = represent_key(data[pos : pos + key_size])
                pos += key_size
            if not pos < end <= len(data):
                raise ProtocolError("a record's fields are longer than the record, or it is longer than its batch")
            has_value = data[pos] != _NULL
            spans.append(
                new(
                    (start_at + start, start_at + end, start_at + fields, timestamp_delta, offset_delta, key, has_value)
                )
            )
            pos = end
    except IndexError:
        raise ProtocolError("a record ends early") from None
    if pos != len(data):
        raise ProtocolError(f"{len(data) - pos} bytes follow the last record")
    return spans


def spans_of(data: bytes, count: int, wanted: AbstractSet[int]) -> list[RecordSpan]:
    """Find the records of these numbers, the first being 0, in a batch whose offset deltas are its records' numbers.

    Raises: ProtocolError where the records are malformed.
    """
    spans = []
    pos = 0
    try:
        for number in range(count):
            size = data[pos]
            if size < 0x80:
                end = pos + 1 + (size >> 1)
            else:
                high = data[pos + 1]
                if high < 0x80:
                    end = pos + 2 + ((size & 0x7F | high << 7) >> 1)
                else:
                    size, end = read_varint(data, pos)
                    end += size
            if number in wanted:
                spans += record_spans(data[pos:end], 1, pos)
                if spans[-1].offset_delta != number:
                    raise ProtocolError("the offsets of a batch are not those of its header")
            elif end <= pos:
                raise ProtocolError("a record of a negative size")
            pos = end
    except IndexError:
        raise ProtocolError("a record ends early") from None
    if pos != len(data):
        raise ProtocolError(f"{len(data) - pos} bytes follow the last record")
    return spans


def join_spans(data: bytes, spans: list[RecordSpan]) -> bytes:
    """Return these records as they are."""
    return b"".join([data[span.start : span.end] for span in spans])


def move_base_timestamp(data: bytes, spans: list[RecordSpan], difference: int) -> bytes:
    """Return these records with `difference` added to their timestamp deltas."""
    parts: list[bytes] = []
    for span in spans:
        delta = write_varint(span.timestamp_delta + difference)
        parts += (write_varint(1 + len(delta) + span.end - span.fields), b"\0", delta, data[span.fields : span.end])
    return b"".join(parts)

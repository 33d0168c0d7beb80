"""Hostile record batches, sent by well-formed Produce requests."""

from __future__ import annotations

import functools
import gzip
import struct
from collections.abc import Callable
from random import Random

import cramjam
from support import frames
from support.frames import batch, record, varint

from hostile.kinds import TARGETS, Hostile, Kind

CONTROL, TRANSACTIONAL, APPEND_TIME = 0x20, 0x10, 0x08
GZIP, SNAPPY, LZ4, ZSTD = 1, 2, 3, 4
BOMB_BYTES = 256 << 20
YEAR_3000_MS = 32_503_680_000_000

Batch = Callable[[Random], bytes]


def good_batch(rng: Random) -> bytes:
    """Return a batch that every broker takes."""
    count = rng.randint(1, 3)
    return batch(_records(count), count)


def kinds() -> tuple[Kind, ...]:
    """Return every kind of hostile batch, with the rare large ones."""
    made: dict[str, Batch] = {
        "length too short": lambda rng: _patched(rng, 8, ">i", rng.choice((0, 1, 48, 49, 50, 60))),
        "length too long": lambda rng: _patched(rng, 8, ">i", rng.choice((200, 10_000, (1 << 31) - 1))),
        "length negative": lambda rng: _patched(rng, 8, ">i", rng.choice((-1, -12, -(1 << 31)))),
        "wrong crc": lambda rng: batch(_records(2), 2, crc=rng.getrandbits(32)),
        "corrupt byte": _corrupt,
        "magic": lambda rng: batch(_records(1), 1, magic=rng.choice((0, 1, 3, 127, -1, -128))),
        "old message set": lambda rng: struct.pack(
            ">qiIbbii", 0, 14, rng.getrandbits(32), rng.randint(0, 1), 0, -1, -1
        ),
        "count too large": lambda rng: _counted(rng.choice((3, 100, (1 << 31) - 1)), 1),
        "count too small": lambda rng: _counted(rng.choice((0, 1)), 1),
        "count negative": lambda rng: _counted(rng.choice((-1, -(1 << 31))), 1),
        "last offset delta": lambda rng: batch(
            _records(2), 2, last_offset_delta=rng.choice((0, -1, 5, (1 << 31) - 1, -(1 << 31)))
        ),
        "offset deltas": lambda rng: batch(record(rng.choice((1, -1, 7)), b"a") + record(0, b"b"), 2),
        "control bit": lambda rng: batch(record(0, b"\0" * 6, key=b"\0\0\0\1"), 1, attributes=CONTROL),
        "transactional bit": lambda rng: batch(
            _records(1), 1, attributes=TRANSACTIONAL, producer_id=5, producer_epoch=0, base_sequence=0
        ),
        "unused bits": lambda rng: batch(_records(1), 1, attributes=rng.choice((0x40, 0x80, 0x7F00, -0x8000))),
        "append time bit": lambda rng: batch(_records(1), 1, attributes=APPEND_TIME),
        "timestamps": _timestamps,
        "producer id": _producer,
        "base offset": lambda rng: batch(_records(1), 1, base_offset=rng.choice((-1, 1, (1 << 63) - 1, -(1 << 63)))),
        "record length": _record_length,
        "record varint": lambda rng: batch(b"\xff" * rng.randint(5, 12), 1),
        "record headers": lambda rng: batch(
            _record_with(b"\0\0\0\1\2a" + varint(rng.choice((-1, 1 << 30, -(1 << 31))))), 1
        ),
        "record key length": lambda rng: batch(
            _record_with(b"\0\0\0" + varint(rng.choice((-2, 1 << 30, (1 << 31) - 1)))), 1
        ),
        "no record for the count": lambda rng: batch(b"", rng.randint(1, 5)),
        "bytes behind the records": lambda rng: batch(_records(1) + rng.randbytes(rng.randint(1, 30)), 1),
        "two batches": lambda rng: good_batch(rng) + good_batch(rng),
        "bytes behind the batch": lambda rng: good_batch(rng) + rng.randbytes(rng.randint(1, 80)),
        "cut batch": lambda rng: good_batch(rng)[: rng.randint(1, 70)],
        "random bytes": lambda rng: rng.randbytes(rng.randint(1, 300)),
        "empty": lambda rng: b"",
        "codec": lambda rng: batch(_records(1), 1, attributes=rng.choice((5, 6, 7))),
        "garbage compressed": lambda rng: batch(rng.randbytes(rng.randint(0, 200)), 3, attributes=rng.randint(1, 4)),
        "cut compressed": _cut_compressed,
        "lying snappy size": lambda rng: batch(b"\xff\xff\xff\xff\x0f" + rng.randbytes(40), 1, attributes=SNAPPY),
    }
    large: dict[str, Batch] = {
        "compression bomb": _bomb_batch,
        "nested compression bomb": _nested_bomb_batch,
        "too large": lambda rng: frames.batch_of([bytes(rng.randint(1_100_000, 5_000_000))]),
    }
    return (
        *(Kind(f"records: {name}", functools.partial(_produced, make), 2) for name, make in made.items()),
        *(Kind(f"records: {name}", functools.partial(_produced, make), 1, at_most=24) for name, make in large.items()),
        Kind("records: null", _null_records),
    )


def _produced(make: Batch, rng: Random) -> Hostile:
    topic = rng.choice(TARGETS)
    request = frames.produce_request(topic, 0, make(rng), acks=rng.choice((1, 1, -1)))
    return Hostile(request, frames.PRODUCE, frames.VERSIONS[frames.PRODUCE])


def _null_records(rng: Random) -> Hostile:
    whole = frames.produce_request("torture-plain", 0, b"")
    return Hostile(whole[:-4] + b"\0" + whole[-3:], frames.PRODUCE, frames.VERSIONS[frames.PRODUCE])


def _records(count: int) -> bytes:
    return b"".join(record(number, b"value %d" % number, key=b"key") for number in range(count))


def _patched(rng: Random, position: int, form: str, value: int) -> bytes:
    made = bytearray(good_batch(rng))
    struct.pack_into(form, made, position, value)
    return bytes(made)


def _corrupt(rng: Random) -> bytes:
    made = bytearray(good_batch(rng))
    made[rng.randrange(21, len(made))] ^= 1 << rng.randrange(8)
    return bytes(made)


def _counted(count: int, last_offset_delta: int) -> bytes:
    return batch(_records(2), count, last_offset_delta=last_offset_delta)


def _timestamps(rng: Random) -> bytes:
    odd = (-(1 << 63), -2, -1, 0, YEAR_3000_MS, (1 << 63) - 1)
    return batch(_records(1), 1, base_timestamp=rng.choice(odd), max_timestamp=rng.choice(odd))


def _producer(rng: Random) -> bytes:
    return batch(
        _records(1),
        1,
        producer_id=rng.choice((-2, 0, 99, 1 << 40, (1 << 63) - 1)),
        producer_epoch=rng.choice((-2, -1, 0, 5, (1 << 15) - 1)),
        base_sequence=rng.choice((-2, -1, 0, 7, (1 << 31) - 1)),
    )


def _record_length(rng: Random) -> bytes:
    return batch(varint(rng.choice((-1, 0, 1, 5, 1 << 20, (1 << 31) - 1, -(1 << 31)))) + record(0, b"value")[1:], 1)


def _record_with(content: bytes) -> bytes:
    return varint(len(content)) + content


def _cut_compressed(rng: Random) -> bytes:
    packed = bytes(cramjam.zstd.compress(_records(200)))
    return batch(packed[: rng.randint(1, len(packed) - 1)], 200, attributes=ZSTD)


def _bomb_batch(rng: Random) -> bytes:
    codec = rng.choice((GZIP, LZ4, ZSTD))
    return batch(_bomb(codec), 1, attributes=codec)


def _nested_bomb_batch(rng: Random) -> bytes:
    """Return a batch compressed twice: what comes out of the first bomb is compressed again."""
    inner = batch(_bomb(ZSTD), 1, attributes=ZSTD)
    packed = gzip.compress(record(0, inner), mtime=0)
    return batch(packed, 1, attributes=GZIP)


@functools.cache
def _bomb(codec: int) -> bytes:
    """Return one record of BOMB_BYTES zeros, compressed; it fits in a request of the usual limits."""
    start = varint(BOMB_BYTES) + b"\0\0\0\1" + varint(BOMB_BYTES - 20)
    zeros = bytes(1 << 20)
    if codec == GZIP:
        return gzip.compress(start + zeros, mtime=0) + gzip.compress(zeros, mtime=0) * (BOMB_BYTES // len(zeros))
    module = cramjam.lz4 if codec == LZ4 else cramjam.zstd
    # Frames of both formats may follow one another.
    return bytes(module.compress(start + zeros)) + bytes(module.compress(zeros)) * (BOMB_BYTES // len(zeros))

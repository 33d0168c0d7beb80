import contextlib
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.compression import Codec
from wire.errors import LimitError, ProtocolError
from wire.record_walk import ITEM_COST, walk_records
from wire.records import BATCH_HEADER_SIZE, Record, TimestampType, build_batch, read_records

LIMIT = 64 * 1024 * 1024

sizes = st.sampled_from([None, 0, 1, 20, 63, 64, 8191, 8192, 40_000])
records = st.lists(
    st.builds(
        lambda timestamp, key, value, headers: Record(
            timestamp=timestamp,
            key=None if key is None else bytes(key),
            value=None if value is None else bytes(value),
            headers=tuple(("n" * (size or 0), None if size is None else bytes(size)) for size in headers),
        ),
        st.integers(0, 1 << 62),
        sizes,
        sizes,
        st.lists(sizes, max_size=3),
    ),
    max_size=8,
)


def read(batch: bytearray) -> list[tuple[int, int, int, int]]:
    return [
        (
            record.offset,
            record.timestamp,
            -1 if record.key is None else len(record.key),
            -1 if record.value is None else len(record.value),
        )
        for record in read_records(batch)
    ]


@given(records, st.sampled_from(Codec), st.sampled_from(TimestampType))
def test_walk_sees_what_reading_sees(records: list[Record], codec: Codec, timestamp_type: TimestampType) -> None:
    batch = build_batch(records, codec=codec, base_offset=7, timestamp_type=timestamp_type)
    assert list(walk_records(batch, LIMIT)) == read(batch)


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.SNAPPY])
def test_walk_of_truncated_records_raises_protocol_error(codec: Codec) -> None:
    made = [Record(timestamp=1, key=b"key", value=bytes(200), headers=(("name", b"value"),))] * 3
    body = bytes(build_batch(made)[BATCH_HEADER_SIZE:])
    for end in range(len(body)):
        batch = build_batch(made)[:BATCH_HEADER_SIZE] + body[:end]
        struct.pack_into(">i", batch, 8, len(batch) - 12)
        struct.pack_into(">i", batch, 57, 3)
        with pytest.raises(ProtocolError):
            list(walk_records(batch, LIMIT))


@given(st.sampled_from(Codec), st.data())
def test_walk_of_damaged_records_fails_where_reading_does(codec: Codec, data: st.DataObject) -> None:
    made = [Record(timestamp=number, key=b"key", value=b"value", headers=(("", b"v"),)) for number in range(5)]
    batch = build_batch(made, codec=codec)
    position = data.draw(st.integers(BATCH_HEADER_SIZE, len(batch) - 1))
    batch[position] ^= 1 << data.draw(st.integers(0, 7))
    walked = found = None
    with contextlib.suppress(ProtocolError):
        walked = list(walk_records(batch, LIMIT))
    with contextlib.suppress(ProtocolError):
        found = read(batch)
    assert walked == found


def test_bytes_behind_the_last_record_are_refused() -> None:
    batch = build_batch([Record(timestamp=1, value=b"value")]) + b"\0"
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    with pytest.raises(ProtocolError):
        list(walk_records(batch, LIMIT))


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4])
def test_large_record_is_walked_in_little_memory(codec: Codec) -> None:
    size = 32 * 1024 * 1024
    batch = build_batch([Record(timestamp=1, key=bytes(size // 2), value=bytes(size // 2))] * 2, codec=codec)
    tracemalloc.start()
    assert [record[2:] for record in walk_records(batch, LIMIT + 1000)] == [(size // 2, size // 2)] * 2
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * 1024 * 1024


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD])
def test_more_bytes_than_the_limit_are_not_walked(codec: Codec) -> None:
    batch = build_batch([Record(timestamp=1, value=bytes(300_000))], codec=codec)
    assert len(list(walk_records(batch, 300_100))) == 1
    with pytest.raises(LimitError):
        list(walk_records(batch, 299_999))


def test_records_and_headers_count_against_the_limit() -> None:
    batch = build_batch([Record(timestamp=1, headers=(("", None),) * 9)] * 10)
    assert len(list(walk_records(batch, 100 * ITEM_COST))) == 10
    with pytest.raises(LimitError):
        list(walk_records(batch, 100 * ITEM_COST - 1))


def test_impossible_number_of_headers_is_refused_at_once() -> None:
    # length 9, attributes, deltas of 0, null key, null value, 2^30 headers
    batch = build_batch([Record(timestamp=1)])
    batch[BATCH_HEADER_SIZE:] = bytes((20, 0, 0, 0, 1, 1, 0x80, 0x80, 0x80, 0x80, 0x08))
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    with pytest.raises(ProtocolError):
        list(walk_records(batch, LIMIT))

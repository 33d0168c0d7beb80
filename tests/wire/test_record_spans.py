"""Spans and keys against the plain reader of records."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire.errors import ProtocolError
from wire.record_spans import join_spans, move_base_timestamp, note_keys, record_spans, represent_key, spans_of
from wire.records import BATCH_HEADER_SIZE, Record, build_batch, read_records

BASE = 1000

KEYS = st.one_of(st.none(), st.binary(max_size=80), st.sampled_from([b"a", b"b", b"k" * 32, b"k" * 33]))
RECORDS = st.lists(
    st.builds(
        Record,
        offset=st.just(-1),
        timestamp=st.integers(0, 1 << 40),
        key=KEYS,
        value=st.one_of(st.none(), st.binary(max_size=200)),
        headers=st.sampled_from([(), (("h", b"v"), ("", None))]),
    ),
    min_size=1,
    max_size=100,
)


def body_of(records: list[Record]) -> bytes:
    return bytes(build_batch(records, base_offset=BASE))[BATCH_HEADER_SIZE:]


def expected_keys(records: list[Record], start_offset: int) -> dict[bytes, int]:
    latest = {}
    for offset, record in enumerate(records, BASE):
        if record.key is not None and offset >= start_offset:
            latest[represent_key(record.key)] = offset if record.value is not None else ~offset
    return latest


@given(RECORDS, st.integers(0, 20))
def test_newest_offset_of_each_key_is_noted(records: list[Record], skipped: int) -> None:
    latest: dict[bytes, int] = {}
    note_keys(body_of(records), len(records), BASE, BASE + skipped, latest)
    assert latest == expected_keys(records, BASE + skipped)


@settings(max_examples=50)
@given(
    st.integers(1, 300),
    st.integers(0, 40),
    st.integers(0, 300),
    st.sampled_from([1, 70, 9000]),
    st.randoms(use_true_random=False),
)
def test_runs_of_one_shape_are_noted_as_single_records_are(
    count: int, key_size: int, value_size: int, timestamp_step: int, source: random.Random
) -> None:
    records = [
        Record(timestamp=number * timestamp_step // 8, key=source.randbytes(key_size), value=bytes(value_size))
        for number in range(count)
    ]
    for odd in (None, Record(timestamp=5, key=b"k" * key_size, value=None), Record(timestamp=5, value=bytes(key_size))):
        some = list(records)
        if odd is not None:
            some[source.randrange(count)] = odd
        latest: dict[bytes, int] = {}
        note_keys(body_of(some), count, BASE, BASE, latest)
        assert latest == expected_keys(some, BASE)


@given(RECORDS, st.data())
def test_spans_are_the_records(records: list[Record], data: st.DataObject) -> None:
    body = body_of(records)
    spans = record_spans(body, len(records))
    assert [span.offset_delta for span in spans] == list(range(len(records)))
    assert [(span.key is None, span.has_value) for span in spans] == [
        (record.key is None, record.value is not None) for record in records
    ]
    assert join_spans(body, spans) == body
    wanted = data.draw(st.sets(st.integers(0, len(records) - 1)))
    assert spans_of(body, len(records), wanted) == [spans[number] for number in sorted(wanted)]


def test_moved_base_timestamp_leaves_timestamps_as_they_were() -> None:
    records = [Record(timestamp=1000 + 50 * number, key=b"k", value=b"v" * number) for number in range(10)]
    batch = build_batch(records, base_offset=BASE)
    body = bytes(batch[BATCH_HEADER_SIZE:])
    moved = bytes(batch[:BATCH_HEADER_SIZE]) + move_base_timestamp(body, record_spans(body, 10), 1000 - 5000)
    # the header says 5000 instead of 1000
    changed = bytearray(moved)
    changed[8:12] = (len(moved) - 12).to_bytes(4, "big")
    changed[27:35] = (5000).to_bytes(8, "big")
    assert [record.timestamp for record in read_records(changed)] == [record.timestamp for record in records]


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_records_that_end_early_are_malformed(cut: int) -> None:
    body = body_of([Record(timestamp=1, key=b"key-%d" % number, value=bytes(20)) for number in range(20)])
    for malformed in (body[: len(body) - 1 - cut], body + bytes(cut + 1)):
        with pytest.raises(ProtocolError):
            note_keys(malformed, 20, BASE, BASE, {})
        with pytest.raises(ProtocolError):
            record_spans(malformed, 20)
        with pytest.raises(ProtocolError):
            spans_of(malformed, 20, {3})


@given(st.binary(max_size=200), st.integers(1, 20))
def test_garbage_is_malformed_and_nothing_worse(garbage: bytes, count: int) -> None:
    for read in (lambda: note_keys(garbage, count, 0, 0, {}), lambda: record_spans(garbage, count)):
        try:
            read()
        except ProtocolError:
            continue

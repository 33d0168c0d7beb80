import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wire.compression import Codec
from wire.errors import ProtocolError
from wire.records import (
    BATCH_HEADER_SIZE,
    BatchHeader,
    ControlType,
    Record,
    TimestampType,
    batch_crc,
    build_batch,
    build_end_txn_marker,
    increment_sequence,
    iter_batches,
    read_batch_header,
    read_end_txn_marker,
    read_records,
    recompress,
    set_create_time,
    set_log_append_time,
    stamp_batch,
)

NOW = 1_700_000_000_000
headers = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=3).map(tuple)
plain_records = st.lists(
    st.builds(
        Record,
        offset=st.just(-1),
        timestamp=st.integers(0, 2**50),
        key=st.none() | st.binary(max_size=200),
        value=st.none() | st.binary(max_size=200),
        headers=headers,
    ),
    min_size=1,
    max_size=10,
)


def header_of(batch: bytearray | memoryview) -> BatchHeader:
    return read_batch_header(batch)


@given(plain_records, st.sampled_from(Codec), st.integers(0, 2**60))
def test_build_then_read_returns_the_records_with_offsets(
    records: list[Record], codec: Codec, base_offset: int
) -> None:
    batch = build_batch(records, base_offset=base_offset, codec=codec)
    expected = [record._replace(offset=base_offset + index) for index, record in enumerate(records)]
    assert read_records(batch) == expected
    header = header_of(batch)
    assert header.last_offset == base_offset + len(records) - 1
    assert header.max_timestamp == max(record.timestamp for record in records)
    assert header.crc == batch_crc(batch)
    assert header.size == len(batch)


def test_batch_bytes_are_kafkas() -> None:
    batch = build_batch(
        [Record(timestamp=1000, key=b"k", value=b"v", headers=(("h", None),)), Record(timestamp=1005)],
        base_offset=7,
        producer_id=9,
        producer_epoch=2,
        base_sequence=3,
        is_transactional=True,
        partition_leader_epoch=4,
    )
    body = bytes.fromhex("16000000026b027602026801" + "0c000a02010100")
    fields = struct.pack(">hiqqqhii", 0x10, 1, 1000, 1005, 9, 2, 3, 2)
    assert batch[:17] == struct.pack(">qiib", 7, len(batch) - 12, 4, 2)
    assert batch[21:] == fields + body


def test_stamping_leaves_the_crc_valid() -> None:
    batch = build_batch([Record(value=b"v")])
    stamp_batch(batch, 1234, 5)
    header = header_of(batch)
    assert (header.base_offset, header.partition_leader_epoch) == (1234, 5)
    assert header.crc == batch_crc(batch)


def test_log_append_time_replaces_all_timestamps() -> None:
    batch = build_batch([Record(timestamp=1), Record(timestamp=2)])
    set_log_append_time(batch, NOW)
    assert header_of(batch).timestamp_type is TimestampType.LOG_APPEND_TIME
    assert header_of(batch).crc == batch_crc(batch)
    assert [record.timestamp for record in read_records(batch)] == [NOW, NOW]


def test_create_time_brings_back_the_records_own_timestamps() -> None:
    batch = build_batch([Record(timestamp=1), Record(timestamp=2)])
    set_log_append_time(batch, NOW)
    set_create_time(batch, 2)
    assert header_of(batch).crc == batch_crc(batch)
    assert [record.timestamp for record in read_records(batch)] == [1, 2]


@pytest.mark.parametrize("codec", Codec)
def test_recompress_changes_the_codec_only(codec: Codec) -> None:
    batch = build_batch(
        [Record(value=b"v" * 100)] * 5, base_offset=3, codec=Codec.GZIP, producer_id=1, producer_epoch=0
    )
    other = recompress(batch, codec)
    assert header_of(other).codec is codec
    assert header_of(other).crc == batch_crc(other)
    assert read_records(other) == read_records(batch)


def test_offsets_given_are_kept_as_compaction_needs() -> None:
    batch = build_batch([Record(offset=12), Record(offset=17)], base_offset=10, last_offset_delta=9)
    assert [record.offset for record in read_records(batch)] == [12, 17]
    assert header_of(batch).last_offset == 19


def test_empty_batch_keeps_its_sequence() -> None:
    batch = build_batch([], base_offset=5, last_offset_delta=3, producer_id=1, producer_epoch=0, base_sequence=8)
    assert read_records(batch) == []
    assert header_of(batch).last_sequence == 11


def test_delete_horizon_is_kept_in_the_base_timestamp() -> None:
    header = header_of(build_batch([Record(timestamp=5)], delete_horizon_ms=99))
    assert header.has_delete_horizon
    assert header.base_timestamp == 99


def test_iter_batches_leaves_out_a_partial_batch() -> None:
    first, second = build_batch([Record(value=b"1")]), build_batch([Record(value=b"2")])
    for end in range(len(second)):
        assert [bytes(raw) for _, raw in iter_batches(first + second[:end])] == [bytes(first)]
    assert len(list(iter_batches(first + second))) == 2


@pytest.mark.parametrize("magic", [0, 1, 3, 127])
def test_iter_batches_of_another_magic_raises(magic: int) -> None:
    batch = build_batch([Record()])
    batch[16] = magic
    with pytest.raises(ProtocolError):
        list(iter_batches(batch))


def test_sequence_wraps_to_zero() -> None:
    assert increment_sequence(2**31 - 1, 1) == 0
    assert header_of(build_batch([Record()] * 3, base_sequence=2**31 - 2, producer_id=1)).last_sequence == 0


@given(plain_records, st.sampled_from(Codec), st.data())
def test_damaged_batch_raises_protocol_error_or_reads(records: list[Record], codec: Codec, data: st.DataObject) -> None:
    batch = build_batch(records, codec=codec)
    position = data.draw(st.integers(BATCH_HEADER_SIZE - 4, len(batch) - 1))
    batch[position] ^= 1 << data.draw(st.integers(0, 7))
    with contextlib.suppress(ProtocolError):
        read_records(batch, 10_000)


@pytest.mark.parametrize("codec", Codec)
def test_truncated_batch_raises_protocol_error(codec: Codec) -> None:
    batch = build_batch([Record(value=b"value")] * 3, codec=codec)
    for end in range(len(batch)):
        with pytest.raises(ProtocolError):
            read_records(batch[:end])


def test_record_count_beyond_the_bytes_is_refused_at_once() -> None:
    batch = build_batch([Record()])
    struct.pack_into(">i", batch, 57, 2**31 - 1)
    with pytest.raises(ProtocolError):
        read_records(batch)


def test_end_transaction_marker_is_read_back() -> None:
    batch = build_end_txn_marker(
        ControlType.COMMIT, producer_id=5, producer_epoch=1, coordinator_epoch=3, timestamp=NOW
    )
    header = header_of(batch)
    assert header.is_control
    assert header.is_transactional
    assert read_end_txn_marker(read_records(batch)[0]) == (ControlType.COMMIT, 3)


def test_unknown_codec_raises_protocol_error() -> None:
    batch = build_batch([Record()])
    batch[22] |= 5
    with pytest.raises(ProtocolError):
        read_records(batch)

"""What is refused of a client's batch. The expectations are the answers of a real Apache Kafka 4.4."""

import struct
from pathlib import Path

import pytest

from pykbroker.errors import KafkaError
from pykbroker.log.partition_log import PartitionLog
from pykbroker.log.refusal import RecordsError
from pykbroker.log.rules import RECOMPRESSION_COST
from pykbroker.log.validate import MAX_RECORD_ERRORS
from tests.log.support import NOW, TOPIC_ID, TP, append, batch, new_log, open_dirs, topic_config, values_of
from wire.compression import Codec
from wire.errors import ErrorCode
from wire.record_walk import ITEM_COST
from wire.records import Record, batch_crc, build_batch, iter_batches, read_batch_header


def changed(position: int, layout: str, value: int, *, crc: bool = True) -> bytearray:
    """A good batch of two records with one field changed."""
    made = bytearray(batch(b"1", b"2"))
    struct.pack_into(layout, made, position, value)
    if crc:
        struct.pack_into(">I", made, 17, batch_crc(made))
    return made


def both_counts(count: int) -> bytearray:
    made = changed(23, ">i", count - 1)
    struct.pack_into(">i", made, 57, count)
    struct.pack_into(">I", made, 17, batch_crc(made))
    return made


GOOD = bytes(batch(b"1", b"2"))
REFUSED = {
    "empty": (b"", ErrorCode.INVALID_RECORD),
    "five_bytes": (b"12345", ErrorCode.INVALID_RECORD),
    "zeros": (bytes(20), ErrorCode.CORRUPT_MESSAGE),
    "half_a_header": (GOOD[:40], ErrorCode.INVALID_RECORD),
    "cut_short": (GOOD[:-3], ErrorCode.INVALID_RECORD),
    "magic_0": (changed(16, ">b", 0, crc=False), ErrorCode.INVALID_RECORD),
    "magic_1": (changed(16, ">b", 1, crc=False), ErrorCode.INVALID_RECORD),
    "magic_3": (changed(16, ">b", 3, crc=False), ErrorCode.CORRUPT_MESSAGE),
    "magic_127": (changed(16, ">b", 127, crc=False), ErrorCode.CORRUPT_MESSAGE),
    "two_batches": (GOOD + GOOD, ErrorCode.INVALID_RECORD),
    "zeros_behind": (GOOD + bytes(30), ErrorCode.CORRUPT_MESSAGE),
    "wrong_crc": (changed(17, ">I", 5, crc=False), ErrorCode.CORRUPT_MESSAGE),
    "base_offset_7": (changed(0, ">q", 7), ErrorCode.INVALID_RECORD),
    "length_30": (changed(8, ">i", 30, crc=False), ErrorCode.CORRUPT_MESSAGE),
    "length_negative": (changed(8, ">i", -1, crc=False), ErrorCode.CORRUPT_MESSAGE),
    "length_huge": (changed(8, ">i", 1 << 30, crc=False), ErrorCode.INVALID_RECORD),
    "count_3": (changed(57, ">i", 3), ErrorCode.INVALID_RECORD),
    "count_0": (changed(57, ">i", 0), ErrorCode.INVALID_RECORD),
    "count_negative": (changed(57, ">i", -1), ErrorCode.INVALID_RECORD),
    "delta_5": (changed(23, ">i", 5), ErrorCode.INVALID_RECORD),
    "delta_negative": (changed(23, ">i", -2), ErrorCode.INVALID_RECORD),
    "control_bit": (changed(21, ">h", 0x20), ErrorCode.INVALID_RECORD),
    "codec_5": (changed(21, ">h", 5), ErrorCode.UNKNOWN_SERVER_ERROR),
    "codec_7": (changed(21, ">h", 7), ErrorCode.UNKNOWN_SERVER_ERROR),
    "no_sequence": (bytes(batch(b"v", producer_id=5, producer_epoch=0)), ErrorCode.INVALID_RECORD),
    "too_large": (bytes(batch(bytes(1_048_588))), ErrorCode.MESSAGE_TOO_LARGE),
}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_batch_is_refused_and_nothing_is_appended(tmp_path: Path, name: str) -> None:
    records, code = REFUSED[name]
    _, log = new_log(tmp_path)
    with pytest.raises(KafkaError) as raised:
        log.append_as_leader(memoryview(bytearray(records)), leader_epoch=0)
    assert raised.value.code == code
    assert (log.log_end_offset, log.size_bytes) == (0, 0)
    assert append(log, b"good").base_offset == 0


@pytest.mark.parametrize("bits", [0x40, 0x200])
def test_unused_attribute_bits_are_accepted(tmp_path: Path, bits: int) -> None:
    _, log = new_log(tmp_path)
    assert log.append_as_leader(memoryview(changed(21, ">h", bits)), leader_epoch=0).base_offset == 0


@pytest.mark.parametrize("tail", [b"12345", GOOD[:-1]])
def test_partial_batch_behind_the_first_is_left_out(tmp_path: Path, tail: bytes) -> None:
    _, log = new_log(tmp_path)
    log.append_as_leader(memoryview(bytearray(GOOD + tail)), leader_epoch=0)
    assert log.size_bytes == len(GOOD)


def test_largest_allowed_batch_is_accepted(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, max_message_bytes=len(GOOD))
    append(log, b"1", b"2")
    with pytest.raises(KafkaError) as raised:
        append(log, b"1", b"22")
    assert raised.value.code == ErrorCode.MESSAGE_TOO_LARGE


def test_batch_larger_than_a_segment_is_refused(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, internal_segment_bytes=500)
    with pytest.raises(KafkaError) as raised:
        append(log, bytes(500))
    assert raised.value.code == ErrorCode.RECORD_LIST_TOO_LARGE


def test_future_timestamp_names_the_record(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    records = [Record(timestamp=NOW), Record(timestamp=NOW + 3_600_001)]
    with pytest.raises(RecordsError) as raised:
        log.append_as_leader(memoryview(build_batch(records)), leader_epoch=0)
    assert raised.value.code == ErrorCode.INVALID_TIMESTAMP
    ((index, message),) = raised.value.record_errors
    assert index == 1
    assert str(NOW + 3_600_001) in message


def test_old_timestamp_is_refused_where_the_topic_bounds_the_past(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, message_timestamp_before_max_ms=1000)
    append(log, b"v", timestamp=NOW - 1000)
    with pytest.raises(RecordsError) as raised:
        append(log, b"v", timestamp=NOW - 1001)
    assert raised.value.code == ErrorCode.INVALID_TIMESTAMP


@pytest.mark.parametrize("timestamp", [-1, 5, NOW + 3_600_000])
def test_timestamps_in_bounds_are_accepted(tmp_path: Path, timestamp: int) -> None:
    _, log = new_log(tmp_path)
    append(log, b"v", timestamp=timestamp)


@pytest.mark.parametrize("claimed", [NOW + 10**9, -(1 << 63)])
def test_lying_max_timestamp_is_corrected(tmp_path: Path, claimed: int) -> None:
    _, log = new_log(tmp_path)
    log.append_as_leader(memoryview(changed(35, ">q", claimed)), leader_epoch=0)
    piece = log.read(0, 1000, end_offset=2, min_one_batch=True)
    assert piece is not None
    header = read_batch_header(piece.read())
    assert header.max_timestamp == NOW
    assert header.crc == batch_crc(piece.read())


def test_append_time_bit_is_cleared_with_create_time(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    log.append_as_leader(memoryview(changed(21, ">h", 8)), leader_epoch=0)
    piece = log.read(0, 1000, end_offset=2, min_one_batch=True)
    assert piece is not None
    assert bytes(piece.read())[12:] == struct.pack(">i", 0) + GOOD[16:]


def test_append_time_bit_is_refused_with_log_append_time(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, message_timestamp_type="LogAppendTime")
    with pytest.raises(RecordsError) as raised:
        log.append_as_leader(memoryview(changed(21, ">h", 8)), leader_epoch=0)
    assert raised.value.code == ErrorCode.INVALID_TIMESTAMP
    assert [index for index, _ in raised.value.record_errors] == [0, 1]


@pytest.mark.parametrize("codec", Codec)
def test_null_key_in_a_compacted_topic_names_the_records(tmp_path: Path, codec: Codec) -> None:
    _, log = new_log(tmp_path, cleanup_policy="compact")
    append(log, b"with key", codec=codec)
    records = [Record(timestamp=NOW, key=key) for key in (None, b"k", None)]
    with pytest.raises(RecordsError) as raised:
        log.append_as_leader(memoryview(build_batch(records, codec=codec)), leader_epoch=0)
    assert raised.value.code == ErrorCode.INVALID_RECORD
    assert [index for index, _ in raised.value.record_errors] == [0, 2]
    assert all("topic-0" in message for _, message in raised.value.record_errors)


BOMB_BYTES = 2 * 1024 * 1024


def limited_log(path: Path, **overrides: object) -> PartitionLog:
    """A log of a broker that looks at 1 MB of each batch at most."""
    dirs = open_dirs(path, pykbroker_max_walked_batch_bytes="1048576")
    return dirs.create(TP, TOPIC_ID, topic_config(**overrides))


@pytest.mark.parametrize("codec", [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD])
@pytest.mark.parametrize(
    "overrides", [{"cleanup_policy": "compact"}, {"compression_type": "gzip"}, {"compression_type": "zstd"}], ids=str
)
def test_compression_bomb_is_too_large_where_records_are_looked_at(
    tmp_path: Path, codec: Codec, overrides: dict[str, str]
) -> None:
    log = limited_log(tmp_path, **overrides)
    if overrides.get("compression_type") == codec.name.lower():
        overrides["cleanup_policy"] = "compact"
        log.update_config(topic_config(**overrides))
    bomb = build_batch([Record(timestamp=NOW, key=b"k", value=bytes(BOMB_BYTES))], codec=codec)
    with pytest.raises(KafkaError) as raised:
        log.append_as_leader(memoryview(bomb), leader_epoch=0)
    assert raised.value.code == ErrorCode.MESSAGE_TOO_LARGE
    assert log.log_end_offset == 0
    append(log, b"good", codec=codec)


def test_compressing_anew_counts_four_times(tmp_path: Path) -> None:
    log = limited_log(tmp_path, compression_type="gzip")
    append(log, bytes(1048576 // RECOMPRESSION_COST - 100), codec=Codec.ZSTD)
    with pytest.raises(KafkaError) as raised:
        append(log, bytes(1048576 // RECOMPRESSION_COST), codec=Codec.ZSTD)
    assert raised.value.code == ErrorCode.MESSAGE_TOO_LARGE


def test_too_many_small_records_are_too_large_where_records_are_looked_at(tmp_path: Path) -> None:
    log = limited_log(tmp_path, cleanup_policy="compact")
    most = 1048576 // ITEM_COST
    append(log, *[b""] * most, codec=Codec.ZSTD)
    with pytest.raises(KafkaError) as raised:
        append(log, *[b""] * (most + 1), codec=Codec.ZSTD)
    assert raised.value.code == ErrorCode.MESSAGE_TOO_LARGE


def test_compression_bomb_is_taken_where_only_its_header_is_looked_at(tmp_path: Path) -> None:
    log = limited_log(tmp_path)
    assert append(log, bytes(BOMB_BYTES), codec=Codec.GZIP).base_offset == 0


def test_timestamp_search_answers_the_first_offset_of_a_batch_that_is_too_large_to_walk(tmp_path: Path) -> None:
    log = limited_log(tmp_path)
    append(log, b"first", timestamp=NOW - 10)
    append(log, b"second", bytes(BOMB_BYTES), codec=Codec.GZIP)
    assert log.offset_for_timestamp(NOW) == (NOW, 1, 0)
    log.advance_log_start(2)
    assert log.offset_for_timestamp(NOW) == (NOW, 2, 0)


def test_only_so_many_bad_records_are_told(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, cleanup_policy="compact")
    records = [Record(timestamp=NOW)] * (MAX_RECORD_ERRORS + 5)
    with pytest.raises(RecordsError) as raised:
        log.append_as_leader(memoryview(build_batch(records)), leader_epoch=0)
    assert len(raised.value.record_errors) == MAX_RECORD_ERRORS
    assert str(MAX_RECORD_ERRORS + 5) in str(raised.value.message)


def test_record_over_the_decompressed_limit_is_refused(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, max_decompressed_message_bytes=100)
    append(log, bytes(99), codec=Codec.GZIP)
    with pytest.raises(KafkaError) as raised:
        append(log, bytes(100), codec=Codec.GZIP)
    assert raised.value.code == ErrorCode.INVALID_RECORD


@pytest.mark.parametrize("records", [both_counts(5), both_counts(1), changed(21, ">h", Codec.GZIP)])
def test_strict_mode_refuses_records_that_do_not_fit_the_header(tmp_path: Path, records: bytearray) -> None:
    dirs = open_dirs(tmp_path, pykbroker_strict_records="true")
    log = dirs.create(TP, TOPIC_ID, topic_config())
    append(log, b"good", codec=Codec.LZ4)
    with pytest.raises(KafkaError) as raised:
        log.append_as_leader(memoryview(records), leader_epoch=0)
    assert raised.value.code == ErrorCode.INVALID_RECORD
    assert values_of(log) == [(0, b"good")]


def test_internal_append_may_bring_several_batches(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    info = log.append_as_leader(memoryview(bytearray(GOOD + GOOD)), leader_epoch=3, from_client=False)
    assert (info.base_offset, info.last_offset) == (0, 3)
    piece = log.read(0, 1000, end_offset=4, min_one_batch=True)
    assert piece is not None
    assert [header.base_offset for header, _ in iter_batches(piece.read())] == [0, 2]

"""Appends and reads of one log."""

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pykbroker.clock import SimulatedClock
from pykbroker.errors import KafkaError
from pykbroker.log.partition_log import PartitionLog
from tests.log.support import NOW, append, batch, new_log, reopen, topic_config, values_of
from wire.errors import ErrorCode
from wire.records import Codec, iter_batches, read_batch_header, read_records


def read_one(log: PartitionLog, offset: int, max_bytes: int = 1 << 20, *, whole: bool = True) -> bytes:
    piece = log.read(offset, max_bytes, end_offset=log.log_end_offset, min_one_batch=whole)
    return piece.read() if piece is not None else b""


def test_append_gives_consecutive_offsets_and_stamps_in_place(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    first, second = batch(b"1", b"2"), batch(b"3")
    assert log.append_as_leader(first, leader_epoch=4)[:2] == (0, 1)
    assert log.append_as_leader(second, leader_epoch=4)[:2] == (2, 2)
    assert (read_batch_header(second).base_offset, read_batch_header(second).partition_leader_epoch) == (2, 4)
    assert (log.directory / "00000000000000000000.log").read_bytes() == bytes(first) + bytes(second)
    assert (log.log_start_offset, log.log_end_offset, log.size_bytes) == (0, 3, len(first) + len(second))


def test_empty_log_is_only_a_directory_with_its_topic_id(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    assert [path.name for path in log.directory.iterdir()] == ["partition.metadata"]
    assert log.read(0, 100, end_offset=0, min_one_batch=True) is None
    assert log.bytes_from(0, 0) == 0
    assert log.offset_for_timestamp(0) is None
    assert log.offset_of_max_timestamp() is None


def test_read_returns_the_batch_that_holds_the_offset(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    append(log, b"0", b"1", b"2")
    append(log, b"3")
    for offset, expected in ((0, 0), (1, 0), (2, 0), (3, 3)):
        assert read_batch_header(read_one(log, offset)).base_offset == expected


def test_read_beyond_either_end_is_out_of_range(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    append(log, b"0", b"1")
    log.advance_log_start(1)
    for offset in (-1, 0, 3):
        with pytest.raises(KafkaError) as raised:
            log.read(offset, 100, end_offset=2, min_one_batch=True)
        assert raised.value.code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert log.read(2, 100, end_offset=2, min_one_batch=True) is None


def test_read_stops_below_the_end_offset(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    for value in (b"0", b"1", b"2"):
        append(log, value)
    piece = log.read(0, 1 << 20, end_offset=2, min_one_batch=True)
    assert piece is not None
    assert [header.base_offset for header, _ in iter_batches(piece.read())] == [0, 1]
    assert log.read(2, 1 << 20, end_offset=2, min_one_batch=True) is None


def test_read_with_a_small_limit_cuts_or_keeps_the_first_batch_whole(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    append(log, bytes(100))
    append(log, bytes(100))
    size = log.size_bytes // 2
    assert len(read_one(log, 0, 1)) == size
    assert read_one(log, 0, 1, whole=False) == b""
    assert read_one(log, 0, size - 1, whole=False) == b""
    assert len(read_one(log, 0, size + 10, whole=False)) == size + 10


def test_read_slice_survives_the_deletion_of_its_segment(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path)
    append(log, b"kept")
    piece = log.read(0, 1000, end_offset=1, min_one_batch=True)
    dirs.delete(log.topic_partition)
    assert piece is not None
    assert [record.value for record in read_records(piece.read())] == [b"kept"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 400)), min_size=1, max_size=60))
def test_reads_agree_with_the_list_of_batches(
    tmp_path_factory: pytest.TempPathFactory, shapes: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("log")
    dirs, log = new_log(path, internal_segment_bytes=3000, index_interval_bytes=200)
    model: list[tuple[int, int, bytes]] = []  # first offset, end offset, bytes
    for count, size in shapes:
        sent = batch(*[bytes(size)] * count)
        info = log.append_as_leader(sent, leader_epoch=0)
        model.append((info.base_offset, info.last_offset + 1, bytes(sent)))
    total = b"".join(raw for _, _, raw in model)
    assert log.size_bytes == len(total)
    for offset in range(log.log_end_offset):
        first = next(index for index, (_, end, _) in enumerate(model) if offset < end)
        got = read_one(log, offset)
        rest = b"".join(raw for _, _, raw in model[first:])
        assert rest.startswith(got)
        assert len(got) >= len(model[first][2])
        end_offset = model[-1][0]
        bounded = log.read(offset, 1 << 20, end_offset=end_offset, min_one_batch=True)
        below = b"".join(raw for start, _, raw in model[first:] if start < end_offset)
        assert bounded is None if not below else bounded is not None and below.startswith(bounded.read())
    # The same by way of the indexes alone, as after a restart.
    dirs.close()
    dirs, log = reopen(path)
    assert values_of(log) == [(offset, bytes(size)) for offset, size in expected_values(shapes)]
    dirs.close()


def expected_values(shapes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found = []
    for count, size in shapes:
        found += [(len(found) + index, size) for index in range(count)]
    return found


def test_roll_happens_at_segment_bytes_and_completes_the_old_files(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, internal_segment_bytes=500, index_interval_bytes=0)
    for number in range(6):
        append(log, bytes(100), timestamp=NOW + number)
    assert [segment.base_offset for segment in log.segments] == [0, 2, 4]
    names = {path.name for path in log.directory.iterdir()}
    assert {"00000000000000000002.snapshot", "00000000000000000004.snapshot"} <= names
    assert (log.directory / "00000000000000000000.index").read_bytes() == struct.pack(
        ">II", 1, log.segments[0].size // 2
    )
    assert (log.directory / "00000000000000000000.timeindex").read_bytes() == struct.pack(">qI", NOW + 1, 1)


def test_roll_happens_when_the_records_span_segment_ms(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, segment_ms=1000)
    for timestamp in (NOW - 5000, NOW - 4000, NOW - 3999):
        append(log, b"v", timestamp=timestamp)
    assert [segment.base_offset for segment in log.segments] == [0, 2]


def test_roll_of_records_without_timestamps_goes_by_the_clock(tmp_path: Path) -> None:
    clock = SimulatedClock(NOW)
    _, log = new_log(tmp_path, clock, segment_ms=1000)
    append(log, b"v", timestamp=-1)
    clock.advance(1000)
    append(log, b"v", timestamp=-1)
    assert len(log.segments) == 1
    clock.advance(1)
    append(log, b"v", timestamp=-1)
    assert len(log.segments) == 2


def test_roll_happens_when_an_index_is_full(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, segment_index_bytes=36, index_interval_bytes=0)
    for number in range(8):
        append(log, b"v", timestamp=NOW + number)
    assert len(log.segments) > 1
    assert all(len(segment.offset_index) <= 4 for segment in log.segments)


def test_follower_keeps_the_bytes_and_learns_the_epochs(tmp_path: Path) -> None:
    _, leader = new_log(tmp_path / "leader")
    for epoch in (1, 1, 3):
        append(leader, b"v" * epoch, epoch=epoch)
    _, follower = new_log(tmp_path / "follower")
    data = read_one(leader, 0)
    follower.append_as_follower(memoryview(data + data[:30]))
    assert read_one(follower, 0) == data
    assert follower.log_end_offset == 3
    assert [follower.epoch_for_offset(offset) for offset in range(3)] == [1, 1, 3]
    with pytest.raises(KafkaError):
        follower.append_as_follower(memoryview(data))


def test_follower_with_gaps_in_offsets_reads_from_the_next_batch(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    log.append_as_follower(memoryview(b"".join(bytes(build_gap(offset)) for offset in (0, 10, 20))))
    assert read_batch_header(read_one(log, 5)).base_offset == 10
    assert read_batch_header(read_one(log, 11)).base_offset == 20


def build_gap(offset: int) -> memoryview:
    made = batch(b"v", partition_leader_epoch=0)
    struct.pack_into(">q", made, 0, offset)
    return made


def test_timestamp_lookup_finds_the_first_record_not_older(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, internal_segment_bytes=400, index_interval_bytes=0)
    for number, codec in enumerate([Codec.NONE, Codec.GZIP, Codec.LZ4, Codec.ZSTD, Codec.SNAPPY, Codec.NONE]):
        append(log, b"v" * 90, timestamp=NOW + 10 * number, codec=codec, epoch=number)
    assert len(log.segments) > 1
    for number in range(6):
        assert log.offset_for_timestamp(NOW + 10 * number) == (NOW + 10 * number, number, number)
        assert log.offset_for_timestamp(NOW + 10 * number - 9) == (NOW + 10 * number, number, number)
    assert log.offset_for_timestamp(NOW + 51) is None
    assert log.offset_of_max_timestamp() == (NOW + 50, 5, 5)
    log.advance_log_start(3)
    assert log.offset_for_timestamp(0) == (NOW + 30, 3, 3)


def test_max_timestamp_is_that_of_the_first_of_the_youngest(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    for timestamp in (NOW, NOW + 9, NOW + 3, NOW + 9):
        append(log, b"v", timestamp=timestamp)
    assert log.offset_of_max_timestamp() == (NOW + 9, 1, 0)


def test_log_append_time_stamps_and_answers_the_time(tmp_path: Path) -> None:
    clock = SimulatedClock(NOW)
    _, log = new_log(tmp_path, clock, message_timestamp_type="LogAppendTime")
    assert append(log, b"v", timestamp=NOW + 10**12).log_append_time_ms == NOW
    (record,) = read_records(read_one(log, 0))
    assert record.timestamp == NOW
    header = read_batch_header(read_one(log, 0))
    assert header.attributes & 8


def test_compression_type_of_the_topic_recompresses(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, compression_type="lz4")
    append(log, b"v" * 50, codec=Codec.GZIP)
    append(log, b"w" * 50, codec=Codec.LZ4)
    assert [header.codec for header, _ in iter_batches(read_one(log, 0))] == [Codec.LZ4, Codec.LZ4]
    assert values_of(log) == [(0, b"v" * 50), (1, b"w" * 50)]


def test_new_configuration_counts_from_the_next_append(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    append(log, b"v" * 100)
    log.update_config(topic_config(max_message_bytes=100))
    with pytest.raises(KafkaError) as raised:
        append(log, b"v" * 100)
    assert raised.value.code == ErrorCode.MESSAGE_TOO_LARGE


def test_truncate_removes_whole_batches_from_the_offset_on(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, internal_segment_bytes=400, index_interval_bytes=0)
    for number in range(10):
        append(log, b"%d" % number * 90, epoch=number // 4)
    log.truncate_to(5)
    assert log.log_end_offset == 5
    assert [offset for offset, _ in values_of(log)] == list(range(5))
    assert log.latest_epoch == 1
    assert append(log, b"next", epoch=7).base_offset == 5
    assert values_of(log, 5) == [(5, b"next")]
    log.truncate_to(100)
    assert log.log_end_offset == 6


def test_truncate_forgets_the_producers_of_what_was_cut(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    for sequence in range(4):
        append(log, b"v", producer_id=1, producer_epoch=0, base_sequence=sequence)
    log.truncate_to(2)
    assert append(log, b"v", producer_id=1, producer_epoch=0, base_sequence=2).base_offset == 2


def test_truncate_fully_starts_anew_at_the_offset(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    append(log, b"v")
    log.truncate_fully_and_start_at(100)
    assert (log.log_start_offset, log.log_end_offset, log.latest_epoch) == (100, 100, -1)
    assert append(log, b"w").base_offset == 100
    assert values_of(log, 100) == [(100, b"w")]


def test_end_offset_for_epoch_answers_as_kip_279_says(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    for epoch in (2, 2, 5):
        append(log, b"v", epoch=epoch)
    assert log.end_offset_for_epoch(2) == (2, 2)
    assert log.end_offset_for_epoch(3) == (2, 2)
    assert log.end_offset_for_epoch(5) == (5, 3)
    assert log.end_offset_for_epoch(6) == (-1, -1)
    assert log.end_offset_for_epoch(1) == (1, 0)


def test_bytes_from_estimates_what_is_left(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, internal_segment_bytes=1000)
    for _ in range(20):
        append(log, bytes(100))
    size = log.size_bytes // 20
    assert log.bytes_from(0, 20) == log.size_bytes
    assert log.bytes_from(18, 20) == 2 * size
    assert log.bytes_from(20, 20) == 0
    assert log.bytes_from(0, 1) >= 1

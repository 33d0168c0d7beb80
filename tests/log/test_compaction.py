"""What compaction keeps, drops and rewrites; offsets, tombstones, transactions, producers."""

from pathlib import Path

import pytest

from pykbroker.log.compaction import Throttle
from pykbroker.log.partition_log import PartitionLog
from tests.log.compaction_support import CompactedLog
from tests.log.support import NOW, TP, crash, values_of
from wire.compression import Codec
from wire.records import ControlType, Record, build_batch, iter_batches, read_records

DAY_MS = 86_400_000


def fill(log: CompactedLog, count: int = 30, keys: int = 3, size: int = 60) -> None:
    """Append batches of one record each."""
    for number in range(count):
        log.append((b"key-%d" % (number % keys), b"%d-" % number + bytes(size)))


def test_last_record_of_each_key_stays_at_its_offset(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    fill(log)
    before, table, end = log.records(), log.table(), log.log.log_end_offset
    active = log.log.segments[-1].base_offset
    assert log.clean() == 1
    after = log.records()
    assert log.table() == table
    assert log.log.log_end_offset == end
    expected = [record for record in before if record[0] >= active - 3]
    assert after == expected
    assert log.log.first_dirty_offset == active


def test_reader_meets_gaps_and_gets_what_is_left(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    fill(log)
    log.clean()
    first = log.records()[0][0]
    assert first > 10
    assert values_of(log.log, 0)[0][0] == first
    assert values_of(log.log, first - 1)[0][0] == first


def test_active_segment_and_what_is_not_committed_are_left_alone(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    fill(log)
    bases = [segment.base_offset for segment in log.log.segments]
    log.dirs.high_watermark_of = lambda topic_partition: bases[2] + 1
    log.clean()
    assert log.log.first_dirty_offset == bases[2]
    assert [record[0] for record in log.records()] == [*range(bases[2] - 3, log.log.log_end_offset)]


def test_open_transaction_bounds_what_is_cleaned(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    fill(log, 10)
    opened = log.append((b"key-0", b"open"), producer_id=7, producer_epoch=0, base_sequence=0, is_transactional=True)
    fill(log, 30)
    log.clean()
    assert log.log.first_dirty_offset <= opened
    assert (opened, b"key-0", b"open") in log.records()


def test_nothing_is_cleaned_below_the_dirty_ratio(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path, min_cleanable_dirty_ratio=0.5)
    for number in range(60):
        log.append((b"key-%d" % number, bytes(60)))
    assert log.clean() == 1
    assert log.clean() == 0
    for number in range(30):
        log.append((b"key-%d" % number, bytes(60)))
    assert log.clean() == 0
    sizes = [segment.size for segment in log.log.segments[:-1] if segment.end_offset > log.log.first_dirty_offset]
    all_bytes = sum(segment.size for segment in log.log.segments[:-1])
    assert log.dirs.cleaner.stats.dirtiest_ratio == sum(sizes) / all_bytes > 0
    for number in range(60):
        log.append((b"key-%d" % number, bytes(60)))
    assert log.clean() == 1


def test_min_compaction_lag_protects_young_records(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path, min_compaction_lag_ms=1000)
    fill(log)
    assert log.clean() == 0
    log.clock.advance(1001)
    assert log.clean() == 1


def test_max_compaction_lag_overrules_the_ratio_and_rolls(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path, min_cleanable_dirty_ratio=1, max_compaction_lag_ms=5000, internal_segment_bytes=100000)
    fill(log, 5)
    assert log.clean() == 0
    log.clock.advance(5001)
    log.append((b"key-0", b"last"))
    assert len(log.log.segments) == 2
    assert log.clean() == 1
    assert [record[0] for record in log.records()] == [2, 3, 4, 5]


def test_cleaner_runs_by_itself(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    log.dirs.close()
    log.open(log_cleaner_backoff_ms="15000")
    fill(log)
    log.clock.advance(15_000)
    log.dirs.cleaner.join()
    log.clock.advance(20)
    assert log.log.first_dirty_offset == log.log.segments[-1].base_offset


def test_cleaner_that_is_switched_off_does_nothing(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    log.dirs.close()
    log.open(log_cleaner_enable="false", log_cleaner_backoff_ms="15000")
    fill(log)
    log.clock.advance(60_000)
    assert not log.dirs.cleaner.is_busy


def test_record_without_a_key_goes(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path, cleanup_policy="delete")
    log.append((None, b"no key"), (b"k", b"v"))
    log.log.roll()
    log.config = CompactedLog(tmp_path / "other").config
    log.log.update_config(log.config)
    log.append((b"x", b"x"))
    log.clean()
    assert log.records() == [(1, b"k", b"v"), (2, b"x", b"x")]


# --- tombstones


def test_tombstone_stays_for_delete_retention_from_its_first_clean(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path, delete_retention_ms=1000)
    log.append((b"a", b"1"), (b"b", b"1"))
    log.append((b"a", None), (b"c", b"1"))
    log.log.roll()
    log.clock.advance(DAY_MS)  # how old it is does not matter, only when it was first cleaned
    log.append((b"x", b"1"))
    log.clean()
    assert log.records()[:3] == [(1, b"b", b"1"), (2, b"a", None), (3, b"c", b"1")]
    header, batch = log.batches()[1]
    assert header.has_delete_horizon
    assert header.base_timestamp == NOW + DAY_MS + 1000
    assert [record.timestamp for record in read_records(batch)] == [NOW, NOW]
    assert header.max_timestamp == NOW
    log.log.roll()
    log.append((b"y", b"1"))
    log.clock.advance(900)
    log.clean()
    assert (2, b"a", None) in log.records()
    log.log.roll()
    log.append((b"z", b"1"))
    log.clock.advance(100)
    log.clean()
    assert [record[0] for record in log.records()][:3] == [1, 3, 4]
    header = log.batches()[1][0]
    assert (header.has_delete_horizon, header.max_timestamp) == (True, NOW)


def test_tombstone_alone_in_its_batch_vanishes_with_it(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path, delete_retention_ms=0)
    log.append((b"a", None))
    log.append((b"b", b"1"))
    log.log.roll()
    log.append((b"x", b"1"))
    log.clean()
    log.log.roll()
    log.append((b"y", b"1"))
    log.clean()
    assert [header.base_offset for header, _ in log.batches()] == [1, 2, 3]


# --- batches


@pytest.mark.parametrize("codec", list(Codec))
def test_batch_that_loses_records_keeps_everything_else(tmp_path: Path, codec: Codec) -> None:
    log = CompactedLog(tmp_path)
    options = {"codec": codec, "producer_id": 5, "producer_epoch": 3, "base_sequence": 10}
    headers = (("h", b"v"), ("n", None))
    batch = build_batch(
        [Record(timestamp=NOW + 5 - n, key=b"%d" % n, value=bytes(20), headers=headers) for n in range(4)], **options
    )
    log.log.append_as_leader(memoryview(batch), leader_epoch=2)
    log.append((b"0", b"new"), (b"3", b"new"), producer_id=5, producer_epoch=3, base_sequence=14)
    log.log.roll()
    log.append((b"x", b"1"))
    before = log.batches()[0][0]
    log.clean()
    after, raw = log.batches()[0]
    assert after._replace(batch_length=0, crc=0, record_count=0, max_timestamp=0) == before._replace(
        batch_length=0, crc=0, record_count=0, max_timestamp=0
    )
    assert (after.record_count, after.max_timestamp, after.codec) == (2, NOW + 4, codec)
    assert read_records(raw) == [
        Record(offset=n, timestamp=NOW + 5 - n, key=b"%d" % n, value=bytes(20), headers=headers) for n in (1, 2)
    ]


def test_batch_that_keeps_all_stays_byte_for_byte(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    log.append((b"a", b"1"), (b"b", b"2"), codec=Codec.ZSTD)
    log.append((b"c", b"1"))
    log.append((b"c", b"2"))
    log.log.roll()
    log.append((b"x", b"1"))
    before = bytes(log.batches()[0][1])
    log.clean()
    assert bytes(log.batches()[0][1]) == before
    assert [record[0] for record in log.records()] == [0, 1, 3, 4]


def test_rewritten_batch_has_the_codec_of_the_topic(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    log.append((b"a", bytes(100)), (b"b", bytes(100)), codec=Codec.GZIP)
    log.append((b"a", b"2"))
    log.log.roll()
    log.config = CompactedLog(tmp_path / "other", compression_type="lz4").config
    log.log.update_config(log.config)
    log.append((b"x", b"1"))
    log.clean()
    assert log.batches()[0][0].codec is Codec.LZ4
    assert log.records()[0] == (1, b"b", bytes(100))


def test_long_keys_are_told_apart(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path, internal_segment_bytes=100_000)
    for number in range(3):
        for last in range(3):
            log.append((bytes(200) + b"%d" % last, b"%d" % number))
    log.log.roll()
    log.append((b"x", b"1"))
    log.clean()
    assert [record[0] for record in log.records()] == [6, 7, 8, 9]


def test_segments_are_grouped_up_to_segment_bytes(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    for number in range(60):
        log.append((b"key-%d" % number, bytes(60)))
    for number in range(0, 60, 2):
        log.append((b"key-%d" % number, bytes(60)))
    count, table = len(log.log.segments), log.table()
    log.clean()
    assert len(log.log.segments) == count  # it goes by what the segments had
    next_segment(log, b"key-1")
    halves = [segment.size for segment in log.log.segments[:5]]
    log.clean()
    sizes = [segment.size for segment in log.log.segments[:-1]]
    assert (sizes[0], max(sizes) <= 1000) == (sum(halves[:2]), True)
    assert log.table() == {**table, b"key-1": b"1"}


def test_map_that_is_full_ends_the_cleaning_there(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    log.dirs.close()
    log.open(log_cleaner_dedupe_buffer_size="2000000", log_cleaner_io_buffer_load_factor="0.0008")  # ten keys
    for number in range(40):
        log.append((b"key-%d" % (number % 20), b"%d" % number + bytes(60)))
    table, active = log.table(), log.log.segments[-1].base_offset
    log.dirs.cleaner.look()
    log.dirs.cleaner.join()
    log.clock.advance(20)
    assert [each.buffer_utilization for each in log.dirs.cleaner.stats.last] == [1]
    assert log.clean() >= 2
    assert log.table() == table
    assert log.log.first_dirty_offset == active
    assert len(log.records()) < 30


# --- transactions


def transactional(log: CompactedLog, key: bytes, value: bytes, producer_id: int, sequence: int) -> int:
    return log.append(
        (key, value), producer_id=producer_id, producer_epoch=0, base_sequence=sequence, is_transactional=True
    )


def next_segment(log: CompactedLog, key: bytes) -> None:
    log.log.roll()
    log.append((key, b"1"))


def test_aborted_records_go_and_do_not_supersede(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path, delete_retention_ms=1000)
    log.append((b"a", b"committed"))
    transactional(log, b"a", b"aborted", 7, 0)
    transactional(log, b"b", b"aborted", 7, 1)
    marker = log.end_transaction(ControlType.ABORT, 7)
    next_segment(log, b"x")
    transactional(log, b"c", b"1", 7, 2)
    log.end_transaction(ControlType.COMMIT, 7)
    log.clean()
    assert log.records()[0] == (0, b"a", b"committed")
    assert b"aborted" not in [value for _, _, value in log.records()]
    # The marker stays, and so does the entry that tells readers of the transaction.
    assert marker in [header.base_offset for header, _ in log.batches() if header.is_control]
    assert [each.last_offset for each in log.log.aborted_transactions(0, marker + 1)] == [marker]
    assert (log.log.directory / "00000000000000000000.txnindex").exists()


def markers(log: CompactedLog) -> list[int]:
    return [header.base_offset for header, _ in log.batches() if header.is_control and header.record_count]


def test_markers_go_after_the_horizon_once_nothing_is_left_of_the_transaction(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path, delete_retention_ms=1000)
    transactional(log, b"a", b"aborted", 7, 0)
    aborted = log.end_transaction(ControlType.ABORT, 7)
    transactional(log, b"k", b"1", 8, 0)
    committed = log.end_transaction(ControlType.COMMIT, 8)
    log.append((b"k", b"2"))
    for producer_id in (7, 8):  # newer batches, so that the old ones need not remember a sequence
        transactional(log, b"p%d" % producer_id, b"1", producer_id, 1)
        log.end_transaction(ControlType.COMMIT, producer_id)
    next_segment(log, b"x")
    log.clean()
    assert {aborted, committed} <= set(markers(log))
    next_segment(log, b"y")
    log.clean()
    assert not log.log.aborted_transactions(0, 100)
    horizons = {header.base_offset: header.base_timestamp for header, _ in log.batches() if header.has_delete_horizon}
    assert set(horizons) == {aborted, committed}
    log.clock.advance(1001)
    next_segment(log, b"z")
    log.clean()
    assert not {aborted, committed} & set(markers(log))


# --- producers


def test_emptied_batch_with_a_producers_last_sequence_stays(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    for sequence in range(3):
        log.append((b"a", b"%d" % sequence), producer_id=5, producer_epoch=0, base_sequence=sequence)
    log.append((b"a", b"other"))
    next_segment(log, b"x")
    log.clean()
    kept = log.batches()[0][0]
    assert (kept.base_offset, kept.record_count, kept.last_sequence) == (2, 0, 2)
    crash(log.dirs)
    for snapshot in log.log.directory.glob("*.snapshot"):
        snapshot.unlink()
    log.open()
    duplicate = build_batch(
        [Record(timestamp=NOW, key=b"a", value=b"2")], producer_id=5, producer_epoch=0, base_sequence=2
    )
    assert log.log.append_as_leader(memoryview(duplicate), leader_epoch=0).base_offset == 2
    assert log.append((b"a", b"3"), producer_id=5, producer_epoch=0, base_sequence=3) == log.log.log_end_offset - 1


def test_last_batch_that_may_be_cleaned_stays_though_it_is_empty(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path, cleanup_policy="delete")
    log.append((b"a", b"1"))
    log.append((None, b"no key"))
    log.log.roll()
    log.config = CompactedLog(tmp_path / "other").config
    log.log.update_config(log.config)
    log.append((b"x", b"x"))
    log.clean()
    assert [(header.base_offset, header.record_count) for header, _ in log.batches()] == [(0, 1), (1, 0), (2, 1)]


def test_youngest_record_is_found_though_an_empty_batch_is_younger(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    log.append((b"a", b"1"))
    log.append((b"b", b"1"), timestamp=NOW + 100, producer_id=5, producer_epoch=0, base_sequence=0)
    log.append((b"b", b"2"))
    next_segment(log, b"x")
    log.clean()
    assert [header.record_count for header, _ in log.batches()] == [1, 0, 1, 1]
    assert log.log.offset_of_max_timestamp() == (NOW, 0, 0)
    log.dirs.close()
    log.open()
    assert log.log.offset_of_max_timestamp() == (NOW, 0, 0)
    crash(log.dirs)
    log.open()
    assert log.log.offset_of_max_timestamp() == (NOW, 0, 0)


# --- what happens meanwhile


def begin(log: CompactedLog) -> None:
    """Have a thread clean the log, and wait until it is done; nothing is applied yet."""
    log.dirs.cleaner.look()
    log.dirs.cleaner.join()


def leftovers(log: PartitionLog) -> list[str]:
    return [path.name for path in log.directory.iterdir() if path.name.endswith((".cleaned", ".swap"))]


def test_cleaning_is_dropped_where_the_log_was_cut_meanwhile(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    fill(log)
    begin(log)
    log.log.truncate_to(12)
    fill(log, 18)
    before = log.records()
    log.clock.advance(20)
    assert log.records() == before
    assert log.log.first_dirty_offset == -1
    table = log.table()
    log.finish()
    assert log.table() == table
    assert leftovers(log.log) == []


def test_cleaning_is_dropped_where_segments_were_deleted_meanwhile(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path, cleanup_policy="compact,delete", retention_ms=1000)
    fill(log)
    begin(log)
    log.clock.advance(10)
    log.log.advance_log_start(15)
    log.log.apply_retention(log.clock.time_ms())
    table = log.table()
    log.clock.advance(20)
    assert log.log.first_dirty_offset == -1
    log.finish()
    assert log.table() == table
    assert log.log.segments[0].base_offset == 14
    assert leftovers(log.log) == []


def test_log_that_is_deleted_while_it_is_cleaned_is_gone(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    fill(log)
    log.dirs.cleaner.look()
    log.dirs.delete(TP)
    again = log.dirs.create(TP, bytes(16), log.config)
    log.finish()
    assert [path.name for path in again.directory.iterdir()] == ["partition.metadata"]


def test_damaged_batch_stops_the_cleaning_of_its_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log = CompactedLog(tmp_path)
    fill(log)
    path = log.log.directory / "00000000000000000000.log"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    assert log.clean() == 0
    assert log.clean() == 0
    assert [record.message for record in caplog.records if "cannot be compacted" in record.message] != []
    assert path.read_bytes() == data
    assert leftovers(log.log) == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_thread_that_a_bug_ends_is_counted_and_its_log_left_alone(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    fill(log)
    log.log.directory_name = "no name of a directory\0"  # a ValueError, which no thread should meet
    assert log.clean() == 0
    assert log.dirs.cleaner.stats.dead_threads == 1
    assert [each for each, _ in log.dirs.cleaner.uncleanable()] == [log.log]


def test_reader_of_a_replaced_segment_reads_on(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    fill(log)
    piece = log.log.read(0, 10_000, end_offset=log.log.log_end_offset, min_one_batch=True)
    assert piece is not None
    before = piece.read()
    log.clean()
    log.clock.advance(60_000)
    assert not list(log.log.directory.glob("*.deleted"))
    assert piece.read() == before
    assert next(iter_batches(piece.read()))[0].base_offset == 0


# --- policies and checkpoints


def test_compact_and_delete_does_both(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path, cleanup_policy="compact,delete", retention_ms=10_000)
    fill(log)
    log.clean()
    log.clock.advance(10_001)
    log.dirs.apply_retention()
    assert log.records() == []


def test_checkpoint_is_kafkas_and_read_back(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    fill(log)
    log.clean()
    clean = log.log.first_dirty_offset
    assert (tmp_path / "cleaner-offset-checkpoint").read_text() == f"0\n1\ntopic 0 {clean}\n"
    log.dirs.close()
    log.open()
    assert log.log.first_dirty_offset == clean
    assert log.clean() == 0


def test_producer_states_and_epochs_survive_a_restart_of_a_compacted_log(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    fill(log)
    log.clean()
    before = log.records()
    crash(log.dirs)
    log.open()
    assert log.records() == before
    assert log.log.epoch_for_offset(0) == 0


# --- the rate


def test_rate_is_that_of_all_threads_together() -> None:
    now = 100.0
    throttle = Throttle(1000, lambda: now)
    assert throttle.wait_s(throttle.take(500)) == 0.5
    assert throttle.wait_s(throttle.take(500)) == 1.0
    now = 102.0
    assert throttle.wait_s(throttle.take(100)) == pytest.approx(0.1)


def test_rate_that_changes_counts_for_who_waits_already() -> None:
    now = 100.0
    throttle = Throttle(1e308, lambda: now)
    assert throttle.wait_s(throttle.take(1_000_000)) == 0
    throttle.change(10)
    waiting = throttle.take(500)
    assert throttle.wait_s(waiting) == 50
    now = 110.0
    throttle.change(1000)
    assert throttle.wait_s(waiting) == pytest.approx(0.4)
    throttle.change(-1)
    assert throttle.wait_s(waiting) == 0


def test_cleaner_keeps_within_its_rate(tmp_path: Path) -> None:
    log = CompactedLog(tmp_path)
    log.dirs.close()
    log.open(log_cleaner_io_max_bytes_per_second="1000")
    fill(log)
    log.dirs.cleaner.look()
    log.dirs.close()  # it would take seconds; stopping does not wait for that
    log.open()
    assert log.log.first_dirty_offset == -1
    assert leftovers(log.log) == []

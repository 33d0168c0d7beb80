"""Directories: locks, identity, checkpoints, deletion, retention, failures of the disk."""

import errno
import gc
import os
import resource
import signal
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.config import BrokerConfig
from pykbroker.errors import KafkaError, StorageError
from pykbroker.log import directory_names
from pykbroker.log.log_dirs import LogDirs
from pykbroker.log.partition_log import PartitionLog
from pykbroker.topic_partition import TopicPartition
from tests.log.support import (
    NOW,
    TOPIC_ID,
    TP,
    append,
    crash,
    files,
    new_log,
    open_dirs,
    reopen,
    topic_config,
    values_of,
)
from wire.errors import ErrorCode

CLUSTER = "AAAAAAAAQACAAAAAAAAAAA"


def wait_for_flusher(dirs: LogDirs) -> None:
    for directory in dirs.directories:
        directory.flusher.stop()


def test_directory_in_use_is_refused_in_one_line(tmp_path: Path) -> None:
    dirs = open_dirs(tmp_path)
    with pytest.raises(StorageError, match="in use by another broker"):
        open_dirs(tmp_path)
    dirs.close()
    open_dirs(tmp_path).close()


def test_directory_of_another_node_is_refused(tmp_path: Path) -> None:
    dirs = open_dirs(tmp_path, node_id="1")
    dirs.write_meta_properties(CLUSTER)
    dirs.close()
    with pytest.raises(StorageError, match="belongs to node 1"):
        open_dirs(tmp_path, node_id="2")


def test_meta_properties_are_kafkas_and_read_back(tmp_path: Path) -> None:
    dirs = open_dirs(tmp_path)
    assert dirs.cluster_id is None
    dirs.write_meta_properties(CLUSTER)
    directory_id = dirs.directories[0].directory_id
    dirs.close()
    lines = (tmp_path / "meta.properties").read_text().splitlines()
    assert lines[0] == "#"
    assert {line.split("=")[0] for line in lines[2:]} == {"cluster.id", "directory.id", "node.id", "version"}
    dirs = open_dirs(tmp_path)
    assert (dirs.cluster_id, dirs.directories[0].directory_id) == (CLUSTER, directory_id)


def test_unreadable_meta_properties_are_refused(tmp_path: Path) -> None:
    (tmp_path / "meta.properties").write_bytes(b"\x00garbage")
    with pytest.raises(StorageError, match="not readable"):
        open_dirs(tmp_path)


def test_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        open_dirs(tmp_path / "file" / "data")


def test_checkpoints_have_kafkas_format(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path)
    append(log, b"1", b"2")
    log.advance_log_start(1)
    dirs.checkpoint_high_watermarks({TP: 2})
    dirs.close()
    assert (tmp_path / "replication-offset-checkpoint").read_text() == "0\n1\ntopic 0 2\n"
    assert (tmp_path / "recovery-point-offset-checkpoint").read_text() == "0\n1\ntopic 0 2\n"
    assert (tmp_path / "log-start-offset-checkpoint").read_text() == "0\n1\ntopic 0 1\n"
    assert (log.directory / "leader-epoch-checkpoint").read_text() == "0\n1\n0 1\n"
    assert (log.directory / "partition.metadata").read_text() == "version: 0\ntopic_id: AAECAwQFBgcICQoLDA0ODw"
    dirs, log = reopen(tmp_path)
    assert dirs.high_watermarks() == {TP: 2}
    assert (log.topic_id, log.log_start_offset) == (TOPIC_ID, 1)


def test_new_partition_goes_to_the_emptiest_directory(tmp_path: Path) -> None:
    dirs = LogDirs([tmp_path / "a", tmp_path / "b"], BrokerConfig.from_properties({}), SimulatedClock(NOW))
    dirs.open()
    for index in range(4):
        dirs.create(TopicPartition("t", index), TOPIC_ID, topic_config())
    assert [len(list((tmp_path / name).glob("t-*"))) for name in "ab"] == [2, 2]


def test_deleted_partition_is_renamed_then_removed(tmp_path: Path) -> None:
    clock = SimulatedClock(NOW)
    dirs, log = new_log(tmp_path, clock)
    append(log, b"v")
    dirs.delete(TP)
    assert dirs.get(TP) is None
    (renamed,) = tmp_path.glob("topic-0.*-delete")
    again = dirs.create(TP, bytes(16), topic_config())
    assert again.log_end_offset == 0
    clock.advance(60_000)
    wait_for_flusher(dirs)
    assert not renamed.exists()
    assert again.directory.exists()


def test_half_deleted_partition_is_removed_at_start(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path)
    append(log, b"v")
    dirs.delete(TP)
    crash(dirs)
    dirs = open_dirs(tmp_path)
    wait_for_flusher(dirs)
    assert dirs.all() == []
    assert not list(tmp_path.glob("*-delete"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a-0", ("a", 0)),
        ("a-b-12", ("a-b", 12)),
        ("__consumer_offsets-49", ("__consumer_offsets", 49)),
        ("__cluster_metadata-0", None),
        ("lost+found", None),
        ("-0", None),
        ("a-", None),
        ("a-x", None),
    ],
)
def test_directory_names_are_partitions_or_not(name: str, expected: tuple[str, int] | None) -> None:
    assert directory_names.parse(name) == expected


# --- retention


def test_retention_by_time_removes_old_segments_and_moves_the_start(tmp_path: Path) -> None:
    clock = SimulatedClock(NOW)
    _, log = new_log(tmp_path, clock, internal_segment_bytes=200, retention_ms=1000, file_delete_delay_ms=20_000)
    for number in range(5):
        append(log, bytes(90), timestamp=NOW + number * 500)
    assert log.apply_retention(NOW + 1600) == 2
    assert (log.log_start_offset, [segment.base_offset for segment in log.segments]) == (2, [2, 3, 4])
    assert (log.directory / "00000000000000000000.log.deleted").exists()
    clock.advance(20_000)
    assert not list(log.directory.glob("*.deleted"))
    assert [offset for offset, _ in values_of(log, 2)] == [2, 3, 4]


def test_retention_begins_after_the_initial_delay_and_goes_on_at_its_interval(tmp_path: Path) -> None:
    clock = SimulatedClock(NOW)
    dirs = open_dirs(tmp_path, clock, log_initial_task_delay_ms="20000", log_retention_check_interval_ms="300000")
    log = dirs.create(TP, TOPIC_ID, topic_config(internal_segment_bytes=200, retention_ms=1000))
    dirs.high_watermark_of = lambda topic_partition: log.log_end_offset
    for number in range(4):
        append(log, bytes(90), timestamp=NOW + number * 100_000)
    clock.advance(19_999)
    assert log.log_start_offset == 0
    clock.advance(1)
    assert log.log_start_offset == 1
    clock.advance(299_999)
    assert log.log_start_offset == 1
    clock.advance(1)
    assert log.log_start_offset == 4


def test_slow_reader_reads_on_in_a_segment_that_retention_removed(tmp_path: Path) -> None:
    clock = SimulatedClock(NOW)
    _, log = new_log(tmp_path, clock, internal_segment_bytes=200, retention_ms=1000, file_delete_delay_ms=10)
    for number in range(4):
        append(log, b"%d" % number * 90)
    piece = log.read(0, 1000, end_offset=4, min_one_batch=True)
    assert piece is not None
    before = piece.read()
    log.advance_log_start(2)
    assert log.apply_retention(NOW) == 2
    clock.advance(11)
    assert not (log.directory / "00000000000000000000.log.deleted").exists()
    assert piece.read() == before
    assert piece.after(50).read() == before[50:]
    with pytest.raises(KafkaError) as raised:
        log.read(1, 1000, end_offset=4, min_one_batch=True)
    assert raised.value.code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_record_from_the_future_pins_only_its_own_segment_and_those_after_it(tmp_path: Path) -> None:
    """A topic may let such records in; by default message.timestamp.after.max.ms refuses them."""
    limit = 10**12
    _, log = new_log(tmp_path, internal_segment_bytes=200, retention_ms=1000, message_timestamp_after_max_ms=limit)
    for timestamp in (NOW, NOW + 10**9, NOW, NOW):
        append(log, bytes(90), timestamp=timestamp)
    assert log.apply_retention(NOW + 2000) == 1
    with pytest.raises(KafkaError) as raised:
        append(log, bytes(90), timestamp=NOW + limit + 1)
    assert raised.value.code == ErrorCode.INVALID_TIMESTAMP


def test_local_retention_means_nothing_without_tiered_storage(tmp_path: Path) -> None:
    _, log = new_log(
        tmp_path, internal_segment_bytes=200, retention_ms=-1, local_retention_ms=1, local_retention_bytes=1
    )
    for _ in range(4):
        append(log, bytes(90))
    assert log.apply_retention(NOW + 10**9) == 0


def test_retention_of_everything_rolls_and_keeps_the_end_offset(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, retention_ms=1000)
    append(log, b"v", b"w")
    assert log.apply_retention(NOW + 5000) == 1
    assert (log.log_start_offset, log.log_end_offset, log.size_bytes) == (2, 2, 0)
    assert append(log, b"x").base_offset == 2
    assert log.apply_retention(NOW) == 0


def test_retention_by_size_keeps_at_least_the_size(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, internal_segment_bytes=200, retention_bytes=400, retention_ms=-1)
    for _ in range(6):
        append(log, bytes(90))
    log.apply_retention(NOW)
    assert 400 <= log.size_bytes < 400 + 200


def test_retention_stays_below_the_high_watermark(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, internal_segment_bytes=200, retention_ms=0)
    for _ in range(4):
        append(log, bytes(90))
    assert log.apply_retention(NOW + 10, high_watermark=2) == 2
    assert log.log_start_offset == 2


def test_retention_of_compacted_topics_only_follows_the_start_offset(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, internal_segment_bytes=200, retention_ms=0, cleanup_policy="compact")
    for _ in range(4):
        append(log, bytes(90))
    assert log.apply_retention(NOW + 10**9) == 0
    log.advance_log_start(2)
    assert log.apply_retention(NOW) == 2


def test_retention_runs_by_itself(tmp_path: Path) -> None:
    clock = SimulatedClock(NOW)
    dirs, log = new_log(tmp_path, clock, internal_segment_bytes=200, retention_ms=1000)
    append(log, bytes(90))
    append(log, bytes(90))
    clock.advance(300_000)
    assert log.log_start_offset == 2
    wait_for_flusher(dirs)


# --- durability and failures


def test_flush_messages_moves_the_recovery_point(tmp_path: Path) -> None:
    clock = SimulatedClock(NOW)
    dirs, log = new_log(tmp_path, clock, flush_messages=2)
    append(log, b"1")
    assert log.recovery_point == 0
    append(log, b"2")
    assert log.recovery_point == 2
    dirs.checkpoint_recovery_points()
    assert (tmp_path / "recovery-point-offset-checkpoint").read_text() == "0\n1\ntopic 0 2\n"


def test_append_that_reaches_flush_messages_has_flushed_all_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, log = new_log(tmp_path, flush_messages=3, internal_segment_bytes=200)
    flushed: list[str] = []

    def fsync(fd: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{fd}"))

    append(log, bytes(90))
    append(log, bytes(90))
    monkeypatch.setattr(os, "fsync", fsync)
    append(log, bytes(90))
    assert len(log.segments) == 3
    assert {segment.file.path for segment in log.segments} <= set(flushed)


def test_append_whose_flush_fails_is_a_storage_error(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path, flush_messages=1)
    append(log, b"1")
    break_fsync(log)
    with pytest.raises(KafkaError) as raised:
        append(log, b"2")
    assert raised.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    assert dirs.directories[0].offline is not None
    assert log.recovery_point == 1


def test_flush_ms_is_followed(tmp_path: Path) -> None:
    clock = SimulatedClock(NOW)
    dirs = open_dirs(tmp_path, clock, log_flush_scheduler_interval_ms="100", log_initial_task_delay_ms="0")
    log = dirs.create(TP, TOPIC_ID, topic_config(flush_ms=1000))
    append(log, b"1")
    clock.advance(1100)
    wait_for_flusher(dirs)
    dirs.checkpoint_recovery_points()
    assert log.recovery_point == 1


def test_offline_directory_answers_storage_error_and_others_go_on(tmp_path: Path) -> None:
    dirs = LogDirs([tmp_path / "a", tmp_path / "b"], BrokerConfig.from_properties({}), SimulatedClock(NOW))
    dirs.open()
    bad, good = (dirs.create(TopicPartition("t", index), TOPIC_ID, topic_config()) for index in range(2))
    append(bad, b"v")
    bad.log_directory.failed(OSError(errno.EIO, "input/output error"))
    for attempt in (lambda: append(bad, b"v"), lambda: bad.read(0, 10, end_offset=1, min_one_batch=True)):
        with pytest.raises(KafkaError) as raised:
            attempt()
        assert raised.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    append(good, b"v")
    created = dirs.create(TopicPartition("t", 2), TOPIC_ID, topic_config())
    assert created.log_directory is good.log_directory
    dirs.close()
    assert not (tmp_path / "a" / ".kafka_cleanshutdown").exists()
    assert (tmp_path / "b" / ".kafka_cleanshutdown").exists()


def test_write_beyond_the_file_size_limit_fails_and_the_next_succeeds(tmp_path: Path) -> None:
    """A full disk: RLIMIT_FSIZE makes the kernel write short, then fail, as a full disk does."""
    dirs, log = new_log(tmp_path)
    append(log, b"1")
    size = log.size_bytes
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, hard))
        with pytest.raises(KafkaError) as raised:
            append(log, bytes(1000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert raised.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    assert (log.log_end_offset, log.size_bytes) == (1, size)
    assert (log.directory / "00000000000000000000.log").stat().st_size == size
    assert append(log, b"2").base_offset == 1
    assert values_of(log) == [(0, b"1"), (1, b"2")]
    crash(dirs)
    _, log = reopen(tmp_path)
    assert values_of(log) == [(0, b"1"), (1, b"2")]


def test_too_many_open_files_fails_and_the_next_succeeds(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    if not used:
        pytest.skip("needs /proc/self/fd")
    gc.collect()
    gc.disable()  # what it closes would make room
    taken = [os.dup(0) for _ in range(used + 2 - len(os.listdir("/proc/self/fd")))]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken, default=used) + 1, hard))
        while True:
            try:
                taken.append(os.dup(0))
            except OSError:
                break
        with pytest.raises(KafkaError) as raised:
            append(log, b"1")
    finally:
        gc.enable()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)
    assert raised.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    assert append(log, b"1").base_offset == 0
    dirs.close()


def break_fsync(log: PartitionLog) -> None:
    """Have the index of the active segment lie where it can be written but not flushed."""
    index = log.segments[-1].offset_index.file.open(create=True)
    special = os.open("/dev/null", os.O_RDWR)  # its fsync fails with EINVAL
    os.dup2(special, index.fd)
    os.close(special)


def test_failed_flush_takes_the_directory_offline(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path)
    append(log, b"1")
    directory = dirs.directories[0]
    break_fsync(log)
    log.request_flush()
    directory.flusher.stop()
    assert directory.offline is not None
    with pytest.raises(KafkaError) as raised:
        append(log, b"2")
    assert raised.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    assert log.recovery_point == 0


# --- many partitions


def test_open_files_are_bounded(tmp_path: Path) -> None:
    dirs = open_dirs(tmp_path)
    pool = dirs.directories[0].pool
    pool.max_open = 10
    logs = [dirs.create(TopicPartition("t", index), TOPIC_ID, topic_config()) for index in range(40)]
    for _ in range(3):
        for log in logs:
            append(log, b"v")
    assert len(pool) <= 10
    assert all(values_of(log) == [(0, b"v"), (1, b"v"), (2, b"v")] for log in logs)
    dirs.close()


def test_empty_partitions_cost_a_directory_and_little_memory(tmp_path: Path) -> None:
    dirs = open_dirs(tmp_path)
    config = topic_config()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for index in range(500):
        dirs.create(TopicPartition("t", index), TOPIC_ID, config)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (after - before) / 500 < 2048
    assert len(dirs.directories[0].pool) == 0
    dirs.close()
    assert set(files(tmp_path / "t-7")) == {"partition.metadata"}


def test_ephemeral_close_leaves_no_thread(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    dirs = open_dirs(tmp_path, ephemeral=True)
    log = dirs.create(TP, TOPIC_ID, topic_config(flush_messages=1))
    append(log, b"v")
    log.roll()
    dirs.directories[0].flusher.remove_directory(str(tmp_path / "gone"))
    assert set(threading.enumerate()) != before
    dirs.close()
    assert set(threading.enumerate()) == before
    assert not (tmp_path / ".kafka_cleanshutdown").exists()

"""What an unclean stop, a torn file or a flipped bit does to a log, and what is repaired."""

import os
import random
import struct
import zlib
from pathlib import Path

import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.errors import KafkaError, StorageError
from pykbroker.log.checkpoints import CLEAN_SHUTDOWN, HIGH_WATERMARKS, LOG_START_OFFSETS, RECOVERY_POINTS
from pykbroker.log.partition_log import PartitionLog
from tests.log.support import NOW, TP, append, batch, crash, files, new_log, open_dirs, reopen, values_of
from wire.errors import ErrorCode
from wire.records import ControlType, batch_crc, build_end_txn_marker, iter_batches

SMALL = {"internal_segment_bytes": 400, "index_interval_bytes": 0}
GARBAGE = random.Random(3).randbytes(100)

EVERYTHING = 2**31  # bytes of a segment


def fill(log: PartitionLog, count: int = 12, size: int = 60) -> list[tuple[int, bytes]]:
    """Append an idempotent producer's records over three epochs, and an aborted transaction at the end."""
    for number in range(count):
        append(
            log,
            b"%03d" % number * (size // 3),
            timestamp=NOW + number,
            epoch=number // 4,
            producer_id=1,
            producer_epoch=0,
            base_sequence=number,
        )
    append(log, b"aborted", epoch=3, producer_id=2, producer_epoch=0, base_sequence=0, is_transactional=True)
    marker = build_end_txn_marker(
        ControlType.ABORT, producer_id=2, producer_epoch=0, coordinator_epoch=0, timestamp=NOW
    )
    log.append_as_leader(memoryview(marker), leader_epoch=3, from_client=False)
    return [(number, b"%03d" % number * (size // 3)) for number in range(count)]


def assert_whole(log: PartitionLog, expected: list[tuple[int, bytes]]) -> None:
    """Everything that `fill` wrote is there, with everything that is derived from it."""
    end_offset = len(expected) + 2
    assert log.log_end_offset == end_offset
    for offset in range(end_offset - 2):
        assert values_of(log, offset)[: len(expected) - offset] == expected[offset:]
    assert [log.epoch_for_offset(offset) for offset in (0, 4, 8, 12)] == [0, 1, 2, 3]
    assert log.offset_for_timestamp(NOW + 7) == (NOW + 7, 7, 1)
    assert log.offset_of_max_timestamp() == (NOW + 11, 11, 2)
    assert [each[:3] for each in log.aborted_transactions(12, end_offset, EVERYTHING)] == [(2, 12, 13)]
    repeated = append(log, b"v", timestamp=0, producer_id=1, producer_epoch=0, base_sequence=11)
    assert (repeated.is_duplicate, repeated.base_offset) == (True, 11)


def test_kill_loses_nothing(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path, **SMALL)
    expected = fill(log)
    crash(dirs)
    dirs, log = reopen(tmp_path, **SMALL)
    assert dirs.was_unclean
    assert_whole(log, expected)


def test_clean_stop_writes_what_recovery_would(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path, internal_segment_bytes=20_000)
    fill(log, size=3000)
    assert len(log.segments) > 1
    dirs.close()
    after_clean_stop = files(log.directory)
    os.unlink(tmp_path / CLEAN_SHUTDOWN)
    os.unlink(tmp_path / RECOVERY_POINTS)
    dirs, log = reopen(tmp_path, **SMALL)
    assert dirs.was_unclean
    dirs.close()
    assert files(log.directory) == after_clean_stop


def test_clean_restart_changes_no_file(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path, **SMALL)
    expected = fill(log)
    dirs.close()
    before = files(log.directory)
    dirs, log = reopen(tmp_path, **SMALL)
    assert not dirs.was_unclean
    assert_whole(log, expected)
    dirs.close()
    assert files(log.directory) == before


def test_last_batch_torn_at_every_byte_is_cut(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path)
    append(log, b"first")
    kept = log.size_bytes
    append(log, b"second")
    whole = log.size_bytes
    crash(dirs)
    path = log.directory / "00000000000000000000.log"
    data = path.read_bytes()
    for size in range(kept, whole):
        path.write_bytes(data[:size])
        dirs, log = reopen(tmp_path)
        assert values_of(log) == [(0, b"first")]
        assert (log.log_end_offset, path.stat().st_size) == (1, kept)
        assert append(log, b"again").base_offset == 1
        crash(dirs)


def test_last_batch_damaged_at_every_byte_is_cut(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path)
    append(log, b"first")
    kept = log.size_bytes
    append(log, b"second")
    crash(dirs)
    path = log.directory / "00000000000000000000.log"
    data = path.read_bytes()
    outside_crc = {*range(kept, kept + 8), *range(kept + 12, kept + 16)}  # base offset, leader epoch
    for position in sorted(set(range(kept, len(data))) - outside_crc):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        path.write_bytes(damaged)
        dirs, log = reopen(tmp_path)
        assert values_of(log) == [(0, b"first")], position
        crash(dirs)


def test_zeroed_page_at_the_end_is_cut(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path)
    expected = fill(log)
    crash(dirs)
    with (log.directory / "00000000000000000000.log").open("ab") as file:
        file.write(bytes(4096))
    dirs, log = reopen(tmp_path)
    assert_whole(log, expected)


def test_damage_in_an_unflushed_segment_ends_the_log_there(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path, **SMALL)
    fill(log)
    crash(dirs)
    bases = sorted(int(name[:20]) for name in files(log.directory) if name.endswith(".log"))
    flip(log.directory / f"{bases[1]:020d}.log", 70)
    dirs, log = reopen(tmp_path, **SMALL)
    assert log.log_end_offset == bases[1]
    assert [offset for offset, _ in values_of(log)] == list(range(bases[1]))
    assert append(log, b"next", producer_id=1, producer_epoch=0, base_sequence=bases[1]).base_offset == bases[1]


def flip(path: Path, position: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1
    path.write_bytes(data)


def test_flipped_bit_in_an_old_segment_is_served_as_it_is(tmp_path: Path) -> None:
    """The client sees the wrong CRC; nothing is skipped, and what follows is there."""
    dirs, log = new_log(tmp_path, **SMALL)
    fill(log)
    dirs.close()
    path = log.directory / "00000000000000000000.log"
    before = path.read_bytes()
    flip(path, 100)
    dirs, log = reopen(tmp_path, **SMALL)
    piece = log.read(0, 1 << 20, end_offset=log.log_end_offset, min_one_batch=True)
    assert piece is not None
    assert piece.read() == path.read_bytes() != before
    assert values_of(log, 4)[0][0] == 4


@pytest.mark.parametrize("position", [8, 10, 16])
def test_batch_whose_length_or_magic_is_damaged_fails_and_others_are_served(tmp_path: Path, position: int) -> None:
    dirs, log = new_log(tmp_path, index_interval_bytes=0)
    fill(log)
    dirs.close()
    path = log.directory / "00000000000000000000.log"
    starts = [header.base_offset for header, _ in iter_batches(path.read_bytes())]
    sizes = [header.size for header, _ in iter_batches(path.read_bytes())]
    flip(path, sum(sizes[:5]) + position)
    dirs, log = reopen(tmp_path, index_interval_bytes=0)
    if position == 10:  # a length that could be: the client finds the wrong CRC
        piece = log.read(starts[5], 1000, end_offset=log.log_end_offset, min_one_batch=True)
        assert piece is not None
        header, raw = next(iter_batches(piece.read()))
        assert (header.base_offset, batch_crc(raw) == header.crc) == (5, False)
    else:
        with pytest.raises(KafkaError) as raised:
            log.read(starts[5], 1000, end_offset=log.log_end_offset, min_one_batch=True)
        assert raised.value.code == ErrorCode.CORRUPT_MESSAGE
    for offset in (0, 4, 6, 11):
        piece = log.read(offset, 1, end_offset=log.log_end_offset, min_one_batch=True)
        assert piece is not None
        assert next(iter_batches(piece.read()))[0].base_offset == offset


DERIVED = (".index", ".timeindex", ".snapshot", "leader-epoch-checkpoint")


def damaged_versions(data: bytes) -> dict[str, bytes | None]:
    return {
        "deleted": None,
        "empty": b"",
        "cut": data[: len(data) * 2 // 3],
        "torn": data[:-1],
        "garbage": GARBAGE[: max(len(data), 12)],
        "longer": data + b"\xff" * 5,
        "padded": data + bytes(4096),
    }


@pytest.mark.parametrize("stop", ["clean", "crash"])
@pytest.mark.parametrize("damage", damaged_versions(b""))
def test_each_derived_file_damaged_is_rebuilt(tmp_path: Path, damage: str, stop: str) -> None:
    dirs, log = new_log(tmp_path, **SMALL)
    expected = fill(log)
    dirs.close()
    whole = files(log.directory)
    for name in [name for name in whole if name.endswith(DERIVED)]:
        for other, data in whole.items():
            (log.directory / other).write_bytes(data)
        version = damaged_versions(whole[name])[damage]
        if version is None:
            (log.directory / name).unlink()
        else:
            (log.directory / name).write_bytes(version)
        if stop == "crash":
            (tmp_path / CLEAN_SHUTDOWN).unlink(missing_ok=True)
        dirs, log = reopen(tmp_path, **SMALL)
        assert_whole(log, expected)
        dirs.close()


@pytest.mark.parametrize("damage", ["cut", "garbage", "torn"])
def test_damaged_transaction_index_is_rebuilt(tmp_path: Path, damage: str) -> None:
    dirs, log = new_log(tmp_path, internal_segment_bytes=400)
    expected = fill(log)
    dirs.close()
    (path,) = log.directory.glob("*.txnindex")
    version = damaged_versions(path.read_bytes())[damage]
    assert version is not None
    path.write_bytes(version)
    _, log = reopen(tmp_path)
    assert_whole(log, expected)


@pytest.mark.parametrize("damage", damaged_versions(b""))
@pytest.mark.parametrize("name", [RECOVERY_POINTS, LOG_START_OFFSETS, HIGH_WATERMARKS, CLEAN_SHUTDOWN])
def test_damaged_checkpoint_loses_no_record(tmp_path: Path, name: str, damage: str) -> None:
    dirs, log = new_log(tmp_path, **SMALL)
    expected = fill(log)
    dirs.checkpoint_high_watermarks({TP: log.log_end_offset})
    dirs.close()
    path = tmp_path / name
    version = damaged_versions(path.read_bytes())[damage]
    if version is None:
        path.unlink()
    else:
        path.write_bytes(version)
    dirs, log = reopen(tmp_path, **SMALL)
    assert_whole(log, expected)
    assert dirs.high_watermarks() in ({}, {TP: 14})


def test_lying_index_entry_is_found_out(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path, index_interval_bytes=0)
    expected = fill(log)
    dirs.close()
    path = log.directory / "00000000000000000000.index"
    data = bytearray(path.read_bytes())
    for entry in range(0, len(data) - 8, 8):  # the last one is checked when the file is opened
        struct.pack_into(">I", data, entry + 4, struct.unpack_from(">I", data, entry + 4)[0] + 7)
    path.write_bytes(data)
    _, log = reopen(tmp_path, index_interval_bytes=0)
    assert_whole(log, expected)


def test_crash_in_the_middle_of_a_deletion_is_finished(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path, **SMALL)
    fill(log)
    dirs.close()
    bases = sorted(int(name[:20]) for name in files(log.directory) if name.endswith(".log"))
    for suffix in (".log", ".index"):
        path = log.directory / f"{0:020d}{suffix}"
        path.rename(f"{path}.deleted")
    _, log = reopen(tmp_path, **SMALL)
    assert log.log_start_offset == bases[1]
    assert not [name for name in files(log.directory) if name.endswith(".deleted") or name.startswith("0" * 20)]
    assert values_of(log, bases[1])[0][0] == bases[1]


@pytest.mark.parametrize("finished", [False, True])
def test_crash_in_the_middle_of_a_compaction_is_finished_or_undone(tmp_path: Path, finished: bool) -> None:
    dirs, log = new_log(tmp_path)
    for value in (b"old0", b"old1"):
        append(log, value)
    dirs.close()
    compacted = batch(b"new1")
    struct.pack_into(">q", compacted, 0, 1)
    suffix = ".swap" if finished else ".cleaned"
    (log.directory / f"00000000000000000000.log{suffix}").write_bytes(bytes(compacted))
    _, log = reopen(tmp_path)
    assert values_of(log) == ([(1, b"new1")] if finished else [(0, b"old0"), (1, b"old1")])


def test_old_message_format_is_refused_with_a_clear_line(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path)
    append(log, b"v")
    dirs.close()
    body = struct.pack(">bbqi", 1, 0, NOW, -1) + struct.pack(">i", 5) + b"value"
    message = struct.pack(">I", zlib.crc32(body)) + body
    (log.directory / "00000000000000000000.log").write_bytes(struct.pack(">qi", 0, len(message)) + message)
    (tmp_path / CLEAN_SHUTDOWN).unlink()
    with pytest.raises(StorageError, match="format version 1"):
        open_dirs(tmp_path)


def test_log_start_offset_above_the_end_starts_anew_there(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path)
    for _ in range(5):
        append(log, b"v")
    log.advance_log_start(4)
    dirs.close()
    path = log.directory / "00000000000000000000.log"
    path.write_bytes(path.read_bytes()[:100])
    _, log = reopen(tmp_path)
    assert (log.log_start_offset, log.log_end_offset) == (4, 4)
    assert append(log, b"w").base_offset == 4


def test_padded_indexes_of_a_crashed_kafka_are_usable(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path, index_interval_bytes=0)
    expected = fill(log)
    dirs.close()
    for suffix in (".index", ".timeindex"):
        path = log.directory / f"00000000000000000000{suffix}"
        path.write_bytes(path.read_bytes().ljust(120_000 // 24 * 24, b"\0"))
    _, log = reopen(tmp_path, index_interval_bytes=0)
    assert_whole(log, expected)


def test_clock_at_1970_does_not_break_the_start(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path, **SMALL)
    expected = fill(log)
    crash(dirs)
    _, log = reopen(tmp_path, SimulatedClock(0), **SMALL)
    assert_whole(log, expected)

"""scripts/chaos compares replicas byte for byte, wherever their segments end."""

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest
from chaos_rig.replicas import batches_of, compare_replicas
from support.frames import batch, record


def batch_at(base_offset: int, values: Sequence[bytes]) -> bytes:
    records = b"".join(record(delta, value) for delta, value in enumerate(values))
    return batch(records, len(values), base_offset=base_offset, base_timestamp=1, max_timestamp=1)


BATCHES = [batch_at(0, [b"a", b"b"]), batch_at(2, [b"c"]), batch_at(3, [b"d", b"e", b"f"])]


def replica(directory: Path, *segments: tuple[int, bytes]) -> Path:
    directory.mkdir()
    for base_offset, data in segments:
        (directory / f"{base_offset:020}.log").write_bytes(data)
    return directory


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return replica(tmp_path / "whole", (0, b"".join(BATCHES)))


def test_replicas_that_rolled_elsewhere_are_equal(tmp_path: Path, whole: Path) -> None:
    other = replica(tmp_path / "other", (0, BATCHES[0]), (2, BATCHES[1] + BATCHES[2]))
    assert compare_replicas({1: whole, 2: other}, 6) == []


def test_what_lies_above_the_high_watermark_does_not_count(tmp_path: Path, whole: Path) -> None:
    other = replica(tmp_path / "other", (0, BATCHES[0] + BATCHES[1] + batch_at(3, [b"x", b"y"])))
    assert compare_replicas({1: whole, 2: other}, 3) == []


def test_one_other_byte_is_found(tmp_path: Path, whole: Path) -> None:
    other_epoch = bytearray(BATCHES[1])
    struct.pack_into(">i", other_epoch, 12, 7)
    other = replica(tmp_path / "other", (0, BATCHES[0] + bytes(other_epoch) + BATCHES[2]))
    (complaint,) = compare_replicas({1: whole, 2: other}, 6)
    assert complaint.startswith("brokers 1 and 2 differ at offset 2: byte 12 ")


def test_shorter_replica_is_found(tmp_path: Path, whole: Path) -> None:
    other = replica(tmp_path / "other", (0, BATCHES[0] + BATCHES[1] + BATCHES[2][:-1]))
    assert compare_replicas({1: whole, 2: other}, 6) == [
        "the log of broker(s) [2] ends at 3, below the high watermark 6"
    ]


def test_logs_that_all_end_below_the_high_watermark_are_found(whole: Path) -> None:
    assert compare_replicas({1: whole}, 8) == ["the logs end at 6, the high watermark is 8"]


def test_empty_replicas_are_equal(tmp_path: Path) -> None:
    assert compare_replicas({1: replica(tmp_path / "one", (0, b"")), 2: replica(tmp_path / "two")}, 0) == []


def test_batches_are_read_as_they_lie(whole: Path) -> None:
    assert list(batches_of(whole, 6)) == [(0, BATCHES[0]), (2, BATCHES[1]), (3, BATCHES[2])]

"""What a loss of power leaves on a simulated disk."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulation.disk import MEMORY, Disk
from tests.simulation.world import Trace, World

SEEDS = range(60)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder where inodes are numbered in the order of their creation."""
    if not MEMORY.is_dir():
        pytest.skip("there is no file system in memory")
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def disk_of(folder: Path, seed: int) -> Disk:
    return Disk(World(seed, Trace()), folder / f"disk-{seed}")


def flush(disk: Disk, *paths: Path) -> None:
    """What `os.fsync` tells the disks while a simulation runs."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        for told in disk.world.on_fsync:
            told(fd)
        os.close(fd)


def after_power_loss(disk: Disk, path: Path) -> bytes | None:
    disk.restore(disk.lose_power())
    return path.read_bytes() if path.exists() else None


def test_flushed_file_in_a_flushed_folder_survives(tmp_path: Path) -> None:
    for seed in SEEDS:
        disk = disk_of(tmp_path, seed)
        path = disk.root / "log"
        path.write_bytes(b"safe")
        flush(disk, path, disk.root)
        assert after_power_loss(disk, path) == b"safe"


def test_what_was_appended_since_the_flush_survives_in_part(tmp_path: Path) -> None:
    left = set()
    for seed in SEEDS:
        disk = disk_of(tmp_path, seed)
        path = disk.root / "log"
        path.write_bytes(b"safe")
        flush(disk, path, disk.root)
        path.write_bytes(b"safe and not")
        left.add(after_power_loss(disk, path))
    assert all(each is not None and each.startswith(b"safe") for each in left)
    assert {b"safe and not", b"safe and"} <= left  # all of it, and a part
    assert any(each is not None and each.endswith(b"\0") for each in left)


def test_file_that_was_never_flushed_may_be_gone_and_takes_later_ones_along(memory: Path) -> None:
    left = set()
    for seed in SEEDS:
        disk = disk_of(memory, seed)
        for name in ("first", "second"):
            (disk.root / name).write_bytes(name.encode())
        disk.restore(disk.lose_power())
        left.add(tuple(sorted(path.name for path in disk.root.iterdir())))
    assert left <= {(), ("first",), ("first", "second")}
    assert len(left) > 1


def test_rewritten_file_survives_as_one_version_or_the_other(tmp_path: Path) -> None:
    left = set()
    for seed in SEEDS:
        disk = disk_of(tmp_path, seed)
        path = disk.root / "checkpoint"
        path.write_bytes(b"old")
        flush(disk, path, disk.root)
        path.write_bytes(b"new")
        left.add(after_power_loss(disk, path))
    assert left == {b"old", b"new"}

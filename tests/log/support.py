"""Logs in temporary directories, and batches to put into them."""

import os
from pathlib import Path

import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.config import BrokerConfig
from pykbroker.log.log_dirs import LogDirs
from pykbroker.log.partition_log import AppendInfo, PartitionLog
from pykbroker.topic_config import TopicConfig
from pykbroker.topic_partition import TopicPartition
from wire.records import Record, build_batch, iter_batches, read_records

TP = TopicPartition("topic", 0)
TOPIC_ID = bytes(range(16))
NOW = 1_700_000_000_000


def topic_config(**overrides: object) -> TopicConfig:
    """Kafka's names with underscores; `internal_segment_bytes` makes segments smaller than a topic may."""
    broker = BrokerConfig.from_properties({})
    return TopicConfig.build(broker, {name.replace("_", "."): str(value) for name, value in overrides.items()})


def open_dirs(
    path: Path, clock: SimulatedClock | None = None, *, ephemeral: bool = False, **properties: str
) -> LogDirs:
    config = BrokerConfig.from_properties({name.replace("_", "."): value for name, value in properties.items()})
    dirs = LogDirs([path], config, clock or SimulatedClock(NOW), ephemeral=ephemeral)
    dirs.open()
    return dirs


def new_log(path: Path, clock: SimulatedClock | None = None, **overrides: object) -> tuple[LogDirs, PartitionLog]:
    dirs = open_dirs(path, clock)
    return dirs, dirs.create(TP, TOPIC_ID, topic_config(**overrides))


def reopen(path: Path, clock: SimulatedClock | None = None, **overrides: object) -> tuple[LogDirs, PartitionLog]:
    dirs = open_dirs(path, clock)
    log = dirs.get(TP)
    assert log is not None
    log.update_config(topic_config(**overrides))
    return dirs, log


def crash(dirs: LogDirs) -> None:
    """Let go of the directory as kill -9 would: what was written is in the page cache, nothing else happens."""
    dirs.close(clean=False)


def batch(*values: bytes | None, timestamp: int = NOW, **options: object) -> memoryview:
    """Build a client's batch; each value has the key `k`."""
    records = [Record(timestamp=timestamp, key=b"k", value=value) for value in values]
    return memoryview(build_batch(records, **options))  # type: ignore[arg-type]


def append(log: PartitionLog, *values: bytes, epoch: int = 0, **options: object) -> AppendInfo:
    return log.append_as_leader(batch(*values, **options), leader_epoch=epoch)  # type: ignore[arg-type]


def values_of(log: PartitionLog, offset: int = 0, max_bytes: int = 1 << 20) -> list[tuple[int, bytes | None]]:
    """Read the log from `offset` to its end, as a consumer does."""
    found: list[tuple[int, bytes | None]] = []
    while piece := log.read(offset, max_bytes, end_offset=log.log_end_offset, min_one_batch=True):
        for header, raw in iter_batches(piece.read()):
            found += [(record.offset, record.value) for record in read_records(raw) if record.offset >= offset]
            offset = header.last_offset + 1
    return found


def files(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in sorted(os.listdir(path))}


def forget_pages(fd: int) -> None:
    """Make a file cold: its pages leave the page cache."""
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


def skip_unless_pages_can_be_forgotten(folder: Path) -> None:
    """Try it with a file of its own, as asking for a page may already bring it back."""
    scratch = folder / "scratch"
    fd = os.open(scratch, os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(fd, bytes(8192), 0)
        forget_pages(fd)
        os.preadv(fd, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return
    except OSError as error:
        pytest.skip(f"this file system cannot tell what is in the page cache: {error}")
    finally:
        os.close(fd)
        scratch.unlink()
    pytest.skip("this file system keeps what it is told to forget")

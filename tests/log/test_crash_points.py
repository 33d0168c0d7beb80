"""The process dies before each system call that changes the disk, one after the other; the next start finds it all."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.log.log_dirs import LogDirs
from pykbroker.log.partition_log import PartitionLog
from tests.log.support import NOW, TOPIC_ID, TP, append, crash, open_dirs, topic_config, values_of

CALLS = ("open", "pwrite", "write", "rename", "unlink", "ftruncate", "mkdir", "fsync", "utime")


class Killed(BaseException):
    """The process ends here."""


@contextlib.contextmanager
def killed_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Raise before the call of this number, and before all after it; yields the names of the calls made.

    Those of the story and of the log cleaner count, which take turns.
    """
    made: list[str] = []
    story_thread = threading.current_thread()

    def counted(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object, **options: object) -> object:
            thread = threading.current_thread()
            if thread is story_thread or thread.name == "log-cleaner":  # the flusher comes when it comes
                if len(made) == number:
                    raise Killed
                made.append(name)
            return call(*args, **options)

        return run

    with monkeypatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, counted(name, getattr(os, name)))
        yield made


class Story:
    """A log's life: epochs, rolls, retention, checkpoints, and a clean stop."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.acknowledged: list[tuple[int, bytes]] = []
        self.deleted_below = 0
        self.dirs: LogDirs | None = None

    def run(self) -> None:
        clock = SimulatedClock(NOW)
        # The checkpoints are written once; the retention is applied by hand.
        intervals = {"log_initial_task_delay_ms": "60000", "log_retention_check_interval_ms": str(2**63 - 1)}
        self.dirs = dirs = open_dirs(self.path, clock, **intervals)
        config = topic_config(internal_segment_bytes=300, index_interval_bytes=0, retention_ms=1000)
        log = dirs.get(TP) or dirs.create(TP, TOPIC_ID, config)
        log.update_config(config)
        for number in range(6):
            self.append(log, number)
        self.deleted_below = 4
        log.apply_retention(NOW + 1303)
        log.advance_log_start(3)
        dirs.checkpoint_log_start_offsets()
        dirs.checkpoint_high_watermarks({TP: log.log_end_offset})
        dirs.checkpoint_recovery_points()
        for number in range(6, 9):
            self.append(log, number)
        clock.advance(60_000)
        dirs.close()

    def append(self, log: PartitionLog, number: int) -> None:
        value = b"%d" % number * 100
        info = append(
            log,
            value,
            timestamp=NOW + number * 100,
            epoch=number // 3,
            producer_id=1,
            producer_epoch=0,
            base_sequence=number,
        )
        self.acknowledged.append((info.base_offset, value))


def test_nothing_acknowledged_is_lost_wherever_the_process_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with killed_at(10**9, monkeypatch) as calls:
        Story(tmp_path / "whole").run()
    assert {"pwrite", "rename", "unlink"} <= set(calls)
    for number in range(len(calls)):
        story = Story(tmp_path / str(number))
        with killed_at(number, monkeypatch), contextlib.suppress(Killed):
            story.run()
        if story.dirs is not None:
            crash(story.dirs)
        dirs = open_dirs(story.path)
        log = dirs.get(TP)
        if log is None:
            assert not story.acknowledged
        else:
            check(log, story, number)
        dirs.close()


def check(log: PartitionLog, story: Story, number: int) -> None:
    start = log.log_start_offset
    assert start <= story.deleted_below
    found = values_of(log, start)
    kept = [each for each in story.acknowledged if each[0] >= start]
    assert found[: len(kept)] == kept
    assert len(found) - len(kept) in (0, 1)  # the last batch may be written, but not acknowledged
    for offset, _ in found:
        assert log.epoch_for_offset(offset) == offset // 3, number
    following = log.log_end_offset
    info = append(log, b"x", epoch=9, producer_id=1, producer_epoch=0, base_sequence=following)
    assert info.base_offset == following

"""The process dies before each system call of a move between log directories; the replica must be whole all along."""

import contextlib
import os
from pathlib import Path

import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.config import BrokerConfig
from pykbroker.log.log_dirs import LogDirs
from tests.log.support import NOW, TOPIC_ID, TP, append, crash, topic_config, values_of
from tests.log.test_crash_points import Killed, killed_at

CONFIG = {"internal_segment_bytes": 300, "index_interval_bytes": 0}


def open_both(path: Path, clock: SimulatedClock) -> LogDirs:
    dirs = LogDirs([path / "a", path / "b"], BrokerConfig.from_properties({}), clock)
    dirs.open()
    return dirs


class Story:
    def __init__(self, path: Path) -> None:
        self.acknowledged: list[tuple[int, bytes]] = []
        self.clock = SimulatedClock(NOW)
        self.dirs = open_both(path, self.clock)
        self.dirs.create(TP, TOPIC_ID, topic_config(**CONFIG))
        for number in range(6):
            self.append(number)

    def append(self, number: int) -> None:
        log = self.dirs.get(TP)
        assert log is not None
        value = b"%d" % number * 100
        options = {"producer_id": 1, "producer_epoch": 0, "base_sequence": number}
        self.acknowledged.append((append(log, value, epoch=number // 3, **options).base_offset, value))

    def move(self) -> None:
        log = self.dirs.get(TP)
        assert log is not None
        self.dirs.moves.begin(log, self.dirs.directories[1])
        self.clock.advance(1)
        self.append(6)
        self.clock.advance(50)
        self.append(7)


def test_replica_is_whole_wherever_the_process_dies_in_a_move(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # a killed process does not lose what is in the page cache
    whole = Story(tmp_path / "whole")
    with killed_at(10**9, monkeypatch) as calls:
        whole.move()
    assert {"mkdir", "pwrite", "rename"} <= set(calls)
    log = whole.dirs.get(TP)
    assert log is not None
    assert log.log_directory is whole.dirs.directories[1]
    for number in range(len(calls)):
        story = Story(tmp_path / str(number))
        with killed_at(number, monkeypatch), contextlib.suppress(Killed):
            story.move()
        crash(story.dirs)
        dirs = open_both(tmp_path / str(number), story.clock)
        log = dirs.get(TP)
        assert log is not None, number
        log.update_config(topic_config(**CONFIG))
        found = values_of(log)
        assert found[: len(story.acknowledged)] == story.acknowledged, number
        assert len(found) - len(story.acknowledged) in (0, 1), number
        assert [log.epoch_for_offset(offset) for offset, _ in found] == [offset // 3 for offset, _ in found], number
        dirs.resume_move(log)
        story.clock.advance(100)
        log = dirs.get(TP)
        assert log is not None
        assert values_of(log) == found, number
        following = log.log_end_offset
        options = {"producer_id": 1, "producer_epoch": 0, "base_sequence": following}
        assert append(log, b"x", epoch=9, **options).base_offset == following
        crash(dirs)

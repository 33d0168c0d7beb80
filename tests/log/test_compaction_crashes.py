"""The process dies before each system call of a cleaning, in the thread or in the loop; nothing may be lost by that."""

import contextlib
import os
import threading
from pathlib import Path

import pytest

from tests.log.compaction_support import CompactedLog, KeyValue, table_of
from tests.log.support import crash
from tests.log.test_crash_points import Killed, killed_at
from wire.records import ControlType


class Story:
    """Updates and deletions of a few keys, an aborted transaction, and a cleaning after each third of them."""

    def __init__(self, path: Path, deaths: list[object]) -> None:
        self.deaths = deaths  # of the cleaner's thread
        self.written: list[KeyValue] = []
        self.log = CompactedLog(path, delete_retention_ms=500, internal_segment_bytes=1500)

    def run(self) -> None:
        log = self.log
        for round_ in range(2):
            for number in range(24):
                value = None if number % 7 == round_ else b"%d-%d" % (round_, number) + bytes(70)
                record = (b"key-%d" % (number % 8), value)
                self.written.append(record)
                log.append(record, producer_id=1, producer_epoch=0, base_sequence=len(self.written) - 1)
            log.append(
                (b"key-1", b"aborted"), producer_id=2, producer_epoch=0, base_sequence=round_, is_transactional=True
            )
            log.end_transaction(ControlType.ABORT, 2)
            log.clock.advance(300)
            self.clean()

    def clean(self) -> None:
        cleaner = self.log.dirs.cleaner
        cleaner.look()
        while cleaner.is_busy:
            cleaner.join()
            if self.deaths:
                raise Killed
            self.log.clock.advance(20)

    def table(self) -> dict[bytes | None, bytes]:
        return table_of((key, value) for _, key, value in self.log.records() if value != b"aborted")


def test_table_survives_wherever_the_process_dies_in_a_cleaning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaths: list[object] = []
    monkeypatch.setattr(threading, "excepthook", deaths.append)
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # a killed process does not lose what is in the page cache
    whole = Story(tmp_path / "whole", deaths)
    with killed_at(10**9, monkeypatch) as calls:
        whole.run()
    assert {"open", "write", "fsync", "utime", "rename"} <= set(calls)
    assert whole.table() == table_of(whole.written)
    for number in range(len(calls)):
        deaths.clear()
        story = Story(tmp_path / str(number), deaths)
        with killed_at(number, monkeypatch), contextlib.suppress(Killed):
            story.run()
        crash(story.log.dirs)
        story.log.open()
        expected = table_of(story.written)
        last = table_of(story.written[:-1])
        assert story.table() in (expected, last), number  # the append may be what was interrupted
        assert not list(story.log.log.directory.glob("*.cleaned")), number
        assert not list(story.log.log.directory.glob("*.swap")), number
        deaths.clear()
        before = story.table()
        offsets = [header.base_offset for header, _ in story.log.batches()]
        assert offsets == sorted(set(offsets)), number
        story.log.append((b"end", b"1"))
        story.log.log.roll()
        story.log.append((b"end", b"2"))
        story.clean()
        assert story.table() == {**before, b"end": b"2"}, number
        crash(story.log.dirs)

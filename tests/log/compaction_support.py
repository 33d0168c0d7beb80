"""A compacted log in small segments, its cleaner run to the end, and what an independent reader makes of it."""

from collections.abc import Iterable
from pathlib import Path

from pykbroker.clock import SimulatedClock
from pykbroker.log.log_dirs import LogDirs
from pykbroker.log.partition_log import PartitionLog
from tests.log.support import NOW, TOPIC_ID, TP, open_dirs, topic_config
from wire.records import (
    BatchHeader,
    ControlType,
    Record,
    build_batch,
    build_end_txn_marker,
    iter_batches,
    read_records,
)

KeyValue = tuple[bytes | None, bytes | None]


class CompactedLog:
    """A log of the topic `topic`, with segments of a few batches."""

    def __init__(self, path: Path, **overrides: object) -> None:
        self.path = path
        self.clock = SimulatedClock(NOW)
        self.config = topic_config(
            **{
                "cleanup_policy": "compact",
                "internal_segment_bytes": 1000,
                "min_cleanable_dirty_ratio": 0,
                "index_interval_bytes": 0,
                **overrides,
            }
        )
        self.dirs: LogDirs
        self.log: PartitionLog
        self.open()

    def open(self, **properties: str) -> None:
        """The cleaner does not run by itself, unless told."""
        self.dirs = open_dirs(self.path, self.clock, **{"log_cleaner_backoff_ms": str(10**12), **properties})
        self.log = self.dirs.get(TP) or self.dirs.create(TP, TOPIC_ID, self.config)
        self.log.update_config(self.config)

    def append(self, *records: KeyValue, timestamp: int | None = None, **options: object) -> int:
        """Append one batch; return its first offset."""
        time_ms = self.clock.time_ms() if timestamp is None else timestamp
        batch = build_batch(
            [Record(timestamp=time_ms, key=key, value=value) for key, value in records],
            **options,  # type: ignore[arg-type]
        )
        return self.log.append_as_leader(memoryview(batch), leader_epoch=0).base_offset

    def end_transaction(self, control_type: ControlType, producer_id: int) -> int:
        marker = build_end_txn_marker(
            control_type,
            producer_id=producer_id,
            producer_epoch=0,
            coordinator_epoch=0,
            timestamp=self.clock.time_ms(),
        )
        return self.log.append_as_leader(memoryview(marker), leader_epoch=0, from_client=False).base_offset

    def clean(self) -> int:
        """Look once for something to clean, and do all of it; return how many cleanings there were."""
        cleaner = self.dirs.cleaner
        before = cleaner.cleaned_total
        cleaner.look()
        self.finish()
        return cleaner.cleaned_total - before

    def finish(self) -> None:
        """Let the threads at hand finish, and those that follow them."""
        while self.dirs.cleaner.is_busy:
            self.dirs.cleaner.join()
            self.clock.advance(20)

    def batches(self) -> list[tuple[BatchHeader, memoryview]]:
        """Read all segments from their files."""
        found = []
        for segment in self.log.segments:
            if segment.size:
                found += iter_batches(segment.file.read_at(0, segment.size))
        return found

    def records(self) -> list[tuple[int, bytes | None, bytes | None]]:
        return [
            (record.offset, record.key, record.value)
            for header, batch in self.batches()
            if not header.is_control
            for record in read_records(batch)
        ]

    def table(self) -> dict[bytes | None, bytes]:
        return table_of((key, value) for _, key, value in self.records())


def table_of(records: Iterable[KeyValue]) -> dict[bytes | None, bytes]:
    """What a reader from the beginning ends with."""
    table: dict[bytes | None, bytes] = {}
    for key, value in records:
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
    return table

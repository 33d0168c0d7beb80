"""Reads records forwards and backwards, until there are enough.

    windows = {tp: Window(beginning, end, position)}
    await RecordReader(client, isolation, contains).read(windows, 50, is_older=True, timeout_ms=5000)
    windows[tp].found

Rules
- Kafka reads forwards only, so going back is reading ever larger parts before what was read: offsets are not records,
  since compaction and transactions leave gaps. Forwards, too, it is parts, so that nothing is read for nothing.
- Of a batch, records are looked at one by one, and none is kept that is not wanted. One that decompresses to more than
  the client's `max_decompressed_bytes`, or has more records than that would hold at RECORD_COST bytes each, is
  Unreadable, and so is one that makes no sense.
"""

import itertools
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TypeAlias

import attrs

from pykbroker.client import Client
from pykbroker.client.consumer import Consumer
from pykbroker.client.fetched import Fetched, visible_batches
from pykbroker.client.offsets import IsolationLevel
from pykbroker.topic_partition import TopicPartition
from wire.errors import LimitError, ProtocolError
from wire.records import BatchHeader, Record, batch_crc, iter_records

RECORD_COST = 256
GROWTH = 4  # each part is so many times as large as the one before
MAX_PART = 1_000_000  # offsets
MAX_KEPT_BYTES = 64 * 1024 * 1024  # of records found; beyond it, it is as if time were up


@attrs.frozen(eq=False)
class FoundRecord:
    tp: TopicPartition
    header: BatchHeader
    record: Record

    @property
    def offset(self) -> int:
        return self.record.offset

    @property
    def next_offset(self) -> int:
        return self.record.offset + 1

    @property
    def timestamp(self) -> int:
        return self.record.timestamp

    @property
    def size(self) -> int:
        headers = sum(len(name) + len(value or b"") for name, value in self.record.headers)
        return RECORD_COST + len(self.record.key or b"") + len(self.record.value or b"") + headers


@attrs.frozen(eq=False)
class Unreadable:
    """A batch whose records cannot be shown."""

    tp: TopicPartition
    header: BatchHeader
    problem: str

    @property
    def offset(self) -> int:
        return self.header.base_offset

    @property
    def next_offset(self) -> int:
        return self.header.last_offset + 1

    @property
    def timestamp(self) -> int:
        return self.header.max_timestamp

    @property
    def size(self) -> int:
        return RECORD_COST


Finding: TypeAlias = FoundRecord | Unreadable
Findings: TypeAlias = deque[Finding]


@attrs.define(eq=False)
class Window:
    """What of a partition may be read, `end` exclusive, and how far that has come."""

    beginning: int
    end: int
    reached: int
    found: list[Finding] = attrs.field(factory=list)

    def take_older(self, found: Findings, reached: int) -> None:
        self.found[:0] = found
        # The whole of a batch that cannot be read is behind us.
        self.reached = max(min([reached, *(each.offset for each in found)]), self.beginning)

    def take_newer(self, found: Findings, reached: int, limit: int) -> None:
        left = limit - len(self.found)
        self.found += itertools.islice(found, left)
        if len(found) >= left and self.found:
            reached = self.found[-1].next_offset
        self.reached = max([reached, *(each.next_offset for each in found if isinstance(each, Unreadable))])

    def next_part(self, size: int, *, is_older: bool) -> tuple[int, int] | None:
        if is_older:
            return None if self.reached <= self.beginning else (max(self.reached - size, self.beginning), self.reached)
        return None if self.reached >= self.end else (self.reached, min(self.reached + size, self.end))


class RecordReader:
    def __init__(self, client: Client, isolation: IsolationLevel, contains: bytes = b"") -> None:
        """`contains`: only records are wanted that have this in a key, a value or a header."""
        self.is_complete = True
        self._kept_bytes = 0
        self._client = client
        self._isolation = isolation
        self._contains = contains

    async def read(
        self, windows: Mapping[TopicPartition, Window], limit: int, *, is_older: bool, timeout_ms: float
    ) -> None:
        """Read until each window has `limit` records or is used up; with `is_complete` False, it was too much."""
        deadline_ms = self._client.clock.monotonic_ms() + timeout_ms
        size = limit
        while True:
            parts = {
                tp: part
                for tp, window in windows.items()
                if len(window.found) < limit and (part := window.next_part(size, is_older=is_older)) is not None
            }
            if not parts:
                return
            left_ms = deadline_ms - self._client.clock.monotonic_ms()
            if not await self._read_parts(parts, windows, limit, is_older=is_older, timeout_ms=left_ms):
                self.is_complete = False
                return
            size = min(size * GROWTH, MAX_PART)

    async def _read_parts(
        self,
        parts: Mapping[TopicPartition, tuple[int, int]],
        windows: Mapping[TopicPartition, Window],
        limit: int,
        *,
        is_older: bool,
        timeout_ms: float,
    ) -> bool:
        """Read these offsets, and return whether there was time; going back, of a partition all or nothing."""
        found: dict[TopicPartition, Findings] = {tp: deque(maxlen=limit if is_older else None) for tp in parts}
        starts = {tp: start for tp, (start, _) in parts.items()}
        ends = {tp: end for tp, (_, end) in parts.items()}
        deadline_ms = self._client.clock.monotonic_ms() + timeout_ms
        async with Consumer(self._client, starts, until=ends, isolation=self._isolation) as consumer:
            while self._kept_bytes < MAX_KEPT_BYTES:
                left_ms = deadline_ms - self._client.clock.monotonic_ms()
                try:
                    fetched = await self._client.clock.within(max(left_ms, 0), consumer.poll_batches())
                except TimeoutError:
                    break
                if fetched is None:
                    break
                for each in self._wanted(fetched, ends[fetched.tp]):
                    if is_older or len(found[fetched.tp]) < limit:
                        found[fetched.tp].append(each)
                        self._kept_bytes += each.size
        is_whole = True
        for tp, (start, end) in parts.items():
            is_at_end = consumer.positions[tp] >= end
            is_whole = is_whole and is_at_end
            if is_older and is_at_end:
                windows[tp].take_older(found[tp], start if len(found[tp]) < limit else found[tp][0].offset)
            elif not is_older:
                windows[tp].take_newer(found[tp], min(consumer.positions[tp], end), limit)
        return is_whole

    def _wanted(self, fetched: Fetched, end: int) -> Iterator[Finding]:
        limit = self._client.settings.max_decompressed_bytes
        for header, batch in visible_batches(fetched):
            if header.base_offset >= end:
                return
            problem = None
            try:
                if header.crc != batch_crc(batch):
                    raise ProtocolError("its checksum is wrong")
                if header.record_count * RECORD_COST > limit:
                    raise LimitError(f"{header.record_count} records")
                for record in iter_records(batch, limit):
                    if fetched.first_offset <= record.offset < end and self._is_wanted(record):
                        yield FoundRecord(fetched.tp, header, record)
            except LimitError as error:
                problem = f"A batch that is too large to be shown: {error}."
            except ProtocolError as error:
                problem = f"A batch that cannot be read: {error}."
            if problem is not None:
                yield Unreadable(fetched.tp, header, problem)

    def _is_wanted(self, record: Record) -> bool:
        text = self._contains
        if not text or text in (record.key or b"") or text in (record.value or b""):
            return True
        return any(text in name.encode() or text in (value or b"") for name, value in record.headers)

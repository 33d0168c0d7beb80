"""What a history of a cluster must not show, whatever faults there were.

    history.produced(...), history.acknowledged(...), history.read(...), ...   # while it happens
    violations = check(history, replicas)                                      # when all has healed

Rules: a pure judgement over what clients saw and what the replicas hold in the end. Of a partition it wants
- lost: each record acknowledged with acks=all is in the log, at the offset that was acknowledged;
- duplicate: a record of an idempotent producer is there once; any record only as often as it was sent;
- order: the records of one idempotent producer are in the order in which they were sent;
- invented: each record was sent by someone, to this partition;
- vanished: each record that a consumer read is in the log, at the offset where it was read;
- two values: no offset was read or acknowledged with two values;
- back: offsets that one consumer saw ascend; a high watermark that one client was told never goes back;
- diverged: the replicas hold the same bytes.
And of groups: a committed offset that was acknowledged is never followed by an older one, nor by none; one that was
committed in a transaction that is aborted is never there.
Not here: transactions (committed).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import attrs

from tests.simulation.committed import TransactionHistory
from wire.records import iter_batches, read_records

Place = tuple[str, int]  # topic, partition


@attrs.define
class _Sent:
    producer: str
    place: Place
    number: int
    is_idempotent: bool
    times: int = 0


@attrs.frozen
class Violation:
    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"


class History:
    """What clients did and saw. Values are unique over all producers."""

    def __init__(self) -> None:
        self.sent: dict[bytes, _Sent] = {}
        self.acknowledged_at: dict[bytes, tuple[Place, int]] = {}  # with acks=all
        self.seen: dict[tuple[Place, int], bytes] = {}  # what consumers read
        self.found: list[Violation] = []  # what was wrong at once
        self.transactions = TransactionHistory()
        self._aborted: set[tuple[str, Place, int]] = set()
        self._offsets_read: set[tuple[str, Place, int]] = set()
        self._positions: dict[tuple[str, Place], int] = {}
        self._high_watermarks: dict[tuple[str, Place], int] = {}
        self._committed: dict[tuple[str, Place], int] = {}
        self._attempted: dict[tuple[str, Place], int] = {}
        self._late: set[tuple[str, Place, int]] = set()

    def violation(self, kind: str, text: str) -> None:
        self.found.append(Violation(kind, text))

    def produced(self, producer: str, place: Place, value: bytes, number: int, *, is_idempotent: bool) -> None:
        """`value` was sent, for the first time or again."""
        self.sent.setdefault(value, _Sent(producer, place, number, is_idempotent)).times += 1

    def acknowledged(self, place: Place, value: bytes, offset: int) -> None:
        """The producer was told that all in-sync replicas have it; an offset of -1 is not known."""
        self.acknowledged_at[value] = (place, offset)
        if offset >= 0:
            self._saw(place, offset, value)

    def read(self, consumer: str, place: Place, offset: int, value: bytes) -> None:
        """A consumer was given the record."""
        last = self._positions.get((consumer, place), -1)
        if offset <= last:
            self.violation("back", f"{consumer} was given offset {offset} of {place} after {last}")
        self._positions[consumer, place] = max(last, offset)
        self._saw(place, offset, value)

    def _saw(self, place: Place, offset: int, value: bytes) -> None:
        before = self.seen.setdefault((place, offset), value)
        if before != value:
            self.violation("two values", f"{before!r} and {value!r} at offset {offset} of {place}")

    def high_watermark(self, client: str, place: Place, offset: int) -> None:
        """The client was told that the partition ends at `offset`."""
        before = self._high_watermarks.get((client, place), 0)
        if offset < before:
            self.violation("back", f"{client} was told that {place} ends at {offset} after {before}")
        self._high_watermarks[client, place] = max(offset, before)

    # Groups; each is committed by one client, with offsets that ascend

    def commit_sent(self, group: str, place: Place, offset: int) -> None:
        self._attempted[group, place] = max(offset, self._attempted.get((group, place), -1))

    def commit_acknowledged(self, group: str, place: Place, offset: int) -> None:
        self._committed[group, place] = max(offset, self.committed(group, place))

    def commit_may_come_late(self, group: str, place: Place, offset: int) -> None:
        """Nothing is known of this commit, whose connection was lost: it may be done at any time."""
        self._late.add((group, place, offset))

    def commit_aborted(self, group: str, place: Place, offset: int) -> None:
        """The transaction in which it was committed is aborted."""
        self._aborted.add((group, place, offset))

    def committed(self, group: str, place: Place) -> int:
        """What a reader that asks from now on must find at least; -1: nothing."""
        return self._committed.get((group, place), -1)

    def commit_read(self, group: str, place: Place, offset: int, *, at_least: int) -> None:
        """A group's offset was fetched by a client that found `committed` to be `at_least` when it asked."""
        self._offsets_read.add((group, place, offset))
        if offset < at_least and (group, place, offset) not in self._late:
            self.violation("group", f"{group} had committed {at_least} of {place}, then {offset} was there")
        if offset > self._attempted.get((group, place), -1):
            self.violation("group", f"{group} never committed {offset} of {place}")

    def aborted_offsets_read(self) -> list[tuple[str, Place, int]]:
        return sorted(self._aborted & self._offsets_read)

    def groups(self) -> list[tuple[str, Place]]:
        return list(self._committed)


@attrs.frozen
class Replica:
    """What one broker holds of a partition up to the high watermark."""

    broker: str
    data: bytes

    def records(self) -> list[tuple[int, bytes]]:
        """(offset, value) of all records."""
        batches = (batch for header, batch in iter_batches(memoryview(self.data)) if not header.is_control)
        return [(record.offset, record.value or b"") for batch in batches for record in read_records(batch)]


def check(history: History, replicas: Mapping[Place, Sequence[Replica]]) -> list[Violation]:
    """Judge a history that has ended, by the replicas of all partitions that were written to."""
    found = list(history.found)
    for place, copies in sorted(replicas.items()):
        found += _diverged(place, copies)
        records = copies[0].records()
        found += _order_of_offsets(place, records)
        found += _invented(history, place, records)
        found += _lost(history, place, dict(records))
        found += _duplicates(history, place, records)
        found += _out_of_order(history, place, records)
    for group, place, offset in history.aborted_offsets_read():
        found.append(Violation("group", f"{group} had {offset} of {place}, whose transaction is aborted"))
    logs = {place: copies[0].data for place, copies in replicas.items()}
    found += [Violation(kind, text) for kind, text in history.transactions.check(logs)]
    return found


def _diverged(place: Place, copies: Sequence[Replica]) -> Iterable[Violation]:
    first = copies[0]
    for other in copies[1:]:
        if other.data != first.data:
            shared = next(
                (n for n, (a, b) in enumerate(zip(first.data, other.data, strict=False)) if a != b),
                min(len(first.data), len(other.data)),
            )
            yield Violation(
                "diverged",
                f"{place} has {len(first.data)} bytes on {first.broker}, {len(other.data)} on {other.broker}, "
                f"equal up to {shared}",
            )


def _order_of_offsets(place: Place, records: list[tuple[int, bytes]]) -> Iterable[Violation]:
    last = -1
    for offset, _ in records:
        if offset <= last:
            yield Violation("two values", f"offset {offset} of {place} follows {last} in the log")
        last = offset


def _invented(history: History, place: Place, records: list[tuple[int, bytes]]) -> Iterable[Violation]:
    for offset, value in records:
        sent = history.sent.get(value)
        if sent is None or sent.place != place:
            yield Violation("invented", f"{value[:40]!r} at offset {offset} of {place}")


def _lost(history: History, place: Place, records: Mapping[int, bytes]) -> Iterable[Violation]:
    values = set(records.values())
    for value, (where, offset) in history.acknowledged_at.items():
        if where == place and (records.get(offset) != value if offset >= 0 else value not in values):
            there = " (it is elsewhere)" if value in values else ""
            yield Violation("lost", f"{value[:40]!r} was acknowledged at offset {offset} of {place}{there}")
    for (where, offset), value in history.seen.items():
        if where == place and records.get(offset) != value and value not in history.acknowledged_at:
            yield Violation("vanished", f"{value[:40]!r} was read at offset {offset} of {place}")


def _duplicates(history: History, place: Place, records: list[tuple[int, bytes]]) -> Iterable[Violation]:
    for value, count in Counter(value for _, value in records).items():
        sent = history.sent.get(value)
        if sent is not None and count > (1 if sent.is_idempotent else sent.times):
            yield Violation("duplicate", f"{value[:40]!r} is {count} times in {place}, sent {sent.times} times")


def _out_of_order(history: History, place: Place, records: list[tuple[int, bytes]]) -> Iterable[Violation]:
    newest: dict[str, int] = defaultdict(lambda: -1)
    for offset, value in records:
        sent = history.sent.get(value)
        if sent is None or not sent.is_idempotent:
            continue
        if sent.number < newest[sent.producer]:
            yield Violation("order", f"{value[:40]!r} at offset {offset} of {place} after {newest[sent.producer]}")
        newest[sent.producer] = sent.number

"""What was acknowledged and read while a cluster was being hurt, held against what its logs hold in the end.

Format: a value is `<producer>.<number>`, with anything after a space (the Java VerifiableProducer writes such values by
    itself, with `--value-prefix <producer>`). Producers have numbers of their own, and count from 0.
Rules
- LOST: what was acknowledged is in the log of its partition. MOVED: at the offset that was acknowledged.
- TWO_VALUES: no offset was ever acknowledged for, or read as, two values.
- VANISHED: what a consumer once read stays where it was read.
- UNSEEN: the log holds only what some producer has sent.
- DUPLICATE and REORDERED, where producers are idempotent: a value is in the log once, and the numbers of one producer
  grow with the offsets of a partition.
- What was not acknowledged may be there or not.
Not here: reading the logs (crash/verify.py), how replicas compare (replicas.py).
Sources: the anomalies that Jepsen's workload for Kafka-like logs looks for.
"""

from __future__ import annotations

import enum
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import define, field, frozen


class Anomaly(enum.StrEnum):
    LOST = "lost write"
    MOVED = "write at another offset"
    TWO_VALUES = "two values at one offset"
    VANISHED = "read once, gone later"
    UNSEEN = "never sent"
    DUPLICATE = "duplicate"
    REORDERED = "out of order"
    ABORTED = "aborted record read"
    TORN = "torn transaction"
    OPEN = "transaction left open"


@frozen
class Violation:
    anomaly: Anomaly
    partition: int
    offset: int
    text: str
    before: int = -1  # of a duplicate: the offset at which the record is already

    def __str__(self) -> str:
        return f"{self.anomaly}: partition {self.partition}, offset {self.offset}: {self.text}"


@frozen(order=True)
class Written:
    """Which record a value is."""

    producer: int
    number: int

    def __str__(self) -> str:
        return f"{self.producer}.{self.number}"

    @classmethod
    def parse(cls, value: bytes) -> Written | None:
        """Return the record that a value names, None where it is no value of ours."""
        producer, point, number = value.partition(b" ")[0].partition(b".")
        if not point or not producer.isdigit() or not number.isdigit():
            return None
        return cls(int(producer), int(number))


def value_of(written: Written, size: int) -> bytes:
    """Return a value of at least `size` bytes."""
    return str(written).encode() + b" " + b"x" * max(0, size - len(str(written)) - 1)


@define
class History:
    """Owns what clients were told, by partition and offset. One thread at a time may add to it.

    `sent` is how many records each producer may have sent at most.
    """

    acknowledged: dict[int, dict[int, Written]] = field(factory=lambda: defaultdict(dict))
    read: dict[int, dict[int, Written | None]] = field(factory=lambda: defaultdict(dict))
    sent: dict[int, int] = field(factory=dict)
    _while_running: list[Violation] = field(factory=list)

    @property
    def acknowledgements(self) -> int:
        return sum(map(len, self.acknowledged.values()))

    def acknowledge(self, partition: int, offset: int, written: Written) -> None:
        before = self.acknowledged[partition].setdefault(offset, written)
        if before != written:
            text = f"acknowledged for {before} and for {written}"
            self._while_running.append(Violation(Anomaly.TWO_VALUES, partition, offset, text))

    def observe(self, partition: int, offset: int, value: bytes) -> None:
        """Note what a consumer read while the cluster was being hurt."""
        written = Written.parse(value)
        before = self.read[partition].setdefault(offset, written)
        if before != written:
            text = f"read as {before} and as {written}"
            self._while_running.append(Violation(Anomaly.TWO_VALUES, partition, offset, text))

    def check(self, logs: Mapping[int, Sequence[bytes]], *, idempotent: bool) -> list[Violation]:
        """Return what is wrong, given the value at each offset of each partition's log, from offset 0 on."""
        found = list(self._while_running)
        for partition in sorted({*logs, *self.acknowledged, *self.read}):
            log = [Written.parse(value) for value in logs.get(partition, ())]
            found += self._check_acknowledged(partition, log)
            found += self._check_read(partition, log)
            found += self._check_sent(partition, log, logs.get(partition, ()))
            if idempotent:
                found += check_order(partition, enumerate(log))
        return found

    def _check_acknowledged(self, partition: int, log: Sequence[Written | None]) -> Iterator[Violation]:
        places: dict[Written, int] | None = None
        for offset, written in sorted(self.acknowledged.get(partition, {}).items()):
            at = log[offset] if offset < len(log) else None
            if at == written:
                continue
            if places is None:
                places = {each: place for place, each in enumerate(log) if each is not None}
            there = f"the log holds {at} there" if offset < len(log) else f"the log ends at {len(log)}"
            if written in places:
                text = f"{written} was acknowledged, it is at {places[written]}, {there}"
                yield Violation(Anomaly.MOVED, partition, offset, text)
            else:
                yield Violation(Anomaly.LOST, partition, offset, f"{written} was acknowledged, {there}")

    def _check_read(self, partition: int, log: Sequence[Written | None]) -> Iterator[Violation]:
        for offset, written in sorted(self.read.get(partition, {}).items()):
            if offset >= len(log):
                text = f"{written} was read, the log ends at {len(log)}"
            elif log[offset] != written:
                text = f"{written} was read, the log holds {log[offset]}"
            else:
                continue
            yield Violation(Anomaly.VANISHED, partition, offset, text)

    def _check_sent(
        self, partition: int, log: Sequence[Written | None], values: Sequence[bytes]
    ) -> Iterator[Violation]:
        for offset, written in enumerate(log):
            if written is None or written.number >= self.sent.get(written.producer, 0):
                yield Violation(Anomaly.UNSEEN, partition, offset, f"{values[offset][:40]!r}")


def check_order(partition: int, log: Iterable[tuple[int, Written | None]]) -> Iterator[Violation]:
    """Yield what is there twice, and what comes before an earlier record of its producer, given offsets and records."""
    seen: dict[Written, int] = {}
    last: dict[int, Written] = {}
    for offset, written in log:
        if written is None:
            continue
        if written in seen:
            text = f"{written} is at {seen[written]} already"
            yield Violation(Anomaly.DUPLICATE, partition, offset, text, seen[written])
            continue
        seen[written] = offset
        before = last.get(written.producer)
        if before is not None and before.number > written.number:
            yield Violation(Anomaly.REORDERED, partition, offset, f"{written} comes after {before}")
        else:
            last[written.producer] = written

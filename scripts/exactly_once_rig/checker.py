"""What has to hold of the topics in the end, given what the clients were told.

Format: a sentence is `<transaction>.<attempt>.<index>` and words; what is aborted on purpose has the last word ABORTED.
    A copy has the key `<partition>-<offset>` of its original. A count is a word and the number as text. Numbers are
    what Kafka's own producer writes, from 0 on.
Rules
- SENTENCES: the records of every committed attempt are there, each once, those of a partition in the order they were
  sent; of an attempt whose outcome nobody knows all or none are there; nothing else is.
- COPIES: a partition holds what the same partition of the sentences holds, in that order.
- COUNTS: the last count of each word is how often it stands in the sentences. As nothing is cached, its counts are
  1, 2, 3 and so on without a gap, each once.
- NUMBERS: each of them is there once, those of a partition in order, and Kafka's own consumer printed them all.
- ABORTED: no reader of committed records ever saw a word of an aborted transaction.
- VANISHED: what was read while brokers were killed is, record by record, what is read in the end.
- OPEN: no transaction is left open.
Not here: where the records come from (programs.py).
"""

from __future__ import annotations

import enum
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from attrs import define, field, frozen

ABORTED = "aborted"
SENTENCES, COPIES, COUNTS, NUMBERS = "sentences", "copies", "counts", "numbers"
TOPICS = (SENTENCES, COPIES, COUNTS, NUMBERS)


class Anomaly(enum.StrEnum):
    LOST = "lost"
    DUPLICATE = "duplicate"
    REORDERED = "out of order"
    ABORTED = "aborted record seen"
    TORN = "torn transaction"
    MISCOPIED = "copies differ from the originals"
    MISCOUNTED = "wrong count"
    VANISHED = "read once, gone later"
    OPEN = "left open"


@frozen
class Violation:
    anomaly: Anomaly
    text: str

    def __str__(self) -> str:
        return f"{self.anomaly}: {self.text}"


class Attempt(NamedTuple):
    """A transaction of the feeder, as often as it was begun."""

    transaction: int
    number: int


class Place(NamedTuple):
    topic: str
    partition: int


class Read(NamedTuple):
    """A record as a reader of committed records saw it."""

    offset: int
    key: str
    value: str


@define
class Told:
    """What the feeder was told: of the attempts that committed and of those of which it never learned."""

    committed: dict[Attempt, int] = field(factory=dict)  # with the number of records
    unknown: dict[Attempt, int] = field(factory=dict)
    aborted: int = 0
    numbers: int = 0  # that Kafka's producer was told to write
    printed: set[str] = field(factory=set)  # by Kafka's consumer

    @property
    def acknowledged(self) -> int:
        return sum(self.committed.values())


Records = Mapping[Place, Sequence[Read]]


def check(told: Told, final: Records, live: Records, ends: Mapping[Place, tuple[int, int]]) -> list[Violation]:
    """Return all that is wrong. `ends`: last stable offset and high watermark when no client was left."""
    return [
        *check_sentences(told, final),
        *check_copies(final),
        *check_counts(final),
        *check_numbers(told, final),
        *check_aborted(final),
        *check_aborted(live),
        *check_live(live, final),
        *(
            Violation(Anomaly.OPEN, f"{place.topic}-{place.partition} is stable up to {stable}, it ends at {end}")
            for place, (stable, end) in sorted(ends.items())
            if stable != end
        ),
    ]


def check_sentences(told: Told, final: Records) -> Iterator[Violation]:
    seen: dict[Attempt, set[int]] = defaultdict(set)
    for place, records in _of(final, SENTENCES):
        order = []
        for record in records:
            attempt, index = _number(record.value)
            where = f"{place.topic}-{place.partition}, offset {record.offset}: {record.value!r}"
            if index in seen[attempt]:
                yield Violation(Anomaly.DUPLICATE, where)
            elif attempt not in told.committed and attempt not in told.unknown:
                yield Violation(Anomaly.ABORTED, where)
            seen[attempt].add(index)
            order.append((attempt, index, where))
        for (*before, _), (*after, where) in pairwise(order):
            if before > after:
                yield Violation(Anomaly.REORDERED, where)
    for attempt, count in told.committed.items():
        missing = set(range(count)) - seen[attempt]
        if missing:
            kind = Anomaly.TORN if len(missing) < count else Anomaly.LOST
            yield Violation(kind, f"{_named(attempt)} was committed, but its records {sorted(missing)} are not there")
    for attempt, count in told.unknown.items():
        if seen[attempt] and len(seen[attempt]) < count:
            yield Violation(Anomaly.TORN, f"of {_named(attempt)} only {sorted(seen[attempt])} are there")


def check_copies(final: Records) -> Iterator[Violation]:
    for place, originals in _of(final, SENTENCES):
        expected = [(f"{place.partition}-{record.offset}", record.value) for record in originals]
        copies = [(record.key, record.value) for record in final.get(Place(COPIES, place.partition), ())]
        if copies == expected:
            continue
        of_partition = f"partition {place.partition}"
        twice = [copy for copy, times in Counter(copies).items() if times > 1]
        for copy in twice:
            yield Violation(Anomaly.DUPLICATE, f"copies of {of_partition}: {copy} is there {copies.count(copy)} times")
        missing = Counter(expected) - Counter(copies)
        for original in missing:
            yield Violation(Anomaly.LOST, f"copies of {of_partition}: {original} is not there")
        strange = Counter(copies) - Counter(expected) - Counter({copy: len(copies) for copy in twice})
        for copy in strange:
            yield Violation(Anomaly.MISCOPIED, f"{of_partition}: {copy} is there, which nobody should have copied")
        if not (twice or missing or strange):
            yield Violation(Anomaly.REORDERED, f"copies of {of_partition}")


def check_counts(final: Records) -> Iterator[Violation]:
    expected = Counter(
        word for _, records in _of(final, SENTENCES) for record in records for word in record.value.split()[1:]
    )
    counts: dict[str, list[str]] = defaultdict(list)
    for _, records in _of(final, COUNTS):
        for record in records:
            counts[record.key].append(record.value)
    for word in sorted({*expected, *counts}):
        last = counts[word][-1] if counts[word] else "none"
        if last != str(expected[word]):
            yield Violation(Anomaly.MISCOUNTED, f"{word} is there {expected[word]} times, its count is {last}")
        elif counts[word] != [str(number + 1) for number in range(expected[word])]:
            number = next(at for at, count in enumerate(counts[word]) if count != str(at + 1))
            around = ", ".join(counts[word][max(0, number - 2) : number + 3])
            yield Violation(Anomaly.DUPLICATE, f"the counts of {word} do not go up by one: {around}")


def check_numbers(told: Told, final: Records) -> Iterator[Violation]:
    found: Counter[int] = Counter()
    for place, records in _of(final, NUMBERS):
        numbers = [int(record.value) for record in records]
        found.update(numbers)
        if numbers != sorted(numbers):
            yield Violation(Anomaly.REORDERED, f"numbers of partition {place.partition}")
    expected = range(told.numbers)
    for number, times in found.items():
        if number not in expected or times > 1:
            yield Violation(Anomaly.DUPLICATE, f"number {number} is there {times} times, of {told.numbers}")
    for number in expected:
        if not found[number]:
            yield Violation(Anomaly.LOST, f"number {number}")
        elif str(number) not in told.printed:
            yield Violation(Anomaly.LOST, f"number {number} was not printed by kafka-console-consumer")
    for text in sorted(told.printed - {str(number) for number in expected}):
        yield Violation(Anomaly.ABORTED, f"{text!r} was printed by kafka-console-consumer")


def check_aborted(records: Records) -> Iterator[Violation]:
    for place, of_place in sorted(records.items()):
        for record in of_place:
            if ABORTED in (record.key, *record.value.split()):
                where = f"{place.topic}-{place.partition}, offset {record.offset}"
                yield Violation(Anomaly.ABORTED, f"{where}: {record.key!r} {record.value!r}")


def check_live(live: Records, final: Records) -> Iterator[Violation]:
    for place, records in sorted(live.items()):
        expected = final.get(place, ())
        for position, record in enumerate(records):
            there = expected[position] if position < len(expected) else None
            if record != there:
                text = f"{place.topic}-{place.partition}: record {position} was {record}, in the end it is {there}"
                yield Violation(Anomaly.VANISHED, text)
                break


def _of(records: Records, topic: str) -> list[tuple[Place, Sequence[Read]]]:
    return sorted((place, of_place) for place, of_place in records.items() if place.topic == topic)


def _number(sentence: str) -> tuple[Attempt, int]:
    transaction, attempt, index = sentence.split(maxsplit=1)[0].split(".")
    return Attempt(int(transaction), int(attempt)), int(index)


def _named(attempt: Attempt) -> str:
    return f"transaction {attempt.transaction}, attempt {attempt.number},"

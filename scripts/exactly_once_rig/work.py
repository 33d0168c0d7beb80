"""All programs of a run: what they work on, and whether everything is done.

Not here: what each of them is (programs.py), what has to hold in the end (checker.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from attrs import define
from clients import Runner

from exactly_once_rig import programs
from exactly_once_rig.checker import COPIES, COUNTS, NUMBERS, SENTENCES, TOPICS, Told
from exactly_once_rig.programs import Program

NUMBERS_RATE = 20  # a second


@define
class Work:
    """The programs that run while brokers are killed."""

    runner: Runner
    folder: Path
    bootstrap: str
    numbers: int
    feeder: Program
    numbers_producer: Program
    copier: Program
    wordcount: Program
    reader: Program
    numbers_consumer: Program

    @classmethod
    def start(cls, runner: Runner, folder: Path, bootstrap: str, *, rate: int, seconds: float) -> Work:
        """Raises: Unavailable."""

        def program(name: str, *options: str) -> Program:
            return Program.start(runner, folder, name, bootstrap, *options)

        numbers = int(seconds * NUMBERS_RATE)
        return cls(
            runner,
            folder,
            bootstrap,
            numbers,
            numbers_producer=programs.numbers_producer(folder, bootstrap, NUMBERS, numbers, NUMBERS_RATE),
            numbers_consumer=programs.numbers_consumer(folder, bootstrap, NUMBERS),
            feeder=program("feeder", f"rate={rate}"),
            copier=program("copier", "members=2"),
            wordcount=program("wordcount", f"state={folder / 'streams'}"),
            reader=program("reader", f"topics={','.join(TOPICS)}"),
        )

    @property
    def producers(self) -> Sequence[Program]:
        return (self.feeder, self.numbers_producer)

    @property
    def others(self) -> Sequence[Program]:
        return (self.copier, self.wordcount, self.reader, self.numbers_consumer)

    @property
    def all(self) -> Sequence[Program]:
        return (*self.producers, *self.others)

    def ended(self) -> list[str]:
        """Return who ended that should not have; the producer of the numbers ends when it has written all."""
        return [
            program.name
            for program in self.all
            if not program.runs and not (program is self.numbers_producer and program.has_succeeded)
        ]

    def told(self) -> Told:
        found = programs.told(self.feeder)
        found.numbers = self.numbers
        found.printed = set(self.numbers_consumer.lines())
        return found

    def seen(self) -> Counter[str]:
        """Count the records that the reader has seen of each topic, and the words of the sentences."""
        found: Counter[str] = Counter()
        for place, records in programs.records(self.reader)[0].items():
            found[place.topic] += len(records)
            if place.topic == SENTENCES:
                found["words"] += sum(len(record.value.split()) - 1 for record in records)
        return found

    def is_at_rest(self) -> bool:
        """Say whether everything that was acknowledged is copied and counted."""
        seen = self.seen()
        acknowledged = programs.told(self.feeder).acknowledged
        is_copied = acknowledged <= seen[SENTENCES] <= seen[COPIES]
        return is_copied and seen["words"] <= seen[COUNTS] and self.numbers <= seen[NUMBERS]

    def read_once(self) -> Program:
        """Start a program that reads everything from the beginning to the end."""
        return Program.start(
            self.runner, self.folder, "reader-final", self.bootstrap, f"topics={','.join(TOPICS)}", "once=1"
        )

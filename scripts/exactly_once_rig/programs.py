"""The Java programs that work on the cluster, ours and Kafka's own: started, ended, and what they printed.

Owns: the processes, and the files `<name>.out` (what they were told) and `<name>.log` (what their library logs).
Rules: a program of ours ends in good order when its standard input is closed, Kafka's consumer on SIGTERM, and Kafka's
    producer when it has written what it was told to; what does not end in time is killed.
Not here: what they do (java/), what it means (checker.py).
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import define, field
from chaos_rig.injector import JVM_STATUS
from clients import Client, Runner, prepare
from support import kafka_tools

from exactly_once_rig.checker import Attempt, Place, Read, Told

JAVA = Path(__file__).resolve().parent / "java"
END_TIMEOUT_S = 120.0
_LOGGED = re.compile(r"^\d\d:\d\d:\d\d\.\d{3} (WARN|ERROR) (.*)")


def build() -> Runner:
    """Build them unless they are. Raises: Unavailable where java or Maven is missing."""
    return prepare(Client("exactly-once", JAVA, package="kafka-streams", toolchain="maven", program="Main"))


@define
class Program:
    """One of them."""

    name: str
    directory: Path
    ends_on_sigterm: bool = False
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @classmethod
    def start(cls, runner: Runner, directory: Path, name: str, bootstrap: str, *options: str) -> Program:
        program = cls(name, directory)
        program.launch([*runner.command, name.partition("-")[0], bootstrap, *options])
        return program

    def launch(self, command: Sequence[str]) -> None:
        with self.output.open("wb") as out, self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=log)

    @property
    def output(self) -> Path:
        return self.directory / f"{self.name}.out"

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def has_succeeded(self) -> bool:
        return self.process is not None and self.process.poll() == 0

    def end(self) -> None:
        """Have it finish what it does, and return at once."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            if self.ends_on_sigterm:
                self.process.terminate()

    def wait(self) -> list[str]:
        """Wait until it has ended, and return what is wrong with that."""
        assert self.process is not None
        try:
            status = self.process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return [f"{self.name}: has not ended after {END_TIMEOUT_S:.0f} s"]
        expected = (0, JVM_STATUS) if self.ends_on_sigterm else (0,)
        return [] if status in expected else [f"{self.name}: ended with status {status}, see {self.log}"]

    def kill(self) -> None:
        if self.process is not None:
            self.end()
            self.process.kill()
            self.process.wait()

    def lines(self) -> Iterator[str]:
        with self.output.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.endswith("\n"):
                    yield line[:-1]


def numbers_producer(directory: Path, bootstrap: str, topic: str, count: int, rate: int) -> Program:
    """Start kafka-producer-perf-test, which writes the numbers from 0 on in transactions. Raises: Unavailable."""
    program = Program("numbers-producer", directory)
    program.launch(
        kafka_tools.java(
            *("ProducerPerformance", "--bootstrap-server", bootstrap, "--topic", topic),
            *("--num-records", str(count), "--payload-monotonic", "--throughput", str(rate)),
            *("--transactional-id", "numbers", "--transaction-duration-ms", "500"),
        )
    )
    return program


def numbers_consumer(directory: Path, bootstrap: str, topic: str) -> Program:
    """Start kafka-console-consumer on what is committed. Raises: Unavailable."""
    program = Program("numbers-consumer", directory, ends_on_sigterm=True)
    program.launch(
        kafka_tools.java(
            *("consumer.ConsoleConsumer", "--bootstrap-server", bootstrap, "--topic", topic),
            *("--from-beginning", "--isolation-level", "read_committed"),
        )
    )
    return program


def told(feeder: Program) -> Told:
    """Read what the feeder was told of its transactions."""
    found = Told()
    for line in feeder.lines():
        outcome, *numbers = line.split()
        if outcome not in ("committed", "unknown", "aborted"):
            continue
        transaction, attempt, count = map(int, numbers)
        if outcome == "aborted":
            found.aborted += 1
        else:
            getattr(found, outcome)[Attempt(transaction, attempt)] = count
    return found


def records(reader: Program) -> tuple[dict[Place, list[Read]], dict[Place, tuple[int, int]]]:
    """Return what a reader read, and the last stable offset and high watermark of the partitions it told of."""
    found: dict[Place, list[Read]] = defaultdict(list)
    ends = {}
    for line in reader.lines():
        kind, topic, partition, *fields = line.split("\t")
        place = Place(topic, int(partition))
        if kind == "record":
            offset, key, value = fields
            found[place].append(Read(int(offset), key, value))
        elif kind == "end":
            stable, end = map(int, fields)
            ends[place] = (stable, end)
    return found, ends


def errors(programs: Sequence[Program]) -> Counter[str]:
    """Count what the programs had to deal with, by kind: what their clients raised."""
    return Counter(
        _kind(line) for program in programs for line in program.lines() if line.startswith(("error ", "late "))
    )


def logged(programs: Sequence[Program]) -> Counter[str]:
    """Count what Kafka's library logged as warnings and errors, by kind."""
    found: Counter[str] = Counter()
    for program in programs:
        with program.log.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                if match := _LOGGED.match(line):
                    found[f"{match[1]} {_kind(match[2])}"] += 1
    return found


def _kind(text: str) -> str:
    """Return what lines that differ in numbers and names only have in common."""
    text = re.sub(r"\[[^\]]*\] ?", "", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", text)
    text = re.sub(r"\d+(\.\d+)*", "N", text)
    return text[:200]

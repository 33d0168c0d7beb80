"""Run Kafka's own command line tools: one after the other in one JVM (ToolServer), or one in a JVM of its own in the
background."""

from __future__ import annotations

import json
import os
import queue
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from program import Context, check

# The verifiable producer sets retries=0 by itself: it would lose records when a leader moves.
RETRIES = f"retries={(1 << 31) - 1}\n"
TOOLS = "org.apache.kafka.tools"
CLASSES: Mapping[str, str] = {
    "kafka-broker-api-versions": f"{TOOLS}.BrokerApiVersionsCommand",
    "kafka-client-metrics": f"{TOOLS}.ClientMetricsCommand",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-console-consumer": f"{TOOLS}.consumer.ConsoleConsumer",
    "kafka-console-producer": f"{TOOLS}.ConsoleProducer",
    "kafka-consumer-groups": f"{TOOLS}.consumer.group.ConsumerGroupCommand",
    "kafka-consumer-perf-test": f"{TOOLS}.ConsumerPerformance",
    "kafka-delete-records": f"{TOOLS}.DeleteRecordsCommand",
    "kafka-dump-log": f"{TOOLS}.DumpLogSegments",
    "kafka-get-offsets": f"{TOOLS}.GetOffsetShell",
    "kafka-log-dirs": f"{TOOLS}.LogDirsCommand",
    "kafka-reassign-partitions": f"{TOOLS}.reassign.ReassignPartitionsCommand",
    "kafka-producer-perf-test": f"{TOOLS}.ProducerPerformance",
    "kafka-transactions": f"{TOOLS}.TransactionsCommand",
    "kafka-topics": f"{TOOLS}.TopicCommand",
    "kafka-verifiable-consumer": f"{TOOLS}.VerifiableConsumer",
    "kafka-verifiable-producer": f"{TOOLS}.VerifiableProducer",
}


class Result(NamedTuple):
    """What a tool gave."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err


class Tools:
    """The tools of one build directory."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[bytes] | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="kafka-tools-")

    def file(self, name: str, text: str) -> Path:
        """Write a file for a tool to read."""
        path = Path(self._directory.name, name)
        path.write_text(text)
        return path

    def run(self, context: Context, tool: str, *arguments: str, stdin: str | None = None) -> Result:
        """Run a tool to its end; every tool gets --bootstrap-server first, except kafka-dump-log."""
        if self._server is None or self._server.poll() is not None:
            self._server = subprocess.Popen(
                _java("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx512m", "ToolServer"),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        assert self._server.stdin is not None
        given = "" if stdin is None else str(self.file("stdin", stdin))
        words = [given, CLASSES[tool], *_arguments(context, tool, arguments)]
        self._server.stdin.write("\t".join(words).encode() + b"\n")
        self._server.stdin.flush()
        result = Result(self._int(), self._text(), self._text())
        print(f"$ {tool} {' '.join(arguments)[:300]}", file=sys.stderr)
        print(f"  status {result.status}: {result.text.strip()[:600]}", file=sys.stderr, flush=True)
        return result

    def succeed(self, context: Context, tool: str, *arguments: str, stdin: str | None = None) -> str:
        """Run a tool that must end with status 0; return its standard output."""
        result = self.run(context, tool, *arguments, stdin=stdin)
        what = " ".join([tool, *arguments[:6]])
        check(result.status == 0, f"{what}: status {result.status}: {result.text.strip()[-300:]}")
        return result.out

    def fail(self, context: Context, expected: str, tool: str, *arguments: str, stdin: str | None = None) -> None:
        """Run a tool that must say `expected` (the name of an exception), whatever its status."""
        result = self.run(context, tool, *arguments, stdin=stdin)
        what = " ".join([tool, *arguments[:6]])
        check(expected in result.text, f"{what}: expected {expected}, got {result.text.strip()[-300:]!r}")

    def start(self, context: Context, tool: str, *arguments: str) -> Background:
        """Start a tool in a JVM of its own."""
        jvm = _java("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m", CLASSES[tool])
        return Background([*jvm, *_arguments(context, tool, arguments)])

    def _int(self) -> int:
        return int(struct.unpack(">i", self._read(4))[0])

    def _text(self) -> str:
        return self._read(self._int()).decode(errors="replace")

    def _read(self, size: int) -> bytes:
        assert self._server is not None
        assert self._server.stdout is not None
        data = self._server.stdout.read(size)
        check(len(data) == size, "the tools' JVM ended")
        return data


class Background:
    """A running tool that prints JSON lines; `events` is a queue of them as they come."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.events: queue.SimpleQueue[dict[str, object]] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self.events.put(json.loads(line))

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def wait(self, timeout_s: float) -> int:
        """Wait until the tool ends by itself; return its status."""
        status = self._process.wait(timeout_s)
        self._reader.join()
        return status

    def terminate(self) -> None:
        """End the tool as Ctrl-C would: its consumer closes."""
        self._process.terminate()
        self._process.wait(20)

    def kill(self) -> None:
        """End the tool as a crash would."""
        self._process.kill()
        self._process.wait(20)


def _java(*arguments: str) -> list[str]:
    build = os.environ["COMPAT_BUILD"]
    logging = f"-Dlog4j2.configurationFile={Path(__file__).parent / 'log4j2.xml'}"
    return ["java", logging, "-cp", f"{build}/classes:{build}/libs/*", *arguments]


def _arguments(context: Context, tool: str, arguments: tuple[str, ...]) -> list[str]:
    where = [] if tool == "kafka-dump-log" else ["--bootstrap-server", context.bootstrap]
    return [*where, *arguments]


def table(text: str) -> list[dict[str, str]]:
    """Read the tables that the tools print: a line of headings, then lines of cells without blanks."""
    headings: list[str] = []
    rows = []
    for line in text.splitlines():
        cells = line.split()
        if cells[:1] == ["GROUP"]:
            headings = cells
        elif headings and len(cells) >= len(headings) - 1:
            rows.append(dict(zip(headings, cells, strict=False)))
    return rows

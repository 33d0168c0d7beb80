"""Kafka's tools on what lies on disk: files that the log cleaner wrote, and which log directory has what.

Not here: segments that were only appended to (dump_log in main.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from program import Context, NotApplicable, check, equal
from tools import Tools

KEYS, UPDATES = 500, 20_000
SEGMENT_BYTES = 1 << 20
WITH_KEYS = ["--reader-property", "parse.key=true", "--reader-property", "key.separator=:"]


def compacted_log(tools: Tools, context: Context) -> None:
    """The log cleaner compacts a topic; kafka-dump-log reads the new files, and a consumer the newest values."""
    if context.data_dir is None:
        raise NotApplicable("the broker's data directory is not known (--data-dir)")
    topic = context.name()
    configs = {"cleanup.policy": "compact", "segment.bytes": str(SEGMENT_BYTES), "min.cleanable.dirty.ratio": "0.01"}
    options = [word for name, value in configs.items() for word in ("--config", f"{name}={value}")]
    tools.succeed(context, "kafka-topics", "--create", "--topic", topic, *options)
    lines = "".join(f"key-{number % KEYS}:{number}-{'x' * 150}\n" for number in range(UPDATES))
    tools.succeed(context, "kafka-console-producer", "--topic", topic, *WITH_KEYS, stdin=lines)
    directory = context.data_dir / f"{topic}-0"
    checkpoint = context.data_dir / "cleaner-offset-checkpoint"
    last = max(int(path.stem) for path in directory.glob("*.log"))
    check(last > 0, "the topic has only one segment")

    def is_clean() -> bool:
        return checkpoint.exists() and f"{topic} 0 {last}" in checkpoint.read_text().splitlines()

    context.wait_until("the log cleaner has been through the topic", is_clean, timeout_s=60)
    dumped = tools.succeed(context, "kafka-dump-log", "--deep-iteration", "--files", _files(directory, "log"))
    left = len(re.findall(r"(?m)^\| offset: ", dumped))
    check(KEYS <= left < UPDATES // 2, f"{left} records are left of {UPDATES}")
    check("isvalid: false" not in dumped, "kafka-dump-log says that a batch is not valid")
    for kind in ("index", "timeindex"):
        text = tools.succeed(context, "kafka-dump-log", "--files", _files(directory, kind))
        for complaint in ("Mismatches", "not found", "out of order"):
            check(complaint not in text, f"kafka-dump-log finds faults in *.{kind}: {text[-300:]}")
    read = ["--from-beginning", "--timeout-ms", "5000", "--formatter-property", "print.key=true"]
    out = tools.succeed(context, "kafka-console-consumer", "--topic", topic, "--max-messages", str(left), *read)
    table = {key: int(value.split("-")[0]) for key, value in (line.split("\t") for line in out.splitlines())}
    equal(table, {f"key-{key}": UPDATES - KEYS + key for key in range(KEYS)}, "the newest value of each key")


def _files(directory: Path, kind: str) -> str:
    return ",".join(str(path) for path in sorted(directory.glob(f"*.{kind}")))


def log_dirs(tools: Tools, context: Context) -> None:
    """kafka-log-dirs describes what lies in which directory of the broker."""
    topic = context.name()
    tools.succeed(context, "kafka-topics", "--create", "--topic", topic, "--partitions", "2")
    tools.succeed(context, "kafka-console-producer", "--topic", topic, stdin="1\n2\n3\n")
    out = tools.succeed(context, "kafka-log-dirs", "--describe", "--topic-list", topic)
    (described,) = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    found = {}
    for broker in described["brokers"]:
        for directory in broker["logDirs"]:
            equal(directory["error"], None, "error of a log directory")
            for partition in directory["partitions"]:
                found[partition["partition"]] = partition
    equal(sorted(found), [f"{topic}-0", f"{topic}-1"], "described replicas")
    check(sum(partition["size"] for partition in found.values()) > 60, "the replicas have no size")
    equal([(each["offsetLag"], each["isFuture"]) for each in found.values()], [(0, False)] * 2, "lags and futures")


LOG_SCENARIOS: dict[str, Callable[[Tools, Context], None]] = {"compacted_log": compacted_log, "log_dirs": log_dirs}

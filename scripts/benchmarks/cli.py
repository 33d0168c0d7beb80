"""Run the same load on Apache Kafka and on this broker in turn, and print the medians and their ratio.

Each case is measured on one broker and then on the other, the order changing from round to round; both run the whole
time. A short round that does not count goes first, so that the JVM has compiled what it will use. Start and memory
are measured on brokers of their own, before the load.

With several brokers each side is a cluster of them, each broker a process, and topics have three replicas. The cases
are those with a bar then; failover-kill kills the leader of a partition under load.

Both sides have stock settings, but for log.segment.delete.delay.ms=1000: the data of one measurement is gone before
the next one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from clients import Unavailable
from support.brokers import ApacheKafka, Broker, Failed, OurBroker, OurBrokers, Running, rss_bytes
from support.connection import Refused
from support.memory import touch_pages

from benchmarks import resources
from benchmarks.cases import CLUSTER_CASES, CLUSTER_STANDARD, LOAD_CASES, RESOURCE_CASES, SINK_CASES
from benchmarks.subject import DELETION_DELAY_MS, Effort, Subject
from benchmarks.table import CLUSTER_ROWS, ROWS, Results

PROPERTIES = {"log.segment.delete.delay.ms": str(DELETION_DELAY_MS)}
OURS, KAFKA = "ours", "kafka"
Values = dict[str, dict[str, list[float]]]


def main() -> int:
    arguments = _arguments()
    try:
        chosen = _chosen(arguments.only, arguments.brokers)
        with tempfile.TemporaryDirectory(
            prefix="compare-brokers-", dir=arguments.data_dir_root, ignore_cleanup_errors=True
        ) as directory:
            results = _measure(arguments, chosen, Path(directory))
    except (Failed, Unavailable, Refused) as error:
        print(error, file=sys.stderr)
        return 2
    _print(arguments, results)
    missed = results.missed()
    for line in missed:
        print(line, file=sys.stderr)
    return 1 if missed and arguments.check else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="compare_brokers", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument(
        "--only", nargs="+", metavar="CASE", help=f"cases or patterns: {', '.join([*LOAD_CASES, *RESOURCE_CASES])}"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds that count (default 3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default 3)")
    parser.add_argument(
        "--max-mb", type=int, default=2000, help="data that a measurement writes at most (default 2000)"
    )
    parser.add_argument("--acks", choices=("1", "all"), default="1")
    parser.add_argument("--brokers", type=int, default=1, help="nodes of each cluster (default 1)")
    parser.add_argument(
        "--data-dir-root", type=Path, help="where data lies, e.g. on a tmpfs (default: the temporary directory)"
    )
    parser.add_argument("--ours-bootstrap", help="use this running cluster as ours; no case of start and memory")
    parser.add_argument("--kafka-bootstrap", help="the same for Apache Kafka")
    parser.add_argument(
        "--kafka-base-port", type=int, help="client ports of the Apache Kafka that is started (default: free ones)"
    )
    parser.add_argument("--side", choices=(OURS, KAFKA), help="measure only one of the two")
    parser.add_argument("--with-sink", action="store_true", help="also measure the load generator alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values there")
    parser.add_argument("--check", action="store_true", help="exit with 1 where a bar is missed")
    return parser.parse_args()


def _chosen(only: Sequence[str] | None, brokers: int) -> list[str]:
    """Return the cases to run. Start and memory are measured on one broker only, failover on a cluster only."""
    names = [*RESOURCE_CASES, *LOAD_CASES] if brokers == 1 else list(CLUSTER_CASES)
    if not only:
        return names if brokers == 1 else list(CLUSTER_STANDARD)
    for pattern in only:
        if not any(fnmatch(name, pattern) for name in names):
            raise Failed(f"no case {pattern!r}; there are {', '.join(names)}")
    return [name for name in names if any(fnmatch(name, pattern) for pattern in only)]


def _measure(arguments: argparse.Namespace, chosen: list[str], directory: Path) -> Results:
    values: Values = {OURS: defaultdict(list), KAFKA: defaultdict(list), "sink": defaultdict(list)}
    failures: list[str] = []
    makers = {
        OURS: partial(_make_ours, arguments, directory / OURS),
        KAFKA: partial(_make_kafka, arguments, directory / KAFKA),
    }
    sides = [side for side in (KAFKA, OURS) if arguments.side in (None, side)]
    wanted = frozenset(chosen) & frozenset(RESOURCE_CASES)
    # Partitions would use the memory that connections leave behind, so they get brokers of their own. They take Apache
    # Kafka a while, and their memory does not vary: once is enough.
    partitions = wanted & {"memory-partitions"}
    for round_number in range(arguments.rounds):
        for side in _in_turn(sides, round_number):
            for asked in (wanted - partitions, partitions if round_number == 0 else frozenset()):
                if asked:
                    _resources(makers[side], asked, values[side], failures, side)
    cases = [name for name in chosen if name in CLUSTER_CASES]
    if cases:
        _load(arguments, {side: makers[side]() for side in sides}, cases, values, failures)
    if arguments.with_sink:
        effort = Effort(arguments.seconds, arguments.max_mb * 10**6, 1, 1)
        for name in cases:
            if name in SINK_CASES:
                _add(values["sink"], SINK_CASES[name](effort))
    rows = ROWS if arguments.brokers == 1 else CLUSTER_ROWS
    return Results(values[OURS], values[KAFKA], values["sink"], failures, rows)


def _make_ours(arguments: argparse.Namespace, directory: Path) -> Broker:
    if arguments.ours_bootstrap:
        return Running("pykbroker", arguments.ours_bootstrap)
    if arguments.brokers > 1:
        return OurBrokers(_unused(directory), PROPERTIES, arguments.brokers)
    return OurBroker(_unused(directory), PROPERTIES)


def _make_kafka(arguments: argparse.Namespace, directory: Path) -> Broker:
    if arguments.kafka_bootstrap:
        return Running("Apache Kafka", arguments.kafka_bootstrap)
    base = arguments.kafka_base_port
    ports = [base + node for node in range(arguments.brokers)] if base else []
    return ApacheKafka(_unused(directory), PROPERTIES, arguments.brokers, ports)


def _unused(directory: Path) -> Path:
    number = 0
    while (found := directory / f"{number}").exists():
        number += 1
    return found


def _in_turn(sides: list[str], round_number: int) -> list[str]:
    return sides if round_number % 2 == 0 else sides[::-1]


def _resources(
    make: partial[Broker], wanted: frozenset[str], values: dict[str, list[float]], failures: list[str], side: str
) -> None:
    broker = make()
    if isinstance(broker, Running):
        return
    assert isinstance(broker, OurBroker | ApacheKafka)
    _say(f"{side}: {', '.join(sorted(wanted))}")
    try:
        found = resources.measure(broker, wanted)
    except (Failed, Refused, OSError) as error:
        failures.append(f"{side}: {', '.join(sorted(wanted))}: {error}")
        return
    _add(values, {row: value for row, value in found.items() if any(row.startswith(case) for case in wanted)})


def _load(
    arguments: argparse.Namespace, brokers: dict[str, Broker], cases: list[str], values: Values, failures: list[str]
) -> None:
    """Start both, run every round, stop both."""
    acks = -1 if arguments.acks == "all" else 1
    effort = Effort(arguments.seconds, arguments.max_mb * 10**6, acks, arguments.brokers)
    brief = Effort(arguments.seconds / 2, arguments.max_mb * 10**6 // 4, acks, arguments.brokers)
    try:
        subjects = {}
        for side, broker in brokers.items():
            if not isinstance(broker, Running):
                _say(f"{side}: start")
                broker.start()
            subjects[side] = Subject(broker, effort)
        for round_number in range(arguments.rounds + 1):
            for name in cases:
                for side in _in_turn(list(subjects), round_number):
                    warm_up = round_number == 0
                    subject = subjects[side].with_effort(brief) if warm_up else subjects[side]
                    touch_pages(subject.effort.max_bytes, arguments.data_dir_root)
                    found = _case(name, subject, side, failures)
                    _say(f"{'warm-up' if warm_up else f'round {round_number}'}: {side}: {_brief(found)}")
                    if not warm_up:
                        _add(values[side], found)
        for side, broker in brokers.items():
            if broker.pids:
                _add(values[side], {"memory-loaded": rss_bytes(broker.pids) / 1e6})
    finally:
        for broker in brokers.values():
            broker.stop()


def _case(name: str, subject: Subject, side: str, failures: list[str]) -> dict[str, float]:
    try:
        return CLUSTER_CASES[name](subject)
    except (Refused, OSError) as error:
        failures.append(f"{side}: {name}: {error}")
        _say(failures[-1])
        if not subject.broker.pids and not isinstance(subject.broker, Running):
            raise Failed(f"{side}: the broker is gone after {name}:\n{subject.broker.logs()[-2000:]}") from error
        return {}


def _add(values: dict[str, list[float]], found: dict[str, float]) -> None:
    for row, value in found.items():
        values[row].append(value)


def _brief(found: dict[str, float]) -> str:
    return ", ".join(f"{row} {value:,.4g}" if value < 1000 else f"{row} {value:,.0f}" for row, value in found.items())


def _say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def _print(arguments: argparse.Namespace, results: Results) -> None:
    cpus = len(os.sched_getaffinity(0))
    kafka = ApacheKafka(Path()).name if not arguments.kafka_bootstrap else "Apache Kafka"
    print(
        f"{cpus} processors, CPython {sys.version.split()[0]}, {arguments.brokers} broker(s), acks={arguments.acks}; "
        f"medians of {arguments.rounds} rounds of {arguments.seconds:g} s\n"
    )
    print(results.markdown(kafka))
    if arguments.json:
        written = {"ours": results.ours, "kafka": results.kafka, "sink": results.sink, "failures": results.failures}
        arguments.json.write_text(json.dumps(written, indent=1) + "\n")

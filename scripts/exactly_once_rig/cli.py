"""`scripts/exactly_once`: start a cluster and the programs, kill brokers for a time, let all come to rest, check."""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from apache_kafka import start_cluster
from attrs import frozen
from chaos_rig import verify
from chaos_rig.events import Events
from chaos_rig.rebalance import Rebalance
from clients import Unavailable
from cluster import Cluster
from our_cluster import start_our_cluster
from support.connection import Address, Refused, served_topic

from exactly_once_rig import programs
from exactly_once_rig.checker import COPIES, COUNTS, TOPICS, check
from exactly_once_rig.kills import Hurt, Kills
from exactly_once_rig.programs import Program
from exactly_once_rig.work import Work

DESCRIPTION = """Run Kafka's transactional clients while brokers are killed; check that each record counts exactly once.

A feeder writes sentences in transactions and aborts some on purpose; a group of two copies them, with its offsets, in
transactions, some of which it aborts; Kafka Streams counts their words with processing.guarantee=exactly_once_v2; a
reader of committed records sees all of it meanwhile. kafka-producer-perf-test writes numbers in transactions, which
kafka-console-consumer prints. Every so many seconds a broker is killed (kill -9) and started
again. In the end the copies have to be the originals, each once and in order, the counts have to be those of the
acknowledged sentences, each number has to be there once, and nothing that was aborted may ever have been seen.
Exit status: 0 when all holds, 1 when something does not, 2 when it could not run.

  scripts/exactly_once --seconds 600
  scripts/exactly_once --seconds 120 --every 10 --against kafka
"""
BROKERS = 3
CONFIGS = {"min.insync.replicas": "2", "retention.ms": "-1", "segment.bytes": str(1 << 20)}
START_TIMEOUT_S = 120.0
REST_TIMEOUT_S = 120.0


@frozen
class Options:
    seconds: float
    every_s: float
    seed: int
    rate: int
    partitions: int
    against: str
    properties: dict[str, str]
    data_dir_root: Path | None
    keep: bool


def parse() -> Options:
    parser = argparse.ArgumentParser(
        prog="exactly_once", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seconds", type=float, default=120, help="how long brokers are killed (default 120)")
    add("--every", type=float, default=20, help="seconds from one kill to the next (default 20)")
    add("--seed", type=int, help="of the choice of brokers (default: any, and it is printed)")
    add("--rate", type=int, default=50, help="sentences a second, in transactions of 10 (default 50)")
    add("--partitions", type=int, default=6)
    add("--against", choices=("ours", "kafka"), default="ours", help="whose cluster (default: ours)")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="property of the brokers (repeatable)")
    add("--data-dir-root", type=Path, help="where data lies, e.g. on a tmpfs")
    add("--keep", action="store_true", help="keep data, logs and events even when nothing was wrong")
    found = parser.parse_args()
    return Options(
        seconds=found.seconds,
        every_s=found.every,
        seed=random.SystemRandom().randrange(1 << 31) if found.seed is None else found.seed,
        rate=found.rate,
        partitions=found.partitions,
        against=found.against,
        properties=dict(setting.split("=", 1) for setting in found.set),
        data_dir_root=found.data_dir_root,
        keep=found.keep,
    )


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="exactly-once-", dir=options.data_dir_root))
    events = Events(folder / "events.jsonl")
    events.write("start", seed=options.seed, against=options.against, command=" ".join(sys.argv[1:]))
    status = 2
    try:
        complaints = run(options, folder, events)
        for complaint in complaints:
            events.write("violation", quiet=True, text=complaint)
        print(verify.shown(complaints) or "each record counted exactly once, and nothing aborted was seen")
        status = 1 if complaints else 0
    except (Unavailable, Refused, OSError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
    if status or options.keep:
        print(f"seed {options.seed}; events, logs and data are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return status


def run(options: Options, folder: Path, events: Events) -> list[str]:
    """Do it all; return what is wrong. Raises: Unavailable, Refused."""
    runner = programs.build()
    start = start_our_cluster if options.against == "ours" else start_cluster
    with start(folder / "cluster", nodes=BROKERS, properties=options.properties) as cluster:
        events.write("cluster", name=cluster.name, bootstrap=cluster.bootstrap, pids=cluster.pids)
        for topic in TOPICS:
            served_topic(
                Address.parse(cluster.bootstrap),
                topic,
                options.partitions,
                replication_factor=BROKERS,
                configs=CONFIGS,
            )
        work = Work.start(runner, folder, cluster.bootstrap, rate=options.rate, seconds=options.seconds)
        try:
            return _run(options, cluster, work, events)
        finally:
            for program in work.all:
                program.kill()


def _run(options: Options, cluster: Cluster, work: Work, events: Events) -> list[str]:
    complaints = _wait(
        "nothing is copied and counted", START_TIMEOUT_S, lambda: work.seen()[COUNTS] and work.seen()[COPIES]
    )
    events.write("all work", seen=dict(work.seen()))
    kills = Kills(cluster, events, options.every_s, random.Random(options.seed), Rebalance(cluster.bootstrap))
    try:
        kills.run(options.seconds, goes_on=lambda: not work.ended())
    except Hurt as hurt:
        complaints.append(str(hurt))
    complaints += [f"{name}: ended by itself" for name in work.ended()]
    for program in work.producers:
        program.end()
    for program in work.producers:
        complaints += program.wait()
    complaints += _wait("not everything was copied and counted", REST_TIMEOUT_S, work.is_at_rest)
    events.write("at rest", kills=kills.done, seen=dict(work.seen()))
    for program in work.others:
        program.end()
    for program in work.others:
        complaints += program.wait()
    final = work.read_once()
    complaints += final.wait()
    complaints += _check(work, final, events)
    for topic in TOPICS:
        complaints += verify.check_replicas(cluster, topic, options.partitions)
    complaints += verify.check_stop(cluster)
    return complaints


def _wait(what: str, timeout_s: float, holds: Callable[[], object]) -> list[str]:
    """Wait until it holds; return `what` as the complaint if it does not."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline:
            return [f"{what} after {timeout_s:.0f} s"]
        time.sleep(1)
    return []


def _check(work: Work, final: Program, events: Events) -> list[str]:
    told = work.told()
    records, ends = programs.records(final)
    live, _ = programs.records(work.reader)
    complaints = [str(violation) for violation in check(told, records, live, ends)]
    if not told.committed:
        complaints.append("nothing was committed")
    events.write(
        "checked",
        acknowledged=told.acknowledged,
        committed=len(told.committed),
        aborted=told.aborted,
        unknown=len(told.unknown),
        records={
            topic: sum(len(found) for place, found in records.items() if place.topic == topic) for topic in TOPICS
        },
    )
    for title, lines in (
        ("clients were told", programs.errors(work.all)),
        ("clients logged", programs.logged(work.all)),
    ):
        print(f"\n{title}:" if lines else f"\n{title}: nothing")
        for line, times in lines.most_common():
            print(f"{times:6} x {line}")
    print()
    return complaints

#!/usr/bin/env python3
"""Run stock Kafka clients against the broker and print a matrix client × scenario.

Owns: the command line, running the clients' programs with their time limits, the two phases (`cross_compression`
    reads what all others wrote).
Not here: what a client is and how it is built (clients.py), the cluster (targets.py), matrix and report (report.py),
    the scenarios (README.md).
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import targets
from clients import CROSS, SCENARIOS, Client, Runner, Unavailable, load_clients, missing_programs, prepare
from report import Outcome, Results, differences, failures, matrix, write_report

STANDARD_PROPERTIES = {
    "group.initial.rebalance.delay.ms": "500",
    # The scenarios' records are years old: the first look for expired ones must not come while they are being read.
    "log.initial.task.delay.ms": "3600000",
}
REPORT = Path(__file__).resolve().parent.parent / "docs" / "COMPATIBILITY.md"


def main(arguments: Sequence[str]) -> int:
    """Run what the command line says; return the exit status."""
    options = _parse(arguments)
    known = load_clients()
    if unknown := set(options.client) - {client.name for client in known}:
        print(
            f"no such client: {', '.join(sorted(unknown))} (there are {', '.join(c.name for c in known)})",
            file=sys.stderr,
        )
        return 2
    chosen = [client for client in known if not options.client or client.name in options.client]
    if options.list:
        for client in chosen:
            print(f"{client.name:16} {client.package} {client.version():12} {missing_programs(client)}")
        return 0
    results = []
    try:
        for target in _targets(options):
            results.append(_run_target(target, chosen, options))
    except Unavailable as reason:
        print(reason, file=sys.stderr)
        return 1
    if len(results) == 2:
        print(differences(*results))
    if options.report:
        write_report(REPORT, results, {client.name: client for client in chosen})
        print(f"wrote {REPORT}")
    return 1 if any(result.failed for result in results) else 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="compat/run.py", description="Run stock Kafka clients against the broker.")
    parser.add_argument("client", nargs="*", help="the clients to run (default: all)")
    parser.add_argument("--bootstrap", metavar="HOST:PORT", help="use a cluster that already runs")
    parser.add_argument("--data-dir", type=Path, help="with --bootstrap: the broker's data directory, for dump_log")
    parser.add_argument("--against", choices=["kafka"], help="start a real Apache Kafka instead of our broker")
    parser.add_argument(
        "--compare", action="store_true", help="run against Apache Kafka and ours and print the differences"
    )
    parser.add_argument("--brokers", type=int, default=1, help="brokers of the cluster that is started (default 1)")
    parser.add_argument(
        "--restart", action="store_true", help="restart one broker after the other meanwhile (3 brokers or more)"
    )
    parser.add_argument(
        "--restart-every",
        type=float,
        default=15,
        metavar="SECONDS",
        help="with --restart: time in peace between two restarts (default 15)",
    )
    parser.add_argument(
        "--retries",
        type=int,
        metavar="N",
        help="call a scenario that failed again, at most so often, as a user would (default: 2 with --restart, else 0)",
    )
    parser.add_argument("--scenario", action="append", metavar="NAME", help="only this scenario (repeatable)")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="broker property (repeatable)")
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1), help="clients that run at once")
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="for one client (default: its own)")
    parser.add_argument("--report", action="store_true", help="write docs/COMPATIBILITY.md")
    parser.add_argument("--list", action="store_true", help="list the clients and what they miss here")
    options = parser.parse_args(arguments)
    extra = {name for client in load_clients() for name in client.extra}
    for name in options.scenario or ():
        if name not in SCENARIOS and name not in extra:
            parser.error(f"no scenario {name}; there are {', '.join([*SCENARIOS, *sorted(extra)])}")
    if options.retries is None:
        options.retries = 2 if options.restart else 0
    if options.restart and options.brokers < 3:
        parser.error("--restart needs --brokers 3: with fewer, a topic has no replica to go on with")
    for setting in options.set:
        if "=" not in setting:
            parser.error(f"--set needs NAME=VALUE, not {setting}")
    return options


def _targets(options: argparse.Namespace) -> list[AbstractContextManager[targets.Target]]:
    properties = {**STANDARD_PROPERTIES, **dict(setting.split("=", 1) for setting in options.set)}
    restarts = options.restart_every if options.restart else None
    kafka = partial(targets.apache_kafka, properties, brokers=options.brokers, restart_every_s=restarts)
    ours = (
        partial(targets.our_broker, properties)
        if options.brokers == 1
        else partial(targets.our_cluster, properties, brokers=options.brokers, restart_every_s=restarts)
    )
    if options.compare:
        return [kafka(), ours()]
    if options.bootstrap:
        return [targets.running(options.bootstrap, options.data_dir, options.brokers)]
    return [kafka() if options.against == "kafka" else ours()]


def _run_target(
    target_context: AbstractContextManager[targets.Target], chosen: Sequence[Client], options: argparse.Namespace
) -> Results:
    """Run the chosen clients against one cluster and print what came out."""
    results = Results()
    runners: dict[str, Runner] = {}
    for client in chosen:
        try:
            runners[client.name] = prepare(client)
        except Unavailable as reason:
            results.skipped[client.name] = str(reason)
    ready = [client for client in chosen if client.name in runners]
    with target_context as target, tempfile.TemporaryDirectory(prefix="compat-logs-") as logs:
        results.target = target.name
        print(f"{len(ready)} clients against {target.name} on {target.bootstrap}", flush=True)
        began = time.monotonic()
        runs = [ClientRun(client, runners[client.name], target, Path(logs), options) for client in ready]
        longest_first = sorted(runs, key=lambda run: -run.timeout_s)
        _in_parallel([run.first_phase for run in longest_first], options.jobs)
        topics = [topic for run in runs for topic in run.topics_for_others()]
        if topics:
            _in_parallel([partial(run.cross_compression, topics) for run in longest_first], options.jobs)
        for run in runs:
            results.outcomes[run.client.name] = run.outcomes
            results.retried += run.retried
        print(matrix(results, list(chosen)))
        print(failures(results, {run.client.name: run.log for run in runs}), end="")
        print(f"{target.name}: {results.summary()} in {time.monotonic() - began:.0f} s", flush=True)
        if results.failed and target.logs and target.name.startswith("pykbroker"):
            print(f"the last lines of the log:\n{target.last_lines()}")
    return results


def _in_parallel(calls: Sequence[Callable[[], None]], jobs: int) -> None:
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        for future in [pool.submit(call) for call in calls]:
            future.result()


class ClientRun:
    """One client's program against one cluster."""

    def __init__(
        self, client: Client, runner: Runner, target: targets.Target, logs: Path, options: argparse.Namespace
    ) -> None:
        self.client = client
        self.runner = runner
        self.target = target
        self.wanted = [name for name in client.scenarios() if not options.scenario or name in options.scenario]
        self.timeout_s = options.timeout or client.timeout_s
        self.prefix = f"{client.name}-{secrets.token_hex(3)}"
        self.log = logs / f"{client.name}.log"
        chosen = options.scenario or SCENARIOS
        self.retries = options.retries
        self.retried: list[str] = []
        self.written = ""  # the prefix of the topics that `compression` wrote
        self.outcomes: dict[str, Outcome] = {
            name: Outcome("n/a", why) for name, why in client.not_applicable.items() if name in chosen
        }

    def first_phase(self) -> None:
        """Run everything but `cross_compression`."""
        self._until_passed([name for name in self.wanted if name != CROSS], [])

    def _until_passed(self, names: Sequence[str], more: Sequence[str]) -> None:
        """Run these scenarios, and those that failed again, each time with names of their own."""
        for attempt in range(1 + self.retries):
            if attempt:
                self.retried += [f"{self.client.name} {name}: {self.outcomes.pop(name).why}" for name in names]
                self.prefix = f"{self.client.name}-{secrets.token_hex(3)}"
            if names:
                self._call(names, more)
            if "compression" in names:
                self.written = self.prefix
            names = [name for name in names if self.outcomes[name].status == "fail"]

    def topics_for_others(self) -> list[str]:
        """Return the topics of standard records that this client wrote."""
        outcome = self.outcomes.get("compression")
        if outcome is None or outcome.status != "ok":
            return []
        return [f"{self.written}-compression-{codec}" for codec in self.client.codecs]

    def cross_compression(self, topics: Sequence[str]) -> None:
        """Read what all clients wrote."""
        if CROSS in self.wanted:
            self._until_passed([CROSS], [",".join(topics)])

    def _call(self, names: Sequence[str], more: Sequence[str]) -> None:
        """Run the program for these scenarios; every one of them has an outcome afterwards."""
        command = [*self.runner.command, ",".join(names), self.target.bootstrap, self.prefix, *more]
        environment: Mapping[str, str] = {
            **os.environ,
            **self.runner.environment,
            "COMPAT_BROKERS": str(self.target.brokers),
            "COMPAT_REPLICATION_FACTOR": str(min(3, self.target.brokers)),
            **({"COMPAT_DATA_DIR": str(self.target.data_dir)} if self.target.data_dir else {}),
        }
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        timed_out = threading.Event()

        def end_it() -> None:
            timed_out.set()
            _kill_group(process)

        timer = threading.Timer(self.timeout_s, end_it)
        timer.start()
        try:
            self._read_results(process, set(names))
            status = process.wait()
        finally:
            timer.cancel()
            _kill_group(process)  # what the program may have started and left behind
        why = (
            f"no answer within {self.timeout_s:.0f} s"
            if timed_out.is_set()
            else f"the program ended with status {status}"
        )
        for name in names:
            self.outcomes.setdefault(name, Outcome("fail", why))

    def _read_results(self, process: subprocess.Popen[str], expected: set[str]) -> None:
        assert process.stdout is not None
        began = time.monotonic()
        for line in process.stdout:
            status, _, rest = line.strip().partition(" ")
            name, _, why = rest.partition(": ")
            if status in {"ok", "fail", "n/a"} and name in expected and name not in self.outcomes:
                self.outcomes[name] = Outcome(status, why, time.monotonic() - began)
                began = time.monotonic()


def _kill_group(process: subprocess.Popen[str]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

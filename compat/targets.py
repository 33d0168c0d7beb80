"""The cluster that the clients are run against: our broker or brokers, a real Apache Kafka, or one that already runs.

Rules: each is a context manager that gives a Target and leaves nothing behind, neither a process nor a file.
Not here: how nodes are started (cluster.py), restarting them under the clients' feet (restarts.py).
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from attrs import frozen

from apache_kafka import start_cluster
from clients import COMPAT, Unavailable
from cluster import Cluster, tail
from our_cluster import start_our_cluster
from restarts import Restarts

ACCEPTS = re.compile(r"pykbroker accepts clients on (\S+:\d+)")
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 30


@frozen
class Target:
    """A running cluster. `data_dir` is that of its first broker, `logs` what each prints, where they are known."""

    name: str
    bootstrap: str
    data_dir: Path | None = None
    logs: Sequence[Path] = ()
    brokers: int = 1

    def last_lines(self) -> str:
        return "\n".join(f"{log}:\n{tail(log, 30)}" for log in self.logs)


@contextmanager
def running(bootstrap: str, data_dir: Path | None, brokers: int) -> Iterator[Target]:
    """Use a cluster that somebody else started."""
    yield Target(name=bootstrap, bootstrap=bootstrap, data_dir=data_dir, brokers=brokers)


@contextmanager
def apache_kafka(
    properties: Mapping[str, str], *, brokers: int = 1, restart_every_s: float | None = None
) -> Iterator[Target]:
    """Start an Apache Kafka in a temporary directory."""
    with (
        tempfile.TemporaryDirectory(prefix="compat-kafka-", ignore_cleanup_errors=True) as directory,
        start_cluster(Path(directory), nodes=brokers, properties={**_replicated(brokers), **properties}) as kafka,
        _target(kafka, restart_every_s) as target,
    ):
        yield target


@contextmanager
def our_broker(properties: Mapping[str, str]) -> Iterator[Target]:
    """Start `pykbroker start` from this working copy, with a temporary data directory.

    Raises: Unavailable if it does not say that it accepts clients.
    """
    with tempfile.TemporaryDirectory(prefix="compat-pykbroker-", ignore_cleanup_errors=True) as directory:
        data_dir, log = Path(directory, "data"), Path(directory, "broker.log")
        command = [sys.executable, "-m", "pykbroker", "start", "--port", "0", "--data-dir", str(data_dir)]
        for name, value in properties.items():
            command += ["--set", f"{name}={value}"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, cwd=COMPAT.parent, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        try:
            yield Target("pykbroker", _wait_until_it_accepts(process, log), data_dir, [log])
            if process.poll() is not None:
                print(f"the broker ended by itself with status {process.returncode}:\n{tail(log)}", file=sys.stderr)
        finally:
            _stop(process)


@contextmanager
def our_cluster(properties: Mapping[str, str], *, brokers: int, restart_every_s: float | None) -> Iterator[Target]:
    """Start several brokers from this working copy that share a store, in a temporary directory. Raises: Unavailable,
    also at the end where one of them counted a bug.
    """
    with tempfile.TemporaryDirectory(prefix="compat-pykbroker-", ignore_cleanup_errors=True) as directory:
        cluster = start_our_cluster(Path(directory), nodes=brokers, properties={**_replicated(brokers), **properties})
        with cluster, _target(cluster, restart_every_s) as target:
            yield target
        if bugs := cluster.bugs_total():
            raise Unavailable(f"bugs_total is {bugs}:\n{target.last_lines()}")


@contextmanager
def _target(cluster: Cluster, restart_every_s: float | None) -> Iterator[Target]:
    # What lies in a broker's data directory is no longer everything once it has been down.
    data_dir = None if restart_every_s is not None else cluster.nodes[0].data_dir
    target = Target(
        f"{cluster.name}{f', {len(cluster.nodes)} brokers' if len(cluster.nodes) > 1 else ''}"
        f"{', restarted one by one' if restart_every_s is not None else ''}",
        cluster.bootstrap,
        data_dir,
        [each.log for each in cluster.nodes],
        len(cluster.nodes),
    )
    with Restarts(cluster, restart_every_s) if restart_every_s is not None else nullcontext():
        yield target
    if ended := {node.id for node in cluster.nodes} - set(cluster.pids):
        print(f"brokers {sorted(ended)} ended by themselves:\n{target.last_lines()}", file=sys.stderr)


def _replicated(brokers: int) -> dict[str, str]:
    """Return the properties that make topics survive the restart of one broker."""
    if brokers == 1:
        return {}
    return {"default.replication.factor": str(min(3, brokers)), "min.insync.replicas": str(min(2, brokers - 1))}


def _wait_until_it_accepts(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if said := ACCEPTS.search(log.read_text(errors="replace")):
            return said.group(1)
        if process.poll() is not None:
            raise Unavailable(f"the broker ended at once with status {process.returncode}:\n{tail(log)}")
        time.sleep(0.02)
    raise Unavailable(f"the broker did not accept clients within {START_TIMEOUT_S} s:\n{tail(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

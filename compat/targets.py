"""The cluster that the clients are run against: our broker, a real Apache Kafka, or one that already runs.

Rules: each is a context manager that gives a Target and leaves nothing behind, neither a process nor a file.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from apache_kafka import start_cluster
from clients import COMPAT, Unavailable

ACCEPTS = re.compile(r"pykbroker accepts clients on (\S+:\d+)")
START_TIMEOUT_S = 30
STOP_TIMEOUT_S = 30


@frozen
class Target:
    """A running cluster. `data_dir` is that of its only broker, `log` what it prints, where they are known."""

    name: str
    bootstrap: str
    data_dir: Path | None = None
    log: Path | None = None


@contextmanager
def running(bootstrap: str, data_dir: Path | None) -> Iterator[Target]:
    """Use a cluster that somebody else started."""
    yield Target(name=bootstrap, bootstrap=bootstrap, data_dir=data_dir)


@contextmanager
def apache_kafka(properties: Mapping[str, str]) -> Iterator[Target]:
    """Start a one-node Apache Kafka in a temporary directory."""
    with (
        tempfile.TemporaryDirectory(prefix="compat-kafka-", ignore_cleanup_errors=True) as directory,
        start_cluster(Path(directory), properties=properties) as kafka,
    ):
        node = kafka.nodes[0]
        yield Target(f"Apache Kafka {kafka.version}", kafka.bootstrap, node.data_dir, node.log)


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
            yield Target("pykbroker", _wait_until_it_accepts(process, log), data_dir, log)
            if process.poll() is not None:
                print(f"the broker ended by itself with status {process.returncode}:\n{tail(log)}", file=sys.stderr)
        finally:
            _stop(process)


def tail(path: Path, lines: int = 30) -> str:
    """Return the last lines of a text file, "" if there is none."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""


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

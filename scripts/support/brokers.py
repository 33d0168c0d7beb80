"""Start, kill and stop what scripts run against: our broker, a real Apache Kafka, or a cluster that already runs.

Owns: the processes it started and the data directory that it was given.
Rules: all have the same face (`Broker`), so a script says once what it does to a broker. Times to start are taken
       from just before the process is launched to the first Metadata answer that shows a broker, the same way for
       both.
Not here: the processes of a cluster (compat/cluster.py), Apache Kafka's own set-up (compat/apache_kafka.py).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from apache_kafka import KAFKA_VERSION, start_cluster
from attrs import define, field
from cluster import Cluster, Place, free_ports
from our_cluster import start_our_cluster

from support.connection import Address, known_brokers

REPOSITORY = Path(__file__).resolve().parent.parent.parent
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.005


class Failed(Exception):
    """A broker did not do what the script needs; the text says what."""


class Broker(Protocol):
    """A cluster that a script uses. `pids` is empty where it was started by somebody else."""

    name: str

    @property
    def bootstrap(self) -> str: ...

    @property
    def pids(self) -> Sequence[int]: ...

    def start(self) -> float:
        """Start every node and return the seconds until the first Metadata answer. Raises: Failed."""

    def kill(self) -> None:
        """SIGKILL every node."""

    def stop(self) -> int | None:
        """Stop every node cleanly and return the exit status where there is one process to have it."""

    def logs(self) -> str:
        """Return what the broker has printed since it was first started, "" where that is not known."""


@define
class OurBroker:
    """`pykbroker start` from this working copy, with stock settings."""

    data_dir: Path
    properties: Mapping[str, str] = field(factory=dict)
    name: str = "pykbroker"
    port: int = field(factory=lambda: free_ports(1)[0])
    options: Sequence[str] = ()  # more of the command line
    process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pids(self) -> Sequence[int]:
        return [self.process.pid] if self.process is not None and self.process.poll() is None else []

    @property
    def log(self) -> Path:
        return self.data_dir.with_name(self.data_dir.name + ".log")

    def start(self) -> float:
        command = [
            sys.executable,
            "-m",
            "pykbroker",
            "start",
            "--port",
            str(self.port),
            "--data-dir",
            str(self.data_dir),
            *self.options,
        ]
        for name, value in self.properties.items():
            command += ["--set", f"{name}={value}"]
        self.data_dir.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            started = time.monotonic()
            self.process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=_environment(),
            )
        try:
            return _first_answer(self.bootstrap, started, self)
        except Failed:
            self.kill()
            raise

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def stop(self) -> int | None:
        if self.process is None:
            return None
        self.process.terminate()
        try:
            return self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"{self.name} did not stop within {STOP_TIMEOUT_S:.0f} s of SIGTERM") from None

    def logs(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def bugs_total(self) -> int:
        """Return the counter that the broker prints when it stops. Raises: Failed where it printed none."""
        found = re.findall(r"bugs_total=(\d+)", self.logs())
        if not found:
            raise Failed(f"{self.name} printed no bugs_total when it stopped:\n{last_lines(self.logs())}")
        return int(found[-1])


@define
class ClusterBroker(ABC):
    """One or more nodes, each a process that can be hurt by itself (`cluster`). They keep their data over a stop."""

    data_dir: Path
    properties: Mapping[str, str] = field(factory=dict)
    nodes: int = 1
    ports: Sequence[int] = ()
    places: Sequence[Place] = ()
    cluster: Cluster | None = None

    @abstractmethod
    def create(self) -> Cluster:
        """Start the processes of a new cluster."""

    @property
    def running(self) -> Cluster:
        assert self.cluster is not None, "not started"
        return self.cluster

    @property
    def bootstrap(self) -> str:
        return self.running.bootstrap

    @property
    def pids(self) -> Sequence[int]:
        return list(self.cluster.pids.values()) if self.cluster is not None else []

    def start(self) -> float:
        if self.cluster is None:
            # Formatting Kafka's storage is no part of a start: it happens once in the life of a data directory.
            self.cluster = self.create()
            started = time.monotonic()
        else:
            started = time.monotonic()
            for node in self.cluster.nodes:
                self.cluster.launch(node.id)
        took = _first_answer(self.bootstrap, started, self)
        self.cluster.wait_ready()
        return took

    def kill(self) -> None:
        if self.cluster is not None:
            for node in self.cluster.nodes:
                self.cluster.kill(node.id)

    def stop(self) -> int | None:
        if self.cluster is None:
            return None
        return next((status for status in self.cluster.stop().values() if status), 0)

    def logs(self) -> str:
        return self.cluster.logs() if self.cluster is not None else ""


@define
class ApacheKafka(ClusterBroker):
    """Apache Kafka with stock settings."""

    name: str = f"Apache Kafka {KAFKA_VERSION}"

    def create(self) -> Cluster:
        return start_cluster(
            self.data_dir,
            nodes=self.nodes,
            ports=self.ports,
            places=self.places,
            properties=self.properties,
            wait=False,
        )


@define
class OurBrokers(ClusterBroker):
    """`pykbroker start --node-id N --store …` from this working copy, with stock settings.

    `store` is what the option takes; by default an SQLite file that the brokers share.
    """

    name: str = "pykbroker"
    store: str | None = None

    def create(self) -> Cluster:
        return start_our_cluster(
            self.data_dir,
            nodes=self.nodes,
            ports=self.ports,
            places=self.places,
            properties=self.properties,
            store=self.store,
            wait=False,
        )


@define
class Running:
    """A cluster that somebody else started: it is neither started, killed nor stopped here."""

    name: str
    bootstrap: str
    pids: Sequence[int] = ()

    def start(self) -> float:
        raise Failed(f"{self.name} at {self.bootstrap} was started by somebody else")

    def kill(self) -> None:
        raise Failed(f"{self.name} at {self.bootstrap} was started by somebody else")

    def stop(self) -> int | None:
        return None

    def logs(self) -> str:
        return ""


def remove(broker: OurBroker | ClusterBroker) -> None:
    """Kill what still runs and delete the data directory."""
    broker.kill()
    shutil.rmtree(broker.data_dir, ignore_errors=True)


def rss_bytes(pids: Sequence[int]) -> int:
    """Return the resident memory of the processes together."""
    return sum(_proc_kib(f"/proc/{pid}/status", "VmRSS") for pid in pids) * 1024


def pss_bytes(pids: Sequence[int]) -> int:
    """Return the resident memory with each shared page divided by the number of its users."""
    return sum(_proc_kib(f"/proc/{pid}/smaps_rollup", "Pss") for pid in pids) * 1024


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the processor time that the processes have used."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / 100


def last_lines(text: str, lines: int = 20) -> str:
    return "\n".join(text.splitlines()[-lines:])


def _proc_kib(path: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path(path).read_text(), re.MULTILINE)
    return int(found[1]) if found else 0


def _environment() -> dict[str, str]:
    """Let Python keep compiled modules, as it does for an installed package."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _first_answer(bootstrap: str, started: float, broker: Broker) -> float:
    address = Address.parse(bootstrap)
    while not known_brokers(address):
        if time.monotonic() - started > START_TIMEOUT_S:
            raise Failed(f"{broker.name} did not answer within {START_TIMEOUT_S:.0f} s:\n{last_lines(broker.logs())}")
        if not broker.pids:
            raise Failed(f"{broker.name} ended instead of starting:\n{last_lines(broker.logs())}")
        time.sleep(POLL_S)
    return time.monotonic() - started

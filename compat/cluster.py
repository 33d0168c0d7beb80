"""One to N brokers, each a process of its own, that are started, stopped and hurt one by one.

Owns: the processes it started, and the files in the directory of each node.
Rules: what drives a cluster (scripts, targets.py) uses this face only, so that the same is done to our cluster
       (our_cluster.py) and to Apache Kafka's (apache_kafka.py). A node keeps its port and data while it is down.
Not here: how a node is configured and what its command is.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from attrs import define, field, frozen

import cluster_state
from clients import COMPAT, Unavailable
from cluster_state import ClusterState

LOOPBACK = "127.0.0.1"
READY_TIMEOUT_S = 120
STOP_TIMEOUT_S = 60
IN_SYNC_TIMEOUT_S = 120


@frozen
class Place:
    """Where a node runs: its address, and what goes before its command (to enter a network namespace, say)."""

    host: str = LOOPBACK
    prefix: Sequence[str] = ()


@define
class Node:
    """One broker. `process` is None while it is stopped, `is_frozen` is True between freeze() and thaw()."""

    id: int
    port: int
    directory: Path
    place: Place = field(factory=Place)
    process: subprocess.Popen[bytes] | None = None
    is_frozen: bool = False

    @property
    def address(self) -> str:
        return f"{self.place.host}:{self.port}"

    @property
    def data_dir(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        return self.directory / "server.log"

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None


@define
class Cluster(ABC):
    """The nodes that were started. Leaving the `with` block stops them; the data stays in their directories."""

    nodes: Sequence[Node]

    @property
    @abstractmethod
    def name(self) -> str:
        """The product and its version, as a reader should see it."""

    @abstractmethod
    def command(self, node: Node) -> list[str]:
        """Return what starts the node."""

    @property
    def bootstrap(self) -> str:
        return ",".join(node.address for node in self.nodes)

    @property
    def pids(self) -> dict[int, int]:
        """Return node id → process id of the nodes that run."""
        return {node.id: node.process.pid for node in self.nodes if node.process is not None and node.runs}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def node(self, node_id: int) -> Node:
        return next(node for node in self.nodes if node.id == node_id)

    def launch(self, node_id: int) -> None:
        """Start the node's process and return at once."""
        node = self.node(node_id)
        node.directory.mkdir(parents=True, exist_ok=True)
        with node.log.open("ab") as log:
            node.process = subprocess.Popen(
                [*node.place.prefix, *self.command(node)],
                cwd=COMPAT.parent,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def state(self, topics: Sequence[str] | None = None) -> ClusterState | None:
        """Return what the first running node that answers says of these topics (None: of all)."""
        for node in self.nodes:
            if (
                node.runs
                and not node.is_frozen
                and (found := cluster_state.ask(node.place.host, node.port, topics)) is not None
            ):
                return found
        return None

    def start(self, node_id: int) -> None:
        """Start the node and wait until it answers and knows all live nodes. Raises: Unavailable."""
        self.launch(node_id)
        self.wait_ready()

    def wait_ready(self) -> None:
        """Wait until every running node answers Metadata with every running node in it. Raises: Unavailable."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        expected = [node for node in self.nodes if node.process is not None]
        for node in expected:
            while known_brokers(node) < len(expected):
                if not node.runs:
                    raise Unavailable(f"{self.name}: node {node.id} ended early:\n{tail(node.log)}")
                if time.monotonic() > deadline:
                    raise Unavailable(
                        f"{self.name}: node {node.id} is not ready after {READY_TIMEOUT_S} s:\n{tail(node.log)}"
                    )
                time.sleep(0.05)

    def wait_in_sync(self, topics: Sequence[str] | None = None, *, ended: Callable[[], bool] = lambda: False) -> None:
        """Wait until every replica of these topics (None: of all) is in its ISR, or `ended`. Raises: Unavailable."""
        deadline = time.monotonic() + IN_SYNC_TIMEOUT_S
        while not ended():
            state = self.state(topics)
            if state is not None and not state.lagging() and not state.unknown:
                return
            if time.monotonic() > deadline:
                lagging = ", ".join(map(str, state.lagging()[:5])) if state is not None else "no broker answers"
                raise Unavailable(f"{self.name} is not in sync after {IN_SYNC_TIMEOUT_S} s: {lagging}")
            time.sleep(0.1)

    def kill(self, node_id: int) -> None:
        """Kill the node as a crash would (SIGKILL)."""
        node = self.node(node_id)
        if node.process is not None:
            node.process.kill()
            node.process.wait()
            node.process, node.is_frozen = None, False

    def freeze(self, node_id: int) -> None:
        """Stop the node from running (SIGSTOP) until thaw()."""
        self._signal(node_id, signal.SIGSTOP)
        self.node(node_id).is_frozen = True

    def thaw(self, node_id: int) -> None:
        """Let a frozen node go on (SIGCONT)."""
        self._signal(node_id, signal.SIGCONT)
        self.node(node_id).is_frozen = False

    def stop(self, node_id: int | None = None) -> dict[int, int]:
        """Stop one node, or all, cleanly, and return the exit status of each that ran.

        What has not stopped after STOP_TIMEOUT_S is killed, and its status says so.
        """
        chosen = [node for node in self.nodes if node_id in (None, node.id) and node.process is not None]
        statuses = {}
        for node in chosen:
            assert node.process is not None
            node.process.terminate()
            node.process.send_signal(signal.SIGCONT)
        for node in chosen:
            assert node.process is not None
            try:
                statuses[node.id] = node.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                node.process.kill()
                statuses[node.id] = node.process.wait()
            node.process, node.is_frozen = None, False
        return statuses

    def logs(self) -> str:
        """Return what the nodes have printed since they were first started."""
        return "".join(node.log.read_text(errors="replace") for node in self.nodes if node.log.exists())

    def _signal(self, node_id: int, number: signal.Signals) -> None:
        process = self.node(node_id).process
        if process is not None:
            process.send_signal(number)


def free_ports(count: int) -> list[int]:
    """Return `count` ports that nobody listens on now."""
    sockets = [socket.create_server((LOOPBACK, 0)) for _ in range(count)]
    found = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return found


def known_brokers(node: Node) -> int:
    """Return how many brokers the node says there are, 0 while it does not answer."""
    state = cluster_state.ask(node.place.host, node.port)
    return len(state.brokers) if state is not None else 0


def tail(path: Path, lines: int = 15) -> str:
    """Return the last lines of a text file, "" if there is none."""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) if path.exists() else ""


def _environment() -> Mapping[str, str]:
    """Let Python keep compiled modules, as it does for an installed package."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

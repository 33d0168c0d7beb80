"""One broker of an embedded cluster: it can be started, stopped and killed, and has its port and its data for good.

Rules
- The port is chosen with the first start. On Linux a socket that does not listen keeps it while the broker is down;
  elsewhere it is only remembered.
- A start that fails raises, and leaves the node down. A broker that fails later takes the cluster down.
- A broker that runs is stopped, never cancelled: its tasks would end in no order, and wait for each other.
- What was cut off stays so over a restart, and a wrong wall clock stays wrong (faults/seams, `Lasting`).

Not here: the cluster's store and folder (cluster).
"""

import logging
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio
import attrs
from anyio.abc import TaskGroup, TaskStatus

from pykbroker.broker import Broker
from pykbroker.clock import Clock
from pykbroker.cluster.store import Store
from pykbroker.config import BrokerConfig
from pykbroker.faults.broker import FaultyBroker
from pykbroker.faults.control import Faults
from pykbroker.faults.seams import Seams

HOST = "127.0.0.1"
logger = logging.getLogger("pykbroker.embedded")


@attrs.define(eq=False)
class Running:
    """A broker from its start to its end."""

    broker: Broker
    faulty: FaultyBroker
    stop: anyio.Event = attrs.field(factory=anyio.Event)
    ended: anyio.Event = attrs.field(factory=anyio.Event)


class Node:
    def __init__(
        self,
        node_id: int,
        folder: Path,
        properties: Mapping[str, str],
        *,
        port: int,
        faults: Faults,
        is_ephemeral: bool,
        open_store: Callable[[Clock], Store] | None,
    ) -> None:
        """`port`: 0 takes any. `open_store`: None where the broker has a store of its own."""
        self.id = node_id
        self.running: Running | None = None
        self._properties = {"listeners": f"PLAINTEXT://{HOST}:{port}", **properties, "node.id": str(node_id)}
        self._properties["log.dirs"] = str(folder)
        self._faults = faults
        self._is_ephemeral = is_ephemeral
        self._open_store = open_store
        self._lasting = faults.lasting(node_id)
        self._port_keeper: socket.socket | None = None
        self.bootstrap = ""

    async def start(self, tasks: TaskGroup) -> None:
        """Return when the broker accepts clients. Raises: StartError, ConfigError."""
        if self.running is None:
            self._keep_port()
            self.bootstrap = await tasks.start(self._run)
            logger.info("broker %d accepts clients on %s", self.id, self.bootstrap)

    async def _run(self, *, task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED) -> None:
        config = BrokerConfig.from_properties(self._properties)
        seams = Seams(config, self._lasting)
        store = None if self._open_store is None else self._open_store(seams.clock)
        broker = Broker(config, is_ephemeral=self._is_ephemeral, store=store, faults=self._faults, seams=seams)
        running: Running | None = None
        try:
            with anyio.CancelScope() as scope:
                async with broker:
                    scope.shield = True
                    assert broker.faulty is not None
                    self.running = running = Running(broker, broker.faulty)
                    task_status.started(broker.bootstrap)
                    await running.stop.wait()
        finally:
            self.running = None
            if running is not None:
                running.ended.set()

    def _keep_port(self) -> None:
        """Choose a port, where any will do, that stays this node's."""
        if self._properties["listeners"] != f"PLAINTEXT://{HOST}:0":
            return
        keeper = socket.socket()
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind((HOST, 0))
        self._properties["listeners"] = f"PLAINTEXT://{HOST}:{keeper.getsockname()[1]}"
        if sys.platform == "linux":
            self._port_keeper = keeper
        else:
            keeper.close()

    async def stop(self, *, is_killed: bool = False) -> None:
        """Stop the broker, or let it end as in a crash. Does nothing if it is down."""
        running = self.running
        if running is None:
            return
        if is_killed:
            running.broker.kill()
        running.stop.set()
        await running.ended.wait()

    def close(self) -> None:
        if self._port_keeper is not None:
            self._port_keeper.close()

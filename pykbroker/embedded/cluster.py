"""Brokers that run in an event loop of somebody else's: those of a test, or the one of the thread beside it.

    async with AsyncCluster(brokers=3) as kafka:
        kafka.bootstrap                 # "127.0.0.1:40123,127.0.0.1:40124,127.0.0.1:40125"
        await kafka.stop(2)

Owns: the folder, the nodes, the faults in force.

Rules
- What is not set is set for tests: any port, groups that form at once, one partition for each internal topic, topics
  with a replica on up to three brokers, data that is never synced to the disk.
- Several brokers share the store in one file, as processes on one machine would.
- `reset` leaves what a cluster has that was just started, in a moment, and with all its connections: to clients it is
  as if somebody had deleted all topics and groups. It starts the brokers that are down.

Not here: one broker (node), the thread (threaded).
"""

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import anyio

from pykbroker.broker import Broker
from pykbroker.clock import Clock
from pykbroker.cluster.new_topics import DEFAULT, NewTopic, plan_topic
from pykbroker.cluster.sqlite_store import SqliteStore
from pykbroker.cluster.store import Store
from pykbroker.embedded.node import Node
from pykbroker.errors import StartError
from pykbroker.faults.broker import FaultyBroker
from pykbroker.faults.control import Faults, Lifecycle
from pykbroker.faults.rules import FaultError

logger = logging.getLogger("pykbroker.embedded")

STORE_FILE = "metadata.sqlite"
MAX_DEFAULT_REPLICAS = 3

DEFAULTS = {
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "log.segment.delete.delay.ms": "1000",
}


class AsyncCluster(Lifecycle):
    def __init__(
        self,
        *,
        brokers: int = 3,
        properties: Mapping[str, object] | None = None,
        data_dir: Path | str | None = None,
        first_port: int | None = None,
    ) -> None:
        """`properties` are Kafka's, of all brokers. With a `data_dir` the data stays, and is found again.

        `first_port` is that of the first broker, the others' follow; None: any.
        """
        self._count = brokers
        self._first_port = first_port
        self._properties = {
            **DEFAULTS,
            "default.replication.factor": str(min(brokers, MAX_DEFAULT_REPLICAS)),
            **{name: str(value) for name, value in (properties or {}).items()},
        }
        self._data_dir = None if data_dir is None else Path(data_dir)
        self._nodes: dict[int, Node] = {}
        self._exit = contextlib.AsyncExitStack()
        self._tasks: anyio.abc.TaskGroup
        self.faults: Faults  # once it has started

    async def __aenter__(self) -> "AsyncCluster":
        """Start. Raises: StartError, ConfigError."""
        try:
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop. What was raised in the body goes on as it is: told of it, the task group would wrap it in a group."""
        await self._stop()

    async def _start(self) -> None:
        if self._count < 1:
            raise StartError(f"a cluster has one broker or more, and not {self._count}")
        self._exit = contextlib.AsyncExitStack()
        self.faults = Faults(self._running, self)
        folder = self._data_dir
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="pykbroker-"))
            self._exit.callback(shutil.rmtree, folder, ignore_errors=True)
        self.data_dir = folder
        self._nodes = {node_id: self._new_node(node_id, folder) for node_id in range(1, self._count + 1)}
        for node in self._nodes.values():
            self._exit.callback(node.close)
        self._tasks = await self._exit.enter_async_context(anyio.create_task_group())
        for node in self._nodes.values():
            await node.start(self._tasks)
        await self._until_all_are_known()

    async def _stop(self) -> None:
        with anyio.CancelScope(shield=True):
            for node in self._nodes.values():
                await node.stop(is_killed=self._data_dir is None)  # nobody needs what a stop in order would keep
        await self._exit.aclose()  # not in the scope: it ends that of the tasks

    def _new_node(self, node_id: int, folder: Path) -> Node:
        def open_store(clock: Clock) -> Store:
            return SqliteStore(folder / STORE_FILE, clock, shared=True, ephemeral=self._data_dir is None)

        is_alone = self._count == 1
        own_folder = folder if is_alone else folder / f"broker-{node_id}"
        own_folder.mkdir(parents=True, exist_ok=True)
        return Node(
            node_id,
            own_folder,
            self._properties,
            port=0 if self._first_port is None else self._first_port + node_id - 1,
            faults=self.faults,
            is_ephemeral=self._data_dir is None,
            open_store=None if is_alone else open_store,
        )

    def _running(self) -> Mapping[int, FaultyBroker]:
        return {node.id: node.running.faulty for node in self._nodes.values() if node.running is not None}

    async def _until_all_are_known(self) -> None:
        """Wait until each broker that runs knows all that do."""
        running = self._running().values()
        epochs = {each.services.cluster.broker_id: each.services.cluster.broker_epoch for each in running}
        await self.faults.until_known(
            lambda image: all(
                (broker := image.brokers.get(broker_id)) is not None and not broker.fenced and broker.epoch >= epoch
                for broker_id, epoch in epochs.items()
            )
        )

    # What it is

    @property
    def bootstrap(self) -> str:
        """host:port of each broker, whether it runs or not."""
        return ",".join(node.bootstrap for node in self._nodes.values() if node.bootstrap)

    @property
    def brokers(self) -> list[int]:
        """The ids of the brokers that run."""
        return list(self._running())

    @property
    def bugs(self) -> int:
        """How many bugs of ours the running brokers have noticed; each is in the log."""
        return sum(each.services.metrics.bugs_total for each in self._running().values())

    def broker(self, broker: int = 1) -> Broker:
        """A broker that runs, for who wants to look inside."""
        running = self._node(broker).running
        if running is None:
            raise FaultError(f"broker {broker} is down")
        return running.broker

    # What can be done with it

    async def start(self, broker: int = 1) -> None:
        """Start a broker that is down, on its own port and data."""
        await self._node(broker).start(self._tasks)
        await self._until_all_are_known()

    async def stop(self, broker: int = 1) -> None:
        """Stop a broker in order; what it leads goes to others first."""
        await self._node(broker).stop()
        logger.info("broker %d has stopped", broker)

    async def kill(self, broker: int = 1) -> None:
        """Let a broker end as in a crash."""
        await self._node(broker).stop(is_killed=True)
        logger.info("broker %d was killed", broker)

    async def restart(self, broker: int = 1) -> None:
        """Stop a broker in order, and start it again."""
        await self.stop(broker)
        await self.start(broker)

    def _node(self, broker: int) -> Node:
        if broker not in self._nodes:
            raise FaultError(f"there is no broker {broker}; there are {', '.join(map(str, self._nodes))}")
        return self._nodes[broker]

    async def create_topic(
        self,
        name: str,
        partitions: int = DEFAULT,
        *,
        replication_factor: int = DEFAULT,
        configs: Mapping[str, object] | None = None,
    ) -> str:
        """Create a topic, and return its name when all brokers know it. Raises: KafkaError."""
        topic = NewTopic(
            name, partitions, replication_factor, configs={key: str(value) for key, value in (configs or {}).items()}
        )
        services = self.faults.any_broker().services
        await self.faults.propose(lambda image: plan_topic(image, services.config, topic).change)
        return name

    async def reset(self) -> None:
        """Forget all topics, groups, transactions and configs, and end all faults."""
        await self.faults.reset()

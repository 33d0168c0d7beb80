"""Several brokers' memberships and controllers on one shared file, under one clock that the test lets run."""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import anyio
import anyio.lowlevel
import attrs

from pykbroker.clock import SimulatedClock
from pykbroker.cluster.changes import create_topic
from pykbroker.cluster.controller import Controller
from pykbroker.cluster.image import PartitionImage
from pykbroker.cluster.liveness import Liveness
from pykbroker.cluster.membership import Cluster
from pykbroker.cluster.sqlite_store import SqliteStore
from pykbroker.cluster.store import Condition, Operation, TxnResult
from pykbroker.config import BrokerConfig, Endpoint
from pykbroker.peer import Network
from wire.primitives import random_uuid

STEP_MS = 20
MAX_STEPS = 5000
NOTHING = "/nothing/"


class CountingStore(SqliteStore):
    """Counts the transactions that were tried, and how many keys each wrote."""

    def __init__(self, path: Path, clock: SimulatedClock) -> None:
        super().__init__(path, clock, shared=True, ephemeral=True)
        self.written: list[int] = []

    async def txn(self, conditions: list[Condition], operations: list[Operation]) -> TxnResult:
        self.written.append(len(operations))
        return await super().txn(conditions, operations)


@attrs.define(eq=False)
class Node:
    cluster: Cluster
    store: CountingStore
    controller: Controller
    config: BrokerConfig
    scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope)


class Nodes:
    def __init__(self, folder: Path, tasks: anyio.abc.TaskGroup, network: Network | None = None) -> None:
        self.clock = SimulatedClock()
        self.running: dict[int, Node] = {}
        self._folder = folder
        self._tasks = tasks
        self._network = network

    async def start(self, *broker_ids: int, **options: object) -> None:
        """Start brokers; options are those of Cluster.start, or properties with underscores for dots."""
        known = ("after_unclean_stop", "previous_broker_epoch", "directory_id")
        entering = {name: options.pop(name) for name in known if name in options}
        properties = {name.replace("_", "."): str(value) for name, value in options.items()}
        for broker_id in broker_ids:
            config = BrokerConfig.from_properties({"node.id": str(broker_id), **properties})
            store = CountingStore(self._folder / "metadata.sqlite", self.clock)
            cluster = Cluster(store, config, self.clock)
            node = Node(cluster, store, Controller(cluster, config, self.clock), config)
            cluster.on_image.append(node.controller.on_image)
            endpoint = Endpoint("PLAINTEXT", "PLAINTEXT", "127.0.0.1", 9000 + broker_id)
            await cluster.start([endpoint], **entering)  # type: ignore[arg-type]
            self.running[broker_id] = node
            self._tasks.start_soon(self._run, node)
        await self.until(self._all_agree)

    def _all_agree(self) -> bool:
        return len({node.cluster.image.revision for node in self.running.values()}) == 1

    async def _run(self, node: Node) -> None:
        with node.scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(node.cluster.run)
                tasks.start_soon(node.controller.run)
                if self._network is not None:
                    liveness = Liveness(node.cluster, node.config, self.clock, self._network)
                    node.cluster.on_image.append(liveness.on_image)
                    tasks.start_soon(liveness.run)

    def kill(self, broker_id: int) -> Node:
        """Let a broker do nothing any more; its lease ends when nobody has renewed it for its time."""
        node = self.running.pop(broker_id)
        node.scope.cancel()
        return node

    async def stop(self, broker_id: int) -> None:
        """Stop in order: hand over, then leave."""
        node = self.running[broker_id]
        await self.while_time_passes(node.cluster.hand_over)
        self.kill(broker_id)
        await node.cluster.stop()

    async def while_time_passes(self, call: Callable[[], object]) -> None:
        over = False

        async def run() -> None:
            nonlocal over
            await call()  # type: ignore[misc]
            over = True

        self._tasks.start_soon(run)
        await self.until(lambda: over)

    async def until(self, condition: Callable[[], object]) -> float:
        """Let time pass until something is true; return how long it took, in ms."""
        started = self.clock.monotonic_ms()
        for _ in range(MAX_STEPS):
            if condition():
                return self.clock.monotonic_ms() - started
            self.clock.advance(STEP_MS)
            await anyio.lowlevel.checkpoint()
            # A store does one thing after the other: when it has done this, it has done what time brought about, too.
            for node in list(self.running.values()):
                await node.store.range(NOTHING)
            await anyio.lowlevel.checkpoint()
        raise AssertionError("it did not come true")

    async def create(self, name: str, replicas: Sequence[Sequence[int]], **configs: str) -> None:
        assigned = [tuple(each) for each in replicas]
        values = {key.replace("_", "."): value for key, value in configs.items()}
        await self.any.propose(lambda image: create_topic(image, name, random_uuid(), assigned, values))
        await self.until(self._all_agree)

    @property
    def any(self) -> Cluster:
        return next(iter(self.running.values())).cluster

    def controller_id(self) -> int:
        return self.any.image.controller_id

    def partition(self, name: str, index: int = 0) -> PartitionImage:
        return self.any.image.topics[name].partitions[index]

    def leaders(self, name: str) -> list[int]:
        return [partition.leader for partition in self.any.image.topics[name].partitions]


@contextlib.asynccontextmanager
async def several(folder: Path, network: Network | None = None) -> AsyncIterator[Nodes]:
    async with anyio.create_task_group() as tasks:
        nodes = Nodes(folder, tasks, network)
        yield nodes
        for broker_id in list(nodes.running):
            await nodes.kill(broker_id).cluster.stop()
        tasks.cancel_scope.cancel()

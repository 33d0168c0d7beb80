"""Several real brokers in the test's event loop: one store file, sockets between them, each started and stopped alone.

    async with cluster_of(3, tmp_path) as cluster:
        topic_id = await cluster.create_topic("t", [(1, 2, 3)])
        await cluster.stop(2)

Nobody waits for a time to pass: `until` looks again and again whether something is true.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import anyio
import attrs
from anyio.abc import TaskGroup, TaskStatus

from pykbroker.broker import Broker
from pykbroker.clock import SystemClock
from pykbroker.cluster.changes import Change
from pykbroker.cluster.image import MetadataImage
from pykbroker.cluster.keys import partition_key, partition_value
from pykbroker.cluster.sqlite_store import SqliteStore
from pykbroker.cluster.store import Condition, Put
from pykbroker.errors import KafkaError
from pykbroker.replication.partition import Partition
from tests.support.client import Client, produce_of
from tests.support.partitions import set_partition
from tests.support.running import config_for
from wire.errors import ErrorCode
from wire.messages.topics import CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from wire.schema import Uuid

DEADLINE_S = 30.0
# A follower hears of the high watermark with its next fetch, for which most tests would wait Kafka's half a second.
QUICK = {"replica_fetch_wait_max_ms": "20"}
POLL_INTERVAL_S = 0.002  # not 0: spinning would keep the interpreter from the threads that write the store


class RunningCluster:
    def __init__(self, tasks: TaskGroup, folder: Path, properties: Mapping[str, str]) -> None:
        self.brokers: dict[int, Broker] = {}
        self._tasks = tasks
        self._folder = folder
        self._properties = properties
        self._stops: dict[int, anyio.Event] = {}
        self._ended: dict[int, anyio.Event] = {}

    async def start(self, node_id: int, **properties: str) -> Broker:
        broker: Broker = await self._tasks.start(self._run, node_id, properties)
        self.brokers[node_id] = broker
        await until(lambda: all(self._knows(other, node_id) for other in self.brokers.values()))
        return broker

    def _knows(self, broker: Broker, node_id: int) -> bool:
        image, epoch = broker.services.cluster.image, self.brokers[node_id].services.cluster.broker_epoch
        return not image.brokers[node_id].fenced and image.brokers[node_id].epoch == epoch

    async def _run(
        self,
        node_id: int,
        properties: Mapping[str, str],
        *,
        task_status: TaskStatus[Broker] = anyio.TASK_STATUS_IGNORED,
    ) -> None:
        clock = SystemClock()
        store = SqliteStore(self._folder / "metadata.sqlite", clock, shared=True, ephemeral=True)
        config = config_for(self._folder / str(node_id), node_id=str(node_id), **{**self._properties, **properties})
        stop, ended = anyio.Event(), anyio.Event()
        async with Broker(config, clock=clock, store=store) as broker:
            self._stops[node_id], self._ended[node_id] = stop, ended
            task_status.started(broker)
            await stop.wait()
        assert broker.metrics.bugs_total == 0
        ended.set()

    async def stop(self, node_id: int) -> None:
        """Stop a broker, and wait until the others know it."""
        await self._stop(node_id)
        others = self.brokers.values()
        await until(lambda: all(other.services.cluster.image.brokers[node_id].fenced for other in others))

    async def _stop(self, node_id: int) -> None:
        del self.brokers[node_id]
        self._stops[node_id].set()
        await self._ended[node_id].wait()

    async def stop_all(self) -> None:
        for node_id in list(self.brokers):
            await self._stop(node_id)

    # Metadata

    async def create_topic(
        self, name: str, replicas: Sequence[tuple[int, ...]], *, via: int | None = None, **configs: str
    ) -> Uuid:
        """Create a topic with these replicas of each partition, and wait until all brokers know it."""
        wanted = CreatableTopic(
            name,
            assignments=[CreatableReplicaAssignment(index, list(ids)) for index, ids in enumerate(replicas)],
            num_partitions=-1,
            replication_factor=-1,
            configs=[CreatableTopicConfig(key.replace("_", "."), value) for key, value in configs.items()],
        )
        async with Client.connect(self.brokers[via or min(self.brokers)]) as client:
            (answer,) = (await client.ask(CreateTopicsRequest([wanted], timeout_ms=10_000), 7)).topics
        assert answer.error_code == ErrorCode.NONE, answer
        await until(lambda: all(name in broker.services.cluster.image.topics for broker in self.brokers.values()))
        topic_id: Uuid = answer.topic_id
        return topic_id

    async def elect(self, name: str, leader: int, *, isr: Sequence[int] | None = None, index: int = 0) -> None:
        """Do what a controller would, and wait until all brokers know it."""
        cluster = next(iter(self.brokers.values())).services.cluster
        await cluster.propose(
            lambda image: set_partition(image, name, index, leader=leader, isr=isr, new_leader_epoch=True)
        )
        epoch = cluster.image.topics[name].partitions[index].leader_epoch
        await until(
            lambda: all(
                broker.services.cluster.image.topics[name].partitions[index].leader_epoch >= epoch
                for broker in self.brokers.values()
            )
        )

    async def reassign(self, name: str, replicas: tuple[int, ...], *, isr: tuple[int, ...], index: int = 0) -> None:
        """Write other replicas into the metadata, as the end of a reassignment would."""

        def change(image: MetadataImage) -> Change:
            topic = image.topics[name]
            old = topic.partitions[index]
            new = attrs.evolve(old, replicas=replicas, isr=isr, partition_epoch=old.partition_epoch + 1)
            key = partition_key(topic.id, index)
            return Change([Condition(key, old.revision)], [Put(key, partition_value(new))])

        await next(iter(self.brokers.values())).services.cluster.propose(change)

    # Replicas

    def replica(self, node_id: int, name: str, index: int = 0) -> Partition:
        return self.brokers[node_id].services.replicas.partition(name, index)

    def log_bytes(self, node_id: int, name: str, index: int = 0) -> bytes:
        """What a replica has on disk."""
        folder = self._folder / str(node_id) / f"{name}-{index}"
        return b"".join(path.read_bytes() for path in sorted(folder.glob("*.log")))

    def isr(self, name: str, index: int = 0) -> tuple[int, ...]:
        """The ISR as every broker knows it; empty as long as they do not agree."""
        known = {broker.services.cluster.image.topics[name].partitions[index].isr for broker in self.brokers.values()}
        return known.pop() if len(known) == 1 else ()

    async def produce(
        self, node_id: int, name: str, *values: bytes, acks: int = -1, index: int = 0, timeout_ms: int = 20_000
    ) -> int:
        """Produce one batch through a broker. Raises: KafkaError, what it answers."""
        request = produce_of(name, *values, acks=acks, partition=index)
        request.timeout_ms = timeout_ms
        async with Client.connect(self.brokers[node_id]) as client:
            answer = await client.ask(request, 9)
        (partition,) = answer.responses[0].partition_responses
        if partition.error_code:
            raise KafkaError(ErrorCode(partition.error_code))
        offset: int = partition.base_offset
        return offset


@contextlib.asynccontextmanager
async def cluster_of(
    count: int, folder: Path, *, racks: bool = False, **properties: str
) -> AsyncIterator[RunningCluster]:
    """With `racks`, each broker is in one of its own: rack-1, rack-2, ..."""
    async with anyio.create_task_group() as tasks:
        cluster = RunningCluster(tasks, folder, QUICK | properties)
        try:
            with anyio.fail_after(DEADLINE_S):
                for node_id in range(1, count + 1):
                    await cluster.start(node_id, **({"broker_rack": f"rack-{node_id}"} if racks else {}))
                yield cluster
        finally:
            with anyio.move_on_after(DEADLINE_S, shield=True):  # of a failed test, too, brokers are stopped in order
                await cluster.stop_all()


async def until(condition: Callable[[], object]) -> None:
    """Let the others run until something is true; what is not there yet counts as false."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            with contextlib.suppress(KafkaError, KeyError):
                if condition():
                    return
            await anyio.sleep(POLL_INTERVAL_S)

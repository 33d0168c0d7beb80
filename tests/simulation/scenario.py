"""One simulated run: a cluster under load, faults, healing, and the judgement.

    outcome = simulate(seed)                            # deterministic: the same seed, the same digest
    assert not outcome.violations

Course: the brokers start, a topic is made, clients work; faults come; all heals; within `HEAL_MS` everything that was
sent has to be acknowledged, and all replicas have to be in sync; then the replicas are compared and the history judged.
"""

import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import trio

from pykbroker.cluster.image import MetadataImage
from pykbroker.log.partition_log import PartitionLog
from pykbroker.replication.partition import Partition
from tests.simulation.checker import History, Place, Replica, Violation, check
from tests.simulation.client import Client
from tests.simulation.clock import BrokerClock
from tests.simulation.consumers import Committer, Consumer
from tests.simulation.disk import new_folder
from tests.simulation.faults import Nemesis
from tests.simulation.members import Member, why_not_settled
from tests.simulation.memory_store import StoreData
from tests.simulation.network import SimulatedNetwork
from tests.simulation.node import Node
from tests.simulation.producers import ALL, Producer
from tests.simulation.transactions import CommittedConsumer, TransactionalProducer
from tests.simulation.world import Trace, World, run
from wire.messages.topics import CreatableTopic, CreatableTopicConfig, CreateTopicsRequest
from wire.records import iter_batches

TOPIC = "events"
OFFSETS_TOPIC = "__consumer_offsets"
CREATE_TOPICS_VERSION = 7
HEAL_MS = 60_000
START_MS = 30_000
PROPERTIES = {
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    "replica.lag.time.max.ms": "4000",
    "replica.socket.timeout.ms": "3000",
    "request.timeout.ms": "3000",
    "min.insync.replicas": "2",
    "offsets.topic.num.partitions": "2",
    "offsets.commit.timeout.ms": "2000",
    "group.initial.rebalance.delay.ms": "100",
    "transaction.state.log.num.partitions": "2",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "log.retention.check.interval.ms": "5000",
    "log.flush.offset.checkpoint.interval.ms": "5000",
    "replica.high.watermark.checkpoint.interval.ms": "2000",
    # A wall clock that is a day ahead makes each producer one that was silent for a day: in Kafka, too, the broker then
    # forgets it, and takes what it sends again for new.
    "producer.id.expiration.ms": "604800000",
}


@attrs.define
class Settings:
    """What a run is made of."""

    brokers: int = 3
    partitions: int = 2
    producers: int = 3
    transactional: int = 1
    groups: int = 1
    members: int = 3  # of one more group
    faults_ms: float = 15_000
    faults: Sequence[str] = ()  # only these; none: all
    properties: dict[str, str] = attrs.field(factory=dict)


@attrs.define
class Outcome:
    seed: int
    digest: str
    violations: list[Violation]
    acknowledged: int  # records
    transactions: int  # whose end the producer was told
    read: int
    simulated_ms: float
    took_s: float
    faults: dict[str, int]


def simulate(seed: int, settings: Settings | None = None, *, echo: Callable[[str], None] | None = None) -> Outcome:
    """Run one seed."""
    folder = new_folder()
    trace = Trace(echo)
    started = time.perf_counter()
    try:

        async def main(world: World) -> Outcome:
            return await Scenario(world, settings or Settings(), folder).play()

        outcome = run(seed, main, trace=trace)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    outcome.digest = trace.digest
    outcome.took_s = time.perf_counter() - started
    return outcome


class Scenario:
    def __init__(self, world: World, settings: Settings, folder: Path) -> None:
        self.world, self.settings = world, settings
        self.history = History()
        self.network = SimulatedNetwork(world)
        self.data = StoreData(BrokerClock(world, "store"))
        properties = PROPERTIES | settings.properties
        self.nodes = [
            Node(world, self.network, self.data, node_id=node_id, folder=folder, properties=properties)
            for node_id in range(1, settings.brokers + 1)
        ]
        self.nemesis = Nemesis(world, self.network, self.nodes, self._all_in_sync, kinds=settings.faults)
        self.producers: list[Producer] = []
        self.transactional: list[TransactionalProducer] = []
        self.consumers: list[Consumer] = []
        self.committers: list[Committer] = []
        self.members: list[Member] = []
        self._places: list[Place] = [(TOPIC, index) for index in range(settings.partitions)]

    async def play(self) -> Outcome:
        try:
            if await self._begin():
                await self.nemesis.rage(self.world.now_ms + self.settings.faults_ms)
                await self.nemesis.heal()
                await self._settle()
            found = check(self.history, self._replicas())
            if "wall clock" not in self.nemesis.counts:
                found += [Violation("refused", text) for text in self.history.transactions.refused]
            for node in self.nodes:
                found += [Violation("died", text) for text in node.failures]
                if node.bugs_total():
                    found.append(Violation("bug", f"{node.name} counted {node.bugs_total()}"))
            self.world.note(f"{len(found)} violations")
        finally:
            for node in self.nodes:
                await node.kill()
            self.network.close()
        return Outcome(
            seed=self.world.seed,
            digest="",
            violations=found,
            acknowledged=sum(producer.acknowledged for producer in (*self.producers, *self.transactional)),
            transactions=self.history.transactions.ended,
            read=len(self.history.seen),
            simulated_ms=self.world.now_ms,
            took_s=0,
            faults=self.nemesis.counts,
        )

    async def _begin(self) -> bool:
        """Start brokers and clients; False if that does not succeed."""
        async with trio.open_nursery() as tasks:
            for node in self.nodes:
                tasks.start_soon(node.start)
        with trio.move_on_after(START_MS / 1000):
            await self._create_topic()
            self._start_clients()
            return True
        self.history.violation("stuck", "the topic cannot be created")
        return False

    async def _create_topic(self) -> None:
        client = Client(self.world, self.network, self.history, "admin", [node.id for node in self.nodes])
        random = self.world.random
        replicas = len(self.nodes)
        configs = {
            "min.insync.replicas": str(min(2, replicas)),
            "internal.segment.bytes": str(random.choice((20_000, 60_000, 1_000_000))),
            "flush.messages": str(random.choice((1, 10, 2**62))),
            "file.delete.delay.ms": "1000",
        }
        topic = CreatableTopic(
            TOPIC,
            self.settings.partitions,
            replicas,
            configs=[CreatableTopicConfig(name, value) for name, value in configs.items()],
        )
        while True:
            try:
                connection = await client.any_connection()
                answer = await connection.ask(CreateTopicsRequest([topic]), CREATE_TOPICS_VERSION)
                if answer.topics[0].error_code in (0, 36):
                    return
                self.world.note(f"create topic: {answer.topics[0].error_code} {answer.topics[0].error_message}")
            except OSError:
                pass
            await client.back_off()

    def _start_clients(self) -> None:
        common = (self.world, self.network, self.history)
        brokers = [node.id for node in self.nodes]
        random = self.world.random
        for number in range(self.settings.producers):
            kind = random.choice(("idempotent", "idempotent", "all", "one"))
            self.producers.append(
                Producer(
                    *common,
                    f"p{number}-{kind}",
                    brokers,
                    place=self._places[number % len(self._places)],
                    acks=1 if kind == "one" else ALL,
                    is_idempotent=kind == "idempotent",
                    max_in_flight=random.randint(1, 5),
                )
            )
        for number, place in enumerate(self._places):
            self.consumers.append(Consumer(*common, f"c{number}", brokers, place=place))
            self.consumers.append(CommittedConsumer(*common, f"r{number}", brokers, place=place))
        for number in range(self.settings.transactional):
            self.transactional.append(TransactionalProducer(*common, f"t{number}", brokers, places=self._places))
        for number in range(self.settings.groups):
            self.committers.append(
                Committer(*common, f"g{number}", brokers, group=f"group-{number}", place=self._places[0])
            )
        for number in range(self.settings.members):
            self.members.append(Member(*common, f"m{number}", brokers, group="shared", places=self._places))
        for client in (*self.producers, *self.transactional, *self.consumers, *self.committers, *self.members):
            self.world.tasks.start_soon(client.run)

    async def _settle(self) -> None:
        """Wait until everything that was sent is acknowledged, and all replicas hold it."""
        with trio.move_on_after(HEAL_MS / 1000) as scope:
            await self.world.sleep(self.world.random.uniform(0, 3000))
            for client in (*self.producers, *self.transactional, *self.committers, *self.members):
                client.is_stopping = True
            while self._why_not_settled():
                await self.world.sleep(200)
        if scope.cancelled_caught:
            self.history.violation("stuck", "; ".join(self._why_not_settled()))

    def _why_not_settled(self) -> list[str]:
        reasons = [f"{node.name} is down" for node in self.nodes if not node.is_running]
        for client in (*self.producers, *self.transactional, *self.committers):
            if not client.is_done:
                reasons.append(f"{client.name} is not done ({client.problem})")
        if not reasons and self.members and (unsettled := why_not_settled(self.members, self._places)):
            reasons.append(unsettled)
        if not reasons:
            if not self._all_in_sync():
                reasons.append(f"not all replicas are in sync: {self._states()}")
            elif not self._all_equal():
                reasons.append(f"not all replicas have everything: {self._ends()}")
        if not reasons:
            for consumer in self.consumers:
                end = self._partitions(consumer.place)[0].high_watermark
                if consumer.position < end:
                    reasons.append(f"{consumer.name} is at {consumer.position} of {end} ({consumer.problem})")
        return reasons

    # What the brokers hold

    @property
    def _image(self) -> MetadataImage:
        """The newest image of a broker that runs."""
        images = [node.broker.services.cluster.image for node in self.nodes if node.is_running]
        return max(images, key=lambda image: image.revision, default=MetadataImage())

    def _all_in_sync(self) -> bool:
        if not all(node.is_running and not node.is_frozen for node in self.nodes):
            return False
        partitions = [partition for topic in self._image.topics.values() for partition in topic.partitions]
        return all(partition.leader >= 0 and len(partition.isr) == len(partition.replicas) for partition in partitions)

    def _states(self) -> str:
        return ", ".join(
            f"{topic.name}-{index}: leader {partition.leader}, isr {partition.isr}, elr {partition.elr}"
            for topic in self._image.topics.values()
            for index, partition in enumerate(topic.partitions)
            if partition.leader < 0 or len(partition.isr) < len(partition.replicas)
        )

    def _partitions(self, place: Place) -> list[Partition]:
        return [node.broker.services.replicas.partition(*place) for node in self.nodes]

    def _all_places(self) -> list[Place]:
        return [
            (topic.name, index)
            for topic in sorted(self._image.topics.values(), key=lambda topic: topic.name)
            for index in range(len(topic.partitions))
        ]

    def _all_equal(self) -> bool:
        return all(
            len({(partition.log.log_end_offset, partition.high_watermark) for partition in self._partitions(place)})
            == 1
            for place in self._all_places()
        )

    def _ends(self) -> str:
        return ", ".join(
            f"{place}: {[(each.log.log_end_offset, each.high_watermark) for each in self._partitions(place)]}"
            for place in self._all_places()
        )

    def _replicas(self) -> dict[Place, list[Replica]]:
        """What all brokers that run hold of our topic, up to the smallest high watermark."""
        found: dict[Place, list[Replica]] = {}
        for place in self._places:
            copies = []
            for node in self.nodes:
                if node.is_running and TOPIC in self._image.topics:
                    log = node.broker.services.replicas.partition(*place).log
                    end = min(each.high_watermark for each in self._partitions(place))
                    copies.append(Replica(node.name, _content(log, end)))
            if copies:
                found[place] = copies
        return found


def _content(log: PartitionLog, end_offset: int) -> bytes:
    """All bytes below `end_offset`."""
    data = bytearray()
    offset = log.log_start_offset
    while offset < end_offset:
        found = log.read(offset, 2**31 - 1, end_offset=end_offset, min_one_batch=False)
        if found is None:
            break
        piece = found.read()
        data += piece
        for header, _ in iter_batches(memoryview(piece)):
            offset = header.last_offset + 1
    return bytes(data)

"""Three brokers' memberships on one store: who is alive, who is the controller, when one dies or is frozen."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from pykbroker.clock import SimulatedClock, SystemClock
from pykbroker.cluster.changes import create_topic, fence_broker
from pykbroker.cluster.membership import Cluster
from pykbroker.config import BrokerConfig, Endpoint
from tests.cluster.worlds import EtcdWorld, World
from tests.simulation.memory_store import Line, MemoryStore, StoreData
from tests.support.etcd import ETCD, NO_ETCD, Etcd
from wire.primitives import random_uuid

pytestmark = pytest.mark.anyio


def membership(world: World, broker_id: int, session_ms: int | None = None) -> Cluster:
    config = BrokerConfig.from_properties(
        {
            "node.id": str(broker_id),
            "broker.session.timeout.ms": str(session_ms or world.lease_ms),
            "broker.heartbeat.interval.ms": str(world.lease_ms // 5),
        }
    )
    return Cluster(world.open(), config, world.clock)


async def start(cluster: Cluster) -> None:
    await cluster.start([Endpoint("PLAINTEXT", "PLAINTEXT", "127.0.0.1", 9000 + cluster.broker_id)])


def alive(cluster: Cluster) -> list[int]:
    return [broker.id for broker in cluster.image.alive_brokers()]


@pytest.fixture
async def three(shared_world: World) -> AsyncIterator[list[Cluster]]:
    clusters = [membership(shared_world, broker_id) for broker_id in (1, 2, 3)]
    for cluster in clusters:
        await start(cluster)
    yield clusters
    for cluster in clusters:
        await cluster.stop()


async def test_broker_that_does_not_renew_is_fenced_by_all_and_comes_back(
    shared_world: World, three: list[Cluster]
) -> None:
    frozen, *others = three
    epoch = frozen.broker_epoch
    assert [cluster.is_controller for cluster in three] == [True, False, False]
    async with anyio.create_task_group() as tasks:
        for cluster in others:
            tasks.start_soon(cluster.run)
        await shared_world.settle(lambda: [alive(cluster) for cluster in others] == [[2, 3], [2, 3]])
        # It stopped acting as a leader before the others took over.
        assert frozen.lease_ends_ms <= shared_world.clock.monotonic_ms()
        await shared_world.settle(lambda: all(cluster.image.controller_id in (2, 3) for cluster in others))
        assert [cluster.is_controller for cluster in others].count(True) == 1
        assert others[0].image.brokers[1].fenced

        tasks.start_soon(frozen.run)  # it wakes up
        await shared_world.settle(lambda: [alive(cluster) for cluster in three] == [[1, 2, 3]] * 3)
        assert frozen.broker_epoch > epoch
        assert others[0].image.brokers[1].epoch == frozen.broker_epoch
        assert not frozen.is_controller
        tasks.cancel_scope.cancel()


async def test_broker_that_leaves_is_fenced_without_waiting_for_its_session(shared_world: World) -> None:
    clusters = [membership(shared_world, broker_id, session_ms=600_000) for broker_id in (1, 2, 3)]
    for cluster in clusters:
        await start(cluster)
    async with anyio.create_task_group() as tasks:
        for cluster in clusters[1:]:
            tasks.start_soon(cluster.run)
        await clusters[0].stop()
        await shared_world.settle(lambda: [alive(cluster) for cluster in clusters[1:]] == [[2, 3], [2, 3]])
        tasks.cancel_scope.cancel()


class HeldLine(Line):
    """Holds the first request after `holds` was set, until it `goes_on`."""

    def __init__(self) -> None:
        self.holds = False
        self.is_held, self.goes_on = anyio.Event(), anyio.Event()

    async def there(self) -> None:
        if self.holds:
            self.holds = False
            self.is_held.set()
            await self.goes_on.wait()


async def test_broker_that_leaves_while_it_registers_again_is_gone() -> None:
    clock = SimulatedClock()
    data, line = StoreData(clock), HeldLine()
    leaving, other = (
        Cluster(MemoryStore(data, way), BrokerConfig.from_properties({"node.id": str(broker_id)}), clock)
        for broker_id, way in ((1, line), (2, Line()))
    )
    for cluster in (leaving, other):
        await start(cluster)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(leaving.run)
        line.holds = True
        await other.propose(lambda image: fence_broker(image, 1, leaving.broker_epoch))
        await line.is_held.wait()
        tasks.start_soon(leaving.stop)
        await anyio.wait_all_tasks_blocked()
        line.goes_on.set()
        await anyio.wait_all_tasks_blocked()
        assert alive(other) == [2]
        tasks.cancel_scope.cancel()
    await other.stop()


@pytest.mark.slow
@pytest.mark.parallel
async def test_membership_outlives_an_etcd_that_is_away(tmp_path: Path) -> None:
    if ETCD is None:
        pytest.skip(NO_ETCD)
    clock = SystemClock()
    with Etcd(tmp_path) as etcd:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(clock.run)
            world = EtcdWorld(etcd, clock)
            clusters = [membership(world, broker_id) for broker_id in (1, 2)]
            async with anyio.create_task_group() as following:
                for cluster in clusters:
                    await start(cluster)
                    following.start_soon(cluster.run)
                etcd.kill()
                await world.settle(lambda: all(clock.monotonic_ms() > cluster.lease_ends_ms for cluster in clusters))
                etcd.start()
                await world.settle(lambda: [alive(cluster) for cluster in clusters] == [[1, 2]] * 2)
                await world.settle(lambda: all(clock.monotonic_ms() < cluster.lease_ends_ms for cluster in clusters))
                await clusters[0].propose(lambda image: create_topic(image, "t", random_uuid(), [(1,)], {}))
                await world.settle(lambda: "t" in clusters[1].image.topics)
                following.cancel_scope.cancel()  # before what they use is closed
            for cluster in clusters:
                await cluster.stop()
            tasks.cancel_scope.cancel()


async def test_all_brokers_come_to_the_same_image(shared_world: World, three: list[Cluster]) -> None:
    async def create(cluster: Cluster) -> None:
        for number in range(5):
            name = f"topic-{cluster.broker_id}-{number}"
            image = await cluster.propose(lambda image, name=name: create_topic(image, name, random_uuid(), [(1,)], {}))  # type: ignore[misc]
            assert name in image.topics

    async with anyio.create_task_group() as following:
        for cluster in three:
            following.start_soon(cluster.run)
        async with anyio.create_task_group() as creating:
            for cluster in three:
                creating.start_soon(create, cluster)
        await shared_world.settle(lambda: {len(cluster.image.topics) for cluster in three} == {15})
        assert three[0].image.topics == three[1].image.topics == three[2].image.topics
        following.cancel_scope.cancel()

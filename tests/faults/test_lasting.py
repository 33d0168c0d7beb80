"""What lasts of faults, and what waits for brokers that cannot answer: on real brokers in the test's event loop."""

import inspect
import time

import anyio
import pytest

from pykbroker.embedded import AsyncCluster
from pykbroker.embedded.threaded import ThreadedCluster, ThreadedFault, ThreadedFaults
from pykbroker.faults.control import Faults
from pykbroker.faults.dispatcher import FaultyDispatcher
from pykbroker.faults.rules import ActiveFault, FaultError
from pykbroker.web.faults import ACTIONS
from tests.faults.clusters import HOUR_MS, leader_of, produce
from tests.support.client import Client, produce_of
from tests.support.running import until


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.mark.anyio
async def test_reset_does_not_mind_a_topic_that_is_created_again_at_once(three: AsyncCluster) -> None:
    """Another broker, which polls the store, may hear of the reset and of the new topic in one batch."""
    first = three.broker(1).services.cluster
    await three.create_topic("t")
    created: list[str] = []

    async def create_again() -> None:
        await until(lambda: not first.image.topics)
        created.append(await three.create_topic("t"))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(create_again)
            await three.reset()
    assert created == ["t"]


@pytest.mark.anyio
async def test_reset_heals_brokers_that_are_down_too(three: AsyncCluster) -> None:
    await three.faults.jump_clock(HOUR_MS * 24, broker=2)
    await three.faults.cut_store(2)
    await three.faults.partition([1], [2, 3])
    await three.kill(2)
    await three.reset()
    assert three.brokers == [1, 2, 3]
    assert three.broker(2).clock.time_ms() - time.time() * 1000 == pytest.approx(0, abs=HOUR_MS)
    await three.create_topic("t", 1, replication_factor=3, configs={"min.insync.replicas": 3})
    assert await produce(three, leader_of(three, "t"), "t") == 0


@pytest.mark.anyio
async def test_broker_that_is_down_is_cut_off_when_it_starts(three: AsyncCluster) -> None:
    await three.create_topic("t", 1, replication_factor=3, configs={"min.insync.replicas": 3})
    leader = await three.faults.move_leader("t", to=1)
    await three.kill(2)
    await three.faults.partition([1], [2])
    await three.start(2)
    log = three.broker(2).services.replicas.partition("t", 0).log
    end = log.log_end_offset
    assert await produce(three, leader, "t", acks=1) == 0
    third = three.broker(3).services.replicas.partition("t", 0).log
    await until(lambda: third.log_end_offset == end + 1)
    assert log.log_end_offset == end
    await three.faults.heal()
    await until(lambda: log.log_end_offset == end + 1)


@pytest.mark.parametrize(
    ("sides", "why"),
    [
        ([[1], [99]], "there is no broker 99"),
        ([[1]], "two sides or more"),
        ([[1], []], "two sides or more"),
        ([[1, 2], [2, 3]], "brokers of its own"),
    ],
)
@pytest.mark.anyio
async def test_partition_that_cannot_be_changes_nothing(three: AsyncCluster, sides: list[list[int]], why: str) -> None:
    with pytest.raises(FaultError, match=why):
        await three.faults.partition(*sides)
    assert [three.faults.lasting(broker).cut_brokers for broker in (1, 2, 3)] == [set()] * 3


@pytest.mark.anyio
async def test_partition_of_brokers_elsewhere_is_refused(three: AsyncCluster) -> None:
    """As where each broker is a process of its own, with faults of its own."""
    here = Faults(lambda: {1: faulty})
    here.lasting(1)
    faulty = three.broker(1).faulty
    assert faulty is not None
    with pytest.raises(FaultError, match="2 and 3 run elsewhere"):
        await here.partition([1], [2], [3])
    assert here.lasting(1).cut_brokers == set()
    await here.partition([1], [2, 3])
    assert here.lasting(1).cut_brokers == {2, 3}


@pytest.mark.anyio
async def test_nothing_waits_for_brokers_that_are_all_frozen(alone: AsyncCluster) -> None:
    await alone.faults.freeze()
    for act in (
        lambda: alone.create_topic("t"),
        lambda: alone.faults.move_leader("t"),
        lambda: alone.faults.move_coordinator("g"),
        lambda: alone.faults.expire_broker(1),
    ):
        with pytest.raises(FaultError, match="every broker is frozen"):
            await act()
    await alone.faults.thaw()
    assert await alone.create_topic("t") == "t"


@pytest.mark.anyio
async def test_faults_that_are_cleared_leave_a_frozen_broker_frozen(alone: AsyncCluster) -> None:
    await alone.create_topic("t", 1)
    async with Client.connect(alone.broker()) as client:
        await alone.faults.freeze()
        assert list(alone.faults.rules) == []
        alone.faults.clear()
        with alone.faults(api="Produce", throttle_ms=1) as fault:
            await client.send(produce_of("t", b"v"), version=9)
            await fault.wait()
        dispatcher = alone.broker().dispatcher
        assert isinstance(dispatcher, FaultyDispatcher)
        log = alone.broker().services.replicas.partition("t", 0).log
        assert (client.has_received(), log.log_end_offset) == (False, 0)
        await alone.faults.thaw()
        assert alone.broker().dispatcher is dispatcher.inner
        await client.receive()
        assert log.log_end_offset == 1


@pytest.mark.anyio
async def test_which_broker_is_asked_back_where_there_are_several(three: AsyncCluster) -> None:
    for act in (three.faults.freeze, three.faults.cut_store, three.faults.stop):
        with pytest.raises(FaultError, match="which broker"):
            await act()
    with pytest.raises(FaultError, match="no broker 9"):
        await three.faults.cut_store(9)
    assert three.brokers == [1, 2, 3]


def test_methods_in_a_thread_are_those_of_an_event_loop() -> None:
    """Same names and arguments; a fault in force is one of the thread's own."""
    for theirs, ours in ((ThreadedFaults, Faults), (ThreadedCluster, AsyncCluster), (ThreadedFault, ActiveFault)):
        for name, method in inspect.getmembers(theirs, inspect.isfunction):
            if name == "__call__" or not name.startswith("_"):
                parameters = inspect.signature(method).parameters
                assert parameters == inspect.signature(getattr(ours, name)).parameters, (ours, name)
    assert {name for name in ACTIONS if not hasattr(ThreadedFaults, name)} == set()

"""Faults that are no answer to a request, on real brokers in the test's event loop."""

import math
import time
from pathlib import Path

import anyio
import pytest

from pykbroker.embedded import AsyncCluster
from pykbroker.errors import KafkaError
from pykbroker.faults.rules import FaultError
from tests.faults.clusters import HOUR_MS, leader_of, produce
from tests.support.client import Client, create_topic, produce_of
from tests.support.cluster import until
from tests.support.running import DEADLINE_S, running
from wire.errors import ErrorCode
from wire.messages.classic_groups import HeartbeatRequest, JoinGroupRequest, JoinGroupRequestProtocol, SyncGroupRequest
from wire.messages.metadata import FindCoordinatorRequest
from wire.messages.transactions import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnTopic,
    EndTxnRequest,
    InitProducerIdRequest,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def coordinator_of(client: Client, key: str, key_type: int = 0) -> int:
    found = await client.ask(FindCoordinatorRequest(key_type=key_type, coordinator_keys=[key]), 4)
    node_id: int = found.coordinators[0].node_id
    return node_id


async def until_coordinated(client: Client, key: str, key_type: int = 0) -> int:
    """Return who coordinates it, as soon as there is somebody: who asks has what it takes created."""
    with anyio.fail_after(DEADLINE_S):
        while (found := await coordinator_of(client, key, key_type)) < 0:
            await anyio.lowlevel.checkpoint()
    return found


async def join(client: Client, group: str) -> str:
    """Be the only member of a group, and return its id."""
    await until_coordinated(client, group)
    request = JoinGroupRequest(
        group_id=group,
        session_timeout_ms=60_000,
        rebalance_timeout_ms=60_000,
        protocol_type="consumer",
        protocols=[JoinGroupRequestProtocol("range", b"")],
    )
    request.member_id = (await client.ask(request, 5)).member_id
    joined = await client.ask(request, 5)
    assert joined.error_code == 0, joined
    await client.ask(SyncGroupRequest(group, joined.generation_id, request.member_id), 3)
    return request.member_id


async def heartbeat(client: Client, group: str, member_id: str, generation_id: int = 1) -> int:
    code: int = (await client.ask(HeartbeatRequest(group, generation_id, member_id), 3)).error_code
    return code


# Groups


async def test_rebalance_has_members_join_anew(alone: AsyncCluster) -> None:
    async with Client.connect(alone.broker()) as client:
        member_id = await join(client, "g")
        assert await heartbeat(client, "g", member_id) == 0
        await alone.faults.rebalance("g")
        assert await heartbeat(client, "g", member_id) == ErrorCode.REBALANCE_IN_PROGRESS


@pytest.mark.parametrize("by_name", [True, False])
async def test_expired_member_is_unknown(alone: AsyncCluster, by_name: bool) -> None:
    async with Client.connect(alone.broker()) as client:
        member_id = await join(client, "g")
        await alone.faults.expire_member("g", member_id if by_name else None)
        assert await heartbeat(client, "g", member_id) == ErrorCode.UNKNOWN_MEMBER_ID


async def test_group_that_is_not_there_is_said_so(alone: AsyncCluster) -> None:
    with pytest.raises(KafkaError, match="GROUP_ID_NOT_FOUND"):
        await alone.faults.rebalance("before there is any")
    async with Client.connect(alone.broker()) as client:
        await join(client, "g")
        with pytest.raises(KafkaError, match="GROUP_ID_NOT_FOUND"):
            await alone.faults.rebalance("other")
        await alone.faults.expire_member("g")
        for act in (alone.faults.rebalance, alone.faults.expire_member):
            with pytest.raises(FaultError, match="has no members"):
                await act("g")
        await join(client, "g")
    with pytest.raises(KafkaError, match="UNKNOWN_MEMBER_ID"):
        await alone.faults.expire_member("g", "nobody")


# Transactions


async def begin_transaction(client: Client, topic: str) -> tuple[int, int]:
    await until_coordinated(client, "tx", 1)
    given = await client.ask(InitProducerIdRequest("tx", 60_000), 4)
    added = await client.ask(
        AddPartitionsToTxnRequest(
            v3_and_below_transactional_id="tx",
            v3_and_below_producer_id=given.producer_id,
            v3_and_below_producer_epoch=given.producer_epoch,
            v3_and_below_topics=[AddPartitionsToTxnTopic(topic, [0])],
        ),
        3,
    )
    assert added.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code == 0
    return given.producer_id, given.producer_epoch


async def test_expired_transaction_fences_its_producer(alone: AsyncCluster) -> None:
    async with Client.connect(alone.broker()) as client:
        await create_topic(client, "t")
        producer_id, epoch = await begin_transaction(client, "t")
        with pytest.raises(KafkaError, match="CONCURRENT_TRANSACTIONS"):
            await alone.faults.expire_transactional_id("tx")
        await alone.faults.expire_transaction("tx")
        with pytest.raises(KafkaError, match=r"INVALID_TXN_STATE|CONCURRENT_TRANSACTIONS"):
            await alone.faults.expire_transaction("tx")
        ended = await client.ask(EndTxnRequest("tx", producer_id, epoch, True), 3)
        assert ended.error_code in (ErrorCode.PRODUCER_FENCED, ErrorCode.INVALID_PRODUCER_EPOCH)


async def test_expired_transactional_id_is_unknown(alone: AsyncCluster) -> None:
    with pytest.raises(KafkaError, match="TRANSACTIONAL_ID_NOT_FOUND"):
        await alone.faults.expire_transactional_id("before there is any")
    async with Client.connect(alone.broker()) as client:
        await until_coordinated(client, "tx", 1)
        given = await client.ask(InitProducerIdRequest("tx", 60_000), 4)
        with pytest.raises(KafkaError, match="INVALID_TXN_STATE"):
            await alone.faults.expire_transaction("tx")
        await alone.faults.expire_transactional_id("tx")
        ended = await client.ask(EndTxnRequest("tx", given.producer_id, given.producer_epoch, True), 3)
        assert ended.error_code == ErrorCode.INVALID_PRODUCER_ID_MAPPING
        with pytest.raises(KafkaError, match="TRANSACTIONAL_ID_NOT_FOUND"):
            await alone.faults.expire_transaction("tx")


async def test_expired_producer_ids_are_forgotten_by_the_topics_partitions(alone: AsyncCluster) -> None:
    from wire.records import Record, build_batch

    async with Client.connect(alone.broker()) as client:
        await create_topic(client, "t")
        request = produce_of("t")
        batch = build_batch([Record(value=b"v")], producer_id=5, producer_epoch=0, base_sequence=0)
        request.topic_data[0].partition_data[0].records = batch
        await client.ask(request, 9)
        log = alone.broker().services.replicas.partition("t", 0).log
        assert [producer_id for producer_id, _ in log.active_producers()] == [5]
        await create_topic(client, "other")
        with pytest.raises(FaultError, match="no partition of other knows a producer"):
            await alone.faults.expire_producer_ids("other")
        with pytest.raises(KafkaError, match="UNKNOWN_TOPIC_OR_PARTITION"):
            await alone.faults.expire_producer_ids("nowhere")
        assert log.active_producers()
        await alone.faults.expire_producer_ids("t")
        assert log.active_producers() == []


# Leaders and coordinators


async def test_leader_moves_to_the_next_in_the_isr_or_to_whom_it_is_told(three: AsyncCluster) -> None:
    await three.create_topic("t", 1, replication_factor=2)
    state = three.broker(1).services.cluster.image.topics["t"].partitions[0]
    first, second = state.replicas
    (outsider,) = {1, 2, 3} - set(state.replicas)
    assert await three.faults.move_leader("t") == second
    assert {leader_of(three, "t", seen_by=each) for each in (1, 2, 3)} == {second}
    assert await produce(three, first, "t", acks=1) == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert await produce(three, second, "t", acks=1) == 0
    assert await three.faults.move_leader("t", 0, to=first) == first
    with pytest.raises(FaultError, match=f"broker {outsider} is not in the ISR"):
        await three.faults.move_leader("t", to=outsider)
    with pytest.raises(KafkaError, match="UNKNOWN_TOPIC_OR_PARTITION"):
        await three.faults.move_leader("t", 7)


async def test_only_replica_leads_on_in_a_new_epoch(alone: AsyncCluster) -> None:
    await alone.create_topic("t", 1)
    assert await alone.faults.move_leader("t") == 1
    assert alone.broker().services.cluster.image.topics["t"].partitions[0].leader_epoch == 1


async def test_coordinator_moves_and_the_group_with_it(three: AsyncCluster) -> None:
    async with Client.connect(three.broker(1)) as client:
        first = await until_coordinated(client, "g")
        async with Client.connect(three.broker(first)) as member:
            member_id = await join(member, "g")
            second = await three.faults.move_coordinator("g")
            assert second != first
            assert await coordinator_of(client, "g") == second
            assert await heartbeat(member, "g", member_id) == ErrorCode.NOT_COORDINATOR
        async with Client.connect(three.broker(second)) as member:
            with anyio.fail_after(DEADLINE_S):
                while (code := await heartbeat(member, "g", member_id)) in (14, 15, 16):
                    await anyio.lowlevel.checkpoint()
            assert code == 0
        await three.faults.rebalance("g")
        await until_coordinated(client, "tx", 1)
        assert await three.faults.move_coordinator(transactional_id="tx", to=2) == 2
        assert await coordinator_of(client, "tx", 1) == 2
    with pytest.raises(FaultError, match="of a group or of a transactional id"):
        await three.faults.move_coordinator()


# Time


async def test_wall_clock_jumps_alone_and_heals(alone: AsyncCluster) -> None:
    clock = alone.broker().clock
    fired: list[bool] = []
    clock.call_later(3_000_000, lambda: fired.append(True))
    wall, monotonic = clock.time_ms(), clock.monotonic_ms()
    await alone.faults.jump_clock(-3_600_000)
    assert clock.time_ms() < wall - 3_000_000
    await alone.faults.jump_clock(7_200_000)
    assert clock.time_ms() > wall + 3_000_000
    assert clock.monotonic_ms() < monotonic + 3_000_000
    await alone.faults.heal()
    assert abs(clock.time_ms() - wall) < 3_000_000
    assert not fired


async def test_time_that_passes_fires_timers(alone: AsyncCluster) -> None:
    clock = alone.broker().clock
    fired = anyio.Event()
    clock.call_later(3_600_000, fired.set)
    wall = clock.time_ms()
    await alone.faults.pass_time(3_600_000)
    with anyio.fail_after(10):
        await fired.wait()
    assert clock.time_ms() >= wall + 3_600_000
    with pytest.raises(FaultError, match="does not go back"):
        await alone.faults.pass_time(-1)


async def test_session_of_a_group_ends_when_time_passes(alone: AsyncCluster) -> None:
    async with Client.connect(alone.broker()) as client:
        member_id = await join(client, "g")
        await alone.faults.pass_time(59_000)
        assert await heartbeat(client, "g", member_id) == 0
        await alone.faults.pass_time(61_000)
        with anyio.fail_after(10):
            while await heartbeat(client, "g", member_id) != ErrorCode.UNKNOWN_MEMBER_ID:
                await anyio.lowlevel.checkpoint()


async def test_time_that_passed_is_taken_back_from_the_wall_clock_and_stays_over_a_restart(alone: AsyncCluster) -> None:
    def ahead_ms() -> float:
        return alone.broker().clock.time_ms() - time.time() * 1000

    await alone.faults.pass_time(8 * HOUR_MS)
    await alone.restart()
    assert ahead_ms() == pytest.approx(8 * HOUR_MS, abs=HOUR_MS)
    monotonic = alone.broker().clock.monotonic_ms()
    await alone.reset()
    assert ahead_ms() == pytest.approx(0, abs=HOUR_MS)
    assert alone.broker().clock.monotonic_ms() >= monotonic


@pytest.mark.parametrize("ms", [math.nan, math.inf, -math.inf, 1e15, 10**400])
async def test_clock_goes_no_further_than_it_can(alone: AsyncCluster, ms: float) -> None:
    for change in (alone.faults.jump_clock, alone.faults.pass_time):
        with pytest.raises(FaultError, match=r"at most|does not go back"):
            await change(ms)
    assert alone.broker().clock.time_ms() - time.time() * 1000 == pytest.approx(0, abs=HOUR_MS)


# Brokers and what is between them


async def test_broker_whose_session_is_expired_registers_again(three: AsyncCluster) -> None:
    cluster = three.broker(2).services.cluster
    epoch = cluster.broker_epoch
    await three.create_topic("t", 1, replication_factor=3)
    assert await three.faults.move_leader("t", to=2) == 2
    seen: list[tuple[bool, int]] = []
    three.broker(1).services.cluster.on_image.append(
        lambda image, _: seen.append((image.brokers[2].fenced, image.topics["t"].partitions[0].leader))
    )
    await three.faults.expire_broker(2)
    await until(lambda: cluster.broker_epoch > epoch and not cluster.image.brokers[2].fenced)
    leaders = [leader for is_fenced, leader in seen if is_fenced]
    assert leaders
    assert 2 not in leaders  # others lead what it led, however soon it is back
    with pytest.raises(FaultError, match="broker 9 has no session"):
        await three.faults.expire_broker(9)


async def test_frozen_broker_answers_nobody_loses_what_it_leads_and_goes_on_when_it_thaws(three: AsyncCluster) -> None:
    await three.create_topic("t", 1, replication_factor=3)
    frozen = leader_of(three, "t")
    other = 1 + frozen % 3
    async with Client.connect(three.broker(frozen)) as client:
        await three.faults.freeze(frozen)
        await client.send(produce_of("t", b"v", acks=1), version=9)
        await until(lambda: leader_of(three, "t", seen_by=other) != frozen)
        assert not client.has_received()
        assert leader_of(three, "t", seen_by=frozen) == frozen, "it knows nothing of that"
        with anyio.fail_after(10):
            while await produce(three, leader_of(three, "t", seen_by=other), "t") != 0:
                await anyio.lowlevel.checkpoint()  # the new leader may not know yet
        await three.faults.thaw(frozen)
        await client.receive()
    await until(lambda: frozen in three.broker(other).services.cluster.image.topics["t"].partitions[0].isr)


async def test_frozen_broker_that_is_killed_answers_when_it_is_started_again(three: AsyncCluster) -> None:
    await three.faults.freeze(2)
    await three.faults.kill(2)
    await three.faults.start(2)
    async with Client.connect(three.broker(2)) as client:
        assert await coordinator_of(client, "g") != 0
    assert len(three.faults.rules) == 0


async def test_leader_that_is_cut_off_from_the_others_acknowledges_nothing_until_it_heals(three: AsyncCluster) -> None:
    await three.create_topic("t", 1, replication_factor=3, configs={"min.insync.replicas": 2})
    leader = leader_of(three, "t")
    assert await produce(three, leader, "t") == 0
    others = {1, 2, 3} - {leader}
    await three.faults.partition([leader], others)
    assert await produce(three, leader, "t", timeout_ms=50) == ErrorCode.REQUEST_TIMED_OUT
    await three.faults.heal()
    high_watermark = lambda: three.broker(leader).services.replicas.partition("t", 0).high_watermark  # noqa: E731
    await until(lambda: high_watermark() == 2)


async def test_broker_that_is_cut_off_from_the_store_is_fenced_and_comes_back(three: AsyncCluster) -> None:
    epoch = three.broker(3).services.cluster.broker_epoch
    await three.faults.cut_store(3)
    known = three.broker(1).services.cluster
    await until(lambda: known.image.brokers[3].fenced)
    assert not three.broker(3).services.cluster.image.brokers[3].fenced, "it does not hear of it"
    assert await three.create_topic("t") == "t"
    await three.faults.heal()
    await until(lambda: three.broker(3).services.cluster.broker_epoch > epoch)
    await until(lambda: "t" in three.broker(3).services.cluster.image.topics)


async def test_restart_and_kill_are_done_by_who_runs_the_brokers(three: AsyncCluster) -> None:
    epoch = three.broker(2).services.cluster.broker_epoch
    await three.faults.restart(2)
    assert three.broker(2).services.cluster.broker_epoch > epoch
    await three.faults.kill(2)
    assert three.brokers == [1, 3]
    with pytest.raises(FaultError, match="no broker 2 runs here"):
        await three.faults.freeze(2)
    await three.faults.start(2)
    assert three.brokers == [1, 2, 3]


async def test_broker_that_is_a_process_of_its_own_can_do_to_itself_what_it_can(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        assert (broker.faults, broker.faulty) == (None, None), "nobody asked for that"
    async with running(tmp_path / "second", pykbroker_http_faults_enable="true") as broker:
        assert broker.faults is not None
        wall = broker.clock.time_ms()
        await broker.faults.jump_clock(3_600_000)
        assert broker.clock.time_ms() >= wall + 3_600_000
        with pytest.raises(FaultError, match="a process of its own"):
            await broker.faults.stop(1)
        with pytest.raises(FaultError, match="no broker 2 runs here"):
            await broker.faults.freeze(2)

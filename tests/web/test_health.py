"""/healthz and /readyz: 200 where all is well, 503 with the reason where it is not."""

import socket
from pathlib import Path
from typing import Any

import anyio
import pytest

from pykbroker.broker import Broker
from pykbroker.clock import SimulatedClock
from pykbroker.cluster.sqlite_store import SqliteStore
from pykbroker.cluster.store import Listener, Snapshot
from pykbroker.errors import StorageError
from pykbroker.web.health import Health, readiness
from pykbroker.web.starting import StartingHealth
from tests.support.client import Client, create_topic, create_topic_with
from tests.support.cluster import cluster_of
from tests.support.running import config_for, running, until
from tests.web.http import get, health, scrape
from wire.messages.group_offsets import OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic
from wire.messages.metadata import FindCoordinatorRequest
from wire.messages.transactions import InitProducerIdRequest

pytestmark = pytest.mark.anyio


async def test_broker_that_works_is_healthy_and_ready(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_topic(client, "t")
        status, alive = await health(broker, "/healthz")
        assert isinstance(alive.pop("event_loop_lag_ms"), float)
        assert (status, alive) == (
            200,
            {"status": "healthy", "reasons": [], "offline_log_directories": {}, "bugs_total": 0},
        )
        cluster = broker.services.cluster
        assert await health(broker, "/readyz") == (
            200,
            {
                "status": "ready",
                "reasons": [],
                "broker_epoch": cluster.broker_epoch,
                "metadata_revision": cluster.image.revision,
                "is_controller": True,
                "replicas_not_in_sync": 0,
            },
        )


class SlowStore(SqliteStore):
    """Has a broker wait for its first look at the metadata."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.may_open = anyio.Event()

    async def watch(self, listener: Listener) -> Snapshot:
        await self.may_open.wait()
        return await super().watch(listener)


async def test_broker_that_starts_is_alive_and_not_ready(tmp_path: Path) -> None:
    clock = SimulatedClock()
    store = SlowStore(tmp_path / "metadata.sqlite", clock, ephemeral=True)
    broker = Broker(config_for(tmp_path / "data", pykbroker_http_listener="0"), is_ephemeral=True, store=store)
    may_stop = anyio.Event()

    async def run() -> None:
        async with broker:
            await may_stop.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run)
        await until(lambda: broker.http_address)
        assert await health(broker, "/healthz") == (200, {"status": "starting", "reasons": []})
        assert await health(broker, "/readyz") == (
            503,
            {"status": "not ready", "reasons": ["the broker is starting"]},
        )
        assert (await get(broker, "/metrics")).status_code == 503
        store.may_open.set()
        await until(lambda: broker.services.cluster.me)
        await until(lambda: not broker._starting.is_running)
        assert (await health(broker, "/readyz"))[0] == 200
        assert (await health(broker, "/healthz"))[1]["status"] == "healthy"
        may_stop.set()


def test_probes_are_answered_while_nothing_else_runs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        starting = StartingHealth(listening)
        address = listening.getsockname()
        for sent, status in (
            (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK"),
            (b"GET /healthz?verbose HTTP/1.0\r\n\r\n", b"200 OK"),
            (b"GET /readyz HTTP/1.1\r\n\r\n", b"503 Service Unavailable"),
            (b"\x16\x03\x01", b"503 Service Unavailable"),
        ):
            with socket.create_connection(address, 20) as client:
                client.sendall(sent)
                assert client.recv(1000).split(b"\r\n")[0] == b"HTTP/1.1 " + status
        with socket.create_connection(address, 20):
            pass  # a client that says nothing and goes
        starting.stop()
        starting.stop()
        with socket.create_connection(address, 20):
            next_one, _ = listening.accept()  # it waits for whoever accepts next
            next_one.close()


async def test_failed_log_directory_makes_it_unready_and_the_last_one_unhealthy(tmp_path: Path) -> None:
    paths = [tmp_path / "a", tmp_path / "b"]
    dirs = ",".join(map(str, paths))
    async with (
        running(tmp_path, pykbroker_http_listener="0", log_dirs=dirs) as broker,
        Client.connect(broker) as client,
    ):
        await create_topic(client, "t", partitions=4)
        first, second = broker.services.log_dirs.directories
        first.fail("by order of the test")
        await until(lambda: len(list(broker.services.replicas.partitions())) == 2)
        status, body = await health(broker, "/readyz")
        assert (status, body["status"]) == (503, "not ready")
        assert body["reasons"] == ["2 replicas are not served", f"1 log directories are offline: {paths[0]}"]
        status, body = await health(broker, "/healthz")
        assert (status, body["offline_log_directories"]) == (200, {str(paths[0]): "by order of the test"})
        second.fail("this one, too")
        status, body = await health(broker, "/healthz")
        assert (status, body["status"], body["reasons"]) == (503, "unhealthy", ["all log directories are offline"])


class FailingStore(SqliteStore):
    """Fails to keep leases alive on order."""

    fails = False

    async def keep_alive(self, lease: int) -> bool:
        if self.fails:
            raise StorageError("by order of the test")
        return await super().keep_alive(lease)


async def test_broker_that_cannot_reach_the_store_is_unready_until_it_can_again(tmp_path: Path) -> None:
    clock = SimulatedClock()
    store = FailingStore(tmp_path / "metadata.sqlite", clock, ephemeral=True)
    config = config_for(tmp_path / "data", pykbroker_http_listener="0")
    async with Broker(config, is_ephemeral=True, clock=clock, store=store) as broker:
        assert (await health(broker, "/readyz"))[0] == 200
        store.fails = True
        clock.advance(config.broker_session_timeout_ms)
        status, body = await health(broker, "/readyz")
        assert (status, body["reasons"]) == (503, ["the metadata may be old: the store cannot be followed"])
        assert (await health(broker, "/healthz"))[0] == 200  # to start it anew would not help
        assert (await scrape(broker)).value("pykbroker_store_followed") == 0
        store.fails = False
        clock.advance(config.broker_heartbeat_interval_ms)
        await until(lambda: broker.services.cluster.follows_store)
        assert (await health(broker, "/readyz"))[0] == 200


async def test_broker_that_stops_is_unready_while_it_hands_over(tmp_path: Path) -> None:
    settings = {"pykbroker_http_listener": "0", "pykbroker_controlled_shutdown_timeout_ms": "3600000"}
    async with cluster_of(2, tmp_path, **settings) as cluster:
        await cluster.create_topic("t", [(2,)])  # nobody else can take it over
        stopping = cluster.brokers[2]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stopping.services.cluster.hand_over)
            await until(lambda: (me := stopping.services.cluster.me) is not None and me.is_stopping)
            status, body = await health(stopping, "/readyz")
            assert (status, body["reasons"]) == (503, ["the broker is stopping"])
            assert (await scrape(stopping)).value("kafka_server_kafkaserver_brokerstate") == 6
            assert (await health(cluster.brokers[1], "/readyz"))[0] == 200
            tasks.cancel_scope.cancel()
        for broker in cluster.brokers.values():  # no hour's wait for anybody
            broker.kill()


async def test_replica_that_is_not_in_sync_is_told_but_no_reason(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path, pykbroker_http_listener="0") as cluster:
        await cluster.create_topic("t", [(1, 2)])
        services = cluster.brokers[2].services
        seen: list[Health] = []
        services.cluster.on_image.append(lambda image, delta: seen.append(readiness(services)))
        await cluster.elect("t", 1, isr=(1,))  # it joins again very soon
        (outside,) = (each for each in seen if each.details["replicas_not_in_sync"])
        assert (outside.reasons, outside.details["replicas_not_in_sync"]) == ([], 1)


async def test_broker_is_unready_while_it_loads_transactions(tmp_path: Path) -> None:
    settings = {"transaction_state_log_num_partitions": "1"}
    async with running(tmp_path, **settings) as broker, Client.connect(broker) as client:
        for transactional_id in ("a", "b"):
            request = InitProducerIdRequest(transactional_id, transaction_timeout_ms=1000)
            while (await client.ask(request, 4)).error_code:
                await client.ask(FindCoordinatorRequest(key_type=1, coordinator_keys=[transactional_id]), 4)
    clock = SimulatedClock()
    slowly = {"pykbroker_http_listener": "0", "transaction_state_log_load_buffer_size": "1"}  # a batch at a time
    async with running(tmp_path, clock=clock, **settings, **slowly) as broker:
        status, body = await health(broker, "/readyz")
        assert (status, body["reasons"]) == (503, ["1 partitions of the transaction coordinator are being loaded"])
        clock.advance(1)
        assert (await health(broker, "/readyz"))[0] == 200


async def test_broker_is_unready_while_it_loads_groups(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        await client.ask(create_topic_with("t"), 7)
        while True:
            topics = [OffsetCommitRequestTopic("t", partitions=[OffsetCommitRequestPartition(0, 7)])]
            (topic,) = (await client.ask(OffsetCommitRequest("readers", topics=topics), 8)).topics
            if not topic.partitions[0].error_code:
                break
            await client.ask(FindCoordinatorRequest(coordinator_keys=["readers"]), 4)
        await client.ask(OffsetCommitRequest("readers", topics=topics), 8)
    clock = SimulatedClock()
    settings = {"pykbroker_http_listener": "0", "offsets_load_buffer_size": "1"}  # a batch at a time
    async with running(tmp_path, clock=clock, **settings) as broker:
        status, body = await health(broker, "/readyz")
        assert (status, body["reasons"]) == (503, ["1 partitions of the group coordinator are being loaded"])
        assert not (await scrape(broker)).values("kafka_consumergroup_current_offset")
        clock.advance(1)
        assert (await health(broker, "/readyz"))[0] == 200
        assert (await scrape(broker)).values("kafka_consumergroup_current_offset") == {("readers", "0", "t"): 7}

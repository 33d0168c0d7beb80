"""Who is let in, and who is shown out."""

import contextlib
import gc
import os
import resource
import socket
import warnings
from pathlib import Path

import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.config import BrokerConfig
from pykbroker.server.listener import Listener, ListenError
from tests.support.client import Client, create_topic, fetch_of, partition_of, produce_of
from tests.support.running import has_received, running, until
from wire.messages.brokers import ApiVersionsRequest

pytestmark = pytest.mark.anyio

VERSIONS = ApiVersionsRequest("test", "1.0")


async def test_client_beyond_max_connections_is_served_when_another_leaves(tmp_path: Path) -> None:
    async with running(tmp_path, max_connections="2") as broker, contextlib.AsyncExitStack() as clients:
        first = await clients.enter_async_context(Client.connect(broker))
        await first.ask(VERSIONS, 3)
        async with Client.connect(broker) as second:
            await second.ask(VERSIONS, 3)
            third = await clients.enter_async_context(Client.connect(broker))
            await third.send(VERSIONS, version=3)
            for _ in range(20):
                await first.ask(VERSIONS, 3)
            assert broker.metrics.connections == 2
            assert not third.has_received()
        assert (await third.receive()).error_code == 0
        assert broker.metrics.connections_total == 3
        assert broker.metrics.connections_refused_total == 0


async def test_client_beyond_max_connections_per_ip_is_closed(tmp_path: Path) -> None:
    async with running(tmp_path, max_connections_per_ip="2") as broker, Client.connect(broker) as first:
        await first.ask(VERSIONS, 3)
        async with Client.connect(broker) as second:
            await second.ask(VERSIONS, 3)
            async with Client.connect(broker) as third:
                assert await third.is_closed()
            assert broker.metrics.connections_refused_total == 1
            assert (await first.ask(VERSIONS, 3)).error_code == 0
            assert (await second.ask(VERSIONS, 3)).error_code == 0
        await until(lambda: broker.metrics.connections == 1)
        async with Client.connect(broker) as fourth:
            assert (await fourth.ask(VERSIONS, 3)).error_code == 0


@pytest.mark.parametrize(
    ("limit", "overrides", "served"),
    [("0", "127.0.0.1:1", True), ("5", "10.0.0.1:7, 127.0.0.1:0", False), ("5", "127.0.0.2:0", True)],
)
async def test_limit_of_an_address_overrides_that_of_all(
    tmp_path: Path, limit: str, overrides: str, served: bool
) -> None:
    async with (
        running(tmp_path, max_connections_per_ip=limit, max_connections_per_ip_overrides=overrides) as broker,
        Client.connect(broker) as client,
    ):
        if served:
            assert (await client.ask(VERSIONS, 3)).error_code == 0
        else:
            assert await client.is_closed()


async def test_idle_connection_is_closed(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with (
        running(tmp_path, clock=clock, connections_max_idle_ms="10000") as broker,
        Client.connect(broker) as idle,
        Client.connect(broker) as active,
    ):
        await idle.ask(VERSIONS, 3)
        for _ in range(2):
            clock.advance(5_000)
            await active.ask(VERSIONS, 3)
        assert not idle.has_received()
        clock.advance(1_500)
        assert await idle.is_closed()
        assert (await active.ask(VERSIONS, 3)).error_code == 0


async def test_connection_that_sends_a_frame_slowly_is_not_idle(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with (
        running(tmp_path, clock=clock, connections_max_idle_ms="10000") as broker,
        Client.connect(broker) as client,
    ):
        await create_topic(client, "any")
        frame = client.encode(produce_of("any", bytes(1_000_000)), 9)
        for start in range(0, len(frame), 100_000):
            clock.advance(5_000)
            piece = frame[start : start + 100_000]
            arrived = has_received(broker, broker.metrics.bytes_in_total + len(piece))
            await client.send_bytes(piece)
            await until(arrived)
        await client.receive()


async def test_connection_that_waits_for_an_answer_is_not_idle(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with (
        running(tmp_path, clock=clock, connections_max_idle_ms="10000") as broker,
        Client.connect(broker) as client,
        Client.connect(broker) as other,
    ):
        await create_topic(other, "any")
        await client.send(fetch_of("any", max_wait_ms=60_000), version=12)
        await until(lambda: partition_of(broker, "any").high_watermark_moved.subscribers == 1)
        clock.advance(59_999)
        assert await other.is_closed()
        assert not client.has_received()
        clock.advance(1)
        await client.receive()


async def test_connection_that_does_not_take_its_answer_is_idle(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock, connections_max_idle_ms="10000") as broker:
        async with Client.connect(broker) as producer:
            await create_topic(producer, "any")
            await producer.ask(produce_of("any", bytes(8 * 1024 * 1024)), 9)
        async with Client.connect(broker, receive_buffer=4096) as client:
            before = broker.metrics.bytes_out_total
            await client.send(fetch_of("any"), version=12)
            await until(lambda: broker.metrics.bytes_out_total > before)
            clock.advance(20_000)
            await until(lambda: broker.metrics.connections == 0)


@pytest.mark.parametrize("limit_ms", ["-1", "0"])
async def test_idle_limit_at_its_ends_is_harmless(tmp_path: Path, limit_ms: str) -> None:
    clock = SimulatedClock()
    async with (
        running(tmp_path, clock=clock, connections_max_idle_ms=limit_ms) as broker,
        Client.connect(broker) as client,
    ):
        await client.ask(VERSIONS, 3)
        clock.advance(1_000)
        if limit_ms == "-1":
            assert (await client.ask(VERSIONS, 3)).error_code == 0
        else:
            assert await client.is_closed()


async def test_many_clients_that_connect_at_once_are_all_served(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Client.connect(broker)) for _ in range(200)]
        for client in clients:
            await client.send(VERSIONS, version=3)
        for client in clients:
            assert (await client.receive()).error_code == 0
        assert broker.metrics.connections == 200


async def test_client_that_left_before_it_was_accepted_is_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        for _ in range(20):
            async with Client.connect(broker) as client:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
        async with Client.connect(broker) as client:
            assert (await client.ask(VERSIONS, 3)).error_code == 0
        await until(lambda: broker.metrics.connections == 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "192.0.2.1"])
def test_address_that_cannot_be_listened_on_is_named(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, warnings.catch_warnings():
        warnings.simplefilter("error")
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"^cannot listen on {host}:{port}: "):
            Listener.bind("PLAINTEXT", host, port, BrokerConfig.from_properties({}))
        gc.collect()  # a socket left open would warn


async def test_without_descriptors_clients_wait_until_there_are_some(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as served, Client.connect(broker) as client:
        await served.ask(VERSIONS, 3)
        await client.ask(VERSIONS, 3)
        with socket.socket() as waiting:
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            free = os.dup(waiting.fileno())
            os.close(free)
            resource.setrlimit(resource.RLIMIT_NOFILE, (free, limits[1]))
            try:
                waiting.connect(broker.addresses[0])
                waiting.setblocking(False)
                await until(lambda: caplog.records)
                assert (await served.ask(VERSIONS, 3)).error_code == 0
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert (await Client(waiting).ask(VERSIONS, 3)).error_code == 0
    assert {record.getMessage() for record in caplog.records} == {"cannot accept a client: Too many open files"}

"""The study proxy before a cluster: clients stay on it, their bytes arrive as they are, and all of it is seen."""

import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from pykbroker.broker import Broker
from pykbroker.study.frames import Frames, Subscription
from pykbroker.study.framing import framed
from pykbroker.study.proxy import ListenError, Proxy
from tests.support.client import Client
from tests.support.running import BACKENDS, DEADLINE_S, config_for, running
from wire.frame import RequestHeader, encode_request
from wire.messages.brokers import ApiVersionsRequest, DescribeClusterRequest
from wire.messages.metadata import FindCoordinatorRequest, MetadataRequest
from wire.messages.produce import ProduceRequest
from wire.study.exchanges import Direction, TracedFrame

pytestmark = pytest.mark.anyio


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@contextlib.asynccontextmanager
async def proxied(broker: Broker) -> AsyncIterator[tuple[Proxy, Subscription]]:
    frames = Frames()
    proxy = Proxy(("127.0.0.1", 0), broker.addresses[0], frames)
    with anyio.fail_after(DEADLINE_S), frames.subscription() as seen:
        async with anyio.create_task_group() as tasks:
            await tasks.start(proxy.run)
            yield proxy, seen
            tasks.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def client_of(proxy: Proxy) -> AsyncIterator[Client]:
    with socket.create_connection(proxy.address) as sock:
        sock.setblocking(False)
        yield Client(sock)


async def test_client_is_told_the_proxys_address_everywhere(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, proxied(broker) as (proxy, seen), client_of(proxy) as client:
        metadata = await client.ask(MetadataRequest(), 9)
        assert [(node.host, node.port) for node in metadata.brokers] == [proxy.address]
        cluster = await client.ask(DescribeClusterRequest(), 0)
        assert [(node.host, node.port) for node in cluster.brokers] == [proxy.address]
        while (found := await client.ask(FindCoordinatorRequest(key="g"), 2)).error_code:
            pass
        assert (found.host, found.port) == proxy.address
        frames = seen.take()
        of_broker = next(frame for frame in frames if frame.direction is Direction.RESPONSE and frame.api_key == 3)
        told = of_broker.tree().find("body", "brokers", "[0]", "port")
        assert told is not None
        assert told.value == broker.addresses[0][1]  # what the broker has said


async def test_every_frame_is_seen_and_belongs_to_its_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, proxied(broker) as (proxy, seen):
        async with client_of(proxy) as one, client_of(proxy) as other:
            for client in (one, other):
                await client.ask(ApiVersionsRequest(), 3)
        frames = seen.take()
    assert [(frame.api_key, frame.direction.name) for frame in frames] == [(18, "REQUEST"), (18, "RESPONSE")] * 2
    assert len({frame.connection for frame in frames}) == 2


async def test_client_of_a_broker_that_is_gone_is_disconnected(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, proxied(broker) as (proxy, _), client_of(proxy) as client:
        await client.ask(MetadataRequest(), 9)
        port = broker.addresses[0]
    gone = Proxy(("127.0.0.1", 0), port, Frames())
    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            await tasks.start(gone.run)
            async with await anyio.connect_tcp(*gone.address) as stream:
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()
            tasks.cancel_scope.cancel()


async def test_bytes_that_are_no_frames_end_the_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, proxied(broker) as (proxy, _):
        async with await anyio.connect_tcp(*proxy.address) as stream:
            await stream.send(b"\xff" * 100)
            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                await stream.receive()
        async with client_of(proxy) as client:
            assert (await client.ask(MetadataRequest(), 9)).brokers


def reset(sock: socket.socket) -> None:
    """Close a connection with a reset instead of an end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


async def test_client_that_resets_ends_no_other_connection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As port scans and the health checks of load balancers do."""
    async with running(tmp_path) as broker, proxied(broker) as (proxy, _), client_of(proxy) as client:
        for _ in range(20):
            reset(socket.create_connection(proxy.address))
            assert (await client.ask(MetadataRequest(), 9)).brokers
        with socket.create_connection(proxy.address) as asking:
            asking.sendall(b"\0\0\0\x0c\0\x12\0\0\0\0\0\1\0\2me")
            reset(asking)
        assert (await client.ask(MetadataRequest(), 9)).brokers
    assert not [line for line in caplog.records if line.levelname == "ERROR"]


async def test_broker_that_resets_ends_no_other_connection(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as broker:
        broker.setblocking(False)
        proxy = Proxy(("127.0.0.1", 0), broker.getsockname(), Frames())
        with anyio.fail_after(DEADLINE_S):
            async with anyio.create_task_group() as tasks:
                await tasks.start(proxy.run)
                async with await anyio.connect_tcp(*proxy.address) as stays:
                    await anyio.wait_readable(broker)
                    answering, _ = broker.accept()
                    for _ in range(5):
                        async with await anyio.connect_tcp(*proxy.address) as stream:
                            await anyio.wait_readable(broker)
                            reset(broker.accept()[0])
                            with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
                                await stream.receive()
                    with answering:
                        answering.sendall(framed(b"still there"))
                        assert b"still there" in await stays.receive()
                tasks.cancel_scope.cancel()
    assert not [line for line in caplog.records if line.levelname == "ERROR"]


async def test_connection_that_fails_by_a_bug_ends_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as broker, proxied(broker) as (proxy, _), client_of(proxy) as client:
        assert (await client.ask(MetadataRequest(), 9)).brokers
        with monkeypatch.context() as patched, socket.create_connection(proxy.address) as sock:
            patched.setattr(proxy, "publish", None)
            sock.setblocking(False)
            with pytest.raises((EOFError, ConnectionError)):
                await Client(sock).ask(MetadataRequest(), 9)
        assert (await client.ask(MetadataRequest(), 9)).brokers
    assert "bug of the proxy" in caplog.text


async def test_closed_connections_are_forgotten(tmp_path: Path) -> None:
    """Of requests with acks=0, too, which nobody answers."""
    async with running(tmp_path) as broker, proxied(broker) as (proxy, _):
        for _ in range(3):
            async with await anyio.connect_tcp(*proxy.address) as stream:
                await stream.send(framed(encode_request(RequestHeader(0, 9, 1, "me"), ProduceRequest(acks=0))[4:]))
                await stream.send(framed(encode_request(RequestHeader(3, 9, 2, "me"), MetadataRequest())[4:]))
                await stream.receive()
                assert len(proxy.exchanges) == 1
                await stream.send_eof()
                with pytest.raises(anyio.EndOfStream):
                    await stream.receive()
        with anyio.fail_after(DEADLINE_S):
            while len(proxy.exchanges):
                await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])  # uvloop asks the system itself
async def test_every_address_of_a_name_is_served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As "localhost" is 127.0.0.1 and ::1 on many machines."""
    look_up = socket.getaddrinfo

    def two_addresses(host: Any, *arguments: Any, **options: Any) -> Any:
        hosts = ("127.0.0.1", "127.0.0.2") if host in ("two.local", b"two.local") else (host,)
        return [found for host in hosts for found in look_up(host, *arguments, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
    async with running(tmp_path) as broker:
        proxy = Proxy(("two.local", 0), broker.addresses[0], Frames())
        with anyio.fail_after(DEADLINE_S):
            async with anyio.create_task_group() as tasks:
                await tasks.start(proxy.run)
                for host in ("127.0.0.1", "127.0.0.2"):
                    with socket.create_connection((host, proxy.address[1])) as sock:
                        sock.setblocking(False)
                        assert (await Client(sock).ask(MetadataRequest(), 9)).brokers
                tasks.cancel_scope.cancel()


async def test_port_that_is_taken_is_said(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        proxy = Proxy(broker.addresses[0], broker.addresses[0], Frames())
        with pytest.raises(ListenError, match=f"127.0.0.1:{broker.addresses[0][1]}"):
            await proxy.run()


@contextlib.asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[list[Broker]]:
    """Three brokers that share a store."""
    async with contextlib.AsyncExitStack() as stack:
        brokers = []
        for node_id in (1, 2, 3):
            config = config_for(
                folder / str(node_id), node_id=str(node_id), pykbroker_store=f"sqlite:{folder / 'metadata.sqlite'}"
            )
            brokers.append(await stack.enter_async_context(Broker(config, is_ephemeral=True)))
        yield brokers


def use_with_a_stock_client(bootstrap: str) -> tuple[list[bytes], set[tuple[str, int]]]:
    """Write to every partition of a new topic and read it back; return what was read, and where the client went."""
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        admin.create_topics({"study": {"num_partitions": 6, "replication_factor": 1}})
    with closing(KafkaProducer(bootstrap_servers=bootstrap)) as producer:
        for number in range(60):
            producer.send("study", b"%d" % number, partition=number % 6).get(timeout=DEADLINE_S)
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest")) as consumer:
        consumer.assign([TopicPartition("study", number) for number in range(6)])
        values: list[bytes] = []
        while len(values) < 60:
            for records in consumer.poll(timeout_ms=500).values():
                values += [record.value for record in records]
        brokers = {(node.host, node.port) for node in consumer._client.cluster.brokers()}
    return values, brokers


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", BACKENDS[:1])
async def test_stock_client_of_three_brokers_stays_on_the_proxy(tmp_path: Path) -> None:
    addresses: list[tuple[str, int]] = []
    with anyio.fail_after(3 * DEADLINE_S):
        async with cluster(tmp_path) as brokers, proxied(brokers[0]) as (proxy, seen):
            addresses += [broker.addresses[0] for broker in brokers]
            bootstrap = "{}:{}".format(*proxy.address)
            values, told = await anyio.to_thread.run_sync(use_with_a_stock_client, bootstrap)
            frames: list[TracedFrame] = seen.take()
            assert sorted(values) == sorted(b"%d" % number for number in range(60))
            assert len(told) == 3
            assert told.isdisjoint(addresses)
    produced = {frame.connection.split("-")[0] for frame in frames if frame.api_key == 0}
    assert produced == {"{}:{}".format(*address) for address in addresses}
    assert not [error for frame in frames for error in frame.tree().errors()]

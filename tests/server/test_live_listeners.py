"""Listeners that come, go, and have limits of their own while the broker runs."""

import contextlib
import socket
from pathlib import Path
from typing import Any

import pytest

from pykbroker.broker import Broker
from pykbroker.clock import SimulatedClock
from pykbroker.cluster.image import ConfigResourceType
from pykbroker.config import BrokerConfig
from pykbroker.server.listener import Listener
from tests.support.client import Client
from tests.support.running import running, until
from wire.errors import ErrorCode
from wire.messages.brokers import ApiVersionsRequest
from wire.messages.configs import (
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsRequestAlterableConfig,
    IncrementalAlterConfigsRequestAlterConfigsResource,
)
from wire.messages.metadata import MetadataRequest

pytestmark = pytest.mark.anyio

VERSIONS = ApiVersionsRequest("test", "1.0")
TWO_LISTENERS = {
    "listeners": "CLIENTS://127.0.0.1:0,BROKERS://127.0.0.1:0",
    "listener_security_protocol_map": "CLIENTS:PLAINTEXT,BROKERS:PLAINTEXT",
    "inter_broker_listener_name": "BROKERS",
}
CLIENTS, BROKERS = 0, 1


async def set_for_broker(client: Client, **values: str) -> ErrorCode:
    """Set configurations of broker 1; names have underscores for dots."""
    configs = [
        IncrementalAlterConfigsRequestAlterableConfig(name=name.replace("_", "."), config_operation=0, value=value)
        for name, value in values.items()
    ]
    resource = IncrementalAlterConfigsRequestAlterConfigsResource(
        resource_type=ConfigResourceType.BROKER, resource_name="1", configs=configs
    )
    answer: Any = await client.ask(IncrementalAlterConfigsRequest(resources=[resource]), 1)
    return ErrorCode(answer.responses[0].error_code)


async def test_listener_is_opened_and_closed_while_others_serve_on(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        before = broker.config.listeners[0]
        listeners = f"{before},EXTRA://127.0.0.1:0"
        protocols = "PLAINTEXT:PLAINTEXT,EXTRA:PLAINTEXT"
        assert await set_for_broker(client, listeners=listeners, listener_security_protocol_map=protocols) == 0
        assert len(broker.addresses) == 2
        async with Client.connect(broker, listener=1) as extra:
            # It is not advertised: its clients are told of no broker, as Kafka's are.
            assert (await extra.ask(MetadataRequest(), 12)).brokers == []
            address = broker.addresses[1]
            assert await set_for_broker(client, listeners=before) == 0
            assert await extra.is_closed()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
        assert (await client.ask(VERSIONS, 3)).error_code == 0


async def test_listener_of_the_last_run_is_opened_again(tmp_path: Path) -> None:
    protocols = "PLAINTEXT:PLAINTEXT,EXTRA:PLAINTEXT"
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        listeners = "PLAINTEXT://127.0.0.1:0,EXTRA://127.0.0.1:0"
        assert await set_for_broker(client, listeners=listeners, listener_security_protocol_map=protocols) == 0
    async with running(tmp_path) as broker, Client.connect(broker, listener=1) as extra:
        assert (await extra.ask(VERSIONS, 3)).error_code == 0


async def test_listener_that_cannot_be_opened_leaves_the_others(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        async with running(tmp_path) as broker, Client.connect(broker) as client:
            listeners = f"PLAINTEXT://127.0.0.1:0,EXTRA://127.0.0.1:{taken.getsockname()[1]}"
            protocols = "PLAINTEXT:PLAINTEXT,EXTRA:PLAINTEXT"
            assert await set_for_broker(client, listeners=listeners, listener_security_protocol_map=protocols) == 0
            assert "cannot listen on 127.0.0.1" in caplog.text
            assert len(broker.addresses) == 1
            assert (await client.ask(VERSIONS, 3)).error_code == 0


@pytest.mark.parametrize(
    "values",
    [
        {"listeners": "OTHER://127.0.0.1:0"},
        {"listeners": "PLAINTEXT://127.0.0.1:0,EXTRA://127.0.0.1:0"},
        {"listener_security_protocol_map": "PLAINTEXT:SSL"},
        {"listener_security_protocol_map": "EXTRA:PLAINTEXT"},
    ],
)
async def test_listeners_that_cannot_be_are_refused(tmp_path: Path, values: dict[str, str]) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        assert await set_for_broker(client, **values) == ErrorCode.INVALID_REQUEST
        assert len(broker.addresses) == 1


async def two_of(broker: Broker, stack: contextlib.AsyncExitStack) -> list[Client]:
    clients = [await stack.enter_async_context(Client.connect(broker, listener=CLIENTS)) for _ in range(2)]
    for client in clients:
        await client.ask(VERSIONS, 3)
    return clients


async def test_limit_of_one_listener_does_not_hold_for_others(tmp_path: Path) -> None:
    limit = {"listener_name_clients_max_connections": "2"}
    async with running(tmp_path, **TWO_LISTENERS, **limit) as broker, contextlib.AsyncExitStack() as stack:
        first, _ = await two_of(broker, stack)
        third = await stack.enter_async_context(Client.connect(broker, listener=CLIENTS))
        await third.send(VERSIONS, version=3)
        async with Client.connect(broker, listener=BROKERS) as other:
            for _ in range(20):
                await other.ask(VERSIONS, 3)
            assert not third.has_received()
            # The limit is raised: who waits is let in when the next look at it is taken.
            assert await set_for_broker(first, listener_name_clients_max_connections="3") == 0
            assert (await third.receive()).error_code == 0


async def test_broker_gets_the_place_of_the_client_that_was_idle_longest(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with (
        running(tmp_path, clock=clock, **TWO_LISTENERS, max_connections="2") as broker,
        contextlib.AsyncExitStack() as stack,
    ):
        first, second = await two_of(broker, stack)
        clock.advance(1)
        await first.ask(VERSIONS, 3)
        async with Client.connect(broker, listener=BROKERS) as other:
            assert (await other.ask(VERSIONS, 3)).error_code == 0
            assert await second.is_closed()
            assert (await first.ask(VERSIONS, 3)).error_code == 0
        await until(lambda: broker.metrics.connections == 1)


@pytest.mark.parametrize(("properties", "are_set"), [({}, False), ({"socket.receive.buffer.bytes": "20000"}, True)])
def test_buffers_of_sockets_are_the_kernels_unless_set(properties: dict[str, str], are_set: bool) -> None:
    with socket.socket() as plain:
        usual = plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    listener = Listener.bind("PLAINTEXT", "127.0.0.1", 0, BrokerConfig.from_properties(properties))
    with listener.socket, socket.create_connection(listener.address), listener.socket.accept()[0] as accepted:
        size = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert (size in (20_000, 40_000)) is are_set  # Linux doubles it
    assert are_set or size >= usual

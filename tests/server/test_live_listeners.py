"""Listeners that come and go while the broker runs."""

import errno
import socket
from pathlib import Path
from typing import Any

import pytest

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
        await until(lambda: is_refused(address))  # the task that accepted clients closes it in its turn
        assert (await client.ask(VERSIONS, 3)).error_code == 0


def is_refused(address: tuple[str, int]) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(address) == errno.ECONNREFUSED


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


@pytest.mark.parametrize(("properties", "are_set"), [({}, False), ({"socket.receive.buffer.bytes": "20000"}, True)])
def test_buffers_of_sockets_are_the_kernels_unless_set(properties: dict[str, str], are_set: bool) -> None:
    with socket.socket() as plain:
        usual = plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    listener = Listener.bind("PLAINTEXT", "127.0.0.1", 0, BrokerConfig.from_properties(properties))
    with listener.socket, socket.create_connection(listener.address), listener.socket.accept()[0] as accepted:
        size = accepted.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert (size in (20_000, 40_000)) is are_set  # Linux doubles it
    assert are_set or size >= usual

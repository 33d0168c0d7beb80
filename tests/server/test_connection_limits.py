"""How many connections a listener has, how fast new ones come, and from where."""

import contextlib
from pathlib import Path

import pytest

from pykbroker.broker import Broker
from pykbroker.clock import SimulatedClock
from pykbroker.config import BrokerConfig, ConfigError
from tests.support.client import Client, stays_silent
from tests.support.running import running, until
from wire.messages.brokers import ApiVersionsRequest
from wire.messages.quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasRequestEntityData,
    AlterClientQuotasRequestEntryData,
    OpData,
)

pytestmark = pytest.mark.anyio

VERSIONS = ApiVersionsRequest("test", "1.0")
TWO_LISTENERS = {
    "listeners": "CLIENTS://127.0.0.1:0,BROKERS://127.0.0.1:0",
    "listener.security.protocol.map": "CLIENTS:PLAINTEXT,BROKERS:PLAINTEXT",
    "inter.broker.listener.name": "BROKERS",
}
CLIENTS, BROKERS = 0, 1


async def set_rate_of(client: Client, address: str | None, rate: float) -> None:
    entity = AlterClientQuotasRequestEntityData("ip", address)
    op = OpData("connection_creation_rate", rate)
    answer = await client.ask(AlterClientQuotasRequest([AlterClientQuotasRequestEntryData([entity], [op])]), 1)
    assert answer.entries[0].error_code == 0


async def connected(stack: contextlib.AsyncExitStack, broker: Broker, count: int, listener: int = 0) -> list[Client]:
    clients = [await stack.enter_async_context(Client.connect(broker, listener=listener)) for _ in range(count)]
    for client in clients:
        await client.send(VERSIONS, version=3)
    return clients


async def test_listener_has_its_own_limit(tmp_path: Path) -> None:
    limit = {"listener.name.clients.max.connections": "1"}
    async with running(tmp_path, **TWO_LISTENERS, **limit) as broker, contextlib.AsyncExitStack() as stack:
        (inside,) = await connected(stack, broker, 1, BROKERS)
        await inside.receive()
        async with Client.connect(broker) as first:
            await first.ask(VERSIONS, 3)
            (second,) = await connected(stack, broker, 1)
            assert await stays_silent(second, inside)
        assert (await second.receive()).error_code == 0


async def test_broker_comes_in_by_its_listener_and_who_was_idle_for_longest_goes(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with (
        running(tmp_path, clock=clock, max_connections="2", **TWO_LISTENERS) as broker,
        contextlib.AsyncExitStack() as stack,
    ):
        idle, active = await connected(stack, broker, 2)
        await idle.receive()
        clock.advance(10)
        await active.receive()
        await active.ask(VERSIONS, 3)
        (inside,) = await connected(stack, broker, 1, BROKERS)
        assert (await inside.receive()).error_code == 0
        assert await idle.is_closed()
        assert (await active.ask(VERSIONS, 3)).error_code == 0
        assert broker.metrics.connections == 2


async def test_connection_beyond_the_rate_is_served_later(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with (
        running(tmp_path, clock=clock, max_connection_creation_rate="1", **TWO_LISTENERS) as broker,
        contextlib.AsyncExitStack() as stack,
    ):
        served = await connected(stack, broker, 10)
        for client in served:
            await client.receive()
        late, later = await connected(stack, broker, 2)
        assert await stays_silent(late, served[0])
        (inside,) = await connected(stack, broker, 1, BROKERS)  # which has no rate of its own
        assert (await inside.receive()).error_code == 0
        clock.advance(1000)
        assert (await late.receive()).error_code == 0
        assert await stays_silent(later, served[0])
        clock.advance(1000)
        assert (await later.receive()).error_code == 0


async def test_connection_beyond_the_rate_of_its_address_is_closed_after_a_while(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock) as broker, contextlib.AsyncExitStack() as stack:
        (admin,) = await connected(stack, broker, 1)
        await admin.receive()
        await set_rate_of(admin, "127.0.0.1", 1.0)
        for client in await connected(stack, broker, 10):
            assert (await client.receive()).error_code == 0
        (refused,) = await connected(stack, broker, 1)
        await until(lambda: broker.metrics.connections_refused_total == 1)
        assert await stays_silent(refused, admin)
        clock.advance(1000)
        assert await refused.is_closed()
        clock.advance(11_000)
        (again,) = await connected(stack, broker, 1)
        assert (await again.receive()).error_code == 0


async def test_rate_of_a_host_is_that_of_its_addresses(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with running(tmp_path, clock=clock) as broker, contextlib.AsyncExitStack() as stack:
        (admin,) = await connected(stack, broker, 1)
        await admin.receive()
        await set_rate_of(admin, "localhost", 0.1 * 10)
        rates = broker._server.rates
        await until(lambda: "127.0.0.1" in rates._quotas)
        for client in await connected(stack, broker, 10):
            await client.receive()
        await connected(stack, broker, 1)
        await until(lambda: broker.metrics.connections_refused_total == 1)


async def test_refused_clients_that_are_held_go_with_the_broker(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with running(tmp_path, clock=SimulatedClock()) as broker:
            (admin,) = await connected(stack, broker, 1)
            await admin.receive()
            await set_rate_of(admin, None, 1.0)
            refused = (await connected(stack, broker, 11))[-1]
            await until(lambda: broker.metrics.connections_refused_total == 1)
        assert await refused.is_closed()


def test_limit_of_a_listener_is_checked_at_start() -> None:
    with pytest.raises(ConfigError, match="many"):
        BrokerConfig.from_properties({"listener.name.plaintext.max.connections": "many"})


def test_limit_of_a_listener_may_change_while_the_broker_runs() -> None:
    name = "listener.name.plaintext.max.connections"
    config = BrokerConfig.from_properties({name: "7"})
    assert config.limit_of_listener("PLAINTEXT", "max.connections") == 7
    config.apply_dynamic({name: "8"}, {name: "9"})
    assert config.limit_of_listener("PLAINTEXT", "max.connections") == 9
    config.apply_dynamic({name: "8"}, {})
    assert config.limit_of_listener("PLAINTEXT", "max.connections") == 8
    assert config.limit_of_listener("OTHER", "max.connections") == 2**31 - 1

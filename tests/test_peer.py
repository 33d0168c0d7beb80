"""One broker asks another: answers, deadlines, connections that end and are opened again."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from pykbroker.broker import Broker
from pykbroker.clock import SimulatedClock, SystemClock
from pykbroker.config import BrokerConfig
from pykbroker.peer import FIRST_BACKOFF_MS, Backoff, Channel, Network, Peer, SocketNetwork
from tests.support.client import create_topic_with, fetch_of, produce_of, values_of
from tests.support.running import BACKENDS, DEADLINE_S, running
from wire.errors import ErrorCode
from wire.messages.brokers import ApiVersionsRequest

pytestmark = pytest.mark.anyio

VERSIONS = ApiVersionsRequest("test", "1.0")
TIMEOUT_MS = 5000
Address = tuple[str, int]


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


def peer_of(clock: SystemClock | SimulatedClock, address: Callable[[], Address | None]) -> Peer:
    config = BrokerConfig.from_properties({})
    return Peer(SocketNetwork(config), clock, config, address, client_id="test", max_backoff_ms=lambda: 100)


@asynccontextmanager
async def peer_of_broker(broker: Broker) -> AsyncIterator[Peer]:
    peer = peer_of(broker.clock, lambda: broker.addresses[0])
    yield peer
    await peer.aclose()


async def test_requests_are_answered_one_after_the_other_over_one_connection(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, peer_of_broker(broker) as peer:
        for _ in range(3):
            answer = await peer.call(VERSIONS, 3, timeout_ms=TIMEOUT_MS)
            assert answer.error_code == ErrorCode.NONE
        assert broker.metrics.connections_total == 1


async def test_answer_that_is_larger_than_the_buffer_comes_whole(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, peer_of_broker(broker) as peer:
        value = bytes(3_000_000)
        await peer.call(create_topic_with("t"), 7, timeout_ms=TIMEOUT_MS)
        await peer.call(produce_of("t", value), 9, timeout_ms=TIMEOUT_MS)
        for _ in range(2):
            assert values_of(await peer.call(fetch_of("t"), 12, timeout_ms=TIMEOUT_MS)) == [value]


async def test_connection_that_the_broker_closes_is_an_error_and_opened_again(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, peer_of_broker(broker) as peer:
        await peer.call(VERSIONS, 3, timeout_ms=TIMEOUT_MS)
        with pytest.raises(OSError):
            await peer.call(produce_of("no such topic", b"", acks=0), 9, timeout_ms=TIMEOUT_MS)
        answer = await peer.call(VERSIONS, 3, timeout_ms=TIMEOUT_MS)
        assert answer.error_code == ErrorCode.NONE
        assert broker.metrics.connections_total == 2


async def test_nobody_listening_or_no_address_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
    async with ticking(SystemClock()) as clock:
        for where in (address, None):
            with pytest.raises(OSError):
                await peer_of(clock, lambda where=where: where).call(VERSIONS, 3, timeout_ms=TIMEOUT_MS)


class Unreachable(Network):
    """Nobody refuses the connection, and nobody takes it."""

    def __init__(self) -> None:
        self.is_asked = anyio.Event()

    async def connect(self, host: str, port: int) -> Channel:
        self.is_asked.set()
        await anyio.sleep_forever()
        raise AssertionError("it was cancelled")


async def test_each_attempt_to_connect_gets_more_time_up_to_the_most() -> None:
    clock, network = SimulatedClock(), Unreachable()
    config = BrokerConfig.from_properties(
        {"socket.connection.setup.timeout.ms": "1000", "socket.connection.setup.timeout.max.ms": "3000"}
    )
    peer = Peer(network, clock, config, lambda: ("127.0.0.1", 1), client_id="test", max_backoff_ms=lambda: 0)

    async def ask() -> None:
        with pytest.raises(TimeoutError):
            await peer.call(VERSIONS, 3, timeout_ms=TIMEOUT_MS)

    for limit_ms in (1000, 2000, 3000, 3000):
        network.is_asked = anyio.Event()
        async with in_background(ask) as ended:
            await network.is_asked.wait()
            clock.advance(limit_ms - 1)
            await anyio.wait_all_tasks_blocked()
            assert not ended.is_set()
            clock.advance(1)
            await ended.wait()


async def test_answer_that_does_not_come_in_time_is_an_error() -> None:
    clock = SimulatedClock()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = peer_of(clock, listener.getsockname)

        async def ask() -> None:
            with pytest.raises(TimeoutError):
                await peer.call(VERSIONS, 3, timeout_ms=TIMEOUT_MS)

        async with in_background(ask) as ended:
            connection, _ = await accept(listener)
            with connection:
                await anyio.wait_readable(connection)
                clock.advance(TIMEOUT_MS - 1)
                assert not ended.is_set()
                clock.advance(1)
                await ended.wait()


@pytest.mark.parametrize(
    "answer",
    [b"\0\0\0\1\0", b"\x7f\0\0\0", b"\0\0\0\6\0\0\0\x63\0\0", b"\0\0\0\5\0\0\0\0\0\0\0\0", b""],
    ids=["short", "huge", "another request's", "cut", "closed"],
)
async def test_answer_that_is_none_is_an_error(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with ticking(SystemClock()) as clock:
            peer = peer_of(clock, listener.getsockname)

            async def ask() -> None:
                with pytest.raises(OSError):
                    await peer.call(VERSIONS, 3, timeout_ms=TIMEOUT_MS)

            async with in_background(ask) as ended:
                connection, _ = await accept(listener)
                await anyio.wait_readable(connection)
                connection.sendall(answer)
                connection.close()
                await ended.wait()


def test_backoff_doubles_up_to_its_maximum_until_something_succeeds() -> None:
    backoff = Backoff()
    assert [backoff.failed(100) for _ in range(5)] == [FIRST_BACKOFF_MS, 40, 80, 100, 100]
    backoff.succeeded()
    assert backoff.failed(100) == FIRST_BACKOFF_MS
    assert Backoff().failed(5) == 5


async def accept(listener: socket.socket) -> tuple[socket.socket, object]:
    listener.setblocking(False)
    with anyio.fail_after(DEADLINE_S):
        await anyio.wait_readable(listener)
    return listener.accept()


@asynccontextmanager
async def ticking(clock: SystemClock) -> AsyncIterator[SystemClock]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.run)
        yield clock
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def in_background(work: Callable[[], Awaitable[None]]) -> AsyncIterator[anyio.Event]:
    ended = anyio.Event()

    async def run() -> None:
        await work()
        ended.set()

    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(run)
            yield ended

"""Networks that lead elsewhere, and a broker that is only as old as it says."""

import contextlib
import struct
from collections.abc import AsyncIterator, Mapping

import anyio
import anyio.abc
import anyio.to_thread
import attrs

from pykbroker.broker import Broker
from pykbroker.client import Client, ClientSettings
from pykbroker.client.connection import Address
from pykbroker.client.topics import NewTopic, create_topics
from pykbroker.clock import SimulatedClock
from pykbroker.config import BrokerConfig
from pykbroker.embedded import AsyncCluster
from pykbroker.peer import Channel, Network, SocketNetwork
from tests.support.running import DEADLINE_S
from wire.errors import ErrorCode
from wire.frame import API_VERSIONS, encode_response, read_request_header
from wire.messages.brokers import ApiVersion, ApiVersionsResponse

QUICK = ClientSettings(retry_backoff_ms=1, retry_backoff_max_ms=10, fetch_max_wait_ms=50, heartbeat_interval_ms=50)

# What Kafka 2.1 serves of what the client asks; our broker serves all of it still.
KAFKA_2_1 = {
    0: (3, 7),
    1: (4, 10),
    2: (1, 4),
    3: (0, 7),
    8: (2, 6),
    9: (1, 5),
    10: (0, 2),
    11: (0, 3),
    12: (0, 2),
    13: (0, 2),
    14: (0, 2),
    15: (0, 2),
    16: (0, 2),
    18: (0, 2),
    19: (2, 3),
    20: (1, 3),
    21: (0, 1),
    22: (0, 1),
    32: (1, 2),
    35: (1, 1),
    37: (0, 1),
    42: (0, 1),
}

# What matters of Kafka 2.6: epochs of leaders are compared, but a fetch does not tell of the last one that was read.
KAFKA_2_6 = {**KAFKA_2_1, 0: (3, 8), 1: (4, 11), 2: (1, 5), 3: (0, 9), 23: (3, 3)}


class Via(Network):
    """Leads every connection to one address, whatever the metadata say."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._sockets = SocketNetwork(BrokerConfig.from_properties({}))

    async def connect(self, host: str, port: int) -> Channel:
        return await self._sockets.connect(*self._address)


class Rerouted(Network):
    """Leads connections to other addresses than those that are asked for."""

    def __init__(self, addresses: Mapping[Address, Address]) -> None:
        self._addresses = addresses
        self._sockets = SocketNetwork(BrokerConfig.from_properties({}))

    async def connect(self, host: str, port: int) -> Channel:
        return await self._sockets.connect(*self._addresses[host, port])


class Deaf(Network):
    """Leads to addresses as they are, but connections to one of them are never established."""

    def __init__(self, deaf: Address) -> None:
        self._deaf = deaf
        self._sockets = SocketNetwork(BrokerConfig.from_properties({}))

    async def connect(self, host: str, port: int) -> Channel:
        if (host, port) == self._deaf:
            await anyio.sleep_forever()
        return await self._sockets.connect(host, port)


@attrs.define(eq=False)
class OldBroker:
    """A proxy to a broker that answers ApiVersions itself, and lets nothing through that it has not offered."""

    broker: Broker
    versions: Mapping[int, tuple[int, int]]
    used: set[tuple[int, int]] = attrs.field(factory=set)  # key, version
    address: Address = ("", 0)

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, broker: Broker, versions: Mapping[int, tuple[int, int]]) -> AsyncIterator["OldBroker"]:
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as tasks,
        ):
            old = cls(broker, versions)
            old.address = listener.extra(anyio.abc.SocketAttribute.local_address)
            tasks.start_soon(listener.serve, old._serve)
            yield old
            tasks.cancel_scope.cancel()

    async def _serve(self, client: anyio.abc.SocketStream) -> None:
        with contextlib.suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            async with client, await anyio.connect_tcp(*self.broker.addresses[0]) as server:
                while True:
                    frame = await receive_frame(client)
                    key, version, correlation_id, _, _, _ = read_request_header(frame)
                    self.used.add((key, version))
                    if key == API_VERSIONS:
                        await client.send(self._offer(version, correlation_id))
                        continue
                    lowest, highest = self.versions[key]
                    assert lowest <= version <= highest, (key, version)
                    await server.send(struct.pack(">i", len(frame)) + frame)
                    answer = await receive_frame(server)
                    await client.send(struct.pack(">i", len(answer)) + answer)

    def _offer(self, version: int, correlation_id: int) -> bytes:
        is_served = version <= self.versions[API_VERSIONS][1]
        offered = self.versions if is_served else {API_VERSIONS: self.versions[API_VERSIONS]}
        response = ApiVersionsResponse(
            ErrorCode.NONE if is_served else ErrorCode.UNSUPPORTED_VERSION,
            [ApiVersion(key, *range_) for key, range_ in offered.items()],
        )
        chunks = encode_response(API_VERSIONS, version if is_served else 0, correlation_id, response)
        return b"".join(map(bytes, chunks))  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def one_broker() -> AsyncIterator[AsyncCluster]:
    """One that can be hurt."""
    with anyio.fail_after(DEADLINE_S):
        async with AsyncCluster(brokers=1) as kafka:
            yield kafka


async def receive_frame(stream: anyio.abc.ByteStream) -> bytes:
    async def exactly(size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += await stream.receive(size - len(data))
        return data

    (size,) = struct.unpack(">i", await exactly(4))
    return await exactly(size)


async def create(client: Client, name: str, partitions: int = 1, **configs: str) -> None:
    pairs = {key.replace("_", "."): value for key, value in configs.items()}
    assert await create_topics(client, [NewTopic(name, partitions, 1, pairs)]) == {name: None}


@contextlib.asynccontextmanager
async def passing(clock: SimulatedClock, step_ms: float = 5) -> AsyncIterator[None]:
    """Let time pass while the others do something.

    Each step takes a thread, as a look-up of a host's name does: so a machine that does other things slows down both.
    """

    async def pass_on() -> None:
        while True:
            await anyio.to_thread.run_sync(int)
            clock.advance(step_ms)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pass_on)
        yield
        tasks.cancel_scope.cancel()

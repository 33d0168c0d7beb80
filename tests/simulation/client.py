"""What all simulated clients have: connections to brokers by wire, and what metadata tells them about leaders.

Rules
- A connection may have several requests under way; answers come in their order. One that fails or takes too long ends
  the connection, and all that wait get an OSError.
- Of a partition's leaders the one with the highest epoch counts: a broker with older metadata is not believed.
- Errors of a partition are for the caller; `KafkaError` is never raised here.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import attrs
import trio

from tests.simulation.checker import History, Place
from tests.simulation.network import Link, SimulatedNetwork
from tests.simulation.world import World
from wire import codec
from wire.catalog import response_class
from wire.frame import RequestHeader, decode_response_header, encode_request
from wire.messages.metadata import FindCoordinatorRequest, MetadataRequest, MetadataRequestTopic
from wire.schema import spec_of

METADATA_VERSION = 12
FIND_COORDINATOR_VERSION = 4
REQUEST_TIMEOUT_MS = 4000
CONNECT_TIMEOUT_MS = 1500
GROUP, TRANSACTION = 0, 1  # what a coordinator is asked for
MIN_BACKOFF_MS, MAX_BACKOFF_MS = 20, 250


@attrs.define(eq=False)
class Pending:
    """A request under way."""

    key: int
    version: int
    correlation_id: int
    arrived: trio.Event = attrs.field(factory=trio.Event)
    answer: Any = None
    error: OSError | None = None


class Connection:
    def __init__(self, link: Link, client_id: str) -> None:
        self.is_lost = False
        self._link = link
        self._client_id = client_id
        self._pending: deque[Pending] = deque()
        self._next_id = 0

    def send(self, request: object, version: int) -> Pending:
        """Raises: OSError."""
        key = spec_of(type(request)).key
        assert key is not None
        self._next_id += 1
        self._link.send(encode_request(RequestHeader(key, version, self._next_id, self._client_id), request))
        self._pending.append(Pending(key, version, self._next_id))
        return self._pending[-1]

    async def wait(self, pending: Pending) -> Any:
        """Return the answer. Raises: OSError."""
        with trio.move_on_after(REQUEST_TIMEOUT_MS / 1000):
            await pending.arrived.wait()
            if pending.error is not None:
                raise pending.error
            return pending.answer
        self.close()
        raise TimeoutError("no answer in time")

    async def ask(self, request: object, version: int) -> Any:
        """Raises: OSError."""
        return await self.wait(self.send(request, version))

    async def read(self) -> None:
        """Take answers until the connection ends."""
        try:
            while True:
                frame = await self._link.receive_frame()
                pending = self._pending.popleft()
                correlation_id, pos = decode_response_header(pending.key, pending.version, frame)
                assert correlation_id == pending.correlation_id, "answers out of order"
                pending.answer = codec.decode(response_class(pending.key), pending.version, frame, pos)[0]
                pending.arrived.set()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        self.is_lost = True
        while self._pending:
            pending = self._pending.popleft()
            pending.error = error
            pending.arrived.set()

    def close(self) -> None:
        self._link.close()
        self._fail(OSError("closed"))


@attrs.frozen
class Leader:
    broker_id: int
    epoch: int


class Client:
    """The base of all clients; each has a name of its own on the network."""

    def __init__(
        self, world: World, network: SimulatedNetwork, history: History, name: str, brokers: Sequence[int]
    ) -> None:
        self.world, self.history, self.name = world, history, name
        self.problem = ""  # why the last attempt failed
        self._network = network
        self._brokers = brokers
        self._connections: dict[int, Connection] = {}
        self._leaders: dict[Place, Leader] = {}
        self._known_epochs: dict[Place, int] = {}
        self._coordinators: dict[tuple[str, int], int] = {}

    async def connection(self, broker_id: int) -> Connection:
        """Return a connection to a broker. Raises: OSError."""
        found = self._connections.get(broker_id)
        if found is None or found.is_lost:
            link = await self._network.connect(self.name, f"broker-{broker_id}", CONNECT_TIMEOUT_MS)
            found = self._connections[broker_id] = Connection(link, self.name)
            self.world.tasks.start_soon(found.read)
        return found

    async def any_connection(self) -> Connection:
        """Raises: OSError."""
        return await self.connection(self.world.random.choice(self._brokers))

    async def leader(self, place: Place) -> Leader:
        """Return who leads a partition, as far as is known. Raises: OSError."""
        while place not in self._leaders:
            if not await self._refresh(place):
                self.problem = f"no leader of {place}"
                await self.back_off()
        return self._leaders[place]

    async def _refresh(self, place: Place) -> bool:
        connection = await self.any_connection()
        topics = [MetadataRequestTopic(name=place[0])]
        answer = await connection.ask(MetadataRequest(topics, allow_auto_topic_creation=False), METADATA_VERSION)
        for topic in answer.topics:
            for partition in topic.partitions:
                where = (place[0], partition.partition_index)
                if partition.leader_id >= 0 and partition.leader_epoch >= self._known_epochs.get(where, -1):
                    self._known_epochs[where] = partition.leader_epoch
                    self._leaders[where] = Leader(partition.leader_id, partition.leader_epoch)
        return place in self._leaders

    def forget_leader(self, place: Place) -> None:
        """The leader may be another one by now."""
        self._leaders.pop(place, None)

    async def coordinator(self, key: str, kind: int = GROUP) -> Connection:
        """Return a connection to the coordinator of a group, or of a transactional id. Raises: OSError."""
        while (key, kind) not in self._coordinators:
            connection = await self.any_connection()
            answer = await connection.ask(
                FindCoordinatorRequest(key_type=kind, coordinator_keys=[key]), FIND_COORDINATOR_VERSION
            )
            (found,) = answer.coordinators
            if found.error_code == 0:
                self._coordinators[key, kind] = found.node_id
            else:
                self.problem = f"no coordinator of {key}: {found.error_code}"
                await self.back_off()
        return await self.connection(self._coordinators[key, kind])

    def forget_coordinator(self, key: str, kind: int = GROUP) -> None:
        self._coordinators.pop((key, kind), None)

    async def back_off(self) -> None:
        await self.world.sleep(self.world.random.uniform(MIN_BACKOFF_MS, MAX_BACKOFF_MS))

    def note(self, text: str) -> None:
        self.world.note(f"{self.name} {text}")

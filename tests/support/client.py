"""A client that is as plain as can be: frames over a socket, and it says when it reads.

`ask` sends and waits for the answer; `send` only sends, so that requests can be pipelined, and `receive` takes the next
answer, which has to be that of the oldest request without one. `send_bytes` sends anything.
"""

import contextlib
import itertools
import socket
from collections import deque
from collections.abc import AsyncIterator
from struct import Struct
from typing import Any

import anyio

from pykbroker.broker import Broker
from pykbroker.replication.partition import Partition
from tests.support.running import DEADLINE_S
from wire import codec
from wire.catalog import response_class
from wire.frame import RequestHeader, decode_response_header, encode_request
from wire.messages.brokers import ApiVersionsRequest
from wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.messages.topics import CreatableTopic, CreateTopicsRequest
from wire.records import Record, build_batch, iter_batches, read_records
from wire.schema import Uuid, spec_of

_SIZE = Struct(">i")
NO_ID: Uuid = bytes(16)


class Client:
    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.client_id = "test"
        self._expected: deque[tuple[int, int, int]] = deque()  # key, version, correlation id
        self._correlation_ids = itertools.count(1)
        self._received = bytearray()

    @staticmethod
    @contextlib.asynccontextmanager
    async def connect(
        broker: Broker, *, listener: int = 0, receive_buffer: int | None = None
    ) -> AsyncIterator["Client"]:
        """Connect to the n-th listener; a small `receive_buffer` makes the broker's sends block soon."""
        with socket.socket() as sock:
            if receive_buffer is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.connect(broker.addresses[listener])
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
            yield Client(sock)

    async def ask(self, request: object, version: int) -> Any:
        await self.send(request, version=version)
        return await self.receive()

    async def send(self, *requests: object, version: int) -> None:
        """Send requests of one version in one piece."""
        await self.send_bytes(b"".join(self.encode(request, version) for request in requests))

    def encode(self, request: object, version: int, *, answered: bool = True) -> bytes:
        """Return the frame of a request that is about to be sent; its answer is expected in its turn."""
        key = spec_of(type(request)).key
        assert key is not None
        correlation_id = next(self._correlation_ids)
        if answered:
            self._expected.append((key, version, correlation_id))
        return encode_request(RequestHeader(key, version, correlation_id, self.client_id), request)

    async def send_bytes(self, data: bytes | bytearray | memoryview) -> None:
        left = memoryview(data)
        with anyio.fail_after(DEADLINE_S):
            while left:
                left = left[self.send_some(left) :]
                if left:
                    await anyio.wait_writable(self.socket)

    def send_some(self, data: bytes | bytearray | memoryview) -> int:
        """Send what the socket takes now."""
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0

    async def receive(self) -> Any:
        """Return the answer of the oldest request that has none."""
        key, version, correlation_id = self._expected.popleft()
        frame = await self.receive_frame()
        answered, pos = decode_response_header(key, version, frame)
        assert answered == correlation_id, "answers leave in the order of the requests"
        response, end = codec.decode(response_class(key), version, frame, pos)
        assert end == len(frame)
        return response

    async def receive_frame(self) -> bytes:
        (size,) = _SIZE.unpack(await self.receive_bytes(4))
        return await self.receive_bytes(size)

    async def receive_bytes(self, size: int) -> bytes:
        with anyio.fail_after(DEADLINE_S):
            while len(self._received) < size:
                data = self.receive_some(max(size - len(self._received), 1))
                if data is None:
                    await anyio.wait_readable(self.socket)
                    continue
                if not data:
                    raise EOFError
                self._received += data
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def receive_some(self, size: int) -> bytes | None:
        """Return what is there, b"" if the broker has closed the connection, None if nothing is there."""
        try:
            return self.socket.recv(size)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            return b""

    def has_received(self) -> bool:
        """Tell whether an answer, or the end, has come. What the broker has sent is here: it is the same machine."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return bool(self._received)
        return True

    async def is_closed(self) -> bool:
        """Wait for the broker to say something, and tell whether it was good-bye."""
        with anyio.fail_after(DEADLINE_S):
            while (data := self.receive_some(1)) is None:
                await anyio.wait_readable(self.socket)
        return not data


async def stays_silent(client: Client, other: Client) -> bool:
    """Whether a client gets nothing while the broker answers another one."""
    for _ in range(20):
        await other.ask(ApiVersionsRequest("test", "1.0"), 3)
    return not client.has_received()


def create_topic_with(name: str, partitions: int = 1) -> CreateTopicsRequest:
    return CreateTopicsRequest([CreatableTopic(name, partitions, 1)])


async def create_topic(client: Client, name: str, partitions: int = 1) -> Uuid:
    answer = await client.ask(create_topic_with(name, partitions), 7)
    assert [topic.error_code for topic in answer.topics] == [0], answer
    topic_id: Uuid = answer.topics[0].topic_id
    return topic_id


def produce_of(name: str, *values: bytes, acks: int = 1, partition: int = 0, topic_id: Uuid = NO_ID) -> ProduceRequest:
    """One batch with these values; `name` counts up to version 12, `topic_id` from 13 on."""
    batch = build_batch([Record(value=value) for value in values])
    return ProduceRequest(
        acks=acks,
        timeout_ms=1500,
        topic_data=[TopicProduceData(name, topic_id, [PartitionProduceData(partition, batch)])],
    )


def fetch_of(
    name: str,
    offset: int = 0,
    *,
    max_wait_ms: int = 0,
    min_bytes: int = 1,
    max_bytes: int = 64 * 1024 * 1024,
    partition: int = 0,
    topic_id: Uuid = NO_ID,
) -> FetchRequest:
    """Outside sessions; `name` counts up to version 12, `topic_id` from 13 on."""
    wanted = FetchPartition(partition, fetch_offset=offset, partition_max_bytes=max_bytes)
    return FetchRequest(
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        session_epoch=-1,
        topics=[FetchTopic(name, topic_id, [wanted])],
    )


def base_offset_of(answer: Any) -> int:
    """The offset that a produce was given."""
    (topic,) = answer.responses
    (partition,) = topic.partition_responses
    assert partition.error_code == 0, partition
    offset: int = partition.base_offset
    return offset


def values_of(answer: Any) -> list[bytes | None]:
    """The values that a fetch of one partition brought."""
    (topic,) = answer.responses
    (partition,) = topic.partitions
    assert partition.error_code == 0, partition
    return [record.value for _, batch in iter_batches(partition.records) for record in read_records(batch)]


def partition_of(broker: Broker, name: str, partition: int = 0) -> Partition:
    """The broker's own object."""
    return broker.services.replicas.partition(name, partition)

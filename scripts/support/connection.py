"""A blocking connection that asks one thing at a time, and readers for the few answers that scripts need.

Rules: an answer that cannot be read, or that carries an error code nobody asked for, raises Refused.
Not here: encoding requests (frames.py), pipelined load (benchmarks/load.py).
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TypeVar

from attrs import define, frozen

from support import frames

T = TypeVar("T")

TIMEOUT_S = 60.0
NO_ERROR, UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE = 0, 3, 5


class Refused(Exception):
    """The broker answered with an error code."""


@frozen
class Address:
    host: str
    port: int

    @classmethod
    def parse(cls, bootstrap: str) -> Address:
        """Return the first address of a bootstrap list."""
        host, _, port = bootstrap.split(",", maxsplit=1)[0].rpartition(":")
        return cls(host, int(port))


@frozen
class PartitionAnswer:
    """What a Fetch answered for its partition; `records` may end in a part of a batch."""

    error_code: int
    high_watermark: int
    records: bytes


class Connection:
    """Owns one socket; close it, or use it in a `with` block."""

    def __init__(self, address: Address, timeout_s: float = TIMEOUT_S) -> None:
        self.socket = socket.create_connection((address.host, address.port), timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def ask(self, request: bytes | bytearray) -> bytes:
        """Send a request and return the answer without its size."""
        self.socket.sendall(request)
        return self.receive()

    def receive(self) -> bytes:
        (size,) = struct.unpack(">i", self._exactly(4))
        return self._exactly(size)

    def _exactly(self, size: int) -> bytes:
        buffer = bytearray(size)
        view = memoryview(buffer)
        filled = 0
        while filled < size:
            count = self.socket.recv_into(view[filled:])
            if not count:
                raise ConnectionError("the broker closed the connection")
            filled += count
        return bytes(buffer)

    def produce(self, request: bytes) -> int:
        """Send a request of produce_request() and return the base offset. Raises: Refused."""
        reader = Reader(self.ask(request), 5)
        reader.count()
        reader.string()
        reader.count()
        _, error_code, base_offset = reader.unpack(">ihq")
        if error_code:
            raise Refused(f"Produce answered error code {error_code}")
        return int(base_offset)

    def fetch(self, request: bytes | bytearray) -> PartitionAnswer:
        """Send a request of fetch_request() and return what it says of its partition. Raises: Refused."""
        return read_fetch(self.ask(request))

    def end_offset(self, topic: str, partition: int, timestamp: int = -1) -> int:
        """Return the offset that ListOffsets gives for `timestamp` (-1: latest, -2: earliest). Raises: Refused."""
        reader = Reader(self.ask(frames.list_offsets_request(topic, partition, timestamp)), 9)
        reader.count()
        reader.string()
        reader.count()
        _, error_code, _, offset = reader.unpack(">ihqq")
        if error_code:
            raise Refused(f"ListOffsets answered error code {error_code}")
        return int(offset)

    def leaders(self, topic: str) -> dict[int, Address]:
        """Return partition → leader's address. Raises: Refused where the topic or a leader is not there."""
        brokers, reader = _read_brokers(self.ask(frames.metadata_request([topic])))
        reader.compact_nullable()  # the cluster's id
        reader.unpack(">i")
        found: dict[int, Address] = {}
        for _ in range(reader.count()):
            (topic_error,) = reader.unpack(">h")
            reader.string()
            reader.unpack(">b")
            for _ in range(reader.count()):
                error_code, partition, leader_id, _ = reader.unpack(">hiii")
                for _ in range(3):
                    reader.unpack(f">{reader.count()}i")
                reader.tags()
                if error_code or leader_id not in brokers:
                    raise Refused(f"partition {partition} of {topic} has error code {error_code}")
                found[partition] = brokers[leader_id]
            reader.unpack(">i")
            reader.tags()
            if topic_error:
                raise Refused(f"Metadata of {topic} answered error code {topic_error}")
        return found

    def create_topics(
        self, topics: Mapping[str, int], *, replication_factor: int = 1, configs: Mapping[str, str] | None = None
    ) -> None:
        """Create topics and wait until Metadata shows a leader for each partition; see served_topic().

        Raises: Refused.
        """
        reader = Reader(
            self.ask(frames.create_topics_request(topics, replication_factor=replication_factor, configs=configs)), 9
        )
        for _ in range(reader.count()):
            name = reader.string()
            reader.unpack(">16s")
            (error_code,) = reader.unpack(">h")
            message = reader.compact_nullable()
            reader.unpack(">ih")
            for _ in range(reader.count()):
                reader.string()
                reader.compact_nullable()
                reader.unpack(">bbb")
                reader.tags()
            reader.tags()
            if error_code:
                raise Refused(f"CreateTopics {name} answered error code {error_code}: {(message or b'').decode()}")
        for topic, partitions in topics.items():
            until_allowed(partial(self._has_leaders, topic, partitions))

    def _has_leaders(self, topic: str, partitions: int) -> None:
        if len(self.leaders(topic)) != partitions:
            raise Refused(f"{topic} shows too few partitions")

    def find_coordinator(self, group_id: str) -> None:
        """Ask who coordinates a group; a broker creates the topic of the groups' offsets then. Raises: Refused."""
        _, error_code = Reader(self.ask(frames.find_coordinator_request(group_id)), 5).unpack(">ih")
        if error_code:
            raise Refused(f"FindCoordinator answered error code {error_code}")

    def served_keys(self) -> set[int]:
        """Return the keys of all requests that the broker says it serves."""
        answer = self.ask(frames.api_versions_request())
        (count,) = struct.unpack_from(">i", answer, 6)
        return {key for key, _, _ in struct.iter_unpack(">hhh", answer[10 : 10 + count * 6])}

    def delete_topics(self, topics: Sequence[str]) -> None:
        """Delete topics, whatever the answer says."""
        self.ask(frames.delete_topics_request(topics))


def until_allowed(action: Callable[[], T]) -> T:
    """Repeat `action` while it raises Refused, for at most TIMEOUT_S; return what it returns."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return action()
        except Refused:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def served_topic(
    address: Address,
    topic: str,
    partitions: int = 1,
    *,
    replication_factor: int = 1,
    configs: Mapping[str, str] | None = None,
) -> dict[int, Address]:
    """Create a topic, wait until each leader serves its partitions (Apache Kafka shows leaders earlier), and return
    them.
    """
    with Connection(address) as connection:
        connection.create_topics({topic: partitions}, replication_factor=replication_factor, configs=configs)
    return wait_until_served(address, topic)


def wait_until_served(address: Address, topic: str) -> dict[int, Address]:
    """Wait until every partition of the topic is served by its leader, and return the leaders."""
    with Connection(address) as connection:
        leaders = until_allowed(partial(connection.leaders, topic))
    for partition, leader in leaders.items():
        with Connection(leader) as connection:
            until_allowed(partial(connection.end_offset, topic, partition))
    return leaders


@define
class Reader:
    """Reads a flexible answer from `pos` on."""

    buffer: bytes
    pos: int

    def unpack(self, form: str) -> tuple[int, ...]:
        found = struct.unpack_from(form, self.buffer, self.pos)
        self.pos += struct.calcsize(form)
        return found

    def uvarint(self) -> int:
        value = shift = 0
        while True:
            byte = self.buffer[self.pos]
            self.pos += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    def count(self) -> int:
        """Return an array's count, 0 for null."""
        return max(0, self.uvarint() - 1)

    def compact_nullable(self) -> bytes | None:
        size = self.uvarint() - 1
        if size < 0:
            return None
        self.pos += size
        return self.buffer[self.pos - size : self.pos]

    def string(self) -> str:
        return (self.compact_nullable() or b"").decode()

    def tags(self) -> None:
        for _ in range(self.uvarint()):
            self.uvarint()
            self.pos += self.uvarint()


def read_fetch(answer: bytes) -> PartitionAnswer:
    """Read an answer to fetch_request(). Raises: Refused for an error of the whole request."""
    reader = Reader(answer, 5)
    _, error_code, _ = reader.unpack(">ihi")
    if error_code:
        raise Refused(f"Fetch answered error code {error_code}")
    reader.count()
    reader.string()
    reader.count()
    _, error_code, high_watermark, _, _ = reader.unpack(">ihqqq")
    for _ in range(reader.count()):
        reader.unpack(">qq")
        reader.tags()
    reader.unpack(">i")
    return PartitionAnswer(error_code, high_watermark, reader.compact_nullable() or b"")


def known_brokers(address: Address, timeout_s: float = 5.0) -> int:
    """Return how many brokers Metadata shows at this address, 0 while nobody answers."""
    try:
        with Connection(address, timeout_s) as connection:
            return len(_read_brokers(connection.ask(frames.metadata_request([])))[0])
    except (OSError, struct.error, IndexError):
        return 0


def _read_brokers(answer: bytes) -> tuple[dict[int, Address], Reader]:
    reader = Reader(answer, 5)
    reader.unpack(">i")
    brokers = {}
    for _ in range(reader.count()):
        (broker_id,) = reader.unpack(">i")
        host = reader.string()
        (port,) = reader.unpack(">i")
        reader.compact_nullable()
        reader.tags()
        brokers[broker_id] = Address(host, port)
    return brokers, reader

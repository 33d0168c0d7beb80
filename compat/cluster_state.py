"""What a broker says of its cluster: Metadata, asked and read by hand, so that it depends on no client.

Format: Metadata version 4, the first one in which asking for a topic does not have to create it.
Rules: nobody there, or no whole answer, is None: the caller goes on to the next broker, or asks again.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence

from attrs import define, frozen

METADATA, VERSION, CORRELATION_ID, CLIENT_ID = 3, 4, 7, b"ready"
ASK_TIMEOUT_S = 5.0
NO_LEADER = -1


@frozen
class PartitionState:
    """One partition as a broker knows it. `leader` is -1 where there is none."""

    topic: str
    partition: int
    leader: int
    replicas: Sequence[int]
    isr: Sequence[int]

    @property
    def in_sync(self) -> bool:
        return self.leader != NO_LEADER and set(self.isr) == set(self.replicas)

    def __str__(self) -> str:
        return (
            f"{self.topic}-{self.partition} (leader {self.leader}, isr {sorted(self.isr)} of {sorted(self.replicas)})"
        )


@frozen
class ClusterState:
    """A whole answer."""

    brokers: Sequence[int]
    partitions: Sequence[PartitionState]
    unknown: Sequence[str]  # topics asked for that the broker does not know (yet)

    def lagging(self) -> list[PartitionState]:
        return [state for state in self.partitions if not state.in_sync]

    def led_by(self, broker_id: int, topic: str) -> list[int]:
        """Return the topic's partitions that the broker leads, in order."""
        return sorted(
            state.partition for state in self.partitions if state.topic == topic and state.leader == broker_id
        )


def ask(
    host: str, port: int, topics: Sequence[str] | None = (), timeout_s: float = ASK_TIMEOUT_S
) -> ClusterState | None:
    """Ask for these topics, None for all, () for the brokers only."""
    try:
        with socket.create_connection((host, port), timeout_s) as connection:
            connection.sendall(_request(topics))
            stream = connection.makefile("rb")
            answer = stream.read(struct.unpack(">i", stream.read(4))[0])
        return _read(answer)
    except (OSError, struct.error):
        return None


def ask_any(bootstrap: str, topics: Sequence[str] | None, timeout_s: float = ASK_TIMEOUT_S) -> ClusterState | None:
    """Ask the brokers of a bootstrap list until one answers."""
    for address in bootstrap.split(","):
        host, _, port = address.rpartition(":")
        if (found := ask(host, int(port), topics, timeout_s)) is not None:
            return found
    return None


def _request(topics: Sequence[str] | None) -> bytes:
    named = struct.pack(">i", -1 if topics is None else len(topics))
    for topic in topics or ():
        named += struct.pack(">h", len(topic.encode())) + topic.encode()
    named += b"\0"  # create no topic
    head = struct.pack(">hhih", METADATA, VERSION, CORRELATION_ID, len(CLIENT_ID)) + CLIENT_ID
    return struct.pack(">i", len(head) + len(named)) + head + named


def _read(answer: bytes) -> ClusterState:
    reader = _Reader(answer, 4)
    reader.one(">i")  # throttle time
    brokers = []
    for _ in reader.array():
        brokers.append(reader.one(">i"))
        reader.string()
        reader.one(">i")
        reader.string()  # rack
    reader.string()  # cluster id
    reader.one(">i")
    partitions, unknown = [], []
    for _ in reader.array():
        error_code, topic = reader.one(">h"), reader.string()
        reader.one(">b")
        if error_code:
            unknown.append(topic)
        for _ in reader.array():
            reader.one(">h")
            index, leader = reader.one(">i"), reader.one(">i")
            partitions.append(PartitionState(topic, index, leader, reader.ids(), reader.ids()))
    return ClusterState(brokers, partitions, unknown)


@define
class _Reader:
    buffer: bytes
    pos: int

    def one(self, form: str) -> int:
        (found,) = struct.unpack_from(form, self.buffer, self.pos)
        self.pos += struct.calcsize(form)
        return int(found)

    def array(self) -> Iterable[int]:
        return range(max(0, self.one(">i")))

    def ids(self) -> list[int]:
        return [self.one(">i") for _ in self.array()]

    def string(self) -> str:
        size = max(0, self.one(">h"))
        self.pos += size
        return self.buffer[self.pos - size : self.pos].decode()

"""Peers that do what no broker can do less of: how fast the load generators, and this machine, can go at all.

    with Sink(partial(answer_all, request_size=…, answer=…)) as sink: load.run(sink.address, …)

- `answer_all` answers every request of one size with the same bytes and looks at nothing.
- `send_file` answers every request with the next bytes of a file, by sendfile.
- `acknowledge` speaks enough of the protocol for a producer, and throws away what it is sent.

Each connection gets a process of its own, as a broker has one.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import define, field
from support.connection import Address

from wire.catalog import APIS, request_class
from wire.codec import MAX_ELEMENTS, decoder
from wire.frame import API_VERSIONS, encode_response, read_request_header
from wire.messages.brokers import ApiVersion, ApiVersionsResponse
from wire.messages.metadata import (
    MetadataRequest,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from wire.messages.produce import PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse

RECEIVE_BYTES = 1 << 20
ACKNOWLEDGED = (0, 3, API_VERSIONS)  # Produce, Metadata
CLUSTER_ID = "no-broker"
NODE_ID = 1

Serve = Callable[[socket.socket], None]


@define
class Sink:
    """Owns the process; `address` is where it listens."""

    serve: Serve
    listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0)))
    process: multiprocessing.process.BaseProcess | None = None

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.listener.getsockname()[1])

    def __enter__(self) -> Sink:
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=_accept, args=(self.listener, self.serve), daemon=True)
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.join()
        self.listener.close()


def _accept(listener: socket.socket, serve: Serve) -> None:
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            serve(connection)
            os._exit(0)
        connection.close()


def answer_all(connection: socket.socket, *, request_size: int, answer: bytes) -> None:
    many = memoryview(answer * max(1, RECEIVE_BYTES // len(answer)))
    held = len(many) // len(answer)
    for due in _due(connection, request_size):
        for done in range(0, due, held):
            connection.sendall(many[: min(held, due - done) * len(answer)])


def send_file(connection: socket.socket, *, request_size: int, file: Path, answer_size: int) -> None:
    """`file` holds answers of one size, one after the other."""
    fd, size = os.open(file, os.O_RDONLY), file.stat().st_size
    position = 0
    for due in _due(connection, request_size):
        end = position + due * answer_size
        while position < end:
            start = position % size
            position += os.sendfile(connection.fileno(), fd, start, min(size - start, end - position))


def _due(connection: socket.socket, request_size: int) -> Iterator[int]:
    """Receive requests; give how many are to be answered now."""
    inbox = bytearray(RECEIVE_BYTES)
    received = answered = 0
    while count := connection.recv_into(inbox):
        received += count
        if due := received // request_size - answered:
            answered += due
            yield due


def acknowledge(connection: socket.socket, *, partitions: int) -> None:
    """Say that every topic has so many partitions here, and that what is sent to them is written."""
    frame = memoryview(bytearray(4 * RECEIVE_BYTES))
    ends: dict[int, int] = {}
    while _receive(connection, frame[:4]):
        size = int.from_bytes(frame[:4], "big")
        body = frame[4 : 4 + size]
        _receive(connection, body)
        key, version, correlation_id, _, _, pos = read_request_header(body)
        if key == API_VERSIONS:
            apis = [ApiVersion(api.key, api.min_version, api.max_version) for api in APIS if api.key in ACKNOWLEDGED]
            response: object = ApiVersionsResponse(api_keys=apis)
        else:
            request, _ = decoder(request_class(key), version)(body, pos, len(body), [MAX_ELEMENTS])
            response = (
                _metadata(connection, request, partitions)
                if isinstance(request, MetadataRequest)
                else _written(request, ends)
            )
        connection.sendall(b"".join(encode_response(key, version, correlation_id, response)))  # type: ignore[arg-type]


def _receive(connection: socket.socket, into: memoryview) -> bool:
    """Fill it; False: the client is gone."""
    filled = 0
    while filled < len(into):
        count = connection.recv_into(into[filled:])
        if not count:
            return False
        filled += count
    return True


def _metadata(connection: socket.socket, request: MetadataRequest, partitions: int) -> MetadataResponse:
    host, port = connection.getsockname()
    led = [MetadataResponsePartition(0, index, NODE_ID, 0, [NODE_ID], [NODE_ID], []) for index in range(partitions)]
    return MetadataResponse(
        brokers=[MetadataResponseBroker(NODE_ID, host, port)],
        cluster_id=CLUSTER_ID,
        controller_id=NODE_ID,
        topics=[MetadataResponseTopic(name=topic.name, partitions=led) for topic in request.topics or ()],
    )


def _written(request: ProduceRequest, ends: dict[int, int]) -> ProduceResponse:
    topics = []
    for topic in request.topic_data:
        answers = []
        for data in topic.partition_data:
            assert data.records is not None
            begins = ends.get(data.index, 0)
            ends[data.index] = begins + int.from_bytes(data.records[57:61], "big")  # the count of its records
            answers.append(PartitionProduceResponse(data.index, 0, begins))
        topics.append(TopicProduceResponse(topic.name, topic.topic_id, answers))
    return ProduceResponse(topics)

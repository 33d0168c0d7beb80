"""Peers that do what no broker can do less of: how fast the load generators, and this machine, can go at all.

    with Sink(partial(answer_all, request_size=…, answer=…)) as sink: load.run(sink.address, …)

- `answer_all` answers every request of one size with the same bytes and looks at nothing.
- `send_file` answers every request with the next bytes of a file, by sendfile.

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

RECEIVE_BYTES = 1 << 20
SOCKET_BYTES = 102_400  # as both brokers have it: what is received while it is in the processor's caches costs less

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
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                connection.setsockopt(socket.SOL_SOCKET, option, SOCKET_BYTES)
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

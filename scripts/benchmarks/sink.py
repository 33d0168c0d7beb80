"""A peer that answers every request of one size with the same bytes and looks at nothing: how fast the load generator
can go.

    with Sink(request_size, answer) as sink: load.run(sink.address, …)

Runs in a process of its own, as a broker does.
"""

from __future__ import annotations

import multiprocessing
import os
import socket

from attrs import define, field
from support.connection import Address

RECEIVE_BYTES = 1 << 20


@define
class Sink:
    """Owns the process; `address` is where it listens."""

    request_size: int
    answer: bytes
    listener: socket.socket = field(factory=lambda: socket.create_server(("127.0.0.1", 0)))
    process: multiprocessing.process.BaseProcess | None = None

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.listener.getsockname()[1])

    def __enter__(self) -> Sink:
        context = multiprocessing.get_context("fork")
        self.process = context.Process(target=_serve, args=(self.listener, self.request_size, self.answer), daemon=True)
        self.process.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.join()
        self.listener.close()


def _serve(listener: socket.socket, request_size: int, answer: bytes) -> None:
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _answer_all(connection, request_size, answer)
            os._exit(0)
        connection.close()


def _answer_all(connection: socket.socket, request_size: int, answer: bytes) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    many = (
        memoryview(answer * max(1, RECEIVE_BYTES // len(answer))) if len(answer) < RECEIVE_BYTES else memoryview(answer)
    )
    held = len(many) // len(answer)
    inbox = bytearray(RECEIVE_BYTES)
    received = answered = 0
    while count := connection.recv_into(inbox):
        received += count
        while (due := min(held, received // request_size - answered)) > 0:
            connection.sendall(many[: due * len(answer)])
            answered += due

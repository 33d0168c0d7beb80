"""A pipelined load on one or more connections that costs far less processor time than any broker it is pointed at.

Rules
- Requests are encoded before the load starts. `in_flight` of them are sent at once, and then as many as answers come
  in: a send may carry several requests, a receive several answers, and neither does anything per byte.
- All answers of a load have one length (that of the first), so they are counted by bytes; small ones are also checked
  by strided slices, thousands at a time: size, correlation id, error code.
- One thread, non-blocking sockets, poll. Connections are served in turn.
Not here: what a request says (support/frames.py), which loads there are (raw.py).
"""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Sequence

from attrs import define, field, frozen
from support.connection import Address, Refused

RECEIVE_BYTES = 1 << 20
ANSWER_TIMEOUT_MS = 30_000


@frozen
class Requests:
    """Requests of equal length one after the other in `buffer`; the load goes round them for ever."""

    buffer: memoryview
    size: int

    @classmethod
    def of(cls, requests: Sequence[bytes]) -> Requests:
        sizes = {len(request) for request in requests}
        if len(sizes) != 1:
            raise ValueError(f"requests of different lengths: {sorted(sizes)}")
        return cls(memoryview(b"".join(requests)), sizes.pop())


@frozen
class Loaded:
    """What a load did: answers received, and the seconds that took."""

    answers: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.answers / self.seconds


@define(eq=False)
class Pipeline:
    """One connection that has `in_flight` requests under way. `check` gets each run of whole small answers."""

    socket: socket.socket
    requests: Requests
    answer_size: int
    check: Callable[[memoryview, int], None] | None
    limit: int  # requests that may be sent in all
    sent_bytes: int = 0
    allowed_bytes: int = 0
    received_bytes: int = 0
    kept: int = 0  # bytes of an unfinished answer at the start of `inbox`
    inbox: memoryview = field(factory=lambda: memoryview(bytearray(RECEIVE_BYTES)))

    @property
    def answers(self) -> int:
        return self.received_bytes // self.answer_size

    @property
    def finished(self) -> bool:
        return self.answers * self.requests.size == self.sent_bytes == self.allowed_bytes

    def allow(self, requests: int) -> None:
        self.allowed_bytes = min(self.allowed_bytes + requests * self.requests.size, self.limit * self.requests.size)

    def stop(self) -> None:
        """Send no more than is needed to end on a whole request."""
        size = self.requests.size
        self.allowed_bytes = self.limit = -(-self.sent_bytes // size) * size
        self.limit //= size

    def send(self) -> bool:
        """Send what is allowed; return False where the socket is full."""
        total = len(self.requests.buffer)
        while self.sent_bytes < self.allowed_bytes:
            start = self.sent_bytes % total
            end = min(total, start + self.allowed_bytes - self.sent_bytes)
            try:
                self.sent_bytes += self.socket.send(self.requests.buffer[start:end])
            except BlockingIOError:
                return False
        return True

    def receive(self) -> None:
        """Receive what is there, and allow one new request for each whole answer."""
        try:
            count = self.socket.recv_into(self.inbox[self.kept :])
        except BlockingIOError:
            return
        if not count:
            raise ConnectionError("the broker closed the connection under load")
        before = self.answers
        self.received_bytes += count
        self.allow(self.answers - before)
        if self.check is not None:
            whole, filled = self.answers - before, self.kept + count
            used = whole * self.answer_size
            self.check(self.inbox[:used], whole)
            self.kept = filled - used
            self.inbox[: self.kept] = self.inbox[used:filled]


def run(
    address: Address,
    requests: Sequence[Requests],
    *,
    in_flight: int,
    seconds: float,
    max_requests: int,
    check_answers: bool = True,
) -> Loaded:
    """Put load on `address`, one connection per item of `requests`, until `seconds` or `max_requests` per connection
    are over.

    Raises: Refused where an answer is not like the first one of its connection.
    """
    pipelines = [_open(address, item, in_flight, max_requests, check_answers) for item in requests]
    poll = select.poll()
    by_fd = {pipeline.socket.fileno(): pipeline for pipeline in pipelines}
    started = time.perf_counter()
    deadline = started + seconds
    try:
        for fd, pipeline in by_fd.items():
            poll.register(fd, select.POLLIN if pipeline.send() else select.POLLIN | select.POLLOUT)
        open_pipelines = len(pipelines)
        stopping = False
        while open_pipelines:
            ready = poll.poll(ANSWER_TIMEOUT_MS)
            if not ready:
                raise Refused(f"no answer for {ANSWER_TIMEOUT_MS} ms")
            for fd, events in ready:
                pipeline = by_fd[fd]
                if events & ~select.POLLOUT:
                    pipeline.receive()
                if pipeline.send():
                    if events & select.POLLOUT:
                        poll.modify(fd, select.POLLIN)
                elif not events & select.POLLOUT:
                    poll.modify(fd, select.POLLIN | select.POLLOUT)
                if pipeline.finished:
                    poll.unregister(fd)
                    open_pipelines -= 1
            if not stopping and time.perf_counter() > deadline:
                stopping = True
                for pipeline in pipelines:
                    pipeline.stop()
        took = time.perf_counter() - started
        return Loaded(sum(pipeline.answers for pipeline in pipelines), took)
    finally:
        for pipeline in pipelines:
            pipeline.socket.close()


def _open(address: Address, requests: Requests, in_flight: int, max_requests: int, check_answers: bool) -> Pipeline:
    """Connect, send one request to learn what an answer looks like, and make the rest ready."""
    connection = socket.create_connection((address.host, address.port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(requests.buffer[: requests.size])
    stream = connection.makefile("rb")
    head = stream.read(4)
    first = head + stream.read(struct.unpack(">i", head)[0])
    connection.setblocking(False)
    pipeline = Pipeline(
        connection, requests, len(first), AnswerCheck.like(first) if check_answers else None, limit=max_requests
    )
    pipeline.allow(in_flight)
    return pipeline


@frozen
class AnswerCheck:
    """Compares the bytes of answers that never change, a column at a time: `columns` maps a position to its byte."""

    size: int
    columns: Sequence[tuple[int, int]]

    @classmethod
    def like(cls, first: bytes) -> AnswerCheck | None:
        """Return the check for Produce answers like `first`, None where they are too large to be checked in bulk.

        Between header (size, correlation id, tags) and base offset lie topic, partition and error code: all of that
        stays the same.
        """
        if len(first) > 4096:
            return None
        end = _base_offset_position(first)
        # The error code is what can go wrong; size and correlation id show that nothing has slipped.
        return cls(len(first), [(position, first[position]) for position in (2, 3, 7, end - 2, end - 1)])

    def __call__(self, answers: memoryview, count: int) -> None:
        if not count:
            return
        raw = bytes(answers)
        for position, value in self.columns:
            if raw[position :: self.size].count(value) != count:
                raise Refused(
                    f"an answer is not like the first one at byte {position}: {self._other(raw, position, value)}"
                )

    def _other(self, raw: bytes, position: int, value: int) -> str:
        for start in range(0, len(raw), self.size):
            if raw[start + position] != value:
                return raw[start : start + self.size].hex()
        return ""


def _base_offset_position(answer: bytes) -> int:
    """Return where an answer to support.frames.produce_request() has its base offset.

    Raises: Refused for an error code.
    """
    pos = 4 + 4 + 1 + 1  # size, correlation id, tags, count of topics
    pos += answer[pos] + 1  # the topic's name and the count of partitions: names under 127 characters
    (error_code,) = struct.unpack_from(">h", answer, pos + 4)
    if error_code:
        raise Refused(f"Produce answered error code {error_code}")
    return pos + 6

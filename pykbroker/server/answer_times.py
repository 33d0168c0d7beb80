"""How long answers wait for their turn and for the client to take them; in place only while somebody exports that.

    context.new_outbox = lambda sock: TimingOutbox(sock, clock.monotonic_ms, on_sent)

An answer is *ready* when its handler has made it, has its *turn* when all before it on the connection have theirs, and
is *sent* when the kernel has taken the last byte of it.

Rules
- Whoever replaces what an answer consists of changes the list in place: with another list nobody knows its times.
- An answer that the client does not wait for has no times.

Not here: what is counted with them (metering), the sending (outbox).
"""

import socket
from collections import deque
from collections.abc import Callable

from pykbroker.metrics import Metrics
from pykbroker.server.outbox import Outbox
from wire.schema import Records


class TimedAnswer(list[Records]):
    """The pieces of an answer, and when what happened to it."""

    __slots__ = ("began_ms", "counted", "ends_at", "ready_ms", "turn_ms")

    def __init__(self, chunks: bytes | list[Records], counted: object, began_ms: float, ready_ms: float) -> None:
        """`counted` is for whoever is told that it was sent; `began_ms`: when the work on the request did."""
        super().__init__((chunks,) if isinstance(chunks, bytes) else chunks)
        self.counted = counted
        self.began_ms = began_ms
        self.ready_ms = ready_ms
        self.turn_ms = -1.0
        self.ends_at = 0  # in the stream of the connection


class TimingOutbox(Outbox):
    __slots__ = ("_added_bytes", "_monotonic_ms", "_on_sent", "_sent_bytes", "_timed")

    def __init__(
        self, sock: socket.socket, monotonic_ms: Callable[[], float], on_sent: Callable[[TimedAnswer, float], None]
    ) -> None:
        """`on_sent` is told of each answer that was sent, and when that was."""
        super().__init__(sock)
        self._monotonic_ms = monotonic_ms
        self._on_sent = on_sent
        self._timed: deque[TimedAnswer] = deque()
        self._added_bytes = self._sent_bytes = 0

    def add(self, chunks: bytes | list[Records]) -> None:
        if not isinstance(chunks, TimedAnswer):
            if isinstance(chunks, bytes):
                self._added_bytes += len(chunks)
            super().add(chunks)
            return
        chunks.turn_ms = chunks.ready_ms  # nothing is before it
        if len(chunks) > 1:
            super().add(chunks)
            return
        self.unsent_bytes += len(chunks[0])  # there are no slices of files among one piece
        self._pieces.append(chunks[0])
        self._added_bytes += len(chunks[0])
        self._await_end(chunks)

    def add_announced(self, chunks: bytes | list[Records]) -> None:
        super().add_announced(chunks)
        if isinstance(chunks, bytes):
            self._added_bytes += len(chunks)
            return
        self._added_bytes += sum(map(len, chunks))
        if isinstance(chunks, TimedAnswer):
            if chunks.turn_ms < 0:
                chunks.turn_ms = self._monotonic_ms()
            self._await_end(chunks)

    def _await_end(self, answer: TimedAnswer) -> None:
        answer.ends_at = self._added_bytes
        answer.clear()  # what is sent is let go of
        self._timed.append(answer)

    def close(self) -> None:
        super().close()
        self._timed.clear()

    def send(self, metrics: Metrics) -> bool:
        before = metrics.bytes_out_total
        try:
            return super().send(metrics)
        finally:
            self._sent_bytes = sent_bytes = self._sent_bytes + metrics.bytes_out_total - before
            timed = self._timed
            if timed and timed[0].ends_at <= sent_bytes:
                now_ms = self._monotonic_ms()
                while timed and timed[0].ends_at <= sent_bytes:
                    self._on_sent(timed.popleft(), now_ms)

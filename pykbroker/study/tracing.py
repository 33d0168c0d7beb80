"""Trace a broker: a dispatcher around its dispatcher that publishes every request and every answer.

    tracing = Tracing(broker)
    with tracing.frames.subscription() as seen: …

Rules
- The dispatcher is in place only while somebody subscribes: without tracing, nothing is paid for it.
- A request is copied before its handler runs, which may stamp batches in place. An answer's slices of files are read,
  only for the trace; the client still gets them by sendfile.
- An answer to a request that came before the tracing began is not traced: nobody knows whose it is.

Not here: who takes the frames (frames, recorder).
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Protocol
from weakref import WeakKeyDictionary

from pykbroker.handlers.context import ConnectionInfo
from pykbroker.log.files import FileSlice
from pykbroker.server.dispatch import RequestDispatcher, Started
from pykbroker.study.frames import Frames
from pykbroker.study.recorder import Sink, record
from wire.schema import Records
from wire.study.exchanges import UNKNOWN, Direction, TracedFrame, public
from wire.study.frames import known_request
from wire.study.secrets import SECRET_KEYS


class HasDispatcher(Protocol):
    """A broker, as far as tracing goes."""

    dispatcher: RequestDispatcher


class Tracing:
    """Puts a TracingDispatcher in place while its frames are wanted."""

    def __init__(self, broker: HasDispatcher) -> None:
        self.frames = Frames(self._change)
        self._broker = broker
        self._dispatcher: TracingDispatcher | None = None

    def _change(self) -> None:
        if self.frames.is_wanted and self._dispatcher is None:
            self._dispatcher = TracingDispatcher(self._broker.dispatcher, self.frames)
            self._broker.dispatcher = self._dispatcher
        elif not self.frames.is_wanted and self._broker.dispatcher is self._dispatcher:
            self._broker.dispatcher = self._dispatcher.inner
            self._dispatcher = None
        # Where another dispatcher was put around ours meanwhile, ours stays, and publishes to nobody.


@contextlib.contextmanager
def traced(broker: HasDispatcher, sink: Sink) -> Iterator[None]:
    """Record the frames of a broker while the block runs."""
    with record(Tracing(broker).frames, sink):
        yield


class TracingDispatcher(RequestDispatcher):
    def __init__(self, inner: RequestDispatcher, frames: Frames) -> None:
        self.inner = inner
        self._frames = frames
        self._waiting: WeakKeyDictionary[Started, tuple[ConnectionInfo, int, int]] = WeakKeyDictionary()
        self._peers: WeakKeyDictionary[ConnectionInfo, str] = WeakKeyDictionary()

    def start(self, connection: ConnectionInfo, frame: memoryview) -> "bytes | list[Records] | Started | None":
        if not self._frames.is_wanted:
            return self.inner.start(connection, frame)
        key, version = known_request(frame) or (UNKNOWN, UNKNOWN)
        self._publish(connection, Direction.REQUEST, key, version, bytes(frame))
        answer = self.inner.start(connection, frame)
        if isinstance(answer, Started):
            self._waiting[answer] = connection, key, version
        elif answer is not None:
            self._publish_answer(connection, key, version, answer)
        return answer

    async def finish(self, started: Started) -> object:
        return await self.inner.finish(started)

    def encode(self, started: Started, response: object) -> bytes | list[Records]:
        answer = self.inner.encode(started, response)
        waiting = self._waiting.pop(started, None)
        if waiting is not None:
            self._publish_answer(*waiting, answer)
        return answer

    def build(self, started: Started, build: Callable[[], object]) -> object:
        return self.inner.build(started, build)

    def _publish_answer(
        self, connection: ConnectionInfo, key: int, version: int, answer: bytes | list[Records]
    ) -> None:
        if not self._frames.is_wanted:
            return
        data = answer[4:] if isinstance(answer, bytes) else _without_size(answer)
        self._publish(connection, Direction.RESPONSE, key, version, data)

    def _publish(
        self, connection: ConnectionInfo, direction: Direction, key: int, version: int, data: bytes | bytearray
    ) -> None:
        peer = self._peers.get(connection)
        if peer is None:
            peer = self._peers[connection] = _peer(connection)
        if key in SECRET_KEYS or key == UNKNOWN:
            data = public(direction, key, version, data)
        time_us = time.time_ns() // 1000
        self._frames.publish(TracedFrame(time_us, connection.id, peer, direction, key, version, data))


def _peer(connection: ConnectionInfo) -> str:
    """Return the client's address, with its port where the connection came through a listener of ours."""
    parts = connection.id.rsplit("-", 2)
    return parts[1] if len(parts) == 3 and parts[1].startswith(f"{connection.host}:") else connection.host


def _without_size(chunks: list[Records]) -> bytearray:
    """Put an answer together, reading the slices of files in it; its first piece begins with the size."""
    data = bytearray(sum(map(len, chunks)) - 4)
    view = memoryview(data)
    pos = -4
    for chunk in chunks:
        if isinstance(chunk, FileSlice):
            os.preadv(chunk.fileno(), [view[pos : pos + len(chunk)]], chunk.position)
        else:
            start = max(-pos, 0)
            view[max(pos, 0) : pos + len(chunk)] = memoryview(chunk)[start:]  # type: ignore[arg-type]
        pos += len(chunk)
    return data

"""Trace a broker: a dispatcher around its dispatcher that publishes every request and every answer.

    tracing = Tracing(broker)
    with tracing.frames.subscription() as seen: …

Rules
- The dispatcher is in place only while somebody subscribes: without tracing, nothing is paid for it.
- A request is copied before its handler runs, which may stamp batches in place. An answer's slices of files are read
  by who takes the frame; the client still gets them by sendfile.
- An answer to a request that came before the tracing began is not traced: nobody knows whose it is.

Not here: who takes the frames (frames, recorder).
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, cast
from weakref import WeakKeyDictionary

from pykbroker.handlers.context import ConnectionInfo
from pykbroker.server.dispatch import RequestDispatcher, Started
from pykbroker.study.frames import LONG_BYTES, Frames, LongFrame, Piece
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
        if len(frame) < LONG_BYTES:
            self._publish(connection, Direction.REQUEST, key, version, bytes(frame))
        else:
            self._publish(connection, Direction.REQUEST, key, version, b"", rest=[frame])
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
        if isinstance(answer, bytes):
            self._publish(connection, Direction.RESPONSE, key, version, answer[4:])
        else:
            head, *rest = cast(list[Piece], answer)
            assert isinstance(head, bytes)
            self._publish(connection, Direction.RESPONSE, key, version, head[4:], rest=rest)

    def _publish(
        self,
        connection: ConnectionInfo,
        direction: Direction,
        key: int,
        version: int,
        data: bytes,
        *,
        rest: Sequence[Piece] = (),
    ) -> None:
        peer = self._peers.get(connection)
        if peer is None:
            peer = self._peers[connection] = _peer(connection)
        frame: TracedFrame | LongFrame
        frame = start = TracedFrame(time.time_ns() // 1000, connection.id, peer, direction, key, version, data)
        if rest:
            frame = LongFrame(start, rest)
        if key in SECRET_KEYS or key == UNKNOWN:
            whole = frame.whole() if isinstance(frame, LongFrame) else frame
            frame = start._replace(data=public(direction, key, version, whole.data))
        self._frames.publish(frame)


def _peer(connection: ConnectionInfo) -> str:
    """Return the client's address, with its port where the connection came through a listener of ours."""
    parts = connection.id.rsplit("-", 2)
    return parts[1] if len(parts) == 3 and parts[1].startswith(f"{connection.host}:") else connection.host

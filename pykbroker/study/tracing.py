"""Trace a broker: a dispatcher around its dispatcher that publishes every request and every answer.

    tracing = Tracing(broker)
    with tracing.frames.subscription() as seen: …

Rules
- The dispatcher is in place only while somebody subscribes: without tracing, nothing is paid for it. All who trace one
  broker share its dispatcher and its frames.
- A request is offered before its handler runs, which may stamp batches in place.
- Small slices of an answer are read here, once for those who trace and for the client. Large ones are read by who takes
  the frame; the client still gets them by sendfile.
- An answer to a request that came before the tracing began is not traced: nobody knows whose it is.

Not here: who takes the frames (frames, recorder), what is secret (wire.study.exchanges.public).
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from struct import Struct
from typing import NamedTuple, Protocol, cast

from pykbroker.handlers.context import ConnectionInfo
from pykbroker.log.files import FileSlice
from pykbroker.server.dispatch import RequestDispatcher, Started, take_out
from pykbroker.server.outbox import COPY_BELOW_BYTES
from pykbroker.study.frames import FrameKind, Frames, Piece
from pykbroker.study.recorder import Sink, record
from wire.primitives import Buffer
from wire.schema import Records
from wire.study.exchanges import UNKNOWN, Direction, public
from wire.study.frames import known_request
from wire.study.secrets import SECRET_KEYS
from wire.study.trace import Source

MAX_APIS = 1024  # that are remembered, by key and version

_REQUEST, _RESPONSE = Direction
_start_of = Struct(">I").unpack_from


class HasDispatcher(Protocol):
    """A broker, as far as tracing goes."""

    dispatcher: RequestDispatcher
    frames: object  # the Frames of all who trace it, once there are some


class Tracing:
    """Puts a TracingDispatcher in place while a broker's frames are wanted."""

    def __init__(self, broker: HasDispatcher) -> None:
        if broker.frames is None:
            broker.frames = _frames_of(broker)
        assert isinstance(broker.frames, Frames)
        self.frames = broker.frames


def _frames_of(broker: HasDispatcher) -> Frames:
    dispatcher: TracingDispatcher | None = None

    def change() -> None:
        nonlocal dispatcher
        if frames.is_wanted and dispatcher is None:
            broker.dispatcher = dispatcher = TracingDispatcher(broker.dispatcher, frames)
        elif not frames.is_wanted and dispatcher is not None:
            take_out(broker, dispatcher)
            dispatcher = None

    frames = Frames(change)
    return frames


@contextlib.contextmanager
def traced(broker: HasDispatcher, sink: Sink) -> Iterator[None]:
    """Record the frames of a broker while the block runs."""
    with record(Tracing(broker).frames, sink):
        yield


class TracingDispatcher(RequestDispatcher):
    def __init__(self, inner: RequestDispatcher, frames: Frames) -> None:
        self.inner = inner
        self._frames = frames
        self._apis: dict[int, _Api] = {}  # by a frame's start, which is its key and version

    def start(self, connection: ConnectionInfo, frame: memoryview) -> "bytes | list[Records] | Started | None":
        api = self._apis.get(_start_of(frame)[0]) if len(frame) >= 4 else None
        if api is None:
            api = self._api(frame)
        source = connection.traced or _source(connection)
        data = public(*api.request, bytes(frame)) if api.may_be_secret else frame
        self._frames.offer(source, time.time_ns() // 1000, api.request, data, ())
        answer = self.inner.start(connection, frame)
        if isinstance(answer, Started):
            answer.traced = source
        elif answer is not None:
            answer = self._answer(source, api.response, api.may_be_secret, answer)
        return answer

    async def finish(self, started: Started) -> object:
        return await self.inner.finish(started)

    def encode(self, started: Started, response: object) -> bytes | list[Records]:
        answer = self.inner.encode(started, response)
        if started.traced is not None:
            kind = FrameKind(_RESPONSE, started.route.api_key, started.route.version)
            answer = self._answer(started.traced, kind, kind.api_key in SECRET_KEYS, answer)
        return answer

    def build(self, started: Started, build: Callable[[], object]) -> object:
        return self.inner.build(started, build)

    def _api(self, frame: memoryview) -> "_Api":
        known = known_request(frame)
        if known is None:
            return _Api.of(UNKNOWN, UNKNOWN)
        api = _Api.of(*known)
        if len(self._apis) < MAX_APIS:
            self._apis[_start_of(frame)[0]] = api
        return api

    def _answer(
        self, source: Source, kind: FrameKind, may_be_secret: bool, answer: bytes | list[Records]
    ) -> bytes | list[Records]:
        """Publish an answer, and return it in fewer pieces."""
        time_us = time.time_ns() // 1000
        if isinstance(answer, bytes):
            whole: bytes | list[Records] = answer
        else:
            whole = joined(cast(list[Piece], answer))
            answer[:] = (whole,) if isinstance(whole, bytes) else whole  # the same list: others may know it
        if isinstance(whole, bytes):
            data = public(*kind, whole[4:]) if may_be_secret else whole[4:]
            self._frames.offer(source, time_us, kind, data, ())
        else:  # no message with secrets has records
            head, *rest = cast(list[Piece], whole)
            assert isinstance(head, bytes)
            self._frames.offer(source, time_us, kind, head[4:], rest)
        return answer


class _Api(NamedTuple):
    """What is the same for all requests of one key and version."""

    request: FrameKind
    response: FrameKind
    may_be_secret: bool

    @classmethod
    def of(cls, key: int, version: int) -> "_Api":
        may_be_secret = key == UNKNOWN or key in SECRET_KEYS
        return cls(FrameKind(_REQUEST, key, version), FrameKind(_RESPONSE, key, version), may_be_secret)


def joined(pieces: list[Piece]) -> bytes | list[Records]:
    """Return an answer with its small slices read and its memory joined, as is done before it is sent anyway."""
    made: list[Records] = []
    memory: list[Buffer] = []
    for piece in pieces:
        if isinstance(piece, FileSlice):
            data = piece.read_resident() if piece.length < COPY_BELOW_BYTES else b""
            if len(data) != piece.length:
                if memory:
                    made.append(b"".join(memory))
                    memory = []
                made.append(piece)
                continue
            memory.append(data)
        else:
            memory.append(piece)
    if not made:
        return b"".join(memory)
    if memory:
        made.append(b"".join(memory))
    return made


def _source(connection: ConnectionInfo) -> Source:
    """Return what a connection is called, with the client's port where it came through a listener of ours."""
    parts = connection.id.rsplit("-", 2)
    has_port = len(parts) == 3 and parts[1].startswith(f"{connection.host}:")
    connection.traced = Source(connection.id, parts[1] if has_port else connection.host)
    return connection.traced

"""The live trace: requests and answers of this broker as Server-Sent Events, and each byte of one that is asked for.

    GET /console/api/trace                  events `stream`, `frame`, `lost`; comments in between
    GET /console/api/trace/{stream}/{n}     the annotated tree of a frame

Owns: the newest frames of each stream, so that they can be looked at in depth while and after it runs. Rules
- Nothing is traced unless somebody has a stream open: `Tracing` takes itself out of the way.
- `pykbroker.http.console.max.traces` streams, open or kept; the oldest that is closed makes room. A stream keeps
  MAX_KEPT_FRAMES of MAX_KEPT_BYTES. A browser is sent MAX_QUEUED_FRAMES every PAUSE_S at most, and told how many more
  there were: nobody reads faster, and explaining them would take the broker from its clients.
- Frames are read in a thread, a few at a time. What the console itself asks is left out, unless `own=true`.
- Bytes of a frame are kept and shown up to MAX_SHOWN_BYTES, nodes up to MAX_ROWS.

Not here: where frames come from (study.tracing), what they mean (wire.study).
"""

import itertools
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

import anyio
import anyio.to_thread
import attrs
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from pykbroker.study.frames import Subscription
from pykbroker.study.tracing import HasDispatcher, Tracing
from pykbroker.web.console.api import BadQuestionError, Json, failure
from wire.catalog import API_BY_KEY
from wire.study.comments import field_comment
from wire.study.exchanges import Direction, TracedFrame, learn_topics
from wire.study.show_tree import value_text
from wire.study.summary import Summaries
from wire.study.tree import Node

CLIENT_ID = "pykbroker-console"
MAX_QUEUED_BYTES = 1024 * 1024
MAX_QUEUED_FRAMES = 100
MAX_KEPT_FRAMES = 1000
MAX_KEPT_BYTES = 8 * 1024 * 1024
MAX_AT_ONCE = 50  # frames that one step in the thread reads
MAX_OWN_CONNECTIONS = 100
MAX_ROWS = 5000
MAX_SHOWN_BYTES = 64 * 1024
PAUSE_S = 0.1  # between looks at what has come
PAUSES = 3  # times what showing it took, if that is more: the rest of the time is the clients'
HEARTBEAT_S = 5.0  # a comment, by which a browser that is gone is noticed


@attrs.define(eq=False)
class _Stream:
    number: int
    with_own: bool
    is_open: bool = True
    frames: OrderedDict[int, TracedFrame] = attrs.field(factory=OrderedDict)
    kept_bytes: int = 0
    topic_names: dict[bytes, str] = attrs.field(factory=dict)
    summaries: Summaries = attrs.field(factory=Summaries)
    own: OrderedDict[str, None] = attrs.field(factory=OrderedDict)  # connections of the console
    counted: int = 0

    def events(self, frames: Sequence[TracedFrame]) -> list[Mapping[str, Json]]:
        """Take frames, and say what there is to show."""
        return [event for frame in frames if (event := self._event(frame)) is not None]

    def _event(self, frame: TracedFrame) -> Mapping[str, Json] | None:
        tree = frame.tree(self.topic_names)
        if not self.with_own and self._is_own(frame, tree):
            return None
        learn_topics(tree, self.topic_names)
        self.counted += 1
        self._keep(self.counted, frame)
        line = self.summaries.line(self.counted, frame, tree)
        words = {style: text.strip() for style, text in line if style in ("error", "value", "name")}
        took = next((text.strip() for style, text in line if style == "type" and text.endswith(" ms")), "")
        api = API_BY_KEY.get(frame.api_key)
        return {
            "number": self.counted,
            "time_us": frame.time_us,
            "peer": frame.peer,
            "is_request": frame.direction is Direction.REQUEST,
            "api": api.name if api else "unknown",
            "version": frame.api_version,
            "correlation_id": frame.correlation_id,
            "bytes": len(frame.data) + frame.missing_bytes,
            "took": took,
            "client_id": words.get("name", ""),
            "error": words.get("error", ""),
            "fields": words.get("value", ""),
        }

    def _is_own(self, frame: TracedFrame, tree: Node) -> bool:
        if frame.direction is Direction.REQUEST:
            client_id = tree.find("header", "client_id")
            if client_id is not None and client_id.value == CLIENT_ID:
                self.own[frame.connection] = None
                if len(self.own) > MAX_OWN_CONNECTIONS:
                    self.own.popitem(last=False)
        return frame.connection in self.own

    def _keep(self, number: int, frame: TracedFrame) -> None:
        self.frames[number] = frame
        self.kept_bytes += len(frame.data)
        while len(self.frames) > MAX_KEPT_FRAMES or self.kept_bytes > MAX_KEPT_BYTES:
            _, oldest = self.frames.popitem(last=False)
            self.kept_bytes -= len(oldest.data)


class TracePages:
    def __init__(self, broker: HasDispatcher, max_streams: int) -> None:
        self._tracing = Tracing(broker)
        self._max_streams = max_streams
        self._streams: OrderedDict[int, _Stream] = OrderedDict()
        self._counted = 0
        self._scopes: set[anyio.CancelScope] = set()

    def close(self) -> None:
        """End all streams."""
        for scope in self._scopes:
            scope.cancel()

    async def live(self, request: Request) -> Response:
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        while len(self._streams) >= self._max_streams:
            closed = next((stream for stream in self._streams.values() if not stream.is_open), None)
            if closed is None:
                return failure(503, "TOO_MANY_TRACES", f"{self._max_streams} traces are being looked at already.")
            del self._streams[closed.number]
        self._counted += 1
        stream = _Stream(self._counted, request.query_params.get("own") == "true")
        self._streams[stream.number] = stream
        return _Live(stream, self._tracing, self._scopes)

    async def frame(self, request: Request) -> Mapping[str, Json]:
        """Explain each byte of a frame, as rows in the order of the bytes."""
        stream = self._streams.get(request.path_params["stream"])
        frame = stream.frames.get(request.path_params["number"]) if stream is not None else None
        if stream is None or frame is None:
            raise BadQuestionError("This frame is not kept any more.")
        return await anyio.to_thread.run_sync(_explained, frame, dict(stream.topic_names))


class _Live(StreamingResponse):
    """Sends events until the client goes, or all streams are to end."""

    def __init__(self, stream: _Stream, tracing: Tracing, scopes: set[anyio.CancelScope]) -> None:
        super().__init__((), media_type="text/event-stream")
        self._stream = stream
        self._tracing = tracing
        self._scopes = scopes

    async def stream_response(self, send: Send) -> None:
        scope = anyio.CancelScope()
        self._scopes.add(scope)
        try:
            with (
                scope,
                self._tracing.frames.subscription(
                    MAX_QUEUED_BYTES, max_frames=MAX_QUEUED_FRAMES, max_frame_bytes=MAX_SHOWN_BYTES
                ) as seen,
            ):
                await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
                await _send(send, _event("stream", {"number": self._stream.number}))
                await self._follow(seen, send)
        finally:
            self._scopes.discard(scope)
            self._stream.is_open = False
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _follow(self, seen: Subscription, send: Send) -> None:
        lost = 0
        while True:
            text = ":\n\n"
            with anyio.move_on_after(HEARTBEAT_S):
                await seen.wait()
            began_s = anyio.current_time()
            frames = seen.take()
            for first in range(0, len(frames), MAX_AT_ONCE):
                some = frames[first : first + MAX_AT_ONCE]
                events = await anyio.to_thread.run_sync(self._stream.events, some)
                await _send(send, "".join(_event("frame", event) for event in events) or ":\n\n")
                text = ""
            if seen.lost > lost:
                text += _event("lost", {"count": seen.lost - lost})
                lost = seen.lost
            if text:
                await _send(send, text)
            await anyio.sleep(max(PAUSE_S, PAUSES * (anyio.current_time() - began_s)))


async def _send(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})


def _event(name: str, data: Mapping[str, Json]) -> str:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"  # JSON has no line ends of its own


@attrs.define(eq=False)
class _Buffer:
    name: str
    data: bytes | bytearray
    missing_bytes: int = 0


def _explained(frame: TracedFrame, topic_names: dict[bytes, str]) -> Mapping[str, Json]:
    tree = frame.tree(topic_names)
    buffers = [_Buffer("frame", frame.data, frame.missing_bytes)]
    rows = list(itertools.islice(_rows(tree, 0, 0, buffers), MAX_ROWS + 1))
    api = API_BY_KEY.get(frame.api_key)
    left = MAX_SHOWN_BYTES
    shown: list[Mapping[str, Json]] = []
    for buffer in buffers:
        part = buffer.data[:left]
        left -= len(part)
        shown.append({"name": buffer.name, "bytes": len(buffer.data) + buffer.missing_bytes, "hex": part.hex()})
    return {
        "title": f"{api.name if api else 'unknown'} v{frame.api_version}",
        "rows": rows[:MAX_ROWS],
        "is_cut": len(rows) > MAX_ROWS,
        "buffers": shown,
    }


def _rows(
    node: Node, depth: int, buffer: int, buffers: list[_Buffer], *, is_part: bool = False
) -> Iterator[Mapping[str, Json]]:
    """Yield a node and what is below it; a part is what only says how a value is written, such as its length."""
    yield {
        "depth": depth,
        "is_part": is_part,
        "buffer": buffer,
        "start": node.start,
        "end": node.end,
        "name": node.name,
        "type": node.kind,
        "value": None if node.is_container else value_text(node),
        "note": node.note,
        "error": node.error,
        "comment": "" if node.owner is None else field_comment(node.owner, node.name),
    }
    for child in node.children:
        parts = not node.is_container and not child.children
        yield from _rows(child, depth + 1, buffer, buffers, is_part=parts)
    if node.inner is not None:
        buffers.append(_Buffer(node.inner.name, node.inner.buffer))
        yield from _rows(node.inner.root, depth + 1, len(buffers) - 1, buffers)

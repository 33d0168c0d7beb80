"""The live trace: requests and answers of this broker as Server-Sent Events.

    GET /console/api/trace                  events `stream`, `frame`, `lost`; comments in between
    GET /console/api/trace/{stream}/{n}     the annotated tree of a frame

Owns: which streams there are. Rules
- Nothing is traced unless somebody has a stream open: `Tracing` takes itself out of the way.
- `pykbroker.http.console.max.traces` streams, open or kept; the oldest that is closed makes room.
- The event loop copies frames, no more than MAX_QUEUED_FRAMES of MAX_QUEUED_BYTES in PAUSE_S, and gives them to the
  worker, which makes text of them. What comes while it has not done so, or beyond that, is lost, and the browser is
  told how many.

Not here: where frames come from (study.tracing), what is made of them (frames).
"""

from collections import OrderedDict

import anyio
import attrs
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Send

from pykbroker.study.frames import Subscription
from pykbroker.study.tracing import HasDispatcher, Tracing
from pykbroker.web.console.api import error_response, server_sent_event
from pykbroker.web.console.frames import MAX_SHOWN_BYTES, packed
from pykbroker.web.console.worker import Worker, WorkerError

MAX_QUEUED_BYTES = 1024 * 1024
MAX_QUEUED_FRAMES = 1000
PAUSE_S = 0.1  # between looks at what has come
HEARTBEAT_S = 5.0  # a comment, by which a browser that is gone is noticed
NOTHING = ":\n\n"


@attrs.define(eq=False)
class _Stream:
    number: int
    with_own: bool
    is_open: bool = True


class TracePages:
    def __init__(self, broker: HasDispatcher, worker: Worker, max_streams: int) -> None:
        self._tracing = Tracing(broker)
        self._worker = worker
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
                return error_response(503, "TOO_MANY_TRACES", f"There are {self._max_streams} live traces already.")
            del self._streams[closed.number]
        self._counted += 1
        stream = _Stream(self._counted, request.query_params.get("own") == "true")
        self._streams[stream.number] = stream
        return _Live(self, stream)

    async def follow(self, stream: _Stream, send: Send) -> None:
        """Send what is traced, until cancelled or the worker ends."""
        scope = anyio.CancelScope()
        self._scopes.add(scope)
        try:
            wanted = self._tracing.frames.subscription(
                MAX_QUEUED_BYTES, max_frames=MAX_QUEUED_FRAMES, max_frame_bytes=MAX_SHOWN_BYTES
            )
            with scope, self._worker.held(), wanted as seen:
                await _send(send, server_sent_event("stream", {"number": stream.number}))
                await self._follow(stream, seen, send)
        finally:
            self._scopes.discard(scope)
            stream.is_open = False

    async def _follow(self, stream: _Stream, seen: Subscription, send: Send) -> None:
        lost = 0
        while True:
            with anyio.move_on_after(HEARTBEAT_S):
                await seen.wait()
            frames = seen.take()
            text = ""
            if frames:
                query = f"own={str(stream.with_own).lower()}&keep={','.join(map(str, self._streams))}"
                try:
                    answer = await self._worker.ask("POST", f"/broker/trace/{stream.number}", query, packed(frames))
                except WorkerError:
                    return  # the browser begins anew
                text = answer.body.decode()
            if seen.lost > lost:
                text += server_sent_event("lost", {"count": seen.lost - lost})
                lost = seen.lost
            await _send(send, text or NOTHING)
            await anyio.sleep(PAUSE_S)  # many frames in one go are cheaper, and nobody reads faster


class _Live(StreamingResponse):
    """Sends events until the client goes, or all streams are to end."""

    def __init__(self, pages: TracePages, stream: _Stream) -> None:
        super().__init__((), media_type="text/event-stream")
        self._pages = pages
        self._stream = stream

    async def stream_response(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await self._pages.follow(self._stream, send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send(send: Send, text: str) -> None:
    await send({"type": "http.response.body", "body": text.encode(), "more_body": True})

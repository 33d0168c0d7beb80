"""Traced frames in the console's worker: a line for each as it comes, and each byte of one that is asked for.

    POST /broker/trace/{stream}?own=false&keep=1,2      frames that the broker took -> events `frame` for a browser
    GET  /api/trace/{stream}/{n}                        the annotated tree of a frame

Format of frames: a line of JSON, a list of the fields of each TracedFrame, with its size in the place of its data; then
the data of all.

Owns: the newest frames of each stream. Rules
- A stream keeps MAX_KEPT_FRAMES of MAX_KEPT_BYTES; streams that the broker does not name in `keep` are dropped.
- What the console itself asks is left out, unless `own=true`.
- Bytes of a frame are shown up to MAX_SHOWN_BYTES, nodes up to MAX_ROWS.

Not here: how many frames come, and who sees them (trace); what they mean (wire.study).
"""

import itertools
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

import attrs
from starlette.requests import Request
from starlette.responses import Response

from pykbroker.web.console.api import BadRequestError, Json, server_sent_event
from wire.catalog import API_BY_KEY
from wire.study.comments import field_comment
from wire.study.exchanges import Direction, TracedFrame, learn_topics
from wire.study.show_tree import value_text
from wire.study.summary import Summaries
from wire.study.tree import Node

CLIENT_ID = "pykbroker-console"
MAX_KEPT_FRAMES = 1000
MAX_KEPT_BYTES = 8 * 1024 * 1024
MAX_OWN_CONNECTIONS = 100
MAX_ROWS = 5000
MAX_SHOWN_BYTES = 64 * 1024


class FramePages:
    def __init__(self) -> None:
        self._streams: dict[int, _Stream] = {}

    async def events(self, request: Request) -> Response:
        """Keep the frames that came, and say what there is to show."""
        keep = set(map(int, request.query_params["keep"].split(",")))
        for number in self._streams.keys() - keep:
            del self._streams[number]
        number = request.path_params["stream"]
        stream = self._streams.get(number)
        if stream is None:
            stream = self._streams[number] = _Stream(number, request.query_params.get("own") == "true")
        events = stream.events(_unpacked(await request.body()))
        return Response("".join(server_sent_event("frame", event) for event in events))

    async def frame(self, request: Request) -> Mapping[str, Json]:
        """Explain each byte of a frame, as rows in the order of the bytes."""
        stream = self._streams.get(request.path_params["stream"])
        frame = stream.frames.get(request.path_params["number"]) if stream is not None else None
        if stream is None or frame is None:
            raise BadRequestError("This frame is not kept any more.")
        return _explained(frame, stream.topic_names)


def packed(frames: Sequence[TracedFrame]) -> bytes:
    """Write frames as `events` takes them."""
    fields = json.dumps([frame._replace(data=len(frame.data)) for frame in frames])  # type: ignore[arg-type]
    return b"".join((fields.encode(), b"\n", *(frame.data for frame in frames)))


def _unpacked(body: bytes) -> list[TracedFrame]:
    end = body.index(b"\n") + 1
    frames = []
    for fields in json.loads(body[:end]):
        frame = TracedFrame(*fields)
        start, end = end, end + int(frame.data)
        frames.append(frame._replace(data=body[start:end], direction=Direction(frame.direction)))
    return frames


@attrs.define(eq=False)
class _Stream:
    number: int
    with_own: bool
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

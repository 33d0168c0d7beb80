"""Frames as annotated trees: size, header, body, and what is inside the body.

    tree = walk_request(frame)              a frame without its size, or with it (`has_size`)
    tree = walk_response(1, 13, frame)      an answer does not say what it answers

Rules
- A frame whose key or version is unknown may be a SASL token in a frame of its own, as it follows SaslHandshake v0:
  nothing of it is shown.
- Secrets are hidden (secrets).
- An Envelope inside an Envelope, which Kafka refuses, is not opened: nobody makes us go down without end.

Not here: which request an answer belongs to (exchanges).
"""

import functools
from collections.abc import Mapping
from struct import Struct
from typing import Any

from wire.catalog import API_BY_KEY, request_class, response_class
from wire.errors import ErrorCode, ProtocolError
from wire.frame import API_VERSIONS, request_header_version, response_header_version
from wire.primitives import Buffer
from wire.schema import Kind, spec_of
from wire.study.contents import Contents, tells_of_metadata
from wire.study.secrets import has_secrets, hide_secrets
from wire.study.tree import TAGS, Node
from wire.study.walk import MAX_NODES, Walker

ENVELOPE = 58
NOT_UNDERSTOOD = ("request", "response")  # what the trees of such frames are called
_KEY_AND_VERSION = Struct(">hh")


def walk_request(
    frame: Buffer,
    *,
    has_size: bool = False,
    topic_names: Mapping[bytes, str] | None = None,
    max_nodes: int = MAX_NODES,
) -> Node:
    """Read the frame of a request into a tree."""
    api = known_request(frame, 4 if has_size else 0)
    root = Node(NOT_UNDERSTOOD[0], "request", 0, len(frame))
    walker = Walker(frame, root, max_nodes=max_nodes, contents=Contents(topic_names))
    if api is None:
        walker.guarded(lambda: _unknown(walker, has_size, _without_version(frame, 4 if has_size else 0)))
        return root
    key, version = api
    cls = request_class(key)
    root.name = f"{API_BY_KEY[key].name} v{version} request"
    is_whole = walker.guarded(lambda: _request(walker, cls, version, has_size))
    _finish(root, cls, walker, is_whole)
    return root


def walk_response(
    key: int,
    version: int,
    frame: Buffer,
    *,
    has_size: bool = False,
    topic_names: Mapping[bytes, str] | None = None,
    max_nodes: int = MAX_NODES,
) -> Node:
    """Read the frame of an answer to a request of that key and version into a tree."""
    root = Node(NOT_UNDERSTOOD[1], "response", 0, len(frame))
    walker = Walker(frame, root, max_nodes=max_nodes, contents=Contents(topic_names))
    if not is_known(key, version):
        walker.guarded(lambda: _unknown(walker, has_size))
        return root
    if key == API_VERSIONS and _refuses_version(frame, has_size):
        version = 0  # which everybody understands (KIP-511)
    cls = response_class(key)
    root.name = f"{API_BY_KEY[key].name} v{version} response"
    is_whole = walker.guarded(lambda: _response(walker, cls, key, version, has_size))
    _finish(root, cls, walker, is_whole)
    return root


def known_request(frame: Buffer, pos: int = 0) -> tuple[int, int] | None:
    """Return key and version of a request, None where we have no declaration of it."""
    if len(frame) - pos < _KEY_AND_VERSION.size:
        return None
    key, version = _KEY_AND_VERSION.unpack_from(frame, pos)
    return (key, version) if is_known(key, version) else None


@functools.lru_cache(maxsize=1024)
def is_known(key: int, version: int) -> bool:
    """Tell whether we have a declaration of that. Every later version of ApiVersions is taken for the last one."""
    if key == API_VERSIONS:
        return version >= 0
    return key in API_BY_KEY and version in spec_of(request_class(key)).versions


def _refuses_version(frame: Buffer, has_size: bool) -> bool:
    start = 8 if has_size else 4
    return bytes(frame[start : start + 2]) == ErrorCode.UNSUPPORTED_VERSION.to_bytes(2, "big")


def _without_version(frame: Buffer, pos: int) -> str:
    """Say of which API a request may be, in a version that we do not know."""
    if len(frame) - pos < _KEY_AND_VERSION.size:
        return ""
    key, version = _KEY_AND_VERSION.unpack_from(frame, pos)
    return f": {API_BY_KEY[key].name} has no version {version}" if key in API_BY_KEY else ""


def _unknown(walker: Walker, has_size: bool, why: str = "") -> None:
    if has_size:
        walker.fixed("size", Kind.INT32)
    node = walker.raw("content", walker.end - walker.pos)
    node.hide()
    node.note = f"no request that we know{why}; it may be a SASL token"


def _request(walker: Walker, cls: type[Any], version: int, has_size: bool) -> None:
    if has_size:
        walker.fixed("size", Kind.INT32)
    key = spec_of(cls).key
    assert key is not None
    header_version = request_header_version(key, version)
    with walker.group("header", f"RequestHeader v{header_version}"):
        walker.fixed("api_key", Kind.INT16).note = API_BY_KEY[key].name
        walker.fixed("api_version", Kind.INT16)
        walker.fixed("correlation_id", Kind.INT32)
        with walker.group("client_id", "string") as client_id:
            length = walker.fixed("length", Kind.INT16)
            client_id.value = None
            if length.value >= 0:
                text = walker.raw("text", length.value)
                text.value = client_id.value = str(text.value, "utf-8", "replace")
        if header_version == 2:
            _header_tags(walker)
    _body(walker, cls, version)


def _response(walker: Walker, cls: type[Any], key: int, version: int, has_size: bool) -> None:
    if has_size:
        walker.fixed("size", Kind.INT32)
    header_version = response_header_version(key, version)
    with walker.group("header", f"ResponseHeader v{header_version}"):
        walker.fixed("correlation_id", Kind.INT32)
        if header_version:
            _header_tags(walker)
    _body(walker, cls, version)


def _header_tags(walker: Walker) -> None:
    if walker.pos < walker.end and walker.buffer[walker.pos] == 0:
        walker.uvarint(TAGS, lambda count: "none")
        return
    with walker.group(TAGS, "tagged fields"):
        count = walker.uvarint("count")
        for _ in range(count):
            with walker.group("tag", "tagged field") as node:
                tag = walker.uvarint("tag")
                node.name = f"tag {tag}"
                walker.raw("unknown", walker.uvarint("size"))


def _body(walker: Walker, cls: type[Any], version: int) -> None:
    with walker.group("body", f"{spec_of(cls).name} v{version}") as node:
        node.owner = cls
        walker.message(cls, version)
    if walker.pos != walker.end:
        raise ProtocolError(f"{walker.end - walker.pos} bytes follow the message")


def _finish(root: Node, cls: type[Any], walker: Walker, is_whole: bool) -> None:
    """Hide what is secret, and read the request that an Envelope carries."""
    if has_secrets(cls):
        hide_secrets(root)
    if not is_whole and (has_secrets(cls) or tells_of_metadata(root)):
        for node in root.walk():
            if node.error:
                node.hide()
    if spec_of(cls).key == ENVELOPE:
        _open_envelope(root, walker)


def _open_envelope(root: Node, walker: Walker) -> None:
    """Replace the bytes of the frame inside by its tree. Of a response nobody knows what it answers."""
    body = root.child("body")
    if body is None:
        return
    for node in body.children:
        if node.error:
            node.hide()
        elif node.name == "response_data" and node.value is not None:
            node.hide()
            node.note = "of which API, the request tells"
        elif node.name == "request_data":
            _open_request(node, walker)


def _open_request(node: Node, walker: Walker) -> None:
    content = node.children[-1]
    frame = walker.buffer[content.start : content.end]
    if known_request(frame) == (ENVELOPE, 0):
        node.hide()
        node.note = "an envelope in an envelope, which Kafka refuses"
        return
    inner = walk_request(frame, max_nodes=max(walker.nodes_left, 0))
    _move(inner, content.start)
    node.hide()
    node.is_secret = content.is_secret = False
    content.children, content.note = inner.children, inner.name


def _move(node: Node, by: int) -> None:
    for part in node.walk():
        part.start += by
        part.end += by

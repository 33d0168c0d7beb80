"""Frames of connections as they are recorded, and what an answer answers.

Rules
- An answer names its request by nothing but the correlation id: `Exchanges` remembers the requests of each connection,
  at most MAX_OUTSTANDING, the oldest of which are forgotten (acks=0 is never answered), until the connection ends.
- What follows SaslHandshake v0 in frames without headers is no request of ours: its key is UNKNOWN, and nothing of it
  is shown or kept.
- `public` gives a frame without its secrets: their bytes are asterisks, so that everything else stays where it is.

Not here: files of such frames (trace, pcapng), cutting frames out of streams (streams).
"""

import enum
import functools
from collections import OrderedDict
from typing import Any, NamedTuple

from wire.catalog import request_class, response_class
from wire.primitives import Buffer
from wire.schema import spec_of
from wire.study.contents import CLUSTER_METADATA, CLUSTER_METADATA_ID
from wire.study.frames import is_known, known_request, walk_request, walk_response
from wire.study.secret_search import has_secret
from wire.study.secrets import SECRET_KEYS
from wire.study.tree import Node
from wire.study.walk import NO_LIMIT

UNKNOWN = -1
MAX_OUTSTANDING = 10_000
MAX_CONNECTIONS = 10_000
_BYTE_KINDS = frozenset({"bytes", "utf-8"})  # leaves that hold bytes rather than their length
_TOPIC_NAMES = ("name", "topic", "topic_name")
_METADATA_KEYS = frozenset({1, 59})  # Fetch and FetchSnapshot, by which controllers and brokers read their log
_TOPIC_WITHIN_BYTES = 256  # they ask for that topic alone


class Direction(enum.IntEnum):
    REQUEST = 0
    RESPONSE = 1


class TracedFrame(NamedTuple):
    """One frame without its size. A response has key and version of what it answers."""

    time_us: int  # since 1970
    connection: str  # such as "127.0.0.1:9092-127.0.0.1:50000-0": the broker's end, the client's end, a number
    peer: str  # who the client is: its address
    direction: Direction
    api_key: int  # UNKNOWN: it could not be told
    api_version: int
    data: bytes | bytearray
    missing_bytes: int = 0  # of its end, which were not kept

    @property
    def correlation_id(self) -> int | None:
        start = 4 if self.direction is Direction.REQUEST else 0
        return int.from_bytes(self.data[start : start + 4], "big", signed=True) if len(self.data) >= start + 4 else None

    def tree(self, topic_names: dict[bytes, str] | None = None) -> Node:
        if self.direction is Direction.REQUEST and self.api_key != UNKNOWN:
            tree = walk_request(self.data, topic_names=topic_names)
        else:
            tree = walk_response(self.api_key, self.api_version, self.data, topic_names=topic_names)
        if self.missing_bytes:
            for node in tree.errors():
                node.error = f"{self.missing_bytes:,} bytes more, which were not kept"
        return tree


class Exchanges:
    """What has been asked on each connection and is not answered yet."""

    def __init__(self) -> None:
        self._asked: OrderedDict[str, OrderedDict[int, tuple[int, int]]] = OrderedDict()

    def request(self, connection: str, data: Buffer) -> tuple[int, int]:
        """Return key and version of a request, (UNKNOWN, UNKNOWN) where it is none that we know."""
        known = known_request(data)
        if known is None or len(data) < 8:
            return UNKNOWN, UNKNOWN
        asked = self._asked.setdefault(connection, OrderedDict())
        self._asked.move_to_end(connection)
        asked[int.from_bytes(data[4:8], "big", signed=True)] = known
        if len(asked) > MAX_OUTSTANDING:
            asked.popitem(last=False)
        if len(self._asked) > MAX_CONNECTIONS:
            self._asked.popitem(last=False)
        return known

    def response(self, connection: str, data: Buffer) -> tuple[int, int]:
        """Return key and version of the request that this answers, (UNKNOWN, UNKNOWN) where none was seen."""
        asked = self._asked.get(connection, OrderedDict())
        if len(data) < 4:
            return UNKNOWN, UNKNOWN
        return asked.pop(int.from_bytes(data[:4], "big", signed=True), (UNKNOWN, UNKNOWN))

    def __len__(self) -> int:
        """Return how many connections are remembered."""
        return len(self._asked)

    def forget(self, connection: str) -> None:
        """Let go of a connection that has ended."""
        self._asked.pop(connection, None)

    def awaits(self, connection: str, correlation_id: int) -> bool:
        return correlation_id in self._asked.get(connection, ())


def public(direction: Direction, key: int, version: int, data: bytes | bytearray) -> bytes | bytearray:
    """Return the frame with asterisks where it has secrets."""
    if key != UNKNOWN and key not in SECRET_KEYS and not _is_of_metadata(direction, key, data):
        return data
    if key in SECRET_KEYS and not has_secret(data, None if direction is Direction.REQUEST else (key, version)):
        return data
    if direction is Direction.REQUEST:
        tree = walk_request(data, max_nodes=NO_LIMIT)  # the rest of a tree that breaks off counts as a secret
    else:
        tree = walk_response(key, version, data, max_nodes=NO_LIMIT)
    hidden = [leaf for leaf in tree.leaves() if leaf.is_secret and leaf.kind in _BYTE_KINDS]
    if not hidden:
        return data
    changed = bytearray(data)
    for leaf in hidden:
        changed[leaf.start : leaf.end] = b"*" * (leaf.end - leaf.start)
    return bytes(changed)


def _is_of_metadata(direction: Direction, key: int, data: bytes | bytearray) -> bool:
    """Tell whether an answer may hold records of `__cluster_metadata`, among which are credentials."""
    if key not in _METADATA_KEYS or direction is Direction.REQUEST:
        return False
    start = data[:_TOPIC_WITHIN_BYTES]
    return CLUSTER_METADATA.encode() in start or CLUSTER_METADATA_ID in start


@functools.lru_cache(maxsize=1024)
def teaches_topics(direction: Direction, key: int, version: int) -> bool:
    """Tell whether such frames may say which id a topic of a name has."""
    if key == UNKNOWN or not is_known(key, version):
        return False
    return _names_topics((request_class, response_class)[direction](key), version)


def _names_topics(cls: type[Any], version: int) -> bool:
    fields = [field for field in spec_of(cls).fields if version in field.versions]
    names = {field.name for field in fields}
    if "topic_id" in names and not names.isdisjoint(_TOPIC_NAMES):
        return True
    return any(isinstance(field.element, type) and _names_topics(field.element, version) for field in fields)


def learn_topics(tree: Node, names: dict[bytes, str]) -> None:
    """Remember the names of topics whose ids a tree tells; a bounded number of them."""
    for node in tree.walk():
        topic_id = node.child("topic_id") if node.children else None
        if topic_id is None or not isinstance(topic_id.value, bytes):
            continue
        for part in _TOPIC_NAMES:
            name = node.child(part)
            if name is not None and isinstance(name.value, str) and len(names) < MAX_CONNECTIONS:
                names[topic_id.value] = name.value

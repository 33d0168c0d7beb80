"""Put the streams of TCP connections together from captured segments, and cut frames out of them.

Rules
- Segments may come twice, overlap, come out of order, or be missing. What comes early is kept, at most
  MAX_PENDING_BYTES a direction; what the other end has acknowledged although it is not here was lost by the capture:
  the stream goes on behind it.
- After a loss, and where a capture begins in the middle of a connection, frames are looked for where segments begin:
  requests by what they look like, answers by the correlation ids that are awaited.
- Who the client is, the SYN tells; else the ports that are said to be brokers', what the bytes look like, and last the
  larger port number.

Not here: files and link layers (pcap), what the frames mean (frames).
"""

from collections import OrderedDict
from collections.abc import Collection, Iterator

import attrs

from wire.study.exchanges import UNKNOWN, Direction, Exchanges, TracedFrame, public
from wire.study.frames import known_request, walk_request

MAX_FRAME_BYTES = 128 * 1024 * 1024
MAX_PENDING_BYTES = 4 * 1024 * 1024
MAX_CONVERSATIONS = 10_000
_LOOKED_AT_BYTES = 64 * 1024  # up to this size, what may be a request is read to its end

Address = tuple[str, int]

FIN, SYN, RST = 1, 2, 4


@attrs.frozen
class Segment:
    time_us: int
    source: Address
    target: Address
    sequence: int
    acknowledged: int | None
    flags: int
    data: bytes


@attrs.frozen
class Missing:
    """So many bytes of a stream are not in the capture, or were not understood."""

    time_us: int
    connection: str
    direction: Direction
    count: int


class Streams:
    """All connections of a capture."""

    def __init__(self, broker_ports: Collection[int] = (9092,)) -> None:
        self._broker_ports = broker_ports
        self._conversations: OrderedDict[frozenset[Address], _Conversation] = OrderedDict()
        self._exchanges = Exchanges()
        self._count = 0

    def feed(self, segment: Segment) -> Iterator[TracedFrame | Missing]:
        """Take the next segment and yield the frames that are complete with it."""
        ends = frozenset((segment.source, segment.target))
        conversation = self._conversations.get(ends)
        is_new = segment.flags & SYN and not segment.acknowledged
        if conversation is None or (is_new and conversation.has_data):
            if conversation is not None:
                yield from conversation.close(segment.time_us)
            if not segment.data and not segment.flags & SYN:
                return
            conversation = self._open(segment)
            self._conversations[ends] = conversation
            if len(self._conversations) > MAX_CONVERSATIONS:
                yield from self._conversations.popitem(last=False)[1].close(segment.time_us)
        yield from conversation.feed(segment)

    def close(self, time_us: int) -> Iterator[TracedFrame | Missing]:
        """Yield what can still be had when there are no more segments."""
        for conversation in self._conversations.values():
            yield from conversation.close(time_us)

    def _open(self, segment: Segment) -> "_Conversation":
        client, broker = segment.source, segment.target
        if not self._is_client(segment):
            client, broker = broker, client
        self._count += 1
        name = f"{_text(broker)}-{_text(client)}-{self._count}"
        return _Conversation(name, client, self._exchanges)

    def _is_client(self, segment: Segment) -> bool:
        """Tell whether the sender of the first segment is the client."""
        if segment.flags & SYN:
            return segment.acknowledged is None
        source, target = segment.source[1], segment.target[1]
        if (source in self._broker_ports) != (target in self._broker_ports):
            return target in self._broker_ports
        return looks_like_request(segment.data) or source > target


class _Conversation:
    def __init__(self, name: str, client: Address, exchanges: Exchanges) -> None:
        self._client = client
        self._halves = {
            Direction.REQUEST: _Half(name, _text(client), Direction.REQUEST, exchanges),
            Direction.RESPONSE: _Half(name, _text(client), Direction.RESPONSE, exchanges),
        }

    @property
    def has_data(self) -> bool:
        return any(half.has_data for half in self._halves.values())

    def feed(self, segment: Segment) -> Iterator[TracedFrame | Missing]:
        direction = Direction.REQUEST if segment.source == self._client else Direction.RESPONSE
        if segment.acknowledged is not None:
            other = self._halves[Direction(1 - direction)]
            yield from other.acknowledge(segment.time_us, segment.acknowledged)
        yield from self._halves[direction].feed(segment)

    def close(self, time_us: int) -> Iterator[TracedFrame | Missing]:
        for half in self._halves.values():
            yield from half.close(time_us)


class _Half:
    """One direction: the bytes in order, and the frames in them."""

    def __init__(self, name: str, peer: str, direction: Direction, exchanges: Exchanges) -> None:
        self._name = name
        self._peer = peer
        self._direction = direction
        self._exchanges = exchanges
        self._next: int | None = None  # sequence number of the next byte; None: the first segment tells
        self._pending: dict[int, bytes] = {}
        self._pending_bytes = 0
        self._acknowledged: int | None = None
        self._buffer = bytearray()
        self._in_step = False  # the buffer begins where a frame does
        self._skipped = 0
        self.has_data = False

    def feed(self, segment: Segment) -> Iterator[TracedFrame | Missing]:
        if segment.flags & SYN:
            self._next = (segment.sequence + 1) & 0xFFFFFFFF
            self._in_step = True
            return
        data = segment.data
        if not data:
            return
        self.has_data = True
        if self._next is None:
            self._next = segment.sequence
        ahead = (segment.sequence - self._next) & 0xFFFFFFFF
        if ahead >= 1 << 31:  # begins before what is next: sent again
            data = data[(1 << 32) - ahead :]
            ahead = 0
        if ahead:
            if len(data) > len(self._pending.get(segment.sequence, b"")):
                self._pending_bytes += len(data) - len(self._pending.get(segment.sequence, b""))
                self._pending[segment.sequence] = data
        elif data:
            yield from self._take(segment.time_us, data)
        yield from self._take_pending(segment.time_us)

    def acknowledge(self, time_us: int, acknowledged: int) -> Iterator[TracedFrame | Missing]:
        self._acknowledged = acknowledged
        if self._pending:
            yield from self._take_pending(time_us)

    def close(self, time_us: int) -> Iterator[TracedFrame | Missing]:
        while self._pending:
            yield from self._skip_gap(time_us)
            yield from self._take_pending(time_us)
        left = self._skipped + len(self._buffer)
        if left:
            yield self._missing(time_us, left)
        self._buffer.clear()
        self._skipped = 0

    def _take_pending(self, time_us: int) -> Iterator[TracedFrame | Missing]:
        while self._pending:
            assert self._next is not None
            first = min(self._pending, key=self._ahead)
            ahead = self._ahead(first)
            if ahead >= 0:
                if ahead and not self._is_lost(ahead) and self._pending_bytes <= MAX_PENDING_BYTES:
                    return
                if ahead:
                    yield from self._skip_gap(time_us)
            data = self._pending.pop(first)
            self._pending_bytes -= len(data)
            data = data[max(-self._ahead(first), 0) :]
            if data:
                yield from self._take(time_us, data)

    def _ahead(self, sequence: int) -> int:
        assert self._next is not None
        ahead = (sequence - self._next) & 0xFFFFFFFF
        return ahead if ahead < 1 << 31 else ahead - (1 << 32)

    def _is_lost(self, ahead: int) -> bool:
        """Tell whether the other end has acknowledged all that is missing here."""
        return self._acknowledged is not None and self._ahead(self._acknowledged) >= ahead

    def _skip_gap(self, time_us: int) -> Iterator[Missing]:
        first = min(self._pending, key=self._ahead)
        ahead = self._ahead(first)
        if ahead > 0:
            yield self._missing(time_us, ahead + len(self._buffer) + self._skipped)
            self._next = first
            self._buffer.clear()
            self._skipped = 0
            self._in_step = False

    def _missing(self, time_us: int, count: int) -> Missing:
        return Missing(time_us, self._name, self._direction, count)

    def _take(self, time_us: int, data: bytes) -> Iterator[TracedFrame | Missing]:
        """Take the next bytes of the stream."""
        assert self._next is not None
        self._next = (self._next + len(data)) & 0xFFFFFFFF
        if not self._in_step:
            if not self._looks_right(data):
                self._skipped += len(data)
                return
            self._in_step = True
            if self._skipped:
                yield self._missing(time_us, self._skipped)
                self._skipped = 0
        self._buffer += data
        while len(self._buffer) >= 4:
            size = int.from_bytes(self._buffer[:4], "big", signed=True)
            if not 0 <= size <= MAX_FRAME_BYTES:
                yield self._missing(time_us, len(self._buffer))
                self._buffer.clear()
                self._in_step = False
                return
            if len(self._buffer) < 4 + size:
                return
            frame = bytes(self._buffer[4 : 4 + size])
            del self._buffer[: 4 + size]
            yield self._traced(time_us, frame)

    def _looks_right(self, data: bytes) -> bool:
        if self._direction is Direction.REQUEST:
            return looks_like_request(data)
        size = int.from_bytes(data[:4], "big")
        correlation_id = int.from_bytes(data[4:8], "big", signed=True)
        return len(data) >= 8 and 4 <= size <= MAX_FRAME_BYTES and self._exchanges.awaits(self._name, correlation_id)

    def _traced(self, time_us: int, frame: bytes) -> TracedFrame:
        known = self._exchanges.request if self._direction is Direction.REQUEST else self._exchanges.response
        key, version = known(self._name, frame)
        data = public(self._direction, key, version, frame)
        return TracedFrame(time_us, self._name, self._peer, self._direction, key, version, data)


def looks_like_request(data: bytes) -> bool:
    """Tell whether a request seems to begin here."""
    size = int.from_bytes(data[:4], "big")
    known = known_request(data, 4)
    if known is None or len(data) < 14 or not 10 <= size <= MAX_FRAME_BYTES:
        return False
    client_id_bytes = int.from_bytes(data[12:14], "big", signed=True)
    if not -1 <= client_id_bytes <= size - 10:
        return False
    if 4 + size <= min(len(data), _LOOKED_AT_BYTES):
        return not any(walk_request(data[4 : 4 + size]).errors())
    return UNKNOWN not in known


def _text(address: Address) -> str:
    return f"{address[0]}:{address[1]}"

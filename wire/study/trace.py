"""The format of trace files: every frame of a broker or of a proxy, with time, connection and peer.

Format (numbers are big-endian, strings UTF-8 behind two bytes of length)
```
file    "KTRACE" 00 01, then records
record  size u32 (of what follows) | kind u8 | time_us i64 | api_key i16 | api_version i16
        connection string | peer string | the frame, without its size
```
Kinds: 0 request, 1 response, 2: frames were lost here, because they came faster than they could be written; the frame
is their number as u32.

Rules
- Each record can be understood by itself: a response says what it answers.
- A last record that is cut short, as a crash leaves it, is left out.
- The frames have been made public (exchanges.public) before they come here.
"""

from struct import Struct
from struct import error as StructError  # noqa: N812

import attrs

from wire.errors import ProtocolError
from wire.study.exchanges import Direction, TracedFrame

MAGIC = b"KTRACE\x00\x01"
MAX_RECORD_BYTES = 256 * 1024 * 1024

_COUNT = Struct(">I")
_HEAD = Struct(">IBqhh")  # the size is that of what follows it
_LENGTH = Struct(">H")
_LOST = 2


@attrs.frozen
class Lost:
    """So many frames are missing here."""

    time_us: int
    count: int


class Source:
    """A connection as records name it. `pack_head` writes all of a record but its frame, in `head_bytes`:

    source.pack_head(buffer, pos, source.head_bytes - 4 + len(frame), kind, time_us, api_key, api_version, source.ends)
    """

    __slots__ = ("connection", "ends", "head_bytes", "pack_head", "peer")

    def __init__(self, connection: str, peer: str) -> None:
        self.connection = connection
        self.peer = peer
        parts = [text.encode()[:65535] for text in (connection, peer)]
        self.ends = b"".join(_LENGTH.pack(len(part)) + part for part in parts)
        head = Struct(f"{_HEAD.format}{len(self.ends)}s")
        self.head_bytes = head.size
        self.pack_head = head.pack_into


def encode(event: TracedFrame | Lost) -> bytes:
    """Return the record of a frame, or of a loss."""
    if isinstance(event, Lost):
        source, kind, key, version, frame = Source("", ""), _LOST, 0, 0, _COUNT.pack(event.count)
    else:
        _, connection, peer, kind, key, version, data, _ = event
        source, frame = Source(connection, peer), bytes(data)
    head = bytearray(source.head_bytes)
    source.pack_head(head, 0, len(head) - 4 + len(frame), kind, event.time_us, key, version, source.ends)
    return bytes(head) + frame


def is_trace(start: bytes) -> bool:
    return start[: len(MAGIC)] == MAGIC


class TraceDecoder:
    """Takes the bytes of a trace in pieces of any size and gives the records that are complete."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._has_begun = False
        self._broken: ProtocolError | None = None

    def feed(self, data: bytes) -> list[TracedFrame | Lost]:
        """Raises: ProtocolError where this is no trace, or no longer one, when all before has been given."""
        self._kept += data
        found: list[TracedFrame | Lost] = []
        if self._broken is None:
            try:
                self._read(found)
            except ProtocolError as error:
                self._broken = error
        if self._broken is not None and not found:
            raise self._broken
        return found

    def _read(self, found: list[TracedFrame | Lost]) -> None:
        kept, pos = self._kept, 0
        if not self._has_begun:
            if len(kept) < len(MAGIC):
                return
            if not is_trace(bytes(kept[: len(MAGIC)])):
                raise ProtocolError("this is no trace file")
            self._has_begun = True
            pos = len(MAGIC)
        try:
            while len(kept) - pos >= 4:
                (size,) = _COUNT.unpack_from(kept, pos)
                if size > MAX_RECORD_BYTES:
                    raise ProtocolError(f"a record of {size} bytes")
                if len(kept) - pos - 4 < size:
                    break
                found.append(_decode(bytes(kept[pos : pos + 4 + size])))
                pos += 4 + size
        finally:
            del kept[:pos]


def _decode(record: bytes) -> TracedFrame | Lost:
    try:
        _, kind, time_us, key, version = _HEAD.unpack_from(record)
        connection, pos = _string(record, _HEAD.size)
        peer, pos = _string(record, pos)
        if kind == _LOST:
            return Lost(time_us, _COUNT.unpack_from(record, pos)[0])
        return TracedFrame(time_us, connection, peer, Direction(kind), key, version, record[pos:])
    except (ValueError, IndexError, StructError) as error:
        raise ProtocolError(f"a record of a trace that cannot be read: {error}") from None


def _string(record: bytes, pos: int) -> tuple[str, int]:
    (size,) = _LENGTH.unpack_from(record, pos)
    end = pos + 2 + size
    if end > len(record):
        raise ProtocolError("a string of a trace that is longer than its record")
    return record[pos + 2 : end].decode("utf-8", "replace"), end

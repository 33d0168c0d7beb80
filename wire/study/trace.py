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

_SIZE = Struct(">I")
_HEAD = Struct(">Bqhh")
_LENGTH = Struct(">H")
_LOST = 2


@attrs.frozen
class Lost:
    """So many frames are missing here."""

    time_us: int
    count: int


def encode_frame(frame: TracedFrame) -> bytes:
    """Return the record of a frame."""
    connection, peer = frame.connection.encode()[:65535], frame.peer.encode()[:65535]
    head = _HEAD.pack(frame.direction, frame.time_us, frame.api_key, frame.api_version)
    size = len(head) + 4 + len(connection) + len(peer) + len(frame.data)
    return b"".join(
        (_SIZE.pack(size), head, _LENGTH.pack(len(connection)), connection, _LENGTH.pack(len(peer)), peer, frame.data)
    )


def encode_lost(lost: Lost) -> bytes:
    body = _HEAD.pack(_LOST, lost.time_us, 0, 0) + bytes(4) + _SIZE.pack(lost.count)
    return _SIZE.pack(len(body)) + body


def is_trace(start: bytes) -> bool:
    return start[: len(MAGIC)] == MAGIC


class TraceDecoder:
    """Takes the bytes of a trace in pieces of any size and gives the records that are complete."""

    def __init__(self) -> None:
        self._kept = b""
        self._has_begun = False

    def feed(self, data: bytes) -> list[TracedFrame | Lost]:
        """Raises: ProtocolError where this is no trace."""
        buffer = self._kept + data
        found: list[TracedFrame | Lost] = []
        pos = 0
        if not self._has_begun:
            if len(buffer) < len(MAGIC):
                self._kept = buffer
                return found
            if not is_trace(buffer):
                raise ProtocolError("this is no trace file")
            self._has_begun = True
            pos = len(MAGIC)
        while len(buffer) - pos >= 4:
            (size,) = _SIZE.unpack_from(buffer, pos)
            if size > MAX_RECORD_BYTES:
                raise ProtocolError(f"a record of {size} bytes")
            if len(buffer) - pos - 4 < size:
                break
            pos += 4 + size
            found.append(_decode(buffer[pos - size : pos]))
        self._kept = buffer[pos:]
        return found


def _decode(record: bytes) -> TracedFrame | Lost:
    try:
        kind, time_us, key, version = _HEAD.unpack_from(record)
        connection, pos = _string(record, _HEAD.size)
        peer, pos = _string(record, pos)
        if kind == _LOST:
            return Lost(time_us, _SIZE.unpack_from(record, pos)[0])
        return TracedFrame(time_us, connection, peer, Direction(kind), key, version, record[pos:])
    except (ValueError, IndexError, StructError) as error:
        raise ProtocolError(f"a record of a trace that cannot be read: {error}") from None


def _string(record: bytes, pos: int) -> tuple[str, int]:
    (size,) = _LENGTH.unpack_from(record, pos)
    end = pos + 2 + size
    if end > len(record):
        raise ProtocolError("a string of a trace that is longer than its record")
    return record[pos + 2 : end].decode("utf-8", "replace"), end

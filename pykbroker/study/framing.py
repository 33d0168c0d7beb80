"""Frames over anyio's byte streams, for tools that are not on the broker's hot path."""

from struct import Struct

import anyio
from anyio.abc import ByteReceiveStream

MAX_FRAME_BYTES = 128 * 1024 * 1024
_SIZE = Struct(">i")


class FramingError(Exception):
    """The stream does not consist of frames."""


class FrameReader:
    def __init__(self, stream: ByteReceiveStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def read(self) -> bytes | None:
        """Return the next frame without its size, None at the end of the stream.

        Raises: FramingError, anyio.BrokenResourceError.
        """
        while True:
            if len(self._buffer) >= 4:
                (size,) = _SIZE.unpack_from(self._buffer)
                if not 0 <= size <= MAX_FRAME_BYTES:
                    raise FramingError(f"a frame of {size} bytes")
                if len(self._buffer) >= 4 + size:
                    frame = bytes(self._buffer[4 : 4 + size])
                    del self._buffer[: 4 + size]
                    return frame
            try:
                self._buffer += await self._stream.receive()
            except anyio.EndOfStream:
                if self._buffer:
                    raise FramingError("the stream ends in the middle of a frame") from None
                return None


def framed(data: bytes) -> bytes:
    return _SIZE.pack(len(data)) + data

"""Messages between the broker and the console's worker, over a pair of connected sockets.

Format: size of the head u32, size of the body u32, the head in JSON, the body as it is.

Rules
- A message is sent whole; who is cancelled in the middle of one has broken the channel.
- `receive` may be cancelled: what has come so far is kept for the next call.
- What is larger than MAX_MESSAGE_BYTES is neither sent nor received.
"""

import json
import socket
import struct
from typing import Any, NamedTuple

import anyio

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_RECEIVE_BYTES = 256 * 1024
_SIZES = struct.Struct(">II")


class Message(NamedTuple):
    head: dict[str, Any]
    body: bytes = b""


class Channel:
    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._socket = sock
        self._received = bytearray()
        self._sending = anyio.Lock()

    async def send(self, message: Message) -> None:
        """Raises: OSError where the other side is gone, ValueError where the message is too large."""
        head = json.dumps(message.head).encode()
        if len(head) + len(message.body) > MAX_MESSAGE_BYTES:
            raise ValueError(f"a message of {len(head) + len(message.body)} bytes")
        async with self._sending:
            for part in (_SIZES.pack(len(head), len(message.body)) + head, message.body):
                await self._send(memoryview(part))

    async def _send(self, left: memoryview) -> None:
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)

    async def receive(self) -> Message:
        """Raises: EOFError, OSError where the other side is gone."""
        while True:
            if len(self._received) >= _SIZES.size:
                head_size, body_size = _SIZES.unpack_from(self._received)
                if head_size + body_size > MAX_MESSAGE_BYTES:
                    raise EOFError("the other side makes no sense")
                start, end = _SIZES.size + head_size, _SIZES.size + head_size + body_size
                if len(self._received) >= end:
                    message = Message(
                        json.loads(self._received[_SIZES.size : start]), bytes(memoryview(self._received)[start:end])
                    )
                    del self._received[:end]
                    return message
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
            else:
                if not data:
                    raise EOFError
                self._received += data

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)
            self._socket.close()

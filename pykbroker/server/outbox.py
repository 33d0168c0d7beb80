"""The bytes that a connection has yet to send: memory, and slices of files that go out by sendfile.

Rules
- Adjacent pieces of memory leave in one send; small slices are read into memory, as one system call more costs more than
  copying them.
- A piece is dropped as soon as it is sent; what a partial send left is kept as a view.
- Data that is not in the page cache is read by a thread first, so that a cold read stalls nobody else.
"""

import os
import socket
from collections import deque
from collections.abc import Iterable

import anyio
import anyio.to_thread

from pykbroker.log.files import FileSlice
from pykbroker.metrics import Metrics
from wire.schema import Records

COPY_BELOW_BYTES = 32 * 1024


class Outbox:
    __slots__ = ("_is_cold", "_pieces", "_socket")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._pieces: deque[Records] = deque()
        self._is_cold = False

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def extend(self, chunks: Iterable[Records]) -> None:
        self._pieces.extend(chunks)

    def clear(self) -> None:
        self._pieces.clear()

    def send(self, metrics: Metrics) -> bool:
        """Send until all is sent (True) or the socket or a cold file would block (False). Raises: OSError."""
        pieces = self._pieces
        try:
            while pieces:
                piece = pieces[0]
                if not isinstance(piece, FileSlice):
                    metrics.bytes_out_total += self._send_memory()
                elif not piece.is_resident():
                    self._is_cold = True
                    return False
                elif len(piece) < COPY_BELOW_BYTES:
                    pieces[0] = piece.read()
                else:
                    metrics.bytes_out_total += self._send_slice(piece)
        except BlockingIOError:
            return False
        return True

    async def send_when_writable(self, metrics: Metrics) -> bool:
        if self._is_cold:
            piece = self._pieces[0]
            assert isinstance(piece, FileSlice)
            await anyio.to_thread.run_sync(_read_through, piece)
            self._is_cold = False
        else:
            await anyio.wait_writable(self._socket)
        return self.send(metrics)

    def _send_memory(self) -> int:
        """Send the pieces up to the next slice that is large or cold."""
        pieces = self._pieces
        run: list[bytes | bytearray | memoryview] = []
        while pieces:
            piece = pieces[0]
            if isinstance(piece, FileSlice):
                if len(piece) >= COPY_BELOW_BYTES or not piece.is_resident():
                    break
                run.append(piece.read())
            else:
                assert isinstance(piece, bytes | bytearray | memoryview)
                run.append(piece)
            pieces.popleft()
        data = b"".join(run) if len(run) > 1 else run[0]
        try:
            sent = self._socket.send(data, socket.MSG_MORE if pieces else 0)
        except BlockingIOError:
            pieces.appendleft(data)
            raise
        if sent < len(data):
            pieces.appendleft(memoryview(data)[sent:])
        return sent

    def _send_slice(self, piece: FileSlice) -> int:
        sent = os.sendfile(self._socket.fileno(), piece.fileno(), piece.position, len(piece))
        if sent == 0:
            raise ConnectionAbortedError("a log segment became shorter while it was being sent")
        if sent == len(piece):
            self._pieces.popleft()
        else:
            self._pieces[0] = piece.after(sent)
        return sent


def _read_through(piece: FileSlice) -> None:
    piece.read()

"""The bytes that a connection has yet to send: memory, and slices of files that go out by sendfile.

Rules
- Adjacent pieces of memory leave in one send; small slices are read into memory, as one system call more costs more
  than copying them.
- A piece is dropped as soon as it is sent; what a partial send left is kept as a view.
- Data that is not in the page cache is read by a thread first, so that a cold read stalls nobody else. Slices are
  looked at and sent a window at a time: a slow reader of a large one costs neither memory nor a look at all of it again
  and again.
"""

import os
import socket
from collections import deque

import anyio
import anyio.to_thread

from pykbroker.log.files import FileSlice
from pykbroker.metrics import Metrics
from wire.schema import Records

COPY_BELOW_BYTES = 32 * 1024
WINDOW_BYTES = 1024 * 1024
MAX_RUN_BYTES = 256 * 1024  # of memory, small slices read into it among that, put together for one send

_SHORTER = "a log segment became shorter while it was being sent"


class Outbox:
    __slots__ = ("_is_warmed", "_pieces", "_socket", "is_cold", "unsent_bytes")

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._pieces: deque[Records] = deque()
        self.is_cold = False  # `warm` is needed before more can be sent
        self._is_warmed = False  # that has been done: it is sent without asking again whether it is in the page cache
        self.unsent_bytes = 0  # memory that answers take, also those that wait for their turn: see `memory_of`

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def add(self, chunks: bytes | list[Records]) -> None:
        """Take an answer, in one piece or in several."""
        if isinstance(chunks, bytes):
            self.unsent_bytes += len(chunks)
            self._pieces.append(chunks)
        else:
            self.announce(chunks)
            self.add_announced(chunks)

    def announce(self, chunks: bytes | list[Records]) -> None:
        """Count an answer that waits for its turn."""
        self.unsent_bytes += memory_of(chunks)

    def add_announced(self, chunks: bytes | list[Records]) -> None:
        """Take an answer that was counted."""
        if isinstance(chunks, bytes):
            self._pieces.append(chunks)
        else:
            self._pieces.extend(chunks)

    def close(self) -> None:
        """Drop what is there and what comes: the stream may end in the middle of an answer."""
        self._pieces = deque(maxlen=0)
        self.is_cold = False
        self.unsent_bytes = 0

    def send(self, metrics: Metrics) -> bool:
        """Send until all is sent (True) or the socket or a cold file would block (False). Raises: OSError."""
        pieces = self._pieces
        try:
            while pieces:
                piece = pieces[0]
                if not isinstance(piece, FileSlice):
                    sent = self._send_memory()
                elif not self._is_warmed and not _window(piece).is_resident():
                    self.is_cold = True
                    return False
                elif len(piece) < COPY_BELOW_BYTES:
                    pieces[0] = _read(piece)
                    self._is_warmed = False
                    continue
                else:
                    sent = self._send_slice(piece)
                    self._is_warmed = False
                metrics.bytes_out_total += sent
        except BlockingIOError:
            return False
        return True

    async def warm(self) -> None:
        """Have a thread read what is sent next, so that it is in the page cache. Raises: OSError."""
        if self.is_cold:
            piece = self._pieces[0]
            assert isinstance(piece, FileSlice)
            await anyio.to_thread.run_sync(_read, _window(piece))
            self.is_cold = False
            self._is_warmed = True

    def _send_memory(self) -> int:
        """Send the pieces up to the next slice that is large or cold."""
        pieces = self._pieces
        run: list[bytes | bytearray | memoryview] = []
        size = 0
        while pieces and size < MAX_RUN_BYTES:
            piece = pieces[0]
            if isinstance(piece, FileSlice):
                if len(piece) >= COPY_BELOW_BYTES or not piece.is_resident():
                    break
                run.append(_read(piece))
            else:
                assert isinstance(piece, bytes | bytearray | memoryview)
                run.append(piece)
            size += len(run[-1])
            pieces.popleft()
        data = b"".join(run) if len(run) > 1 else run[0]
        try:
            sent = self._socket.send(data, socket.MSG_MORE if pieces else 0)
        except BlockingIOError:
            pieces.appendleft(data)
            raise
        if sent < size:
            pieces.appendleft(memoryview(data)[sent:])
        self.unsent_bytes -= sent
        return sent

    def _send_slice(self, piece: FileSlice) -> int:
        sent = os.sendfile(self._socket.fileno(), piece.fileno(), piece.position, min(len(piece), WINDOW_BYTES))
        if sent == 0:
            raise ConnectionAbortedError(_SHORTER)
        self.unsent_bytes -= COPY_BELOW_BYTES
        if sent == len(piece):
            self._pieces.popleft()
        else:
            self._pieces[0] = rest = piece.after(sent)
            self.unsent_bytes += min(len(rest), COPY_BELOW_BYTES)
        return sent


def memory_of(chunks: bytes | list[Records]) -> int:
    """Return the memory that an answer takes until it is sent: of a slice only what may have to be read into it."""
    if isinstance(chunks, bytes):
        return len(chunks)
    return sum(min(len(chunk), COPY_BELOW_BYTES) if isinstance(chunk, FileSlice) else len(chunk) for chunk in chunks)


def _window(piece: FileSlice) -> FileSlice:
    """What of a slice is sent next."""
    return piece if len(piece) <= WINDOW_BYTES else FileSlice(piece.file, piece.position, WINDOW_BYTES)


def _read(piece: FileSlice) -> bytes:
    data = piece.read()
    if len(data) != len(piece):  # the size of the answer has been promised: there is no way to go on
        raise ConnectionAbortedError(_SHORTER)
    return data

"""A recorder's sink that writes a trace file, at little processor time for each byte.

Rules
- What is to be written is gathered in one buffer that is used again and again, and written from there.
- Long runs of it go past the page cache (O_DIRECT), for which fresh pages cost many times what the copying does. What
  fills no whole block at either end of a run goes through it, as do short runs; no page is written in both ways.
- A file system that refuses that gets ordinary writes.
- A slice whose file became shorter meanwhile (its client got no answer either) is filled up with zeros.

Format: wire.study.trace.
"""

import errno
import mmap
import os
from collections.abc import Sequence
from pathlib import Path

from pykbroker.log.files import FileSlice
from pykbroker.study.frames import LongFrame
from pykbroker.study.recorder import Event, Sink
from wire.primitives import Buffer
from wire.study.trace import MAGIC, TraceEncoder

STAGED_BYTES = 2 * 1024 * 1024
DIRECT_BYTES = 256 * 1024  # shorter runs are not worth waiting for the disk
BLOCK_BYTES = 4096  # what O_DIRECT wants offsets, lengths and memory to be multiples of
_JOINED_BYTES = 1024  # frames up to that size cost less when they are joined first


class TraceFile(Sink):
    def __init__(self, path: Path) -> None:
        """Begin a new file. Raises: OSError."""
        self._file = StagedFile(path)
        self._encoder = TraceEncoder()
        self._file.add(MAGIC)
        self._file.flush()

    def write(self, events: Sequence[Event]) -> None:
        file = self._file
        small: list[Buffer] = []
        for event in events:
            if isinstance(event, LongFrame):
                rest = event.rest
                *heads, data = self._encoder.pieces(event.start, len(event) - len(event.start.data))
            else:
                rest = ()
                *heads, data = self._encoder.pieces(event)
            small += heads
            if len(data) <= _JOINED_BYTES and not rest:
                small.append(data)
                continue
            file.add(b"".join(small))
            small.clear()
            file.add(data)
            for piece in rest:
                if isinstance(piece, FileSlice):
                    file.add_slice(piece)
                else:
                    file.add(piece)
        file.add(b"".join(small))
        file.flush()

    def close(self) -> None:
        self._file.close()


class StagedFile:
    """A new file, written from its beginning to its end. All but `close` raise OSError where it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self._direct_fd = _open_direct(path)
        self._buffer = memoryview(mmap.mmap(-1, STAGED_BYTES))
        # What is staged. Its distance from a block's start is the same in the buffer as in the file.
        self._start = 0
        self._end = 0
        self._position = 0  # of the start, in the file

    def add(self, data: Buffer) -> None:
        rest = memoryview(data)
        while rest:
            part = self._room()[: len(rest)]
            part[:] = rest[: len(part)]
            self._end += len(part)
            rest = rest[len(part) :]

    def add_slice(self, piece: FileSlice) -> None:
        done = 0
        while done < len(piece):
            part = self._room()[: len(piece) - done]
            read = os.preadv(piece.fileno(), [part], piece.position + done)
            part[read:] = bytes(len(part) - read)
            self._end += len(part)
            done += len(part)

    def _room(self) -> memoryview:
        if self._end == STAGED_BYTES:
            self.flush()
        return self._buffer[self._end :]

    def flush(self) -> None:
        """Write what is staged."""
        first = -(-self._start // BLOCK_BYTES) * BLOCK_BYTES
        last = self._end // BLOCK_BYTES * BLOCK_BYTES
        if self._direct_fd is not None and last - first >= DIRECT_BYTES:
            self._write(first)
            self._write_direct(self._direct_fd, last)
        self._write(self._end)
        self._start = self._end = self._position % BLOCK_BYTES

    def _write(self, end: int) -> None:
        """Write up to a place in the buffer."""
        while self._start < end:
            self._move(os.pwrite(self._fd, self._buffer[self._start : end], self._position))

    def _write_direct(self, fd: int, end: int) -> None:
        """Write up to a place in the buffer; what the file system does not take so is left."""
        try:
            self._move(os.pwrite(fd, self._buffer[self._start : end], self._position))
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            os.close(fd)
            self._direct_fd = None

    def _move(self, written: int) -> None:
        self._start += written
        self._position += written

    def close(self) -> None:
        for fd in (self._fd, self._direct_fd):
            if fd is not None:
                os.close(fd)


def _open_direct(path: Path) -> int | None:
    try:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_DIRECT)
    except (AttributeError, OSError):  # an operating system, or a file system, that has no such thing
        return None

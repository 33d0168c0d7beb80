"""Where a trace is written to: a file, at little processor time for each byte, or a pipe.

Rules
- Whole chunks go past the page cache (O_DIRECT), for which fresh pages cost many times what the copying does. What is
  less goes through it, as does all that follows while the disk is behind: it takes bursts that no disk does. No page is
  written in both ways.
- A file system that refuses that gets ordinary writes; so does what is no regular file, such as a FIFO.
- With a limit, FILE that is half as large becomes FILE.1, in place of the last one, and is begun anew.

Not here: what is written (recorder).
"""

import errno
import os
import stat
from pathlib import Path

from pykbroker.study.recorder import CHUNK_BYTES, Sink

BLOCK_BYTES = 4096  # what O_DIRECT wants offsets, lengths and memory to be multiples of
MIN_LIMIT_BYTES = 2 * CHUNK_BYTES


class TraceFile(Sink):
    def __init__(self, path: Path, max_bytes: int | None = None) -> None:
        """Begin a new file. Raises: OSError; ValueError where it cannot have that limit, with a message for people."""
        self._path = path
        self._older_path = Path(f"{path}.1")
        if max_bytes is not None:
            if max_bytes < MIN_LIMIT_BYTES:
                raise ValueError(f"a limit of less than {MIN_LIMIT_BYTES} bytes")
            if path.exists() and not path.is_file():
                raise ValueError("only a file can have a limit")
            self.max_file_bytes = max_bytes // 2 // CHUNK_BYTES * CHUNK_BYTES
            self._older_path.unlink(missing_ok=True)  # of a trace before this one
        self._open()

    def _open(self) -> None:
        fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
        self._fd: int | None = fd
        self._is_regular = stat.S_ISREG(os.fstat(fd).st_mode)
        self._direct_fd = _open_direct(self._path) if self._is_regular else None
        self._position = 0

    def write(self, data: memoryview, *, is_behind: bool) -> None:
        if self._direct_fd is not None and not is_behind and len(data) == CHUNK_BYTES:
            data = data[self._write_direct(self._direct_fd, data) :]
        while data:
            data = data[self._write(data) :]

    def _write(self, data: memoryview) -> int:
        assert self._fd is not None
        if not self._is_regular:
            return os.write(self._fd, data)
        written = os.pwrite(self._fd, data, self._position)
        self._position += written
        return written

    def _write_direct(self, fd: int, data: memoryview) -> int:
        """Write a whole chunk as far as the file system takes it so, and return how much that is."""
        if self._position % BLOCK_BYTES:
            return 0
        try:
            written = os.pwrite(fd, data, self._position)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            os.close(fd)
            self._direct_fd = None
            return 0
        self._position += written
        return written

    def next_file(self) -> None:
        self.close()
        self._path.replace(self._older_path)
        self._open()

    def close(self) -> None:
        for fd in (self._fd, self._direct_fd):
            if fd is not None:
                os.close(fd)
        self._fd = self._direct_fd = None


def _open_direct(path: Path) -> int | None:
    try:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_DIRECT)
    except (AttributeError, OSError):  # an operating system, or a file system, that has no such thing
        return None

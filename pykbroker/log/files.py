"""Files of the log: opened when needed, a bounded number of them at a time.

Owns: the file descriptors of segments and indexes. Rules
- A `LogFile` opens itself on use; the pool closes the least recently used ones beyond its limit.
- An `OpenFile` is closed when nobody refers to it, so that a slice being sent outlives the closing, the renaming and
  the deletion of its file.
- All reads and writes name their position: a write that failed half-way is overwritten by the next.
"""

import contextlib
import os
from collections import deque
from pathlib import Path


class OpenFile:
    """A file descriptor, closed with the last reference to it."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def fileno(self) -> int:
        return self.fd

    def __del__(self) -> None:
        os.close(self.fd)


_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)
_PROBED_EVERY_BYTES = 256 * 1024  # the cache is filled, and mostly emptied, in runs of about this size


class FileSlice:
    """Bytes of a segment, to be sent with sendfile; keeps its file open."""

    __slots__ = ("file", "length", "position")

    def __init__(self, file: OpenFile, position: int, length: int) -> None:
        self.file = file
        self.position = position
        self.length = length

    def __len__(self) -> int:
        return self.length

    def fileno(self) -> int:
        return self.file.fd

    def read(self) -> bytes:
        return os.pread(self.file.fd, self.length, self.position)

    def read_resident(self) -> bytes:
        """Return its start, as far as that can be had without waiting for the disk."""
        data = bytearray(self.length)
        try:
            count = os.preadv(self.file.fd, [data], self.position, _NOWAIT or 0)
        except BlockingIOError:
            return b""
        except OSError:  # this file system cannot tell
            return self.read()
        return bytes(memoryview(data)[:count])

    def after(self, sent: int) -> "FileSlice":
        """Return what is left when the first `sent` bytes are gone."""
        return FileSlice(self.file, self.position + sent, self.length - sent)

    def is_resident(self) -> bool:
        """Tell whether all of it seems to be in the page cache, so that reading it will not wait for the disk."""
        if _NOWAIT is None:
            return True
        last = self.position + self.length - 1
        probe = [bytearray(1)]
        try:
            for position in (*range(self.position, last, _PROBED_EVERY_BYTES), last):
                os.preadv(self.file.fd, probe, position, _NOWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True  # this file system cannot tell
        return True


class FilePool:
    """Bounds how many files are open, by closing those that were not used since the pool last looked at them."""

    def __init__(self, max_open: int) -> None:
        self.max_open = max_open
        self._files: deque[LogFile] = deque()

    def __len__(self) -> int:
        return len(self._files)

    def add(self, file: "LogFile") -> None:
        files = self._files
        while len(files) >= self.max_open:
            oldest = files.popleft()
            if oldest.open_file is None:
                continue
            if oldest.used:
                oldest.used = False
                files.append(oldest)
            else:
                oldest.open_file = None
        files.append(file)


class LogFile:
    """One file of a partition, which need not exist yet."""

    __slots__ = ("open_file", "path", "pool", "used")

    def __init__(self, path: str, pool: FilePool) -> None:
        self.path = path
        self.pool = pool
        self.open_file: OpenFile | None = None
        self.used = False

    def open(self, *, create: bool = False) -> OpenFile:
        """Return the open file; with `create`, make it if it is missing. Raises: OSError."""
        self.used = True
        if self.open_file is None:
            self.open_file = OpenFile(
                os.open(self.path, os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0), 0o644)
            )
            self.pool.add(self)
        return self.open_file

    def close(self) -> None:
        self.open_file = None

    def read_at(self, position: int, length: int) -> bytes:
        """Return `length` bytes, fewer at the end of the file."""
        return os.pread(self.open().fd, length, position)

    def write_at(self, position: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data`, creating the file if it is missing. Raises: OSError."""
        fd = (self.open_file or self.open(create=True)).fd
        self.used = True
        written = os.pwrite(fd, data, position)
        size = len(data)
        if written != size:
            view = memoryview(data)
            while written < size:
                written += os.pwrite(fd, view[written:], position + written)

    def append_at(self, position: int, data: bytes | bytearray | memoryview, size: int) -> None:
        """Write all `size` bytes of `data` at the end of the file, or leave the file as it was. Raises: OSError."""
        file = self.open_file or self.open(create=True)
        self.used = True
        try:
            if os.pwrite(file.fd, data, position) != size:
                self.write_at(position, data)
        except OSError:
            with contextlib.suppress(OSError):  # if this fails too, the next write or recovery cuts what is there
                self.truncate(position)
            raise

    def size(self) -> int:
        """The file's size on disk; 0 if it is missing."""
        try:
            return os.stat(self.path).st_size
        except FileNotFoundError:
            return 0

    def exists(self) -> bool:
        return self.open_file is not None or os.path.exists(self.path)

    def truncate(self, size: int) -> None:
        os.ftruncate(self.open(create=True).fd, size)

    def rename(self, path: str) -> None:
        """Rename the file, if it exists."""
        with contextlib.suppress(FileNotFoundError):
            os.rename(self.path, path)
        self.path = path

    def remove(self) -> None:
        self.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


def write_atomically(path: Path | str, data: bytes, *, sync: bool) -> None:
    """Replace a small file by way of a temporary one, so that a crash leaves the old or the new content.

    With `sync`, also a loss of power does. Raises: OSError.
    """
    temporary = f"{path}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, data)
        if sync:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)
    if sync:
        sync_directory(os.path.dirname(path))


def sync_directory(path: Path | str) -> None:
    """Flush a directory, so that files created and renamed in it survive a loss of power."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

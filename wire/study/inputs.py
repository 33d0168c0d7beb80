"""What is decoded: a file, or what comes through a pipe, looked at before it is read, and read as it comes.

Rules
- `peek` takes nothing away, so that what the input is can be told without seeking, which pipes do not know.
- `read_some` returns what has arrived instead of waiting for more: who pipes tcpdump into us sees frames at once.
- With `follow`, the end of a file is not the end: it is being written.
"""

import time
from typing import BinaryIO

FOLLOW_PAUSE_S = 0.2


class Input:
    def __init__(self, file: BinaryIO, *, follow: bool = False) -> None:
        self._file = file
        self._follow = follow
        self._kept = b""
        self.is_live = follow or not file.seekable()

    def peek(self, size: int) -> bytes:
        """Return so many bytes of the start, fewer only where there are no more."""
        self._fill(size)
        return self._kept[:size]

    def read(self, size: int) -> bytes:
        """Return so many bytes, fewer only at the end."""
        self._fill(size)
        data, self._kept = self._kept[:size], self._kept[size:]
        return data

    def read_some(self, size: int) -> bytes:
        """Return what is there, up to so many bytes, but for the end at least one."""
        if self._kept:
            return self.read(min(size, len(self._kept)))
        return self._next(size)

    def read_all(self) -> bytes:
        data, self._kept = self._kept + self._file.read(), b""
        return data

    def _fill(self, size: int) -> None:
        if len(self._kept) >= size:
            return
        parts, left = [self._kept], size - len(self._kept)
        while left > 0 and (data := self._next(left)):
            parts.append(data)
            left -= len(data)
        self._kept = b"".join(parts)

    def _next(self, size: int) -> bytes:
        read = getattr(self._file, "read1", self._file.read)
        while True:
            data: bytes = read(size)
            if data or not self._follow:
                return data
            time.sleep(FOLLOW_PAUSE_S)

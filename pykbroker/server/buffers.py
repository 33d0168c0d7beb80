"""Memory that requests are received into.

Owns: the scratch buffer that all connections receive into (only one runs at a time, and it copies what is left before
it awaits anything), and a small pool of buffers for frames that do not fit in it.

Rules: a large frame's buffer grows with the bytes that really arrive, so that a size field alone costs nothing;
anonymous maps are used because their pages stay untouched until then. A buffer that is given back is used for the next
large frame.
"""

import mmap

SCRATCH_BYTES = 256 * 1024
LARGE_BYTES = 2 * 1024 * 1024
MAX_POOLED = 4


class Buffers:
    def __init__(self) -> None:
        self.scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._pool: list[memoryview] = []

    def take(self) -> memoryview:
        """Return a buffer to start a large frame in; it may be smaller than the frame."""
        if self._pool:
            return self._pool.pop()
        return memoryview(mmap.mmap(-1, LARGE_BYTES))

    def grow(self, buffer: memoryview, frame_bytes: int) -> memoryview:
        """Return a larger buffer that starts with the contents of a full one."""
        larger = memoryview(mmap.mmap(-1, min(2 * len(buffer), max(frame_bytes, LARGE_BYTES))))
        larger[: len(buffer)] = buffer
        self.give(buffer)
        return larger

    def give(self, buffer: memoryview) -> None:
        if len(buffer) == LARGE_BYTES and len(self._pool) < MAX_POOLED:
            self._pool.append(buffer)

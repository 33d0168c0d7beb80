"""A subscriber that records frames as a trace: encoded on the event loop, written by a thread of its own.

    with record(frames, TraceFile(path)): …

Owns: chunks of CHUNK_BYTES, filled one after the other; records run across their ends. The loop fills the current one
and appends it to `_full`; the thread writes it and gives it back by `_free`.

Rules
- A frame is copied once, by the loop, into the memory that is written. Of a slice of a file only the room is kept: the
  thread reads it there. Nothing but reading and writing is left to the thread, so that it hardly needs the interpreter.
- Chunks are used again, the last one first: fresh memory costs more than copying.
- What is not whole is written when INTERVAL_S have brought nothing new.
- A frame for which more than `max_chunks` would be needed is lost, and counted where it is missing; an only one is
  taken whatever its size. Neither a slow disk nor a terminal that nobody scrolls holds up the broker, or its end for
  longer than CLOSE_S.
- A sink that fails ends the recording, with one line in the log.
- A slice whose file became shorter meanwhile (its client got no answer either) is filled up with zeros.

Not here: where it is written to (trace_file, explainer). Format: wire.study.trace.
"""

import contextlib
import logging
import mmap
import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from pykbroker.log.files import FileSlice
from pykbroker.study.frames import FrameKind, Frames, Piece, Subscriber
from wire.primitives import Buffer
from wire.study.trace import MAGIC, Lost, Source, encode

logger = logging.getLogger("pykbroker.study")

CHUNK_BYTES = 2 * 1024 * 1024
MAX_CHUNKS = 32
MAX_JOINED = 256  # slices that are read in one go
INTERVAL_S = 0.02
IDLE_INTERVAL_S = 0.1  # while nothing comes
CLOSE_S = 5.0


class Sink(ABC):
    """Where a recorder's thread writes."""

    max_chunks = MAX_CHUNKS  # that may be waiting
    max_file_bytes: int | None = None  # where a trace goes on in another file: a multiple of CHUNK_BYTES

    @abstractmethod
    def write(self, data: memoryview, *, is_behind: bool) -> None:
        """Write all of that; `is_behind`: much is waiting. Raises: OSError."""

    def next_file(self) -> None:
        """Go on with a new file. Raises: OSError."""
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None: ...


class _Chunk:
    """`filled` and `places` grow by the loop, a place before the room that it stands for; the rest is the thread's."""

    __slots__ = ("ends_file", "filled", "memory", "places", "view", "written")

    def __init__(self) -> None:
        self.memory = mmap.mmap(-1, CHUNK_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):  # a kernel without them
                self.memory.madvise(mmap.MADV_HUGEPAGE)  # one page to be pinned for a write, rather than 512
        self.view = memoryview(self.memory)
        self.places: deque[tuple[int, FileSlice]] = deque()  # where a slice is to be read to
        self.filled = 0
        self.written = 0
        self.ends_file = False

    def clear(self) -> None:
        self.filled = self.written = 0
        self.ends_file = False


class Recorder(Subscriber):
    def __init__(self, sink: Sink, close_s: float = CLOSE_S) -> None:
        self._sink = sink
        self._close_s = close_s
        self._chunk = _Chunk()
        self._full: deque[_Chunk] = deque()
        self._free: list[_Chunk] = []
        self._file_bytes = 0  # of the file that is being filled, in chunks before this one
        self._lost = 0  # since the last frame that was taken
        self._lost_since_us = 0
        self.on_failure: Callable[[], None] = lambda: None  # called on the loop
        self._has_ended = False
        self._is_closing = False
        self._wanted = threading.Event()  # set: the thread does not wait for the next interval
        self._put(MAGIC)
        self._thread = threading.Thread(target=self._run, name="trace", daemon=True)
        self._thread.start()

    # On the event loop

    def offer(self, source: Source, time_us: int, kind: FrameKind, data: Buffer, rest: Sequence[Piece], /) -> None:
        chunk = self._chunk
        pos = chunk.filled
        start = pos + source.head_bytes
        end = start + len(data)
        whole = end + sum(map(len, rest)) if rest else end
        if whole >= CHUNK_BYTES or self._lost:
            self._offer_more(source, time_us, kind, data, rest)
            return
        memory = chunk.memory
        direction, key, version = kind
        source.pack_head(memory, pos, whole - pos - 4, direction, time_us, key, version, source.ends)
        memory[start:end] = data
        for piece in rest:
            start, end = end, end + len(piece)
            if isinstance(piece, FileSlice):
                chunk.places.append((start, piece))
            else:
                memory[start:end] = piece
        chunk.filled = end

    def _offer_more(self, source: Source, time_us: int, kind: FrameKind, data: Buffer, rest: Sequence[Piece]) -> None:
        """Take a frame that does not fit into this chunk, or follows one that was lost."""
        if self._has_ended:
            self.on_failure()
            return
        size = source.head_bytes + len(data) + (sum(map(len, rest)) if rest else 0)
        waiting = len(self._full)
        if waiting and waiting + (self._chunk.filled + size) // CHUNK_BYTES >= self._sink.max_chunks:
            self._lost_since_us = self._lost_since_us if self._lost else time_us
            self._lost += 1
            return
        if self._lost:
            self._tell_loss()
        self._keep_limit(size)
        head = bytearray(source.head_bytes)
        direction, key, version = kind
        source.pack_head(head, 0, size - 4, direction, time_us, key, version, source.ends)
        self._put(head)
        self._put(data)
        for piece in rest:
            if isinstance(piece, FileSlice):
                self._keep_room(piece)
            else:
                self._put(piece)
        self._keep_limit(0)  # one that is larger than the limit goes with its file

    def _tell_loss(self) -> None:
        self._put(encode(Lost(self._lost_since_us, self._lost)))
        self._lost = 0

    def _keep_limit(self, size: int) -> None:
        """Begin a new file where this one has no room for so much more."""
        limit = self._sink.max_file_bytes
        there = self._file_bytes + self._chunk.filled
        if limit is not None and there + size > limit and there > len(MAGIC):
            self._turn(ends_file=True)
            self._put(MAGIC)

    def _put(self, data: Buffer) -> None:
        rest = memoryview(data)
        while rest:
            chunk = self._chunk
            start = chunk.filled
            part = rest[: CHUNK_BYTES - start]
            chunk.memory[start : start + len(part)] = part
            self._fill(start + len(part))
            rest = rest[len(part) :]

    def _keep_room(self, piece: FileSlice) -> None:
        done = 0
        while done < piece.length:
            start = self._chunk.filled
            size = min(CHUNK_BYTES - start, piece.length - done)
            self._chunk.places.append((start, FileSlice(piece.file, piece.position + done, size)))
            self._fill(start + size)
            done += size

    def _fill(self, end: int) -> None:
        self._chunk.filled = end
        if end == CHUNK_BYTES:
            self._turn()

    def _turn(self, *, ends_file: bool = False) -> None:
        """Give this chunk to the thread and begin another one."""
        chunk = self._chunk
        self._file_bytes = 0 if ends_file else self._file_bytes + CHUNK_BYTES
        chunk.ends_file = ends_file
        self._full.append(chunk)
        self._chunk = self._free.pop() if self._free else _Chunk()
        if not self._wanted.is_set():
            self._wanted.set()

    def close(self) -> None:
        """Write what is there and end the thread. What is not written in time is left."""
        if self._lost and not self._has_ended:
            self._tell_loss()
        self._is_closing = True
        self._wanted.set()
        self._thread.join(self._close_s)
        if self._thread.is_alive():
            logger.error("the end of the trace is missing: writing it takes longer than %s s", self._close_s)

    # In the thread

    def _run(self) -> None:
        try:
            is_last = False
            interval_s = INTERVAL_S
            while not is_last:
                was_woken = self._wanted.wait(interval_s)
                self._wanted.clear()
                is_last = self._is_closing
                self._write_full()
                if is_last or not was_woken:
                    chunk = self._chunk
                    if not self._full:  # looked at last: nothing is then older than that one
                        interval_s = INTERVAL_S if self._write(chunk) else IDLE_INTERVAL_S
        except OSError as error:
            logger.error("the trace ends here: %s", error)
        finally:
            self._has_ended = True
            with contextlib.suppress(OSError):
                self._sink.close()

    def _write_full(self) -> None:
        full = self._full
        while full:
            chunk = full[0]
            self._write(chunk)
            if chunk.ends_file:
                self._sink.next_file()
            full.popleft()
            chunk.clear()
            if len(self._free) < self._sink.max_chunks:
                self._free.append(chunk)

    def _write(self, chunk: _Chunk) -> bool:
        """Write what has come to a chunk since the last time, and tell whether there was something."""
        start, end = chunk.written, chunk.filled
        while chunk.places and chunk.places[0][0] < end:
            _read(chunk, end)
        if start < end:
            self._sink.write(chunk.view[start:end], is_behind=4 * len(self._full) > 3 * self._sink.max_chunks)
            chunk.written = end
        return start < end


def _read(chunk: _Chunk, end: int) -> None:
    """Read the next slice, and those that follow it in its file as well, into their places."""
    places = chunk.places
    start, first = places.popleft()
    run = [chunk.view[start : start + first.length]]
    next_position = first.position + first.length
    while places and places[0][0] < end and len(run) < MAX_JOINED:
        start, piece = places[0]
        if piece.file is not first.file or piece.position != next_position:
            break
        run.append(chunk.view[start : start + piece.length])
        next_position += piece.length
        places.popleft()
    try:
        done = os.preadv(first.file.fd, run, first.position)
    except OSError as error:
        logger.warning("what was fetched is missing from the trace: %s", error)
        done = 0
    for room in run:
        there = min(done, len(room))
        room[there:] = bytes(len(room) - there)
        done -= there


@contextlib.contextmanager
def record(frames: Frames, sink: Sink, close_s: float = CLOSE_S) -> Iterator[Recorder]:
    """Record frames while the block runs; the end may take `close_s`."""
    recorder = Recorder(sink, close_s)
    recorder.on_failure = partial(frames.remove, recorder)
    frames.add(recorder)
    try:
        yield recorder
    finally:
        frames.remove(recorder)
        recorder.close()

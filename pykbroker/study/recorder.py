"""Subscribers with a thread of their own, which gives frames to a sink: a trace file, or lines on the terminal.

    with record(frames, TraceFile(path)): …

Rules
- The event loop only queues; the thread encodes, writes and flushes, so that neither a slow disk nor a terminal holds
  the broker up. What does not fit into the queue, of MAX_QUEUED_BYTES, is lost and counted where it is missing.
- Large frames are copied once, into buffers that are used again and again: fresh memory costs more than copying. Slices
  of files are read by the thread, which is woken before too much waits for it.
- Leaving the block writes what is queued. A sink that fails ends the recording, with one line in the log.

Not here: the trace file (trace_file).
"""

import contextlib
import logging
import mmap
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from typing import TextIO

from pykbroker.log.files import FileSlice
from pykbroker.study.frames import LONG_BYTES, Frames, LongFrame, Subscriber, cost_of
from wire.primitives import Buffer
from wire.study.exchanges import TracedFrame, learn_topics
from wire.study.lines import Line, print_lines
from wire.study.show_tree import tree_lines
from wire.study.summary import Summaries, missing_line
from wire.study.trace import Lost

logger = logging.getLogger("pykbroker.study")

MAX_QUEUED_BYTES = 64 * 1024 * 1024
INTERVAL_S = 0.02  # how often what is queued is written
WAKING_BYTES = 1024 * 1024  # that much is not left to wait for it
POOLED_BYTES = 2 * 1024 * 1024  # of a buffer for a large frame; memory only as far as it has been used
MAX_POOLED = 64  # about what the queue holds of frames of 1 MB

Event = TracedFrame | LongFrame | Lost


class Sink(ABC):
    """Where a recorder's thread puts frames."""

    @abstractmethod
    def write(self, events: Sequence[Event]) -> None:
        """Take frames, of which nothing may be kept. Raises: OSError."""

    @abstractmethod
    def close(self) -> None: ...


class Recorder(Subscriber):
    def __init__(self, sink: Sink, max_bytes: int = MAX_QUEUED_BYTES) -> None:
        self._sink = sink
        self._max_bytes = max_bytes
        self._queue: deque[Event] = deque()
        # Without a lock: one counter is the loop's alone, the other the thread's.
        self._offered_bytes = 0
        self._taken_bytes = 0
        self._lost = 0  # since the last frame that was queued
        self._lost_since_us = 0
        self._pool: list[mmap.mmap] = []
        self._has_failed = False
        self._is_closing = False
        self._wanted = threading.Event()  # set: the thread does not wait for the next interval
        self._thread = threading.Thread(target=self._run, name="trace")
        self._thread.start()

    def offer(self, frame: TracedFrame | LongFrame) -> None:
        size = cost_of(frame)
        waiting_bytes = self._offered_bytes - self._taken_bytes + size
        if waiting_bytes > self._max_bytes:
            self._lost_since_us = self._lost_since_us if self._lost else frame.time_us
            self._lost += 1
            return
        if self._lost:
            self._tell_loss()
        self._offered_bytes += size
        self._queue.append(self._kept(frame) if isinstance(frame, LongFrame) else frame)
        if waiting_bytes > WAKING_BYTES and not self._wanted.is_set():
            self._wanted.set()

    def _kept(self, frame: LongFrame) -> LongFrame:
        """Return a frame all of which is ours."""
        rest = [piece if isinstance(piece, (bytes, FileSlice)) else self._copied(piece) for piece in frame.rest]
        return LongFrame(frame.start, rest)

    def _copied(self, piece: bytearray | memoryview) -> Buffer:
        size = len(piece)
        if not LONG_BYTES <= size <= POOLED_BYTES:
            return bytes(piece)
        copy = memoryview(self._pool.pop() if self._pool else mmap.mmap(-1, POOLED_BYTES))[:size]
        copy[:] = piece
        return copy

    def _give_back(self, frame: LongFrame) -> None:
        for piece in frame.rest:
            if isinstance(piece, memoryview) and len(self._pool) < MAX_POOLED:
                buffer = piece.obj
                assert isinstance(buffer, mmap.mmap)
                self._pool.append(buffer)

    def _tell_loss(self) -> None:
        self._queue.append(Lost(self._lost_since_us, self._lost))
        self._lost = 0

    def close(self) -> None:
        """Write what is queued and end the thread."""
        if self._lost:
            self._tell_loss()
        self._is_closing = True
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            is_last = False
            while not is_last:
                # Being woken for each frame would cost more than all the rest.
                self._wanted.wait(INTERVAL_S)
                self._wanted.clear()
                is_last = self._is_closing
                self._write_queued()
        finally:
            with contextlib.suppress(OSError):
                self._sink.close()

    def _write_queued(self) -> None:
        queue = self._queue
        events = [queue.popleft() for _ in range(len(queue))]
        if not events:
            return
        try:
            if not self._has_failed:
                self._sink.write(events)
        except OSError as error:
            logger.error("the trace ends here: %s", error)
            self._has_failed = True
        for event in events:
            if isinstance(event, LongFrame):
                self._give_back(event)
        self._taken_bytes += sum(cost_of(event) for event in events if not isinstance(event, Lost))


@contextlib.contextmanager
def record(frames: Frames, sink: Sink) -> Iterator[Recorder]:
    """Record frames while the block runs."""
    recorder = Recorder(sink)
    frames.add(recorder)
    try:
        yield recorder
    finally:
        frames.remove(recorder)
        recorder.close()


class TraceLines(Sink):
    """A line for each frame; below it the whole tree for those of `expanded` APIs."""

    def __init__(self, file: TextIO | None = None, expanded: Collection[int] = ()) -> None:
        self._file = file or sys.stdout
        self._expanded = expanded
        self._summaries = Summaries()
        self._topic_names: dict[bytes, str] = {}
        self._number = 0

    def write(self, events: Sequence[Event]) -> None:
        for event in events:
            print_lines(self._lines(event.whole() if isinstance(event, LongFrame) else event), self._file)
        self._file.flush()

    def _lines(self, event: TracedFrame | Lost) -> list[Line]:
        if isinstance(event, Lost):
            return [missing_line(event)]
        self._number += 1
        tree = event.tree(self._topic_names)
        learn_topics(tree, self._topic_names)
        lines = [self._summaries.line(self._number, event, tree)]
        if event.api_key in self._expanded:
            lines += [*tree_lines(tree, event.data), []]
        return lines

    def close(self) -> None:
        """Leave the file open: it is the process's own."""

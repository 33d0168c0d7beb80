"""Subscribers with a thread of their own: a trace file, and lines on the terminal.

    with record(frames, TraceFile(path)): …

Rules
- The event loop only queues; the thread encodes, writes and flushes, so that neither a slow disk nor a terminal holds
  the broker up. What does not fit into the queue, of MAX_QUEUED_BYTES, is lost and counted where it is missing.
- Leaving the block writes what is queued. A sink that fails ends the recording, with one line in the log.

Format: of the file, wire.study.trace.
"""

import contextlib
import logging
import sys
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from pykbroker.study.frames import FRAME_COST, Frames, Subscriber
from wire.study.exchanges import TracedFrame, learn_topics
from wire.study.lines import Line, print_lines
from wire.study.show_tree import tree_lines
from wire.study.summary import Summaries, missing_line
from wire.study.trace import MAGIC, Lost, TraceEncoder

logger = logging.getLogger("pykbroker.study")

MAX_QUEUED_BYTES = 64 * 1024 * 1024
INTERVAL_S = 0.02  # how often what is queued is written
_FILE_BUFFER_BYTES = 256 * 1024


class Sink(ABC):
    """Where a recorder's thread puts frames."""

    @abstractmethod
    def write(self, events: Sequence[TracedFrame | Lost]) -> None:
        """Raises: OSError."""

    @abstractmethod
    def close(self) -> None: ...


class Recorder(Subscriber):
    def __init__(self, sink: Sink, max_bytes: int = MAX_QUEUED_BYTES) -> None:
        self._sink = sink
        self._max_bytes = max_bytes
        self._queue: deque[TracedFrame | Lost] = deque()
        # Without a lock: one counter is the loop's alone, the other the thread's.
        self._offered_bytes = 0
        self._taken_bytes = 0
        self._lost = 0  # since the last frame that was queued
        self._lost_since_us = 0
        self._has_failed = False
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trace")
        self._thread.start()

    def offer(self, frame: TracedFrame) -> None:
        size = len(frame.data) + FRAME_COST
        if self._offered_bytes - self._taken_bytes + size > self._max_bytes:
            self._lost_since_us = self._lost_since_us if self._lost else frame.time_us
            self._lost += 1
            return
        if self._lost:
            self._tell_loss()
        self._offered_bytes += size
        self._queue.append(frame)

    def _tell_loss(self) -> None:
        self._queue.append(Lost(self._lost_since_us, self._lost))
        self._lost = 0

    def close(self) -> None:
        """Write what is queued and end the thread."""
        if self._lost:
            self._tell_loss()
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            is_last = False
            while not is_last:
                # Being woken for each frame would cost more than all the rest.
                is_last = self._closing.wait(INTERVAL_S)
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
        self._taken_bytes += sum(len(event.data) + FRAME_COST for event in events if isinstance(event, TracedFrame))


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


class TraceFile(Sink):
    def __init__(self, path: Path) -> None:
        """Begin a new file. Raises: OSError."""
        self._file = path.open("wb", buffering=_FILE_BUFFER_BYTES)
        self._encoder = TraceEncoder()
        self._file.write(MAGIC)
        self._file.flush()

    def write(self, events: Sequence[TracedFrame | Lost]) -> None:
        for event in events:
            self._file.writelines(self._encoder.pieces(event))
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class TraceLines(Sink):
    """A line for each frame; below it the whole tree for those of `expanded` APIs."""

    def __init__(self, file: TextIO | None = None, expanded: Collection[int] = ()) -> None:
        self._file = file or sys.stdout
        self._expanded = expanded
        self._summaries = Summaries()
        self._topic_names: dict[bytes, str] = {}
        self._number = 0

    def write(self, events: Sequence[TracedFrame | Lost]) -> None:
        for event in events:
            print_lines(self._lines(event), self._file)
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

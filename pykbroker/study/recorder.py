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
from wire.study.trace import MAGIC, Lost, encode_frame, encode_lost

logger = logging.getLogger("pykbroker.study")

MAX_QUEUED_BYTES = 64 * 1024 * 1024


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
        self._bytes = 0
        self._changed = threading.Condition()
        self._is_closed = False
        self._has_failed = False
        self._thread = threading.Thread(target=self._run, name="trace")
        self._thread.start()

    def offer(self, frame: TracedFrame) -> None:
        size = len(frame.data) + FRAME_COST
        with self._changed:
            if self._has_failed:
                return
            if self._bytes + size > self._max_bytes:
                self._lose(frame.time_us)
                return
            self._bytes += size
            self._queue.append(frame)
            if len(self._queue) == 1:
                self._changed.notify()

    def _lose(self, time_us: int) -> None:
        last = self._queue[-1] if self._queue else None
        if isinstance(last, Lost):
            self._queue[-1] = Lost(last.time_us, last.count + 1)
        else:
            self._queue.append(Lost(time_us, 1))

    def close(self) -> None:
        """Write what is queued and end the thread."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while events := self._take():
                self._sink.write(events)
        except OSError as error:
            logger.error("the trace ends here: %s", error)
            with self._changed:
                self._has_failed = True
                self._queue.clear()
        finally:
            with contextlib.suppress(OSError):
                self._sink.close()

    def _take(self) -> list[TracedFrame | Lost]:
        """Wait for frames; nothing: it is over."""
        with self._changed:
            while not self._queue and not self._is_closed:
                self._changed.wait()
            events = list(self._queue)
            self._queue.clear()
            self._bytes = 0
            return events


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
        self._file = path.open("wb")
        self._file.write(MAGIC)
        self._file.flush()

    def write(self, events: Sequence[TracedFrame | Lost]) -> None:
        for event in events:
            self._file.write(encode_lost(event) if isinstance(event, Lost) else encode_frame(event))
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

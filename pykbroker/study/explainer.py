"""Frames as lines on the terminal, in a process of its own: explaining one takes many times what the broker needs to
answer it, and would hold the interpreter meanwhile.

    record(frames, Explainer())             frames go to a child, as a trace, which prints to our standard output
    python -m pykbroker.study.explainer     what the child runs: standard input is the trace

Rules
- Ctrl-C on the terminal ends us, not the child: it ends when it has explained what it was given.
- It is given little ahead of what it has explained; the rest is lost, as with any subscriber that does not keep up.
"""

import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import TextIO

from pykbroker.study.recorder import Sink
from wire.errors import ProtocolError
from wire.study.exchanges import TracedFrame, learn_topics
from wire.study.lines import Line, print_lines
from wire.study.show_tree import tree_lines
from wire.study.summary import Summaries, missing_line
from wire.study.trace import Lost, TraceDecoder

READ_BYTES = 64 * 1024


class Explainer(Sink):
    max_chunks = 2

    def __init__(self, expanded: Collection[int] = ()) -> None:
        """Show a line for each frame, below it the whole tree for those of `expanded` APIs. Raises: OSError."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pykbroker.study.explainer", *map(str, expanded)],
            stdin=subprocess.PIPE,
            process_group=0,
        )
        assert self._process.stdin is not None
        self._pipe = self._process.stdin.fileno()

    def write(self, data: memoryview, *, is_behind: bool) -> None:
        while data:
            data = data[os.write(self._pipe, data) :]

    def close(self) -> None:
        """Wait until all is shown."""
        self._process.communicate()


class TraceLines:
    def __init__(self, file: TextIO, expanded: Collection[int] = ()) -> None:
        self._file = file
        self._expanded = expanded
        self._summaries = Summaries()
        self._topic_names: dict[bytes, str] = {}
        self._number = 0

    def show(self, events: Sequence[TracedFrame | Lost]) -> None:
        print_lines((line for event in events for line in self._lines(event)), self._file)
        self._file.flush()

    def _lines(self, event: TracedFrame | Lost) -> Iterator[Line]:
        if isinstance(event, Lost):
            yield missing_line(event)
            return
        self._number += 1
        tree = event.tree(self._topic_names)
        learn_topics(tree, self._topic_names)
        yield self._summaries.line(self._number, event, tree)
        if event.api_key in self._expanded:
            yield from tree_lines(tree, event.data)
            yield []


def main(arguments: Sequence[str], source: int, target: TextIO) -> int:
    decoder = TraceDecoder()
    lines = TraceLines(target, frozenset(map(int, arguments)))
    try:
        while data := os.read(source, READ_BYTES):
            lines.show(decoder.feed(data))
    except (BrokenPipeError, ProtocolError):  # who reads is gone, or who writes never began
        os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())  # nothing is left to be flushed at the end
        return 1
    return 0


if __name__ == "__main__":
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.exit(main(sys.argv[1:], sys.stdin.fileno(), sys.stdout))

"""Frames as lines on the terminal, by `wire decode` in a process of its own: explaining one takes many times what the
broker needs to answer it, and would hold the interpreter meanwhile.

    record(frames, Explainer())             frames go to the child, as a trace, which prints to our standard output

Rules
- Ctrl-C on the terminal ends us, not the child: it ends when it has explained what it was given.
- It is given little ahead of what it has explained; the rest is lost, as with any subscriber that does not keep up.
"""

import os
import subprocess
import sys
from collections.abc import Iterable

from pykbroker.study.recorder import Sink


class Explainer(Sink):
    max_chunks = 2

    def __init__(self, expanded: Iterable[str] = ()) -> None:
        """Show a line for each frame, below it the whole tree for those of `expanded` APIs. Raises: OSError."""
        trees = [f"--tree={name}" for name in expanded]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "wire", "decode", "-", "--summary", *trees],
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

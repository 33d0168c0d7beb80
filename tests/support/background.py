"""A command that runs while a test does something else, such as a broker in a process of its own.

with Background([sys.executable, "-m", "pykbroker", "start", "--port", "0"], cwd=tmp_path) as broker:
    address = broker.wait_for("accepts clients on ").split()[-1]
"""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

DEADLINE_S = 60.0


class Background:
    def __init__(
        self, command: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        # A session of its own: what a shell starts is stopped with it.
        self._process = subprocess.Popen(
            list(map(str, command)),
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []  # what it printed, as far as that was read

    def __enter__(self) -> "Background":
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._signal(signal.SIGTERM)
        try:
            self._process.communicate(timeout=DEADLINE_S)
        finally:
            self._signal(signal.SIGKILL)

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_for(self, *texts: str) -> str:
        """Read what it prints until each text was in a line, and return the last of those lines."""
        assert self._process.stdout is not None
        missing = list(texts)
        for line in self._process.stdout:
            self.lines.append(line)
            missing = [text for text in missing if text not in line]
            if not missing:
                return line
        raise AssertionError(f"it ended without {missing}: {''.join(self.lines)}")

    def _signal(self, signal_number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal_number)

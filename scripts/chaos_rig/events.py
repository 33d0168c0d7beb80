"""The file in which a run writes what it did and what happened.

Format: one JSON object a line, `t` in seconds from the start of the run, `event` saying what the rest is about.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

from attrs import define, field


@define
class Events:
    """Owns the file. What is written is also printed, shortly, unless it is `quiet`."""

    path: Path
    started: float = field(factory=time.monotonic)

    def write(self, event: str, *, quiet: bool = False, **what: object) -> None:
        at = time.monotonic() - self.started
        with self.path.open("a") as file:
            file.write(json.dumps({"t": round(at, 3), "event": event, **what}, default=str) + "\n")
        if not quiet:
            details = ", ".join(f"{name} {value}" for name, value in what.items())
            print(f"{at:7.1f} s  {event}{': ' if details else ''}{details}", flush=True)

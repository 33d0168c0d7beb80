"""The brokers' logs in a trace: which broker says what, in simulated time."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from tests.simulation.world import actor


class _Handler(logging.Handler):
    def __init__(self, echo: Callable[[str], None]) -> None:
        super().__init__(logging.DEBUG)
        self._echo = echo

    def emit(self, record: logging.LogRecord) -> None:
        try:
            now_ms = 1000 * trio.current_time()
        except RuntimeError:
            return  # not of a simulation
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + logging.Formatter().formatException(record.exc_info)
        self._echo(f"{now_ms:12.3f} {actor.get()} {record.levelname.lower()}: {text}")


@contextmanager
def to_trace(echo: Callable[[str], None] | None) -> Iterator[None]:
    """Give what the brokers log to `echo`, if there is one."""
    if echo is None:
        yield
        return
    handler = _Handler(echo)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)

"""What logs tell somebody who measures them; it costs nothing while there is nobody. Only types look at this file."""

from typing import Protocol


class LogObserver(Protocol):
    def flushed(self, took_ms: float) -> None:
        """A log was flushed. Any thread may call this."""

    def recompressed(self, topic: str, records: int, took_ms: float) -> None:
        """A batch got the codec of its topic."""

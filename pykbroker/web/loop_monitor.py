"""How late the event loop is, and how much of the time it has nothing to do.

Owns: a timer of its own. Rules: the lag is how much later the timer fired than it was to; the idle share is the part of
the last interval in which the loop's thread did not run.
"""

import time

from pykbroker.clock import Clock, Timer
from pykbroker.histogram import Histogram

INTERVAL_MS = 500


class LoopMonitor:
    def __init__(self, clock: Clock) -> None:
        self.lag_us = Histogram(clock.monotonic_ms())
        self.last_lag_ms = 0.0
        self.idle_ratio = 1.0
        self._clock = clock
        self._timer: Timer | None = None
        self._due_ms = self._looked_ms = 0.0
        self._busy_s = 0.0

    def start(self) -> None:
        """Look from now on; to be called on the event loop's thread."""
        self._looked_ms, self._busy_s = self._clock.monotonic_ms(), time.thread_time()
        self._schedule()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _schedule(self) -> None:
        self._due_ms = self._clock.monotonic_ms() + INTERVAL_MS
        self._timer = self._clock.call_later(INTERVAL_MS, self._look)

    def _look(self) -> None:
        now_ms, busy_s = self._clock.monotonic_ms(), time.thread_time()
        self.last_lag_ms = max(now_ms - self._due_ms, 0.0)
        self.lag_us.record(int(self.last_lag_ms * 1000))
        busy_ms = 1000 * (busy_s - self._busy_s)
        self.idle_ratio = min(max(1 - busy_ms / (now_ms - self._looked_ms), 0.0), 1.0)
        self._looked_ms, self._busy_s = now_ms, busy_s
        self._schedule()

"""Time, and the one heap of timers.

Owns: every timer of the broker. Rules: callbacks run on the event loop, in order of their deadlines (ties: in order of
their creation), and must not await. `monotonic_ms` measures durations and drives timers; `time_ms` is what records
and commits are stamped with and may jump.

`SystemClock.run` serves the heap in a task of the broker; `SimulatedClock.advance` does so in tests and simulations.
A callback that raises does not keep the others from running: `on_bug` is told, where it is set.

A cancelled timer stays in the heap until its time, or until half of the heap's timers are cancelled ones.
"""

import errno
import heapq
import itertools
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import attrs

Result = TypeVar("Result")

MIN_TIMERS_TO_SWEEP = 4096  # in a smaller heap cancelled timers are left alone


@attrs.define(eq=False)
class Timer:
    """A callback to come. A cancelled timer that is still in the heap holds nothing."""

    deadline_ms: float
    callback: Callable[[], None] | None

    def cancel(self) -> None:
        self.callback = None


class Clock(ABC):
    def __init__(self) -> None:
        self.on_bug: Callable[[Exception], None] | None = None  # told what a callback raises; None: it is passed on
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._sweep_at = MIN_TIMERS_TO_SWEEP

    @abstractmethod
    def time_ms(self) -> int:
        """Milliseconds since the epoch."""

    @abstractmethod
    def monotonic_ms(self) -> float:
        """Milliseconds since some fixed moment; never goes back."""

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(self.monotonic_ms() + delay_ms, callback)
        if len(self._heap) >= self._sweep_at:
            self._sweep()
        heapq.heappush(self._heap, (timer.deadline_ms, next(self._order), timer))
        if self._heap[0][2] is timer:
            self._earlier_deadline()
        return timer

    async def run(self) -> None:
        """Fire timers until cancelled; returns at once where somebody else lets time pass."""
        return

    def _sweep(self) -> None:
        """Drop the cancelled timers, so that long waits that end early do not pile up."""
        self._heap = [entry for entry in self._heap if entry[2].callback is not None]
        heapq.heapify(self._heap)
        self._sweep_at = max(2 * len(self._heap), MIN_TIMERS_TO_SWEEP)

    async def sleep(self, delay_ms: float) -> None:
        """Wait for as long on this clock; unlike `anyio.sleep`, it follows a simulated one."""
        over = anyio.Event()
        timer = self.call_later(delay_ms, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()

    async def within(self, timeout_ms: float, wait: Awaitable[Result]) -> Result:
        """Await something for so long at most. Raises: TimeoutError."""
        with anyio.CancelScope() as scope:
            timer = self.call_later(timeout_ms, scope.cancel)
            try:
                return await wait
            finally:
                timer.cancel()
        raise TimeoutError(errno.ETIMEDOUT, f"nothing came within {timeout_ms:g} ms")

    def _earlier_deadline(self) -> None:
        """Called when a new timer became the first to fire."""
        return

    def _run_due(self) -> None:
        now = self.monotonic_ms()
        while self._heap and self._heap[0][0] <= now:
            timer = heapq.heappop(self._heap)[2]
            callback, timer.callback = timer.callback, None
            if callback is None:
                continue
            try:
                callback()
            except Exception as error:
                if self.on_bug is None:
                    raise
                self.on_bug(error)

    def _next_deadline_ms(self) -> float | None:
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None


class SystemClock(Clock):
    def __init__(self) -> None:
        super().__init__()
        self._sleep: anyio.CancelScope | None = None

    def time_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_ms(self) -> float:
        return time.monotonic_ns() / 1_000_000

    def _earlier_deadline(self) -> None:
        if self._sleep is not None:
            self._sleep.cancel()

    async def run(self) -> None:
        """Fire timers until cancelled."""
        while True:
            self._run_due()
            deadline = self._next_deadline_ms()
            delay = math.inf if deadline is None else max(deadline - self.monotonic_ms(), 0)
            with anyio.CancelScope() as self._sleep:
                await anyio.sleep(delay / 1000)
            self._sleep = None


class SimulatedClock(Clock):
    """A clock that stands still until told otherwise."""

    def __init__(self, time_ms: int = 1_700_000_000_000) -> None:
        super().__init__()
        self._started_ms = time_ms
        self._elapsed_ms = 0.0

    def time_ms(self) -> int:
        return int(self._started_ms + self._elapsed_ms)

    def monotonic_ms(self) -> float:
        return self._elapsed_ms

    def advance(self, ms: float) -> None:
        """Let time pass: each timer on the way fires at its own moment."""
        end = self._elapsed_ms + ms
        while (deadline := self._next_deadline_ms()) is not None and deadline <= end:
            self._elapsed_ms = max(deadline, self._elapsed_ms)
            self._run_due()
        self._elapsed_ms = end

"""The simulated world: its time, its chance, and the one loop that lets time pass.

    outcome = run(seed, main)                           # main(world) is a coroutine function

Owns: simulated time, the heap of what happens when, the seeded random source, the trace.

Rules
- Time stands still while any task can run, or data waits in a socket; then it jumps to the next event: of the heap, or
  a deadline of trio's. So nothing depends on how fast the machine is.
- The order in which tasks run comes from the seed, too: trio's own hook for deterministic schedules, as its test
  plugins use it.
- `os.urandom`, `random` and `os.fsync` are the simulation's while it runs: ids come from the seed, and the disks learn
  what is safe from a loss of power (disk).
- A trace is the same for the same seed: `Trace.digest` covers every delivery of the network and every fault.

Not here: what lives in the world (node, network, store).
"""

import hashlib
import heapq
import itertools
import os
import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import attrs
import trio
import trio.testing
from trio._core import _run as trio_run

T = TypeVar("T")

STARTED_MS = 1_700_000_000_000  # the wall clock's time when a simulation begins
MIN_STEP_S = 1e-6
MAX_EVENTS = 3_000_000  # of a run that never comes to its end

actor: ContextVar[str] = ContextVar("actor", default="world")  # who runs, for traces and logs


class Trace:
    """What happened, as a digest; and as lines, for those who want to read them."""

    def __init__(self, echo: Callable[[str], None] | None = None) -> None:
        self._hash = hashlib.sha256()
        self.echo = echo

    def note(self, now_ms: float, text: str) -> None:
        line = f"{now_ms:12.3f} {text}"
        self._hash.update(line.encode() + b"\n")
        if self.echo is not None:
            self.echo(line)

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()[:16]


@attrs.define(eq=False)
class Happening:
    """Something that is to happen; None: it was cancelled."""

    callback: Callable[[], None] | None

    def cancel(self) -> None:
        self.callback = None


class World:
    def __init__(self, seed: int, trace: Trace) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.trace = trace
        self.now_ms = 0.0
        self.connections = 0  # that were made so far
        self.on_fsync: list[Callable[[int], None]] = []  # told the descriptor
        self.on_end: list[Callable[[], None]] = []  # told when time ends, so that nobody waits for it any more
        self.tasks: trio.Nursery  # of what lives as long as the world
        self._heap: list[tuple[float, int, Happening]] = []
        self._order = itertools.count()

    def note(self, text: str) -> None:
        """Write a line of the trace."""
        self.trace.note(self.now_ms, text)

    def call_at(self, at_ms: float, callback: Callable[[], None]) -> Happening:
        happening = Happening(callback)
        heapq.heappush(self._heap, (max(at_ms, self.now_ms), next(self._order), happening))
        return happening

    def call_later(self, delay_ms: float, callback: Callable[[], None]) -> Happening:
        return self.call_at(self.now_ms + delay_ms, callback)

    async def sleep(self, ms: float) -> None:
        over = trio.Event()
        happening = self.call_later(ms, over.set)
        try:
            await over.wait()
        finally:
            happening.cancel()

    async def live(self, main: Callable[["World"], Awaitable[T]]) -> T:
        """Run `main` in this world, and return what it does."""
        result: list[T] = []

        async def story() -> None:
            result.append(await main(self))

        async with trio.open_nursery() as self.tasks:
            self.tasks.start_soon(story)
            try:
                await self._pass_time(result)
            finally:
                for end in self.on_end:
                    end()
                self.tasks.cancel_scope.cancel()
        return result[0]

    async def _pass_time(self, result: list[T]) -> None:
        for _ in range(MAX_EVENTS):
            await trio.testing.wait_all_tasks_blocked()
            if result:
                return
            self._advance()
        raise AssertionError(f"seed {self.seed} does not come to an end")

    def _advance(self) -> None:
        """Let time pass up to the next event, and have it happen."""
        while self._heap and self._heap[0][2].callback is None:
            heapq.heappop(self._heap)
        clock = trio.lowlevel.current_clock()
        assert isinstance(clock, trio.testing.MockClock)
        deadline_s = trio.lowlevel.current_statistics().seconds_to_next_deadline
        deadline_ms = self.now_ms + 1000 * max(deadline_s, MIN_STEP_S)
        if self._heap and self._heap[0][0] <= deadline_ms:
            at_ms, _, happening = heapq.heappop(self._heap)
            self.now_ms = at_ms
            clock.jump(max(at_ms / 1000 - clock.current_time(), 0))
            callback, happening.callback = happening.callback, None
            assert callback is not None
            callback()
        elif deadline_s == float("inf"):
            raise AssertionError("everyone waits, and nothing is to happen any more")
        else:
            clock.jump(max(deadline_s, MIN_STEP_S))
            self.now_ms = max(1000 * clock.current_time(), self.now_ms)


def run(seed: int, main: Callable[[World], Awaitable[T]], *, trace: Trace | None = None) -> T:
    """Let a world with this seed run its course."""
    world = World(seed, trace or Trace())
    with _seeded(world):
        return trio.run(world.live, main, clock=trio.testing.MockClock())


@contextmanager
def _seeded(world: World) -> Iterator[None]:
    """Take all chance from the seed, and tell the world of each fsync instead of waiting for a disk."""
    source = random.Random(f"os {world.seed}")
    saved = (os.urandom, os.fsync, os.fdatasync, trio_run._r, trio_run._ALLOW_DETERMINISTIC_SCHEDULING)
    state = random.getstate()

    def fsync(fd: "int | os.PathLike[str]") -> None:
        for told in world.on_fsync:
            told(fd if isinstance(fd, int) else fd.fileno())  # type: ignore[attr-defined]

    os.urandom, os.fsync, os.fdatasync = source.randbytes, fsync, fsync  # type: ignore[assignment]
    random.seed(f"random {world.seed}")
    trio_run._r = random.Random(f"trio {world.seed}")
    trio_run._ALLOW_DETERMINISTIC_SCHEDULING = True
    try:
        yield
    finally:
        os.urandom, os.fsync, os.fdatasync, trio_run._r, trio_run._ALLOW_DETERMINISTIC_SCHEDULING = saved
        random.setstate(state)

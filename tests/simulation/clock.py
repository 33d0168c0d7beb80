"""A simulated broker's own clock: the world's time, on a wall clock that may jump, in a process that may be frozen.

Rules: a frozen broker's timers wait, and all that are overdue fire when it thaws. One that was killed has no timers.
"""

from collections.abc import Callable

from pykbroker.clock import Clock
from tests.simulation.world import STARTED_MS, Happening, World, actor


class BrokerClock(Clock):
    def __init__(self, world: World, name: str, *, wall_offset_ms: float = 0) -> None:
        super().__init__()
        self.wall_offset_ms = wall_offset_ms
        self._world = world
        self._name = name
        self._is_frozen = False
        self._is_stopped = False
        self._next: Happening | None = None

    def time_ms(self) -> int:
        return int(STARTED_MS + self._world.now_ms + self.wall_offset_ms)

    def monotonic_ms(self) -> float:
        return self._world.now_ms

    def freeze(self) -> None:
        self._is_frozen = True

    def thaw(self) -> None:
        self._is_frozen = False
        self._arm()

    def stop(self) -> None:
        """No timer fires any more."""
        self._is_stopped = True

    def _earlier_deadline(self) -> None:
        self._arm()

    def _arm(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        deadline_ms = self._next_deadline_ms()
        if deadline_ms is not None and not self._is_frozen and not self._is_stopped:
            self._next = self._world.call_at(deadline_ms, self._fire)

    def _fire(self) -> None:
        self._next = None
        as_actor(self._name, self._run_due)
        self._arm()


def as_actor(name: str, callback: Callable[[], None]) -> None:
    """Run a callback under the name of whom it belongs to."""
    token = actor.set(name)
    try:
        callback()
    finally:
        actor.reset(token)

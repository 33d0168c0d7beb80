"""A broker's line to the store: how long it takes, and what becomes of requests while it is cut.

Rules
- While the line is cut, a request waits for it to heal, up to the client's patience; then the broker learns that the
  store failed. Where the cut came while the answer was on its way, what was asked for is done all the same.
- News wait for the line, too; they arrive in order, and before the answer to what was asked after them.
- A frozen broker gets nothing. One that was killed gets nothing ever again.
"""

from collections import deque
from collections.abc import Callable

import attrs
import trio

from pykbroker.errors import StorageError
from tests.simulation.clock import as_actor
from tests.simulation.memory_store import Line
from tests.simulation.world import World

PATIENCE_MS = 2000
MIN_DELAY_MS, MAX_DELAY_MS = 0.1, 3.0


@attrs.define(eq=False)
class StoreLine(Line):
    world: World
    name: str
    on_failure: Callable[[Exception], None]  # told what a listener raises, which it must not
    is_cut: bool = False
    is_frozen: bool = False
    is_dead: bool = False
    _news: deque[tuple[float, Callable[[], None]]] = attrs.field(factory=deque)
    _last_ms: float = 0.0  # when the latest of the news is due
    _open: trio.Event = attrs.field(factory=trio.Event)  # set, and replaced, whenever something has healed

    async def there(self) -> None:
        await self._cross()

    async def back(self) -> None:
        await self._cross()
        self._deliver(everything_sent=True)

    def push(self, deliver: Callable[[], None]) -> None:
        self._last_ms = max(self._last_ms, self.world.now_ms + self._delay_ms())
        self._news.append((self._last_ms, deliver))
        self.world.call_at(self._last_ms, self._deliver)

    def changed(self) -> None:
        """Something has healed, or this broker is gone."""
        self._open.set()
        self._open = trio.Event()
        self._deliver()

    def _delay_ms(self) -> float:
        return self.world.random.uniform(MIN_DELAY_MS, MAX_DELAY_MS)

    async def _cross(self) -> None:
        self._check()
        await self.world.sleep(self._delay_ms())
        gives_up_ms = self.world.now_ms + PATIENCE_MS
        while self.is_cut or self.is_frozen:
            self._check()
            with trio.move_on_after(max(gives_up_ms - self.world.now_ms, 1) / 1000):
                await self._open.wait()
            if self.is_cut and not self.is_frozen and self.world.now_ms >= gives_up_ms:
                raise StorageError(f"{self.name} does not reach the store")
        self._check()

    def _check(self) -> None:
        if self.is_dead:
            raise StorageError(f"{self.name} is gone")

    def _deliver(self, *, everything_sent: bool = False) -> None:
        while self._news and not (self.is_cut or self.is_frozen or self.is_dead):
            if self._news[0][0] > self.world.now_ms and not everything_sent:
                break
            deliver = self._news.popleft()[1]
            try:
                as_actor(self.name, deliver)
            except Exception as error:
                self.on_failure(error)

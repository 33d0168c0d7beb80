"""Places where stores of one engine meet, for the tests of what all engines keep.

`world.open` gives another process's view of the same data. Time is simulated where the engine allows it; etcd has its
own, so its leases are short and its worlds wait.
"""

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel

from pykbroker.clock import Clock, SimulatedClock, SystemClock
from pykbroker.cluster.etcd_store import EtcdStore
from pykbroker.cluster.sqlite_store import POLL_INTERVAL_MS, SqliteStore
from pykbroker.cluster.store import Store
from pykbroker.errors import StorageError
from tests.simulation.memory_store import MemoryStore, StoreData
from tests.support.etcd import Etcd
from tests.support.running import DEADLINE_S

ENGINES = ["sqlite alone", "sqlite shared", "memory", "etcd"]
SHARED_ENGINES = ENGINES[1:]

Held = Callable[[], bool] | Callable[[], Awaitable[bool]]


class World:
    lease_ms = 9000

    def __init__(self) -> None:
        self._stores: list[Store] = []

    @property
    def clock(self) -> Clock:
        raise NotImplementedError

    def open(self) -> Store:
        store = self._open()
        self._stores.append(store)
        return store

    def _open(self) -> Store:
        raise NotImplementedError

    async def settle(self, condition: Held) -> None:
        """Let time pass until `condition` holds."""
        raise NotImplementedError

    async def close(self) -> None:
        for store in self._stores:
            await store.close()


class SqliteWorld(World):
    def __init__(self, folder: Path, *, shared: bool) -> None:
        super().__init__()
        self._clock = SimulatedClock()
        self._shared = shared
        self._folder = folder

    @property
    def clock(self) -> SimulatedClock:
        return self._clock

    def _open(self) -> Store:
        return SqliteStore(self._folder / "store.sqlite", self._clock, shared=self._shared, ephemeral=True)

    async def settle(self, condition: Held) -> None:
        for _ in range(400):
            if await holds(condition):
                return
            self._clock.advance(10 * POLL_INTERVAL_MS)
            await anyio.lowlevel.checkpoint()
            for store in self._stores:  # time stands still while one is at work
                with contextlib.suppress(StorageError):  # that of a broker that has left is closed
                    await store.range("/nothing")
        raise AssertionError("did not settle")


class MemoryWorld(World):
    """That of the simulation."""

    def __init__(self) -> None:
        super().__init__()
        self._clock = SimulatedClock()
        self._data = StoreData(self._clock)

    @property
    def clock(self) -> SimulatedClock:
        return self._clock

    def _open(self) -> Store:
        return MemoryStore(self._data)

    async def settle(self, condition: Held) -> None:
        for _ in range(4000):
            if await holds(condition):
                return
            self._clock.advance(10)
            await anyio.lowlevel.checkpoint()
        raise AssertionError("did not settle")


class EtcdWorld(World):
    lease_ms = 1000

    def __init__(self, etcd: Etcd, clock: SystemClock) -> None:
        """`clock` runs in a task of the caller's."""
        super().__init__()
        self.etcd = etcd
        self._clock = clock
        self._root = etcd.fresh_root()

    @property
    def clock(self) -> SystemClock:
        return self._clock

    def _open(self) -> EtcdStore:
        name = str(len(self._stores))
        return EtcdStore(self.etcd.endpoints, self._root, name, self._clock, timeout_ms=2000)

    async def settle(self, condition: Held) -> None:
        with anyio.fail_after(DEADLINE_S):
            while not await holds(condition):
                await self._clock.sleep(10)


async def holds(condition: Held) -> bool:
    held = condition()
    return held if isinstance(held, bool) else await held

"""A store in memory: the data, and each broker's view of it over a line that may be slow, cut, or lose answers.

    data = StoreData(clock)
    store = MemoryStore(data)                   # no way at all; or MemoryStore(data, line) with delays and faults

Rules: those of the interface (pykbroker/cluster/store.py); the contract test passes on this engine, too. Leases end by
the data's clock. What a view is told comes in revision order; the answer to a transaction is preceded by it.
"""

from collections.abc import Callable
from typing import TypeVar

import anyio
import attrs

from pykbroker.clock import Clock, Timer
from pykbroker.cluster.store import (
    NO_LEASE,
    Batch,
    Condition,
    Delete,
    DeletePrefix,
    Event,
    KeyValue,
    Listener,
    Operation,
    Put,
    Snapshot,
    Store,
    TxnResult,
)
from pykbroker.errors import StorageError

T = TypeVar("T")


class Line:
    """The way between a broker and the store: this one takes no time and never fails."""

    async def there(self) -> None:
        """Bring a request to the store. Raises: StorageError; then it has not come there."""

    async def back(self) -> None:
        """Bring an answer back. Raises: StorageError; then what was asked for is done all the same."""

    def push(self, deliver: Callable[[], None]) -> None:
        """Bring news to the broker, in order, also before an answer that leaves later."""
        deliver()


@attrs.define
class _Entry:
    value: bytes
    revision: int
    lease: int


@attrs.define
class _Lease:
    ttl_ms: int
    timer: Timer


class StoreData:
    """What all views share."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.revision = 0
        self.history: list[list[Event]] = []  # of revision 1, 2, ...
        self.on_commit: list[Callable[[], None]] = []
        self._entries: dict[str, _Entry] = {}
        self._leases: dict[int, _Lease] = {}
        self._next_lease = 1

    def range(self, prefix: str) -> Snapshot:
        found = sorted((key, entry) for key, entry in self._entries.items() if key.startswith(prefix))
        return Snapshot(self.revision, [KeyValue(key, entry.value, entry.revision) for key, entry in found])

    def txn(self, conditions: list[Condition], operations: list[Operation]) -> TxnResult:
        holds = all(
            (self._entries[key].revision if key in self._entries else 0) == expected for key, expected in conditions
        )
        leases = {operation.lease for operation in operations if isinstance(operation, Put)} - {NO_LEASE}
        if not holds or not leases <= self._leases.keys():
            return TxnResult(False, self.revision)
        self._commit(operations)
        return TxnResult(True, self.revision)

    def _commit(self, operations: list[Operation]) -> None:
        self.revision += 1
        events: dict[str, Event] = {}
        for operation in operations:
            match operation:
                case Put(key, value, lease):
                    self._entries[key] = _Entry(value, self.revision, lease)
                    events[key] = Event(key, value, self.revision)
                case Delete(key):
                    if self._entries.pop(key, None) is not None:
                        events[key] = Event(key, None, self.revision)
                case DeletePrefix(prefix):
                    for key in sorted(key for key in self._entries if key.startswith(prefix)):
                        del self._entries[key]
                        events[key] = Event(key, None, self.revision)
        self.history.append(list(events.values()))
        for told in tuple(self.on_commit):
            told()

    def grant_lease(self, ttl_ms: int) -> int:
        lease, self._next_lease = self._next_lease, self._next_lease + 1
        self._leases[lease] = _Lease(ttl_ms, self._ends(lease, ttl_ms))
        return lease

    def _ends(self, lease: int, ttl_ms: int) -> Timer:
        return self.clock.call_later(ttl_ms, lambda: self.end_lease(lease))

    def keep_alive(self, lease: int) -> bool:
        found = self._leases.get(lease)
        if found is None:
            return False
        found.timer.cancel()
        found.timer = self._ends(lease, found.ttl_ms)
        return True

    def end_lease(self, lease: int) -> None:
        ended = self._leases.pop(lease, None)
        if ended is None:
            return
        ended.timer.cancel()
        keys = sorted(key for key, entry in self._entries.items() if entry.lease == lease)
        if keys:
            self._commit([Delete(key) for key in keys])


class MemoryStore(Store):
    """One broker's view."""

    def __init__(self, data: StoreData, line: Line | None = None) -> None:
        self._data = data
        self._line = line or Line()
        self._lock = anyio.Lock()
        self._listeners: list[Listener] = []
        self._delivered = 0  # revision that the listeners know
        self._is_closed = False

    async def range(self, prefix: str) -> Snapshot:
        return await self._ask(lambda: self._data.range(prefix))

    async def txn(self, conditions: list[Condition], operations: list[Operation]) -> TxnResult:
        result = await self._ask(lambda: self._data.txn(conditions, operations))
        self._deliver(result.revision)
        return result

    async def watch(self, listener: Listener) -> Snapshot:
        snapshot = await self._ask(lambda: self._data.range(""))
        if self._listeners:
            self._deliver(snapshot.revision)
        else:
            self._data.on_commit.append(self._push)
            self._delivered = snapshot.revision
            self._push()  # what was committed while the answer was on its way
        self._listeners.append(listener)
        return snapshot

    async def grant_lease(self, ttl_ms: int) -> int:
        return await self._ask(lambda: self._data.grant_lease(ttl_ms))

    async def keep_alive(self, lease: int) -> bool:
        return await self._ask(lambda: self._data.keep_alive(lease))

    async def revoke_lease(self, lease: int) -> None:
        revision = await self._ask(lambda: (self._data.end_lease(lease), self._data.revision)[1])
        self._deliver(revision)

    async def run(self) -> None:
        return

    async def close(self) -> None:
        self._is_closed = True
        self._listeners.clear()
        if self._push in self._data.on_commit:
            self._data.on_commit.remove(self._push)

    async def _ask(self, work: Callable[[], T]) -> T:
        """One request at a time, so that they come to the store in their order."""
        async with self._lock:
            if self._is_closed:
                raise StorageError("the store is closed")
            await self._line.there()
            result = work()
            await self._line.back()
            return result

    def _push(self) -> None:
        revision = self._data.revision
        self._line.push(lambda: self._deliver(revision))

    def _deliver(self, revision: int) -> None:
        """Tell the listeners all up to `revision`."""
        if revision <= self._delivered:
            return
        events = [event for step in self._data.history[self._delivered : revision] for event in step]
        self._delivered = revision
        for listener in tuple(self._listeners):
            listener(Batch(revision, events))

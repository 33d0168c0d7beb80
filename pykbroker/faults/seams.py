"""Where faults get between a broker and the world: its clock, its lines to other brokers and to the store.

    seams = Seams(config, faults.lasting(config.node_id))
    Broker(config, store=SqliteStore(path, seams.clock), seams=seams)

Owns: whether the broker is frozen, and how much time has passed at once. What is cut, and by how much its wall clock is
wrong, stays over a restart: that is `Lasting`, which control owns.

Rules
- A line that is cut says nothing: what is sent over it waits until it is whole again, or until whoever waits gives up.
  The store's, whose users have no patience of their own, fails after `pykbroker.store.timeout.ms`.
- What the store has to tell meanwhile comes in its order when the line is whole again, before any answer.
- A frozen broker is one that SIGSTOP got: its timers and its lines wait, and all that is overdue comes when it thaws.

Not here: what clients see of it (dispatcher), who is to be cut from whom (control).
"""

import math
from collections.abc import Callable

import anyio
import attrs

from pykbroker.clock import SystemClock
from pykbroker.cluster.store import Batch, Condition, Listener, Operation, Snapshot, Store, TxnResult
from pykbroker.config import BrokerConfig
from pykbroker.errors import StorageError
from pykbroker.peer import Channel, Network, SocketNetwork


@attrs.define(eq=False)
class Lasting:
    """What lasts of a broker's faults until it is healed, whether the broker runs or not."""

    cut_brokers: set[int] = attrs.field(factory=set)
    is_store_cut: bool = False
    wall_offset_ms: float = 0.0  # the wall clock is wrong by this


class FaultClock(SystemClock):
    """The system's clock, whose time may pass at once, and which may stand still."""

    def __init__(self, lasting: Lasting) -> None:
        super().__init__()
        self._lasting = lasting
        self._passed_ms = 0.0  # never goes back
        self._is_frozen = False

    def time_ms(self) -> int:
        return int(super().time_ms() + self._lasting.wall_offset_ms)

    def monotonic_ms(self) -> float:
        return super().monotonic_ms() + self._passed_ms

    def pass_time(self, ms: float) -> None:
        """Let time pass at once, but for the wall clock: timers that are due by then fire."""
        assert ms >= 0
        self._passed_ms += ms
        self._earlier_deadline()

    def freeze(self) -> None:
        self._is_frozen = True

    def thaw(self) -> None:
        self._is_frozen = False
        self._earlier_deadline()

    def _run_due(self) -> None:
        if not self._is_frozen:
            super()._run_due()

    def _next_deadline_ms(self) -> float | None:
        return None if self._is_frozen else super()._next_deadline_ms()


class Seams:
    def __init__(self, config: BrokerConfig, lasting: Lasting) -> None:
        self.clock = FaultClock(lasting)
        self.is_frozen = False
        self.on_change: Callable[[], None] = lambda: None  # told when something was cut, frozen or healed
        self._lasting = lasting
        # Which broker listens at an address; set when the broker has metadata.
        self.broker_at: Callable[[str, int], int | None] = lambda host, port: None
        self.network: Network = _FaultNetwork(SocketNetwork(config), self)
        self.store_timeout_ms = config.pykbroker_store_timeout_ms
        self._lines: list[_StoreLine] = []
        self._changed = anyio.Event()

    def line_to(self, store: Store) -> Store:
        """Return the store as it is seen through a line that may be cut."""
        line = _StoreLine(store, self)
        self._lines.append(line)
        return line

    @property
    def is_store_cut(self) -> bool:
        return self._lasting.is_store_cut

    def freeze(self) -> None:
        self.is_frozen = True
        self.clock.freeze()
        self.change()

    def thaw(self) -> None:
        if self.is_frozen:
            self.is_frozen = False
            self.clock.thaw()
            self.change()

    def change(self) -> None:
        """Call after something was cut or healed."""
        for line in self._lines:
            line.deliver()
        self._changed.set()
        self._changed = anyio.Event()
        self.on_change()

    @property
    def has_cuts(self) -> bool:
        return bool(self._lasting.cut_brokers)

    def is_reachable(self, broker_id: int | None) -> bool:
        """Tell whether packets to and from a broker arrive; None: a client."""
        return not self.is_frozen and broker_id not in self._lasting.cut_brokers

    async def until_reachable(self, broker_id: int | None) -> None:
        while not self.is_reachable(broker_id):
            await self._changed.wait()

    async def until_store_is_reachable(self) -> None:
        """Raises: StorageError, where it stays cut off for too long. Of a frozen broker that time does not count."""
        while self.is_store_cut or self.is_frozen:
            changed = self._changed
            with anyio.move_on_after(math.inf if self.is_frozen else self.store_timeout_ms / 1000):
                await changed.wait()
            if not changed.is_set():
                raise StorageError("the store is cut off")


class _FaultNetwork(Network):
    def __init__(self, inner: Network, seams: Seams) -> None:
        self._inner = inner
        self._seams = seams

    async def connect(self, host: str, port: int) -> Channel:
        broker_id = self._seams.broker_at(host, port)
        await self._seams.until_reachable(broker_id)
        return _FaultChannel(await self._inner.connect(host, port), broker_id, self._seams)


class _FaultChannel(Channel):
    def __init__(self, inner: Channel, broker_id: int | None, seams: Seams) -> None:
        self._inner = inner
        self._broker_id = broker_id
        self._seams = seams

    async def exchange(self, frame: bytes) -> memoryview:
        await self._seams.until_reachable(self._broker_id)
        answer = await self._inner.exchange(frame)
        await self._seams.until_reachable(self._broker_id)
        return answer

    async def send(self, frame: bytes) -> None:
        await self._seams.until_reachable(self._broker_id)
        await self._inner.send(frame)

    async def aclose(self) -> None:
        await self._inner.aclose()


class _StoreLine(Store):
    def __init__(self, inner: Store, seams: Seams) -> None:
        self._inner = inner
        self._seams = seams
        self._held: list[tuple[Listener, Batch]] = []

    async def range(self, prefix: str) -> Snapshot:
        await self._seams.until_store_is_reachable()
        return await self._inner.range(prefix)

    async def txn(self, conditions: list[Condition], operations: list[Operation]) -> TxnResult:
        await self._seams.until_store_is_reachable()
        result = await self._inner.txn(conditions, operations)
        await self._seams.until_store_is_reachable()  # what it tells comes before its answer
        return result

    async def catch_up(self) -> None:
        await self._seams.until_store_is_reachable()
        await self._inner.catch_up()
        await self._seams.until_store_is_reachable()

    async def watch(self, listener: Listener) -> Snapshot:
        def hear(batch: Batch) -> None:
            if self._is_open:
                listener(batch)
            else:
                self._held.append((listener, batch))

        return await self._inner.watch(hear)

    async def grant_lease(self, ttl_ms: int) -> int:
        await self._seams.until_store_is_reachable()
        return await self._inner.grant_lease(ttl_ms)

    async def keep_alive(self, lease: int) -> bool:
        await self._seams.until_store_is_reachable()
        return await self._inner.keep_alive(lease)

    async def revoke_lease(self, lease: int) -> None:
        await self._seams.until_store_is_reachable()
        await self._inner.revoke_lease(lease)

    async def run(self) -> None:
        await self._inner.run()

    async def close(self) -> None:
        await self._inner.close()

    @property
    def _is_open(self) -> bool:
        return not self._seams.is_store_cut and not self._seams.is_frozen

    def deliver(self) -> None:
        """Tell what was held back, if the line is whole."""
        if self._is_open:
            held, self._held = self._held, []
            for listener, batch in held:
                listener(batch)

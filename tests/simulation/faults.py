"""The faults that a simulated cluster has to survive, and who orders them.

    nemesis = Nemesis(world, network, nodes)
    await nemesis.rage(until_ms=20_000)
    await nemesis.heal()

Rules
- One fault after the other, at times two at once, each with its end; the seed chooses which, whom, and for how long.
- A loss of power, or of a disk, comes only while all replicas of all partitions are in sync, and until they are again
  no process is killed: what was acknowledged is then on the other machines. (A broker that was killed counts as one
  that may have lost something, in Kafka, too. If all others are killed before the cluster notices that one has lost its
  power, that one is left as the last in the ISR.) Everything else may come at any time.
"""

from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from tests.simulation.network import SimulatedNetwork
from tests.simulation.node import Node
from tests.simulation.world import World

DAY_MS = 86_400_000
MAX_CALM_MS, MAX_FAULT_MS = 4000, 8000
BETWEEN_BROKERS = ("cut pair", "cut one way", "isolate", "isolate from all", "slow", "lose power", "empty disk")
OVERLAP = 0.25  # how often the next fault does not wait for the end of this one


@attrs.define(eq=False)
class Nemesis:
    world: World
    network: SimulatedNetwork
    nodes: Sequence[Node]
    is_safe: Callable[[], bool]  # whether all replicas are in sync
    counts: dict[str, int] = attrs.field(factory=dict)
    kinds: Sequence[str] = ()  # only these; none: all
    _is_fragile: bool = False  # a disk has lost something, and not all replicas have been in sync since
    _busy: set[int] = attrs.field(factory=set)  # nodes that are being started or stopped

    async def rage(self, until_ms: float) -> None:
        """Order faults until then; the last ones end later."""
        faults = self._faults()
        names = [name for name in faults if not self.kinds or name in self.kinds]
        if len(self.nodes) < 2:
            names = [name for name in names if name not in BETWEEN_BROKERS]
        async with trio.open_nursery() as tasks:
            while self.world.now_ms < until_ms:
                await self.world.sleep(self.world.random.uniform(100, MAX_CALM_MS))
                name = self.world.random.choice(names)
                self.counts[name] = self.counts.get(name, 0) + 1
                if self.world.random.random() < OVERLAP:
                    tasks.start_soon(faults[name])
                else:
                    await faults[name]()

    def _faults(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "kill": self._kill,
            "lose power": self._lose_power,
            "stop": self._stop,
            "bounce": self._bounce,
            "freeze": self._freeze,
            "wall clock": self._jump_wall_clock,
            "cut pair": self._cut_pair,
            "cut one way": self._cut_one_way,
            "isolate": self._isolate,
            "cut from the store": self._cut_store,
            "isolate from all": self._isolate_from_all,
            "lose connections": self._lose_connections,
            "slow": self._slow,
            "empty disk": self._empty_disk,
            "all down": self._all_down,
        }

    async def heal(self) -> None:
        """End all faults, and start who is down."""
        self.world.note("all heals")
        self.network.cuts.clear()
        self.network.slow.clear()
        self.network.rejects.clear()
        for node in self.nodes:
            node.cut_store(False)
            node.thaw()
            node.jump_wall_clock(-node.wall_offset_ms)
        self.network.flow()
        async with trio.open_nursery() as tasks:
            for node in self.nodes:
                tasks.start_soon(node.start)

    # Choices

    def _duration_ms(self) -> float:
        return self.world.random.choice((1.0, 0.3, 0.05)) * self.world.random.uniform(10, MAX_FAULT_MS)

    def _anyone(self) -> Node:
        """Often the leader of something, or the controller."""
        return self.world.random.choice(self.nodes)

    async def _with_node(self, act: Callable[[Node], Awaitable[None]]) -> None:
        """Have a node that runs, and is nobody else's, for as long as it takes to be started again."""
        node = self._anyone()
        if node.id in self._busy or not node.is_running or node.is_frozen:
            return
        self._busy.add(node.id)
        try:
            await act(node)
        finally:
            self._busy.discard(node.id)

    async def _back_after_a_while(self, node: Node) -> None:
        await self.world.sleep(self._duration_ms())
        await self._start(node)

    async def _start(self, node: Node) -> None:
        """Start a node, as a supervisor would: again and again."""
        for _ in range(3):
            await node.start()
            if node.is_running:
                return
            await self.world.sleep(1000)

    # Processes

    def _may_kill(self) -> bool:
        if self._is_fragile and self.is_safe():
            self._is_fragile = False
        return not self._is_fragile

    async def _kill(self) -> None:
        async def act(node: Node) -> None:
            await node.kill()
            await self._back_after_a_while(node)

        if self._may_kill():
            await self._with_node(act)

    async def _lose_power(self) -> None:
        async def act(node: Node) -> None:
            self._is_fragile = True
            await node.lose_power()
            await self._back_after_a_while(node)

        if self.is_safe():
            await self._with_node(act)

    async def _stop(self) -> None:
        async def act(node: Node) -> None:
            await node.stop()
            await self._back_after_a_while(node)

        await self._with_node(act)

    async def _bounce(self) -> None:
        """One node, down and up again and again."""

        async def act(node: Node) -> None:
            for _ in range(self.world.random.randint(2, 4)):
                await (node.kill() if self._may_kill() and self.world.random.random() < 0.5 else node.stop())
                await self._start(node)
                await self.world.sleep(self.world.random.uniform(0, 500))

        await self._with_node(act)

    async def _freeze(self) -> None:
        async def act(node: Node) -> None:
            node.freeze()
            await self.world.sleep(self._duration_ms())
            node.thaw()

        await self._with_node(act)

    async def _empty_disk(self) -> None:
        """A replaced disk: as a loss of power, it takes away what only this machine has."""

        async def act(node: Node) -> None:
            self._is_fragile = True
            await node.kill()
            node.empty_disk()
            await self._back_after_a_while(node)

        if self.is_safe():
            await self._with_node(act)

    async def _all_down(self) -> None:
        if not self._may_kill():
            return
        downs = [node for node in self.nodes if node.id not in self._busy and node.is_running and not node.is_frozen]
        self._busy.update(node.id for node in downs)
        async with trio.open_nursery() as tasks:
            for node in downs:
                tasks.start_soon(node.kill if self.world.random.random() < 0.7 else node.stop)
        self.world.random.shuffle(downs)
        for node in downs:
            await self.world.sleep(self.world.random.uniform(0, 1000))
            await self._start(node)
        self._busy.difference_update(node.id for node in downs)

    async def _jump_wall_clock(self) -> None:
        self._anyone().jump_wall_clock(self.world.random.choice((-DAY_MS, DAY_MS, -3_600_000, 5000)))

    # The network

    async def _cut(self, directions: set[tuple[str, str]]) -> None:
        self.world.note(f"cut {sorted(directions)}")
        self.network.cuts |= directions
        if self.world.random.random() < 0.5:
            self._lose([link for link in self.network.links if (link.source, link.target) in directions])
            if self.world.random.random() < 0.3:  # as a firewall that answers
                self.network.rejects |= directions
                self.network.cuts -= directions
        await self.world.sleep(self._duration_ms())
        self.world.note(f"healed {sorted(directions)}")
        self.network.cuts -= directions
        self.network.rejects -= directions
        self.network.flow()

    async def _cut_pair(self) -> None:
        one, other = (node.name for node in self.world.random.sample(self.nodes, 2))
        await self._cut({(one, other), (other, one)})

    async def _cut_one_way(self) -> None:
        one, other = (node.name for node in self.world.random.sample(self.nodes, 2))
        await self._cut({(one, other)})

    def _to_other_brokers(self, node: Node) -> set[tuple[str, str]]:
        others = [other.name for other in self.nodes if other is not node]
        return {(node.name, other) for other in others} | {(other, node.name) for other in others}

    async def _isolate(self) -> None:
        """From the other brokers; clients and the store still reach it."""
        await self._cut(self._to_other_brokers(self._anyone()))

    async def _cut_store(self) -> None:
        node = self._anyone()
        node.cut_store(True)
        await self.world.sleep(self._duration_ms())
        node.cut_store(False)

    async def _isolate_from_all(self) -> None:
        """From brokers and store, but not from clients."""
        node = self._anyone()
        node.cut_store(True)
        await self._cut(self._to_other_brokers(node))
        node.cut_store(False)

    async def _lose_connections(self) -> None:
        links = list(self.network.links)
        self._lose(self.world.random.sample(links, self.world.random.randint(0, len(links))))

    def _lose(self, links: list) -> None:  # type: ignore[type-arg]
        self.world.note(f"{len(links)} connections are lost")
        for link in links:
            link.lose()

    async def _slow(self) -> None:
        node = self._anyone()
        directions = self._to_other_brokers(node)
        self.world.note(f"{node.name} is slow")
        self.network.slow |= directions
        await self.world.sleep(self._duration_ms())
        self.network.slow -= directions

"""One broker of a simulated cluster: the real Broker in a process that can be started, stopped, killed and frozen.

    node = Node(world, network, store_data, node_id=1, folder=folder, properties={})
    await node.start()                  # returns when it accepts clients, or when it gave up
    node.kill(); node.lose_power(); await node.stop(); node.freeze(); node.thaw(); node.empty_disk()

Rules
- A process is an incarnation: clock, store view and network of one that is gone are dead, whatever its tasks still try
  before they end.
- A start that fails, or is not wanted any more, leaves the node down; so does a broker that ends by itself, which is a
  violation.
"""

import logging
import socket
from pathlib import Path

import attrs
import trio

from pykbroker.broker import Broker, StartError
from pykbroker.config import BrokerConfig
from pykbroker.log.storage import LogDirectory
from pykbroker.peer import Channel
from tests.simulation.clock import BrokerClock
from tests.simulation.disk import Disk, SimulatedFlusher
from tests.simulation.lines import StoreLine
from tests.simulation.memory_store import MemoryStore, StoreData
from tests.simulation.network import NodeNetwork, SimulatedNetwork
from tests.simulation.world import World, actor

PORT = 9092
START_PATIENCE_MS = 30_000
logger = logging.getLogger("tests.simulation")


@attrs.define(eq=False)
class _Incarnation:
    """One process of a node."""

    broker: Broker
    clock: BrokerClock
    line: StoreLine
    flushers: list[SimulatedFlusher]
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    started: trio.Event = attrs.field(factory=trio.Event)  # or given up
    stop: trio.Event = attrs.field(factory=trio.Event)
    ended: trio.Event = attrs.field(factory=trio.Event)
    accepts: bool = False
    is_dead: bool = False

    def end(self) -> None:
        """The process is gone."""
        self.is_dead = True
        self.accepts = False
        self.broker.kill()
        self.clock.stop()
        for flusher in self.flushers:
            flusher.abandon()
        self.line.is_dead = True
        self.line.changed()
        self.scope.cancel()


@attrs.frozen
class _OwnNetwork(NodeNetwork):
    """The network of one incarnation."""

    node: "Node"
    incarnation: list[_Incarnation]

    async def connect(self, host: str, port: int) -> Channel:
        if self.incarnation and self.incarnation[0].is_dead:
            raise OSError("this process is gone")
        return await super().connect(host, port)


class Node:
    def __init__(
        self,
        world: World,
        network: SimulatedNetwork,
        data: StoreData,
        *,
        node_id: int,
        folder: Path,
        properties: dict[str, str],
    ) -> None:
        self.id = node_id
        self.name = f"broker-{node_id}"
        self.disk = Disk(world, folder / self.name)
        self.is_powered = True
        self.failures: list[str] = []  # what must not happen to a broker
        self.bugs = 0  # counted by brokers that are gone
        self.wall_offset_ms = 0.0
        self._properties = properties
        self._world = world
        self._network = network
        self._data = data
        self._current: _Incarnation | None = None
        self._store_is_cut = False
        network.attend(self.name, self)
        world.on_end.append(self._end)

    @property
    def broker(self) -> Broker:
        """The broker that runs."""
        assert self._current is not None
        return self._current.broker

    # What the network asks

    @property
    def is_running(self) -> bool:
        return self._current is not None and self._current.accepts

    @property
    def is_down(self) -> bool:
        return self._current is None

    @property
    def is_frozen(self) -> bool:
        return self._current is not None and self._current.line.is_frozen

    def accept(self, sock: socket.socket, peer: str) -> None:
        sock.setblocking(False)
        self._world.connections += 1
        name = f"{peer}-{self._world.connections}"
        self.broker.serve(sock, listener="PLAINTEXT", client_id=name, host=peer)

    # Its life

    async def start(self) -> None:
        if self._current is not None:
            return
        self.is_powered = True
        self._world.note(f"{self.name} starts")
        incarnation = self._current = self._new()
        self._world.tasks.start_soon(self._run, incarnation)
        with trio.move_on_after(START_PATIENCE_MS / 1000):
            await incarnation.started.wait()

    def _new(self) -> _Incarnation:
        clock = BrokerClock(self._world, self.name, wall_offset_ms=self.wall_offset_ms)
        line = StoreLine(self._world, self.name, self._on_failure, is_cut=self._store_is_cut)
        flushers: list[SimulatedFlusher] = []

        def new_flusher(directory: LogDirectory) -> SimulatedFlusher:
            flushers.append(SimulatedFlusher(directory, self._world))
            return flushers[-1]

        properties = {
            "node.id": str(self.id),
            "log.dirs": str(self.disk.root),
            "listeners": f"PLAINTEXT://{self.name}:{PORT}",
        }
        itself: list[_Incarnation] = []
        broker = Broker(
            BrokerConfig.from_properties(properties | self._properties),
            clock=clock,
            network=_OwnNetwork(self._network, self.name, self, itself),
            store=MemoryStore(self._data, line),
            new_flusher=new_flusher,
            listens=False,
        )
        itself.append(_Incarnation(broker, clock, line, flushers))
        return itself[0]

    def _on_failure(self, error: Exception) -> None:
        logger.error("%s: a listener of the store fails", self.name, exc_info=error)
        self.failures.append(f"{self.name}: a listener of the store raises {error!r}")

    async def _run(self, incarnation: _Incarnation) -> None:
        actor.set(self.name)
        try:
            with incarnation.scope:
                async with incarnation.broker:
                    self._world.note(f"{self.name} accepts clients")
                    incarnation.accepts = not incarnation.is_dead
                    incarnation.started.set()
                    try:
                        await incarnation.stop.wait()
                    finally:
                        incarnation.accepts = False
        except StartError as error:
            self._world.note(f"{self.name} cannot start: {error}")
        except Exception as error:
            # Whatever ends a broker that nobody wanted to end: the checker reports it.
            if not incarnation.is_dead:
                logger.exception("%s ends", self.name)
                self.failures.append(f"{self.name} ends by {_innermost(error)!r}")
        incarnation.accepts = False
        self.bugs += incarnation.broker.metrics.bugs_total
        if not incarnation.is_dead:
            incarnation.is_dead = True
            self._end_links(is_silent=False)
        if self._current is incarnation:
            self._current = None
        self._world.note(f"{self.name} is down")
        incarnation.started.set()
        incarnation.ended.set()

    async def stop(self) -> None:
        """Stop cleanly."""
        incarnation = self._current
        if incarnation is not None:
            self._world.note(f"{self.name} stops")
            incarnation.stop.set()
            await incarnation.ended.wait()

    async def kill(self) -> None:
        """End the process: what it wrote is there, since the kernel lives on."""
        incarnation = self._current
        if incarnation is not None:
            self._world.note(f"{self.name} is killed")
            incarnation.end()
            self._end_links(is_silent=False)
            await incarnation.ended.wait()

    async def lose_power(self) -> None:
        """End the machine: what was not flushed may be gone, and its peers are not told."""
        incarnation = self._current
        if incarnation is not None:
            self._world.note(f"{self.name} loses power")
            self.is_powered = False
            left = self.disk.lose_power()
            incarnation.end()
            self._end_links(is_silent=True)
            await incarnation.ended.wait()
            self.disk.restore(left)

    def empty_disk(self) -> None:
        """Replace the disk of a node that is down."""
        self._world.note(f"{self.name} has a new disk")
        self.disk.empty()

    def _end(self) -> None:
        """The world ends, at times before its story does."""
        if self._current is not None:
            self._current.end()

    def _end_links(self, *, is_silent: bool) -> None:
        for link in self._network.links_of(self.name):
            link.end(self.name, is_silent=is_silent)

    def freeze(self) -> None:
        if self._current is not None:
            self._world.note(f"{self.name} freezes")
            self._current.clock.freeze()
            self._current.line.is_frozen = True

    def thaw(self) -> None:
        if self._current is not None and self._current.line.is_frozen:
            self._world.note(f"{self.name} thaws")
            self._current.line.is_frozen = False
            self._current.clock.thaw()
            self._current.line.changed()
            self._network.flow()

    def jump_wall_clock(self, ms: float) -> None:
        self._world.note(f"{self.name} wall clock {ms:+.0f} ms")
        self.wall_offset_ms += ms
        if self._current is not None:
            self._current.clock.wall_offset_ms = self.wall_offset_ms

    def cut_store(self, is_cut: bool) -> None:
        self._world.note(f"{self.name} and the store: {'cut' if is_cut else 'healed'}")
        self._store_is_cut = is_cut
        if self._current is not None:
            self._current.line.is_cut = is_cut
            self._current.line.changed()

    def bugs_total(self) -> int:
        return self.bugs + (0 if self._current is None else self._current.broker.metrics.bugs_total)


def _innermost(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

"""The simulated network: connections between nodes, with delays, cuts, and connections that are lost.

    network = SimulatedNetwork(world)
    network.attend("broker-1", host)            # `host.accept(sock, peer)` serves what is connected to it
    link = await network.connect("client", "broker-1", timeout_ms=2000)

Owns: all links; which directions are cut, and how slow each is.

Rules
- Bytes of one direction arrive in order. While the direction is cut, or the receiver frozen, they wait and arrive when
  that has ended, as what TCP sends again; unless somebody has given up by then.
- At the broker's end is a real socket, served by the broker's own Connection; nothing but the world waits for it.
- A node that was killed resets its connections. One that lost its power says nothing, until somebody asks it again.
- Who is reset learns it as an OSError, after what has arrived before.

Not here: who orders the faults (faults), the store's lines (lines).
"""

import socket
import struct
import zlib
from collections import deque
from collections.abc import Callable
from typing import Protocol

import attrs
import trio

from pykbroker.peer import Channel, Network
from tests.simulation.world import World

CONNECT_TIMEOUT_MS = 4000
MIN_DELAY_MS, MAX_DELAY_MS = 0.05, 1.5
SLOW_FACTOR = 100
_SIZE = struct.Struct(">i")

Direction = tuple[str, str]  # from, to


class Host(Protocol):
    """What is at the other end of a link."""

    @property
    def is_running(self) -> bool: ...

    @property
    def is_powered(self) -> bool: ...

    @property
    def is_frozen(self) -> bool: ...

    def accept(self, sock: socket.socket, peer: str) -> None: ...


class _Pipe:
    """One direction of a link."""

    def __init__(
        self, network: "SimulatedNetwork", direction: Direction, arrive: Callable[[bytes | None], None]
    ) -> None:
        self._network = network
        self._direction = direction
        self._arrive = arrive  # None: the other end is closed
        self._queue: deque[tuple[float, bytes | None]] = deque()
        self._last_ms = 0.0

    def send(self, data: bytes | None) -> None:
        world = self._network.world
        self._last_ms = max(self._last_ms, world.now_ms + self._network.delay_ms(self._direction))
        self._queue.append((self._last_ms, data))
        world.call_at(self._last_ms, self.flow)

    def flow(self) -> None:
        """Let arrive what is due and can."""
        network = self._network
        while self._queue and self._queue[0][0] <= network.world.now_ms and network.is_open(self._direction):
            data = self._queue.popleft()[1]
            source, target = self._direction
            what = "end" if data is None else f"{len(data)} bytes {zlib.crc32(data):08x}"
            network.world.note(f"{source} > {target} {what}")
            self._arrive(data)

    def drop(self) -> None:
        """Lose what is on its way."""
        self._queue.clear()


class Link:
    """One connection, as the node that opened it sees it."""

    def __init__(self, network: "SimulatedNetwork", source: str, target: str) -> None:
        self.source, self.target = source, target
        self._network = network
        self._there = _Pipe(network, (source, target), self._arrived_there)
        self._back = _Pipe(network, (target, source), self._arrived_back)
        self._socket: socket.socket | None = None  # the other end of the broker's
        self._received = bytearray()
        self._error: OSError | None = None
        self._is_connected = False
        self._news = trio.Event()
        self._there.send(b"")  # asks to be let in

    # The end that opened it

    async def wait_connected(self) -> None:
        """Raises: OSError."""
        while not self._is_connected:
            await self._wait()

    def send(self, data: bytes) -> None:
        """Raises: OSError."""
        if self._error is not None:
            raise self._error
        self._there.send(data)

    async def receive_frame(self) -> memoryview:
        """Return the next frame without its size. Raises: OSError."""
        while True:
            if len(self._received) >= 4:
                (size,) = _SIZE.unpack_from(self._received)
                if len(self._received) >= 4 + size:
                    frame = memoryview(bytes(self._received[4 : 4 + size]))
                    del self._received[: 4 + size]
                    return frame
            await self._wait()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        await self._news.wait()

    def _tell(self) -> None:
        self._news.set()
        self._news = trio.Event()

    def close(self) -> None:
        """Close it from this end; what was sent arrives all the same."""
        if self._error is None:
            self._error = OSError("closed")
            self._there.send(None)
            self._tell()

    def _arrived_back(self, data: bytes | None) -> None:
        if self._error is not None:
            return
        if data is None:
            refused = ConnectionRefusedError(f"{self.target} refuses {self.source}")
            self._error = ConnectionResetError("connection lost") if self._is_connected else refused
            self._network.forget(self)
        else:
            self._is_connected = True
            self._received += data
        self._tell()

    # The broker's end

    def _arrived_there(self, data: bytes | None) -> None:
        host = self._network.host(self.target)
        if data is None:
            self._leave()
            self._network.forget(self)
        elif self._socket is not None:
            self._write(data)
        elif data == b"" and host.is_running and (self.source, self.target) not in self._network.rejects:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            self._socket = ours
            self._network.world.tasks.start_soon(self._read, ours)
            host.accept(theirs, self.source)
            self._back.send(b"")
        elif host.is_powered:
            self._back.send(None)  # nobody listens, or nobody knows this connection any more

    def _write(self, data: bytes) -> None:
        assert self._socket is not None
        try:
            sent = self._socket.send(data)
            assert sent == len(data), "the broker does not read"
        except OSError:
            self._leave()

    async def _read(self, sock: socket.socket) -> None:
        """Take what the broker sends, until it closes."""
        with sock:
            while self._socket is sock:
                try:
                    data = sock.recv(1024 * 1024)
                except BlockingIOError:
                    try:
                        await trio.lowlevel.wait_readable(sock)
                    except trio.ClosedResourceError:
                        return  # our end was closed
                    continue
                except OSError:
                    data = b""
                if not data:
                    if self._socket is sock:
                        self._leave()
                        self._back.send(None)
                    return
                self._back.send(data)

    def _leave(self) -> None:
        """Close the broker's end."""
        sock, self._socket = self._socket, None
        if sock is not None:
            trio.lowlevel.notify_closing(sock)
            sock.close()

    # Faults

    def end(self, name: str, *, is_silent: bool) -> None:
        """The process of one end is gone; silently, if it had no time to say so."""
        if is_silent:
            (self._back if name == self.target else self._there).drop()
        if name == self.target:
            self._leave()
            if not is_silent:
                self._back.send(None)
        elif self._error is None:
            self._error = OSError("this process is gone")
            if is_silent:
                self._network.forget(self)
                self._network.orphans.append(self)
            else:
                self._there.send(None)

    def lose(self) -> None:
        """Both ends find it broken; what is on its way does not arrive."""
        self._there.drop()
        self._back.drop()
        self._leave()
        self._back.send(None)

    def flow(self) -> None:
        self._there.flow()
        self._back.flow()


class SimulatedNetwork:
    def __init__(self, world: World) -> None:
        self.world = world
        self.links: dict[Link, None] = {}
        self.orphans: list[Link] = []  # of which nobody has told the broker's end that there is no other any more
        self.cuts: set[Direction] = set()
        self.slow: set[Direction] = set()
        self.rejects: set[Direction] = set()  # something on the way refuses new connections
        self._hosts: dict[str, Host] = {}

    def attend(self, name: str, host: Host) -> None:
        """Have `host` serve what is connected to `name`."""
        self._hosts[name] = host

    def host(self, name: str) -> Host:
        return self._hosts[name]

    async def connect(self, source: str, target: str, timeout_ms: float = CONNECT_TIMEOUT_MS) -> Link:
        """Raises: OSError."""
        link = Link(self, source, target)
        self.links[link] = None
        try:
            with trio.fail_after(timeout_ms / 1000):
                await link.wait_connected()
        except trio.TooSlowError:
            link.close()
            raise TimeoutError(f"no answer from {target}") from None
        except trio.Cancelled:
            link.close()
            raise
        return link

    def forget(self, link: Link) -> None:
        self.links.pop(link, None)

    def delay_ms(self, direction: Direction) -> float:
        delay_ms = self.world.random.uniform(MIN_DELAY_MS, MAX_DELAY_MS)
        return delay_ms * SLOW_FACTOR if direction in self.slow else delay_ms

    def is_open(self, direction: Direction) -> bool:
        source, target = direction
        return direction not in self.cuts and not any(
            name in self._hosts and self._hosts[name].is_frozen for name in (source, target)
        )

    def close(self) -> None:
        """Let go of all sockets."""
        for link in (*self.links, *self.orphans):
            link.lose()

    def flow(self) -> None:
        """Something has healed: let arrive what waited for it."""
        for link in tuple(self.links):
            link.flow()

    def links_of(self, name: str) -> list[Link]:
        """All links of a node, whoever opened them."""
        return [link for link in self.links if name in (link.source, link.target)]


@attrs.frozen
class NodeNetwork(Network):
    """The network as one broker uses it: pykbroker's own interface."""

    network: SimulatedNetwork
    name: str

    async def connect(self, host: str, port: int) -> "LinkChannel":
        return LinkChannel(await self.network.connect(self.name, host))


@attrs.frozen
class LinkChannel(Channel):
    link: Link

    async def send(self, frame: bytes) -> None:
        self.link.send(frame)

    async def exchange(self, frame: bytes) -> memoryview:
        self.link.send(frame)
        return await self.link.receive_frame()

    async def aclose(self) -> None:
        self.link.close()

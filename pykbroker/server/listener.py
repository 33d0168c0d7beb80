"""Listening sockets: accept clients within the limits, and end connections that are idle for too long.

Owns: the set of open connections.

Rules
- With `max.connections` open, on the broker or on the listener (`listener.name.<name>.max.connections`), further
  clients wait in the backlog until one leaves. Where the brokers have a listener among others, the limit of the broker
  does not hold for it: the connection elsewhere that was idle for longest makes room.
- Beyond the rate of new connections a client waits until it is served, with all behind it on its listener. One that is
  beyond the rate of its address is closed unserved, a little later, so that it does not come again at once.
- Listeners open and close while others serve on; with a listener its connections end.
- A client over `max.connections.per.ip` (or what `max.connections.per.ip.overrides` says for its address) is closed at
  once, before anything is read.
- A connection without traffic for `connections.max.idle.ms` is closed, unless it waits for an answer of ours.
- An error in accepting (no descriptors left, a network that went away) pauses it for a moment.

Sources: KIP-402, KIP-612; Kafka's ConnectionQuotas, Acceptor, Selector.IdleExpiryManager, DynamicListenerConfig.
"""

import itertools
import logging
import socket
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

import anyio
import attrs

from pykbroker.clock import Timer
from pykbroker.config import BrokerConfig
from pykbroker.config_tables.definition import INT_MAX
from pykbroker.handlers.context import ConnectionInfo
from pykbroker.server.connection import Connection, ServerContext

if TYPE_CHECKING:  # they are made when there is such a limit
    from pykbroker.quotas.connection_rates import ConnectionRates
    from pykbroker.server.request_memory import RequestMemory

logger = logging.getLogger("pykbroker.server")

BACKLOG = 1024
ACCEPT_PAUSE_SECONDS = 0.1
MAX_ACCEPTED_WITHOUT_YIELD = 64
LIMIT_CHECK_SECONDS = 1.0  # how soon a `max.connections` that was raised meanwhile lets in who waits
MAX_REFUSED_HELD = 1024  # sockets of clients beyond the rate of their address; more are closed at once
IDLE_SWEEPS_PER_LIMIT = 10
MIN_SWEEP_INTERVAL_MS = 5


class ListenError(Exception):
    """The address cannot be listened on; the message is fit for a person."""


@attrs.define(eq=False)
class Listener:
    """One bound address."""

    name: str
    socket: socket.socket

    @property
    def address(self) -> tuple[str, int]:
        host, port = self.socket.getsockname()[:2]
        return host, port

    @classmethod
    def bind(cls, name: str, host: str, port: int, config: BrokerConfig) -> "Listener":
        """Bind and listen. Raises: ListenError."""
        try:
            # As bytes, a name in ASCII does not load the codec for all others.
            name_or_address = host.encode() if host.isascii() else host
            family, type_, proto, _, address = socket.getaddrinfo(
                name_or_address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
            sock = socket.socket(family, type_, proto)
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                _set_buffers(sock, config)
                sock.bind(address)
                # Kafka's default of 50 drops clients that come all at once: it counts where somebody set it.
                is_set = config.is_set("socket.listen.backlog.size")
                sock.listen(config.socket_listen_backlog_size if is_set else BACKLOG)
            except OSError:
                sock.close()
                raise
        except OSError as error:
            raise ListenError(f"cannot listen on {host}:{port}: {error.strerror}") from None
        sock.setblocking(False)
        return cls(name, sock)


def _set_buffers(sock: socket.socket, config: BrokerConfig) -> None:
    """Set the sizes that connections inherit, where somebody chose them: the kernel's own choice is better."""
    for name, option, size in (
        ("socket.send.buffer.bytes", socket.SO_SNDBUF, config.socket_send_buffer_bytes),
        ("socket.receive.buffer.bytes", socket.SO_RCVBUF, config.socket_receive_buffer_bytes),
    ):
        if size > 0 and config.is_set(name):
            sock.setsockopt(socket.SOL_SOCKET, option, size)


class Server:
    def __init__(self, config: BrokerConfig, context: ServerContext) -> None:
        self._config = config
        self._context = context
        self._connections: dict[Connection, str] = {}
        self._per_host: Counter[str] = Counter()
        self.accepted_total: Counter[str] = Counter()  # by listener
        self._per_listener: Counter[str] = Counter()
        self._rates: ConnectionRates | None = None
        self._refused: dict[socket.socket, Timer] = {}  # closed when their time is up
        self._memory: RequestMemory | None = None
        self._scopes: dict[str, anyio.CancelScope] = {}  # of the listeners that accept
        self._ids = itertools.count()
        self._left = anyio.Event()  # set when the next connection ends

    def start(self, listener: Listener) -> None:
        """Accept clients by this listener, until it is closed."""
        self._context.task_group.start_soon(self._serve, listener)

    async def _serve(self, listener: Listener) -> None:
        sock = listener.socket
        accepted = 0
        with sock, anyio.CancelScope() as self._scopes[listener.name]:
            while True:
                if not self._has_room(listener.name):
                    await self._wait_for_room()
                    continue
                try:
                    client, address = sock.accept()
                except BlockingIOError:
                    accepted = 0
                    await anyio.wait_readable(sock)
                except ConnectionAbortedError:
                    continue
                except OSError as error:
                    logger.warning("cannot accept a client: %s", error.strerror)
                    await anyio.sleep(ACCEPT_PAUSE_SECONDS)
                else:
                    if wait_ms := self._wait_ms(listener.name):
                        await self._wait_to_serve(listener.name, client, wait_ms)
                    self._accept(listener, client, address)
                    accepted += 1
                    if accepted % MAX_ACCEPTED_WITHOUT_YIELD == 0:
                        await anyio.lowlevel.checkpoint()

    def _has_room(self, listener: str) -> bool:
        if self._per_listener[listener] >= self._config.limit_of_listener(listener, "max.connections"):
            return False
        return self._is_protected(listener) or len(self._connections) < self._config.max_connections

    def _is_protected(self, listener: str) -> bool:
        return len(self._scopes) > 1 and listener == self._config.inter_broker_listener_effective

    def _wait_ms(self, listener: str) -> int:
        """Count a new connection, and return how long it has to wait."""
        config = self._config
        limits = config.max_connection_creation_rate, config.limit_of_listener(listener, "max.connection.creation.rate")
        if limits == (INT_MAX, INT_MAX):
            return 0
        return self.rates.wait_ms(listener, is_protected=self._is_protected(listener))

    async def _wait_to_serve(self, listener: str, client: socket.socket, wait_ms: int) -> None:
        try:
            await self._context.clock.sleep(wait_ms)
            while not self._has_room(listener):
                await self._wait_for_room()
        except BaseException:
            client.close()
            raise

    @property
    def rates(self) -> "ConnectionRates":
        if self._rates is None:
            from pykbroker.quotas.connection_rates import ConnectionRates

            self._rates = ConnectionRates(self._config, self._context.clock)
        return self._rates

    def stop(self, listener: str) -> None:
        """Accept nobody by this listener any more, and end its connections."""
        self._scopes.pop(listener).cancel()
        for connection in tuple(self._connections):
            if connection.info.listener == listener:
                connection.close()

    async def _wait_for_room(self) -> None:
        with anyio.move_on_after(LIMIT_CHECK_SECONDS):
            await self._left.wait()

    def _accept(self, listener: Listener, client: socket.socket, address: tuple[str, int]) -> None:
        metrics = self._context.metrics
        host, port = address[:2]
        if self._rates is not None and (refuse_ms := self._rates.refuse_ms(host.removeprefix("::ffff:"))):
            metrics.connections_refused_total += 1
            self._refuse_later(client, refuse_ms)
            return
        if self._per_host[host] >= self._max_from(host):
            metrics.connections_refused_total += 1
            logger.warning("refusing a client at %s: too many connections", host)
            client.close()
            return
        try:
            client.setblocking(False)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            local = client.getsockname()
        except OSError:  # it has left already
            client.close()
            return
        info = ConnectionInfo(
            id=f"{local[0]}:{local[1]}-{host}:{port}-{next(self._ids)}", listener=listener.name, host=host, port=port
        )
        self.adopt(client, info)

    def adopt(self, client: socket.socket, info: ConnectionInfo) -> None:
        """Serve a client that is connected; the socket does not block, and is this server's from now on."""
        metrics = self._context.metrics
        connection = self._new_connection(client, info)
        self._connections[connection] = info.host
        self._per_listener[info.listener] += 1
        self.accepted_total[info.listener] += 1
        self._per_host[info.host] += 1
        metrics.connections += 1
        metrics.connections_total += 1
        self._context.task_group.start_soon(self._serve_connection, connection)
        if len(self._connections) > self._config.max_connections:
            self._make_room()

    def _new_connection(self, client: socket.socket, info: ConnectionInfo) -> Connection:
        limit_bytes = self._config.queued_max_request_bytes
        if limit_bytes <= 0:
            return Connection(client, info, self._context)
        from pykbroker.server.request_memory import BoundedConnection, RequestMemory

        if self._memory is None:
            self._memory = RequestMemory(limit_bytes)
        return BoundedConnection(client, info, self._context, self._memory)

    def _make_room(self) -> None:
        """A broker came in by its own listener although all places are taken: somebody else has to go."""
        others = [each for each in self._connections if not self._is_protected(each.info.listener)]
        if others:
            longest_idle = min(others, key=lambda connection: connection.last_active_ms)
            logger.info("closing connection %s: there are too many", longest_idle.info.id)
            longest_idle.close()

    def _refuse_later(self, client: socket.socket, delay_ms: int) -> None:
        if len(self._refused) >= MAX_REFUSED_HELD:
            client.close()
            return

        def close() -> None:
            self._refused.pop(client, None)
            client.close()

        self._refused[client] = self._context.clock.call_later(delay_ms, close)

    def connected(self) -> Iterator[ConnectionInfo]:
        """Yield who is connected."""
        for connection in self._connections:
            yield connection.info

    def _max_from(self, host: str) -> int:
        """How many connections an address may have."""
        for override in self._config.max_connections_per_ip_overrides.split(","):
            name, _, limit = override.rpartition(":")
            if name.strip() == host:
                return int(limit)
        return self._config.max_connections_per_ip

    async def _serve_connection(self, connection: Connection) -> None:
        try:
            await connection.serve()
        except Exception:
            # A bug in the handling of one connection must not end the others.
            self._context.metrics.bugs_total += 1
            logger.exception("bug in connection %s", connection.info.id)
        finally:
            host = self._connections.pop(connection)
            self._per_host[host] -= 1
            if not self._per_host[host]:
                del self._per_host[host]
            self._per_listener[connection.info.listener] -= 1
            self._context.metrics.connections -= 1
            self._left.set()
            self._left = anyio.Event()

    def close(self) -> None:
        for client, timer in self._refused.items():
            timer.cancel()
            client.close()
        self._refused.clear()

    def start_idle_sweep(self) -> None:
        """Look for idle connections from now on."""
        limit_ms = self._config.connections_max_idle_ms
        if limit_ms >= 0:
            delay_ms = max(limit_ms / IDLE_SWEEPS_PER_LIMIT, MIN_SWEEP_INTERVAL_MS)
            self._context.clock.call_later(delay_ms, self._sweep)

    def _sweep(self) -> None:
        oldest_ms = self._context.clock.monotonic_ms() - self._config.connections_max_idle_ms
        for connection in tuple(self._connections):
            if connection.last_active_ms < oldest_ms and not connection.awaits_us:
                logger.info("closing idle connection %s", connection.info.id)
                connection.close()
        self.start_idle_sweep()

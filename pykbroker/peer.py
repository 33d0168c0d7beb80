"""How brokers speak to one another: one request at a time over one connection, by the same wire as clients.

    peer = Peer(SocketNetwork(config), clock, config, lambda: ("127.0.0.1", 9092), client_id="broker-1-fetcher-0")
    response = await peer.call(request, version)

Owns: the connection to the other broker, and when it may be tried again.

Rules
- `Network` and `Channel` are the seam: a simulation plugs in its own. A channel carries one exchange at a time.
- A response is decoded from the channel's own buffer: records are views of it, good until the next call.
- Every wait has a deadline, by the broker's clock: `socket.connection.setup.timeout.ms` to connect, doubled with each
  attempt that fails up to `socket.connection.setup.timeout.max.ms`, and the caller's for an answer. Whatever goes wrong
  closes the connection and is an OSError; the next call connects anew, after a pause that doubles with each failure up
  to the one given.
- A call that is cancelled closes the connection, too: its answer must not be taken for that of the next request.

Not here: what is asked (replication.fetcher), where brokers are (cluster.image).
Sources: Kafka's BrokerBlockingSender.
"""

import errno
import itertools
import socket
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from struct import Struct
from typing import Any

import anyio

from pykbroker.clock import Clock, Result
from pykbroker.config import BrokerConfig
from wire import codec
from wire.catalog import response_class
from wire.errors import ProtocolError
from wire.frame import RequestHeader, decode_response_header, encode_request
from wire.schema import spec_of

FIRST_BACKOFF_MS = 20
_FIRST_BUFFER_BYTES = 64 * 1024
_TLS_ALERT = 0x1503  # how the answer of one that expects TLS begins

_SIZE = Struct(">i")


class Channel(ABC):
    """A connection to a broker."""

    @abstractmethod
    async def exchange(self, frame: bytes) -> memoryview:
        """Send one request, its four size bytes included; return the response without them.

        The view is good until the next exchange. Raises: OSError when the connection is lost.
        """

    @abstractmethod
    async def send(self, frame: bytes) -> None:
        """Send one request that has no response, its four size bytes included.

        Raises: OSError when the connection is lost.
        """

    async def has_ended(self) -> bool:
        """Whether the other side has closed it, or said what nobody asked for, since the last exchange."""
        return False

    @abstractmethod
    async def aclose(self) -> None: ...


class Network(ABC):
    @abstractmethod
    async def connect(self, host: str, port: int) -> Channel:
        """Raises: OSError."""


class Backoff:
    """A pause that doubles with each failure, from FIRST_BACKOFF_MS up to `max_ms`, until something succeeds."""

    __slots__ = ("_next_ms",)

    def __init__(self) -> None:
        self._next_ms = FIRST_BACKOFF_MS

    def failed(self, max_ms: int) -> int:
        """Return how long to wait now."""
        pause_ms = min(self._next_ms, max_ms)
        self._next_ms = min(2 * self._next_ms, max_ms)
        return pause_ms

    def succeeded(self) -> None:
        self._next_ms = FIRST_BACKOFF_MS


class Peer:
    def __init__(
        self,
        network: Network,
        clock: Clock,
        config: BrokerConfig,
        address: Callable[[], tuple[str, int] | None],
        *,
        client_id: str,
        max_backoff_ms: Callable[[], int],
    ) -> None:
        """`address` is asked at each connect; None: the broker is not known, which fails like a refused connect."""
        self._network = network
        self._clock = clock
        self._config = config
        self._address = address
        self._client_id = client_id
        self._max_backoff_ms = max_backoff_ms
        self._correlation_ids = itertools.count()
        self._channel: Channel | None = None
        self._backoff = Backoff()
        self._not_before_ms = 0.0
        self._failed_connects = 0  # in a row

    async def call(self, request: object, version: int, *, timeout_ms: int) -> Any:
        """Send a request and return its response. Raises: OSError."""
        return await self._connected(lambda channel: self._exchange(channel, request, version, timeout_ms))

    async def send(self, request: object, version: int, *, timeout_ms: int) -> None:
        """Send a request that has no answer. Raises: OSError."""
        frame, _, _ = self._encode(request, version)
        await self._connected(lambda channel: self._clock.within(timeout_ms, channel.send(frame)))

    async def _connected(self, use: Callable[[Channel], Awaitable[Result]]) -> Result:
        """Use the connection, opened where there is none, and close it if that does not end well."""
        pause_ms = self._not_before_ms - self._clock.monotonic_ms()
        if pause_ms > 0:
            await self._clock.sleep(pause_ms)
        is_complete = False
        try:
            if self._channel is None:
                self._channel = await self._connect()
            result = await use(self._channel)
            is_complete = True
        except OSError:
            self._not_before_ms = self._clock.monotonic_ms() + self._backoff.failed(self._max_backoff_ms())
            raise
        finally:
            if not is_complete:
                await self.aclose()
        self._backoff.succeeded()
        return result

    @property
    def is_connected(self) -> bool:
        return self._channel is not None

    async def close_if_ended(self) -> bool:
        """Close a connection that the other side has closed; return whether it had."""
        has_ended = self._channel is not None and await self._channel.has_ended()
        if has_ended:
            await self.aclose()
        return has_ended

    async def aclose(self) -> None:
        """Close the connection; a later call opens another one."""
        channel, self._channel = self._channel, None
        if channel is not None:
            with anyio.CancelScope(shield=True):
                await channel.aclose()

    async def _connect(self) -> Channel:
        address = self._address()
        if address is None:
            raise ConnectionError(errno.EHOSTUNREACH, "the broker has no address that brokers can reach")
        config = self._config
        # A broker that is slow to answer gets more time with each attempt.
        timeout_ms = min(
            config.socket_connection_setup_timeout_ms << min(self._failed_connects, 16),
            max(config.socket_connection_setup_timeout_max_ms, config.socket_connection_setup_timeout_ms),
        )
        self._failed_connects += 1
        channel = await self._clock.within(timeout_ms, self._network.connect(*address))
        self._failed_connects = 0
        return channel

    async def _exchange(self, channel: Channel, request: object, version: int, timeout_ms: int) -> object:
        sent, key, correlation_id = self._encode(request, version)
        frame = await self._clock.within(timeout_ms, channel.exchange(sent))
        try:
            answered, pos = decode_response_header(key, version, frame)
            if answered != correlation_id:
                raise ProtocolError(f"the answer to request {answered}, where {correlation_id} was asked")
            response, end = codec.decode(response_class(key), version, frame, pos)
            if end != len(frame):
                raise ProtocolError(f"{len(frame) - end} bytes behind the response")
        except ProtocolError as error:
            raise ConnectionError(errno.EPROTO, str(error)) from error
        return response

    def _encode(self, request: object, version: int) -> tuple[bytes, int, int]:
        """Return the frame of a request, its API key and its correlation id."""
        key = spec_of(type(request)).key
        assert key is not None
        correlation_id = next(self._correlation_ids) & 0x7FFFFFFF
        return (
            encode_request(RequestHeader(key, version, correlation_id, self._client_id), request),
            key,
            correlation_id,
        )


class SocketNetwork(Network):
    """Real connections: non-blocking sockets, tried first and waited for only where a call would block."""

    def __init__(self, config: BrokerConfig) -> None:
        self._config = config

    async def connect(self, host: str, port: int) -> Channel:
        failure: OSError = ConnectionError(errno.EHOSTUNREACH, f"{host} has no address")
        for family, kind, protocol, _, address in await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            sock = socket.socket(family, kind, protocol)
            try:
                await self._connect(sock, address)
            except OSError as error:
                failure = error
                sock.close()
            except BaseException:
                sock.close()
                raise
            else:
                return _SocketChannel(sock, self._config.socket_request_max_bytes)
        raise failure

    async def _connect(self, sock: socket.socket, address: tuple[str, int]) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Kafka's default of 64 KB would keep the kernel from choosing a better size: it counts where somebody set it.
        receive_buffer_bytes = self._config.replica_socket_receive_buffer_bytes
        if receive_buffer_bytes > 0 and self._config.is_set("replica.socket.receive.buffer.bytes"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            await anyio.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, f"cannot connect to {address[0]}:{address[1]}")


class _SocketChannel(Channel):
    def __init__(self, sock: socket.socket, max_frame_bytes: int) -> None:
        self._socket = sock
        self._max_frame_bytes = max_frame_bytes
        self._buffer = memoryview(bytearray(_FIRST_BUFFER_BYTES))

    async def send(self, frame: bytes) -> None:
        left = memoryview(frame)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                await anyio.wait_writable(self._socket)

    async def exchange(self, frame: bytes) -> memoryview:
        await self.send(frame)
        filled = 0
        wanted = 4
        while filled < wanted:
            try:
                count = self._socket.recv_into(self._buffer[filled:])
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
                continue
            if not count:
                raise ConnectionResetError(errno.ECONNRESET, "the broker closed the connection")
            filled += count
            if wanted == 4 and filled >= 4:
                (size,) = _SIZE.unpack_from(self._buffer)
                if size >> 16 == _TLS_ALERT:
                    raise ConnectionError(errno.EPROTO, "that is a listener of TLS (security.protocol)")
                if not 4 <= size <= self._max_frame_bytes:
                    raise ConnectionError(errno.EPROTO, f"a response of {size} bytes")
                wanted = 4 + size
            if filled == len(self._buffer) < wanted:
                self._grow(wanted)
        if filled > wanted:
            raise ConnectionError(errno.EPROTO, "bytes behind the response that was asked for")
        return self._buffer[4:wanted]

    def _grow(self, wanted: int) -> None:
        """Take a larger buffer: at most twice of what has really come, so that a size alone costs nothing."""
        larger = memoryview(bytearray(min(max(2 * len(self._buffer), 4), wanted)))
        larger[: len(self._buffer)] = self._buffer
        self._buffer = larger

    async def has_ended(self) -> bool:
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            pass
        return True

    async def aclose(self) -> None:
        if self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)
            self._socket.close()

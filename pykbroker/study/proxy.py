"""A study proxy: any client, any broker, and every frame between them is published.

    pykbroker wire proxy 127.0.0.1:19092 127.0.0.1:9092

Owns: a listening port for each broker that answers tell of, for as long as the proxy runs.

Rules
- Clients stay on the proxy: every address of a broker in an answer is replaced by that of the port which leads to it
  (wire.study.endpoints), the first time it is told. Ports follow the first one, where they are free.
- ApiVersions promises no version that we cannot read, since an address in it could not be replaced.
- What is published is what each side sent. All bytes are passed on as they are, but for addresses and versions.
- An answer that cannot be read is passed on, with a line in the log.
- A connection that ends badly, in whatever way, ends none but itself.

Not here: TLS (both ends are plain); who looks at the frames (recorder).
"""

import itertools
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import anyio
from anyio.abc import SocketAttribute, SocketListener, SocketStream, TaskGroup, TaskStatus

from pykbroker.study.frames import Frames
from pykbroker.study.framing import FrameReader, FramingError, framed
from wire.errors import ProtocolError
from wire.frame import API_VERSIONS
from wire.study.endpoints import endpoints, limit_versions, read_response, tells_endpoints, write_response
from wire.study.exchanges import Direction, Exchanges, TracedFrame, public
from wire.study.frames import is_known

logger = logging.getLogger("pykbroker.study")

CONNECT_TIMEOUT_S = 10.0
ACCEPT_PAUSE_S = 0.1
MAX_BROKERS = 1000

Address = tuple[str, int]


class ListenError(Exception):
    """The address cannot be listened on; the message is fit for a person."""


class Proxy:
    def __init__(self, listen: Address, target: Address, frames: Frames) -> None:
        self._listen = listen
        self._target = target
        self._frames = frames
        self._ports: dict[Address, int] = {}  # where each broker is reached here
        self._opening = anyio.Lock()
        self._ids = itertools.count(1)
        self._exchanges = Exchanges()
        self._tasks: TaskGroup

    @property
    def address(self) -> Address:
        """Where clients begin."""
        return self._listen[0], self._ports[self._target]

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Raises: ListenError."""
        try:
            first = await self._listeners()
        except OSError as error:
            raise ListenError("{}:{}: {}".format(*self._listen, error.strerror or error)) from error
        async with anyio.create_task_group() as self._tasks:
            self._lead(first, self._target)
            task_status.started()

    async def _open(self, broker: Address) -> int:
        """Return the port that leads to a broker, listening on it from now on."""
        async with self._opening:
            port = self._ports.get(broker)
            if port is not None:
                return port
            if len(self._ports) >= MAX_BROKERS:
                raise FramingError(f"more than {MAX_BROKERS} brokers")
            port = self._lead(await self._listeners(), broker)
            logger.info("port %s leads to %s:%s", port, *broker)
            return port

    def _lead(self, listeners: Sequence[SocketListener], broker: Address) -> int:
        """Have listeners, all on one port, serve the clients of a broker; return the port."""
        port = self._ports[broker] = listeners[0].extra(SocketAttribute.local_port)
        for listener in listeners:
            self._tasks.start_soon(self._accept, listener, broker)
        return port

    async def _accept(self, listener: SocketListener, broker: Address) -> None:
        async with listener:
            while True:
                try:
                    client = await listener.accept()
                except OSError as error:  # no descriptors left, a client that is gone already
                    logger.warning("a client could not be accepted: %s", error)
                    await anyio.sleep(ACCEPT_PAUSE_S)
                else:
                    self._tasks.start_soon(self._serve, client, broker)

    async def _listeners(self) -> Sequence[SocketListener]:
        """Listen on a port: on the one that follows, or on any. A name may stand for several addresses."""
        host, first = self._listen
        wanted = first + len(self._ports) if first else 0
        try:
            made = await anyio.create_tcp_listener(local_host=host, local_port=wanted)
        except OSError:
            if not self._ports:
                raise
            made = await anyio.create_tcp_listener(local_host=host, local_port=0)
        return cast(Sequence[SocketListener], made.listeners)

    async def _serve(self, client: SocketStream, target: Address) -> None:
        """Serve a client until it or its broker has had enough."""
        try:
            async with client:
                try:
                    with anyio.fail_after(CONNECT_TIMEOUT_S):
                        broker = await anyio.connect_tcp(*target)
                except (OSError, TimeoutError) as error:
                    logger.warning("%s:%s cannot be reached: %s", *target, error)
                    return
                async with broker:
                    connection = _Connection.between(self, client, broker)
                    if connection is not None:
                        await connection.run()
        except Exception:
            logger.exception("a connection ends with what is a bug of the proxy")

    async def rewritten(self, key: int, version: int, data: bytes, host: str) -> bytes:
        """Return an answer as the client shall see it; `host` is where that client reaches the proxy."""
        if not is_known(key, version) or not (key == API_VERSIONS or tells_endpoints(key)):
            return data
        try:
            correlation_id, message = read_response(key, version, data)
        except ProtocolError as error:
            logger.warning("an answer is passed on as it is: %s", error)
            return data
        if key == API_VERSIONS:
            return write_response(key, version, correlation_id, message) if limit_versions(message) else data
        found = list(endpoints(message))
        for endpoint in found:
            endpoint.host, endpoint.port = host, await self._open((endpoint.host, endpoint.port))
        return write_response(key, version, correlation_id, message) if found else data

    def publish(self, frame: TracedFrame) -> None:
        self._frames.publish(frame)

    @property
    def exchanges(self) -> Exchanges:
        return self._exchanges

    def next_id(self) -> int:
        return next(self._ids)


class _Connection:
    """A client's connection and the one to its broker."""

    def __init__(self, proxy: Proxy, client: SocketStream, broker: SocketStream) -> None:
        """Raises: TypedAttributeLookupError, AttributeError where one of them is closed already."""
        self._proxy = proxy
        self._client = client
        self._broker = broker
        self._peer = "{}:{}".format(*client.extra(SocketAttribute.remote_address)[:2])
        self._host = str(client.extra(SocketAttribute.local_address)[0])
        end = "{}:{}".format(*broker.extra(SocketAttribute.remote_address)[:2])
        self._id = f"{end}-{self._peer}-{proxy.next_id()}"

    @classmethod
    def between(cls, proxy: Proxy, client: SocketStream, broker: SocketStream) -> "_Connection | None":
        """Return None where one of them was reset before it had begun: it has no address any more."""
        try:
            return cls(proxy, client, broker)
        except (anyio.TypedAttributeLookupError, AttributeError):
            return None

    async def run(self) -> None:
        """Pass frames on until one side has had enough."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._requests, tasks.cancel_scope)
                await self._guarded(self._pump_responses)
                tasks.cancel_scope.cancel()
        finally:
            self._proxy.exchanges.forget(self._id)

    async def _guarded(self, pump: Callable[[], Awaitable[None]]) -> bool:
        """Pass on what comes; return whether it came to its end."""
        try:
            await pump()
        except FramingError as error:
            logger.warning("closing %s: %s", self._id, error)
            return False
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            return False
        return True

    async def _requests(self, connection: anyio.CancelScope) -> None:
        """A client that has no more to ask still gets its answers; one that is gone does not."""
        has_ended = await self._guarded(self._pump_requests)
        if not has_ended or not await self._guarded(self._broker.send_eof):
            connection.cancel()

    async def _pump_requests(self) -> None:
        reader = FrameReader(self._client)
        while (frame := await reader.read()) is not None:
            known = self._proxy.exchanges.request(self._id, frame)
            self._publish(Direction.REQUEST, known, frame)
            await self._broker.send(framed(frame))

    async def _pump_responses(self) -> None:
        reader = FrameReader(self._broker)
        while (frame := await reader.read()) is not None:
            known = self._proxy.exchanges.response(self._id, frame)
            self._publish(Direction.RESPONSE, known, frame)
            await self._client.send(framed(await self._proxy.rewritten(*known, frame, self._host)))

    def _publish(self, direction: Direction, known: tuple[int, int], frame: bytes) -> None:
        data = public(direction, *known, frame)
        now = time.time_ns() // 1000
        self._proxy.publish(TracedFrame(now, self._id, self._peer, direction, *known, data))

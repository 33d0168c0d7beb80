"""One client's connection: bytes in, answers out in the order of the requests.

Owns: the socket and the answers that are not yet sent.

Rules
- Try first, wait only when a call would block: the socket is non-blocking and read into the broker's one scratch
  buffer; what is left of it is copied out before anything is awaited.
- All complete frames in the buffer are handled before their answers go out in one send.
- Handlers start in order of arrival, at most MAX_OUTSTANDING ahead of the oldest answer that is still waiting; answers
  leave in order. A handler that awaits the store is awaited here, and later requests wait for it.
- No further request is started while MAX_UNSENT_BYTES of answers are ready but not sent, and nothing more is read while
  answers are stuck in the socket: a client that does not read costs bounded memory.
- A parked answer costs no task: `Parked.release` sends it at once; a task is started only if the socket blocks.

Not here: headers, handlers and errors (dispatch), accepting and limits on connections (listener).
"""

import errno
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from struct import Struct

import anyio
import attrs
from anyio.abc import TaskGroup

from pykbroker.clock import Clock
from pykbroker.errors import CloseConnection
from pykbroker.handlers.context import ConnectionInfo
from pykbroker.metrics import Metrics
from pykbroker.server.buffers import Buffers
from pykbroker.server.dispatch import Dispatcher, Started
from pykbroker.server.outbox import Outbox
from pykbroker.waiters import Parked, Wakeups
from wire.errors import ProtocolError
from wire.schema import Records

logger = logging.getLogger("pykbroker.server")

MAX_OUTSTANDING = 256  # requests started before the oldest unsent answer is ready
MAX_UNSENT_BYTES = 1024 * 1024  # of ready answers; no request is started beyond that
MAX_BATCHES_WITHOUT_YIELD = 8  # buffers handled before other tasks get a turn
# How it shows that the client is gone.
GONE = frozenset(
    (
        errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.EBADF, errno.ENOTCONN,
        errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN,
    )
)  # fmt: skip

_SIZE = Struct(">i")


@attrs.define(eq=False)
class ServerContext:
    """What all connections of a broker share."""

    dispatcher: Dispatcher
    buffers: Buffers
    wakeups: Wakeups
    metrics: Metrics
    clock: Clock
    task_group: TaskGroup
    max_request_bytes: int


@attrs.define(eq=False)
class _Answer:
    """A request's place in the order of answers; `chunks` is None until it is ready."""

    chunks: list[Records] | None = None
    parked: Parked | None = None


class Connection:
    __slots__ = (
        "_answers", "_closed", "_is_draining", "_outbox", "_progress", "_scope", "_server", "_socket", "info",
        "last_active_ms",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, info: ConnectionInfo, server: ServerContext) -> None:
        self.info = info
        self.last_active_ms = server.clock.monotonic_ms()
        self._socket = sock
        self._server = server
        self._answers: deque[_Answer] = deque()
        self._outbox = Outbox(sock)
        self._is_draining = False  # a task waits for the socket to take more
        self._progress: anyio.Event | None = None  # there while reading waits for answers to leave
        self._scope = anyio.CancelScope()
        self._closed = False

    async def serve(self) -> None:
        """Serve the client until it leaves, breaks the protocol, or the connection is closed from our side."""
        try:
            with self._scope:
                await self._receive()
        except ProtocolError as error:
            self._server.metrics.protocol_errors_total += 1
            logger.warning("closing connection %s: %s", self.info.id, error)
        except CloseConnection as error:
            logger.info("closing connection %s: %s", self.info.id, error)
        except OSError as error:
            self._lost(error)
        finally:
            self._closed = True
            anyio.notify_closing(self._socket)
            self._socket.close()
            for answer in self._answers:
                if answer.parked is not None:
                    answer.parked.cancel()
            self._answers.clear()
            self._outbox.close()

    def close(self) -> None:
        """Close from our side: nothing is sent any more, and `serve` ends when it awaits next."""
        self._outbox.close()
        self._scope.cancel()

    def _lost(self, error: OSError) -> None:
        if error.errno not in GONE:
            logger.warning("closing connection %s: %s", self.info.id, error)

    @property
    def awaits_us(self) -> bool:
        """The client waits for an answer, rather than we for the client to take one."""
        return bool(self._answers) and not self._is_draining

    # Receiving

    async def _receive(self) -> None:
        scratch = self._server.buffers.scratch
        receive_into = self._socket.recv_into
        filled = batches = 0
        while True:
            try:
                count = receive_into(scratch[filled:])
            except BlockingIOError:
                batches = 0
                await self._keeping(filled, anyio.wait_readable(self._socket))
                continue
            if not count:
                return
            filled += count
            self._server.metrics.bytes_in_total += count
            filled = await self._handle(filled)
            batches += 1
            if batches >= MAX_BATCHES_WITHOUT_YIELD:
                batches = 0
                await self._keeping(filled, anyio.lowlevel.checkpoint())

    async def _handle(self, filled: int) -> int:
        """Handle all complete frames at the start of the scratch, move the rest there, and return its size."""
        scratch = self._server.buffers.scratch
        while True:
            pos, frame_bytes, unfinished = self._handle_frames(scratch, filled)
            filled -= pos
            if pos and filled:
                scratch[:filled] = scratch[pos : pos + filled]
            if unfinished is not None:
                await self._keeping(filled, self._finish(unfinished))
            elif self._must_wait():
                await self._keeping(filled, self._catch_up())
            elif frame_bytes > len(scratch):
                await self._receive_large(scratch[:filled], frame_bytes)
                return 0
            elif 0 < frame_bytes <= filled:  # a whole one: the bounds that it met do not hold any more
                await self._keeping(filled, anyio.lowlevel.checkpoint())
            else:
                return filled

    async def _keeping(self, filled: int, wait: Awaitable[None]) -> None:
        """Await something; meanwhile the scratch is for others, and what it holds of ours is put aside."""
        scratch = self._server.buffers.scratch
        kept = bytes(scratch[:filled])
        await wait
        scratch[:filled] = kept

    def _handle_frames(self, buffer: memoryview, filled: int) -> tuple[int, int, Started | None]:
        """Handle the complete frames of `buffer[:filled]`.

        Returns the position after the last one handled, the whole size of the frame that starts there (0 if its size
        has not come), and the request that has to be awaited before the next one, if any.
        """
        self.last_active_ms = self._server.clock.monotonic_ms()
        pos = frame_bytes = 0
        unfinished: Started | None = None
        wakeups = self._server.wakeups
        wakeups.begin()
        try:
            while filled - pos >= 4:
                (size,) = _SIZE.unpack_from(buffer, pos)
                if not 0 < size <= self._server.max_request_bytes:
                    raise ProtocolError(_bad_size(size, buffer[pos : min(filled, pos + 8)]))
                frame_bytes = 4 + size
                if pos + frame_bytes > filled or self._is_full():
                    break
                unfinished = self._handle_frame(buffer[pos + 4 : pos + frame_bytes])
                pos += frame_bytes
                frame_bytes = 0
                if unfinished is not None:
                    break
        finally:
            wakeups.end()
            self._send(by_task=False)
        return pos, frame_bytes, unfinished

    async def _receive_large(self, start: memoryview, frame_bytes: int) -> None:
        """Receive and handle one frame that is larger than the scratch, which holds its start."""
        buffers = self._server.buffers
        buffer = buffers.take()
        filled = len(start)
        buffer[:filled] = start
        try:
            while filled < frame_bytes:
                if filled == len(buffer):
                    buffer = buffers.grow(buffer, frame_bytes)
                try:
                    count = self._socket.recv_into(buffer[filled : min(frame_bytes, len(buffer))])
                except BlockingIOError:
                    await anyio.wait_readable(self._socket)
                    self.last_active_ms = self._server.clock.monotonic_ms()
                    continue
                if not count:
                    raise ConnectionResetError(errno.ECONNRESET, "the client left in the middle of a frame")
                filled += count
                self._server.metrics.bytes_in_total += count
            _, _, unfinished = self._handle_frames(buffer, frame_bytes)
        finally:
            buffers.give(buffer)
        if unfinished is not None:
            await self._finish(unfinished)
        await self._catch_up()

    # Handling

    def _handle_frame(self, frame: memoryview) -> Started | None:
        """Start one request; return it if it has to be awaited."""
        started = self._server.dispatcher.start(self.info, frame)
        if isinstance(started, Started):
            if not isinstance(started.outcome, Parked):
                return started
            self._park(started, started.outcome)
        elif started:
            self._outbox.unsent_bytes += sum(map(len, started))
            if self._answers:
                self._answers.append(_Answer(started))
            else:
                self._outbox.extend(started)
        return None

    async def _finish(self, started: Started) -> None:
        """Await a handler that is a coroutine; its answer takes its place in the order."""
        outcome = await self._server.dispatcher.finish(started)
        if isinstance(outcome, Parked):
            self._park(started, outcome)
        elif outcome is not None:
            chunks = self._server.dispatcher.encode(started, outcome)
            self._outbox.unsent_bytes += sum(map(len, chunks))
            self._answers.append(_Answer(chunks))
        self._flush_ready()

    def _park(self, started: Started, parked: Parked) -> None:
        if parked.ended:
            self._answers.append(_Answer())
            self._deliver(started, self._answers[-1], parked.build_now)
            return
        answer = _Answer(parked=parked)
        self._answers.append(answer)
        parked.deliver = partial(self._deliver, started, answer)

    def _deliver(self, started: Started, answer: _Answer, build: Callable[[], object]) -> None:
        """Take the response of a parked request and send what is now in order."""
        if self._closed:
            return
        dispatcher = self._server.dispatcher
        answer.parked = None
        answer.chunks = dispatcher.encode(started, dispatcher.build(started, build))
        self._outbox.unsent_bytes += sum(map(len, answer.chunks))
        if self._answers[0] is answer:
            self._flush_ready()

    def _flush_ready(self) -> None:
        answers = self._answers
        while answers and (chunks := answers[0].chunks) is not None:
            answers.popleft()
            self._outbox.extend(chunks)
        self._send()
        if self._progress is not None:
            self._progress.set()

    # Sending

    def _send(self, *, by_task: bool = True) -> None:
        """Send what the socket takes now. The rest is for a task; or else for `_catch_up`, where `serve` comes next.

        Raises: OSError, in `serve` alone.
        """
        if self._is_draining or not self._outbox or self._closed:
            return
        try:
            done = self._outbox.send(self._server.metrics)
        except OSError as error:
            if not by_task:
                raise
            self._lost(error)
            self.close()  # the client is gone: `serve` cleans up
            return
        if not done and by_task:
            self._is_draining = True
            self._server.task_group.start_soon(self._drain)

    async def _drain(self) -> None:
        """Be the task that sends the rest."""
        try:
            await self._send_rest()
        except OSError as error:
            self._lost(error)
            self.close()
        except anyio.ClosedResourceError:
            pass  # `serve` has ended
        except Exception:
            # A bug must not end the other connections, which run beside this task.
            self._server.metrics.bugs_total += 1
            logger.exception("bug in connection %s", self.info.id)
            self.close()

    async def _send_rest(self) -> None:
        """Send all that is there, then let reading go on. Raises: OSError."""
        self._is_draining = True
        try:
            while not self._closed and not await self._outbox.send_when_writable(self._server.metrics):
                self.last_active_ms = self._server.clock.monotonic_ms()
        finally:
            self._is_draining = False
            if self._progress is not None:
                self._progress.set()

    def _is_full(self) -> bool:
        return len(self._answers) >= MAX_OUTSTANDING or self._outbox.unsent_bytes > MAX_UNSENT_BYTES

    def _must_wait(self) -> bool:
        return bool(self._outbox) or self._is_full()

    async def _catch_up(self) -> None:
        """Wait until the answers so far are on their way, so that a client that does not read is not read either."""
        while self._must_wait():
            if self._outbox and not self._is_draining:
                await self._send_rest()
            else:
                self._progress = anyio.Event()
                await self._progress.wait()


def _bad_size(size: int, start: memoryview) -> str:
    text = bytes(start)
    if text[:4] in (b"GET ", b"POST", b"PUT ", b"HEAD"):
        return "an HTTP request on the Kafka port"
    if text[:2] == b"\x16\x03":
        return "a TLS handshake on a plaintext port"
    return f"a frame of {size} bytes"

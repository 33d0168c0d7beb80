"""One client's connection: bytes in, answers out in the order of the requests.

Owns: the socket and the answers that are not yet sent.

Rules
- What the socket has is received into the broker's one scratch buffer, as soon as the event loop says so and without
  a task; what is left of it is put aside before others run. A frame larger than the scratch gets a buffer of its own.
- Answers to the frames in the buffer go out SENT_TOGETHER in one send: a client whose first answers arrive sends more
  while the others are made, and neither waits for the other.
- Handlers start in order of arrival, at most MAX_OUTSTANDING ahead of the oldest answer that is still waiting; answers
  leave in order. A handler that awaits the store is awaited by `serve`, and later requests wait for it.
- Nothing more is read, and no request is started, while MAX_UNSENT_BYTES of answers are ready but not sent: a client
  that does not read costs bounded memory.
- A client that exceeds a quota is muted: nothing more of it is read or started for a while, but what was started is
  answered.
- Neither a parked answer nor one that the socket has no room for costs a task: `Parked.release` sends at once, and the
  event loop calls when there is room.

Not here: headers, handlers and errors (dispatch), accepting and limits on connections (listener).
"""

import errno
import logging
import socket
from collections import deque
from collections.abc import Callable
from functools import partial
from struct import Struct

import anyio
import attrs
from anyio.abc import TaskGroup

from pykbroker.clock import Clock, Timer
from pykbroker.errors import CloseConnection
from pykbroker.handlers.context import ConnectionInfo
from pykbroker.metrics import Metrics
from pykbroker.server.buffers import Buffers
from pykbroker.server.dispatch import RequestDispatcher, Started
from pykbroker.server.outbox import Outbox
from pykbroker.server.readiness import call_when_readable, call_when_writable, forget
from pykbroker.waiters import Parked, Wakeups
from wire.errors import ProtocolError
from wire.schema import Records

logger = logging.getLogger("pykbroker.server")

MAX_OUTSTANDING = 256  # requests started before the oldest unsent answer is ready
SENT_TOGETHER = 32  # answers to requests that came in one buffer
MAX_UNSENT_BYTES = 1024 * 1024  # of memory that ready answers take; no request is started beyond that
# How it shows that the client is gone.
GONE = frozenset(
    (
        errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.EBADF, errno.ENOTCONN,
        errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN,
    )
)  # fmt: skip

_size_at = Struct(">i").unpack_from


@attrs.define(eq=False)
class ServerContext:
    """What all connections of a broker share."""

    dispatcher: RequestDispatcher
    buffers: Buffers
    wakeups: Wakeups
    metrics: Metrics
    clock: Clock
    task_group: TaskGroup
    max_request_bytes: int
    new_outbox: Callable[[socket.socket], Outbox] = Outbox
    frames: object = None  # what those who trace it share, once there is somebody


@attrs.define(eq=False)
class _Answer:
    """A request's place in the order of answers; `chunks` is None until it is ready."""

    chunks: bytes | list[Records] | None = None
    parked: Parked | None = None


class _LargeFrame:
    """A frame in a buffer of its own, which grows with what arrives."""

    __slots__ = ("_buffers", "buffer", "filled", "frame_bytes")

    def __init__(self, buffers: Buffers, start: memoryview, frame_bytes: int) -> None:
        self._buffers = buffers
        self.buffer = buffers.take()
        self.filled = len(start)
        self.frame_bytes = frame_bytes
        self.buffer[: len(start)] = start

    @property
    def is_whole(self) -> bool:
        return self.filled == self.frame_bytes

    def room(self) -> memoryview:
        """Return where the rest is received into, or a part of it."""
        if self.filled == len(self.buffer):
            self.buffer = self._buffers.grow(self.buffer, self.frame_bytes)
        return self.buffer[self.filled : self.frame_bytes]

    def give_back(self) -> None:
        self._buffers.give(self.buffer)


class Connection:
    __slots__ = (
        "_answers", "_closed", "_has_left", "_is_stuck", "_kept", "_large", "_max_outstanding", "_outbox", "_progress",
        "_scope", "_server", "_socket", "_unfinished", "_unmuting", "info", "last_active_ms",
    )  # fmt: skip

    def __init__(self, sock: socket.socket, info: ConnectionInfo, server: ServerContext) -> None:
        self.info = info
        self.last_active_ms = server.clock.monotonic_ms()
        self._socket = sock
        self._server = server
        self._answers: deque[_Answer] = deque()
        self._outbox = server.new_outbox(sock)
        self._kept = b""  # received but not handled: the start of a frame, or frames that something has to precede
        self._large: _LargeFrame | None = None  # being received
        self._unfinished: Started | None = None  # has to be awaited before anything else is started
        self._has_left = False  # the client will send no more
        self._is_stuck = False  # the rest goes when the socket takes more, or when it has been read from the disk
        self._progress: anyio.Event | None = None  # there while reading waits for answers to leave
        self._max_outstanding = MAX_OUTSTANDING  # 0 while it is muted
        self._unmuting: Timer | None = None
        self._scope = anyio.CancelScope()
        self._closed = False
        info.mute = self.mute

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
            self.info.mute = None
            if self._unmuting is not None:
                self._unmuting.cancel()
            forget(self._socket)
            self._socket.close()
            for answer in self._answers:
                if answer.parked is not None:
                    answer.parked.cancel()
            self._answers.clear()
            self._outbox.close()
            if self._large is not None:
                self._large.give_back()

    def close(self) -> None:
        """Close from our side: nothing is sent any more, and `serve` ends when it awaits next."""
        self._outbox.close()
        self._scope.cancel()

    def mute(self, for_ms: float) -> None:
        """Read no more, and start nothing, for so long at least. Source: KIP-219."""
        clock, unmuting = self._server.clock, self._unmuting
        if self._closed or (unmuting is not None and unmuting.deadline_ms >= clock.monotonic_ms() + for_ms):
            return
        if unmuting is not None:
            unmuting.cancel()
        self._max_outstanding = 0
        self._unmuting = clock.call_later(for_ms, self._unmute)

    def _unmute(self) -> None:
        self._unmuting = None
        self._max_outstanding = MAX_OUTSTANDING
        self._go_on()

    def _go_on(self) -> None:
        """Look again whether there is still something that has to be waited for."""
        if self._progress is not None:
            self._progress.set()

    def _lost(self, error: OSError) -> None:
        if error.errno not in GONE:
            logger.warning("closing connection %s: %s", self.info.id, error)

    @property
    def awaits_us(self) -> bool:
        """The client waits for an answer, rather than we for the client to take one."""
        return bool(self._answers) and not self._is_stuck

    # Receiving

    async def _receive(self) -> None:
        """Await what has to be awaited; the rest happens in `_on_readable`."""
        while True:
            await call_when_readable(self._socket, self._on_readable)
            if self._has_left:
                return
            goes_on = False
            while not goes_on:
                await self._catch_up()
                goes_on = self._handle_kept()

    def _on_readable(self) -> bool:
        """Receive what is there and handle it. False: read no more until `_catch_up` has been awaited, or at all."""
        if self._must_wait():
            return False
        if self._large is not None:
            return self._receive_large(self._large)
        scratch = self._server.buffers.scratch
        kept = self._kept
        filled = len(kept)
        try:
            count = self._socket.recv_into(scratch[filled:] if filled else scratch)
        except BlockingIOError:
            return True
        if not count:
            self._has_left = True
            return False
        if filled:
            scratch[:filled] = kept
            self._kept = b""
        self._server.metrics.bytes_in_total += count
        return self._handle(scratch, filled + count)

    def _handle_kept(self) -> bool:
        """Handle what was put aside when something had to be awaited; see `_on_readable`."""
        large = self._large
        if large is not None:
            return self._handle_large(large) if large.is_whole else True
        scratch = self._server.buffers.scratch
        kept, self._kept = self._kept, b""
        scratch[: len(kept)] = kept
        return self._handle(scratch, len(kept))

    def _handle(self, scratch: memoryview, filled: int) -> bool:
        """Handle the complete frames at the start of the scratch and put aside the rest; see `_on_readable`."""
        pos, frame_bytes = self._handle_frames(scratch, filled)
        if pos < filled:
            if frame_bytes > len(scratch):
                self._large = _LargeFrame(self._server.buffers, scratch[pos:filled], frame_bytes)
            else:
                self._kept = bytes(scratch[pos:filled])
                if 0 < frame_bytes <= filled - pos:
                    return False  # a whole one is left
        return self._unfinished is None

    def _handle_frames(self, buffer: memoryview, filled: int) -> tuple[int, int]:
        """Start the requests in `buffer[:filled]`, as far as they are complete and the bounds allow.

        Returns the position of the first frame that is left, and its size with its length field; 0 if that has not
        come, or was not looked at because a request has to be awaited before it.
        """
        server = self._server
        self.last_active_ms = server.clock.monotonic_ms()
        start, info, max_bytes = server.dispatcher.start, self.info, server.max_request_bytes
        answers, outbox = self._answers, self._outbox
        pos = ready = 0
        server.wakeups.begin()
        try:
            while filled - pos >= 4:
                (size,) = _size_at(buffer, pos)
                if not 0 < size <= max_bytes:
                    raise ProtocolError(_bad_size(size, buffer[pos : min(filled, pos + 8)]))
                end = pos + 4 + size
                if end > filled or len(answers) >= MAX_OUTSTANDING or outbox.unsent_bytes > MAX_UNSENT_BYTES:
                    return pos, 4 + size
                answer = start(info, buffer[pos + 4 : end])
                pos = end
                if isinstance(answer, Started):
                    if not isinstance(answer.outcome, Parked):
                        self._unfinished = answer
                        return pos, 0
                    self._park(answer, answer.outcome)
                elif answer is not None:
                    if answers:
                        outbox.announce(answer)
                        answers.append(_Answer(answer))
                    else:
                        outbox.add(answer)
                        ready += 1
                        if ready == SENT_TOGETHER:
                            ready = 0
                            self._send()
            return pos, 0
        finally:
            server.wakeups.end()
            self._send()

    def _receive_large(self, large: "_LargeFrame") -> bool:
        """Receive more of a frame that is larger than the scratch, and handle it when it is whole."""
        try:
            count = self._socket.recv_into(large.room())
        except BlockingIOError:
            return True
        if not count:
            raise ConnectionResetError(errno.ECONNRESET, "the client left in the middle of a frame")
        large.filled += count
        self._server.metrics.bytes_in_total += count
        self.last_active_ms = self._server.clock.monotonic_ms()
        return self._handle_large(large) if large.is_whole else True

    def _handle_large(self, large: "_LargeFrame") -> bool:
        pos, _ = self._handle_frames(large.buffer, large.frame_bytes)
        if pos:
            self._large = None
            large.give_back()
        return pos > 0 and self._unfinished is None

    # Handling

    async def _finish(self, started: Started) -> None:
        """Await a handler that is a coroutine; its answer takes its place in the order."""
        try:
            outcome = await self._server.dispatcher.finish(started)
        except CloseConnection as error:
            await self._send_last(error.last_bytes)
            raise
        if isinstance(outcome, Parked):
            self._park(started, outcome)
        elif outcome is not None:
            chunks = self._server.dispatcher.encode(started, outcome)
            self._outbox.announce(chunks)
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
        self._outbox.announce(answer.chunks)
        if self._answers[0] is answer:
            self._server.wakeups.add(self._flush_ready)  # one send for all that the same event releases

    def _flush_ready(self) -> None:
        answers = self._answers
        while answers and (chunks := answers[0].chunks) is not None:
            answers.popleft()
            self._outbox.add_announced(chunks)
        self._send()
        if self._progress is not None:
            self._progress.set()

    # Sending

    async def _send_last(self, data: bytes) -> None:
        """Send this behind the answers that are ready, and nothing more."""
        if data:
            self._outbox.add(data)
            self._send()
            while self._is_stuck:
                self._progress = anyio.Event()
                await self._progress.wait()

    def _send(self) -> None:
        """Send what the socket takes now; the rest goes when it takes more."""
        if self._is_stuck or not self._outbox or self._closed:
            return
        if not self._send_some():
            self._is_stuck = True
            self._wait_to_send()

    def _send_some(self) -> bool:
        """Return whether nothing is left to be sent."""
        try:
            return self._outbox.send(self._server.metrics)
        except OSError as error:
            self._lost(error)
        except Exception:
            # A bug must not end the other connections, which run beside this one.
            self._server.metrics.bugs_total += 1
            logger.exception("bug in connection %s", self.info.id)
        self.close()  # the client is gone: `serve` cleans up
        return True

    def _wait_to_send(self) -> None:
        tasks = self._server.task_group
        if self._outbox.is_cold:
            tasks.start_soon(self._warm)
        else:
            call_when_writable(self._socket, self._on_writable, tasks)

    def _on_writable(self) -> bool:
        """Send more. False: it is all sent, or has to be read from the disk first."""
        self.last_active_ms = self._server.clock.monotonic_ms()
        if not self._closed and not self._send_some():
            if not self._outbox.is_cold:
                return True
            self._wait_to_send()
            return False
        self._is_stuck = False
        self._go_on()
        return False

    async def _warm(self) -> None:
        """Have a thread read what is sent next; a cold read stalls nobody else."""
        try:
            await self._outbox.warm()
        except OSError as error:
            self._lost(error)
            self.close()
        if self._on_writable():
            self._wait_to_send()

    def _must_wait(self) -> bool:
        return len(self._answers) >= self._max_outstanding or self._outbox.unsent_bytes > MAX_UNSENT_BYTES

    async def _catch_up(self) -> None:
        """Await what has to be awaited before more is handled: a handler, or room for answers.

        A client that does not read its answers is not read either.
        """
        unfinished, self._unfinished = self._unfinished, None
        if unfinished is not None:
            await self._finish(unfinished)
        await anyio.lowlevel.checkpoint()
        while self._must_wait():
            self._progress = anyio.Event()
            await self._progress.wait()


def _bad_size(size: int, start: memoryview) -> str:
    text = bytes(start)
    if text[:4] in (b"GET ", b"POST", b"PUT ", b"HEAD"):
        return "an HTTP request on the Kafka port"
    if text[:2] == b"\x16\x03":
        return "a TLS handshake on a plaintext port"
    return f"a frame of {size} bytes"

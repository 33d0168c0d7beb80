"""Requests to other brokers, one after the other for each of them; callers are called back on the event loop.

Owns: a connection and a queue for each broker that was asked.
Rules
- Whatever keeps an answer from coming is told as None: the caller asks again, perhaps someone else.
- A queue has a bound; beyond it a request fails at once. A broker without others (or one that is closed) fails all; one
  that does not run yet lets them wait.
- A connection is opened with the first request; the `Peer` itself opens it again after an error, with pauses.
Not here: who is asked, and what.
"""

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import anyio
import attrs
from anyio.abc import TaskGroup

from pykbroker.clock import Clock
from pykbroker.config import BrokerConfig

Answered = Callable[[Any], None]  # the response, or None


class Peer(Protocol):
    async def call(self, request: object, version: int, *, timeout_ms: int) -> Any:
        """Raises: OSError."""

    async def aclose(self) -> None: ...


@attrs.frozen
class _Call:
    request: object
    version: int
    done: Answered


class OtherBrokers:
    def __init__(self, config: BrokerConfig, clock: Clock, connect: Callable[[int], Peer] | None = None) -> None:
        self._config = config
        self._clock = clock
        self._connect = connect
        self._tasks: TaskGroup | None = None  # while it runs
        self._is_closed = False
        self._peers: dict[int, Peer] = {}
        self._queues: dict[int, deque[_Call]] = {}  # of the brokers that are being asked

    async def run(self) -> None:
        """Serve calls until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            for broker_id, queue in self._queues.items():
                self._start(broker_id, queue)
            try:
                await anyio.sleep_forever()
            finally:
                self._tasks = None
                self._is_closed = True
                for peer in self._peers.values():
                    await peer.aclose()

    def call(self, broker_id: int, request: object, version: int, done: Answered) -> None:
        """Send a request; `done` is told the response, never before this returns."""
        queue = self._queues.get(broker_id)
        if self._is_closed or self._connect is None or (queue is not None and len(queue) >= self._queue_max):
            self._clock.call_later(0, lambda: done(None))
            return
        if queue is None:
            queue = self._queues[broker_id] = deque()
            self._start(broker_id, queue)
        queue.append(_Call(request, version, done))

    def _start(self, broker_id: int, queue: deque[_Call]) -> None:
        if self._tasks is not None and self._connect is not None:
            self._tasks.start_soon(self._serve, broker_id, queue, self._connect)

    @property
    def _queue_max(self) -> int:
        return self._config.pykbroker_max_queued_broker_requests

    async def _serve(self, broker_id: int, queue: deque[_Call], connect: Callable[[int], Peer]) -> None:
        """Ask one broker what is in its queue, and end when that is empty."""
        peer = self._peers.get(broker_id)
        if peer is None:
            peer = self._peers[broker_id] = connect(broker_id)
        while queue:
            call = queue.popleft()
            try:
                response = await peer.call(call.request, call.version, timeout_ms=self._config.request_timeout_ms)
            except OSError:
                response = None
            try:
                call.done(response)
            except Exception as error:  # as for a timer: the others go on
                if self._clock.on_bug is None:
                    raise
                self._clock.on_bug(error)
        del self._queues[broker_id]

"""A TCP proxy in the test's event loop that loses what it is told to lose.

    async with Proxy.to(host, port) as proxy:
        proxy.on_request = once(Fate.CUT, b"/v3/kv/txn")

`on_request` and `on_answer` are asked of each piece of bytes what becomes of it: PASS, CUT (both connections end, the
piece is gone) or HOLD (it waits until `release` is called).
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from enum import Enum

import anyio
import anyio.abc


class Fate(Enum):
    PASS = "pass"
    CUT = "cut"
    HOLD = "hold"


Judge = Callable[[bytes], Fate]


class Proxy:
    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._released = anyio.Event()
        self._holds = False
        self.address = ("", 0)
        self.on_request: Judge = lambda data: Fate.PASS
        self.on_answer: Judge = lambda data: Fate.PASS

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, host: str, port: int) -> AsyncIterator["Proxy"]:
        proxy = cls(host, port)
        async with (
            await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
            anyio.create_task_group() as tasks,
        ):
            proxy.address = listener.extra(anyio.abc.SocketAttribute.local_address)
            tasks.start_soon(listener.serve, proxy._serve)
            yield proxy
            tasks.cancel_scope.cancel()

    def release(self) -> None:
        """Let what was held go to where it was sent, even though its sender may be gone."""
        self._released.set()

    async def _serve(self, client: anyio.abc.SocketStream) -> None:
        async with client, await anyio.connect_tcp(*self._target) as server, anyio.create_task_group() as tasks:
            tasks.start_soon(self._pump, client, server, self._judge_request, tasks.cancel_scope)
            tasks.start_soon(self._pump, server, client, self._judge_answer, tasks.cancel_scope)

    # What is asked is looked up for each piece: a test may change its mind.

    def _judge_request(self, data: bytes) -> Fate:
        return self.on_request(data)

    def _judge_answer(self, data: bytes) -> Fate:
        return self.on_answer(data)

    async def _pump(
        self,
        source: anyio.abc.SocketStream,
        sink: anyio.abc.SocketStream,
        judge: Judge,
        connection: anyio.CancelScope,
    ) -> None:
        with contextlib.suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            async for data in source:
                fate = judge(data)
                if fate is Fate.CUT:
                    break
                if fate is Fate.HOLD:
                    self._holds = True
                    await self._released.wait()
                await sink.send(data)
        if not self._holds:  # what was held is to arrive whole
            connection.cancel()


def once(fate: Fate, mark: bytes) -> Judge:
    """Ready for `on_request`: the first piece with `mark` in it meets this fate, all others pass."""
    left = [fate]

    def judge(data: bytes) -> Fate:
        return left.pop() if left and mark in data else Fate.PASS

    return judge

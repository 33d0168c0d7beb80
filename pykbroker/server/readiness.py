"""To be called whenever a socket has something to read, or room to write.

Rules
- Where the event loop can call back (asyncio, uvloop), the socket stays registered with it and the callback runs
  straight from the loop: no task is woken, nothing is registered anew. A request that comes alone costs 12 µs less
  than with a task that waits for each (docs/ARCHITECTURE.md). On trio a task waits and calls.
- A callback must not block; it is called again until it returns False.
- `forget` comes before the socket is closed.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

import anyio
from anyio.abc import TaskGroup

logger = logging.getLogger("pykbroker.server")

Callback = Callable[[], bool]


async def call_when_readable(sock: socket.socket, callback: Callback) -> None:
    """Call `callback` each time that `sock` is readable, until it returns False. What it raises is passed on."""
    loop = _loop()
    if loop is None:
        while True:
            await anyio.wait_readable(sock)
            if not callback():
                return
    over: asyncio.Future[None] = loop.create_future()

    def on_readable() -> None:
        try:
            if callback():
                return
        except BaseException as error:  # for the task, which is there to handle it
            loop.remove_reader(sock)
            if not over.done():
                over.set_exception(error)
            return
        loop.remove_reader(sock)
        if not over.done():
            over.set_result(None)

    loop.add_reader(sock, on_readable)
    try:
        await over
    finally:
        loop.remove_reader(sock)


def call_when_writable(sock: socket.socket, callback: Callback, tasks: TaskGroup) -> None:
    """Call `callback` each time that `sock` has room, until it returns False. It must not raise."""
    loop = _loop()
    if loop is None:
        tasks.start_soon(_wait_writable, sock, callback)
        return

    def on_writable() -> None:
        if not callback():
            loop.remove_writer(sock)

    loop.add_writer(sock, on_writable)


async def _wait_writable(sock: socket.socket, callback: Callback) -> None:
    try:
        while sock.fileno() >= 0:  # it may be closed before this task begins
            await anyio.wait_writable(sock)
            if not callback():
                return
    except anyio.ClosedResourceError:
        pass


def forget(sock: socket.socket) -> None:
    """Call nobody for `sock` any more."""
    loop = _loop()
    if loop is None:
        anyio.notify_closing(sock)
    else:
        loop.remove_reader(sock)
        loop.remove_writer(sock)


def _loop() -> asyncio.AbstractEventLoop | None:
    """Return the running event loop of asyncio; None on trio."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None

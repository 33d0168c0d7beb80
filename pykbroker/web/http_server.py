"""An HTTP server for one ASGI application: anycorn does the protocol, connection by connection.

Owns: the HTTP connections. Rules
- Connections are accepted here, and each is served in a task whose failure ends nothing else. Anycorn's own server ends
  with the first connection that fails, and on uvloop they fail when a client closes too soon.
- At most `max_connections`: more wait to be accepted.
- `timeout_ms` is how long a connection may be idle, how long its client may take to send a request or to take what it
  is sent, and how long a stop waits for requests under way. What is left then is cut, even in the middle of an answer.

Not here: what is served (server).
"""

import errno
import logging
import socket

import anyio
import anyio.abc
import anyio.lowlevel
from anycorn.config import Config
from anycorn.tcp_server import TCPServer
from anycorn.typing import ASGIFramework, ConnectionState
from anycorn.utils import wrap_app
from anycorn.worker_context import WorkerContext
from anyio.abc import SocketStream

from pykbroker.server.listener import ACCEPT_PAUSE_SECONDS, Listener

logger = logging.getLogger("pykbroker.web")


class HttpServer:
    def __init__(self, app: ASGIFramework, listener: Listener, *, timeout_ms: int, max_connections: int) -> None:
        self._app = wrap_app(app, 0, "asgi")
        self._listener = listener
        self._timeout_ms = timeout_ms
        self._config = _anycorn_config(timeout_ms)
        self._context = WorkerContext(None)
        self._connections: set[socket.socket] = set()
        self._room = anyio.Semaphore(max_connections)
        self._accepting = anyio.CancelScope()
        self._ended = anyio.Event()

    async def serve(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until stopped."""
        task_status.started()
        try:
            async with anyio.create_task_group() as tasks:
                with self._accepting:
                    await self._accept(tasks)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Accept nobody any more, let requests under way end, and return."""
        self._accepting.cancel()
        await self._context.terminated.set()  # idle connections end
        with anyio.move_on_after(self._timeout_ms / 1000):
            await self._ended.wait()
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # it is gone already
                continue
        await self._ended.wait()

    async def _accept(self, tasks: anyio.abc.TaskGroup) -> None:
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # accepted connections inherit it
            self._listener.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, self._timeout_ms)
        with self._listener.socket as sock:
            while True:
                await self._room.acquire()
                tasks.start_soon(self._serve_one, await _accepted(sock))

    async def _serve_one(self, client: socket.socket) -> None:
        self._connections.add(client)
        try:
            with client:
                stream = await SocketStream.from_socket(client)
                await TCPServer(self._app, self._config, self._context, ConnectionState({}), stream).run()
        except Exception as error:  # of one connection: the others, and the broker, go on
            logger.debug("an HTTP connection failed: %r", error)
        finally:
            self._connections.discard(client)
            self._room.release()


async def _accepted(sock: socket.socket) -> socket.socket:
    while True:
        try:
            client, _ = sock.accept()
            client.setblocking(False)
        except BlockingIOError:
            await anyio.wait_readable(sock)
        except OSError as error:
            if error.errno != errno.ECONNABORTED:
                logger.warning("cannot accept an HTTP client: %s", error.strerror)
                await anyio.sleep(ACCEPT_PAUSE_SECONDS)
        else:
            return client


def _anycorn_config(timeout_ms: int) -> Config:
    config = Config()
    config.keep_alive_timeout = timeout_ms / 1000
    config.read_timeout = max(timeout_ms // 1000, 1)
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = logging.getLogger("pykbroker.web.anycorn")
    return config

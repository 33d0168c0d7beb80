"""An HTTP server for one ASGI application: anycorn does the protocol, connection by connection.

Owns: the HTTP connections. Rules
- Connections are accepted here, and each is served in a task whose failure ends nothing else: anycorn's own server ends
  with the first connection that fails.
- Bytes go by the sockets themselves. Streams of anyio fail on uvloop when a client closes too soon, and what anycorn
  sends cannot be cancelled. Here it has an end.
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
        self._streams: set[_Stream] = set()
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
        for stream in self._streams:
            stream.cut()
        await self._ended.wait()

    async def _accept(self, tasks: anyio.abc.TaskGroup) -> None:
        with self._listener.socket as sock:
            while True:
                await self._room.acquire()
                tasks.start_soon(self._serve_one, await _accepted(sock))

    async def _serve_one(self, client: socket.socket) -> None:
        stream = _Stream(client, self._timeout_ms / 1000)
        self._streams.add(stream)
        try:
            with stream.scope:
                await _Connection(self._app, self._config, self._context, ConnectionState({}), stream).run()
        except Exception as error:  # of one connection: the others, and the broker, go on
            logger.warning("an HTTP connection failed: %r", error)
        finally:
            stream.close()
            self._streams.discard(stream)
            self._room.release()


class _Connection(TCPServer):
    async def _read_data(self) -> None:
        await super()._read_data()
        await self.idle_task.stop()  # which otherwise keeps a connection that is over until it would have been idle


class _Stream(SocketStream):
    """A client's bytes.

    When the client does not take what it is sent, the connection's task is cancelled: anycorn may wait for something
    that does not come any more.
    """

    def __init__(self, client: socket.socket, timeout_s: float) -> None:
        self.scope = anyio.CancelScope()  # of the connection's task
        self._socket = client
        self._timeout_s = timeout_s

    @property
    def _raw_socket(self) -> socket.socket:
        return self._socket

    async def receive(self, max_bytes: int = 65536) -> bytes:
        while True:
            try:
                data = self._socket.recv(max_bytes)
            except BlockingIOError:
                await anyio.wait_readable(self._socket)
            except OSError as error:
                raise self._lost() from error
            else:
                if not data:
                    raise anyio.EndOfStream
                return data

    async def send(self, item: bytes) -> None:
        """Send all of it; a client that takes it too slowly is cut off."""
        left = memoryview(item)
        with anyio.move_on_after(self._timeout_s):
            while left:
                try:
                    left = left[self._socket.send(left) :]
                except BlockingIOError:
                    await anyio.wait_writable(self._socket)
                except OSError as error:
                    raise self._lost() from error
            return
        raise self._lost()

    async def send_eof(self) -> None:
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise self._lost() from error

    async def aclose(self) -> None:
        self.close()
        await anyio.lowlevel.checkpoint()

    def cut(self) -> None:
        """End the connection, whatever is under way."""
        self.close()
        self.scope.cancel()

    def close(self) -> None:
        if self._socket.fileno() >= 0:
            anyio.notify_closing(self._socket)
            self._socket.close()

    def _lost(self) -> Exception:
        self.cut()
        return anyio.BrokenResourceError()


async def _accepted(sock: socket.socket) -> socket.socket:
    while True:
        try:
            client, _ = sock.accept()
            client.setblocking(False)
            # anycorn sends the head and the body apart: the body must not wait until the client acknowledges the head.
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
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

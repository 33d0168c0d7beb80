"""Connections through TLS: a `Network` for `Peer`, by anyio's TLS.

Rules
- The certificate has to be that of the host that is asked for: what bootstrap says at first, then what metadata says.
- Whatever ends a connection is an OSError, as in `SocketNetwork`.
- With TLS 1.3 a broker looks at the client's certificate when the client's handshake is over: that it wants another
  one is what comes in place of the first answer, an alert or just the end.
"""

import errno
import selectors
import ssl
from struct import Struct

import anyio
import anyio.abc

from pykbroker.client.security import WANTS_CERTIFICATE
from pykbroker.peer import Channel, Network

_SIZE = Struct(">i")
_CHUNK_BYTES = 64 * 1024


class TlsNetwork(Network):
    def __init__(self, context: ssl.SSLContext, max_frame_bytes: int) -> None:
        self._context = context
        self._max_frame_bytes = max_frame_bytes

    async def connect(self, host: str, port: int) -> Channel:
        try:
            stream = await anyio.connect_tcp(
                host, port, ssl_context=self._context, tls_hostname=host, tls_standard_compatible=False
            )
        except (anyio.BrokenResourceError, anyio.EndOfStream):
            raise ConnectionResetError(
                errno.ECONNRESET, "the broker ended the TLS handshake: perhaps it is none of a TLS listener"
            ) from None
        except OSError as error:
            raise _cause(error) from None
        return _TlsChannel(stream, self._max_frame_bytes)


def _cause(error: OSError) -> OSError:
    """The error of an attempt to connect, rather than that all of them failed."""
    cause: BaseException | None = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    return cause if isinstance(cause, OSError) else error


class _TlsChannel(Channel):
    def __init__(self, stream: anyio.abc.ByteStream, max_frame_bytes: int) -> None:
        self._stream = stream
        self._max_frame_bytes = max_frame_bytes
        self._has_received = False

    async def send(self, frame: bytes) -> None:
        try:
            await self._stream.send(frame)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise self._closed() from None

    async def exchange(self, frame: bytes) -> memoryview:
        await self.send(frame)
        received = await self._receive(4)
        (size,) = _SIZE.unpack_from(received)
        if not 4 <= size <= self._max_frame_bytes:
            raise ConnectionError(errno.EPROTO, f"a response of {size} bytes")
        while len(received) < 4 + size:
            received += await self._receive(1)
        if len(received) > 4 + size:
            raise ConnectionError(errno.EPROTO, "bytes behind the response that was asked for")
        return memoryview(received)[4:]

    async def _receive(self, at_least: int) -> bytearray:
        received = bytearray()
        try:
            while len(received) < at_least:
                received += await self._stream.receive(_CHUNK_BYTES)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise self._closed() from None
        self._has_received = True
        return received

    def _closed(self) -> ConnectionResetError:
        why = "" if self._has_received else f"; {WANTS_CERTIFICATE}"
        return ConnectionResetError(errno.ECONNRESET, f"the broker closed the connection{why}")

    async def has_ended(self) -> bool:
        try:
            socket = self._stream.extra(anyio.abc.SocketAttribute.raw_socket)
        except AttributeError:  # uvloop has none any more
            return True
        if socket.fileno() < 0:
            return True
        with selectors.DefaultSelector() as selector:
            selector.register(socket, selectors.EVENT_READ)
            return bool(selector.select(0))

    async def aclose(self) -> None:
        await anyio.aclose_forcefully(self._stream)

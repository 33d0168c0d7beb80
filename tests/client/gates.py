"""What stands before a broker that has neither TLS nor SASL yet: gates that end them, and pass everything else on.

    async with TlsGate.before(tmp_path, context) as gate, Client(gate.bootstrap, settings=...) as client:
        ...

The broker behind tells clients the gate's address. A gate belongs to a test's event loop.
"""

import contextlib
import ssl
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import anyio.abc
import attrs
from anyio.streams.tls import TLSListener

from tests.client.support import receive_frame
from tests.support.running import running
from wire import codec
from wire.errors import ErrorCode
from wire.frame import API_VERSIONS, encode_response, read_request_header
from wire.messages.authentication import (
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    SaslHandshakeRequest,
    SaslHandshakeResponse,
)
from wire.messages.brokers import ApiVersion, ApiVersionsResponse

Stream = anyio.abc.ByteStream
BROKEN = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError)
SASL_HANDSHAKE, SASL_AUTHENTICATE = 17, 36


@attrs.define(eq=False)
class TlsGate:
    bootstrap: str
    certificates: list[object] = attrs.field(factory=list)  # of the clients that came through

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, data_dir: Path, context: ssl.SSLContext) -> AsyncIterator["TlsGate"]:
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as tcp:
            address = f"localhost:{tcp.extra(anyio.abc.SocketAttribute.local_port)}"
            gate = cls(address)
            async with (
                running(data_dir, advertised_listeners=f"PLAINTEXT://{address}") as broker,
                anyio.create_task_group() as tasks,
            ):

                async def serve(client: Stream) -> None:
                    gate.certificates.append(client.extra(anyio.streams.tls.TLSAttribute.peer_certificate, None))
                    with contextlib.suppress(*BROKEN):
                        async with (
                            client,
                            await anyio.connect_tcp(*broker.addresses[0]) as server,
                            anyio.create_task_group() as pipes,
                        ):
                            pipes.start_soon(pipe, client, server, pipes.cancel_scope)
                            pipes.start_soon(pipe, server, client, pipes.cancel_scope)

                tasks.start_soon(QuietTlsListener(tcp, context, standard_compatible=False).serve, serve)
                yield gate
                tasks.cancel_scope.cancel()


class QuietTlsListener(TLSListener):
    """One whose log says nothing of clients that do not trust it."""

    @staticmethod
    async def handle_handshake_error(exc: BaseException, stream: anyio.abc.AnyByteStream) -> None:
        await anyio.aclose_forcefully(stream)


async def pipe(source: Stream, target: Stream, scope: anyio.CancelScope) -> None:
    with contextlib.suppress(*BROKEN):
        while True:
            await target.send(await source.receive())
    scope.cancel()


@attrs.define(eq=False)
class SaslGate:
    """Lets PLAIN clients in, and closes connections that ask for anything before."""

    bootstrap: str
    password: bytes = b"secret"
    lifetime_ms: int = 0
    authenticated: int = 0  # how often
    mechanisms: tuple[str, ...] = ("PLAIN",)

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, data_dir: Path) -> AsyncIterator["SaslGate"]:
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            address = f"127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
            gate = cls(address)
            async with (
                running(data_dir, advertised_listeners=f"PLAINTEXT://{address}") as broker,
                anyio.create_task_group() as tasks,
            ):

                async def serve(client: Stream) -> None:
                    with contextlib.suppress(*BROKEN):
                        async with client, await anyio.connect_tcp(*broker.addresses[0]) as server:
                            await gate._serve(client, server)

                tasks.start_soon(listener.serve, serve)
                yield gate
                tasks.cancel_scope.cancel()

    async def _serve(self, client: Stream, server: Stream) -> None:
        is_open = False
        while True:
            frame = await receive_frame(client)
            key, version, correlation_id, _, _, body = read_request_header(frame)
            if key == SASL_HANDSHAKE:
                asked, _ = codec.decode(SaslHandshakeRequest, version, frame, body)
                is_known = asked.mechanism in self.mechanisms
                code = ErrorCode.NONE if is_known else ErrorCode.UNSUPPORTED_SASL_MECHANISM
                answer: object = SaslHandshakeResponse(code, list(self.mechanisms))
            elif key == SASL_AUTHENTICATE:
                told, _ = codec.decode(SaslAuthenticateRequest, version, frame, body)
                is_open = bytes(told.auth_bytes) == b"\0me\0" + self.password
                self.authenticated += is_open
                failed = SaslAuthenticateResponse(ErrorCode.SASL_AUTHENTICATION_FAILED, "Authentication failed")
                answer = SaslAuthenticateResponse(session_lifetime_ms=self.lifetime_ms) if is_open else failed
            elif key == API_VERSIONS:
                await server.send(struct.pack(">i", len(frame)) + frame)
                await self._offer(await receive_frame(server), version, correlation_id, client)
                continue
            else:
                if not is_open:
                    return
                await server.send(struct.pack(">i", len(frame)) + frame)
                passed = await receive_frame(server)
                await client.send(struct.pack(">i", len(passed)) + passed)
                continue
            await client.send(b"".join(map(bytes, encode_response(key, version, correlation_id, answer))))  # type: ignore[arg-type]

    async def _offer(self, told: bytes, version: int, correlation_id: int, client: Stream) -> None:
        """Add the APIs of SASL to what the broker serves."""
        served, _ = codec.decode(ApiVersionsResponse, version, told, 4)
        served.api_keys += [ApiVersion(SASL_HANDSHAKE, 0, 1), ApiVersion(SASL_AUTHENTICATE, 0, 2)]
        await client.send(b"".join(map(bytes, encode_response(API_VERSIONS, version, correlation_id, served))))  # type: ignore[arg-type]

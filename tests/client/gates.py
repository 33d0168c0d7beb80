"""What stands before a broker that has neither TLS nor SASL yet: gates that end them, and pass everything else on.

    async with TlsGate.before(tmp_path, context) as gate, Client(gate.bootstrap, settings=...) as client:
        ...

The broker behind tells clients the gate's address. A gate belongs to a test's event loop.
"""

import contextlib
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Self

import anyio
import anyio.abc
import attrs
from anyio.streams.tls import TLSListener

from tests.client.support import receive_frame
from tests.support.running import running
from wire import codec
from wire.catalog import request_class
from wire.errors import ErrorCode
from wire.frame import API_VERSIONS, encode_response, read_request_header
from wire.messages.authentication import SaslAuthenticateResponse, SaslHandshakeResponse
from wire.messages.brokers import ApiVersion, ApiVersionsResponse

Stream = anyio.abc.ByteStream
BROKEN = (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, ssl.SSLError)
SASL_HANDSHAKE, SASL_AUTHENTICATE = 17, 36


@attrs.define(eq=False)
class TlsGate:
    bootstrap: str
    certificates: list[object] = attrs.field(factory=list)  # of the clients that came through
    alerts: list[int] = attrs.field(factory=list)  # with which the next handshakes end

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

                alerting = AlertingListener(tcp, gate.alerts)
                tasks.start_soon(QuietTlsListener(alerting, context, standard_compatible=False).serve, serve)
                yield gate
                tasks.cancel_scope.cancel()


@attrs.define(eq=False)
class AlertingListener(anyio.abc.Listener[anyio.abc.SocketStream]):
    """Refuses clients with alerts of TLS, as long as there are any."""

    inner: anyio.abc.Listener[anyio.abc.SocketStream]
    alerts: list[int]

    async def serve(
        self, handler: Callable[[anyio.abc.SocketStream], Any], task_group: anyio.abc.TaskGroup | None = None
    ) -> None:
        async def meet(client: anyio.abc.SocketStream) -> None:
            if not self.alerts:
                await handler(client)
                return
            async with client:
                await client.receive()
                await client.send(alert_record(self.alerts.pop()))

        await self.inner.serve(meet, task_group)

    async def aclose(self) -> None:
        await self.inner.aclose()


def alert_record(description: int) -> bytes:
    return bytes([21, 3, 3, 0, 2, 2, description])


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
class Gate:
    """Answers some APIs itself, and tells clients that the broker serves them."""

    bootstrap: str
    added: Mapping[int, tuple[int, int]] = {}  # key: versions
    answers: Mapping[int, object] = attrs.field(factory=dict)  # what to say to each request with a key

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, data_dir: Path, **given: Any) -> AsyncIterator[Self]:
        async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            address = f"127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}"
            gate = cls(address, **given)
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
        state: dict[str, bool] = {}  # of this connection
        while True:
            frame = await receive_frame(client)
            key, version, correlation_id, _, _, body = read_request_header(frame)
            if key in self.added:
                answer = self.answer(key, codec.decode(request_class(key), version, frame, body)[0], state)
            elif not self.lets_through(key, state):
                return
            else:
                await server.send(struct.pack(">i", len(frame)) + frame)
                told = await receive_frame(server)
                if key != API_VERSIONS:
                    await client.send(struct.pack(">i", len(told)) + told)
                    continue
                answer, _ = codec.decode(ApiVersionsResponse, version, told, 4)
                others = [each for each in answer.api_keys if each.api_key not in self.added]
                answer.api_keys = others + [ApiVersion(each, *versions) for each, versions in self.added.items()]
            await client.send(b"".join(map(bytes, encode_response(key, version, correlation_id, answer))))  # type: ignore[arg-type]

    def answer(self, key: int, request: Any, state: dict[str, bool]) -> Any:
        return self.answers[key]

    def lets_through(self, key: int, state: dict[str, bool]) -> bool:
        return True


@attrs.define(eq=False)
class SaslGate(Gate):
    """Lets PLAIN clients in, and closes connections that ask for anything before."""

    added: Mapping[int, tuple[int, int]] = {SASL_HANDSHAKE: (0, 1), SASL_AUTHENTICATE: (0, 2)}
    password: bytes = b"secret"
    lifetime_ms: int = 0
    authenticated: int = 0  # how often
    mechanisms: tuple[str, ...] = ("PLAIN",)

    def answer(self, key: int, request: Any, state: dict[str, bool]) -> Any:
        if key == SASL_HANDSHAKE:
            is_known = request.mechanism in self.mechanisms
            code = ErrorCode.NONE if is_known else ErrorCode.UNSUPPORTED_SASL_MECHANISM
            return SaslHandshakeResponse(code, list(self.mechanisms))
        is_right = bytes(request.auth_bytes) == b"\0me\0" + self.password
        state["is_open"] = is_right
        self.authenticated += is_right
        if is_right:
            return SaslAuthenticateResponse(session_lifetime_ms=self.lifetime_ms)
        return SaslAuthenticateResponse(ErrorCode.SASL_AUTHENTICATION_FAILED, "Authentication failed")

    def lets_through(self, key: int, state: dict[str, bool]) -> bool:
        return key == API_VERSIONS or state.get("is_open", False)

"""One connection to a broker, and which versions of the protocol both sides speak.

Owns: a `Peer`, and the versions that the broker at its other end told.

Rules
- One request at a time: who has to wait long (for records, for the other members of a group) takes a connection of
  his own.
- A broker closes connections that are idle for long, and all when it stops. Before each question that is looked for:
  one that has no answer would be lost otherwise, without a word.
- Where SASL is set, a connection authenticates behind that, and again before its time is over (KIP-368).
- The first question of a connection is ApiVersions. A broker that does not know its version 3 answers in version 0,
  which reads as garbage here; it is asked again, in version 0 (KIP-511).
- A request is sent in the highest version that both sides know. A `Question` builds it for that version, since some
  requests look different from some version on, and may name a version that is not to be exceeded.
- A field that the version lacks is dropped where the protocol says so; where it would change the meaning, the
  request is refused here (NotServedError).

Not here: which broker is asked (client), sockets (pykbroker.peer).
"""

import errno
import math
import re
from collections.abc import Callable
from typing import Any

import anyio
import attrs

from pykbroker.client.errors import NotServedError
from pykbroker.client.sasl import authenticate
from pykbroker.client.settings import ClientSettings
from pykbroker.clock import Clock
from pykbroker.config import BrokerConfig
from pykbroker.errors import error_of
from pykbroker.peer import Network, Peer
from pykbroker.version import version
from wire.catalog import API_BY_KEY
from wire.errors import ProtocolError
from wire.messages.brokers import ApiVersionsRequest
from wire.schema import spec_of

Address = tuple[str, int]

DEFAULT_PORT = 9092
SOFTWARE_NAME = "pykbroker"
_FLEXIBLE_API_VERSIONS = 3
_ADDRESS = re.compile(r"(?:\[(?P<ip6>[0-9a-fA-F:.%\w]+)\]|(?P<host>[^\s:/\[\]]+))(?::(?P<port>[0-9]{1,5}))?")
_NO_LIMIT = 32767
_LIFETIME_SHARE = 0.85  # of a session, after which it authenticates again
_LEAST_LIFETIME_MS = 1_000  # a Kafka broker takes it no sooner


@attrs.frozen
class Question:
    """A request that is built once the version is known."""

    message: type[Any]
    build: Callable[[int], Any]
    max_version: int = _NO_LIMIT

    @classmethod
    def of(cls, request: Any, max_version: int = _NO_LIMIT) -> "Question":
        """A request that looks the same in every version that is used."""
        return cls(type(request), lambda _: request, max_version)

    @property
    def key(self) -> int:
        key = spec_of(self.message).key
        assert key is not None
        return key


class Connection:
    def __init__(
        self, address: Address, network: Network, clock: Clock, config: BrokerConfig, settings: ClientSettings
    ) -> None:
        self.address = address
        self._peer = Peer(
            network,
            clock,
            config,
            lambda: address,
            client_id=settings.client_id,
            max_backoff_ms=lambda: 0,  # who asks again has paused already
        )
        self._settings = settings
        self._lock = anyio.Lock()
        self._clock = clock
        self._versions: dict[int, tuple[int, int]] | None = None  # None: to be asked for
        self._authenticate_at_ms = math.inf
        self._has_answered = False  # anything but ApiVersions, since it was opened

    async def ask(self, question: Question, *, timeout_ms: int | None = None) -> Any:
        """Return the answer. Records in it are views that are good until the next question.

        Raises: OSError where the broker cannot be reached, NotServedError.
        """
        async with self._lock:
            version = await self._version(question)
            request = question.build(version)
            return await self._guarded(self._peer.call, request, version, timeout_ms)

    async def send(self, question: Question) -> None:
        """Send a request that has no answer. Raises: as `ask`."""
        async with self._lock:
            version = await self._version(question)
            await self._guarded(self._peer.send, question.build(version), version, None)

    async def versions(self) -> dict[int, tuple[int, int]]:
        """Return the lowest and the highest version of each API that the broker serves. Raises: OSError."""
        async with self._lock:
            return await self._known_versions()

    async def max_version(self, message: type[Any]) -> int:
        """Return the highest version of a request that both sides know; -1: there is none. Raises: OSError."""
        api = API_BY_KEY[spec_of(message).key or 0]
        lowest, highest = (await self.versions()).get(api.key, (0, -1))
        highest = min(highest, api.max_version)
        return highest if highest >= max(lowest, api.min_version) else -1

    async def aclose(self) -> None:
        self._versions = None
        await self._peer.aclose()

    async def _version(self, question: Question) -> int:
        return self._version_of(question, await self._known_versions())

    def _version_of(self, question: Question, versions: dict[int, tuple[int, int]]) -> int:
        api = API_BY_KEY[question.key]
        served = versions.get(api.key)
        if served is None:
            raise NotServedError(f"the broker at {self._where} does not serve {api.name}")
        lowest, highest = max(served[0], api.min_version), min(served[1], api.max_version, question.max_version)
        if lowest > highest:
            raise NotServedError(
                f"the broker at {self._where} serves {api.name} in versions {served[0]} to {served[1]} only"
            )
        return highest

    async def _known_versions(self) -> dict[int, tuple[int, int]]:
        if await self._peer.close_if_ended():
            self._versions = None
        versions = self._versions
        if versions is None:
            answer = await self._ask_versions()
            versions = {each.api_key: (each.min_version, each.max_version) for each in answer.api_keys}
            self._has_answered = False
            await self._authenticate(versions)
            self._versions = versions
        elif self._clock.monotonic_ms() >= self._authenticate_at_ms:
            self._versions = None  # should it fail, a new connection is opened
            await self._authenticate(versions)
            self._versions = versions
        return versions

    async def _authenticate(self, versions: dict[int, tuple[int, int]]) -> None:
        """Raises: KafkaError, OSError."""
        settings = self._settings.security.sasl
        if settings is None:
            return

        async def ask(request: object) -> Any:
            version = self._version_of(Question.of(request), versions)
            return await self._guarded(self._peer.call, request, version, None)

        is_complete = False
        try:
            lifetime_ms = await authenticate(ask, settings)
            is_complete = True
        finally:
            if not is_complete:
                await self._peer.aclose()
        holds_ms = max(lifetime_ms * _LIFETIME_SHARE, _LEAST_LIFETIME_MS) if lifetime_ms else math.inf
        self._authenticate_at_ms = self._clock.monotonic_ms() + holds_ms

    async def _ask_versions(self) -> Any:
        try:
            request = ApiVersionsRequest(SOFTWARE_NAME, version())
            answer = await self._guarded(self._peer.call, request, _FLEXIBLE_API_VERSIONS, None)
        except OSError as error:
            if error.errno != errno.EPROTO:
                raise
            answer = await self._guarded(self._peer.call, ApiVersionsRequest(), 0, None)
        if answer.error_code:
            raise ConnectionError(errno.EPROTO, f"ApiVersions was answered with {error_of(answer.error_code).name}")
        return answer

    async def _guarded(self, call: Callable[..., Any], request: object, version: int, timeout_ms: int | None) -> Any:
        """Whatever goes wrong has closed the connection: the next one may lead to a broker of another version."""
        is_complete = False
        try:
            answer = await call(request, version, timeout_ms=timeout_ms or self._settings.request_timeout_ms)
            is_complete = True
            self._has_answered |= not isinstance(request, ApiVersionsRequest)
        except ConnectionResetError as error:
            if self._versions is None or self._has_answered or self._settings.security.protocol.has_sasl:
                raise
            # What a listener of SASL does with the first request that is not part of it.
            raise ConnectionResetError(error.errno, f"{error.strerror}; it may want SASL (security.protocol)") from None
        except ProtocolError as error:  # of our own request: what is wrong with an answer is an OSError
            raise NotServedError(f"the broker at {self._where} is too old for this: {error}") from None
        finally:
            if not is_complete:
                self._versions = None
        return answer

    @property
    def is_open(self) -> bool:
        return self._peer.is_connected

    @property
    def _where(self) -> str:
        return address_text(self.address)


def address_text(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_bootstrap(text: str) -> list[Address]:
    """Read `host:port,host:port`; without a port it is Kafka's own. Raises: ValueError."""
    addresses = []
    for part in text.split(","):
        match = _ADDRESS.fullmatch(part.strip())
        if match is None or not 0 < (port := int(match["port"] or DEFAULT_PORT)) < 65536:
            raise ValueError(f"{part.strip() or text!r} is not host:port")
        addresses.append((match["ip6"] or match["host"], port))
    return addresses

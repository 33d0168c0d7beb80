"""One connection to a broker, and which versions of the protocol both sides speak.

Owns: a `Peer`, and the versions that the broker at its other end told.

Rules
- One request at a time: who has to wait long (for records, for the other members of a group) takes a connection of
  his own.
- The first question of a connection is ApiVersions. A broker that does not know its version 3 answers in version 0,
  which reads as garbage here; it is asked again, in version 0 (KIP-511).
- A request is sent in the highest version that both sides know. A `Question` builds it for that version, since some
  requests look different from some version on, and may name a version that is not to be exceeded.
- A field that the version lacks is dropped where the protocol says so; where it would change the meaning, the
  request is refused here (NotServedError).

Not here: which broker is asked (client), sockets (pykbroker.peer).
"""

import errno
from collections.abc import Callable
from typing import Any

import anyio
import attrs

from pykbroker.client.errors import NotServedError
from pykbroker.client.settings import ClientSettings
from pykbroker.clock import Clock
from pykbroker.config import BrokerConfig
from pykbroker.errors import error_of
from pykbroker.peer import Network, Peer
from wire.catalog import API_BY_KEY
from wire.errors import ProtocolError
from wire.messages.brokers import ApiVersionsRequest
from wire.schema import spec_of

Address = tuple[str, int]

SOFTWARE_NAME = "pykbroker"
SOFTWARE_VERSION = "0.1.0"
_FLEXIBLE_API_VERSIONS = 3
_NO_LIMIT = 32767


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
        self._versions: dict[int, tuple[int, int]] | None = None  # None: to be asked for

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

    async def aclose(self) -> None:
        self._versions = None
        await self._peer.aclose()

    async def _version(self, question: Question) -> int:
        api = API_BY_KEY[question.key]
        served = (await self._known_versions()).get(api.key)
        if served is None:
            raise NotServedError(f"the broker at {self._where} does not serve {api.name}")
        lowest, highest = max(served[0], api.min_version), min(served[1], api.max_version, question.max_version)
        if lowest > highest:
            raise NotServedError(
                f"the broker at {self._where} serves {api.name} in versions {served[0]} to {served[1]} only"
            )
        return highest

    async def _known_versions(self) -> dict[int, tuple[int, int]]:
        if self._versions is None:
            answer = await self._ask_versions()
            self._versions = {each.api_key: (each.min_version, each.max_version) for each in answer.api_keys}
        return self._versions

    async def _ask_versions(self) -> Any:
        try:
            request = ApiVersionsRequest(SOFTWARE_NAME, SOFTWARE_VERSION)
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
    """Read `host:port,host:port`. Raises: ValueError."""
    addresses = []
    for part in text.split(","):
        host, separator, port = part.strip().rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise ValueError(f"{part.strip() or text!r} is not host:port")
        addresses.append((host, int(port)))
    return addresses

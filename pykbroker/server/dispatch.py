"""From a frame to an answer: read the header, find the handler, decode, call, and turn errors into answers.

Rules
- A version of ApiVersions that is not served is answered in version 0 with UNSUPPORTED_VERSION (KIP-511); any other key
  or version that is not served closes the connection, as does a body that cannot be decoded.
- Handlers are imported on first use. A route (key, version) keeps everything that is the same for all its requests.
- KafkaError becomes the request's error answer; an exception that is none of ours is a bug: logged with the request,
  counted in `bugs_total`, answered with UNKNOWN_SERVER_ERROR.
- A connection asks `ServerContext.dispatcher` anew for each buffer: what wants to see or change requests is a
  RequestDispatcher around another one, in place only while it has something to do.
- An observer is part of the handlers that it was there for when they were looked up: without one nothing is asked.

Not here: bytes, order and sending (connection).
"""

import importlib
import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from struct import Struct
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import attrs

from pykbroker.errors import CloseConnection, KafkaError, StorageError
from pykbroker.handlers.context import ConnectionInfo, RequestContext, Services
from pykbroker.server.error_replies import error_response
from pykbroker.waiters import Parked
from wire import codec
from wire.catalog import API_BY_KEY, request_class, response_class
from wire.codec import MAX_ELEMENTS
from wire.errors import ErrorCode, ProtocolError
from wire.frame import API_VERSIONS, read_request_header, response_header_version
from wire.schema import Records

if TYPE_CHECKING:
    from wire.study.trace import Source

logger = logging.getLogger("pykbroker.server")

Handler = Callable[[RequestContext, Any], object]
# Told of each request that was handled: its API key, the request, and the response, a Parked, a coroutine, or the
# exception that the handler raised.
Observer = Callable[[int, object, object], None]

# API key -> the handler's module in pykbroker.handlers and its function.
HANDLERS: dict[int, tuple[str, str]] = {
    0: ("produce", "produce"),
    1: ("fetch", "fetch"),
    2: ("offsets", "list_offsets"),
    3: ("metadata", "metadata"),
    8: ("group_offsets", "offset_commit"),
    9: ("group_offsets", "offset_fetch"),
    10: ("metadata", "find_coordinator"),
    11: ("classic_groups", "join_group"),
    12: ("classic_groups", "heartbeat"),
    13: ("classic_groups", "leave_group"),
    14: ("classic_groups", "sync_group"),
    15: ("classic_groups", "describe_groups"),
    16: ("classic_groups", "list_groups"),
    18: ("brokers", "api_versions"),
    19: ("topics", "create_topics"),
    20: ("topics", "delete_topics"),
    21: ("offsets", "delete_records"),
    22: ("transactions", "init_producer_id"),
    23: ("offsets", "offset_for_leader_epoch"),
    24: ("transactions", "add_partitions_to_txn"),
    25: ("transactions", "add_offsets_to_txn"),
    26: ("transactions", "end_txn"),
    27: ("transaction_admin", "write_txn_markers"),
    28: ("transaction_offsets", "txn_offset_commit"),
    32: ("configs", "describe_configs"),
    33: ("configs", "alter_configs"),
    34: ("log_dirs", "alter_replica_log_dirs"),
    35: ("log_dirs", "describe_log_dirs"),
    37: ("topics", "create_partitions"),
    42: ("classic_groups", "delete_groups"),
    43: ("placement", "elect_leaders"),
    44: ("configs", "incremental_alter_configs"),
    45: ("placement", "alter_partition_reassignments"),
    46: ("placement", "list_partition_reassignments"),
    47: ("group_offsets", "offset_delete"),
    48: ("quotas", "describe_client_quotas"),
    49: ("quotas", "alter_client_quotas"),
    50: ("authentication", "describe_user_scram_credentials"),
    55: ("raft", "describe_quorum"),
    57: ("brokers", "update_features"),
    60: ("brokers", "describe_cluster"),
    61: ("transaction_admin", "describe_producers"),
    64: ("brokers", "unregister_broker_id"),
    65: ("transaction_admin", "describe_transactions"),
    66: ("transaction_admin", "list_transactions"),
    71: ("telemetry", "get_telemetry_subscriptions"),
    72: ("telemetry", "push_telemetry"),
    74: ("configs", "list_config_resources"),
    75: ("metadata", "describe_topic_partitions"),
    80: ("raft", "add_raft_voter"),
    81: ("raft", "remove_raft_voter"),
    94: ("raft", "unregister_controller"),
}

# ApiVersions lists these only where `pykbroker.telemetry.enable` is set.
TELEMETRY_KEYS = frozenset({71, 72})

PRODUCE = 0

_WAITS = (Parked, CoroutineType)
_SIZE_AND_ID = Struct(">ii").pack


@attrs.frozen
class Route:
    """How one (key, version) is served."""

    api_key: int
    version: int
    handler: Handler
    decode: codec.Decoder
    encode: codec.Encoder
    response_header_bytes: bytes  # after the correlation id


@attrs.define(eq=False)
class Started:
    """A request whose answer is not there yet: its outcome is a Parked, or a coroutine to await."""

    route: Route
    correlation_id: int
    outcome: object
    request: object
    traced: "Source | None" = attrs.field(default=None, init=False)  # whose it is, where somebody wants to see it


class RequestDispatcher(ABC):
    """What a connection does with frames, and how answers that had to wait become frames."""

    @abstractmethod
    def start(self, connection: ConnectionInfo, frame: memoryview) -> "bytes | list[Records] | Started | None":
        """Run the handler of one request; return the frame of its answer (None: there is none), or what to wait for.

        Raises: ProtocolError, CloseConnection: the connection has to be closed.
        """

    @abstractmethod
    async def finish(self, started: Started) -> object:
        """Wait for a handler that is a coroutine and return its response or Parked."""

    @abstractmethod
    def encode(self, started: Started, response: object) -> bytes | list[Records]:
        """Return the frame of the answer to a request that had to wait."""

    @abstractmethod
    def build(self, started: Started, build: Callable[[], object]) -> object:
        """Build the response of a parked request."""


@runtime_checkable
class OuterDispatcher(Protocol):
    """A dispatcher that stands before another one."""

    inner: RequestDispatcher


class _HasDispatcher(Protocol):
    dispatcher: RequestDispatcher


def take_out(server: _HasDispatcher, dispatcher: RequestDispatcher) -> None:
    """Take a dispatcher that stands before another one away, whichever have been put before it meanwhile."""
    assert isinstance(dispatcher, OuterDispatcher)
    if server.dispatcher is dispatcher:
        server.dispatcher = dispatcher.inner
        return
    outer = server.dispatcher
    while isinstance(outer, OuterDispatcher):
        if outer.inner is dispatcher:
            outer.inner = dispatcher.inner
            return
        outer = outer.inner


class Dispatcher(RequestDispatcher):
    def __init__(self, services: Services) -> None:
        self._services = services
        self._routes: dict[tuple[int, int], Route] = {}
        self._wrap: Callable[[Route], Route] | None = None
        self._observer: Observer | None = None

    def wrap_routes(self, wrap: Callable[[Route], Route] | None) -> None:
        """From now on serve by what `wrap` makes of each route; None: by the routes themselves.

        What looks at all requests and is switched off thus costs nothing.
        """
        self._wrap = wrap
        self._routes.clear()

    def observe(self, observer: Observer) -> None:
        """Tell `observer` what handlers are asked and answer, from now on; it must not raise."""
        self._observer = observer
        self._routes.clear()

    def start(self, connection: ConnectionInfo, frame: memoryview) -> "bytes | list[Records] | Started | None":
        key, version, correlation_id, client_id, _, pos = read_request_header(frame)
        services = self._services
        route = self._routes.get((key, version)) or self._route(key, version)
        if route.version == version:
            try:
                request, _ = route.decode(frame, pos, len(frame), [MAX_ELEMENTS])
            except (ProtocolError, IndexError, ValueError, codec.StructError) as error:
                raise ProtocolError(f"{API_BY_KEY[key].name} v{version}: {error}") from None
        else:
            request = request_class(API_VERSIONS)()  # of a version that we do not know: its body is not ours to read
        services.metrics.requests_total += 1
        try:
            outcome = route.handler(RequestContext(services, connection, version, client_id), request)
        except CloseConnection:
            raise
        except Exception as error:  # the one place where anything is caught: see `failed`
            outcome = self.failed(route, request, error)
        if outcome is None:
            return None
        if isinstance(outcome, _WAITS):
            return Started(route, correlation_id, outcome, request)
        return self._encode(route, correlation_id, request, outcome)

    def _route(self, key: int, version: int) -> Route:
        api = API_BY_KEY.get(key)
        if api is None or key not in HANDLERS:
            raise ProtocolError(f"request of unknown key {key}")
        if not api.min_version <= version <= api.max_version:
            if key != API_VERSIONS:
                raise ProtocolError(f"{api.name} v{version} is not served")
            version = 0
        route = route_of(key, version)
        if self._wrap is not None:
            route = self._wrap(route)
        if self._observer is not None:  # sees what clients are answered, however their requests are served
            route = attrs.evolve(route, handler=_observed(key, route.handler, self._observer))
        self._routes[key, version] = route
        return route

    async def finish(self, started: Started) -> object:
        assert inspect.isawaitable(started.outcome)
        awaitable: Awaitable[object] = started.outcome
        try:
            return await awaitable
        except CloseConnection:
            raise
        except Exception as error:  # as in `start`
            return self.failed(started.route, started.request, error)

    def encode(self, started: Started, response: object) -> bytes | list[Records]:
        return self._encode(started.route, started.correlation_id, started.request, response)

    def _encode(self, route: Route, correlation_id: int, request: object, response: object) -> bytes | list[Records]:
        """Return the frame of a response, as pieces where slices of files are among them.

        A response that cannot be encoded is a bug, answered as one.
        """
        pieces: list[Records] = [b""]
        try:
            route.encode(pieces.append, response)
        except Exception as error:
            pieces = [b""]
            route.encode(pieces.append, self.failed(route, request, error))
        head = route.response_header_bytes
        try:
            body = b"".join(pieces)  # type: ignore[arg-type]
        except TypeError:  # there are slices of files among them
            pieces[0] = _SIZE_AND_ID(4 + len(head) + sum(map(len, pieces)), correlation_id) + head
            return pieces
        return _SIZE_AND_ID(4 + len(head) + len(body), correlation_id) + head + body

    def build(self, started: Started, build: Callable[[], object]) -> object:
        try:
            return build()
        except Exception as error:  # as in `start`
            return self.failed(started.route, started.request, error)

    def failed(self, route: Route, request: object, error: Exception) -> object:
        """Return the response that tells of an error; one that is none of ours is a bug."""
        if isinstance(error, KafkaError):
            return error_response(route.api_key, route.version, request, error)
        if isinstance(error, StorageError):
            return error_response(
                route.api_key, route.version, request, KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(error))
            )
        self._services.metrics.bugs_total += 1
        logger.error("bug in %s v%s: %.2000r", API_BY_KEY[route.api_key].name, route.version, request, exc_info=error)
        return error_response(route.api_key, route.version, request, KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR))


def route_of(key: int, version: int) -> Route:
    """Return how a key and version that are served are served."""
    family, function = HANDLERS[key]
    if key == PRODUCE:
        from wire import produce_codec

        decode, encode = produce_codec.decoder(version), produce_codec.encoder(version)
    else:
        decode, encode = codec.decoder(request_class(key), version), codec.encoder(response_class(key), version)
    return Route(
        api_key=key,
        version=version,
        handler=getattr(importlib.import_module(f"pykbroker.handlers.{family}"), function),
        decode=decode,
        encode=encode,
        response_header_bytes=b"\0" * response_header_version(key, version),
    )


def _observed(key: int, handler: Handler, observer: Observer) -> Handler:
    def observed(ctx: RequestContext, request: object) -> object:
        try:
            outcome = handler(ctx, request)
        except Exception as error:
            observer(key, request, error)
            raise
        observer(key, request, outcome)
        return outcome

    return observed

"""Client quotas in force: measures requests, and throttles the clients that exceed their quotas.

Owns: which client quotas are in force here.

Rules
- The answer is sent at once and says for how long the client is throttled; then nothing more is read of its connection
  for so long (KIP-219). Requests that were read before are answered meanwhile.
- Produce counts the bytes of the request, a consumer's Fetch those of the answer, which is empty if it is throttled,
  and every request the time that its handler took. The longest of a request's waits counts.
- What brokers ask of each other is exempt.
- While no client has a quota, requests do not come by here: `Dispatcher.wrap_routes`.

Not here: how much is too much (quotas), how a connection is muted (connection), CreateTopics and its like, which ask
for their quota themselves (handlers/topics).
Sources: KIP-13, KIP-124, KIP-219; Kafka's KafkaApis and RequestHandlerHelper.
"""

import types
from collections.abc import Callable, Coroutine, Generator, Mapping
from functools import partial
from typing import Any

import attrs

from pykbroker.cluster.image import QuotaEntity
from pykbroker.errors import CloseConnection
from pykbroker.handlers.context import RequestContext, Services
from pykbroker.handlers.fetch import replica_id_of
from pykbroker.handlers.throttled_fetch import fetch_with_quota
from pykbroker.quotas.client_quotas import ClientQuotas, Limit, QuotaKind
from pykbroker.server.dispatch import Dispatcher, Route
from pykbroker.waiters import Parked
from wire.messages.fetch import FetchRequest
from wire.messages.produce import ProduceRequest

EXEMPT = frozenset({27})  # WriteTxnMarkers
PERCENT_PER_MS = 100 / 1000  # of a second


class Throttling:
    def __init__(self, dispatcher: Dispatcher, services: Services) -> None:
        self._dispatcher = dispatcher
        self._services = services
        self._quotas = ClientQuotas(services.config, services.clock)

    def apply(self, quotas: Mapping[QuotaEntity, Mapping[str, float]]) -> None:
        """Put these quotas in force."""
        self._quotas.apply(quotas)
        self._services.client_quotas = None if self._quotas.is_empty else self._quotas
        self._dispatcher.wrap_routes(None if self._quotas.is_empty else self._measured)

    def _measured(self, route: Route) -> Route:
        """Return a route that does the same, measures it, and throttles who does too much."""
        if route.api_key in EXEMPT:
            return route
        request_bytes = 0

        def decode(data: memoryview, pos: int, end: int, budget: list[int]) -> tuple[Any, int]:
            nonlocal request_bytes
            request_bytes = len(data)
            return route.decode(data, pos, end, budget)

        def handler(ctx: RequestContext, request: Any) -> object:
            if isinstance(request, FetchRequest) and replica_id_of(request) >= 0:
                return route.handler(ctx, request)
            return self._serve(route, _Use(self._quotas, ctx, request, request_bytes))

        return attrs.evolve(route, handler=handler, decode=decode)

    def _serve(self, route: Route, use: "_Use") -> object:
        use.begin()
        try:
            outcome = use.call(route.handler)
        except CloseConnection:
            raise
        except Exception as error:  # as in `Dispatcher.start`: its answer is throttled, too
            outcome = self._dispatcher.failed(route, use.request, error)
        if type(outcome) is types.CoroutineType:
            use.end()
            return self._serve_later(route, use, outcome)
        outcome = use.settled(outcome)
        # What has to be awaited is answered before anything behind it is started.
        return _at_once(outcome) if use.is_throttled else outcome

    async def _serve_later(self, route: Route, use: "_Use", handler: Coroutine[Any, Any, object]) -> object:
        try:
            outcome = await use.awaited(handler)
        except Exception as error:  # as in `Dispatcher.finish`
            outcome = self._dispatcher.failed(route, use.request, error)
        use.begin()
        return use.settled(outcome)


async def _at_once(outcome: object) -> object:
    return outcome


@attrs.define(eq=False)
class _Use:
    """What one request uses."""

    _quotas: ClientQuotas
    _ctx: RequestContext
    request: Any
    _request_bytes: int
    is_throttled: bool = False
    _spent_ms: float = 0.0
    _began_ms: float = 0.0
    _is_counted: bool = False

    def begin(self) -> None:
        """Its handler runs from now on."""
        self._began_ms = self._ctx.services.clock.monotonic_ms()

    def end(self) -> None:
        self._spent_ms += self._ctx.services.clock.monotonic_ms() - self._began_ms

    def call(self, handler: Callable[[RequestContext, Any], object]) -> object:
        if not isinstance(self.request, FetchRequest):
            return handler(self._ctx, self.request)
        limit = self._limit(QuotaKind.FETCH)
        if limit is None and self._limit(QuotaKind.REQUEST) is None:
            return handler(self._ctx, self.request)  # nothing that it is told depends on it
        most_bytes = self._quotas.most_at_once(limit)
        return fetch_with_quota(self._ctx, self.request, most_bytes=most_bytes, charge=self._charge_fetch)

    @types.coroutine
    def awaited(self, handler: Coroutine[Any, Any, object]) -> Generator[Any, Any, object]:
        """Await a handler; only the time in which it runs counts."""
        resume: Callable[[], Any] = partial(handler.send, None)
        while True:
            self.begin()
            try:
                waits_for = resume()
            except StopIteration as done:
                return done.value
            finally:
                self.end()
            try:
                resume = partial(handler.send, (yield waits_for))
            except BaseException as error:
                resume = partial(handler.throw, error)

    def settled(self, outcome: object) -> object:
        """The handler is done, or waits: count what it used, and throttle the client if that is too much."""
        if isinstance(outcome, Parked):
            self.end()
            outcome.build_by(self._build)
            return outcome
        self.end()
        throttle_ms = max(getattr(outcome, "throttle_time_ms", 0), 0 if self._is_counted else self._charge())
        if throttle_ms:
            if hasattr(outcome, "throttle_time_ms"):
                outcome.throttle_time_ms = throttle_ms
            self.is_throttled = True
            if self._ctx.connection.mute is not None:
                self._ctx.connection.mute(throttle_ms)
        return outcome

    def _build(self, build: Callable[[], object]) -> object:
        """Build the response of a request that waited."""
        self.begin()
        return self.settled(build())

    def _charge(self) -> int:
        request = self.request
        if not isinstance(request, ProduceRequest):
            return self._charge_time()
        throttle_ms = self._quotas.record(self._limit(QuotaKind.PRODUCE), self._request_bytes)
        return max(throttle_ms, self._charge_time()) if request.acks else throttle_ms

    def _charge_time(self) -> int:
        return self._quotas.record(self._limit(QuotaKind.REQUEST), self._spent_ms * PERCENT_PER_MS)

    def _charge_fetch(self, response_bytes: int) -> int:
        """Count an answer to a consumer; one that is not sent, for whichever quota, does not count."""
        self.end()
        self.begin()
        self._is_counted = True
        limit = self._limit(QuotaKind.FETCH)
        throttle_ms = max(self._charge_time(), self._quotas.record(limit, response_bytes))
        if throttle_ms:
            self._quotas.take_back(limit, response_bytes)
        return throttle_ms

    def _limit(self, kind: QuotaKind) -> Limit | None:
        return self._quotas.limit(kind, self._ctx.connection.user, self._ctx.client_id)

"""A dispatcher that stands before another one and lets requests meet the faults in force.

Rules
- A request that meets no fault goes to the other dispatcher untouched. One that does becomes a wait that the connection
  awaits before it takes the client's next request, as Kafka does with every request.
- That wait returns a response like any handler's. So it may be finished by whichever dispatcher is in place by then.
- An error goes to the parts of the request that the fault is about, where the protocol has a place for it; the other
  parts are done really. With `when="after"` all is done, and only the answer is wrong.
- What a fault is about is looked at once, when the request comes: one that is frozen or delayed goes on afterwards.
- Nothing is answered while the broker is frozen, nor to brokers that it is cut off from: they wait without end.
- Delays add up; of two endings, or errors for one part, the older fault's counts.

Not here: whether a fault is about a request (rules, targets).
Sources: KIP-219 (the answer first, then the connection is muted).
"""

import logging
from collections.abc import Callable, Generator
from typing import Any

import anyio
import attrs

from pykbroker.errors import CloseConnection, KafkaError
from pykbroker.faults.fetch_faults import FETCH, is_of_partitions, wanted_partitions, with_errors, without_waiting
from pykbroker.faults.rules import ActiveFault, Fault, FaultRules, sending_broker
from pykbroker.faults.seams import Seams
from pykbroker.faults.targets import changed, failed_part, mark, merge, narrowed, split_request, target_of
from pykbroker.handlers.context import ConnectionInfo, Services
from pykbroker.log.files import FileSlice
from pykbroker.replication.fetch_session import Key
from pykbroker.server.dispatch import HANDLERS, RequestDispatcher, Route, Started, route_of
from pykbroker.server.error_replies import error_response
from pykbroker.waiters import Parked
from wire import codec
from wire.catalog import API_BY_KEY, response_class
from wire.codec import MAX_ELEMENTS
from wire.errors import ErrorCode, ProtocolError
from wire.frame import RequestHeader, decode_response_header, encode_request, read_request_header
from wire.schema import Records, Uuid, spec_of

PRODUCE = 0
LOGGED_HITS = 10  # of each fault: a client may try again and again

logger = logging.getLogger("pykbroker.faults")


@attrs.define(eq=False)
class _Meeting:
    """A request and the faults that it meets."""

    connection: ConnectionInfo
    route: Route
    header: RequestHeader
    frame: bytearray  # as it came, without its size
    request: Any
    rest: Any  # what of the request is done really; None: nothing
    arrived_ms: float
    sender: int | None  # the broker that asks; None: a client
    failed: list[tuple[Any, Fault]] = attrs.field(factory=list)  # parts of the request, and whose error they have
    failed_partitions: list[tuple[Key, ErrorCode]] = attrs.field(factory=list)  # of a Fetch
    marks: list[ActiveFault] = attrs.field(factory=list)  # are about something that only the answer names
    freezes: list[ActiveFault] = attrs.field(factory=list)
    ending: ActiveFault | None = None  # drop or cut
    delay_before_ms: float = 0
    delay_after_ms: float = 0
    throttle_ms: int = 0
    applies_all: bool = False  # the errors are in the answer only
    is_met: bool = False


class FaultyDispatcher(RequestDispatcher):
    def __init__(self, inner: RequestDispatcher, rules: FaultRules, services: Services, seams: Seams) -> None:
        self.inner = inner
        self._rules = rules
        self._seams = seams
        self._services = services
        self._routes: dict[tuple[int, int], Route] = {}

    # RequestDispatcher

    def start(self, connection: ConnectionInfo, frame: memoryview) -> bytes | list[Records] | Started | None:
        meeting = self._meet(connection, frame)
        if meeting is None:
            return self.inner.start(connection, frame)
        return Started(meeting.route, meeting.header.correlation_id, _Outcome(self, meeting), meeting.request)

    async def finish(self, started: Started) -> object:
        return await self.inner.finish(started)

    def encode(self, started: Started, response: object) -> bytes | list[Records]:
        return self.inner.encode(started, response)

    def build(self, started: Started, build: Callable[[], object]) -> object:
        return self.inner.build(started, build)

    # Which faults a request meets

    def _meet(self, connection: ConnectionInfo, frame: memoryview) -> _Meeting | None:
        """Return what is to be done with a request; None: what is always done."""
        key, version, correlation_id, client_id, _, pos = read_request_header(frame)
        broker_id = self._services.cluster.broker_id
        asked = [
            active for active in self._rules if not active.is_spent and active.fault.asks_for(key, client_id, broker_id)
        ]
        sender = sending_broker(client_id)
        is_held = not self._seams.is_reachable(sender)
        api = API_BY_KEY.get(key)
        if not (asked or is_held) or api is None or key not in HANDLERS:
            return None
        if not api.min_version <= version <= api.max_version:
            return None
        route = self._routes.get((key, version))
        if route is None:
            route = self._routes[key, version] = route_of(key, version)
        copied = bytearray(frame)  # the original is gone when this is awaited; batches are stamped in place
        try:
            request, _ = route.decode(memoryview(copied), pos, len(copied), [MAX_ELEMENTS])
        except (ProtocolError, IndexError, ValueError, codec.StructError):
            return None  # the other dispatcher says what is wrong
        header = RequestHeader(key, version, correlation_id, client_id)
        now_ms = self._services.clock.monotonic_ms()
        meeting = _Meeting(
            connection, route, header, copied, request, rest=request, arrived_ms=now_ms, sender=sender, is_met=is_held
        )
        for active in asked:
            self._meet_one(meeting, active)
        return meeting if meeting.is_met else None

    def _meet_one(self, meeting: _Meeting, active: ActiveFault) -> None:
        fault = active.fault
        if meeting.header.api_key == FETCH and is_of_partitions(fault):
            keys = wanted_partitions(
                meeting.request, self._services.fetch_sessions, fault.is_about, self._name_of_topic
            )
            if not keys or not active.hit():
                return
            if fault.error is not None:
                meeting.failed_partitions += [(key, fault.error) for key in keys]
        else:
            split = split_request(meeting.request, fault.is_about, self._name_of_topic)
            if split.wanted is None:
                if fault.error is not None and _leaves_open(meeting.request):
                    meeting.marks.append(active)
                    meeting.is_met = True
                return
            if not active.hit():
                return
            if fault.error is not None:
                self._fail(meeting, active)
        meeting.is_met = True
        self._add_effects(meeting, active)

    def _fail(self, meeting: _Meeting, active: ActiveFault) -> None:
        """Take the parts that a fault is about out of what is done really."""
        assert active.fault.error is not None
        meeting.applies_all |= active.fault.when == "after"
        if meeting.rest is not None:
            split = split_request(meeting.rest, active.fault.is_about, self._name_of_topic)
            if split.wanted is not None:
                meeting.failed.append((split.wanted, active.fault))
                meeting.rest = split.rest

    def _add_effects(self, meeting: _Meeting, active: ActiveFault) -> None:
        fault = active.fault
        self._log_hit(meeting, active)
        if fault.when == "before":
            meeting.delay_before_ms += fault.delay_ms
        else:
            meeting.delay_after_ms += fault.delay_ms
        meeting.throttle_ms = max(meeting.throttle_ms, fault.throttle_ms)
        if fault.freeze:
            meeting.freezes.append(active)
        if (fault.drop or fault.cut_bytes is not None) and meeting.ending is None:
            meeting.ending = active

    def _log_hit(self, meeting: _Meeting, active: ActiveFault) -> None:
        if active.hits <= LOGGED_HITS:
            logger.info(
                "%s v%d of client %r at broker %d meets the fault %s (hit %d)",
                API_BY_KEY[meeting.header.api_key].name,
                meeting.header.api_version,
                meeting.header.client_id,
                self._services.cluster.broker_id,
                " ".join(f"{name}={value!r}" for name, value in active.fault.told.items()),
                active.hits,
            )

    def _name_of_topic(self, topic_id: Uuid) -> str | None:
        return self._services.cluster.image.topic_names_by_id.get(topic_id)

    # What becomes of it

    async def go_through(self, meeting: _Meeting) -> object:
        """Let the faults happen, and return the response. Raises: CloseConnection."""
        clock = self._services.clock
        await self._seams.until_reachable(meeting.sender)
        for active in meeting.freezes:
            await active.removed.wait()
        await self._sleep_until(meeting.arrived_ms + meeting.delay_before_ms)
        ending = None if meeting.ending is None else meeting.ending.fault
        if ending is not None and ending.drop and ending.when == "before":
            raise CloseConnection("a fault on order: dropped before the request was applied")
        response = await self._answer(meeting)
        if meeting.delay_after_ms:
            await clock.sleep(meeting.delay_after_ms)
        if ending is not None and ending.drop:
            raise CloseConnection("a fault on order: dropped after the request was applied")
        if response is None:
            return None
        if meeting.throttle_ms:
            response = self._throttle(meeting, response)
        if ending is not None:
            frame = _whole(self.inner.encode(_started(meeting), response))
            raise CloseConnection("a fault on order: the answer was cut", frame[: ending.cut_bytes])
        return response

    async def _sleep_until(self, deadline_ms: float) -> None:
        clock = self._services.clock
        left_ms = deadline_ms - clock.monotonic_ms()
        if left_ms > 0:
            await clock.sleep(left_ms)

    async def _answer(self, meeting: _Meeting) -> object:
        """Do what is left of the request, and return a response with the errors in their places."""
        if meeting.failed_partitions and not meeting.failed:
            request = without_waiting(meeting.request)
            response = await self._really(meeting, request)
            return with_errors(response, meeting.failed_partitions, self._services.fetch_sessions)  # type: ignore[arg-type]
        response = None
        is_done = meeting.applies_all or meeting.rest is not None
        if is_done:
            response = await self._really(meeting, meeting.request if meeting.applies_all else meeting.rest)
        if meeting.failed and meeting.header.api_key == PRODUCE and meeting.request.acks == 0:
            raise CloseConnection("a fault on order: produce with acks=0 failed")
        if response is None and not meeting.failed:
            return None
        for part, fault in meeting.failed:
            failed = self._failure(meeting, part, fault)
            response = failed if response is None or meeting.rest is None else merge(response, failed)
        for active in meeting.marks:
            response = self._marked(meeting, response, active)
        return response

    def _failure(self, meeting: _Meeting, part: Any, fault: Fault) -> object:
        assert fault.error is not None
        answer = error_response(meeting.header.api_key, meeting.header.api_version, part, KafkaError(fault.error))
        return narrowed(answer, target_of(part), fault.is_about, self._name_of_topic)

    def _marked(self, meeting: _Meeting, response: Any, active: ActiveFault) -> object:
        error = active.fault.error
        assert error is not None
        marked, found = mark(
            response, lambda part: failed_part(part, error), active.fault.is_about, self._name_of_topic
        )
        if not found or not active.hit():
            return response
        self._log_hit(meeting, active)
        return marked

    async def _really(self, meeting: _Meeting, request: Any) -> object:
        """Have the other dispatcher do a request, and return its response; None where there is none."""
        frame = meeting.frame
        if request is not meeting.request:
            frame = bytearray(encode_request(meeting.header, request)[4:])
        outcome = self.inner.start(meeting.connection, memoryview(frame))
        if outcome is None:
            return None
        if isinstance(outcome, Started):
            finished = outcome.outcome if isinstance(outcome.outcome, Parked) else await self.inner.finish(outcome)
            return await self._released(outcome, finished) if isinstance(finished, Parked) else finished
        key, version = meeting.route.api_key, meeting.route.version
        answer = memoryview(_whole(outcome))[4:]
        _, pos = decode_response_header(key, version, answer)
        return codec.decode(response_class(key), version, answer, pos)[0]

    async def _released(self, started: Started, parked: Parked) -> object:
        """Wait for an answer that is parked. It is built at the moment in which it is released."""
        if parked.ended:
            return self.inner.build(started, parked.build_now)
        released = anyio.Event()
        response: object = None

        def deliver(build: Callable[[], object]) -> None:
            nonlocal response
            response = self.inner.build(started, build)
            released.set()

        parked.deliver = deliver
        try:
            await released.wait()
        finally:
            parked.cancel()
        return response

    def _throttle(self, meeting: _Meeting, response: Any) -> object:
        if any(field.name == "throttle_time_ms" for field in spec_of(type(response)).fields):
            response = changed(response, throttle_time_ms=meeting.throttle_ms)
        if meeting.connection.mute is not None:
            meeting.connection.mute(meeting.throttle_ms)
        return response


@attrs.define(eq=False)
class _Outcome:
    """What a connection awaits; unlike a coroutine, it may be left without anybody having awaited it."""

    dispatcher: FaultyDispatcher
    meeting: _Meeting

    def __await__(self) -> Generator[Any, Any, object]:
        return self.dispatcher.go_through(self.meeting).__await__()


def _started(meeting: _Meeting) -> Started:
    return Started(meeting.route, meeting.header.correlation_id, None, meeting.request)


def _leaves_open(request: Any) -> bool:
    """Tell whether a request asks for all topics, of a group or at all, and names none."""
    if getattr(request, "topic_partitions", ()) is None:  # ElectLeaders
        return True
    asked = [request, *(group for group in getattr(request, "groups", ()) if not isinstance(group, str))]
    return any(getattr(each, "topics", ()) is None for each in asked)


def _whole(chunks: bytes | list[Records]) -> bytes:
    """Return an answer in one piece; slices of files are read."""
    if isinstance(chunks, bytes):
        return chunks
    return b"".join(chunk.read() if isinstance(chunk, FileSlice) else chunk for chunk in chunks)  # type: ignore[misc]

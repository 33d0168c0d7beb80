"""Counts requests and measures how long they take; in place only while somebody exports that.

    metering = MeteringDispatcher(dispatcher, services)
    dispatcher.observe(metering.observe)        # what handlers are asked and answer
    context.dispatcher = metering
    context.new_outbox = metering.new_outbox    # of connections from now on
    directory.observer = metering               # of each log directory

Owns: what was counted since then, by API and by topic.

Rules
- Times are those of Kafka's RequestMetrics as far as we have them: *local* until the handler has returned, *remote* as
  long as an answer was parked or a handler awaited something, *response queue* until those before it on the connection
  are ready, *response send* until the kernel has taken it, *total* all of them. Requests are not queued here.
- Of what is 0 for most requests only the others are recorded; `complete` adds the zeros when somebody reads.
- A fetch counts twice, as Fetch and as FetchConsumer or FetchFollower.
- All error codes of a response count, also NONE. Where the only answer is to close the connection, none does.
- What another dispatcher has started is finished without being counted: dispatchers are exchanged while requests wait.
- A topic's failed requests are those that Kafka counts: errors that a client is expected to meet (another leader, an
  offset out of range) are none.
- Topics that the metadata does not know are not counted, and `forget` drops those that it knows no more.
- Of the thread that flushes logs only the time is taken over, under a lock.

Not here: records and bytes that came in, which logs tell (web/traffic); when an answer is sent (answer_times);
histograms (histogram); names (web).
Sources: Kafka's RequestChannel, RequestMetrics, BrokerTopicStats, ReplicaManager.
"""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from struct import Struct
from types import CoroutineType
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import attrs

from pykbroker.errors import CloseConnection, KafkaError, StorageError
from pykbroker.handlers.context import ConnectionInfo, Services
from pykbroker.handlers.fetch import replica_id_of
from pykbroker.histogram import Histogram
from pykbroker.server.answer_times import TimedAnswer, TimingOutbox
from pykbroker.server.dispatch import RequestDispatcher, Started
from pykbroker.server.response_errors import ResponseErrors
from pykbroker.waiters import Parked
from wire.catalog import API_BY_KEY
from wire.errors import ErrorCode
from wire.schema import ZERO_UUID, Records, Uuid

if TYPE_CHECKING:
    from pykbroker.replication.fetch_session import FetchSession
    from wire.messages.fetch import FetchRequest, FetchResponse
    from wire.messages.produce import ProduceRequest, ProduceResponse

PRODUCE, FETCH = 0, 1
FETCH_CONSUMER, FETCH_FOLLOWER = "FetchConsumer", "FetchFollower"
# Kafka: unexpected failures of a broker are what these counters are for.
_EXPECTED_IN_PRODUCE = frozenset(
    (
        ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.RECORD_LIST_TOO_LARGE,
        ErrorCode.CORRUPT_MESSAGE, ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.REQUEST_TIMED_OUT,
        ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    )
)  # fmt: skip
_EXPECTED_IN_FETCH = frozenset(
    (
        ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID,
        ErrorCode.INCONSISTENT_TOPIC_ID, ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.OFFSET_OUT_OF_RANGE,
        ErrorCode.FENCED_LEADER_EPOCH, ErrorCode.UNKNOWN_LEADER_EPOCH, ErrorCode.REPLICA_NOT_AVAILABLE,
        ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.OFFSET_NOT_AVAILABLE,
    )
)  # fmt: skip

_key_and_version = Struct(">hh").unpack_from


@attrs.define(eq=False)
class ApiStats:
    """Times in microseconds, sizes in bytes."""

    total_us: Histogram
    local_us: Histogram
    remote_us: Histogram
    response_queue_us: Histogram
    response_send_us: Histogram
    throttle_us: Histogram
    request_bytes: Histogram

    @classmethod
    def since(cls, now_ms: float) -> "ApiStats":
        return cls(*(Histogram(now_ms) for _ in attrs.fields(cls)))

    def complete(self) -> None:
        """Count the zeros that were not recorded."""
        for histogram in (self.remote_us, self.response_queue_us, self.throttle_us):
            histogram.fill_up(self.total_us.count)


@attrs.frozen(eq=False)
class _Counted:
    """What a request is counted as."""

    names: tuple[str, ...]
    stats: tuple[ApiStats, ...]


@attrs.define
class TopicStats:
    produce_requests: int = 0
    failed_produce_requests: int = 0
    fetch_requests: int = 0
    failed_fetch_requests: int = 0
    bytes_out: int = 0  # to consumers
    bytes_rejected: int = 0  # of batches that are larger than max.message.bytes
    produce_conversions: int = 0  # records that got another codec


@attrs.define(eq=False)
class _Metered(Started):
    """A request that waits, with what the dispatcher inside made of it."""

    inner: Started
    counted: _Counted
    began_ms: float
    returned_ms: float
    ready_ms: float = 0.0


class MeteringDispatcher(RequestDispatcher):
    def __init__(self, inner: RequestDispatcher, services: Services) -> None:
        self.apis: dict[str, ApiStats] = {}
        self.requests: Counter[tuple[str, int]] = Counter()  # by name and version
        self.errors: Counter[tuple[str, int]] = Counter()  # by name and code
        self.parked: Counter[int] = Counter()  # answers that wait now, by API key
        self.topics: dict[str, TopicStats] = {}
        self.all_topics = TopicStats()
        self.replication_bytes_out = 0
        self.flush_us = Histogram(services.clock.monotonic_ms())
        self.conversion_us = Histogram(services.clock.monotonic_ms())  # of batches that get another codec
        self._flush_lock = threading.Lock()
        self._inner = inner
        self._services = services
        self._monotonic_ms = services.clock.monotonic_ms
        self._response_errors = ResponseErrors()
        self._in_sessions: WeakKeyDictionary[FetchSession, Counter[tuple[str, Uuid]]] = WeakKeyDictionary()
        self._counted: dict[tuple[int, bool | None], _Counted] = {}
        # Of the request that is handled now:
        self._handled: Any = None  # what the handler was given, of a fetch
        self._throttle_ms = 0

    # A dispatcher's methods

    def start(self, connection: ConnectionInfo, frame: memoryview) -> bytes | list[Records] | Started | None:
        began_ms = self._monotonic_ms()
        self._handled = None
        self._throttle_ms = 0
        answer = self._inner.start(connection, frame)
        returned_ms = self._monotonic_ms()
        key, version = _key_and_version(frame)
        counted = self._counted_as(key)
        api = API_BY_KEY[key]
        if not api.min_version <= version <= api.max_version:
            version = 0  # as which ApiVersions is answered; others than ours would be labels without end
        size, local_us = len(frame), _us(returned_ms - began_ms)
        for name, stats in zip(counted.names, counted.stats, strict=True):
            self.requests[name, version] += 1
            stats.request_bytes.record(size)
            stats.local_us.record(local_us)
        if isinstance(answer, Started):
            if isinstance(answer.outcome, Parked):
                self._count_parked(key, answer.outcome)
            return _Metered(
                answer.route,
                answer.correlation_id,
                answer.outcome,
                answer.request,
                inner=answer,
                counted=counted,
                began_ms=began_ms,
                returned_ms=returned_ms,
            )
        if self._throttle_ms:
            self._throttled(counted)
        if answer is None:
            _count_silent(counted, local_us)
            return None
        return TimedAnswer(answer, counted, began_ms, returned_ms)

    async def finish(self, started: Started) -> object:
        if not isinstance(started, _Metered):
            return await self._inner.finish(started)
        outcome = await self._inner.finish(started.inner)
        if isinstance(outcome, Parked):
            self._count_parked(started.route.api_key, outcome)
        else:
            self._answered(started, outcome)
            if outcome is None:
                _count_silent(started.counted, _us(started.ready_ms - started.began_ms))
        return outcome

    def build(self, started: Started, build: Callable[[], object]) -> object:
        if not isinstance(started, _Metered):
            return self._inner.build(started, build)
        response = self._inner.build(started.inner, build)
        self._answered(started, response)
        return response

    def encode(self, started: Started, response: object) -> bytes | list[Records]:
        if not isinstance(started, _Metered):
            return self._inner.encode(started, response)
        answer = self._inner.encode(started.inner, response)
        return TimedAnswer(answer, started.counted, started.began_ms, started.ready_ms)

    def new_outbox(self, sock: socket.socket) -> TimingOutbox:
        return TimingOutbox(sock, self._monotonic_ms, _count_sent)

    def _answered(self, started: _Metered, response: object) -> None:
        started.ready_ms = now_ms = self._monotonic_ms()
        self._throttle_ms = 0
        for stats in started.counted.stats:
            stats.remote_us.record(_us(now_ms - started.returned_ms))
        self._on_response(started.route.api_key, started.request, response)
        if self._throttle_ms:
            self._throttled(started.counted)

    def _throttled(self, counted: _Counted) -> None:
        for stats in counted.stats:
            stats.throttle_us.record(self._throttle_ms * 1000)

    def _counted_as(self, key: int) -> _Counted:
        is_from_follower = None
        if key == FETCH and self._handled is not None:
            is_from_follower = replica_id_of(self._handled) >= 0
        counted = self._counted.get((key, is_from_follower))
        if counted is None:
            names: tuple[str, ...] = (API_BY_KEY[key].name,)
            if is_from_follower is not None:
                names = (*names, FETCH_FOLLOWER if is_from_follower else FETCH_CONSUMER)
            stats = tuple(self.apis.get(name) or self._new_stats(name) for name in names)
            counted = self._counted[key, is_from_follower] = _Counted(names, stats)
        return counted

    def _new_stats(self, name: str) -> ApiStats:
        stats = self.apis[name] = ApiStats.since(self._monotonic_ms())
        return stats

    def _count_parked(self, key: int, parked: Parked) -> None:
        if not parked.ended:
            self.parked[key] += 1
            parked.on_end(lambda: self.parked.subtract((key,)))

    # What handlers are asked and answer

    def observe(self, key: int, request: object, outcome: object) -> None:
        """An `Observer` of the dispatcher that calls the handlers."""
        if key == PRODUCE:
            self._produce_began(request)
        elif key == FETCH:
            self._handled = request
        if isinstance(outcome, CloseConnection):
            return  # an error that clients are told of by nothing else, or a fault by order
        if isinstance(outcome, KafkaError):
            self.errors[API_BY_KEY[key].name, outcome.code] += 1
        elif isinstance(outcome, Exception):
            code = (
                ErrorCode.KAFKA_STORAGE_ERROR if isinstance(outcome, StorageError) else ErrorCode.UNKNOWN_SERVER_ERROR
            )
            self.errors[API_BY_KEY[key].name, code] += 1
        elif outcome is not None and not isinstance(outcome, Parked) and type(outcome) is not CoroutineType:
            self._on_response(key, request, outcome)

    def _on_response(self, key: int, request: object, response: object) -> None:
        if response is None:
            return
        name = API_BY_KEY[key].name
        for code in self._response_errors.codes(response):
            self.errors[name, code] += 1
        self._throttle_ms = getattr(response, "throttle_time_ms", 0)
        if key == PRODUCE:
            self._produced(request, response)
        elif key == FETCH:
            self._fetched(request, response)

    # Topics

    def forget(self, known_topics: Collection[str]) -> None:
        """Drop what was counted of topics that are no more."""
        for topic in self.topics.keys() - known_topics:
            del self.topics[topic]

    def _produce_began(self, request: "ProduceRequest | Any") -> None:
        for topic in request.topic_data:
            count = len(topic.partition_data)
            for stats in self._stats_of(topic.name, topic.topic_id):
                stats.produce_requests += count

    def _produced(self, request: "ProduceRequest | Any", response: "ProduceResponse | Any") -> None:
        for topic in response.responses:
            failed = sum(answer.error_code not in _EXPECTED_IN_PRODUCE for answer in topic.partition_responses)
            rejected = sum(answer.error_code == ErrorCode.MESSAGE_TOO_LARGE for answer in topic.partition_responses)
            if failed or rejected:
                rejected_bytes = _rejected_bytes(request, topic) if rejected else 0
                for stats in self._stats_of(topic.name, topic.topic_id):
                    stats.failed_produce_requests += failed
                    stats.bytes_rejected += rejected_bytes

    def _fetched(self, request: "FetchRequest | Any", response: "FetchResponse | Any") -> None:
        is_from_follower = replica_id_of(request) >= 0
        if not is_from_follower:
            self._fetch_requests(request, response)
        for topic in response.responses:
            found = self._stats_of(topic.topic, topic.topic_id)
            failed = sum(data.error_code not in _EXPECTED_IN_FETCH for data in topic.partitions)
            size = sum(len(data.records or b"") for data in topic.partitions)
            if is_from_follower:
                self.replication_bytes_out += size
                size = 0
            for stats in found:
                stats.bytes_out += size
                stats.failed_fetch_requests += failed
                if is_from_follower:
                    stats.fetch_requests += len(topic.partitions)

    def _fetch_requests(self, request: "FetchRequest | Any", response: "FetchResponse | Any") -> None:
        """Count which partitions a consumer asked for: within a session, those that the session remembers.

        Sessions are there so that not all partitions are looked at each time; so they are not, unless one changed.
        """
        session = self._services.fetch_sessions.get(response.session_id)
        if session is None:
            names = Counter({(topic.topic, topic.topic_id): len(topic.partitions) for topic in request.topics})
        else:
            known = self._in_sessions.get(session)
            if known is None or request.topics or request.forgotten_topics_data:
                known = Counter((entry.topic, entry.topic_id) for entry in session.partitions.values())
                self._in_sessions[session] = known
            names = known
        for (name, topic_id), count in names.items():
            for stats in self._stats_of(name, topic_id):
                stats.fetch_requests += count

    def _stats_of(self, name: str, topic_id: Uuid) -> Iterable[TopicStats]:
        """Return what counts a topic and all topics; nothing, if the metadata does not know it."""
        image = self._services.cluster.image
        name = name or image.topic_names_by_id.get(topic_id, "")
        if name not in image.topics:
            return ()
        stats = self.topics.get(name)
        if stats is None:
            stats = self.topics[name] = TopicStats()
        return stats, self.all_topics

    # Logs

    def recompressed(self, topic: str, records: int, took_ms: float) -> None:
        self.conversion_us.record(_us(took_ms))
        for stats in self._stats_of(topic, ZERO_UUID):
            stats.produce_conversions += records

    def flushed(self, took_ms: float) -> None:
        with self._flush_lock:
            self.flush_us.record(_us(took_ms))


def _count_sent(answer: TimedAnswer, now_ms: float) -> None:
    counted = answer.counted
    assert isinstance(counted, _Counted)
    total_us, send_us = _us(now_ms - answer.began_ms), _us(now_ms - answer.turn_ms)
    queued_ms = answer.turn_ms - answer.ready_ms
    for stats in counted.stats:
        stats.total_us.record(total_us)
        stats.response_send_us.record(send_us)
        if queued_ms:
            stats.response_queue_us.record(_us(queued_ms))


def _count_silent(counted: _Counted, total_us: int) -> None:
    """Count a request without an answer."""
    for stats in counted.stats:
        stats.total_us.record(total_us)
        stats.response_send_us.record(0)


def _rejected_bytes(request: "ProduceRequest | Any", answer: Any) -> int:
    """Add up what was too large of the topic of an answer."""
    refused = {each.index for each in answer.partition_responses if each.error_code == ErrorCode.MESSAGE_TOO_LARGE}
    return sum(
        len(data.records or b"")
        for topic in request.topic_data
        if (topic.name, topic.topic_id) == (answer.name, answer.topic_id)
        for data in topic.partition_data
        if data.index in refused
    )


def _us(ms: float) -> int:
    return int(ms * 1000)

"""The client: finds brokers, knows who does what, asks again where that helps.

    async with Client("127.0.0.1:9092,127.0.0.1:9093") as client:
        metadata = await client.metadata()
        question = Question.of(DescribeGroupsRequest(["my-group"]))
        answer = await client.ask_coordinator(CoordinatorType.GROUP, "my-group", question)

Owns: the connections, one per broker and lane, and what it was told last: metadata and coordinators.

Rules
- Any bootstrap address will do: the first broker that answers tells of the others. If none does, that is a
  NoBrokerError at once; later on, a broker that does not answer is a reason to try again.
- `retry` is the one place where anything is tried again: while the error is retriable or the connection was lost, with
  a pause that doubles, until `default.api.timeout.ms` is over. Before each attempt what the client knew is forgotten:
  somebody else may lead, coordinate or control by now. A retry within another one is a single attempt: the outermost
  has the deadline, and no question waits beyond it, but those that say how long they take (joining a group).
- Where anybody will do, brokers that are connected are asked first, and each has its share of the time that is left.
- A broker that cannot prove who it is, or to which the client cannot, is not asked again: neither changes by itself,
  nor does the TLS that it speaks.
- A lane is a connection for what waits: a fetch must not keep a heartbeat from being sent.

Not here: what to ask (topics, configs, groups, offsets, transactions), records (producer, consumer).
Source: Kafka's NetworkClient and AdminApiDriver, in spirit.
"""

import contextlib
import enum
import math
import random
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import anyio
import attrs

from pykbroker.client.connection import Address, Connection, Question, address_text, parse_bootstrap
from pykbroker.client.errors import NoBrokerError, NotServedError
from pykbroker.client.metadata import (
    NOBODY,
    BrokerMetadata,
    ClusterMetadata,
    PartitionMetadata,
    TopicMetadata,
    cluster_metadata,
    newest,
)
from pykbroker.client.security import WANTS_CERTIFICATE, is_lasting
from pykbroker.client.settings import ClientSettings
from pykbroker.clock import Clock, SystemClock
from pykbroker.config import BrokerConfig
from pykbroker.errors import KafkaError, error_of
from pykbroker.peer import Network, SocketNetwork
from pykbroker.topic_partition import TopicPartition, by_topic
from wire.errors import ErrorCode
from wire.messages.metadata import FindCoordinatorRequest, MetadataRequest, MetadataRequestTopic

T = TypeVar("T")

_LONG_AGO = -math.inf
_UNKNOWN_TOPIC = (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID)


class _Deadline(NamedTuple):
    at_ms: float
    is_retried: bool  # what fails is tried again further out


# Of the task that asks: so all that it awaits has the same deadline, and needs no word of it.
_deadline: ContextVar[_Deadline | None] = ContextVar("_deadline", default=None)


class Lane(enum.Enum):
    GENERAL = enum.auto()
    FETCH = enum.auto()
    MEMBER = enum.auto()  # joining a group and staying in it


class CoordinatorType(enum.IntEnum):
    GROUP = 0
    TRANSACTION = 1


class Client:
    def __init__(
        self,
        bootstrap: str | Sequence[Address],
        *,
        settings: ClientSettings | None = None,
        clock: Clock | None = None,
        network: Network | None = None,
    ) -> None:
        """`bootstrap` is host:port, several of them with commas between.

        Raises: ValueError; OSError where a certificate cannot be read.
        """
        self.settings = settings or ClientSettings()
        self.clock = clock or SystemClock()
        self._bootstrap = parse_bootstrap(bootstrap) if isinstance(bootstrap, str) else list(bootstrap)
        self._config = BrokerConfig.from_properties(
            {
                "socket.connection.setup.timeout.ms": str(self.settings.socket_connection_setup_timeout_ms),
                "socket.request.max.bytes": str(self.settings.max_response_bytes),
            }
        )
        self._network = network or self._default_network()
        self._connections: dict[tuple[Address, Lane], Connection] = {}
        self._brokers: Mapping[int, BrokerMetadata] = {}
        self._controller = NOBODY
        self._topics: dict[str, tuple[TopicMetadata, float]] = {}  # with the time at which they were asked for
        self._coordinators: dict[tuple[CoordinatorType, str], Address] = {}
        self._exit = contextlib.AsyncExitStack()

    def _default_network(self) -> Network:
        security = self.settings.security
        if not security.protocol.has_tls:
            return SocketNetwork(self._config)
        from pykbroker.client.security import ssl_context
        from pykbroker.client.tls import TlsNetwork

        return TlsNetwork(ssl_context(security.ssl), self.settings.max_response_bytes)

    async def __aenter__(self) -> "Client":
        tasks = await self._exit.enter_async_context(anyio.create_task_group())
        self._exit.callback(tasks.cancel_scope.cancel)
        tasks.start_soon(self.clock.run)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all connections. What was raised in the body goes on as it is, not in a group."""
        for connection in self._connections.values():
            await connection.aclose()
        self._connections.clear()
        await self._exit.aclose()

    # What the cluster looks like

    async def metadata(
        self, topics: Iterable[str] | None = None, *, allow_auto_topic_creation: bool = False
    ) -> ClusterMetadata:
        """Ask for these topics, or for all; topics with an error are in the answer, too. Raises: NoBrokerError."""
        asked = None if topics is None else [MetadataRequestTopic(name=name) for name in topics]
        request = MetadataRequest(asked, allow_auto_topic_creation=allow_auto_topic_creation)
        return await self.retry(lambda: self._ask_metadata(request))

    async def _ask_metadata(self, request: MetadataRequest) -> ClusterMetadata:
        metadata = cluster_metadata(await self._ask_any_once(Question.of(request)))
        self._brokers = metadata.brokers
        self._controller = metadata.controller
        now = self.clock.monotonic_ms()
        topics = dict(metadata.topics)
        for name, topic in metadata.topics.items():
            if not topic.error:
                known = self._topics.get(name)
                topics[name] = topic if known is None else newest(known[0], topic)
                self._topics[name] = (topics[name], now)
        return attrs.evolve(metadata, topics=topics)

    async def topic(self, name: str, *, allow_auto_topic_creation: bool = False) -> TopicMetadata:
        """Return what is known of a topic, asking where it is not known yet or any more.

        Raises: KafkaError, UNKNOWN_TOPIC_OR_PARTITION after `unknown_topic_timeout_ms`.
        """

        async def ask() -> TopicMetadata:
            metadata = await self.metadata([name], allow_auto_topic_creation=allow_auto_topic_creation)
            topic = metadata.topics[name]
            check(topic.error, name)
            return topic

        known = self._topics.get(name)
        if known is not None and self.clock.monotonic_ms() - known[1] < self.settings.metadata_max_age_ms:
            return known[0]
        return await self.retry(ask)

    async def leader_of(self, tp: TopicPartition) -> int:
        """Return the broker that leads. Raises: KafkaError, LEADER_NOT_AVAILABLE where nobody does."""
        return (await self.led_partition(tp)).leader

    async def led_partition(self, tp: TopicPartition) -> PartitionMetadata:
        """Return who leads, and in which epoch. Raises: KafkaError, LEADER_NOT_AVAILABLE where nobody does."""
        topic = await self.topic(tp.topic)
        try:
            return _led_in(topic, tp)
        except KafkaError:
            self._topics[tp.topic] = (topic, _LONG_AGO)
            raise

    def known_leader_epoch(self, tp: TopicPartition) -> int:
        """Return the epoch of the leader that was told last; -1: not known."""
        topic, _ = self._topics.get(tp.topic, (None, _LONG_AGO))
        known = () if topic is None else topic.partitions[tp.partition : tp.partition + 1]
        return known[0].leader_epoch if known else -1

    def forget(self) -> None:
        """Let who leads, who coordinates and who controls be asked for anew; leader epochs do not go back."""
        self._controller = NOBODY
        self._topics = {name: (topic, _LONG_AGO) for name, (topic, _) in self._topics.items()}
        self._coordinators.clear()

    # Asking

    async def ask_any(self, question: Question) -> Any:
        """Ask the first broker that answers. Raises: NoBrokerError, NotServedError, OSError."""
        return await self.retry(lambda: self._ask_any_once(question))

    async def ask_broker(
        self, broker_id: int, question: Question, *, lane: Lane = Lane.GENERAL, timeout_ms: int | None = None
    ) -> Any:
        """Ask this broker, once. Raises: OSError, NotServedError, KafkaError where the broker is not known."""
        return await self._ask(await self.connection_to(broker_id, lane), question, timeout_ms=timeout_ms)

    async def ask_controller(self, question: Question, check_answer: Callable[[Any], None]) -> Any:
        """Ask the controller, or who passes it on; `check_answer` raises what may be retriable."""

        async def attempt() -> Any:
            if self._controller == NOBODY:
                await self._ask_metadata(MetadataRequest([]))
            if self._controller == NOBODY:
                raise KafkaError(ErrorCode.NOT_CONTROLLER, "the cluster has no controller")
            answer = await self.ask_broker(self._controller, question)
            check_answer(answer)
            return answer

        return await self.retry(attempt)

    async def ask_coordinator(
        self,
        kind: CoordinatorType,
        key: str,
        question: Question,
        check_answer: Callable[[Any], None] = lambda answer: None,
        *,
        lane: Lane = Lane.GENERAL,
        timeout_ms: int | None = None,
    ) -> Any:
        """Ask who coordinates a group or a transactional id; `check_answer` raises what may be retriable."""

        async def attempt() -> Any:
            address = self._coordinators.get((kind, key)) or await self._find_coordinator(kind, key)
            answer = await self._ask(self._connection(address, lane), question, timeout_ms=timeout_ms)
            check_answer(answer)
            return answer

        return await self.retry(attempt)

    async def per_leader(
        self,
        partitions: Iterable[TopicPartition],
        ask: Callable[[int, list[TopicPartition]], Awaitable[dict[TopicPartition, T | KafkaError]]],
    ) -> dict[TopicPartition, T | KafkaError]:
        """Ask the leaders, all at once, until each partition has a result or an error that stays."""
        results: dict[TopicPartition, T | KafkaError] = {}
        left = list(dict.fromkeys(partitions))
        unknown_until_ms = self.clock.monotonic_ms() + self.settings.unknown_topic_timeout_ms

        async def ask_one(leader: int, led: list[TopicPartition]) -> None:
            try:
                results.update(await ask(leader, led))
            except OSError as error:
                if is_lasting(error):
                    raise
                message = f"broker {leader}: {reason(error)}"
                results.update((tp, KafkaError(ErrorCode.NETWORK_EXCEPTION, message)) for tp in led)
            except KafkaError as error:
                if error.code is not ErrorCode.BROKER_NOT_AVAILABLE:
                    raise
                # It has left the cluster since it was told that it leads.
                results.update((tp, KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, error.message)) for tp in led)

        async def attempt() -> None:
            by_leader: dict[int, list[TopicPartition]] = {}
            for tp, leader in (await self._leaders(left)).items():
                if isinstance(leader, KafkaError):
                    results[tp] = leader
                else:
                    by_leader.setdefault(leader, []).append(tp)
            await _all_at_once([ask_one(leader, led) for leader, led in by_leader.items()])
            is_late = self.clock.monotonic_ms() >= unknown_until_ms
            left[:] = [tp for tp in left if _may_pass(results[tp], is_late=is_late)]
            failures = [result for tp in left if isinstance(result := results[tp], KafkaError)]
            if failures:
                raise min(failures, key=lambda error: error.code in _UNKNOWN_TOPIC)  # one that has more time

        try:
            await self.retry(attempt)
        except (KafkaError, OSError) as error:
            # Most have results, which tell more; others were not asked for the last time.
            failure = (
                KafkaError(ErrorCode.NETWORK_EXCEPTION, address_and_reason(error))
                if isinstance(error, OSError)
                else error
            )
            for tp in left:
                results.setdefault(tp, failure)
        return results

    async def _leaders(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int | KafkaError]:
        """Return who leads each partition, asking once for each topic."""
        leaders: dict[TopicPartition, int | KafkaError] = {}
        for name, indexes in by_topic(partitions).items():
            tps = [TopicPartition(name, index) for index in indexes]
            try:
                topic = await self.topic(name)
            except KafkaError as error:
                leaders.update(dict.fromkeys(tps, error))
                continue
            for tp in tps:
                try:
                    leaders[tp] = _led_in(topic, tp).leader
                except KafkaError as error:
                    leaders[tp] = error
        return leaders

    async def retry(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` does, however often it takes. Raises: its last error, once time is up."""
        outer = _deadline.get()
        if outer is not None and outer.is_retried:
            return await attempt()
        deadline_ms = self._deadline_in(self.settings.default_api_timeout_ms)
        unknown_until_ms = self._deadline_in(self.settings.unknown_topic_timeout_ms)
        pause_ms = self.settings.retry_backoff_ms
        token = _deadline.set(_Deadline(deadline_ms, is_retried=True))
        try:
            while True:
                limit_ms = deadline_ms
                try:
                    return await attempt()
                except KafkaError as error:
                    if not error.code.retriable:
                        raise
                    if error.code in _UNKNOWN_TOPIC:
                        limit_ms = unknown_until_ms
                    if self.clock.monotonic_ms() + pause_ms > limit_ms:
                        raise
                except OSError as error:
                    if is_lasting(error) or self.clock.monotonic_ms() + pause_ms > limit_ms:
                        raise
                self.forget()
                await self.clock.sleep(pause_ms)
                pause_ms = min(2 * pause_ms, self.settings.retry_backoff_max_ms)
        finally:
            _deadline.reset(token)

    @contextlib.contextmanager
    def deadline(self, timeout_ms: float) -> Iterator[None]:
        """Let everything that the body asks, and tries again, end within this time."""
        token = _deadline.set(_Deadline(self._deadline_in(timeout_ms), is_retried=False))
        try:
            yield
        finally:
            _deadline.reset(token)

    def _deadline_in(self, timeout_ms: float) -> float:
        outer = _deadline.get()
        own_ms = self.clock.monotonic_ms() + timeout_ms
        return own_ms if outer is None else min(own_ms, outer.at_ms)

    async def _ask(
        self, connection: Connection, question: Question, *, timeout_ms: int | None = None, among: int = 1
    ) -> Any:
        """Ask within the time that is left, or a share of it. Raises: OSError, NotServedError."""
        deadline = _deadline.get()
        try:
            if deadline is None or timeout_ms is not None:
                return await connection.ask(question, timeout_ms=timeout_ms)
            left_ms = max(deadline.at_ms - self.clock.monotonic_ms(), 0) / among
            return await self.clock.within(left_ms, connection.ask(question))
        except OSError as error:
            error.add_note(address_text(connection.address))
            raise

    # Connections

    async def connection_to(self, broker_id: int, lane: Lane = Lane.GENERAL) -> Connection:
        """Raises: KafkaError where no such broker is known."""
        if broker_id not in self._brokers:
            await self._ask_metadata(MetadataRequest([]))
        if broker_id not in self._brokers:
            raise KafkaError(ErrorCode.BROKER_NOT_AVAILABLE, f"no broker {broker_id} is known")
        return self._connection(self._brokers[broker_id].address, lane)

    def _connection(self, address: Address, lane: Lane) -> Connection:
        connection = self._connections.get((address, lane))
        if connection is None:
            connection = Connection(address, self._network, self.clock, self._config, self.settings)
            self._connections[address, lane] = connection
        return connection

    async def _ask_any_once(self, question: Question) -> Any:
        """Try the known brokers, then the bootstrap addresses. Raises: NoBrokerError if none was ever reached."""
        known = [broker.address for broker in self._brokers.values()]
        random.shuffle(known)
        addresses = list(dict.fromkeys((*known, *self._bootstrap)))
        addresses.sort(key=lambda address: not self._connection(address, Lane.GENERAL).is_open)
        failures: dict[Address, OSError] = {}
        for number, address in enumerate(addresses):
            try:
                connection = self._connection(address, Lane.GENERAL)
                return await self._ask(connection, question, among=len(addresses) - number)
            except OSError as error:
                failures[address] = error
        if not known:
            told = "; ".join(f"{address_text(address)} ({reason(error)})" for address, error in failures.items())
            raise NoBrokerError(f"no broker answers at {told}")
        raise next(iter(failures.values()))

    async def _find_coordinator(self, kind: CoordinatorType, key: str) -> Address:
        def build(version: int) -> FindCoordinatorRequest:
            if version >= 4:
                return FindCoordinatorRequest(key_type=kind, coordinator_keys=[key])
            return FindCoordinatorRequest(key=key, key_type=kind)

        answer = await self._ask_any_once(Question(FindCoordinatorRequest, build))
        found = answer.coordinators[0] if answer.coordinators else answer
        check(found.error_code, found.error_message)
        address = (found.host, found.port)
        self._coordinators[kind, key] = address
        return address


def check(error_code: int, message: str | None = None) -> None:
    """Raises: KafkaError, unless the code is 0."""
    if error_code:
        raise KafkaError(error_of(error_code), message)


def check_answer(answer: Any) -> None:
    """Raises: KafkaError, where all of what was asked for was refused."""
    check(answer.error_code, answer.error_message)


def reason(error: OSError) -> str:
    """Say in few words why a broker could not be asked."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        text = f"TLS: {error.reason or error}"
        is_about_certificate = "ALERT" in text and ("CERTIFICATE" in text or "UNKNOWN_CA" in text)
        return f"{text}; {WANTS_CERTIFICATE}" if is_about_certificate else text
    return error.strerror or str(error)


def address_and_reason(error: OSError) -> str:
    """Say who could not be asked, and why."""
    return ": ".join([*getattr(error, "__notes__", ())[:1], reason(error)])


def _led_in(topic: TopicMetadata, tp: TopicPartition) -> PartitionMetadata:
    """Raises: KafkaError, LEADER_NOT_AVAILABLE where nobody leads."""
    if not 0 <= tp.partition < len(topic.partitions):
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"{tp.topic} has {len(topic.partitions)} partitions")
    partition = topic.partitions[tp.partition]
    if partition.leader == NOBODY:
        raise KafkaError(ErrorCode.LEADER_NOT_AVAILABLE, f"nobody leads {tp}")
    return partition


def _may_pass(result: object, *, is_late: bool) -> bool:
    """Whether to ask again; topics have less time to become known than the rest has."""
    if not isinstance(result, KafkaError) or (is_late and result.code in _UNKNOWN_TOPIC):
        return False
    return result.code.retriable


async def _all_at_once(calls: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Await them all; what the first of them that fails raises is raised as it is."""
    failures: list[Exception] = []

    async def call(coroutine: Coroutine[Any, Any, None]) -> None:
        try:
            await coroutine
        except (KafkaError, NotServedError, NoBrokerError, ssl.SSLError) as error:
            failures.append(error)

    async with anyio.create_task_group() as tasks:
        for coroutine in calls:
            tasks.start_soon(call, coroutine)
    if failures:
        raise failures[0]

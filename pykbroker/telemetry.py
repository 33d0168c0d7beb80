"""Metrics that clients push: who is asked for which, when a push is taken, and what was pushed lately.

    telemetry = ClientTelemetry(config, clock)
    subscription = telemetry.subscribe(image, client, client_instance_id)
    telemetry.push(image, client, push)

Owns: the client instances (at most `pykbroker.telemetry.max.clients`, the least recently heard go first), and what they
pushed, if `pykbroker.telemetry.enable` says that somebody wants it (at most `pykbroker.telemetry.max.kept.bytes`).

Rules
- A client is asked for the metrics of all subscriptions that match it, at the shortest of their intervals. One that has
  no subscription is told so, and asks again after DEFAULT_INTERVAL_MS.
- A client asks, or pushes, once in an interval: THROTTLING_QUOTA_EXCEEDED before. It may push after it has asked, ask
  again after an error that asking anew cures, and push once more when it terminates.
- Another set of subscriptions makes every client a new one: it is told of it when it asks, and its next push fails with
  UNKNOWN_SUBSCRIPTION_ID.
- A client whose connection is gone begins anew, too.

Sources: KIP-714; Kafka's ClientMetricsManager, ClientMetricsInstance. The rules were compared with a broker that has a
receiver of metrics (tests/test_telemetry.py).
"""

import os
import weakref
import zlib
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping

import attrs

from pykbroker.clock import Clock
from pykbroker.cluster.image import ConfigResource, ConfigResourceType, MetadataImage
from pykbroker.config import BrokerConfig
from pykbroker.config_tables.client_metrics import DEFINITIONS, parse_match
from pykbroker.errors import KafkaError
from pykbroker.pattern import Pattern
from wire.compression import Codec, decompress
from wire.errors import ErrorCode, ProtocolError
from wire.primitives import uuid_text
from wire.schema import ZERO_UUID, Uuid

DEFAULT_INTERVAL_MS = 300_000
ACCEPTED_CODECS = (Codec.ZSTD, Codec.LZ4, Codec.GZIP, Codec.SNAPPY)
ALL_METRICS = "*"
_RESERVED_IDS = (ZERO_UUID, bytes(15) + b"\1")
_INTERVALS_UNTIL_FORGOTTEN = 3
# After these a client has to ask anew, at once.
_CURED_BY_ASKING = (ErrorCode.UNKNOWN_SUBSCRIPTION_ID, ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)


@attrs.frozen
class Subscription:
    """What one client is asked for."""

    client_instance_id: Uuid
    id: int
    metrics: tuple[str, ...]  # prefixes of names
    interval_ms: int


@attrs.frozen
class PushedMetrics:
    """What a client pushed: OpenTelemetry's MetricsData, not compressed."""

    time_ms: int
    client_instance_id: Uuid
    client: Mapping[str, str | None]
    terminating: bool
    data: bytes


@attrs.frozen
class Push:
    client_instance_id: Uuid
    subscription_id: int
    terminating: bool
    compression_type: int
    metrics: bytes | memoryview


@attrs.define(eq=False)
class _Instance:
    subscription: Subscription
    version: int  # of the set of subscriptions that it was made with
    connection: "weakref.ref[object]"
    last_get_ms: float = float("-inf")
    last_push_ms: float = float("-inf")
    last_heard_ms: float = 0.0
    last_error: ErrorCode = ErrorCode.NONE
    terminating: bool = False

    def may_get(self, now_ms: float) -> bool:
        return now_ms - max(self.last_get_ms, self.last_push_ms) >= self.subscription.interval_ms

    def may_push(self, now_ms: float) -> bool:
        has_asked = self.last_get_ms > self.last_push_ms
        return has_asked or now_ms - self.last_push_ms >= self.subscription.interval_ms


@attrs.frozen
class _Configured:
    """One subscription as it was configured."""

    metrics: tuple[str, ...]
    interval_ms: int
    match: tuple[tuple[str, Pattern], ...]

    def matches(self, client: Mapping[str, str | None]) -> bool:
        return all((fact := client.get(name)) is not None and pattern.matches(fact) for name, pattern in self.match)


class ClientTelemetry:
    def __init__(self, config: BrokerConfig, clock: Clock) -> None:
        self.received: deque[PushedMetrics] = deque()
        self._received_bytes = 0
        self._config = config
        self._clock = clock
        self._instances: OrderedDict[Uuid, _Instance] = OrderedDict()
        self._configs: Mapping[ConfigResource, Mapping[str, str]] | None = None  # that `_configured` was made of
        self._texts: Mapping[str, Mapping[str, str]] = {}
        self._configured: list[_Configured] = []
        self._version = 0

    def subscribe(
        self, image: MetadataImage, client: Mapping[str, str | None], client_instance_id: Uuid, connection: object
    ) -> Subscription:
        """Tell a client what is wanted of it; `connection` is what lives as long as its connection.

        Raises: THROTTLING_QUOTA_EXCEEDED.
        """
        if client_instance_id == ZERO_UUID:
            client_instance_id = _random_id()
        instance, now_ms = self._instance(image, client, client_instance_id, connection), self._clock.monotonic_ms()
        if instance.may_get(now_ms):
            instance.last_get_ms = now_ms
        elif instance.last_error not in _CURED_BY_ASKING:
            raise KafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED)
        instance.last_error = ErrorCode.NONE
        return instance.subscription

    def push(self, image: MetadataImage, client: Mapping[str, str | None], push: Push, connection: object) -> None:
        """Take what a client pushes.

        Raises: INVALID_REQUEST (no id, or it has terminated), THROTTLING_QUOTA_EXCEEDED, UNKNOWN_SUBSCRIPTION_ID,
        UNSUPPORTED_COMPRESSION_TYPE, TELEMETRY_TOO_LARGE, INVALID_RECORD.
        """
        if push.client_instance_id in _RESERVED_IDS:
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        instance = self._instance(image, client, push.client_instance_id, connection)
        try:
            self._check(instance, push)
            data = self._data(push)
        except KafkaError as error:
            instance.last_error = error.code
            raise
        instance.last_error = ErrorCode.NONE
        if self._config.pykbroker_telemetry_enable and data:
            self._keep(PushedMetrics(self._clock.time_ms(), push.client_instance_id, client, push.terminating, data))

    def _check(self, instance: _Instance, push: Push) -> None:
        has_terminated, instance.terminating = instance.terminating, push.terminating
        if has_terminated:
            raise KafkaError(ErrorCode.INVALID_REQUEST)
        now_ms = self._clock.monotonic_ms()
        if instance.may_push(now_ms):
            instance.last_push_ms = now_ms
        elif not push.terminating:
            raise KafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED)
        if push.subscription_id != instance.subscription.id:
            raise KafkaError(ErrorCode.UNKNOWN_SUBSCRIPTION_ID)
        if push.compression_type not in (Codec.NONE, *ACCEPTED_CODECS):
            raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
        if len(push.metrics) > self._config.telemetry_max_bytes:
            raise KafkaError(ErrorCode.TELEMETRY_TOO_LARGE)

    def _data(self, push: Push) -> bytes:
        if not push.metrics:
            return b""
        try:
            return decompress(Codec(push.compression_type), push.metrics, self._config.telemetry_max_bytes)
        except ProtocolError as error:
            raise KafkaError(ErrorCode.INVALID_RECORD, str(error)) from None

    def _keep(self, pushed: PushedMetrics) -> None:
        self.received.append(pushed)
        self._received_bytes += len(pushed.data)
        while self._received_bytes > self._config.pykbroker_telemetry_max_kept_bytes:
            self._received_bytes -= len(self.received.popleft().data)

    # Instances

    def _instance(
        self, image: MetadataImage, client: Mapping[str, str | None], client_instance_id: Uuid, connection: object
    ) -> _Instance:
        self._read_subscriptions(image)
        now_ms = self._clock.monotonic_ms()
        instance = self._instances.get(client_instance_id)
        if instance is None or instance.version != self._version or instance.connection() is None:
            self._forget_old(now_ms)
            instance = _Instance(self._subscription(client, client_instance_id), self._version, weakref.ref(connection))
            self._instances[client_instance_id] = instance
        self._instances.move_to_end(client_instance_id)
        instance.last_heard_ms = now_ms
        return instance

    def _forget_old(self, now_ms: float) -> None:
        while self._instances:
            oldest_id, oldest = next(iter(self._instances.items()))
            silent_ms = now_ms - oldest.last_heard_ms
            is_full = len(self._instances) >= self._config.pykbroker_telemetry_max_clients
            if not is_full and silent_ms < _INTERVALS_UNTIL_FORGOTTEN * oldest.subscription.interval_ms:
                return
            del self._instances[oldest_id]

    def _subscription(self, client: Mapping[str, str | None], client_instance_id: Uuid) -> Subscription:
        facts = {**client, "client_instance_id": uuid_text(client_instance_id)}
        matching = [each for each in self._configured if each.matches(facts)]
        metrics = tuple(sorted({metric for each in matching for metric in each.metrics}))
        interval_ms = min((each.interval_ms for each in matching), default=DEFAULT_INTERVAL_MS)
        if ALL_METRICS in metrics:
            metrics = (ALL_METRICS,)
        text = f"{metrics}{interval_ms}".encode()
        return Subscription(
            client_instance_id, _int32(zlib.crc32(client_instance_id, zlib.crc32(text))), metrics, interval_ms
        )

    def _read_subscriptions(self, image: MetadataImage) -> None:
        """Take over what is configured, if it is something else than before."""
        if image.configs is self._configs:
            return
        self._configs = image.configs
        texts = {
            name: values for (kind, name), values in image.configs.items() if kind is ConfigResourceType.CLIENT_METRICS
        }
        if texts != self._texts:
            self._texts = texts
            self._configured = list(_configured(texts))
            self._version += 1


def _configured(texts: Mapping[str, Mapping[str, str]]) -> Iterator[_Configured]:
    for _, values in sorted(texts.items()):
        parsed = {
            name: definition.parse(values[name]) if name in values else definition.default
            for name, definition in DEFINITIONS.items()
        }
        metrics, interval_ms, match = parsed["metrics"], parsed["interval.ms"], parsed["match"]
        assert isinstance(metrics, list)
        assert isinstance(interval_ms, int)
        assert isinstance(match, list)
        yield _Configured(tuple(metrics), interval_ms, tuple(parse_match(match)))


def _random_id() -> Uuid:
    while (found := os.urandom(16)) in _RESERVED_IDS:
        pass
    return found


def _int32(value: int) -> int:
    return value - (1 << 32) if value >= 1 << 31 else value

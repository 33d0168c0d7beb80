"""What clients may use, and what they have used: the quotas of users and client ids on this broker.

Owns: a measure for each user or client id that a quota is applied to.

Rules
- Of the quotas of a kind that fit a client the most specific holds: (user, client id) before (user, any other client
  id) before user; the same for any other user; then client id, then any other client id.
- Who a quota is set for shares its measure: a quota of a user is shared by all client ids, that of "any other user"
  is each user's own.
- A client without a client id has the empty one.
- Measures that tell nothing any more are forgotten; beyond `pykbroker.max.quota.measures` the least recently used go.

Not here: what is answered to whom is throttled (server/throttling), connections (connection_rates).
Sources: KIP-13, KIP-55, KIP-124, KIP-599; Kafka's ClientQuotaManager and its subclasses.
"""

import enum
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

import attrs

from pykbroker.clock import Clock
from pykbroker.config import BrokerConfig
from pykbroker.quotas.rates import SampledRate, TokenBucket, Windows, throttle_ms

T = TypeVar("T")

Quotas = Mapping[
    tuple[tuple[str, str | None], ...], Mapping[str, float]
]  # as in the image: by (type, name) of each part
USER, CLIENT_ID = "user", "client-id"
EXPIRED_PER_NEW = 2  # measures that are looked at whether they can go, for each new one


class QuotaKind(enum.Enum):
    """The keys of the quotas that users and client ids may have."""

    PRODUCE = "producer_byte_rate"
    FETCH = "consumer_byte_rate"
    REQUEST = "request_percentage"
    CONTROLLER_MUTATION = "controller_mutation_rate"


class Part(enum.Enum):
    """What a quota says of the user or the client id instead of a name."""

    DEFAULT = "default"
    ABSENT = "absent"


Place = tuple[str | Part, str | Part]  # of the user, of the client id
Key = tuple[QuotaKind, str, str]  # of a measure; an empty name: shared by all


@attrs.frozen
class Limit:
    """The quota that holds for a client, and whose measure counts."""

    bound: float
    key: Key


class ClientQuotas:
    def __init__(self, config: BrokerConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._bounds: dict[QuotaKind, dict[Place, float]] = {}
        self._rates: _Measures[SampledRate] = _Measures(config)
        self._buckets: _Measures[TokenBucket] = _Measures(config)

    def apply(self, quotas: Quotas) -> None:
        """Take over what is set now; what was measured stays."""
        self._bounds = {}
        for entity, values in quotas.items():
            parts = dict(entity)
            place = (_part(parts, USER), _part(parts, CLIENT_ID))
            if place == (Part.ABSENT, Part.ABSENT):
                continue  # of an address: see connection_rates
            for kind in QuotaKind:
                if kind.value in values:
                    self._bounds.setdefault(kind, {})[place] = values[kind.value]

    @property
    def is_empty(self) -> bool:
        return not self._bounds

    def limit(self, kind: QuotaKind, user: str, client_id: str | None) -> Limit | None:
        """Return the quota of a client; None: it has none."""
        bounds = self._bounds.get(kind)
        if bounds is None:
            return None
        client_id = client_id or ""
        default, absent = Part.DEFAULT, Part.ABSENT
        for place in (
            (user, client_id), (user, default), (user, absent),
            (default, client_id), (default, default), (default, absent),
            (absent, client_id), (absent, default),
        ):  # fmt: skip
            if place in bounds:
                shared_by_users, shared_by_clients = place[0] is absent, place[1] is absent
                key = (kind, "" if shared_by_users else user, "" if shared_by_clients else client_id)
                return Limit(bounds[place], key)
        return None

    def record(self, limit: Limit | None, value: float) -> int:
        """Count what a client used; return for how many milliseconds it is throttled."""
        if limit is None:
            return 0
        now_ms = self._clock.monotonic_ms()
        rate = self._rates.get(limit.key, self._new_rate, lambda rate: rate.is_forgotten(now_ms))
        rate.record(value, now_ms)
        wait_ms = throttle_ms(rate, limit.bound, now_ms)
        # Of a share of time, unlike bytes, not more than a window is missed at a time.
        return min(wait_ms, self._windows.size_ms) if limit.key[0] is QuotaKind.REQUEST else wait_ms

    def take_back(self, limit: Limit | None, value: float) -> None:
        """Count `value` no more, right after it was recorded."""
        if limit is not None:
            self.record(limit, -value)

    def most_at_once(self, limit: Limit | None) -> float | None:
        """Return how much may be used in one go without being throttled for sure; None: there is no limit."""
        windows = self._windows
        return None if limit is None else limit.bound * (windows.count - 1) * windows.size_ms / 1000

    def mutations(self, user: str, client_id: str | None, *, is_strict: bool) -> "MutationQuota | None":
        """Return what a request has to ask before it creates and deletes partitions; None: no quota holds for it."""
        limit = self.limit(QuotaKind.CONTROLLER_MUTATION, user, client_id)
        if limit is None:
            return None
        now_ms = self._clock.monotonic_ms()
        bucket = self._buckets.get(limit.key, self._new_bucket, lambda bucket: bucket.is_full(now_ms))
        return MutationQuota(self._clock, bucket, limit.bound, is_strict)

    @property
    def _windows(self) -> Windows:
        return Windows(self._config.quota_window_num, self._config.quota_window_size_seconds * 1000)

    def _new_rate(self) -> SampledRate:
        return SampledRate(self._windows)

    def _new_bucket(self) -> TokenBucket:
        config = self._config
        return TokenBucket(
            Windows(config.controller_quota_window_num, config.controller_quota_window_size_seconds * 1000)
        )


@attrs.define(eq=False)
class MutationQuota:
    """One request's way to the controller mutation quota.

    A strict one refuses what comes while the quota is exceeded; the other counts it, and the client is throttled.
    """

    _clock: Clock
    _bucket: TokenBucket
    _bound: float
    _is_strict: bool
    _throttled_until_ms: float = 0.0

    def allows(self, count: int) -> bool:
        """Tell whether so many partitions may be created or deleted now, and count them if so."""
        now_ms = self._clock.monotonic_ms()
        is_exceeded = self._bucket.tokens(self._bound, now_ms) < 0
        if not (is_exceeded and self._is_strict):
            self._bucket.take(count, self._bound, now_ms)
            is_exceeded = not self._is_strict and self._bucket.tokens(self._bound, now_ms) < 0
        if is_exceeded:
            self._throttled_until_ms = now_ms + self._bucket.throttle_ms(self._bound, now_ms)
        return not (is_exceeded and self._is_strict)

    @property
    def throttle_ms(self) -> int:
        return max(round(self._throttled_until_ms - self._clock.monotonic_ms()), 0)


def _part(parts: Mapping[str, str | None], kind: str) -> str | Part:
    if kind not in parts:
        return Part.ABSENT
    name = parts[kind]
    return Part.DEFAULT if name is None else name


class _Measures(Generic[T]):
    """Measures in the order of their last use."""

    def __init__(self, config: BrokerConfig) -> None:
        self._config = config
        self._measures: dict[Key, T] = {}

    def get(self, key: Key, new: Callable[[], T], tells_nothing: Callable[[T], bool]) -> T:
        measure = self._measures.pop(key, None)
        if measure is None:
            self._make_room(tells_nothing)
            measure = new()
        self._measures[key] = measure
        return measure

    def _make_room(self, tells_nothing: Callable[[T], bool]) -> None:
        for _ in range(EXPIRED_PER_NEW):
            oldest = next(iter(self._measures.items()), None)
            if oldest is None:
                return
            is_full = len(self._measures) >= self._config.pykbroker_max_quota_measures
            if not (is_full or tells_nothing(oldest[1])):
                return
            del self._measures[oldest[0]]

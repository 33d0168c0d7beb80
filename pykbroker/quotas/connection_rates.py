"""How many new connections there may be a second: on this broker, on a listener, from an address.

Owns: how many there were lately.

Rules
- Beyond the rate of the broker (`max.connection.creation.rate`) or of a listener (the same with its prefix) a listener
  accepts nobody for a while; the listener of the brokers themselves, where there are others, has only its own rate.
- A connection beyond the rate of its address (the quota connection_creation_rate) is not served and does not count.
- Nobody waits longer than a window at a time.

Not here: what accepting does with it (server/listener).
Sources: KIP-612; Kafka's ConnectionQuotas.
"""

from collections.abc import Mapping

from pykbroker.clock import Clock
from pykbroker.config import BrokerConfig
from pykbroker.config_tables.definition import INT_MAX
from pykbroker.quotas.rates import SampledRate, Windows, throttle_ms

RATE = "max.connection.creation.rate"
CONNECTION_CREATION_RATE = "connection_creation_rate"
EXPIRED_PER_NEW = 2  # addresses that are looked at whether they can be forgotten, for each new one


class ConnectionRates:
    def __init__(self, config: BrokerConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._of_broker = self._new_rate()
        self._of_listeners: dict[str, SampledRate] = {}
        self._of_addresses: dict[str, SampledRate] = {}  # in the order of their last use
        self._quotas: Mapping[str, float] = {}
        self._default_quota: float | None = None

    def set_quotas(self, quotas: Mapping[str, float], default: float | None) -> None:
        """Take over the quotas of addresses; None: others have none."""
        self._quotas, self._default_quota = quotas, default

    def wait_ms(self, listener: str, *, is_protected: bool) -> int:
        """Count a new connection, and return how long it and those behind it on the listener have to wait."""
        rates = self._of_listeners
        limits = [(rates.setdefault(listener, self._new_rate()), self._config.limit_of_listener(listener, RATE))]
        if not is_protected:
            limits.append((self._of_broker, self._config.max_connection_creation_rate))
        return max(self._record(rate, limit) for rate, limit in limits)

    def refuse_ms(self, address: str) -> int:
        """Count a new connection of an address; if it has too many, return after how long this one is closed."""
        quota = self._quotas.get(address, self._default_quota)
        if quota is None or quota == INT_MAX:
            return 0
        rate = self._of_addresses.pop(address, None)
        if rate is None:
            self._make_room()
            rate = self._new_rate()
        self._of_addresses[address] = rate
        wait_ms = self._record(rate, quota)
        if wait_ms:
            rate.record(-1, self._clock.monotonic_ms())
        return wait_ms

    def _record(self, rate: SampledRate, limit: float) -> int:
        if limit == INT_MAX:
            return 0
        now_ms = self._clock.monotonic_ms()
        rate.record(1, now_ms)
        return min(throttle_ms(rate, limit, now_ms), self._windows.size_ms)

    def _make_room(self) -> None:
        for _ in range(EXPIRED_PER_NEW):
            address, rate = next(iter(self._of_addresses.items()), (None, None))
            if address is None or rate is None:
                return
            is_full = len(self._of_addresses) >= self._config.pykbroker_max_quota_measures
            if not (is_full or rate.is_forgotten(self._clock.monotonic_ms())):
                return
            del self._of_addresses[address]

    @property
    def _windows(self) -> Windows:
        return Windows(self._config.quota_window_num, self._config.quota_window_size_seconds * 1000)

    def _new_rate(self) -> SampledRate:
        return SampledRate(self._windows)

"""How fast throttled replicas are copied: between brokers, to and from this one, and between log directories.

Owns: how fast they were lately.

Rules
- A quota is on while its configuration has another value than NO_RATE, and may change at any time. What is copied
  meanwhile counts, and who copies more stops until the rate is below the quota.
- Which replicas are throttled is the topic's configuration: "*", or partition:broker for each. Moves between log
  directories all are.

Not here: who asks, and what happens then (handlers/throttled_fetch for the leader, replication/fetcher, log/moves).
Sources: KIP-73, KIP-113; Kafka's ReplicationQuotaManager.
"""

from collections.abc import Collection

import attrs

from pykbroker.clock import Clock
from pykbroker.config import BrokerConfig
from pykbroker.quotas.rates import RecentRate, Windows

ALL = "*"


@attrs.define(eq=False)
class ReplicationQuota:
    _config: BrokerConfig
    _clock: Clock
    _name: str  # of the attribute of the configuration
    _windows: Windows
    _rate: RecentRate | None = None

    @property
    def bytes_per_second(self) -> int:
        limit: int = getattr(self._config, self._name)
        return limit

    @property
    def is_exceeded(self) -> bool:
        return self._rate is not None and self._rate.per_second(self._clock.monotonic_ms()) > self.bytes_per_second

    def applies_to(self, partition: int, throttled: Collection[str]) -> bool:
        """Tell whether this broker's replica of a partition is among those that the topic's configuration names."""
        return bool(throttled) and (ALL in throttled or f"{partition}:{self._config.node_id}" in throttled)

    def record(self, size: int) -> None:
        if self._rate is None:
            self._rate = RecentRate(self._windows)
        self._rate.record(size, self._clock.monotonic_ms())


@attrs.frozen
class ReplicationQuotas:
    """Of what followers fetch from here, and of what is fetched from leaders."""

    leader: ReplicationQuota
    follower: ReplicationQuota

    @classmethod
    def of(cls, config: BrokerConfig, clock: Clock) -> "ReplicationQuotas":
        windows = Windows(config.replication_quota_window_num, config.replication_quota_window_size_seconds * 1000)
        return cls(
            ReplicationQuota(config, clock, "leader_replication_throttled_rate", windows),
            ReplicationQuota(config, clock, "follower_replication_throttled_rate", windows),
        )


def moves_quota(config: BrokerConfig, clock: Clock) -> ReplicationQuota:
    """Return that of the moves between log directories."""
    count, size_seconds = (
        config.alter_log_dirs_replication_quota_window_num,
        config.alter_log_dirs_replication_quota_window_size_seconds,
    )
    return ReplicationQuota(
        config, clock, "replica_alter_log_dirs_io_max_bytes_per_second", Windows(count, size_seconds * 1000)
    )

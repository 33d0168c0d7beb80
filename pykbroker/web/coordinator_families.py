"""Families about the coordinators of groups and of transactions, by the names that the JMX exporter gives Kafka's.

Each broker tells of the partitions of the internal topics that it leads. Rules
- Load times are of the partitions that it leads now; Kafka's are of those that it has loaded in the last minute.
- Where the usual rules would leave a key of the MBean in the name, it is a label here: `group_count` by protocol,
  `classic_group_count` and `num_partitions` by state.
- What needs queues or threads of a coordinator is not there: it does at once what it is asked.

Not here: lag (group_families). Sources: Kafka's GroupCoordinatorMetrics, CoordinatorRuntimeMetricsImpl,
TransactionStateManager, TransactionMarkerChannelManager.
"""

from collections import Counter
from collections.abc import Sequence

import attrs

from pykbroker.cluster.image import NO_BROKER
from pykbroker.groups.counts import GroupCounts
from pykbroker.handlers.context import Services
from pykbroker.replication.coordinator_shards import Shard
from pykbroker.topic_partition import TopicPartition
from pykbroker.transaction_parts import TRANSACTION_TOPIC
from pykbroker.web.families import Families, gauge, labels
from pykbroker.web.recent_rate import RecentRate

_STATES = ("PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty")
_GROUPS = "kafka_server_group_coordinator_metrics"
_COUNTS = {
    "offset_commits": ("offset_commit", "Offsets that groups committed."),
    "offset_deletions": ("offset_deletion", "Offsets that were deleted one by one."),
    "offset_expirations": ("offset_expiration", "Offsets that nobody used for offsets.retention.minutes."),
    "completed_rebalances": ("group_completed_rebalance", "Rounds of groups that were completed."),
}


class CoordinatorFamilies:
    def __init__(self, services: Services) -> None:
        self._services = services
        now_ms = services.clock.monotonic_ms()
        self._rates = {field.name: RecentRate(now_ms) for field in attrs.fields(GroupCounts)}

    def collect(self) -> Families:
        yield from self._groups()
        yield from self._group_changes()
        yield from _load_times(_GROUPS, self._services.groups.led())
        yield from self._transactions()

    def _groups(self) -> Families:
        led, served = self._services.groups.led(), self._services.groups.served()
        states = Counter(str(group.state) for shard in served for group in shard.groups.values())
        prefix = "kafka_coordinator_group_groupmetadatamanager"
        yield gauge(f"{prefix}_numgroups", "Groups that this broker coordinates.", states.total())
        for state in _STATES:
            yield gauge(f"{prefix}_numgroups{state.lower()}", f"Groups that are {state}.", states[state])
        by_protocol = [(labels(protocol="classic"), states.total())]
        yield gauge(f"{_GROUPS}_group_count", "Groups that this broker coordinates.", by_protocol)
        yield gauge(
            f"{_GROUPS}_classic_group_count",
            "The same, of the classic protocol, by state.",
            [(labels(state=state), states[state]) for state in _STATES],
        )
        loading, failed = sum(shard.is_loading for shard in led), sum(shard.is_failed for shard in led)
        partitions = {"loading": loading, "active": len(led) - loading - failed, "failed": failed}
        yield gauge(
            f"{_GROUPS}_num_partitions",
            "Partitions of __consumer_offsets that this broker leads.",
            [(labels(state=state), count) for state, count in partitions.items()],
        )

    def _group_changes(self) -> Families:
        counts, now_ms = self._services.groups.counts, self._services.clock.monotonic_ms()
        for field, (name, documentation) in _COUNTS.items():
            count = getattr(counts, field)
            yield gauge(f"{_GROUPS}_{name}_count", documentation, count)
            rate = self._rates[field].per_second(count, now_ms)
            yield gauge(f"{_GROUPS}_{name}_rate", f"{documentation} A second, in about the last minute.", rate)

    def _transactions(self) -> Families:
        image = self._services.cluster.image
        # Whoever has the topic has a coordinator already; without it, none is made for this.
        shards = self._services.transactions.led() if TRANSACTION_TOPIC in image.topics else []
        yield from _load_times("kafka_server_transaction_coordinator_metrics", shards)
        without_leader = 0
        for shard in shards:
            for topic_partition in shard.missing_markers():
                without_leader += self._has_no_leader(topic_partition)
        prefix = "kafka_coordinator_transaction_transactionmarkerchannelmanager"
        yield gauge(
            f"{prefix}_unknowndestinationqueuesize",
            "Markers of transactions that wait until their partition has a leader.",
            without_leader,
        )
        yield gauge(
            f"{prefix}_logappendretryqueuesize",
            "Transactions that have all their markers, and whose end could not be written yet.",
            sum(shard.count_unwritten_completions() for shard in shards),
        )

    def _has_no_leader(self, topic_partition: TopicPartition) -> bool:
        image = self._services.cluster.image
        state = image.partition(*topic_partition)
        if state is None:
            return False  # it is gone, and needs no marker
        leader = image.brokers.get(state.leader)
        return state.leader == NO_BROKER or leader is None or leader.fenced


def _load_times(prefix: str, shards: Sequence[Shard]) -> Families:
    times = [shard.load_time_ms for shard in shards if shard.load_time_ms is not None]
    documentation = "Time that loading a partition took, of those that are led here."
    yield gauge(f"{prefix}_partition_load_time_max", documentation, max(times) if times else ())
    yield gauge(f"{prefix}_partition_load_time_avg", documentation, sum(times) / len(times) if times else ())

"""Families about topics and consumer groups, by the names that dashboards made for kafka_exporter query.

kafka_exporter is one process that tells of a whole cluster. Here each broker tells a part, so that a sum over all of
them counts nothing twice
- of a partition its leader tells, of one without a leader the controller;
- of a group its coordinator tells;
- of the brokers, and of how many partitions topics have, the controller tells.

A group's lag is the high watermark of a partition minus the committed offset, for what the group has committed. Where
another broker leads the partition and does not answer, there is no lag.
Sources: kafka_exporter's README and dashboard; the MBeans of Kafka's GroupMetadataManager.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client import Metric

from pykbroker.cluster.image import NO_BROKER, PartitionImage
from pykbroker.errors import KafkaError
from pykbroker.handlers.context import Services
from pykbroker.topic_partition import TopicPartition
from pykbroker.web.families import Labels, Samples, gauge

_STATES = {
    "preparingrebalance": "PreparingRebalance",
    "completingrebalance": "CompletingRebalance",
    "stable": "Stable",
    "dead": "Dead",
    "empty": "Empty",
}


class GroupFamilies:
    def __init__(self, services: Services) -> None:
        self._services = services

    def partitions_led_elsewhere(self) -> list[TopicPartition]:
        """Return the partitions that groups here have committed offsets of, as far as another broker leads them."""
        image, me = self._services.cluster.image, self._services.cluster.broker_id
        found: dict[TopicPartition, None] = {}
        for _, offsets in self._committed():
            for topic_partition in offsets:
                state = image.partition(*topic_partition)
                if state is not None and state.leader not in (me, NO_BROKER):
                    found[topic_partition] = None
        return list(found)

    def collect(self, end_offsets: Mapping[TopicPartition, int]) -> Iterator[Metric]:
        """`end_offsets`: of partitions that others lead."""
        yield from self._cluster()
        yield from self._topics()
        yield from self._consumer_groups(end_offsets)
        yield from self._coordinator()

    def _cluster(self) -> Iterator[Metric]:
        cluster, listener = self._services.cluster, self._services.config.inter_broker_listener_effective
        brokers = cluster.image.alive_brokers() if cluster.is_controller else []
        yield gauge(
            "kafka_brokers", "Brokers of the cluster; the controller tells.", [({}, len(brokers))] if brokers else []
        )
        addresses = []
        for broker in brokers:
            endpoint = broker.listeners.get(listener) or next(iter(broker.listeners.values()), None)
            if endpoint is not None:
                addresses.append({"id": str(broker.id), "address": f"{endpoint.host}:{endpoint.port}"})
        yield gauge("kafka_broker_info", "A broker of the cluster; always 1.", [(labels, 1) for labels in addresses])

    def _topics(self) -> Iterator[Metric]:
        cluster = self._services.cluster
        topics = cluster.image.topics.values() if cluster.is_controller else ()
        yield gauge(
            "kafka_topic_partitions",
            "Partitions of a topic; the controller tells.",
            [({"topic": topic.name}, len(topic.partitions)) for topic in topics],
        )
        states = self._states()
        labels: list[Labels] = [{"topic": key.topic, "partition": str(key.partition)} for key, _ in states]

        def family(name: str, documentation: str, values: Iterator[int]) -> Metric:
            return gauge(f"kafka_topic_partition_{name}", documentation, zip(labels, values, strict=True))

        yield from self._offsets(states, labels)
        yield gauge(
            "kafka_topic_partition_leader",
            "The broker that leads a partition.",
            [
                (each, state.leader)
                for each, (_, state) in zip(labels, states, strict=True)
                if state.leader != NO_BROKER
            ],
        )
        yield family("replicas", "Replicas of a partition.", (len(state.replicas) for _, state in states))
        yield family("in_sync_replica", "Replicas in sync.", (len(state.isr) for _, state in states))
        yield family(
            "leader_is_preferred",
            "1: its first replica leads.",
            (int(state.leader == state.replicas[0]) for _, state in states),
        )
        yield family(
            "under_replicated_partition",
            "1: fewer replicas are in sync than there are.",
            (int(len(state.isr) < len(state.replicas)) for _, state in states),
        )

    def _states(self) -> list[tuple[TopicPartition, PartitionImage]]:
        """Return the partitions that this broker tells of."""
        cluster = self._services.cluster
        mine = {cluster.broker_id, NO_BROKER} if cluster.is_controller else {cluster.broker_id}
        return [
            (TopicPartition(topic.name, index), state)
            for topic in cluster.image.topics.values()
            for index, state in enumerate(topic.partitions)
            if state.leader in mine
        ]

    def _offsets(self, states: list[tuple[TopicPartition, PartitionImage]], labels: list[Labels]) -> Iterator[Metric]:
        current: list[tuple[Labels, float]] = []
        oldest: list[tuple[Labels, float]] = []
        for each, (topic_partition, _) in zip(labels, states, strict=True):
            try:
                partition = self._services.replicas.partition(*topic_partition)
            except KafkaError:  # its log directory is offline, or it has no leader and no replica here
                continue
            if partition.is_leader:
                current.append((each, partition.high_watermark))
                oldest.append((each, partition.log.log_start_offset))
        yield gauge("kafka_topic_partition_current_offset", "Where consumers find the end of a partition.", current)
        yield gauge("kafka_topic_partition_oldest_offset", "The first offset of a partition.", oldest)

    # Groups

    def _committed(self) -> Iterator[tuple[str, dict[TopicPartition, int]]]:
        """Yield each group that this broker coordinates, with its committed offsets."""
        for shard in self._services.groups.served():
            for group_id in shard.groups:
                offsets = shard.read_offsets(group_id, require_stable=False)
                yield (
                    group_id,
                    {
                        TopicPartition(topic, index): committed.offset
                        for topic, partitions in offsets.items()
                        for index, committed in partitions.items()
                    },
                )

    def _consumer_groups(self, end_offsets: Mapping[TopicPartition, int]) -> Iterator[Metric]:
        current: list[tuple[Labels, float]] = []
        lags: list[tuple[Labels, float]] = []
        current_sums: Counter[tuple[str, str]] = Counter()
        lag_sums: Counter[tuple[str, str]] = Counter()
        for group_id, offsets in self._committed():
            for topic_partition, offset in offsets.items():
                topic, index = topic_partition
                labels = {"consumergroup": group_id, "topic": topic, "partition": str(index)}
                current.append((labels, offset))
                current_sums[group_id, topic] += offset
                end_offset = self._end_offset(topic_partition, end_offsets)
                if end_offset is not None:
                    lag = max(end_offset - offset, 0)
                    lags.append((labels, lag))
                    lag_sums[group_id, topic] += lag
        yield gauge("kafka_consumergroup_current_offset", "The offset that a group has committed.", current)
        yield gauge("kafka_consumergroup_current_offset_sum", "The same, of all partitions.", _by_topic(current_sums))
        yield gauge("kafka_consumergroup_lag", "Records that a group has not committed yet.", lags)
        yield gauge("kafka_consumergroup_lag_sum", "The same, of all partitions.", _by_topic(lag_sums))
        yield gauge(
            "kafka_consumergroup_members",
            "Members of a group.",
            [
                ({"consumergroup": group_id}, len(group.members))
                for shard in self._services.groups.served()
                for group_id, group in shard.groups.items()
            ],
        )

    def _end_offset(self, topic_partition: TopicPartition, elsewhere: Mapping[TopicPartition, int]) -> int | None:
        try:
            partition = self._services.replicas.partition(*topic_partition)
        except KafkaError:
            return elsewhere.get(topic_partition)
        return partition.high_watermark if partition.is_leader else elsewhere.get(topic_partition)

    def _coordinator(self) -> Iterator[Metric]:
        shards = self._services.groups.served()
        states = Counter(str(group.state) for shard in shards for group in shard.groups.values())
        prefix = "kafka_coordinator_group_groupmetadatamanager"
        yield gauge(f"{prefix}_numgroups", "Groups that this broker coordinates.", states.total())
        for name, state in _STATES.items():
            yield gauge(f"{prefix}_numgroups{name}", f"Groups that are {state}.", states[state])
        yield gauge(
            f"{prefix}_numoffsets",
            "Offsets that they have committed.",
            sum(len(offsets) for _, offsets in self._committed()),
        )


def _by_topic(sums: Mapping[tuple[str, str], int]) -> Samples:
    return [({"consumergroup": group_id, "topic": topic}, value) for (group_id, topic), value in sums.items()]

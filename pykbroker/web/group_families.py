"""Families about topics and consumer groups, by the names that dashboards made for kafka_exporter query.

kafka_exporter is one process that tells of a whole cluster. Here each broker tells a part, so that a sum over all of
them counts nothing twice
- of a partition its leader tells, of one without a leader the controller;
- of a group its coordinator tells;
- of the brokers, and of how many partitions topics have, the controller tells.

A group's lag is the high watermark of a partition minus the committed offset, for what the group has committed. Where
another broker leads the partition and does not answer, there is no lag, and no sum.
Not here: the coordinator (coordinator_families). Sources: kafka_exporter's README and dashboard.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from pykbroker.cluster.image import NO_BROKER, PartitionImage
from pykbroker.handlers.context import Services
from pykbroker.replication.partition import Partition
from pykbroker.topic_partition import TopicPartition
from pykbroker.web.families import PAUSE, Families, Family, Labels, gauge, labels, partition_labels

ROWS_AT_ONCE = 500


class Committed(NamedTuple):
    """What a group that this broker coordinates has committed of a topic."""

    group_id: str
    topic: str
    partitions: list[int]
    offsets: list[int]  # of each of these


EndOffsetOf: TypeAlias = Callable[[TopicPartition], int | None]  # of partitions that others lead


class GroupFamilies:
    def __init__(self, services: Services) -> None:
        self._services = services

    def committed(self) -> Iterator[Sequence[Committed]]:
        """Yield what groups have committed, some of it at a time."""
        rows: list[Committed] = []
        size = 0
        for shard in self._services.groups.served():
            for group_id in list(shard.groups):
                for topic, committed in shard.read_offsets(group_id, require_stable=False).items():
                    offsets = [each.offset for each in committed.values()]
                    rows.append(Committed(group_id, topic, list(committed), offsets))
                    size += len(offsets)
                if size >= ROWS_AT_ONCE:
                    yield rows
                    rows, size = [], 0
        yield rows

    def led_elsewhere(self, committed: Iterable[Committed]) -> Iterator[TopicPartition]:
        """Yield the partitions of these, each once, that another broker leads."""
        image, me = self._services.cluster.image, self._services.cluster.broker_id
        seen: dict[str, set[int]] = {}
        for row in committed:
            indexes = set(row.partitions) - seen.setdefault(row.topic, set())
            seen[row.topic] |= indexes
            for index in indexes:
                state = image.partition(row.topic, index)
                if state is not None and state.leader not in (me, NO_BROKER):
                    yield TopicPartition(row.topic, index)

    def collect(self, committed: Iterable[Committed], end_offset_of: EndOffsetOf) -> Families:
        partitions = {each.topic_partition: each for each in self._services.replicas.partitions() if each.is_leader}
        yield PAUSE
        yield from self._cluster()
        yield from self._topics(partitions)
        yield from self._consumer_groups(committed, partitions, end_offset_of)

    def _cluster(self) -> Families:
        cluster, listener = self._services.cluster, self._services.config.inter_broker_listener_effective
        brokers = cluster.image.alive_brokers() if cluster.is_controller else []
        yield gauge("kafka_brokers", "Brokers of the cluster; the controller tells.", len(brokers) if brokers else [])
        addresses = []
        for broker in brokers:
            endpoint = broker.listeners.get(listener) or next(iter(broker.listeners.values()), None)
            if endpoint is not None:
                addresses.append(labels(id=broker.id, address=f"{endpoint.host}:{endpoint.port}"))
        yield gauge("kafka_broker_info", "A broker of the cluster; always 1.", [(of, 1) for of in addresses])

    def _topics(self, partitions: Mapping[TopicPartition, Partition]) -> Families:
        cluster = self._services.cluster
        topics = cluster.image.topics.values() if cluster.is_controller else ()
        yield gauge(
            "kafka_topic_partitions",
            "Partitions of a topic; the controller tells.",
            ((labels(topic=topic.name), len(topic.partitions)) for topic in topics),
        )
        mine = {cluster.broker_id, NO_BROKER} if cluster.is_controller else {cluster.broker_id}
        of_each: list[Labels] = []
        states: list[PartitionImage] = []
        of_led: list[Labels] = []
        led: list[Partition] = []
        for topic in cluster.image.topics.values():
            yield PAUSE
            for index, state in enumerate(topic.partitions):
                if state.leader in mine:
                    of_each.append(partition_labels(topic.name, index))
                    states.append(state)
                    partition = partitions.get(TopicPartition(topic.name, index))
                    if partition is not None:
                        of_led.append(of_each[-1])
                        led.append(partition)

        def family(name: str, documentation: str, values: Iterator[int]) -> Family:
            return gauge(f"kafka_topic_partition_{name}", documentation, zip(of_each, values, strict=True))

        yield gauge(
            "kafka_topic_partition_current_offset",
            "Where consumers find the end of a partition.",
            zip(of_led, (partition.high_watermark for partition in led), strict=True),
        )
        yield gauge(
            "kafka_topic_partition_oldest_offset",
            "The first offset of a partition.",
            zip(of_led, (partition.log.log_start_offset for partition in led), strict=True),
        )
        yield gauge(
            "kafka_topic_partition_leader",
            "The broker that leads a partition.",
            _known(of_each, (None if state.leader == NO_BROKER else state.leader for state in states)),
        )
        yield family("replicas", "Replicas of a partition.", (len(state.replicas) for state in states))
        yield family("in_sync_replica", "Replicas in sync.", (len(state.isr) for state in states))
        yield family(
            "leader_is_preferred",
            "1: its first replica leads.",
            (int(state.leader == state.replicas[0]) for state in states),
        )
        yield family(
            "under_replicated_partition",
            "1: fewer replicas are in sync than there are.",
            (int(len(state.isr) < len(state.replicas)) for state in states),
        )

    # Groups

    def _consumer_groups(
        self,
        committed: Iterable[Committed],
        partitions: Mapping[TopicPartition, Partition],
        end_offset_of: EndOffsetOf,
    ) -> Families:
        """A sum of lags is left out where a part of it is not known: alerts would take it for less than it is.

        Lists of texts and numbers, not of pairs: tens of thousands of objects would set off the garbage collector.
        """
        of_each: list[Labels] = []
        offsets: list[int] = []
        lags: list[int | None] = []
        of_sums: list[Labels] = []
        offset_sums: list[int] = []
        lag_sums: list[int | None] = []
        for row in committed:
            yield PAUSE
            of_topic = labels(consumergroup=row.group_id, topic=row.topic)
            first = len(lags)
            for index, offset in zip(row.partitions, row.offsets, strict=True):
                tp = TopicPartition(row.topic, index)
                partition = partitions.get(tp)
                end_offset = end_offset_of(tp) if partition is None else partition.high_watermark
                of_each.append(f'{of_topic},partition="{index}"')
                lags.append(None if end_offset is None else max(end_offset - offset, 0))
            offsets += row.offsets
            of_sums.append(of_topic)
            offset_sums.append(sum(row.offsets))
            known = [lag for lag in lags[first:] if lag is not None]
            lag_sums.append(sum(known) if len(known) == len(row.offsets) else None)
        current = zip(of_each, offsets, strict=True)
        yield gauge("kafka_consumergroup_current_offset", "The offset that a group has committed.", current)
        yield gauge(
            "kafka_consumergroup_current_offset_sum",
            "The same, of all partitions.",
            zip(of_sums, offset_sums, strict=True),
        )
        yield gauge("kafka_consumergroup_lag", "Records that a group has not committed yet.", _known(of_each, lags))
        yield gauge(
            "kafka_consumergroup_lag_sum",
            "The same, of all partitions; absent where one of them is not known.",
            _known(of_sums, lag_sums),
        )
        yield gauge(
            "kafka_consumergroup_members",
            "Members of a group.",
            [
                (labels(consumergroup=group_id), len(group.members))
                for shard in self._services.groups.served()
                for group_id, group in shard.groups.items()
            ],
        )
        for name in (
            "coordinator_group_groupmetadatamanager_numoffsets",
            "server_group_coordinator_metrics_offset_count",
        ):
            yield gauge(f"kafka_{name}", "Offsets that groups on this broker have committed.", len(offsets))


def _known(of_each: Iterable[Labels], values: Iterable[int | None]) -> Iterator[tuple[Labels, int]]:
    return ((of, value) for of, value in zip(of_each, values, strict=True) if value is not None)

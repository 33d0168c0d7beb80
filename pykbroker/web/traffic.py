"""What went through the logs of this broker, derived from where they end: nothing is counted while records come in.

Owns: counters by topic of records and bytes that leaders here took; of bytes that replicas here copied; of ISRs that
shrank and grew, of elections, and of controllers.

Rules
- `settling` adds up how far each log has come since the last time. It runs when somebody reads, and for a partition
  whenever this broker begins or ceases to lead it, so that what it did in either role is counted as that.
- The records of a partition are the growth of its log end offset, markers of transactions included, as in Kafka; its
  bytes are what was written to its segments.
- Not counted: what a follower copied between the last look and the deletion of its replica, and the bytes written
  between the last look and a move to another log directory.
- A topic's counters go with the topic; those of all topics stay.
- A leader counts changes of its ISR, the controller counts elections.

Not here: requests (server/metering). Sources: Kafka's BrokerTopicStats, Partition, QuorumControllerMetrics.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from pykbroker.cluster.image import NO_BROKER, ImageDelta, MetadataImage, PartitionImage
from pykbroker.cluster.membership import Cluster
from pykbroker.errors import KafkaError
from pykbroker.replication.partition import Partition
from pykbroker.replication.replica_manager import ReplicaManager
from pykbroker.topic_partition import TopicPartition

if TYPE_CHECKING:
    from pykbroker.log.partition_log import PartitionLog

SETTLED_AT_ONCE = 200


@attrs.define
class TopicTraffic:
    messages_in: int = 0
    bytes_in: int = 0


@attrs.define(eq=False)
class _Seen:
    """How far a replica had come, and in which role it came there."""

    log: "PartitionLog"
    end_offset: int
    written_bytes: int
    is_leader: bool


class Traffic:
    def __init__(self, cluster: Cluster, replicas: ReplicaManager) -> None:
        """Count from now on."""
        self.topics: dict[str, TopicTraffic] = {}
        self.all_topics = TopicTraffic()
        self.replication_bytes_in = 0
        self.isr_shrinks = 0
        self.isr_expands = 0
        self.unclean_elections = 0
        self.elections_from_elr = 0
        self.new_controllers = int(cluster.image.controller_id != NO_BROKER)
        self._cluster = cluster
        self._replicas = replicas
        self._image = cluster.image
        self._seen: dict[TopicPartition, _Seen] = {}
        self._see_all()
        replicas.on_leadership.append(self._on_leadership)
        cluster.on_image.append(self._on_image)

    def settling(self) -> Iterator[None]:
        """Bring the counters up to date, some partitions at a time."""
        here = [partition.topic_partition for partition in self._replicas.partitions()]
        for number, (topic, index) in enumerate(here):
            with contextlib.suppress(KafkaError):  # it is gone since
                self._settle(self._replicas.partition(topic, index))
            if number % SETTLED_AT_ONCE == 0:
                yield
        here = [partition.topic_partition for partition in self._replicas.partitions()]
        for gone in self._seen.keys() - set(here):
            del self._seen[gone]
        for topic in self.topics.keys() - self._cluster.image.topics.keys():
            del self.topics[topic]

    def _see_all(self) -> None:
        for partition in self._replicas.partitions():
            if partition.topic_partition not in self._seen:
                self._see(partition)

    def _see(self, partition: Partition) -> None:
        log = partition.log
        self._seen[partition.topic_partition] = _Seen(log, log.log_end_offset, log.written_bytes, partition.is_leader)

    def _settle(self, partition: Partition) -> None:
        log, topic = partition.log, partition.topic_partition.topic
        seen = self._seen.get(partition.topic_partition)
        if seen is not None and seen.log.topic_id == log.topic_id:
            size = max(log.written_bytes - seen.written_bytes, 0) if log is seen.log else 0
            if seen.is_leader:
                traffic = self.topics.setdefault(topic, TopicTraffic())
                for each in (traffic, self.all_topics):
                    each.messages_in += log.log_end_offset - seen.end_offset
                    each.bytes_in += size
            else:
                self.replication_bytes_in += size
        self._see(partition)

    def _on_leadership(self, partition: Partition, leads: bool) -> None:
        self._settle(partition)

    # Metadata

    def _on_image(self, image: MetadataImage, delta: ImageDelta) -> None:
        if delta.created_topics or delta.changed_partitions:
            self._see_all()
        before, self._image = self._image, image
        self.new_controllers += image.controller_id not in (NO_BROKER, before.controller_id)
        for topic, index in delta.changed_partitions:
            old = before.partition(topic.name, index)
            if old is not None:
                self._changed(old, topic.partitions[index])

    def _changed(self, old: PartitionImage, new: PartitionImage) -> None:
        if new.leader == self._cluster.broker_id == old.leader:
            self.isr_shrinks += not set(new.isr) >= set(old.isr)
            self.isr_expands += not set(new.isr) <= set(old.isr)
        if self._cluster.is_controller and new.leader not in (NO_BROKER, old.leader) and new.leader not in old.isr:
            if new.leader in old.elr:
                self.elections_from_elr += 1
            else:
                self.unclean_elections += 1

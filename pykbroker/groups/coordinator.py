"""The group coordinator of this broker: finds the shard of a group.

Owns: one GroupShard for each `__consumer_offsets` partition that this broker leads.
Rules
- A group belongs to the partition that Java's hash of its id chooses; whoever leads that partition coordinates it.
- Becoming leader loads the shard, ceasing to be leader drops it. A new leader epoch is a new shard.
- Deleting a topic deletes its offsets in all shards.
Not here: what a shard does (shard), FindCoordinator (handlers.metadata).
Source: Kafka's GroupCoordinatorService.
"""

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING

from pykbroker.clock import Clock
from pykbroker.cluster.hashing import partition_for_key
from pykbroker.cluster.image import ImageDelta, MetadataImage
from pykbroker.config import BrokerConfig
from pykbroker.errors import KafkaError
from pykbroker.groups.settings import GroupSettings
from pykbroker.replication.partition import Partition
from pykbroker.replication.replica_manager import ReplicaManager
from wire.errors import ErrorCode

if TYPE_CHECKING:
    from pykbroker.groups.shard import GroupShard

OFFSETS_TOPIC = "__consumer_offsets"


class GroupCoordinator:
    def __init__(
        self,
        config: BrokerConfig,
        clock: Clock,
        replicas: ReplicaManager,
        new_uuid: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self.settings = GroupSettings.of(config)
        self._clock = clock
        self._replicas = replicas
        self._new_uuid = new_uuid
        self._partition_count = 0
        self._shards: dict[int, GroupShard] = {}
        replicas.on_leadership.append(self._on_leadership)

    def shard_for(self, group_id: str) -> "GroupShard":
        """Return the shard that has or would have this group. Raises: NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS."""
        shard = self._shards.get(self.partition_for(group_id)) if self._partition_count else None
        if shard is None or shard.is_failed:
            raise KafkaError(ErrorCode.NOT_COORDINATOR)
        if shard.is_loading:
            raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        return shard

    def partition_for(self, group_id: str) -> int:
        return partition_for_key(group_id, self._partition_count)

    def shards(self) -> "list[GroupShard]":
        """Return all shards. Raises: COORDINATOR_LOAD_IN_PROGRESS, if one is not complete."""
        if any(shard.is_loading for shard in self._shards.values()):
            raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        return self._served_shards()

    def transaction_completed(self, index: int, producer_id: int, *, commit: bool, record_offset: int) -> None:
        """A transaction marker was appended to partition `index` of the offsets topic."""
        shard = self._shards.get(index)
        if shard is not None:
            shard.complete_transaction(producer_id, commit=commit, record_offset=record_offset)

    def on_image(self, image: MetadataImage, delta: ImageDelta) -> None:
        """Follow the metadata; which partitions are led here comes from the replicas."""
        topic = image.topics.get(OFFSETS_TOPIC)
        self._partition_count = 0 if topic is None else len(topic.partitions)
        names = [deleted.name for deleted in delta.deleted_topics]
        if names:
            for shard in self._served_shards():
                shard.topics_deleted(names)

    def close(self) -> None:
        """Send away whoever waits."""
        for shard in self._shards.values():
            shard.close()
        self._shards.clear()

    def _served_shards(self) -> "list[GroupShard]":
        return [shard for _, shard in sorted(self._shards.items()) if not shard.is_loading and not shard.is_failed]

    def _on_leadership(self, partition: Partition, leads: bool) -> None:
        topic, index = partition.topic_partition
        if topic != OFFSETS_TOPIC:
            return
        former = self._shards.pop(index, None)
        if former is not None:
            former.close()
        if leads:
            # Imported with the first shard: a broker that nobody asked for a group starts without it.
            from pykbroker.groups.shard import GroupShard

            shard = GroupShard(partition, self._replicas, self.settings, self._clock, self._new_uuid)
            self._shards[index] = shard
            shard.load()

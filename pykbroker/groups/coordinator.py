"""The group coordinator of this broker: finds the shard of a group.

Owns: one GroupShard for each `__consumer_offsets` partition that this broker leads.
Rules: deleting a topic deletes its offsets in all shards.
Not here: which shard has a key, when shards come and go (replication/coordinator_shards), what a shard does (shard),
FindCoordinator (handlers.metadata).
Source: Kafka's GroupCoordinatorService.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from pykbroker.clock import Clock
from pykbroker.cluster.image import ImageDelta, MetadataImage
from pykbroker.config import BrokerConfig
from pykbroker.groups.settings import GroupSettings
from pykbroker.replication.coordinator_shards import CoordinatorShards
from pykbroker.replication.partition import Partition
from pykbroker.replication.replica_manager import ReplicaManager

if TYPE_CHECKING:
    from pykbroker.groups.counts import GroupCounts
    from pykbroker.groups.shard import GroupShard

OFFSETS_TOPIC = "__consumer_offsets"


def _random_uuid() -> str:
    import uuid  # not before the first member

    return str(uuid.uuid4())


class GroupCoordinator:
    def __init__(
        self,
        config: BrokerConfig,
        clock: Clock,
        replicas: ReplicaManager,
        new_uuid: Callable[[], str] = _random_uuid,
    ) -> None:
        self.settings = GroupSettings.of(config)
        self._counts: GroupCounts | None = None
        self._config = config
        self._clock = clock
        self._replicas = replicas
        self._new_uuid = new_uuid
        self._shards: CoordinatorShards[GroupShard] = CoordinatorShards(OFFSETS_TOPIC, replicas, self._make_shard)

    def _make_shard(self, partition: Partition) -> "GroupShard":
        # Imported with the first shard: a broker that nobody asked for a group starts without it.
        from pykbroker.groups.shard import GroupShard

        return GroupShard(
            partition, self._replicas, self.settings, self._clock, new_uuid=self._new_uuid, counts=self.counts
        )

    @property
    def counts(self) -> "GroupCounts":
        if self._counts is None:
            from pykbroker.groups.counts import GroupCounts

            self._counts = GroupCounts()
        return self._counts

    def shard_for(self, group_id: str) -> "GroupShard":
        """Return the shard that has or would have this group. Raises: NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS."""
        return self._shards.shard_for(group_id)

    def partition_for(self, group_id: str) -> int:
        return self._shards.partition_for(group_id, unless_created=self._config.offsets_topic_num_partitions)

    def shards(self) -> "list[GroupShard]":
        """Return all shards. Raises: COORDINATOR_LOAD_IN_PROGRESS, if one is not complete."""
        return self._shards.all()

    def served(self) -> "list[GroupShard]":
        """Return the shards that are complete."""
        return self._shards.served()

    def led(self) -> "list[GroupShard]":
        """Return the shards of all partitions that are led here, complete or not."""
        return self._shards.led()

    @property
    def loading(self) -> int:
        """How many shards are not complete yet."""
        return self._shards.loading

    def is_ready(self, index: int) -> bool:
        """Say whether partition `index` of the offsets topic is led here and loaded."""
        return self._shards.at(index) is not None

    def transaction_completed(self, index: int, producer_id: int, *, commit: bool, record_offset: int) -> None:
        """A transaction marker was appended to partition `index` of the offsets topic."""
        shard = self._shards.at(index)
        if shard is not None:
            shard.complete_transaction(producer_id, commit=commit, record_offset=record_offset)

    def on_image(self, image: MetadataImage, delta: ImageDelta) -> None:
        self._shards.on_image(image)
        names = [deleted.name for deleted in delta.deleted_topics]
        if names:
            for shard in self._shards.served():
                shard.topics_deleted(names)

    def close(self) -> None:
        """Send away whoever waits."""
        self._shards.close()

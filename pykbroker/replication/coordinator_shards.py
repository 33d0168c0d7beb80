"""The shards of a coordinator: one for each partition of its internal topic that this broker leads.

Owns: partition index -> shard.
Rules
- A key belongs to the partition that Java's hash of it chooses; whoever leads that partition coordinates it.
- Becoming leader loads a shard, ceasing to be leader drops it. A new leader epoch is a new shard.
- While another broker may be the leader by now, the shard answers nobody: what it knows may be out of date, and clients
  take its errors as final. (A Kafka broker that is cut off from its controllers goes on answering.)
Not here: what a shard does (groups, transactions).
"""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from pykbroker.cluster.hashing import partition_for_key
from pykbroker.cluster.image import MetadataImage
from pykbroker.errors import KafkaError
from pykbroker.replication.partition import Partition
from pykbroker.replication.replica_manager import ReplicaManager
from wire.errors import ErrorCode


class Shard(Protocol):
    partition: Partition
    is_loading: bool
    is_failed: bool  # its log could not be read: there is no coordinator here until leadership changes

    @property
    def load_time_ms(self) -> float | None: ...  # how long it took to read its log; None: it is not read yet

    def load(self) -> None: ...

    def close(self) -> None: ...


S = TypeVar("S", bound=Shard)


class CoordinatorShards(Generic[S]):
    def __init__(self, topic: str, replicas: ReplicaManager, make: Callable[[Partition], S]) -> None:
        self._topic = topic
        self._make = make
        self._partition_count = 0
        self._shards: dict[int, S] = {}
        replicas.on_leadership.append(self._on_leadership)

    def shard_for(self, key: str) -> S:
        """Return the shard that has or would have this key. Raises: NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS."""
        shard = self._shards.get(self.partition_for(key)) if self._partition_count else None
        if shard is None or shard.is_failed or shard.partition.may_be_led_elsewhere:
            raise KafkaError(ErrorCode.NOT_COORDINATOR)
        if shard.is_loading:
            raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        return shard

    def partition_for(self, key: str, *, unless_created: int = 1) -> int:
        """Return the key's partition; of a topic that is not there yet, which will have `unless_created` of them."""
        return partition_for_key(key, self._partition_count or unless_created)

    def at(self, index: int) -> S | None:
        """Return the shard of a partition, if it is led here and loaded."""
        shard = self._shards.get(index)
        return None if shard is None or shard.is_loading or shard.is_failed else shard

    def all(self) -> list[S]:
        """Return all shards. Raises: COORDINATOR_LOAD_IN_PROGRESS, if one is not complete."""
        if any(shard.is_loading for shard in self._shards.values()):
            raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        return self.served()

    @property
    def loading(self) -> int:
        """How many shards are not complete yet."""
        return sum(shard.is_loading for shard in self._shards.values())

    def led(self) -> list[S]:
        return list(self._shards.values())

    def served(self) -> list[S]:
        return [shard for _, shard in sorted(self._shards.items()) if not shard.is_loading and not shard.is_failed]

    def on_image(self, image: MetadataImage) -> None:
        """Follow the metadata; which partitions are led here comes from the replicas."""
        topic = image.topics.get(self._topic)
        self._partition_count = 0 if topic is None else len(topic.partitions)

    def close(self) -> None:
        """Send away whoever waits."""
        for shard in self._shards.values():
            shard.close()
        self._shards.clear()

    def _on_leadership(self, partition: Partition, leads: bool) -> None:
        topic, index = partition.topic_partition
        if topic != self._topic:
            return
        former = self._shards.pop(index, None)
        if former is not None:
            former.close()
        if leads:
            shard = self._shards[index] = self._make(partition)
            shard.load()

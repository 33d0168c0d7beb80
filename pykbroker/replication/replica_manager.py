"""The replicas on this broker: which partitions it holds, made to agree with the metadata.

Owns: topic partition -> Partition, the high watermark checkpoint, and when to look for followers that lag behind.

Rules
- `on_image` is the only place where replicas come and go. A topic that was deleted and created again has another id:
  its old log is removed, not reused. So is the log of a replica that was moved to another broker.
- A replica that does not lead follows whoever does, in the epoch that the image names; without a leader it waits.
- A partition that the metadata does not know is UNKNOWN_TOPIC_OR_PARTITION; one that exists but has no replica here is
  NOT_LEADER_OR_FOLLOWER; an unknown topic id is UNKNOWN_TOPIC_ID.
- High watermarks are written to disk from time to time and on closing, so that a restart does not begin at zero.

Not here: what a replica does (partition), how it follows (fetcher), files (log).
Sources: Kafka's ReplicaManager, ReplicaFetcherManager.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import anyio

from pykbroker.clock import Clock
from pykbroker.cluster.image import NO_BROKER, ConfigResourceType, ImageDelta, MetadataImage, TopicImage
from pykbroker.cluster.membership import Cluster
from pykbroker.config import BrokerConfig
from pykbroker.errors import KafkaError, StorageError
from pykbroker.log.log_dirs import LogDirs
from pykbroker.peer import Network, SocketNetwork
from pykbroker.replication.fetchers import Fetchers
from pykbroker.replication.isr_changes import IsrChanges
from pykbroker.replication.partition import ALL, Partition, ReplicaContext
from pykbroker.topic_config import TopicConfig
from pykbroker.topic_partition import TopicPartition
from pykbroker.waiters import Wakeups
from wire.errors import ErrorCode
from wire.schema import Uuid

if TYPE_CHECKING:
    from pykbroker.log.partition_log import AppendInfo, PartitionLog
    from pykbroker.quotas.replication_quotas import ReplicationQuotas
    from pykbroker.replication.fetcher import Followed

logger = logging.getLogger("pykbroker.replication")

LeadershipCallback = Callable[[Partition, bool], None]


class ReplicaManager:
    def __init__(
        self,
        config: BrokerConfig,
        clock: Clock,
        cluster: Cluster,
        log_dirs: LogDirs,
        wakeups: Wakeups,
        *,
        network: Network | None = None,
    ) -> None:
        """`network` is how other brokers are reached; None: by sockets."""
        self._config = config
        self._clock = clock
        self._cluster = cluster
        self._log_dirs = log_dirs
        self._isr_changes = IsrChanges(config, clock, cluster)
        self._fetchers = Fetchers(
            config, clock, cluster, network or SocketNetwork(config), quota=lambda: self.quotas.follower
        )
        self._context = ReplicaContext(config, clock, cluster, wakeups, self._isr_changes.submit)
        self._scope: anyio.CancelScope | None = None  # of what `run` runs
        self._image: MetadataImage | None = None
        self._is_starting = False  # what the image brings was there before this broker started
        self._partitions: dict[str, dict[int, Partition]] = {}
        self._by_id: dict[Uuid, dict[int, Partition]] = {}
        self._high_watermarks: dict[TopicPartition, int] = {}  # as found on disk, until the replica is there
        self._checkpointed: dict[TopicPartition, int] = {}
        self.on_leadership: list[LeadershipCallback] = []  # (partition, whether this broker leads it now)

    def open(self) -> None:
        """Take over what the last run left; call once, before the first image."""
        self._high_watermarks = self._log_dirs.high_watermarks()
        self._log_dirs.high_watermark_of = self._high_watermark_of
        self._log_dirs.on_moved = self._moved
        self._log_dirs.on_offline = self._lost
        self._schedule_checkpoint()
        self._schedule_isr_check()

    async def run(self) -> None:
        """Follow leaders and propose ISR changes, until stopped."""
        async with anyio.create_task_group() as tasks:
            self._scope = tasks.cancel_scope
            tasks.start_soon(self._fetchers.run)
            tasks.start_soon(self._isr_changes.run)

    def stop(self) -> None:
        """Fetch and propose no more."""
        if self._scope is not None:
            self._scope.cancel()

    def close(self) -> None:
        self.checkpoint_high_watermarks()

    @cached_property
    def quotas(self) -> ReplicationQuotas:
        from pykbroker.quotas.replication_quotas import ReplicationQuotas

        return ReplicationQuotas.of(self._config, self._clock)

    @property
    def fetchers(self) -> Collection[tuple[int, int]]:
        """Leader and number of each fetcher that runs."""
        return self._fetchers.keys()

    # Finding

    def partition(self, topic: str, index: int) -> Partition:
        """Raises: UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER."""
        try:
            return self._partitions[topic][index]
        except KeyError:
            raise KafkaError(self._why_absent(topic, index)) from None

    def partition_by_id(self, topic_id: Uuid, index: int) -> Partition:
        """Raises: UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER."""
        try:
            return self._by_id[topic_id][index]
        except KeyError:
            name = None if self._image is None else self._image.topic_names_by_id.get(topic_id)
            if name is None:
                raise KafkaError(ErrorCode.UNKNOWN_TOPIC_ID) from None
            raise KafkaError(self._why_absent(name, index)) from None

    def partitions(self) -> Iterable[Partition]:
        for by_index in self._partitions.values():
            yield from by_index.values()

    def followed(self) -> Iterator[tuple[int, int, Followed]]:
        """Yield the replicas that follow others, after the leader's id and the number of the fetcher."""
        return self._fetchers.followed()

    def _why_absent(self, topic: str, index: int) -> ErrorCode:
        image = None if self._image is None else self._image.topics.get(topic)
        if image is None or not 0 <= index < len(image.partitions):
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if self._config.node_id in image.partitions[index].replicas:
            return ErrorCode.KAFKA_STORAGE_ERROR  # its log directory is offline
        return ErrorCode.NOT_LEADER_OR_FOLLOWER

    # For coordinators

    def append_internal(self, topic_partition: TopicPartition, batch: bytearray) -> AppendInfo:
        """Append a coordinator's batch as acks=all would. Raises: see `Partition.append`."""
        partition = self.partition(topic_partition.topic, topic_partition.partition)
        return partition.append(memoryview(batch), acks=ALL, from_client=False)

    # Following the metadata

    def on_image(self, image: MetadataImage, delta: ImageDelta) -> None:
        is_first = self._image is None
        self._is_starting = is_first
        self._image = image
        for topic in delta.deleted_topics:
            self._delete_topic(topic)
        for topic in delta.created_topics:
            config = self._cluster.topic_config(topic.name)
            for index in range(len(topic.partitions)):
                self._apply_partition(topic, index, config)
        for topic, index in delta.changed_partitions:
            self._apply_partition(topic, index, None)
        for resource_type, name in delta.configs:
            if resource_type is ConfigResourceType.TOPIC:
                self._apply_config(name)
            elif resource_type is ConfigResourceType.BROKER:
                for topic_name in self._partitions:
                    self._apply_config(topic_name)
                self._fetchers.resize()
        if delta.brokers and not is_first:
            for partition in self.partitions():
                partition.conditions_changed()
        if is_first:
            self._set_strays_aside()

    def _delete_topic(self, topic: TopicImage) -> None:
        by_index = self._by_id.pop(topic.id, None)
        if by_index is None:
            return
        del self._partitions[topic.name]
        for partition in by_index.values():
            self._close(partition)

    def _remove(self, topic: TopicImage, index: int) -> None:
        """The replica was moved to another broker."""
        by_index = self._by_id.get(topic.id, {})
        partition = by_index.pop(index, None)
        if partition is None:
            return
        logger.info("removing %s: its replica is on other brokers now", partition.topic_partition)
        if not by_index:
            del self._partitions[topic.name], self._by_id[topic.id]
        self._close(partition)

    def _close(self, partition: Partition) -> None:
        was_leader = partition.is_leader
        self._fetchers.unfollow(partition)
        partition.close()
        if was_leader:
            self._tell(partition, leads=False)
        self._log_dirs.delete(partition.topic_partition)

    def _apply_partition(self, topic: TopicImage, index: int, config: TopicConfig | None) -> None:
        image = topic.partitions[index]
        if self._config.node_id not in image.replicas:
            self._remove(topic, index)
            return
        by_index = self._partitions.setdefault(topic.name, {})
        self._by_id[topic.id] = by_index
        partition = by_index.get(index)
        if partition is None:
            config = config or self._cluster.topic_config(topic.name)
            try:
                partition = by_index[index] = self._create(topic, index, config)
            except StorageError as error:
                logger.error("no replica of %s-%d: %s", topic.name, index, error)
                return
        was_leader = partition.is_leader
        try:
            changed = partition.apply(image)
        except KafkaError as error:  # its log directory is offline now
            logger.error("%s: %s", partition.topic_partition, error)
            changed = True
        if not changed:
            return
        if partition.leader_id in (NO_BROKER, self._config.node_id):
            self._fetchers.unfollow(partition)
        else:
            self._fetchers.follow(partition)
        if was_leader or partition.is_leader:
            self._tell(partition, leads=partition.is_leader)

    def _set_strays_aside(self) -> None:
        """Take out logs of topics that were deleted while this broker was down, or whose replicas were moved away."""
        for log in self._log_dirs.all():
            topic_partition = log.topic_partition
            if topic_partition.partition not in self._partitions.get(topic_partition.topic, ()):
                self._log_dirs.set_aside(topic_partition)

    def _create(self, topic: TopicImage, index: int, config: TopicConfig) -> Partition:
        topic_partition = TopicPartition(topic.name, index)
        log = self._log_dirs.get(topic_partition)
        if log is not None and log.topic_id != topic.id:
            self._log_dirs.set_aside(topic_partition)
            log = None
        if log is None:
            if self._is_starting and self._log_dirs.offline:
                # It may be in the directory that is offline: an empty one in its place would be taken for it.
                raise StorageError("a log directory is offline")
            log = self._log_dirs.create(topic_partition, topic.id, config)
        elif log.log_directory.offline is not None:
            raise StorageError(f"{log.log_directory.path} is offline")
        else:
            log.update_config(config)
            self._log_dirs.resume_move(log)
        high_watermark = self._high_watermarks.pop(topic_partition, 0)
        return Partition(log, self._context, high_watermark, is_internal=topic.is_internal)

    def _tell(self, partition: Partition, *, leads: bool) -> None:
        for callback in self.on_leadership:
            callback(partition, leads)

    def _apply_config(self, topic: str) -> None:
        by_index = self._partitions.get(topic)
        if by_index:
            config = self._cluster.topic_config(topic)
            for partition in by_index.values():
                partition.log.update_config(config)
                partition.conditions_changed()

    # Followers that lag behind

    def _schedule_isr_check(self) -> None:
        self._clock.call_later(self._config.replica_lag_time_max_ms / 2, self._check_isrs)

    def _check_isrs(self) -> None:
        for partition in self.partitions():
            partition.check_followers()
        self._schedule_isr_check()

    # Log directories

    def alter_log_dir(self, topic: str, index: int, path: str) -> None:
        """Begin to move a replica to another log directory; one that is yet to come is put there. Source: KIP-113.

        Raises: LOG_DIR_NOT_FOUND, KAFKA_STORAGE_ERROR, INVALID_TOPIC_EXCEPTION, INVALID_REPLICA_ASSIGNMENT (a cordoned
        directory), UNKNOWN_TOPIC_OR_PARTITION, REPLICA_NOT_AVAILABLE where other brokers have the replicas.
        """
        topic_partition = TopicPartition(topic, index)
        directory = self._log_dirs.choice.for_move(topic_partition, path)
        partition = self._partitions.get(topic, {}).get(index)
        if partition is None:
            why = self._why_absent(topic, index)
            if why is not ErrorCode.KAFKA_STORAGE_ERROR:
                self._log_dirs.choice.prefer(topic_partition, directory)
            raise KafkaError(ErrorCode.REPLICA_NOT_AVAILABLE if why is ErrorCode.NOT_LEADER_OR_FOLLOWER else why)
        partition.log.log_directory.check_online()
        self._log_dirs.moves.begin(partition.log, directory)

    def _lost(self, logs: Iterable[PartitionLog]) -> None:
        """Give up the replicas of a log directory that went offline: they answer KAFKA_STORAGE_ERROR from now on."""
        for log in logs:
            by_index = self._partitions.get(log.topic_partition.topic, {})
            partition = by_index.get(log.topic_partition.partition)
            if partition is not None and partition.log is log:
                del by_index[log.topic_partition.partition]
                self._fetchers.unfollow(partition)
                was_leader = partition.is_leader
                partition.close()
                if was_leader:
                    self._tell(partition, leads=False)

    def _moved(self, log: PartitionLog) -> None:
        partition = self._partitions.get(log.topic_partition.topic, {}).get(log.topic_partition.partition)
        if partition is not None:
            partition.log = log

    # High watermarks

    def _schedule_checkpoint(self) -> None:
        self._clock.call_later(self._config.replica_high_watermark_checkpoint_interval_ms, self._checkpoint_regularly)

    def _checkpoint_regularly(self) -> None:
        self.checkpoint_high_watermarks()
        self._schedule_checkpoint()

    def _high_watermark_of(self, topic_partition: TopicPartition) -> int:
        """What retention may not go beyond; as on disk until the metadata makes the log a replica."""
        partition = self._partitions.get(topic_partition.topic, {}).get(topic_partition.partition)
        return self._high_watermarks.get(topic_partition, 0) if partition is None else partition.high_watermark

    def checkpoint_high_watermarks(self) -> None:
        """Write the high watermarks of all replicas, if any has moved."""
        now = {partition.topic_partition: partition.high_watermark for partition in self.partitions()}
        if now != self._checkpointed:
            self._log_dirs.checkpoint_high_watermarks(now)
            self._checkpointed = now

"""The transaction coordinator of this broker: finds the shard of a transactional id.

Owns: one TransactionShard for each `__transaction_state` partition that this broker leads.
Not here: which shard has a key, when shards come and go (replication/coordinator_shards), what a shard does (shard),
FindCoordinator (handlers.metadata), asking other coordinators (verification).
Source: Kafka's TransactionCoordinator.
"""

from typing import TYPE_CHECKING

from pykbroker.clock import Clock
from pykbroker.cluster.image import ConfigResourceType, ImageDelta, MetadataImage
from pykbroker.cluster.membership import Cluster
from pykbroker.config import BrokerConfig
from pykbroker.replication.coordinator_shards import CoordinatorShards
from pykbroker.replication.partition import Partition
from pykbroker.replication.replica_manager import ReplicaManager
from pykbroker.transactions.other_brokers import OtherBrokers
from pykbroker.transactions.pending_offsets import PendingOffsets

if TYPE_CHECKING:
    from pykbroker.transactions.markers import MarkerAppender, MarkerWriter
    from pykbroker.transactions.shard import TransactionShard

TRANSACTION_TOPIC = "__transaction_state"
VERIFICATION = "transaction.partition.verification.enable"


class TransactionCoordinator:
    def __init__(
        self,
        config: BrokerConfig,
        clock: Clock,
        cluster: Cluster,
        replicas: ReplicaManager,
        *,
        groups: PendingOffsets,
        brokers: OtherBrokers,
    ) -> None:
        """`brokers`: through which the markers of partitions that others lead are written."""
        self._config = config
        self._clock = clock
        self._cluster = cluster
        self._replicas = replicas
        self._groups = groups
        self._brokers = brokers
        self._writer: MarkerWriter | None = None
        self._shards: CoordinatorShards[TransactionShard] = CoordinatorShards(
            TRANSACTION_TOPIC, replicas, self._make_shard
        )

    @property
    def markers(self) -> "MarkerAppender":
        """What appends markers to partitions that this broker leads."""
        # Imported with the first marker or shard: a broker without transactions starts without them.
        from pykbroker.transactions.markers import MarkerAppender

        return MarkerAppender(self._replicas, self._clock, self._groups)

    def _marker_writer(self) -> "MarkerWriter":
        from pykbroker.transactions.markers import MarkerWriter

        if self._writer is None:
            self._writer = MarkerWriter(self._config, self._clock, self._cluster, self.markers, self._brokers)
        return self._writer

    def _make_shard(self, partition: Partition) -> "TransactionShard":
        from pykbroker.transactions.shard import TransactionShard

        return TransactionShard(
            partition,
            replicas=self._replicas,
            config=self._config,
            clock=self._clock,
            markers=self._marker_writer(),
            transaction_version=self.transaction_version,
        )

    def transaction_version(self) -> int:
        """Return the version of transactions that the cluster has agreed on."""
        return self._cluster.image.features.get("transaction.version", 0)

    def verifies_partitions(self) -> bool:
        """Say whether the coordinator is asked about the batches of older producers; it may change while running."""
        for broker in (str(self._config.node_id), ""):
            value = self._cluster.image.config(ConfigResourceType.BROKER, broker).get(VERIFICATION)
            if value is not None:
                return value.strip().lower() == "true"
        enabled: bool = self._config.transaction_partition_verification_enable
        return enabled

    def shard_for(self, transactional_id: str) -> "TransactionShard":
        """Raises: NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS."""
        return self._shards.shard_for(transactional_id)

    def partition_for(self, transactional_id: str) -> int:
        return self._shards.partition_for(
            transactional_id, unless_created=self._config.transaction_state_log_num_partitions
        )

    @property
    def loading(self) -> int:
        """How many shards are not complete yet."""
        return self._shards.loading

    def shards(self) -> "list[TransactionShard]":
        """Return all shards. Raises: COORDINATOR_LOAD_IN_PROGRESS, if one is not complete."""
        return self._shards.all()

    def led(self) -> "list[TransactionShard]":
        """Return the shards of all partitions that are led here, complete or not."""
        return self._shards.led()

    def on_image(self, image: MetadataImage, delta: ImageDelta) -> None:
        self._shards.on_image(image)

    def close(self) -> None:
        """Send away whoever waits."""
        self._shards.close()

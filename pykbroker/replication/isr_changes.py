"""The ISR changes that leaders of this broker propose: written by compare-and-set, many in one transaction.

Owns: which partitions have a proposal that is to be written.

Rules
- One proposal per partition is in flight; what it is stands in `Partition.pending_isr`, which the image that holds the
  new state clears. `propose` returns no sooner than that.
- A proposal that the metadata refuses is dropped: the next fetch or check makes another one.
- When the store fails nobody knows what became of a proposal. It stays in flight, and counts, until a later attempt
  tells: it is written again after a pause.

Not here: when a change is due (isr, partition), what is allowed (cluster.partition_changes).
Sources: Kafka's AlterPartitionManager.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from pykbroker.clock import Clock
from pykbroker.cluster.changes import Change
from pykbroker.cluster.image import MetadataImage
from pykbroker.cluster.membership import Cluster
from pykbroker.config import BrokerConfig
from pykbroker.errors import KafkaError
from pykbroker.peer import Backoff

if TYPE_CHECKING:
    from pykbroker.replication.partition import Partition

logger = logging.getLogger("pykbroker.replication")

MAX_PER_TRANSACTION = 50  # etcd allows 128 conditions, and a change has two


class IsrChanges:
    def __init__(self, config: BrokerConfig, clock: Clock, cluster: Cluster) -> None:
        self._config = config
        self._clock = clock
        self._cluster = cluster
        self._waiting: dict[Partition, None] = {}
        self._uncertain: set[Partition] = set()  # an attempt may have been written
        self._arrived: anyio.Event | None = None  # there while nothing is to be written

    def submit(self, partition: Partition) -> None:
        """Have `partition.pending_isr` written."""
        self._waiting[partition] = None
        if self._arrived is not None:
            self._arrived.set()

    async def run(self) -> None:
        """Write what is submitted, until cancelled."""
        backoff = Backoff()
        while True:
            if not self._waiting:
                self._arrived = anyio.Event()
                await self._arrived.wait()
            batch = list(self._waiting)[:MAX_PER_TRANSACTION]
            for partition in batch:
                del self._waiting[partition]
            if await self._propose(batch):
                backoff.succeeded()
            else:
                await self._clock.sleep(backoff.failed(self._config.replica_fetch_backoff_ms))

    async def _propose(self, batch: list[Partition]) -> bool:
        """Write the proposals of these partitions; False: something has to be tried again after a pause."""
        refused: dict[Partition, KafkaError] = {}

        def change(image: MetadataImage) -> Change:
            refused.clear()
            made = Change()
            for partition in batch:
                try:
                    made += self._change_of(image, partition)
                except KafkaError as error:
                    refused[partition] = error
            return made

        try:
            await self._cluster.propose(change)
        except KafkaError as error:
            logger.warning("ISR changes are not known to be written: %s", error)
            self._uncertain.update(batch)
            self._waiting.update(dict.fromkeys(batch))
            return False
        for partition in batch:
            error_of = refused.get(partition)
            if error_of is None or partition.pending_isr is None:
                self._uncertain.discard(partition)
            elif partition in self._uncertain:
                self._waiting[partition] = None
            else:
                logger.info("%s: the ISR was refused: %s", partition.topic_partition, error_of)
                partition.isr_refused()
        return not self._uncertain.intersection(batch)

    def _change_of(self, image: MetadataImage, partition: Partition) -> Change:
        """Raises: KafkaError, see `alter_isr`."""
        if partition.pending_isr is None:
            return Change()  # the partition changed hands, or its state was changed by others
        from pykbroker.cluster.partition_changes import alter_isr  # not before the first change

        topic_id = partition.log.topic_id
        assert topic_id is not None
        logger.info(
            "%s: the ISR is to be %s, after %s",
            partition.topic_partition,
            list(partition.pending_isr),
            list(partition.isr),
        )
        return alter_isr(
            image,
            topic_id,
            partition.topic_partition.partition,
            broker_id=partition.broker_id,
            leader_epoch=partition.leader_epoch,
            partition_epoch=partition.partition_epoch,
            isr=partition.pending_isr,
            broker_epochs=partition.pending_broker_epochs,
        )

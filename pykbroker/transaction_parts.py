"""The broker's parts for transactions, which are made with the first transaction: most brokers never have one.

Owns: the coordinator, the verifier, and the ways to the other brokers, from then on.
Rules
- They are made when a request needs them, or when the cluster has the topic of transactions: before the replicas learn
  of it, since the coordinator has to hear which partitions are led here.
- Markers and questions of producers reach the other brokers over connections of their own: a question never waits
  behind markers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from pykbroker.clock import Clock
from pykbroker.cluster.image import ImageDelta, MetadataImage
from pykbroker.cluster.membership import Cluster
from pykbroker.config import BrokerConfig
from pykbroker.groups.coordinator import GroupCoordinator
from pykbroker.peer import Network, Peer
from pykbroker.replication.addresses import address_of
from pykbroker.replication.replica_manager import ReplicaManager

if TYPE_CHECKING:
    from pykbroker.transactions.coordinator import TransactionCoordinator
    from pykbroker.transactions.other_brokers import OtherBrokers
    from pykbroker.transactions.verification import TransactionVerifier

TRANSACTION_TOPIC = "__transaction_state"


class TransactionParts:
    def __init__(
        self,
        config: BrokerConfig,
        clock: Clock,
        cluster: Cluster,
        replicas: ReplicaManager,
        *,
        groups: GroupCoordinator,
        network: Network,
    ) -> None:
        self._config = config
        self._clock = clock
        self._cluster = cluster
        self._replicas = replicas
        self._groups = groups
        self._network = network
        self._coordinator: TransactionCoordinator | None = None
        self._verifier: TransactionVerifier | None = None
        self._brokers: list[OtherBrokers] = []
        self._are_made = anyio.Event()

    def coordinator(self) -> TransactionCoordinator:
        if self._coordinator is None:
            from pykbroker.transactions.coordinator import TransactionCoordinator

            self._coordinator = TransactionCoordinator(
                self._config,
                self._clock,
                self._cluster,
                self._replicas,
                groups=self._groups,
                brokers=self._other_brokers("markers"),
            )
        return self._coordinator

    def verifier(self) -> TransactionVerifier:
        if self._verifier is None:
            from pykbroker.transactions.verification import TransactionVerifier

            self._verifier = TransactionVerifier(
                self._config, self._clock, self._cluster, self.coordinator(), self._other_brokers("questions")
            )
        return self._verifier

    def _other_brokers(self, purpose: str) -> OtherBrokers:
        from pykbroker.transactions.other_brokers import OtherBrokers

        config, cluster = self._config, self._cluster

        def connect(broker_id: int) -> Peer:
            return Peer(
                self._network,
                self._clock,
                config,
                lambda: address_of(broker_id, config, cluster),
                client_id=f"broker-{config.node_id}-transaction-{purpose}",
                max_backoff_ms=lambda: config.replica_fetch_backoff_ms,
            )

        brokers = OtherBrokers(config, self._clock, connect)
        self._brokers.append(brokers)
        self._are_made.set()
        return brokers

    def on_image(self, image: MetadataImage, delta: ImageDelta) -> None:
        if self._coordinator is not None or TRANSACTION_TOPIC in image.topics:
            self.coordinator().on_image(image, delta)

    async def run(self) -> None:
        """Ask other brokers what is to be asked, until cancelled."""
        await self._are_made.wait()
        self.verifier()
        async with anyio.create_task_group() as tasks:
            for brokers in self._brokers:
                tasks.start_soon(brokers.run)

    def close(self) -> None:
        """Send away whoever waits."""
        if self._coordinator is not None:
            self._coordinator.close()

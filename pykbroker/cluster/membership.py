"""This broker's place in the cluster: its registration, the image that it acts on, and how it changes metadata.

Owns: the current `MetadataImage`, this broker's lease.

Rules
- The image is replaced only by what the store tells, in revision order; `on_image` callbacks then run in the same tick,
  in the order in which they were added. They must not await.
- A change is decided on the current image, written under conditions, and decided anew if a condition failed. When
  `propose` returns, the image holds the result.
- A broker whose lease is lost registers again, under a new epoch. It must not act as a leader after `lease_ends_ms`.
- Whoever finds the cluster without a controller takes that role; the controller only reacts to what the image shows.

Not here: which changes are allowed (changes), how an image is made (apply), the engines (store).
"""

import logging
from collections.abc import Callable, Mapping, Sequence

import anyio

from pykbroker.clock import Clock
from pykbroker.cluster.apply import apply
from pykbroker.cluster.changes import (
    Change,
    become_controller,
    found_cluster,
    lead_again,
    random_uuid,
    register_broker,
)
from pykbroker.cluster.features import FINALIZED_AT_FOUNDING
from pykbroker.cluster.image import EMPTY, NO_BROKER, ConfigResourceType, ImageDelta, MetadataImage
from pykbroker.cluster.store import NO_LEASE, Batch, Event, Store
from pykbroker.config import BrokerConfig, Endpoint
from pykbroker.errors import KafkaError, StorageError
from pykbroker.topic_config import TopicConfig
from wire.errors import ErrorCode
from wire.primitives import uuid_text

logger = logging.getLogger("pykbroker.cluster")

ImageCallback = Callable[[MetadataImage, ImageDelta], None]
PROPOSAL_ATTEMPTS = 20
# Kafka sets this when it founds a cluster with eligible leader replicas (KIP-966), so that min ISR is never unset.
CONFIGS_AT_FOUNDING: Mapping[str, str] = {"min.insync.replicas": "1"}


class Cluster:
    def __init__(self, store: Store, config: BrokerConfig, clock: Clock) -> None:
        self.image: MetadataImage = EMPTY
        self.broker_id = config.node_id
        self.on_image: list[ImageCallback] = []
        self.lease_ends_ms = 0.0  # monotonic; the store ends the lease later than this, never earlier
        self._store = store
        self._config = config
        self._clock = clock
        self._lease = NO_LEASE
        self._endpoints: tuple[Endpoint, ...] = ()
        self._default_topic_config: TopicConfig | None = None

    @property
    def broker_epoch(self) -> int:
        broker = self.image.brokers.get(self.broker_id)
        return -1 if broker is None else broker.epoch

    @property
    def is_controller(self) -> bool:
        return self.image.controller_id == self.broker_id

    async def start(
        self, endpoints: Sequence[Endpoint], *, cluster_id: str | None = None, after_unclean_stop: bool = False
    ) -> None:
        """Load the image and register this broker, reachable at `endpoints`.

        A new cluster gets `cluster_id`, or a random one. After an unclean stop the leader epochs of what this broker
        leads go up. Raises: StorageError; DUPLICATE_BROKER_REGISTRATION if a broker with this id stays alive.
        """
        self._endpoints = tuple(endpoints)
        snapshot = await self._store.watch(self._apply)
        self._apply(Batch(snapshot.revision, [Event(*entry) for entry in snapshot.entries], is_reset=True))
        if cluster_id and self.image.cluster_id and cluster_id != self.image.cluster_id:
            raise StorageError(f"the data belongs to cluster {cluster_id}, the store to {self.image.cluster_id}")
        try:
            await self._register(cluster_id, after_unclean_stop)
        except KafkaError as error:
            if error.code is not ErrorCode.DUPLICATE_BROKER_REGISTRATION:
                raise
            await self._register_when_lease_ended(cluster_id)

    async def run(self) -> None:
        """Keep the registration alive and follow the store, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._store.run)
            while True:
                await self._clock.sleep(self._config.broker_heartbeat_interval_ms)
                try:
                    await self._keep_alive()
                except (StorageError, KafkaError) as error:  # tried anew at the next heartbeat
                    logger.warning("cannot renew the registration: %s", error)

    async def stop(self) -> None:
        """Leave the cluster and close the store."""
        lease, self._lease = self._lease, NO_LEASE
        try:
            if lease != NO_LEASE:
                await self._store.revoke_lease(lease)
        except StorageError as error:  # the lease will end by itself
            logger.warning("cannot give up the registration: %s", error)
        finally:
            await self._store.close()

    async def propose(self, change: Callable[[MetadataImage], Change]) -> MetadataImage:
        """Write what `change` makes of the current image, and return an image that holds it.

        `change` is called again when another change came in between; what it raises is passed on.
        Raises: KAFKA_STORAGE_ERROR if the store failed, REQUEST_TIMED_OUT if others were always faster.
        """
        try:
            return await self._propose(change)
        except StorageError as error:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)) from error

    def topic_config(self, topic: str) -> TopicConfig:
        """Return the configuration in force for a topic; all topics that override nothing share one."""
        overrides = self.image.config(ConfigResourceType.TOPIC, topic)
        if overrides:
            return TopicConfig.build(self._config, overrides)
        if self._default_topic_config is None:
            self._default_topic_config = TopicConfig.build(self._config, {})
        return self._default_topic_config

    async def _propose(self, change: Callable[[MetadataImage], Change]) -> MetadataImage:
        for _ in range(PROPOSAL_ATTEMPTS):
            made = change(self.image)
            if not made.operations:
                return self.image
            result = await self._store.txn(made.conditions, made.operations)
            assert self.image.revision >= result.revision, "the store tells before it returns"
            if result.committed:
                return self.image
        raise KafkaError(ErrorCode.REQUEST_TIMED_OUT, "The metadata keeps being changed by others")

    def _apply(self, batch: Batch) -> None:
        self.image, delta = apply(self.image, batch)
        me = str(self.broker_id)
        if not delta.configs.isdisjoint({(ConfigResourceType.BROKER, ""), (ConfigResourceType.BROKER, me)}):
            self._config.apply_dynamic(
                self.image.config(ConfigResourceType.BROKER, ""), self.image.config(ConfigResourceType.BROKER, me)
            )
            self._default_topic_config = None
        for callback in self.on_image:
            callback(self.image, delta)

    async def _register(self, cluster_id: str | None, after_unclean_stop: bool = False) -> None:
        """One transaction: found the cluster if there is none, register, become the controller if there is none."""
        # Raises while another one has this id, without a lease for nothing.
        register_broker(self.image, self.broker_id, self._config.broker_rack, self._endpoints, NO_LEASE)
        asked_ms = self._clock.monotonic_ms()
        lease = await self._store.grant_lease(self._config.broker_session_timeout_ms)
        founding_id = cluster_id or uuid_text(random_uuid())

        def change(image: MetadataImage) -> Change:
            made = found_cluster(image, founding_id, FINALIZED_AT_FOUNDING, CONFIGS_AT_FOUNDING)
            made += register_broker(image, self.broker_id, self._config.broker_rack, self._endpoints, lease)
            made += become_controller(image, self.broker_id, lease)
            if after_unclean_stop:
                made += lead_again(image, self.broker_id)
            return made

        await self._propose(change)
        self._lease = lease
        self.lease_ends_ms = asked_ms + self._config.broker_session_timeout_ms

    async def _register_when_lease_ended(self, cluster_id: str | None) -> None:
        """An earlier process of this broker was killed: wait until its lease has ended, as long as that may take."""
        deadline = self._clock.monotonic_ms() + 2 * self._config.broker_session_timeout_ms
        failure: KafkaError | StorageError | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._store.run)
            while True:
                await self._clock.sleep(self._config.broker_heartbeat_interval_ms / 10)
                try:
                    await self._register(cluster_id, after_unclean_stop=True)
                    break
                except KafkaError as error:
                    wait_on = error.code is ErrorCode.DUPLICATE_BROKER_REGISTRATION
                    if not wait_on or self._clock.monotonic_ms() > deadline:
                        failure = error
                        break
                except StorageError as error:
                    failure = error
                    break
            tasks.cancel_scope.cancel()
        if failure is not None:  # raised here, since a task group would wrap it
            raise failure

    async def _keep_alive(self) -> None:
        asked_ms = self._clock.monotonic_ms()
        if await self._store.keep_alive(self._lease):
            self.lease_ends_ms = asked_ms + self._config.broker_session_timeout_ms
            if self.image.controller_id == NO_BROKER:
                await self._propose(lambda image: become_controller(image, self.broker_id, self._lease))
            return
        if self._lease == NO_LEASE:
            return  # this broker is being stopped
        try:
            await self._register(None)
        except KafkaError as error:
            if error.code is not ErrorCode.DUPLICATE_BROKER_REGISTRATION:
                raise
            logger.warning("cannot register again yet: %s", error)  # tried anew at the next heartbeat

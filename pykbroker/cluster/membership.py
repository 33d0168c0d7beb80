"""This broker's place in the cluster: its registration, the image that it acts on, and how it changes metadata.

Owns: the current `MetadataImage`, this broker's lease.

Rules
- The image is replaced only by what the store tells, in revision order; `on_image` callbacks then run in the same tick,
  in the order in which they were added. They must not await.
- A change is decided on the current image, written under conditions, and decided anew if a condition failed. When
  `propose` returns, the image holds the result.
- A broker whose lease is lost, or that was fenced, registers again, under a new epoch, as soon as it learns of it. It
  must not act as a leader after `lease_ends_ms`.
- Who comes back from an unclean stop first leaves ISRs and ELRs, and only then is alive again: a process that was
  killed, and one whose clean shutdown marker has another epoch than the last registration (its disk was replaced).
- Whoever sees the cluster without a controller takes that role at once.
- A registration whose directory this process has open belongs to an earlier process that is gone: it is taken over
  without waiting for the end of its lease.

Not here: which changes are allowed (changes, partition_changes), what a controller does (controller), how an image is
made (apply), the engines (store).
Sources: Kafka's BrokerLifecycleManager and ClusterControlManager; KIP-631, KIP-966 (unclean stops).
"""

import logging
from collections.abc import Callable, Sequence

import anyio

from pykbroker.clock import Clock
from pykbroker.cluster.apply import apply
from pykbroker.cluster.changes import (
    Change,
    become_controller,
    begin_shutdown,
    empty_cluster,
    fence_broker,
    found_cluster,
    register_broker,
)
from pykbroker.cluster.features import FINALIZED_AT_FOUNDING
from pykbroker.cluster.image import (
    EMPTY,
    NO_BROKER,
    BrokerImage,
    ConfigResourceType,
    ImageDelta,
    MetadataImage,
    PartitionImage,
)
from pykbroker.cluster.keys import CLUSTER_KEY, alive_key
from pykbroker.cluster.store import NO_LEASE, Batch, Condition, Event, Store
from pykbroker.config import BrokerConfig, Endpoint
from pykbroker.errors import KafkaError, StorageError
from pykbroker.topic_config import TopicConfig
from wire.errors import ErrorCode
from wire.primitives import random_uuid, uuid_text
from wire.schema import Uuid

logger = logging.getLogger("pykbroker.cluster")

ImageCallback = Callable[[MetadataImage, ImageDelta], None]
PROPOSAL_ATTEMPTS = 20


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
        self._is_stopped = False
        self._wake = anyio.Event()  # something happened that does not wait for the next heartbeat
        self._heartbeat = anyio.Lock()  # held by one that is under way, and by who gives up the registration
        self._endpoints: tuple[Endpoint, ...] = ()
        self._directory_id = ""
        self._incarnation_id = uuid_text(random_uuid())
        self._default_topic_config: TopicConfig | None = None

    @property
    def broker_epoch(self) -> int:
        broker = self.image.brokers.get(self.broker_id)
        return -1 if broker is None else broker.epoch

    @property
    def is_controller(self) -> bool:
        return self.image.controller_id == self.broker_id

    @property
    def follows_store(self) -> bool:
        """Whether the image is as new as the store: changes by others are seen, and the lease is kept alive."""
        return self._store.is_up_to_date and self._clock.monotonic_ms() < self.lease_ends_ms

    @property
    def me(self) -> BrokerImage | None:
        """This broker as the metadata has it; None before its first registration."""
        return self.image.brokers.get(self.broker_id)

    async def start(
        self,
        endpoints: Sequence[Endpoint],
        *,
        cluster_id: str | None = None,
        after_unclean_stop: bool = False,
        previous_broker_epoch: int | None = None,
        directory_id: str = "",
        find_foreign_data: Callable[[], str] = str,
    ) -> None:
        """Load the image and register this broker, reachable at `endpoints`.

        A new cluster gets `cluster_id`, or a random one. `previous_broker_epoch` is that of the last clean stop, where
        that is known; after any other than a clean stop this broker is in no ISR any more, unless nobody else has its
        data. `find_foreign_data` says which logs a new cluster would know nothing of: with any, it is not founded.
        Raises: StorageError; DUPLICATE_BROKER_REGISTRATION if a broker with this id stays alive.
        """
        self._endpoints = tuple(endpoints)
        self._directory_id = directory_id
        snapshot = await self._store.watch(self._apply)
        events = [Event(*entry) for entry in snapshot.entries]
        # Before anybody hears of the image: whoever follows it takes logs out that are not in it.
        _check_whose_data_it_is(events, cluster_id, find_foreign_data)
        self._apply(Batch(snapshot.revision, events, is_reset=True))
        try:
            await self._enter(cluster_id, after_unclean_stop, previous_broker_epoch)
        except KafkaError as error:
            if error.code is not ErrorCode.DUPLICATE_BROKER_REGISTRATION:
                raise
            await self._enter_when_lease_ended(cluster_id)

    async def run(self) -> None:
        """Keep the registration alive and follow the store, until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._store.run)
            while True:
                await self._next_heartbeat()
                try:
                    await self._keep_alive()
                except (StorageError, KafkaError) as error:
                    logger.warning("cannot tell the store that this broker lives: %s", error)  # tried anew

    async def _next_heartbeat(self) -> None:
        timer = self._clock.call_later(self._config.broker_heartbeat_interval_ms, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()
        self._wake = anyio.Event()

    async def hand_over(self) -> None:
        """Begin a controlled shutdown: return when this broker leads nothing and is in no ISR, or after a limited time.

        Nothing happens where no other broker could take over anything.
        """
        over = anyio.Event()

        def look(image: MetadataImage, delta: ImageDelta) -> None:
            if not self._has_to_hand_over():
                over.set()

        if not self._has_to_hand_over():
            return
        timer = self._clock.call_later(self._config.pykbroker_controlled_shutdown_timeout_ms, over.set)
        self.on_image.append(look)
        try:
            await self.propose(lambda image: begin_shutdown(image, self.broker_id, self._lease))
            await over.wait()
        except KafkaError as error:
            logger.warning("stopping without handing over: %s", error)
        finally:
            timer.cancel()
            self.on_image.remove(look)

    def _has_to_hand_over(self) -> bool:
        me = self.broker_id
        if not self.image.active_brokers - {me}:
            return False
        return any(
            me == partition.leader or me in partition.isr
            for topic in self.image.topics.values()
            for partition in topic.partitions
        )

    async def stop(self) -> None:
        """Leave the cluster and close the store."""
        self._is_stopped = True
        try:
            async with self._heartbeat:  # it may be registering again
                lease, self._lease = self._lease, NO_LEASE
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

    async def decide(self, change: Callable[[MetadataImage], Change], *, validate_only: bool = False) -> None:
        """Propose what a client asks for, or only let `change` look at the image.

        Kafka's controller decides by all that was written before; what other brokers wrote just now is waited for.
        Raises: see `propose`.
        """
        try:
            await self._store.catch_up()
        except StorageError as error:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, str(error)) from error
        if validate_only:
            change(self.image)
        else:
            await self.propose(change)

    async def forget_everything(self) -> MetadataImage:
        """Leave a cluster as it was founded, with the brokers that are registered; return an image that says so."""
        return await self.propose(lambda image: empty_cluster(image, FINALIZED_AT_FOUNDING, self._founding_configs()))

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
            conditions = list(dict.fromkeys(made.conditions))  # a change of many partitions repeats itself
            result = await self._store.txn(conditions, made.operations)
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
        if self._lease != NO_LEASE and self._needs_attention():
            self._wake.set()
        for callback in list(self.on_image):
            callback(self.image, delta)

    def _needs_attention(self) -> bool:
        me = self.me
        if me is None or me.fenced:
            self.lease_ends_ms = 0.0  # others may be leading already
            return True
        return self.image.controller_id == NO_BROKER and not me.is_stopping

    # Registration

    async def _enter(self, cluster_id: str | None, is_unclean: bool, previous_broker_epoch: int | None) -> None:
        if (before := self.me) is not None:
            if not before.fenced and before.directory_id and before.directory_id == self._directory_id:
                await self._propose(lambda image: fence_broker(image, self.broker_id, before.epoch))
            if is_unclean or previous_broker_epoch not in (None, before.epoch):
                await self._leave_in_sync_replicas()
        await self._register(cluster_id)

    async def _leave_in_sync_replicas(self) -> None:
        """While this broker is still fenced, take it out of the ISRs and ELRs that it was in before an unclean stop."""
        me, size = self.broker_id, self._config.pykbroker_partitions_per_transaction

        from pykbroker.cluster.partition_changes import after_unclean_stop

        def is_in(partition: PartitionImage) -> bool:
            return me in partition.isr or me in partition.elr

        found = [
            (topic.id, index)
            for topic in self.image.topics.values()
            for index, partition in enumerate(topic.partitions)
            if is_in(partition)
        ]

        def leave(image: MetadataImage, batch: Sequence[tuple[Uuid, int]]) -> Change:
            change = Change()
            for topic_id, index in batch:
                if (topic := image.topic_by_id(topic_id)) is not None:
                    change += after_unclean_stop(image, topic, index, me)
            if alive_key(me) in image.key_revisions:
                raise KafkaError(ErrorCode.DUPLICATE_BROKER_REGISTRATION, f"a living broker has the id {me}")
            change.conditions.append(Condition(alive_key(me), 0))
            return change

        for start in range(0, len(found), size):
            batch = found[start : start + size]
            await self._propose(lambda image, batch=batch: leave(image, batch))  # type: ignore[misc]

    async def _register(self, cluster_id: str | None) -> None:
        """One transaction: found the cluster if there is none, register, become the controller if there is none."""
        # Raises while another one has this id, without a lease for nothing.
        register_broker(self.image, self.broker_id, self._config.broker_rack, self._endpoints, NO_LEASE)
        asked_ms = self._clock.monotonic_ms()
        lease = await self._store.grant_lease(self._config.broker_session_timeout_ms)
        founding_id = cluster_id or uuid_text(random_uuid())

        def change(image: MetadataImage) -> Change:
            made = found_cluster(image, founding_id, FINALIZED_AT_FOUNDING, self._founding_configs())
            made += register_broker(
                image,
                self.broker_id,
                self._config.broker_rack,
                self._endpoints,
                lease,
                incarnation_id=self._incarnation_id,
                directory_id=self._directory_id,
            )
            made += become_controller(image, self.broker_id, lease)
            return made

        await self._propose(change)
        self._lease = lease
        self.lease_ends_ms = asked_ms + self._config.broker_session_timeout_ms

    def _founding_configs(self) -> dict[str, str]:
        # Kafka sets this when it founds a cluster with eligible leader replicas (KIP-966), so that it is never unset.
        return {"min.insync.replicas": str(self._config.min_insync_replicas)}

    async def _enter_when_lease_ended(self, cluster_id: str | None) -> None:
        """An earlier process of this broker was killed: wait until its lease has ended, as long as that may take."""
        deadline = self._clock.monotonic_ms() + 2 * self._config.broker_session_timeout_ms
        failure: KafkaError | StorageError | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._store.run)
            while True:
                await self._clock.sleep(self._config.broker_heartbeat_interval_ms / 10)
                try:
                    await self._enter(cluster_id, is_unclean=True, previous_broker_epoch=None)
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
        async with self._heartbeat:
            if not self._is_stopped:
                await self._renew()

    async def _renew(self) -> None:
        asked_ms = self._clock.monotonic_ms()
        lease_held = await self._store.keep_alive(self._lease)
        me = self.me
        if lease_held and me is not None and not me.fenced:
            self.lease_ends_ms = asked_ms + self._config.broker_session_timeout_ms
            if self.image.controller_id == NO_BROKER:
                await self._propose(lambda image: become_controller(image, self.broker_id, self._lease))
            return
        try:
            await self._register_again(lease_held)
        except KafkaError as error:
            if error.code is not ErrorCode.DUPLICATE_BROKER_REGISTRATION:
                raise
            logger.warning("cannot register again yet: %s", error)

    async def _register_again(self, lease_held: bool) -> None:
        logger.info("broker %d was fenced and registers again", self.broker_id)
        lost, self._lease = self._lease, NO_LEASE
        try:
            if lease_held:
                await self._store.revoke_lease(lost)
            await self._register(None)
        finally:
            if self._lease == NO_LEASE and not self._is_stopped:
                self._lease = lost  # so that the next heartbeat tries again


def _check_whose_data_it_is(
    events: Sequence[Event], cluster_id: str | None, find_foreign_data: Callable[[], str]
) -> None:
    """Compare the cluster in the store with that of the data folders. Raises: StorageError."""
    founded = [event for event in events if event.key == CLUSTER_KEY]
    store_id = apply(EMPTY, Batch(0, founded, is_reset=True))[0].cluster_id
    if cluster_id and store_id and cluster_id != store_id:
        raise StorageError(f"the data belongs to cluster {cluster_id}, the store to {store_id}")
    if not store_id and (foreign_data := find_foreign_data()):
        raise StorageError(foreign_data)

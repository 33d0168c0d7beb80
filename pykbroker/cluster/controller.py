"""The controller: makes leaders and ISRs agree with which brokers are active. It runs on the broker with that role.

Owns: what is still to be examined.

Rules
- It only reacts to the image: to brokers that come, go or stop, to partitions that were created or changed while that
  happened, to unclean elections being allowed. Becoming the controller it examines everything once.
- Every decision is made on the current image, for as many partitions as one transaction takes, and written under the
  condition that this broker still is the controller: the writes of one that was deposed fail.
- What fails is decided anew. One task does it all; more news only add to what is to be examined.
- Preferred leaders get their partitions back every `leader.imbalance.check.interval.seconds`.

Not here: what the next state of a partition is (partition_changes), who lives (membership, liveness), reassignments,
which end with the leader's proposal of an ISR.
Sources: Kafka's QuorumController and ReplicationControlManager.
"""

import logging
from collections.abc import Callable, Iterable, Sequence

import anyio

from pykbroker.clock import Clock
from pykbroker.cluster.changes import Change
from pykbroker.cluster.image import NO_BROKER, ConfigResourceType, ImageDelta, MetadataImage, PartitionImage, TopicImage
from pykbroker.cluster.keys import CONTROLLER_KEY
from pykbroker.cluster.membership import Cluster
from pykbroker.cluster.store import Condition
from pykbroker.config import BrokerConfig
from pykbroker.errors import KafkaError
from wire.schema import Uuid

logger = logging.getLogger("pykbroker.controller")

PartitionId = tuple[Uuid, int]
Decision = Callable[[MetadataImage, TopicImage, int], PartitionImage]

MAX_ELECTIONS_PER_IMBALANCE = 1000  # as in Kafka: more wait for the next check
MAX_LOGGED_TOPICS = 20  # of one change


class Controller:
    def __init__(self, cluster: Cluster, config: BrokerConfig, clock: Clock) -> None:
        """Takes part from the first image on that `on_image` is told of."""
        self._cluster = cluster
        self._config = config
        self._clock = clock
        self._examine_all = False
        self._waiting: dict[PartitionId, None] = {}
        self._rebalance = False
        self._news = anyio.Event()

    def on_image(self, image: MetadataImage, delta: ImageDelta) -> None:
        if not self._cluster.is_controller:
            self._waiting.clear()
            self._examine_all = self._rebalance = False
            return
        if not delta.controller_changed:  # else it is no change, but what was there already
            _log_changes(image, delta)
        if delta.controller_changed or delta.brokers or _may_allow_unclean_elections(delta):
            self._examine_all = True
        else:
            # A topic may have been created, or an ISR enlarged, by someone who did not know yet that a broker is gone.
            active = image.active_brokers
            for topic in delta.created_topics:
                self._wait_for(topic, range(len(topic.partitions)), active)
            for topic, index in delta.changed_partitions:
                self._wait_for(topic, (index,), active)
        if self._examine_all or self._waiting:
            self._news.set()

    def _wait_for(self, topic: TopicImage, indexes: Iterable[int], active: frozenset[int]) -> None:
        for index in indexes:
            if not topic.partitions[index].is_settled(active):
                self._waiting[topic.id, index] = None

    async def run(self) -> None:
        """Do what is to be done, until cancelled."""
        async with anyio.create_task_group() as tasks:
            if self._config.auto_leader_rebalance_enable:
                tasks.start_soon(self._ask_for_rebalances)
            while True:
                await self._news.wait()
                self._news = anyio.Event()
                try:
                    await self._work()
                except KafkaError as error:
                    logger.warning("the controller could not write its decisions, and tries again: %s", error)
                    self._examine_all = True
                    self._news.set()
                    await self._clock.sleep(self._config.broker_heartbeat_interval_ms / 4)

    async def _ask_for_rebalances(self) -> None:
        while True:
            await self._clock.sleep(self._config.leader_imbalance_check_interval_seconds * 1000)
            if self._cluster.is_controller:
                self._rebalance = True
                self._news.set()

    async def _work(self) -> None:
        while self._cluster.is_controller and (self._examine_all or self._waiting):
            if self._examine_all:
                self._examine_all = False
                self._waiting = dict.fromkeys(_unsettled(self._cluster.image))
            waiting, self._waiting = list(self._waiting), {}
            await self._decide(waiting, self._settled)
        if self._rebalance and self._cluster.is_controller:
            self._rebalance = False
            await self._decide(_imbalanced(self._cluster.image), _with_preferred_leader)

    def _settled(self, image: MetadataImage, topic: TopicImage, index: int) -> PartitionImage:
        from pykbroker.cluster.partition_changes import allows_unclean_election, settled

        unclean = allows_unclean_election(image, topic.name, self._config.unclean_leader_election_enable)
        return settled(image, topic, index, unclean=unclean)

    async def _decide(self, partitions: Sequence[PartitionId], decision: Decision) -> None:
        """Write what `decision` makes of these partitions, several of them in one transaction."""
        size = self._config.pykbroker_partitions_per_transaction
        for start in range(0, len(partitions), size):
            batch = partitions[start : start + size]
            changed = 0

            def change(image: MetadataImage, batch: Sequence[PartitionId] = batch) -> Change:
                nonlocal changed
                made = self._change(image, batch, decision)
                changed = len(made.operations)
                return made

            await self._cluster.propose(change)
            if changed:
                logger.info("leaders or ISRs of %d partitions were changed", changed)

    def _change(self, image: MetadataImage, batch: Sequence[PartitionId], decision: Decision) -> Change:
        # Imported with the first decision: a broker alone starts without.
        from pykbroker.cluster.partition_changes import put_partition

        if image.controller_id != self._cluster.broker_id:
            return Change()
        change = Change([Condition(CONTROLLER_KEY, image.key_revisions[CONTROLLER_KEY])])
        for topic_id, index in batch:
            topic = image.topic_by_id(topic_id)
            if topic is not None:
                change += put_partition(image, topic, index, decision(image, topic, index))
        return change


def _may_allow_unclean_elections(delta: ImageDelta) -> bool:
    return any(kind in (ConfigResourceType.TOPIC, ConfigResourceType.BROKER) for kind, _ in delta.configs)


def _unsettled(image: MetadataImage) -> Iterable[PartitionId]:
    active = image.active_brokers
    for topic in image.topics.values():
        for index, partition in enumerate(topic.partitions):
            if not partition.is_settled(active):
                yield topic.id, index


def _imbalanced(image: MetadataImage) -> list[PartitionId]:
    """Return partitions that are not led by their first replica although it may lead them."""
    found = [
        (topic.id, index)
        for topic in image.topics.values()
        for index, partition in enumerate(topic.partitions)
        if partition.leader != partition.replicas[0]
        and partition.replicas[0] in partition.isr
        and partition.replicas[0] in image.active_brokers
    ]
    return found[:MAX_ELECTIONS_PER_IMBALANCE]


def _with_preferred_leader(image: MetadataImage, topic: TopicImage, index: int) -> PartitionImage:
    from pykbroker.cluster.partition_changes import Election, circumstances, next_state

    old = topic.partitions[index]
    if old.leader == NO_BROKER:
        return old  # an election of another kind is due
    return next_state(old, circumstances(image, topic, election=Election.PREFERRED))


def _log_changes(image: MetadataImage, delta: ImageDelta) -> None:
    for what, topics in (("deleted", delta.deleted_topics), ("created", delta.created_topics)):
        if topics:
            told = ", ".join(f"{topic.name} ({len(topic.partitions)})" for topic in topics[:MAX_LOGGED_TOPICS])
            more = f" and {len(topics) - MAX_LOGGED_TOPICS} more" if len(topics) > MAX_LOGGED_TOPICS else ""
            logger.info("topics (partitions) %s: %s%s", what, told, more)
    if delta.brokers:
        logger.info("active brokers: %s", ", ".join(map(str, sorted(image.active_brokers))) or "none")

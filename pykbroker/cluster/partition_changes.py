"""The next state of a partition: who is in sync, who leads, and when epochs go up. Pure decisions on `PartitionImage`.

Rules
- A leader comes from the ISR; where the ISR is empty, from the ELR; where both are empty, the last known leader may
  lead again. Anybody else only where `unclean.leader.election.enable` holds. Without anyone the leader is -1.
- The first in the order of the replicas that may lead does; a leader that still may stays, but for preferred elections.
- While the ISR is smaller than the min ISR, what leaves it goes to the ELR: nothing was acknowledged without it. The
  ELR ends when the ISR is large enough again. A replica that stopped uncleanly is in neither.
- The leader epoch goes up when the leader changes and when replicas are taken away; the partition epoch with each
  change. A smaller ISR alone leaves the leader epoch as it is.
- A reassignment ends in the step in which the ISR has all replicas that shall remain.
- The ELR stands on the min ISR that is in force: a change that adds to it is conditional on the configurations, and one
  that alters the min ISR decides the ELRs anew in the same transaction (`write_configs`).

Not here: reassignments that a client asks for (reassignments), when to look at a partition (controller).
Sources: Kafka's PartitionChangeBuilder, PartitionReassignmentReplicas and ReplicationControlManager; KIP-455, KIP-966.
"""

import enum
from collections.abc import Collection, Iterable, Mapping, Sequence

import attrs

from pykbroker.cluster.changes import Change, set_configs
from pykbroker.cluster.image import (
    NO_BROKER,
    ConfigResource,
    ConfigResourceType,
    MetadataImage,
    PartitionImage,
    TopicImage,
)
from pykbroker.cluster.keys import alive_key, config_key, partition_key, partition_value, topic_key
from pykbroker.cluster.store import Condition, Put
from pykbroker.errors import KafkaError
from wire.errors import ErrorCode
from wire.schema import Uuid

ELR_FEATURE = "eligible.leader.replicas.version"
MIN_ISR = "min.insync.replicas"
UNCLEAN_ELECTION = "unclean.leader.election.enable"


class Election(enum.Enum):
    PREFERRED = enum.auto()  # the first replica if it may lead
    ONLINE = enum.auto()  # a leader that may stay does
    UNCLEAN = enum.auto()  # as ONLINE, but any active replica rather than none


@attrs.frozen
class Circumstances:
    """What a decision about one partition depends on besides its own state."""

    active: frozenset[int]  # the brokers that may lead and be in sync
    min_isr: int = 1
    has_elr: bool = True
    election: Election = Election.ONLINE


def next_state(
    old: PartitionImage,
    given: Circumstances,
    *,
    isr: Iterable[int] | None = None,
    replicas: Sequence[int] | None = None,
    adding: Sequence[int] | None = None,
    removing: Sequence[int] | None = None,
    unclean: int = NO_BROKER,
) -> PartitionImage:
    """Return the state when these parts are to be so; `old` itself if nothing is different.

    `unclean` is a broker that stopped uncleanly: it is taken out of ISR and ELR.
    """
    step = _Step(
        old,
        given,
        replicas=old.replicas if replicas is None else tuple(replicas),
        isr=tuple(broker_id for broker_id in (old.isr if isr is None else isr) if broker_id != unclean),
        adding=old.adding_replicas if adding is None else tuple(adding),
        removing=old.removing_replicas if removing is None else tuple(removing),
    )
    step.complete_reassignment()
    step.decide_elr(unclean)
    step.elect()
    return step.finish()


@attrs.define
class _Step:
    old: PartitionImage
    given: Circumstances
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    adding: tuple[int, ...]
    removing: tuple[int, ...]
    elr: tuple[int, ...] = ()
    leader: int = NO_BROKER
    is_unclean: bool = False

    def complete_reassignment(self) -> None:
        if not self.adding and not self.removing:
            return
        isr = _without(self.isr, self.removing)
        replicas = _without(self.replicas, self.removing)
        if isr and replicas and set(isr).issuperset(replicas):
            self.isr, self.replicas, self.adding, self.removing = isr, replicas, (), ()

    def decide_elr(self, unclean: int) -> None:
        if not self.given.has_elr:
            # The feature was switched off: what the ELR was still tells who may lead, and is not kept.
            self.elr = _without(self.old.elr, (unclean,))
            return
        if len(self.isr) >= min(self.given.min_isr, len(self.replicas)):
            return
        candidates = {*self.old.elr, *self.old.isr}.intersection(self.replicas)
        self.elr = tuple(sorted(candidates.difference(self.isr, (unclean,))))

    def elect(self) -> None:
        self.leader = self._elected()
        if self.leader in (NO_BROKER, self.old.leader):
            return
        if self.is_unclean:
            self.isr, self.elr = (self.leader,), ()
        elif self.leader in self.elr:
            self.isr, self.elr = (self.leader,), _without(self.elr, (self.leader,))

    def _elected(self) -> int:
        if self.given.election is not Election.PREFERRED and self._may_lead(self.old.leader):
            return self.old.leader
        if self.given.election is Election.PREFERRED:
            for broker_id in (self.replicas[0], self.old.leader):
                if self._may_lead(broker_id):
                    return broker_id
        for broker_id in self.replicas:
            if self._may_lead(broker_id):
                return broker_id
        self.is_unclean = True
        if (last := self._last_known_leader()) in self.given.active:
            return last
        if self.given.election is Election.UNCLEAN:
            for broker_id in self.replicas:
                if broker_id in self.given.active:
                    return broker_id
        return NO_BROKER

    def _may_lead(self, broker_id: int) -> bool:
        # The ISR comes first: a member of the ELR may lack what the ISR got since, though none of it was acknowledged.
        return broker_id in (self.isr or self.elr) and broker_id in self.given.active

    def _last_known_leader(self) -> int:
        if not self.given.has_elr or self.isr or self.elr or len(self.old.last_known_elr) != 1:
            return NO_BROKER
        (last,) = self.old.last_known_elr
        return last if last in self.replicas else NO_BROKER

    def finish(self) -> PartitionImage:
        old = self.old
        if not self.isr and not self.given.has_elr:
            self.isr = old.isr  # without ELR the last member stays, so that it is known who may lead again
        loses_replicas = not set(self.replicas).issuperset(old.replicas)
        made = attrs.evolve(
            old,
            leader=self.leader,
            leader_epoch=old.leader_epoch + (self.leader != old.leader or loses_replicas),
            replicas=self.replicas,
            isr=old.isr if set(self.isr) == set(old.isr) else self.isr,
            elr=self.elr if self.given.has_elr else (),
            last_known_elr=self._last_known_after(),
            adding_replicas=self.adding,
            removing_replicas=self.removing,
        )
        return old if made == old else attrs.evolve(made, partition_epoch=old.partition_epoch + 1)

    def _last_known_after(self) -> tuple[int, ...]:
        """The field names who led last, from when the ISR ran empty until somebody leads again."""
        if self.leader != NO_BROKER or not self.given.has_elr:
            return ()
        if not self.isr and self.old.isr and self.old.leader != NO_BROKER:
            return (self.old.leader,)
        return self.old.last_known_elr


def _without(broker_ids: Iterable[int], removed: Collection[int]) -> tuple[int, ...]:
    return tuple(broker_id for broker_id in broker_ids if broker_id not in removed)


# From the image


def circumstances(
    image: MetadataImage, topic: TopicImage, *, unclean: bool = False, election: Election | None = None
) -> Circumstances:
    """Gather what decides about the partitions of a topic. `unclean`: unclean elections are allowed for it."""
    return Circumstances(
        active=image.active_brokers,
        min_isr=min_isr(image, topic.name),
        has_elr=image.features.get(ELR_FEATURE, 0) > 0,
        election=election or (Election.UNCLEAN if unclean else Election.ONLINE),
    )


def min_isr(image: MetadataImage, topic: str) -> int:
    """Return the min ISR in force. The cluster has a default of its own since it was founded."""
    default = image.config(ConfigResourceType.BROKER, "").get(MIN_ISR, "1")
    return int(image.config(ConfigResourceType.TOPIC, topic).get(MIN_ISR, default))


def allows_unclean_election(image: MetadataImage, topic: str, default: bool) -> bool:
    text = image.config(ConfigResourceType.TOPIC, topic).get(UNCLEAN_ELECTION)
    return default if text is None else text.strip().lower() == "true"


def settled(image: MetadataImage, topic: TopicImage, index: int, *, unclean: bool) -> PartitionImage:
    """Return the state as it has to be with the brokers that are active now: nobody else is in sync or leads."""
    old = topic.partitions[index]
    active = image.active_brokers
    isr = old.isr if active.issuperset(old.isr) else tuple(filter(active.__contains__, old.isr))
    return next_state(old, circumstances(image, topic, unclean=unclean), isr=isr)


def put_partition(image: MetadataImage, topic: TopicImage, index: int, state: PartitionImage) -> Change:
    """Write a state that was decided on this image, if nobody else has changed the partition meanwhile."""
    old = topic.partitions[index]
    if state is old:
        return Change()
    key = partition_key(topic.id, index)
    # The topic's key guards against its deletion; its own key against another change of the state.
    change = Change(
        [Condition(topic_key(topic.name), topic.revision), Condition(key, old.revision)],
        [Put(key, partition_value(state))],
    )
    if not set(old.elr).issuperset(state.elr):
        change.conditions += [
            Condition(key, image.key_revisions.get(key, 0))
            for key in map(config_key, ((ConfigResourceType.TOPIC, topic.name), (ConfigResourceType.BROKER, "")))
        ]
    return change


# Decisions of leaders and of brokers


def alter_isr(
    image: MetadataImage,
    topic_id: Uuid,
    index: int,
    *,
    broker_id: int,
    leader_epoch: int,
    partition_epoch: int,
    isr: Sequence[int],
    broker_epochs: Mapping[int, int] | None = None,
) -> Change:
    """Change the ISR as a partition's leader, `broker_id`, proposes it.

    `broker_epochs` are those that the followers fetched with: who has registered anew since may have lost its data
    (KIP-903). The change is conditional on the leader and those that come in being alive, whatever this image says.

    Raises: UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION, FENCED_LEADER_EPOCH, NOT_LEADER_OR_FOLLOWER,
    INVALID_UPDATE_VERSION (the partition has changed; wait for the image), INVALID_REQUEST, INELIGIBLE_REPLICA.
    """
    topic = image.topic_by_id(topic_id)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_ID)
    if not 0 <= index < len(topic.partitions):
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    old = topic.partitions[index]
    if leader_epoch < old.leader_epoch:
        raise KafkaError(ErrorCode.FENCED_LEADER_EPOCH)
    if leader_epoch > old.leader_epoch or old.leader != broker_id:
        raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    if partition_epoch != old.partition_epoch:
        raise KafkaError(ErrorCode.INVALID_UPDATE_VERSION)
    if broker_id not in isr or len(set(isr)) < len(isr) or not set(old.replicas).issuperset(isr):
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"{list(isr)} cannot be the ISR of {topic.name}-{index}")
    _check_eligible(image, isr, broker_epochs or {})
    change = put_partition(image, topic, index, next_state(old, circumstances(image, topic), isr=isr))
    if change.operations:
        change += _while_alive(image, {broker_id, *isr}.difference(_without(old.isr, (broker_id,))))
    return change


def _check_eligible(image: MetadataImage, isr: Iterable[int], broker_epochs: Mapping[int, int]) -> None:
    for broker_id in isr:
        broker = image.brokers.get(broker_id)
        if broker is None or broker_id not in image.active_brokers:
            raise KafkaError(ErrorCode.INELIGIBLE_REPLICA, f"broker {broker_id} is fenced, stopping or unknown")
        if broker_epochs.get(broker_id, -1) not in (-1, broker.epoch):
            raise KafkaError(ErrorCode.INELIGIBLE_REPLICA, f"broker {broker_id} has been registered anew")


def _while_alive(image: MetadataImage, broker_ids: Iterable[int]) -> Change:
    keys = [alive_key(broker_id) for broker_id in sorted(broker_ids)]
    return Change([Condition(key, image.key_revisions.get(key, 0)) for key in keys])


def after_unclean_stop(image: MetadataImage, topic: TopicImage, index: int, broker_id: int) -> Change:
    """Take a broker that comes back from an unclean stop out of ISR and ELR: it may have lost what others have.

    Where nobody else may lead, and it was the last to do so, it leads again with what it still has, and with a new
    leader epoch: clients find out by that if what they had read is gone (KIP-320).
    """
    old = topic.partitions[index]
    if broker_id not in (*old.isr, *old.elr):
        return Change()
    given = circumstances(image, topic)
    given = attrs.evolve(given, active=given.active - {broker_id})
    isr = _without(old.isr, (broker_id,))
    state = next_state(old, given, isr=filter(image.active_brokers.__contains__, isr), unclean=broker_id)
    if state.leader == NO_BROKER and not state.elr and _led_last(old, broker_id):
        state = attrs.evolve(
            state,
            leader=broker_id,
            leader_epoch=old.leader_epoch + 1,
            isr=(broker_id,),
            last_known_elr=(),
            partition_epoch=old.partition_epoch + 1,
        )
    return put_partition(image, topic, index, state)


def _led_last(partition: PartitionImage, broker_id: int) -> bool:
    return broker_id == partition.leader or partition.last_known_elr == (broker_id,)


def write_configs(image: MetadataImage, resource: ConfigResource, values: Mapping[str, str]) -> Change:
    """Write all that is set for a resource, and the ELRs that follow from another min ISR.

    Where less is demanded than before, the ISR may acknowledge by itself what members of the ELR do not have.
    """
    change = set_configs(image, resource, values)
    kind, name = resource
    before = image.config(kind, name).get(MIN_ISR)
    is_of_topics = kind is ConfigResourceType.TOPIC or resource == (ConfigResourceType.BROKER, "")
    if not is_of_topics or before == values.get(MIN_ISR):
        return change
    after = attrs.evolve(image, configs={**image.configs, resource: values})
    topics = image.topics.values() if kind is ConfigResourceType.BROKER else [image.topics[name]]
    for topic in topics:
        given = circumstances(after, topic)
        for index, old in enumerate(topic.partitions):
            if old.elr:
                change += put_partition(image, topic, index, next_state(old, given))
    return change

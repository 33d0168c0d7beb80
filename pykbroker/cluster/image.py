"""The metadata of the cluster as one immutable value: brokers, topics, partitions, configurations.

Rules
- An image never changes; the next one shares with it all that stayed the same. A topic holds a tuple of partitions, and
  partitions in the same state are one object, so that an image of very many partitions is small.
- A delta tells what a step changed, so that nobody has to walk the image to find out.

Not here: how the store's events make the next image (apply), which changes are allowed (changes).
Sources: Kafka's MetadataImage and MetadataDelta.
"""

import enum
from collections.abc import Mapping
from functools import cached_property

import attrs

from pykbroker.cluster.topic_names import INTERNAL_TOPICS
from pykbroker.config import Endpoint
from wire.schema import Uuid

NO_BROKER = -1


class ConfigResourceType(enum.IntEnum):
    UNKNOWN = 0
    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


ConfigResource = tuple[ConfigResourceType, str]
QuotaEntity = tuple[tuple[str, str | None], ...]  # ("client-id", "ip", "user", in this order; name, None: the default)


@attrs.frozen
class BrokerImage:
    id: int
    rack: str | None
    listeners: Mapping[str, Endpoint]  # as advertised, by listener name
    epoch: int
    fenced: bool
    is_stopping: bool = False  # in a controlled shutdown: it gives up what it leads
    incarnation_id: str = ""  # of its process, while it is not fenced
    directory_id: str = ""  # of its first log directory, while it is not fenced

    def endpoint_for_brokers(self, listener: str) -> Endpoint | None:
        """Return where other brokers reach this one: the listener of that name, else its first; None: it has none."""
        return self.listeners.get(listener) or next(iter(self.listeners.values()), None)


@attrs.frozen
class PartitionImage:
    """The state of a partition. `revision` is that of its own key; 0: it is as its topic's key created it."""

    leader: int
    leader_epoch: int
    partition_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    elr: tuple[int, ...] = ()
    last_known_elr: tuple[int, ...] = ()
    adding_replicas: tuple[int, ...] = ()
    removing_replicas: tuple[int, ...] = ()
    revision: int = 0

    @classmethod
    def created(cls, replicas: tuple[int, ...]) -> "PartitionImage":
        return cls(replicas[0], 0, 0, replicas, replicas)

    def is_settled(self, active: frozenset[int]) -> bool:
        """Tell quickly whether no decision is due (partition_changes.settled); False: one may be."""
        return self.leader in active and active.issuperset(self.isr)


@attrs.frozen
class TopicImage:
    name: str
    id: Uuid
    partitions: tuple[PartitionImage, ...]
    revision: int

    @property
    def is_internal(self) -> bool:
        return self.name in INTERNAL_TOPICS


@attrs.frozen
class MetadataImage:
    """Everything that brokers agree on, at one revision of the store."""

    revision: int = 0
    cluster_id: str = ""
    controller_id: int = NO_BROKER
    brokers: Mapping[int, BrokerImage] = attrs.field(factory=dict)
    topics: Mapping[str, TopicImage] = attrs.field(factory=dict)
    topic_names_by_id: Mapping[Uuid, str] = attrs.field(factory=dict)
    collision_names: Mapping[str, str] = attrs.field(factory=dict)  # of topics with "." or "_" in their name
    configs: Mapping[ConfigResource, Mapping[str, str]] = attrs.field(factory=dict)
    client_quotas: Mapping[QuotaEntity, Mapping[str, float]] = attrs.field(factory=dict)
    features: Mapping[str, int] = attrs.field(factory=dict)
    next_producer_id: int = 0
    key_revisions: Mapping[str, int] = attrs.field(factory=dict)  # of all keys but topics and partitions

    def topic_by_id(self, topic_id: Uuid) -> TopicImage | None:
        name = self.topic_names_by_id.get(topic_id)
        return None if name is None else self.topics[name]

    def partition(self, topic: str, partition: int) -> PartitionImage | None:
        found = self.topics.get(topic)
        return found.partitions[partition] if found and 0 <= partition < len(found.partitions) else None

    def config(self, resource_type: ConfigResourceType, name: str) -> Mapping[str, str]:
        return self.configs.get((resource_type, name), {})

    @cached_property
    def active_brokers(self) -> frozenset[int]:
        """The brokers that may lead and be in sync: neither fenced nor stopping."""
        return frozenset(broker.id for broker in self.brokers.values() if not broker.fenced and not broker.is_stopping)

    def alive_brokers(self) -> list[BrokerImage]:
        return [broker for _, broker in sorted(self.brokers.items()) if not broker.fenced]


EMPTY = MetadataImage()


@attrs.frozen
class ImageDelta:
    """What the step to an image changed. A topic that was deleted and created again is in both lists."""

    created_topics: tuple[TopicImage, ...] = ()
    deleted_topics: tuple[TopicImage, ...] = ()
    changed_partitions: tuple[tuple[TopicImage, int], ...] = ()  # in other topics; also the partitions added to them
    configs: frozenset[ConfigResource] = frozenset()
    brokers: frozenset[int] = frozenset()
    client_quotas_changed: bool = False
    controller_changed: bool = False

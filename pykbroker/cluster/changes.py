"""What may be changed in the metadata, as pure functions: an image and the facts of a request make a `Change`.

Rules
- A function raises KafkaError, or returns what is to be written and the conditions under which it was decided.
- Changes add up with `+=`, so that a request for many topics is one transaction. Later ones of a request do not see
  earlier ones: the handlers refuse requests that name a topic twice.

Not here: validation of a request's own fields, which is the handlers' (topics, configs); placement; who proposes.
Sources: Kafka's ReplicationControlManager (which errors, in which order).
"""

from collections.abc import Iterable, Mapping, Sequence

import attrs

from pykbroker.cluster.image import (
    NO_BROKER,
    ConfigResource,
    ConfigResourceType,
    MetadataImage,
    PartitionImage,
    TopicImage,
)
from pykbroker.cluster.keys import (
    ALIVE_PREFIX,
    ALL_PARTITIONS_PREFIX,
    BROKERS_PREFIX,
    CLUSTER_KEY,
    CONTROLLER_KEY,
    FEATURES_KEY,
    PRODUCER_IDS_KEY,
    TOPICS_PREFIX,
    alive_key,
    alive_value,
    broker_key,
    broker_value,
    collision_name,
    config_key,
    partition_key,
    partition_value,
    partitions_prefix,
    to_json,
    topic_key,
    topic_value,
)
from pykbroker.cluster.store import Condition, Delete, DeletePrefix, Operation, Put
from pykbroker.config import Endpoint
from pykbroker.errors import KafkaError
from wire.errors import ErrorCode
from wire.schema import Uuid

PRODUCER_ID_BLOCK = 1000


@attrs.define
class Change:
    conditions: list[Condition] = attrs.field(factory=list)
    operations: list[Operation] = attrs.field(factory=list)

    def __iadd__(self, other: "Change") -> "Change":
        self.conditions += other.conditions
        self.operations += other.operations
        return self


# Topics


def create_topic(
    image: MetadataImage,
    name: str,
    topic_id: Uuid,
    replicas: Sequence[tuple[int, ...]],
    configs: Mapping[str, str],
) -> Change:
    """Create a topic with these replicas of each partition; the name and the configs were checked.

    Raises: TOPIC_ALREADY_EXISTS; INVALID_TOPIC_EXCEPTION if the name collides with another; INVALID_REPLICATION_FACTOR
    if no replica of a partition is alive.
    """
    check_topic_is_new(image, name)
    change = Change([Condition(topic_key(name), 0)], [Put(topic_key(name), topic_value(name, topic_id, replicas))])
    for index, ids in enumerate(replicas):
        isr = tuple(broker_id for broker_id in ids if broker_id in image.active_brokers)
        if not isr:
            raise KafkaError(
                ErrorCode.INVALID_REPLICATION_FACTOR,
                f"no broker that partition {index} was assigned to is alive",
            )
        if isr != ids:
            state = PartitionImage(isr[0], 0, 0, ids, isr)
            change.operations.append(Put(partition_key(topic_id, index), partition_value(state)))
    if configs:
        key = config_key((ConfigResourceType.TOPIC, name))
        change.operations.append(Put(key, to_json(dict(configs))))
    return change


def check_topic_is_new(image: MetadataImage, name: str) -> None:
    if name in image.topics:
        raise KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, f"there is a topic {name} already")
    other = image.collision_names.get(collision_name(name))
    if other is not None:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"{name} is too much like the topic {other}")


def delete_topic(image: MetadataImage, topic: TopicImage) -> Change:
    change = Change(
        [Condition(topic_key(topic.name), topic.revision)],
        [Delete(topic_key(topic.name)), DeletePrefix(partitions_prefix(topic.id))],
    )
    resource = (ConfigResourceType.TOPIC, topic.name)
    if resource in image.configs:
        change.operations.append(Delete(config_key(resource)))
    return change


def create_partitions(image: MetadataImage, topic: TopicImage, added: Sequence[tuple[int, ...]]) -> Change:
    """Add partitions with these replicas behind the existing ones."""
    replicas = [partition.replicas for partition in topic.partitions]
    change = Change(
        [Condition(topic_key(topic.name), topic.revision)],
        [Put(topic_key(topic.name), topic_value(topic.name, topic.id, [*replicas, *added]))],
    )
    for index, ids in enumerate(added, start=len(replicas)):
        isr = tuple(broker_id for broker_id in ids if broker_id in image.active_brokers)
        if not isr:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"no broker that partition {index} was assigned to is alive",
            )
        if isr != ids:
            state = PartitionImage(isr[0], 0, 0, ids, isr)
            change.operations.append(Put(partition_key(topic.id, index), partition_value(state)))
    return change


# Configurations


def set_configs(image: MetadataImage, resource: ConfigResource, values: Mapping[str, str]) -> Change:
    """Write all that is set for a resource; the values were checked. An empty mapping removes them."""
    key = config_key(resource)
    change = Change([Condition(key, image.key_revisions.get(key, 0))])
    if resource[0] is ConfigResourceType.TOPIC and (topic := image.topics.get(resource[1])) is not None:
        change.conditions.append(Condition(topic_key(topic.name), topic.revision))
    change.operations.append(Put(key, to_json(dict(values))) if values else Delete(key))
    return change


# The cluster


def register_broker(
    image: MetadataImage,
    broker_id: int,
    rack: str | None,
    listeners: Iterable[Endpoint],
    lease: int,
    *,
    incarnation_id: str = "",
    directory_id: str = "",
) -> Change:
    """Announce a broker that starts: its process, and its first log directory, which no two processes have open.

    Raises: DUPLICATE_BROKER_REGISTRATION while another one has its id.
    """
    key = alive_key(broker_id)
    if key in image.key_revisions:
        raise KafkaError(ErrorCode.DUPLICATE_BROKER_REGISTRATION, f"a living broker has the id {broker_id}")
    return Change(
        [Condition(key, 0)],
        [
            Put(key, alive_value(incarnation_id, directory_id), lease),
            Put(broker_key(broker_id), broker_value(rack, listeners)),
        ],
    )


def fence_broker(image: MetadataImage, broker_id: int, epoch: int) -> Change:
    """Fence a broker, and end its role as the controller, if it is still the one that was registered under `epoch`."""
    broker = image.brokers.get(broker_id)
    key = alive_key(broker_id)
    if broker is None or broker.fenced or broker.epoch != epoch:
        return Change()
    change = Change([Condition(key, image.key_revisions[key])], [Delete(key)])
    if image.controller_id == broker_id:
        change.conditions.append(Condition(CONTROLLER_KEY, image.key_revisions[CONTROLLER_KEY]))
        change.operations.append(Delete(CONTROLLER_KEY))
    return change


def begin_shutdown(image: MetadataImage, broker_id: int, lease: int) -> Change:
    """Tell that a broker is about to stop, so that others take over what it leads."""
    broker, key = image.brokers.get(broker_id), alive_key(broker_id)
    if broker is None or broker.fenced or broker.is_stopping:
        return Change()
    value = alive_value(broker.incarnation_id, broker.directory_id, is_stopping=True)
    return Change([Condition(key, image.key_revisions[key])], [Put(key, value, lease)])


def unregister_broker(image: MetadataImage, broker_id: int) -> Change:
    """Forget a broker. Raises: BROKER_ID_NOT_REGISTERED."""
    broker = image.brokers.get(broker_id)
    if broker is None:
        raise KafkaError(ErrorCode.BROKER_ID_NOT_REGISTERED, f"no broker with the id {broker_id} is registered")
    key = broker_key(broker_id)
    change = Change([Condition(key, image.key_revisions[key])], [Delete(key)])
    change += fence_broker(image, broker_id, broker.epoch)
    return change


def found_cluster(
    image: MetadataImage, cluster_id: str, features: Mapping[str, int], default_configs: Mapping[str, str]
) -> Change:
    """Write what a new cluster starts with; nothing if it exists."""
    if image.cluster_id:
        return Change()
    return Change(
        [Condition(CLUSTER_KEY, 0)],
        [
            Put(CLUSTER_KEY, to_json({"cluster_id": cluster_id})),
            Put(FEATURES_KEY, to_json(dict(features))),
            Put(config_key((ConfigResourceType.BROKER, "")), to_json(dict(default_configs))),
        ],
    )


def empty_cluster(image: MetadataImage, features: Mapping[str, int], default_configs: Mapping[str, str]) -> Change:
    """Remove all that clients have made, of whatever kind, and write anew what a cluster starts with.

    What brokers have written stays: who they are, who is the controller, which producer ids were given out.
    """
    change = Change([], [DeletePrefix(TOPICS_PREFIX), DeletePrefix(ALL_PARTITIONS_PREFIX)])
    change += set_features(image, features)
    default = (ConfigResourceType.BROKER, "")
    if image.configs.get(default) != default_configs:
        change.operations.append(Put(config_key(default), to_json(dict(default_configs))))
    kept = (CLUSTER_KEY, FEATURES_KEY, CONTROLLER_KEY, PRODUCER_IDS_KEY, config_key(default))
    change.operations += [
        Delete(key)
        for key in image.key_revisions
        if key not in kept and not key.startswith((BROKERS_PREFIX, ALIVE_PREFIX))
    ]
    return change


def set_features(image: MetadataImage, features: Mapping[str, int]) -> Change:
    """Write the finalized levels of all features."""
    if features == image.features:
        return Change()
    return Change(
        [Condition(FEATURES_KEY, image.key_revisions.get(FEATURES_KEY, 0))],
        [Put(FEATURES_KEY, to_json(dict(features)))],
    )


def become_controller(image: MetadataImage, broker_id: int, lease: int) -> Change:
    """Take the controller's role if nobody has it. A broker that is about to stop does not."""
    broker = image.brokers.get(broker_id)
    if image.controller_id != NO_BROKER or (broker is not None and broker.is_stopping):
        return Change()
    return Change([Condition(CONTROLLER_KEY, 0)], [Put(CONTROLLER_KEY, to_json({"id": broker_id}), lease)])


def claim_producer_ids(image: MetadataImage) -> Change:
    """Take the next block of producer ids: those from `image.next_producer_id` on."""
    return Change(
        [Condition(PRODUCER_IDS_KEY, image.key_revisions.get(PRODUCER_IDS_KEY, 0))],
        [Put(PRODUCER_IDS_KEY, to_json({"next": image.next_producer_id + PRODUCER_ID_BLOCK}))],
    )

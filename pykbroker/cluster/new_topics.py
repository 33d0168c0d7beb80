"""From what a client or the broker itself asks for to a topic that can be created: names, counts, replicas, configs.

Rules
- Checks go in Kafka's order: the name, existence and collisions, configs, then replication factor, number of
  partitions, assignment. The first that fails decides the error.
- -1 stands for the broker's default, where the request may leave a number open.
- Internal topics get their own settings whoever creates them. Their replication factor and min ISR, unless set, follow
  the number of brokers, so that one broker needs no settings.

Sources: Kafka's Topic (names), ReplicationControlManager.createTopic, DefaultAutoTopicCreationManager.
"""

import os
import random
from collections.abc import Callable, Mapping, Sequence

import attrs

from pykbroker.cluster.changes import Change, check_topic_is_new, create_topic
from pykbroker.cluster.image import MetadataImage
from pykbroker.cluster.placement import assign_replicas
from pykbroker.cluster.topic_names import check_topic_name
from pykbroker.config import BrokerConfig
from pykbroker.errors import KafkaError
from pykbroker.topic_config import validate
from wire.errors import ErrorCode
from wire.primitives import random_uuid
from wire.schema import Uuid

DEFAULT = -1
MAX_PARTITIONS_PER_REQUEST = 10_000

_FORBIDDEN = "__cluster_metadata"  # in Kafka the log of the controllers


@attrs.frozen
class NewTopic:
    """What is asked for."""

    name: str
    num_partitions: int = DEFAULT
    replication_factor: int = DEFAULT
    assignments: Sequence[tuple[int, Sequence[int]]] = ()  # (partition, its replicas), in the request's order
    configs: Mapping[str, str | None] = attrs.field(factory=dict)

    def partition_count(self, config: BrokerConfig) -> int:
        if self.assignments:
            return len(self.assignments)
        return config.num_partitions if self.num_partitions == DEFAULT else self.num_partitions


@attrs.frozen
class PlannedTopic:
    """What will be created."""

    name: str
    id: Uuid
    replicas: Sequence[tuple[int, ...]]
    configs: Mapping[str, str]
    change: Change


def plan_topic(image: MetadataImage, config: BrokerConfig, topic: NewTopic) -> PlannedTopic:
    """Decide how a topic is created. Raises: KafkaError, see the file's top."""
    if topic.name == _FORBIDDEN:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"{topic.name} is not for clients to create")
    check_topic_name(topic.name)
    check_topic_is_new(image, topic.name)
    validate(topic.configs)
    configs = {name: text for name, text in topic.configs.items() if text is not None}
    if topic.assignments:
        replicas = _assigned(image, topic)
    else:
        replicas = _placed(image, config, topic)
    topic_id = random_uuid()
    change = create_topic(image, topic.name, topic_id, replicas, configs)
    return PlannedTopic(topic.name, topic_id, replicas, configs, change)


def _placed(image: MetadataImage, config: BrokerConfig, topic: NewTopic) -> list[tuple[int, ...]]:
    factor, count = topic.replication_factor, topic.num_partitions
    if factor < DEFAULT or factor == 0:
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"a replication factor of {factor}: it is 1 or more, or -1 for the default",
        )
    if count < DEFAULT or count == 0:
        raise KafkaError(
            ErrorCode.INVALID_PARTITIONS, f"{count} partitions: a topic has 1 or more, or -1 for the default"
        )
    factor = config.default_replication_factor if factor == DEFAULT else factor
    return assign_replicas(image.brokers.values(), topic.partition_count(config), factor, random.Random(os.urandom(8)))


def _assigned(image: MetadataImage, topic: NewTopic) -> list[tuple[int, ...]]:
    for value, name in (
        (topic.replication_factor, "replication factor"),
        (topic.num_partitions, "number of partitions"),
    ):
        if value != DEFAULT:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"replicas are assigned by the request: its {name} has to be -1, not {value}",
            )
    by_partition: dict[int, tuple[int, ...]] = {}
    for partition, replicas in topic.assignments:
        if partition in by_partition:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"partition {partition} is assigned twice",
            )
        check_assignment(image, replicas)
        by_partition[partition] = tuple(replicas)
    if sorted(by_partition) != list(range(len(by_partition))):
        raise KafkaError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT, "the assigned partitions do not count up from 0 without a gap"
        )
    ordered = [by_partition[partition] for partition in range(len(by_partition))]
    check_equal_replication(ordered, len(ordered[0]))
    return ordered


def check_assignment(image: MetadataImage, replicas: Sequence[int]) -> None:
    """Check the replicas that a request wants for one partition. Raises: INVALID_REPLICA_ASSIGNMENT."""
    wrong = None
    if not replicas:
        wrong = "no broker"
    for place, broker_id in enumerate(replicas):
        if broker_id not in image.brokers:
            wrong = f"broker {broker_id}, which is not in the cluster"
        elif broker_id in replicas[:place]:
            wrong = f"broker {broker_id} twice"
        if wrong is not None:
            break
    if wrong is not None:
        raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"a partition is assigned to {wrong}")


def check_equal_replication(assignments: Sequence[tuple[int, ...]], factor: int) -> None:
    for replicas in assignments:
        if len(replicas) != factor:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"a partition is assigned to {len(replicas)} brokers, but others have {factor}",
            )


def automatic_topic(config: BrokerConfig, name: str, brokers: int) -> NewTopic:
    """Return what is created when a topic is first used rather than asked for, in a cluster of so many brokers.

    Brokers that are away for a while count, too: an internal topic has its replication factor for good.
    """
    settings = _internal_topic(config, name, brokers)
    if settings is None:
        return NewTopic(name)
    num_partitions, replication_factor, configs = settings
    return NewTopic(name, num_partitions, replication_factor, configs=configs)


def _internal_topic(config: BrokerConfig, name: str, brokers: int) -> tuple[int, int, Mapping[str, str]] | None:
    """Return partitions, replication factor and configs of an internal topic; None for any other."""

    def factor(property_name: str, value: int) -> int:
        return value if config.is_set(property_name) else max(1, min(value, brokers))

    def min_isr(property_name: str, value: int, replication_factor: int) -> str:
        return str(value if config.is_set(property_name) else min(value, max(1, replication_factor - 1)))

    match name:
        case "__consumer_offsets":
            replicas = factor("offsets.topic.replication.factor", config.offsets_topic_replication_factor)
            configs = {
                "cleanup.policy": "compact",
                "compression.type": "producer",
                "segment.bytes": str(config.offsets_topic_segment_bytes),
            }
            return config.offsets_topic_num_partitions, replicas, configs
        case "__transaction_state":
            replicas = factor(
                "transaction.state.log.replication.factor", config.transaction_state_log_replication_factor
            )
            configs = {
                "cleanup.policy": "compact",
                "compression.type": "uncompressed",
                "unclean.leader.election.enable": "false",
                "min.insync.replicas": min_isr(
                    "transaction.state.log.min.isr", config.transaction_state_log_min_isr, replicas
                ),
                "segment.bytes": str(config.transaction_state_log_segment_bytes),
            }
            return config.transaction_state_log_num_partitions, replicas, configs
        case "__share_group_state":
            replicas = factor(
                "share.coordinator.state.topic.replication.factor",
                config.share_coordinator_state_topic_replication_factor,
            )
            configs = {
                "cleanup.policy": "delete",
                "compression.type": "producer",
                "retention.ms": "-1",
                "min.insync.replicas": min_isr(
                    "share.coordinator.state.topic.min.isr",
                    config.share_coordinator_state_topic_min_isr,
                    replicas,
                ),
                "segment.bytes": str(config.share_coordinator_state_topic_segment_bytes),
            }
            return config.share_coordinator_state_topic_num_partitions, replicas, configs
    return None


def create_automatically(
    image: MetadataImage,
    config: BrokerConfig,
    names: Sequence[str],
    check: Callable[[str, int], None] = lambda name, partitions: None,
) -> Change:
    """Create those of the topics that are missing and can be created; the others stay missing.

    `check` may raise KafkaError where so many partitions are not to be created for a topic now.
    """
    change = Change()
    taken: set[str] = set()
    for name in names:
        key = name.replace(".", "_")
        if name in image.topics or key in taken:
            continue
        try:
            planned = plan_topic(image, config, automatic_topic(config, name, len(image.brokers)))
            check(name, len(planned.replicas))
        except KafkaError:
            continue
        change += planned.change
        taken.add(key)
    return change

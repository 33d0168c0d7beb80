"""Moving partitions to other brokers: what a client's request makes of a partition. Pure, one partition at a time.

Rules
- While a reassignment is under way the replicas are the wanted ones, in their order, and behind them those that go;
  the new ones are listed as adding, the others as removing. It ends by itself (partition_changes).
- Another request for the same partition replaces the first; without replicas it is cancelled: the adding ones go.
- A reassignment that needs no new replica ends at once.

Sources: KIP-455, KIP-860; Kafka's ReplicationControlManager, PartitionReassignmentReplicas and -Revert.
"""

from collections.abc import Sequence

from pykbroker.cluster.changes import Change
from pykbroker.cluster.image import MetadataImage, PartitionImage, TopicImage
from pykbroker.cluster.new_topics import check_assignment
from pykbroker.cluster.partition_changes import circumstances, next_state, put_partition
from pykbroker.errors import KafkaError
from wire.errors import ErrorCode


def is_reassigned(partition: PartitionImage) -> bool:
    return bool(partition.adding_replicas or partition.removing_replicas)


def reassign(
    image: MetadataImage, topic: TopicImage, index: int, replicas: Sequence[int], *, may_change_factor: bool
) -> Change:
    """Begin to move a partition to these replicas. Raises: INVALID_REPLICA_ASSIGNMENT, INVALID_REPLICATION_FACTOR."""
    check_assignment(image, replicas)
    old = topic.partitions[index]
    if not may_change_factor:
        _check_factor(old, replicas)
    removing = sorted(set(old.replicas).difference(replicas))
    adding = sorted(set(replicas).difference(old.replicas))
    state = next_state(
        old,
        circumstances(image, topic),
        replicas=[*replicas, *removing],
        adding=adding or None,  # what an earlier request adds stays so, unless this one removes it
        removing=removing or None,
    )
    return put_partition(image, topic, index, state)


def _check_factor(old: PartitionImage, replicas: Sequence[int]) -> None:
    before = len(set(old.replicas).difference(old.removing_replicas))
    if before != len(replicas):
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"{len(replicas)} replicas instead of {before}, but the request does not allow another number",
        )


def cancel_reassignment(image: MetadataImage, topic: TopicImage, index: int, *, unclean: bool) -> Change:
    """Go back to the replicas from before. `unclean`: unclean elections are allowed for the topic.

    Raises: NO_REASSIGNMENT_IN_PROGRESS; INVALID_REPLICA_ASSIGNMENT if no old replica is in sync.
    """
    old = topic.partitions[index]
    if not is_reassigned(old):
        raise KafkaError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS)
    replicas = [broker_id for broker_id in old.replicas if broker_id not in old.adding_replicas]
    isr = [broker_id for broker_id in old.isr if broker_id not in old.adding_replicas]
    if not isr:
        if not unclean:
            raise KafkaError(
                ErrorCode.INVALID_REPLICA_ASSIGNMENT,
                f"none of the old replicas of {topic.name}-{index} is in sync: going back would be an unclean election",
            )
        isr = replicas[:1]
    given = circumstances(image, topic, unclean=unclean)
    state = next_state(old, given, isr=isr, replicas=replicas, adding=(), removing=())
    return put_partition(image, topic, index, state)

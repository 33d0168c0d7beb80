"""What may be changed in a partition's state, as pure functions: the in-sync replicas that its leader proposes.

Rules
- A leader proposes on the state that it knows: another leader epoch or partition epoch refuses it.
- Who is fenced, or has no replica, does not enter the ISR; the leader is always in it.

Not here: when a leader proposes (replication.isr). Source: Kafka's ReplicationControlManager, KIP-497, KIP-903.
"""

from collections.abc import Sequence

from pykbroker.cluster.changes import Change, change_partition
from pykbroker.cluster.image import MetadataImage
from pykbroker.errors import KafkaError
from wire.errors import ErrorCode
from wire.schema import Uuid


def alter_isr(
    image: MetadataImage,
    topic_id: Uuid,
    index: int,
    *,
    broker_id: int,
    leader_epoch: int,
    partition_epoch: int,
    isr: Sequence[int],
) -> Change:
    """Write the ISR that the leader proposes.

    Raises: UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH,
    INVALID_UPDATE_VERSION, INVALID_REQUEST, INELIGIBLE_REPLICA.
    """
    topic = image.topic_by_id(topic_id)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_ID)
    if not 0 <= index < len(topic.partitions):
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    partition = topic.partitions[index]
    if partition.leader_epoch != leader_epoch:
        raise KafkaError(ErrorCode.FENCED_LEADER_EPOCH)
    if partition.leader != broker_id:
        raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    if partition.partition_epoch != partition_epoch:
        raise KafkaError(ErrorCode.INVALID_UPDATE_VERSION)
    if broker_id not in isr or not set(isr) <= set(partition.replicas):
        raise KafkaError(ErrorCode.INVALID_REQUEST)
    for added in set(isr) - set(partition.isr):
        broker = image.brokers.get(added)
        if broker is None or broker.fenced:
            raise KafkaError(ErrorCode.INELIGIBLE_REPLICA, f"broker {added} is fenced")
    return change_partition(topic, index, isr=isr)

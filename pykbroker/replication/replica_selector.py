"""Which replica a consumer should read from: one in its own rack, where there is one (KIP-392). A pure decision.

Rules
- Only replicas count that are in the ISR, alive, reachable by the consumer's listener, and have the offset.
- The leader, where it is in the consumer's rack; else of the followers there the one with the longest log, and of those
  with equally long logs the one that was caught up last; the leader where nobody is there.

Sources: KIP-392; Kafka's RackAwareReplicaSelector, ReplicaManager.findPreferredReadReplica.
"""

from collections.abc import Mapping

from pykbroker.cluster.image import BrokerImage
from pykbroker.replication.partition import Partition

RACK_AWARE = "org.apache.kafka.common.replica.RackAwareReplicaSelector"


def preferred_read_replica(
    partition: Partition, brokers: Mapping[int, BrokerImage], *, rack_id: str, listener: str, fetch_offset: int
) -> int | None:
    """Return the follower to read from instead of this broker, which leads; None: this one."""
    leader = brokers.get(partition.broker_id)
    if not rack_id or leader is None or leader.rack == rack_id:
        return None
    in_rack = [
        (follower.log_end_offset, follower.last_caught_up_ms, broker_id)
        for broker_id, follower in partition.followers.items()
        if broker_id in partition.isr
        and (broker := brokers.get(broker_id)) is not None
        and broker.rack == rack_id
        and not broker.fenced
        and listener in broker.listeners
        and follower.log_start_offset <= fetch_offset <= follower.log_end_offset
    ]
    return max(in_rack)[2] if in_rack else None

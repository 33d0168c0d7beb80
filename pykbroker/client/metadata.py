"""What a client knows of a cluster: brokers, topics, who leads which partition. Values, as one broker told them."""

from collections.abc import Mapping
from typing import Any

import attrs

from pykbroker.client.connection import Address
from pykbroker.errors import error_of
from wire.errors import ErrorCode
from wire.schema import ZERO_UUID, Uuid

NOBODY = -1


@attrs.frozen
class BrokerMetadata:
    id: int
    host: str
    port: int
    rack: str | None

    @property
    def address(self) -> Address:
        return self.host, self.port


@attrs.frozen
class PartitionMetadata:
    index: int
    leader: int  # -1: nobody leads
    leader_epoch: int  # -1: not told
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline_replicas: tuple[int, ...]

    @property
    def is_under_replicated(self) -> bool:
        return len(self.isr) < len(self.replicas)


@attrs.frozen
class TopicMetadata:
    name: str
    error: ErrorCode
    id: Uuid = ZERO_UUID  # zero: the broker is older than topic ids
    is_internal: bool = False
    partitions: tuple[PartitionMetadata, ...] = ()  # in the order of their indexes, which have no gaps

    @property
    def replication_factor(self) -> int:
        return len(self.partitions[0].replicas) if self.partitions else 0


@attrs.frozen
class ClusterMetadata:
    cluster_id: str | None
    controller: int  # in a KRaft cluster any broker: all of them pass on what is for the controller
    brokers: Mapping[int, BrokerMetadata]
    topics: Mapping[str, TopicMetadata]


def cluster_metadata(response: Any) -> ClusterMetadata:
    """Turn a MetadataResponse of any version into values."""
    brokers = {each.node_id: BrokerMetadata(each.node_id, each.host, each.port, each.rack) for each in response.brokers}
    topics = {each.name: _topic(each) for each in response.topics if each.name is not None}
    return ClusterMetadata(response.cluster_id, response.controller_id, brokers, topics)


def newest(known: TopicMetadata, told: TopicMetadata) -> TopicMetadata:
    """Return what is told of a topic; of a partition whose leader epoch was larger already, what is known.

    A broker that is behind would lead back to a leader that is none any more. Brokers older than topic ids cannot tell
    that from a topic that was made anew. Source: KIP-320.
    """
    if told.id == ZERO_UUID or told.id != known.id:
        return told
    behind = {
        before.index: before
        for before, each in zip(known.partitions, told.partitions, strict=False)
        if before.leader_epoch > each.leader_epoch
    }
    if not behind:
        return told
    return attrs.evolve(told, partitions=tuple(behind.get(each.index, each) for each in told.partitions))


def _topic(told: Any) -> TopicMetadata:
    partitions = [
        PartitionMetadata(
            each.partition_index,
            each.leader_id,
            each.leader_epoch,
            tuple(each.replica_nodes),
            tuple(each.isr_nodes),
            tuple(each.offline_replicas),
        )
        for each in sorted(told.partitions, key=lambda each: each.partition_index)
    ]
    return TopicMetadata(told.name, error_of(told.error_code), told.topic_id, told.is_internal, tuple(partitions))

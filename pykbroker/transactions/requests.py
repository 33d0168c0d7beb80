"""What transactions send to other brokers, and what the answers mean: AddPartitionsToTxn, WriteTxnMarkers.

Not here: when, and to whom (markers, verification), how (other_brokers).
"""

from collections.abc import Iterable

import attrs

from pykbroker.topic_partition import TopicPartition, by_topic
from wire.errors import ErrorCode
from wire.messages.transactions import (
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTransaction,
    WritableTxnMarker,
    WritableTxnMarkerTopic,
    WriteTxnMarkersRequest,
    WriteTxnMarkersResponse,
)

ADD_PARTITIONS_VERSION = 5
WRITE_MARKERS_VERSION = 2


@attrs.frozen
class Marker:
    """How one producer's transaction ended."""

    producer_id: int
    producer_epoch: int
    commit: bool
    coordinator_epoch: int
    transaction_version: int


def add_partitions(
    transactional_id: str,
    producer_id: int,
    producer_epoch: int,
    partitions: Iterable[TopicPartition],
    *,
    verify_only: bool,
) -> AddPartitionsToTxnRequest:
    return AddPartitionsToTxnRequest(
        transactions=[
            AddPartitionsToTxnTransaction(
                transactional_id=transactional_id,
                producer_id=producer_id,
                producer_epoch=producer_epoch,
                verify_only=verify_only,
                topics=[
                    AddPartitionsToTxnTopic(name=name, partitions=indexes)
                    for name, indexes in by_topic(partitions).items()
                ],
            )
        ]
    )


def partition_errors(
    partitions: Iterable[TopicPartition], response: AddPartitionsToTxnResponse | None
) -> dict[TopicPartition, ErrorCode]:
    """Return what is to be told of each partition; None: no answer came."""
    if response is None:
        return dict.fromkeys(partitions, ErrorCode.NETWORK_EXCEPTION)
    if response.error_code:
        return dict.fromkeys(partitions, ErrorCode(response.error_code))
    told = {
        TopicPartition(topic.name, partition.partition_index): ErrorCode(partition.partition_error_code)
        for result in response.results_by_transaction
        for topic in result.topic_results
        for partition in topic.results_by_partition
    }
    return dict.fromkeys(partitions, ErrorCode.NETWORK_EXCEPTION) | told


def write_markers(marker: Marker, partitions: list[TopicPartition]) -> WriteTxnMarkersRequest:
    return WriteTxnMarkersRequest(
        markers=[
            WritableTxnMarker(
                producer_id=marker.producer_id,
                producer_epoch=marker.producer_epoch,
                transaction_result=marker.commit,
                topics=[
                    WritableTxnMarkerTopic(name=name, partition_indexes=indexes)
                    for name, indexes in by_topic(partitions).items()
                ],
                coordinator_epoch=marker.coordinator_epoch,
                transaction_version=marker.transaction_version,
            )
        ]
    )


def marker_errors(response: WriteTxnMarkersResponse) -> dict[TopicPartition, ErrorCode]:
    return {
        TopicPartition(topic.name, partition.partition_index): ErrorCode(partition.error_code)
        for result in response.markers
        for topic in result.topics
        for partition in topic.partitions
    }

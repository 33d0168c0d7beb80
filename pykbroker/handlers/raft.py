"""The quorum of controllers, for tools that ask for it: here the store takes its place.

DescribeQuorum (55), versions 0-2
- The controller is the leader, and its leader epoch the revision at which it took that role: it grows with each one.
- The voters are the brokers that are alive, each with all of the metadata up to now: a broker that lags behind the
  store would soon not be alive any more. Nobody observes. The high watermark is the store's revision.
- Any other topic or partition than the one of `__cluster_metadata` is UNKNOWN_TOPIC_OR_PARTITION.

Sources: KIP-595, KIP-836, KIP-853; Kafka's KafkaRaftClient.
"""

from pykbroker.cluster.image import BrokerImage
from pykbroker.cluster.keys import CONTROLLER_KEY
from pykbroker.handlers.context import RequestContext
from wire.errors import ErrorCode
from wire.messages.raft import (
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    DescribeQuorumResponseListener,
    DescribeQuorumResponsePartitionData,
    DescribeQuorumResponseTopicData,
    Node,
    ReplicaState,
)
from wire.primitives import parse_uuid
from wire.schema import ZERO_UUID, Uuid

TOPIC = "__cluster_metadata"
DIRECTORY_IDS_FROM = 2
_INT32_MAX = 2**31 - 1


def describe_quorum(ctx: RequestContext, request: DescribeQuorumRequest) -> DescribeQuorumResponse:
    asked = [(topic.topic_name, [each.partition_index for each in topic.partitions]) for topic in request.topics]
    response = DescribeQuorumResponse(error_message="")
    if asked == [(TOPIC, [0])]:
        response.topics = [DescribeQuorumResponseTopicData(topic_name=TOPIC, partitions=[_quorum(ctx)])]
        response.nodes = _nodes(ctx) if ctx.api_version >= DIRECTORY_IDS_FROM else []
        return response
    for name, indexes in asked:
        unknown = [
            DescribeQuorumResponsePartitionData(
                partition_index=index,
                error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
                error_message="this is not the partition of the metadata",
            )
            for index in indexes
        ]
        response.topics.append(DescribeQuorumResponseTopicData(topic_name=name, partitions=unknown))
    return response


def _quorum(ctx: RequestContext) -> DescribeQuorumResponsePartitionData:
    image = ctx.services.cluster.image
    now = ctx.services.clock.time_ms()
    return DescribeQuorumResponsePartitionData(
        partition_index=0,
        error_message="",
        leader_id=image.controller_id,
        leader_epoch=min(image.key_revisions.get(CONTROLLER_KEY, 0), _INT32_MAX),
        high_watermark=image.revision,
        current_voters=[
            ReplicaState(
                replica_id=broker.id,
                replica_directory_id=_directory_id(broker, ctx.api_version),
                log_end_offset=image.revision,
                last_fetch_timestamp=now,
                last_caught_up_timestamp=now,
            )
            for broker in image.alive_brokers()
        ],
    )


def _directory_id(broker: BrokerImage, version: int) -> Uuid:
    return parse_uuid(broker.directory_id) if broker.directory_id and version >= DIRECTORY_IDS_FROM else ZERO_UUID


def _nodes(ctx: RequestContext) -> list[Node]:
    return [
        Node(
            node_id=broker.id,
            listeners=[
                DescribeQuorumResponseListener(name=endpoint.listener, host=endpoint.host, port=endpoint.port)
                for endpoint in broker.listeners.values()
            ],
        )
        for broker in ctx.services.cluster.image.alive_brokers()
    ]

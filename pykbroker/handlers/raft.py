"""The quorum of controllers, for tools that ask for it: here the store takes its place.

DescribeQuorum (55), versions 0-2
- The controller is the leader, and its leader epoch the revision at which it took that role: it grows with each one.
- The voters are the brokers that are alive, each with all of the metadata up to now: a broker that lags behind the
  store would soon not be alive any more. Nobody observes. The high watermark is the store's revision.
- Any other topic or partition than the one of `__cluster_metadata` is UNKNOWN_TOPIC_OR_PARTITION.

AddRaftVoter (80), versions 0-1; RemoveRaftVoter (81), version 0
- Brokers vote as long as they live: nobody is added, DUPLICATE_VOTER or UNSUPPORTED_VERSION, and nobody removed,
  VOTER_NOT_FOUND (as in Kafka also for the last voter) or INVALID_REQUEST.
- Before that: INCONSISTENT_CLUSTER_ID, and INVALID_REQUEST without a voter's id, its directory's, or an endpoint.

UnregisterController (94), version 0
- Who may control is a broker, which UnregisterBroker forgets: INVALID_REQUEST. CONTROLLER_ID_NOT_REGISTERED for others.

Sources: KIP-595, KIP-836, KIP-853; Kafka's KafkaRaftClient, AddVoterHandler, RemoveVoterHandler.
"""

from pykbroker.cluster.image import BrokerImage
from pykbroker.cluster.keys import CONTROLLER_KEY
from pykbroker.errors import KafkaError
from pykbroker.handlers.context import RequestContext
from wire.errors import ErrorCode
from wire.messages.brokers import UnregisterControllerRequest, UnregisterControllerResponse
from wire.messages.raft import (
    AddRaftVoterRequest,
    AddRaftVoterResponse,
    DescribeQuorumRequest,
    DescribeQuorumResponse,
    DescribeQuorumResponseListener,
    DescribeQuorumResponsePartitionData,
    DescribeQuorumResponseTopicData,
    Node,
    RemoveRaftVoterRequest,
    RemoveRaftVoterResponse,
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


def add_raft_voter(ctx: RequestContext, request: AddRaftVoterRequest) -> AddRaftVoterResponse:
    _check_voter(ctx, request)
    if not request.listeners:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "it is not said where the voter can be reached")
    if request.voter_id in _voters(ctx):
        raise KafkaError(ErrorCode.DUPLICATE_VOTER, f"broker {request.voter_id} votes already")
    raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, "a broker votes as soon as it has started on the cluster's store")


def remove_raft_voter(ctx: RequestContext, request: RemoveRaftVoterRequest) -> RemoveRaftVoterResponse:
    _check_voter(ctx, request)
    voters = _voters(ctx)
    if voters.get(request.voter_id) != request.voter_directory_id or len(voters) == 1:
        raise KafkaError(
            ErrorCode.VOTER_NOT_FOUND,
            f"no voter {request.voter_id} with that directory could be removed from {list(voters)}",
        )
    raise KafkaError(ErrorCode.INVALID_REQUEST, "a broker votes as long as it lives")


def _check_voter(ctx: RequestContext, request: AddRaftVoterRequest | RemoveRaftVoterRequest) -> None:
    cluster_id = ctx.services.cluster.image.cluster_id
    if request.cluster_id not in (None, cluster_id):
        raise KafkaError(ErrorCode.INCONSISTENT_CLUSTER_ID, f"{request.cluster_id} is asked, but this is {cluster_id}")
    if request.voter_id < 0 or request.voter_directory_id == ZERO_UUID:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "the id of the voter or of its directory is missing")


def _voters(ctx: RequestContext) -> dict[int, Uuid]:
    alive = ctx.services.cluster.image.alive_brokers()
    return {broker.id: _directory_id(broker, DIRECTORY_IDS_FROM) for broker in alive}


def unregister_controller(ctx: RequestContext, request: UnregisterControllerRequest) -> UnregisterControllerResponse:
    image = ctx.services.cluster.image
    if request.controller_id not in image.brokers:
        raise KafkaError(
            ErrorCode.CONTROLLER_ID_NOT_REGISTERED, f"there is no broker {request.controller_id} that could control"
        )
    what = "it is the controller" if request.controller_id == image.controller_id else "unregister the broker"
    raise KafkaError(ErrorCode.INVALID_REQUEST, f"{request.controller_id} cannot be unregistered: {what}")

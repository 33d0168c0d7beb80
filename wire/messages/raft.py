from wire.schema import (
    Kind,
    Records,
    Uuid,
    array,
    boolean,
    bytes_,
    int16,
    int32,
    int64,
    one,
    records,
    request,
    response,
    string,
    struct,
    uint16,
    uuid,
)


@struct("PartitionData")
class VoteRequestPartitionData:
    partition_index: int = int32()
    replica_epoch: int = int32()
    replica_id: int = int32()
    replica_directory_id: Uuid = uuid("1+", ignorable=True)
    voter_directory_id: Uuid = uuid("1+", ignorable=True)
    last_offset_epoch: int = int32()
    last_offset: int = int64()
    pre_vote: bool = boolean("2+")


@struct("TopicData")
class VoteRequestTopicData:
    topic_name: str = string()
    partitions: list[VoteRequestPartitionData] = array(VoteRequestPartitionData)


@request(52, "0-2", flexible="0+")
class VoteRequest:
    cluster_id: str | None = string(nullable="0+", default=None)
    voter_id: int = int32("1+", default=-1, ignorable=True)
    topics: list[VoteRequestTopicData] = array(VoteRequestTopicData)


@struct("PartitionData")
class VoteResponsePartitionData:
    partition_index: int = int32()
    error_code: int = int16()
    leader_id: int = int32()
    leader_epoch: int = int32()
    vote_granted: bool = boolean()


@struct("TopicData")
class VoteResponseTopicData:
    topic_name: str = string()
    partitions: list[VoteResponsePartitionData] = array(VoteResponsePartitionData)


@struct("NodeEndpoint")
class VoteResponseNodeEndpoint:
    node_id: int = int32("1+")
    host: str = string("1+")
    port: int = uint16("1+")


@response(52, "0-2", flexible="0+")
class VoteResponse:
    error_code: int = int16()
    topics: list[VoteResponseTopicData] = array(VoteResponseTopicData)
    node_endpoints: list[VoteResponseNodeEndpoint] = array(VoteResponseNodeEndpoint, "1+", tag=0)


@struct("PartitionData")
class BeginQuorumEpochRequestPartitionData:
    partition_index: int = int32()
    voter_directory_id: Uuid = uuid("1+", ignorable=True)
    leader_id: int = int32()
    leader_epoch: int = int32()


@struct("TopicData")
class BeginQuorumEpochRequestTopicData:
    topic_name: str = string()
    partitions: list[BeginQuorumEpochRequestPartitionData] = array(BeginQuorumEpochRequestPartitionData)


@struct("LeaderEndpoint")
class BeginQuorumEpochRequestLeaderEndpoint:
    name: str = string("1+")
    host: str = string("1+")
    port: int = uint16("1+")


@request(53, "0-1", flexible="1+")
class BeginQuorumEpochRequest:
    cluster_id: str | None = string(nullable="0+", default=None)
    voter_id: int = int32("1+", default=-1, ignorable=True)
    topics: list[BeginQuorumEpochRequestTopicData] = array(BeginQuorumEpochRequestTopicData)
    leader_endpoints: list[BeginQuorumEpochRequestLeaderEndpoint] = array(
        BeginQuorumEpochRequestLeaderEndpoint, "1+", ignorable=True
    )


@struct("PartitionData")
class BeginQuorumEpochResponsePartitionData:
    partition_index: int = int32()
    error_code: int = int16()
    leader_id: int = int32()
    leader_epoch: int = int32()


@struct("TopicData")
class BeginQuorumEpochResponseTopicData:
    topic_name: str = string()
    partitions: list[BeginQuorumEpochResponsePartitionData] = array(BeginQuorumEpochResponsePartitionData)


@struct("NodeEndpoint")
class BeginQuorumEpochResponseNodeEndpoint:
    node_id: int = int32("1+")
    host: str = string("1+")
    port: int = uint16("1+")


@response(53, "0-1", flexible="1+")
class BeginQuorumEpochResponse:
    error_code: int = int16()
    topics: list[BeginQuorumEpochResponseTopicData] = array(BeginQuorumEpochResponseTopicData)
    node_endpoints: list[BeginQuorumEpochResponseNodeEndpoint] = array(
        BeginQuorumEpochResponseNodeEndpoint, "1+", tag=0
    )


@struct()
class ReplicaInfo:
    candidate_id: int = int32("1+")
    candidate_directory_id: Uuid = uuid("1+")


@struct("PartitionData")
class EndQuorumEpochRequestPartitionData:
    partition_index: int = int32()
    leader_id: int = int32()
    leader_epoch: int = int32()
    preferred_successors: list[int] = array(Kind.INT32, "0", ignorable=True)
    preferred_candidates: list[ReplicaInfo] = array(ReplicaInfo, "1+", ignorable=True)


@struct("TopicData")
class EndQuorumEpochRequestTopicData:
    topic_name: str = string()
    partitions: list[EndQuorumEpochRequestPartitionData] = array(EndQuorumEpochRequestPartitionData)


@struct("LeaderEndpoint")
class EndQuorumEpochRequestLeaderEndpoint:
    name: str = string("1+")
    host: str = string("1+")
    port: int = uint16("1+")


@request(54, "0-1", flexible="1+")
class EndQuorumEpochRequest:
    cluster_id: str | None = string(nullable="0+", default=None)
    topics: list[EndQuorumEpochRequestTopicData] = array(EndQuorumEpochRequestTopicData)
    leader_endpoints: list[EndQuorumEpochRequestLeaderEndpoint] = array(
        EndQuorumEpochRequestLeaderEndpoint, "1+", ignorable=True
    )


@struct("PartitionData")
class EndQuorumEpochResponsePartitionData:
    partition_index: int = int32()
    error_code: int = int16()
    leader_id: int = int32()
    leader_epoch: int = int32()


@struct("TopicData")
class EndQuorumEpochResponseTopicData:
    topic_name: str = string()
    partitions: list[EndQuorumEpochResponsePartitionData] = array(EndQuorumEpochResponsePartitionData)


@struct("NodeEndpoint")
class EndQuorumEpochResponseNodeEndpoint:
    node_id: int = int32("1+")
    host: str = string("1+")
    port: int = uint16("1+")


@response(54, "0-1", flexible="1+")
class EndQuorumEpochResponse:
    error_code: int = int16()
    topics: list[EndQuorumEpochResponseTopicData] = array(EndQuorumEpochResponseTopicData)
    node_endpoints: list[EndQuorumEpochResponseNodeEndpoint] = array(EndQuorumEpochResponseNodeEndpoint, "1+", tag=0)


@struct("PartitionData")
class DescribeQuorumRequestPartitionData:
    partition_index: int = int32()


@struct("TopicData")
class DescribeQuorumRequestTopicData:
    topic_name: str = string()
    partitions: list[DescribeQuorumRequestPartitionData] = array(DescribeQuorumRequestPartitionData)


@request(55, "0-2", flexible="0+")
class DescribeQuorumRequest:
    topics: list[DescribeQuorumRequestTopicData] = array(DescribeQuorumRequestTopicData)


@struct()
class ReplicaState:
    replica_id: int = int32()
    replica_directory_id: Uuid = uuid("2+")
    log_end_offset: int = int64()
    last_fetch_timestamp: int = int64("1+", default=-1, ignorable=True)
    last_caught_up_timestamp: int = int64("1+", default=-1, ignorable=True)


@struct("PartitionData")
class DescribeQuorumResponsePartitionData:
    partition_index: int = int32()
    error_code: int = int16()
    error_message: str | None = string("2+", nullable="2+", ignorable=True)
    leader_id: int = int32()
    leader_epoch: int = int32()
    high_watermark: int = int64()
    current_voters: list[ReplicaState] = array(ReplicaState)
    observers: list[ReplicaState] = array(ReplicaState)


@struct("TopicData")
class DescribeQuorumResponseTopicData:
    topic_name: str = string()
    partitions: list[DescribeQuorumResponsePartitionData] = array(DescribeQuorumResponsePartitionData)


@struct("Listener")
class DescribeQuorumResponseListener:
    name: str = string("2+")
    host: str = string("2+")
    port: int = uint16("2+")


@struct()
class Node:
    node_id: int = int32("2+")
    listeners: list[DescribeQuorumResponseListener] = array(DescribeQuorumResponseListener, "2+")


@response(55, "0-2", flexible="0+")
class DescribeQuorumResponse:
    error_code: int = int16()
    error_message: str | None = string("2+", nullable="2+", ignorable=True)
    topics: list[DescribeQuorumResponseTopicData] = array(DescribeQuorumResponseTopicData)
    nodes: list[Node] = array(Node, "2+")


@request(58, "0", flexible="0+")
class EnvelopeRequest:
    request_data: bytes = bytes_()
    request_principal: bytes | None = bytes_(nullable="0+")
    client_host_address: bytes = bytes_()


@response(58, "0", flexible="0+")
class EnvelopeResponse:
    response_data: bytes | None = bytes_(nullable="0+", default=None)
    error_code: int = int16()


@struct("SnapshotId")
class FetchSnapshotRequestSnapshotId:
    end_offset: int = int64()
    epoch: int = int32()


@struct("PartitionSnapshot")
class FetchSnapshotRequestPartitionSnapshot:
    partition: int = int32()
    current_leader_epoch: int = int32()
    snapshot_id: FetchSnapshotRequestSnapshotId = one(FetchSnapshotRequestSnapshotId)
    position: int = int64()
    replica_directory_id: Uuid = uuid("1+", tag=0, ignorable=True)


@struct("TopicSnapshot")
class FetchSnapshotRequestTopicSnapshot:
    name: str = string()
    partitions: list[FetchSnapshotRequestPartitionSnapshot] = array(FetchSnapshotRequestPartitionSnapshot)


@request(59, "0-1", flexible="0+")
class FetchSnapshotRequest:
    cluster_id: str | None = string(nullable="0+", tag=0, default=None)
    replica_id: int = int32(default=-1)
    max_bytes: int = int32(default=2147483647)
    topics: list[FetchSnapshotRequestTopicSnapshot] = array(FetchSnapshotRequestTopicSnapshot)


@struct("SnapshotId")
class FetchSnapshotResponseSnapshotId:
    end_offset: int = int64()
    epoch: int = int32()


@struct()
class LeaderIdAndEpoch:
    leader_id: int = int32()
    leader_epoch: int = int32()


@struct("PartitionSnapshot")
class FetchSnapshotResponsePartitionSnapshot:
    index: int = int32()
    error_code: int = int16()
    snapshot_id: FetchSnapshotResponseSnapshotId = one(FetchSnapshotResponseSnapshotId)
    current_leader: LeaderIdAndEpoch = one(LeaderIdAndEpoch, tag=0)
    size: int = int64()
    position: int = int64()
    unaligned_records: Records | None = records()


@struct("TopicSnapshot")
class FetchSnapshotResponseTopicSnapshot:
    name: str = string()
    partitions: list[FetchSnapshotResponsePartitionSnapshot] = array(FetchSnapshotResponsePartitionSnapshot)


@struct("NodeEndpoint")
class FetchSnapshotResponseNodeEndpoint:
    node_id: int = int32("1+")
    host: str = string("1+")
    port: int = uint16("1+")


@response(59, "0-1", flexible="0+")
class FetchSnapshotResponse:
    throttle_time_ms: int = int32(ignorable=True)
    error_code: int = int16()
    topics: list[FetchSnapshotResponseTopicSnapshot] = array(FetchSnapshotResponseTopicSnapshot)
    node_endpoints: list[FetchSnapshotResponseNodeEndpoint] = array(FetchSnapshotResponseNodeEndpoint, "1+", tag=0)


@struct("Listener")
class AddRaftVoterRequestListener:
    name: str = string()
    host: str = string()
    port: int = uint16()


@request(80, "0-1", flexible="0+")
class AddRaftVoterRequest:
    cluster_id: str | None = string(nullable="0+")
    timeout_ms: int = int32()
    voter_id: int = int32()
    voter_directory_id: Uuid = uuid()
    listeners: list[AddRaftVoterRequestListener] = array(AddRaftVoterRequestListener)
    ack_when_committed: bool = boolean("1+", default=True)


@response(80, "0-1", flexible="0+")
class AddRaftVoterResponse:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", ignorable=True)


@request(81, "0", flexible="0+")
class RemoveRaftVoterRequest:
    cluster_id: str | None = string(nullable="0+")
    voter_id: int = int32()
    voter_directory_id: Uuid = uuid()


@response(81, "0", flexible="0+")
class RemoveRaftVoterResponse:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", ignorable=True)


@struct("Listener")
class UpdateRaftVoterRequestListener:
    name: str = string()
    host: str = string()
    port: int = uint16()


@struct()
class KRaftVersionFeature:
    min_supported_version: int = int16()
    max_supported_version: int = int16()


@request(82, "0", flexible="0+")
class UpdateRaftVoterRequest:
    cluster_id: str | None = string(nullable="0+")
    current_leader_epoch: int = int32()
    voter_id: int = int32()
    voter_directory_id: Uuid = uuid()
    listeners: list[UpdateRaftVoterRequestListener] = array(UpdateRaftVoterRequestListener)
    kraft_version_feature: KRaftVersionFeature = one(KRaftVersionFeature)


@struct()
class CurrentLeader:
    leader_id: int = int32(default=-1)
    leader_epoch: int = int32(default=-1)
    host: str = string()
    port: int = int32()


@response(82, "0", flexible="0+")
class UpdateRaftVoterResponse:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    current_leader: CurrentLeader = one(CurrentLeader, tag=0)

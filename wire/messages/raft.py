"""KRaft, the consensus of Kafka's controllers: Vote (key 52), BeginQuorumEpoch (53), EndQuorumEpoch (54),
DescribeQuorum (55), FetchSnapshot (59), AddRaftVoter (80), RemoveRaftVoter (81), UpdateRaftVoter (82); and Envelope
(58), in which a broker forwards a client's request to the controller.

All of them are about one topic, `__cluster_metadata`, with one partition. A replica is known by its id and, since
KIP-853, by the id of its log directory. They are declared so that a trace can show them: metadata here
lives in a store, not in a quorum of controllers.
"""

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
    replica_epoch: int = int32()  # the candidate's; a vote is valid for it alone
    replica_id: int = int32()  # who asks for the vote
    replica_directory_id: Uuid = uuid("1+", ignorable=True)
    voter_directory_id: Uuid = uuid("1+", ignorable=True)  # of the asked voter
    last_offset_epoch: int = int32()  # of the last record in its log
    last_offset: int = int64()  # where its log ends
    pre_vote: bool = boolean("2+")  # would you vote for me? Nobody's epoch changes by that


@struct("TopicData")
class VoteRequestTopicData:
    topic_name: str = string()
    partitions: list[VoteRequestPartitionData] = array(VoteRequestPartitionData)


@request(52, "0-2", flexible="0+")
class VoteRequest:
    """A candidate asks a voter for its vote (KIP-595).

    - 1: directory ids, the voter that is meant (KIP-853)
    - 2: pre-votes (KIP-996)
    """

    cluster_id: str | None = string(nullable="0+", default=None)  # refused if it is another cluster's
    voter_id: int = int32("1+", default=-1, ignorable=True)  # who is asked
    topics: list[VoteRequestTopicData] = array(VoteRequestTopicData)


@struct("PartitionData")
class VoteResponsePartitionData:
    partition_index: int = int32()
    error_code: int = int16()
    leader_id: int = int32()  # -1: not known
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
    """Grant or refuse the vote.

    - 1: the leader's address (KIP-853)
    """

    error_code: int = int16()  # of the whole request
    topics: list[VoteResponseTopicData] = array(VoteResponseTopicData)
    node_endpoints: list[VoteResponseNodeEndpoint] = array(VoteResponseNodeEndpoint, "1+", tag=0)


@struct("PartitionData")
class BeginQuorumEpochRequestPartitionData:
    partition_index: int = int32()
    voter_directory_id: Uuid = uuid("1+", ignorable=True)  # of the addressed voter
    leader_id: int = int32()  # the sender
    leader_epoch: int = int32()


@struct("TopicData")
class BeginQuorumEpochRequestTopicData:
    topic_name: str = string()
    partitions: list[BeginQuorumEpochRequestPartitionData] = array(BeginQuorumEpochRequestPartitionData)


@struct("LeaderEndpoint")
class BeginQuorumEpochRequestLeaderEndpoint:
    name: str = string("1+")  # of the listener
    host: str = string("1+")
    port: int = uint16("1+")


@request(53, "0-1", flexible="1+")
class BeginQuorumEpochRequest:
    """A new leader tells the voters (KIP-595).

    - 1: flexible; directory ids, the voter that is meant, the leader's addresses (KIP-853)
    """

    cluster_id: str | None = string(nullable="0+", default=None)  # refused if it is another cluster's
    voter_id: int = int32("1+", default=-1, ignorable=True)  # who is told
    topics: list[BeginQuorumEpochRequestTopicData] = array(BeginQuorumEpochRequestTopicData)
    leader_endpoints: list[BeginQuorumEpochRequestLeaderEndpoint] = array(
        BeginQuorumEpochRequestLeaderEndpoint, "1+", ignorable=True
    )


@struct("PartitionData")
class BeginQuorumEpochResponsePartitionData:
    partition_index: int = int32()
    error_code: int = int16()  # FENCED_LEADER_EPOCH: the voter knows a newer epoch
    leader_id: int = int32()  # as the voter knows it; -1: not known
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
    """Accept the leader, or name a newer one; from version 1 on flexible and with its address (KIP-853)."""

    error_code: int = int16()  # of the whole request
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
    leader_id: int = int32()  # the sender
    leader_epoch: int = int32()  # that ends
    preferred_successors: list[int] = array(Kind.INT32, "0", ignorable=True)  # the one with the longest log first
    # the one with the longest log first
    preferred_candidates: list[ReplicaInfo] = array(ReplicaInfo, "1+", ignorable=True)


@struct("TopicData")
class EndQuorumEpochRequestTopicData:
    topic_name: str = string()
    partitions: list[EndQuorumEpochRequestPartitionData] = array(EndQuorumEpochRequestPartitionData)


@struct("LeaderEndpoint")
class EndQuorumEpochRequestLeaderEndpoint:
    name: str = string("1+")  # of the listener
    host: str = string("1+")
    port: int = uint16("1+")


@request(54, "0-1", flexible="1+")
class EndQuorumEpochRequest:
    """A leader that stops asks for an election at once (KIP-595).

    - 1: flexible; directory ids, the leader's addresses (KIP-853)
    """

    cluster_id: str | None = string(nullable="0+", default=None)  # refused if it is another cluster's
    topics: list[EndQuorumEpochRequestTopicData] = array(EndQuorumEpochRequestTopicData)
    leader_endpoints: list[EndQuorumEpochRequestLeaderEndpoint] = array(
        EndQuorumEpochRequestLeaderEndpoint, "1+", ignorable=True
    )


@struct("PartitionData")
class EndQuorumEpochResponsePartitionData:
    partition_index: int = int32()
    error_code: int = int16()
    leader_id: int = int32()  # as the voter knows it; -1: not known
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
    """Accept that, or name a newer leader; from version 1 on flexible and with its address (KIP-853)."""

    error_code: int = int16()  # of the whole request
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
    """Ask the leader how the quorum is (KIP-595).

    - 1, 2: only the response differs
    """

    topics: list[DescribeQuorumRequestTopicData] = array(DescribeQuorumRequestTopicData)


@struct()
class ReplicaState:
    replica_id: int = int32()
    replica_directory_id: Uuid = uuid("2+")
    log_end_offset: int = int64()  # -1: not known
    last_fetch_timestamp: int = int64("1+", default=-1, ignorable=True)  # ms; -1: not known, or the leader itself
    # ms, when it last had all of the leader's log; of the leader itself: now; -1: not known
    last_caught_up_timestamp: int = int64("1+", default=-1, ignorable=True)


@struct("PartitionData")
class DescribeQuorumResponsePartitionData:
    partition_index: int = int32()
    error_code: int = int16()
    error_message: str | None = string("2+", nullable="2+", ignorable=True)
    leader_id: int = int32()  # -1: not known
    leader_epoch: int = int32()
    high_watermark: int = int64()
    current_voters: list[ReplicaState] = array(ReplicaState)
    observers: list[ReplicaState] = array(ReplicaState)  # replicas that do not vote: brokers, mostly


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
    """Describe voters and observers.

    - 1: when each last fetched and caught up (KIP-836)
    - 2: directory ids, addresses of the voters, error messages (KIP-853)
    """

    error_code: int = int16()  # of the whole request
    error_message: str | None = string("2+", nullable="2+", ignorable=True)
    topics: list[DescribeQuorumResponseTopicData] = array(DescribeQuorumResponseTopicData)
    nodes: list[Node] = array(Node, "2+")  # the voters


@request(58, "0", flexible="0+")
class EnvelopeRequest:
    """Carry a client's request to the controller (KIP-590)."""

    request_data: bytes = bytes_()  # header and body of the request
    request_principal: bytes | None = bytes_(nullable="0+")  # who sent it, as the broker's principal builder writes it
    client_host_address: bytes = bytes_()  # 4 or 16 bytes


@response(58, "0", flexible="0+")
class EnvelopeResponse:
    """Carry the controller's answer back."""

    response_data: bytes | None = bytes_(nullable="0+", default=None)  # header and body of the answer
    error_code: int = int16()  # of the envelope: NOT_CONTROLLER makes the broker try again


@struct("SnapshotId")
class FetchSnapshotRequestSnapshotId:
    end_offset: int = int64()  # exclusive
    epoch: int = int32()


@struct("PartitionSnapshot")
class FetchSnapshotRequestPartitionSnapshot:
    partition: int = int32()
    current_leader_epoch: int = int32()  # that the follower knows; another one is answered with an error
    snapshot_id: FetchSnapshotRequestSnapshotId = one(FetchSnapshotRequestSnapshotId)
    position: int = int64()  # where in the snapshot to go on, in bytes
    replica_directory_id: Uuid = uuid("1+", tag=0, ignorable=True)  # of the follower


@struct("TopicSnapshot")
class FetchSnapshotRequestTopicSnapshot:
    name: str = string()
    partitions: list[FetchSnapshotRequestPartitionSnapshot] = array(FetchSnapshotRequestPartitionSnapshot)


@request(59, "0-1", flexible="0+")
class FetchSnapshotRequest:
    """Ask for a piece of a snapshot of the metadata log (KIP-630).

    - 1: directory ids (KIP-853)
    """

    cluster_id: str | None = string(nullable="0+", tag=0, default=None)  # refused if it is another cluster's
    replica_id: int = int32(default=-1)  # the follower
    max_bytes: int = int32(default=2147483647)  # for all pieces of the answer
    topics: list[FetchSnapshotRequestTopicSnapshot] = array(FetchSnapshotRequestTopicSnapshot)


@struct("SnapshotId")
class FetchSnapshotResponseSnapshotId:
    end_offset: int = int64()  # exclusive
    epoch: int = int32()


@struct()
class LeaderIdAndEpoch:
    leader_id: int = int32()  # -1: not known
    leader_epoch: int = int32()


@struct("PartitionSnapshot")
class FetchSnapshotResponsePartitionSnapshot:
    index: int = int32()
    error_code: int = int16()
    snapshot_id: FetchSnapshotResponseSnapshotId = one(FetchSnapshotResponseSnapshotId)
    current_leader: LeaderIdAndEpoch = one(LeaderIdAndEpoch, tag=0)
    size: int = int64()  # of the whole snapshot, in bytes
    position: int = int64()  # of this piece in it, in bytes
    unaligned_records: Records | None = records()  # bytes of the snapshot, cut anywhere


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
    """Answer a piece of the snapshot; from version 1 on with the leader's address (KIP-853)."""

    throttle_time_ms: int = int32(ignorable=True)
    error_code: int = int16()  # of the whole request
    topics: list[FetchSnapshotResponseTopicSnapshot] = array(FetchSnapshotResponseTopicSnapshot)
    node_endpoints: list[FetchSnapshotResponseNodeEndpoint] = array(FetchSnapshotResponseNodeEndpoint, "1+", tag=0)


@struct("Listener")
class AddRaftVoterRequestListener:
    name: str = string()  # of the listener
    host: str = string()
    port: int = uint16()


@request(80, "0-1", flexible="0+")
class AddRaftVoterRequest:
    """Make a replica a voter (KIP-853).

    - 1: whether to wait until the voters agreed (KIP-1186)
    """

    cluster_id: str | None = string(nullable="0+")  # refused if it is another cluster's; null: not checked
    timeout_ms: int = int32()  # how long to wait
    voter_id: int = int32()
    voter_directory_id: Uuid = uuid()
    listeners: list[AddRaftVoterRequestListener] = array(AddRaftVoterRequestListener)  # where the voter can be reached
    # answer when the new set of voters is committed; false: when the leader has written it
    ack_when_committed: bool = boolean("1+", default=True)


@response(80, "0-1", flexible="0+")
class AddRaftVoterResponse:
    """Say whether the replica votes now."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", ignorable=True)


@request(81, "0", flexible="0+")
class RemoveRaftVoterRequest:
    """Take a voter out of the quorum (KIP-853)."""

    cluster_id: str | None = string(nullable="0+")  # refused if it is another cluster's; null: not checked
    voter_id: int = int32()
    voter_directory_id: Uuid = uuid()


@response(81, "0", flexible="0+")
class RemoveRaftVoterResponse:
    """Say whether the replica votes no more."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", ignorable=True)


@struct("Listener")
class UpdateRaftVoterRequestListener:
    name: str = string()  # of the listener
    host: str = string()
    port: int = uint16()


@struct()
class KRaftVersionFeature:
    min_supported_version: int = int16()  # of kraft.version; from 1 on voters come and go
    max_supported_version: int = int16()


@request(82, "0", flexible="0+")
class UpdateRaftVoterRequest:
    """A voter tells the leader its addresses and what it supports (KIP-853)."""

    cluster_id: str | None = string(nullable="0+")  # refused if it is another cluster's
    current_leader_epoch: int = int32()  # that the voter knows
    voter_id: int = int32()
    voter_directory_id: Uuid = uuid()
    listeners: list[UpdateRaftVoterRequestListener] = array(UpdateRaftVoterRequestListener)
    kraft_version_feature: KRaftVersionFeature = one(KRaftVersionFeature)


@struct()
class CurrentLeader:
    leader_id: int = int32(default=-1)  # -1: not known
    leader_epoch: int = int32(default=-1)
    host: str = string()
    port: int = int32()


@response(82, "0", flexible="0+")
class UpdateRaftVoterResponse:
    """Say whether the leader took it, or who leads."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    current_leader: CurrentLeader = one(CurrentLeader, tag=0)  # where to go, if the asked controller does not lead

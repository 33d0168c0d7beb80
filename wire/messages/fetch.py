"""Fetch (key 1): read record batches from partitions; used by consumers and by followers alike.

A broker holds the request back until `min_bytes` are there or `max_wait_ms` is over. In a fetch session (KIP-227) the
broker remembers the partitions of earlier requests: a request then names only what changed, and the answer only
partitions with news.
"""

from wire.schema import (
    Kind,
    Records,
    Uuid,
    array,
    int8,
    int16,
    int32,
    int64,
    one,
    records,
    request,
    response,
    string,
    struct,
    uuid,
)


@struct()
class ReplicaState:
    replica_id: int = int32("15+", default=-1)  # broker id of a follower, -1 for a consumer
    # the follower's broker epoch: a broker that restarted is not taken for its predecessor
    replica_epoch: int = int64("15+", default=-1)


@struct()
class FetchPartition:
    partition: int = int32()
    # the leader epoch the client knows; another one is answered with an error; -1: do not check
    current_leader_epoch: int = int32("9+", default=-1, ignorable=True)
    fetch_offset: int = int64()
    # leader epoch of the last record the follower holds, to find out where its log diverges
    last_fetched_epoch: int = int32("12+", default=-1)
    # the follower's own; the leader needs it for DeleteRecords; -1 from consumers
    log_start_offset: int = int64("5+", default=-1, ignorable=True)
    partition_max_bytes: int = int32()  # a soft limit: a first batch that is larger comes whole
    replica_directory_id: Uuid = uuid("17+", tag=0, ignorable=True)  # log directory of a fetching controller or broker
    # what the follower knows; the leader answers at once if it can move it
    high_watermark: int = int64("18+", tag=1, default=9223372036854775807, ignorable=True)


@struct()
class FetchTopic:
    topic: str = string("0-12", ignorable=True)  # until version 12; later the topic id says which topic
    topic_id: Uuid = uuid("13+", ignorable=True)
    partitions: list[FetchPartition] = array(FetchPartition)


@struct()
class ForgottenTopic:
    topic: str = string("7-12", ignorable=True)
    topic_id: Uuid = uuid("13+", ignorable=True)
    partitions: list[int] = array(Kind.INT32, "7+")


@request(1, "4-18", flexible="12+")
class FetchRequest:
    """Ask for records from given offsets on.

    - 4: isolation level, record batches of format v2 (KIP-98); older versions are gone (KIP-896)
    - 5: the follower's log start offset (KIP-107)
    - 6: the client copes with KAFKA_STORAGE_ERROR (KIP-112)
    - 7: fetch sessions (KIP-227)
    - 8: only throttling differs: the answer comes before the pause (KIP-219)
    - 9: the leader epoch that the client knows (KIP-320)
    - 10: the client understands zstd (KIP-110)
    - 11: the client's rack, to be sent to a nearby replica (KIP-392)
    - 12: flexible; the epoch of the last fetched record, for followers to find divergence without asking (KIP-595)
    - 13: topic ids instead of names (KIP-516)
    - 14: the client copes with OFFSET_MOVED_TO_TIERED_STORAGE (KIP-405)
    - 15: followers tell their broker epoch (KIP-903)
    - 16: only the response differs (KIP-951)
    - 17: the follower's log directory (KIP-853)
    - 18: the high watermark that the follower knows (KIP-1166)
    """

    # refused if it is another cluster's
    cluster_id: str | None = string("12+", nullable="12+", tag=0, default=None, ignorable=True)
    replica_id: int = int32("0-14", default=-1)  # broker id of a follower, -1 for a consumer
    replica_state: ReplicaState = one(ReplicaState, "15+", tag=1)
    max_wait_ms: int = int32()  # how long to wait for min_bytes
    min_bytes: int = int32()  # answer as soon as there is so much
    # a soft limit for the whole answer: a first batch that is larger comes whole
    max_bytes: int = int32("3+", default=2147483647, ignorable=True)
    # 0: read uncommitted; 1: read committed, nothing beyond the last stable offset
    isolation_level: int = int8("4+", ignorable=True)
    session_id: int = int32("7+", ignorable=True)  # 0: no session, or a new one
    # 0 begins a session, -1 ends it or asks for none, else it counts the requests of the session
    session_epoch: int = int32("7+", default=-1, ignorable=True)
    topics: list[FetchTopic] = array(FetchTopic)  # in a session: what is new or changed
    forgotten_topics_data: list[ForgottenTopic] = array(ForgottenTopic, "7+")  # partitions that leave the session
    rack_id: str = string("11+", ignorable=True)  # of the consumer; the leader may send it to a replica there


@struct()
class EpochEndOffset:
    epoch: int = int32("12+", default=-1)
    end_offset: int = int64("12+", default=-1)


@struct()
class LeaderIdAndEpoch:
    leader_id: int = int32("12+", default=-1)  # -1: not told
    leader_epoch: int = int32("12+", default=-1)


@struct()
class SnapshotId:
    end_offset: int = int64(default=-1)  # exclusive
    epoch: int = int32(default=-1)


@struct()
class AbortedTransaction:
    producer_id: int = int64("4+")
    # where the transaction's records begin; a reader drops the producer's records up to its abort marker
    first_offset: int = int64("4+")


@struct()
class PartitionData:
    partition_index: int = int32()
    error_code: int = int16()
    high_watermark: int = int64()  # consumers see nothing from here on
    # everything below it is decided, committed or aborted
    last_stable_offset: int = int64("4+", default=-1, ignorable=True)
    log_start_offset: int = int64("5+", default=-1, ignorable=True)
    # the largest epoch both logs share at most, and where it ends: the follower truncates and asks again
    diverging_epoch: EpochEndOffset = one(EpochEndOffset, "12+", tag=0)
    # where to go after NOT_LEADER_OR_FOLLOWER or FENCED_LEADER_EPOCH
    current_leader: LeaderIdAndEpoch = one(LeaderIdAndEpoch, "12+", tag=1)
    # the snapshot to fetch, where the log no longer begins early enough (metadata log only)
    snapshot_id: SnapshotId = one(SnapshotId, "12+", tag=2)
    # null with isolation level 0
    aborted_transactions: list[AbortedTransaction] | None = array(
        AbortedTransaction, "4+", nullable="4+", ignorable=True
    )
    # a nearer replica to read from, -1 for none; then there are no records
    preferred_read_replica: int = int32("11+", default=-1)
    records: Records | None = records(nullable="0+")  # whole batches, except that the last may be cut short


@struct()
class FetchableTopicResponse:
    topic: str = string("0-12", ignorable=True)
    topic_id: Uuid = uuid("13+", ignorable=True)
    partitions: list[PartitionData] = array(PartitionData)


@struct()
class NodeEndpoint:
    node_id: int = int32("16+")
    host: str = string("16+")
    port: int = int32("16+")
    rack: str | None = string("16+", nullable="16+", default=None)


@response(1, "4-18", flexible="12+")
class FetchResponse:
    """Answer with record batches as they lie in the log.

    - 4: last stable offset and aborted transactions (KIP-98)
    - 5: log start offset (KIP-107)
    - 7: fetch sessions, with an error for the whole (KIP-227)
    - 11: the replica to read from (KIP-392)
    - 12: flexible; divergence, current leader and snapshot of a partition (KIP-595, KIP-630)
    - 13: topic ids instead of names (KIP-516)
    - 16: addresses of new leaders (KIP-951)
    """

    throttle_time_ms: int = int32("1+", ignorable=True)
    error_code: int = int16("7+", ignorable=True)  # of the whole request: session errors
    session_id: int = int32("7+")  # 0: there is none
    # in a session: only partitions with records, an error or a moved offset
    responses: list[FetchableTopicResponse] = array(FetchableTopicResponse)
    # addresses of the brokers that `current_leader` names
    node_endpoints: list[NodeEndpoint] = array(NodeEndpoint, "16+", tag=0)

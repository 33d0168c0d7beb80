"""Where replicas are and who leads: AlterReplicaLogDirs (key 34), DescribeLogDirs (35), ElectLeaders (43),
AlterPartitionReassignments (45), ListPartitionReassignments (46), AlterPartition (56), AssignReplicasToDirs (73).

The last two are from brokers to the controller.
"""

from wire.schema import Kind, Uuid, array, boolean, int8, int16, int32, int64, request, response, string, struct, uuid


@struct()
class AlterReplicaLogDirTopic:
    name: str = string()
    partitions: list[int] = array(Kind.INT32)


@struct()
class AlterReplicaLogDir:
    path: str = string()  # absolute, of a log directory of this broker
    topics: list[AlterReplicaLogDirTopic] = array(AlterReplicaLogDirTopic)


@request(34, "1-2", flexible="2+")
class AlterReplicaLogDirsRequest:
    """Move replicas between log directories of the asked broker (KIP-113).

    - 1: as 0, which is gone (KIP-896)
    - 2: flexible
    """

    dirs: list[AlterReplicaLogDir] = array(AlterReplicaLogDir)


@struct()
class AlterReplicaLogDirPartitionResult:
    partition_index: int = int32()
    error_code: int = int16()


@struct()
class AlterReplicaLogDirTopicResult:
    topic_name: str = string()
    partitions: list[AlterReplicaLogDirPartitionResult] = array(AlterReplicaLogDirPartitionResult)


@response(34, "1-2", flexible="2+")
class AlterReplicaLogDirsResponse:
    """Say of each replica whether its move has begun.

    - 2: flexible
    """

    throttle_time_ms: int = int32()
    results: list[AlterReplicaLogDirTopicResult] = array(AlterReplicaLogDirTopicResult)


@struct()
class DescribableLogDirTopic:
    topic: str = string()
    partitions: list[int] = array(Kind.INT32)


@request(35, "1-5", flexible="2+")
class DescribeLogDirsRequest:
    """Ask what is in the log directories of a broker (KIP-113).

    - 1: as 0, which is gone (KIP-896)
    - 2: flexible
    - 3 to 5: only the response differs
    """

    topics: list[DescribableLogDirTopic] | None = array(DescribableLogDirTopic, nullable="0+")  # null: all


@struct()
class DescribeLogDirsPartition:
    partition_index: int = int32()
    partition_size: int = int64()  # bytes of its segments
    # how far a future replica is behind the current one, or the current one behind its high watermark
    offset_lag: int = int64()
    is_future_key: bool = boolean()  # a replica on its move to this directory


@struct()
class DescribeLogDirsTopic:
    name: str = string()
    partitions: list[DescribeLogDirsPartition] = array(DescribeLogDirsPartition)


@struct()
class DescribeLogDirsResult:
    error_code: int = int16()
    log_dir: str = string()  # absolute path
    topics: list[DescribeLogDirsTopic] = array(DescribeLogDirsTopic)
    total_bytes: int = int64("4+", default=-1, ignorable=True)  # of the volume; -1: not known
    usable_bytes: int = int64("4+", default=-1, ignorable=True)  # of the volume; -1: not known
    is_cordoned: bool = boolean("5+", ignorable=True)  # shall get no new partitions


@response(35, "1-5", flexible="2+")
class DescribeLogDirsResponse:
    """Describe log directories.

    - 2: flexible
    - 3: an error for the whole
    - 4: the volume's size (KIP-827)
    - 5: cordoned directories (KIP-1066)
    """

    throttle_time_ms: int = int32()
    error_code: int = int16("3+", ignorable=True)
    results: list[DescribeLogDirsResult] = array(DescribeLogDirsResult)


@struct()
class TopicPartitions:
    topic: str = string()
    partitions: list[int] = array(Kind.INT32)


@request(43, "0-2", flexible="2+")
class ElectLeadersRequest:
    """Elect leaders of partitions (KIP-183).

    - 1: unclean elections too (KIP-460)
    - 2: flexible
    """

    election_type: int = int8("1+")  # 0 the preferred replica, 1 any replica where none is in sync
    topic_partitions: list[TopicPartitions] | None = array(TopicPartitions, nullable="0+")  # null: all
    timeout_ms: int = int32(default=60000)  # how long to wait for the elections


@struct()
class PartitionResult:
    partition_id: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")


@struct()
class ReplicaElectionResult:
    topic: str = string()
    partition_result: list[PartitionResult] = array(PartitionResult)


@response(43, "0-2", flexible="2+")
class ElectLeadersResponse:
    """Say of each partition whether it was elected.

    - 1: an error for the whole (KIP-460)
    - 2: flexible
    """

    throttle_time_ms: int = int32()
    error_code: int = int16("1+")
    replica_election_results: list[ReplicaElectionResult] = array(ReplicaElectionResult)


@struct()
class ReassignablePartition:
    partition_index: int = int32()
    # null: cancel the reassignment under way
    replicas: list[int] | None = array(Kind.INT32, nullable="0+", default=None)


@struct()
class ReassignableTopic:
    name: str = string()
    partitions: list[ReassignablePartition] = array(ReassignablePartition)


@request(45, "0-1", flexible="0+")
class AlterPartitionReassignmentsRequest:
    """Move partitions to other brokers, or cancel that (KIP-455).

    - 1: whether the number of replicas may change (KIP-860)
    """

    timeout_ms: int = int32(default=60000)  # how long to wait until the moves have begun
    allow_replication_factor_change: bool = boolean("1+", default=True)
    topics: list[ReassignableTopic] = array(ReassignableTopic)


@struct()
class ReassignablePartitionResponse:
    partition_index: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")


@struct()
class ReassignableTopicResponse:
    name: str = string()
    partitions: list[ReassignablePartitionResponse] = array(ReassignablePartitionResponse)


@response(45, "0-1", flexible="0+")
class AlterPartitionReassignmentsResponse:
    """Say of each partition whether its move has begun.

    - 1: whether the number of replicas might change (KIP-860)
    """

    throttle_time_ms: int = int32()
    allow_replication_factor_change: bool = boolean("1+", default=True, ignorable=True)
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    responses: list[ReassignableTopicResponse] = array(ReassignableTopicResponse)


@struct()
class ListPartitionReassignmentsTopics:
    name: str = string()
    partition_indexes: list[int] = array(Kind.INT32)


@request(46, "0", flexible="0+")
class ListPartitionReassignmentsRequest:
    """Ask which moves are under way (KIP-455)."""

    timeout_ms: int = int32(default=60000)  # how long to wait for the controller
    # null: all
    topics: list[ListPartitionReassignmentsTopics] | None = array(
        ListPartitionReassignmentsTopics, nullable="0+", default=None
    )


@struct()
class OngoingPartitionReassignment:
    partition_index: int = int32()
    replicas: list[int] = array(Kind.INT32)  # old and new ones
    adding_replicas: list[int] = array(Kind.INT32)
    removing_replicas: list[int] = array(Kind.INT32)


@struct()
class OngoingTopicReassignment:
    name: str = string()
    partitions: list[OngoingPartitionReassignment] = array(OngoingPartitionReassignment)


@response(46, "0", flexible="0+")
class ListPartitionReassignmentsResponse:
    """List moves under way (KIP-455)."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    topics: list[OngoingTopicReassignment] = array(OngoingTopicReassignment)


@struct()
class BrokerState:
    broker_id: int = int32("3+")
    broker_epoch: int = int64("3+", default=-1)  # -1: not checked


@struct("PartitionData")
class AlterPartitionRequestPartitionData:
    partition_index: int = int32()
    leader_epoch: int = int32()
    new_isr: list[int] = array(Kind.INT32, "0-2")
    # a broker that restarted meanwhile does not get in
    new_isr_with_epochs: list[BrokerState] = array(BrokerState, "3+")
    leader_recovery_state: int = int8("1+")  # 1 while a leader from an unclean election recovers, else 0
    partition_epoch: int = int32()  # the state that the proposal is based on


@struct("TopicData")
class AlterPartitionRequestTopicData:
    topic_id: Uuid = uuid("2+", ignorable=True)
    partitions: list[AlterPartitionRequestPartitionData] = array(AlterPartitionRequestPartitionData)


@request(56, "2-3", flexible="0+")
class AlterPartitionRequest:
    """A leader proposes another ISR to the controller (KIP-497).

    - 2: topic ids instead of names (KIP-841); older versions are gone (KIP-896)
    - 3: epochs of the brokers in the ISR (KIP-903)
    """

    broker_id: int = int32()
    broker_epoch: int = int64(default=-1)
    topics: list[AlterPartitionRequestTopicData] = array(AlterPartitionRequestTopicData)


@struct("PartitionData")
class AlterPartitionResponsePartitionData:
    partition_index: int = int32()
    error_code: int = int16()
    leader_id: int = int32()
    leader_epoch: int = int32()
    isr: list[int] = array(Kind.INT32)
    # 1 while a leader from an unclean election recovers, else 0
    leader_recovery_state: int = int8("1+", ignorable=True)
    partition_epoch: int = int32()  # grows with each change


@struct("TopicData")
class AlterPartitionResponseTopicData:
    topic_id: Uuid = uuid("2+", ignorable=True)
    partitions: list[AlterPartitionResponsePartitionData] = array(AlterPartitionResponsePartitionData)


@response(56, "2-3", flexible="0+")
class AlterPartitionResponse:
    """Tell the leader the state of its partitions, its proposal accepted or not (KIP-497).

    - 2: topic ids instead of names (KIP-841)
    """

    throttle_time_ms: int = int32()
    error_code: int = int16()
    topics: list[AlterPartitionResponseTopicData] = array(AlterPartitionResponseTopicData)


@struct("PartitionData")
class AssignReplicasToDirsRequestPartitionData:
    partition_index: int = int32()


@struct("TopicData")
class AssignReplicasToDirsRequestTopicData:
    topic_id: Uuid = uuid()
    partitions: list[AssignReplicasToDirsRequestPartitionData] = array(AssignReplicasToDirsRequestPartitionData)


@struct("DirectoryData")
class AssignReplicasToDirsRequestDirectoryData:
    id: Uuid = uuid()  # of a log directory
    topics: list[AssignReplicasToDirsRequestTopicData] = array(AssignReplicasToDirsRequestTopicData)


@request(73, "0", flexible="0+")
class AssignReplicasToDirsRequest:
    """A broker tells the controller in which log directories its replicas are (KIP-858)."""

    broker_id: int = int32()
    broker_epoch: int = int64(default=-1)
    directories: list[AssignReplicasToDirsRequestDirectoryData] = array(AssignReplicasToDirsRequestDirectoryData)


@struct("PartitionData")
class AssignReplicasToDirsResponsePartitionData:
    partition_index: int = int32()
    error_code: int = int16()


@struct("TopicData")
class AssignReplicasToDirsResponseTopicData:
    topic_id: Uuid = uuid()
    partitions: list[AssignReplicasToDirsResponsePartitionData] = array(AssignReplicasToDirsResponsePartitionData)


@struct("DirectoryData")
class AssignReplicasToDirsResponseDirectoryData:
    id: Uuid = uuid()  # of a log directory
    topics: list[AssignReplicasToDirsResponseTopicData] = array(AssignReplicasToDirsResponseTopicData)


@response(73, "0", flexible="0+")
class AssignReplicasToDirsResponse:
    """Say of each replica whether the controller knows its directory (KIP-858)."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    directories: list[AssignReplicasToDirsResponseDirectoryData] = array(AssignReplicasToDirsResponseDirectoryData)

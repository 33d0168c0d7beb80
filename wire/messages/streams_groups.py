"""Kafka Streams groups: StreamsGroupHeartbeat (key 88), StreamsGroupDescribe (89),
StreamsGroupTopologyDescriptionUpdate (93) (KIP-1071).

The broker assigns the tasks of a Streams application: a task is a partition number of a subtopology, active on one
client, and kept warm (standby) or being warmed up on others. Members bring the topology when they join; the broker
creates the internal topics that it needs.
"""

from wire.schema import Kind, array, boolean, int8, int16, int32, int64, one, request, response, string, struct, uint16


@struct("KeyValue")
class StreamsGroupHeartbeatRequestKeyValue:
    key: str = string()
    value: str = string()


@struct("TopicInfo")
class StreamsGroupHeartbeatRequestTopicInfo:
    name: str = string()
    partitions: int = int32()  # 0: as the topics that it depends on
    replication_factor: int = int16()  # 0: the broker's default
    topic_configs: list[StreamsGroupHeartbeatRequestKeyValue] = array(StreamsGroupHeartbeatRequestKeyValue)


@struct()
class CopartitionGroup:
    source_topics: list[int] = array(Kind.INT16)  # positions in the subtopology's `source_topics`
    source_topic_regex: list[int] = array(Kind.INT16)  # positions in the subtopology's `source_topic_regex`
    # positions in the subtopology's `repartition_source_topics`
    repartition_source_topics: list[int] = array(Kind.INT16)


@struct("Subtopology")
class StreamsGroupHeartbeatRequestSubtopology:
    subtopology_id: str = string()  # follows from the topology: all members name it alike
    source_topics: list[str] = array(Kind.STRING)  # read from outside the application
    source_topic_regex: list[str] = array(Kind.STRING)  # RE2 patterns of such topics
    # hold the state stores
    state_changelog_topics: list[StreamsGroupHeartbeatRequestTopicInfo] = array(StreamsGroupHeartbeatRequestTopicInfo)
    repartition_sink_topics: list[str] = array(Kind.STRING)  # written for other subtopologies
    # written by other subtopologies
    repartition_source_topics: list[StreamsGroupHeartbeatRequestTopicInfo] = array(
        StreamsGroupHeartbeatRequestTopicInfo
    )
    # topics that must have equally many partitions
    copartition_groups: list[CopartitionGroup] = array(CopartitionGroup)


@struct("Topology")
class StreamsGroupHeartbeatRequestTopology:
    epoch: int = int32()  # grows with each change of the topology
    subtopologies: list[StreamsGroupHeartbeatRequestSubtopology] = array(StreamsGroupHeartbeatRequestSubtopology)


@struct("TaskIds")
class StreamsGroupHeartbeatRequestTaskIds:
    subtopology_id: str = string()
    partitions: list[int] = array(Kind.INT32)  # one task each


@struct("Endpoint")
class StreamsGroupHeartbeatRequestEndpoint:
    host: str = string()
    port: int = uint16()


@struct("TaskOffset")
class StreamsGroupHeartbeatRequestTaskOffset:
    subtopology_id: str = string()
    partition: int = int32()  # of the task
    offset: int = int64()  # sum over the task's changelog partitions


@request(88, "0-1", flexible="0+")
class StreamsGroupHeartbeatRequest:
    """Join, stay in or leave a Streams group; null or -1 where nothing changed.

    - 1: the client copes with what version 1 of the response brings
    """

    group_id: str = string()
    member_id: str = string()  # a uuid that the member makes and keeps as long as it lives
    # 0 joins, -1 leaves, -2 leaves as a static member that will be back; else the epoch that it has
    member_epoch: int = int32()
    endpoint_information_epoch: int = int32()  # of the endpoints that the client knows
    instance_id: str | None = string(nullable="0+", default=None)  # a static member's name; null: a dynamic member
    rack_id: str | None = string(nullable="0+", default=None)  # null: none, or as before
    rebalance_timeout_ms: int = int32(default=-1)  # how long the member may take to give up tasks
    # sent by members that join
    topology: StreamsGroupHeartbeatRequestTopology | None = one(
        StreamsGroupHeartbeatRequestTopology, nullable="0+", default=None
    )
    # what the member owns now
    active_tasks: list[StreamsGroupHeartbeatRequestTaskIds] | None = array(
        StreamsGroupHeartbeatRequestTaskIds, nullable="0+", default=None
    )
    standby_tasks: list[StreamsGroupHeartbeatRequestTaskIds] | None = array(
        StreamsGroupHeartbeatRequestTaskIds, nullable="0+", default=None
    )
    warmup_tasks: list[StreamsGroupHeartbeatRequestTaskIds] | None = array(
        StreamsGroupHeartbeatRequestTaskIds, nullable="0+", default=None
    )
    # of the client's process; its members share state on disk
    process_id: str | None = string(nullable="0+", default=None)
    # where the application answers queries of its state
    user_endpoint: StreamsGroupHeartbeatRequestEndpoint | None = one(
        StreamsGroupHeartbeatRequestEndpoint, nullable="0+", default=None
    )
    # for standby tasks on machines that fail apart
    client_tags: list[StreamsGroupHeartbeatRequestKeyValue] | None = array(
        StreamsGroupHeartbeatRequestKeyValue, nullable="0+", default=None
    )
    # how far the client's state has come, over all changelogs of a task
    task_offsets: list[StreamsGroupHeartbeatRequestTaskOffset] | None = array(
        StreamsGroupHeartbeatRequestTaskOffset, nullable="0+", default=None
    )
    # where those changelogs end
    task_end_offsets: list[StreamsGroupHeartbeatRequestTaskOffset] | None = array(
        StreamsGroupHeartbeatRequestTaskOffset, nullable="0+", default=None
    )
    shutdown_application: bool = boolean()  # ask all clients of the group to end


@struct()
class Status:
    # 0 stale topology, 1 missing source topics, 2 wrongly partitioned, 3 missing internal topics, 4 shut down, 5
    # assignment delayed, 6 missing client tags
    status_code: int = int8()
    status_detail: str = string()  # for people, such as the names of the topics


@struct("TaskIds")
class StreamsGroupHeartbeatResponseTaskIds:
    subtopology_id: str = string()
    partitions: list[int] = array(Kind.INT32)  # one task each


@struct("Endpoint")
class StreamsGroupHeartbeatResponseEndpoint:
    host: str = string()
    port: int = uint16()


@struct()
class TopicPartition:
    topic: str = string()
    partitions: list[int] = array(Kind.INT32)


@struct()
class EndpointToPartitions:
    user_endpoint: StreamsGroupHeartbeatResponseEndpoint = one(StreamsGroupHeartbeatResponseEndpoint)
    # source and repartition topics of the member's active tasks
    active_partitions: list[TopicPartition] = array(TopicPartition)
    standby_partitions: list[TopicPartition] = array(TopicPartition)  # the same for its standby and warm-up tasks


@response(88, "0-1", flexible="0+")
class StreamsGroupHeartbeatResponse:
    """Tell a member its epoch and, where they changed, its tasks; null where nothing changed.

    - 1: acceptable lag in 64 bits; whether the topology's description is wanted (KIP-1331); status 6
    """

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    member_id: str = string()
    member_epoch: int = int32()  # for the next heartbeat
    heartbeat_interval_ms: int = int32()  # send the next request after so long
    acceptable_recovery_lag_legacy: int = int32("0")  # a warm-up task this close may become active, in offsets
    task_offset_interval_ms: int = int32()  # send task offsets that often
    # a warm-up task this close may become active, in offsets; -1: not known
    acceptable_recovery_lag: int = int64("1+", default=-1, ignorable=True)
    status: list[Status] | None = array(Status, nullable="0+")
    # what the member shall own
    active_tasks: list[StreamsGroupHeartbeatResponseTaskIds] | None = array(
        StreamsGroupHeartbeatResponseTaskIds, nullable="0+", default=None
    )
    standby_tasks: list[StreamsGroupHeartbeatResponseTaskIds] | None = array(
        StreamsGroupHeartbeatResponseTaskIds, nullable="0+", default=None
    )
    warmup_tasks: list[StreamsGroupHeartbeatResponseTaskIds] | None = array(
        StreamsGroupHeartbeatResponseTaskIds, nullable="0+", default=None
    )
    topology_description_required: bool = boolean("1+")  # send StreamsGroupTopologyDescriptionUpdate
    endpoint_information_epoch: int = int32()  # of `partitions_by_user_endpoint`
    # who holds which state, for queries; an entry per member, so an endpoint can occur twice
    partitions_by_user_endpoint: list[EndpointToPartitions] | None = array(
        EndpointToPartitions, nullable="0+", default=None
    )


@request(89, "0-1", flexible="0+")
class StreamsGroupDescribeRequest:
    """Ask for the state, the topology and the members of Streams groups.

    - 1: the topology's description too (KIP-1331)
    """

    group_ids: list[str] = array(Kind.STRING)
    include_authorized_operations: bool = boolean()
    include_topology_description: bool = boolean("1+")


@struct("KeyValue")
class StreamsGroupDescribeResponseKeyValue:
    key: str = string()
    value: str = string()


@struct("TopicInfo")
class StreamsGroupDescribeResponseTopicInfo:
    name: str = string()
    partitions: int = int32()  # 0: not determined
    replication_factor: int = int16()  # 0: the broker's default
    topic_configs: list[StreamsGroupDescribeResponseKeyValue] = array(StreamsGroupDescribeResponseKeyValue)


@struct("Subtopology")
class StreamsGroupDescribeResponseSubtopology:
    subtopology_id: str = string()
    source_topics: list[str] = array(Kind.STRING)  # read from outside the application
    repartition_sink_topics: list[str] = array(Kind.STRING)  # written for other subtopologies
    # hold the state stores
    state_changelog_topics: list[StreamsGroupDescribeResponseTopicInfo] = array(StreamsGroupDescribeResponseTopicInfo)
    # written by other subtopologies
    repartition_source_topics: list[StreamsGroupDescribeResponseTopicInfo] = array(
        StreamsGroupDescribeResponseTopicInfo
    )


@struct("Topology")
class StreamsGroupDescribeResponseTopology:
    epoch: int = int32()
    # null: not configured yet
    subtopologies: list[StreamsGroupDescribeResponseSubtopology] | None = array(
        StreamsGroupDescribeResponseSubtopology, nullable="0+", default=None
    )


@struct("Endpoint")
class StreamsGroupDescribeResponseEndpoint:
    host: str = string()
    port: int = uint16()


@struct("TaskOffset")
class StreamsGroupDescribeResponseTaskOffset:
    subtopology_id: str = string()
    partition: int = int32()  # of the task
    offset: int = int64()  # sum over the task's changelog partitions


@struct("TaskIds")
class StreamsGroupDescribeResponseTaskIds:
    subtopology_id: str = string()
    partitions: list[int] = array(Kind.INT32)  # one task each


@struct()
class Assignment:
    active_tasks: list[StreamsGroupDescribeResponseTaskIds] = array(StreamsGroupDescribeResponseTaskIds)
    standby_tasks: list[StreamsGroupDescribeResponseTaskIds] = array(StreamsGroupDescribeResponseTaskIds)
    warmup_tasks: list[StreamsGroupDescribeResponseTaskIds] = array(StreamsGroupDescribeResponseTaskIds)


@struct()
class Member:
    member_id: str = string()
    member_epoch: int = int32()
    instance_id: str | None = string(nullable="0+", default=None)  # null: a dynamic member
    rack_id: str | None = string(nullable="0+", default=None)
    client_id: str = string()
    client_host: str = string()
    topology_epoch: int = int32()  # of the topology that the member runs
    process_id: str = string()  # of the client's process
    # where the application answers queries of its state
    user_endpoint: StreamsGroupDescribeResponseEndpoint | None = one(
        StreamsGroupDescribeResponseEndpoint, nullable="0+", default=None
    )
    # by which standby tasks are spread
    client_tags: list[StreamsGroupDescribeResponseKeyValue] = array(StreamsGroupDescribeResponseKeyValue)
    # how far the client's state has come, over all changelogs of a task
    task_offsets: list[StreamsGroupDescribeResponseTaskOffset] = array(StreamsGroupDescribeResponseTaskOffset)
    # where those changelogs end
    task_end_offsets: list[StreamsGroupDescribeResponseTaskOffset] = array(StreamsGroupDescribeResponseTaskOffset)
    assignment: Assignment = one(Assignment)  # what it owns now
    target_assignment: Assignment = one(Assignment)  # what it shall own in the end
    is_classic: bool = boolean()  # uses the classic protocol still


@struct("TopologyDescriptionNode")
class StreamsGroupDescribeResponseTopologyDescriptionNode:
    name: str = string("1+")  # such as "KSTREAM-SOURCE-0000000000"
    node_type: int = int8("1+")  # 1 source, 2 processor, 3 sink
    source_topics: list[str] = array(Kind.STRING, "1+")  # of a source; empty if it finds them by pattern
    sink_topic: str | None = string("1+", nullable="1+", default=None)  # of a sink; null: chosen per record, or no sink
    stores: list[str] = array(Kind.STRING, "1+")  # state stores that the node uses
    successors: list[str] = array(Kind.STRING, "1+")  # names of the nodes behind it


@struct("TopologyDescriptionSubtopology")
class StreamsGroupDescribeResponseTopologyDescriptionSubtopology:
    subtopology_id: str = string("1+")
    nodes: list[StreamsGroupDescribeResponseTopologyDescriptionNode] = array(
        StreamsGroupDescribeResponseTopologyDescriptionNode, "1+"
    )


@struct("TopologyDescriptionGlobalStore")
class StreamsGroupDescribeResponseTopologyDescriptionGlobalStore:
    # reads the store's topic
    source: StreamsGroupDescribeResponseTopologyDescriptionNode = one(
        StreamsGroupDescribeResponseTopologyDescriptionNode, "1+"
    )
    # fills the store
    processor: StreamsGroupDescribeResponseTopologyDescriptionNode = one(
        StreamsGroupDescribeResponseTopologyDescriptionNode, "1+"
    )


@struct("TopologyDescription")
class StreamsGroupDescribeResponseTopologyDescription:
    subtopologies: list[StreamsGroupDescribeResponseTopologyDescriptionSubtopology] = array(
        StreamsGroupDescribeResponseTopologyDescriptionSubtopology, "1+"
    )
    global_stores: list[StreamsGroupDescribeResponseTopologyDescriptionGlobalStore] = array(
        StreamsGroupDescribeResponseTopologyDescriptionGlobalStore, "1+"
    )


@struct()
class DescribedGroup:
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    group_id: str = string()
    group_state: str = string()  # Empty, NotReady, Assigning, Reconciling, Stable or Dead
    group_epoch: int = int32()  # grows with each change of members, topology or topics
    assignment_epoch: int = int32()  # the group epoch that the target assignment was made for
    # null: not known
    topology: StreamsGroupDescribeResponseTopology | None = one(
        StreamsGroupDescribeResponseTopology, nullable="0+", default=None
    )
    members: list[Member] = array(Member)
    # bit per AclOperation the client may do; the default: not asked for
    authorized_operations: int = int32(default=-2147483648)
    # null unless asked for and there
    topology_description: StreamsGroupDescribeResponseTopologyDescription | None = one(
        StreamsGroupDescribeResponseTopologyDescription, "1+", nullable="1+", default=None
    )
    topology_description_status: int = int8("1+")  # 0 not asked for, 1 none stored, 2 an error, 3 it is there
    # of the next assignment; null on errors
    assignor_name: str | None = string("1+", nullable="1+", default=None, ignorable=True)


@response(89, "0-1", flexible="0+")
class StreamsGroupDescribeResponse:
    """Describe Streams groups.

    - 1: the topology's description (KIP-1331), the assignor (KIP-1357)
    """

    throttle_time_ms: int = int32()
    groups: list[DescribedGroup] = array(DescribedGroup)


@struct("TopologyDescriptionNode")
class StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionNode:
    name: str = string()  # such as "KSTREAM-SOURCE-0000000000"
    node_type: int = int8()  # 1 source, 2 processor, 3 sink
    source_topics: list[str] = array(Kind.STRING)  # of a source; empty if it finds them by pattern
    sink_topic: str | None = string(nullable="0+", default=None)  # of a sink; null: chosen per record, or no sink
    stores: list[str] = array(Kind.STRING)  # state stores that the node uses
    successors: list[str] = array(Kind.STRING)  # names of the nodes behind it


@struct("TopologyDescriptionSubtopology")
class StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionSubtopology:
    subtopology_id: str = string()
    nodes: list[StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionNode] = array(
        StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionNode
    )


@struct("TopologyDescriptionGlobalStore")
class StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionGlobalStore:
    # reads the store's topic
    source: StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionNode = one(
        StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionNode
    )
    # fills the store
    processor: StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionNode = one(
        StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionNode
    )


@struct("TopologyDescription")
class StreamsGroupTopologyDescriptionUpdateRequestTopologyDescription:
    subtopologies: list[StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionSubtopology] = array(
        StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionSubtopology
    )
    global_stores: list[StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionGlobalStore] = array(
        StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionGlobalStore
    )


@request(93, "0", flexible="0+")
class StreamsGroupTopologyDescriptionUpdateRequest:
    """Bring the description of the topology, for tools that show it (KIP-1331)."""

    group_id: str = string()
    member_id: str = string()
    topology_epoch: int = int32()  # of the described topology
    topology_description: StreamsGroupTopologyDescriptionUpdateRequestTopologyDescription = one(
        StreamsGroupTopologyDescriptionUpdateRequestTopologyDescription
    )


@response(93, "0", flexible="0+")
class StreamsGroupTopologyDescriptionUpdateResponse:
    """Say whether the description is stored; UNSUPPORTED_VERSION where the broker has no plugin that stores it."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)

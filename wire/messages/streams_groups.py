from wire.schema import Kind, array, boolean, int8, int16, int32, int64, one, request, response, string, struct, uint16


@struct("KeyValue")
class StreamsGroupHeartbeatRequestKeyValue:
    key: str = string()
    value: str = string()


@struct("TopicInfo")
class StreamsGroupHeartbeatRequestTopicInfo:
    name: str = string()
    partitions: int = int32()
    replication_factor: int = int16()
    topic_configs: list[StreamsGroupHeartbeatRequestKeyValue] = array(StreamsGroupHeartbeatRequestKeyValue)


@struct()
class CopartitionGroup:
    source_topics: list[int] = array(Kind.INT16)
    source_topic_regex: list[int] = array(Kind.INT16)
    repartition_source_topics: list[int] = array(Kind.INT16)


@struct("Subtopology")
class StreamsGroupHeartbeatRequestSubtopology:
    subtopology_id: str = string()
    source_topics: list[str] = array(Kind.STRING)
    source_topic_regex: list[str] = array(Kind.STRING)
    state_changelog_topics: list[StreamsGroupHeartbeatRequestTopicInfo] = array(StreamsGroupHeartbeatRequestTopicInfo)
    repartition_sink_topics: list[str] = array(Kind.STRING)
    repartition_source_topics: list[StreamsGroupHeartbeatRequestTopicInfo] = array(
        StreamsGroupHeartbeatRequestTopicInfo
    )
    copartition_groups: list[CopartitionGroup] = array(CopartitionGroup)


@struct("Topology")
class StreamsGroupHeartbeatRequestTopology:
    epoch: int = int32()
    subtopologies: list[StreamsGroupHeartbeatRequestSubtopology] = array(StreamsGroupHeartbeatRequestSubtopology)


@struct("TaskIds")
class StreamsGroupHeartbeatRequestTaskIds:
    subtopology_id: str = string()
    partitions: list[int] = array(Kind.INT32)


@struct("Endpoint")
class StreamsGroupHeartbeatRequestEndpoint:
    host: str = string()
    port: int = uint16()


@struct("TaskOffset")
class StreamsGroupHeartbeatRequestTaskOffset:
    subtopology_id: str = string()
    partition: int = int32()
    offset: int = int64()


@request(88, "0-1", flexible="0+")
class StreamsGroupHeartbeatRequest:
    group_id: str = string()
    member_id: str = string()
    member_epoch: int = int32()
    endpoint_information_epoch: int = int32()
    instance_id: str | None = string(nullable="0+", default=None)
    rack_id: str | None = string(nullable="0+", default=None)
    rebalance_timeout_ms: int = int32(default=-1)
    topology: StreamsGroupHeartbeatRequestTopology | None = one(
        StreamsGroupHeartbeatRequestTopology, nullable="0+", default=None
    )
    active_tasks: list[StreamsGroupHeartbeatRequestTaskIds] | None = array(
        StreamsGroupHeartbeatRequestTaskIds, nullable="0+", default=None
    )
    standby_tasks: list[StreamsGroupHeartbeatRequestTaskIds] | None = array(
        StreamsGroupHeartbeatRequestTaskIds, nullable="0+", default=None
    )
    warmup_tasks: list[StreamsGroupHeartbeatRequestTaskIds] | None = array(
        StreamsGroupHeartbeatRequestTaskIds, nullable="0+", default=None
    )
    process_id: str | None = string(nullable="0+", default=None)
    user_endpoint: StreamsGroupHeartbeatRequestEndpoint | None = one(
        StreamsGroupHeartbeatRequestEndpoint, nullable="0+", default=None
    )
    client_tags: list[StreamsGroupHeartbeatRequestKeyValue] | None = array(
        StreamsGroupHeartbeatRequestKeyValue, nullable="0+", default=None
    )
    task_offsets: list[StreamsGroupHeartbeatRequestTaskOffset] | None = array(
        StreamsGroupHeartbeatRequestTaskOffset, nullable="0+", default=None
    )
    task_end_offsets: list[StreamsGroupHeartbeatRequestTaskOffset] | None = array(
        StreamsGroupHeartbeatRequestTaskOffset, nullable="0+", default=None
    )
    shutdown_application: bool = boolean()


@struct()
class Status:
    status_code: int = int8()
    status_detail: str = string()


@struct("TaskIds")
class StreamsGroupHeartbeatResponseTaskIds:
    subtopology_id: str = string()
    partitions: list[int] = array(Kind.INT32)


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
    active_partitions: list[TopicPartition] = array(TopicPartition)
    standby_partitions: list[TopicPartition] = array(TopicPartition)


@response(88, "0-1", flexible="0+")
class StreamsGroupHeartbeatResponse:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    member_id: str = string()
    member_epoch: int = int32()
    heartbeat_interval_ms: int = int32()
    acceptable_recovery_lag_legacy: int = int32("0")
    task_offset_interval_ms: int = int32()
    acceptable_recovery_lag: int = int64("1+", default=-1, ignorable=True)
    status: list[Status] | None = array(Status, nullable="0+")
    active_tasks: list[StreamsGroupHeartbeatResponseTaskIds] | None = array(
        StreamsGroupHeartbeatResponseTaskIds, nullable="0+", default=None
    )
    standby_tasks: list[StreamsGroupHeartbeatResponseTaskIds] | None = array(
        StreamsGroupHeartbeatResponseTaskIds, nullable="0+", default=None
    )
    warmup_tasks: list[StreamsGroupHeartbeatResponseTaskIds] | None = array(
        StreamsGroupHeartbeatResponseTaskIds, nullable="0+", default=None
    )
    topology_description_required: bool = boolean("1+")
    endpoint_information_epoch: int = int32()
    partitions_by_user_endpoint: list[EndpointToPartitions] | None = array(
        EndpointToPartitions, nullable="0+", default=None
    )


@request(89, "0-1", flexible="0+")
class StreamsGroupDescribeRequest:
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
    partitions: int = int32()
    replication_factor: int = int16()
    topic_configs: list[StreamsGroupDescribeResponseKeyValue] = array(StreamsGroupDescribeResponseKeyValue)


@struct("Subtopology")
class StreamsGroupDescribeResponseSubtopology:
    subtopology_id: str = string()
    source_topics: list[str] = array(Kind.STRING)
    repartition_sink_topics: list[str] = array(Kind.STRING)
    state_changelog_topics: list[StreamsGroupDescribeResponseTopicInfo] = array(StreamsGroupDescribeResponseTopicInfo)
    repartition_source_topics: list[StreamsGroupDescribeResponseTopicInfo] = array(
        StreamsGroupDescribeResponseTopicInfo
    )


@struct("Topology")
class StreamsGroupDescribeResponseTopology:
    epoch: int = int32()
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
    partition: int = int32()
    offset: int = int64()


@struct("TaskIds")
class StreamsGroupDescribeResponseTaskIds:
    subtopology_id: str = string()
    partitions: list[int] = array(Kind.INT32)


@struct()
class Assignment:
    active_tasks: list[StreamsGroupDescribeResponseTaskIds] = array(StreamsGroupDescribeResponseTaskIds)
    standby_tasks: list[StreamsGroupDescribeResponseTaskIds] = array(StreamsGroupDescribeResponseTaskIds)
    warmup_tasks: list[StreamsGroupDescribeResponseTaskIds] = array(StreamsGroupDescribeResponseTaskIds)


@struct()
class Member:
    member_id: str = string()
    member_epoch: int = int32()
    instance_id: str | None = string(nullable="0+", default=None)
    rack_id: str | None = string(nullable="0+", default=None)
    client_id: str = string()
    client_host: str = string()
    topology_epoch: int = int32()
    process_id: str = string()
    user_endpoint: StreamsGroupDescribeResponseEndpoint | None = one(
        StreamsGroupDescribeResponseEndpoint, nullable="0+", default=None
    )
    client_tags: list[StreamsGroupDescribeResponseKeyValue] = array(StreamsGroupDescribeResponseKeyValue)
    task_offsets: list[StreamsGroupDescribeResponseTaskOffset] = array(StreamsGroupDescribeResponseTaskOffset)
    task_end_offsets: list[StreamsGroupDescribeResponseTaskOffset] = array(StreamsGroupDescribeResponseTaskOffset)
    assignment: Assignment = one(Assignment)
    target_assignment: Assignment = one(Assignment)
    is_classic: bool = boolean()


@struct("TopologyDescriptionNode")
class StreamsGroupDescribeResponseTopologyDescriptionNode:
    name: str = string("1+")
    node_type: int = int8("1+")
    source_topics: list[str] = array(Kind.STRING, "1+")
    sink_topic: str | None = string("1+", nullable="1+", default=None)
    stores: list[str] = array(Kind.STRING, "1+")
    successors: list[str] = array(Kind.STRING, "1+")


@struct("TopologyDescriptionSubtopology")
class StreamsGroupDescribeResponseTopologyDescriptionSubtopology:
    subtopology_id: str = string("1+")
    nodes: list[StreamsGroupDescribeResponseTopologyDescriptionNode] = array(
        StreamsGroupDescribeResponseTopologyDescriptionNode, "1+"
    )


@struct("TopologyDescriptionGlobalStore")
class StreamsGroupDescribeResponseTopologyDescriptionGlobalStore:
    source: StreamsGroupDescribeResponseTopologyDescriptionNode = one(
        StreamsGroupDescribeResponseTopologyDescriptionNode, "1+"
    )
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
    group_state: str = string()
    group_epoch: int = int32()
    assignment_epoch: int = int32()
    topology: StreamsGroupDescribeResponseTopology | None = one(
        StreamsGroupDescribeResponseTopology, nullable="0+", default=None
    )
    members: list[Member] = array(Member)
    authorized_operations: int = int32(default=-2147483648)
    topology_description: StreamsGroupDescribeResponseTopologyDescription | None = one(
        StreamsGroupDescribeResponseTopologyDescription, "1+", nullable="1+", default=None
    )
    topology_description_status: int = int8("1+")
    assignor_name: str | None = string("1+", nullable="1+", default=None, ignorable=True)


@response(89, "0-1", flexible="0+")
class StreamsGroupDescribeResponse:
    throttle_time_ms: int = int32()
    groups: list[DescribedGroup] = array(DescribedGroup)


@struct("TopologyDescriptionNode")
class StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionNode:
    name: str = string()
    node_type: int = int8()
    source_topics: list[str] = array(Kind.STRING)
    sink_topic: str | None = string(nullable="0+", default=None)
    stores: list[str] = array(Kind.STRING)
    successors: list[str] = array(Kind.STRING)


@struct("TopologyDescriptionSubtopology")
class StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionSubtopology:
    subtopology_id: str = string()
    nodes: list[StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionNode] = array(
        StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionNode
    )


@struct("TopologyDescriptionGlobalStore")
class StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionGlobalStore:
    source: StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionNode = one(
        StreamsGroupTopologyDescriptionUpdateRequestTopologyDescriptionNode
    )
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
    group_id: str = string()
    member_id: str = string()
    topology_epoch: int = int32()
    topology_description: StreamsGroupTopologyDescriptionUpdateRequestTopologyDescription = one(
        StreamsGroupTopologyDescriptionUpdateRequestTopologyDescription
    )


@response(93, "0", flexible="0+")
class StreamsGroupTopologyDescriptionUpdateResponse:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)

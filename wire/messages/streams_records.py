from wire.schema import Kind, array, data, int8, int16, int32, int64, one, string, struct, uint16


@data("0", key=17)
class StreamsGroupMetadataKey:
    group_id: str = string("0")


@struct()
class LastAssignmentConfig:
    key: str = string()
    value: str = string()


@data("0", flexible="0+", key=17)
class StreamsGroupMetadataValue:
    epoch: int = int32()
    metadata_hash: int = int64()
    validated_topology_epoch: int = int32(tag=0, default=-1)
    last_assignment_configs: list[LastAssignmentConfig] | None = array(LastAssignmentConfig, nullable="0+", tag=1)
    stored_description_topology_epoch: int = int32(tag=2, default=-1)
    failed_description_topology_epoch: int = int32(tag=3, default=-1)


@data("0", key=19)
class StreamsGroupMemberMetadataKey:
    group_id: str = string("0")
    member_id: str = string("0")


@struct()
class Endpoint:
    host: str = string()
    port: int = uint16()


@struct()
class KeyValue:
    key: str = string()
    value: str = string()


@data("0", flexible="0+", key=19)
class StreamsGroupMemberMetadataValue:
    instance_id: str | None = string(nullable="0+")
    rack_id: str | None = string(nullable="0+")
    client_id: str = string()
    client_host: str = string()
    rebalance_timeout_ms: int = int32(default=-1)
    topology_epoch: int = int32()
    process_id: str = string()
    user_endpoint: Endpoint | None = one(Endpoint, nullable="0+", default=None)
    client_tags: list[KeyValue] = array(KeyValue)


@data("0", key=20)
class StreamsGroupTargetAssignmentMetadataKey:
    group_id: str = string("0")


@data("0", flexible="0+", key=20)
class StreamsGroupTargetAssignmentMetadataValue:
    assignment_epoch: int = int32()
    assignment_timestamp: int = int64(tag=0, ignorable=True)


@data("0", key=21)
class StreamsGroupTargetAssignmentMemberKey:
    group_id: str = string("0")
    member_id: str = string("0")


@struct("TaskIds")
class StreamsGroupTargetAssignmentMemberValueTaskIds:
    subtopology_id: str = string()
    partitions: list[int] = array(Kind.INT32)


@data("0", flexible="0+", key=21)
class StreamsGroupTargetAssignmentMemberValue:
    active_tasks: list[StreamsGroupTargetAssignmentMemberValueTaskIds] = array(
        StreamsGroupTargetAssignmentMemberValueTaskIds
    )
    standby_tasks: list[StreamsGroupTargetAssignmentMemberValueTaskIds] = array(
        StreamsGroupTargetAssignmentMemberValueTaskIds
    )
    warmup_tasks: list[StreamsGroupTargetAssignmentMemberValueTaskIds] = array(
        StreamsGroupTargetAssignmentMemberValueTaskIds
    )


@data("0", key=22)
class StreamsGroupCurrentMemberAssignmentKey:
    group_id: str = string("0")
    member_id: str = string("0")


@struct("TaskIds")
class StreamsGroupCurrentMemberAssignmentValueTaskIds:
    subtopology_id: str = string()
    partitions: list[int] = array(Kind.INT32)
    assignment_epochs: list[int] | None = array(Kind.INT32, nullable="0+", tag=0)


@data("0", flexible="0+", key=22)
class StreamsGroupCurrentMemberAssignmentValue:
    member_epoch: int = int32()
    previous_member_epoch: int = int32()
    state: int = int8()
    active_tasks: list[StreamsGroupCurrentMemberAssignmentValueTaskIds] = array(
        StreamsGroupCurrentMemberAssignmentValueTaskIds
    )
    standby_tasks: list[StreamsGroupCurrentMemberAssignmentValueTaskIds] = array(
        StreamsGroupCurrentMemberAssignmentValueTaskIds
    )
    warmup_tasks: list[StreamsGroupCurrentMemberAssignmentValueTaskIds] = array(
        StreamsGroupCurrentMemberAssignmentValueTaskIds
    )
    active_tasks_pending_revocation: list[StreamsGroupCurrentMemberAssignmentValueTaskIds] = array(
        StreamsGroupCurrentMemberAssignmentValueTaskIds
    )
    standby_tasks_pending_revocation: list[StreamsGroupCurrentMemberAssignmentValueTaskIds] = array(
        StreamsGroupCurrentMemberAssignmentValueTaskIds
    )
    warmup_tasks_pending_revocation: list[StreamsGroupCurrentMemberAssignmentValueTaskIds] = array(
        StreamsGroupCurrentMemberAssignmentValueTaskIds
    )


@data("0", key=23)
class StreamsGroupTopologyKey:
    group_id: str = string("0")


@struct()
class TopicConfig:
    key: str = string()
    value: str = string()


@struct()
class TopicInfo:
    name: str = string()
    partitions: int = int32()
    replication_factor: int = int16()
    topic_configs: list[TopicConfig] = array(TopicConfig)


@struct()
class CopartitionGroup:
    source_topics: list[int] = array(Kind.INT16)
    source_topic_regex: list[int] = array(Kind.INT16)
    repartition_source_topics: list[int] = array(Kind.INT16)


@struct()
class Subtopology:
    subtopology_id: str = string()
    source_topics: list[str] = array(Kind.STRING)
    source_topic_regex: list[str] = array(Kind.STRING)
    state_changelog_topics: list[TopicInfo] = array(TopicInfo)
    repartition_sink_topics: list[str] = array(Kind.STRING)
    repartition_source_topics: list[TopicInfo] = array(TopicInfo)
    copartition_groups: list[CopartitionGroup] = array(CopartitionGroup)


@data("0", flexible="0+", key=23)
class StreamsGroupTopologyValue:
    epoch: int = int32()
    subtopologies: list[Subtopology] = array(Subtopology)

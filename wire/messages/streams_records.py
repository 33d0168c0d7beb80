"""Records of Streams groups in `__consumer_offsets` (keys 17 and 19 to 23) (KIP-1071).

Two bytes come first: in a key the record's type, which is the key number of the declarations here; in a value its
version. A null value deletes the key.
"""

from wire.schema import Kind, array, data, int8, int16, int32, int64, one, string, struct, uint16


@data("0", key=17)
class StreamsGroupMetadataKey:
    """The key of a Streams group."""

    group_id: str = string("0")


@struct()
class LastAssignmentConfig:
    key: str = string()  # without "streams.", such as "num.standby.replicas"
    value: str = string()


@data("0", flexible="0+", key=17)
class StreamsGroupMetadataValue:
    """A Streams group's epoch, and what its last assignment was made with."""

    epoch: int = int32()  # the group epoch: rises with every change of members, topology, topics or assignment configs
    metadata_hash: int = int64()  # changes with the topics of the topology
    validated_topology_epoch: int = int32(tag=0, default=-1)  # all topics of that topology are there; -1: of none
    # another value means another assignment
    last_assignment_configs: list[LastAssignmentConfig] | None = array(LastAssignmentConfig, nullable="0+", tag=1)
    stored_description_topology_epoch: int = int32(tag=2, default=-1)  # -1: none is stored; -2: not certain (KIP-1331)
    # its description was refused for good, so do not ask again; -1: none (KIP-1331)
    failed_description_topology_epoch: int = int32(tag=3, default=-1)


@data("0", key=19)
class StreamsGroupMemberMetadataKey:
    """The key of a member of a Streams group."""

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
    """What a member of a Streams group said of itself."""

    instance_id: str | None = string(nullable="0+")  # null: a dynamic member
    rack_id: str | None = string(nullable="0+")
    client_id: str = string()
    client_host: str = string()
    rebalance_timeout_ms: int = int32(default=-1)  # how long the member may take to give up tasks
    topology_epoch: int = int32()  # of the topology that the member runs
    process_id: str = string()  # of the client's process; its members share state on disk
    # where the application answers queries of its state
    user_endpoint: Endpoint | None = one(Endpoint, nullable="0+", default=None)
    client_tags: list[KeyValue] = array(KeyValue)  # for standby tasks on machines that fail apart


@data("0", key=20)
class StreamsGroupTargetAssignmentMetadataKey:
    """The key of a Streams group's target assignment."""

    group_id: str = string("0")


@data("0", flexible="0+", key=20)
class StreamsGroupTargetAssignmentMetadataValue:
    """For which group epoch the target assignment was computed."""

    assignment_epoch: int = int32()
    assignment_timestamp: int = int64(tag=0, ignorable=True)  # ms (KIP-1263)


@data("0", key=21)
class StreamsGroupTargetAssignmentMemberKey:
    """The key of one member's target assignment."""

    group_id: str = string("0")
    member_id: str = string("0")


@struct("TaskIds")
class StreamsGroupTargetAssignmentMemberValueTaskIds:
    subtopology_id: str = string()
    partitions: list[int] = array(Kind.INT32)  # one task each


@data("0", flexible="0+", key=21)
class StreamsGroupTargetAssignmentMemberValue:
    """The tasks that a member shall own in the end."""

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
    """The key of one member's current assignment."""

    group_id: str = string("0")
    member_id: str = string("0")


@struct("TaskIds")
class StreamsGroupCurrentMemberAssignmentValueTaskIds:
    subtopology_id: str = string()
    partitions: list[int] = array(Kind.INT32)  # one task each
    # per partition, the member epoch at which it was assigned; active tasks only
    assignment_epochs: list[int] | None = array(Kind.INT32, nullable="0+", tag=0)


@data("0", flexible="0+", key=22)
class StreamsGroupCurrentMemberAssignmentValue:
    """The tasks that a member owns now, on its way to the target."""

    member_epoch: int = int32()
    previous_member_epoch: int = int32()  # accepted once more, as an answer may have been lost
    state: int = int8()  # 1 stable, 2 has tasks to give up, 3 waits for tasks of others
    active_tasks: list[StreamsGroupCurrentMemberAssignmentValueTaskIds] = array(
        StreamsGroupCurrentMemberAssignmentValueTaskIds
    )
    standby_tasks: list[StreamsGroupCurrentMemberAssignmentValueTaskIds] = array(
        StreamsGroupCurrentMemberAssignmentValueTaskIds
    )
    warmup_tasks: list[StreamsGroupCurrentMemberAssignmentValueTaskIds] = array(
        StreamsGroupCurrentMemberAssignmentValueTaskIds
    )
    # to be given up before anything else
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
    """The key of a Streams group's topology."""

    group_id: str = string("0")


@struct()
class TopicConfig:
    key: str = string()
    value: str = string()


@struct()
class TopicInfo:
    name: str = string()
    partitions: int = int32()  # 0: as the topics that it depends on
    replication_factor: int = int16()  # 0: the broker's default
    topic_configs: list[TopicConfig] = array(TopicConfig)


@struct()
class CopartitionGroup:
    source_topics: list[int] = array(Kind.INT16)  # positions in the subtopology's `source_topics`
    source_topic_regex: list[int] = array(Kind.INT16)  # positions in the subtopology's `source_topic_regex`
    # positions in the subtopology's `repartition_source_topics`
    repartition_source_topics: list[int] = array(Kind.INT16)


@struct()
class Subtopology:
    subtopology_id: str = string()
    source_topics: list[str] = array(Kind.STRING)  # read from outside the application
    source_topic_regex: list[str] = array(Kind.STRING)  # RE2 patterns of such topics
    state_changelog_topics: list[TopicInfo] = array(TopicInfo)  # hold the state stores
    repartition_sink_topics: list[str] = array(Kind.STRING)  # written for other subtopologies
    repartition_source_topics: list[TopicInfo] = array(TopicInfo)  # written by other subtopologies
    # topics that must have equally many partitions
    copartition_groups: list[CopartitionGroup] = array(CopartitionGroup)


@data("0", flexible="0+", key=23)
class StreamsGroupTopologyValue:
    """The topology of a Streams group, as its members described it."""

    epoch: int = int32()  # grows with each change of the topology
    subtopologies: list[Subtopology] = array(Subtopology)

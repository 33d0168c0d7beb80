"""Records of share groups: in `__consumer_offsets` the groups and their members (keys 10 to 15), in
`__share_group_state` the state of share partitions (keys 0 and 1) (KIP-932).

Two bytes come first: in a key the record's type, which is the key number of the declarations here; in a value its
version. A null value deletes the key.
"""

from wire.schema import Kind, Uuid, array, data, int8, int16, int32, int64, string, struct, uuid


@data("0", key=0)
class ShareSnapshotKey:
    """The key of the whole state of a share partition."""

    group_id: str = string("0")
    topic_id: Uuid = uuid("0")
    partition: int = int32("0")


@struct("StateBatch")
class ShareSnapshotValueStateBatch:
    first_offset: int = int64()
    last_offset: int = int64()  # inclusive
    delivery_state: int = int8()  # 0 available, 2 acknowledged, 4 archived
    delivery_count: int = int16()  # how often the records have been lent


@data("0", flexible="0+", key=0)
class ShareSnapshotValue:
    """The whole state of a share partition; later updates build on it."""

    snapshot_epoch: int = int32()  # numbers the snapshots
    state_epoch: int = int32()  # the group epoch at initialization; writes with another one are refused
    leader_epoch: int = int32()  # highest seen; requests of earlier leaders are refused
    start_offset: int = int64()  # -1: the leader shall choose
    # records from the start offset on that are done with; -1: not known (KIP-1226)
    delivery_complete_count: int = int32(tag=0, default=-1)
    create_timestamp: int = int64()  # ms, when the state took this form
    write_timestamp: int = int64()  # ms; later than that if the same state was written again
    state_batches: list[ShareSnapshotValueStateBatch] = array(ShareSnapshotValueStateBatch)


@data("0", key=1)
class ShareUpdateKey:
    """The key of a change to the state of a share partition."""

    group_id: str = string("0")
    topic_id: Uuid = uuid("0")
    partition: int = int32("0")


@struct("StateBatch")
class ShareUpdateValueStateBatch:
    first_offset: int = int64()
    last_offset: int = int64()  # inclusive
    delivery_state: int = int8()  # 0 available, 2 acknowledged, 4 archived
    delivery_count: int = int16()  # how often the records have been lent


@data("0", flexible="0+", key=1)
class ShareUpdateValue:
    """A change to the state of a share partition."""

    snapshot_epoch: int = int32()  # of the snapshot that it builds on
    leader_epoch: int = int32()
    start_offset: int = int64()  # -1: unchanged
    # records from the start offset on that are done with; -1: not known (KIP-1226)
    delivery_complete_count: int = int32(tag=0, default=-1)
    state_batches: list[ShareUpdateValueStateBatch] = array(ShareUpdateValueStateBatch)  # only those that have changed


@data("0", key=10)
class ShareGroupMemberMetadataKey:
    """The key of a member of a share group."""

    group_id: str = string("0")
    member_id: str = string("0")


@data("0", flexible="0+", key=10)
class ShareGroupMemberMetadataValue:
    """What a member of a share group said of itself."""

    rack_id: str | None = string(nullable="0+")
    client_id: str = string()
    client_host: str = string()
    subscribed_topic_names: list[str] = array(Kind.STRING)


@data("0", key=11)
class ShareGroupMetadataKey:
    """The key of a share group."""

    group_id: str = string("0")


@data("0", flexible="0+", key=11)
class ShareGroupMetadataValue:
    """A share group's epoch."""

    epoch: int = int32()  # the group epoch: rises with every change of members, subscriptions or topics
    metadata_hash: int = int64()  # changes with the topics that the group subscribes to


@data("0", key=12)
class ShareGroupTargetAssignmentMetadataKey:
    """The key of a share group's target assignment."""

    group_id: str = string("0")


@data("0", flexible="0+", key=12)
class ShareGroupTargetAssignmentMetadataValue:
    """For which group epoch the target assignment was computed."""

    assignment_epoch: int = int32()
    assignment_timestamp: int = int64(tag=0, ignorable=True)  # ms (KIP-1263)


@data("0", key=13)
class ShareGroupTargetAssignmentMemberKey:
    """The key of one member's target assignment."""

    group_id: str = string("0")
    member_id: str = string("0")


@struct()
class TopicPartition:
    topic_id: Uuid = uuid()
    partitions: list[int] = array(Kind.INT32)


@data("0", flexible="0+", key=13)
class ShareGroupTargetAssignmentMemberValue:
    """What a member shall read."""

    topic_partitions: list[TopicPartition] = array(TopicPartition)


@data("0", key=14)
class ShareGroupCurrentMemberAssignmentKey:
    """The key of one member's current assignment."""

    group_id: str = string("0")
    member_id: str = string("0")


@struct()
class TopicPartitions:
    topic_id: Uuid = uuid()
    partitions: list[int] = array(Kind.INT32)


@data("0", flexible="0+", key=14)
class ShareGroupCurrentMemberAssignmentValue:
    """What a member reads now."""

    member_epoch: int = int32()
    previous_member_epoch: int = int32()  # accepted once more, as an answer may have been lost
    state: int = int8()  # always 0, stable: nothing has to be given up first
    assigned_partitions: list[TopicPartitions] = array(TopicPartitions)


@data("0", key=15)
class ShareGroupStatePartitionMetadataKey:
    """The key of what a share group has state of."""

    group_id: str = string("0")


@struct()
class TopicPartitionsInfo:
    topic_id: Uuid = uuid()
    topic_name: str = string()
    partitions: list[int] = array(Kind.INT32)


@struct()
class TopicInfo:
    topic_id: Uuid = uuid()
    topic_name: str = string()


@data("0", flexible="0+", key=15)
class ShareGroupStatePartitionMetadataValue:
    """Which share partitions of a group have state, or will have or lose it."""

    # the coordinator has been asked, but has not answered
    initializing_topics: list[TopicPartitionsInfo] = array(TopicPartitionsInfo)
    initialized_topics: list[TopicPartitionsInfo] = array(TopicPartitionsInfo)
    deleting_topics: list[TopicInfo] = array(TopicInfo)  # the state is being dropped

from wire.schema import Kind, Uuid, array, data, int8, int16, int32, int64, string, struct, uuid


@data("0", key=0)
class ShareSnapshotKey:
    group_id: str = string("0")
    topic_id: Uuid = uuid("0")
    partition: int = int32("0")


@struct("StateBatch")
class ShareSnapshotValueStateBatch:
    first_offset: int = int64()
    last_offset: int = int64()
    delivery_state: int = int8()
    delivery_count: int = int16()


@data("0", flexible="0+", key=0)
class ShareSnapshotValue:
    snapshot_epoch: int = int32()
    state_epoch: int = int32()
    leader_epoch: int = int32()
    start_offset: int = int64()
    delivery_complete_count: int = int32(tag=0, default=-1)
    create_timestamp: int = int64()
    write_timestamp: int = int64()
    state_batches: list[ShareSnapshotValueStateBatch] = array(ShareSnapshotValueStateBatch)


@data("0", key=1)
class ShareUpdateKey:
    group_id: str = string("0")
    topic_id: Uuid = uuid("0")
    partition: int = int32("0")


@struct("StateBatch")
class ShareUpdateValueStateBatch:
    first_offset: int = int64()
    last_offset: int = int64()
    delivery_state: int = int8()
    delivery_count: int = int16()


@data("0", flexible="0+", key=1)
class ShareUpdateValue:
    snapshot_epoch: int = int32()
    leader_epoch: int = int32()
    start_offset: int = int64()
    delivery_complete_count: int = int32(tag=0, default=-1)
    state_batches: list[ShareUpdateValueStateBatch] = array(ShareUpdateValueStateBatch)


@data("0", key=10)
class ShareGroupMemberMetadataKey:
    group_id: str = string("0")
    member_id: str = string("0")


@data("0", flexible="0+", key=10)
class ShareGroupMemberMetadataValue:
    rack_id: str | None = string(nullable="0+")
    client_id: str = string()
    client_host: str = string()
    subscribed_topic_names: list[str] = array(Kind.STRING)


@data("0", key=11)
class ShareGroupMetadataKey:
    group_id: str = string("0")


@data("0", flexible="0+", key=11)
class ShareGroupMetadataValue:
    epoch: int = int32()
    metadata_hash: int = int64()


@data("0", key=12)
class ShareGroupTargetAssignmentMetadataKey:
    group_id: str = string("0")


@data("0", flexible="0+", key=12)
class ShareGroupTargetAssignmentMetadataValue:
    assignment_epoch: int = int32()
    assignment_timestamp: int = int64(tag=0, ignorable=True)


@data("0", key=13)
class ShareGroupTargetAssignmentMemberKey:
    group_id: str = string("0")
    member_id: str = string("0")


@struct()
class TopicPartition:
    topic_id: Uuid = uuid()
    partitions: list[int] = array(Kind.INT32)


@data("0", flexible="0+", key=13)
class ShareGroupTargetAssignmentMemberValue:
    topic_partitions: list[TopicPartition] = array(TopicPartition)


@data("0", key=14)
class ShareGroupCurrentMemberAssignmentKey:
    group_id: str = string("0")
    member_id: str = string("0")


@struct()
class TopicPartitions:
    topic_id: Uuid = uuid()
    partitions: list[int] = array(Kind.INT32)


@data("0", flexible="0+", key=14)
class ShareGroupCurrentMemberAssignmentValue:
    member_epoch: int = int32()
    previous_member_epoch: int = int32()
    state: int = int8()
    assigned_partitions: list[TopicPartitions] = array(TopicPartitions)


@data("0", key=15)
class ShareGroupStatePartitionMetadataKey:
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
    initializing_topics: list[TopicPartitionsInfo] = array(TopicPartitionsInfo)
    initialized_topics: list[TopicPartitionsInfo] = array(TopicPartitionsInfo)
    deleting_topics: list[TopicInfo] = array(TopicInfo)

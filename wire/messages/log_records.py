from wire.schema import Kind, Uuid, array, bytes_, data, int8, int32, int64, one, string, struct, uuid


@struct("TopicPartition")
class ConsumerProtocolAssignmentTopicPartition:
    topic: str = string()
    partitions: list[int] = array(Kind.INT32)


@data("0-3")
class ConsumerProtocolAssignment:
    assigned_partitions: list[ConsumerProtocolAssignmentTopicPartition] = array(
        ConsumerProtocolAssignmentTopicPartition
    )
    user_data: bytes | None = bytes_(nullable="0+", default=None)


@struct("TopicPartition")
class ConsumerProtocolSubscriptionTopicPartition:
    topic: str = string("1+")
    partitions: list[int] = array(Kind.INT32, "1+")


@data("0-3")
class ConsumerProtocolSubscription:
    topics: list[str] = array(Kind.STRING)
    user_data: bytes | None = bytes_(nullable="0+", default=None)
    owned_partitions: list[ConsumerProtocolSubscriptionTopicPartition] = array(
        ConsumerProtocolSubscriptionTopicPartition, "1+", ignorable=True
    )
    generation_id: int = int32("2+", default=-1, ignorable=True)
    rack_id: str | None = string("3+", nullable="3+", default=None, ignorable=True)


@data("0", key=0)
class LegacyOffsetCommitKey:
    group: str = string("0")
    topic: str = string("0")
    partition: int = int32("0")


@data("0", key=0)
class LegacyOffsetCommitValue:
    offset: int = int64("0")
    metadata: str = string("0")
    commit_timestamp: int = int64("0")


@data("0", key=1)
class OffsetCommitKey:
    group: str = string("0")
    topic: str = string("0")
    partition: int = int32("0")


@data("0-4", flexible="4+", key=1)
class OffsetCommitValue:
    offset: int = int64()
    leader_epoch: int = int32("3+", default=-1, ignorable=True)
    metadata: str = string()
    commit_timestamp: int = int64()
    expire_timestamp: int = int64("1", default=-1, ignorable=True)
    topic_id: Uuid = uuid("4+", tag=0, ignorable=True)


@data("0", key=2)
class GroupMetadataKey:
    group: str = string("0")


@struct()
class MemberMetadata:
    member_id: str = string()
    group_instance_id: str | None = string("3+", nullable="3+", default=None, ignorable=True)
    client_id: str = string()
    client_host: str = string()
    rebalance_timeout: int = int32("1+", default=-1, ignorable=True)
    session_timeout: int = int32()
    subscription: bytes = bytes_()
    assignment: bytes = bytes_()


@data("0-4", flexible="4+", key=2)
class GroupMetadataValue:
    protocol_type: str = string()
    generation: int = int32()
    protocol: str | None = string(nullable="0+")
    leader: str | None = string(nullable="0+")
    current_state_timestamp: int = int64("2+", default=-1, ignorable=True)
    members: list[MemberMetadata] = array(MemberMetadata)


@data("0", key=3)
class ConsumerGroupMetadataKey:
    group_id: str = string("0")


@data("0", flexible="0+", key=3)
class ConsumerGroupMetadataValue:
    epoch: int = int32()
    metadata_hash: int = int64(tag=0)


@data("0", key=4)
class ConsumerGroupPartitionMetadataKey:
    group_id: str = string("0")


@struct()
class PartitionMetadata:
    partition: int = int32()
    racks: list[str] = array(Kind.STRING)


@struct()
class TopicMetadata:
    topic_id: Uuid = uuid()
    topic_name: str = string()
    num_partitions: int = int32()
    partition_metadata: list[PartitionMetadata] = array(PartitionMetadata)


@data("0", flexible="0+", key=4)
class ConsumerGroupPartitionMetadataValue:
    topics: list[TopicMetadata] = array(TopicMetadata)


@data("0", key=5)
class ConsumerGroupMemberMetadataKey:
    group_id: str = string("0")
    member_id: str = string("0")


@struct()
class ClassicProtocol:
    name: str = string()
    metadata: bytes = bytes_()


@struct()
class ClassicMemberMetadata:
    session_timeout_ms: int = int32()
    supported_protocols: list[ClassicProtocol] = array(ClassicProtocol)


@data("0", flexible="0+", key=5)
class ConsumerGroupMemberMetadataValue:
    instance_id: str | None = string(nullable="0+")
    rack_id: str | None = string(nullable="0+")
    client_id: str = string()
    client_host: str = string()
    subscribed_topic_names: list[str] = array(Kind.STRING)
    subscribed_topic_regex: str | None = string(nullable="0+")
    rebalance_timeout_ms: int = int32(default=-1)
    server_assignor: str | None = string(nullable="0+")
    classic_member_metadata: ClassicMemberMetadata | None = one(ClassicMemberMetadata, nullable="0+", tag=0)


@data("0", key=6)
class ConsumerGroupTargetAssignmentMetadataKey:
    group_id: str = string("0")


@data("0", flexible="0+", key=6)
class ConsumerGroupTargetAssignmentMetadataValue:
    assignment_epoch: int = int32()
    assignment_timestamp: int = int64(tag=0, ignorable=True)


@data("0", key=7)
class ConsumerGroupTargetAssignmentMemberKey:
    group_id: str = string("0")
    member_id: str = string("0")


@struct("TopicPartition")
class ConsumerGroupTargetAssignmentMemberValueTopicPartition:
    topic_id: Uuid = uuid()
    partitions: list[int] = array(Kind.INT32)


@data("0", flexible="0+", key=7)
class ConsumerGroupTargetAssignmentMemberValue:
    topic_partitions: list[ConsumerGroupTargetAssignmentMemberValueTopicPartition] = array(
        ConsumerGroupTargetAssignmentMemberValueTopicPartition
    )


@data("0", key=8)
class ConsumerGroupCurrentMemberAssignmentKey:
    group_id: str = string("0")
    member_id: str = string("0")


@struct()
class TopicPartitions:
    topic_id: Uuid = uuid()
    partitions: list[int] = array(Kind.INT32)
    assignment_epochs: list[int] | None = array(Kind.INT32, nullable="0+", tag=0)


@data("0", flexible="0+", key=8)
class ConsumerGroupCurrentMemberAssignmentValue:
    member_epoch: int = int32()
    previous_member_epoch: int = int32()
    state: int = int8()
    assigned_partitions: list[TopicPartitions] = array(TopicPartitions)
    partitions_pending_revocation: list[TopicPartitions] = array(TopicPartitions)


@data("0", key=16)
class ConsumerGroupRegularExpressionKey:
    group_id: str = string("0")
    regular_expression: str = string("0")


@data("0", flexible="0+", key=16)
class ConsumerGroupRegularExpressionValue:
    topics: list[str] = array(Kind.STRING)
    version: int = int64()
    timestamp: int = int64()

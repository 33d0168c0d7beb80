"""Messages inside records and inside other messages that belong to consumer groups.

- ConsumerProtocolSubscription, ConsumerProtocolAssignment: what members of a classic group tell each other through
  JoinGroup and SyncGroup; two bytes of version come first. A reader takes a newer version for the newest it knows.
- The keys and values of `__consumer_offsets`. Two bytes come first: in a key the record's type, which is the key number
  of the declarations here; in a value its version. A null value deletes the key.

Later versions of values only add tagged fields, so that a broker one release back can read them (KIP-915).
"""

from wire.schema import Kind, Uuid, array, bytes_, data, int8, int32, int64, one, string, struct, uuid


@struct("TopicPartition")
class ConsumerProtocolAssignmentTopicPartition:
    topic: str = string()
    partitions: list[int] = array(Kind.INT32)


@data("0-3")
class ConsumerProtocolAssignment:
    """The partitions that a classic group's leader assigns to one consumer.

    - 1 to 3: the same bytes; the numbers follow those of the subscription
    """

    assigned_partitions: list[ConsumerProtocolAssignmentTopicPartition] = array(
        ConsumerProtocolAssignmentTopicPartition
    )
    user_data: bytes | None = bytes_(nullable="0+", default=None)  # the assignor's own


@struct("TopicPartition")
class ConsumerProtocolSubscriptionTopicPartition:
    topic: str = string("1+")
    partitions: list[int] = array(Kind.INT32, "1+")


@data("0-3")
class ConsumerProtocolSubscription:
    """What a consumer tells the leader of its classic group.

    - 1: the partitions it owns, for cooperative rebalancing (KIP-429)
    - 2: the generation in which it owned them (KIP-792)
    - 3: rack (KIP-881)
    """

    topics: list[str] = array(Kind.STRING)
    user_data: bytes | None = bytes_(nullable="0+", default=None)  # the assignor's own
    owned_partitions: list[ConsumerProtocolSubscriptionTopicPartition] = array(
        ConsumerProtocolSubscriptionTopicPartition, "1+", ignorable=True
    )
    generation_id: int = int32("2+", default=-1, ignorable=True)  # -1: not known
    rack_id: str | None = string("3+", nullable="3+", default=None, ignorable=True)


@data("0", key=0)
class LegacyOffsetCommitKey:
    """The key of a committed offset in its first form."""

    group: str = string("0")
    topic: str = string("0")
    partition: int = int32("0")


@data("0", key=0)
class LegacyOffsetCommitValue:
    """A committed offset in its first form."""

    offset: int = int64("0")  # of the next record to read
    metadata: str = string("0")
    commit_timestamp: int = int64("0")  # ms


@data("0", key=1)
class OffsetCommitKey:
    """The key of a committed offset."""

    group: str = string("0")
    topic: str = string("0")
    partition: int = int32("0")


@data("0-4", flexible="4+", key=1)
class OffsetCommitValue:
    """A committed offset.

    - 1: when it expires
    - 2: without that: the group's last activity counts (KIP-211)
    - 3: leader epoch (KIP-320)
    - 4: flexible; topic id (KIP-848)
    """

    offset: int = int64()  # of the next record to read
    leader_epoch: int = int32("3+", default=-1, ignorable=True)  # of the last record read; -1: not known
    metadata: str = string()  # the consumer's own note
    commit_timestamp: int = int64()  # ms
    expire_timestamp: int = int64("1", default=-1, ignorable=True)  # ms; -1: the broker's retention counts
    topic_id: Uuid = uuid("4+", tag=0, ignorable=True)  # zero: not known


@data("0", key=2)
class GroupMetadataKey:
    """The key of a classic group."""

    group: str = string("0")


@struct()
class MemberMetadata:
    member_id: str = string()
    group_instance_id: str | None = string("3+", nullable="3+", default=None, ignorable=True)
    client_id: str = string()
    client_host: str = string()
    rebalance_timeout: int = int32("1+", default=-1, ignorable=True)  # ms; -1: the session timeout
    session_timeout: int = int32()  # ms
    subscription: bytes = bytes_()  # what the member sent for the chosen protocol
    assignment: bytes = bytes_()  # what the leader assigned


@data("0-4", flexible="4+", key=2)
class GroupMetadataValue:
    """A classic group with its members, as of its last completed rebalance.

    - 1: rebalance timeout (KIP-62)
    - 2: since when the group is in its state (KIP-211)
    - 3: static members (KIP-345)
    - 4: flexible
    """

    protocol_type: str = string()  # "" for a group that only commits offsets
    generation: int = int32()
    protocol: str | None = string(nullable="0+")  # null: no generation yet
    leader: str | None = string(nullable="0+")  # null: no members
    # ms; offsets of an empty group expire from here
    current_state_timestamp: int = int64("2+", default=-1, ignorable=True)
    members: list[MemberMetadata] = array(MemberMetadata)


@data("0", key=3)
class ConsumerGroupMetadataKey:
    """The key of a consumer group (KIP-848)."""

    group_id: str = string("0")


@data("0", flexible="0+", key=3)
class ConsumerGroupMetadataValue:
    """A consumer group's epoch (KIP-848)."""

    epoch: int = int32()
    # changes with the topics that the group subscribes to: partitions, racks (KIP-1101)
    metadata_hash: int = int64(tag=0)


@data("0", key=4)
class ConsumerGroupPartitionMetadataKey:
    """The key of what a consumer group knows of its topics; replaced by the metadata hash (KIP-1101)."""

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
    """What a consumer group knows of its topics; replaced by the metadata hash (KIP-1101)."""

    topics: list[TopicMetadata] = array(TopicMetadata)


@data("0", key=5)
class ConsumerGroupMemberMetadataKey:
    """The key of a member of a consumer group."""

    group_id: str = string("0")
    member_id: str = string("0")


@struct()
class ClassicProtocol:
    name: str = string()
    metadata: bytes = bytes_()  # a ConsumerProtocolSubscription


@struct()
class ClassicMemberMetadata:
    session_timeout_ms: int = int32()
    supported_protocols: list[ClassicProtocol] = array(ClassicProtocol)  # those the member prefers come first


@data("0", flexible="0+", key=5)
class ConsumerGroupMemberMetadataValue:
    """What a member of a consumer group said of itself (KIP-848)."""

    instance_id: str | None = string(nullable="0+")  # null: a dynamic member
    rack_id: str | None = string(nullable="0+")
    client_id: str = string()
    client_host: str = string()
    subscribed_topic_names: list[str] = array(Kind.STRING)
    subscribed_topic_regex: str | None = string(nullable="0+")  # RE2 pattern
    rebalance_timeout_ms: int = int32(default=-1)  # how long the member may take to give up partitions
    server_assignor: str | None = string(nullable="0+")  # null: the group's default
    # set while the member uses the classic protocol; Kafka writes null otherwise
    classic_member_metadata: ClassicMemberMetadata | None = one(ClassicMemberMetadata, nullable="0+", tag=0)


@data("0", key=6)
class ConsumerGroupTargetAssignmentMetadataKey:
    """The key of a consumer group's target assignment."""

    group_id: str = string("0")


@data("0", flexible="0+", key=6)
class ConsumerGroupTargetAssignmentMetadataValue:
    """For which group epoch the target assignment was computed."""

    assignment_epoch: int = int32()
    assignment_timestamp: int = int64(tag=0, ignorable=True)  # ms (KIP-1263)


@data("0", key=7)
class ConsumerGroupTargetAssignmentMemberKey:
    """The key of one member's target assignment."""

    group_id: str = string("0")
    member_id: str = string("0")


@struct("TopicPartition")
class ConsumerGroupTargetAssignmentMemberValueTopicPartition:
    topic_id: Uuid = uuid()
    partitions: list[int] = array(Kind.INT32)


@data("0", flexible="0+", key=7)
class ConsumerGroupTargetAssignmentMemberValue:
    """What a member shall own in the end."""

    topic_partitions: list[ConsumerGroupTargetAssignmentMemberValueTopicPartition] = array(
        ConsumerGroupTargetAssignmentMemberValueTopicPartition
    )


@data("0", key=8)
class ConsumerGroupCurrentMemberAssignmentKey:
    """The key of one member's current assignment."""

    group_id: str = string("0")
    member_id: str = string("0")


@struct()
class TopicPartitions:
    topic_id: Uuid = uuid()
    partitions: list[int] = array(Kind.INT32)
    # per partition, the member epoch at which it was assigned; null: not known
    assignment_epochs: list[int] | None = array(Kind.INT32, nullable="0+", tag=0)


@data("0", flexible="0+", key=8)
class ConsumerGroupCurrentMemberAssignmentValue:
    """What a member owns now, on its way to the target."""

    member_epoch: int = int32()
    previous_member_epoch: int = int32()  # accepted once more, as an answer may have been lost
    state: int = int8()  # 0 stable, 1 has partitions to give up, 2 waits for partitions of others
    assigned_partitions: list[TopicPartitions] = array(TopicPartitions)
    partitions_pending_revocation: list[TopicPartitions] = array(TopicPartitions)  # to be given up before anything else


@data("0", key=16)
class ConsumerGroupRegularExpressionKey:
    """The key of a resolved regular expression."""

    group_id: str = string("0")
    regular_expression: str = string("0")


@data("0", flexible="0+", key=16)
class ConsumerGroupRegularExpressionValue:
    """The topics that match a regular expression of a consumer group."""

    topics: list[str] = array(Kind.STRING)
    version: int = int64()  # offset of the metadata image that it was resolved against
    timestamp: int = int64()  # ms, of the resolution

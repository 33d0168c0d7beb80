"""Share groups: ShareGroupHeartbeat (key 76), ShareGroupDescribe (77), and their offsets: DescribeShareGroupOffsets
(90), AlterShareGroupOffsets (91), DeleteShareGroupOffsets (92) (KIP-932).

As in consumer groups one request joins, keeps alive and brings the assignment; but partitions are shared, so nobody has
to give them up first. The start offset of a share partition is the first record not yet done with.
"""

from wire.schema import Kind, Uuid, array, boolean, int16, int32, int64, one, request, response, string, struct, uuid


@request(76, "1", flexible="0+")
class ShareGroupHeartbeatRequest:
    """Join, stay in or leave a share group; null where nothing changed.

    - 1: the first stable version (KIP-932)
    """

    group_id: str = string()
    member_id: str = string()  # a uuid that the member makes
    member_epoch: int = int32()  # 0 joins, -1 leaves; else the epoch that it has
    rack_id: str | None = string(nullable="0+", default=None)  # null: none, or as before
    subscribed_topic_names: list[str] | None = array(Kind.STRING, nullable="0+", default=None)  # null: as before


@struct("TopicPartitions")
class ShareGroupHeartbeatResponseTopicPartitions:
    topic_id: Uuid = uuid()
    partitions: list[int] = array(Kind.INT32)


@struct("Assignment")
class ShareGroupHeartbeatResponseAssignment:
    topic_partitions: list[ShareGroupHeartbeatResponseTopicPartitions] = array(
        ShareGroupHeartbeatResponseTopicPartitions
    )


@response(76, "1", flexible="0+")
class ShareGroupHeartbeatResponse:
    """Tell a member its epoch and, where it changed, its assignment."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    member_id: str | None = string(nullable="0+", default=None)
    member_epoch: int = int32()  # for the next heartbeat
    heartbeat_interval_ms: int = int32()  # send the next request after so long
    # null: as before
    assignment: ShareGroupHeartbeatResponseAssignment | None = one(
        ShareGroupHeartbeatResponseAssignment, nullable="0+", default=None
    )


@request(77, "1", flexible="0+")
class ShareGroupDescribeRequest:
    """Ask for the state and the members of share groups.

    - 1: the first stable version (KIP-932)
    """

    group_ids: list[str] = array(Kind.STRING)
    include_authorized_operations: bool = boolean()


@struct("TopicPartitions")
class ShareGroupDescribeResponseTopicPartitions:
    topic_id: Uuid = uuid()
    topic_name: str = string()
    partitions: list[int] = array(Kind.INT32)


@struct("Assignment")
class ShareGroupDescribeResponseAssignment:
    topic_partitions: list[ShareGroupDescribeResponseTopicPartitions] = array(ShareGroupDescribeResponseTopicPartitions)


@struct()
class Member:
    member_id: str = string()
    rack_id: str | None = string(nullable="0+", default=None)
    member_epoch: int = int32()
    client_id: str = string()
    client_host: str = string()
    subscribed_topic_names: list[str] = array(Kind.STRING)
    assignment: ShareGroupDescribeResponseAssignment = one(ShareGroupDescribeResponseAssignment)


@struct()
class DescribedGroup:
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    group_id: str = string()
    group_state: str = string()  # Empty, Stable or Dead
    group_epoch: int = int32()  # grows with each change of members, subscriptions or topics
    assignment_epoch: int = int32()  # the group epoch that the assignment was made for
    assignor_name: str = string()  # "simple"
    members: list[Member] = array(Member)
    # bit per AclOperation the client may do; the default: not asked for
    authorized_operations: int = int32(default=-2147483648)


@response(77, "1", flexible="0+")
class ShareGroupDescribeResponse:
    """Describe share groups."""

    throttle_time_ms: int = int32()
    groups: list[DescribedGroup] = array(DescribedGroup)


@struct()
class DescribeShareGroupOffsetsRequestTopic:
    topic_name: str = string()
    partitions: list[int] = array(Kind.INT32)


@struct()
class DescribeShareGroupOffsetsRequestGroup:
    group_id: str = string()
    # null: all that have offsets
    topics: list[DescribeShareGroupOffsetsRequestTopic] | None = array(
        DescribeShareGroupOffsetsRequestTopic, nullable="0+"
    )


@request(90, "0-1", flexible="0+")
class DescribeShareGroupOffsetsRequest:
    """Ask for the start offsets of share partitions.

    - 1: only the response differs (KIP-1226)
    """

    groups: list[DescribeShareGroupOffsetsRequestGroup] = array(DescribeShareGroupOffsetsRequestGroup)


@struct()
class DescribeShareGroupOffsetsResponsePartition:
    partition_index: int = int32()
    start_offset: int = int64()  # -1: not known
    leader_epoch: int = int32()  # of the leader that last read or wrote the state
    lag: int = int64("1+", default=-1, ignorable=True)  # records not yet done with; -1: not known
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)


@struct()
class DescribeShareGroupOffsetsResponseTopic:
    topic_name: str = string()
    topic_id: Uuid = uuid()
    partitions: list[DescribeShareGroupOffsetsResponsePartition] = array(DescribeShareGroupOffsetsResponsePartition)


@struct()
class DescribeShareGroupOffsetsResponseGroup:
    group_id: str = string()
    topics: list[DescribeShareGroupOffsetsResponseTopic] = array(DescribeShareGroupOffsetsResponseTopic)
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)


@response(90, "0-1", flexible="0+")
class DescribeShareGroupOffsetsResponse:
    """List start offsets.

    - 1: lag (KIP-1226)
    """

    throttle_time_ms: int = int32()
    groups: list[DescribeShareGroupOffsetsResponseGroup] = array(DescribeShareGroupOffsetsResponseGroup)


@struct()
class AlterShareGroupOffsetsRequestPartition:
    partition_index: int = int32()
    start_offset: int = int64()  # to deliver again from here, or to skip to here


@struct()
class AlterShareGroupOffsetsRequestTopic:
    topic_name: str = string()
    partitions: list[AlterShareGroupOffsetsRequestPartition] = array(AlterShareGroupOffsetsRequestPartition)


@request(91, "0", flexible="0+")
class AlterShareGroupOffsetsRequest:
    """Move the start offsets of an empty share group."""

    group_id: str = string()
    topics: list[AlterShareGroupOffsetsRequestTopic] = array(AlterShareGroupOffsetsRequestTopic)


@struct()
class AlterShareGroupOffsetsResponsePartition:
    partition_index: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)


@struct()
class AlterShareGroupOffsetsResponseTopic:
    topic_name: str = string()
    topic_id: Uuid = uuid()
    partitions: list[AlterShareGroupOffsetsResponsePartition] = array(AlterShareGroupOffsetsResponsePartition)


@response(91, "0", flexible="0+")
class AlterShareGroupOffsetsResponse:
    """Say of each partition whether its start offset moved."""

    throttle_time_ms: int = int32()
    error_code: int = int16()  # of the group, such as NON_EMPTY_GROUP
    error_message: str | None = string(nullable="0+", default=None)
    responses: list[AlterShareGroupOffsetsResponseTopic] = array(AlterShareGroupOffsetsResponseTopic)


@struct()
class DeleteShareGroupOffsetsRequestTopic:
    topic_name: str = string()


@request(92, "0", flexible="0+")
class DeleteShareGroupOffsetsRequest:
    """Forget the start offsets of whole topics of an empty share group."""

    group_id: str = string()
    topics: list[DeleteShareGroupOffsetsRequestTopic] = array(DeleteShareGroupOffsetsRequestTopic)


@struct()
class DeleteShareGroupOffsetsResponseTopic:
    topic_name: str = string()
    topic_id: Uuid = uuid()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)


@response(92, "0", flexible="0+")
class DeleteShareGroupOffsetsResponse:
    """Say of each topic whether its offsets are gone."""

    throttle_time_ms: int = int32()
    error_code: int = int16()  # of the group, such as NON_EMPTY_GROUP
    error_message: str | None = string(nullable="0+", default=None)
    responses: list[DeleteShareGroupOffsetsResponseTopic] = array(DeleteShareGroupOffsetsResponseTopic)

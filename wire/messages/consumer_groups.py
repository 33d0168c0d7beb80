"""Consumer groups that the broker assigns (KIP-848): ConsumerGroupHeartbeat (key 68), ConsumerGroupDescribe (69).

One request does everything: it joins, keeps alive, says what the member subscribes to and owns, and its answer brings
the assignment. A member moves from assignment to assignment by itself; nobody waits for the whole group.
"""

from wire.schema import Kind, Uuid, array, boolean, int8, int16, int32, one, request, response, string, struct, uuid


@struct("TopicPartitions")
class ConsumerGroupHeartbeatRequestTopicPartitions:
    topic_id: Uuid = uuid()
    partitions: list[int] = array(Kind.INT32)


@request(68, "0-1", flexible="0+")
class ConsumerGroupHeartbeatRequest:
    """Join, stay in or leave a group. Fields other than the first three are null or -1 where nothing changed.

    - 1: subscription by regular expression; the member chooses its own id (KIP-848, KIP-1082)
    """

    group_id: str = string()
    member_id: str = string()  # in version 0 empty on the first request, later a uuid that the member makes
    # 0 joins, -1 leaves, -2 leaves as a static member that will be back; else the epoch that it has
    member_epoch: int = int32()
    instance_id: str | None = string(nullable="0+", default=None)  # a static member's name; null: a dynamic member
    rack_id: str | None = string(nullable="0+", default=None)
    rebalance_timeout_ms: int = int32(default=-1)  # how long the member may take to give up partitions
    subscribed_topic_names: list[str] | None = array(Kind.STRING, nullable="0+", default=None)
    # RE2 pattern; "" ends that subscription
    subscribed_topic_regex: str | None = string("1+", nullable="1+", default=None)
    server_assignor: str | None = string(nullable="0+", default=None)  # null: the group's default
    # what the member owns
    topic_partitions: list[ConsumerGroupHeartbeatRequestTopicPartitions] | None = array(
        ConsumerGroupHeartbeatRequestTopicPartitions, nullable="0+", default=None
    )


@struct("TopicPartitions")
class ConsumerGroupHeartbeatResponseTopicPartitions:
    topic_id: Uuid = uuid()
    partitions: list[int] = array(Kind.INT32)


@struct("Assignment")
class ConsumerGroupHeartbeatResponseAssignment:
    topic_partitions: list[ConsumerGroupHeartbeatResponseTopicPartitions] = array(
        ConsumerGroupHeartbeatResponseTopicPartitions
    )


@response(68, "0-1", flexible="0+")
class ConsumerGroupHeartbeatResponse:
    """Tell a member its epoch and, where it changed, its assignment."""

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    member_id: str | None = string(nullable="0+", default=None)  # set where the broker chose it
    member_epoch: int = int32()  # fenced if the member goes on with an older one
    heartbeat_interval_ms: int = int32()  # send the next request after so long
    # what the member shall own now; null: as before
    assignment: ConsumerGroupHeartbeatResponseAssignment | None = one(
        ConsumerGroupHeartbeatResponseAssignment, nullable="0+", default=None
    )


@request(69, "0-1", flexible="0+")
class ConsumerGroupDescribeRequest:
    """Ask for the state and the members of consumer groups.

    - 1: only the response differs (KIP-1099)
    """

    group_ids: list[str] = array(Kind.STRING)
    include_authorized_operations: bool = boolean()


@struct("TopicPartitions")
class ConsumerGroupDescribeResponseTopicPartitions:
    topic_id: Uuid = uuid()
    topic_name: str = string()
    partitions: list[int] = array(Kind.INT32)


@struct("Assignment")
class ConsumerGroupDescribeResponseAssignment:
    topic_partitions: list[ConsumerGroupDescribeResponseTopicPartitions] = array(
        ConsumerGroupDescribeResponseTopicPartitions
    )


@struct()
class Member:
    member_id: str = string()
    instance_id: str | None = string(nullable="0+", default=None)  # a static member's name; null: a dynamic member
    rack_id: str | None = string(nullable="0+", default=None)
    member_epoch: int = int32()
    client_id: str = string()
    client_host: str = string()
    subscribed_topic_names: list[str] = array(Kind.STRING)
    subscribed_topic_regex: str | None = string(nullable="0+", default=None)  # RE2 pattern
    # what it owns now
    assignment: ConsumerGroupDescribeResponseAssignment = one(ConsumerGroupDescribeResponseAssignment)
    # what it shall own in the end
    target_assignment: ConsumerGroupDescribeResponseAssignment = one(ConsumerGroupDescribeResponseAssignment)
    member_type: int = int8("1+", default=-1, ignorable=True)  # 0 classic protocol, 1 consumer protocol; -1: not known


@struct()
class DescribedGroup:
    error_code: int = int16()
    error_message: str | None = string(nullable="0+", default=None)
    group_id: str = string()
    group_state: str = string()  # Empty, Assigning, Reconciling, Stable or Dead
    group_epoch: int = int32()  # grows with each change of members, subscriptions or topics
    assignment_epoch: int = int32()  # the group epoch that the target assignment was made for
    assignor_name: str = string()
    members: list[Member] = array(Member)
    # bit per AclOperation the client may do; the default: not asked for
    authorized_operations: int = int32(default=-2147483648)


@response(69, "0-1", flexible="0+")
class ConsumerGroupDescribeResponse:
    """Describe consumer groups.

    - 1: which protocol each member uses (KIP-1099)
    """

    throttle_time_ms: int = int32()
    groups: list[DescribedGroup] = array(DescribedGroup)

"""Classic consumer groups: JoinGroup (key 11), Heartbeat (12), LeaveGroup (13), SyncGroup (14), DescribeGroups (15),
ListGroups (16), DeleteGroups (42).

The members find their leader by joining, the leader assigns the partitions, the coordinator hands the assignment out.
What members tell each other (protocol metadata, assignments) is opaque to the broker. Describe, List and Delete know
groups of every type.
"""

from wire.schema import Kind, array, boolean, bytes_, int16, int32, request, response, string, struct


@struct()
class JoinGroupRequestProtocol:
    name: str = string()  # such as "range": an assignor the member supports
    metadata: bytes = bytes_()  # for the group's leader; a consumer's is a ConsumerProtocolSubscription


@request(11, "0-9", flexible="6+")
class JoinGroupRequest:
    """Enter a group, or enter it again for a rebalance; the answer comes when all members are there.

    - 1: rebalance timeout (KIP-62)
    - 3: only throttling differs: the answer comes before the pause (KIP-219)
    - 4: a new member is first given its id and joins again with it (KIP-394)
    - 5: static membership (KIP-345)
    - 6: flexible
    - 8: reason (KIP-800)
    """

    group_id: str = string()
    session_timeout_ms: int = int32()  # without a heartbeat for so long, the member is dead
    # how long the group waits for its members to join again; -1: the session timeout
    rebalance_timeout_ms: int = int32("1+", default=-1, ignorable=True)
    member_id: str = string()  # empty on the first try
    group_instance_id: str | None = string("5+", nullable="5+", default=None)
    protocol_type: str = string()  # "consumer", "connect" or another user of groups
    protocols: list[JoinGroupRequestProtocol] = array(JoinGroupRequestProtocol)  # those the member prefers come first
    reason: str | None = string("8+", nullable="8+", default=None, ignorable=True)  # why it joins, for the broker's log


@struct()
class JoinGroupResponseMember:
    member_id: str = string()
    group_instance_id: str | None = string("5+", nullable="5+", default=None, ignorable=True)
    metadata: bytes = bytes_()  # what that member sent for the chosen protocol


@response(11, "0-9", flexible="6+")
class JoinGroupResponse:
    """Tell a member the group's new generation, and the leader who the members are.

    - 2: throttle time
    - 4: MEMBER_ID_REQUIRED with the new id (KIP-394)
    - 5: static members (KIP-345)
    - 6: flexible
    - 7: protocol type; the protocol name may be null (KIP-559)
    - 9: a static leader that came back may be told to keep the old assignment (KIP-814)
    """

    throttle_time_ms: int = int32("2+", ignorable=True)
    error_code: int = int16()
    generation_id: int = int32(default=-1)
    protocol_type: str | None = string("7+", nullable="7+", default=None, ignorable=True)
    protocol_name: str | None = string(nullable="7+")  # the protocol that all members support and most prefer
    leader: str = string()  # the member that assigns
    skip_assignment: bool = boolean("9+")  # the leader need not compute an assignment
    member_id: str = string()
    # to the leader: all members; empty to others
    members: list[JoinGroupResponseMember] = array(JoinGroupResponseMember)


@request(12, "0-4", flexible="4+")
class HeartbeatRequest:
    """Keep a member alive, and learn of rebalances by the error REBALANCE_IN_PROGRESS.

    - 2: only throttling differs: the answer comes before the pause (KIP-219)
    - 3: static membership (KIP-345)
    - 4: flexible
    """

    group_id: str = string()
    generation_id: int = int32()
    member_id: str = string()
    group_instance_id: str | None = string("3+", nullable="3+", default=None)


@response(12, "0-4", flexible="4+")
class HeartbeatResponse:
    """Say whether the member still belongs to the generation.

    - 1: throttle time
    - 4: flexible
    """

    throttle_time_ms: int = int32("1+", ignorable=True)
    error_code: int = int16()


@struct()
class MemberIdentity:
    member_id: str = string("3+")  # may be empty for a static member
    group_instance_id: str | None = string("3+", nullable="3+", default=None)
    # why it leaves, for the broker's log
    reason: str | None = string("5+", nullable="5+", default=None, ignorable=True)


@request(13, "0-5", flexible="4+")
class LeaveGroupRequest:
    """Take members out of a group.

    - 2: only throttling differs: the answer comes before the pause (KIP-219)
    - 3: several members, static ones too (KIP-345)
    - 4: flexible
    - 5: reason (KIP-800)
    """

    group_id: str = string()
    member_id: str = string("0-2")
    members: list[MemberIdentity] = array(MemberIdentity, "3+")


@struct()
class MemberResponse:
    member_id: str = string("3+")
    group_instance_id: str | None = string("3+", nullable="3+")
    error_code: int = int16("3+")


@response(13, "0-5", flexible="4+")
class LeaveGroupResponse:
    """Say whether the members left.

    - 1: throttle time
    - 3: one result per member (KIP-345)
    - 4: flexible
    """

    throttle_time_ms: int = int32("1+", ignorable=True)
    error_code: int = int16()
    members: list[MemberResponse] = array(MemberResponse, "3+")


@struct()
class SyncGroupRequestAssignment:
    member_id: str = string()
    assignment: bytes = bytes_()  # opaque; a consumer's is a ConsumerProtocolAssignment


@request(14, "0-5", flexible="4+")
class SyncGroupRequest:
    """Fetch the member's assignment; the leader brings those of all members along.

    - 2: only throttling differs: the answer comes before the pause (KIP-219)
    - 3: static membership (KIP-345)
    - 4: flexible
    - 5: protocol type and name, refused if they are not the group's (KIP-559)
    """

    group_id: str = string()
    generation_id: int = int32()
    member_id: str = string()
    group_instance_id: str | None = string("3+", nullable="3+", default=None)
    protocol_type: str | None = string("5+", nullable="5+", default=None, ignorable=True)
    protocol_name: str | None = string("5+", nullable="5+", default=None, ignorable=True)
    # from the leader: one per member; empty from others
    assignments: list[SyncGroupRequestAssignment] = array(SyncGroupRequestAssignment)


@response(14, "0-5", flexible="4+")
class SyncGroupResponse:
    """Hand a member its assignment, once the leader has brought it.

    - 1: throttle time
    - 4: flexible
    - 5: protocol type and name (KIP-559)
    """

    throttle_time_ms: int = int32("1+", ignorable=True)
    error_code: int = int16()
    protocol_type: str | None = string("5+", nullable="5+", default=None, ignorable=True)
    protocol_name: str | None = string("5+", nullable="5+", default=None, ignorable=True)
    assignment: bytes = bytes_()


@request(15, "0-6", flexible="5+")
class DescribeGroupsRequest:
    """Ask for the state and the members of classic groups.

    - 2: only throttling differs: the answer comes before the pause (KIP-219)
    - 3: authorized operations on request (KIP-430)
    - 4: only the response differs (KIP-345)
    - 5: flexible
    - 6: only the response differs (KIP-1043)
    """

    groups: list[str] = array(Kind.STRING)
    include_authorized_operations: bool = boolean("3+")


@struct()
class DescribedGroupMember:
    member_id: str = string()
    group_instance_id: str | None = string("4+", nullable="4+", default=None, ignorable=True)
    client_id: str = string()
    client_host: str = string()
    member_metadata: bytes = bytes_()  # of the chosen protocol; only while the group is stable
    member_assignment: bytes = bytes_()  # only while the group is stable


@struct()
class DescribedGroup:
    error_code: int = int16()
    error_message: str | None = string("6+", nullable="6+", default=None)
    group_id: str = string()
    group_state: str = string()  # Empty, PreparingRebalance, CompletingRebalance, Stable or Dead
    protocol_type: str = string()
    protocol_data: str = string()  # the chosen protocol's name; only while the group is stable
    members: list[DescribedGroupMember] = array(DescribedGroupMember)
    # bit per AclOperation the client may do; the default: not asked for
    authorized_operations: int = int32("3+", default=-2147483648)


@response(15, "0-6", flexible="5+")
class DescribeGroupsResponse:
    """Describe classic groups.

    - 1: throttle time
    - 3: authorized operations (KIP-430)
    - 4: static members (KIP-345)
    - 5: flexible
    - 6: GROUP_ID_NOT_FOUND with a message, instead of a group in state Dead (KIP-1043)
    """

    throttle_time_ms: int = int32("1+", ignorable=True)
    groups: list[DescribedGroup] = array(DescribedGroup)


@request(16, "0-5", flexible="3+")
class ListGroupsRequest:
    """Ask which groups the broker coordinates.

    - 2: only throttling differs: the answer comes before the pause (KIP-219)
    - 3: flexible
    - 4: only groups in some states (KIP-518)
    - 5: only groups of some types (KIP-848)
    """

    states_filter: list[str] = array(Kind.STRING, "4+")  # empty: any
    types_filter: list[str] = array(Kind.STRING, "5+")  # empty: any


@struct()
class ListedGroup:
    group_id: str = string()
    protocol_type: str = string()  # "consumer" for consumers; "" for groups that only commit offsets
    group_state: str = string("4+", ignorable=True)
    group_type: str = string("5+", ignorable=True)  # classic, consumer, share or streams


@response(16, "0-5", flexible="3+")
class ListGroupsResponse:
    """List groups of all types.

    - 1: throttle time
    - 3: flexible
    - 4: states (KIP-518)
    - 5: types (KIP-848)
    """

    throttle_time_ms: int = int32("1+", ignorable=True)
    error_code: int = int16()
    groups: list[ListedGroup] = array(ListedGroup)


@request(42, "0-3", flexible="2+")
class DeleteGroupsRequest:
    """Delete empty groups with their offsets (KIP-229).

    - 1: only throttling differs: the answer comes before the pause (KIP-219)
    - 2: flexible
    - 3: only the response differs
    """

    groups_names: list[str] = array(Kind.STRING)  # group ids


@struct()
class DeletableGroupResult:
    group_id: str = string()
    error_code: int = int16()
    error_message: str | None = string("3+", nullable="3+", default=None, ignorable=True)


@response(42, "0-3", flexible="2+")
class DeleteGroupsResponse:
    """Say of each group whether it is gone.

    - 2: flexible
    - 3: error message, with GROUP_DELETION_FAILED
    """

    throttle_time_ms: int = int32()
    results: list[DeletableGroupResult] = array(DeletableGroupResult)

"""JoinGroup (key 11, versions 0-9), Heartbeat (12, 0-4), LeaveGroup (13, 0-5), SyncGroup (14, 0-5),
DescribeGroups (15, 0-6), ListGroups (16, 0-5), DeleteGroups (42, 0-3).

While the group cannot be served here: NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE.

JoinGroup waits until the round is complete.
- INVALID_GROUP_ID (empty), INVALID_SESSION_TIMEOUT, INCONSISTENT_GROUP_PROTOCOL, MEMBER_ID_REQUIRED (4+, KIP-394),
  UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID (5+, KIP-345), GROUP_MAX_SIZE_REACHED.
- 1: a rebalance timeout of its own, before that the session timeout. 7: protocol type; the protocol name may be null.
  9: skip_assignment (KIP-814).
SyncGroup waits until the leader's assignment is stored: UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS,
  FENCED_INSTANCE_ID, INCONSISTENT_GROUP_PROTOCOL (from 5 on also if protocol type or name is missing).
Heartbeat: the same errors. A shard that is still loading answers without an error, so that members stay calm.
LeaveGroup: from 3 on several members, each with its error; before that the one member's error is the response's.
DescribeGroups: an unknown group is "Dead", from 6 on with GROUP_ID_NOT_FOUND.
ListGroups: filters by state (4+, KIP-518) and type (5+, KIP-848), regardless of case.
DeleteGroups: NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND.
"""

from pykbroker.errors import KafkaError
from pykbroker.groups.classic_group import ClassicGroup, ClassicGroupState
from pykbroker.groups.classic_protocol import ClientIdentity
from pykbroker.groups.shard import GroupShard
from pykbroker.handlers.context import RequestContext
from pykbroker.handlers.operations import GROUP_OPERATIONS
from pykbroker.waiters import Answer, Parked
from wire.errors import ErrorCode
from wire.messages.classic_groups import (
    DeletableGroupResult,
    DeleteGroupsRequest,
    DeleteGroupsResponse,
    DescribedGroup,
    DescribedGroupMember,
    DescribeGroupsRequest,
    DescribeGroupsResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    ListedGroup,
    ListGroupsRequest,
    ListGroupsResponse,
    MemberIdentity,
    SyncGroupRequest,
    SyncGroupResponse,
)

_NULLABLE_PROTOCOL_VERSION = 7


def join_group(ctx: RequestContext, request: JoinGroupRequest) -> JoinGroupResponse | Parked:
    settings = ctx.services.groups.settings
    try:
        _check_group_id(request.group_id)
        if not (
            settings.group_min_session_timeout_ms <= request.session_timeout_ms <= settings.group_max_session_timeout_ms
        ):
            raise KafkaError(ErrorCode.INVALID_SESSION_TIMEOUT)
        shard = ctx.services.groups.shard_for(request.group_id)
    except KafkaError as error:
        return _nullable_protocol(ctx, JoinGroupResponse(error_code=error.code, member_id=request.member_id))
    if ctx.api_version == 0:
        request.rebalance_timeout_ms = request.session_timeout_ms
    client = ClientIdentity(ctx.client_id or "", f"/{ctx.connection.host}", ctx.api_version)
    answer = shard.classic.join(request, client)
    if answer.response is not None:
        return _nullable_protocol(ctx, answer.response)
    if ctx.api_version < _NULLABLE_PROTOCOL_VERSION:
        answer.prepare = lambda response: _nullable_protocol(ctx, response)
    return answer.parked


def _nullable_protocol(ctx: RequestContext, response: JoinGroupResponse) -> JoinGroupResponse:
    """An absent protocol name is null from version 7 on and empty before."""
    if not response.protocol_name:
        response.protocol_name = None if ctx.api_version >= _NULLABLE_PROTOCOL_VERSION else ""
    return response


def sync_group(ctx: RequestContext, request: SyncGroupRequest) -> SyncGroupResponse | Parked:
    if ctx.api_version >= 5 and (request.protocol_type is None or request.protocol_name is None):
        return SyncGroupResponse(error_code=ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
    _check_group_id(request.group_id)
    answer = ctx.services.groups.shard_for(request.group_id).classic.sync(request)
    return answer.outcome


def heartbeat(ctx: RequestContext, request: HeartbeatRequest) -> HeartbeatResponse:
    _check_group_id(request.group_id)
    try:
        shard = ctx.services.groups.shard_for(request.group_id)
    except KafkaError as error:
        loading = error.code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        return HeartbeatResponse(error_code=ErrorCode.NONE if loading else error.code)
    return HeartbeatResponse(error_code=shard.classic.heartbeat(request))


def leave_group(ctx: RequestContext, request: LeaveGroupRequest) -> LeaveGroupResponse:
    try:
        _check_group_id(request.group_id)
        shard = ctx.services.groups.shard_for(request.group_id)
    except KafkaError as error:
        return LeaveGroupResponse(error_code=error.code)
    if ctx.api_version >= 3:
        return LeaveGroupResponse(members=shard.classic.leave(request.group_id, request.members))
    (left,) = shard.classic.leave(request.group_id, [MemberIdentity(member_id=request.member_id)])
    return LeaveGroupResponse(error_code=left.error_code)


def describe_groups(ctx: RequestContext, request: DescribeGroupsRequest) -> DescribeGroupsResponse:
    described = []
    for group_id in request.groups:
        try:
            group = ctx.services.groups.shard_for(group_id).group(group_id)
        except KafkaError as error:
            described.append(_undescribed(ctx, group_id, error))
        else:
            described.append(_described(group))
    if ctx.api_version >= 3 and request.include_authorized_operations:
        for each in described:
            if each.error_code == ErrorCode.NONE:
                each.authorized_operations = GROUP_OPERATIONS
    return DescribeGroupsResponse(groups=described)


def _described(group: ClassicGroup) -> DescribedGroup:
    # What members bring and get is shown only while all of it belongs to one generation.
    is_stable = group.state is ClassicGroupState.STABLE
    return DescribedGroup(
        group_id=group.group_id,
        group_state=group.state,
        protocol_type=group.protocol_type or "",
        protocol_data=(group.protocol_name or "") if is_stable else "",
        members=[
            DescribedGroupMember(
                member_id=member.member_id,
                group_instance_id=member.group_instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                member_metadata=member.metadata(group.protocol_name) if is_stable else b"",
                member_assignment=member.assignment if is_stable else b"",
            )
            for member in group.members.values()
        ],
    )


def _undescribed(ctx: RequestContext, group_id: str, error: KafkaError) -> DescribedGroup:
    if error.code is not ErrorCode.GROUP_ID_NOT_FOUND:
        return DescribedGroup(group_id=group_id, error_code=error.code)
    dead = DescribedGroup(group_id=group_id, group_state=ClassicGroupState.DEAD)
    if ctx.api_version >= 6:
        dead.error_code = error.code
        dead.error_message = error.message
    return dead


def list_groups(ctx: RequestContext, request: ListGroupsRequest) -> ListGroupsResponse:
    states = {state.strip().lower() for state in request.states_filter}
    types = {name.lower() for name in request.types_filter}
    listed = [
        ListedGroup(
            group_id=group.group_id,
            protocol_type=group.protocol_type or "",
            group_state=group.state,
            group_type=group.type_name,
        )
        for shard in ctx.services.groups.shards()
        for group in shard.groups.values()
        if (not states or group.state.lower() in states) and (not types or group.type_name in types)
    ]
    return ListGroupsResponse(groups=listed)


def delete_groups(ctx: RequestContext, request: DeleteGroupsRequest) -> DeleteGroupsResponse | Parked:
    group_ids = list(dict.fromkeys(request.groups_names))
    outcomes: dict[str, ErrorCode] = {}
    by_shard: dict[GroupShard, list[str]] = {}
    for group_id in group_ids:
        try:
            by_shard.setdefault(ctx.services.groups.shard_for(group_id), []).append(group_id)
        except KafkaError as error:
            outcomes[group_id] = error.code
    answer = Answer[DeleteGroupsResponse]()

    def settled(some: dict[str, ErrorCode]) -> None:
        outcomes.update(some)
        if len(outcomes) == len(group_ids):
            results = [DeletableGroupResult(group_id=each, error_code=outcomes[each]) for each in group_ids]
            answer.complete(DeleteGroupsResponse(results=results))

    settled({})
    for shard, shard_group_ids in by_shard.items():
        shard.delete_groups(shard_group_ids, settled)
    return answer.outcome


def _check_group_id(group_id: str) -> None:
    if not group_id:
        raise KafkaError(ErrorCode.INVALID_GROUP_ID)

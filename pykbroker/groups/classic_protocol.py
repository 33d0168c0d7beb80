"""What the requests of the classic protocol do to a group: join, sync, heartbeat, leave.

Rules
- A dynamic member first gets a member id and joins with it (MEMBER_ID_REQUIRED, KIP-394); before JoinGroup v4 it is
  taken in at once.
- A member that repeats the join of a round that is complete is told its outcome again; the leader of a stable group,
  or a member with new metadata, begins another round.
- A static member that comes back gets a new member id, which fences the old one. In a stable group it keeps its
  assignment without a round, if the elected protocol stays the same (KIP-345), which v9 tells a leader (KIP-814).
- Errors are answers here, not exceptions: each response has its own fields beside the code.
Not here: rounds, timers and waiting (classic_rounds), the state of a group (classic_group), versions and
authorization (handlers.classic_groups).
Sources: KIP-62, KIP-345, KIP-394, KIP-814, Kafka's GroupMetadataManager.
"""

from collections.abc import Callable, Mapping

import attrs

from pykbroker.clock import Clock
from pykbroker.errors import KafkaError
from pykbroker.groups.classic_group import ClassicGroup, ClassicGroupState, ClassicMember
from pykbroker.groups.classic_rounds import (
    NEW_MEMBER_JOIN_TIMEOUT_MS,
    ClassicRounds,
    JoinAnswer,
    SyncAnswer,
    join_error,
    join_response,
    sync_error,
    sync_response,
)
from pykbroker.groups.records import empty_group_metadata_record, group_metadata_record
from wire.errors import ErrorCode
from wire.messages.classic_groups import (
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupResponse,
    MemberIdentity,
    MemberResponse,
    SyncGroupRequest,
    SyncGroupResponse,
)

_MEMBER_ID_REQUIRED_VERSION = 4
_SKIP_ASSIGNMENT_VERSION = 9
_EMPTY = ClassicGroupState.EMPTY
_PREPARING = ClassicGroupState.PREPARING_REBALANCE
_COMPLETING = ClassicGroupState.COMPLETING_REBALANCE
_STABLE = ClassicGroupState.STABLE
_DEAD = ClassicGroupState.DEAD


@attrs.frozen
class ClientIdentity:
    """Who sent a request, as others are shown it; `api_version` is that of the request."""

    client_id: str
    client_host: str
    api_version: int


@attrs.define(eq=False)
class ClassicProtocol:
    rounds: ClassicRounds
    clock: Clock
    find_group: Callable[[str], ClassicGroup | None]
    add_group: Callable[[ClassicGroup], None]
    new_uuid: Callable[[], str]

    # JoinGroup

    def join(self, request: JoinGroupRequest, client: ClientIdentity) -> JoinAnswer:
        """Take a client into the group, or a member into the next round."""
        group = self.find_group(request.group_id)
        if group is None:
            return self._join_new_group(request, client)
        if not self._accepts(group, request.member_id):
            member = group.members.get(request.member_id)
            if member is not None:
                self.rounds.drop_member(group, member)
            group.forget_pending(request.member_id)
            return _joined(join_error(ErrorCode.GROUP_MAX_SIZE_REACHED, ""))
        if request.member_id:
            return self._join_known_member(group, request, client)
        return self._join_new_member(group, request, client)

    def _join_new_group(self, request: JoinGroupRequest, client: ClientIdentity) -> JoinAnswer:
        if request.member_id:
            return _joined(join_error(ErrorCode.UNKNOWN_MEMBER_ID, request.member_id))
        group = ClassicGroup(request.group_id, state_timestamp_ms=self.clock.time_ms())
        self.add_group(group)
        answer = self._join_new_member(group, request, client)

        def stored(error: ErrorCode) -> None:
            if error is not ErrorCode.NONE:
                answer.complete(join_error(error, ""))

        self.rounds.commit([empty_group_metadata_record(group)], stored)
        return answer

    def _accepts(self, group: ClassicGroup, member_id: str) -> bool:
        """Say whether group.max.size leaves room for this member."""
        limit = self.rounds.settings.group_max_size
        if group.state is _PREPARING:
            # Counts who has rejoined, so that a group over its size sheds the last ones of the round.
            return member_id in group.joins or len(group.joins) < limit
        if group.state in (_COMPLETING, _STABLE):
            return member_id in group.members or len(group.members) < limit
        return True

    def _join_new_member(self, group: ClassicGroup, request: JoinGroupRequest, client: ClientIdentity) -> JoinAnswer:
        if not group.supports_protocols(request.protocol_type, _protocols(request)):
            return _joined(join_error(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, ""))
        instance_id = request.group_instance_id
        if instance_id is not None:
            member_id = f"{instance_id}-{self.new_uuid()}"
            old_member_id = group.static_members.get(instance_id)
            if old_member_id is not None:
                return self._rejoin_static_member(group, request, client, old_member_id, member_id)
            return self._add_member(group, request, client, member_id)
        member_id = f"{client.client_id}-{self.new_uuid()}"
        if client.api_version < _MEMBER_ID_REQUIRED_VERSION:
            return self._add_member(group, request, client, member_id)
        self.rounds.add_pending(group, member_id, request.session_timeout_ms)
        return _joined(join_error(ErrorCode.MEMBER_ID_REQUIRED, member_id))

    def _join_known_member(self, group: ClassicGroup, request: JoinGroupRequest, client: ClientIdentity) -> JoinAnswer:
        member_id = request.member_id
        protocols = _protocols(request)
        if not group.supports_protocols(request.protocol_type, protocols):
            return _joined(join_error(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, member_id))
        if member_id in group.pending_members and request.group_instance_id is None:
            return self._add_member(group, request, client, member_id)
        try:
            group.validate_member(member_id, request.group_instance_id)
        except KafkaError as error:
            return _joined(join_error(error.code, member_id))
        member = group.members[member_id]
        if _knows_outcome(group, member, protocols):
            return _joined(join_response(group, member))
        answer = self.rounds.wait_for_round(group, member_id)
        self._update_member(group, member, request)
        self.rounds.rebalance_or_complete_join(group)
        return answer

    def _add_member(
        self, group: ClassicGroup, request: JoinGroupRequest, client: ClientIdentity, member_id: str
    ) -> JoinAnswer:
        member = ClassicMember(
            member_id=member_id,
            group_instance_id=request.group_instance_id,
            client_id=client.client_id,
            client_host=client.client_host,
            rebalance_timeout_ms=request.rebalance_timeout_ms,
            session_timeout_ms=request.session_timeout_ms,
            protocol_type=request.protocol_type,
            protocols=_protocols(request),
            is_new=True,
            knows_member_id=bool(request.member_id),
        )
        if group.state is _PREPARING and group.previous_state is _EMPTY:
            group.new_member_added = True
        group.add(member)
        answer = self.rounds.wait_for_round(group, member_id)
        self.rounds.restart_session(group, member, NEW_MEMBER_JOIN_TIMEOUT_MS)
        self.rounds.rebalance_or_complete_join(group)
        return answer

    def _update_member(self, group: ClassicGroup, member: ClassicMember, request: JoinGroupRequest) -> None:
        group.update(
            member,
            _protocols(request),
            rebalance_timeout_ms=request.rebalance_timeout_ms,
            session_timeout_ms=request.session_timeout_ms,
        )

    # A static member that comes back

    def _rejoin_static_member(
        self,
        group: ClassicGroup,
        request: JoinGroupRequest,
        client: ClientIdentity,
        old_member_id: str,
        member_id: str,
    ) -> JoinAnswer:
        old = attrs.evolve(group.members[old_member_id], session_timer=None)
        old_leader = group.leader_id
        member = self._replace_static_member(group, old, member_id)
        answer = self.rounds.wait_for_round(group, member_id)
        self._update_member(group, member, request)
        if group.state is _STABLE and group.select_protocol() == group.protocol_name:
            self._store_replaced_member(group, client, old, member, old_leader or "")
        elif group.state in (_STABLE, _COMPLETING):
            # In CompletingRebalance the leader may assign to the old member id already.
            self.rounds.prepare_rebalance(group)
        else:
            self.rounds.complete_join_if_all_joined(group)
        return answer

    def _replace_static_member(self, group: ClassicGroup, old: ClassicMember, member_id: str) -> ClassicMember:
        fenced = ErrorCode.FENCED_INSTANCE_ID
        self.rounds.answer_join(group, old.member_id, join_error(fenced, old.member_id))
        self.rounds.answer_sync(group, old.member_id, sync_error(fenced))
        assert old.group_instance_id is not None
        member = group.replace_static_member(old.group_instance_id, old.member_id, member_id)
        self.rounds.restart_session(group, member)
        return member

    def _store_replaced_member(
        self, group: ClassicGroup, client: ClientIdentity, old: ClassicMember, member: ClassicMember, old_leader: str
    ) -> None:
        """Write the new member id; the generation goes on, unless that fails: then the old member is put back."""

        def stored(error: ErrorCode) -> None:
            if group.state is _DEAD or group.members.get(member.member_id) is not member:
                return
            if error is not ErrorCode.NONE:
                response = join_response(group, member, leader=old_leader)
                response.error_code = error
                response.member_id = ""
                self.rounds.answer_join(group, member.member_id, response)
                self._put_back(group, old, member)
            elif client.api_version >= _SKIP_ASSIGNMENT_VERSION:
                is_leader = group.is_leader(member.member_id)
                response = join_response(group, member, skip_assignment=is_leader)
                self.rounds.answer_join(group, member.member_id, response)
            else:
                # An older client would assign anew if it learned that it leads.
                response = join_response(group, member, leader=old_leader)
                self.rounds.answer_join(group, member.member_id, response)

        assignment = {each.member_id: each.assignment for each in group.members.values()}
        self.rounds.commit([group_metadata_record(group, assignment)], stored)

    def _put_back(self, group: ClassicGroup, old: ClassicMember, member: ClassicMember) -> None:
        restored = self._replace_static_member(group, member, old.member_id)
        group.update(
            restored,
            old.protocols,
            rebalance_timeout_ms=old.rebalance_timeout_ms,
            session_timeout_ms=old.session_timeout_ms,
        )

    # SyncGroup

    def sync(self, request: SyncGroupRequest) -> SyncAnswer:
        """Give a member its assignment; the leader's request brings them all."""
        group = self.find_group(request.group_id)
        if group is None or group.is_empty:
            return _synced(sync_error(ErrorCode.UNKNOWN_MEMBER_ID))
        error = _sync_error(group, request)
        if error is not ErrorCode.NONE:
            return _synced(sync_error(error))
        self.rounds.member_synced(group, request.member_id)
        if group.state is _STABLE:
            return _synced(sync_response(group, group.members[request.member_id]))
        answer = self.rounds.wait_for_assignment(group, request.member_id)
        if group.is_leader(request.member_id):
            assignment = {each.member_id: bytes(each.assignment) for each in request.assignments}
            self.rounds.store_assignment(group, assignment)
        return answer

    # Heartbeat

    def heartbeat(self, request: HeartbeatRequest) -> ErrorCode:
        """Keep the member's session alive and return what it has to know."""
        group = self.find_group(request.group_id)
        if group is None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        try:
            group.validate_member(request.member_id, request.group_instance_id)
        except KafkaError as error:
            return error.code
        if request.generation_id != group.generation_id:
            return ErrorCode.ILLEGAL_GENERATION
        if group.is_empty:
            return ErrorCode.UNKNOWN_MEMBER_ID
        self.rounds.restart_session(group, group.members[request.member_id])
        return ErrorCode.REBALANCE_IN_PROGRESS if group.state is _PREPARING else ErrorCode.NONE

    # LeaveGroup

    def leave(self, group_id: str, identities: list[MemberIdentity]) -> list[MemberResponse]:
        """Remove members at once; an administrator may name static ones by their instance id alone."""
        group = self.find_group(group_id)
        errors = [self._leave_one(group, identity) for identity in identities]
        if group is not None and ErrorCode.NONE in errors:
            if group.state in (_STABLE, _COMPLETING):
                self.rounds.prepare_rebalance(group)
            elif group.state is _PREPARING:
                self.rounds.complete_join_if_all_joined(group)
        return [
            MemberResponse(member_id=identity.member_id, group_instance_id=identity.group_instance_id, error_code=error)
            for identity, error in zip(identities, errors, strict=True)
        ]

    def _leave_one(self, group: ClassicGroup | None, identity: MemberIdentity) -> ErrorCode:
        if group is None:
            return ErrorCode.UNKNOWN_MEMBER_ID
        member_id = identity.member_id
        if not member_id:
            static = group.static_members.get(identity.group_instance_id or "")
            if static is None:
                return ErrorCode.UNKNOWN_MEMBER_ID
            member_id = static
        elif member_id in group.pending_members:
            group.remove(member_id)
            return ErrorCode.NONE
        else:
            try:
                group.validate_member(member_id, identity.group_instance_id)
            except KafkaError as error:
                return error.code
        self.rounds.drop_member(group, group.members[member_id])
        return ErrorCode.NONE


def _knows_outcome(group: ClassicGroup, member: ClassicMember, protocols: Mapping[str, bytes]) -> bool:
    """Say whether a join only asks for the outcome of the last round again."""
    if group.state is _PREPARING or not member.supports_exactly(protocols):
        return False
    return group.state is _COMPLETING or not group.is_leader(member.member_id)


def _sync_error(group: ClassicGroup, request: SyncGroupRequest) -> ErrorCode:
    try:
        group.validate_member(request.member_id, request.group_instance_id)
    except KafkaError as error:
        return error.code
    if request.generation_id != group.generation_id:
        return ErrorCode.ILLEGAL_GENERATION
    if _differs(request.protocol_type, group.protocol_type) or _differs(request.protocol_name, group.protocol_name):
        return ErrorCode.INCONSISTENT_GROUP_PROTOCOL
    return ErrorCode.REBALANCE_IN_PROGRESS if group.state is _PREPARING else ErrorCode.NONE


def _differs(asked: str | None, elected: str | None) -> bool:
    return asked is not None and elected is not None and asked != elected


def _protocols(request: JoinGroupRequest) -> dict[str, bytes]:
    return {protocol.name: bytes(protocol.metadata) for protocol in request.protocols}


def _joined(response: JoinGroupResponse) -> JoinAnswer:
    answer = JoinAnswer()
    answer.complete(response)
    return answer


def _synced(response: SyncGroupResponse) -> SyncAnswer:
    answer = SyncAnswer()
    answer.complete(response)
    return answer

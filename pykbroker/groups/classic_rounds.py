"""The rounds of classic groups: when one begins, who is waited for, when it is complete, and who is dropped.

    PreparingRebalance   members join until all are there, or the rebalance timeout is over
    CompletingRebalance  all know the generation; the leader's assignment is awaited, as long again
    Stable               all have their assignments

Owns: the timers of groups and members, and when a waiting member is answered.
Rules
- A new group waits `group.initial.rebalance.delay.ms` for members, and again while new ones come, up to the longest
  rebalance timeout.
- Waiting counts as a heartbeat, except for a new member, which is given five minutes.
- Members that do not rejoin in time are removed; static ones stay until their session is over (KIP-345).
- A client whose connection dies while it waits is no longer waiting; its session decides whether it comes back. If it
  was never told its member id it cannot, and is removed.
Not here: what requests ask for (classic_protocol), the state of a group (classic_group).
Sources: KIP-62, KIP-134 (initial delay), KIP-345, Kafka's GroupMetadataManager.
"""

import logging
from collections.abc import Callable, Mapping

import attrs

from pykbroker.clock import Clock
from pykbroker.groups.classic_group import ClassicGroup, ClassicGroupState, ClassicMember
from pykbroker.groups.counts import GroupCounts
from pykbroker.groups.records import group_metadata_record
from pykbroker.groups.settings import GroupSettings
from pykbroker.replication.coordinator_log import CoordinatorRecord
from pykbroker.waiters import Answer
from wire.errors import ErrorCode
from wire.messages.classic_groups import JoinGroupResponse, SyncGroupResponse

JoinAnswer = Answer[JoinGroupResponse]
SyncAnswer = Answer[SyncGroupResponse]
Commit = Callable[[list[CoordinatorRecord], Callable[[ErrorCode], None]], None]

# A client that waits in its first round sends no heartbeats; without a limit, retries would pile up defunct members.
NEW_MEMBER_JOIN_TIMEOUT_MS = 5 * 60 * 1000

_EMPTY = ClassicGroupState.EMPTY
_PREPARING = ClassicGroupState.PREPARING_REBALANCE
_COMPLETING = ClassicGroupState.COMPLETING_REBALANCE
_STABLE = ClassicGroupState.STABLE
_DEAD = ClassicGroupState.DEAD

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class ClassicRounds:
    settings: GroupSettings
    clock: Clock
    commit: Commit  # appends without replay: the group is already what its record says
    counts: GroupCounts

    # Waiting members

    def wait_for_round(self, group: ClassicGroup, member_id: str) -> JoinAnswer:
        """Note that the member has joined; its answer comes when the round is complete."""
        answer = JoinAnswer(lambda abandoned: self._abandon_join(group, member_id, abandoned))
        superseded = group.joins.get(member_id)
        group.joins[member_id] = answer
        if superseded is not None:
            superseded.complete(join_error(ErrorCode.REBALANCE_IN_PROGRESS, member_id))
        return answer

    def wait_for_assignment(self, group: ClassicGroup, member_id: str) -> SyncAnswer:
        answer = SyncAnswer(lambda abandoned: self._abandon_sync(group, member_id, abandoned))
        superseded = group.syncs.get(member_id)
        group.syncs[member_id] = answer
        if superseded is not None:
            superseded.complete(sync_error(ErrorCode.REBALANCE_IN_PROGRESS))
        return answer

    def answer_join(self, group: ClassicGroup, member_id: str, response: JoinGroupResponse) -> None:
        """Answer the member's join if one waits."""
        answer = group.joins.pop(member_id, None)
        if answer is not None:
            answer.complete(response)

    def answer_sync(self, group: ClassicGroup, member_id: str, response: SyncGroupResponse) -> bool:
        """Answer the member's sync if one waits, and say whether one did."""
        answer = group.syncs.pop(member_id, None)
        if answer is None:
            return False
        answer.complete(response)
        return True

    def _abandon_join(self, group: ClassicGroup, member_id: str, answer: JoinAnswer) -> None:
        if group.joins.get(member_id) is not answer:
            return
        del group.joins[member_id]
        member = group.members[member_id]
        if member.knows_member_id or member.group_instance_id is not None:
            member.is_new = False
            self.restart_session(group, member)
        else:
            self.remove_member(group, member)

    def _abandon_sync(self, group: ClassicGroup, member_id: str, answer: SyncAnswer) -> None:
        if group.syncs.get(member_id) is answer:
            del group.syncs[member_id]
            self.restart_session(group, group.members[member_id])

    # Sessions

    def restart_session(self, group: ClassicGroup, member: ClassicMember, timeout_ms: int | None = None) -> None:
        """A sign of life: the session lasts its timeout from now on."""
        member.cancel_session_timer()
        delay_ms = member.session_timeout_ms if timeout_ms is None else timeout_ms
        member.session_timer = self.clock.call_later(delay_ms, lambda: self._expire_session(group, member))

    def add_pending(self, group: ClassicGroup, member_id: str, session_timeout_ms: int) -> None:
        """Wait for the member to join with the id it is given now. Source: KIP-394."""
        group.pending_members[member_id] = self.clock.call_later(
            session_timeout_ms, lambda: self.remove_pending(group, member_id)
        )

    def remove_pending(self, group: ClassicGroup, member_id: str) -> None:
        group.remove(member_id)
        if group.state is _PREPARING and group.has_all_members_joined:
            self._complete_join(group)

    def _expire_session(self, group: ClassicGroup, member: ClassicMember) -> None:
        if group.members.get(member.member_id) is not member:
            return
        waits = member.member_id in group.joins or member.member_id in group.syncs
        if not waits or member.is_new:
            _log.info("group %s: session of %s expired", group.group_id, member.member_id)
            self.remove_member(group, member)

    def remove_member(self, group: ClassicGroup, member: ClassicMember) -> None:
        """Drop a member, and let the others divide anew what it had."""
        self.drop_member(group, member)
        if group.state in (_STABLE, _COMPLETING):
            self.rebalance_or_complete_join(group)
        elif group.state is _PREPARING and group.has_all_members_joined:
            self._complete_join(group)

    def drop_member(self, group: ClassicGroup, member: ClassicMember) -> None:
        """Remove the member; if it waits, it learns that it is unknown and may join anew."""
        self.answer_join(group, member.member_id, join_error(ErrorCode.UNKNOWN_MEMBER_ID, ""))
        self.answer_sync(group, member.member_id, sync_error(ErrorCode.UNKNOWN_MEMBER_ID))
        group.remove(member.member_id)

    # PreparingRebalance

    def rebalance_or_complete_join(self, group: ClassicGroup) -> None:
        if group.can_rebalance:
            self.prepare_rebalance(group)
        else:
            self.complete_join_if_all_joined(group)

    def prepare_rebalance(self, group: ClassicGroup) -> None:
        """Begin a round: whoever waits for an assignment must join again."""
        if group.state is _COMPLETING:
            self._propagate_error(group, ErrorCode.REBALANCE_IN_PROGRESS)
        self._stop_sync_timer(group)
        group.pending_sync_members.clear()
        is_initial = group.state is _EMPTY
        _log.info("group %r: rebalance after generation %d", group.group_id, group.generation_id)
        group.transition_to(_PREPARING, self.clock.time_ms())
        if is_initial:
            delay_ms = self.settings.group_initial_rebalance_delay_ms
            self._delay_initial_round(group, delay_ms, max(group.rebalance_timeout_ms - delay_ms, 0))
        elif group.has_all_members_joined:
            self._complete_join(group)
        else:
            self._start_join_timer(group, group.rebalance_timeout_ms, lambda: self._complete_join(group))

    def complete_join_if_all_joined(self, group: ClassicGroup) -> None:
        if (
            group.state is _PREPARING
            and group.previous_state is not _EMPTY  # then the initial delay decides
            and group.has_all_members_joined
        ):
            self._complete_join(group)

    def _delay_initial_round(self, group: ClassicGroup, delay_ms: int, remaining_ms: int) -> None:
        self._start_join_timer(group, delay_ms, lambda: self._end_initial_delay(group, delay_ms, remaining_ms))

    def _end_initial_delay(self, group: ClassicGroup, delay_ms: int, remaining_ms: int) -> None:
        if group.new_member_added and remaining_ms:
            group.new_member_added = False
            next_delay_ms = min(self.settings.group_initial_rebalance_delay_ms, remaining_ms)
            self._delay_initial_round(group, next_delay_ms, max(remaining_ms - delay_ms, 0))
        else:
            self._complete_join(group)

    def _start_join_timer(self, group: ClassicGroup, delay_ms: int, callback: Callable[[], None]) -> None:
        if group.join_timer is not None:
            group.join_timer.cancel()
        group.join_timer = self.clock.call_later(delay_ms, callback)

    def _complete_join(self, group: ClassicGroup) -> None:
        """End the joining: drop who is missing, and tell everyone else the new generation."""
        if group.join_timer is not None:
            group.join_timer.cancel()
            group.join_timer = None
        for member in list(group.members.values()):
            if member.member_id not in group.joins and member.group_instance_id is None:
                group.remove(member.member_id)
        if group.members and not group.elect_joined_leader():
            # Only static members that have not come back: their sessions decide, not this round.
            self._start_join_timer(group, group.rebalance_timeout_ms, lambda: self._complete_join(group))
            return
        group.next_generation(self.clock.time_ms())
        _log.info("group %r: generation %d, members: %d", group.group_id, group.generation_id, len(group.members))
        group.new_member_added = False
        if group.state is _EMPTY:
            self.commit([group_metadata_record(group, {})], lambda error: _log_failure(group, error))
            return
        for member in list(group.members.values()):
            self.restart_session(group, member)
            member.is_new = False
            member.knows_member_id = True
            group.pending_sync_members.add(member.member_id)
        group.sync_timer = self.clock.call_later(group.rebalance_timeout_ms, lambda: self._expire_pending_sync(group))
        for member in list(group.members.values()):
            self.answer_join(group, member.member_id, join_response(group, member))

    # CompletingRebalance

    def member_synced(self, group: ClassicGroup, member_id: str) -> None:
        group.pending_sync_members.discard(member_id)
        if not group.pending_sync_members:
            self._stop_sync_timer(group)

    def store_assignment(self, group: ClassicGroup, assignment: Mapping[str, bytes]) -> None:
        """Write the leader's assignment; when it is committed, everyone gets theirs and the group is Stable."""
        generation_id = group.generation_id
        complete = {member_id: assignment.get(member_id, b"") for member_id in group.members}

        def stored(error: ErrorCode) -> None:
            # Meanwhile another round may have begun.
            if group.state is not _COMPLETING or group.generation_id != generation_id:
                return
            if error is ErrorCode.NONE:
                self.counts.completed_rebalances += 1
                self._propagate_assignment(group, complete)
            else:
                self._propagate_error(group, error)
                self.rebalance_or_complete_join(group)

        self.commit([group_metadata_record(group, complete)], stored)

    def _propagate_assignment(self, group: ClassicGroup, assignment: Mapping[str, bytes]) -> None:
        group.transition_to(_STABLE, self.clock.time_ms())
        for member in list(group.members.values()):
            member.assignment = assignment.get(member.member_id, b"")
            if self.answer_sync(group, member.member_id, sync_response(group, member)):
                # Its session may have run out while it waited, and would not be watched any more.
                self.restart_session(group, member)

    def _propagate_error(self, group: ClassicGroup, error: ErrorCode) -> None:
        for member in list(group.members.values()):
            member.assignment = b""
            if self.answer_sync(group, member.member_id, sync_error(error)):
                self.restart_session(group, member)

    def _expire_pending_sync(self, group: ClassicGroup) -> None:
        """Drop who has not asked for its assignment in time, and begin again without them."""
        for member_id in list(group.pending_sync_members):
            group.remove(member_id)
        self.prepare_rebalance(group)

    def _stop_sync_timer(self, group: ClassicGroup) -> None:
        if group.sync_timer is not None:
            group.sync_timer.cancel()
            group.sync_timer = None

    # Loading and unloading

    def loaded(self, group: ClassicGroup) -> None:
        """Watch over a group that was rebuilt from the log."""
        for member in group.members.values():
            self.restart_session(group, member)
        if len(group.members) > self.settings.group_max_size:
            self.prepare_rebalance(group)

    def unloaded(self, group: ClassicGroup) -> None:
        """The group lives at another coordinator now: send whoever waits there."""
        group.transition_to(_DEAD, self.clock.time_ms())
        group.cancel_timers()
        for member_id in list(group.members):
            self.answer_join(group, member_id, join_error(ErrorCode.NOT_COORDINATOR, member_id))
            self.answer_sync(group, member_id, sync_error(ErrorCode.NOT_COORDINATOR))


def join_response(
    group: ClassicGroup, member: ClassicMember, *, leader: str | None = None, skip_assignment: bool = False
) -> JoinGroupResponse:
    """What a member learns of the generation; only the leader learns who is in it."""
    leader_id = (group.leader_id or "") if leader is None else leader
    return JoinGroupResponse(
        generation_id=group.generation_id,
        protocol_type=group.protocol_type,
        protocol_name=group.protocol_name,
        leader=leader_id,
        skip_assignment=skip_assignment,
        member_id=member.member_id,
        members=group.current_members() if leader_id == member.member_id else [],
    )


def join_error(error: ErrorCode, member_id: str) -> JoinGroupResponse:
    return JoinGroupResponse(error_code=error, member_id=member_id, protocol_name=None)


def sync_response(group: ClassicGroup, member: ClassicMember) -> SyncGroupResponse:
    return SyncGroupResponse(
        protocol_type=group.protocol_type, protocol_name=group.protocol_name, assignment=member.assignment
    )


def sync_error(error: ErrorCode) -> SyncGroupResponse:
    return SyncGroupResponse(error_code=error)


def _log_failure(group: ClassicGroup, error: ErrorCode) -> None:
    if error is not ErrorCode.NONE:
        _log.warning("group %s: its empty generation was not written: %s", group.group_id, error.name)

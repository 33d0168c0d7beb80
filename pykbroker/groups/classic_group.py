"""A classic group: its members, their votes and its state. Pure state; no clock, no log, no sockets.

    Empty -> PreparingRebalance -> CompletingRebalance -> Stable
      ^____________|    ^_________________|________________|

Owns: members, static members, who waits for a join or a sync, the generation and what was elected for it.
Rules
- `joins` and `syncs` hold the answers of waiting members; a member is "joined" while its answer waits in `joins`.
- Whoever is told to retry with a member id first (KIP-394) is in `pending_members`, not a member yet; a round waits
  for it.
- The protocol of a generation is supported by all members; each votes for its first such protocol.
- Metadata and assignments are opaque. Only to know which offsets are still in use are the topics of the "consumer"
  protocol read, by its version 0, which is a prefix of all others.
Not here: rounds, timeouts and answers (classic_protocol), records.
Sources: KIP-62, KIP-345, KIP-394, Kafka's ClassicGroup.
"""

import enum
from collections.abc import Callable, Mapping

import attrs

from pykbroker.clock import Timer
from pykbroker.errors import KafkaError
from pykbroker.groups.offsets import CommittedOffset
from pykbroker.waiters import Answer
from wire.codec import decode
from wire.errors import ErrorCode, ProtocolError
from wire.messages.classic_groups import JoinGroupResponse, JoinGroupResponseMember, SyncGroupResponse
from wire.messages.log_records import ConsumerProtocolSubscription

CONSUMER_PROTOCOL_TYPE = "consumer"

_SUBSCRIPTION_START = 2  # after its version, an int16


class ClassicGroupState(enum.StrEnum):
    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


_EMPTY = ClassicGroupState.EMPTY
_PREPARING = ClassicGroupState.PREPARING_REBALANCE
_COMPLETING = ClassicGroupState.COMPLETING_REBALANCE
_STABLE = ClassicGroupState.STABLE
_DEAD = ClassicGroupState.DEAD

_PREVIOUS_STATES = {
    _EMPTY: {_PREPARING},
    _PREPARING: {_EMPTY, _COMPLETING, _STABLE},
    _COMPLETING: {_PREPARING},
    _STABLE: {_COMPLETING},
    _DEAD: set(ClassicGroupState),
}


@attrs.define(eq=False)
class ClassicMember:
    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    protocol_type: str
    protocols: Mapping[str, bytes]  # name -> metadata, in the member's order of preference
    assignment: bytes = b""
    is_new: bool = False  # it waits in its first round and cannot send heartbeats yet
    knows_member_id: bool = True  # False until its first answer, where the id was made up for this very request
    session_timer: Timer | None = None

    def metadata(self, protocol_name: str | None) -> bytes:
        return self.protocols.get(protocol_name or "", b"")

    def supports_exactly(self, protocols: Mapping[str, bytes]) -> bool:
        """Say whether `protocols` are the member's own, in the same order."""
        return list(self.protocols.items()) == list(protocols.items())

    def cancel_session_timer(self) -> None:
        if self.session_timer is not None:
            self.session_timer.cancel()
            self.session_timer = None


@attrs.define(eq=False)
class ClassicGroup:
    group_id: str
    state: ClassicGroupState = ClassicGroupState.EMPTY
    state_timestamp_ms: int | None = None  # of the last change of state
    previous_state: ClassicGroupState = ClassicGroupState.DEAD
    generation_id: int = 0
    protocol_type: str | None = None  # None: nobody ever joined, it only stores offsets
    protocol_name: str | None = None
    leader_id: str | None = None
    members: dict[str, ClassicMember] = attrs.field(factory=dict)
    static_members: dict[str, str] = attrs.field(factory=dict)  # group instance id -> member id
    pending_members: dict[str, Timer] = attrs.field(factory=dict)  # member id -> when it is forgotten
    pending_sync_members: set[str] = attrs.field(factory=set)
    joins: dict[str, Answer[JoinGroupResponse]] = attrs.field(factory=dict)
    syncs: dict[str, Answer[SyncGroupResponse]] = attrs.field(factory=dict)
    new_member_added: bool = False  # since the initial rebalance delay was last extended
    subscribed_topics: frozenset[str] | None = None  # None: not known
    join_timer: Timer | None = None
    sync_timer: Timer | None = None
    _votes: dict[str, int] = attrs.field(factory=dict)  # protocol name -> how many members support it

    @classmethod
    def loaded(
        cls,
        group_id: str,
        *,
        generation_id: int,
        protocol_type: str | None,
        protocol_name: str | None,
        leader_id: str | None,
        state_timestamp_ms: int | None,
    ) -> "ClassicGroup":
        """Begin to rebuild a group from its record: `add` its members, then `finish_loading`."""
        return cls(
            group_id,
            state_timestamp_ms=state_timestamp_ms,
            generation_id=generation_id,
            protocol_type=protocol_type,
            protocol_name=protocol_name,
            leader_id=leader_id,
        )

    def finish_loading(self) -> None:
        self.state = _STABLE if self.members else _EMPTY
        self.subscribed_topics = self._read_subscribed_topics()

    # What the group is

    @property
    def type_name(self) -> str:
        return "classic"

    @property
    def is_empty(self) -> bool:
        return self.state is _EMPTY

    @property
    def uses_consumer_protocol(self) -> bool:
        return self.protocol_type == CONSUMER_PROTOCOL_TYPE

    @property
    def has_all_members_joined(self) -> bool:
        return len(self.joins) == len(self.members) and not self.pending_members

    @property
    def can_rebalance(self) -> bool:
        return self.state in _PREVIOUS_STATES[_PREPARING]

    @property
    def rebalance_timeout_ms(self) -> int:
        """The longest that any member asks for."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    def is_leader(self, member_id: str) -> bool:
        return self.leader_id == member_id

    def supports_protocols(self, protocol_type: str, protocols: Mapping[str, bytes]) -> bool:
        """Say whether a member with these protocols can be in the group without leaving nothing in common."""
        if self.state is _EMPTY:
            return bool(protocol_type) and bool(protocols)
        return self.protocol_type == protocol_type and any(
            self._votes.get(name, 0) == len(self.members) for name in protocols
        )

    def is_subscribed_to_topic(self, topic: str) -> bool:
        """Say whether members consume `topic`, as far as is known; if it is not known, they may."""
        if self.subscribed_topics is None:
            return self.uses_consumer_protocol
        return topic in self.subscribed_topics

    def current_members(self) -> list[JoinGroupResponseMember]:
        """Return what the leader is told about each member."""
        return [
            JoinGroupResponseMember(
                member_id=member.member_id,
                group_instance_id=member.group_instance_id,
                metadata=member.metadata(self.protocol_name),
            )
            for member in self.members.values()
        ]

    # Checks of a request

    def validate_member(self, member_id: str, group_instance_id: str | None) -> None:
        """Raises: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID. Source: KIP-345."""
        if group_instance_id is not None:
            known = self.static_members.get(group_instance_id)
            if known is None:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
            if known != member_id:
                raise KafkaError(ErrorCode.FENCED_INSTANCE_ID)
        if member_id not in self.members:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)

    def validate_offset_commit(
        self, member_id: str, group_instance_id: str | None, generation_id: int, *, is_transactional: bool = False
    ) -> None:
        """Check that this client may commit now. Members may commit the generation that a rebalance is about to end.

        Raises: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS.
        """
        if generation_id < 0 and self.state is _EMPTY:
            return  # an admin client, or a consumer that assigns its partitions itself
        if generation_id >= 0 or member_id or group_instance_id is not None:
            self.validate_member(member_id, group_instance_id)
            if generation_id != self.generation_id:
                raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        elif not is_transactional and self.state is not _EMPTY:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        if not is_transactional and self.state is _COMPLETING:
            # The member knows the new generation, but not yet which partitions it may speak for.
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)

    def validate_offset_delete(self) -> None:
        """Raises: NON_EMPTY_GROUP, where it is not known which topics the members use."""
        if self.state is not _EMPTY and not self.uses_consumer_protocol:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP)

    def validate_delete(self) -> None:
        """Raises: NON_EMPTY_GROUP."""
        if self.state is not _EMPTY:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP)

    def offset_retention_start(self) -> Callable[[CommittedOffset], int] | None:
        """Return from when on the retention of an offset counts; None while offsets are not to expire."""
        if self.protocol_type is None:
            return _commit_timestamp
        if self.state is _EMPTY:
            emptied_ms = self.state_timestamp_ms
            return _commit_timestamp if emptied_ms is None else lambda _: emptied_ms
        if self.uses_consumer_protocol and self.subscribed_topics is not None and self.state is _STABLE:
            return _commit_timestamp
        return None

    # Members

    def add(self, member: ClassicMember) -> None:
        """Take in a member that the checks have passed; the first one sets protocol type and leader."""
        assert member.group_instance_id not in self.static_members, "a static member is replaced, not added"
        if member.group_instance_id is not None:
            self.static_members[member.group_instance_id] = member.member_id
        if not self.members and member.protocol_type:
            self.protocol_type = member.protocol_type
        if self.leader_id is None:
            self.leader_id = member.member_id
        self.members[member.member_id] = member
        self._count(member.protocols, 1)
        self.forget_pending(member.member_id)

    def remove(self, member_id: str) -> None:
        """Take a member, or a pending one, out of everything. Its waiting answers must have been completed."""
        member = self.members.pop(member_id, None)
        if member is not None:
            member.cancel_session_timer()
            self._count(member.protocols, -1)
            self.joins.pop(member_id, None)
            self.syncs.pop(member_id, None)
            if member.group_instance_id is not None:
                self.static_members.pop(member.group_instance_id, None)
        if self.is_leader(member_id):
            self.leader_id = next(iter(self.members), None)
        self.forget_pending(member_id)
        self.pending_sync_members.discard(member_id)

    def forget_pending(self, member_id: str) -> None:
        timer = self.pending_members.pop(member_id, None)
        if timer is not None:
            timer.cancel()

    def update(
        self,
        member: ClassicMember,
        protocols: Mapping[str, bytes],
        *,
        rebalance_timeout_ms: int,
        session_timeout_ms: int,
    ) -> None:
        self._count(member.protocols, -1)
        member.protocols = protocols
        self._count(protocols, 1)
        member.rebalance_timeout_ms = rebalance_timeout_ms
        member.session_timeout_ms = session_timeout_ms

    def replace_static_member(self, group_instance_id: str, old_member_id: str, new_member_id: str) -> ClassicMember:
        """Give the member with this instance id a new member id; what it had stays its own."""
        old = self.members.pop(old_member_id)
        old.cancel_session_timer()
        new = attrs.evolve(old, member_id=new_member_id, is_new=False, knows_member_id=True, session_timer=None)
        self.members[new_member_id] = new
        if self.is_leader(old_member_id):
            self.leader_id = new_member_id
        self.static_members[group_instance_id] = new_member_id
        self.pending_sync_members.discard(old_member_id)
        return new

    # Generations

    def transition_to(self, state: ClassicGroupState, now_ms: int) -> None:
        assert self.state in _PREVIOUS_STATES[state], f"{self.group_id}: {self.state} -> {state}"
        self.previous_state, self.state = self.state, state
        self.state_timestamp_ms = now_ms

    def elect_joined_leader(self) -> bool:
        """Make sure that the leader has joined the round. Returns False if nobody can lead."""
        if self.leader_id is None:
            return False
        if self.leader_id in self.joins:
            return True
        joined = next((member_id for member_id in self.members if member_id in self.joins), None)
        if joined is not None:
            self.leader_id = joined
        return joined is not None

    def next_generation(self, now_ms: int) -> None:
        """Begin a generation with the members that there are; without members the group is Empty."""
        self.generation_id += 1
        self.protocol_name = self.select_protocol() if self.members else None
        self.subscribed_topics = self._read_subscribed_topics()
        self.transition_to(_COMPLETING if self.members else _EMPTY, now_ms)
        self.pending_sync_members.clear()

    def select_protocol(self) -> str:
        """Return the protocol that most members prefer among those that all support."""
        candidates = {name for name, count in self._votes.items() if count == len(self.members)}
        votes: dict[str, int] = {}
        for member in self.members.values():
            vote = next(name for name in member.protocols if name in candidates)
            votes[vote] = votes.get(vote, 0) + 1
        return max(votes, key=lambda name: votes[name])

    def cancel_timers(self) -> None:
        """Stop all timers of the group and of its members."""
        for member in self.members.values():
            member.cancel_session_timer()
        for member_id in list(self.pending_members):
            self.forget_pending(member_id)
        for timer in (self.join_timer, self.sync_timer):
            if timer is not None:
                timer.cancel()

    def _count(self, protocols: Mapping[str, bytes], step: int) -> None:
        for name in protocols:
            count = self._votes.get(name, 0) + step
            if count:
                self._votes[name] = count
            else:
                del self._votes[name]

    def _read_subscribed_topics(self) -> frozenset[str] | None:
        if not self.uses_consumer_protocol or (self.members and self.protocol_name is None):
            return None
        topics: set[str] = set()
        for member in self.members.values():
            try:
                metadata = member.metadata(self.protocol_name)
                topics.update(decode(ConsumerProtocolSubscription, 0, metadata, _SUBSCRIPTION_START)[0].topics)
            except ProtocolError:
                return None
        return frozenset(topics)


def _commit_timestamp(committed: CommittedOffset) -> int:
    return committed.commit_timestamp_ms

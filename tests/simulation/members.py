"""Simulated members of a group (the classic protocol), which share partitions and commit how far they are.

Rules
- A member joins, is given partitions by the group's leader, goes on where the group was, and commits ascending offsets
  until it learns of a rebalance; then it joins again. Now and then one leaves.
- What it found committed when it took a partition over counts as read: it must not be older than what any member was
  told is committed.
- In the end all are in one generation, and each partition is one member's.
"""

from collections.abc import Sequence
from typing import Any

from tests.simulation.checker import History, Place
from tests.simulation.client import Client
from tests.simulation.consumers import OFFSET_COMMIT_VERSION, OFFSET_FETCH_VERSION
from tests.simulation.network import SimulatedNetwork
from tests.simulation.world import World
from wire.errors import ErrorCode
from wire.messages.classic_groups import (
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    LeaveGroupRequest,
    MemberIdentity,
    SyncGroupRequest,
    SyncGroupRequestAssignment,
)
from wire.messages.group_offsets import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)

JOIN_VERSION, SYNC_VERSION, HEARTBEAT_VERSION, LEAVE_VERSION = 7, 5, 4, 4
SESSION_MS = 6000
REBALANCE_MS = 3000  # less than a client waits for an answer
PAUSE_MS = 300
LEAVE_SHARE = 0.02
PROTOCOL_TYPE, PROTOCOL = "shared", "even"
STRANGER = frozenset({ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.ILLEGAL_GENERATION, ErrorCode.FENCED_INSTANCE_ID})


class _Refused(Exception):
    """An answer has an error: the text is its name."""


class Member(Client):
    def __init__(
        self,
        world: World,
        network: SimulatedNetwork,
        history: History,
        name: str,
        brokers: Sequence[int],
        *,
        group: str,
        places: Sequence[Place],
    ) -> None:
        super().__init__(world, network, history, name, brokers)
        self.group = group
        self.is_stopping = False  # it goes on as a member, but commits nothing
        self.generation = -1
        self.owned: dict[Place, int] = {}  # with what is committed next
        self._places = places
        self._member_id = ""

    async def run(self) -> None:
        """Be a member, until cancelled."""
        while True:
            try:
                if self.generation < 0:
                    await self._join()
                else:
                    await self._work()
            except OSError as error:
                self.problem = repr(error)
                self.forget_coordinator(self.group)
                await self.back_off()
            except _Refused as refused:
                self.problem = str(refused)
                await self.back_off()

    async def _ask(self, request: object, version: int) -> Any:
        """Raises: OSError."""
        return await (await self.coordinator(self.group)).ask(request, version)

    def _check(self, code: int) -> None:
        """Raises: _Refused."""
        if code == 0:
            return
        self.note(f"is told {ErrorCode(code).name}")
        if code in STRANGER:
            self._member_id = ""
        if code in STRANGER or code == ErrorCode.REBALANCE_IN_PROGRESS:
            self.generation = -1
        else:
            self.forget_coordinator(self.group)
        raise _Refused(f"{self.group}: {ErrorCode(code).name}")

    # Joining

    async def _join(self) -> None:
        """Raises: OSError, _Refused."""
        self.owned.clear()
        request = JoinGroupRequest(
            group_id=self.group,
            session_timeout_ms=SESSION_MS,
            rebalance_timeout_ms=REBALANCE_MS,
            member_id=self._member_id,
            protocol_type=PROTOCOL_TYPE,
            protocols=[JoinGroupRequestProtocol(PROTOCOL, b"")],
        )
        joined = await self._ask(request, JOIN_VERSION)
        if joined.error_code == ErrorCode.MEMBER_ID_REQUIRED:
            self._member_id = joined.member_id
            return
        self._check(joined.error_code)
        self._member_id = joined.member_id
        assignments = []
        if joined.leader == joined.member_id:
            members = sorted(member.member_id for member in joined.members)
            assignments = [
                SyncGroupRequestAssignment(member, bytes(range(position, len(self._places), len(members))))
                for position, member in enumerate(members)
            ]
        sync = SyncGroupRequest(
            group_id=self.group,
            generation_id=joined.generation_id,
            member_id=self._member_id,
            protocol_type=PROTOCOL_TYPE,
            protocol_name=PROTOCOL,
            assignments=assignments,
        )
        synced = await self._ask(sync, SYNC_VERSION)
        self._check(synced.error_code)
        places = [self._places[position] for position in bytes(synced.assignment)]
        self.note(f"has {[index for _, index in places]} in generation {joined.generation_id}")
        owned = {place: await self._committed(place) + 1 for place in places}
        self.owned, self.generation = owned, joined.generation_id

    async def _committed(self, place: Place) -> int:
        """Raises: OSError, _Refused."""
        at_least = self.history.committed(self.group, place)
        topic, index = place
        wanted = OffsetFetchRequestGroup(
            group_id=self.group, topics=[OffsetFetchRequestTopics(name=topic, partition_indexes=[index])]
        )
        answer = await self._ask(OffsetFetchRequest(groups=[wanted], require_stable=True), OFFSET_FETCH_VERSION)
        self._check(answer.groups[0].error_code)
        ((partition,),) = ([*response.partitions] for response in answer.groups[0].topics)
        self._check(partition.error_code)
        self.note(f"found {place[1]}:{partition.committed_offset}")
        self.history.commit_read(self.group, place, partition.committed_offset, at_least=at_least)
        return int(partition.committed_offset)

    # Working

    async def _work(self) -> None:
        """Raises: OSError, _Refused."""
        random = self.world.random
        await self.world.sleep(random.uniform(0, PAUSE_MS))
        if not self.is_stopping and random.random() < LEAVE_SHARE:
            await self._leave()
        elif not self.is_stopping and self.owned and random.random() < 0.7:
            await self._commit(random.choice(list(self.owned)))
        else:
            heartbeat = HeartbeatRequest(self.group, self.generation, self._member_id)
            self._check((await self._ask(heartbeat, HEARTBEAT_VERSION)).error_code)

    async def _commit(self, place: Place) -> None:
        """Raises: OSError, _Refused."""
        topic, index = place
        offset = self.owned[place]
        self.owned[place] += 1  # none is sent a second time: one that was lost may come late
        self.history.commit_sent(self.group, place, offset)
        partition = OffsetCommitRequestPartition(index, offset, committed_metadata="")
        request = OffsetCommitRequest(
            group_id=self.group,
            generation_id_or_member_epoch=self.generation,
            member_id=self._member_id,
            topics=[OffsetCommitRequestTopic(name=topic, partitions=[partition])],
        )
        try:
            answer = await self._ask(request, OFFSET_COMMIT_VERSION)
        except OSError:
            self.history.commit_may_come_late(self.group, place, offset)
            raise
        ((stored,),) = ([*response.partitions] for response in answer.topics)
        self._check(stored.error_code)
        self.history.commit_acknowledged(self.group, place, offset)
        self.note(f"committed {index}:{offset}")

    async def _leave(self) -> None:
        """Raises: OSError, _Refused."""
        identity = MemberIdentity(member_id=self._member_id)
        self.generation = -1
        self._member_id = ""
        self.note("leaves")
        answer = await self._ask(LeaveGroupRequest(group_id=self.group, members=[identity]), LEAVE_VERSION)
        self._check(answer.error_code)


def why_not_settled(members: Sequence[Member], places: Sequence[Place]) -> str:
    """Return what is wrong with a group at rest: members of several generations, or partitions that are not shared."""
    if len({member.generation for member in members}) > 1 or members[0].generation < 0:
        generations = [(member.name, member.generation, member.problem) for member in members]
        return f"{members[0].group} is not in one generation: {generations}"
    owned = sorted(place for member in members for place in member.owned)
    if owned != sorted(places):
        return f"{members[0].group} shares {owned}"
    return ""

"""Simulated consumers: readers of all records from the beginning, and a client that commits offsets for a group.

Rules
- A reader goes on where it was, whatever happens to leaders; an offset that it had reached is never out of range.
- A committer's offsets ascend. It notes each as committed only when it was told so, and looks at them again and again.
"""

from collections.abc import Sequence
from typing import Any

from tests.simulation.checker import History, Place
from tests.simulation.client import Client
from tests.simulation.network import SimulatedNetwork
from tests.simulation.world import World
from wire.errors import ErrorCode
from wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from wire.messages.group_offsets import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)
from wire.messages.offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from wire.records import iter_batches, read_records

FETCH_VERSION = 12
LIST_OFFSETS_VERSION = 7
OFFSET_COMMIT_VERSION = 9
OFFSET_FETCH_VERSION = 9
LATEST = -1
MAX_PAUSE_MS = 600


class Consumer(Client):
    """Reads one partition, committed or not."""

    isolation_level = 0

    def __init__(
        self,
        world: World,
        network: SimulatedNetwork,
        history: History,
        name: str,
        brokers: Sequence[int],
        *,
        place: Place,
    ) -> None:
        super().__init__(world, network, history, name, brokers)
        self.place = place
        self.position = 0

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                failed = await self._look_at_end() if self.world.random.random() < 0.2 else await self._fetch()
            except OSError as error:
                failed = repr(error)
            if failed:
                self.problem = failed
                self.forget_leader(self.place)
                await self.back_off()
            elif self.world.random.random() < 0.5:
                await self.world.sleep(self.world.random.uniform(0, MAX_PAUSE_MS))

    async def _fetch(self) -> str:
        leader = await self.leader(self.place)
        connection = await self.connection(leader.broker_id)
        topic, index = self.place
        wanted = FetchPartition(
            index,
            current_leader_epoch=leader.epoch,
            fetch_offset=self.position,
            partition_max_bytes=self.world.random.choice((1, 2000, 100_000)),
        )
        answer = await connection.ask(
            FetchRequest(
                max_wait_ms=500,
                min_bytes=1,
                max_bytes=1_000_000,
                isolation_level=self.isolation_level,
                session_epoch=-1,
                topics=[FetchTopic(topic=topic, partitions=[wanted])],
            ),
            FETCH_VERSION,
        )
        if answer.error_code:
            return f"{self.place}: {ErrorCode(answer.error_code).name}"
        ((partition,),) = ([*response.partitions] for response in answer.responses)
        return self._take(partition)

    def _take(self, partition: Any) -> str:
        code = partition.error_code
        if code == ErrorCode.OFFSET_OUT_OF_RANGE:
            self.history.violation("vanished", f"{self.position} of {self.place} is out of range for {self.name}")
        if code:
            return f"{self.place}: {ErrorCode(code).name}"
        self._take_records(partition)
        if partition.records and self.position > partition.high_watermark:
            self.history.violation(
                "back",
                f"{self.name} was given {self.position} of {self.place}, which ends at {partition.high_watermark}",
            )
        self.note(f"is at {self.place[1]}:{self.position}")
        return ""

    def _take_records(self, partition: Any) -> None:
        for header, batch in iter_batches(memoryview(bytearray(partition.records or b""))):
            for record in read_records(batch) if not header.is_control else ():
                if record.offset >= self.position:
                    self.history.read(self.name, self.place, record.offset, record.value or b"")
            self.position = max(self.position, header.last_offset + 1)

    async def _look_at_end(self) -> str:
        leader = await self.leader(self.place)
        connection = await self.connection(leader.broker_id)
        topic, index = self.place
        wanted = ListOffsetsPartition(index, current_leader_epoch=leader.epoch, timestamp=LATEST)
        request = ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsTopic(topic, [wanted])])
        answer = await connection.ask(request, LIST_OFFSETS_VERSION)
        ((partition,),) = ([*response.partitions] for response in answer.topics)
        if partition.error_code:
            return f"{self.place}: {ErrorCode(partition.error_code).name}"
        self.history.high_watermark(self.name, self.place, partition.offset)
        return ""


class Committer(Client):
    """Commits ascending offsets for a group without members."""

    def __init__(
        self,
        world: World,
        network: SimulatedNetwork,
        history: History,
        name: str,
        brokers: Sequence[int],
        *,
        group: str,
        place: Place,
    ) -> None:
        super().__init__(world, network, history, name, brokers)
        self.group, self.place = group, place
        self.is_stopping = False
        self.is_done = False
        self._next = 0

    async def run(self) -> None:
        """Commit until `is_stopping`, and then once more, until that is acknowledged and read again."""
        while not self.is_stopping:
            await self._until_done(self._commit)
            if self.world.random.random() < 0.3:
                await self._until_done(self._read)
            await self.world.sleep(self.world.random.uniform(0, MAX_PAUSE_MS))
        await self._until_done(self._commit)
        await self._until_done(self._read)
        self.is_done = True

    async def _until_done(self, act: Any) -> None:
        while True:
            try:
                failed = await act()
            except OSError as error:
                failed = repr(error)
            if not failed:
                return
            self.problem = failed
            self.forget_coordinator(self.group)
            await self.back_off()

    async def _commit(self) -> str:
        self._next += 1
        connection = await self.coordinator(self.group)
        topic, index = self.place
        self.history.commit_sent(self.group, self.place, self._next)
        offset = OffsetCommitRequestPartition(index, self._next, committed_metadata="")
        request = OffsetCommitRequest(
            group_id=self.group, member_id="", topics=[OffsetCommitRequestTopic(name=topic, partitions=[offset])]
        )
        sent = self._next
        try:
            answer = await connection.ask(request, OFFSET_COMMIT_VERSION)
        except OSError:
            self.history.commit_may_come_late(self.group, self.place, sent)
            raise
        ((partition,),) = ([*response.partitions] for response in answer.topics)
        if partition.error_code:
            return f"{self.group}: {ErrorCode(partition.error_code).name}"
        self.history.commit_acknowledged(self.group, self.place, sent)
        self.note(f"committed {sent}")
        return ""

    async def _read(self) -> str:
        connection = await self.coordinator(self.group)
        at_least = self.history.committed(self.group, self.place)
        topic, index = self.place
        wanted = OffsetFetchRequestGroup(
            group_id=self.group, topics=[OffsetFetchRequestTopics(name=topic, partition_indexes=[index])]
        )
        answer = await connection.ask(OffsetFetchRequest(groups=[wanted], require_stable=True), OFFSET_FETCH_VERSION)
        (group,) = answer.groups
        if group.error_code:
            return f"{self.group}: {ErrorCode(group.error_code).name}"
        ((partition,),) = ([*response.partitions] for response in group.topics)
        if partition.error_code:
            return f"{self.group}: {ErrorCode(partition.error_code).name}"
        self.note(f"found {partition.committed_offset}")
        self.history.commit_read(self.group, self.place, partition.committed_offset, at_least=at_least)
        return ""

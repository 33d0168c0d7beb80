"""Consuming: one fetch under way at each leader, records in the order of each partition.

    async with Consumer(client, {TopicPartition("t", 0): 0}, until={TopicPartition("t", 0): 100}) as consumer:
        async for record in consumer:
            ...

Owns: the position of each partition, twice: how far it was fetched, and (`positions`) how far the caller has come.

Rules
- A task per leader fetches the partitions it leads and hands each answer over before it fetches again, so at most one
  answer per leader waits for the caller. A slow leader does not hold up the others.
- Partitions that brought something are asked for last the next time, so that none is left out where an answer has not
  room for all.
- A partition that has another leader, or none, is given to the task of the new one after a look at the metadata.
- With `until`, a partition ends at that offset, exclusive, and the iteration with the last partition. Control
  batches and offsets that compaction removed count: it is the position that has to get there.
- With `grows`, partitions that the topics get later are fetched, too, from their beginning; they are looked for every
  `metadata.max.age.ms`.
- Each fetch says which leader epoch the client knows, so that only the leader it means answers, and of which epoch
  the last batch was. A leader that does not have that batch, since it was elected without it, tells where the logs
  part: there it goes on. Before Fetch 12 a new leader is asked that by OffsetForLeaderEpoch.
- Each fetch names topics by their ids, where the broker tells ids: from Fetch 13 on. One of a topic that was made anew
  in the meantime is refused, so that its records are not taken for those that follow.
- An offset that is out of range, or of a log that the topic of this name no longer has, goes where
  `auto_offset_reset` says. Of each such move, and of a leader that is silent, `on_notice` is told.

Not here: what is in an answer (fetched), groups (member). Sources: KIP-320 and KIP-595 (leader epochs).
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import anyio
import attrs
from anyio.abc import TaskGroup

from pykbroker.client.client import Client, Lane
from pykbroker.client.connection import Question
from pykbroker.client.errors import NotServedError
from pykbroker.client.fetched import ConsumedRecord, Fetched
from pykbroker.client.offsets import (
    BEGINNING,
    END,
    UNKNOWN_EPOCH,
    EpochEnd,
    EpochQuestion,
    IsolationLevel,
    ends_of_epochs,
    list_offsets,
)
from pykbroker.client.security import is_lasting
from pykbroker.client.settings import OffsetReset
from pykbroker.errors import KafkaError, error_of
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode, ProtocolError
from wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from wire.messages.offsets import OffsetForLeaderEpochRequest
from wire.records import iter_batches
from wire.schema import ZERO_UUID, Uuid

_TOPIC_IDS_FROM = 13  # topics have no names from here on
_LAST_EPOCH_FROM = 12  # the leader compares it
_EPOCH_ENDS_FROM = 3  # for consumers; before, brokers only may ask
_NO_SESSION = -1
FAILURES = (KafkaError, OSError, NotServedError, ProtocolError)  # what is passed on to the caller


@attrs.define(eq=False)
class _Partition:
    """How far a partition was fetched, and from whom."""

    fetched_to: int
    last_epoch: int = UNKNOWN_EPOCH  # of the last batch before it
    until: int | None = None
    leader_epoch: int = UNKNOWN_EPOCH  # of the leader that is asked
    high_watermark: int = -1  # the largest that was told
    told_epoch: int = UNKNOWN_EPOCH  # the last epoch, where the leader was told of it
    is_checked: bool = True  # whether the leader is known to have the last batch
    is_out_of_range: bool = False
    diverging: EpochEnd | None = None  # where the leader's log parts from what was read
    is_of_another_log: bool = False  # the offset is of a topic that had this name before
    topic_id: Uuid = ZERO_UUID  # zero: not known
    turn: int = 0  # who has the smallest is asked for first

    def is_at_end(self, position: int) -> bool:
        return self.until is not None and position >= self.until

    @property
    def is_to_leave(self) -> bool:
        """Whether the offset is not one to go on from."""
        return self.is_out_of_range or self.is_of_another_log or self.diverging is not None

    def go_to(self, offset: int, last_epoch: int, end: int) -> None:
        """Go on elsewhere in the log, which ends there."""
        if self.until is not None and self.until <= self.high_watermark:
            self.until = min(self.until, max(offset, end))  # what was there to wait for is gone
        self.fetched_to, self.last_epoch = offset, last_epoch
        self.is_checked, self.diverging = True, None
        self.is_out_of_range = self.is_of_another_log = False


class Consumer:
    def __init__(
        self,
        client: Client,
        positions: Mapping[TopicPartition, int],
        *,
        until: Mapping[TopicPartition, int] | None = None,
        isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
        check_crcs: bool = True,
        grows: bool = False,
        leader_epochs: Mapping[TopicPartition, int] | None = None,
        auto_offset_reset: OffsetReset = OffsetReset.NEAREST,
        on_notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`leader_epochs`: of the last batches before the positions, where they are known."""
        self.positions = dict(positions)
        self.leader_epochs = dict(leader_epochs or {})  # of the last batches before the positions; -1: not known
        self._client = client
        self._partitions = {
            tp: _Partition(position, self.leader_epochs.get(tp, UNKNOWN_EPOCH), (until or {}).get(tp))
            for tp, position in positions.items()
        }
        self._isolation = isolation
        self._checks_crcs = check_crcs
        self._grows = grows
        self._reset = auto_offset_reset
        self._notice = on_notice
        self._wanted = {tp for tp in self.positions if not self._is_at_end(tp)}
        self._failures = 0  # in a row
        self._turns = itertools.count(1)
        self._leaders: dict[int, set[TopicPartition]] = {}  # of the tasks that fetch
        self._polled: Iterator[ConsumedRecord] = iter(())  # what an iteration has still to yield
        self._tasks: TaskGroup
        # Nothing waits in the stream: who fetches waits until it is taken.
        self._arrived, self._arrivals = anyio.create_memory_object_stream[Fetched | Exception](0)

    async def __aenter__(self) -> "Consumer":
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        if self._wanted:
            self._tasks.start_soon(self._assign, set(self._wanted))
        if self._grows:
            self._tasks.start_soon(self._look_for_partitions)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._tasks.cancel_scope.cancel()
        with self._arrived, self._arrivals:
            await self._tasks.__aexit__(None, None, None)

    def __aiter__(self) -> "Consumer":
        """Iterate over records, until all partitions are at their end."""
        return self

    async def __anext__(self) -> ConsumedRecord:
        """Raises: KafkaError, OSError."""
        while True:
            for record in self._polled:
                return record
            records = await self.poll()
            if records is None:
                raise StopAsyncIteration
            self._polled = iter(records)

    async def poll(self) -> Sequence[ConsumedRecord] | None:
        """Wait for records of one partition, perhaps none; return None when all are at their end.

        Raises: KafkaError, OSError.
        """
        arrived = await self._receive()
        if arrived is None:
            return None
        records = list(
            arrived.visible_records(
                until=self._partitions[arrived.tp].until,
                checks_crcs=self._checks_crcs,
                max_decompressed_bytes=self._client.settings.max_decompressed_bytes,
            )
        )
        self._advance(arrived)
        return records

    async def poll_batches(self) -> Fetched | None:
        """Do what `poll` does, and leave the records as they are (visible_batches). Raises: KafkaError, OSError."""
        arrived = await self._receive()
        if arrived is not None:
            self._advance(arrived)
        return arrived

    async def _receive(self) -> Fetched | None:
        if not self._left:
            return None
        arrived = await self._arrivals.receive()
        if isinstance(arrived, Exception):
            raise arrived
        return arrived

    def _advance(self, arrived: Fetched) -> None:
        self.positions[arrived.tp] = arrived.next_offset
        self.leader_epochs[arrived.tp] = arrived.leader_epoch
        if arrived.notice:
            self._notice(f"{arrived.tp}: {arrived.notice}; going on at {arrived.next_offset}")

    @property
    def _left(self) -> bool:
        return any(not self._is_at_end(tp) for tp in self._wanted)

    def _is_at_end(self, tp: TopicPartition) -> bool:
        return self._partitions[tp].is_at_end(self.positions[tp])

    # Fetching

    async def _assign(self, partitions: set[TopicPartition]) -> None:
        """Give partitions to the tasks of their leaders. What fails for good goes to the caller."""
        while partitions:
            try:
                for tp in sorted(partitions):
                    leader = await self._find_leader(tp)
                    is_at_end = self._partitions[tp].is_to_leave and await self._go_elsewhere(tp)
                    partitions.discard(tp)
                    if is_at_end:
                        continue
                    if leader in self._leaders:
                        self._leaders[leader].add(tp)
                    else:
                        self._leaders[leader] = {tp}
                        self._tasks.start_soon(self._fetch_from, leader)
            except KafkaError as error:
                # The client has waited already for a topic that is new.
                if not error.code.retriable or error.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                    await self._arrived.send(error)
                    return
                await self._pause()
            except FAILURES as error:
                await self._arrived.send(error)
                return

    async def _find_leader(self, tp: TopicPartition) -> int:
        """Raises: KafkaError, OSError."""
        topic = await self._client.topic(tp.topic)
        told = await self._client.led_partition(tp)
        partition = self._partitions[tp]
        if topic.id != ZERO_UUID:  # else a broker was asked that is older than the others
            partition.is_of_another_log |= partition.topic_id not in (ZERO_UUID, topic.id)
            partition.topic_id = topic.id
        if told.leader_epoch != partition.leader_epoch:
            partition.leader_epoch = told.leader_epoch
            partition.is_checked = partition.last_epoch == UNKNOWN_EPOCH
        return told.leader

    async def _assign_anew(self, partitions: set[TopicPartition]) -> None:
        await self._pause()
        await self._assign(partitions)

    async def _look_for_partitions(self) -> None:
        topics = {tp.topic for tp in self.positions}
        while True:
            await self._client.clock.sleep(self._client.settings.metadata_max_age_ms)
            with contextlib.suppress(*FAILURES):  # what is wrong with a topic, its fetches tell
                found = (await self._client.metadata(topics)).topics.values()
                tps = {TopicPartition(topic.name, each.index) for topic in found for each in topic.partitions}
                added = await list_offsets(self._client, dict.fromkeys(tps - set(self.positions), BEGINNING))
                self.positions |= added
                self._partitions |= {tp: _Partition(offset) for tp, offset in added.items()}
                self._wanted |= set(added)
                await self._assign(set(added))

    async def _fetch_from(self, leader: int) -> None:
        """Fetch what a broker leads, as long as it leads something that is wanted."""
        led = self._leaders[leader]
        while led:
            lost: set[TopicPartition] = set()
            try:
                arrived: list[Fetched | Exception] = []
                await self._check(leader, led, lost)
                if not lost:
                    answer = await self._client.ask_broker(leader, self._question(led), lane=Lane.FETCH)
                    if answer.error_code:
                        raise KafkaError(error_of(answer.error_code))
                    arrived = self._sort(answer, led, lost)
            except (OSError, KafkaError) as error:
                if not _may_pass(error):
                    await self._arrived.send(error)
                    return
                if isinstance(error, TimeoutError) and not self._failures:
                    self._notice(f"broker {leader} does not answer in time; it is asked again")
                lost, arrived = set(led), []
            except FAILURES as error:
                await self._arrived.send(error)
                return
            else:
                self._failures = 0
            for each in arrived:
                await self._arrived.send(each)
            led -= {tp for tp in led if (partition := self._partitions[tp]).is_at_end(partition.fetched_to)}
            if lost:
                led -= lost
                self._tasks.start_soon(self._assign_anew, lost)
        del self._leaders[leader]

    def _question(self, led: set[TopicPartition]) -> Question:
        settings = self._client.settings
        asked = sorted(led, key=lambda tp: (self._partitions[tp].turn, tp))
        are_ids_known = all(self._partitions[tp].topic_id != ZERO_UUID for tp in asked)

        def build(version: int) -> FetchRequest:
            by_topic: dict[tuple[str, Uuid], list[FetchPartition]] = {}
            for tp in asked:
                partition = self._partitions[tp]
                partition.told_epoch = partition.last_epoch if version >= _LAST_EPOCH_FROM else UNKNOWN_EPOCH
                wanted = FetchPartition(
                    tp.partition,
                    partition.leader_epoch,
                    partition.fetched_to,
                    partition.told_epoch,
                    partition_max_bytes=settings.max_partition_fetch_bytes,
                )
                topic_id = partition.topic_id if version >= _TOPIC_IDS_FROM else ZERO_UUID
                by_topic.setdefault((tp.topic, topic_id), []).append(wanted)
            return FetchRequest(
                max_wait_ms=settings.fetch_max_wait_ms,
                min_bytes=settings.fetch_min_bytes,
                max_bytes=settings.fetch_max_bytes,
                isolation_level=self._isolation,
                session_epoch=_NO_SESSION,
                topics=[FetchTopic(*topic, partitions) for topic, partitions in by_topic.items()],
            )

        return Question(FetchRequest, build) if are_ids_known else Question(FetchRequest, build, _TOPIC_IDS_FROM - 1)

    def _sort(self, answer: Any, led: set[TopicPartition], lost: set[TopicPartition]) -> list[Fetched | Exception]:
        """Take the records out of an answer, and note the partitions that this broker does not serve (any more)."""
        arrived: list[Fetched | Exception] = []
        names = {self._partitions[tp].topic_id: tp.topic for tp in led}
        for topic in answer.responses:
            for told in topic.partitions:
                tp = TopicPartition(topic.topic or names[topic.topic_id], told.partition_index)
                partition = self._partitions[tp]
                error = error_of(told.error_code)
                if error is ErrorCode.OFFSET_OUT_OF_RANGE:
                    lost.add(tp)
                    partition.is_out_of_range = True
                elif error and error.retriable:
                    lost.add(tp)
                elif error:
                    arrived.append(KafkaError(error, str(tp)))
                elif told.diverging_epoch.end_offset >= 0:
                    lost.add(tp)
                    partition.diverging = EpochEnd(told.diverging_epoch.epoch, told.diverging_epoch.end_offset)
                else:
                    partition.is_checked = True
                    partition.high_watermark = max(partition.high_watermark, told.high_watermark)
                    if told.records:
                        arrived.append(self._take(tp, told))
        return arrived

    def _take(self, tp: TopicPartition, told: Any) -> Fetched:
        """Copy what the connection's buffer holds, and move on."""
        records = bytes(told.records)
        partition = self._partitions[tp]
        first_offset = next_offset = partition.fetched_to
        for header, _ in iter_batches(records):
            next_offset = header.last_offset + 1
            partition.last_epoch = header.partition_leader_epoch
        partition.fetched_to = max(first_offset, next_offset)
        partition.turn = next(self._turns)
        aborted = sorted((each.first_offset, each.producer_id) for each in told.aborted_transactions or ())
        return Fetched(
            tp,
            records,
            first_offset,
            next_offset,
            aborted,
            told.log_start_offset,
            told.last_stable_offset,
            told.high_watermark,
            partition.last_epoch,
        )

    # Logs that are not what they were

    async def _check(self, leader: int, led: set[TopicPartition], lost: set[TopicPartition]) -> None:
        """Ask a new leader for what was read, where it does not say so by itself. Raises: KafkaError, OSError."""
        unchecked = {
            tp: EpochQuestion(partition.leader_epoch, partition.last_epoch)
            for tp in led
            if not (partition := self._partitions[tp]).is_checked
        }
        if not unchecked:
            return
        connection = await self._client.connection_to(leader, Lane.FETCH)
        is_told = await connection.max_version(FetchRequest) >= _LAST_EPOCH_FROM
        if is_told or await connection.max_version(OffsetForLeaderEpochRequest) < _EPOCH_ENDS_FROM:
            return
        for tp, end in (await ends_of_epochs(self._client, leader, unchecked)).items():
            partition = self._partitions[tp]
            partition.told_epoch = partition.last_epoch
            if isinstance(end, KafkaError):
                if not end.code.retriable:
                    raise KafkaError(end.code, str(tp))
                lost.add(tp)
            elif end.offset < 0 or end.epoch < 0:
                partition.is_out_of_range = True
                lost.add(tp)
            elif end.offset < partition.fetched_to:
                partition.diverging = end
                lost.add(tp)
            else:
                partition.is_checked = True

    async def _go_elsewhere(self, tp: TopicPartition) -> bool:
        """Leave an offset that is not one of the leader's log; return whether nothing is left to fetch.

        Raises: KafkaError, OSError.
        """
        beginning = (await list_offsets(self._client, {tp: BEGINNING}))[tp]
        end = (await list_offsets(self._client, {tp: END}, self._isolation))[tp]
        partition = self._partitions[tp]
        offset, last_epoch, notice = self._way_out(partition, beginning, end)
        if notice and self._reset is OffsetReset.NONE:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE, f"{tp}: {notice}, and auto.offset.reset is none")
        partition.go_to(offset, last_epoch, end)
        await self._arrived.send(Fetched(tp, b"", offset, offset, [], beginning, end, end, last_epoch, notice))
        return partition.is_at_end(offset)

    def _way_out(self, partition: _Partition, beginning: int, end: int) -> tuple[int, int, str | None]:
        """Return the offset to go on from, the epoch before it, and what to say; None: it is the same offset."""
        left, parting = partition.fetched_to, partition.diverging
        if parting is not None and not partition.is_of_another_log:
            # The epoch before may end behind what was read: then the leader has other records there, and more to read.
            offset = min(parting.offset, left)
            notice = f"what was read from offset {offset} to {left} was truncated" if offset < left else None
            return offset, parting.epoch, notice
        # A leader that is told the last epoch, and knows that one, says where it ended: it has another log.
        is_unknown_epoch = partition.told_epoch != UNKNOWN_EPOCH and left >= beginning
        is_other_log = partition.is_of_another_log or is_unknown_epoch
        nearest = beginning if is_other_log else min(max(left, beginning), end)
        offset = {OffsetReset.EARLIEST: beginning, OffsetReset.LATEST: end}.get(self._reset, nearest)
        if offset == left and not is_other_log:
            return offset, UNKNOWN_EPOCH, None
        return offset, UNKNOWN_EPOCH, f"offset {left} is {'of another log' if is_other_log else 'out of range'}"

    async def _pause(self) -> None:
        settings = self._client.settings
        pause_ms = min(settings.retry_backoff_ms * 2**self._failures, settings.retry_backoff_max_ms)
        self._failures = min(self._failures + 1, 16)
        self._client.forget()
        await self._client.clock.sleep(pause_ms)


def _may_pass(error: OSError | KafkaError) -> bool:
    """Whether it helps to look who leads: a leader may have left the cluster since that was told."""
    if isinstance(error, OSError):
        return not is_lasting(error)
    return error.code.retriable or error.code is ErrorCode.BROKER_NOT_AVAILABLE

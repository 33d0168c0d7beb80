"""Consuming: one fetch under way at each leader, records in the order of each partition.

    async with Consumer(client, {TopicPartition("t", 0): 0}, until={TopicPartition("t", 0): 100}) as consumer:
        async for record in consumer:
            ...

Owns: the position of each partition, twice: how far it was fetched, and (`positions`) how far the caller has come.

Rules
- A task per leader fetches the partitions it leads and hands each answer over before it fetches again, so at most one
  answer per leader waits for the caller. A slow leader does not hold up the others.
- A partition that has another leader, or none, is given to the task of the new one after a look at the metadata.
- With `until`, a partition ends at that offset, exclusive, and the iteration with the last partition. Control
  batches and offsets that compaction removed count: it is the position that has to get there.
- With `grows`, partitions that the topics get later are fetched, too, from their beginning; they are looked for every
  `metadata.max.age.ms`.
- An offset that is out of range goes to the nearer end of the log.
- With read_committed, batches of aborted transactions are left out: those of the listed producers, from the listed
  offset to the producer's abort marker.

Not here: groups (member). Sources: KIP-98 (aborted transactions).
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import anyio
import attrs
from anyio.abc import TaskGroup

from pykbroker.client.client import Client, Lane
from pykbroker.client.connection import Question
from pykbroker.client.errors import NotServedError
from pykbroker.client.offsets import BEGINNING, END, IsolationLevel, list_offsets
from pykbroker.errors import KafkaError, error_of
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode, ProtocolError
from wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from wire.records import (
    BatchHeader,
    ControlType,
    TimestampType,
    batch_crc,
    iter_batches,
    iter_records,
    read_end_txn_marker,
    read_records,
)

_MAX_FETCH_VERSION = 12  # later ones name topics by id
_NO_SESSION = -1
FAILURES = (KafkaError, OSError, NotServedError, ProtocolError)  # what is passed on to the caller


class ConsumedRecord(NamedTuple):
    topic: str
    partition: int
    offset: int
    timestamp: int  # -1: none
    timestamp_type: TimestampType
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    leader_epoch: int
    producer_id: int  # -1: none
    producer_epoch: int
    attributes: int  # of its batch
    log_start_offset: int  # of the partition, as the answer told that brought the record; so the next two
    last_stable_offset: int
    high_watermark: int


@attrs.define(eq=False)
class Fetched:
    """What an answer brought of one partition."""

    tp: TopicPartition
    records: bytes
    first_offset: int  # records before it were not asked for
    next_offset: int
    aborted: list[tuple[int, int]]  # (first offset, producer id)
    log_start_offset: int
    last_stable_offset: int
    high_watermark: int


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
    ) -> None:
        self.positions = dict(positions)
        self._client = client
        self._fetched_to = dict(positions)
        self._until = {tp: end for tp, end in (until or {}).items() if tp in self.positions}
        self._isolation = isolation
        self._checks_crcs = check_crcs
        self._grows = grows
        self._wanted = {tp for tp in self.positions if not self._is_at_end(tp, self.positions[tp])}
        self._failures = 0  # in a row
        self._out_of_range: set[TopicPartition] = set()
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
        records = list(self._records(arrived))
        self.positions[arrived.tp] = arrived.next_offset
        return records

    async def poll_batches(self) -> Fetched | None:
        """Do what `poll` does, and leave the records as they are (visible_batches). Raises: KafkaError, OSError."""
        arrived = await self._receive()
        if arrived is not None:
            self.positions[arrived.tp] = arrived.next_offset
        return arrived

    async def _receive(self) -> Fetched | None:
        if not self._left:
            return None
        arrived = await self._arrivals.receive()
        if isinstance(arrived, Exception):
            raise arrived
        return arrived

    @property
    def _left(self) -> bool:
        return any(not self._is_at_end(tp, self.positions[tp]) for tp in self._wanted)

    def _is_at_end(self, tp: TopicPartition, position: int) -> bool:
        return tp in self._until and position >= self._until[tp]

    # Fetching

    async def _assign(self, partitions: set[TopicPartition]) -> None:
        """Give partitions to the tasks of their leaders. What fails for good goes to the caller."""
        while partitions:
            try:
                for tp in sorted(partitions):
                    if tp in self._out_of_range and await self._move_into_range(tp):
                        partitions.discard(tp)
                        continue
                    leader = await self._client.leader_of(tp)
                    partitions.discard(tp)
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

    async def _look_for_partitions(self) -> None:
        topics = {tp.topic for tp in self.positions}
        while True:
            await self._client.clock.sleep(self._client.settings.metadata_max_age_ms)
            with contextlib.suppress(*FAILURES):  # what is wrong with a topic, its fetches tell
                found = (await self._client.metadata(topics)).topics.values()
                tps = {TopicPartition(topic.name, each.index) for topic in found for each in topic.partitions}
                added = await list_offsets(self._client, dict.fromkeys(tps - set(self.positions), BEGINNING))
                self.positions |= added
                self._fetched_to |= added
                self._wanted |= set(added)
                await self._assign(set(added))

    async def _fetch_from(self, leader: int) -> None:
        """Fetch what a broker leads, as long as it leads something that is wanted."""
        led = self._leaders[leader]
        while led:
            lost: set[TopicPartition] = set()
            try:
                question = Question.of(self._request(led), _MAX_FETCH_VERSION)
                answer = await self._client.ask_broker(leader, question, lane=Lane.FETCH)
                if answer.error_code:
                    raise KafkaError(error_of(answer.error_code))
                arrived = self._sort(answer, lost)
            except (OSError, KafkaError) as error:
                if isinstance(error, KafkaError) and not error.code.retriable:
                    await self._arrived.send(error)
                    return
                lost, arrived = set(led), []
            except FAILURES as error:
                await self._arrived.send(error)
                return
            else:
                self._failures = 0
            for each in arrived:
                await self._arrived.send(each)
            led -= {tp for tp in led if self._is_at_end(tp, self._fetched_to[tp])}
            if lost:
                led -= lost
                await self._pause()
                self._tasks.start_soon(self._assign, lost)
        del self._leaders[leader]

    def _request(self, led: set[TopicPartition]) -> FetchRequest:
        settings = self._client.settings
        by_topic: dict[str, list[FetchPartition]] = {}
        for tp in sorted(led):
            wanted = FetchPartition(
                tp.partition,
                fetch_offset=self._fetched_to[tp],
                partition_max_bytes=settings.max_partition_fetch_bytes,
            )
            by_topic.setdefault(tp.topic, []).append(wanted)
        return FetchRequest(
            max_wait_ms=settings.fetch_max_wait_ms,
            min_bytes=settings.fetch_min_bytes,
            max_bytes=settings.fetch_max_bytes,
            isolation_level=self._isolation,
            session_epoch=_NO_SESSION,
            topics=[FetchTopic(name, partitions=partitions) for name, partitions in by_topic.items()],
        )

    def _sort(self, answer: Any, lost: set[TopicPartition]) -> list[Fetched | Exception]:
        """Take the records out of an answer, and note the partitions that this broker does not serve (any more)."""
        arrived: list[Fetched | Exception] = []
        for topic in answer.responses:
            for told in topic.partitions:
                tp = TopicPartition(topic.topic, told.partition_index)
                error = error_of(told.error_code)
                if error is ErrorCode.OFFSET_OUT_OF_RANGE:
                    lost.add(tp)
                    self._out_of_range.add(tp)
                elif error and error.retriable:
                    lost.add(tp)
                elif error:
                    arrived.append(KafkaError(error, str(tp)))
                elif told.records:
                    arrived.append(self._take(tp, told))
        return arrived

    def _take(self, tp: TopicPartition, told: Any) -> Fetched:
        """Copy what the connection's buffer holds, and move on."""
        records = bytes(told.records)
        first_offset = next_offset = self._fetched_to[tp]
        for header, _ in iter_batches(records):
            next_offset = header.last_offset + 1
        self._fetched_to[tp] = max(first_offset, next_offset)
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
        )

    async def _move_into_range(self, tp: TopicPartition) -> bool:
        """Go to the nearer end of the log; return whether nothing is left to fetch. Raises: KafkaError, OSError."""
        beginning = (await list_offsets(self._client, {tp: BEGINNING}))[tp]
        end = (await list_offsets(self._client, {tp: END}, self._isolation))[tp]
        position = min(max(self._fetched_to[tp], beginning), end)
        self._fetched_to[tp] = position
        self._out_of_range.discard(tp)
        await self._arrived.send(Fetched(tp, b"", position, position, [], beginning, end, end))
        return self._is_at_end(tp, position)

    async def _pause(self) -> None:
        settings = self._client.settings
        pause_ms = min(settings.retry_backoff_ms * 2**self._failures, settings.retry_backoff_max_ms)
        self._failures = min(self._failures + 1, 16)
        self._client.forget()
        await self._client.clock.sleep(pause_ms)

    # Records

    def _records(self, fetched: Fetched) -> Iterator[ConsumedRecord]:
        tp, until = fetched.tp, self._until.get(fetched.tp)
        for header, batch in visible_batches(fetched):
            if self._checks_crcs and header.crc != batch_crc(batch):
                raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{tp}: the batch at offset {header.base_offset}")
            for record in iter_records(batch, self._client.settings.max_decompressed_bytes):
                if record.offset < fetched.first_offset:
                    continue
                if until is not None and record.offset >= until:
                    return
                yield ConsumedRecord(
                    tp.topic,
                    tp.partition,
                    record.offset,
                    record.timestamp,
                    header.timestamp_type,
                    record.key,
                    record.value,
                    record.headers,
                    header.partition_leader_epoch,
                    header.producer_id,
                    header.producer_epoch,
                    header.attributes,
                    fetched.log_start_offset,
                    fetched.last_stable_offset,
                    fetched.high_watermark,
                )


def visible_batches(fetched: Fetched) -> Iterator[tuple[BatchHeader, memoryview]]:
    """Leave out control batches, and with read_committed those of aborted transactions."""
    to_come = list(reversed(fetched.aborted))
    aborting: set[int] = set()
    for header, batch in iter_batches(fetched.records):
        while to_come and to_come[-1][0] <= header.last_offset:
            aborting.add(to_come.pop()[1])
        if header.is_control:
            if header.producer_id in aborting and _is_abort(batch):
                aborting.discard(header.producer_id)
        elif not (header.is_transactional and header.producer_id in aborting):
            yield header, batch


def _is_abort(batch: memoryview) -> bool:
    records = read_records(batch)
    marker = read_end_txn_marker(records[0]) if records else None
    return marker is not None and marker[0] is ControlType.ABORT

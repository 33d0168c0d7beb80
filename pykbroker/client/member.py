"""Being a member of a group: the classic protocol, with the range assignor, until told to stop.

    async with GroupConsumer(client, "my-group", ["t"]) as consumer:
        async for record in consumer:
            ...

Owns: the membership – member id, generation – and what it has to commit.

Rules
- Join, then sync: one member is the leader and assigns, all others get what it assigned. Then heartbeats, which tell
  of the next rebalance; then join again.
- Offsets are committed before each rebalance, every `auto.commit.interval.ms`, and at the end: of records that the
  caller is done with, because it has come back for more, or has left without an exception. So a record is seen at
  least once. What a poll held back is not done with.
- What was taken in one generation is not committed in the next: another member may be further by then.
- The leader looks at its topics every `metadata.max.age.ms`, and has all join again where there are more partitions,
  or a topic that was not there.
- Where the group has no offset, it begins as `auto_offset_reset` says; an offset that is out of range goes there, too.
- An offset is committed with the leader epoch of the record before it, so that the next one who starts from it finds
  out whether that record is still there (KIP-320).
- All partitions are given up for a rebalance (the eager protocol).

Not here: fetching (consumer), offsets from outside (groups). Sources: KIP-62, KIP-394; Kafka's RangeAssignor.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

import anyio
import attrs
from anyio.abc import TaskGroup

from pykbroker.client import groups
from pykbroker.client.client import Client, CoordinatorType, Lane, check
from pykbroker.client.connection import Question
from pykbroker.client.consumer import FAILURES, Consumer
from pykbroker.client.fetched import ConsumedRecord
from pykbroker.client.groups import CommittedOffset
from pykbroker.client.offsets import BEGINNING, END, UNKNOWN_EPOCH, IsolationLevel, list_offsets
from pykbroker.client.settings import OffsetReset
from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition, by_topic
from wire import codec
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
from wire.messages.log_records import (
    ConsumerProtocolAssignment,
    ConsumerProtocolAssignmentTopicPartition,
    ConsumerProtocolSubscription,
)

PROTOCOL_TYPE = "consumer"
ASSIGNOR = "range"
_VERSION = bytes(2)  # of subscriptions and assignments, which are read from version 0 on
_REJOIN = (ErrorCode.REBALANCE_IN_PROGRESS, ErrorCode.ILLEGAL_GENERATION, ErrorCode.UNKNOWN_MEMBER_ID)


def range_assignment(
    members: Mapping[str, Sequence[str]], partitions: Mapping[str, int]
) -> dict[str, list[TopicPartition]]:
    """Divide each topic among its subscribers, in the order of their ids: the first ones get one partition more."""
    assigned: dict[str, list[TopicPartition]] = {member: [] for member in members}
    for topic, count in sorted(partitions.items()):
        subscribers = sorted(member for member, topics in members.items() if topic in topics)
        if not subscribers:
            continue
        each, more = divmod(count, len(subscribers))
        start = 0
        for number, member in enumerate(subscribers):
            size = each + (number < more)
            assigned[member] += [TopicPartition(topic, index) for index in range(start, start + size)]
            start += size
    return assigned


@attrs.define(eq=False)
class _Delivery:
    """What a fetch brought of one partition, and how far the caller has taken it."""

    records: Sequence[ConsumedRecord]
    generation_id: int
    positions: Mapping[TopicPartition, CommittedOffset]  # what to commit once all records are done with
    taken: int = 0

    @property
    def is_taken(self) -> bool:
        return self.taken == len(self.records)

    @property
    def reached(self) -> Mapping[TopicPartition, CommittedOffset]:
        """What to commit once the records that were taken are done with."""
        if self.is_taken:
            return self.positions
        last = self.records[self.taken - 1]
        committed = CommittedOffset(last.offset + 1, leader_epoch=last.leader_epoch)
        return {TopicPartition(last.topic, last.partition): committed}


class GroupConsumer:
    def __init__(
        self,
        client: Client,
        group_id: str,
        topics: Iterable[str],
        *,
        auto_offset_reset: OffsetReset = OffsetReset.EARLIEST,
        isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
        auto_commit_interval_ms: int = 5_000,
        on_notice: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.assignment: list[TopicPartition] = []  # while it is being fetched; nothing while members join
        self._client = client
        self._group_id = group_id
        self._topics = list(topics)
        self._reset = auto_offset_reset
        self._isolation = isolation
        self._commit_interval_ms = auto_commit_interval_ms
        self._notice = on_notice
        self.member_id = ""
        self._generation_id = -1
        self._partition_counts: dict[str, int] | None = None  # as the leader has assigned them; None: it is another
        self._last: _Delivery | None = None  # what the caller is busy with
        self._uncommitted: dict[TopicPartition, CommittedOffset] = {}
        self._committing = anyio.Lock()  # one that is tried again must not undo a later one
        self._tasks: TaskGroup
        self._arrived, self._arrivals = anyio.create_memory_object_stream[_Delivery | Exception](0)

    async def __aenter__(self) -> "GroupConsumer":
        self._tasks = anyio.create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._run)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Commit and leave; a coordinator that cannot be reached finds out by itself."""
        self._tasks.cancel_scope.cancel()
        try:
            with self._arrived, self._arrivals:
                await self._tasks.__aexit__(None, None, None)
        finally:
            if exc_type is None:
                self._take_as_done()
            with (
                anyio.move_on_after(self._client.settings.leave_timeout_ms / 1000, shield=True),
                contextlib.suppress(*FAILURES),
            ):
                await self.commit()
                await self._leave()

    def __aiter__(self) -> "GroupConsumer":
        """Iterate over records of what is assigned, from one generation to the next."""
        return self

    async def __anext__(self) -> ConsumedRecord:
        """Raises: KafkaError, OSError."""
        while not (records := await self.poll(max_records=1)):
            pass
        return records[0]

    async def poll(self, max_records: int | None = None) -> Sequence[ConsumedRecord]:
        """Wait for records of one partition, `max_records` at most; those of the poll before count as done with.

        Raises: KafkaError, OSError.
        """
        self._take_as_done()
        delivery = self._last
        if delivery is None or delivery.is_taken or delivery.generation_id != self._generation_id:
            self._last = None
            arrived = await self._arrivals.receive()
            if isinstance(arrived, Exception):
                raise arrived
            self._last = delivery = arrived
        start = delivery.taken
        left = len(delivery.records) - start
        delivery.taken += left if max_records is None else min(max_records, left)
        return delivery.records[start : delivery.taken]

    def _take_as_done(self) -> None:
        last = self._last
        if last is not None and last.generation_id == self._generation_id:
            self._uncommitted.update(last.reached)

    async def commit(self) -> None:
        """Commit what is done with. Raises: KafkaError, OSError."""
        async with self._committing:
            offsets, generation_id = dict(self._uncommitted), self._generation_id
            if not offsets:
                return
            await groups.commit_offsets(
                self._client, self._group_id, offsets, generation_id=generation_id, member_id=self.member_id
            )
            for tp, committed in offsets.items():
                if self._uncommitted.get(tp) is committed:  # the caller may have come further
                    del self._uncommitted[tp]

    # One generation after another

    async def _run(self) -> None:
        try:
            while True:
                self.assignment = []
                assigned = await self._join()
                start = await self._positions(assigned)
                consuming = Consumer(
                    self._client,
                    {tp: each.offset for tp, each in start.items()},
                    leader_epochs={tp: each.leader_epoch for tp, each in start.items()},
                    isolation=self._isolation,
                    auto_offset_reset=self._reset,
                    on_notice=self._notice,
                )
                self.assignment = assigned
                failure: Exception | None = None
                async with consuming as consumer, anyio.create_task_group() as generation:
                    generation.start_soon(self._deliver, consumer)
                    try:
                        await self._stay()
                    except FAILURES as error:
                        failure = error
                    generation.cancel_scope.cancel()
                if failure is not None:
                    raise failure
        except FAILURES as error:
            await self._arrived.send(error)

    async def _deliver(self, consumer: Consumer) -> None:
        told: dict[TopicPartition, int] = {}
        try:
            while (records := await consumer.poll()) is not None:
                positions = {
                    tp: CommittedOffset(offset, leader_epoch=consumer.leader_epochs.get(tp, UNKNOWN_EPOCH))
                    for tp, offset in consumer.positions.items()
                    if told.get(tp) != offset
                }
                told |= consumer.positions
                await self._arrived.send(_Delivery(records, self._generation_id, positions))
        except FAILURES as error:
            await self._arrived.send(error)

    async def _stay(self) -> None:
        """Send heartbeats and commit, until there is a rebalance. Raises: KafkaError, OSError."""
        clock, interval_ms = self._client.clock, self._client.settings.heartbeat_interval_ms
        committed_ms = looked_ms = clock.monotonic_ms()
        while True:
            await clock.sleep(interval_ms)
            request = HeartbeatRequest(self._group_id, self._generation_id, self.member_id)
            try:
                await self._ask(request, lambda answer: check(answer.error_code))
                if clock.monotonic_ms() - committed_ms >= self._commit_interval_ms:
                    await self.commit()
                    committed_ms = clock.monotonic_ms()
                if clock.monotonic_ms() - looked_ms >= self._client.settings.metadata_max_age_ms:
                    if await self._topics_have_changed():
                        await self.commit()
                        return
                    looked_ms = clock.monotonic_ms()
            except KafkaError as error:
                if error.code not in _REJOIN:
                    raise
                if error.code is ErrorCode.REBALANCE_IN_PROGRESS:
                    with contextlib.suppress(KafkaError):
                        await self.commit()
                return  # and the next join tells whether the group knows the member still

    async def _topics_have_changed(self) -> bool:
        """As the leader, look whether what was assigned is still all there is. Raises: KafkaError, OSError."""
        assigned = self._partition_counts
        return assigned is not None and await self._counts_of(assigned) != assigned

    async def _counts_of(self, topics: Iterable[str]) -> dict[str, int]:
        """Return how many partitions each topic has: none, as long as it is not there. Raises: KafkaError, OSError."""
        known = (await self._client.metadata(topics)).topics
        for name, topic in known.items():
            if not topic.error.retriable:
                check(topic.error, name)
        return {name: len(topic.partitions) for name, topic in known.items()}

    async def _join(self) -> list[TopicPartition]:
        """Enter the group, or its next generation, and return what is assigned. Raises: KafkaError, OSError."""
        while True:
            self._generation_id = -1  # what the caller is busy with is none of the next one's
            self._partition_counts = None
            self._uncommitted.clear()
            joined = await self._ask(self._join_request(), _check_joined, self._client.settings.rebalance_timeout_ms)
            self.member_id = joined.member_id
            if joined.error_code == ErrorCode.MEMBER_ID_REQUIRED:
                continue
            if joined.error_code:  # UNKNOWN_MEMBER_ID
                self.member_id = ""
                await self._client.clock.sleep(self._client.settings.retry_backoff_ms)
                continue
            self._generation_id = joined.generation_id
            assignments = await self._assign(joined) if joined.leader == self.member_id else []
            request = SyncGroupRequest(
                self._group_id,
                self._generation_id,
                self.member_id,
                protocol_type=PROTOCOL_TYPE,
                protocol_name=joined.protocol_name,
                assignments=assignments,
            )
            try:
                timeout_ms = self._client.settings.rebalance_timeout_ms
                synced = await self._ask(request, lambda answer: check(answer.error_code), timeout_ms)
            except KafkaError as error:
                if error.code not in _REJOIN:
                    raise
                continue
            return list(groups.assigned_partitions(synced.assignment))

    def _join_request(self) -> JoinGroupRequest:
        settings = self._client.settings
        subscription = _VERSION + codec.encode_bytes(ConsumerProtocolSubscription(self._topics), 0)
        return JoinGroupRequest(
            self._group_id,
            settings.session_timeout_ms,
            settings.rebalance_timeout_ms,
            self.member_id,
            protocol_type=PROTOCOL_TYPE,
            protocols=[JoinGroupRequestProtocol(ASSIGNOR, subscription)],
        )

    async def _assign(self, joined: Any) -> list[SyncGroupRequestAssignment]:
        """As the leader, say what each member gets."""
        members = {}
        for member in joined.members:
            subscription, _ = codec.decode(ConsumerProtocolSubscription, 0, member.metadata, len(_VERSION))
            members[member.member_id] = subscription.topics
        topics = {topic for subscribed in members.values() for topic in subscribed}
        self._partition_counts = partitions = await self._counts_of(topics)
        return [
            SyncGroupRequestAssignment(member_id, _VERSION + codec.encode_bytes(_as_message(assigned), 0))
            for member_id, assigned in range_assignment(members, partitions).items()
        ]

    async def _positions(self, assigned: Sequence[TopicPartition]) -> dict[TopicPartition, CommittedOffset]:
        """Where to go on: behind what was committed, or where a group without an offset begins. Raises: KafkaError."""
        committed = await groups.committed_offsets(self._client, self._group_id, assigned)
        others = [tp for tp in assigned if tp not in committed]
        if others and self._reset is OffsetReset.NONE:
            message = f"{self._group_id} has no offset of {others[0]}, and auto.offset.reset is none"
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE, message)
        where = END if self._reset is OffsetReset.LATEST else BEGINNING
        found = await list_offsets(self._client, dict.fromkeys(others, where), self._isolation)
        return committed | {tp: CommittedOffset(offset) for tp, offset in found.items()}

    async def _leave(self) -> None:
        if self.member_id:

            def build(version: int) -> LeaveGroupRequest:
                if version >= 3:
                    return LeaveGroupRequest(self._group_id, members=[MemberIdentity(self.member_id)])
                return LeaveGroupRequest(self._group_id, self.member_id)

            question = Question(LeaveGroupRequest, build)
            await self._client.ask_coordinator(CoordinatorType.GROUP, self._group_id, question, lane=Lane.MEMBER)

    async def _ask(self, request: object, check_answer: Callable[[Any], None], extra_ms: int | None = None) -> Any:
        """`extra_ms`: how much longer than other requests this may take."""
        return await self._client.ask_coordinator(
            CoordinatorType.GROUP,
            self._group_id,
            Question.of(request),
            check_answer,
            lane=Lane.MEMBER,
            timeout_ms=None if extra_ms is None else self._client.settings.request_timeout_ms + extra_ms,
        )


def _check_joined(answer: Any) -> None:
    """Let through what the next attempt to join deals with."""
    if answer.error_code not in (ErrorCode.MEMBER_ID_REQUIRED, ErrorCode.UNKNOWN_MEMBER_ID):
        check(answer.error_code)


def _as_message(assigned: Iterable[TopicPartition]) -> ConsumerProtocolAssignment:
    return ConsumerProtocolAssignment(
        [ConsumerProtocolAssignmentTopicPartition(topic, indexes) for topic, indexes in by_topic(assigned).items()]
    )

"""Fetch (key 1, versions 4-18): read records, waiting for them if there are too few; of consumers and of followers.

- Partitions are read in the order of the request (or session) until `max_bytes`; the first that has data gives its
  first batch whole even if that is larger. Data leaves as slices of segment files.
- With fewer than `min_bytes`, the answer waits for up to `max_wait_ms`: it is woken by what moves the high watermark,
  and then reads once more. An error anywhere is answered at once.
- isolation_level 1 (read_committed) reads up to the last stable offset and lists the aborted transactions in the range.
- Sessions (7+): see `pykbroker.replication.fetch_session`.
- A consumer may read from followers, too, as far as they know what is committed (11+). With a selector configured
  (`replica.selector.class`), the leader sends one that names its rack to a replica there (KIP-392).

A follower (replica_id 0 or more)
- reads up to the log end offset and is woken by appends. Its fetch offset is what it has: that moves the high watermark
  before it is answered, so that it learns the new one at once.
- that asks behind the end of an epoch here is told where that ends (diverging epoch), and not taken as having anything.
- is refused where it has no replica or comes from an earlier life of its broker (KIP-903).

Errors: OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH,
UNKNOWN_LEADER_EPOCH (also to a follower that is none as far as we know), KAFKA_STORAGE_ERROR; for the whole request
FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR.
Versions: 5 log_start_offset; 7 sessions (KIP-227); 9 current_leader_epoch (KIP-320); 11 rack_id (KIP-392); 12
diverging_epoch; 13 topic ids (KIP-516); 15 replica_state (KIP-903); 16 node_endpoints (KIP-951).
"""

from collections.abc import Callable, Iterable

import attrs

from pykbroker.config import NO_RATE
from pykbroker.errors import KafkaError, StorageError
from pykbroker.handlers.context import RequestContext
from pykbroker.handlers.leaders import endpoints, leader_of
from pykbroker.log.files import FileSlice
from pykbroker.replication.fetch_session import FetchContext, SessionPartition
from pykbroker.replication.follower_session import FollowerSession
from pykbroker.replication.partition import Partition
from pykbroker.replication.replica_selector import RACK_AWARE, preferred_read_replica
from pykbroker.waiters import Parked, Signal
from wire.errors import ErrorCode
from wire.messages.fetch import (
    AbortedTransaction,
    EpochEndOffset,
    FetchableTopicResponse,
    FetchRequest,
    FetchResponse,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionData,
)

TOPIC_IDS_FROM = 13
FOLLOWERS_FROM = 11  # consumers may read from them
LEADERS_FROM = 16  # the field is there from 12 on, but not for this
READ_COMMITTED = 1
# Kafka builds the answers of partitions that its metadata does not have elsewhere than the others, which come first.
_NOT_IN_METADATA = (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID)


def fetch(
    ctx: RequestContext, request: FetchRequest, new_reading: "Callable[..., Reading] | None" = None
) -> FetchResponse | Parked:
    """`new_reading` makes the reading of a consumer where it is not the usual one."""
    sessions = ctx.services.fetch_sessions
    limit = ctx.services.config.fetch_max_bytes
    if request.max_bytes > limit or request.min_bytes > request.max_bytes:
        request.max_bytes = min(request.max_bytes, limit)
        request.min_bytes = min(request.min_bytes, request.max_bytes)
    context = sessions.begin(request, uses_topic_ids=ctx.api_version >= TOPIC_IDS_FROM)
    if context.error_code != ErrorCode.NONE:
        return FetchResponse(error_code=context.error_code)
    replica_id = replica_id_of(request)
    make = _follower_reading(ctx) if replica_id >= 0 else new_reading or Reading
    reading = make(ctx, request, context, replica_id)
    reading.read()
    if (
        request.max_wait_ms <= 0
        or reading.is_urgent
        or reading.bytes_read >= request.min_bytes
        or not context.partitions
    ):
        return reading.answer()
    return _wait(ctx, request, reading)


def _wait(ctx: RequestContext, request: FetchRequest, reading: "Reading") -> Parked:
    """Park until there are `min_bytes` to read, a partition changed hands, or the time is up."""

    def read_again() -> FetchResponse:
        reading.read()
        return reading.answer()

    parked = Parked(read_again, clock=ctx.services.clock, timeout_ms=request.max_wait_ms)

    def look() -> None:
        if not parked.ended and reading.bytes_available() >= request.min_bytes:
            parked.release()

    reading.park(parked, look)
    return parked


@attrs.define(eq=False)
class Reading:
    """One pass over the partitions of a request; may be repeated after a wait."""

    ctx: RequestContext
    request: FetchRequest
    context: FetchContext
    replica_id: int  # of the broker that asks, -1 for a consumer
    bytes_read: int = 0
    is_urgent: bool = False  # somebody has to act: there is nothing to wait for
    results: list[tuple[SessionPartition, PartitionData]] = attrs.field(factory=list)
    # With the offset to read from, and the leader epoch.
    waiting_for: list[tuple[Partition, int, int]] = attrs.field(factory=list)

    def read(self) -> None:
        self.bytes_read = 0
        self.is_urgent = False
        self.results = []
        self.waiting_for = []
        not_in_metadata: list[tuple[SessionPartition, PartitionData]] = []
        for entry in self._entries():
            try:
                data = self._read_partition(entry)
            except KafkaError as error:
                data = self._error(entry, error.code)
                if error.code in _NOT_IN_METADATA:
                    not_in_metadata.append((entry, data))
                    continue
            except StorageError:
                data = self._error(entry, ErrorCode.KAFKA_STORAGE_ERROR)
            self.results.append((entry, data))
        self.results += not_in_metadata

    def _entries(self) -> Iterable[SessionPartition]:
        return self.context.partitions.values()

    def _read_partition(self, entry: SessionPartition) -> PartitionData:
        partition = self._partition(entry)
        wanted = entry.wanted
        if self.ctx.api_version >= FOLLOWERS_FROM:
            partition.check_epoch(wanted.current_leader_epoch)
            if self.request.rack_id and (preferred := self._preferred_read_replica(partition, entry)) is not None:
                self.is_urgent = True
                data = self._data(partition, entry)
                data.preferred_read_replica = preferred
                return data
        else:
            partition.check_leader(wanted.current_leader_epoch)
        if wanted.last_fetched_epoch >= 0 and (diverging := self._diverging_epoch(partition, entry)) is not None:
            return diverging
        is_read_committed = self.request.isolation_level == READ_COMMITTED
        end_offset = partition.end_offset_for(is_read_committed=is_read_committed)
        records = self._records(partition, entry, end_offset)
        data = self._data(partition, entry)
        if records is not None:
            data.records = records
        if is_read_committed:
            data.aborted_transactions = (
                [
                    AbortedTransaction(aborted.producer_id, aborted.first_offset)
                    for aborted in partition.log.aborted_transactions(
                        wanted.fetch_offset, end_offset, records.position + len(records)
                    )
                ]
                if records is not None
                else []
            )
        self.waiting_for.append((partition, wanted.fetch_offset, partition.leader_epoch))
        return data

    def _partition(self, entry: SessionPartition) -> Partition:
        replicas = self.ctx.services.replicas
        if self.ctx.api_version >= TOPIC_IDS_FROM:
            return replicas.partition_by_id(entry.topic_id, entry.wanted.partition)
        return replicas.partition(entry.topic, entry.wanted.partition)

    def _preferred_read_replica(self, partition: Partition, entry: SessionPartition) -> int | None:
        """Return the follower to which a consumer is sent that named its rack; None: it reads here."""
        services = self.ctx.services
        if services.config.replica_selector_class != RACK_AWARE or not partition.is_leader:
            return None
        return preferred_read_replica(
            partition,
            services.cluster.image.brokers,
            rack_id=self.request.rack_id,
            listener=self.ctx.connection.listener,
            fetch_offset=entry.wanted.fetch_offset,
        )

    def _diverging_epoch(self, partition: Partition, entry: SessionPartition) -> PartitionData | None:
        """Return what the client needs if what it has read last is not in this log. Raises: OFFSET_OUT_OF_RANGE."""
        wanted = entry.wanted
        epoch, end_offset = partition.log.end_offset_for_epoch(wanted.last_fetched_epoch)
        if epoch < 0 or end_offset < 0 or wanted.fetch_offset < partition.log.log_start_offset:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
        if epoch == wanted.last_fetched_epoch and end_offset >= wanted.fetch_offset:
            return None
        data = self._data(partition, entry)
        data.diverging_epoch = EpochEndOffset(epoch, end_offset)
        self.is_urgent = True  # it has to truncate
        return data

    def _records(self, partition: Partition, entry: SessionPartition, end_offset: int) -> FileSlice | None:
        """Raises: OFFSET_OUT_OF_RANGE, CORRUPT_MESSAGE, KAFKA_STORAGE_ERROR."""
        wanted = entry.wanted
        room = max(self.request.max_bytes - self.bytes_read, 0)
        records = partition.read(
            wanted.fetch_offset,
            min(wanted.partition_max_bytes, room),
            end_offset=end_offset,
            min_one_batch=self.bytes_read == 0,
        )
        if records is not None:
            self.bytes_read += len(records)
        return records

    def _data(self, partition: Partition, entry: SessionPartition) -> PartitionData:
        return PartitionData(
            partition_index=entry.wanted.partition,
            high_watermark=partition.high_watermark,
            last_stable_offset=partition.last_stable_offset,
            log_start_offset=partition.log.log_start_offset,
            aborted_transactions=None,
            records=b"",
        )

    def _error(self, entry: SessionPartition, code: ErrorCode) -> PartitionData:
        self.is_urgent = True
        data = PartitionData(
            partition_index=entry.wanted.partition,
            error_code=code,
            high_watermark=-1,
            aborted_transactions=[] if code in _NOT_IN_METADATA else None,
            records=b"",
        )
        if code in (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH):
            leader = leader_of(self.ctx, entry.topic, entry.topic_id, entry.wanted.partition)
            if leader is not None and self.ctx.api_version >= LEADERS_FROM:
                data.current_leader = LeaderIdAndEpoch(*leader)
        return data

    # Waiting

    def bytes_available(self) -> int:
        """How much there is to read now, or as much as is wanted where reading would end in an error."""
        available = 0
        for partition, offset, leader_epoch in self.waiting_for:
            if partition.leader_epoch != leader_epoch or offset < partition.log.log_start_offset:
                return max(self.request.min_bytes, 1)
            end_offset = self._end_offset(partition)
            if offset < end_offset:
                available += partition.log.bytes_from(offset, end_offset)
        return available

    def _end_offset(self, partition: Partition) -> int:
        return partition.end_offset_for(is_read_committed=self.request.isolation_level == READ_COMMITTED)

    def _signal(self, partition: Partition) -> Signal:
        return partition.high_watermark_moved

    def park(self, parked: Parked, look: Callable[[], None]) -> None:
        """The answer waits: have `look` called when there may be enough."""
        signals = [self._signal(partition) for partition, _, _ in self.waiting_for]
        for signal in signals:
            signal.subscribe(look)

        def forget() -> None:
            for signal in signals:
                signal.unsubscribe(look)

        parked.on_end(forget)

    def answer(self) -> FetchResponse:
        context = self.context
        response = FetchResponse()
        if context.wants_session and context.partitions:
            for entry, data in self.results:
                entry.is_news(data)  # all of it is told now
            response.session_id = self.ctx.services.fetch_sessions.open(
                context,
                uses_topic_ids=self.ctx.api_version >= TOPIC_IDS_FROM,
                replica_id=self.replica_id,
            )
        elif context.session is not None:
            response.session_id = context.session.id
            self.results = [(entry, data) for entry, data in self.results if entry.is_news(data)]
            self._rotate()
        for entry, data in self.results:
            if not response.responses or not _is_same_topic(response.responses[-1], entry):
                response.responses.append(FetchableTopicResponse(entry.topic, entry.topic_id))
            response.responses[-1].partitions.append(data)
        if self.is_urgent and self.ctx.api_version >= LEADERS_FROM and self.replica_id < 0:
            leaders = {data.current_leader.leader_id for _, data in self.results} - {-1}
            response.node_endpoints = [NodeEndpoint(*endpoint) for endpoint in endpoints(self.ctx, leaders)]
        return response

    def _rotate(self) -> None:
        """Put the partitions that had data at the end of the session's line."""
        partitions = self.context.partitions
        for entry, data in self.results:
            if data.records:
                key = (entry.topic, entry.topic_id, entry.wanted.partition)
                if key in partitions:  # not forgotten by a later request meanwhile
                    partitions[key] = partitions.pop(key)


@attrs.define(eq=False)
class FollowerReading(Reading):
    """A follower's pass over the partitions that it replicates; within a session, over those with news."""

    is_noted: bool = False  # the partitions know what the follower has
    held_back: Callable[[Partition], bool] | None = None  # tells where a quota keeps records back for now

    def read(self) -> None:
        if self._session is not None and not self.is_noted:
            self._session.begin_fetch(
                self.context.partitions,
                self.context.named,
                broker_epoch=self.request.replica_state.replica_epoch,
                now_ms=self.ctx.services.clock.monotonic_ms(),
            )
        super().read()
        self.is_noted = True

    @property
    def _session(self) -> FollowerSession | None:
        session = self.context.session
        return None if session is None else session.follower

    def _entries(self) -> Iterable[SessionPartition]:
        return self.context.partitions.values() if self._session is None else list(self._session.due.values())

    def _read_partition(self, entry: SessionPartition) -> PartitionData:
        partition = self._partition(entry)
        wanted = entry.wanted
        partition.check_leader(wanted.current_leader_epoch)
        broker_epoch = self.request.replica_state.replica_epoch
        partition.check_follower(self.replica_id, broker_epoch, wanted.current_leader_epoch)
        if wanted.last_fetched_epoch >= 0 and (diverging := self._diverging_epoch(partition, entry)) is not None:
            return diverging
        records = self._records(partition, entry, partition.log.log_end_offset)
        if not self.is_noted:
            partition.follower_fetched(
                self.replica_id,
                fetch_offset=wanted.fetch_offset,
                log_start_offset=wanted.log_start_offset,
                broker_epoch=broker_epoch,
            )
        data = self._data(partition, entry)
        if records is not None:
            data.records = records
        if self._session is not None:
            self._session.looked_at(entry, partition, has_records=records is not None)
        else:
            self.waiting_for.append((partition, wanted.fetch_offset, partition.leader_epoch))
        return data

    def bytes_available(self) -> int:
        if self._session is None:
            return super().bytes_available()
        return self._session.bytes_available(self.request.min_bytes, self.held_back)

    def _end_offset(self, partition: Partition) -> int:
        return partition.log.log_end_offset

    def _signal(self, partition: Partition) -> Signal:
        return partition.appended

    def park(self, parked: Parked, look: Callable[[], None]) -> None:
        session = self._session
        if session is None:
            super().park(parked, look)
            return
        # Where consumers read from followers, a follower hears at once what they may read, as in Kafka.
        is_read_from = self.ctx.services.config.replica_selector_class is not None
        session.wait(look, parked.release if is_read_from else None)
        parked.on_end(session.wait_no_more)


def _follower_reading(ctx: RequestContext) -> type[FollowerReading]:
    if ctx.services.config.leader_replication_throttled_rate == NO_RATE:
        return FollowerReading
    from pykbroker.handlers.throttled_fetch import ThrottledFollowerReading

    return ThrottledFollowerReading


def replica_id_of(request: FetchRequest) -> int:
    """Return the id of the broker that asks, -1 for a consumer; -2 is a debugging consumer's."""
    return max(request.replica_id, request.replica_state.replica_id)


def _is_same_topic(response: FetchableTopicResponse, entry: SessionPartition) -> bool:
    return response.topic == entry.topic and response.topic_id == entry.topic_id

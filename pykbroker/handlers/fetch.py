"""Fetch (key 1, versions 4-18): read records, waiting for them if there are too few.

- Partitions are read in the order of the request (or session) until `max_bytes`; the first that has data gives its
  first batch whole even if that is larger. Data leaves as slices of segment files.
- With fewer than `min_bytes`, the answer waits for up to `max_wait_ms`: it is woken by what moves the high watermark,
  and then reads once more. An error anywhere is answered at once.
- isolation_level 1 (read_committed) reads up to the last stable offset and lists the aborted transactions in the range.
- Sessions (7+): see `pykbroker.replication.fetch_session`.

Errors: OFFSET_OUT_OF_RANGE, UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH,
UNKNOWN_LEADER_EPOCH, KAFKA_STORAGE_ERROR; for the whole request FETCH_SESSION_ID_NOT_FOUND,
INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR.
Versions: 5 log_start_offset; 7 sessions (KIP-227); 9 current_leader_epoch (KIP-320); 11 rack_id (KIP-392); 12
diverging_epoch; 13 topic ids (KIP-516); 15 replica_state (KIP-903); 16 node_endpoints (KIP-951).
"""

import attrs

from pykbroker.errors import KafkaError, StorageError
from pykbroker.handlers.context import RequestContext
from pykbroker.handlers.leaders import endpoints, leader_of
from pykbroker.replication.fetch_session import FetchContext, SessionPartition
from pykbroker.replication.partition import Partition
from pykbroker.waiters import Parked
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
LEADERS_FROM = 16  # the field is there from 12 on, but not for this
READ_COMMITTED = 1
# Kafka builds the answers of partitions that its metadata does not have elsewhere than the others, which come first.
_NOT_IN_METADATA = (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID)


def fetch(ctx: RequestContext, request: FetchRequest) -> FetchResponse | Parked:
    sessions = ctx.services.fetch_sessions
    context = sessions.begin(request, uses_topic_ids=ctx.api_version >= TOPIC_IDS_FROM)
    if context.error_code != ErrorCode.NONE:
        return FetchResponse(error_code=context.error_code)
    reading = _Reading(ctx, request, context, replica_id_of(request))
    reading.read()
    if (
        request.max_wait_ms <= 0
        or reading.has_error
        or reading.bytes_read >= request.min_bytes
        or not context.partitions
    ):
        return reading.answer()
    return _wait(ctx, request, reading)


def _wait(ctx: RequestContext, request: FetchRequest, reading: "_Reading") -> Parked:
    """Park until there are `min_bytes` to read, a partition changed hands, or the time is up."""

    def read_again() -> FetchResponse:
        reading.read()
        return reading.answer()

    parked = Parked(read_again, clock=ctx.services.clock, timeout_ms=request.max_wait_ms)
    waiting_for = reading.waiting_for

    def look() -> None:
        if not parked.ended and reading.bytes_available() >= request.min_bytes:
            parked.release()

    for partition, _ in waiting_for:
        partition.high_watermark_moved.subscribe(look)

    def forget() -> None:
        for partition, _ in waiting_for:
            partition.high_watermark_moved.unsubscribe(look)

    parked.on_end(forget)
    return parked


@attrs.define(eq=False)
class _Reading:
    """One pass over the partitions of a request; may be repeated after a wait."""

    ctx: RequestContext
    request: FetchRequest
    context: FetchContext
    replica_id: int  # of the broker that asks, -1 for a consumer
    bytes_read: int = 0
    has_error: bool = False
    results: list[tuple[SessionPartition, PartitionData]] = attrs.field(factory=list)
    waiting_for: list[tuple[Partition, int]] = attrs.field(factory=list)  # with the offset to read from

    def read(self) -> None:
        self.bytes_read = 0
        self.has_error = False
        self.results = []
        self.waiting_for = []
        not_in_metadata: list[tuple[SessionPartition, PartitionData]] = []
        for entry in self.context.partitions.values():
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

    def _read_partition(self, entry: SessionPartition) -> PartitionData:
        replicas = self.ctx.services.replicas
        wanted = entry.wanted
        partition = (
            replicas.partition_by_id(entry.topic_id, wanted.partition)
            if self.ctx.api_version >= TOPIC_IDS_FROM
            else replicas.partition(entry.topic, wanted.partition)
        )
        partition.check_leader(wanted.current_leader_epoch)
        if self.replica_id >= 0:
            self._check_follower(partition)
        log = partition.log
        is_read_committed = self.request.isolation_level == READ_COMMITTED
        if wanted.last_fetched_epoch >= 0:
            epoch, end_offset = log.end_offset_for_epoch(wanted.last_fetched_epoch)
            if epoch < 0 or end_offset < 0:
                raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
            if epoch < wanted.last_fetched_epoch or end_offset < wanted.fetch_offset:
                data = self._data(partition, entry)
                data.diverging_epoch = EpochEndOffset(epoch, end_offset)
                self.has_error = True  # the client has to truncate: there is nothing to wait for
                return data
        end_offset = partition.end_offset_for(is_read_committed=is_read_committed)
        room = max(self.request.max_bytes - self.bytes_read, 0)
        records = partition.read(
            wanted.fetch_offset,
            min(wanted.partition_max_bytes, room),
            end_offset=end_offset,
            min_one_batch=self.bytes_read == 0,
        )
        data = self._data(partition, entry)
        if records is not None:
            data.records = records
            self.bytes_read += len(records)
        if is_read_committed:
            data.aborted_transactions = (
                [
                    AbortedTransaction(aborted.producer_id, aborted.first_offset)
                    for aborted in log.aborted_transactions(
                        wanted.fetch_offset, end_offset, records.position + len(records)
                    )
                ]
                if records is not None
                else []
            )
        self.waiting_for.append((partition, wanted.fetch_offset))
        return data

    def _check_follower(self, partition: Partition) -> None:
        """Raises: NOT_LEADER_OR_FOLLOWER for a broker that has no replica, or leads."""
        if self.replica_id == partition.broker_id or self.replica_id not in partition.replicas:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)

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
        self.has_error = True
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

    def bytes_available(self) -> int:
        """How much there is to read now, or as much as is wanted where reading would end in an error."""
        is_read_committed = self.request.isolation_level == READ_COMMITTED
        available = 0
        for partition, offset in self.waiting_for:
            end_offset = partition.end_offset_for(is_read_committed=is_read_committed)
            if not partition.is_leader or offset < partition.log.log_start_offset:
                return max(self.request.min_bytes, 1)
            if offset < end_offset:
                available += partition.log.bytes_from(offset, end_offset)
        return available

    def answer(self) -> FetchResponse:
        context = self.context
        response = FetchResponse()
        if context.wants_session and context.partitions:
            for entry, data in self.results:
                entry.is_news(data)  # all of it is told now
            response.session_id = self.ctx.services.fetch_sessions.open(
                context,
                uses_topic_ids=self.ctx.api_version >= TOPIC_IDS_FROM,
                is_privileged=self.replica_id >= 0,
            )
        elif context.session is not None:
            response.session_id = context.session.id
            self.results = [(entry, data) for entry, data in self.results if entry.is_news(data)]
            self._rotate()
        for entry, data in self.results:
            if not response.responses or not _is_same_topic(response.responses[-1], entry):
                response.responses.append(FetchableTopicResponse(entry.topic, entry.topic_id))
            response.responses[-1].partitions.append(data)
        if self.has_error and self.ctx.api_version >= LEADERS_FROM and self.replica_id < 0:
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


def replica_id_of(request: FetchRequest) -> int:
    """Return the id of the broker that asks, -1 for a consumer; -2 is a debugging consumer's."""
    return max(request.replica_id, request.replica_state.replica_id)


def _is_same_topic(response: FetchableTopicResponse, entry: SessionPartition) -> bool:
    return response.topic == entry.topic and response.topic_id == entry.topic_id

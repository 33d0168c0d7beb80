"""Fetch (key 1) where a quota holds: of a consumer's bytes, or of replication.

- A consumer that has used up its quota gets an answer without partitions at once, and its session stays as it was; a
  session that would have been opened is not. It is never given more at once than would throttle it for sure.
- The leader leaves out the records of throttled replicas (`leader.replication.throttled.replicas`) that are not in sync
  while they are faster than `leader.replication.throttled.rate`. What they are sent counts, also in sync.

Not here: fetching itself (fetch); what counts how much (quotas).
Sources: KIP-13, KIP-73, KIP-219; Kafka's KafkaApis.handleFetchRequest, ReplicaManager.shouldLeaderThrottle.
"""

from collections.abc import Callable, Iterable
from functools import partial

import attrs

from pykbroker.handlers.context import RequestContext
from pykbroker.handlers.fetch import FollowerReading, Reading, fetch
from pykbroker.log.files import FileSlice
from pykbroker.replication.fetch_session import SessionPartition
from pykbroker.replication.partition import Partition
from pykbroker.waiters import Parked
from wire import codec
from wire.messages.fetch import FetchableTopicResponse, FetchRequest, FetchResponse, PartitionData

Charge = Callable[[int], int]  # the bytes of the answer -> for how many ms the client is throttled


def fetch_with_quota(
    ctx: RequestContext, request: FetchRequest, *, most_bytes: float | None, charge: Charge
) -> FetchResponse | Parked:
    if most_bytes is not None:
        request.max_bytes = min(request.max_bytes, int(most_bytes))
    return fetch(ctx, request, partial(QuotaReading, charge=charge))


@attrs.define(eq=False)
class QuotaReading(Reading):
    """A consumer's reading that counts."""

    charge: Charge = attrs.field(kw_only=True)

    def answer(self) -> FetchResponse:
        throttle_ms = self.charge(self._size())
        if not throttle_ms:
            return super().answer()
        session = self.context.session
        return FetchResponse(throttle_time_ms=throttle_ms, session_id=0 if session is None else session.id)

    def _size(self) -> int:
        """Return the size of the answer with everything that is told in it."""
        results = self.results
        if self.context.session is not None:
            results = [pair for pair in results if _would_be_news(*pair)]
        pieces: list[object] = []
        codec.encoder(FetchResponse, self.ctx.api_version)(pieces.append, FetchResponse(responses=_by_topic(results)))
        return 4 + sum(map(len, pieces))  # type: ignore[arg-type]


def _would_be_news(entry: SessionPartition, data: PartitionData) -> bool:
    told = entry.high_watermark, entry.log_start_offset
    is_news = entry.is_news(data)
    entry.high_watermark, entry.log_start_offset = told
    return is_news


def _by_topic(results: Iterable[tuple[SessionPartition, PartitionData]]) -> list[FetchableTopicResponse]:
    topics: dict[tuple[str, bytes], FetchableTopicResponse] = {}
    for entry, data in results:
        key = entry.topic, entry.topic_id
        topics.setdefault(key, FetchableTopicResponse(*key)).partitions.append(data)
    return list(topics.values())


@attrs.define(eq=False)
class ThrottledFollowerReading(FollowerReading):
    """A follower's reading while replication is throttled."""

    def __attrs_post_init__(self) -> None:
        self.held_back = self._is_held_back

    def _is_held_back(self, partition: Partition) -> bool:
        quota = self.ctx.services.replicas.quotas.leader
        return (
            self.replica_id not in partition.isr
            and quota.applies_to(partition.topic_partition.partition, _throttled_replicas(partition))
            and quota.is_exceeded
        )

    def _records(self, partition: Partition, entry: SessionPartition, end_offset: int) -> FileSlice | None:
        return None if self._is_held_back(partition) else super()._records(partition, entry, end_offset)

    def bytes_available(self) -> int:
        if self._session is None:
            self.waiting_for = [each for each in self.waiting_for if not self._is_held_back(each[0])]
        return super().bytes_available()

    def answer(self) -> FetchResponse:
        response = super().answer()
        quota = self.ctx.services.replicas.quotas.leader
        for entry, data in self.results:
            if data.records:
                throttled = _throttled_replicas(self._partition(entry))
                if quota.applies_to(entry.wanted.partition, throttled):
                    quota.record(len(data.records))
        return response


def _throttled_replicas(partition: Partition) -> tuple[str, ...]:
    return partition.log.config.leader_replication_throttled_replicas

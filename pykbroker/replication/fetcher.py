"""Following: one task per leader broker that fetches, for all replicas here that it leads, what they lack.

Owns: the connection and the fetch session of each leader, and how far each followed replica is with it.

A round: send what changed since the last request of the session -> the leader waits for data -> for each partition of
the answer append, or truncate, or put it aside for a while -> the next request tells where each log ends now.

Rules
- The follower's log is the leader's, byte for byte: what came is appended as it is, with the leader's epochs, the high
  watermark and the log start offset are taken over.
- Where the logs part, the leader answers with a diverging epoch; see truncation. An offset that the leader does not
  have: above its end the log is cut to that, below its start it begins anew there.
- After every await a replica is looked up again: metadata may have given it another leader epoch, or taken it away, and
  what is known of it is then another object.
- A partition that fails is put aside, for a time that doubles up to `replica.fetch.backoff.ms`; the others go on.
- While replication is throttled, a replica that is not in sync waits as long as throttled ones are too fast.
- A replica that is to be followed from now on does not wait for a fetch that the leader holds back: that is given up,
  with its connection.

Not here: whom to follow (replica_manager, fetchers), the connection (peer), what a leader does (handlers.fetch).
Sources: KIP-227, KIP-595, KIP-903; Kafka's AbstractFetcherThread, ReplicaFetcherThread, FetchSessionHandler.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import anyio
import anyio.lowlevel
import attrs

from pykbroker.clock import Clock
from pykbroker.cluster.membership import Cluster
from pykbroker.config import NO_RATE, BrokerConfig
from pykbroker.errors import KafkaError
from pykbroker.peer import Backoff, Network, Peer
from pykbroker.replication.addresses import address_of
from pykbroker.replication.fetcher_session import FetcherSession
from pykbroker.replication.partition import Partition
from pykbroker.replication.truncation import truncation_offset
from wire.errors import ErrorCode
from wire.schema import Uuid

if TYPE_CHECKING:  # imported with the first fetch: a broker without followers starts without it
    from pykbroker.quotas.replication_quotas import ReplicationQuota
    from wire.messages.fetch import FetchPartition, FetchRequest, FetchResponse, PartitionData

logger = logging.getLogger("pykbroker.replication")

FETCH_VERSION = 17
LIST_OFFSETS_VERSION = 10
BYTES_WITHOUT_YIELD = 1024 * 1024  # appended before other tasks get a turn
EARLIEST, LATEST = -2, -1  # timestamps of ListOffsets

HOLD_BACK_MS = 100  # before a throttled replica is looked at again

Key = tuple[Uuid, int]


@attrs.define(eq=False)
class Followed:
    """A replica that follows; another leader epoch makes another one."""

    partition: Partition
    topic_id: Uuid
    leader_epoch: int
    was_asked_for: bool = False  # an answer may be about it
    is_in_sync: bool = False  # with what the leader has committed, while a quota asks for it
    leader_high_watermark: int = -1  # as the leader told it last
    not_before_ms: float = 0.0
    backoff: Backoff = attrs.field(factory=Backoff)

    @property
    def key(self) -> Key:
        return self.topic_id, self.partition.topic_partition.partition

    @property
    def lag(self) -> int:
        """How many committed records are missing here, by what the leader told last."""
        return max(self.leader_high_watermark - self.partition.log.log_end_offset, 0)

    @property
    def is_current(self) -> bool:
        is_same = self.partition.leader_epoch == self.leader_epoch and not self.partition.is_leader
        return is_same and self.was_asked_for


class Fetcher:
    def __init__(
        self,
        config: BrokerConfig,
        clock: Clock,
        cluster: Cluster,
        network: Network,
        *,
        leader_id: int,
        number: int,
        quota: Callable[[], ReplicationQuota],
    ) -> None:
        """`quota` is asked for where there is one."""
        self.leader_id = leader_id
        self.followed: dict[Key, Followed] = {}
        self._config = config
        self._clock = clock
        self._cluster = cluster
        self._peer = Peer(
            network,
            clock,
            config,
            lambda: address_of(leader_id, config, cluster),
            client_id=f"broker-{config.node_id}-fetcher-{number}",
            max_backoff_ms=lambda: config.replica_fetch_backoff_ms,
        )
        self._quota = quota
        self._session = FetcherSession()
        self._put_aside: dict[Key, Followed] = {}
        self._scope: anyio.CancelScope | None = None  # while it runs
        self._is_stopped = False
        self._fetching: anyio.CancelScope | None = None  # while the leader may hold a fetch back
        self._is_failing = False

    def add(self, followed: Followed) -> None:
        self.followed[followed.key] = followed
        self._session.add(followed.key)
        if self._fetching is not None:
            self._fetching.cancel()

    def remove(self, partition: Partition) -> bool:
        """Stop following a replica; say whether this fetcher did."""
        topic_id = partition.log.topic_id
        assert topic_id is not None
        key = topic_id, partition.topic_partition.partition
        if key not in self.followed or self.followed[key].partition is not partition:
            return False
        del self.followed[key]
        self._put_aside.pop(key, None)
        self._session.remove(key)
        return True

    def stop(self) -> None:
        self._is_stopped = True
        if self._scope is not None:
            self._scope.cancel()

    async def run(self) -> None:
        """Fetch, round by round, until stopped."""
        with anyio.CancelScope() as self._scope:
            try:
                while not self._is_stopped:
                    await self._round()
            finally:
                await self._peer.aclose()

    async def _round(self) -> None:
        self._take_back()
        if self._config.follower_replication_throttled_rate != NO_RATE:
            self._hold_back()
        if len(self._put_aside) == len(self.followed):  # none is left to ask for
            await self._wait_for_the_next()
            return
        request = self._request()
        try:
            with anyio.CancelScope() as self._fetching:
                response = await self._peer.call(
                    request, FETCH_VERSION, timeout_ms=self._config.replica_socket_timeout_ms
                )
        except OSError as error:
            if not self._is_failing:  # once, not at every attempt
                logger.warning("cannot fetch from broker %d: %s", self.leader_id, error)
            self._is_failing = True
            self._session.reset(self.followed, self._put_aside)
            return
        finally:
            scope, self._fetching = self._fetching, None
        if scope is not None and scope.cancelled_caught:
            self._session.reset(self.followed, self._put_aside)
            return
        self._is_failing = False
        await self._take(response)

    async def _wait_for_the_next(self) -> None:
        with anyio.CancelScope() as self._fetching:
            await self._clock.sleep(max(self._ms_to_next(), 0))
        self._fetching = None

    # Partitions put aside

    def _put_away(self, followed: Followed) -> None:
        pause_ms = followed.backoff.failed(self._config.replica_fetch_backoff_ms)
        followed.not_before_ms = self._clock.monotonic_ms() + pause_ms
        self._put_aside[followed.key] = followed
        self._session.remove(followed.key)

    def _hold_back(self) -> None:
        """Put aside the throttled replicas that lack something, if such were too fast."""
        quota = self._quota()
        if not quota.is_exceeded:
            return
        now_ms = self._clock.monotonic_ms()
        for key, followed in self.followed.items():
            if key not in self._put_aside and not followed.is_in_sync and _is_throttled(quota, followed.partition):
                followed.not_before_ms = now_ms + HOLD_BACK_MS
                self._put_aside[key] = followed
                self._session.remove(key)

    def _take_back(self) -> None:
        now_ms = self._clock.monotonic_ms()
        for key, followed in list(self._put_aside.items()):
            if followed.not_before_ms <= now_ms:
                del self._put_aside[key]
                self._session.add(key)

    def _ms_to_next(self) -> float:
        """How long until a partition that was put aside has its turn; it is not to wait behind a fetch held back."""
        first_ms = min((followed.not_before_ms for followed in self._put_aside.values()), default=float("inf"))
        return first_ms - self._clock.monotonic_ms()

    # A request

    def _request(self) -> FetchRequest:
        from wire.messages.fetch import FetchRequest, FetchTopic, ForgottenTopic, ReplicaState

        config, session = self._config, self._session
        wait_ms = min(config.replica_fetch_wait_max_ms, max(self._ms_to_next(), 1))
        request = FetchRequest(
            replica_state=ReplicaState(config.node_id, self._cluster.broker_epoch),
            max_wait_ms=int(wait_ms),
            min_bytes=config.replica_fetch_min_bytes,
            max_bytes=config.replica_fetch_response_max_bytes,
            session_id=session.id,
            session_epoch=session.epoch,
        )
        topics: dict[Uuid, FetchTopic] = {}
        for topic_id, index in session.take_changed():
            topic = topics.setdefault(topic_id, FetchTopic(topic_id=topic_id))
            topic.partitions.append(self._wanted(self.followed[topic_id, index]))
        request.topics = list(topics.values())
        forgotten: dict[Uuid, ForgottenTopic] = {}
        for topic_id, index in session.take_forgotten():
            forgotten.setdefault(topic_id, ForgottenTopic(topic_id=topic_id)).partitions.append(index)
        request.forgotten_topics_data = list(forgotten.values())
        return request

    def _wanted(self, followed: Followed) -> FetchPartition:
        from wire.messages.fetch import FetchPartition

        followed.was_asked_for = True
        log = followed.partition.log
        return FetchPartition(
            partition=followed.partition.topic_partition.partition,
            current_leader_epoch=followed.leader_epoch,
            fetch_offset=log.log_end_offset,
            last_fetched_epoch=log.latest_epoch,
            log_start_offset=log.log_start_offset,
            partition_max_bytes=self._config.replica_fetch_max_bytes,
        )

    # An answer

    async def _take(self, response: FetchResponse) -> None:
        if response.error_code != ErrorCode.NONE:
            code = ErrorCode(response.error_code)
            logger.info("broker %d ends the fetch session: %s", self.leader_id, code.name)
            self._session.reset(self.followed, self._put_aside)
            return
        self._session.answered(response.session_id, self.followed, self._put_aside)
        out_of_range: list[Followed] = []
        taken_bytes = 0
        for topic in response.responses:
            for data in topic.partitions:
                followed = self.followed.get((topic.topic_id, data.partition_index))
                if followed is None or not followed.is_current or followed.key in self._put_aside:
                    continue
                try:
                    is_in_range = self._take_partition(followed, data)
                except KafkaError as error:
                    logger.error("%s: cannot follow: %s", followed.partition.topic_partition, error)
                    self._put_away(followed)
                    continue
                if not is_in_range:
                    out_of_range.append(followed)
                taken_bytes += len(data.records or b"")
                if taken_bytes > BYTES_WITHOUT_YIELD:
                    taken_bytes = 0
                    await anyio.lowlevel.checkpoint()
        if out_of_range:
            await self._start_anew(out_of_range)

    def _take_partition(self, followed: Followed, data: PartitionData) -> bool:
        """Apply what the leader says about a partition; False: it does not have the offset that was asked for.

        Raises: KafkaError, when the log fails or what came cannot be appended.
        """
        partition = followed.partition
        code = ErrorCode(data.error_code)
        if code is ErrorCode.OFFSET_OUT_OF_RANGE:
            return False
        if code is not ErrorCode.NONE:
            # Another leader, or one whose metadata is older or newer than ours: one of us learns it soon.
            logger.info("%s: broker %d answers %s", partition.topic_partition, self.leader_id, code.name)
            self._put_away(followed)
            return True
        followed.backoff.succeeded()
        self._session.changed(followed.key)
        if data.diverging_epoch.epoch != -1 or data.diverging_epoch.end_offset != -1:
            before = partition.log.log_end_offset, partition.log.latest_epoch
            self._truncate(partition, data.diverging_epoch.epoch, data.diverging_epoch.end_offset)
            if before == (partition.log.log_end_offset, partition.log.latest_epoch):
                # Nothing was left to cut: the leader would answer the same again, and at once.
                self._put_away(followed)
            return True
        if data.records:
            assert isinstance(data.records, memoryview)
            partition.append_as_follower(data.records)
        followed.leader_high_watermark = data.high_watermark
        partition.follow(high_watermark=data.high_watermark, log_start_offset=data.log_start_offset)
        if self._config.follower_replication_throttled_rate != NO_RATE:
            followed.is_in_sync = data.high_watermark <= partition.log.log_end_offset
            if data.records and _is_throttled(quota := self._quota(), partition):
                quota.record(len(data.records))
        return True

    def _truncate(self, partition: Partition, diverging_epoch: int, leader_end_offset: int) -> None:
        """Raises: KAFKA_STORAGE_ERROR."""
        log = partition.log
        own_epoch, own_end_offset = log.end_offset_for_epoch(diverging_epoch)
        offset = truncation_offset(
            diverging_epoch=diverging_epoch,
            leader_end_offset=leader_end_offset,
            own_epoch=own_epoch,
            own_end_offset=own_end_offset,
            log_end_offset=log.log_end_offset,
        )
        logger.info(
            "%s: truncating from %d to %d: epoch %d ends at %d on broker %d",
            partition.topic_partition,
            log.log_end_offset,
            offset,
            diverging_epoch,
            leader_end_offset,
            self.leader_id,
        )
        partition.truncate_to(offset)

    async def _start_anew(self, out_of_range: Iterable[Followed]) -> None:
        """Go where the leader's log is: back to its end, or on to its start."""
        try:
            ends = await self._list_offsets(out_of_range, LATEST)
            starts = await self._list_offsets(out_of_range, EARLIEST)
        except OSError as error:
            logger.warning("cannot ask broker %d where logs begin and end: %s", self.leader_id, error)
            self._session.reset(self.followed, self._put_aside)
            return
        for followed in out_of_range:
            if self.followed.get(followed.key) is not followed or not followed.is_current:
                continue
            end_offset, start_offset = ends.get(followed.key), starts.get(followed.key)
            if end_offset is None or start_offset is None:
                self._put_away(followed)
                continue
            try:
                self._move(followed.partition, start_offset=start_offset, end_offset=end_offset)
            except KafkaError as error:
                logger.error("%s: cannot follow: %s", followed.partition.topic_partition, error)
                self._put_away(followed)
                continue
            self._session.changed(followed.key)

    def _move(self, partition: Partition, *, start_offset: int, end_offset: int) -> None:
        """Raises: KAFKA_STORAGE_ERROR."""
        own_end_offset = partition.log.log_end_offset
        if end_offset < own_end_offset:
            logger.warning(
                "%s: truncating from %d to %d, where the log of broker %d ends",
                partition.topic_partition,
                own_end_offset,
                end_offset,
                self.leader_id,
            )
            partition.truncate_to(end_offset)
        elif start_offset > own_end_offset:
            logger.warning(
                "%s: starting anew at %d, where the log of broker %d begins; it ended at %d",
                partition.topic_partition,
                start_offset,
                self.leader_id,
                own_end_offset,
            )
            partition.start_anew_at(start_offset)

    async def _list_offsets(self, wanted: Iterable[Followed], timestamp: int) -> dict[Key, int]:
        """Ask the leader where logs begin or end; what it does not tell is left out. Raises: OSError."""
        from wire.messages.offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic

        by_name: dict[str, ListOffsetsTopic] = {}
        keys: dict[tuple[str, int], Key] = {}
        for followed in wanted:
            name, index = followed.partition.topic_partition
            keys[name, index] = followed.key
            by_name.setdefault(name, ListOffsetsTopic(name)).partitions.append(
                ListOffsetsPartition(index, followed.leader_epoch, timestamp)
            )
        request = ListOffsetsRequest(replica_id=self._config.node_id, topics=list(by_name.values()))
        response = await self._peer.call(
            request, LIST_OFFSETS_VERSION, timeout_ms=self._config.replica_socket_timeout_ms
        )
        return {
            keys[topic.name, answer.partition_index]: answer.offset
            for topic in response.topics
            for answer in topic.partitions
            if answer.error_code == ErrorCode.NONE and (topic.name, answer.partition_index) in keys
        }


def _is_throttled(quota: ReplicationQuota, partition: Partition) -> bool:
    throttled = partition.log.config.follower_replication_throttled_replicas
    return quota.applies_to(partition.topic_partition.partition, throttled)

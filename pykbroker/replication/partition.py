"""One replica of a partition on this broker: its role, its epochs, the in-sync replicas and the high watermark.

Owns: role, leader epoch, ISR, follower progress, high watermark, last stable offset.

Rules
- Only a leader appends for clients and answers them; whoever asks with another leader epoch is told so (KIP-320).
- The high watermark is the smallest log end offset of the maximal ISR and never goes back while this replica leads. It
  stays where it is while the ISR is below `min.insync.replicas`, or while this broker's lease may have ended and
  others are in the ISR: one of them may lead by now. (Alone in the ISR nobody else can be elected.)
- acks=all needs `min.insync.replicas` in-sync replicas before the append; it is answered when the high watermark has
  passed it.
- ISR changes are only proposed here; what comes back in the image counts. Until it does, a proposal counts for the
  high watermark as if it had been accepted and as if it had not (maximal ISR).
- A follower's high watermark is its leader's as far as its own log reaches; only truncation moves it back.
- What waits for data subscribes to a signal, what waits for an offset to be committed to `when_committed`; both learn
  when the replica stops leading or is deleted.

Not here: bytes, offsets and sequences (log), the decisions about followers (isr), what is asked of a leader (fetcher),
which replicas exist (replica_manager).
Sources: KIP-101, KIP-207, KIP-320, KIP-392, KIP-497, KIP-903, KIP-966; Kafka's `Partition`.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

from pykbroker.clock import Clock
from pykbroker.cluster.image import NO_BROKER, PartitionImage
from pykbroker.cluster.membership import Cluster
from pykbroker.config import BrokerConfig
from pykbroker.errors import KafkaError
from pykbroker.replication import isr as in_sync
from pykbroker.replication.isr import FollowerState
from pykbroker.topic_partition import TopicPartition
from pykbroker.waiters import Signal, Wakeups
from wire.errors import ErrorCode

if TYPE_CHECKING:
    from pykbroker.log.files import FileSlice
    from pykbroker.log.partition_log import AppendInfo, PartitionLog

ALL = -1  # acks
ISR_RETRY_MS = 500  # after a proposal was refused

Committed = Callable[[ErrorCode], None]

_order = itertools.count()  # breaks ties between waits for the same offset


@attrs.define(eq=False)
class ReplicaContext:
    """What all replicas of a broker share."""

    config: BrokerConfig
    clock: Clock
    cluster: Cluster
    wakeups: Wakeups
    propose_isr: Callable[[Partition], None]  # have `pending_isr` written


class Partition:
    __slots__ = (
        "_commit_waits",
        "_context",
        "_isr_pause_ends_ms",
        "_told_log_start_offset",
        "appended",
        "broker_id",
        "epoch_start_offset",
        "followers",
        "high_watermark",
        "high_watermark_moved",
        "is_internal",
        "isr",
        "leader_epoch",
        "leader_id",
        "log",
        "low_watermark_moved",
        "maximal_isr",
        "partition_epoch",
        "pending_broker_epochs",
        "pending_isr",
        "replicas",
        "topic_partition",
    )

    def __init__(
        self, log: PartitionLog, context: ReplicaContext, high_watermark: int, *, is_internal: bool = False
    ) -> None:
        self._context = context
        self.topic_partition: TopicPartition = log.topic_partition
        self.log = log
        self.broker_id = context.config.node_id
        self.is_internal = is_internal  # written by coordinators, not by clients
        self.high_watermark = min(max(high_watermark, log.log_start_offset), log.log_end_offset)
        self.leader_id = NO_BROKER
        self.leader_epoch = -1
        self.partition_epoch = -1
        self.epoch_start_offset = 0  # where this broker's leader epoch began
        self.replicas: tuple[int, ...] = ()
        self.isr: tuple[int, ...] = ()
        self.pending_isr: tuple[int, ...] | None = None  # proposed, not decided
        self.pending_broker_epochs: dict[int, int] = {}  # with which its followers had fetched when it was proposed
        self.maximal_isr: tuple[int, ...] = ()
        self.followers: dict[int, FollowerState] = {}  # of a leader
        self.appended = Signal(context.wakeups)  # the log end offset moved
        self.high_watermark_moved = Signal(context.wakeups)  # or: there is an error to be learned
        self.low_watermark_moved = Signal(context.wakeups)
        self._commit_waits: list[tuple[int, int, Committed]] = []
        self._isr_pause_ends_ms = 0.0
        self._told_log_start_offset = log.log_start_offset

    # Role

    @property
    def is_leader(self) -> bool:
        return self.leader_id == self.broker_id

    def apply(self, image: PartitionImage) -> bool:
        """Take over role and ISR from the metadata; return whether leadership began, ended or was renewed.

        Raises: KAFKA_STORAGE_ERROR, if the leader epoch cannot be written.
        """
        changed = image.leader_epoch != self.leader_epoch or image.leader != self.leader_id
        was_leader = self.is_leader
        if changed or image.partition_epoch != self.partition_epoch:
            self.pending_isr = None  # decided, or too late
        self.leader_id = image.leader
        self.leader_epoch = image.leader_epoch
        self.partition_epoch = image.partition_epoch
        concerns_followers = (image.replicas, image.isr) != (self.replicas, self.isr)
        self.replicas = image.replicas
        self.isr = image.isr
        self.maximal_isr = self.isr if self.pending_isr is None else in_sync.union(self.isr, self.pending_isr)
        if self.is_leader:
            self._set_followers()
            if changed:
                self._begin_epoch(is_new_leader=not was_leader)
            elif concerns_followers:
                self.appended.fire()
            self._advance_high_watermark()
        elif changed:
            self.followers = {}
            self._fail_waits(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        return changed

    def _set_followers(self) -> None:
        known = self.followers
        self.followers = {
            broker_id: known.get(broker_id) or FollowerState()
            for broker_id in self.replicas
            if broker_id != self.broker_id
        }

    def _begin_epoch(self, *, is_new_leader: bool) -> None:
        now_ms = self._context.clock.monotonic_ms()
        self.epoch_start_offset = self.log.log_end_offset
        for broker_id, follower in self.followers.items():
            follower.epoch_began(
                is_new_leader=is_new_leader,
                is_in_sync=broker_id in self.isr,
                leader_end_offset=self.epoch_start_offset,
                now_ms=now_ms,
            )
        self.log.assign_epoch_start(self.leader_epoch, self.epoch_start_offset)
        self._wake_all()  # who waits in the epoch before learns of the new one

    def close(self) -> None:
        """This replica is no more: whoever waits learns it."""
        self.leader_id = NO_BROKER
        self.leader_epoch = -1
        self.followers = {}
        self.pending_isr = None
        self._fail_waits(ErrorCode.NOT_LEADER_OR_FOLLOWER)

    @property
    def knows_what_was_committed(self) -> bool:
        """Whether the high watermark has reached where this leader's epoch began: nothing that was shown is missing."""
        return not self.is_leader or self.high_watermark >= self.epoch_start_offset

    def check_leader(self, current_leader_epoch: int = -1) -> None:
        """Raises: NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH; an epoch of -1 is not compared."""
        self.check_epoch(current_leader_epoch)
        if self.leader_id != self.broker_id:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)

    def check_epoch(self, current_leader_epoch: int) -> None:
        """Raises: FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH; -1 is not compared."""
        if current_leader_epoch >= 0 and current_leader_epoch != self.leader_epoch:
            if current_leader_epoch < self.leader_epoch:
                raise KafkaError(ErrorCode.FENCED_LEADER_EPOCH)
            raise KafkaError(ErrorCode.UNKNOWN_LEADER_EPOCH)

    @property
    def may_be_led_elsewhere(self) -> bool:
        """Whether this broker's lease may have ended, so that another of the ISR may be the leader by now."""
        context = self._context
        return len(self.maximal_isr) > 1 and context.clock.monotonic_ms() >= context.cluster.lease_ends_ms

    # Writing

    def append(self, records: memoryview, *, acks: int, from_client: bool = True) -> AppendInfo:
        """Append batches as leader. `records` are stamped in place.

        Raises: NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS, and what `PartitionLog.append_as_leader` raises.
        """
        if self.leader_id != self.broker_id:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if acks == ALL and len(self.isr) < self.effective_min_isr:
            raise KafkaError(
                ErrorCode.NOT_ENOUGH_REPLICAS,
                f"{len(self.isr)} in-sync replicas of {self.topic_partition} are fewer than the minimum of "
                f"{self.effective_min_isr}",
            )
        info = self.log.append_as_leader(records, leader_epoch=self.leader_epoch, from_client=from_client)
        if not info.is_duplicate:
            self.appended.fire()
            if len(self.maximal_isr) == 1:  # otherwise it is the followers that move it
                self._advance_high_watermark()
        return info

    @property
    def effective_min_isr(self) -> int:
        """`min.insync.replicas`, but never more than there are replicas."""
        return min(self.log.config.min_insync_replicas, len(self.replicas))

    def when_committed(self, last_offset: int, callback: Committed) -> None:
        """Call back once the high watermark has passed `last_offset`, or with why it never will.

        With NONE, or NOT_ENOUGH_REPLICAS_AFTER_APPEND if the ISR is too small by then.
        """
        if self.high_watermark > last_offset:
            callback(self._commit_code())
        else:
            heapq.heappush(self._commit_waits, (last_offset, next(_order), callback))

    def _commit_code(self) -> ErrorCode:
        if len(self.maximal_isr) < self.effective_min_isr:
            return ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND
        return ErrorCode.NONE

    def conditions_changed(self) -> None:
        """Look again what is committed: the min ISR is another, or a broker that was waited for is gone."""
        if self.is_leader and self.high_watermark < self.log.log_end_offset:
            self._advance_high_watermark()

    def _advance_high_watermark(self) -> None:
        high_watermark = self._committed_offset() if self.followers else self.log.log_end_offset
        if high_watermark > self.high_watermark:
            self.high_watermark = high_watermark
            self.high_watermark_moved.fire()
            waits = self._commit_waits
            if waits and waits[0][0] < high_watermark:
                code = self._commit_code()
                while waits and waits[0][0] < high_watermark:
                    heapq.heappop(waits)[2](code)

    def _committed_offset(self) -> int:
        """Return where the high watermark of a leader with followers may be now; -1: it has to stay."""
        context = self._context
        if len(self.isr) < self.effective_min_isr or self.may_be_led_elsewhere:
            return -1
        now_ms = context.clock.monotonic_ms()
        log_end_offset = self.log.log_end_offset
        max_lag_ms = context.config.replica_lag_time_max_ms
        will_join = [
            broker_id
            for broker_id, follower in self.followers.items()
            if broker_id not in self.maximal_isr
            and follower.is_caught_up(leader_end_offset=log_end_offset, now_ms=now_ms, max_lag_ms=max_lag_ms)
            and self._is_eligible(broker_id, follower)
        ]
        return in_sync.committed_offset(log_end_offset, self.followers, self.maximal_isr, will_join)

    def _fail_waits(self, code: ErrorCode) -> None:
        waits, self._commit_waits = self._commit_waits, []
        for _, _, callback in waits:
            callback(code)
        self._wake_all()

    def _wake_all(self) -> None:
        self.appended.fire()
        self.high_watermark_moved.fire()
        self.low_watermark_moved.fire()

    # Followers

    def check_follower(self, broker_id: int, broker_epoch: int, current_leader_epoch: int) -> None:
        """Check that a replica fetch comes from a follower, and from its present process.

        Raises: UNKNOWN_LEADER_EPOCH where it has no replica as far as this broker knows, for its image may be newer, or
        NOT_LEADER_OR_FOLLOWER if it named no leader epoch; NOT_LEADER_OR_FOLLOWER with an older broker epoch (KIP-903).
        """
        if broker_id not in self.followers:
            unknown = ErrorCode.UNKNOWN_LEADER_EPOCH if current_leader_epoch >= 0 else ErrorCode.NOT_LEADER_OR_FOLLOWER
            raise KafkaError(unknown)
        broker = self._context.cluster.image.brokers.get(broker_id)
        if broker is not None and not broker.fenced and -1 < broker_epoch < broker.epoch:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)

    def follower_fetched(self, broker_id: int, *, fetch_offset: int, log_start_offset: int, broker_epoch: int) -> None:
        """Note a follower's fetch that is being answered with records, or with none: it moves the high watermark."""
        follower = self.followers[broker_id]
        log_end_offset = self.log.log_end_offset
        has_moved_its_start = log_start_offset != follower.log_start_offset
        follower.fetched(
            fetch_offset=fetch_offset,
            log_start_offset=log_start_offset,
            broker_epoch=broker_epoch,
            leader_end_offset=log_end_offset,
            now_ms=self._context.clock.monotonic_ms(),
        )
        if has_moved_its_start:
            self.low_watermark_moved.fire()
        if broker_id not in self.isr and self.pending_isr is None:
            self._maybe_expand_isr(broker_id, follower)
        if self.high_watermark < log_end_offset:
            self._advance_high_watermark()

    def _maybe_expand_isr(self, broker_id: int, follower: FollowerState) -> None:
        if (
            in_sync.has_caught_up(
                follower, high_watermark=self.high_watermark, epoch_start_offset=self.epoch_start_offset
            )
            and self._is_eligible(broker_id, follower)
            and self._context.clock.monotonic_ms() >= self._isr_pause_ends_ms
        ):
            self._propose_isr((*self.isr, broker_id))

    def _is_eligible(self, broker_id: int, follower: FollowerState) -> bool:
        """Whether a follower may be in the ISR: it neither is down nor stops, and is the process that fetched.

        Source: KIP-841, KIP-903.
        """
        broker = self._context.cluster.image.brokers.get(broker_id)
        if broker is None or broker.fenced or broker.is_stopping:
            return False
        return follower.broker_epoch in (-1, broker.epoch)

    def check_followers(self) -> None:
        """Do what is due from time to time: find followers that lag, and tell all of them where the log begins."""
        if self.is_leader and self.followers:
            self._shrink_isr()
            self.conditions_changed()  # who was about to join may have fallen behind
            if self._told_log_start_offset != self.log.log_start_offset:
                self._told_log_start_offset = self.log.log_start_offset
                self.appended.fire()

    def _shrink_isr(self) -> None:
        """Propose an ISR without the followers that have not been caught up for too long, if there are any."""
        if self.pending_isr is not None or len(self.isr) < 2:
            return
        context = self._context
        lagging = in_sync.out_of_sync(
            self.isr,
            self.followers,
            leader_end_offset=self.log.log_end_offset,
            now_ms=context.clock.monotonic_ms(),
            max_lag_ms=context.config.replica_lag_time_max_ms,
        )
        if lagging:
            self._propose_isr(tuple(broker_id for broker_id in self.isr if broker_id not in lagging))

    def _propose_isr(self, isr: tuple[int, ...]) -> None:
        self.pending_isr = isr
        self.pending_broker_epochs = {
            broker_id: follower.broker_epoch for broker_id, follower in self.followers.items() if broker_id in isr
        }
        self.maximal_isr = in_sync.union(self.isr, isr)
        self._context.propose_isr(self)

    def isr_refused(self) -> None:
        """The proposal was refused, for good: the ISR is what the image says."""
        self._isr_pause_ends_ms = self._context.clock.monotonic_ms() + ISR_RETRY_MS
        self.pending_isr = None
        self.maximal_isr = self.isr
        if self.is_leader:
            self._advance_high_watermark()

    @property
    def low_watermark(self) -> int:
        """The smallest log start offset of the replicas that are alive: what is below is deleted everywhere."""
        brokers = self._context.cluster.image.brokers
        return min(
            [
                self.log.log_start_offset,
                *(
                    follower.log_start_offset
                    for broker_id, follower in self.followers.items()
                    if broker_id in brokers and not brokers[broker_id].fenced
                ),
            ]
        )

    # Following

    def append_as_follower(self, records: memoryview) -> None:
        """Append what the leader sent. Raises: see `PartitionLog.append_as_follower`."""
        self.log.append_as_follower(records)

    def follow(self, *, high_watermark: int, log_start_offset: int) -> None:
        """Take over the leader's high watermark, as far as there are records, and its log start offset."""
        high_watermark = min(high_watermark, self.log.log_end_offset)
        if high_watermark > self.high_watermark:
            self.high_watermark = high_watermark
            self.high_watermark_moved.fire()
        if log_start_offset > self.log.log_start_offset:
            self.log.advance_log_start(min(log_start_offset, self.high_watermark))

    def truncate_to(self, offset: int) -> None:
        """Remove the records at and above `offset`, which the leader does not have. Raises: KAFKA_STORAGE_ERROR."""
        self.log.truncate_to(offset)
        self.high_watermark = min(self.high_watermark, self.log.log_end_offset)

    def start_anew_at(self, offset: int) -> None:
        """Remove all records: the leader's log begins at `offset`. Raises: KAFKA_STORAGE_ERROR."""
        self.log.truncate_fully_and_start_at(offset)
        self.high_watermark = offset

    # Reading

    @property
    def last_stable_offset(self) -> int:
        """Where a read_committed reader stops: the first offset of an open transaction, else the high watermark."""
        first_unstable = self.log.first_unstable_offset(self.high_watermark)
        return self.high_watermark if first_unstable is None else min(first_unstable, self.high_watermark)

    def end_offset_for(self, *, is_read_committed: bool) -> int:
        return self.last_stable_offset if is_read_committed else self.high_watermark

    def read(self, offset: int, max_bytes: int, *, end_offset: int, min_one_batch: bool) -> FileSlice | None:
        """Read from `offset` up to `end_offset`. Raises: OFFSET_OUT_OF_RANGE."""
        if offset > self.log.log_end_offset or offset < self.log.log_start_offset:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
        if offset >= end_offset:
            return None
        return self.log.read(offset, max_bytes, end_offset=end_offset, min_one_batch=min_one_batch)

    def delete_records(self, before_offset: int) -> int:
        """Move the log start offset to `before_offset` (-1: the high watermark) and return it.

        Raises: NOT_LEADER_OR_FOLLOWER, OFFSET_OUT_OF_RANGE, POLICY_VIOLATION. Source: KIP-107.
        """
        self.check_leader()
        if "delete" not in self.log.config.cleanup_policy:
            raise KafkaError(
                ErrorCode.POLICY_VIOLATION, f"{self.topic_partition.topic} does not have delete in its cleanup.policy"
            )
        offset = self.high_watermark if before_offset == -1 else before_offset
        if not 0 <= offset <= self.high_watermark:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
        self.log.advance_log_start(offset)
        self.appended.fire()  # followers have to hear of it
        return self.log.log_start_offset

"""One replica of a partition on this broker: its role, its epochs, the in-sync replicas and the high watermark.

Owns: role, leader epoch, ISR, follower progress, high watermark, last stable offset.

Rules
- Only a leader appends for clients and answers them; whoever asks with another leader epoch is told so (KIP-320).
- The high watermark is the smallest log end offset in the ISR and never goes back while this replica leads.
- acks=all needs `min.insync.replicas` in-sync replicas before the append; it is answered when the high watermark has
  passed it.
- What waits for data subscribes to a signal, what waits for an offset to be committed to `when_committed`; both learn
  when the replica stops leading or is deleted.

Not here: bytes, offsets and sequences (log), which replicas exist (replica_manager).
Sources: KIP-101, KIP-320, KIP-392; Kafka's `Partition`.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from pykbroker.cluster.image import PartitionImage
from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition
from pykbroker.waiters import Signal, Wakeups
from wire.errors import ErrorCode

if TYPE_CHECKING:
    from pykbroker.log.files import FileSlice
    from pykbroker.log.partition_log import AppendInfo, PartitionLog

ALL = -1  # acks

Committed = Callable[[ErrorCode], None]

_order = itertools.count()  # breaks ties between waits for the same offset


class Partition:
    __slots__ = (
        "_commit_waits",
        "appended",
        "broker_id",
        "high_watermark",
        "high_watermark_moved",
        "is_internal",
        "isr",
        "leader_epoch",
        "leader_id",
        "log",
        "partition_epoch",
        "replicas",
        "topic_partition",
    )

    def __init__(
        self, log: PartitionLog, broker_id: int, high_watermark: int, wakeups: Wakeups, *, is_internal: bool = False
    ) -> None:
        self.topic_partition: TopicPartition = log.topic_partition
        self.log = log
        self.broker_id = broker_id
        self.is_internal = is_internal  # written by coordinators, not by clients
        self.high_watermark = min(max(high_watermark, log.log_start_offset), log.log_end_offset)
        self.leader_id = -1
        self.leader_epoch = -1
        self.partition_epoch = -1
        self.isr: tuple[int, ...] = ()
        self.replicas: tuple[int, ...] = ()
        self.appended = Signal(wakeups)  # the log end offset moved
        self.high_watermark_moved = Signal(wakeups)  # or: there is an error to be learned
        self._commit_waits: list[tuple[int, int, Committed]] = []

    # Role

    @property
    def is_leader(self) -> bool:
        return self.leader_id == self.broker_id

    def apply(self, image: PartitionImage) -> bool:
        """Take over role and ISR from the metadata; return whether leadership began, ended or was renewed."""
        changed = image.leader_epoch != self.leader_epoch or image.leader != self.leader_id
        self.leader_id = image.leader
        self.leader_epoch = image.leader_epoch
        self.partition_epoch = image.partition_epoch
        self.isr = image.isr
        self.replicas = image.replicas
        if changed and self.is_leader:
            self.log.assign_epoch_start(self.leader_epoch, self.log.log_end_offset)
        elif changed:
            self._fail_waits(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if self.is_leader:
            self._advance_high_watermark()
        return changed

    def close(self) -> None:
        """This replica is no more: whoever waits learns it."""
        self.leader_id = -1
        self._fail_waits(ErrorCode.NOT_LEADER_OR_FOLLOWER)

    def check_leader(self, current_leader_epoch: int = -1) -> None:
        """Raises: NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH; an epoch of -1 is not compared."""
        if current_leader_epoch >= 0 and current_leader_epoch != self.leader_epoch:
            if current_leader_epoch < self.leader_epoch:
                raise KafkaError(ErrorCode.FENCED_LEADER_EPOCH)
            raise KafkaError(ErrorCode.UNKNOWN_LEADER_EPOCH)
        if self.leader_id != self.broker_id:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)

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
            self._advance_high_watermark()
        return info

    @property
    def effective_min_isr(self) -> int:
        """`min.insync.replicas`, but never more than there are replicas."""
        return min(self.log.config.min_insync_replicas, len(self.replicas))

    def when_committed(self, last_offset: int, callback: Committed) -> None:
        """Call back with NONE once the high watermark has passed `last_offset`, or with why it never will."""
        if self.high_watermark > last_offset:
            callback(ErrorCode.NONE)
        else:
            heapq.heappush(self._commit_waits, (last_offset, next(_order), callback))

    def _advance_high_watermark(self) -> None:
        if self.isr != (self.broker_id,):
            return
        high_watermark = self.log.log_end_offset
        if high_watermark > self.high_watermark:
            self.high_watermark = high_watermark
            self.high_watermark_moved.fire()
            waits = self._commit_waits
            while waits and waits[0][0] < high_watermark:
                heapq.heappop(waits)[2](ErrorCode.NONE)

    def _fail_waits(self, code: ErrorCode) -> None:
        waits, self._commit_waits = self._commit_waits, []
        for _, _, callback in waits:
            callback(code)
        self.appended.fire()
        self.high_watermark_moved.fire()

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
        return self.log.log_start_offset

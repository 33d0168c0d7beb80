"""The groups and committed offsets of one `__consumer_offsets` partition that this broker leads.

Owns: the groups and offsets of the partition, and when what was decided counts.
A change: decide -> records -> append -> replay, all in one tick; it is answered when the high watermark has passed its
last record. Loading replays the same records from the log.
Rules
- Only `replay` changes offsets. A classic group is ahead of its records (waiting members are in no record), so what is
  written of it is not replayed, except that a tombstone removes it.
- Readers see what is committed. Where an answer rests on something newer, it waits for that to be committed.
- Key types choose the kind of group, so that other kinds can join the `Group` union.
- A partition that is lost takes its shard with it: whoever waits is sent to the new coordinator.
Not here: which shard a group is in (coordinator), rounds (classic_rounds), formats (records), reading and appending
(replication/coordinator_log).
Sources: KIP-211 (expiry), KIP-496 (OffsetDelete), KIP-848's coordinator runtime; Kafka's GroupCoordinatorShard.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from pykbroker.clock import Clock, Timer
from pykbroker.errors import KafkaError
from pykbroker.groups.classic_group import ClassicGroup
from pykbroker.groups.classic_protocol import ClassicProtocol
from pykbroker.groups.classic_rounds import ClassicRounds
from pykbroker.groups.counts import GroupCounts
from pykbroker.groups.offsets import CommittedOffset, Key, OffsetStore, TopicOffsets
from pykbroker.groups.records import (
    GroupMetadataRecord,
    GroupRecord,
    OffsetCommitRecord,
    classic_group,
    decode_record,
    group_tombstone,
    offset_commit_record,
)
from pykbroker.groups.settings import GroupSettings
from pykbroker.replication.coordinator_log import CoordinatorLog, CoordinatorRecord, Done
from pykbroker.replication.partition import Partition
from pykbroker.replication.replica_manager import ReplicaManager
from wire.compression import Codec
from wire.errors import ErrorCode, ProtocolError
from wire.records import BatchHeader, ControlType, Record, read_end_txn_marker

Group: TypeAlias = ClassicGroup  # consumer, share and streams groups will join

_BATCH_BYTES_MAX = 512 * 1024  # of tombstones, which need not be written all or none

_log = logging.getLogger(__name__)


class GroupShard:
    def __init__(
        self,
        partition: Partition,
        replicas: ReplicaManager,
        settings: GroupSettings,
        clock: Clock,
        *,
        new_uuid: Callable[[], str],
        counts: GroupCounts,
    ) -> None:
        self.partition = partition
        self.groups: dict[str, Group] = {}
        self.offsets = OffsetStore()
        self.is_loading = True
        self.is_failed = False  # the log could not be read: there is no coordinator here until leadership changes
        self._settings = settings
        self._clock = clock
        self._coordinator_log = CoordinatorLog(
            partition,
            replicas,
            clock,
            load_buffer_size=settings.offsets_load_buffer_size,
            codec=Codec(settings.offsets_topic_compression_codec),
            base_sequence=0,
        )
        self._expiry_timer: Timer | None = None
        self._counts = counts
        self._rounds = ClassicRounds(settings, clock, self._commit_without_replay, counts)
        self.classic = ClassicProtocol(self._rounds, clock, self.groups.get, self._add_group, new_uuid)

    # Loading and unloading

    def load(self) -> None:
        """Replay the partition."""
        self._coordinator_log.load(self._replay_loaded, self._loaded)

    @property
    def load_time_ms(self) -> float | None:
        return self._coordinator_log.load_time_ms

    def _replay_loaded(self, header: BatchHeader, record: Record) -> None:
        if header.is_control:
            self._replay_marker(header.producer_id, record)
        elif record.key is not None:
            self._replay_stored(record, header.producer_id if header.is_transactional else -1)

    def _replay_marker(self, producer_id: int, record: Record) -> None:
        marker = read_end_txn_marker(record)
        if marker is not None:
            self.offsets.complete_transaction(
                producer_id,
                commit=marker[0] is ControlType.COMMIT,
                record_offset=record.offset,
                is_committed=self._is_committed(record.offset),
            )

    def _replay_stored(self, record: Record, producer_id: int) -> None:
        try:
            decoded = decode_record(record.key or b"", record.value, record.offset)
        except ProtocolError as error:
            _log.error("%s: offset %s: %s", self.partition.topic_partition, record.offset, error)
            return
        if decoded is not None:
            self._replay(decoded, record.offset, producer_id)

    def _loaded(self, is_complete: bool) -> None:
        self.is_loading = False
        if not is_complete:
            self.is_failed = True
            return
        self._on_committed()
        for group in list(self.groups.values()):
            self._rounds.loaded(group)
        self._schedule_expiry()
        _log.debug("%s: loaded %s groups", self.partition.topic_partition, len(self.groups))

    def close(self) -> None:
        """The partition is led elsewhere, or the broker stops."""
        self._coordinator_log.close()
        if self._expiry_timer is not None:
            self._expiry_timer.cancel()
        for group in list(self.groups.values()):
            self._rounds.unloaded(group)
        self.groups.clear()

    # Committing

    def commit(
        self,
        records: Sequence[CoordinatorRecord],
        done: Done,
        *,
        replay: bool = True,
        producer_id: int = -1,
        producer_epoch: int = -1,
    ) -> None:
        """Append `records` as one batch and apply them; with a producer id they are part of its transaction.

        `done` learns when they are committed, or why they never will be. Without records it learns when everything
        decided so far is.
        """
        try:
            if records:
                base_offset = self._coordinator_log.append(
                    records, producer_id=producer_id, producer_epoch=producer_epoch
                )
                if replay:
                    self._replay_appended(records, base_offset, producer_id)
        except KafkaError as error:
            done(error.code)
            return
        self._coordinator_log.when_committed(done, self._settings.offsets_commit_timeout_ms, settled=self._on_committed)

    def _replay_appended(self, records: Sequence[CoordinatorRecord], base_offset: int, producer_id: int) -> None:
        for offset, record in enumerate(records, base_offset):
            decoded = decode_record(record.key, record.value, offset)
            assert decoded is not None
            self._replay(decoded, offset, producer_id)

    def commit_in_parts(self, records: Sequence[CoordinatorRecord]) -> None:
        """Append tombstones that nobody waits for, in as many batches as their size needs."""
        for part in _parts(records):
            self.commit(part, self._log_failure)

    def _commit_without_replay(self, records: list[CoordinatorRecord], done: Done) -> None:
        self.commit(records, done, replay=False)

    def _on_committed(self) -> None:
        self.offsets.commit_up_to(self.partition.high_watermark)

    def _is_committed(self, record_offset: int) -> bool:
        return self._coordinator_log.is_committed(record_offset)

    def _log_failure(self, error: ErrorCode) -> None:
        if error is not ErrorCode.NONE:
            _log.warning("%s: tombstones were not written: %s", self.partition.topic_partition, error.name)

    # Replay

    def _replay(self, record: GroupRecord, record_offset: int, producer_id: int) -> None:
        match record:
            case OffsetCommitRecord():
                self._replay_offset(record, record_offset, producer_id)
            case GroupMetadataRecord():
                self._replay_group(record)

    def _replay_offset(self, record: OffsetCommitRecord, record_offset: int, producer_id: int) -> None:
        key: Key = (record.group_id, record.topic, record.partition)
        is_committed = self._is_committed(record_offset)
        if record.committed is None:
            self.offsets.remove(key, record_offset=record_offset, is_committed=is_committed)
            return
        if record.group_id not in self.groups:
            # Offsets of a consumer that assigns its partitions itself: a group without members or protocol.
            self._add_group(ClassicGroup(record.group_id, state_timestamp_ms=self._clock.time_ms()))
        self.offsets.put(key, record.committed, producer_id=producer_id, is_committed=is_committed)

    def _replay_group(self, record: GroupMetadataRecord) -> None:
        known = self.groups.pop(record.group_id, None)
        if known is not None:
            known.cancel_timers()
        if record.value is not None:
            self._add_group(classic_group(record.group_id, record.value))

    def _add_group(self, group: Group) -> None:
        self.groups[group.group_id] = group

    def complete_transaction(self, producer_id: int, *, commit: bool, record_offset: int) -> None:
        """Apply a transaction marker that was appended to this partition at `record_offset`."""
        self._coordinator_log.last_offset = max(self._coordinator_log.last_offset, record_offset)
        is_committed = self._is_committed(record_offset)
        self.offsets.complete_transaction(
            producer_id, commit=commit, record_offset=record_offset, is_committed=is_committed
        )
        if not is_committed:
            self.partition.when_committed(record_offset, lambda _: self._on_committed())

    # Groups

    def group(self, group_id: str) -> Group:
        """Raises: GROUP_ID_NOT_FOUND."""
        group = self.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"there is no group {group_id}")
        return group

    def delete_groups(self, group_ids: Sequence[str], done: Callable[[dict[str, ErrorCode]], None]) -> None:
        """Delete each group with its offsets; `done` learns how each ended.

        Errors: NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND.
        """
        outcomes: dict[str, ErrorCode] = {}
        records: list[CoordinatorRecord] = []
        for group_id in group_ids:
            try:
                self.group(group_id).validate_delete()
            except KafkaError as error:
                outcomes[group_id] = error.code
                continue
            outcomes[group_id] = ErrorCode.NONE
            records += [offset_commit_record(*key, None) for key in self.offsets.keys_of_group(group_id)]
            records.append(group_tombstone(group_id))

        def stored(error: ErrorCode) -> None:
            if error is ErrorCode.NONE:
                done(outcomes)
            else:
                done(dict.fromkeys(group_ids, error))

        self.commit(records, stored)

    def rebalance(self, group_id: str) -> None:
        """Begin a round, as if a member had come. Raises: GROUP_ID_NOT_FOUND."""
        group = self.group(group_id)
        if group.members and group.can_rebalance:
            self._rounds.prepare_rebalance(group)

    def expire_session(self, group_id: str, member_id: str) -> None:
        """Drop a member whose time is over. Raises: GROUP_ID_NOT_FOUND, UNKNOWN_MEMBER_ID."""
        group = self.group(group_id)
        if member_id not in group.members:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"group {group_id} has no member {member_id}")
        self._rounds.remove_member(group, group.members[member_id])

    # Offsets

    def commit_offsets(
        self,
        group_id: str,
        *,
        member_id: str,
        group_instance_id: str | None,
        generation_id: int,
        offsets: Sequence[tuple[str, int, CommittedOffset]],
        done: Done,
        producer_id: int = -1,
        producer_epoch: int = -1,
    ) -> None:
        """Store offsets for a member, or for a group without members. A member's commit keeps its session alive.

        With a producer id they are pending until its transaction ends (KIP-447).
        Raises: GROUP_ID_NOT_FOUND, INVALID_PRODUCER_EPOCH and what `ClassicGroup.validate_offset_commit` raises.
        """
        group = self.groups.get(group_id)
        if group is None:
            if generation_id >= 0:
                raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND)
        else:
            group.validate_offset_commit(member_id, group_instance_id, generation_id, is_transactional=producer_id >= 0)
            member = group.members.get(member_id)
            if member is not None:
                self._rounds.restart_session(group, member)
        if producer_id >= 0:
            self.partition.log.producers.check_epoch(producer_id, producer_epoch)
        records = [offset_commit_record(group_id, *offset) for offset in offsets]
        self._counts.offset_commits += len(records)
        self.commit(records, done, producer_id=producer_id, producer_epoch=producer_epoch)

    def read_offsets(self, group_id: str, *, require_stable: bool) -> TopicOffsets:
        """Return the group's offsets: the committed ones, or the newest, which the caller may use once they are."""
        return self.offsets.group(group_id) if require_stable else self.offsets.read_committed(group_id)

    def delete_offsets(
        self, group_id: str, partitions: Sequence[tuple[str, int]], done: Callable[[list[ErrorCode]], None]
    ) -> None:
        """Delete offsets of topics that the group does not consume; `done` learns how each ended.

        Raises: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
        """
        group = self.group(group_id)
        group.validate_offset_delete()
        errors = [
            ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC if group.is_subscribed_to_topic(topic) else ErrorCode.NONE
            for topic, _ in partitions
        ]
        known = set(self.offsets.keys_of_group(group_id))
        records = [
            offset_commit_record(group_id, topic, partition, None)
            for (topic, partition), error in zip(partitions, errors, strict=True)
            if error is ErrorCode.NONE and (group_id, topic, partition) in known
        ]

        self._counts.offset_deletions += len(records)

        def stored(error: ErrorCode) -> None:
            done(errors if error is ErrorCode.NONE else [error] * len(errors))

        self.commit(records, stored)

    def topics_deleted(self, topics: Sequence[str]) -> None:
        """Forget the offsets of topics that are no more."""
        keys = [key for topic in topics for key in self.offsets.keys_of_topic(topic)]
        self.commit_in_parts([offset_commit_record(*key, None) for key in keys])

    # Expiry

    def _schedule_expiry(self) -> None:
        interval_ms = self._settings.offsets_retention_check_interval_ms
        self._expiry_timer = self._clock.call_later(interval_ms, self._expire)

    def _expire(self) -> None:
        """Delete offsets that nobody has used for `offsets.retention.minutes`, and groups of which nothing is left."""
        records: list[CoordinatorRecord] = []
        for group in list(self.groups.values()):
            expired = set(self._expired_offsets(group))
            self._counts.offset_expirations += len(expired)
            records += [offset_commit_record(*key, None) for key in expired]
            nothing_left = expired.issuperset(self.offsets.keys_of_group(group.group_id))
            if group.is_empty and nothing_left:
                records.append(group_tombstone(group.group_id))
        self.commit_in_parts(records)
        self._schedule_expiry()

    def _expired_offsets(self, group: Group) -> Iterator[Key]:
        start = group.offset_retention_start()
        if start is None:
            return
        now_ms = self._clock.time_ms()
        retention_ms = self._settings.offsets_retention_minutes * 60_000
        for topic, partitions in self.offsets.group(group.group_id).items():
            if group.is_subscribed_to_topic(topic):
                continue
            for partition, committed in partitions.items():
                # An old client may have set an expiry time of its own, which then decides.
                expires_ms = committed.expire_timestamp_ms
                expired = now_ms >= expires_ms if expires_ms is not None else now_ms - start(committed) >= retention_ms
                if expired and not self.offsets.has_pending_transaction(group.group_id, topic, partition):
                    yield group.group_id, topic, partition


def _parts(records: Sequence[CoordinatorRecord]) -> Iterator[list[CoordinatorRecord]]:
    part: list[CoordinatorRecord] = []
    size = 0
    for record in records:
        if size > _BATCH_BYTES_MAX:
            yield part
            part, size = [], 0
        part.append(record)
        size += len(record.key) + len(record.value or b"")
    if part:
        yield part

"""The committed offsets of the groups of one shard.

Owns: group -> topic -> partition -> CommittedOffset; what transactions have not decided yet, by producer id; and for
what is not below the high watermark yet, what stood there before.
Rules
- `put` and `remove` are called only by the replay of a record, live or while loading.
- A record above the high watermark is visible to decisions at once and to readers when it is committed:
  `read_committed` answers with the last committed value until `commit_up_to` has passed the record.
- An offset of a transaction is pending until its marker: then the newer of the two records wins, since compaction may
  keep a transactional record that is older than a plain one.
Not here: whether a group may commit or delete (shard), record formats (records).
Sources: KIP-98, KIP-447 (require_stable), Kafka's OffsetMetadataManager.
"""

from collections import deque
from collections.abc import Iterator

import attrs

from wire.schema import ZERO_UUID, Uuid


@attrs.frozen
class CommittedOffset:
    offset: int
    leader_epoch: int  # of the last consumed record, -1 if unknown
    metadata: str
    commit_timestamp_ms: int
    expire_timestamp_ms: int | None = None  # only where an old client set a retention time
    topic_id: Uuid = ZERO_UUID
    record_offset: int = -1  # of the record in __consumer_offsets

    def is_of_other_topic(self, topic_id: Uuid) -> bool:
        """Say whether it was committed to a deleted topic of the same name; an unknown id matches any."""
        return topic_id not in (ZERO_UUID, self.topic_id) and self.topic_id != ZERO_UUID


Key = tuple[str, str, int]  # group id, topic, partition
TopicOffsets = dict[str, dict[int, CommittedOffset]]


class OffsetTable:
    """group -> topic -> partition -> offset, without empty maps."""

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        self._groups: dict[str, TopicOffsets] = {}

    def group(self, group_id: str) -> TopicOffsets:
        return self._groups.get(group_id, {})

    def group_ids(self) -> list[str]:
        return list(self._groups)

    def get(self, key: Key) -> CommittedOffset | None:
        group_id, topic, partition = key
        return self.group(group_id).get(topic, {}).get(partition)

    def put(self, key: Key, committed: CommittedOffset) -> None:
        group_id, topic, partition = key
        self._groups.setdefault(group_id, {}).setdefault(topic, {})[partition] = committed

    def remove(self, key: Key) -> None:
        group_id, topic, partition = key
        topics = self._groups.get(group_id)
        partitions = topics.get(topic) if topics else None
        if topics is None or partitions is None:
            return
        partitions.pop(partition, None)
        if not partitions:
            del topics[topic]
        if not topics:
            del self._groups[group_id]

    def items(self) -> Iterator[tuple[Key, CommittedOffset]]:
        for group_id, topics in self._groups.items():
            for topic, partitions in topics.items():
                for partition, committed in partitions.items():
                    yield (group_id, topic, partition), committed


class OffsetStore:
    def __init__(self) -> None:
        self._offsets = OffsetTable()
        self._pending: dict[int, OffsetTable] = {}  # by producer id
        self._before: dict[Key, deque[tuple[int, CommittedOffset | None]]] = {}
        self._uncommitted: deque[tuple[int, Key]] = deque()  # record offset, in the order of the log

    def group(self, group_id: str) -> TopicOffsets:
        """Return the newest offsets of a group, committed or not, by topic and partition; what decisions rest on."""
        return self._offsets.group(group_id)

    def read_committed(self, group_id: str) -> TopicOffsets:
        """Return what is committed of a group, by topic and partition."""
        newest = self._offsets.group(group_id)
        hidden = [key for key in self._before if key[0] == group_id]
        if not hidden:
            return newest
        table = {topic: dict(partitions) for topic, partitions in newest.items()}
        for key in hidden:
            _, topic, partition = key
            committed = self._committed(key)
            if committed is not None:
                table.setdefault(topic, {})[partition] = committed
            else:
                table.get(topic, {}).pop(partition, None)
        return {topic: partitions for topic, partitions in table.items() if partitions}

    def has_pending_transaction(self, group_id: str, topic: str, partition: int) -> bool:
        return any(table.get((group_id, topic, partition)) for table in self._pending.values())

    def keys_of_group(self, group_id: str) -> list[Key]:
        """Return each partition with an offset, or with one that a transaction has not decided."""
        return list(dict.fromkeys(key for table in self._tables() for key in _keys(group_id, table.group(group_id))))

    def keys_of_topic(self, topic: str) -> list[Key]:
        return list(
            dict.fromkeys(
                (group_id, topic, partition)
                for table in self._tables()
                for group_id in table.group_ids()
                for partition in table.group(group_id).get(topic, ())
            )
        )

    def put(self, key: Key, committed: CommittedOffset, *, producer_id: int = -1, is_committed: bool = True) -> None:
        if producer_id >= 0:
            self._pending.setdefault(producer_id, OffsetTable()).put(key, committed)
            return
        self._remember(key, committed.record_offset, is_committed)
        self._offsets.put(key, committed)

    def remove(self, key: Key, *, record_offset: int, is_committed: bool = True) -> None:
        self._remember(key, record_offset, is_committed)
        self._offsets.remove(key)
        for producer_id, table in list(self._pending.items()):
            table.remove(key)
            if not table.group_ids():
                del self._pending[producer_id]

    def complete_transaction(
        self, producer_id: int, *, commit: bool, record_offset: int, is_committed: bool = True
    ) -> None:
        """Apply a transaction marker that stands at `record_offset`."""
        table = self._pending.pop(producer_id, None)
        if table is None or not commit:
            return
        for key, committed in table.items():
            current = self._offsets.get(key)
            if current is None or committed.record_offset > current.record_offset:
                self._remember(key, record_offset, is_committed)
                self._offsets.put(key, committed)

    def commit_up_to(self, high_watermark: int) -> None:
        """Make visible what stands below `high_watermark` (exclusive)."""
        while self._uncommitted and self._uncommitted[0][0] < high_watermark:
            _, key = self._uncommitted.popleft()
            before = self._before[key]
            before.popleft()
            if not before:
                del self._before[key]

    def _tables(self) -> list[OffsetTable]:
        return [self._offsets, *self._pending.values()]

    def _committed(self, key: Key) -> CommittedOffset | None:
        before = self._before.get(key)
        return before[0][1] if before else self._offsets.get(key)

    def _remember(self, key: Key, record_offset: int, is_committed: bool) -> None:
        if not is_committed:
            self._before.setdefault(key, deque()).append((record_offset, self._offsets.get(key)))
            self._uncommitted.append((record_offset, key))


def _keys(group_id: str, topics: TopicOffsets) -> Iterator[Key]:
    for topic, partitions in topics.items():
        for partition in partitions:
            yield group_id, topic, partition

"""Which partitions of a follower's fetch session have news, so that a fetch costs what changed, not what is followed.

A follower of thousands of partitions asks several thousand times a second while one of them is written to. Kafka's
leader looks at all of them each time; here the others cost nothing.

Owns: the subscriptions of one session to the partitions in it; which entries are due.

Rules
- An entry is due until it is quiet: the follower is in sync and has all that there is, all of that is committed, and it
  was told so. An append, a moved high watermark, another epoch or ISR makes it due again.
- An error keeps its entry due: it is told in every answer.
- A quiet entry is caught up at each fetch of the session, although nobody looks at it: this is noted when it ends.
- Whoever ends the session closes this, too.

Not here: the session's requests (fetch_session), what an entry is answered with (handlers.fetch).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pykbroker.replication.isr import NEVER
from pykbroker.replication.partition import Partition

if TYPE_CHECKING:
    from pykbroker.replication.fetch_session import Key, SessionPartition


class FollowerSession:
    def __init__(self, replica_id: int, entries: dict[Key, SessionPartition]) -> None:
        self.due: dict[Key, SessionPartition] = dict(entries)  # in the order in which they have their turn
        self._replica_id = replica_id
        self._broker_epoch = -1
        self._last_fetch_ms = NEVER
        self._watches: dict[Key, _Watch] = {}
        self._look: Callable[[], None] | None = None  # of a fetch that waits for data
        self._release: Callable[[], None] | None = None  # of one that is not to wait when a high watermark moves

    def begin_fetch(
        self, entries: dict[Key, SessionPartition], named: Iterable[Key], *, broker_epoch: int, now_ms: float
    ) -> None:
        """A request came: what it names is due. From another life of the broker, everything is."""
        if broker_epoch != self._broker_epoch:
            self._broker_epoch = broker_epoch
            self.due = dict(entries)
        self.due.update((key, entries[key]) for key in named)
        self._last_fetch_ms = now_ms

    def looked_at(self, entry: SessionPartition, partition: Partition, *, has_records: bool) -> None:
        """A due entry was read without an error."""
        key = entry.key
        watch = self._watches.get(key)
        if watch is None or watch.partition is not partition:
            if watch is not None:
                watch.end()
            watch = self._watches[key] = _Watch(self, entry, partition)
        watch.leader_epoch = partition.leader_epoch
        if has_records:
            self.due[key] = self.due.pop(key, entry)  # the others have their turn first
        elif (
            entry.wanted.fetch_offset == partition.log.log_end_offset == partition.high_watermark
            and entry.high_watermark == partition.high_watermark
            and entry.log_start_offset == partition.log.log_start_offset
            and self._replica_id in partition.isr
        ):
            self.due.pop(key, None)

    def bytes_available(self, wanted_bytes: int, held_back: Callable[[Partition], bool] | None = None) -> int:
        """How much there is to read now, or as much as is wanted where reading would end in an error."""
        available = 0
        for key, entry in self.due.items():
            watch = self._watches[key]
            partition, offset = watch.partition, entry.wanted.fetch_offset
            if (
                partition.leader_epoch != watch.leader_epoch
                or self._replica_id not in partition.followers
                or offset < partition.log.log_start_offset
            ):
                return max(wanted_bytes, 1)
            if offset < partition.log.log_end_offset and not (held_back is not None and held_back(partition)):
                available += partition.log.bytes_from(offset, partition.log.log_end_offset)
        return available

    def wait(self, look: Callable[[], None], release: Callable[[], None] | None) -> None:
        """A fetch waits: call `look` when there may be data, and `release`, if given, when a high watermark moved."""
        self._look, self._release = look, release

    def wait_no_more(self) -> None:
        self._look = self._release = None

    def forget(self, key: Key) -> None:
        """The partition leaves the session."""
        self.due.pop(key, None)
        watch = self._watches.pop(key, None)
        if watch is not None:
            watch.end()

    def close(self) -> None:
        for watch in self._watches.values():
            watch.end()
        self._watches.clear()
        self.due.clear()

    def appended(self, watch: _Watch) -> None:
        """Something happened to a partition; most of the time there is data."""
        entry = watch.entry
        if entry.key not in self.due:
            self.due[entry.key] = entry
            follower = watch.partition.followers.get(self._replica_id)
            if follower is not None:
                follower.was_caught_up(self._last_fetch_ms)
        if self._look is not None:
            self._look()

    def committed(self, watch: _Watch) -> None:
        """A high watermark moved: to be told in the next answer."""
        self.due.setdefault(watch.entry.key, watch.entry)
        if self._release is not None:
            self._release()


class _Watch:
    """The subscription of a session to one partition."""

    __slots__ = ("_session", "entry", "leader_epoch", "partition")

    def __init__(self, session: FollowerSession, entry: SessionPartition, partition: Partition) -> None:
        self._session = session
        self.entry = entry
        self.partition = partition
        self.leader_epoch = partition.leader_epoch  # when it was last looked at
        partition.appended.subscribe(self._appended)
        partition.high_watermark_moved.subscribe(self._committed)

    def end(self) -> None:
        self.partition.appended.unsubscribe(self._appended)
        self.partition.high_watermark_moved.unsubscribe(self._committed)

    def _appended(self) -> None:
        self._session.appended(self)

    def _committed(self) -> None:
        self._session.committed(self)

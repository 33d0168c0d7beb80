"""Incremental fetch sessions: a consumer names its partitions once, and then only what changes.

Owns: the sessions and what each remembers of its partitions.

Rules, by (session id, epoch) of the request
- (0, -1) no session; (0, 0) all partitions are named and a session is wanted; (id, 0) the same, and `id` ends;
  (id, -1) `id` ends; (id, n) the next request of `id`: its topics are added or changed, its forgotten ones removed.
- An answer within a session leaves out partitions of which there is nothing new; errors are always told, and again in
  the next answer. Partitions that had data go to the end of the line, so that a small `max_bytes` starves none.
- At most `max_sessions`. A new one takes the place of one unused for longer than `eviction_ms`, or of a smaller one
  that is at least that old; otherwise the client gets session id 0 and goes on without.
- Sessions are privileged where they belong to followers: those are evicted only for other followers. They remember
  what of them has news (follower_session).

Source: KIP-227; Kafka's `FetchSession`.
"""

import os
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

import attrs

from pykbroker.clock import Clock
from pykbroker.replication.follower_session import FollowerSession
from wire.errors import ErrorCode
from wire.schema import Uuid

if TYPE_CHECKING:  # the messages themselves are imported with the first fetch
    from wire.messages.fetch import FetchPartition, FetchRequest, PartitionData

NO_SESSION = 0
INITIAL_EPOCH = 0
FINAL_EPOCH = -1
MAX_EPOCH = 2**31 - 1

Key = tuple[str, Uuid, int]  # name (empty where topics go by id), id (zero where they go by name), partition


@attrs.define(eq=False)
class SessionPartition:
    """What a client wants of a partition, and what it was told last."""

    topic: str
    topic_id: Uuid
    wanted: "FetchPartition"
    high_watermark: int = -1
    log_start_offset: int = -1

    @property
    def key(self) -> Key:
        return self.topic, self.topic_id, self.wanted.partition

    def is_news(self, data: "PartitionData") -> bool:
        """Tell whether an incremental answer must contain `data`, and remember it as told."""
        news = (
            (data.records is not None and len(data.records) > 0)
            or data.high_watermark != self.high_watermark
            or data.log_start_offset != self.log_start_offset
            or data.preferred_read_replica != -1
            or data.error_code != ErrorCode.NONE
            or data.diverging_epoch.epoch != -1
        )
        # After an error nothing counts as told, so that the next answer says how it ended.
        self.high_watermark = data.high_watermark if data.error_code == ErrorCode.NONE else -1
        self.log_start_offset = data.log_start_offset
        return news


@attrs.define(eq=False)
class FetchSession:
    id: int
    uses_topic_ids: bool
    follower: FollowerSession | None  # of a follower, whose sessions are privileged
    partitions: dict[Key, SessionPartition]
    created_ms: float
    last_used_ms: float
    epoch: int = 1  # of the next request

    @property
    def is_privileged(self) -> bool:
        return self.follower is not None


@attrs.define(eq=False)
class FetchContext:
    """The partitions that one Fetch request is about. `error_code` answers the request as a whole."""

    partitions: dict[Key, SessionPartition]
    session: FetchSession | None = None
    named: list[Key] = attrs.field(factory=list)  # of an incremental request: what is new or changed
    wants_session: bool = False
    error_code: ErrorCode = ErrorCode.NONE


class FetchSessions:
    def __init__(self, clock: Clock, *, max_sessions: int, eviction_ms: int = 120_000) -> None:
        self._clock = clock
        self._max_sessions = max_sessions
        self._eviction_ms = eviction_ms
        self.evictions_total = 0
        self._sessions: dict[int, FetchSession] = {}  # least recently used first

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session_id: int) -> FetchSession | None:
        return self._sessions.get(session_id)

    def count_partitions(self) -> int:
        """How many partitions all sessions remember together."""
        return sum(len(session.partitions) for session in self._sessions.values())

    def partitions_of(self, session_id: int) -> Collection[Key]:
        """Return what a session is about; nothing if there is no such session."""
        session = self._sessions.get(session_id)
        return () if session is None else session.partitions.keys()

    def tell_again(self, session_id: int, keys: Iterable[Key]) -> None:
        """Have the next answer say everything of these partitions: the last one did not reach the client as it was."""
        session = self._sessions.get(session_id)
        if session is not None:
            for key in keys:
                if key in session.partitions:
                    session.partitions[key].high_watermark = -1

    def begin(self, request: "FetchRequest", *, uses_topic_ids: bool) -> FetchContext:
        """Find out which partitions a request is about."""
        if request.session_epoch in (INITIAL_EPOCH, FINAL_EPOCH):
            self._end(self._sessions.get(request.session_id))
            return FetchContext(_named(request), wants_session=request.session_epoch == INITIAL_EPOCH)
        session = self._sessions.get(request.session_id)
        if session is None:
            return FetchContext({}, error_code=ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
        if session.epoch != request.session_epoch:
            return FetchContext({}, error_code=ErrorCode.INVALID_FETCH_SESSION_EPOCH)
        if session.uses_topic_ids != uses_topic_ids:
            return FetchContext({}, error_code=ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
        named = _update(session, request)
        if not session.partitions:
            self._end(session)
            return FetchContext({})
        session.epoch = 1 if session.epoch == MAX_EPOCH else session.epoch + 1
        session.last_used_ms = self._clock.monotonic_ms()
        self._sessions[session.id] = self._sessions.pop(session.id)
        return FetchContext(session.partitions, session, named)

    def open(self, context: FetchContext, *, uses_topic_ids: bool, replica_id: int = -1) -> int:
        """Start the session that a full fetch asked for and return its id, or 0 if there is no room.

        `replica_id` is the follower's, -1 for a consumer.
        """
        now = self._clock.monotonic_ms()
        is_privileged = replica_id >= 0
        if len(self._sessions) >= self._max_sessions and not self._evict(len(context.partitions), is_privileged, now):
            return NO_SESSION
        session_id = NO_SESSION
        while session_id == NO_SESSION or session_id in self._sessions:
            session_id = int.from_bytes(os.urandom(4), "big") & MAX_EPOCH
        follower = FollowerSession(replica_id, context.partitions) if is_privileged else None
        session = FetchSession(session_id, uses_topic_ids, follower, context.partitions, now, now)
        self._sessions[session_id] = session
        return session_id

    def _end(self, session: FetchSession | None) -> None:
        if session is not None:
            del self._sessions[session.id]
            if session.follower is not None:
                session.follower.close()

    def _evict(self, size: int, is_privileged: bool, now: float) -> bool:
        if not self._sessions:
            return False
        oldest = next(iter(self._sessions.values()))
        if now - oldest.last_used_ms > self._eviction_ms:
            self.evictions_total += 1
            self._end(oldest)
            return True
        evictable = (
            session
            for session in self._sessions.values()
            if now - session.created_ms > self._eviction_ms and (is_privileged or not session.is_privileged)
        )
        smallest = min(evictable, key=lambda session: (session.is_privileged, len(session.partitions)), default=None)
        if smallest is None or (len(smallest.partitions) >= size and smallest.is_privileged == is_privileged):
            return False
        self.evictions_total += 1
        self._end(smallest)
        return True


def _named(request: "FetchRequest") -> dict[Key, SessionPartition]:
    return {
        (topic.topic, topic.topic_id, partition.partition): SessionPartition(topic.topic, topic.topic_id, partition)
        for topic in request.topics
        for partition in topic.partitions
    }


def _update(session: FetchSession, request: "FetchRequest") -> list[Key]:
    """Take over what an incremental request says; return the partitions that it names, and does not forget."""
    named: list[Key] = []
    for topic in request.topics:
        for partition in topic.partitions:
            key = (topic.topic, topic.topic_id, partition.partition)
            named.append(key)
            known = session.partitions.get(key)
            if known is None:
                session.partitions[key] = SessionPartition(topic.topic, topic.topic_id, partition)
            else:
                known.wanted = partition
    for forgotten in request.forgotten_topics_data:
        for index in forgotten.partitions:
            key = (forgotten.topic, forgotten.topic_id, index)
            session.partitions.pop(key, None)
            if session.follower is not None:
                session.follower.forget(key)
    return [key for key in named if key in session.partitions] if request.forgotten_topics_data else named

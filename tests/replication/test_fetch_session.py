import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.replication.fetch_session import FetchContext, FetchSessions
from wire.errors import ErrorCode
from wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic, PartitionData

EVICTION_MS = 120_000


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock()


@pytest.fixture
def sessions(clock: SimulatedClock) -> FetchSessions:
    return FetchSessions(clock, max_sessions=2, eviction_ms=EVICTION_MS)


def request(session_id: int, epoch: int, *indexes: int, forgotten: tuple[int, ...] = ()) -> FetchRequest:
    return FetchRequest(
        session_id=session_id,
        session_epoch=epoch,
        topics=[FetchTopic("t", partitions=[FetchPartition(partition=index) for index in indexes])] if indexes else [],
        forgotten_topics_data=[ForgottenTopic("t", partitions=list(forgotten))] if forgotten else [],
    )


def begin(sessions: FetchSessions, wanted: FetchRequest) -> FetchContext:
    return sessions.begin(wanted, uses_topic_ids=False)


def open_session(sessions: FetchSessions, *indexes: int, is_privileged: bool = False) -> int:
    context = begin(sessions, request(0, 0, *indexes))
    return sessions.open(context, uses_topic_ids=False, replica_id=5 if is_privileged else -1)


def indexes_of(context: FetchContext) -> list[int]:
    return [key[2] for key in context.partitions]


def test_request_without_session_names_its_partitions(sessions: FetchSessions) -> None:
    context = begin(sessions, request(0, -1, 0, 1))
    assert indexes_of(context) == [0, 1]
    assert not context.wants_session


def test_incremental_request_adds_and_forgets_partitions(sessions: FetchSessions) -> None:
    session_id = open_session(sessions, 0, 1)
    assert indexes_of(begin(sessions, request(session_id, 1))) == [0, 1]
    assert indexes_of(begin(sessions, request(session_id, 2, 5, forgotten=(0,)))) == [1, 5]


def test_wrong_epoch_is_invalid_and_does_not_advance(sessions: FetchSessions) -> None:
    session_id = open_session(sessions, 0)
    assert begin(sessions, request(session_id, 2)).error_code == ErrorCode.INVALID_FETCH_SESSION_EPOCH
    assert begin(sessions, request(session_id, 1)).error_code == ErrorCode.NONE


def test_unknown_session_is_not_found(sessions: FetchSessions) -> None:
    assert begin(sessions, request(12345, 1)).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_session_of_names_does_not_serve_topic_ids(sessions: FetchSessions) -> None:
    session_id = open_session(sessions, 0)
    context = sessions.begin(request(session_id, 1), uses_topic_ids=True)
    assert context.error_code == ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR


def test_final_epoch_closes_the_session(sessions: FetchSessions) -> None:
    session_id = open_session(sessions, 0)
    begin(sessions, request(session_id, -1))
    assert len(sessions) == 0
    assert begin(sessions, request(session_id, 1)).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND


def test_session_without_partitions_left_ends(sessions: FetchSessions) -> None:
    session_id = open_session(sessions, 0)
    assert indexes_of(begin(sessions, request(session_id, 1, forgotten=(0,)))) == []
    assert len(sessions) == 0


def test_full_cache_refuses_a_young_competitor_of_the_same_size(sessions: FetchSessions) -> None:
    open_session(sessions, 0)
    open_session(sessions, 1)
    assert open_session(sessions, 2) == 0
    assert len(sessions) == 2


def test_session_unused_for_long_gives_way(sessions: FetchSessions, clock: SimulatedClock) -> None:
    stale = open_session(sessions, 0)
    clock.advance(EVICTION_MS)
    used = open_session(sessions, 1)
    clock.advance(1)
    assert open_session(sessions, 2) != 0
    assert begin(sessions, request(stale, 1)).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert begin(sessions, request(used, 1)).error_code == ErrorCode.NONE


def test_old_but_used_session_gives_way_only_to_a_larger_one(sessions: FetchSessions, clock: SimulatedClock) -> None:
    first, second = open_session(sessions, 0), open_session(sessions, 1, 2)
    clock.advance(EVICTION_MS + 1)
    for session_id in (first, second):
        begin(sessions, request(session_id, 1))
    assert open_session(sessions, 5) == 0
    assert open_session(sessions, 5, 6) != 0
    assert begin(sessions, request(first, 2)).error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert begin(sessions, request(second, 2)).error_code == ErrorCode.NONE


def test_follower_session_is_not_evicted_for_a_consumer(sessions: FetchSessions, clock: SimulatedClock) -> None:
    ids = [open_session(sessions, index, is_privileged=True) for index in range(2)]
    clock.advance(EVICTION_MS + 1)
    for session_id in ids:
        begin(sessions, request(session_id, 1))
    assert open_session(sessions, 5, 6, 7) == 0
    assert open_session(sessions, 5, 6, 7, is_privileged=True) != 0


def test_news_is_told_once_and_errors_every_time(sessions: FetchSessions) -> None:
    context = begin(sessions, request(0, 0, 0))
    (entry,) = context.partitions.values()
    quiet = PartitionData(high_watermark=5, log_start_offset=0, records=b"")
    assert entry.is_news(quiet)
    assert not entry.is_news(quiet)
    assert entry.is_news(PartitionData(high_watermark=5, log_start_offset=0, records=b"x"))
    assert entry.is_news(PartitionData(high_watermark=6, log_start_offset=0, records=b""))
    failed = PartitionData(error_code=ErrorCode.NOT_LEADER_OR_FOLLOWER, high_watermark=-1, log_start_offset=0)
    assert entry.is_news(failed)
    assert entry.is_news(failed)
    assert entry.is_news(PartitionData(high_watermark=6, log_start_offset=0, records=b""))

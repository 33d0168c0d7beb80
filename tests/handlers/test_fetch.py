import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from pykbroker.cluster.image import BrokerImage
from tests.handlers.rig import ANOTHER_BROKER, BROKER_ID, TOPIC_ID, HandlerRig, topic
from wire.errors import ErrorCode
from wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic
from wire.records import Record, build_batch, iter_batches, read_records

T = topic("t", TOPIC_ID, 3)
ALL_VERSIONS = range(4, 19)
NO_SESSION = -1
NEW_SESSION = 0


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[HandlerRig]:
    rig = HandlerRig(tmp_path)
    rig.set_topics(T)
    yield rig
    rig.close()


def append(rig: HandlerRig, index: int, *values: bytes) -> None:
    records = [Record(offset, 1_700_000_000_000, None, value, ()) for offset, value in enumerate(values)]
    rig.replicas.partition("t", index).append(memoryview(build_batch(records)), acks=1)


def request(*offsets: tuple[int, int], epoch: int = NO_SESSION, **fields: Any) -> FetchRequest:
    partition_fields = {
        name: fields.pop(name) for name in ("partition_max_bytes", "current_leader_epoch") if name in fields
    }
    partitions = [
        FetchPartition(partition=index, fetch_offset=offset, **{"partition_max_bytes": 1 << 20, **partition_fields})
        for index, offset in offsets
    ]
    topics = [FetchTopic("t", TOPIC_ID, partitions)] if partitions else []
    return FetchRequest(session_epoch=epoch, topics=topics, **{"max_wait_ms": 0, "min_bytes": 1, **fields})


def partitions_of(response: Any) -> list[Any]:
    return [partition for topic in response.responses for partition in topic.partitions]


def values_of(partition: Any) -> list[bytes]:
    return [record.value for _, batch in iter_batches(partition.records) for record in read_records(batch)]


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_fetch_of_every_version_returns_records_and_offsets(rig: HandlerRig, version: int) -> None:
    append(rig, 0, b"a", b"b")
    append(rig, 0, b"c")
    (partition,) = partitions_of(rig.call(request((0, 0)), version))
    assert partition.error_code == ErrorCode.NONE
    assert values_of(partition) == [b"a", b"b", b"c"]
    assert (partition.high_watermark, partition.last_stable_offset) == (3, 3)


def test_fetch_from_the_middle_of_a_batch_returns_the_whole_batch(rig: HandlerRig) -> None:
    append(rig, 0, b"a", b"b")
    append(rig, 0, b"c", b"d")
    (partition,) = partitions_of(rig.call(request((0, 3))))
    assert values_of(partition) == [b"c", b"d"]


@pytest.mark.parametrize(
    ("index", "offset", "code"),
    [
        (0, 2, ErrorCode.OFFSET_OUT_OF_RANGE),
        (0, -1, ErrorCode.OFFSET_OUT_OF_RANGE),
        (8, 0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        (-1, 0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ],
)
def test_fetch_of_what_is_not_there_is_answered_at_once(
    rig: HandlerRig, index: int, offset: int, code: ErrorCode
) -> None:
    append(rig, 0, b"a")
    (partition,) = partitions_of(rig.call(request((index, offset), max_wait_ms=10_000)))
    assert partition.error_code == code
    assert partition.high_watermark == -1
    assert bytes(partition.records) == b""


def test_fetch_below_log_start_returns_offset_out_of_range(rig: HandlerRig) -> None:
    append(rig, 0, b"a", b"b")
    append(rig, 0, b"c")
    rig.replicas.partition("t", 0).delete_records(2)
    (partition,) = partitions_of(rig.call(request((0, 1))))
    assert partition.error_code == ErrorCode.OFFSET_OUT_OF_RANGE


def test_fetch_with_another_leader_epoch_is_fenced(rig: HandlerRig) -> None:
    append(rig, 0, b"a")
    (newer,) = partitions_of(rig.call(request((0, 0), current_leader_epoch=9)))
    assert newer.error_code == ErrorCode.UNKNOWN_LEADER_EPOCH


def test_fetch_where_there_is_no_replica_names_the_leader(rig: HandlerRig) -> None:
    rig.set_topics(topic("t", TOPIC_ID, 3, leader=ANOTHER_BROKER, replicas=(ANOTHER_BROKER,)))
    (partition,) = partitions_of(rig.call(request((0, 0))))
    assert partition.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert partition.current_leader.leader_id == ANOTHER_BROKER


def test_consumer_reads_from_a_follower_what_that_knows_to_be_committed(rig: HandlerRig) -> None:
    append(rig, 0, b"a")
    append(rig, 0, b"b")
    rig.set_topics(topic("t", TOPIC_ID, 3, leader=ANOTHER_BROKER, leader_epoch=1))
    follower = rig.replicas.partition("t", 0)
    follower.truncate_to(1)
    assert (follower.high_watermark, follower.log.log_end_offset) == (1, 1)
    (partition,) = partitions_of(rig.call(request((0, 0)), 11))
    assert (partition.error_code, values_of(partition)) == (ErrorCode.NONE, [b"a"])
    (older,) = partitions_of(rig.call(request((0, 0)), 10))
    assert older.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    (beyond,) = partitions_of(rig.call(request((0, 2)), 11))
    assert beyond.error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    (fenced,) = partitions_of(rig.call(request((0, 0), current_leader_epoch=0), 11))
    assert fenced.error_code == ErrorCode.FENCED_LEADER_EPOCH


def test_consumer_that_waits_learns_of_another_leader(rig: HandlerRig) -> None:
    answered = rig.send(request((0, 0), current_leader_epoch=0, max_wait_ms=500), 12)
    rig.set_topics(topic("t", TOPIC_ID, 3, leader=ANOTHER_BROKER, leader_epoch=1))
    assert partitions_of(answered.response)[0].error_code == ErrorCode.FENCED_LEADER_EPOCH


def test_fetch_at_the_end_waits_for_an_append(rig: HandlerRig) -> None:
    append(rig, 0, b"a")
    answered = rig.send(request((0, 1), (1, 0), max_wait_ms=500), 12)
    assert answered.response is None
    append(rig, 1, b"b")
    quiet, moved = partitions_of(answered.response)
    assert bytes(quiet.records) == b""
    assert values_of(moved) == [b"b"]


def test_fetch_waits_until_there_are_min_bytes(rig: HandlerRig) -> None:
    answered = rig.send(request((0, 0), max_wait_ms=500, min_bytes=150), 12)
    append(rig, 0, b"a")
    assert answered.response is None
    append(rig, 0, b"x" * 100)
    assert values_of(partitions_of(answered.response)[0]) == [b"a", b"x" * 100]


def test_fetch_answers_what_there_is_after_max_wait(rig: HandlerRig) -> None:
    answered = rig.send(request((0, 0), max_wait_ms=500, min_bytes=1000), 12)
    append(rig, 0, b"a")
    rig.clock.advance(499)
    assert answered.response is None
    rig.clock.advance(1)
    assert values_of(partitions_of(answered.response)[0]) == [b"a"]


def test_waiting_fetch_learns_that_its_topic_was_deleted(rig: HandlerRig) -> None:
    answered = rig.send(request((0, 0), max_wait_ms=500), 12)
    rig.set_topics()
    assert partitions_of(answered.response)[0].error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def test_waiting_fetch_leaves_no_subscription_behind(rig: HandlerRig) -> None:
    answered = rig.send(request((0, 0), max_wait_ms=500), 12)
    assert answered.parked is not None
    answered.parked.cancel()
    append(rig, 0, b"a")
    rig.clock.advance(1000)
    assert answered.response is None


def test_first_batch_larger_than_the_limits_comes_whole(rig: HandlerRig) -> None:
    append(rig, 0, b"x" * 5000)
    append(rig, 1, b"y" * 5000)
    first, second = partitions_of(rig.call(request((0, 0), (1, 0), max_bytes=100, partition_max_bytes=100)))
    assert values_of(first) == [b"x" * 5000]
    assert bytes(second.records) == b""


def test_brokers_own_limit_bounds_an_answer_too(rig: HandlerRig) -> None:
    for index in range(2):
        append(rig, index, bytes(1000))
    rig.config.fetch_max_bytes = 1024
    wanted = request((0, 0), (1, 0), max_bytes=1 << 20, min_bytes=1 << 19, max_wait_ms=1000)
    first, second = partitions_of(rig.call(wanted))  # and it does not wait for more than that
    assert [bool(values_of(first)), bool(second.records)] == [True, False]


def test_max_bytes_bounds_the_whole_answer(rig: HandlerRig) -> None:
    for index in range(3):
        append(rig, index, b"x" * 1000)
    sizes = [
        len(partition.records) for partition in partitions_of(rig.call(request((0, 0), (1, 0), (2, 0), max_bytes=1500)))
    ]
    assert sizes[0] > 1000
    assert sum(sizes) <= 1500
    assert sizes[2] == 0


def test_session_tells_only_what_is_new(rig: HandlerRig) -> None:
    append(rig, 0, b"a")
    opened = rig.call(request((0, 1), (1, 0), (2, 0), epoch=NEW_SESSION))
    assert opened.session_id > 0
    assert len(partitions_of(opened)) == 3
    quiet = rig.call(request(epoch=1, session_id=opened.session_id))
    assert quiet.session_id == opened.session_id
    assert partitions_of(quiet) == []
    append(rig, 2, b"c")
    (news,) = partitions_of(rig.call(request(epoch=2, session_id=opened.session_id)))
    assert (news.partition_index, values_of(news)) == (2, [b"c"])


def test_session_puts_what_had_data_at_the_end_of_the_line(rig: HandlerRig) -> None:
    for index in range(2):
        append(rig, index, b"x" * 1000)
    opened = rig.call(request((0, 0), (1, 0), epoch=NEW_SESSION, max_bytes=1))
    assert [len(partition.records) > 0 for partition in partitions_of(opened)] == [True, False]
    served = [
        partitions_of(rig.call(request(epoch=epoch, session_id=opened.session_id, max_bytes=1)))[0].partition_index
        for epoch in (1, 2, 3)
    ]
    assert served in ([0, 1, 0], [1, 0, 1])


def test_session_forgets_a_partition(rig: HandlerRig) -> None:
    opened = rig.call(request((0, 0), (1, 0), epoch=NEW_SESSION))
    forget = request(epoch=1, session_id=opened.session_id)
    forget.forgotten_topics_data = [ForgottenTopic("t", TOPIC_ID, [0])]
    rig.call(forget)
    append(rig, 0, b"a")
    append(rig, 1, b"b")
    told = partitions_of(rig.call(request(epoch=2, session_id=opened.session_id)))
    assert [partition.partition_index for partition in told] == [1]


def test_unknown_session_fails_the_whole_request(rig: HandlerRig) -> None:
    response = rig.call(request(epoch=4, session_id=77))
    assert response.error_code == ErrorCode.FETCH_SESSION_ID_NOT_FOUND
    assert response.responses == []


def test_read_committed_lists_no_aborted_transactions_where_there_are_none(rig: HandlerRig) -> None:
    append(rig, 0, b"a")
    (committed,) = partitions_of(rig.call(request((0, 0), isolation_level=1)))
    (uncommitted,) = partitions_of(rig.call(request((0, 0), isolation_level=0)))
    assert committed.aborted_transactions == []
    assert uncommitted.aborted_transactions is None


def test_fetch_by_an_unknown_topic_id_is_unknown_topic_id(rig: HandlerRig) -> None:
    unknown = request((0, 0))
    unknown.topics[0].topic_id = b"?" * 16
    (partition,) = partitions_of(rig.call(unknown))
    assert partition.error_code == ErrorCode.UNKNOWN_TOPIC_ID


# Followers


IN_SYNC = topic("t", TOPIC_ID, 3, isr=(BROKER_ID, ANOTHER_BROKER))


def of_follower(*offsets: tuple[int, int], replica_id: int = ANOTHER_BROKER, **fields: Any) -> FetchRequest:
    asked = request(*offsets, **fields)
    asked.replica_state.replica_id = replica_id
    return asked


@pytest.mark.parametrize("replica_id", [BROKER_ID, 99])
@pytest.mark.parametrize(
    ("leader_epoch", "code"), [(-1, ErrorCode.NOT_LEADER_OR_FOLLOWER), (0, ErrorCode.UNKNOWN_LEADER_EPOCH)]
)
def test_fetch_of_a_broker_that_is_no_follower_is_refused(
    rig: HandlerRig, replica_id: int, leader_epoch: int, code: ErrorCode
) -> None:
    append(rig, 0, b"a")
    (partition,) = partitions_of(
        rig.call(of_follower((0, 0), replica_id=replica_id, current_leader_epoch=leader_epoch))
    )
    assert partition.error_code == code
    assert partition.records == b""
    (partition,) = partitions_of(rig.call(of_follower((0, 0))))
    assert partition.error_code == ErrorCode.NONE


def test_follower_reads_beyond_the_high_watermark_and_moves_it_with_its_next_fetch(rig: HandlerRig) -> None:
    rig.set_topics(IN_SYNC)
    append(rig, 0, b"a")
    (partition,) = partitions_of(rig.call(of_follower((0, 0))))
    assert (values_of(partition), partition.high_watermark) == ([b"a"], 0)
    consumer = rig.send(request((0, 0), max_wait_ms=500), 17)
    assert consumer.response is None
    (partition,) = partitions_of(rig.call(of_follower((0, 1))))
    assert (values_of(partition), partition.high_watermark) == ([], 1)
    assert values_of(partitions_of(consumer.response)[0]) == [b"a"]


def test_waiting_follower_is_woken_by_an_append(rig: HandlerRig) -> None:
    rig.set_topics(IN_SYNC)
    answered = rig.send(of_follower((0, 0), (1, 0), max_wait_ms=500), 17)
    assert answered.response is None
    append(rig, 1, b"b")
    assert [values_of(partition) for partition in partitions_of(answered.response)] == [[], [b"b"]]


def test_waiting_follower_learns_of_a_new_leader_epoch(rig: HandlerRig) -> None:
    rig.set_topics(IN_SYNC)
    answered = rig.send(of_follower((0, 0), current_leader_epoch=0, max_wait_ms=500), 17)
    rig.set_topics(topic("t", TOPIC_ID, 3, isr=(BROKER_ID, ANOTHER_BROKER), leader_epoch=1))
    assert partitions_of(answered.response)[0].error_code == ErrorCode.FENCED_LEADER_EPOCH


def test_follower_beyond_the_end_of_its_last_epoch_is_told_where_logs_part_and_counts_for_nothing(
    rig: HandlerRig,
) -> None:
    append(rig, 0, b"a")
    rig.set_topics(topic("t", TOPIC_ID, 3, isr=(BROKER_ID, ANOTHER_BROKER), leader_epoch=2))
    append(rig, 0, b"b")
    asked = of_follower((0, 2), max_wait_ms=500)
    asked.topics[0].partitions[0].last_fetched_epoch = 1
    (partition,) = partitions_of(rig.call(asked))
    assert (partition.diverging_epoch.epoch, partition.diverging_epoch.end_offset) == (0, 1)
    assert partition.records == b""
    assert rig.replicas.partition("t", 0).high_watermark == 1
    asked.topics[0].partitions[0].last_fetched_epoch = 2
    rig.call(of_follower((0, 2)))
    assert rig.replicas.partition("t", 0).high_watermark == 2


def test_offset_before_the_start_of_the_log_is_out_of_range_even_where_logs_part(rig: HandlerRig) -> None:
    append(rig, 0, b"a")
    append(rig, 0, b"b")
    rig.set_topics(topic("t", TOPIC_ID, 3, leader_epoch=2))
    append(rig, 0, b"c")
    rig.replicas.partition("t", 0).log.advance_log_start(1)
    wanted = FetchPartition(partition=0, fetch_offset=0, last_fetched_epoch=1, partition_max_bytes=1000)
    asked = FetchRequest(max_bytes=1000, topics=[FetchTopic(topic_id=TOPIC_ID, partitions=[wanted])])
    (partition,) = partitions_of(rig.call(asked))
    assert partition.error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    wanted.fetch_offset = 1
    (partition,) = partitions_of(rig.call(asked))
    assert (partition.diverging_epoch.epoch, partition.diverging_epoch.end_offset) == (0, 2)


def test_session_tells_a_follower_of_a_moved_high_watermark_alone(rig: HandlerRig) -> None:
    rig.set_topics(IN_SYNC)
    append(rig, 0, b"a")
    opened = rig.call(of_follower((0, 1), (1, 0), epoch=NEW_SESSION))
    assert [partition.high_watermark for partition in partitions_of(opened)] == [1, 0]
    append(rig, 0, b"b")
    (news,) = partitions_of(rig.call(of_follower(epoch=1, session_id=opened.session_id)))
    assert (values_of(news), news.high_watermark) == ([b"b"], 1)
    (news,) = partitions_of(rig.call(of_follower((0, 2), epoch=2, session_id=opened.session_id)))
    assert (values_of(news), news.high_watermark) == ([], 2)
    assert partitions_of(rig.call(of_follower(epoch=3, session_id=opened.session_id))) == []


# Followers' sessions: what is quiet is not looked at


MAX_LAG_MS = 30_000


def replicated(rig: HandlerRig, *, broker_epoch: int = 1, isr: tuple[int, ...] = (BROKER_ID, ANOTHER_BROKER)) -> Any:
    """Three partitions with both brokers in sync, and the follower's session, in which all is told."""
    follower = BrokerImage(ANOTHER_BROKER, None, {}, broker_epoch, False)
    rig.cluster.image = attrs.evolve(rig.cluster.image, brokers={ANOTHER_BROKER: follower})
    rig.set_topics(topic("t", TOPIC_ID, 3, isr=isr))
    opened = rig.call(of_follower((0, 0), (1, 0), (2, 0), epoch=NEW_SESSION))
    session_id: int = opened.session_id
    for epoch in (1, 2):
        assert partitions_of(rig.call(of_follower(epoch=epoch, session_id=session_id))) == []
    return session_id


def caught_up_ms(rig: HandlerRig) -> list[float]:
    return [rig.replicas.partition("t", index).followers[ANOTHER_BROKER].last_caught_up_ms for index in range(3)]


def test_quiet_partitions_are_not_looked_at_until_something_happens(rig: HandlerRig) -> None:
    session_id = replicated(rig)
    before = caught_up_ms(rig)
    rig.clock.advance(100)
    answered = rig.send(of_follower(epoch=3, session_id=session_id, max_wait_ms=500), 17)
    append(rig, 1, b"b")
    (news,) = partitions_of(answered.response)
    assert (news.partition_index, values_of(news)) == (1, [b"b"])
    after = caught_up_ms(rig)
    assert (after[0], after[1], after[2]) == (before[0], before[1] + 100, before[2])


def test_follower_of_a_partition_that_was_quiet_for_long_is_in_sync_when_something_is_appended(
    rig: HandlerRig,
) -> None:
    session_id = replicated(rig)
    for epoch in range(3, 8):
        rig.clock.advance(MAX_LAG_MS)
        rig.call(of_follower(epoch=epoch, session_id=session_id))
    append(rig, 0, b"a")
    partition = rig.replicas.partition("t", 0)
    partition.check_followers()
    assert partition.pending_isr is None
    rig.clock.advance(2 * MAX_LAG_MS)
    assert partition.pending_isr == (BROKER_ID,)


def test_follower_outside_the_isr_is_looked_at_until_it_is_in(rig: HandlerRig) -> None:
    session_id = replicated(rig, isr=(BROKER_ID,))
    partition = rig.replicas.partition("t", 0)
    partition.isr_refused()
    rig.clock.advance(MAX_LAG_MS)
    rig.call(of_follower(epoch=3, session_id=session_id))
    assert partition.pending_isr == (BROKER_ID, ANOTHER_BROKER)


def test_follower_that_asks_again_without_having_taken_the_data_gets_it_again(rig: HandlerRig) -> None:
    session_id = replicated(rig)
    append(rig, 0, b"a")
    for epoch in (3, 4):
        (news,) = partitions_of(rig.call(of_follower(epoch=epoch, session_id=session_id)))
        assert values_of(news) == [b"a"]


def test_partitions_beyond_the_limit_have_their_turn_the_next_time(rig: HandlerRig) -> None:
    session_id = replicated(rig)
    for index in range(3):
        append(rig, index, b"x" * 1000)
    served = []
    for epoch in range(3, 6):
        answer = rig.call(of_follower(epoch=epoch, session_id=session_id, max_bytes=1))
        served += [data.partition_index for data in partitions_of(answer) if len(data.records)]
    assert sorted(served) == [0, 1, 2]


def test_waiting_follower_learns_that_its_replica_was_moved(rig: HandlerRig) -> None:
    session_id = replicated(rig)
    answered = rig.send(of_follower(epoch=3, session_id=session_id, max_wait_ms=500), 17)
    rig.set_topics(topic("t", TOPIC_ID, 3, replicas=(BROKER_ID,)))
    codes = {data.error_code for data in partitions_of(answered.response)}
    assert codes == {ErrorCode.NOT_LEADER_OR_FOLLOWER}


def test_session_that_ends_or_forgets_leaves_no_subscription_behind(rig: HandlerRig) -> None:
    session_id = replicated(rig)
    partitions = [rig.replicas.partition("t", index) for index in range(3)]
    assert [partition.appended.subscribers for partition in partitions] == [1, 1, 1]
    forget = of_follower(epoch=3, session_id=session_id)
    forget.forgotten_topics_data = [ForgottenTopic("t", TOPIC_ID, [1])]
    rig.call(forget)
    assert [partition.appended.subscribers for partition in partitions] == [1, 0, 1]
    rig.call(of_follower((0, 0), epoch=NEW_SESSION, session_id=session_id))
    assert [partition.appended.subscribers for partition in partitions] == [0, 0, 0]
    assert [partition.high_watermark_moved.subscribers for partition in partitions] == [0, 0, 0]


def test_follower_that_registered_again_is_looked_at_anew(rig: HandlerRig) -> None:
    session_id = replicated(rig)
    follower = BrokerImage(ANOTHER_BROKER, None, {}, 2, False)
    rig.cluster.image = attrs.evolve(rig.cluster.image, brokers={ANOTHER_BROKER: follower})
    asked = of_follower(epoch=3, session_id=session_id)
    asked.replica_state.replica_epoch = 2
    rig.call(asked)
    states = [rig.replicas.partition("t", index).followers[ANOTHER_BROKER] for index in range(3)]
    assert [state.broker_epoch for state in states] == [2, 2, 2]


def test_high_watermark_that_a_waiting_fetch_moved_is_told_with_the_next_data(rig: HandlerRig) -> None:
    session_id = replicated(rig)
    append(rig, 0, b"a")
    rig.call(of_follower(epoch=3, session_id=session_id))
    answered = rig.send(of_follower((0, 1), epoch=4, session_id=session_id, max_wait_ms=500), 17)
    assert answered.response is None
    append(rig, 1, b"b")
    told = {data.partition_index: data.high_watermark for data in partitions_of(answered.response)}
    assert told == {0: 1, 1: 0}


def test_partition_that_is_not_committed_is_looked_at_until_it_is(rig: HandlerRig) -> None:
    session_id = replicated(rig)
    append(rig, 0, b"a")
    rig.cluster.lease_ends_ms = rig.clock.monotonic_ms()
    for epoch, offsets in ((3, ()), (4, ((0, 1),)), (5, ())):
        rig.call(of_follower(*offsets, epoch=epoch, session_id=session_id))
    assert rig.replicas.partition("t", 0).high_watermark == 0
    rig.cluster.lease_ends_ms = math.inf
    (news,) = partitions_of(rig.call(of_follower(epoch=6, session_id=session_id)))
    assert news.high_watermark == 1

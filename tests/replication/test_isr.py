"""What a leader concludes from fetches: caught up, in sync, committed."""

import pytest

from pykbroker.replication.isr import FollowerState, committed_offset, has_caught_up, out_of_sync, union

MAX_LAG_MS = 1000


def fetched(follower: FollowerState, offset: int, *, leader_end: int, now: float) -> None:
    follower.fetched(fetch_offset=offset, log_start_offset=0, broker_epoch=1, leader_end_offset=leader_end, now_ms=now)


def is_caught_up(follower: FollowerState, *, leader_end: int, now: float) -> bool:
    return follower.is_caught_up(leader_end_offset=leader_end, now_ms=now, max_lag_ms=MAX_LAG_MS)


def test_follower_at_the_leaders_end_is_caught_up_however_long_ago_it_fetched() -> None:
    follower = FollowerState()
    fetched(follower, 5, leader_end=5, now=0)
    assert is_caught_up(follower, leader_end=5, now=1_000_000)
    assert not is_caught_up(follower, leader_end=6, now=MAX_LAG_MS + 1)


def test_follower_that_reads_all_there_was_at_its_last_fetch_was_caught_up_then() -> None:
    follower = FollowerState()
    fetched(follower, 0, leader_end=10, now=100)
    fetched(follower, 10, leader_end=20, now=500)  # at 100 the leader ended at 10
    assert follower.last_caught_up_ms == 100
    fetched(follower, 19, leader_end=30, now=900)  # at 500 it ended at 20
    assert follower.last_caught_up_ms == 100


def test_follower_that_only_fetches_does_not_stay_in_sync() -> None:
    follower = FollowerState()
    fetched(follower, 0, leader_end=0, now=0)
    for now in range(0, 2000, 100):
        fetched(follower, now // 100, leader_end=100 + now, now=now)
    assert out_of_sync((1, 2), {2: follower}, leader_end_offset=2000, now_ms=2000, max_lag_ms=MAX_LAG_MS) == [2]


def test_follower_in_the_isr_has_the_lag_time_from_the_start_of_an_epoch_on() -> None:
    in_isr, outside = FollowerState(), FollowerState()
    for follower, is_in_sync in ((in_isr, True), (outside, False)):
        follower.epoch_began(is_new_leader=True, is_in_sync=is_in_sync, leader_end_offset=7, now_ms=100)
    assert is_caught_up(in_isr, leader_end=7, now=100 + MAX_LAG_MS)
    assert not is_caught_up(in_isr, leader_end=7, now=101 + MAX_LAG_MS)
    assert not is_caught_up(outside, leader_end=7, now=100)


def test_new_leader_knows_nothing_of_its_followers_and_an_old_one_keeps_what_it_knows() -> None:
    follower = FollowerState()
    fetched(follower, 5, leader_end=5, now=0)
    follower.epoch_began(is_new_leader=False, is_in_sync=True, leader_end_offset=5, now_ms=100)
    assert follower.log_end_offset == 5
    follower.epoch_began(is_new_leader=True, is_in_sync=True, leader_end_offset=5, now_ms=200)
    assert follower.log_end_offset == -1


@pytest.mark.parametrize(
    ("maximal_isr", "will_join", "expected"),
    [
        ((1, 2, 3), (), 3),
        ((1, 2), (), 7),
        ((1,), (), 10),
        ((1,), (3,), 3),
        ((1, 2, 4), (), -1),
    ],
)
def test_committed_is_what_all_have_who_are_or_will_be_in_sync(
    maximal_isr: tuple[int, ...], will_join: tuple[int, ...], expected: int
) -> None:
    followers = {2: FollowerState(7), 3: FollowerState(3), 4: FollowerState()}
    assert committed_offset(10, followers, maximal_isr, will_join) == expected


@pytest.mark.parametrize(
    ("high_watermark", "epoch_start", "expected"), [(5, 5, True), (6, 0, False), (0, 6, False), (4, 5, True)]
)
def test_follower_joins_with_all_that_is_committed_and_all_from_before_the_epoch(
    high_watermark: int, epoch_start: int, expected: bool
) -> None:
    follower = FollowerState(5)
    assert has_caught_up(follower, high_watermark=high_watermark, epoch_start_offset=epoch_start) is expected


def test_maximal_isr_has_who_leaves_and_who_comes() -> None:
    assert union((1, 2, 3), (1, 2)) == (1, 2, 3)
    assert union((1, 2), (1, 2, 3)) == (1, 2, 3)

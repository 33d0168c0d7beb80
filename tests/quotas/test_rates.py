"""What is measured, window by window. The figures are those of Kafka's Rate, SimpleRate and TokenBucket."""

import pytest

from pykbroker.quotas.rates import INT_MAX, RecentRate, SampledRate, TokenBucket, Windows, throttle_ms

TEN_SECONDS = Windows(11, 1000)


def test_burst_is_measured_over_all_windows_but_the_one_in_progress() -> None:
    rate = SampledRate(TEN_SECONDS)
    rate.record(1000, 5.0)
    assert rate.per_second(5.0) == 100
    assert rate.per_second(505.0) == pytest.approx(1000 / 10.5)


def test_burst_is_forgotten_when_it_is_older_than_all_windows() -> None:
    rate = SampledRate(TEN_SECONDS)
    rate.record(1000, 0.0)
    assert rate.per_second(10_999.0) > 0
    assert not rate.is_forgotten(10_999.0)
    assert rate.is_forgotten(11_000.0)
    assert rate.per_second(11_000.0) == 0


def test_steady_use_is_measured_as_what_it_is() -> None:
    rate = SampledRate(TEN_SECONDS)
    for second in range(100):
        rate.record(500, second * 1000.0)
        rate.record(500, second * 1000.0 + 500)
    assert rate.per_second(99_999.0) == pytest.approx(1000, rel=0.05)


def test_window_begins_with_what_is_recorded_in_it() -> None:
    rate = SampledRate(Windows(2, 1000))
    rate.record(1, 0.0)
    rate.record(1, 999.0)
    rate.record(1, 2500.0)  # the first window ended long ago, but what came last in it still counts
    assert rate.per_second(2500.0) == pytest.approx(3 / 2.5)
    assert rate.per_second(2999.0) == pytest.approx(1 / 1.499)


def test_what_is_taken_back_does_not_count() -> None:
    rate = SampledRate(TEN_SECONDS)
    rate.record(1000, 0.0)
    rate.record(-1000, 0.0)
    assert rate.per_second(1.0) == 0


def test_recent_rate_is_over_the_time_that_has_passed_but_a_window_at_least() -> None:
    rate = RecentRate(TEN_SECONDS)
    rate.record(1000, 0.0)
    assert rate.per_second(10.0) == 1000
    assert rate.per_second(4000.0) == 250


def test_throttled_is_who_is_above_the_bound_for_as_long_as_it_takes() -> None:
    rate = SampledRate(TEN_SECONDS)
    rate.record(1000, 0.0)
    assert throttle_ms(rate, 100, 0.0) == 0
    assert throttle_ms(rate, 80, 0.0) == 2500  # 20 of 80, of ten seconds
    assert throttle_ms(rate, 1e-9, 0.0) == INT_MAX
    assert throttle_ms(rate, 0, 0.0) == INT_MAX


def test_bucket_is_full_at_first_and_may_be_overdrawn() -> None:
    bucket = TokenBucket(TEN_SECONDS)
    assert bucket.tokens(2, 0.0) == 22
    bucket.take(30, 2, 0.0)
    assert bucket.tokens(2, 0.0) == -8
    assert bucket.throttle_ms(2, 0.0) == 4000
    assert bucket.tokens(2, 4000.0) == 0
    assert bucket.throttle_ms(2, 4000.0) == 0


def test_bucket_fills_up_to_what_all_windows_may_use() -> None:
    bucket = TokenBucket(TEN_SECONDS)
    bucket.take(10, 1, 0.0)
    assert not bucket.is_full(9_999.0)
    assert bucket.is_full(10_000.0)
    assert bucket.tokens(1, 1_000_000.0) == 11

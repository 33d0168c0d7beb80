import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykbroker.histogram import MAX_VALUE, WINDOW_MS, Histogram

QUANTILES = (0.5, 0.75, 0.95, 0.98, 0.99, 0.999)


def test_nothing_recorded_gives_zeros() -> None:
    assert Histogram(0).quantiles(QUANTILES, 0) == [0.0] * 6


def test_small_values_are_exact() -> None:
    histogram = Histogram(0)
    for value in range(1, 21):
        histogram.record(value)
    assert histogram.quantiles((0.05, 0.5, 0.95, 1.0), 0) == [1.0, 10.0, 19.0, 20.0]
    assert (histogram.count, histogram.sum) == (20, 210)


@given(st.lists(st.integers(0, MAX_VALUE), min_size=1), st.floats(0.001, 1))
def test_any_quantile_is_within_a_sixteenth_of_the_value_at_its_place(values: list[int], quantile: float) -> None:
    histogram = Histogram(0)
    for value in values:
        histogram.record(value)
    (found,) = histogram.quantiles((quantile,), 0)
    at_or_below = [value for value in values if value * 15 / 16 <= found]
    at_or_above = [value for value in values if value * 17 / 16 >= found]
    assert len(at_or_below) >= quantile * len(values)
    assert len(at_or_above) >= len(values) - quantile * len(values)


@pytest.mark.parametrize("value", [MAX_VALUE, MAX_VALUE + 1, 2**63])
def test_value_beyond_the_largest_bucket_is_counted_in_it(value: int) -> None:
    histogram = Histogram(0)
    histogram.record(value)
    assert histogram.quantiles((1.0,), 0) == [pytest.approx(MAX_VALUE, rel=1 / 16)]


def test_quantiles_forget_what_is_older_than_two_windows() -> None:
    histogram = Histogram(0)
    histogram.record(31)
    assert histogram.quantiles((0.5,), WINDOW_MS) == [31.0]  # and a window ends
    for _ in range(3):
        histogram.record(7)
    assert histogram.quantiles((0.25, 1.0), 2 * WINDOW_MS) == [7.0, 31.0]  # the window before counts, too
    assert histogram.quantiles((0.25, 1.0), 2 * WINDOW_MS + 1) == [7.0, 7.0]
    assert histogram.count == 4


def test_without_recent_values_quantiles_are_those_since_the_start() -> None:
    histogram = Histogram(0)
    histogram.record(5)
    for window in range(1, 5):
        assert histogram.quantiles((0.5,), window * WINDOW_MS) == [5.0]

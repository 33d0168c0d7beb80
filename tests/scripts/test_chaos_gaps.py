"""How scripts/chaos measures the time without writes around a fault."""

import pytest
from chaos_rig.gaps import Measured, gap_of, longest_gap, summarise, table


@pytest.mark.parametrize(
    ("acknowledged", "gap"),
    [
        ([9.0, 10.5, 11.0, 20.0], 9.0),  # the last one before the window does not count
        ([10.5, 14.5, 15.0, 18.5], 4.0),
        ([12.5, 13.0, 15.0, 17.0, 18.5], 2.5),  # from the fault itself
        ([10.5, 12.0], 8.0),  # open at the end
        ([], 10.0),
        ([1.0, 30.0], 10.0),
    ],
)
def test_longest_gap_lies_within_the_window(acknowledged: list[float], gap: float) -> None:
    assert longest_gap(acknowledged, 10.0, 20.0) == pytest.approx(gap)


def test_gap_of_a_fault_is_that_of_its_worst_partition_and_of_its_own_only() -> None:
    times = {0: [10.0, 11.0, 12.0], 1: [10.0, 12.0], 2: []}
    assert gap_of(Measured("kill", 10.0, 12.0, [0, 1]), times) == pytest.approx(2.0)
    assert gap_of(Measured("kill", 10.0, 12.0, [0]), times) == pytest.approx(1.0)


def test_bar_is_on_the_worst_of_its_kind() -> None:
    times = {0: [0.0, 1.0, 2.0, 5.5, 6.0]}
    faults = [Measured("kill", 0.0, 2.0, [0]), Measured("kill", 2.0, 6.0, [0]), Measured("stop", 0.0, 2.0, [0])]
    killed, stopped = summarise(faults, times, {"stop": 1.0, "kill": 3.0})[::-1]
    assert (killed.kind, killed.worst, killed.holds) == ("kill", 3.5, False)
    assert (stopped.kind, stopped.worst, stopped.holds) == ("stop", 1.0, True)
    assert "| kill | 2 | 2.25 s | 3.50 s | ≤ 3 s | **missed** |" in table([killed, stopped])


def test_fault_of_a_broker_that_led_nothing_is_not_measured() -> None:
    assert summarise([Measured("kill", 0.0, 2.0, [])], {0: []}, {"kill": 3.0}) == []


def test_kind_without_a_bar_is_shown_and_holds() -> None:
    (summary,) = summarise([Measured("freeze", 0.0, 2.0, [0])], {0: []}, {})
    assert summary.holds
    assert "| freeze | 1 | 2.00 s | 2.00 s |  |  |" in table([summary])

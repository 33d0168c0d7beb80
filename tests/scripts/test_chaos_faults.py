"""The choice of faults of scripts/chaos."""

from collections import Counter
from itertools import islice

from chaos_rig.faults import Cut, Kind, Step, plan

CUTS = [Cut.BROKERS, Cut.STORE]


def steps(seed: int, count: int, *, overlapping: float = 0.0) -> list[Step]:
    return list(islice(plan(seed, list(Kind), CUTS, session_s=9.0, overlapping=overlapping), count))


def test_seed_decides_the_plan() -> None:
    assert steps(7, 50) == steps(7, 50)
    assert steps(7, 50) != steps(8, 50)


def test_each_kind_comes_as_often_as_the_others() -> None:
    assert set(Counter(step.kind for step in steps(1, 20 * len(Kind))).values()) == {20}


def test_partitions_alone_have_a_cut_and_only_of_those_allowed() -> None:
    for step in steps(3, 200):
        assert (step.cut in CUTS) == (step.kind is Kind.PARTITION)


def test_freezes_are_shorter_and_longer_than_the_session() -> None:
    held = [step.hold_s for step in steps(5, 200) if step.kind is Kind.FREEZE]
    assert min(held) < 9.0 < max(held)


def test_overlapping_is_a_share() -> None:
    assert not any(step.overlapping for step in steps(2, 200))
    assert all(step.overlapping for step in steps(2, 200, overlapping=1.0))

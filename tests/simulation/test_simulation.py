"""Seeds of the simulation: what a cluster keeps whatever happens to it, and that a seed is a proof.

Not here: that the simulation finds bugs (test_planted_bugs), what counts as one (test_checker).
"""

import pytest

from tests.simulation.scenario import Outcome, Settings, simulate

SEEDS = range(4)
MORE_SEEDS = range(100, 160)
SHORT = Settings(faults_ms=6000)


def told(outcome: Outcome) -> str:
    """What to read in a failure."""
    lines = [f"scripts/simulate --seed {outcome.seed} --trace", *map(str, outcome.violations[:10])]
    return "\n".join(lines)


@pytest.mark.parametrize("seed", SEEDS)
def test_cluster_keeps_what_it_acknowledged(seed: int) -> None:
    outcome = simulate(seed)
    assert not outcome.violations, told(outcome)
    assert outcome.acknowledged > 100  # there was load
    assert outcome.faults


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("seed", MORE_SEEDS)
def test_cluster_keeps_what_it_acknowledged_in_more_seeds(seed: int) -> None:
    outcome = simulate(seed)
    assert not outcome.violations, told(outcome)


def test_one_broker_keeps_what_it_acknowledged_over_stops_and_kills() -> None:
    outcome = simulate(1, Settings(brokers=1))
    assert not outcome.violations, told(outcome)
    assert outcome.acknowledged > 100


def test_seed_that_is_run_again_does_the_same_again() -> None:
    first, second = simulate(7, SHORT), simulate(7, SHORT)
    assert first.digest == second.digest
    assert (first.acknowledged, first.simulated_ms, first.faults) == (
        second.acknowledged,
        second.simulated_ms,
        second.faults,
    )


def test_other_seed_does_something_else() -> None:
    assert simulate(7, SHORT).digest != simulate(8, SHORT).digest

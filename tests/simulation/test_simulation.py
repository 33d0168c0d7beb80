"""Seeds of the simulation: what a cluster keeps whatever happens to it, and that a seed is a proof.

Not here: that the simulation finds bugs (test_planted_bugs), what counts as one (test_checker).
"""

import pytest

from tests.simulation.scenario import Outcome, Settings, simulate

SEED = 2
MORE_SEEDS = (0, 1, 3, *range(100, 160))
SHORT = Settings(producers=1, faults_ms=3000)


def told(outcome: Outcome) -> str:
    """What to read in a failure."""
    lines = [f"scripts/simulate --seed {outcome.seed} --trace", *map(str, outcome.violations[:10])]
    return "\n".join(lines)


def test_cluster_keeps_what_it_acknowledged() -> None:
    outcome = simulate(SEED)
    assert not outcome.violations, told(outcome)
    assert outcome.acknowledged > 100  # there was load
    assert outcome.faults


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("seed", MORE_SEEDS)
def test_cluster_keeps_what_it_acknowledged_in_more_seeds(seed: int) -> None:
    outcome = simulate(seed)
    assert not outcome.violations, told(outcome)
    assert outcome.acknowledged > 100
    assert outcome.faults


def test_one_broker_keeps_what_it_acknowledged_over_stops_and_kills() -> None:
    outcome = simulate(1, Settings(brokers=1))
    assert not outcome.violations, told(outcome)
    assert outcome.acknowledged > 100


def test_seed_that_is_run_again_does_the_same_again_and_another_does_something_else() -> None:
    first, second, other = simulate(7, SHORT), simulate(7, SHORT), simulate(8, SHORT)
    assert first.faults
    assert first.digest == second.digest != other.digest
    assert (first.acknowledged, first.simulated_ms, first.faults) == (
        second.acknowledged,
        second.simulated_ms,
        second.faults,
    )

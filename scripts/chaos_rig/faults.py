"""Which faults come when: decided from a seed alone, so that a run can be repeated.

Rules
- A plan says what to do and for how long; whom it hits is a number that the injector turns into a broker, as the
  leaders of the moment may be wanted.
- Between two faults the cluster gets time to have all replicas in sync, except now and then: an OVERLAPPING fault comes
  before that, and a second broker may be hurt while the first one still is.
Not here: doing it (injector.py), cutting networks (network.py).
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from random import Random

from attrs import frozen


class Kind(enum.StrEnum):
    KILL = "kill"  # SIGKILL, started again after a while
    STOP = "stop"  # SIGTERM, started again after a while
    FREEZE = "freeze"  # SIGSTOP, SIGCONT after a while
    BOUNCE = "bounce"  # SIGTERM and start of one broker after the other
    PARTITION = "partition"  # packets of a broker are dropped for a while, see Cut


class Cut(enum.StrEnum):
    """What a partition separates a broker from. Clients keep reaching it, except when it is cut from all."""

    BROKERS = "brokers"
    ONE_BROKER = "one broker"
    FROM_BROKERS = "what brokers send it"  # one way
    TO_BROKERS = "what it sends brokers"  # one way
    STORE = "store"
    ALL = "all"


@frozen
class Step:
    """One fault. `target` picks the broker, `other` a second one where the fault has one; both are any numbers.

    `hold_s` is how long it lasts, `pause_s` the time in peace after all replicas are in sync again. An `overlapping`
    step does not wait for that, and is not measured.
    """

    number: int
    kind: Kind
    target: int
    other: int
    hold_s: float
    pause_s: float
    cut: Cut | None = None
    overlapping: bool = False

    @property
    def name(self) -> str:
        """Return the row of the table that it belongs to."""
        return f"{self.kind}: {self.cut}" if self.cut is not None else self.kind


def plan(
    seed: int, kinds: Sequence[Kind], cuts: Sequence[Cut], *, session_s: float, overlapping: float
) -> Iterator[Step]:
    """Yield steps without end. Kinds come in random order, but each as often as the others."""
    rng = Random(seed)
    number = 0
    while True:
        for kind in rng.sample(list(kinds), len(kinds)):
            yield Step(
                number=number,
                kind=kind,
                target=rng.randrange(1 << 20),
                other=rng.randrange(1 << 20),
                hold_s=_hold_s(rng, kind, session_s),
                pause_s=rng.uniform(0.5, 2.0),
                cut=rng.choice(list(cuts)) if kind is Kind.PARTITION else None,
                overlapping=rng.random() < overlapping,
            )
            number += 1


def _hold_s(rng: Random, kind: Kind, session_s: float) -> float:
    """Return how long a fault lasts: sometimes shorter than the session, so that the broker returns as if nothing had
    been; more often long enough for the others to take over.
    """
    if kind in (Kind.KILL, Kind.STOP):
        return rng.choice((0.0, rng.uniform(1.0, 5.0), session_s + rng.uniform(0.0, 4.0)))
    if kind is Kind.BOUNCE:
        return rng.uniform(0.0, 1.0)
    return rng.choice((rng.uniform(0.2, session_s), session_s + rng.uniform(3.0, 8.0)))

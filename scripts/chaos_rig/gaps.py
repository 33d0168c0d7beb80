"""How long partitions took no writes: the gaps between acknowledgements around each fault.

Rules
- What counts is the longest time without an acknowledgement between the fault and the end of its window, of the
  partitions that the hurt broker led when it was hurt. The window reaches past the healing: a broker that comes back
  must not disturb either.
- A gap that is still open at the end of the window is as long as the window had left.
- A fault that was given while another one lasted is not measured, nor is one whose broker led nothing.
- A bar is on the worst of its kind.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median

from attrs import frozen


@frozen
class Measured:
    """One fault whose effect can be told: on `partitions`, from `started` to `ended` (seconds of one clock)."""

    kind: str
    started: float
    ended: float
    partitions: Sequence[int]


@frozen
class Summary:
    """All faults of one kind. `bar_s` None: there is none."""

    kind: str
    gaps: Sequence[float]
    bar_s: float | None

    @property
    def worst(self) -> float:
        return max(self.gaps)

    @property
    def holds(self) -> bool:
        return self.bar_s is None or self.worst <= self.bar_s

    def row(self) -> str:
        bar = "" if self.bar_s is None else f"≤ {self.bar_s:g} s"
        verdict = "" if self.bar_s is None else "ok" if self.holds else "**missed**"
        times = f"{median(self.gaps):.2f} s | {self.worst:.2f} s"
        return f"| {self.kind} | {len(self.gaps)} | {times} | {bar} | {verdict} |"


def longest_gap(acknowledged: Sequence[float], started: float, ended: float) -> float:
    """Return the longest time within [started, ended] without an entry of `acknowledged`, which ascends."""
    between = acknowledged[bisect_right(acknowledged, started) : bisect_left(acknowledged, ended)]
    edges = [started, *between, ended]
    return max(after - before for before, after in pairwise(edges))


def gap_of(fault: Measured, acknowledged: Mapping[int, Sequence[float]]) -> float:
    """Return the longest gap of any of the fault's partitions."""
    return max(
        longest_gap(acknowledged.get(partition, ()), fault.started, fault.ended) for partition in fault.partitions
    )


def summarise(
    faults: Sequence[Measured], acknowledged: Mapping[int, Sequence[float]], bars: Mapping[str, float | None]
) -> list[Summary]:
    """Return a summary per kind of fault that was measured, in the order of `bars`."""
    kinds = [*bars, *sorted({fault.kind for fault in faults} - set(bars))]
    found = []
    for kind in kinds:
        gaps = [gap_of(fault, acknowledged) for fault in faults if fault.kind == kind and fault.partitions]
        if gaps:
            found.append(Summary(kind, gaps, bars.get(kind)))
    return found


def table(summaries: Sequence[Summary]) -> str:
    """Return the markdown table."""
    head = "| fault | times | without writes, median | worst | bar | |\n|---|---:|---:|---:|---|---|"
    return "\n".join([head, *(summary.row() for summary in summaries)])

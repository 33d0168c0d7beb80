"""How values are distributed, in bounded memory: whole numbers, exact to one part in sixteen.

Owns: a count for each bucket. Format: buckets as wide as a sixteenth of the power of two below them; the values under
32 have a bucket each, what is larger than MAX_VALUE is counted as that.

Rules
- `record` costs one increment of a bucket; nothing is sorted, copied or thrown away until somebody reads.
- Quantiles are those of the last one to two windows; where nothing was recorded in these, those since the start, as
  Kafka's reservoirs keep their last values, too. Windows go on when somebody reads.
"""

from array import array
from collections.abc import Iterable

WINDOW_MS = 150_000
MAX_VALUE = 2**40 - 1
_SUB_BUCKETS = 16
_BUCKETS = 37 * _SUB_BUCKETS + _SUB_BUCKETS


class Histogram:
    __slots__ = ("_at_last_window", "_at_window_before", "_counts", "_window_ends_ms", "count", "sum")

    def __init__(self, now_ms: float) -> None:
        self.count = 0
        self.sum = 0
        self._counts = array("Q", bytes(8 * _BUCKETS))
        self._at_last_window = self._at_window_before = self._counts[:]
        self._window_ends_ms = now_ms + WINDOW_MS

    def record(self, value: int) -> None:
        """Count a value; it must not be negative."""
        self.count += 1
        self.sum += value
        if value < 2 * _SUB_BUCKETS:
            self._counts[value] += 1
        else:
            value = min(value, MAX_VALUE)
            shift = value.bit_length() - 5
            self._counts[shift * _SUB_BUCKETS + (value >> shift)] += 1

    def fill_up(self, count: int) -> None:
        """Count zeros until there are so many values: what nearly always is 0 is recorded only when it is not."""
        missing = count - self.count
        if missing > 0:
            self.count = count
            self._counts[0] += missing

    def quantiles(self, wanted: Iterable[float], now_ms: float) -> list[float]:
        """Return the values at these quantiles, which ascend; zeros if there was never any."""
        recent = [now - then for now, then in zip(self._counts, self._at_window_before, strict=True)]
        if not any(recent):
            recent = self._counts.tolist()
        if now_ms >= self._window_ends_ms:
            self._at_window_before, self._at_last_window = self._at_last_window, self._counts[:]
            self._window_ends_ms = now_ms + WINDOW_MS
        return _at(recent, wanted)


def _at(counts: list[int], wanted: Iterable[float]) -> list[float]:
    total = sum(counts)
    found: list[float] = []
    bucket, seen = -1, 0
    for quantile in wanted:
        while seen < total and (seen < quantile * total or not seen):
            bucket += 1
            seen += counts[bucket]
        found.append(_middle(bucket) if total else 0.0)
    return found


def _middle(bucket: int) -> float:
    if bucket < 2 * _SUB_BUCKETS:
        return float(bucket)
    shift = bucket // _SUB_BUCKETS - 1
    return ((bucket - shift * _SUB_BUCKETS) << shift) + ((1 << shift) - 1) / 2

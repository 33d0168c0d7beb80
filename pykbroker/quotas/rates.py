"""How fast something goes, and how long to wait until it is slow enough: the measures behind all quotas. Pure.

Rules
- A rate is the sum of the last `count` windows over their time. A window begins with what is recorded in it, is
  complete after `size_ms`, and counts as long as its last record is not older than all windows together.
- `SampledRate` assumes that all windows but the one in progress are complete, so that a burst after a pause is
  measured over the whole time; `RecentRate` measures over the time that really has passed, at least one window.
- `TokenBucket` fills by the quota's rate, up to what all windows may use, and may be overdrawn once.

Sources: Kafka's SampledStat, Rate, SimpleRate, TokenBucket, QuotaUtils; KIP-13, KIP-599.
"""

import math

import attrs

INT_MAX = 2**31 - 1


@attrs.frozen
class Windows:
    """Of quota.window.num and quota.window.size.seconds, and the like."""

    count: int
    size_ms: int

    @property
    def all_ms(self) -> int:
        return self.count * self.size_ms


@attrs.define(eq=False)
class _Window:
    start_ms: float
    last_ms: float
    value: float = 0.0


class SampledRate:
    __slots__ = ("_current", "_samples", "_windows")

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._samples: list[_Window] = []
        self._current = 0

    def record(self, value: float, now_ms: float) -> None:
        """Count `value`; a negative one takes back what was counted."""
        if not self._samples:
            self._samples.append(_Window(now_ms, now_ms))
        window = self._samples[self._current]
        if now_ms - window.start_ms >= self._windows.size_ms:
            window = self._next(now_ms)
        window.value += value
        window.last_ms = now_ms

    def _next(self, now_ms: float) -> _Window:
        # One more than count: the oldest may overlap the time that is looked at.
        self._current = (self._current + 1) % (self._windows.count + 1)
        window = _Window(now_ms, now_ms)
        self._samples[self._current : self._current + 1] = [window]
        return window

    def per_second(self, now_ms: float) -> float:
        self._forget_old(now_ms)
        total = sum(window.value for window in self._samples)
        return total / self.measured_ms(now_ms) * 1000

    def measured_ms(self, now_ms: float) -> float:
        """Over how long the rate is measured."""
        self._forget_old(now_ms)
        elapsed_ms = now_ms - self._oldest_ms(now_ms)
        missing = self._windows.count - 1 - int(elapsed_ms / self._windows.size_ms)
        return max(elapsed_ms + max(missing, 0) * self._windows.size_ms, self._windows.size_ms)

    def is_forgotten(self, now_ms: float) -> bool:
        """Whether nothing that was recorded counts any more."""
        return all(now_ms - window.last_ms >= self._windows.all_ms for window in self._samples)

    def _oldest_ms(self, now_ms: float) -> float:
        return min((window.start_ms for window in self._samples), default=now_ms)

    def _forget_old(self, now_ms: float) -> None:
        for window in self._samples:
            if now_ms - window.last_ms >= self._windows.all_ms:
                window.start_ms = window.last_ms = now_ms
                window.value = 0.0


class RecentRate(SampledRate):
    __slots__ = ()

    def measured_ms(self, now_ms: float) -> float:
        self._forget_old(now_ms)
        return max(now_ms - self._oldest_ms(now_ms), self._windows.size_ms)


def throttle_ms(rate: SampledRate, bound: float, now_ms: float) -> int:
    """Return how long nothing has to happen until `rate` is down at `bound`, in whole milliseconds; 0: it is."""
    measured = rate.per_second(now_ms)
    if measured <= bound:
        return 0
    if bound <= 0:
        return INT_MAX
    return min(math.floor((measured - bound) / bound * rate.measured_ms(now_ms) + 0.5), INT_MAX)


class TokenBucket:
    __slots__ = ("_last_ms", "_quota", "_tokens", "_windows")

    def __init__(self, windows: Windows) -> None:
        self._windows = windows
        self._tokens = math.inf  # full, whatever the quota
        self._quota = 0.0  # as of the last use
        self._last_ms = 0.0

    def tokens(self, quota: float, now_ms: float) -> float:
        """Return what is left; below 0 the quota is exceeded."""
        self._tokens = min(self._burst(quota), self._tokens + quota * (now_ms - self._last_ms) / 1000)
        self._quota, self._last_ms = quota, now_ms
        return self._tokens

    def take(self, count: float, quota: float, now_ms: float) -> None:
        self._tokens = self.tokens(quota, now_ms) - count

    def throttle_ms(self, quota: float, now_ms: float) -> int:
        """Return when it will be back at 0, in whole milliseconds."""
        return min(max(math.floor(-self.tokens(quota, now_ms) / quota * 1000 + 0.5), 0), INT_MAX)

    def is_full(self, now_ms: float) -> bool:
        return self._tokens + self._quota * (now_ms - self._last_ms) / 1000 >= self._burst(self._quota)

    def _burst(self, quota: float) -> float:
        return self._windows.all_ms / 1000 * quota

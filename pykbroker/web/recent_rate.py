"""How fast a counter has grown lately, by those who look at it: nothing is recorded when it grows.

Owns: what it was at some looks of the last minute. Rule: a rate is over the time since the newest look that is a minute
old, or since the beginning.
"""

from collections import deque

WINDOW_MS = 60_000
_STEP_MS = 1000  # between looks that are remembered


class RecentRate:
    def __init__(self, now_ms: float) -> None:
        """The counter is 0 now."""
        self._looks = deque([(now_ms, 0)])

    def per_second(self, count: int, now_ms: float) -> float:
        looks = self._looks
        if now_ms - looks[-1][0] >= _STEP_MS:
            looks.append((now_ms, count))
        while len(looks) > 1 and looks[1][0] <= now_ms - WINDOW_MS:
            looks.popleft()
        began_ms, before = looks[0]
        return 1000 * (count - before) / max(now_ms - began_ms, 1)

"""Kill brokers one by one, and start each again after a moment.

Rules: which broker and for how long is decided by the seed. Before the next kill all replicas are in sync again, so
    that one broker is missing at a time; how late that makes it is told.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from random import Random

from attrs import define, field
from chaos_rig.events import Events
from clients import Unavailable
from cluster import Cluster

DOWN_S = (0.0, 8.0)


class Hurt(Exception):
    """The cluster did not come back from a kill; the text says how it is."""


@define
class Kills:
    """Kills a broker every `every_s` seconds."""

    cluster: Cluster
    events: Events
    every_s: float
    rng: Random
    rebalance: Callable[[], None] = lambda: None
    done: int = field(default=0, init=False)

    def run(self, seconds: float, *, goes_on: Callable[[], bool]) -> None:
        """Go on for so many seconds, or until something is not as it should be. Raises: Hurt."""
        started = time.monotonic()
        due = started + self.every_s / 2
        while due < started + seconds and goes_on():
            if time.monotonic() < due:
                time.sleep(min(0.5, max(0.0, due - time.monotonic())))
                continue
            self._kill(self.rng.choice(self.cluster.nodes).id, self.rng.uniform(*DOWN_S))
            due = max(due + self.every_s, time.monotonic())

    def _kill(self, broker: int, down_s: float) -> None:
        started = time.monotonic()
        self.cluster.kill(broker)
        time.sleep(down_s)
        self.cluster.launch(broker)
        try:
            self.cluster.wait_ready()
            self.cluster.wait_in_sync()
        except Unavailable as error:
            raise Hurt(f"after the kill of broker {broker}: {error}") from error
        self.done += 1
        in_sync_s = time.monotonic() - started
        self.events.write("killed", broker=broker, down_s=round(down_s, 1), in_sync_after_s=round(in_sync_s, 1))
        if ended := [node.id for node in self.cluster.nodes if not node.runs]:
            raise Hurt(f"broker(s) {ended} ended by themselves")
        self.rebalance()

"""Restart the brokers of a cluster one after the other, for as long as clients run.

    with Restarts(cluster, every_s=15): …

Rules: only one broker is down at a time, and the next one has to wait until all replicas are in sync again: what a
       careful operator does. A broker that does not come back ends the restarts, and leaving the block raises.
"""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import Self

from attrs import define, field

from clients import Unavailable
from cluster import Cluster

DOWN_S = 1.0
JOIN_TIMEOUT_S = 300.0


@define
class Restarts:
    """Owns the thread that restarts brokers. `done` counts them."""

    cluster: Cluster
    every_s: float  # in peace
    done: int = 0
    complaint: str = ""
    _ended: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="restarts", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        assert self._thread is not None
        self._thread.join(JOIN_TIMEOUT_S)
        print(f"{self.done} restarts of a broker", flush=True)
        if self.complaint and error is None:
            raise Unavailable(self.complaint)

    def _run(self) -> None:
        while not self._ended.wait(self.every_s):
            node = self.cluster.nodes[self.done % len(self.cluster.nodes)]
            try:
                status = self.cluster.stop(node.id).get(node.id)
                if status and not _by_sigterm(status):
                    raise Unavailable(f"broker {node.id} stopped with status {status}")
                time.sleep(DOWN_S)
                self.cluster.start(node.id)
                self.cluster.wait_in_sync(ended=self._ended.is_set)
            except Unavailable as error:
                self.complaint = f"while broker {node.id} was restarted: {error}"
                print(self.complaint, file=sys.stderr, flush=True)
                return
            self.done += 1


def _by_sigterm(status: int) -> bool:
    """Say whether this is how a JVM ends that was told to: it stops cleanly and reports the signal all the same."""
    return status in (143, -15)

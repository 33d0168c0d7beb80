"""Those who are not part of the attack: an ordinary client that has to be served all the time, and a watch on the
broker's memory.

Both run in threads of their own, with blocking sockets, so that they do not depend on the attack's event loop.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Sequence

from attrs import define, field
from support import frames
from support.brokers import rss_bytes
from support.connection import Address, Connection, Refused, served_topic

TOPIC = "torture-witness"
SERVED_WITHIN_S = 5.0
PAUSE_S = 0.01
SAMPLE_S = 0.05


@define
class Witness:
    """Produces records and fetches each of them back, on one connection that must never break."""

    address: Address
    served: int = 0
    longest_s: float = 0.0
    complaint: str = ""
    _stop: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        served_topic(self.address, TOPIC)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(SERVED_WITHIN_S * 3)

    def _run(self) -> None:
        try:
            with Connection(self.address, timeout_s=SERVED_WITHIN_S) as connection:
                fetch = frames.fetch_request(TOPIC, 0, 0, max_bytes=100_000, max_wait_ms=1000)
                while not self._stop.wait(PAUSE_S):
                    self._one_record(connection, fetch)
        except (OSError, Refused, struct.error) as error:
            self.complaint = f"after {self.served} records: {type(error).__name__}: {error}"

    def _one_record(self, connection: Connection, fetch: bytearray) -> None:
        started = time.monotonic()
        sent = frames.batch_of([b"witness %d" % self.served])
        offset = connection.produce(frames.produce_request(TOPIC, 0, sent))
        frames.patch_fetch_offset(fetch, offset)
        answer = connection.fetch(fetch)
        # Base offset and leader epoch are the broker's to write; everything from the magic byte on is as it was sent.
        if answer.error_code or answer.records[16 : len(sent)] != sent[16:]:
            raise Refused(f"offset {offset} does not hold what was produced, error code {answer.error_code}")
        self.served += 1
        self.longest_s = max(self.longest_s, time.monotonic() - started)


@define
class MemoryWatch:
    """Samples the resident memory of the broker's processes."""

    pids: Sequence[int]
    before: int = 0
    peak: int = 0
    _stop: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self.before = self.peak = rss_bytes(self.pids) if self.pids else 0
        if self.pids:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            try:
                self.peak = max(self.peak, rss_bytes(self.pids))
            except OSError:
                return  # the broker is gone, which the attack's own end finds out

"""One of the two brokers as the cases see it: where it is, how hard to load it, and topics that are made for one
measurement.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import define, field, frozen
from support.brokers import Broker
from support.connection import Address, Connection, served_topic

PAUSE_AFTER_DELETION_S = 1.5  # DELETION_DELAY_MS and the time that freeing the pages takes
DELETION_DELAY_MS = 1000


@frozen
class Effort:
    """How much load a measurement is."""

    seconds: float
    max_bytes: int
    acks: int  # 0, 1, -1
    brokers: int

    @property
    def partitions(self) -> int:
        """Return the partitions of librdkafka's topics: one where there is one broker, six to spread over several."""
        return 1 if self.brokers == 1 else 6

    @property
    def replication_factor(self) -> int:
        return min(3, self.brokers)


@define
class Subject:
    """A started broker. Topics have names of one length, so that requests have too."""

    broker: Broker
    effort: Effort
    _numbers: Iterator[int] = field(factory=lambda: itertools.count(int(time.time()) % 100_000 * 1000))

    @property
    def address(self) -> Address:
        return Address.parse(self.broker.bootstrap)

    def with_effort(self, effort: Effort) -> Subject:
        return Subject(self.broker, effort, self._numbers)

    @contextmanager
    def topic(self, partitions: int = 1) -> Iterator[tuple[str, dict[int, Address]]]:
        """Create a topic, give its name and leaders, and delete it with its data before the next measurement starts."""
        name = f"compare-{next(self._numbers):012d}"
        leaders = served_topic(self.address, name, partitions, replication_factor=self.effort.replication_factor)
        try:
            yield name, leaders
        finally:
            with Connection(self.address) as connection:
                connection.delete_topics([name])
            time.sleep(PAUSE_AFTER_DELETION_S)

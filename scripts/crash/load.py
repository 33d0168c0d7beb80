"""A producer that goes on until the broker dies, and remembers what was acknowledged.

Rules: acks=1 and no retries, so a record is sent once and its place in the log is known or it was never acknowledged.
A value names its round, its partition and its number within them: what is in the log must be the first so many of
these, without a gap.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

from attrs import define, field
from confluent_kafka import KafkaError, Message, Producer

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
PADDING = "x" * 80
FLUSH_S = 5.0


def value_of(round_number: int, partition: int, number: int) -> bytes:
    return f"{round_number}/{partition}/{number}/{PADDING}".encode()


@define
class Load:
    """One round of load. `acknowledged` maps partition and offset to the value that was acknowledged there."""

    bootstrap: str
    topic: str
    partitions: int
    round_number: int
    acknowledged: dict[tuple[int, int], bytes] = field(factory=dict)
    complaints: list[str] = field(factory=list)
    failed: int = 0

    def run(self, seconds: float, kill: Callable[[], None]) -> None:
        """Produce for `seconds`, call `kill` in the middle of it, and wait for what was still under way."""
        codec = random.Random(self.round_number).choice(CODECS)
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "acks": "1",
                "retries": 0,
                "compression.type": codec,
                "message.timeout.ms": 10_000,
                "log_level": 0,
            }
        )
        numbers = [0] * self.partitions
        started = time.monotonic()
        killer = threading.Timer(seconds, kill)
        killer.start()
        partition = 0
        # A while longer than the broker lives: the last requests are under way when it dies.
        while killer.is_alive() or time.monotonic() - started < seconds:
            value = value_of(self.round_number, partition, numbers[partition])
            try:
                producer.produce(self.topic, value, partition=partition, on_delivery=self._delivered)
            except BufferError:
                producer.poll(0.01)
                continue
            numbers[partition] += 1
            partition = (partition + 1) % self.partitions
            producer.poll(0)
        killer.join()
        producer.flush(FLUSH_S)
        producer.purge()
        producer.flush(FLUSH_S)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failed += 1
            return
        partition, offset, value = message.partition(), message.offset(), message.value()
        assert partition is not None
        assert offset is not None
        assert value is not None
        place = partition, offset
        if place in self.acknowledged:
            self.complaints.append(f"offset {place[1]} of partition {place[0]} was acknowledged twice")
        self.acknowledged[place] = value

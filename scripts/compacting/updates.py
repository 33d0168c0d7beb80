"""Updates of random keys, in batches of this script's own making, and the table that a reader has to end with.

Rules: the same seed makes the same updates. A value begins with the update's number, so that one table can be told from
another; one update in `tombstone_every` deletes its key.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from attrs import define, field
from support.connection import Address, Connection
from support.frames import batch, produce_request, record

VALUE_BYTES = 100
RECORDS_PER_BATCH = 150
PIPELINED = 8


@define
class Updates:
    """A stream of updates; `table` is what they come to so far, key number to update number."""

    keys: int
    seed: int = 1
    tombstone_every: int = 0  # 0: never
    written: int = 0
    table: dict[int, int] = field(factory=dict)
    _random: random.Random = field(init=False)
    _padding: bytes = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._padding = self._random.randbytes(VALUE_BYTES)

    def next_batch(self, count: int = RECORDS_PER_BATCH) -> bytes:
        records = []
        for index in range(count):
            key, number = self._random.randrange(self.keys), self.written
            self.written += 1
            value: bytes | None = b"%010d" % number + self._padding[: VALUE_BYTES - 10]
            if self.tombstone_every and number % self.tombstone_every == 0:
                self.table.pop(key, None)
                value = None
            else:
                self.table[key] = number
            records.append(_record(index, b"key-%07d" % key, value))
        return batch(b"".join(records), count)

    def batches(self, updates: int) -> Iterator[bytes]:
        while updates > 0:
            count = min(updates, RECORDS_PER_BATCH)
            yield self.next_batch(count)
            updates -= count


def _record(index: int, key: bytes, value: bytes | None) -> bytes:
    if value is not None:
        return record(index, value, key=key)
    body = bytearray(record(index, b"", key=key))
    body[-2] = 1  # the length -1 in the place of 0
    return bytes(body)


def produce(address: Address, topic: str, batches: Iterator[bytes]) -> None:
    """Send batches to partition 0, several at a time, in their order. Raises: Refused, OSError."""
    with Connection(address) as connection:
        under_way = 0
        for each in batches:
            if under_way == PIPELINED:
                _check(connection.receive())
                under_way -= 1
            connection.socket.sendall(produce_request(topic, 0, each))
            under_way += 1
        for _ in range(under_way):
            _check(connection.receive())


def _check(answer: bytes) -> None:
    """The first error code of a Produce answer lies behind correlation id, tags, topic and partition number."""
    topic_size = answer[6]
    at = 4 + 1 + 1 + topic_size + 1 + 4
    error_code = int.from_bytes(answer[at : at + 2], "big")
    if error_code:
        raise OSError(f"Produce answered error code {error_code}")


def wait_until(deadline_s: float, what: str, condition: object) -> None:
    """Poll. Raises: TimeoutError."""
    assert callable(condition)
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {deadline_s:.0f} s: {what}")
        time.sleep(0.05)

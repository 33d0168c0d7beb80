"""Cases of a native client: librdkafka produces and consumes records of one size."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

from support import frames
from support.connection import Address, Connection, Refused

from benchmarks import librdkafka
from benchmarks.subject import Subject

MOST_RECORDS_BYTES = (
    130  # what a record of 100 bytes costs in a batch and in a client's memory, roughly, beyond its value
)
CONSUMED_BYTES = 512 << 20
CONSUMED_RECORDS = 4_000_000
MARKERS_S = 10.0  # by when the markers of all transactions are there


def produce(subject: Subject, row: str, *, record_bytes: int) -> dict[str, float]:
    effort = subject.effort
    with subject.topic(effort.partitions) as (topic, leaders):
        expected = 0
        for part in (0.2, 1.0):
            sent, seconds = librdkafka.produce(
                subject.broker.bootstrap,
                topic,
                partitions=len(leaders),
                record_bytes=record_bytes,
                acks=str(effort.acks),
                seconds=effort.seconds * part,
                max_records=effort.max_bytes // (record_bytes + MOST_RECORDS_BYTES),
            )
            expected += sent
        stored = sum(_ends(topic, leaders).values())
        if stored != expected:
            raise Refused(f"librdkafka sent {expected} records, {stored} are stored")
    return {row: sent / seconds}


def transactions(subject: Subject, row: str, *, records: int, producers: int) -> dict[str, float]:
    """Each producer commits one transaction after the other, as many a second as go."""
    effort = subject.effort
    with subject.topic(effort.partitions) as (topic, leaders), ThreadPoolExecutor(producers) as pool:
        expected = 0
        for part in (0.2, 1.0):
            start = Barrier(producers)
            produce = partial(
                librdkafka.produce_in_transactions,
                subject.broker.bootstrap,
                topic,
                records=records,
                record_bytes=100,
                seconds=effort.seconds * part,
                start=start,
            )
            running = [
                pool.submit(produce, number % len(leaders), transactional_id=f"{topic}-{number}")
                for number in range(producers)
            ]
            done = [each.result() for each in running]
            committed, seconds = sum(count for count, _ in done), max(took for _, took in done)
            expected += committed * (records + 1)  # each ends with a marker
        _see_all_stored(topic, leaders, expected)
    return {row: committed / seconds}


def _see_all_stored(topic: str, leaders: dict[int, Address], expected: int) -> None:
    """Wait for the last markers, which are written after the answer to the commit. Raises: Refused."""
    deadline = time.monotonic() + MARKERS_S
    while (stored := sum(_ends(topic, leaders).values())) != expected:
        if stored > expected or time.monotonic() > deadline:
            raise Refused(f"transactions of {expected} records and markers were committed, {stored} are stored")
        time.sleep(0.05)


def consume(subject: Subject, row: str, *, record_bytes: int) -> dict[str, float]:
    """Consume everything twice, once to warm up. The topic is filled beforehand with batches of 500 KB."""
    effort = subject.effort
    batch, count = frames.batch_of_size(500_000, record_bytes)
    batches = min(CONSUMED_BYTES // len(batch), CONSUMED_RECORDS // count) // effort.partitions
    with subject.topic(effort.partitions) as (topic, leaders):
        for partition, leader in leaders.items():
            request = frames.produce_request(topic, partition, batch, acks=-1)
            with Connection(leader) as connection:
                for _ in range(batches):
                    connection.produce(request)
        ends = _ends(topic, leaders)
        for _ in range(2):
            records, seconds = librdkafka.consume(subject.broker.bootstrap, topic, ends=ends)
    return {row: records / seconds}


def _ends(topic: str, leaders: dict[int, Address]) -> dict[int, int]:
    found = {}
    for partition, leader in leaders.items():
        with Connection(leader) as connection:
            found[partition] = connection.end_offset(topic, partition)
    return found

"""Raw cases: requests that were encoded beforehand, so that next to nothing but the broker is measured.

Each returns values by the row of the table that they belong to (table.ROWS). Rates are of requests or of batch bytes
(records as they lie in the log), latencies in microseconds.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence

from support import frames
from support.connection import Address, Connection, Refused, read_fetch

from benchmarks import load
from benchmarks.subject import Subject

WARM_UP = 0.2  # of the seconds and bytes of a measurement, before it
FETCHED_BYTES = 256 << 20  # what Fetch reads again and again: in the page cache, larger than the processor's caches
FETCH_IN_FLIGHT = 4
ONE_RECORD = frames.batch_of([bytes(range(100))])
PARKING_S = 0.002  # what a broker gets to put a Fetch aside before the record comes


def produce(
    subject: Subject, row: str, *, batch_bytes: int, record_bytes: int, in_flight: int, connections: int = 1
) -> dict[str, float]:
    """Pipelined Produce requests of one batch each (`batch_bytes` 0: one record).

    With several connections, each has a partition and `in_flight` requests of its own.
    """
    batch = frames.batch_of_size(batch_bytes, record_bytes)[0] if batch_bytes else ONE_RECORD
    effort = subject.effort
    with subject.topic(connections) as (topic, leaders):
        requests = []
        for partition in range(connections):
            request = frames.produce_request(topic, partition, batch, acks=effort.acks)
            requests.append(load.Requests.of([request] * max(1, min(in_flight, (1 << 20) // len(request)))))
        if len(set(leaders.values())) > 1:
            raise Refused("raw load needs its partitions on one broker")
        most = max(in_flight, effort.max_bytes // len(batch) // connections)
        for part in (WARM_UP, 1.0):
            done = load.run(
                leaders[0],
                requests,
                in_flight=in_flight,
                seconds=effort.seconds * part,
                max_requests=max(in_flight, int(most * part)),
            )
    return {row: done.per_second * len(batch) / 1e6 if batch_bytes else done.per_second}


def produce_single(subject: Subject, row: str, *, connections: int = 1) -> dict[str, float]:
    return produce(subject, row, batch_bytes=0, record_bytes=0, in_flight=64, connections=connections)


def fetch(subject: Subject, row: str) -> dict[str, float]:
    """Pipelined Fetch requests, each of one batch of 1 MB."""
    batch, count = frames.batch_of_size(1 << 20, 1024)
    batches = FETCHED_BYTES // len(batch)
    with subject.topic() as (topic, leaders):
        once = load.Requests.of([frames.produce_request(topic, 0, batch, acks=-1)])
        load.run(leaders[0], [once], in_flight=4, seconds=60, max_requests=batches - 1)
        requests = [
            bytes(frames.fetch_request(topic, 0, number * count, max_bytes=len(batch))) for number in range(batches)
        ]
        with Connection(leaders[0]) as connection:
            for request in (requests[0], requests[-1]):
                answer = connection.fetch(request)
                if answer.error_code or len(answer.records) != len(batch):
                    raise Refused(
                        f"Fetch gave {len(answer.records)} of {len(batch)} bytes, error code {answer.error_code}"
                    )
        for part in (WARM_UP, 1.0):
            done = load.run(
                leaders[0],
                [load.Requests.of(requests)],
                in_flight=FETCH_IN_FLIGHT,
                seconds=subject.effort.seconds * part,
                max_requests=1 << 40,
                check_answers=False,
            )
    return {row: done.per_second * len(batch) / 1e6}


def produce_latency(subject: Subject, row: str) -> dict[str, float]:
    """One request of one record at a time."""
    with subject.topic() as (topic, leaders), Connection(leaders[0]) as connection:
        request = frames.produce_request(topic, 0, ONE_RECORD, acks=subject.effort.acks)
        connection.produce(request)
        taken = round_trips(connection, request, subject.effort.seconds)
        _check_end(leaders[0], topic, at_least=len(taken))
    return percentiles(row, taken)


def round_trips(connection: Connection, request: bytes, seconds: float) -> list[int]:
    """Send one request after the other, all with answers of one length; return what each took, in nanoseconds."""
    size = 4 + len(connection.ask(request))
    send, receive, clock = connection.socket.sendall, connection.socket.recv, time.perf_counter_ns
    connection.socket.settimeout(None)  # a timeout costs a poll before each call
    taken: list[int] = []
    for part in (WARM_UP, 1.0):
        taken.clear()
        deadline = clock() + int(seconds * part * 1e9)
        started = 0
        while started < deadline:
            started = clock()
            send(request)
            got = len(receive(size))
            while got < size:
                got += _some(receive(size - got))
            taken.append(clock() - started)
    return taken


def end_to_end_latency(subject: Subject, row: str) -> dict[str, float]:
    """From sending a record to having it in full on another connection, whose Fetch was waiting for it."""
    with (
        subject.topic() as (topic, leaders),
        Connection(leaders[0]) as producer,
        Connection(leaders[0]) as consumer,
    ):
        request = frames.produce_request(topic, 0, ONE_RECORD, acks=subject.effort.acks)
        fetch_request = frames.fetch_request(topic, 0, 0, max_bytes=1 << 20, max_wait_ms=10_000)
        waiting = select.poll()
        waiting.register(consumer.socket, select.POLLIN)
        taken: list[int] = []
        offset = 0
        size = 0
        for seconds in (subject.effort.seconds * WARM_UP, subject.effort.seconds):
            taken.clear()
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                frames.patch_fetch_offset(fetch_request, offset)
                consumer.socket.sendall(fetch_request)
                time.sleep(PARKING_S)
                if waiting.poll(0):
                    raise Refused("a Fetch that had nothing to read did not wait")
                started = time.perf_counter_ns()
                producer.socket.sendall(request)
                answer = consumer.receive()
                taken.append(time.perf_counter_ns() - started)
                producer.receive()
                offset += 1
                if len(answer) != size:
                    size = len(answer)
                    _check_record(answer, len(ONE_RECORD))
    return percentiles(row, taken)


def percentiles(row: str, taken_ns: Sequence[int]) -> dict[str, float]:
    ordered = sorted(taken_ns)
    return {
        f"{row}-p50": ordered[len(ordered) // 2] / 1e3,
        f"{row}-p99": ordered[len(ordered) * 99 // 100] / 1e3,
    }


def _some(received: bytes) -> int:
    if not received:
        raise ConnectionError("the broker closed the connection")
    return len(received)


def _check_record(answer: bytes, batch_bytes: int) -> None:
    found = read_fetch(answer)
    if found.error_code or len(found.records) != batch_bytes:
        raise Refused(f"a waiting Fetch got {len(found.records)} bytes, error code {found.error_code}")


def _check_end(leader: Address, topic: str, *, at_least: int) -> None:
    with Connection(leader) as connection:
        end_offset = connection.end_offset(topic, 0)
    if end_offset < at_least:
        raise Refused(f"{at_least} records were acknowledged, but the log ends at {end_offset}")

"""The cases against peers that do next to nothing (sink): what no broker can be seen to pass on this machine."""

from __future__ import annotations

import struct
import tempfile
from functools import partial
from pathlib import Path

from support import frames
from support.connection import Connection

from benchmarks import load, raw
from benchmarks.sink import Sink, answer_all, send_file
from benchmarks.subject import Effort

TOPIC = "compare-000000000000"
ACKS = 1


def produce(effort: Effort, row: str, *, batch_bytes: int, in_flight: int) -> dict[str, float]:
    batch = frames.batch_of_size(batch_bytes, 1024)[0] if batch_bytes else raw.ONE_RECORD
    request = frames.produce_request(TOPIC, 0, batch)
    requests = load.Requests.of([request] * max(1, min(in_flight, (1 << 20) // len(request))))
    answer = frames.produce_answer(TOPIC, 0)
    with Sink(partial(answer_all, request_size=len(request), answer=answer)) as sink:
        done = load.run(sink.address, [requests], in_flight=in_flight, seconds=effort.seconds, max_requests=1 << 40)
    return {row: done.per_second * len(batch) / 1e6 if batch_bytes else done.per_second}


def fetch(effort: Effort, row: str) -> dict[str, float]:
    batch = bytes(1 << 20)
    request = bytes(frames.fetch_request(TOPIC, 0, 0, max_bytes=len(batch)))
    answer = struct.pack(">i", len(batch)) + batch
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(raw.FETCHED_BYTES // len(batch)):
            file.write(answer)
        file.flush()
        serve = partial(send_file, request_size=len(request), file=Path(file.name), answer_size=len(answer))
        with Sink(serve) as sink:
            done = load.run(
                sink.address,
                [load.Requests.of([request])],
                in_flight=raw.FETCH_IN_FLIGHT,
                seconds=effort.seconds,
                max_requests=1 << 40,
                check_answers=False,
            )
    return {row: done.per_second * len(batch) / 1e6}


def produce_latency(effort: Effort, row: str) -> dict[str, float]:
    request = frames.produce_request(TOPIC, 0, raw.ONE_RECORD, acks=ACKS)
    answer = frames.produce_answer(TOPIC, 0)
    with (
        Sink(partial(answer_all, request_size=len(request), answer=answer)) as sink,
        Connection(sink.address) as connection,
    ):
        return raw.percentiles(row, raw.round_trips(connection, request, effort.seconds))

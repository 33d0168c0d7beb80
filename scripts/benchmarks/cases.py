"""The list of cases by the names that `--only` takes, and what each measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from benchmarks import failover, native, no_broker, raw
from benchmarks.subject import Effort, Subject

LoadCase = Callable[[Subject], dict[str, float]]

LOAD_CASES: Mapping[str, LoadCase] = {
    "librdkafka-produce-100": partial(native.produce, row="librdkafka-produce-100", record_bytes=100),
    "librdkafka-produce-1k": partial(native.produce, row="librdkafka-produce-1k", record_bytes=1024),
    "librdkafka-consume-100": partial(native.consume, row="librdkafka-consume-100", record_bytes=100),
    "librdkafka-consume-1k": partial(native.consume, row="librdkafka-consume-1k", record_bytes=1024),
    "transactions": partial(native.transactions, row="transactions", records=100, producers=32),
    "transactions-1": partial(native.transactions, row="transactions-1", records=100, producers=1),
    "produce-1m": partial(raw.produce, row="produce-1m", batch_bytes=1 << 20, record_bytes=1024, in_flight=8),
    "produce-16k": partial(raw.produce, row="produce-16k", batch_bytes=1 << 14, record_bytes=1024, in_flight=64),
    "produce-16k-4": partial(
        raw.produce, row="produce-16k-4", batch_bytes=1 << 14, record_bytes=1024, in_flight=64, connections=4
    ),
    "produce-single": partial(raw.produce_single, row="produce-single"),
    "produce-single-4": partial(raw.produce_single, row="produce-single-4", connections=4),
    "fetch-1m": partial(raw.fetch, row="fetch-1m"),
    "produce-latency": partial(raw.produce_latency, row="produce-latency"),
    "end-to-end": partial(raw.end_to_end_latency, row="end-to-end"),
}
CLUSTER_CASES: Mapping[str, LoadCase] = {
    **LOAD_CASES,
    "failover-kill": partial(failover.gap, row="failover-kill", is_clean=False),
    "failover-stop": partial(failover.gap, row="failover-stop", is_clean=True),
}
# What a cluster is measured by unless --only says otherwise: the cases with a bar.
CLUSTER_STANDARD = ("librdkafka-produce-100", "librdkafka-produce-1k", "produce-latency", "failover-kill")
RESOURCE_CASES = ("start", "memory-idle", "memory-connections", "memory-partitions")
SINK_CASES: Mapping[str, Callable[[Effort], dict[str, float]]] = {
    "produce-1m": partial(no_broker.produce, row="produce-1m", batch_bytes=1 << 20, in_flight=8),
    "produce-16k": partial(no_broker.produce, row="produce-16k", batch_bytes=1 << 14, in_flight=64),
    "produce-single": partial(no_broker.produce, row="produce-single", batch_bytes=0, in_flight=64),
    "fetch-1m": partial(no_broker.fetch, row="fetch-1m"),
    "produce-latency": partial(no_broker.produce_latency, row="produce-latency"),
}

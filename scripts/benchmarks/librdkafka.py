"""librdkafka, the native client, driven so that it is the client's speed that counts and not Python's.

The library is the one that confluent-kafka brings along. Records are handed over thousands at a time
(`rd_kafka_produce_batch`), and consumed ones are counted by the library itself: `rd_kafka_consume_callback_queue`
calls a C function that does nothing with each, so no Python runs per record.

Rules: stock client settings but for `acks` and the two that keep the client's own queue from being what is measured
(see SETTINGS).
Sources: librdkafka's rdkafka.h and CONFIGURATION.md.
"""

from __future__ import annotations

import ctypes
import importlib.util
import time
from collections.abc import Mapping
from ctypes import POINTER, byref, c_char, c_char_p, c_int, c_int32, c_int64, c_size_t, c_void_p
from pathlib import Path
from threading import Barrier

from support.connection import Refused

PRODUCER, CONSUMER = 0, 1
COPY_AND_BLOCK = 0x2 | 0x4
OFFSET_BEGINNING = -2
RECORDS_PER_CALL = 5_000
TIMEOUT_S = 60.0
SETTINGS = {
    "queue.buffering.max.messages": "1000000",  # producing waits for the broker, not for room for 100,000 records
    "fetch.queue.backoff.ms": "1",  # the default stops fetching for a second each time the queue is full
}


class _Message(ctypes.Structure):
    _fields_ = (
        ("err", c_int),
        ("topic", c_void_p),
        ("partition", c_int32),
        ("payload", c_char_p),
        ("len", c_size_t),
        ("key", c_void_p),
        ("key_len", c_size_t),
        ("offset", c_int64),
        ("private", c_void_p),
    )


class _TopicPartition(ctypes.Structure):
    _fields_ = (
        ("topic", c_char_p),
        ("partition", c_int32),
        ("offset", c_int64),
        ("metadata", c_void_p),
        ("metadata_size", c_size_t),
        ("opaque", c_void_p),
        ("err", c_int),
        ("private", c_void_p),
    )


class _TopicPartitions(ctypes.Structure):
    _fields_ = (("count", c_int), ("size", c_int), ("items", POINTER(_TopicPartition)))


def load_library() -> ctypes.CDLL:
    """Return the librdkafka of the installed confluent-kafka. Raises: Refused where there is none."""
    spec = importlib.util.find_spec("confluent_kafka")
    if spec is None or spec.origin is None:
        raise Refused("confluent-kafka is not installed")
    package = Path(spec.origin).parent
    found = sorted([*package.parent.glob("confluent_kafka.libs/librdkafka*"), *package.glob(".dylibs/librdkafka*")])
    if not found:
        raise Refused(f"no librdkafka next to {package}")
    library = ctypes.CDLL(str(found[0]))
    for name, result, arguments in (
        ("rd_kafka_conf_new", c_void_p, []),
        ("rd_kafka_conf_set", c_int, [c_void_p, c_char_p, c_char_p, c_void_p, c_size_t]),
        ("rd_kafka_new", c_void_p, [c_int, c_void_p, c_void_p, c_size_t]),
        ("rd_kafka_topic_new", c_void_p, [c_void_p, c_char_p, c_void_p]),
        ("rd_kafka_produce_batch", c_int, [c_void_p, c_int32, c_int, POINTER(_Message), c_int]),
        ("rd_kafka_flush", c_int, [c_void_p, c_int]),
        ("rd_kafka_init_transactions", c_void_p, [c_void_p, c_int]),
        ("rd_kafka_begin_transaction", c_void_p, [c_void_p]),
        ("rd_kafka_commit_transaction", c_void_p, [c_void_p, c_int]),
        ("rd_kafka_error_string", c_char_p, [c_void_p]),
        ("rd_kafka_queue_new", c_void_p, [c_void_p]),
        ("rd_kafka_consume_start_queue", c_int, [c_void_p, c_int32, c_int64, c_void_p]),
        ("rd_kafka_consume_callback_queue", c_int, [c_void_p, c_int, c_void_p, c_void_p]),
        ("rd_kafka_consume_stop", c_int, [c_void_p, c_int32]),
        ("rd_kafka_position", c_int, [c_void_p, POINTER(_TopicPartitions)]),
        ("rd_kafka_topic_partition_list_new", POINTER(_TopicPartitions), [c_int]),
        ("rd_kafka_topic_partition_list_add", c_void_p, [POINTER(_TopicPartitions), c_char_p, c_int32]),
        ("rd_kafka_topic_partition_list_destroy", None, [POINTER(_TopicPartitions)]),
        ("rd_kafka_queue_destroy", None, [c_void_p]),
        ("rd_kafka_topic_destroy", None, [c_void_p]),
        ("rd_kafka_destroy", None, [c_void_p]),
        ("rd_kafka_version_str", c_char_p, []),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def produce(
    bootstrap: str, topic: str, *, partitions: int, record_bytes: int, acks: str, seconds: float, max_records: int
) -> tuple[int, float]:
    """Produce for `seconds` or `max_records`; return the records sent and the seconds until all were acknowledged."""
    library = load_library()
    client = _client(library, PRODUCER, {"bootstrap.servers": bootstrap, "acks": acks})
    handle = library.rd_kafka_topic_new(client, topic.encode(), None)
    value = bytes(i * 31 % 251 for i in range(record_bytes))
    batch = (_Message * RECORDS_PER_CALL)(*[_Message(payload=value, len=len(value)) for _ in range(RECORDS_PER_CALL)])
    try:
        started = time.perf_counter()
        sent = partition = 0
        while sent < max_records and time.perf_counter() - started < seconds:
            sent += library.rd_kafka_produce_batch(handle, partition, COPY_AND_BLOCK, batch, RECORDS_PER_CALL)
            partition = (partition + 1) % partitions
        if library.rd_kafka_flush(client, int(TIMEOUT_S * 1000)):
            raise Refused(f"librdkafka could not deliver everything within {TIMEOUT_S:.0f} s")
        return sent, time.perf_counter() - started
    finally:
        library.rd_kafka_topic_destroy(handle)
        library.rd_kafka_destroy(client)


def produce_in_transactions(
    bootstrap: str,
    topic: str,
    partition: int,
    *,
    transactional_id: str,
    records: int,
    record_bytes: int,
    seconds: float,
    start: Barrier,
) -> tuple[int, float]:
    """Commit transactions of so many records to a partition for `seconds`; return how many, and the time it took.

    All producers of a measurement meet at `start` once they have their producer ids.
    """
    library = load_library()
    settings = {"bootstrap.servers": bootstrap, "transactional.id": transactional_id}
    client = _client(library, PRODUCER, settings)
    handle = library.rd_kafka_topic_new(client, topic.encode(), None)
    value = bytes(i * 31 % 251 for i in range(record_bytes))
    batch = (_Message * records)(*[_Message(payload=value, len=len(value)) for _ in range(records)])
    timeout_ms = int(TIMEOUT_S * 1000)
    try:
        _succeed(library, library.rd_kafka_init_transactions(client, timeout_ms))
        start.wait(TIMEOUT_S)
        started = time.perf_counter()
        committed = 0
        while time.perf_counter() - started < seconds:
            _succeed(library, library.rd_kafka_begin_transaction(client))
            if library.rd_kafka_produce_batch(handle, partition, COPY_AND_BLOCK, batch, records) != records:
                raise Refused("librdkafka did not take all records of a transaction")
            _succeed(library, library.rd_kafka_commit_transaction(client, timeout_ms))
            committed += 1
        return committed, time.perf_counter() - started
    finally:
        library.rd_kafka_topic_destroy(handle)
        library.rd_kafka_destroy(client)


def _succeed(library: ctypes.CDLL, error: int | None) -> None:
    """Raises: Refused with what the library says of a call of the transactional API that failed."""
    if error:
        raise Refused(library.rd_kafka_error_string(error).decode())


def consume(bootstrap: str, topic: str, *, ends: Mapping[int, int]) -> tuple[int, float]:
    """Consume each partition from the beginning to its end offset; return the records and the seconds from the first to
    the last of them.
    """
    library = load_library()
    client = _client(library, CONSUMER, {"bootstrap.servers": bootstrap})
    handle = library.rd_kafka_topic_new(client, topic.encode(), None)
    queue = library.rd_kafka_queue_new(client)
    count_only = ctypes.cast(library.rd_kafka_version, c_void_p)  # any function that ignores its arguments will do
    wanted, count, first, first_count = sum(ends.values()), 0, 0.0, 0
    try:
        for partition in ends:
            library.rd_kafka_consume_start_queue(handle, partition, OFFSET_BEGINNING, queue)
        deadline = time.monotonic() + TIMEOUT_S
        while count < wanted:
            count += max(0, library.rd_kafka_consume_callback_queue(queue, 100, count_only, None))
            if count and not first:
                first, first_count = time.perf_counter(), count
            if time.monotonic() > deadline:
                raise Refused(f"librdkafka consumed {count} of {wanted} records within {TIMEOUT_S:.0f} s")
        ended = time.perf_counter()
        _check_positions(library, client, topic, ends)
        for partition in ends:
            library.rd_kafka_consume_stop(handle, partition)
        return count - first_count, ended - first
    finally:
        library.rd_kafka_queue_destroy(queue)
        library.rd_kafka_topic_destroy(handle)
        library.rd_kafka_destroy(client)


def _client(library: ctypes.CDLL, kind: int, settings: Mapping[str, str]) -> c_void_p:
    error = (c_char * 512)()
    conf = library.rd_kafka_conf_new()
    for name, value in {**SETTINGS, **settings}.items():
        if (kind == PRODUCER and name.startswith("fetch.")) or (kind == CONSUMER and name.startswith("queue.buf")):
            continue
        if library.rd_kafka_conf_set(conf, name.encode(), value.encode(), byref(error), len(error)):
            raise Refused(error.value.decode())
    client = library.rd_kafka_new(kind, conf, byref(error), len(error))
    if not client:
        raise Refused(error.value.decode())
    return c_void_p(client)


def _check_positions(library: ctypes.CDLL, client: c_void_p, topic: str, ends: Mapping[int, int]) -> None:
    """Hold the client's positions against the end offsets: errors would have been counted as records."""
    listed = library.rd_kafka_topic_partition_list_new(len(ends))
    try:
        for partition in ends:
            library.rd_kafka_topic_partition_list_add(listed, topic.encode(), partition)
        library.rd_kafka_position(client, listed)
        positions = {item.partition: item.offset for item in listed.contents.items[: listed.contents.count]}
        if positions != dict(ends):
            raise Refused(f"librdkafka ended at {positions}, not at {dict(ends)}")
    finally:
        library.rd_kafka_topic_partition_list_destroy(listed)

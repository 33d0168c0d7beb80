"""The scenarios of README.md about records: producing, consuming, compression, offsets. Shared by the Python clients.

Not here: topics, configs, groups as an admin sees them (scenarios_admin.py), members that come and go
    (scenarios_groups.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing

from library import (
    Ack,
    BrokerError,
    Consumer,
    Library,
    Message,
    Partition,
    Producer,
    Send,
    expect_error,
    where_supported,
)
from program import BASE_TIMESTAMP, STANDARD_RECORDS, Context, check, equal

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
POLL_S = 0.2
QUIET_S = 2.0


def read(consumer: Consumer, count: int, context: Context, timeout_s: float = 30) -> list[Message]:
    """Poll until `count` records came; fail with how many did within the timeout."""
    messages: list[Message] = []
    end = min(context.deadline, time.monotonic() + timeout_s)
    while len(messages) < count:
        messages += consumer.poll(POLL_S)
        if time.monotonic() > end:
            raise AssertionError(f"got {len(messages)} of {count} records within {timeout_s:.0f} s")
    return messages


def read_nothing(consumer: Consumer, what: str) -> None:
    """Fail if a record comes within QUIET_S."""
    end = time.monotonic() + QUIET_S
    while time.monotonic() < end:
        if messages := consumer.poll(POLL_S):
            raise AssertionError(f"{what}: expected no record, got offset {messages[0].offset}")


def read_from_start(library: Library, partitions: Sequence[Partition], count: int, context: Context) -> list[Message]:
    """Read `count` records of these partitions with a consumer without a group, and check that no more come with
    them."""
    with closing(library.consumer()) as consumer:
        consumer.assign(partitions)
        for partition in partitions:
            consumer.seek_to_beginning(partition)
        messages = read(consumer, count, context)
        messages += consumer.poll(POLL_S)
        equal(len(messages), count, "number of records")
        return messages


def produce_consume(library: Library, context: Context) -> None:
    topic = context.name()
    library.create_topic(topic, partitions=4)
    records = [_record(topic, index, library.null_headers) for index in range(1000)]
    with closing(library.producer()) as producer:
        acks = producer.produce(records)
    messages = read_from_start(library, [Partition(topic, number) for number in range(4)], 1000, context)
    for number in range(4):
        offsets = [message.offset for message in messages if message.partition == number]
        equal(offsets, list(range(250)), f"offsets read from partition {number}")
    by_place = {(message.partition, message.offset): message for message in messages}
    for index, (record, ack) in enumerate(zip(records, acks, strict=True)):
        equal(ack.partition, index % 4, f"partition acknowledged for record {index}")
        message = by_place[ack]
        equal(message.key, record.key, f"key of record {index}")
        equal(message.value, record.value, f"value of record {index}")
        equal(message.timestamp, record.timestamp, f"timestamp of record {index}")
        equal(list(message.headers), list(record.headers), f"headers of record {index}")


def _record(topic: str, index: int, null_headers: bool) -> Send:
    headers: list[tuple[str, bytes | None]] = [("index", b"%d" % index), ("empty", b"")]
    if null_headers:
        headers.append(("none", None))
    headers.append(("index", b"again"))
    return Send(
        topic,
        key=None if index % 10 == 3 else b"key-%d" % index,
        value=None if index % 10 == 7 else b"value-%d" % index + b"x" * index,
        partition=index % 4,
        timestamp=BASE_TIMESTAMP + index,
        headers=headers,
    )


def compression(library: Library, context: Context) -> None:
    for codec in CODECS:
        topic = context.name(codec)
        library.create_topic(topic)
        with closing(library.producer(compression=codec, linger_ms=50)) as producer:
            producer.produce([Send(topic, value, key) for key, value in STANDARD_RECORDS])
        _check_standard_records(library, topic, context)


def cross_compression(library: Library, context: Context) -> None:
    check(context.topics, "no topics were given")
    for topic in context.topics:
        _check_standard_records(library, topic, context)


def _check_standard_records(library: Library, topic: str, context: Context) -> None:
    try:
        messages = read_from_start(library, [Partition(topic, 0)], len(STANDARD_RECORDS), context)
    except (AssertionError, BrokerError) as error:
        raise AssertionError(f"{topic}: {error}") from error
    for message, record in zip(messages, STANDARD_RECORDS, strict=True):
        equal((message.key, message.value), record, f"{topic} offset {message.offset}")


def acks(library: Library, context: Context) -> None:
    for setting in (0, 1, "all"):
        topic = context.name(str(setting))
        library.create_topic(topic)
        with closing(library.producer(acks=setting, idempotent=False)) as producer:
            acknowledged = producer.produce([Send(topic, b"%d" % index) for index in range(100)])
        if setting != 0:
            equal(acknowledged, [Ack(0, offset) for offset in range(100)], f"acknowledgements with acks={setting}")
        messages = read_from_start(library, [Partition(topic, 0)], 100, context)
        equal([message.value for message in messages], [b"%d" % index for index in range(100)], f"acks={setting}")


def idempotent(library: Library, context: Context) -> None:
    topic = context.name()
    library.create_topic(topic, partitions=3)
    for half in (range(500), range(500, 1000)):
        with closing(library.producer(idempotent=True, batch_bytes=500)) as producer:
            producer.produce([Send(topic, b"%d" % index, partition=index % 3) for index in half])
    messages = read_from_start(library, [Partition(topic, number) for number in range(3)], 1000, context)
    for number in range(3):
        values = [int(message.value or b"") for message in messages if message.partition == number]
        equal(values, list(range(number, 1000, 3)), f"records of partition {number}")


def large_messages(library: Library, context: Context) -> None:
    topic, raised = context.name(), context.name("raised")
    library.create_topic(topic)
    library.create_topic(raised, configs={"max.message.bytes": "2000000"})
    large, too_large = b"0123456789" * 90_000, b"0123456789" * 150_000
    with closing(library.producer()) as producer:
        producer.produce([Send(topic, large)])
    with closing(library.producer(max_request_bytes=2_000_000)) as producer:
        expect_error(
            "MESSAGE_TOO_LARGE", "value of 1 500 000 bytes", lambda: producer.produce([Send(topic, too_large)])
        )
    with closing(library.producer(max_request_bytes=2_000_000)) as producer:
        producer.produce([Send(raised, too_large)])
    for name, value in ((topic, large), (raised, too_large)):
        with closing(library.consumer(partition_fetch_bytes=1000)) as consumer:
            consumer.assign([Partition(name, 0)])
            consumer.seek_to_beginning(Partition(name, 0))
            (message,) = read(consumer, 1, context)
            check(message.value == value, f"{name}: the value of {len(value)} bytes came back changed")


def seek_replay(library: Library, context: Context) -> None:
    topic = context.name()
    partition = Partition(topic, 0)
    library.create_topic(topic)
    with closing(library.producer()) as producer:
        producer.produce([Send(topic, b"%d" % i, timestamp=BASE_TIMESTAMP + 1000 * i) for i in range(500)])
    with closing(library.consumer()) as consumer:
        consumer.assign([partition])
        # At once on one broker; on a cluster, some libraries wait for the leader only.
        context.wait_until("the high watermark is 500", lambda: consumer.bounds(partition)[1] >= 500)
        _check_seeks(consumer, partition, context)
        equal(consumer.bounds(partition), (0, 500), "earliest and latest offset")
        for wanted, offset in ((0, 0), (250_000, 250), (250_001, 251)):
            found = consumer.offset_for_time(partition, BASE_TIMESTAMP + wanted)
            check(found is not None, f"no offset for {wanted} ms after the first record")
            assert found is not None
            equal(found[0], offset, f"offset for {wanted} ms after the first record")
            if found[1] is not None:
                equal(found[1], BASE_TIMESTAMP + 1000 * offset, f"timestamp found for {wanted} ms after the first")
        equal(
            consumer.offset_for_time(partition, BASE_TIMESTAMP + 500_000),
            None,
            "offset for a time after the last record",
        )
        consumer.seek(partition, 0)
        replayed = [message.offset for message in read(consumer, 500, context)]
        equal(replayed, list(range(500)), "replayed offsets")
    with where_supported():
        equal(library.max_timestamp_offset(partition), 499, "offset of the largest timestamp")


def _check_seeks(consumer: Consumer, partition: Partition, context: Context) -> None:
    consumer.seek(partition, 123)
    first = read(consumer, 1, context)[0]
    equal((first.offset, first.value), (123, b"123"), "first record after seek to 123")
    consumer.seek_to_beginning(partition)
    equal(read(consumer, 1, context)[0].offset, 0, "first record after seek to the beginning")
    consumer.seek_to_end(partition)
    read_nothing(consumer, "seek to the end")
    with where_supported():
        equal(consumer.position(partition), 500, "position after seek to the end")


def commit_resume(library: Library, context: Context) -> None:
    topic, group = context.name(), context.name("group")
    partition = Partition(topic, 0)
    library.create_topic(topic)
    with closing(library.producer()) as producer:
        producer.produce([Send(topic, b"%d" % index) for index in range(100)])
    with closing(joined(library, group, topic)) as consumer:
        equal([m.offset for m in read(consumer, 40, context)][:40], list(range(40)), "first consumer's offsets")
        consumer.commit({partition: (40, "at-40")})
        _check_committed(consumer, partition, 40, "at-40")
        equal(consumer.bounds(partition)[1] - 40, 60, "lag")
    with closing(joined(library, group, topic)) as consumer:
        equal([m.offset for m in read(consumer, 60, context)], list(range(40, 100)), "second consumer's offsets")
        consumer.commit({partition: (100, "")})
    with closing(joined(library, group, topic)) as consumer:
        context.wait_until(
            "the third consumer owns the partition", lambda: consumer.poll(POLL_S) or consumer.assignment()
        )
        read_nothing(consumer, "third consumer after everything was committed")
        with where_supported():
            equal(consumer.position(partition), 100, "third consumer's position")
        _check_committed(consumer, partition, 100, "")


def joined(library: Library, group: str, topic: str) -> Consumer:
    """Return a consumer that subscribes to the topic as a member of the group."""
    consumer = library.consumer(group=group)
    consumer.subscribe([topic], lambda partitions: None, lambda partitions: None)
    return consumer


def _check_committed(consumer: Consumer, partition: Partition, offset: int, metadata: str) -> None:
    committed = consumer.committed(partition)
    check(committed is not None, "there is no committed offset")
    assert committed is not None
    equal(committed[0], offset, "committed offset")
    if committed[1] is not None:
        equal(committed[1], metadata, "committed metadata")


def auto_create(library: Library, context: Context) -> None:
    topic, never = context.name(), context.name("never")
    with closing(library.producer()) as producer:
        producer.produce([Send(topic, b"hello", partition=None)])
    (message,) = read_from_start(library, [Partition(topic, 0)], 1, context)
    equal(message.value, b"hello", "value")
    equal(len(library.describe_topic(topic)), 1, "number of partitions of the created topic")
    with where_supported(), closing(library.consumer(group=context.name("group"), auto_create=False)) as consumer:
        consumer.subscribe([never], lambda partitions: None, lambda partitions: None)
        end = time.monotonic() + QUIET_S
        while time.monotonic() < end:
            try:
                consumer.poll(POLL_S)
            except BrokerError as error:
                equal(error.name, "UNKNOWN_TOPIC_OR_PARTITION", "consuming an unknown topic")
        check(never not in library.list_topics(), "a consumer without auto-creation created its topic")


def errors(library: Library, context: Context) -> None:
    topic, unknown = context.name(), context.name("unknown")
    partition = Partition(topic, 0)
    library.create_topic(topic)
    expect_error("UNKNOWN_TOPIC_OR_PARTITION", "describe an unknown topic", lambda: library.describe_topic(unknown))
    if not library.describing_creates:
        check(unknown not in library.list_topics(), "describing an unknown topic created it")
    with closing(library.producer()) as producer:
        producer.produce([Send(topic, b"%d" % index) for index in range(10)])
        with closing(library.consumer(reset="earliest")) as consumer:
            consumer.assign([partition])
            consumer.seek(partition, 1000)
            equal(read(consumer, 1, context)[0].offset, 0, "record after reset to earliest")
        _check_reset_to_latest(library, producer, partition, context)
    with closing(library.consumer(reset="none")) as consumer:
        consumer.assign([partition])
        consumer.seek(partition, 1000)
        expect_error("OFFSET_OUT_OF_RANGE", "reset policy none", lambda: read(consumer, 1, context, 10))
    with (
        closing(library.consumer(group=context.name("group"), session_timeout_ms=3_600_000)) as consumer,
        where_supported(),
    ):
        consumer.subscribe([topic], lambda partitions: None, lambda partitions: None)
        expect_error("INVALID_SESSION_TIMEOUT", "session timeout of an hour", lambda: read(consumer, 1, context, 10))


def _check_reset_to_latest(library: Library, producer: Producer, partition: Partition, context: Context) -> None:
    with closing(library.consumer(reset="latest")) as consumer:
        consumer.assign([partition])
        consumer.seek(partition, 1000)
        read_nothing(consumer, "reset to latest")
        producer.produce([Send(partition.topic, b"after")])
        equal(read(consumer, 1, context)[0].value, b"after", "record after reset to latest")


def record_scenarios() -> dict[str, Callable[[Library, Context], None]]:
    """Return the scenarios of this file by name."""
    return {
        "produce_consume": produce_consume,
        "compression": compression,
        "cross_compression": cross_compression,
        "acks": acks,
        "idempotent": idempotent,
        "large_messages": large_messages,
        "seek_replay": seek_replay,
        "commit_resume": commit_resume,
        "auto_create": auto_create,
        "errors": errors,
    }

"""The scenarios of README.md about topics, configs, records and groups as an admin sees them. Shared by the Python
clients."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

from library import BrokerError, Consumer, Library, Partition, Send, expect_error, where_supported
from program import REPLICATION_FACTOR, Context, check, equal
from scenarios import POLL_S, joined, read, read_nothing


def admin_topics(library: Library, context: Context) -> None:
    first, second = context.name("a"), context.name("b")
    broker = library.broker_ids()[0]
    library.create_topic(first, partitions=3, configs={"cleanup.policy": "compact"})
    library.create_topic(second, assignments={0: [broker], 1: [broker]})
    for topic, partitions, replicas in ((first, 3, REPLICATION_FACTOR), (second, 2, 1)):
        equal(len(library.describe_topic(topic)), partitions, f"partitions of {topic}")
        _check_replicas(library, context, topic, replicas)
    equal({tuple(each.replicas) for each in library.describe_topic(second)}, {(broker,)}, "the replicas asked for")
    check({first, second} <= library.list_topics(), "the list of topics lacks the created ones")
    equal(library.topic_configs(first)["cleanup.policy"].value, "compact", "cleanup.policy of the created topic")

    library.create_partitions(first, 5)
    context.wait_until("the topic has 5 partitions", lambda: len(library.describe_topic(first)) == 5)
    expect_error("INVALID_PARTITIONS", "5 to 4 partitions", lambda: library.create_partitions(first, 4))
    _check_refused_topics(library, context, first)

    for topic in (first, second):
        library.delete_topic(topic)
    context.wait_until("deleted topics are gone", lambda: not {first, second} & library.list_topics())
    expect_error("UNKNOWN_TOPIC_OR_PARTITION", "delete again", lambda: library.delete_topic(first))


def _check_replicas(library: Library, context: Context, topic: str, replicas: int) -> None:
    def as_created() -> bool:
        return all(
            len(each.replicas) == replicas and each.leader in each.replicas and set(each.isr) == set(each.replicas)
            for each in library.describe_topic(topic)
        )

    # At once, unless a broker is being restarted.
    context.wait_until(f"{topic} has {replicas} replicas, all in sync, one of them the leader", as_created)


def _check_refused_topics(library: Library, context: Context, existing: str) -> None:
    def create(name: str, **how: int | bool | dict[str, str]) -> Callable[[], None]:
        return lambda: library.create_topic(name, **how)  # type: ignore[arg-type]

    expect_error("TOPIC_ALREADY_EXISTS", "create an existing topic", create(existing))
    expect_error("INVALID_TOPIC_EXCEPTION", "create bad/name", create(f"{context.prefix}-bad/name"))
    expect_error(
        "INVALID_REPLICATION_FACTOR", "replication factor 99", create(context.name("r"), replication_factor=99)
    )
    with where_supported():
        expect_error("INVALID_PARTITIONS", "0 partitions", create(context.name("z"), partitions=0))
    no_config = {"no.such.config": "1"}
    expect_error("INVALID_CONFIG", "unknown config", create(context.name("c"), configs=no_config))
    with where_supported():
        library.create_topic(context.name("v"), validate_only=True)
    refused = {context.name(letter) for letter in "rzcv"}
    check(not refused & library.list_topics(), "a refused or only validated topic was created")


def admin_configs(library: Library, context: Context) -> None:
    topic = context.name()
    library.create_topic(topic, configs={"retention.ms": "3600000"})
    configs = library.topic_configs(topic)
    _check_config(configs["retention.ms"], "3600000", False, "DYNAMIC_TOPIC_CONFIG", "retention.ms")
    equal((configs["segment.bytes"].value, configs["segment.bytes"].is_default), ("1073741824", True), "segment.bytes")
    with where_supported():
        _check_incremental(library, context, topic)
    with where_supported():
        library.replace_topic_configs(topic, {"max.message.bytes": "234567"})
        context.wait_until(
            "max.message.bytes set the old way is 234567",
            lambda: library.topic_configs(topic)["max.message.bytes"].value == "234567",
        )
    broker = library.broker_configs(library.broker_ids()[0])
    check("log.segment.bytes" in broker, "the broker's configs lack log.segment.bytes")


def _check_config(entry: object, value: str, is_default: bool, source: str, what: str) -> None:
    found_value, found_default, found_source = entry  # type: ignore[misc]
    equal((found_value, found_default), (value, is_default), f"{what} and whether it is the default")
    if found_source:
        equal(found_source, source, f"source of {what}")


def _check_incremental(library: Library, context: Context, topic: str) -> None:
    library.alter_topic_configs(topic, [("SET", "max.message.bytes", "123456"), ("DELETE", "retention.ms", None)])

    def altered() -> bool:
        return library.topic_configs(topic)["max.message.bytes"].value == "123456"

    context.wait_until("max.message.bytes is 123456", altered)
    _check_config(library.topic_configs(topic)["retention.ms"], "604800000", True, "DEFAULT_CONFIG", "retention.ms")
    for value, config in (("abc", "retention.ms"), ("1", "no.such.config")):
        expect_error(
            "INVALID_CONFIG",
            f"set {config}={value}",
            lambda value=value, config=config: library.alter_topic_configs(topic, [("SET", config, value)]),
        )
    for operation, value, result in (("APPEND", "compact", "delete,compact"), ("SUBTRACT", "delete", "compact")):
        with where_supported():
            library.alter_topic_configs(topic, [(operation, "cleanup.policy", value)])
            context.wait_until(
                f"cleanup.policy is {result} after {operation} {value}",
                lambda result=result: library.topic_configs(topic)["cleanup.policy"].value == result,
                10,
            )


def admin_records(library: Library, context: Context) -> None:
    topic = context.name()
    partition = Partition(topic, 0)
    library.create_topic(topic)
    with closing(library.producer()) as producer:
        producer.produce([Send(topic, b"%d" % index) for index in range(100)])
    equal(library.delete_records(partition, 30), 30, "low watermark after deleting before 30")
    with closing(library.consumer()) as consumer:
        consumer.assign([partition])
        equal(consumer.bounds(partition), (30, 100), "earliest and latest offset after deleting before 30")
        consumer.seek_to_beginning(partition)
        equal([m.offset for m in read(consumer, 70, context)], list(range(30, 100)), "offsets left")
        equal(library.delete_records(partition, -1), 100, "low watermark after deleting everything")
        consumer.seek_to_beginning(partition)
        read_nothing(consumer, "everything was deleted")
    expect_error("OFFSET_OUT_OF_RANGE", "delete before 1000 of 100", lambda: library.delete_records(partition, 1000))


def admin_groups(library: Library, context: Context) -> None:
    topic, group = context.name(), context.name("group")
    partitions = [Partition(topic, 0), Partition(topic, 1)]
    library.create_topic(topic, partitions=2)
    with closing(library.producer()) as producer:
        producer.produce([Send(topic, b"%d" % index, partition=index % 2) for index in range(20)])
    with closing(joined(library, group, topic)) as consumer:
        read(consumer, 20, context)
        consumer.commit(dict.fromkeys(partitions, (10, "")))
        with Polling(consumer):
            check(group in library.list_groups(), "the list of groups lacks a group with a member")
            described = library.describe_group(group)
            equal(described.state, "Stable", "state")
            check(described.protocol_type in ("consumer", None), f"protocol type is {described.protocol_type!r}")
            equal(len(described.members), 1, "number of members")
            (member,) = described.members
            check(member.client_id.startswith(context.prefix), f"described client id is {member.client_id!r}")
            check("127.0.0.1" in member.host, f"described host is {member.host!r}")
            equal(member.assignment, frozenset(partitions), "described assignment")
            with where_supported():
                expect_error("NON_EMPTY_GROUP", "delete a group with a member", lambda: library.delete_group(group))
    context.wait_until("the group is Empty", lambda: library.describe_group(group).state == "Empty")
    _check_group_offsets(library, group, partitions)
    with where_supported():
        library.delete_group(group)
        check(group not in library.list_groups(), "a deleted group is still listed")
        expect_error("GROUP_ID_NOT_FOUND", "delete a group again", lambda: library.delete_group(group))


def _check_group_offsets(library: Library, group: str, partitions: list[Partition]) -> None:
    with where_supported():
        equal(library.group_offsets(group), dict.fromkeys(partitions, 10), "offsets of the group")
    with where_supported():
        library.alter_group_offsets(group, {partitions[0]: 5})
        equal(library.group_offsets(group)[partitions[0]], 5, "altered offset")
    with where_supported():
        library.delete_group_offsets(group, [partitions[1]])
        check(partitions[1] not in library.group_offsets(group), "a deleted offset is still there")


class Polling:
    """Keep a consumer polling in the background, so that it stays a live member while an admin looks at its group."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._consumer.poll(POLL_S)
            except BrokerError as error:
                print(f"background poll: {error}", flush=True)
                return


def admin_scenarios() -> dict[str, Callable[[Library, Context], None]]:
    """Return the scenarios of this file by name."""
    return {
        "admin_topics": admin_topics,
        "admin_configs": admin_configs,
        "admin_records": admin_records,
        "admin_groups": admin_groups,
    }

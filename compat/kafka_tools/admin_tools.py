"""Kafka's own command line tools: topics, configs, records, groups as an admin sees them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from program import REPLICATION_FACTOR, Context, check, equal
from tools import Tools, table

REPLICAS = re.compile(r"Partition: \d+\s+Leader: (\S+)\s+Replicas: ([\d,]+)\s+Isr: ([\d,]+)")


def admin_topics(tools: Tools, context: Context) -> None:
    first, second = context.name("a"), context.name("b")

    def topics(*arguments: str) -> str:
        return tools.succeed(context, "kafka-topics", *arguments)

    def listed(*names: str) -> bool:
        return set(names) <= set(topics("--list").split())

    topics("--create", "--topic", first, "--partitions", "3", "--config", "cleanup.policy=compact")
    # The tool may ask another broker than the one that created it.
    context.wait_until("the topic is known", lambda: listed(first))
    described = topics("--describe", "--topic", first)
    check("PartitionCount: 3" in described and "cleanup.policy=compact" in described, f"described as {described}")
    context.wait_until(
        "all replicas are in sync", lambda: _as_created(topics("--describe", "--topic", first)), pause_s=0.5
    )
    broker = REPLICAS.findall(described)[0][1].split(",")[0]
    topics("--create", "--topic", second, "--replica-assignment", f"{broker},{broker}")
    context.wait_until("both topics are known", lambda: listed(first, second))
    check("PartitionCount: 2" in topics("--describe", "--topic", second), "the assignment did not make 2 partitions")

    topics("--alter", "--topic", first, "--partitions", "5")
    context.wait_until(
        "the topic has 5 partitions", lambda: "PartitionCount: 5" in topics("--describe", "--topic", first)
    )
    named = ["--topic", first]
    tools.fail(context, "InvalidPartitionsException", "kafka-topics", "--alter", *named, "--partitions", "4")
    tools.fail(context, "TopicExistsException", "kafka-topics", "--create", *named)
    topics("--create", "--if-not-exists", *named)
    refused = {
        "InvalidReplicationFactorException": ["--topic", context.name("r"), "--replication-factor", "99"],
        "InvalidTopicException": ["--topic", f"{context.prefix}-bad/name"],
    }
    for error, arguments in refused.items():
        tools.fail(context, error, "kafka-topics", "--create", *arguments)

    for topic in (first, second):
        topics("--delete", "--topic", topic)
    context.wait_until("deleted topics are gone", lambda: not {first, second} & set(topics("--list").split()))
    tools.fail(context, "does not exist as expected", "kafka-topics", "--delete", *named)


def _as_created(described: str) -> bool:
    """Say whether all three partitions have all their replicas in sync, and one of them for a leader."""
    places = [
        (leader, sorted(replicas.split(",")), sorted(isr.split(",")))
        for leader, replicas, isr in REPLICAS.findall(described)
    ]
    return len(places) == 3 and all(
        len(replicas) == REPLICATION_FACTOR and leader in replicas and isr == replicas
        for leader, replicas, isr in places
    )


def admin_configs(tools: Tools, context: Context) -> None:
    topic = context.name()
    tools.succeed(context, "kafka-topics", "--create", "--topic", topic, "--config", "retention.ms=3600000")
    entity = ["--entity-type", "topics", "--entity-name", topic]

    def described(*more: str) -> str:
        return tools.succeed(context, "kafka-configs", "--describe", *entity, *more)

    check("retention.ms=3600000" in described(), "retention.ms is not described")
    everything = described("--all")
    check("DEFAULT_CONFIG:log.segment.bytes=1073741824" in everything, "segment.bytes has no default as its synonym")
    changes = [
        "--add-config",
        "max.message.bytes=123456,cleanup.policy=[delete,compact]",
        "--delete-config",
        "retention.ms",
    ]
    tools.succeed(context, "kafka-configs", "--alter", *entity, *changes)
    context.wait_until("max.message.bytes is 123456", lambda: "max.message.bytes=123456" in described())
    after = described()
    check("cleanup.policy=delete,compact" in after, f"cleanup.policy is not delete,compact: {after}")
    check("retention.ms" not in after, "the deleted retention.ms is still described")
    alter = ["kafka-configs", "--alter", *entity, "--add-config"]
    tools.fail(context, "InvalidConfigurationException", *alter, "retention.ms=abc")
    tools.fail(context, "InvalidConfigurationException", *alter, "no.such.config=1")
    brokers = ["--describe", "--entity-type", "brokers", "--all"]
    out = tools.succeed(context, "kafka-configs", *brokers)
    check("log.segment.bytes=" in out, "the broker's configs lack log.segment.bytes")


def admin_records(tools: Tools, context: Context) -> None:
    topic = context.name()
    tools.succeed(context, "kafka-topics", "--create", "--topic", topic)
    numbers = "".join(f"{index}\n" for index in range(100))
    tools.succeed(context, "kafka-console-producer", "--topic", topic, stdin=numbers)
    check("low_watermark: 30" in _delete(tools, context, topic, 30), "low watermark after deleting before 30")
    earliest = tools.succeed(context, "kafka-get-offsets", "--topic", topic, "--time", "earliest")
    equal(earliest.strip(), f"{topic}:0:30", "earliest offset")
    left = ["--topic", topic, "--from-beginning", "--max-messages", "70", "--timeout-ms", "5000"]
    equal(tools.succeed(context, "kafka-console-consumer", *left).split(), numbers.split()[30:], "records left")
    check("low_watermark: 100" in _delete(tools, context, topic, -1), "low watermark after deleting everything")
    check("OffsetOutOfRange" in _delete(tools, context, topic, 1000), "deleting before 1000 of 100 is not out of range")


def _delete(tools: Tools, context: Context, topic: str, before: int) -> str:
    wanted = {"version": 1, "partitions": [{"topic": topic, "partition": 0, "offset": before}]}
    path = tools.file("delete.json", json.dumps(wanted))
    return tools.run(context, "kafka-delete-records", "--offset-json-file", str(path)).text


def admin_groups(tools: Tools, context: Context) -> None:
    topic, group = context.name(), context.name("group")
    tools.succeed(context, "kafka-topics", "--create", "--topic", topic, "--partitions", "2")
    keyed = "".join(f"key-{index}\tx\n" for index in range(100))
    tools.succeed(
        context, "kafka-console-producer", "--topic", topic, "--reader-property", "parse.key=true", stdin=keyed
    )
    member = tools.start(
        context, "kafka-verifiable-consumer", "--topic", topic, "--group-id", group, "--reset-policy", "earliest"
    )

    def groups(*arguments: str) -> str:
        return tools.succeed(context, "kafka-consumer-groups", *arguments)

    def state() -> str:
        rows = table(groups("--describe", "--group", group, "--state"))
        return rows[0]["STATE"] if rows else ""

    try:
        context.wait_until("the group is Stable", lambda: group in groups("--list").split() and state() == "Stable")
        (described,) = table(groups("--describe", "--group", group, "--members", "--verbose"))
        check("/127.0.0.1" in described["HOST"], f"described host is {described['HOST']}")
        equal(described["#PARTITIONS"], "2", "partitions of the member")
        tools.fail(context, "GroupNotEmptyException", "kafka-consumer-groups", "--delete", "--group", group)

        def committed() -> bool:
            rows = table(groups("--describe", "--group", group))
            return sum(int(row["CURRENT-OFFSET"].replace("-", "") or 0) for row in rows) == 100

        context.wait_until("everything is committed", committed)
    finally:
        member.terminate()
    context.wait_until("the group is Empty", lambda: state() == "Empty")
    reset = ["--reset-offsets", "--group", group, "--topic", f"{topic}:0", "--execute"]
    groups(*reset, "--to-offset", "5")
    equal(_offsets(groups("--describe", "--group", group))["0"], "5", "offset after --to-offset 5")
    groups(*reset, "--to-earliest")
    equal(_offsets(groups("--describe", "--group", group))["0"], "0", "offset after --to-earliest")
    groups("--delete-offsets", "--group", group, "--topic", f"{topic}:1")
    check("1" not in _offsets(groups("--describe", "--group", group)), "a deleted offset is still described")
    groups("--delete", "--group", group)
    check(group not in groups("--list").split(), "a deleted group is still listed")
    tools.fail(context, "GroupIdNotFoundException", "kafka-consumer-groups", "--delete", "--group", group)


def _offsets(described: str) -> dict[str, str]:
    return {row["PARTITION"]: row["CURRENT-OFFSET"] for row in table(described) if row["CURRENT-OFFSET"] != "-"}


ADMIN_SCENARIOS: dict[str, Callable[[Tools, Context], None]] = {
    "admin_topics": admin_topics,
    "admin_configs": admin_configs,
    "admin_records": admin_records,
    "admin_groups": admin_groups,
}

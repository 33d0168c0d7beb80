"""Kafka's own command line tools: configurations of brokers, groups and client metrics, changed while the broker runs.

Rules: what is set for all brokers harms no scenario that runs at the same time, and is deleted again.
Not here: topics' configurations (admin_tools.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from program import Context, check
from tools import Tools

CLEANER = "log.cleaner.delete.retention.ms"  # of which topics take delete.retention.ms


def live_configs(tools: Tools, context: Context) -> None:
    """kafka-configs sets, shows and deletes what holds for one broker, for all brokers, and for a group."""
    topic, group = context.name(), context.name("group")
    tools.succeed(context, "kafka-topics", "--create", "--topic", topic)
    described = tools.succeed(context, "kafka-configs", "--describe", "--entity-type", "brokers", "--all")
    broker = re.findall(r"configs for broker (\d+)", described)[0]
    one = _Configs(tools, context, "brokers", broker)
    one.alter("log.cleaner.backoff.ms=14000,message.max.bytes=1048589", "DYNAMIC_BROKER_CONFIG:message.max.bytes=")
    one.refuse("Cannot update these configs dynamically|can only be set when the broker starts", "num.partitions=2")
    one.refuse("InvalidRequestException", "log.cleaner.threads=99")
    one.refuse("InvalidRequestException", "max.connections=0")
    one.delete("log.cleaner.backoff.ms", "message.max.bytes")

    default = _Configs(tools, context, "brokers", None)
    default.alter(f"{CLEANER}=86400001", f"DYNAMIC_DEFAULT_BROKER_CONFIG:{CLEANER}=86400001")
    inherited = ["--describe", "--all", "--entity-type", "topics", "--entity-name", topic]
    context.wait_until(
        "the topic inherits what was set for all brokers",
        lambda: "delete.retention.ms=86400001" in tools.succeed(context, "kafka-configs", *inherited),
    )
    default.refuse("InvalidRequestException", "listeners=PLAINTEXT://127.0.0.1:1")
    default.delete(CLEANER)

    of_group = _Configs(tools, context, "groups", group)
    of_group.alter("consumer.session.timeout.ms=50000", "DYNAMIC_GROUP_CONFIG:consumer.session.timeout.ms=50000")
    of_group.refuse("InvalidConfigurationException", "consumer.session.timeout.ms=1")
    of_group.refuse("InvalidConfigurationException", "share.auto.offset.reset=sometimes")
    of_group.delete("consumer.session.timeout.ms")


def client_metrics(tools: Tools, context: Context) -> None:
    """kafka-configs and kafka-client-metrics keep subscriptions to the metrics of clients."""
    name, other = context.name(), context.name("other")
    subscription = _Configs(tools, context, "client-metrics", name)
    # A list stands in brackets.
    subscription.alter(
        f"interval.ms=30000,metrics=[org.apache.kafka.producer.,a],match=[client_id={context.prefix}.*]",
        "DYNAMIC_CLIENT_METRICS_CONFIG:interval.ms=30000",
    )
    subscription.refuse("InvalidRequestException", "interval.ms=99")
    subscription.refuse("InvalidConfigurationException", "match=[colour=red]")

    def metrics(*arguments: str) -> str:
        return tools.succeed(context, "kafka-client-metrics", *arguments)

    matched = ["--match", "client_software_name=kafka-.*,client_source_port=[0-9]+"]
    metrics("--alter", "--name", other, "--metrics", "b,c", "--interval", "1000", *matched)
    context.wait_until("both subscriptions are listed", lambda: {name, other} <= set(metrics("--list").split()))
    described = metrics("--describe", "--name", other)
    for text in ("interval.ms=1000", "metrics=b,c", "client_software_name=kafka-.*"):
        check(text in described, f"{text} is not described: {described}")
    for each in (name, other):
        metrics("--delete", "--name", each)
    context.wait_until("both are gone", lambda: not {name, other} & set(metrics("--list").split()))


class _Configs:
    """The configurations of one resource; without a name those that all of its kind have."""

    def __init__(self, tools: Tools, context: Context, kind: str, name: str | None) -> None:
        self._tools = tools
        self._context = context
        self._entity = ["--entity-type", kind, *(["--entity-default"] if name is None else ["--entity-name", name])]

    def described(self) -> str:
        return self._tools.succeed(self._context, "kafka-configs", "--describe", *self._entity)

    def alter(self, configs: str, expected: str) -> None:
        self._tools.succeed(self._context, "kafka-configs", "--alter", *self._entity, "--add-config", configs)
        self._context.wait_until(f"{expected} is described", lambda: expected in self.described())

    def refuse(self, expected: str, configs: str) -> None:
        arguments = ["--alter", *self._entity, "--add-config", configs]
        result = self._tools.run(self._context, "kafka-configs", *arguments)
        check(result.status != 0, f"{configs} was not refused")
        check(re.search(expected, result.text) is not None, f"{configs} was refused with {result.text[-300:]}")

    def delete(self, *names: str) -> None:
        self._tools.succeed(
            self._context, "kafka-configs", "--alter", *self._entity, "--delete-config", ",".join(names)
        )
        self._context.wait_until(
            f"{', '.join(names)} is deleted",
            lambda: not any(f"{name}=" in self.described() for name in names),
        )


CONFIG_SCENARIOS: dict[str, Callable[[Tools, Context], None]] = {
    "live_configs": live_configs,
    "client_metrics": client_metrics,
}

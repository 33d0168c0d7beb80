"""Kafka's tools on quotas: kafka-configs on those of users, clients and addresses, kafka-reassign-partitions with a
throttle, and a producer that has more to send than it may."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

from program import REPLICATION_FACTOR, Context, check, equal
from tools import Tools

RATES = ("leader.replication.throttled.rate", "follower.replication.throttled.rate")


def client_quotas(tools: Tools, context: Context) -> None:
    """kafka-configs sets, describes and deletes the quotas of users, client ids, both, defaults, and addresses."""
    user, client = context.name("user"), context.name("client")
    named = {
        "users": ["--entity-type", "users", "--entity-name", user],
        "clients": ["--entity-type", "clients", "--entity-name", client],
        "both": ["--entity-type", "users", "--entity-name", user, "--entity-type", "clients", "--entity-name", client],
        "defaults": ["--entity-type", "users", "--entity-name", user, "--entity-type", "clients", "--entity-default"],
        "ips": ["--entity-type", "ips", "--entity-name", "127.9.9.9"],
    }
    quotas = {
        "users": {"producer_byte_rate": "1048576.0", "request_percentage": "150.5"},
        "clients": {"consumer_byte_rate": "2097152.0"},
        "both": {"controller_mutation_rate": "7.5", "producer_byte_rate": "3145728.0"},
        "defaults": {"request_percentage": "99.0"},
        "ips": {"connection_creation_rate": "1000.0"},
    }

    def described(kind: str) -> dict[str, str]:
        out = tools.succeed(context, "kafka-configs", "--describe", *named[kind])
        return dict(re.findall(r"(\w+_(?:rate|percentage))=([\d.E]+)", out))

    for kind, values in quotas.items():
        wanted = ",".join(f"{key}={value.removesuffix('.0')}" for key, value in values.items())
        tools.succeed(context, "kafka-configs", "--alter", *named[kind], "--add-config", wanted)
    for kind, values in quotas.items():
        context.wait_until(f"the quotas of {kind} are described", lambda kind=kind: described(kind), pause_s=0.3)
        equal(described(kind), values, f"quotas of {kind}")
    out = tools.succeed(context, "kafka-configs", "--describe", "--entity-type", "users", "--entity-name", user)
    check(client not in out, f"the quotas of a user alone tell of a client: {out}")
    alter = ["kafka-configs", "--alter", *named["users"], "--add-config"]
    tools.fail(context, "greater than 0", *alter, "producer_byte_rate=-1")
    for kind, values in quotas.items():
        tools.succeed(context, "kafka-configs", "--alter", *named[kind], "--delete-config", ",".join(values))
    for kind in quotas:
        context.wait_until(f"the quotas of {kind} are gone", lambda kind=kind: not described(kind), pause_s=0.3)


def throttled_producer(tools: Tools, context: Context) -> None:
    """A producer with a quota takes as long as its records have to take, loses none, and says that it was throttled."""
    topic, client = context.name(), context.name("client")
    tools.succeed(context, "kafka-topics", "--create", "--topic", topic)
    entity = ["--entity-type", "clients", "--entity-name", client]
    tools.succeed(context, "kafka-configs", "--alter", *entity, "--add-config", "producer_byte_rate=20000")
    described = ["kafka-configs", "--describe", *entity]
    context.wait_until("the quota is described", lambda: "20000" in tools.succeed(context, *described), pause_s=0.3)
    properties = [f"client.id={client}", "batch.size=20000", "linger.ms=100", "retries=2147483647"]
    began = time.monotonic()
    out = tools.succeed(
        context,
        "kafka-producer-perf-test",
        *("--topic", topic, "--num-records", "300", "--record-size", "1000", "--throughput", "-1", "--print-metrics"),
        *("--command-property", *properties),
    )
    # 300 KB, of which 200 KB may be sent at once: what is beyond it has to wait for several seconds.
    check(time.monotonic() - began > 3, f"300 KB at 20 KB a second took {time.monotonic() - began:.1f} s")
    throttled = re.search(r"produce-throttle-time-max\S*\s*:\s*([\d.]+)", out)
    check(throttled is not None and float(throttled[1]) > 0, f"the producer was not throttled: {out[-500:]}")
    end = tools.succeed(context, "kafka-get-offsets", "--topic", topic, "--time", "latest")
    equal(end.strip(), f"{topic}:0:300", "end of the topic")
    tools.succeed(context, "kafka-configs", "--alter", *entity, "--delete-config", "producer_byte_rate")


def throttled_reassignment(tools: Tools, context: Context) -> None:
    """kafka-reassign-partitions moves replicas with a throttle; --verify takes the throttle away."""
    topic = context.name()
    tools.succeed(context, "kafka-topics", "--create", "--topic", topic, "--partitions", "2")
    tools.succeed(context, "kafka-console-producer", "--topic", topic, stdin="".join(f"{n}\n" for n in range(100)))
    described = tools.succeed(context, "kafka-topics", "--describe", "--topic", topic)
    replicas = [list(map(int, found.split(","))) for found in re.findall(r"Replicas: ([\d,]+)", described)]
    equal([len(each) for each in replicas], [REPLICATION_FACTOR] * 2, "numbers of replicas")
    moved = [{"topic": topic, "partition": index, "replicas": each[::-1]} for index, each in enumerate(replicas)]
    if REPLICATION_FACTOR > 1:
        moved[0]["replicas"] = replicas[0][:-1]  # and back: the last replica has to be copied anew
        _reassign(tools, context, topic, moved)
        moved[0]["replicas"] = replicas[0][::-1]
    _reassign(tools, context, topic, moved)
    after = tools.succeed(context, "kafka-topics", "--describe", "--topic", topic)
    found = [list(map(int, each.split(","))) for each in re.findall(r"Replicas: ([\d,]+)", after)]
    equal(found, [each[::-1] for each in replicas], "replicas after the reassignment")


def _reassign(tools: Tools, context: Context, topic: str, moved: list[dict[str, object]]) -> None:
    path = str(tools.file("reassign.json", json.dumps({"version": 1, "partitions": moved})))
    throttle = ["--throttle", "50000000", "--replica-alter-log-dirs-throttle", "60000000"]
    out = tools.succeed(context, "kafka-reassign-partitions", "--execute", "--reassignment-json-file", path, *throttle)
    check("throttle" in out, f"kafka-reassign-partitions says nothing of the throttle: {out}")

    def brokers() -> str:
        return tools.succeed(context, "kafka-configs", "--describe", "--entity-type", "brokers")

    context.wait_until("the rates are set", lambda: all(f"{rate}=50000000" in brokers() for rate in RATES), pause_s=0.3)
    verify = ["--verify", "--reassignment-json-file", path]

    def is_complete() -> bool:
        result = tools.run(context, "kafka-reassign-partitions", *verify)
        return result.out.count("is completed") == len(moved)

    context.wait_until("the reassignment is complete", is_complete, pause_s=0.5)

    def is_unthrottled() -> bool:
        configs = tools.succeed(
            context, "kafka-configs", "--describe", "--entity-type", "topics", "--entity-name", topic
        )
        return "replication.throttled" not in brokers() + configs

    context.wait_until("the throttle is gone", is_unthrottled, pause_s=0.3)


QUOTA_SCENARIOS: dict[str, Callable[[Tools, Context], None]] = {
    "client_quotas": client_quotas,
    "throttled_producer": throttled_producer,
    "throttled_reassignment": throttled_reassignment,
}

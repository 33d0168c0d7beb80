"""What may be set and what is refused, of every kind of resource; voters; client telemetry.

Nothing is changed: the configurations are validated only, and the voters are none.
"""

from __future__ import annotations

from collections.abc import Iterator

from golden.caller import Caller, Story
from golden.cases_records import TOPIC

TOPIC_RESOURCE, BROKER, ALL_BROKERS = (2, TOPIC), (4, "1"), (4, "")
SUBSCRIPTION, GROUP = (16, "subscription"), (32, "limited")
SET, DELETE, APPEND, SUBTRACT = range(4)

# resource -> name -> values, to be set one by one.
VALUES: dict[tuple[int, str], dict[str, tuple[str, ...]]] = {
    TOPIC_RESOURCE: {
        "cleanup.policy": ("", "compact,compact", "compact,", " delete , compact ", "none"),
        "leader.replication.throttled.replicas": ("1:1,,2:2", " 1:1 , 2:2 ", "*", "1", "-1:2", "1:1,*"),
        "min.cleanable.dirty.ratio": ("0.5f", "1_0", "inf", "NaN", "", ".5", "2"),
        "segment.bytes": ("+2000000", "2_000_000", "2e6", "1048575"),
        "compression.type": (" gzip ", "GZIP"),
        "remote.storage.enable": ("true", "false"),
        "remote.log.copy.disable": ("true",),
        "preallocate": ("TRUE ", "yes"),
    },
    BROKER: {
        "log.cleanup.policy": ("delete,delete", "delete,", ""),
        "log.retention.ms": ("0", "-1", "-2"),
        "log.local.retention.ms": ("-1", "-3", "1", "604800001"),
        "log.cleaner.threads": ("0", "2", "3"),
        "log.cleaner.dedupe.buffer.size": ("1048576", "1048577", "-1"),
        "num.io.threads": ("3", "4", "16", "17"),
        "num.network.threads": ("1", "7"),
        "remote.log.reader.threads": ("4", "5", "20", "21"),
        "max.connections": ("0", "1"),
        "max.connection.creation.rate": ("0", "1"),
        "max.connections.per.ip": ("0", "1"),
        "max.connections.per.ip.overrides": ("h:1,", "h:-1", ":1", "h", "h:x", "::1:5"),
        "group.consumer.assignment.interval.ms": ("15000", "15001"),
        "metric.reporters": ("", "no.such.Reporter"),
        "cordoned.log.dirs": ("/no/such/directory", "*", "*,*"),
        "ssl.client.auth": ("none", "some"),
        "ssl.keystore.type": ("JKS",),
        "ssl.engine.factory.class": ("no.such.Factory",),
        "sasl.enabled.mechanisms": ("PLAIN", "PLAIN,PLAIN"),
        "min.insync.replicas": ("1",),
        "listeners": ("CONTROLLER://127.0.0.1:1,NOBODY://127.0.0.1:1",),
        "listener.name.plaintext.max.connections": ("x", "0", "1"),
        "listener.name.plaintext.message.max.bytes": ("x", "1"),
        "listener.name.plaintext.num.partitions": ("2",),
        "num.partitions": ("2",),
        "plugin.key": ("x",),
    },
    ALL_BROKERS: {
        "listener.name.plaintext.max.connections": ("1",),
        "listener.name.plaintext.ssl.keystore.type": ("JKS",),
        "listener.name.plaintext.message.max.bytes": ("1",),
        "sasl.enabled.mechanisms": ("PLAIN",),
        "min.insync.replicas": ("1", "0"),
    },
    (4, "2"): {"message.max.bytes": ("1",)},
    GROUP: {
        "consumer.session.timeout.ms": ("44999", "45000", "60000", "60001", "0"),
        "share.auto.offset.reset": ("by_duration:PT1H", "by_duration:-PT1H", "BY_DURATION:PT1H", "LATEST", "earliest"),
        "streams.assignor.name": ("sticky", "none", ""),
        "streams.rack.aware.assignment.tags": ("a,b", "a,a", "a,,b"),
        "errors.deadletterqueue.topic.name": ("dlq", "__dlq", "a b"),
    },
    SUBSCRIPTION: {
        "match": ("client_id=a.*", "client_id=a=b", "client_id", "CLIENT_ID=a", " client_id = a ", "client_id=[", ""),
        "metrics": ("a,a", "a,,b", "*", ""),
        "interval.ms": ("99", "100", "3600000", "3600001", ""),
    },
}
OPERATIONS = (
    (TOPIC_RESOURCE, "cleanup.policy", APPEND, ""),
    (TOPIC_RESOURCE, "cleanup.policy", SUBTRACT, ""),
    (TOPIC_RESOURCE, "follower.replication.throttled.replicas", APPEND, ""),
    (BROKER, "config.providers", APPEND, ""),
    (BROKER, "listeners", APPEND, ""),
    (BROKER, "listeners", SUBTRACT, "PLAINTEXT://:9092"),
    (BROKER, "log.dirs", APPEND, ""),
    (BROKER, "min.insync.replicas", DELETE, None),
    (BROKER, "message.max.bytes", 9, "1"),
    (GROUP, "streams.rack.aware.assignment.tags", APPEND, "a"),
    (SUBSCRIPTION, "match", SUBTRACT, "a"),
)


def _alterations() -> Iterator[tuple[tuple[int, str], str, int, str | None]]:
    for resource, names in VALUES.items():
        for name, values in names.items():
            yield from ((resource, name, SET, value) for value in values)
    yield from OPERATIONS


def limits(caller: Caller) -> None:
    for (kind, resource), name, operation, value in _alterations():
        configs = [{"name": name, "config_operation": operation, "value": value}]
        asked = {"resource_type": kind, "resource_name": resource, "configs": configs}
        caller.call("IncrementalAlterConfigs", 1, {"resources": [asked], "validate_only": True})


def voters(caller: Caller) -> None:
    directory = bytes(range(16))
    endpoint = {"name": "CONTROLLER", "host": "127.0.0.1", "port": 1}
    common = {"timeout_ms": 1000}
    for voter in (
        {"cluster_id": "another", "voter_id": 9, "voter_directory_id": directory},
        {"cluster_id": None, "voter_id": -1, "voter_directory_id": directory},
        {"cluster_id": None, "voter_id": 9, "voter_directory_id": bytes(16)},
        {"cluster_id": None, "voter_id": 1, "voter_directory_id": directory},
    ):
        caller.every("AddRaftVoter", {**common, **voter, "listeners": [endpoint]})
        caller.every("RemoveRaftVoter", voter)
    caller.every("AddRaftVoter", {**common, "cluster_id": None, "voter_id": 9, "voter_directory_id": directory})
    for controller_id in (9, -1, 1):
        caller.every("UnregisterController", {"controller_id": controller_id})


def telemetry(caller: Caller) -> None:
    """Without a receiver of metrics the keys are not listed, and yet answered."""

    def get(client_instance_id: bytes = bytes(16)) -> tuple[bytes, int]:
        told = caller.call("GetTelemetrySubscriptions", 0, {"client_instance_id": client_instance_id})
        return told.client_instance_id, told.subscription_id

    def push(ids: tuple[bytes, int], **values: object) -> None:
        client_instance_id, subscription_id = ids
        told = {"client_instance_id": client_instance_id, "subscription_id": subscription_id, "metrics": b"metrics"}
        caller.call("PushTelemetry", 0, {**told, **values})

    push((bytes(16), 1))
    push((bytes(15) + b"\1", 1))
    client = get()
    get(client[0])
    push(client)
    push(client)
    push(client, terminating=True)
    push(client, terminating=True)
    push(client)
    push(client, terminating=True)
    client = get()
    push((client[0], client[1] ^ 1))
    get(client[0])
    push(client)
    client = get()
    push(client, compression_type=9)
    get(client[0])
    push(get(), compression_type=1)
    push(get(), metrics=b"")


STORIES = (Story(limits), Story(voters), Story(telemetry))

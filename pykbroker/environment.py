"""Properties from `KAFKA_*` environment variables, named as the images of Apache Kafka name them.

    properties_from({"KAFKA_NUM_PARTITIONS": "3", "CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw"}, {})

Rules
- `KAFKA_` is left out, capitals become small, `_` a dot, `__` an underscore, `___` a dash; the longest run first.
- A variable goes before the properties file. Those that the images' scripts and the JVM take are no properties.
- Without `listeners`, they are `advertised.listeners` on all addresses; with neither, the images' own: every address,
  port 9092, and clients that are told localhost.
- `CLUSTER_ID` is the id of a cluster that is founded now, as formatting does it in Kafka.
- A node that expects others would be a cluster by itself here, unnoticed: it has to name the store that they share.

Not here: where the data is kept (docker/launch, cli), what a property may be (config).
Sources: KIP-975, KIP-974; the scripts of the images apache/kafka and confluentinc/cp-kafka; what Testcontainers for
Java, Go, Node, Python, .NET and Rust set and wait for.
"""

import re
from collections.abc import Mapping

from pykbroker.config_tables.definition import ConfigError

PREFIX = "KAFKA_"
NOT_PROPERTIES = frozenset(
    "KAFKA_" + name
    for name in (
        "GC_LOG_OPTS",
        "HEAP_OPTS",
        "JMX_HOSTNAME",
        "JMX_OPTS",
        "JMX_PORT",
        "JVM_PERFORMANCE_OPTS",
        "LOG4J_LOGGERS",
        "LOG4J_OPTS",
        "LOG4J_ROOT_LOGLEVEL",
        "OPTS",
        "TOOLS_LOG4J_LOGLEVEL",
        "VERSION",
        "ZOOKEEPER_CONNECT",
    )
)
DEFAULT_LISTENERS = {
    "listeners": "PLAINTEXT://:9092",
    "advertised.listeners": "PLAINTEXT://localhost:9092",
}
_SEPARATORS = {"_": ".", "__": "_", "___": "-"}


def properties_from(environment: Mapping[str, str], file: Mapping[str, str]) -> dict[str, str]:
    """Return the properties of `file` and of the variables. Raises: ConfigError."""
    variables = {
        property_name(name): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and name != PREFIX and name not in NOT_PROPERTIES
    }
    properties = {**file, **variables}
    for name in DEFAULT_LISTENERS:
        # Testcontainers for .NET puts a comma behind the last one.
        entries = [entry.strip() for entry in properties.pop(name, "").split(",") if entry.strip()]
        if entries:
            properties[name] = ",".join(entries)
    if "listeners" not in properties:
        if "advertised.listeners" in properties:
            properties["listeners"] = on_all_addresses(properties["advertised.listeners"])
        else:
            properties |= DEFAULT_LISTENERS
    if environment.get("CLUSTER_ID"):
        properties["pykbroker.cluster.id"] = environment["CLUSTER_ID"]
    _check_that_it_is_whole(properties)
    return properties


def property_name(variable: str) -> str:
    """KAFKA_NUM_PARTITIONS -> num.partitions"""
    name = variable.removeprefix(PREFIX).lower()
    return re.sub("_{1,3}", lambda run: _SEPARATORS[run[0]], name)


def on_all_addresses(listeners: str) -> str:
    """PLAINTEXT://kafka:9092 -> PLAINTEXT://0.0.0.0:9092"""
    return re.sub(r"://[^,]*:(?=\d+(,|$))", "://0.0.0.0:", listeners)


def lines_when_started(node_id: int) -> tuple[str, ...]:
    """Return what Kafka logs when it is up, and who starts a container waits for: each of them is somebody's line."""
    return (
        f"[BrokerLifecycleManager id={node_id}] The broker has been unfenced. Transitioning from RECOVERY to RUNNING.",
        f"[KafkaServer id={node_id}] started",
        f"[KafkaRaftServer nodeId={node_id}] Kafka Server started",
    )


def _check_that_it_is_whole(properties: Mapping[str, str]) -> None:
    roles = properties.get("process.roles", "broker,controller")
    if "broker" not in roles:
        raise ConfigError(f"process.roles={roles}: there are no controllers here, leave this node out")
    if "pykbroker.store" in properties:
        return
    remedy = "brokers here meet in a store that they share, set KAFKA_PYKBROKER_STORE=etcd://host:2379/prefix"
    for name in ("controller.quorum.voters", "controller.quorum.bootstrap.servers"):
        if "," in properties.get(name, ""):
            raise ConfigError(f"{name} names several nodes: {remedy}")
    if "controller" not in roles:
        raise ConfigError(f"process.roles={roles} expects others: {remedy}, or =sqlite if it is alone")

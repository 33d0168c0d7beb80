"""A real Apache Kafka on loopback: jars from Maven, one to N nodes, each broker and controller.

Owns: the jars in the user's cache directory, the processes it started, and the directory it was given.
Rules: stock heap, stock garbage collector flags, stock config values; only addresses, directories and (on fewer than
       three nodes) the replication factors of internal topics are set, as Kafka's own quickstart files do. Nothing
       listens outside 127.0.0.1, unless the caller gives addresses of namespaces of its own.
Not here: starting and stopping nodes (cluster.py), Kafka's command line tools (kafka_tools/), our broker (targets.py).

    with start_cluster(directory, nodes=3, properties={"num.partitions": "6"}) as kafka:
        kafka.bootstrap, kafka.pids, kafka.kill(2), kafka.start(2)
"""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import define, field

from clients import Unavailable, cache_directory, copy_jars
from cluster import READY_TIMEOUT_S, Cluster, Node, Place, free_ports, tail

KAFKA_VERSION = "4.4.0"
LOG4J_VERSION = "2.25.5"
STOCK_JVM = [
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
]

_LOG4J = """<Configuration status="warn">
  <Appenders><Console name="out" target="SYSTEM_OUT"><PatternLayout pattern="[%d] %p %m (%c)%n"/></Console></Appenders>
  <Loggers><Root level="info"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"""


def jars(version: str = KAFKA_VERSION) -> Path:
    """Return the directory of Kafka's jars, downloaded by Maven the first time.

    Raises: Unavailable where mvn or java is absent or the download fails.
    """
    missing = [name for name in ("mvn", "java") if shutil.which(name) is None]
    if missing:
        raise Unavailable(f"Apache Kafka needs {' and '.join(missing)} on the PATH")
    libs = cache_directory() / "kafka" / version
    if (libs / ".complete").exists():
        return libs
    shutil.rmtree(libs, ignore_errors=True)
    libs.mkdir(parents=True)
    pom = libs / "pom.xml"
    pom.write_text(_pom(version))
    copy_jars(pom, libs)
    (libs / ".complete").touch()
    return libs


def _pom(version: str) -> str:
    def dependency(group: str, artifact: str, its_version: str) -> str:
        return (
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{its_version}</version></dependency>"
        )

    log4j = "org.apache.logging.log4j"
    managed = "".join(dependency(log4j, name, LOG4J_VERSION) for name in ("log4j-api", "log4j-core"))
    wanted = dependency("org.apache.kafka", "kafka_2.13", version) + "".join(
        dependency(log4j, name, LOG4J_VERSION) for name in ("log4j-core", "log4j-slf4j-impl", "log4j-1.2-api")
    )
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>pykbroker.compat</groupId>"
        "<artifactId>apache-kafka</artifactId><version>1</version>"
        f"<dependencyManagement><dependencies>{managed}</dependencies></dependencyManagement>"
        f"<dependencies>{wanted}</dependencies></project>"
    )


@define
class KafkaNode(Node):
    """One broker-and-controller."""

    controller_port: int = field(kw_only=True)
    directory_id: str = field(kw_only=True)

    @property
    def controller_address(self) -> str:
        return f"{self.place.host}:{self.controller_port}"

    @property
    def server_properties(self) -> Path:
        return self.directory / "server.properties"


@define
class KafkaCluster(Cluster):
    """See Cluster."""

    nodes: Sequence[KafkaNode]
    version: str = field(kw_only=True)
    libs: Path = field(kw_only=True)
    jvm: Sequence[str] = field(kw_only=True, factory=list)

    @property
    def name(self) -> str:
        return f"Apache Kafka {self.version}"

    def command(self, node: Node) -> list[str]:
        assert isinstance(node, KafkaNode)
        return [
            *("java", *self.jvm, f"-Dkafka.logs.dir={node.directory}"),
            f"-Dlog4j2.configurationFile={node.directory / 'log4j2.xml'}",
            *("-cp", f"{self.libs}/*", "kafka.Kafka", str(node.server_properties)),
        ]


def start_cluster(
    directory: Path,
    *,
    nodes: int = 1,
    properties: Mapping[str, str] | None = None,
    version: str = KAFKA_VERSION,
    ports: Sequence[int] = (),
    places: Sequence[Place] = (),
    listeners: Mapping[str, int] | None = None,
    jvm: Sequence[str] = STOCK_JVM,
    wait: bool = True,
) -> KafkaCluster:
    """Format `directory` for a new cluster and start it.

    `ports` are the client ports of the nodes (free ones are chosen if empty), `places` where they run (loopback if
    empty). `properties` are added to each node's server.properties; "{id}" in a value stands for the node's id.
    `listeners` are name → port of more than the plaintext one, for a single node. With `wait=False` the processes are
    started, and wait_ready() is the caller's to call.
    Raises: Unavailable.
    """
    libs = jars(version)
    found = free_ports(2 * nodes)
    client_ports = list(ports) or found[:nodes]
    cluster = KafkaCluster(
        version=version,
        libs=libs,
        jvm=list(jvm),
        nodes=[
            KafkaNode(
                id=index + 1,
                port=client_ports[index],
                controller_port=found[nodes + index],
                directory=directory / f"node{index + 1}",
                directory_id=_new_id(),
                place=places[index] if places else Place(),
            )
            for index in range(nodes)
        ],
    )
    _format(cluster, listeners or {}, properties or {})
    try:
        for node in cluster.nodes:
            cluster.launch(node.id)
        if wait:
            cluster.wait_ready()
    except BaseException:
        cluster.stop()
        raise
    return cluster


def _format(cluster: KafkaCluster, listeners: Mapping[str, int], properties: Mapping[str, str]) -> None:
    """Write every node's configuration and run Kafka's storage tool on its data directory."""
    cluster_id = _new_id()
    voters = ",".join(f"{node.id}@{node.controller_address}:{node.directory_id}" for node in cluster.nodes)
    formatting = []
    for node in cluster.nodes:
        node.data_dir.mkdir(parents=True)
        (node.directory / "log4j2.xml").write_text(_LOG4J)
        lines = {**_server_properties(cluster, node, listeners), **properties}
        text = "".join(f"{name}={value.replace('{id}', str(node.id))}\n" for name, value in lines.items())
        node.server_properties.write_text(text)
        command = [
            *("java", "-Xmx256M", "-XX:TieredStopAtLevel=1"),
            *(f"-Dlog4j2.configurationFile={node.directory / 'log4j2.xml'}", "-cp", f"{cluster.libs}/*"),
            *("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(node.server_properties)),
            *("--initial-controllers", voters),
        ]
        log = (node.directory / "format.log").open("wb")
        formatting.append((node, subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)))
        log.close()
    for node, process in formatting:
        if process.wait(READY_TIMEOUT_S) != 0:
            raise Unavailable(f"formatting Kafka's storage failed:\n{tail(node.directory / 'format.log')}")


def _server_properties(cluster: KafkaCluster, node: KafkaNode, more: Mapping[str, int]) -> dict[str, str]:
    listeners = f"PLAINTEXT://{node.address},CONTROLLER://{node.controller_address}"
    listeners += "".join(f",{name}://{node.place.host}:{port}" for name, port in more.items())
    replicas, in_sync = min(3, len(cluster.nodes)), min(2, len(cluster.nodes))
    return {
        "process.roles": "broker,controller",
        "node.id": str(node.id),
        "controller.quorum.bootstrap.servers": ",".join(each.controller_address for each in cluster.nodes),
        "listeners": listeners,
        "advertised.listeners": listeners,
        "inter.broker.listener.name": "PLAINTEXT",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": str(node.data_dir),
        "offsets.topic.replication.factor": str(replicas),
        "transaction.state.log.replication.factor": str(replicas),
        "transaction.state.log.min.isr": str(in_sync),
        "share.coordinator.state.topic.replication.factor": str(replicas),
        "share.coordinator.state.topic.min.isr": str(in_sync),
    }


def _new_id() -> str:
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):  # the storage tool would take it for an option
            return text


if __name__ == "__main__":
    import sys
    import tempfile

    with start_cluster(Path(tempfile.mkdtemp(prefix="kafka-")), nodes=int((sys.argv[1:] or ["1"])[0])) as kafka:
        print(f"Apache Kafka {kafka.version} accepts clients on {kafka.bootstrap} (pids {kafka.pids}); Ctrl-C stops it")
        try:
            while kafka.pids:
                time.sleep(1)
        except KeyboardInterrupt:
            os.write(2, b"stopping\n")

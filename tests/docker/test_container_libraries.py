"""Containers as the modules of Testcontainers start them: their variables, their scripts, the lines that they wait for.

Facts of the modules as of August 2026; each is in the mode that its newest releases have by default. What they share
is in one of them: Java's ConfluentKafkaContainer has the variables of its KafkaContainer, and calls
/etc/confluent/docker/run.
"""

import re
import socket
import sys
from collections.abc import Mapping

import attrs
import pytest

from tests.docker.test_image import PRODUCE_AND_CONSUME
from tests.support.dockerfile import Image

pytestmark = [pytest.mark.slow, pytest.mark.parallel, pytest.mark.xdist_group("docker")]

HOST = socket.gethostname()
HOSTS = f"127.0.0.1 localhost kafka {HOST}\n"  # `kafka` is a network alias
CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"
LONG_MAX = str(2**63 - 1)

COMMON = {
    "KAFKA_INTER_BROKER_LISTENER_NAME": "BROKER",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "1",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
    "KAFKA_LOG_FLUSH_INTERVAL_MESSAGES": LONG_MAX,
}
WITH_CONTROLLER = {
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9094",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
}
WITH_ZOOKEEPER = {
    "KAFKA_BROKER_ID": "1",
    "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
}


@attrs.frozen
class Module:
    """How a module starts its container, and `awaits` it. Clients come by `port`."""

    port: int
    variables: Mapping[str, str]
    script: str
    awaits: str
    path: str = "/tmp/testcontainers_start.sh"
    shell: str = ""  # that reads the script; none: it is executed
    internal: str = f"{HOST}:9092"  # where other containers are told to connect


MODULES = {
    # KafkaContainer of apache/kafka, with a listener of the user's own; the order of the listeners is that of a set.
    "java": Module(
        port=9092,
        variables={
            **COMMON,
            **WITH_CONTROLLER,
            "CLUSTER_ID": CLUSTER_ID,
            "KAFKA_LISTENERS": "CONTROLLER://0.0.0.0:9094,TC-0://kafka:19092,"
            "BROKER://0.0.0.0:9093,PLAINTEXT://0.0.0.0:9092",
            "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "TC-0:PLAINTEXT,BROKER:PLAINTEXT,"
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        },
        script="#!/bin/bash\n"
        f"export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9092,BROKER://{HOST}:9093,TC-0://kafka:19092\n"
        "/etc/kafka/docker/run \n",
        awaits=".*Transitioning from RECOVERY to RUNNING.*",
        internal="kafka:19092",
    ),
    # The older KafkaContainer, of confluentinc/cp-kafka.
    "java-zookeeper": Module(
        port=9093,
        variables={**COMMON, **WITH_ZOOKEEPER, "KAFKA_ZOOKEEPER_CONNECT": "localhost:2181"},
        script="#!/bin/bash\n"
        f"export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9093,BROKER://{HOST}:9092\n"
        "echo '' > /etc/confluent/docker/ensure \n"
        "echo 'clientPort=2181' > /tmp/zookeeper.properties\n"
        "echo 'dataDir=/var/lib/zookeeper/data' >> /tmp/zookeeper.properties\n"
        "zookeeper-server-start /tmp/zookeeper.properties &\n"
        "/etc/confluent/docker/run \n",
        awaits=r".*\[KafkaServer id=\d+\] started.*",
    ),
    "go": Module(
        port=9093,
        variables={
            **COMMON,
            **WITH_CONTROLLER,
            "KAFKA_BROKER_ID": "1",
            "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092,CONTROLLER://0.0.0.0:9094",
            "KAFKA_REST_BOOTSTRAP_SERVERS": "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092,CONTROLLER://0.0.0.0:9094",
        },
        script="#!/bin/bash\n"
        "source /etc/confluent/docker/bash-config\n"
        f"export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9093,BROKER://{HOST}:9092\n"
        "echo Starting Kafka KRaft mode\n"
        "sed -i '/KAFKA_ZOOKEEPER_CONNECT/d' /etc/confluent/docker/configure\n"
        """echo 'kafka-storage format --ignore-formatted -t "$(kafka-storage random-uuid)" """
        "-c /etc/kafka/kafka.properties' >> /etc/confluent/docker/configure\n"
        "echo '' > /etc/confluent/docker/ensure\n"
        "/etc/confluent/docker/configure\n"
        "/etc/confluent/docker/launch",
        awaits=".*Transitioning from RECOVERY to RUNNING.*",
        path="/usr/sbin/testcontainers_start.sh",
        shell="bash",
    ),
    # Of an image whose tag is 8.0.0 or later; with an older one it waits for the port of a ZooKeeper. It looks for the
    # port inside.
    "node": Module(
        port=9093,
        variables={
            **COMMON,
            **WITH_CONTROLLER,
            "CLUSTER_ID": CLUSTER_ID,
            "KAFKA_BROKER_ID": "1",
            "KAFKA_CONFLUENT_SUPPORT_METRICS_ENABLE": "false",
            "KAFKA_ADVERTISED_LISTENERS": "BROKER://localhost:9092",
            "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092,CONTROLLER://0.0.0.0:9094",
        },
        script="#!/bin/bash\n"
        f"export KAFKA_ADVERTISED_LISTENERS=BROKER://{HOST}:9092,PLAINTEXT://localhost:9093\n"
        "/etc/confluent/docker/run \n",
        awaits="accepts clients on",
    ),
    "python": Module(
        port=9093,
        variables={**COMMON, **WITH_ZOOKEEPER, "KAFKA_LOG_FLUSH_INTERVAL_MESSAGES": "10000000"},
        script="#!/bin/bash\n"
        "echo 'clientPort=2181' > zookeeper.properties\n"
        "echo 'dataDir=/var/lib/zookeeper/data' >> zookeeper.properties\n"
        "zookeeper-server-start zookeeper.properties &\n"
        "export KAFKA_ZOOKEEPER_CONNECT='localhost:2181'\n"
        "export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9093,BROKER://$(hostname -i):9092\n"
        ". /etc/confluent/docker/bash-config\n"
        "/etc/confluent/docker/configure\n"
        "/etc/confluent/docker/launch",
        awaits=r".*\[KafkaServer id=\d+\] started.*",
        path="/tc-start.sh",
        shell="sh",
        internal="127.0.0.1:9092",
    ),
}


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
def test_module_starts_a_broker_that_it_and_other_containers_reach(image: Image, module: Module) -> None:
    script = f"{module.shell} {module.path}".strip()
    command = ("sh", "-c", f"while [ ! -f {module.path} ]; do sleep 0.1; done; {script}")
    files = {module.path: module.script, "/etc/hosts": HOSTS}
    with image.start(module.variables, *command, files=files) as container:
        container.wait_for_match(module.awaits)
        bound = f"cat /proc/net/tcp* | awk '{{print $2}}' | grep -i :{module.port:04x}"
        assert container.run("/bin/sh", "-c", bound).returncode == 0
        address = f"localhost:{module.port}"
        assert container.run_outside(sys.executable, "-c", PRODUCE_AND_CONSUME, address) == "hello\n"
        told = container.run("kafka-broker-api-versions", "--bootstrap-server", module.internal)
        assert re.match(rf"{module.internal} \(id: 1 ", told.stdout), told
        if "CLUSTER_ID" in module.variables:
            told = container.run("kafka-cluster.sh", "cluster-id", "--bootstrap-server", address)
            assert told.stdout == f"Cluster ID: {CLUSTER_ID}\n"

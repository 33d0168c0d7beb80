"""The image: what its Dockerfile names is there, and its containers do what those of apache/kafka do."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pykbroker.environment import lines_when_started
from tests.support.dockerfile import Dockerfile, Image, Unavailable, Workshop

REPOSITORY = Path(__file__).resolve().parent.parent.parent
STARTED = lines_when_started(1)
PRODUCE_AND_CONSUME = """
import sys
from kafka import KafkaConsumer, KafkaProducer

bootstrap = sys.argv[1]
producer = KafkaProducer(bootstrap_servers=bootstrap)
producer.send("greetings", b"hello").get(30)
consumer = KafkaConsumer("greetings", bootstrap_servers=bootstrap, auto_offset_reset="earliest")
print(next(iter(consumer)).value.decode())
"""


def test_what_is_copied_is_in_the_context() -> None:
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    dockerfile = Dockerfile.read(REPOSITORY / "Dockerfile")
    sources = [
        source
        for stage in dockerfile.stages
        for keyword, rest in stage.steps
        if keyword == "COPY" and not rest.startswith("--from=")
        for source in rest.split()[:-1]
    ]
    for source in sources:
        assert (REPOSITORY / source).exists(), source
        assert source.partition("/")[0] in allowed, source
    assert {source.partition("/")[0] for source in sources} == allowed


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    try:
        with Workshop(tmp_path_factory.mktemp("docker")) as workshop:
            yield workshop.build(Dockerfile.read(REPOSITORY / "Dockerfile"), REPOSITORY)
    except Unavailable as why:
        pytest.skip(str(why))


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.xdist_group("docker")
def test_container_without_settings_serves_localhost(image: Image) -> None:
    with image.start({}) as container:
        container.wait_for("accepts clients on localhost:9092", *STARTED)
        assert "pykbroker keeps its data in /var/lib/kafka/data" in container.log
        assert container.run_outside(sys.executable, "-c", PRODUCE_AND_CONSUME, "localhost:9092") == "hello\n"
        assert container.stop() == 0
        assert container.log[-1] == "pykbroker stopped bugs_total=0"


ASK = """
import sys, urllib.request
for path in ("/healthz", "/readyz", "/metrics", "/console/", "/console/api/topics"):
    with urllib.request.urlopen("http://localhost:9644" + path, timeout=60) as answer:
        print(path, answer.status)
"""


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.xdist_group("docker")
def test_metrics_health_and_console_are_switched_on_by_variables(image: Image) -> None:
    """As docs/DOCKER.md says it."""
    variables = {"KAFKA_PYKBROKER_HTTP_LISTENER": "0.0.0.0:9644", "KAFKA_PYKBROKER_HTTP_CONSOLE_ENABLE": "true"}
    with image.start(variables) as container:
        container.wait_for(*STARTED)
        assert container.run_outside(sys.executable, "-c", ASK).splitlines() == [
            "/healthz 200",
            "/readyz 200",
            "/metrics 200",
            "/console/ 200",
            "/console/api/topics 200",
        ]
    assert "9644" in image.stage.others["EXPOSE"].split()


# What Testcontainers for Java and Rust put into a container of apache/kafka, and how it is run there.
COMBINED = {
    "CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw",
    "KAFKA_NODE_ID": "1",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9092,BROKER://0.0.0.0:9093,CONTROLLER://0.0.0.0:9094",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "KAFKA_INTER_BROKER_LISTENER_NAME": "BROKER",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9094",
    "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "1",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
}
ADVERTISED = "export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://localhost:9092,BROKER://localhost:9093\n"
APACHE = f"#!/bin/bash\n{ADVERTISED}/etc/kafka/docker/run\n"
# The same for Go, Node and Python with confluentinc/cp-kafka, whose scripts they change first.
CONFLUENT = f"""#!/bin/bash
source /etc/confluent/docker/bash-config
{ADVERTISED}sed -i '/KAFKA_ZOOKEEPER_CONNECT/d' /etc/confluent/docker/configure
echo 'kafka-storage format --ignore-formatted -t "$(kafka-storage random-uuid)" -c /etc/kafka/kafka.properties' \
    >> /etc/confluent/docker/configure
echo '' > /etc/confluent/docker/ensure
/etc/confluent/docker/configure
/etc/confluent/docker/launch
"""
ZOOKEEPER = f"""echo 'clientPort=2181' > zookeeper.properties
zookeeper-server-start zookeeper.properties &
export KAFKA_ZOOKEEPER_CONNECT='localhost:2181'
{ADVERTISED}echo '' > /etc/confluent/docker/ensure
. /etc/confluent/docker/bash-config
/etc/confluent/docker/configure
/etc/confluent/docker/launch
"""


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.xdist_group("docker")
@pytest.mark.parametrize("script", [APACHE, CONFLUENT, ZOOKEEPER], ids=["apache", "confluent", "zookeeper"])
def test_script_of_a_container_library_starts_the_broker(image: Image, script: str) -> None:
    command = ("sh", "-c", "while [ ! -f /tmp/start.sh ]; do sleep 0.1; done; bash /tmp/start.sh")
    with image.start(COMBINED, *command, files={"/tmp/start.sh": script}) as container:
        container.wait_for(*STARTED)
        assert any("listener CONTROLLER://0.0.0.0:9094 is not opened" in line for line in container.log)
        assert container.run("kafka-topics", "--bootstrap-server", "localhost:9093", "--list").returncode == 0
        told = container.run("kafka-cluster.sh", "cluster-id", "--bootstrap-server", "localhost:9092")
        assert told.stdout == "Cluster ID: 4L6g3nShT-eMCtK--X86sw\n"


MOUNTED = """\
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
advertised.listeners=PLAINTEXT://localhost:9092
controller.listener.names=CONTROLLER
broker.rack=of the file
num.partitions=2
log.dirs=/tmp/data of the file
"""


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.xdist_group("docker")
def test_arguments_go_before_variables_and_those_before_the_mounted_file(image: Image) -> None:
    command = ("/etc/kafka/docker/run", "KAFKA_BROKER_RACK=of the argument")
    variables = {
        "KAFKA_BROKER_RACK": "of the variable",
        "KAFKA_NUM_PARTITIONS": "3",
        "KAFKA_LOG4J_ROOT_LOGLEVEL": "WARN",
    }
    with image.start(variables, *command, files={"/mnt/shared/config/server.properties": MOUNTED}) as container:
        container.wait_for(*STARTED)
        assert container.log == [
            "pykbroker keeps its data in /tmp/data of the file",
            "pykbroker accepts clients on localhost:9092",
            *STARTED,
        ]
        versions = container.run("/opt/kafka/bin/kafka-broker-api-versions.sh", "--bootstrap-server", "localhost:9092")
        assert "localhost:9092 (id: 1 rack: of the argument isFenced: false) -> (" in versions.stdout
        topics = ("kafka-topics.sh", "--bootstrap-server", "localhost:9092")
        assert container.run(*topics, "--create", "--topic", "t").stdout == "Created topic t.\n"
        assert "PartitionCount: 3" in container.run(*topics, "--describe", "--topic", "t").stdout


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.xdist_group("docker")
def test_folder_of_apache_kafkas_image_is_taken_if_something_is_mounted_there(image: Image) -> None:
    with image.start({}, mounts=["/tmp/kraft-combined-logs"]) as container:
        container.wait_for(*STARTED)
        assert container.log[0] == "pykbroker keeps its data in /tmp/kraft-combined-logs"


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.xdist_group("docker")
def test_container_that_cannot_start_says_why_and_ends(image: Image) -> None:
    with image.start({"KAFKA_PROCESS_ROLES": "controller"}) as container:
        out, _ = container.process.communicate(timeout=30)
        assert container.process.returncode == 1
        assert out == "pykbroker: process.roles=controller: there are no controllers here, leave this node out\n"

"""The image: what its Dockerfile names is there, and its containers do what those of apache/kafka do."""

import re
import sys

import pytest
import yaml

from pykbroker.environment import lines_when_started
from tests.docker.conftest import REPOSITORY
from tests.support.dockerfile import Dockerfile, Image
from tests.support.documents import blocks_of

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


ORDER = """
import sys, urllib.request
order = b'{"api": "Produce", "error": "NOT_LEADER_OR_FOLLOWER", "times": 1}'
urllib.request.urlopen("http://localhost:9644/faults", order, timeout=60).close()
exec(sys.argv[2])
with urllib.request.urlopen("http://localhost:9644/faults/1/hits", timeout=60) as answer:
    print(answer.read().decode())
"""


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.xdist_group("docker")
def test_service_of_a_job_on_github_is_healthy_and_takes_orders(image: Image) -> None:
    """As docs/TESTING.md says it."""
    page = (REPOSITORY / "docs" / "TESTING.md").read_text()
    _, services = (block for block in blocks_of(page) if block.language == "yaml")
    service = yaml.safe_load(services.text)["services"]["kafka"]
    variables = {name: str(value).lower() if value is True else str(value) for name, value in service["env"].items()}
    (health,) = re.findall('--health-cmd "(.*?)"', service["options"])
    with image.start(variables) as container:
        container.wait_for("accepts clients on localhost:9092", *STARTED)
        assert container.run("/bin/sh", "-c", health).returncode == 0
        told = container.run_outside(sys.executable, "-c", ORDER, "localhost:9092", PRODUCE_AND_CONSUME)
        assert told.splitlines() == ["hello", "1"]
    assert [port.split(":")[1] for port in service["ports"]] == image.stage.others["EXPOSE"].split()


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.xdist_group("docker")
def test_compose_files_broker_is_reached_from_outside_and_by_other_containers(image: Image) -> None:
    service = yaml.safe_load((REPOSITORY / "examples" / "docker-compose.yml").read_text())["services"]["kafka"]
    variables = {name: str(value) for name, value in service["environment"].items()}
    with image.start(variables, files={"/etc/hosts": "127.0.0.1 localhost kafka\n"}) as container:
        container.wait_for(*STARTED)
        assert container.run("/bin/sh", "-c", service["healthcheck"]["test"]).returncode == 0
        assert container.run_outside(sys.executable, "-c", PRODUCE_AND_CONSUME, "localhost:9092") == "hello\n"
        told = container.run("kafka-broker-api-versions", "--bootstrap-server", "kafka:29092")
        assert told.stdout.startswith("kafka:29092 (id: 1 ")


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

"""The examples: each is run as it is, against one broker for all of them."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pykbroker.config import BrokerConfig
from pykbroker.environment import properties_from
from tests.support.background import Background
from tests.support.dockerfile import Dockerfile

REPOSITORY = Path(__file__).resolve().parent.parent
EXAMPLES = REPOSITORY / "examples"
PROGRAMS = {
    "produce_consume/with_kafka_python.py": "greetings-of-kafka-python/0/9 hello 9",
    "produce_consume/with_aiokafka.py": "greetings-of-aiokafka/0/9 hello 9",
    "produce_consume/with_confluent_kafka.py": "greetings-of-confluent-kafka/0/9 hello 9",
    "consumer_group.py": "A has partitions [0, 1, 2, 3, 4, 5]",
    "exactly_once_copy.py": "100 orders were copied, each once",
}
COMPOSE_FILES = sorted(EXAMPLES.glob("docker-compose*.yml"))
DEADLINE_S = 60.0


def test_each_program_is_run_here() -> None:
    programs = {str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.py")}
    assert programs - set(PROGRAMS) == {"service/invoices.py", "service/test_invoices.py"}
    readme = (EXAMPLES / "README.md").read_text()
    assert [name for name in (*PROGRAMS, *(path.name for path in COMPOSE_FILES)) if f"({name})" not in readme] == []


@pytest.fixture(scope="module")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    command = [sys.executable, "-m", "pykbroker", "start", "--ephemeral", "--port", "0"]
    command += ["--set", "group.initial.rebalance.delay.ms=0"]
    with Background(command, cwd=tmp_path_factory.mktemp("broker"), environment=environment()) as broker:
        yield broker.wait_for("accepts clients on ").split()[-1]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(REPOSITORY)}


@pytest.mark.slow
@pytest.mark.parallel
@pytest.mark.parametrize("program", PROGRAMS)
def test_program_runs_and_says_what_it_did(bootstrap: str, program: str) -> None:
    for client in ("aiokafka", "confluent_kafka"):
        if client in (EXAMPLES / program).read_text() and importlib.util.find_spec(client) is None:
            pytest.skip(f"{client} is not installed (scripts/test does it)")
    done = subprocess.run(
        [sys.executable, EXAMPLES / program, bootstrap], capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == PROGRAMS[program]


@pytest.mark.slow
@pytest.mark.parallel
def test_integration_test_of_a_service_passes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", EXAMPLES / "service"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        env=environment(),
        cwd=EXAMPLES,
    )
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


@pytest.mark.parametrize("file", COMPOSE_FILES, ids=lambda path: path.name)
def test_compose_file_configures_brokers(file: Path) -> None:
    compose = yaml.safe_load(file.read_text())
    (volumes,) = (json.loads(Dockerfile.read(REPOSITORY / "Dockerfile").stages[-1].others["VOLUME"]),)
    brokers = [service for service in compose["services"].values() if service.get("image") == "pykbroker"]
    assert len({broker["environment"]["KAFKA_NODE_ID"] for broker in brokers}) == len(brokers) > 0
    for broker in brokers:
        config = config_of(broker)
        (published,) = (port.split(":") for port in broker["ports"])
        assert published[0] == published[1]
        assert int(published[1]) in {endpoint.port for endpoint in config.client_endpoints}
        (told,) = (each for each in config.advertised_endpoints if each.listener == "HOST")
        assert (told.host, told.port) == ("localhost", int(published[0]))
        (volume,) = broker["volumes"]
        name, _, folder = volume.partition(":")
        assert folder in volumes
        assert name in compose["volumes"]


def config_of(service: dict[str, Any]) -> BrokerConfig:
    told = {name: str(value) for name, value in service["environment"].items()}
    return BrokerConfig.from_properties(properties_from(told, {}))


@pytest.mark.parametrize("file", COMPOSE_FILES, ids=lambda path: path.name)
def test_compose_file_is_understood_by_docker(file: Path) -> None:
    compose = [shutil.which("docker") or "docker", "compose"]
    try:
        subprocess.run([*compose, "version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no docker compose here")
    done = subprocess.run([*compose, "-f", file, "config", "--quiet"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

"""What the image runs, in a plain environment: its scripts with their own folder, its tools against a broker."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pykbroker.environment import lines_when_started
from tests.support.background import Background

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SCRIPTS = REPOSITORY / "docker"
TOOLS = ("broker-api-versions", "cluster", "storage", "topics")
DEADLINE_S = 60.0
CLUSTER_ID = "4L6g3nShT-eMCtK--X86sw"
Tool = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(**variables: str) -> dict[str, str]:
    """Let the scripts find the `pykbroker` of this checkout."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(REPOSITORY), **variables}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """What `run` said until the broker had started, and where that is."""
    folder = tmp_path_factory.mktemp("broker")
    variables = environment(
        CLUSTER_ID=CLUSTER_ID,
        KAFKA_NODE_ID="7",
        KAFKA_LISTENERS="PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:9093",
        KAFKA_CONTROLLER_LISTENER_NAMES="CONTROLLER",
        KAFKA_CONTROLLER_QUORUM_VOTERS="7@127.0.0.1:9093",
        KAFKA_NUM_PARTITIONS="2",
        KAFKA_LOG_DIRS=str(folder / "data"),
        KAFKA_HEAP_OPTS="-Xmx1G",
    )
    command = [SCRIPTS / "run", "KAFKA_NUM_PARTITIONS=3"]
    with Background(command, cwd=folder, environment=variables) as process:
        process.wait_for("accepts clients on ", *lines_when_started(7))
        address = next(line for line in process.lines if "accepts clients on " in line).split()[-1]
        yield "".join(process.lines), address


@pytest.fixture
def tool(tmp_path: Path) -> Tool:
    """Call a tool by the name that the image gives it."""
    for name in (*TOOLS, "other"):
        (tmp_path / f"kafka-{name}.sh").symlink_to(SCRIPTS / "kafka-tools")

    def run(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, tmp_path / f"kafka-{name}.sh", *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=DEADLINE_S, env=environment()
        )

    return run


def test_run_starts_a_broker_with_variables_and_says_what_is_waited_for(broker: tuple[str, str]) -> None:
    log, _ = broker
    assert "listener CONTROLLER://127.0.0.1:9093 is not opened" in log
    for line in lines_when_started(7):
        assert f"{line}\n" in log


def test_scripts_that_are_executed_can_be() -> None:
    for name in ("run", "configure", "launch", "ensure", "kafka-tools"):
        assert os.access(SCRIPTS / name, os.X_OK), name


@pytest.mark.slow
@pytest.mark.parallel
def test_topics_are_created_described_and_deleted(broker: tuple[str, str], tool: Tool) -> None:
    topics = ("topics", "--bootstrap-server", broker[1])
    create = ("--create", "--topic", "t", "--config", "retention.ms=1000")
    assert tool(*topics, *create).stdout == "Created topic t.\n"
    assert tool(*topics, "--list").stdout == "t\n"
    described = tool(*topics, "--describe", "--topic", "t").stdout.splitlines()
    assert described[0].endswith("\tPartitionCount: 3\tReplicationFactor: 1")
    assert described[3] == "\tTopic: t\tPartition: 2\tLeader: 7\tReplicas: 7\tIsr: 7"

    again = tool(*topics, *create)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "Error while executing topic command : Topic 't' already exists.\n"
    assert tool(*topics, *create, "--if-not-exists").returncode == 0

    assert tool(*topics, "--delete", "--topic", "t").returncode == 0
    assert tool(*topics, "--list").stdout == ""
    assert tool(*topics, "--delete", "--topic", "t").returncode == 1
    assert tool(*topics, "--delete", "--topic", "t", "--if-exists").returncode == 0
    assert tool(*topics, "--describe", "--topic", "t").returncode == 1


def test_versions_and_cluster_id_are_told(broker: tuple[str, str], tool: Tool) -> None:
    told = tool("broker-api-versions", "--bootstrap-server", broker[1]).stdout.splitlines()
    assert told[0] == f"{broker[1]} (id: 7 rack: null isFenced: false) -> ("
    assert "\tMetadata(3): 0 to 13" in told
    assert tool("cluster", "cluster-id", "--bootstrap-server", broker[1]).stdout == f"Cluster ID: {CLUSTER_ID}\n"


@pytest.mark.slow
@pytest.mark.parallel
def test_storage_has_nothing_to_format_and_makes_ids(tool: Tool) -> None:
    formatted = tool("storage", "format", "--ignore-formatted", "-t", CLUSTER_ID, "-c", "kafka.properties")
    assert formatted.returncode == 0
    assert len(tool("storage", "random-uuid").stdout) == len(f"{CLUSTER_ID}\n")


def test_what_cannot_be_meant_is_said_in_one_line(broker: tuple[str, str], tool: Tool) -> None:
    for address in ("localhost", ":9092", "localhost:x"):
        failed = tool("topics", "--bootstrap-server", address, "--list")
        assert (failed.returncode, failed.stderr) == (1, f"kafka-topics: Invalid url in bootstrap.servers: {address}\n")
    failed = tool("topics", "--bootstrap-server", broker[1], "--create", "--topic", "u", "--config", "retention.ms")
    assert failed.returncode == 1
    assert failed.stderr.startswith("kafka-topics: Invalid topic config: ")
    assert "u" not in tool("topics", "--bootstrap-server", broker[1], "--list").stdout.split()


def test_health_check_fails_where_no_broker_is(tool: Tool) -> None:
    failed = tool("topics", "--bootstrap-server", "127.0.0.1:1", "--list")
    assert failed.returncode == 1
    assert failed.stderr.startswith("kafka-topics: the broker cannot be reached: ")
    assert tool("other").stderr.startswith("kafka-other is none of kafka-broker-api-versions, ")

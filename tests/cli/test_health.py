"""What is wrong: with a cluster, with the way to it, and with the words that a person typed."""

import socket
from pathlib import Path

import pytest

from pykbroker.broker import Broker
from pykbroker.cli.actions.check import examine
from pykbroker.cli.actions.known_offsets import known_offsets
from pykbroker.client import Client
from pykbroker.clock import SimulatedClock
from pykbroker.topic_partition import TopicPartition
from tests.cli.support import Commands, invoke, words_of
from tests.client.gates import SaslGate
from tests.client.support import Deaf, passing
from tests.support.cluster import cluster_of
from tests.support.cluster import until as until_in_cluster
from tests.support.running import running

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_healthy_cluster_is_healthy(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        run = Commands.of(broker)
        await run("topics", "create", "t", "-p", "2")
        assert (await run("check")).out == "healthy (brokers: 1, topics: 1, partitions: 2)\n"
        told = (await run("check", "--json")).json
        assert (told["healthy"], told["findings"]) == (True, [])


def has_lost_broker_3(broker: Broker) -> bool:
    image = broker.services.cluster.image
    partitions = [image.topics[name].partitions[0] for name in ("lost", "thin", "strict")]
    return 3 not in image.active_brokers and [each.isr for each in partitions[1:]] == [(1,), (1,)]


async def test_what_is_wrong_is_said_and_the_status_is_1(tmp_path: Path) -> None:
    async with cluster_of(3, tmp_path) as cluster:
        await cluster.create_topic("lost", [(3,)])
        await cluster.create_topic("thin", [(1, 3)])
        await cluster.create_topic("strict", [(1, 3)], min_insync_replicas="2")
        await cluster.stop(3)
        await until_in_cluster(lambda: all(has_lost_broker_3(each) for each in cluster.brokers.values()))
        done = await Commands(cluster.brokers[1].bootstrap)("check", status=1)
        assert done.out.splitlines() == [
            "broker 3 is not there, and should have 3 replicas",
            "lost-0 has no leader",
            "strict-0 has 1 in sync where min.insync.replicas is 2",
            "thin-0 has 1 of 2 replicas in sync",
        ]
        told = (await Commands(cluster.brokers[2].bootstrap)("check", "--json", status=1)).json
        kinds = [finding["kind"] for finding in told["findings"]]
        assert kinds == ["broker_absent", "offline", "under_min_isr", "under_replicated"]


def is_alone_in_many(broker: Broker) -> bool:
    image = broker.services.cluster.image
    return [each.isr for each in image.topics["many"].partitions] == [(1,)] * 6


async def test_what_holds_for_many_partitions_is_a_line_and_comes_after_what_is_worse(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path) as cluster:
        await cluster.create_topic("many", [(1, 2)] * 6)
        await cluster.create_topic("worse", [(2,)])
        await cluster.stop(2)
        await until_in_cluster(lambda: is_alone_in_many(cluster.brokers[1]))
        done = await Commands(cluster.brokers[1].bootstrap)("check", status=1)
        assert done.out.splitlines() == [
            "broker 2 is not there, and should have 7 replicas",
            "worse-0 has no leader",
            "many-0 has 1 of 2 replicas in sync, and 5 more partitions of many like it",
        ]
        told = (await Commands(cluster.brokers[1].bootstrap)("check", "--json", status=1)).json
        assert len(told["findings"]) == 8


async def test_broker_that_does_not_answer_is_found_within_the_deadline(tmp_path: Path) -> None:
    """Frozen, not gone: connections to it are never established."""
    clock = SimulatedClock()
    async with cluster_of(2, tmp_path) as cluster:
        host, port = cluster.brokers[2].addresses[0]
        network = Deaf((host, port))
        async with (
            Client(cluster.brokers[1].bootstrap, clock=clock, network=network) as client,
            passing(clock),
        ):
            with client.deadline(3_000):
                health = await examine(client)
        assert clock.monotonic_ms() < 4_000
        assert [finding.text for finding in health.findings] == [
            f"broker 2 at {host}:{port} does not answer: no answer in time"
        ]


async def test_offsets_of_a_leader_that_does_not_answer_are_left_out(tmp_path: Path) -> None:
    clock = SimulatedClock()
    async with cluster_of(2, tmp_path) as cluster:
        await cluster.create_topic("t", [(1,), (2,)])
        network = Deaf(cluster.brokers[2].addresses[0])
        async with (
            Client(cluster.brokers[1].bootstrap, clock=clock, network=network) as client,
            passing(clock),
        ):
            first = TopicPartition("t", 0)
            assert await known_offsets(client, [first, TopicPartition("t", 1)]) == ({first: 0}, {first: 0})
        assert clock.monotonic_ms() < 6_000


async def test_frozen_cluster_is_not_waited_for_longer_than_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        done = await Commands(f"127.0.0.1:{port}")("check", "--timeout", "0.2", status=1)
    assert done.out == f"no broker answers at 127.0.0.1:{port} (no answer in time)\n"


async def test_settings_come_from_a_file_and_from_words(tmp_path: Path) -> None:
    file = tmp_path / "client.properties"
    async with SaslGate.before(tmp_path / "data") as gate:
        file.write_text(
            f"bootstrap.servers={gate.bootstrap}\n"
            "security.protocol=SASL_PLAINTEXT\n"
            "sasl.mechanism=PLAIN\n"
            'sasl.jaas.config=a.Module required \\\n  username="me" password="secret";\n'
            "key.serializer=x\n"
        )
        config = ("--command-config", str(file))
        made = await Commands("")("topics", "create", "t", *config)
        assert (made.out, made.err) == (
            "t: created\n",
            f"pykbroker: {file}: these have no effect here: key.serializer\n",
        )
        failed = await Commands(gate.bootstrap)("topics", "list", *config, "-X", "sasl.password=x", status=1)
        assert failed.err.endswith("SASL_AUTHENTICATION_FAILED: Authentication failed\n")
        missing = ("-X", "security.protocol=SSL", "-X", "ssl.ca.location=/nope")
        failed = await Commands(gate.bootstrap)("topics", "list", *missing, status=1)
        assert failed.err == "pykbroker: /nope: No such file or directory\n"
        for words in (["-X", "nope=1"], ["-X", "nope"], ["--command-config", "/nope"], ["-X", "security.protocol=x"]):
            await Commands(gate.bootstrap)("topics", "list", *words, status=2)


async def test_cluster_that_does_not_answer_is_not_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = await Commands(f"127.0.0.1:{port}")("check", status=1)
    assert done.out == f"no broker answers at 127.0.0.1:{port} (connection refused)\n"


# What a person did wrong


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["topics", "alter", "t"], "nothing to alter"),
        (["topics", "create", "t", "-c", "x"], "'x' is not NAME=VALUE"),
        (["topics", "nope"], "nope"),
        (["topics", "move", "t"], "give either --to or --cancel"),
        (["topics", "move", "t", "--to", "1", "--cancel"], "give either --to or --cancel"),
        (["topics", "move", "--to", "1"], "which topic?"),
        (["topics", "move", "t", "--to", "1,1"], "'1,1' is no list of different brokers"),
        (["topics", "move", "t", "--to", "1,x"], "'1,x' is no list of different brokers"),
        (["topics", "move", "-p", "0", "--cancel"], "-p is about one topic"),
        (["topics", "elect", "t", "u", "-p", "0"], "-p is about one topic"),
        (["brokers", "decommission", "x"], "should be a valid integer"),
        (["nope"], "nope"),
        (["consume", "t", "-f", "%z"], "%z is no field"),
        (["consume", "t", "-o", "x"], "'x' is not a position"),
        (["consume", "t", "-o", "stored"], "what is stored is a group's"),
        (["consume", "t", "-s", "i", "--json"], "--unpack is for text"),
        (["consume", "t", "-s", "z"], "unpack: 'z'"),
        (["consume", "t", "-g", "g", "-e"], "the group decides"),
        (["consume", "t", "-g", "g", "-o", "5"], "begins at start or end"),
        (["produce", "t", "-v", "x", "-f", "%v"], "exclude one another"),
        (["produce", "t", "-v", "x", "--acks", "2"], "all, 1 or 0"),
        (["produce", "t", "-v", "x", "-z", "rar"], "no codec 'rar'"),
        (["produce", "t", "-v", "x", "--idempotent", "--acks", "1"], "--idempotent needs"),
        (["groups", "reset", "g"], "give one of"),
        (["groups", "reset", "g", "--to-latest", "--to-earliest"], "give one of"),
        (["groups", "reset", "g", "--to-datetime", "x"], "'x' is not a time"),
        (["configs", "describe", "nope", "t"], "nope"),
        (["topics", "list", "-b", "a:b:c"], "'a:b:c' is not host:port"),
        (["wire", "nope"], "nope"),
    ],
    ids=words_of,
)
def test_words_that_make_no_sense_are_said_before_anybody_is_asked(words: list[str], message: str) -> None:
    failed = invoke(*words, environment={"PYKBROKER_BOOTSTRAP": "127.0.0.1:1"})
    assert failed.status == 2
    assert message in " ".join(failed.err.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["topics", "describe", "nope"], "UNKNOWN_TOPIC_OR_PARTITION: there is no topic nope"),
        (["consume", "nope"], "UNKNOWN_TOPIC_OR_PARTITION: nope"),
        (["consume", "t", "-p", "5"], "t has no partition 5"),
        (["produce", "t", "-v", "x", "-p", "9"], "t has no partition 9"),
        (["groups", "describe", "nope"], "GROUP_ID_NOT_FOUND"),
        (["configs", "describe", "topic", "nope"], "UNKNOWN_TOPIC_OR_PARTITION"),
        (["configs", "set", "topic", "t", "nope=1"], "nope"),
        (["topics", "list", "-b", "127.0.0.1:1"], "no broker answers at 127.0.0.1:1 (connection refused)"),
    ],
    ids=words_of,
)
async def test_what_the_cluster_refuses_is_one_line(tmp_path: Path, words: list[str], message: str) -> None:
    async with running(tmp_path) as broker:
        run = Commands.of(broker)
        await run("topics", "create", "t")
        failed = await run(*words, status=1)
        (line,) = failed.err.splitlines()
        assert line.startswith("pykbroker: ")
        assert message in line


def test_wire_gets_its_words_as_they_are() -> None:
    done = invoke("wire", "codec", "ApiVersions", "0", "--response")
    assert done.status == 0
    assert "def _decode(" in done.out
    assert "usage: pykbroker wire" in invoke("wire", "--help").out

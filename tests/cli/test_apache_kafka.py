"""The commands against a real Apache Kafka. Slow: it is a JVM; skipped where there is no Java or no jars.

Its broker hears of a change of metadata some time after the controller has answered: what shows one is asked for until
it does.
"""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from pykbroker.client import Client
from pykbroker.client.consumer import Consumer
from pykbroker.client.offsets import EpochEnd, EpochQuestion, ends_of_epochs
from pykbroker.client.topics import delete_topics
from pykbroker.topic_partition import TopicPartition
from tests.cli.secured_kafka import SecuredKafka
from tests.cli.support import Commands, Done, produce
from tests.client.support import create

HEARS_S = 60.0
MOVED = ("topics", "describe", "m", "--json")
THROTTLED = "leader.replication.throttled.replicas"

pytestmark = [pytest.mark.slow, pytest.mark.parallel, pytest.mark.anyio, pytest.mark.xdist_group("maven")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def shown(run: Commands, condition: Callable[[Done], bool], *words: str) -> Done:
    """Repeat a command until what it says is as wanted."""
    with anyio.fail_after(HEARS_S):
        while not condition(done := await run.tried(*words)):
            await anyio.sleep(0.05)
    return done


async def test_topics_and_records(secured_kafka: SecuredKafka, tmp_path: Path) -> None:
    run = Commands(secured_kafka.bootstrap)
    assert (await run("topics", "create", "t", "-p", "2", "-c", "retention.ms=100000000000")).out == "t: created\n"
    await shown(run, lambda done: ["t", "2", "1"] in done.lines, "topics", "list")
    file = tmp_path / "lines"
    file.write_text("a:1\nb:2\nc:3\n")
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        await run("produce", "t", str(file), "-K", ":", "-H", "h=1", "-z", codec, "--idempotent")
    await run("produce", "t", "-v", "x", "-k", "k", "--acks", "0")
    read = (await run("consume", "t", "-n", "16", "-f", r"%t %k=%v %h\n")).out.splitlines()
    assert sorted(read) == sorted(["t a=1 h=1", "t b=2 h=1", "t c=3 h=1"] * 5 + ["t k=x "])
    await run("topics", "alter", "t", "-p", "3")
    await run("topics", "delete-records", "t", "-p", "0", "--before", "1")
    has_grown = await shown(
        run,
        lambda done: not done.status and len(done.json[0]["partitions"]) == 3,
        *("topics", "describe", "t", "--json"),
    )
    (told,) = has_grown.json
    assert told["configs"]["retention.ms"] == "100000000000"
    assert told["partitions"][0]["log_start_offset"] == 1
    assert (await run("consume", "t", "-o", "@2020-01-01:@2020-01-02")).out == ""
    assert (await run("topics", "delete", "t")).out == "t: deleted\n"
    is_gone = await shown(run, lambda done: done.status == 1, "topics", "describe", "t")
    assert is_gone.err.startswith("pykbroker: UNKNOWN_TOPIC_OR_PARTITION")


async def test_groups(secured_kafka: SecuredKafka) -> None:
    run = Commands(secured_kafka.bootstrap)
    await run("topics", "create", "g", "-p", "1")
    for value in ("0", "1", "2"):
        await run("produce", "g", "-v", value)
    assert (await run("consume", "g", "-g", "readers", "-n", "3")).out == "0\n1\n2\n"
    assert ["readers", "Empty", "classic", "1"] in (await run("groups", "list")).lines
    await run("groups", "reset", "readers", "--to-offset", "1")
    described = await run("groups", "describe", "readers")
    assert described.lines[0] == ["readers", "Empty", "classic", "members", "0", "lag", "2"]
    await run("groups", "reset", "readers", "--to-datetime=-1h")
    assert (await run("groups", "describe", "readers", "--json")).json[0]["lag"] == 3
    assert (await run("groups", "delete-offsets", "readers", "-t", "g")).out == "g-0: forgotten\n"
    assert (await run("groups", "delete", "readers")).out == "readers: deleted\n"
    assert (await run("groups", "describe", "readers", status=1)).err.startswith("pykbroker: GROUP_ID_NOT_FOUND")


async def test_configs_and_health(secured_kafka: SecuredKafka) -> None:
    run = Commands(secured_kafka.bootstrap)
    await run("topics", "create", "c")
    await run("configs", "append", "topic", "c", "cleanup.policy=compact")
    policy = ["cleanup.policy", "delete,compact", "DYNAMIC_TOPIC"]
    await shown(run, lambda done: policy in done.lines, "configs", "describe", "topic", "c", "cleanup.policy")
    await run("configs", "delete", "topic", "c", "cleanup.policy")
    await run("configs", "set", "broker", "default", "log.retention.ms=1000000000")
    retention = ["log.retention.ms", "1000000000", "DYNAMIC_DEFAULT_BROKER"]
    await shown(
        run, lambda done: retention in done.lines, "configs", "describe", "broker", "default", "log.retention.ms"
    )
    assert (await run("configs", "set", "topic", "c", "nope=1", status=1)).err.startswith("pykbroker: INVALID_CONFIG")
    assert (await run("check")).out.startswith("healthy (brokers: 1, ")


async def test_brokers_moves_and_elections(secured_kafka: SecuredKafka) -> None:
    run = Commands(secured_kafka.bootstrap)
    await run("topics", "create", "m", "-p", "2")
    await shown(run, lambda done: not done.status and len(done.json[0]["partitions"]) == 2, *MOVED)
    (broker,) = (await run("brokers", "list", "--json")).json
    assert (broker["id"], broker["state"], broker["is_controller"]) == (1, "active", True)
    assert broker["leaders"] == broker["replicas"] >= 2
    assert broker["bytes"] is not None
    assert (
        await run("topics", "move", "m", "--to", "1", "--throttle", "1000")
    ).out == "m-0: moved to 1\nm-1: moved to 1\n"
    failed = await run("topics", "move", "m", "-p", "0", "--to", "9", "--throttle", "1000", status=1)
    assert failed.err.startswith("pykbroker: m-0: INVALID_REPLICA_ASSIGNMENT")
    await shown(run, lambda done: not done.status and done.json[0]["configs"].get(THROTTLED) is None, *MOVED)
    assert (await run("topics", "moves", "--json")).json == []
    assert (await run("topics", "move", "m", "--cancel")).out == "nothing moves\n"
    assert (await run("topics", "elect", "m")).out == "all of them are led by their preferred leaders\n"
    failed = await run("brokers", "decommission", "1", status=1)
    assert failed.err.startswith("pykbroker: broker 1 cannot be taken out of service: 1 replicas need as many other")
    failed = await run("brokers", "unregister", "9", status=1)
    assert failed.err.startswith("pykbroker: BROKER_ID_NOT_REGISTERED")


async def test_topic_that_is_made_anew_is_read_from_its_beginning(secured_kafka: SecuredKafka) -> None:
    tp, notices = TopicPartition("anew", 0), list[str]()
    async with Client(secured_kafka.bootstrap) as client, Client(secured_kafka.bootstrap) as other:
        await create(other, "anew")
        await produce(other, "anew", b"0", b"1")
        async with Consumer(client, {tp: 0}, on_notice=notices.append) as consumer:
            assert [(await anext(consumer)).value for _ in range(2)] == [b"0", b"1"]
            assert await delete_topics(other, ["anew"]) == {"anew": None}
            await create(other, "anew")
            await produce(other, "anew", b"another")
            assert (await anext(consumer)).value == b"another"
        assert notices == ["anew-0: offset 2 is of another log; going on at 0"]
        leader = await other.leader_of(tp)
        ends = await ends_of_epochs(other, leader, {tp: EpochQuestion(0, 0)})
        assert ends == {tp: EpochEnd(0, 1)}

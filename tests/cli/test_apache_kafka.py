"""The commands against a real Apache Kafka. Slow: it is a JVM; skipped where there is no Java or no jars.

Its broker hears of a change of metadata some time after the controller has answered: what shows one is asked for until
it does.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from clients import Unavailable
from support import kafka_tools

from pykbroker.client import Client, CoordinatorType, Question
from pykbroker.client.client import check
from tests.cli.support import Commands, Done, invoke
from wire.messages.authentication import AlterUserScramCredentialsRequest, ScramCredentialUpsertion
from wire.messages.transactions import InitProducerIdRequest

COMPAT = Path(__file__).resolve().parent.parent.parent / "compat"
STOP_S = 60.0
HEARS_S = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.parallel, pytest.mark.anyio, pytest.mark.xdist_group("maven")]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where Kafka puts its files."""
    return tmp_path_factory.mktemp("kafka")


@pytest.fixture(scope="module")
def bootstrap(folder: Path) -> Iterator[str]:
    missing = [name for name in ("java", "mvn") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"Apache Kafka needs {' and '.join(missing)} on the PATH")
    command = [sys.executable, "-u", str(COMPAT / "apache_kafka.py"), "1"]
    env = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(command, cwd=COMPAT, stdout=subprocess.PIPE, text=True, env=env) as kafka:
        try:
            assert kafka.stdout is not None
            found = re.search(r"accepts clients on (\S+)", kafka.stdout.readline())
            if found is None:
                pytest.skip("Apache Kafka does not start here; what it says is above")
            yield found[1]
        finally:
            kafka.send_signal(signal.SIGINT)
            kafka.wait(STOP_S)


async def shown(run: Commands, condition: Callable[[Done], bool], *words: str) -> Done:
    """Repeat a command until what it says is as wanted."""
    with anyio.fail_after(HEARS_S):
        while not condition(done := await run.tried(*words)):
            await anyio.sleep(0.05)
    return done


async def test_topics_and_records(bootstrap: str, tmp_path: Path) -> None:
    run = Commands(bootstrap)
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


async def test_groups(bootstrap: str) -> None:
    run = Commands(bootstrap)
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


async def test_configs_and_health(bootstrap: str) -> None:
    run = Commands(bootstrap)
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


async def test_internal_topics_are_read_as_kafkas_own_tool_reads_them(bootstrap: str, folder: Path) -> None:
    run = Commands(bootstrap)
    await run("topics", "create", "read", "-c", "retention.ms=-1")
    await run("produce", "read", "-v", "x")
    await run("consume", "read", "-g", "internal", "-n", "1")
    await run("configs", "set", "broker", "1", f"listener.name.auth.ssl.key.password={SECRET}")
    upsertion = ScramCredentialUpsertion(
        name="alice", mechanism=1, iterations=4096, salt=SECRET.encode(), salted_password=bytes(32)
    )
    scram = Question.of(AlterUserScramCredentialsRequest(upsertions=[upsertion]))
    producer = Question.of(InitProducerIdRequest("id", 60_000))
    async with Client(bootstrap) as client:
        await client.ask_controller(scram, lambda answer: check(answer.results[0].error_code))
        await client.ask_coordinator(
            CoordinatorType.TRANSACTION, "id", producer, lambda answer: check(answer.error_code)
        )
    (data,) = folder.glob("kafka-*/node1/data")
    copied = folder / "copied"  # both read the same: the log of the controllers grows
    for topic in DECODERS:
        for partition in data.glob(f"{topic}-*"):
            shutil.copytree(partition, copied / partition.name, ignore=shutil.ignore_patterns("*index"))
    hidden: dict[str, Any] = {}
    seen = {
        named
        for topic, decoder in DECODERS.items()
        for named in differences(sorted(copied.glob(f"{topic}-*/*0.log")), decoder, hidden)
    }
    assert seen >= {
        "ConfigRecord",
        "FeatureLevelRecord",
        "GroupMetadataKey",
        "LeaderChange",
        "OffsetCommitKey",
        "PartitionRecord",
        "RegisterBrokerRecord",
        "TopicRecord",
        "TransactionLogKey",
        "UserScramCredentialRecord",
    }
    assert hidden["value"] == SECRET
    assert hidden.keys() == {"value", "salt", "stored_key", "server_key"}


SECRET = "s3cr3t-value"
DECODERS = {
    "__cluster_metadata": "--cluster-metadata-decoder",
    "__consumer_offsets": "--offsets-decoder",
    "__transaction_state": "--transaction-log-decoder",
}
_DUMPED = re.compile(
    r"\| offset: (?P<offset>\d+) .* headerKeys: \[\] "
    r"(?:key: (?P<key>\{.*\}) )?(?:payload: |(?P<control>\w+):? )(?P<value>\{.*\}|<DELETE>)"
)


def differences(files: list[Path], decoder: str, hidden: dict[str, Any]) -> Iterator[str]:
    """Hold what `log dump` shows of each record against what Kafka's tool does; yield what they are called."""
    try:
        command = kafka_tools.java("DumpLogSegments", decoder, "--files", ",".join(map(str, files)))
    except Unavailable as error:
        pytest.skip(str(error))
    dumped = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.splitlines()
    theirs = [match for line in dumped if (match := _DUMPED.match(line))]
    ours = [
        entry
        for entry in map(json.loads, invoke("log", "dump", "-r", "--json", *map(str, files)).out.splitlines())
        if entry["kind"] == "record"
    ]
    assert [int(match["offset"]) for match in theirs] == [entry["offset"] for entry in ours]
    for match, entry in zip(theirs, ours, strict=True):
        value = json.loads(match["value"]) if match["value"] != "<DELETE>" else {"data": None}
        if match["control"]:
            yield match["control"]
            assert_agrees(value, entry, hidden)
            continue
        yield (entry["key"] or entry["value"])["type"]
        if match["key"]:
            assert_agrees(json.loads(match["key"])["data"], entry["key"], hidden)
        assert_agrees(value["data"], entry["value"], hidden)


def assert_agrees(theirs: Any, ours: Any, hidden: dict[str, Any], name: str = "") -> None:
    """Kafka's tool leaves out tagged fields at their defaults."""
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            ours_name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key.replace("kRaft", "kraft")).lower()
            assert_agrees(value, ours[ours_name], hidden, ours_name)
    elif isinstance(theirs, list):
        for one, other in zip(theirs, ours, strict=True):
            assert_agrees(one, other, hidden, name)
    elif ours == "(hidden)":
        hidden[name] = theirs
    else:
        assert ours == theirs

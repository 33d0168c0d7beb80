"""`log dump` on the files of a real Apache Kafka, beside its own kafka-dump-log. Slow: it is a JVM; skipped without."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients import Unavailable
from support import kafka_tools

from pykbroker.client import Client, CoordinatorType, Question
from pykbroker.client.client import check
from tests.cli.secured_kafka import SecuredKafka
from tests.cli.support import Commands, invoke
from wire.messages.authentication import AlterUserScramCredentialsRequest, ScramCredentialUpsertion
from wire.messages.transactions import InitProducerIdRequest

pytestmark = [pytest.mark.slow, pytest.mark.parallel, pytest.mark.anyio, pytest.mark.xdist_group("maven")]

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


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_internal_topics_are_read_as_kafkas_own_tool_reads_them(
    secured_kafka: SecuredKafka, tmp_path: Path
) -> None:
    run = Commands(secured_kafka.bootstrap)
    await run("topics", "create", "read", "-c", "retention.ms=-1")
    await run("produce", "read", "-v", "x")
    await run("consume", "read", "-g", "internal", "-n", "1")
    await run("configs", "set", "broker", "1", f"listener.name.auth.ssl.key.password={SECRET}")
    upsertion = ScramCredentialUpsertion(
        name="alice", mechanism=1, iterations=4096, salt=SECRET.encode(), salted_password=bytes(32)
    )
    scram = Question.of(AlterUserScramCredentialsRequest(upsertions=[upsertion]))
    producer = Question.of(InitProducerIdRequest("id", 60_000))
    async with Client(secured_kafka.bootstrap) as client:
        await client.ask_controller(scram, lambda answer: check(answer.results[0].error_code))
        await client.ask_coordinator(
            CoordinatorType.TRANSACTION, "id", producer, lambda answer: check(answer.error_code)
        )
    (node,) = secured_kafka.cluster.nodes
    copied = tmp_path / "copied"  # both read the same: the log of the controllers grows
    for topic in DECODERS:
        for partition in node.data_dir.glob(f"{topic}-*"):
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

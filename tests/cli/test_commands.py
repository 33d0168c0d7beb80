"""The commands of topics, records and configs against a broker: what they print for people and for programs."""

import json
from pathlib import Path

import pytest

from pykbroker.client import Client, groups
from pykbroker.client.producer import Producer
from pykbroker.topic_partition import TopicPartition
from tests.cli.support import Commands, produce, words_of
from tests.client.support import QUICK, create
from tests.support.running import running

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# Topics


async def test_topics_are_created_listed_described_altered_and_deleted(tmp_path: Path) -> None:
    async with running(tmp_path, num_partitions="2") as broker:
        run = Commands.of(broker)
        assert (await run("topics", "create", "b", "a")).out == "b: created\na: created\n"
        await run("topics", "create", "c", "-p", "3", "-r", "1", "-c", "retention.ms=1000")
        assert (await run("topics", "list")).lines == [
            ["TOPIC", "PARTITIONS", "REPLICAS"],
            ["a", "2", "1"],
            ["b", "2", "1"],
            ["c", "3", "1"],
        ]
        await run("topics", "alter", "c", "-p", "4", "-c", "segment.bytes=1048576", "--delete-config", "retention.ms")
        described = await run("topics", "describe", "c")
        assert described.lines[0][:2] == ["c", "id"]
        assert described.lines[1] == ["segment.bytes=1048576"]
        assert described.lines[3:] == [[str(index), "1", "0", "1", "1", "0", "0"] for index in range(4)]
        (told,) = (await run("topics", "describe", "c", "--json")).json
        assert told["configs"] == {"segment.bytes": "1048576"}
        assert told["partitions"][3] == {
            "partition": 3,
            "leader": 1,
            "leader_epoch": 0,
            "replicas": [1],
            "isr": [1],
            "offline_replicas": [],
            "log_start_offset": 0,
            "high_watermark": 0,
        }
        await run("topics", "delete", "a", "b")
        assert [topic["name"] for topic in (await run("topics", "list", "--json")).json] == ["c"]


async def test_what_is_there_or_not_may_count_as_success(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        run = Commands.of(broker)
        await run("topics", "create", "a")
        failed = await run("topics", "create", "a", "b", status=1)
        assert failed.out == "b: created\n"
        assert failed.err.startswith("pykbroker: a: TOPIC_ALREADY_EXISTS")
        await run("topics", "create", "a", "--if-not-exists")
        failed = await run("topics", "delete", "nope", "--json", status=1)
        assert failed.json == [{"name": "nope", "error": "UNKNOWN_TOPIC_OR_PARTITION"}]
        await run("topics", "delete", "nope", "--if-exists")


async def test_dry_run_creates_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        run = Commands.of(broker)
        assert (await run("topics", "create", "a", "--dry-run")).out == "a: would be created\n"
        await run("topics", "create", "a", "-c", "retention.ms=x", "--dry-run", status=1)
        assert (await run("topics", "list", "--json")).json == []


async def test_internal_topics_are_listed_on_request(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=QUICK) as client:
        await create(client, "t")
        await groups.commit_offsets(client, "g", {TopicPartition("t", 0): groups.CommittedOffset(0)})
        run = Commands.of(broker)
        assert [line[0] for line in (await run("topics", "list")).lines] == ["TOPIC", "t"]
        assert [line[0] for line in (await run("topics", "list", "-i")).lines] == ["TOPIC", "__consumer_offsets", "t"]


async def test_records_are_deleted_up_to_an_offset(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t", 2)
        await produce(client, "t", b"0", b"1", b"2")
        run = Commands.of(broker)
        assert (await run("topics", "delete-records", "t", "-p", "0", "--before", "2")).lines[1:] == [["0", "2"]]
        assert (await run("topics", "delete-records", "t", "--json")).json == [
            {"partition": 0, "log_start_offset": 3},
            {"partition": 1, "log_start_offset": 0},
        ]
        failed = await run("topics", "delete-records", "t", "-p", "0", "--before", "9", status=1)
        assert failed.err == "pykbroker: t-0: OFFSET_OUT_OF_RANGE\n"


# Consuming


async def test_records_are_printed_in_the_format(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t")
        await produce(client, "t", b"a", b"b")
        run = Commands.of(broker)
        assert (await run("consume", "t", "-e")).out == "a\nb\n"
        assert (await run("consume", "t", "-e", "-f", r"%t/%p/%o %k %v\n")).out == "t/0/0 ka a\nt/0/1 kb b\n"
        first = json.loads((await run("consume", "t", "-e", "--json")).out.splitlines()[0])
        assert first == {
            "topic": "t",
            "partition": 0,
            "offset": 0,
            "timestamp": 1000,
            "key": "ka",
            "value": "a",
            "headers": [],
        }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-o", "start", "-e"], "01234"),
        (["-o", "2", "-e"], "234"),
        (["-o", "-2", "-e"], "34"),
        (["-o", "+1", "-n", "2"], "12"),
        (["-o", "1:3"], "12"),
        (["-o", ":2"], "01"),
        (["-o", "3:end"], "34"),
        (["-o", "3:", "-e"], "34"),
        (["-o", "s@2000", "-o", "e@4000"], "23"),
        (["-o", "@1970-01-01T00:00:01Z:2s"], "12"),
        (["-o", "@1970-01-01T00:00:03Z:end"], "34"),
        (["-o", "end:end"], ""),
        (["-o", "@000000002:@000000004"], "23"),
        (["-o", "@1970-01-01T00:00:04Z", "-e"], "4"),
        (["-n", "1"], "0"),
        (["-p", "0", "-e"], "01234"),
        (["-p", "1", "-e"], ""),
    ],
    ids=words_of,
)
async def test_reading_begins_and_stops_where_it_is_told(tmp_path: Path, words: list[str], expected: str) -> None:
    """Record n has a timestamp of n seconds."""
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t", 2)
        for number in range(5):
            await produce(client, "t", b"%d" % number, timestamp=number * 1000)
        assert (await Commands.of(broker)("consume", "t", "-f", "%v", *words)).out == expected


async def test_what_is_gone_is_told_and_reading_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path, group_initial_rebalance_delay_ms="0") as broker, Client(broker.bootstrap) as client:
        await create(client, "t")
        await produce(client, "t", b"0", b"1", b"2")
        run = Commands.of(broker)
        await run("consume", "t", "-g", "g", "-n", "1")
        await run("topics", "delete-records", "t", "--before", "2")
        none = await run("consume", "t", "-g", "g", "-n", "1", "-X", "auto.offset.reset=none", status=1)
        out_of_range = "t-0: offset 1 is out of range"
        assert none.err == f"pykbroker: OFFSET_OUT_OF_RANGE: {out_of_range}, and auto.offset.reset is none\n"
        done = await run("consume", "t", "-g", "g", "-n", "1")
        assert (done.out, done.err) == ("2\n", f"pykbroker: {out_of_range}; going on at 2\n")
        unread = await run("consume", "t", "-g", "another", "-n", "1", "-X", "auto.offset.reset=error", status=1)
        assert "another has no offset of t-0, and auto.offset.reset is none" in unread.err


async def test_group_goes_on_behind_what_was_printed(tmp_path: Path) -> None:
    """The five records are one batch: what was fetched with the first of them is not lost."""
    async with running(tmp_path, group_initial_rebalance_delay_ms="0") as broker, Client(broker.bootstrap) as client:
        await create(client, "t")
        await produce(client, "t", b"0", b"1", b"2", b"3", b"4")
        run = Commands.of(broker)
        for number, printed in ((1, "0\n"), (1, "1\n"), (2, "2\n3\n")):
            assert (await run("consume", "t", "-g", "g", "-n", str(number))).out == printed
        assert await groups.committed_offsets(client, "g") == {
            TopicPartition("t", 0): groups.CommittedOffset(4, leader_epoch=0)
        }


async def test_member_of_a_group_says_that_there_is_no_such_topic(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        failed = await Commands.of(broker)("consume", "nope", "-g", "g", status=1)
        assert failed.err == "pykbroker: UNKNOWN_TOPIC_OR_PARTITION: nope\n"


async def test_records_are_printed_as_the_options_of_kcat_say(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t")
        async with Producer(client) as producer:
            await producer.send("t", b"\0\1", key=b"\2", partition=0)
            await producer.send("t", None, partition=0)
        run = Commands.of(broker)
        assert (
            await run("consume", "t", "-e", "-Z", "-K", ":", "-D", ";", "-s", "h", "-s", "key=B")
        ).out == "2:1;NULL:NULL;"


# Producing


async def test_words_that_are_no_text_are_values_but_no_names(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        run = Commands.of(broker)
        await run("produce", "t", "-v", "\udcff", "-k", "\udcfe", "-H", "h=\udcfd")
        assert (await run("consume", "t", "-e", "-f", "%v{hex} %k{hex} %h{%v{hex}}")).out == "ff fe fd"
        for words in (["topics", "describe", "\udcff"], ["produce", "t", "-v", "x", "-H", "\udcff=1"]):
            failed = await run(*words, status=1)
            assert (failed.out, failed.err) == ("", "pykbroker: '\\udcff' is no text\n")


async def test_lines_of_a_file_become_records(tmp_path: Path) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"a:1\nb:2\nno key")
    async with running(tmp_path / "data") as broker:
        run = Commands.of(broker)
        done = await run("produce", "t", str(file), "-K", ":", "-H", "h=1", "-H", "h=2", "-z", "gzip", "--idempotent")
        assert done.err == "3 records written to t\n"
        read = (await run("consume", "t", "-e", "-f", r"%k=%v %h\n")).out
        assert read == "a=1 h=1,h=2\nb=2 h=1,h=2\n=no key h=1,h=2\n"


async def test_what_consume_prints_can_be_produced_again(tmp_path: Path) -> None:
    file = tmp_path / "records"
    async with running(tmp_path / "data") as broker, Client(broker.bootstrap) as client:
        await create(client, "t", 2)
        async with Producer(client) as producer:
            await producer.send("t", b"\xff", key=None, headers=[("a", None), ("b", b"\xfe")], partition=1)
            await producer.send("t", None, key=b"k", partition=0)
        run = Commands.of(broker)
        first = (await run("consume", "t", "-e", "--json")).out
        file.write_text(first)
        await run("topics", "create", "copy", "-p", "2")
        text = [json.loads(line) | {"topic": "copy"} for line in first.splitlines()]
        file.write_text("".join(json.dumps(line) + "\n" for line in text))
        await run("produce", "ignored", str(file), "--json-lines")
        second = [json.loads(line) for line in (await run("consume", "copy", "-e", "--json")).out.splitlines()]
        assert sorted(second, key=lambda told: told["partition"]) == sorted(text, key=lambda told: told["partition"])


async def test_records_are_never_there_twice_unless_told_otherwise(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        run = Commands.of(broker)
        for words in ([], ["--acks", "1"], ["--no-idempotent"]):
            await run("produce", "t", "-v", "x", *words)
        first, *others = (await run("consume", "t", "-e", "-f", "%x ")).out.split()
        assert first != "-1"
        assert others == ["-1", "-1"]


async def test_one_record_is_produced_from_the_command_line(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        run = Commands.of(broker)
        told = (await run("produce", "t", "-v", "value", "-k", "key", "-p", "0", "--json")).json
        assert {**told, "timestamp": 0} == {"topic": "t", "partition": 0, "offset": 0, "timestamp": 0}
        await run("produce", "t", "-v", "", "-k", "key", "-Z")
        assert (await run("consume", "t", "-e", "-f", r"%k=%v{json}\n")).out == 'key="value"\nkey=null\n'


@pytest.mark.parametrize(
    ("content", "words", "message"),
    [
        ("a:1\nb\n", ["-f", "%k:%v"], r"record 2: it is not as '%k:%v' says"),
        ("1\n", ["--json-lines"], "record 1: "),
        ('{"value": "a"}\n{"value": "a", "partition": "x"}\n', ["--json-lines"], 'record 2: partition is "x"'),
        ("1" * 23 + " a\n", ["-f", "%T %v"], "record 1: a number of 23 digits"),
        (None, [], "No such file or directory"),
    ],
)
async def test_input_that_cannot_be_read_is_one_line(
    tmp_path: Path, content: str | None, words: list[str], message: str
) -> None:
    file = tmp_path / "lines"
    if content is not None:
        file.write_text(content)
    async with running(tmp_path / "data") as broker:
        failed = await Commands.of(broker)("produce", "t", str(file), *words, status=1)
        (line,) = failed.err.splitlines()
        assert message in line


# Configs


async def test_configs_are_described_set_appended_subtracted_and_deleted(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        run = Commands.of(broker)
        await run("topics", "create", "t")

        async def is_set() -> dict[str, str]:
            entries = (await run("configs", "describe", "topic", "t", "--json")).json
            return {each["name"]: each["value"] for each in entries if each["source"] == "DYNAMIC_TOPIC"}

        assert (await run("configs", "set", "topic", "t", "retention.ms=1000")).out == "topic t: altered\n"
        await run("configs", "append", "topic", "t", "cleanup.policy=compact")
        assert await is_set() == {"retention.ms": "1000", "cleanup.policy": "delete,compact"}
        await run("configs", "subtract", "topic", "t", "cleanup.policy=delete")
        await run("configs", "delete", "topic", "t", "retention.ms")
        assert await is_set() == {"cleanup.policy": "compact"}
        await run("configs", "set", "topic", "t", "retention.ms=5", "--dry-run")
        assert await is_set() == {"cleanup.policy": "compact"}
        named = await run("configs", "describe", "topic", "t", "retention.ms", "nope", status=1)
        assert named.lines[1] == ["retention.ms", "604800000", "DEFAULT"]
        assert named.err == "pykbroker: topic t has no config nope\n"
        everything = await run("configs", "describe", "topic", "t", "--all", "--docs", "--json")
        assert len(everything.json) > 25
        assert any(entry["documentation"] for entry in everything.json)


async def test_configs_of_all_brokers_are_those_of_default(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        run = Commands.of(broker)
        await run("configs", "set", "broker", "default", "log.retention.ms=1000000")
        entries = (await run("configs", "describe", "broker", "1", "log.retention.ms")).lines
        assert entries[1] == ["log.retention.ms", "1000000", "DYNAMIC_DEFAULT_BROKER"]
        failed = await run("configs", "set", "broker", "1", "node.id=7", status=1)
        assert len(failed.err.splitlines()) == 1

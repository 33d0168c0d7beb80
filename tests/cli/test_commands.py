"""The commands against a broker: what they print for people and for programs, and how they end."""

import json
import socket
from pathlib import Path

import pytest

from pykbroker.cli.actions.check import examine
from pykbroker.cli.actions.known_offsets import known_offsets
from pykbroker.client import Client, groups
from pykbroker.client.member import GroupConsumer
from pykbroker.client.producer import Producer
from pykbroker.clock import SimulatedClock
from pykbroker.topic_partition import TopicPartition
from tests.cli.support import Commands, invoke
from tests.client.gates import Gate, SaslGate
from tests.client.support import QUICK, Deaf, create, passing
from tests.support.cluster import cluster_of
from tests.support.cluster import until as until_in_cluster
from tests.support.running import running, until
from wire.errors import ErrorCode
from wire.messages import share_groups, streams_groups
from wire.schema import ZERO_UUID

pytestmark = pytest.mark.anyio


def words_of(value: object) -> str | None:
    """The id of a parameter: what is typed."""
    return " ".join(value) if isinstance(value, list) else None


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def produce(client: Client, topic: str, *values: bytes, partition: int = 0, timestamp: int = 1000) -> None:
    async with Producer(client) as producer:
        for value in values:
            await producer.send(topic, value, key=b"k" + value, partition=partition, timestamp=timestamp)


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


async def test_group_goes_on_behind_what_was_printed(tmp_path: Path) -> None:
    """The five records are one batch: what was fetched with the first of them is not lost."""
    async with running(tmp_path, group_initial_rebalance_delay_ms="0") as broker, Client(broker.bootstrap) as client:
        await create(client, "t")
        await produce(client, "t", b"0", b"1", b"2", b"3", b"4")
        run = Commands.of(broker)
        for number, printed in ((1, "0\n"), (1, "1\n"), (2, "2\n3\n")):
            assert (await run("consume", "t", "-g", "g", "-n", str(number))).out == printed
        assert await groups.committed_offsets(client, "g") == {TopicPartition("t", 0): groups.CommittedOffset(4)}


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


# Groups


async def test_group_is_described_with_members_and_lag(tmp_path: Path) -> None:
    async with (
        running(tmp_path, group_initial_rebalance_delay_ms="0") as broker,
        Client(broker.bootstrap, settings=QUICK) as client,
    ):
        await create(client, "t", 2)
        await produce(client, "t", b"0", b"1", b"2")
        await groups.commit_offsets(client, "g", {TopicPartition("t", 0): groups.CommittedOffset(1)})
        run = Commands.of(broker)
        assert (await run("groups", "list")).lines[1] == ["g", "Empty", "classic", "1"]
        described = await run("groups", "describe", "g")
        assert described.lines == [
            ["g", "Empty", "classic", "members", "0", "lag", "2"],
            ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "CLIENT", "HOST"],
            ["t", "0", "1", "3", "2", "-", "-", "-"],
        ]
        async with GroupConsumer(client, "g", ["t"]) as member:
            await until(lambda: member.assignment)
            (told,) = (await run("groups", "describe", "g", "--json")).json
            assert (told["state"], told["assignor"], len(told["members"])) == ("Stable", "range", 1)
            assert [(each["partition"], each["lag"]) for each in told["partitions"]] == [(0, 2), (1, None)]
            busy = await run("groups", "reset", "g", "--to-latest", status=1)
            assert busy.err == "pykbroker: g has 1 members (Stable): stop them first\n"


async def test_members_without_partitions_are_shown_too(tmp_path: Path) -> None:
    async with (
        running(tmp_path, group_initial_rebalance_delay_ms="0") as broker,
        Client(broker.bootstrap, settings=QUICK) as client,
        Client(broker.bootstrap, settings=QUICK) as other,
    ):
        await create(client, "t")
        async with GroupConsumer(client, "g", ["t"]) as first, GroupConsumer(other, "g", ["t"]) as second:
            run = Commands.of(broker)
            await until(lambda: first.assignment or second.assignment)
            while len(lines := (await run("groups", "describe", "g")).lines) < 4:
                pass
            assert lines[2][:2] == ["t", "0"]
            assert lines[3][:5] == ["-"] * 5
            assert {lines[2][5], lines[3][5]} == {first.member_id, second.member_id}


async def test_share_groups_and_those_of_streams_are_described(tmp_path: Path) -> None:
    """The broker has none of either yet, so a gate speaks for it."""
    topics = [share_groups.ShareGroupDescribeResponseTopicPartitions(ZERO_UUID, "t", [0])]
    assigned = share_groups.ShareGroupDescribeResponseAssignment(topics)
    share_member = share_groups.Member("m1", None, 1, "client", "/host", ["t"], assigned)
    share = share_groups.DescribedGroup(0, None, "s", "Stable", 1, 1, "simple", [share_member])
    starts = share_groups.DescribeShareGroupOffsetsResponseTopic(
        "t", ZERO_UUID, [share_groups.DescribeShareGroupOffsetsResponsePartition(0, 1)]
    )
    subtopology = streams_groups.StreamsGroupDescribeResponseSubtopology("0", ["t"])
    tasks = streams_groups.Assignment([streams_groups.StreamsGroupDescribeResponseTaskIds("0", [0])])
    streams = streams_groups.DescribedGroup(
        group_id="s",
        group_state="Stable",
        topology=streams_groups.StreamsGroupDescribeResponseTopology(1, [subtopology]),
        members=[streams_groups.Member("m2", client_id="client", client_host="/host", assignment=tasks)],
    )
    not_found = ErrorCode.GROUP_ID_NOT_FOUND
    answers = {
        77: share_groups.ShareGroupDescribeResponse(groups=[share]),
        89: streams_groups.StreamsGroupDescribeResponse(groups=[streams]),
        90: share_groups.DescribeShareGroupOffsetsResponse(
            groups=[share_groups.DescribeShareGroupOffsetsResponseGroup("s", [starts])]
        ),
    }
    async with Gate.before(tmp_path, added={77: (1, 1), 89: (0, 1), 90: (0, 1)}, answers=answers) as gate:
        run = Commands(gate.bootstrap)
        await run("topics", "create", "t")
        for value in "abc":
            await run("produce", "t", "-v", value)
        assert (await run("groups", "describe", "s")).lines == [
            ["s", "Stable", "share", "assignor", "simple", "members", "1", "lag", "2"],
            ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "CLIENT", "HOST"],
            ["t", "0", "1", "3", "2", "m1", "client", "/host"],
        ]
        share.error_code = not_found
        assert (await run("groups", "describe", "s")).lines[::2] == [
            ["s", "Stable", "streams", "members", "1", "lag", "0"],
            ["t", "0", "-", "3", "-", "m2", "client", "/host"],
        ]


async def test_names_of_strangers_do_not_steer_the_terminal(tmp_path: Path) -> None:
    name = "\x1b[2Jevil\nx\x7f\x9b"
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=QUICK) as client:
        await create(client, "t")
        await groups.commit_offsets(client, name, {TopicPartition("t", 0): groups.CommittedOffset(0)})
        run = Commands.of(broker)
        shown = "\\x1b[2Jevil\\x0ax\\x7f\\x9b"
        assert (await run("groups", "list")).lines[1:] == [[shown, "Empty", "classic", "1"]]
        assert (await run("groups", "describe", name)).lines[0][0] == shown
        told = await run("groups", "list", "--json")
        assert told.json[0]["id"] == name
        assert not set(told.out) & set("\x1b\x7f\x9b")
        assert shown in (await run("groups", "describe", name + "2", status=1)).err


async def test_lag_counts_only_what_is_still_there(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=QUICK) as client:
        await create(client, "t")
        await produce(client, "t", b"0", b"1", b"2")
        await groups.commit_offsets(client, "g", {TopicPartition("t", 0): groups.CommittedOffset(0)})
        run = Commands.of(broker)
        await run("topics", "delete-records", "t", "--before", "2")
        assert (await run("groups", "describe", "g")).lines[2:] == [["t", "0", "0", "3", "1", "-", "-", "-"]]


async def test_group_is_described_without_the_leader_of_a_partition(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path) as cluster:
        await cluster.create_topic("lost", [(2,)])
        async with Client(cluster.brokers[1].bootstrap, settings=QUICK) as client:
            await groups.commit_offsets(client, "g", {TopicPartition("lost", 0): groups.CommittedOffset(0)})
            await cluster.stop(2)
            done = await Commands(cluster.brokers[1].bootstrap)("groups", "describe", "g")
            assert done.lines[2:] == [["lost", "0", "0", "-", "-", "-", "-", "-"]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--to-earliest"], {0: 0, 1: 0}),
        (["--to-latest"], {0: 3, 1: 1}),
        (["--to-offset", "2"], {0: 2, 1: 1}),
        (["--shift-by=-1"], {0: 0, 1: 0}),
        (["--shift-by", "1"], {0: 2, 1: 1}),
        (["--to-datetime", "1970-01-01T00:00:02Z"], {0: 2, 1: 1}),
        (["--to-datetime", "000000001"], {0: 1, 1: 0}),
        (["--to-datetime=-1s"], {0: 3, 1: 1}),
        (["--to-latest", "-t", "t:1"], {0: 1, 1: 1}),
        (["--to-latest", "-t", "t"], {0: 3, 1: 1}),
        (["--to-latest", "--dry-run"], {0: 1, 1: 0}),
    ],
    ids=words_of,
)
async def test_offsets_of_a_group_are_reset(tmp_path: Path, words: list[str], expected: dict[int, int]) -> None:
    """Record n of partition 0 has a timestamp of n seconds, that of partition 1 one second."""
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=QUICK) as client:
        await create(client, "t", 2)
        for number in range(3):
            await produce(client, "t", b"%d" % number, timestamp=1000 * number)
        await produce(client, "t", b"", partition=1)
        before = {TopicPartition("t", 0): groups.CommittedOffset(1), TopicPartition("t", 1): groups.CommittedOffset(0)}
        await groups.commit_offsets(client, "g", before)
        done = await Commands.of(broker)("groups", "reset", "g", *words)
        committed = await groups.committed_offsets(client, "g")
        assert {tp.partition: each.offset for tp, each in committed.items()} == expected
        assert done.out.endswith("nothing was committed: --dry-run\n") is ("--dry-run" in words)


async def test_group_that_has_nothing_is_reset_for_a_topic(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=QUICK) as client:
        await create(client, "t")
        run = Commands.of(broker)
        failed = await run("groups", "reset", "new", "--to-latest", status=1)
        assert failed.err == "pykbroker: new has committed nothing: say which --topic\n"
        failed = await run("groups", "reset", "new", "--shift-by", "1", "-t", "t", status=1)
        assert failed.err == "pykbroker: t-0 has no committed offset to shift\n"
        failed = await run("groups", "reset", "new", "--to-latest", "-t", "t:7", status=1)
        assert failed.err == "pykbroker: t has no partition 7\n"
        told = (await run("groups", "reset", "new", "--to-latest", "-t", "t", "--json")).json
        assert told == [{"topic": "t", "partition": 0, "from": None, "to": 0}]
        assert (await run("groups", "delete-offsets", "new", "-t", "t")).out == "t-0: forgotten\n"
        assert (await run("groups", "delete", "new")).out == "new: deleted\n"
        assert (await run("groups", "delete", "new", status=1)).err == "pykbroker: new: GROUP_ID_NOT_FOUND\n"


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


# Health


async def test_healthy_cluster_is_healthy(tmp_path: Path) -> None:
    async with running(tmp_path) as broker:
        run = Commands.of(broker)
        await run("topics", "create", "t", "-p", "2")
        assert (await run("check")).out == "healthy (brokers: 1, topics: 1, partitions: 2)\n"
        told = (await run("check", "--json")).json
        assert (told["healthy"], told["findings"]) == (True, [])


async def test_what_is_wrong_is_said_and_the_status_is_1(tmp_path: Path) -> None:
    async with cluster_of(3, tmp_path) as cluster:
        await cluster.create_topic("lost", [(3,)])
        await cluster.create_topic("thin", [(1, 3)])
        await cluster.create_topic("strict", [(1, 3)], min_insync_replicas="2")
        await cluster.stop(3)
        await until_in_cluster(lambda: cluster.isr("thin") == (1,) and cluster.isr("strict") == (1,))
        done = await Commands(cluster.brokers[1].bootstrap)("check", status=1)
        assert done.out.splitlines() == [
            "lost-0 has no leader",
            "strict-0 has 1 in sync where min.insync.replicas is 2",
            "thin-0 has 1 of 2 replicas in sync",
        ]
        told = (await Commands(cluster.brokers[2].bootstrap)("check", "--json", status=1)).json
        kinds = [finding["kind"] for finding in told["findings"]]
        assert kinds == ["offline", "under_min_isr", "under_replicated"]


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
        for words in (["-X", "nope=1"], ["-X", "nope"], ["--command-config", "/nope"], ["-X", "security.protocol=x"]):
            await Commands(gate.bootstrap)("topics", "list", *words, status=2)


async def test_cluster_that_does_not_answer_is_not_healthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    done = await Commands(f"127.0.0.1:{port}")("check", status=1)
    assert done.out == f"no broker answers at 127.0.0.1:{port} (connection refused)\n"


# What a person did wrong


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["topics", "describe", "nope"], 1, "UNKNOWN_TOPIC_OR_PARTITION: there is no topic nope"),
        (["topics", "alter", "t"], 2, "nothing to alter"),
        (["topics", "create", "t", "-c", "x"], 2, "'x' is not NAME=VALUE"),
        (["topics", "nope"], 2, "nope"),
        (["nope"], 2, "nope"),
        (["consume", "nope"], 1, "UNKNOWN_TOPIC_OR_PARTITION: nope"),
        (["consume", "t", "-p", "5"], 1, "t has no partition 5"),
        (["consume", "t", "-f", "%z"], 2, "%z is no field"),
        (["consume", "t", "-o", "x"], 2, "'x' is not a position"),
        (["consume", "t", "-g", "g", "-e"], 2, "the group decides"),
        (["consume", "t", "-g", "g", "-o", "5"], 2, "begins at start or end"),
        (["produce", "t", "-v", "x", "-f", "%v"], 2, "exclude one another"),
        (["produce", "t", "-v", "x", "--acks", "2"], 2, "all, 1 or 0"),
        (["produce", "t", "-v", "x", "-z", "rar"], 2, "no codec 'rar'"),
        (["produce", "t", "-v", "x", "--idempotent", "--acks", "1"], 2, "--idempotent needs"),
        (["produce", "t", "-v", "x", "-p", "9"], 1, "t has no partition 9"),
        (["groups", "describe", "nope"], 1, "GROUP_ID_NOT_FOUND"),
        (["groups", "reset", "g"], 2, "give one of"),
        (["groups", "reset", "g", "--to-latest", "--to-earliest"], 2, "give one of"),
        (["groups", "reset", "g", "--to-datetime", "x"], 2, "'x' is not a time"),
        (["configs", "describe", "nope", "t"], 2, "nope"),
        (["configs", "describe", "topic", "nope"], 1, "UNKNOWN_TOPIC_OR_PARTITION"),
        (["configs", "set", "topic", "t", "nope=1"], 1, "nope"),
        (["topics", "list", "-b", "a:b:c"], 2, "'a:b:c' is not host:port"),
        (["topics", "list", "-b", "127.0.0.1:1"], 1, "no broker answers at 127.0.0.1:1 (connection refused)"),
        (["wire", "nope"], 2, "nope"),
    ],
    ids=words_of,
)
async def test_what_a_person_did_wrong_is_said(tmp_path: Path, words: list[str], status: int, message: str) -> None:
    async with running(tmp_path) as broker:
        run = Commands.of(broker)
        await run("topics", "create", "t")
        failed = await run(*words, status=status)
        assert message in " ".join(failed.err.split())
        assert status == 2 or len(failed.err.splitlines()) == 1
        assert failed.err.startswith("pykbroker: ") is (status == 1)


def test_wire_gets_its_words_as_they_are() -> None:
    done = invoke("wire", "codec", "ApiVersions", "0", "--response")
    assert done.status == 0
    assert "def _decode(" in done.out
    assert "usage: pykbroker wire" in invoke("wire", "--help").out

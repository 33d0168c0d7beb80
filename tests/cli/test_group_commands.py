"""The commands of groups against a broker: members, lag, offsets that are reset."""

from pathlib import Path

import pytest

from pykbroker.client import Client, groups
from pykbroker.client.member import GroupConsumer
from pykbroker.topic_partition import TopicPartition
from tests.cli.support import Commands, produce, words_of
from tests.client.gates import Gate
from tests.client.support import QUICK, create
from tests.support.cluster import cluster_of
from tests.support.running import running, until
from wire.errors import ErrorCode
from wire.messages import share_groups, streams_groups
from wire.schema import ZERO_UUID

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


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
            lines: list[list[str]] = []
            while [line[0] for line in lines[2:]] != ["t", "-"]:  # they are still joining
                lines = (await run("groups", "describe", "g")).lines
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

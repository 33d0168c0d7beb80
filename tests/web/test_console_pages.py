"""The console's JSON about topics, brokers and groups."""

from pathlib import Path

import anyio
import pytest

from pykbroker.client.groups import CommittedOffset, commit_offsets
from pykbroker.client.member import GroupConsumer
from pykbroker.client.topics import NewTopic, create_topics
from pykbroker.topic_partition import TopicPartition
from pykbroker.web.console import cluster as cluster_pages
from pykbroker.web.console import groups as group_pages
from pykbroker.web.console.groups import PartitionLag, total_lag
from tests.support.cluster import cluster_of
from tests.web.pages import json_of, pages, pages_of, send

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """The worker runs on asyncio, whatever the broker runs on."""
    return "asyncio"


async def test_topics_and_their_partitions(tmp_path: Path) -> None:
    async with pages(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 2, 1, {"retention.ms": "1000"})])
        await send(client, "t", b"1", b"2")
        listed = await json_of(http, "topics")
        (topic,) = listed["topics"]
        assert (topic["name"], topic["partition_count"], topic["replication_factor"]) == ("t", 2, 1)
        assert (topic["under_replicated"], topic["without_leader"], listed["left_out"]) == (0, 0, 0)
        first, second = (await json_of(http, "topics/t"))["partitions"]
        assert (first["leader"], first["replicas"], first["isr"], first["beginning"], first["end"]) == (
            1,
            [1],
            [1],
            0,
            2,
        )
        assert (second["end"], second["bytes"]) == (0, 0)
        assert first["bytes"] == topic["bytes"] > 0
        configs = (await json_of(http, "configs", type="topic", name="t"))["configs"]
        assert (configs[0]["name"], configs[0]["value"], configs[0]["source"]) == (
            "retention.ms",
            "1000",
            "DYNAMIC_TOPIC",
        )
        response = await http.get("topics/absent")
        assert (response.status_code, response.json()["error"]) == (404, "UNKNOWN_TOPIC_OR_PARTITION")


async def test_whole_cluster_is_shown_by_any_broker(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path) as cluster:
        await cluster.create_topic("t", [(1, 2), (2, 1)])
        for broker in cluster.brokers.values():
            async with pages_of(broker) as http:
                brokers = (await json_of(http, "brokers"))["brokers"]
                assert [(each["id"], each["leads"], each["replicas"]) for each in brokers] == [(1, 1, 2), (2, 1, 2)]
                assert sum(each["is_controller"] for each in brokers) == 1
                partitions = (await json_of(http, "topics/t"))["partitions"]
                assert [(each["leader"], each["replicas"], each["end"]) for each in partitions] == [
                    (1, [1, 2], 0),
                    (2, [2, 1], 0),
                ]


async def test_lag_of_a_group_and_a_name_that_is_any_text(tmp_path: Path) -> None:
    async with pages(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        await send(client, "t", *[b"x"] * 5)
        for name in ("plain", "a/b?c=<d>"):
            await commit_offsets(client, name, {TopicPartition("t", 0): CommittedOffset(2)})
        groups = (await json_of(http, "groups"))["groups"]
        assert [(each["id"], each["state"], each["members"], each["lag"]) for each in groups] == [
            ("a/b?c=<d>", "Empty", 0, 3),
            ("plain", "Empty", 0, 3),
        ]
        group = await json_of(http, "group", id="a/b?c=<d>")
        assert (group["lag"], group["lag_by_topic"], group["members"]) == (3, {"t": 3}, [])
        assert group["partitions"] == [
            {"topic": "t", "partition": 0, "committed": 2, "end": 5, "lag": 3, "member": None}
        ]
        await send(client, "t", b"more")
        assert (await json_of(http, "group", id="plain"))["lag"] == 4
        assert (await http.get("group", params={"id": "none"})).status_code == 404


async def test_members_of_a_group_and_what_they_consume(tmp_path: Path) -> None:
    async with pages(tmp_path, group_initial_rebalance_delay_ms="0") as (_, client, http):
        await create_topics(client, [NewTopic("t", 2, 1)])
        await send(client, "t", b"1", b"2")
        async with GroupConsumer(client, "g", ["t"]) as consumer:
            await consumer.poll()
            group = await json_of(http, "group", id="g")
            (member,) = group["members"]
            assert (group["state"], group["assignor"]) == ("Stable", "range")
            assert (member["client_id"], member["partitions"]) == ("pykbroker-client", ["t-0", "t-1"])
            assert [(each["end"], each["lag"], each["member"]) for each in group["partitions"]] == [
                (2, None, member["id"]),  # nothing is committed yet
                (0, None, member["id"]),
            ]
            assert [(each["members"], each["lag"]) for each in (await json_of(http, "groups"))["groups"]] == [(1, None)]


def test_sum_of_lags_with_an_unknown_part_is_unknown() -> None:
    known, uncommitted = PartitionLag(TopicPartition("t", 0), 3, 10), PartitionLag(TopicPartition("t", 1), None, 5)
    leader_is_away = PartitionLag(TopicPartition("t", 2), 4, None)
    assert total_lag([known, known, uncommitted]) == 14
    assert total_lag([known, leader_is_away]) is None
    assert total_lag([uncommitted]) is None
    assert total_lag([]) is None


async def test_more_groups_than_have_their_lag_shown_can_be_found_and_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_pages, "MAX_GROUPS_WITH_LAG", 2)
    monkeypatch.setattr(group_pages, "MAX_GROUPS", 4)
    async with pages(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        await send(client, "t", b"1")
        for number in range(5):
            await commit_offsets(client, f"g{number}", {TopicPartition("t", 0): CommittedOffset(0)})
        listed = await json_of(http, "groups")
        assert [(each["id"], each["lag"], each["is_described"]) for each in listed["groups"]] == [
            ("g0", 1, True),
            ("g1", 1, True),
            ("g2", None, True),
            ("g3", None, True),
        ]
        assert (listed["left_out"], listed["without_lag"], listed["unreachable_brokers"]) == (1, 2, [])
        found = await json_of(http, "groups", contains="4")
        assert [(each["id"], each["lag"]) for each in found["groups"]] == [("g4", 1)]
        assert (await json_of(http, "group", id="g4"))["lag"] == 1


async def test_members_and_partitions_of_a_group_have_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_pages, "MAX_PARTITIONS", 2)
    monkeypatch.setattr(group_pages, "MAX_MEMBERS", 0)
    async with pages(tmp_path, group_initial_rebalance_delay_ms="0") as (_, client, http):
        await create_topics(client, [NewTopic("t", 5, 1)])
        await send(client, "t", *[b"x"] * 3, partition=4)
        await commit_offsets(client, "g", {TopicPartition("t", each): CommittedOffset(0) for each in range(5)})
        group = await json_of(http, "group", id="g")
        assert (len(group["partitions"]), group["partitions_left_out"], group["lag"]) == (2, 3, 3)
        async with GroupConsumer(client, "members", ["t"]) as consumer:
            await consumer.poll()
            group = await json_of(http, "group", id="members")
        assert (group["members"], group["members_left_out"]) == ([], 1)


async def test_topics_and_partitions_have_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_pages, "MAX_TOPICS", 2)
    monkeypatch.setattr(cluster_pages, "MAX_PARTITIONS", 2)
    async with pages(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic(name, 3, 1) for name in "abc"])
        topics = await json_of(http, "topics")
        assert ([topic["name"] for topic in topics["topics"]], topics["left_out"]) == (["a", "b"], 1)
        topic = await json_of(http, "topics/a")
        assert ([each["index"] for each in topic["partitions"]], topic["left_out"], topic["partition_count"]) == (
            [0, 1],
            1,
            3,
        )


async def test_broker_that_is_gone_is_listed_with_what_it_should_have(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path) as cluster:
        await cluster.create_topic("t", [(1, 2), (2, 1)])
        await cluster.stop(2)
        async with pages_of(cluster.brokers[1]) as http:
            with anyio.fail_after(20):
                while (brokers := (await json_of(http, "brokers"))["brokers"])[1]["not_in_sync"] != 2:
                    pass
            gone = {"id": 2, "address": None, "rack": None, "is_controller": False, "leads": 0, "log_dirs": None}
            assert brokers[1] == gone | {"replicas": 2, "not_in_sync": 2}


async def test_group_list_without_a_broker_that_is_gone_names_it(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path) as cluster:
        gone, here = cluster.brokers[2], cluster.brokers[1]
        async with pages_of(here) as http:
            assert (await json_of(http, "groups"))["unreachable_brokers"] == []
            gone.kill()
            with anyio.fail_after(20):
                # Until it is fenced it is still named in the metadata.
                while (listed := await json_of(http, "groups"))["unreachable_brokers"] not in ([], [2]):
                    pass
            assert listed["groups"] == []

"""Versions: the highest that both sides know, down to Kafka 2.1, and words for what an old broker cannot do."""

from pathlib import Path

import pytest

from pykbroker.broker import Broker
from pykbroker.client import Client, NotServedError, Question, configs, groups, offsets, topics
from pykbroker.client.connection import Connection, address_text, parse_bootstrap
from pykbroker.client.consumer import Consumer
from pykbroker.client.member import GroupConsumer
from pykbroker.client.producer import Producer
from pykbroker.topic_partition import TopicPartition
from tests.client.support import KAFKA_2_1, QUICK, OldBroker, Via, create
from tests.support.running import running
from wire.messages.group_offsets import OffsetDeleteRequest
from wire.messages.metadata import MetadataRequest

pytestmark = pytest.mark.anyio
METADATA, API_VERSIONS = 3, 18


def client_of(old: OldBroker) -> Client:
    return Client([old.address], settings=QUICK, network=Via(old.address))


async def connection_to(client: Client, broker: Broker) -> Connection:
    await client.metadata([])
    return await client.connection_to(broker.config.node_id)


async def test_highest_version_of_both_sides_is_used(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, OldBroker.before(broker, {18: (0, 4), 3: (0, 9)}) as old:
        async with client_of(old) as client:
            await client.metadata()
        assert old.used == {(API_VERSIONS, 3), (METADATA, 9)}


async def test_question_may_name_its_highest_version(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, OldBroker.before(broker, KAFKA_2_1) as old, client_of(old) as client:
        await client.ask_any(Question.of(MetadataRequest([]), max_version=4))
        assert (METADATA, 4) in old.used


async def test_broker_without_the_version_of_the_first_question_is_asked_in_version_0(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, OldBroker.before(broker, KAFKA_2_1) as old, client_of(old) as client:
        await client.metadata()
        assert {(API_VERSIONS, 3), (API_VERSIONS, 0), (METADATA, 7)} == old.used


async def test_everything_that_kafka_2_1_can_do_works(tmp_path: Path) -> None:
    async with (
        running(tmp_path, group_initial_rebalance_delay_ms="0") as broker,
        OldBroker.before(broker, KAFKA_2_1) as old,
        client_of(old) as client,
    ):
        await create(client, "t", 2)
        tps = [TopicPartition("t", 0), TopicPartition("t", 1)]
        async with Producer(client, is_idempotent=True) as producer:
            for tp in tps:
                await producer.send("t", b"%d" % tp.partition, partition=tp.partition, headers=[("h", None)])
        starts, ends = await offsets.beginnings(client, tps), await offsets.ends(client, tps)
        async with Consumer(client, starts, until=ends) as consumer:
            assert sorted([record.value async for record in consumer]) == [b"0", b"1"]
        await groups.commit_offsets(client, "g", {tps[0]: groups.CommittedOffset(1, "note")})
        assert await groups.committed_offsets(client, "g", tps) == {tps[0]: groups.CommittedOffset(1, "note")}
        assert await groups.committed_offsets(client, "g") == {tps[0]: groups.CommittedOffset(1, "note")}
        async with GroupConsumer(client, "m", ["t"]) as member:
            assert {record.value for _ in tps for record in await member.poll()} == {b"0", b"1"}
            assert (await groups.describe_group(client, "m")).members[0].partitions == tuple(tps)
        assert [group.id for group in await groups.list_groups(client)] == ["g", "m"]
        assert await groups.delete_groups(client, ["g"]) == {"g": None}
        entries = await configs.describe_configs(client, configs.Resource(configs.ResourceType.TOPIC, "t"))
        assert any(entry.name == "retention.ms" for entry in entries)
        assert await offsets.delete_records(client, {tps[0]: offsets.TO_HIGH_WATERMARK}) == {tps[0]: 1}
        assert await topics.create_partitions(client, {"t": 3}) == {"t": None}
        assert await topics.delete_topics(client, ["t"]) == {"t": None}


async def test_what_the_broker_does_not_serve_is_said(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, OldBroker.before(broker, KAFKA_2_1) as old, client_of(old) as client:
        with pytest.raises(NotServedError, match="does not serve OffsetDelete"):
            await client.ask_any(Question.of(OffsetDeleteRequest("g")))


async def test_field_that_the_version_lacks_is_said(tmp_path: Path) -> None:
    async with (
        running(tmp_path) as broker,
        OldBroker.before(broker, {18: (0, 4), 3: (0, 3)}) as old,
        client_of(old) as client,
    ):
        with pytest.raises(NotServedError, match=r"too old for this: .*allow_auto_topic_creation"):
            await client.ask_any(Question.of(MetadataRequest([], allow_auto_topic_creation=False)))


async def test_versions_of_one_connection_are_asked_for_once(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        connection = await connection_to(client, broker)
        before = broker.metrics.requests_total
        for _ in range(3):
            await connection.ask(Question.of(MetadataRequest([])))
        assert broker.metrics.requests_total == before + 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:1", [("a", 1)]),
        ("a:1, b:2", [("a", 1), ("b", 2)]),
        ("[::1]:9092", [("::1", 9092)]),
        ("a,[::1]", [("a", 9092), ("::1", 9092)]),
    ],
)
def test_bootstrap_is_a_list_of_addresses(text: str, expected: list[tuple[str, int]]) -> None:
    assert parse_bootstrap(text) == expected
    assert parse_bootstrap(",".join(map(address_text, expected))) == expected


@pytest.mark.parametrize("text", ["", "a:", ":1", "a:0", "a:65536", "a:x", "a:1,,b:2", "::1", "[a", "a/b"])
def test_bootstrap_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not host:port"):
        parse_bootstrap(text)

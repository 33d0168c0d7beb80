"""Three real brokers: what is acknowledged is on all in-sync replicas, and stays whatever one broker does."""

from pathlib import Path

import pytest

from pykbroker.cluster.changes import set_configs
from pykbroker.cluster.image import ConfigResourceType
from pykbroker.errors import KafkaError
from tests.support.client import Client, base_offset_of, fetch_of, produce_of, values_of
from tests.support.cluster import cluster_of, until
from tests.support.running import LIBRARIES
from wire.errors import ErrorCode
from wire.messages.group_offsets import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
)
from wire.messages.offsets import DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic
from wire.messages.topics import DeleteTopicsRequest

pytestmark = pytest.mark.anyio

ALL = (1, 2, 3)


@pytest.fixture(params=LIBRARIES)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


async def test_acks_all_is_answered_when_every_replica_has_the_records(tmp_path: Path) -> None:
    async with cluster_of(3, tmp_path) as cluster:
        await cluster.create_topic("t", [ALL], min_insync_replicas="2")
        assert await cluster.produce(1, "t", b"a", b"b") == 0
        assert [cluster.replica(node_id, "t").log.log_end_offset for node_id in ALL] == [2, 2, 2]
        assert await cluster.produce(1, "t", b"c") == 2
        assert len({cluster.log_bytes(node_id, "t") for node_id in ALL}) == 1
        assert cluster.log_bytes(3, "t") != b""
        await until(lambda: [cluster.replica(node_id, "t").high_watermark for node_id in ALL] == [3, 3, 3])


async def test_pipelined_acks_all_are_answered_in_order(tmp_path: Path) -> None:
    async with cluster_of(3, tmp_path) as cluster, Client.connect(cluster.brokers[1]) as client:
        await cluster.create_topic("t", [ALL])
        requests = [produce_of("t", b"%d" % number, acks=-1) for number in range(20)]
        await client.send(*requests, version=9)
        offsets = [base_offset_of(await client.receive()) for _ in requests]
        assert offsets == list(range(20))
        assert [cluster.replica(node_id, "t").log.log_end_offset for node_id in ALL] == [20, 20, 20]


async def test_stopped_follower_leaves_the_isr_and_comes_back(tmp_path: Path) -> None:
    async with cluster_of(3, tmp_path, replica_lag_time_max_ms="500") as cluster:
        await cluster.create_topic("t", [ALL], min_insync_replicas="2")
        await cluster.produce(1, "t", b"a")
        await cluster.stop(3)
        await cluster.produce(1, "t", b"b")  # held up until the ISR is smaller
        await until(lambda: cluster.isr("t") == (1, 2))
        await cluster.start(3)
        await until(lambda: set(cluster.isr("t")) == set(ALL))
        assert cluster.log_bytes(3, "t") == cluster.log_bytes(1, "t")


async def test_below_min_isr_nothing_is_acknowledged_nor_committed(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path, replica_lag_time_max_ms="500") as cluster:
        await cluster.create_topic("t", [(1, 2)], min_insync_replicas="2")
        await cluster.produce(1, "t", b"a")
        await cluster.stop(2)
        await cluster.produce(1, "t", b"b", acks=1)
        await until(lambda: cluster.isr("t") == (1,))
        with pytest.raises(KafkaError, match="NOT_ENOUGH_REPLICAS"):
            await cluster.produce(1, "t", b"c")
        assert await cluster.produce(1, "t", b"d", acks=1) == 2
        assert cluster.replica(1, "t").high_watermark == 1
        await cluster.start(2)
        await until(lambda: cluster.replica(1, "t").high_watermark == 3)


async def test_new_leader_has_all_that_was_acknowledged_and_the_old_one_follows_it(tmp_path: Path) -> None:
    async with cluster_of(3, tmp_path) as cluster:
        await cluster.create_topic("t", [ALL], min_insync_replicas="2")
        for number in range(5):
            await cluster.produce(1, "t", b"%d" % number)
        await cluster.stop(1)
        await cluster.elect("t", 2, isr=(2, 3))
        assert await cluster.produce(2, "t", b"5") == 5
        async with Client.connect(cluster.brokers[2]) as client:
            assert values_of(await client.ask(fetch_of("t"), 12)) == [b"%d" % number for number in range(6)]
        await cluster.start(1)
        await until(lambda: set(cluster.isr("t")) == set(ALL))
        assert len({cluster.log_bytes(node_id, "t") for node_id in ALL}) == 1
        await cluster.elect("t", 1)
        assert await cluster.produce(1, "t", b"6") == 6


async def test_records_that_the_new_leader_lacks_are_truncated(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path, replica_lag_time_max_ms="500") as cluster:
        await cluster.create_topic("t", [(1, 2)])
        await cluster.produce(1, "t", b"both")
        await cluster.stop(2)
        await cluster.produce(1, "t", b"only", b"here", acks=1)
        await until(lambda: cluster.isr("t") == (1,))
        await cluster.produce(1, "t", b"too")
        await cluster.stop(1)
        await cluster.start(2)
        await cluster.elect("t", 2, isr=(2,))  # unclean
        assert await cluster.produce(2, "t", b"other") == 1
        await cluster.start(1)
        await until(lambda: set(cluster.isr("t")) == {1, 2})
        assert cluster.replica(1, "t").log.log_end_offset == 2
        assert cluster.log_bytes(1, "t") == cluster.log_bytes(2, "t")


async def test_follower_that_is_behind_the_leaders_start_begins_anew_there(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path, replica_lag_time_max_ms="500") as cluster:
        await cluster.create_topic("t", [(1, 2)])
        await cluster.produce(1, "t", b"a")
        await cluster.stop(2)
        for _ in range(3):
            await cluster.produce(1, "t", b"b", acks=1)
        await until(lambda: cluster.replica(1, "t").high_watermark == 4)
        cluster.replica(1, "t").delete_records(3)
        await cluster.start(2)
        await until(lambda: set(cluster.isr("t")) == {1, 2})
        log = cluster.replica(2, "t").log
        assert (log.log_start_offset, log.log_end_offset) == (3, 4)


async def test_replica_that_is_moved_away_is_removed_and_the_new_one_catches_up(tmp_path: Path) -> None:
    async with cluster_of(3, tmp_path) as cluster:
        await cluster.create_topic("t", [(1, 2)])
        await cluster.produce(1, "t", b"a")
        await cluster.reassign("t", (1, 3), isr=(1,))
        await until(lambda: set(cluster.isr("t")) == {1, 3})
        assert cluster.log_bytes(3, "t") == cluster.log_bytes(1, "t") != b""
        with pytest.raises(KafkaError, match="NOT_LEADER_OR_FOLLOWER"):
            cluster.replica(2, "t")
        assert not (tmp_path / "2" / "t-0").exists()
        await cluster.produce(1, "t", b"b")


async def test_many_partitions_spread_over_the_brokers_are_all_replicated(tmp_path: Path) -> None:
    async with cluster_of(3, tmp_path, num_replica_fetchers="2") as cluster:
        orders = [(1, 2, 3), (2, 3, 1), (3, 1, 2)]
        await cluster.create_topic("t", [orders[index % 3] for index in range(12)], min_insync_replicas="3")
        for index in range(12):
            assert await cluster.produce(orders[index % 3][0], "t", b"%d" % index, index=index) == 0
        for index in range(12):
            assert len({cluster.log_bytes(node_id, "t", index) for node_id in ALL}) == 1


async def test_number_of_fetchers_changes_while_partitions_are_followed(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path) as cluster:
        await cluster.create_topic("t", [(1, 2)] * 8, min_insync_replicas="2")

        def fetchers() -> set[int]:
            return {number for _, number in cluster.brokers[2].services.replicas.fetchers}

        assert fetchers() == {0}
        for count in ("2", "1"):
            values = {"min.insync.replicas": "1", "num.replica.fetchers": count}
            await cluster.brokers[1].services.cluster.propose(
                lambda image, values=values: set_configs(image, (ConfigResourceType.BROKER, ""), values)
            )
            await until(lambda count=count: fetchers() == set(range(int(count))))
            for index in range(8):
                await cluster.produce(1, "t", count.encode(), index=index)
        assert all(cluster.log_bytes(1, "t", index) == cluster.log_bytes(2, "t", index) for index in range(8))


async def test_delete_records_is_answered_when_followers_have_followed(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path) as cluster, Client.connect(cluster.brokers[1]) as client:
        await cluster.create_topic("t", [(1, 2)])
        await cluster.produce(1, "t", b"a")
        await cluster.produce(1, "t", b"b")
        topic = DeleteRecordsTopic("t", [DeleteRecordsPartition(0, 1)])
        answer = await client.ask(DeleteRecordsRequest([topic], timeout_ms=10_000), 2)
        (partition,) = answer.topics[0].partitions
        assert (partition.error_code, partition.low_watermark) == (0, 1)
        assert cluster.replica(2, "t").log.log_start_offset == 1


async def test_deleted_topic_goes_from_followers_and_can_be_made_again(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path) as cluster, Client.connect(cluster.brokers[1]) as client:
        for round_number in range(2):
            await cluster.create_topic("t", [(1, 2)])
            assert await cluster.produce(1, "t", b"%d" % round_number) == 0
            assert cluster.log_bytes(2, "t") == cluster.log_bytes(1, "t")
            await client.ask(DeleteTopicsRequest(topic_names=["t"], timeout_ms=10_000), 5)
            await until(lambda: not any((tmp_path / str(node_id) / "t-0").exists() for node_id in (1, 2)))


async def test_group_goes_on_with_its_offsets_on_the_new_coordinator(tmp_path: Path) -> None:
    async with cluster_of(3, tmp_path) as cluster:
        await cluster.create_topic("t", [ALL])
        await cluster.create_topic("__consumer_offsets", [ALL])
        commit = OffsetCommitRequest(
            "g", topics=[OffsetCommitRequestTopic("t", partitions=[OffsetCommitRequestPartition(0, 42)])]
        )
        async with Client.connect(cluster.brokers[1]) as client:
            answer = await client.ask(commit, 8)
            assert answer.topics[0].partitions[0].error_code == ErrorCode.NONE
        await cluster.stop(1)
        await cluster.elect("__consumer_offsets", 2, isr=(2, 3))
        ask = OffsetFetchRequest(groups=[OffsetFetchRequestGroup("g", topics=None)], require_stable=False)
        async with Client.connect(cluster.brokers[2]) as client:
            (group,) = (await client.ask(ask, 8)).groups
            while group.error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
                (group,) = (await client.ask(ask, 8)).groups
            assert group.topics[0].partitions[0].committed_offset == 42
        async with Client.connect(cluster.brokers[3]) as client:
            (group,) = (await client.ask(ask, 8)).groups
            assert group.error_code == ErrorCode.NOT_COORDINATOR


async def test_consumer_is_sent_to_the_replica_in_its_rack_and_reads_there(tmp_path: Path) -> None:
    async with cluster_of(
        3, tmp_path, racks=True, replica_selector_class="org.apache.kafka.common.replica.RackAwareReplicaSelector"
    ) as cluster:
        topic_id = await cluster.create_topic("t", [ALL])
        await cluster.produce(1, "t", b"a")
        await until(lambda: cluster.replica(3, "t").high_watermark == 1)
        wanted = fetch_of("t", topic_id=topic_id)
        wanted.rack_id = "rack-3"
        async with Client.connect(cluster.brokers[1]) as client:
            (sent_on,) = (await client.ask(wanted, 13)).responses[0].partitions
            assert (sent_on.error_code, sent_on.preferred_read_replica, len(sent_on.records)) == (0, 3, 0)
        async with Client.connect(cluster.brokers[3]) as client:
            assert values_of(await client.ask(wanted, 13)) == [b"a"]
            await client.send(fetch_of("t", 1, topic_id=topic_id, max_wait_ms=10_000), version=13)
            await cluster.produce(1, "t", b"b")
            assert values_of(await client.receive()) == [b"b"]

"""Consumer lag and topics, by the names of kafka_exporter: of one broker with real clients, and of a cluster."""

from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import anyio
import anyio.to_thread
import httpx
import pytest
from anyio.from_thread import start_blocking_portal
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.structs import OffsetAndMetadata
from prometheus_client.parser import text_string_to_metric_families

from pykbroker.broker import Broker
from tests.support.client import Client
from tests.support.cluster import RunningCluster, cluster_of, until
from tests.support.running import config_for
from tests.web.http import Scraped, scrape, url
from wire.errors import ErrorCode
from wire.messages.group_offsets import OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic
from wire.messages.metadata import FindCoordinatorRequest

LAG = "kafka_consumergroup_lag"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    config = config_for(tmp_path, pykbroker_http_listener="0", group_initial_rebalance_delay_ms="0")
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(Broker(config)) as broker:
        with closing(KafkaAdminClient(bootstrap_servers=broker.bootstrap)) as admin:
            admin.create_topics([NewTopic("lines", num_partitions=2, replication_factor=1)])
        yield broker
        assert broker.metrics.bugs_total == 0


def scraped(broker: Broker) -> Scraped:
    response = httpx.get(url(broker, "/metrics"), trust_env=False)
    return Scraped(list(text_string_to_metric_families(response.text)))


def test_lag_of_a_consumer_is_what_it_has_not_committed(broker: Broker) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap)
    consumer = KafkaConsumer("lines", bootstrap_servers=broker.bootstrap, group_id="readers", enable_auto_commit=False)
    with closing(producer), closing(consumer):
        for number in range(10):
            producer.send("lines", b"x", partition=number % 2)
        producer.flush()
        while len(consumer.assignment()) < 2:
            consumer.poll(timeout_ms=50)
        consumer.commit(
            {
                TopicPartition("lines", 0): OffsetAndMetadata(2, "", -1),
                TopicPartition("lines", 1): OffsetAndMetadata(5, "", -1),
            }
        )
        found = scraped(broker)
        assert found.values(LAG) == {("readers", "0", "lines"): 3, ("readers", "1", "lines"): 0}
        assert found.values("kafka_consumergroup_current_offset") == {
            ("readers", "0", "lines"): 2,
            ("readers", "1", "lines"): 5,
        }
        assert found.value("kafka_consumergroup_lag_sum", consumergroup="readers", topic="lines") == 3
        assert found.value("kafka_consumergroup_current_offset_sum", consumergroup="readers", topic="lines") == 7
        assert found.value("kafka_consumergroup_members", consumergroup="readers") == 1
        prefix = "kafka_coordinator_group_groupmetadatamanager"
        assert found.value(f"{prefix}_numgroups") == found.value(f"{prefix}_numgroupsstable") == 1
        assert found.value(f"{prefix}_numoffsets") == 2
        consumer.close()
        found = scraped(broker)
        assert found.value("kafka_consumergroup_members", consumergroup="readers") == 0
        assert found.value(f"{prefix}_numgroupsstable") == 0
        assert found.value(f"{prefix}_numgroupsempty") == 1
        producer.send("lines", b"y", partition=1)
        producer.close()
        assert scraped(broker).value(LAG, consumergroup="readers", topic="lines", partition="1") == 1


def test_topics_and_brokers_are_told_as_kafka_exporter_does(broker: Broker) -> None:
    with closing(KafkaProducer(bootstrap_servers=broker.bootstrap)) as producer:
        producer.send("lines", b"x", partition=1)
    found = scraped(broker)
    one = {"topic": "lines", "partition": "1"}
    prefix = "kafka_topic_partition"
    expected = {
        "current_offset": 1, "oldest_offset": 0, "leader": 1, "replicas": 1, "in_sync_replica": 1,
        "leader_is_preferred": 1, "under_replicated_partition": 0,
    }  # fmt: skip
    assert {name: found.value(f"{prefix}_{name}", **one) for name in expected} == expected
    assert found.value("kafka_topic_partitions", topic="lines") == 2
    assert found.value("kafka_brokers") == 1
    assert found.values("kafka_broker_info") == {(broker.bootstrap, "1"): 1}


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture
async def cluster(tmp_path: Path, anyio_backend: str) -> AsyncIterator[RunningCluster]:
    async with cluster_of(
        3,
        tmp_path,
        pykbroker_http_listener="0",
        pykbroker_http_end_offsets_max_age_ms="0",
        pykbroker_http_leader_timeout_ms="300",
        pykbroker_http_timeout_ms="1000",
    ) as running:
        yield running


async def coordinator_of(cluster: RunningCluster, group_id: str) -> int:
    found: list[int] = []

    async def ask() -> bool:
        async with Client.connect(cluster.brokers[1]) as client:
            answer = await client.ask(FindCoordinatorRequest(coordinator_keys=[group_id]), 4)
        (coordinator,) = answer.coordinators
        if coordinator.error_code == ErrorCode.NONE:
            found.append(coordinator.node_id)
        return bool(found)

    while not await ask():
        await anyio.sleep(0.01)
    shards = cluster.brokers[found[0]].services.groups
    await until(lambda: shards.shard_for(group_id))
    return found[0]


async def commit(broker: Broker, group_id: str, offsets: dict[tuple[str, int], int]) -> None:
    topics = [
        OffsetCommitRequestTopic(topic, partitions=[OffsetCommitRequestPartition(index, offset)])
        for (topic, index), offset in offsets.items()
    ]
    async with Client.connect(broker) as client:
        answer = await client.ask(OffsetCommitRequest(group_id, topics=topics), 8)
    assert {part.error_code for topic in answer.topics for part in topic.partitions} == {0}, answer


async def scrapes(cluster: RunningCluster) -> dict[int, Scraped]:
    return {node_id: await scrape(broker) for node_id, broker in cluster.brokers.items()}


@pytest.mark.anyio
async def test_coordinator_alone_tells_lag_also_of_partitions_that_others_lead(cluster: RunningCluster) -> None:
    for leader in (1, 2, 3):
        await cluster.create_topic(f"of-{leader}", [(leader,)])
        for _ in range(leader):
            await cluster.produce(leader, f"of-{leader}", b"1", b"2")
    coordinator = await coordinator_of(cluster, "readers")
    await commit(cluster.brokers[coordinator], "readers", {(f"of-{leader}", 0): 1 for leader in (1, 2, 3)})
    found = await scrapes(cluster)
    assert found[coordinator].values(LAG) == {("readers", "0", f"of-{leader}"): 2 * leader - 1 for leader in (1, 2, 3)}
    for node_id in found.keys() - {coordinator}:
        assert not found[node_id].values(LAG)
        assert not found[node_id].values("kafka_consumergroup_members")
    # A leader that is gone leaves out its own partition and what it is a part of, and holds up nobody for long.
    await cluster.create_topic("of-all", [(1,), (2,), (3,)])
    await commit(cluster.brokers[coordinator], "both", {("of-all", index): 0 for index in range(3)})
    sums = {"name": f"{LAG}_sum", "consumergroup": "both", "topic": "of-all"}
    assert (await scrape(cluster.brokers[coordinator])).value(**sums) == 0
    gone = coordinator % 3 + 1
    await cluster.stop(gone)
    scraped_again = await scrape(cluster.brokers[coordinator])
    left = {labels: lag for labels, lag in scraped_again.values(LAG).items() if labels[0] == "readers"}
    assert left == {("readers", "0", f"of-{leader}"): 2 * leader - 1 for leader in (1, 2, 3) if leader != gone}
    assert len([labels for labels in scraped_again.values(LAG) if labels[0] == "both"]) == 2
    assert not scraped_again.has(**sums)


@pytest.mark.anyio
async def test_sum_over_all_brokers_counts_each_partition_once(cluster: RunningCluster) -> None:
    await cluster.create_topic("t", [(1, 2, 3), (2, 3, 1), (3, 1, 2)])
    for leader in (1, 2, 3):
        await cluster.produce(leader, "t", b"1", b"2", index=leader - 1)
    found = await scrapes(cluster)

    def total(name: str, **labels: str) -> float:
        return sum(
            value
            for each in found.values()
            for (sample, sample_labels), value in each.samples.items()
            if sample == name and labels.items() <= dict(sample_labels).items()
        )

    assert total("kafka_topic_partitions", topic="t") == 3
    assert total("kafka_topic_partition_current_offset", topic="t") == 6
    assert total("kafka_topic_partition_replicas", topic="t") == 9
    assert total("kafka_topic_partition_in_sync_replica", topic="t") == 9
    assert total("kafka_topic_partition_under_replicated_partition", topic="t") == 0
    assert total("kafka_brokers") == 3
    assert total("kafka_broker_info") == 3
    assert total("kafka_controller_kafkacontroller_activecontrollercount") == 1
    assert total("kafka_server_brokertopicmetrics_messagesin_total", topic="t") == 6
    assert (
        total("kafka_server_brokertopicmetrics_replicationbytesin_total")
        == total("kafka_server_brokertopicmetrics_replicationbytesout_total")
        == 2 * total("kafka_server_brokertopicmetrics_bytesin_total", topic="t")
    )
    assert total("kafka_server_brokertopicmetrics_bytesout_total") == 0
    assert total("kafka_server_fetcherlagmetrics_consumerlag", topic="t") == 0
    assert total("kafka_network_requestmetrics_totaltimems_count", request="FetchFollower") > 0


@pytest.mark.anyio
async def test_loss_of_a_broker_shows_in_isrs_and_a_replica_without_leader_is_told_by_the_controller(
    cluster: RunningCluster,
) -> None:
    await cluster.create_topic("t", [(1, 3)])
    await cluster.create_topic("lost", [(3,)])
    await cluster.stop(3)
    await until(lambda: all(each.services.cluster.image.brokers[3].fenced for each in cluster.brokers.values()))
    await until(lambda: cluster.isr("t") == (1,))
    await until(
        lambda: all(
            each.services.cluster.image.topics["lost"].partitions[0].leader == -1 for each in cluster.brokers.values()
        )
    )
    found = await scrapes(cluster)
    assert found[1].value("kafka_server_replicamanager_isrshrinks_total") == 1
    assert found[1].value("kafka_server_replicamanager_underreplicatedpartitions") == 1
    assert found[1].value("kafka_cluster_partition_insyncreplicascount", topic="t", partition="0") == 1
    assert found[1].value("kafka_topic_partition_under_replicated_partition", topic="t", partition="0") == 1
    controller = next(node_id for node_id, each in cluster.brokers.items() if each.services.cluster.is_controller)
    for name, value in (("offlinepartitionscount", 1), ("fencedbrokercount", 1), ("activebrokercount", 2)):
        full_name = f"kafka_controller_kafkacontroller_{name}"
        assert {node_id: each.value(full_name) for node_id, each in found.items() if each.has(full_name)} == {
            controller: value
        }
    told = {
        node_id
        for node_id, each in found.items()
        if each.has("kafka_topic_partition_replicas", topic="lost", partition="0")
    }
    assert told == {controller}
    assert found[controller].value("kafka_brokers") == 2
    assert not found[controller].has("kafka_topic_partition_leader", topic="lost", partition="0")
    await cluster.start(3)
    await until(lambda: set(cluster.isr("t")) == {1, 3})
    assert (await scrape(cluster.brokers[1])).value("kafka_server_replicamanager_isrexpands_total") == 1


@pytest.mark.anyio
async def test_records_belong_to_the_broker_that_led_when_they_came(cluster: RunningCluster) -> None:
    await cluster.create_topic("t", [(1, 2)])
    await cluster.produce(1, "t", b"1", b"2", b"3")
    await cluster.elect("t", 2)
    await cluster.produce(2, "t", b"4")
    found = await scrapes(cluster)
    counted = {
        node_id: each.values("kafka_server_brokertopicmetrics_messagesin_total").get(("t",), 0)
        for node_id, each in found.items()
    }
    assert counted == {1: 3, 2: 1, 3: 0}

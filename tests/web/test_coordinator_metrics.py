"""What /metrics says of the coordinators, of controllers, and of transactions that never end."""

from pathlib import Path

import anyio
import pytest

from pykbroker.clock import SimulatedClock
from tests.support.client import Client, create_topic
from tests.support.cluster import cluster_of
from tests.support.cluster import until as becomes
from tests.support.running import DEADLINE_S, running
from tests.web.http import scrape
from tests.web.loads import ask_coordinator, commit_of, init_producer, produce_in_transaction
from wire.messages.classic_groups import (
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    SyncGroupRequest,
    SyncGroupRequestAssignment,
)
from wire.messages.group_offsets import (
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
)
from wire.messages.metadata import FindCoordinatorRequest
from wire.messages.transactions import EndTxnRequest

pytestmark = pytest.mark.anyio

GROUPS = "kafka_server_group_coordinator_metrics"
TRANSACTIONS = "kafka_server_transaction_coordinator_metrics"
MARKERS = "kafka_coordinator_transaction_transactionmarkerchannelmanager"
ONE_OF_EACH = {
    "offsets_topic_num_partitions": "3",
    "transaction_state_log_num_partitions": "2",
    "group_initial_rebalance_delay_ms": "0",
}


async def test_group_coordinator_tells_of_its_groups_partitions_and_offsets(tmp_path: Path) -> None:
    async with (
        running(tmp_path, pykbroker_http_listener="0", **ONE_OF_EACH) as broker,
        Client.connect(broker) as client,
    ):
        await create_topic(client, "t", partitions=3)
        assert not (await scrape(broker)).has(f"{GROUPS}_partition_load_time_max")
        join = JoinGroupRequest(
            group_id="g",
            session_timeout_ms=10_000,
            rebalance_timeout_ms=10_000,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol("range", b"")],
        )
        joined = await ask_coordinator(client, join, 3, key="g")
        scraped = await scrape(broker)
        assert scraped.value(f"{GROUPS}_classic_group_count", state="CompletingRebalance") == 1
        assert scraped.value(f"{GROUPS}_group_completed_rebalance_count") == 0
        sync = SyncGroupRequest(
            group_id="g",
            generation_id=joined.generation_id,
            member_id=joined.member_id,
            assignments=[SyncGroupRequestAssignment(joined.member_id, b"all")],
        )
        assert (await client.ask(sync, 3)).error_code == 0
        for offsets in ((1, 2, 3), (4,)):
            committed = await client.ask(commit_of("other", *offsets), 8)
            assert [each.error_code for each in committed.topics[0].partitions] == [0] * len(offsets)
        deleted = OffsetDeleteRequest("other", [OffsetDeleteRequestTopic("t", [OffsetDeleteRequestPartition(2)])])
        assert (await client.ask(deleted, 0)).error_code == 0
        scraped = await scrape(broker)
        states = scraped.values(f"{GROUPS}_classic_group_count")
        assert {state: count for (state,), count in states.items() if count} == {"Stable": 1, "Empty": 1}
        assert scraped.values(f"{GROUPS}_group_count") == {("classic",): 2}
        partitions = {("active",): 3, ("loading",): 0, ("failed",): 0}
        assert scraped.values(f"{GROUPS}_num_partitions") == partitions
        for name, count in (
            ("group_completed_rebalance", 1),
            ("offset_commit", 4),
            ("offset", 2),
            ("offset_deletion", 1),
            ("offset_expiration", 0),
        ):
            assert scraped.value(f"{GROUPS}_{name}_count") == count, name
        times = [scraped.value(f"{GROUPS}_partition_load_time_{name}") for name in ("avg", "max")]
        assert 0 < times[0] <= times[1]


async def test_rates_are_those_of_about_the_last_minute(tmp_path: Path) -> None:
    clock = SimulatedClock()
    rate = f"{GROUPS}_offset_commit_rate"
    async with (
        running(tmp_path, clock=clock, pykbroker_http_listener="0", **ONE_OF_EACH) as broker,
        Client.connect(broker) as client,
    ):
        await create_topic(client, "t", partitions=3)
        assert (await scrape(broker)).value(rate) == 0
        await ask_coordinator(client, commit_of("g", 1, 2, 3), 8, key="g")
        clock.advance(30_000)
        assert (await scrape(broker)).value(rate) == 3 / 30
        clock.advance(20_000)
        assert (await scrape(broker)).value(rate) == 3 / 50
        clock.advance(45_000)  # the first look that counts is that after 30 s
        assert (await scrape(broker)).value(rate) == 0
        await client.ask(commit_of("g", 4), 8)
        assert (await scrape(broker)).value(rate) == pytest.approx(1 / 65)


async def test_expired_offsets_are_counted(tmp_path: Path) -> None:
    clock = SimulatedClock()
    settings = {**ONE_OF_EACH, "offsets_retention_minutes": "1"}
    async with (
        running(tmp_path, clock=clock, pykbroker_http_listener="0", **settings) as broker,
        Client.connect(broker) as client,
    ):
        await create_topic(client, "t", partitions=2)
        await ask_coordinator(client, commit_of("g", 1, 2), 8, key="g")
        clock.advance(broker.config.offsets_retention_check_interval_ms + 60_000)
        scraped = await scrape(broker)
        assert scraped.value(f"{GROUPS}_offset_expiration_count") == 2
        assert scraped.value(f"{GROUPS}_offset_count") == 0


async def test_transactions_that_nobody_ends_are_late(tmp_path: Path) -> None:
    clock = SimulatedClock()
    settings = {
        **ONE_OF_EACH,
        "transaction_max_timeout_ms": "1000",
        "transaction_abort_timed_out_transaction_cleanup_interval_ms": str(10**9),
    }
    late = "kafka_server_replicamanager_partitionswithlatetransactionscount"
    async with (
        running(tmp_path, clock=clock, pykbroker_http_listener="0", **settings) as broker,
        Client.connect(broker) as client,
    ):
        assert not (await scrape(broker)).has(f"{TRANSACTIONS}_partition_load_time_max")
        await create_topic(client, "t", partitions=2)
        who = await init_producer(client, timeout_ms=1000)
        await produce_in_transaction(client, who, timestamp=clock.time_ms())
        scraped = await scrape(broker)
        assert scraped.value(late) == 0
        assert scraped.value(f"{TRANSACTIONS}_partition_load_time_max") >= 0
        clock.advance(301_001)
        assert (await scrape(broker)).value(late) == 1
        assert (await client.ask(EndTxnRequest("p", *who.values(), committed=True), 4)).error_code == 0
        async with Client.connect(broker) as other:
            with anyio.fail_after(DEADLINE_S):
                while (await scrape(broker)).value(late):
                    await other.ask(FindCoordinatorRequest(key="p", key_type=1), 2)


async def test_markers_wait_for_partitions_without_a_leader(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path, pykbroker_http_listener="0", **ONE_OF_EACH) as cluster:
        await cluster.create_topic("__transaction_state", [(1,), (1,)])
        await cluster.create_topic("t", [(2,)])
        coordinator, leader = cluster.brokers[1], cluster.brokers[2]
        async with Client.connect(coordinator) as client, Client.connect(leader) as producer:
            who = await init_producer(client)
            await produce_in_transaction(producer, who)
            await cluster.stop(2)
            await becomes(lambda: coordinator.services.cluster.image.brokers[2].fenced)
            assert (await client.ask(EndTxnRequest("p", *who.values(), committed=True), 4)).error_code == 0
            waiting = f"{MARKERS}_unknowndestinationqueuesize"
            scraped = await scrape(coordinator)
            assert scraped.value(waiting) == 1
            assert scraped.value(f"{MARKERS}_logappendretryqueuesize") == 0
            controller = "kafka_controller_kafkacontroller"
            assert scraped.values(f"{controller}_brokerregistrationstate") == {("1",): 30, ("2",): 10}
            assert scraped.value("kafka_server_metadataloader_currentcontrollerid") == 1
            await cluster.start(2)
            with anyio.fail_after(DEADLINE_S):
                while (await scrape(coordinator)).value(waiting):
                    pass


async def test_each_new_controller_counts(tmp_path: Path) -> None:
    seen = "kafka_controller_kafkacontroller_newactivecontrollerscount"
    async with cluster_of(2, tmp_path, pykbroker_http_listener="0") as cluster:
        other = cluster.brokers[2]
        assert (await scrape(other)).value(seen) == 1
        await cluster.stop(1)
        await becomes(lambda: other.services.cluster.is_controller)
        scraped = await scrape(other)
        assert scraped.value(seen) == 2
        assert scraped.value("kafka_server_metadataloader_currentcontrollerid") == 2

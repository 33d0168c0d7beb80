"""Replication that is throttled, on real brokers: no replica that has to catch up is faster than allowed."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.client import Client
from tests.support.cluster import RunningCluster, cluster_of, until
from tests.support.running import LIBRARIES
from wire.messages.configs import (
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsRequestAlterableConfig,
    IncrementalAlterConfigsRequestAlterConfigsResource,
)

pytestmark = pytest.mark.anyio

TOPIC, BROKER = 2, 4
SET, DELETE = 0, 1
# Windows so long that what was sent once counts until the end of the test.
FOREVER = {"replication_quota_window_size_seconds": "1000", "replica_fetch_max_bytes": "1000"}
BATCHES = 20


@pytest.fixture(params=LIBRARIES)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


async def alter(cluster: RunningCluster, kind: int, name: str, configs: Mapping[str, str | None]) -> None:
    """Set these configurations, None takes one away, and wait until all brokers know it."""
    changes = [
        IncrementalAlterConfigsRequestAlterableConfig(key, DELETE if value is None else SET, value)
        for key, value in configs.items()
    ]
    resource = IncrementalAlterConfigsRequestAlterConfigsResource(kind, name, changes)
    async with Client.connect(cluster.brokers[1]) as client:
        answer = await client.ask(IncrementalAlterConfigsRequest([resource]), 1)
    assert answer.responses[0].error_code == 0
    revision = cluster.brokers[1].services.cluster.image.revision
    await until(lambda: all(each.services.cluster.image.revision >= revision for each in cluster.brokers.values()))


@pytest.mark.parametrize("side", ["leader", "follower"])
@pytest.mark.parametrize("replicas", ["*", "0:1,0:2"])
async def test_replica_that_catches_up_stands_still_beyond_the_rate(tmp_path: Path, side: str, replicas: str) -> None:
    rate, throttled = f"{side}.replication.throttled.rate", f"{side}.replication.throttled.replicas"
    async with cluster_of(2, tmp_path, **FOREVER) as cluster:
        for topic in ("slow", "fast"):
            await cluster.create_topic(topic, [(1,)])
            for number in range(BATCHES):
                await cluster.produce(1, topic, b"%d" % number + b"x" * 900)
        await alter(cluster, BROKER, "", {rate: "1"})
        await alter(cluster, TOPIC, "slow", {throttled: replicas})
        for topic in ("slow", "fast"):
            await cluster.reassign(topic, (1, 2), isr=(1,))
        await until(lambda: cluster.isr("fast") == (1, 2))
        await until(lambda: cluster.replica(2, "slow").log.log_end_offset > 0)
        for number in range(BATCHES):  # each of them is fetched: there are many rounds of the fetcher meanwhile
            await cluster.produce(1, "fast", b"%d" % number)
        assert cluster.replica(2, "slow").log.log_end_offset < BATCHES
        assert cluster.isr("slow") == (1,)
        await alter(cluster, BROKER, "", {rate: None})
        await until(lambda: cluster.isr("slow") == (1, 2))
        assert cluster.replica(2, "slow").log.log_end_offset == BATCHES


async def test_replica_that_is_in_sync_is_not_held_back(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path, **FOREVER) as cluster:
        everything = {f"{side}_replication_throttled_replicas": "*" for side in ("leader", "follower")}
        await cluster.create_topic("t", [(1, 2)], min_insync_replicas="2", **everything)
        await cluster.produce(1, "t", b"first")
        rates = {f"{side}.replication.throttled.rate": "1" for side in ("leader", "follower")}
        await alter(cluster, BROKER, "", rates)
        for number in range(BATCHES):
            await cluster.produce(1, "t", b"%d" % number + b"x" * 900)  # acknowledged by both
        assert cluster.isr("t") == (1, 2)


async def test_other_replicas_of_a_topic_are_not_throttled(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path, **FOREVER) as cluster:
        await cluster.create_topic("t", [(1,), (1,)])
        for index in (0, 1):
            for number in range(BATCHES):
                await cluster.produce(1, "t", b"%d" % number + b"x" * 900, index=index)
        await alter(cluster, BROKER, "1", {"leader.replication.throttled.rate": "1"})
        await alter(cluster, TOPIC, "t", {"leader.replication.throttled.replicas": "0:1,1:2"})
        for index in (0, 1):
            await cluster.reassign("t", (1, 2), isr=(1,), index=index)
        await until(lambda: cluster.isr("t", 1) == (1, 2))
        assert cluster.replica(2, "t", 0).log.log_end_offset < BATCHES

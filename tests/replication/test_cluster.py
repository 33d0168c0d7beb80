"""Three real brokers: what is acknowledged is on all in-sync replicas, and stays whatever one broker does."""

from pathlib import Path

import pytest

from pykbroker.errors import KafkaError
from tests.support.client import Client, fetch_of, produce_of, values_of
from tests.support.cluster import cluster_of, until
from tests.support.running import BACKENDS
from wire.errors import ErrorCode

pytestmark = pytest.mark.anyio

ALL = (1, 2, 3)


@pytest.fixture(params=BACKENDS)
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

"""An embedded cluster by HTTP: what it tells, and that each broker can be stopped there."""

import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest

import pykbroker
from pykbroker.embedded import AsyncCluster
from pykbroker.embedded.over_http import serving
from pykbroker.faults.rules import Fault
from pykbroker.server.listener import ListenError

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def serving_http(brokers: int) -> AsyncIterator[tuple[AsyncCluster, httpx.AsyncClient]]:
    async with (
        pykbroker.Cluster(brokers) as kafka,
        serving(kafka, "0") as (host, port),
        httpx.AsyncClient(trust_env=False, base_url=f"http://{host}:{port}", timeout=20) as http,
    ):
        yield kafka, http


async def test_cluster_tells_where_it_is_and_who_runs() -> None:
    async with serving_http(2) as (kafka, http):
        assert (await http.get("/cluster")).json() == {"bootstrap": kafka.bootstrap, "brokers": [1, 2], "bugs": 0}
        for broker in (1, 2):
            assert (await http.post("/faults/actions/kill", json={"broker": broker})).status_code == 200
        assert (await http.get("/cluster")).json()["brokers"] == []


async def test_cluster_that_cannot_be_used_is_not_ready_and_says_why() -> None:
    async with serving_http(1) as (kafka, http):
        assert (await http.get("/readyz")).json() == {"status": "ready", "reasons": []}
        await kafka.stop()
        stopped = await http.get("/readyz")
        assert (stopped.status_code, stopped.json()["reasons"]) == (503, ["no broker runs"])
        await kafka.start()
        assert (await http.get("/readyz")).status_code == 200


async def test_reset_empties_the_cluster_and_ends_faults() -> None:
    async with serving_http(1) as (kafka, http):
        await kafka.create_topic("t", 1)
        await http.post("/faults", json={"api": "Produce", "drop": True})
        assert (await http.post("/faults/actions/reset")).json() == {"result": None}
        assert "t" not in kafka.broker().services.cluster.image.topics
        assert (await http.get("/faults")).json() == []


async def test_faults_end_with_what_serves_them() -> None:
    async with pykbroker.Cluster(1) as kafka:
        async with serving(kafka, "0"):
            active = kafka.faults.add(Fault(drop=True))
        assert active.removed.is_set()


async def test_address_that_is_taken_is_said_so() -> None:
    async with serving_http(1) as (kafka, http):
        with pytest.raises(ListenError, match="cannot listen on"):
            async with serving(kafka, f"127.0.0.1:{http.base_url.port}"):
                pass

"""Faults ordered over HTTP, from a broker in the test's event loop."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest
from starlette.applications import Starlette

import pykbroker
from pykbroker.embedded import AsyncCluster
from pykbroker.web.faults import ACTIONS, MAX_BODY_BYTES, routes
from tests.support.client import Client, create_topic, create_topic_with, produce_of
from tests.support.running import running
from tests.web.http import client_of, url
from wire.errors import ErrorCode

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def ordering(brokers: int = 1) -> AsyncIterator[tuple[AsyncCluster, httpx.AsyncClient]]:
    async with pykbroker.Cluster(brokers) as kafka:
        transport = httpx.ASGITransport(app=Starlette(routes=routes(kafka.faults)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
            yield kafka, http


async def test_fault_is_ordered_met_told_and_removed() -> None:
    async with ordering() as (kafka, http), Client.connect(kafka.broker()) as client:
        await create_topic(client, "t")
        order = {"api": "Produce", "topic": "t", "error": "NOT_LEADER_OR_FOLLOWER"}
        ordered = await http.post("/faults", json=order)
        assert (ordered.status_code, ordered.json()) == (201, {"id": 1, "hits": 0, **order})
        answer = await client.ask(produce_of("t", b"v"), 9)
        assert answer.responses[0].partition_responses[0].error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert (await http.get("/faults")).json() == [{"id": 1, "hits": 1, **order}]
        assert (await http.get("/faults/1")).json()["hits"] == 1
        assert (await http.delete("/faults/1")).status_code == 204
        assert (await http.delete("/faults/1")).status_code == 404
        assert (await http.get("/faults/1")).json() == {"error": "there is no fault 1"}
        await http.post("/faults", json=order)
        assert (await http.delete("/faults")).status_code == 204
        assert (await http.get("/faults")).json() == []
        answer = await client.ask(produce_of("t", b"v"), 9)
        assert answer.responses[0].partition_responses[0].error_code == 0


async def test_hits_are_told_as_soon_as_there_are_so_many() -> None:
    async with ordering() as (kafka, http), Client.connect(kafka.broker()) as client:
        ordered = await http.post("/faults", json={"api": "CreateTopics", "error": "NOT_CONTROLLER"})
        hits = f"{ordered.headers['location']}/hits"
        assert (await http.get(hits)).json() == 0
        waited: list[int] = []

        async def wait() -> None:
            waited.append((await http.get(hits, params={"at_least": 2, "timeout_ms": 60_000})).json())

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait)
            for name in ("t", "u"):
                assert waited == []
                await client.ask(create_topic_with(name), 7)
        assert waited == [2]


@pytest.mark.parametrize(
    ("path", "status", "why"),
    [
        ("/faults/1/hits?at_least=1&timeout_ms=0", 504, "it was met 0 times, and not 1"),
        ("/faults/1/hits?at_least=-1", 400, "at_least is a whole number from 0 to 2147483647, and not '-1'"),
        (f"/faults/1/hits?at_least={'9' * 5000}", 400, "at_least is a whole number"),
        ("/faults/1/hits?timeout_ms=60001", 400, "timeout_ms is a whole number from 0 to 60000"),
        ("/faults/2/hits", 404, "there is no fault 2"),
    ],
)
async def test_hits_that_cannot_be_told_say_why(path: str, status: int, why: str) -> None:
    async with ordering() as (_, http):
        await http.post("/faults", json={"api": "CreateTopics", "error": "NOT_CONTROLLER"})
        refused = await http.get(path)
        assert refused.status_code == status
        assert refused.json()["error"].startswith(why)


@pytest.mark.parametrize("header", [{"origin": "http://test"}, {"sec-fetch-site": "same-origin"}])
async def test_page_in_a_browser_orders_nothing(header: dict[str, str]) -> None:
    async with ordering() as (kafka, http):
        refused = await http.post("/faults", json={"api": "Produce", "error": "CORRUPT_MESSAGE"}, headers=header)
        assert refused.status_code == 403
        assert list(kafka.faults.rules) == []


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "says what happens"),
        (b"{", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"error": "NO_SUCH"}', "no error 'NO_SUCH'"),
        (b'{"topics": "t"}', "has no topics"),
        (b" " * (MAX_BODY_BYTES + 1), "more than"),
        (b"[" * 60_000, "not JSON"),
        (b'{"api": "Heartbeat", "delay_ms": NaN}', "NaN is no number"),
        (b'{"api": "Heartbeat", "delay_ms": 1e999}', "delay_ms is a number"),
    ],
)
async def test_fault_that_cannot_be_is_refused_with_the_reason(body: bytes, why: str) -> None:
    async with ordering() as (kafka, http):
        refused = await http.post("/faults", content=body)
        assert refused.status_code == 400
        assert why in refused.json()["error"]
        assert len(kafka.faults.rules) == 0


async def test_actions_are_done_when_they_are_answered() -> None:
    async with ordering(2) as (kafka, http):
        await kafka.create_topic("t", 1)
        state = kafka.broker(1).services.cluster.image.topics["t"].partitions[0]
        moved = await http.post("/faults/actions/move_leader", json={"topic": "t"})
        assert (moved.status_code, moved.json()) == (200, {"result": state.replicas[1]})
        assert (await http.post("/faults/actions/stop", json={"broker": 2})).status_code == 200
        assert kafka.brokers == [1]
        assert (await http.post("/faults/actions/start", json={"broker": 2})).status_code == 200
        assert kafka.brokers == [1, 2]
        assert (await http.post("/faults/actions/partition", json={"sides": [[1], [2]]})).status_code == 200
        assert (await http.post("/faults/actions/jump_clock", json={"ms": 5, "broker": 1})).status_code == 200
        assert (await http.post("/faults/actions/heal")).status_code == 200


@pytest.mark.parametrize(
    ("name", "arguments", "status", "why"),
    [
        ("clear", {}, 404, "no action clear"),
        ("__init__", {}, 404, "no action __init__"),
        ("rebalance", {}, 400, "needs group"),
        ("rebalance", {"group": 5}, 400, "group of rebalance cannot be 5"),
        ("rebalance", {"group": "g", "topic": "t"}, 400, "has no topic"),
        ("rebalance", {"group": "g"}, 409, "GROUP_ID_NOT_FOUND"),
        ("pass_time", {"ms": True}, 400, "ms of pass_time cannot be true"),
        ("pass_time", {"ms": 10**400}, 400, "at most"),
        ("partition", {"sides": [[1], [99]]}, 400, "no broker 99"),
        ("expire_producer_ids", {"topic": "nowhere"}, 409, "UNKNOWN_TOPIC_OR_PARTITION"),
        ("start", {"broker": 9}, 400, "no broker 9"),
        ("partition", {"sides": [1]}, 400, "partition takes"),
        ("freeze", {"broker": 9}, 400, "no broker 9 runs here"),
        ("move_leader", {"topic": "nowhere"}, 409, "UNKNOWN_TOPIC_OR_PARTITION"),
    ],
)
async def test_action_that_cannot_be_done_says_why(
    name: str, arguments: dict[str, object], status: int, why: str
) -> None:
    async with ordering() as (_, http):
        refused = await http.post(f"/faults/actions/{name}", json=arguments)
        assert refused.status_code == status
        assert why in refused.json()["error"]


async def test_broker_that_cannot_start_is_said_so() -> None:
    async with ordering(2) as (_, http):
        for name in ("cut_store", "kill"):
            assert (await http.post(f"/faults/actions/{name}", json={"broker": 2})).status_code == 200
        refused = await http.post("/faults/actions/start", json={"broker": 2})
        assert (refused.status_code, "cut off" in refused.json()["error"]) == (409, True)
        assert (await http.post("/faults/actions/heal")).status_code == 200
        assert (await http.post("/faults/actions/start", json={"broker": 2})).status_code == 200


async def test_broker_does_not_end_while_it_answers(tmp_path: Path) -> None:
    settings = {"pykbroker_http_listener": "0", "pykbroker_http_faults_enable": "true"}
    async with running(tmp_path, **settings) as broker, httpx.AsyncClient(trust_env=False) as http:
        for name in ("stop", "kill", "restart"):
            refused = await http.post(url(broker, f"/faults/actions/{name}"))
            assert (refused.status_code, "answers here" in refused.json()["error"]) == (400, True)


async def test_broker_that_is_reset_keeps_its_client_and_nothing_else(tmp_path: Path) -> None:
    settings = {"pykbroker_http_listener": "0", "pykbroker_http_faults_enable": "true"}
    async with running(tmp_path, **settings) as broker, Client.connect(broker) as client:
        await create_topic(client, "t")
        async with client_of(broker) as http:
            await http.post("/faults", json={"api": "CreateTopics", "error": "NOT_CONTROLLER"})
            assert (await http.post("/faults/actions/reset")).json() == {"result": None}
        assert (await client.ask(create_topic_with("t"), 7)).topics[0].error_code == 0


@pytest.mark.parametrize(("enabled", "status"), [("true", 201), ("false", 404)])
async def test_brokers_http_server_takes_orders_only_where_that_is_enabled(
    tmp_path: Path, enabled: str, status: int
) -> None:
    http_and_faults = {"pykbroker_http_listener": "0", "pykbroker_http_faults_enable": enabled}
    async with running(tmp_path, **http_and_faults) as broker, Client.connect(broker) as client:
        async with httpx.AsyncClient(trust_env=False) as http:
            order = {"api": "CreateTopics", "error": "NOT_CONTROLLER", "times": 1}
            ordered = await http.post(url(broker, "/faults"), json=order)
            assert ordered.status_code == status
            assert ("pykbroker.http.faults.enable=true" in ordered.text) is (enabled == "false")
        answer = await client.ask(create_topic_with("t"), 7)
        refused = enabled == "true"
        assert answer.topics[0].error_code == (ErrorCode.NOT_CONTROLLER if refused else 0)
        assert (await client.ask(create_topic_with("u"), 7)).topics[0].error_code == 0


async def test_every_action_is_a_method_of_the_faults() -> None:
    async with ordering() as (kafka, _):
        assert all(callable(getattr(kafka.faults, name)) for name in ACTIONS)

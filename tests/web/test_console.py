"""The console over real HTTP from a real broker: its pages, its worker, and who is not let in."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from pykbroker.broker import Broker
from pykbroker.client import Client
from pykbroker.client.topics import NewTopic, create_topics
from pykbroker.config import BrokerConfig
from pykbroker.web.console.console import MAX_BODY_BYTES
from pykbroker.web.console.guard import Guard, is_loopback
from tests.support.running import running
from tests.web.http import url

pytestmark = pytest.mark.anyio

NONE: Mapping[str, str] = {}


@contextlib.asynccontextmanager
async def console(folder: Path, **properties: str) -> AsyncIterator[tuple[Broker, Client, httpx.AsyncClient]]:
    """A broker with its console, a client of the broker, and one of the console."""
    on = {"pykbroker_http_listener": "0", "pykbroker_http_console_enable": "true"}
    async with (
        running(folder, **on, **properties) as broker,
        Client(broker.bootstrap) as client,
        httpx.AsyncClient(trust_env=False, base_url=url(broker), timeout=60) as http,
    ):
        yield broker, client, http


async def json_of(http: httpx.AsyncClient, path: str, **query: str | int) -> Any:
    response = await http.get(f"/console/api/{path}", params=query)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


async def test_without_being_told_there_is_no_console(tmp_path: Path) -> None:
    async with (
        running(tmp_path, pykbroker_http_listener="0") as broker,
        httpx.AsyncClient(trust_env=False, base_url=url(broker)) as http,
    ):
        for path in ("/", "/console/", "/console/api/topics", "/console/static/console.css"):
            assert (await http.get(path)).status_code == 404


async def test_pages_and_scripts_come_with_a_strict_policy(tmp_path: Path) -> None:
    async with console(tmp_path) as (_, _, http):
        for path, kind in {
            "/console/": "text/html",
            "/console/static/js/app.js": "text/javascript",
            "/console/static/uplot/uPlot.iife.min.js": "text/javascript",
            "/console/api/topics": "application/json",
        }.items():
            response = await http.get(path)
            assert response.status_code == 200
            assert response.headers["content-type"].startswith(kind)
            policy = response.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
            assert "unsafe" not in policy
            assert response.headers["x-content-type-options"] == "nosniff"
        assert (await http.get("/")).headers["location"] == "/console/"


async def test_unknown_addresses_are_answered_as_what_was_asked_for(tmp_path: Path) -> None:
    async with console(tmp_path) as (_, _, http):
        page = await http.get("/console/nothing")
        assert page.status_code == 404
        assert "There is nothing here" in page.text
        assert (await http.get("/console/static/../console/console.py")).status_code == 404
        assert (await http.get("/console/static/..%2fconsole%2fconsole.py")).status_code == 404
        answer = await http.get("/console/api/nothing")
        assert (answer.status_code, answer.json()["error"]) == (404, "NOT_FOUND")
        assert "content-security-policy" in answer.headers


async def test_nothing_is_written_unless_the_broker_is_told(tmp_path: Path) -> None:
    async with console(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        assert not (await json_of(http, "cluster"))["is_writable"]
        response = await http.post("/console/api/topics/t/records", json={"value": {"text": "x"}})
        assert (response.status_code, response.json()["error"]) == (403, "READ_ONLY")
        assert (await json_of(http, "topics/t"))["partitions"][0]["end"] == 0


async def test_foreign_pages_cannot_write(tmp_path: Path) -> None:
    async with console(tmp_path, pykbroker_http_console_write_enable="true") as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        asked = {"content-type": "application/json", "origin": str(http.base_url).rstrip("/")}
        path, body = "/console/api/topics/t/records", json.dumps({"value": {"text": "x"}})
        for name, value, expected in (
            ("origin", "http://evil.example", (403, "WRONG_ORIGIN")),
            ("origin", "null", (403, "WRONG_ORIGIN")),
            ("origin", "http://127.0.0.1:1", (403, "WRONG_ORIGIN")),
            ("sec-fetch-site", "cross-site", (403, "WRONG_ORIGIN")),
            ("sec-fetch-site", "same-site", (403, "WRONG_ORIGIN")),
            ("content-type", "text/plain", (415, "NOT_JSON")),
            ("content-type", "application/x-www-form-urlencoded", (415, "NOT_JSON")),
            ("host", "evil.example", (403, "WRONG_HOST")),
        ):
            response = await http.post(path, content=body, headers=asked | {name: value})
            assert (response.status_code, response.json()["error"]) == expected, value
        assert (await json_of(http, "topics/t"))["partitions"][0]["end"] == 0
        assert (await http.post(path, content=body, headers=asked)).status_code == 200  # without them it works


async def test_name_that_is_not_of_this_machine_is_refused(tmp_path: Path) -> None:
    async with console(tmp_path) as (_, _, http):
        for host in ("evil.example", "evil.example:9644", "localhost.evil.example", "10.0.0.1", "", "[::1"):
            for path in ("/console/", "/console/api/topics", "/console/static/js/app.js"):
                response = await http.get(path, headers={"host": host})
                assert response.status_code == 403, host
                assert "localhost" in response.text


async def test_names_of_this_machine_are_let_in(tmp_path: Path) -> None:
    async with console(tmp_path) as (_, _, http):
        for host in ("localhost", "localhost:1234", "LOCALHOST", "127.0.0.1", "127.1.2.3:80", "[::1]:9644"):
            assert (await http.get("/console/api/cluster", headers={"host": host})).status_code == 200, host


async def test_pages_of_others_cannot_read_either(tmp_path: Path) -> None:
    async with console(tmp_path) as (_, _, http):
        for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
            for path in ("/console/api/topics", "/console/api/trace"):
                response = await http.get(path, headers=headers)
                assert (response.status_code, response.json()["error"]) == (403, "WRONG_ORIGIN")
        assert (await http.get("/console/", headers={"sec-fetch-site": "cross-site"})).status_code == 200  # a link


async def status_for(
    client: str, host: str, *, remote: bool, properties: Mapping[str, str] = NONE, **headers: str
) -> int:
    """What the guard lets a client at this address do, that calls the console so."""
    statuses: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    config = BrokerConfig.from_properties({"pykbroker.http.console.remote.enable": str(remote).lower(), **properties})
    sent = {"host": host, **headers}
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/console/api/topics",
        "client": (client, 50000),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in sent.items()],
    }
    await Guard(app, config)(scope, receive, send)
    return statuses[0]


async def test_other_machines_are_let_in_only_where_that_is_enabled() -> None:
    assert await status_for("192.0.2.7", "localhost", remote=False) == 403
    assert await status_for("192.0.2.7", "198.51.100.1:9644", remote=True) == 200
    assert await status_for("127.0.0.1", "broker.example:9644", remote=False) == 403
    assert await status_for("127.0.0.1", "localhost", remote=False) == 200
    assert await status_for("::ffff:127.0.0.1", "localhost", remote=False) == 200
    assert not is_loopback("::ffff:192.0.2.7")


async def test_name_that_somebody_else_may_lead_here_is_refused_from_afar() -> None:
    evil = {"host": "evil.example:9644", "origin": "http://evil.example:9644"}  # rebound: the browser takes it for one
    assert await status_for("192.0.2.7", **evil, remote=True) == 403
    assert await status_for("127.0.0.1", **evil, remote=True) == 403
    assert await status_for("192.0.2.7", "", remote=True) == 403
    for host in ("198.51.100.1:9644", "[2001:db8::1]:9644", "localhost", "127.0.0.1:9644"):
        assert await status_for("192.0.2.7", host, remote=True) == 200, host
    named = {
        "pykbroker.http.console.hosts": "Kafka-UI.example.org,other",
        "advertised.listeners": "PLAINTEXT://broker-1.example.org:9092",
    }
    for host in ("kafka-ui.example.org", "OTHER:8080", "broker-1.example.org:9644"):
        assert await status_for("192.0.2.7", host, remote=True, properties=named) == 200, host
    assert await status_for("192.0.2.7", **evil, remote=True, properties=named) == 403


@pytest.mark.parametrize("header", ["forwarded", "x_forwarded_for", "x_real_ip", "via"])
async def test_proxy_on_this_machine_that_asks_for_others_is_no_local_client(header: str) -> None:
    said = {header: "for=192.0.2.7"}
    assert await status_for("127.0.0.1", "localhost:9644", remote=False, **said) == 403
    assert await status_for("127.0.0.1", "localhost:9644", remote=True, **said) == 200


async def test_record_is_produced_where_writing_is_enabled(tmp_path: Path) -> None:
    async with console(tmp_path, pykbroker_http_console_write_enable="true") as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        path, headers = "/console/api/topics/t/records", {"content-type": "application/json"}
        response = await http.post(path, content=b'{"value": {"text": "x"}}', headers=headers)
        assert response.json() == {"topic": "t", "partition": 0, "offset": 0}
        response = await http.post(path, content=b" " * (MAX_BODY_BYTES + 1), headers=headers)
        assert (response.status_code, response.json()["error"]) == (400, "BAD_REQUEST")
        # What only the broker may give to the worker.
        for path in ("/console/api/../broker/trace/1", "/console/api/..%2fbroker/trace/1", "/console/broker/trace/1"):
            assert (await http.post(f"{path}?keep=1", content=b"[]\n", headers=headers)).status_code == 404

"""The console's JSON, over real HTTP from a real broker, and who is not let in."""

import base64
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from pykbroker.broker import Broker
from pykbroker.client import Client
from pykbroker.client.groups import CommittedOffset, commit_offsets
from pykbroker.client.member import GroupConsumer
from pykbroker.client.producer import Producer
from pykbroker.client.topics import NewTopic, create_topics
from pykbroker.config import BrokerConfig
from pykbroker.study.tracing import TracingDispatcher
from pykbroker.topic_partition import TopicPartition
from pykbroker.web.console.guard import Guard, is_loopback
from pykbroker.web.console.records import MAX_PRODUCE_BYTES, MAX_SHOWN_BYTES
from pykbroker.web.console.trace import MAX_QUEUED_BYTES
from tests.support.client import Client as BareClient
from tests.support.cluster import cluster_of
from tests.support.running import running, until
from tests.web.http import url
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.records import Record, batch_crc, build_batch
from wire.study.exchanges import Direction, TracedFrame

pytestmark = pytest.mark.anyio

NONE: Mapping[str, str] = {}
SCRIPT = b"<script>alert(1)</script>"


@contextlib.asynccontextmanager
async def console(folder: Path, **properties: str) -> AsyncIterator[tuple[Broker, Client, httpx.AsyncClient]]:
    """A broker with its console, a client of the broker, and one of the console."""
    on = {"pykbroker_http_listener": "0", "pykbroker_http_console_enable": "true"}
    async with (
        running(folder, **on, **properties) as broker,
        Client(broker.bootstrap) as client,
        httpx.AsyncClient(trust_env=False, base_url=url(broker), timeout=20) as http,
    ):
        yield broker, client, http


async def told(http: httpx.AsyncClient, path: str, **query: str | int) -> Any:
    response = await http.get(f"/console/api/{path}", params=query)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


async def send(client: Client, topic: str, *values: bytes | None, **more: Any) -> None:
    async with Producer(client) as producer:
        for value in values:
            await producer.send(topic, value, partition=0, **more)


def bytes_of(shown: Any) -> bytes:
    return base64.b64decode(shown["base64"])


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
        assert (answer.status_code, answer.json()["error"]) == (404, "NO_SUCH_PAGE")
        assert "content-security-policy" in answer.headers


async def test_topics_and_their_partitions(tmp_path: Path) -> None:
    async with console(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 2, 1, {"retention.ms": "1000"})])
        await send(client, "t", b"1", b"2")
        listed = await told(http, "topics")
        (topic,) = listed["topics"]
        assert (topic["name"], topic["partitions"], topic["replication_factor"]) == ("t", 2, 1)
        assert (topic["under_replicated"], topic["without_leader"], listed["left_out"]) == (0, 0, 0)
        first, second = (await told(http, "topics/t"))["partitions_told"]
        assert (first["leader"], first["replicas"], first["isr"], first["beginning"], first["end"]) == (
            1,
            [1],
            [1],
            0,
            2,
        )
        assert (second["end"], second["bytes"]) == (0, 0)
        assert first["bytes"] == topic["bytes"] > 0
        configs = (await told(http, "configs", type="topic", name="t"))["configs"]
        assert (configs[0]["name"], configs[0]["value"], configs[0]["source"]) == (
            "retention.ms",
            "1000",
            "DYNAMIC_TOPIC",
        )
        response = await http.get("/console/api/topics/absent")
        assert (response.status_code, response.json()["error"]) == (404, "UNKNOWN_TOPIC_OR_PARTITION")


async def test_whole_cluster_is_shown_by_any_broker(tmp_path: Path) -> None:
    on = {"pykbroker_http_listener": "0", "pykbroker_http_console_enable": "true"}
    async with cluster_of(2, tmp_path, **on) as cluster:
        await cluster.create_topic("t", [(1, 2), (2, 1)])
        for broker in cluster.brokers.values():
            async with httpx.AsyncClient(trust_env=False, base_url=url(broker), timeout=20) as http:
                brokers = (await told(http, "brokers"))["brokers"]
                assert [(each["id"], each["leads"], each["replicas"]) for each in brokers] == [(1, 1, 2), (2, 1, 2)]
                assert sum(each["is_controller"] for each in brokers) == 1
                partitions = (await told(http, "topics/t"))["partitions_told"]
                assert [(each["leader"], each["replicas"], each["end"]) for each in partitions] == [
                    (1, [1, 2], 0),
                    (2, [2, 1], 0),
                ]


@pytest.mark.parametrize(
    ("query", "offsets", "next_offset"),
    [
        ({"from": "beginning", "limit": 2}, [0, 1], 2),
        ({"from": "end", "limit": 2}, [3, 4], 5),
        ({"from": "end"}, [0, 1, 2, 3, 4], 5),
        ({"from": "offset", "at": 3}, [3, 4], 5),
        ({"from": "offset", "at": 99}, [], 5),
        ({"from": "timestamp", "at": 2000, "limit": 1}, [2], 3),
        ({"from": "timestamp", "at": 9000}, [], 5),
    ],
)
async def test_records_are_read_from_where_the_query_says(
    tmp_path: Path, query: dict[str, str | int], offsets: list[int], next_offset: int
) -> None:
    async with console(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        for number in range(5):
            await send(client, "t", b"%d" % number, timestamp=number * 1000)
        answer = await told(http, "topics/t/records", partition=0, **query)
        assert [record["offset"] for record in answer["records"]] == offsets
        assert [bytes_of(record["value"]) for record in answer["records"]] == [b"%d" % offset for offset in offsets]
        assert (answer["beginning"], answer["end"], answer["next_offset"]) == (0, 5, next_offset)


@pytest.mark.parametrize(
    "query",
    ["from=middle", "from=offset", "from=offset&at=-1", "from=timestamp&at=x", "limit=0", "limit=501", "partition=x"],
)
async def test_question_without_sense_says_what_is_wrong(tmp_path: Path, query: str) -> None:
    async with console(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        response = await http.get(f"/console/api/topics/t/records?{query}")
        assert (response.status_code, response.json()["error"]) == (400, "BAD_QUESTION")


async def test_hostile_record_goes_as_data(tmp_path: Path) -> None:
    async with console(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        await send(
            client, "t", SCRIPT, None, b"\xff\x00", b"x" * (MAX_SHOWN_BYTES + 1), key=SCRIPT, headers=[("<b>", SCRIPT)]
        )
        response = await http.get("/console/api/topics/t/records")
        assert response.headers["content-type"] == "application/json"
        assert "script" not in response.text
        hostile, null, binary, long = response.json()["records"]
        assert bytes_of(hostile["key"]) == bytes_of(hostile["value"]) == SCRIPT
        assert [(each["name"], bytes_of(each["value"])) for each in hostile["headers"]] == [("<b>", SCRIPT)]
        assert null["value"] is None
        assert bytes_of(binary["value"]) == b"\xff\x00"
        assert (len(bytes_of(long["value"])), long["value"]["bytes"]) == (MAX_SHOWN_BYTES, MAX_SHOWN_BYTES + 1)


async def test_records_that_cannot_be_read_are_a_failure_and_no_bug(tmp_path: Path) -> None:
    batch = build_batch([Record(value=b"x", headers=(("name", None),))])
    at = batch.index(b"name")
    batch[at : at + 4] = b"\xff\xff\xff\xff"  # brokers do not look into headers, and no text is written so
    batch[17:21] = batch_crc(batch).to_bytes(4, "big")
    async with console(tmp_path) as (broker, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        request = ProduceRequest(
            acks=1, timeout_ms=1000, topic_data=[TopicProduceData("t", partition_data=[PartitionProduceData(0, batch)])]
        )
        async with BareClient.connect(broker) as bare:
            answer = await bare.ask(request, 12)
        assert answer.responses[0].partition_responses[0].error_code == 0
        response = await http.get("/console/api/topics/t/records")
        assert (response.status_code, response.json()["error"]) == (502, "MALFORMED")


async def test_lag_of_a_group_and_a_name_that_is_any_text(tmp_path: Path) -> None:
    async with console(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        await send(client, "t", *[b"x"] * 5)
        for name in ("plain", "a/b?c=<d>"):
            await commit_offsets(client, name, {TopicPartition("t", 0): CommittedOffset(2)})
        groups = (await told(http, "groups"))["groups"]
        assert [(each["id"], each["state"], each["members"], each["lag"]) for each in groups] == [
            ("a/b?c=<d>", "Empty", 0, 3),
            ("plain", "Empty", 0, 3),
        ]
        group = await told(http, "group", id="a/b?c=<d>")
        assert (group["lag"], group["lag_by_topic"], group["members"]) == (3, {"t": 3}, [])
        assert group["partitions"] == [
            {"topic": "t", "partition": 0, "committed": 2, "end": 5, "lag": 3, "member": None}
        ]
        await send(client, "t", b"more")
        assert (await told(http, "group", id="plain"))["lag"] == 4
        assert (await http.get("/console/api/group", params={"id": "none"})).status_code == 404


async def test_members_of_a_group_and_what_they_consume(tmp_path: Path) -> None:
    async with console(tmp_path, group_initial_rebalance_delay_ms="0") as (_, client, http):
        await create_topics(client, [NewTopic("t", 2, 1)])
        await send(client, "t", b"1", b"2")
        async with GroupConsumer(client, "g", ["t"]) as consumer:
            await consumer.poll()
            group = await told(http, "group", id="g")
            (member,) = group["members"]
            assert (group["state"], group["assignor"]) == ("Stable", "range")
            assert (member["client_id"], member["partitions"]) == ("pykbroker-client", ["t-0", "t-1"])
            assert [(each["end"], each["lag"], each["member"]) for each in group["partitions"]] == [
                (2, None, member["id"]),  # nothing is committed yet
                (0, None, member["id"]),
            ]
            assert [(each["members"], each["lag"]) for each in (await told(http, "groups"))["groups"]] == [(1, 0)]


# Writing


async def test_nothing_is_written_unless_the_broker_is_told(tmp_path: Path) -> None:
    async with console(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        assert not (await told(http, "cluster"))["is_writable"]
        response = await http.post("/console/api/topics/t/records", json={"value": {"text": "x"}})
        assert (response.status_code, response.json()["error"]) == (403, "READ_ONLY")
        assert (await told(http, "topics/t"))["partitions_told"][0]["end"] == 0


async def test_record_is_produced_where_writing_is_enabled(tmp_path: Path) -> None:
    async with console(tmp_path, pykbroker_http_console_write_enable="true") as (_, client, http):
        await create_topics(client, [NewTopic("t", 3, 1)])
        record = {
            "partition": 2,
            "key": {"text": "ключ"},
            "value": {"base64": base64.b64encode(b"\0\xff").decode()},
            "headers": [{"name": "h", "value": {"text": "1"}}, {"name": "none", "value": None}],
        }
        response = await http.post("/console/api/topics/t/records", json=record)
        assert response.json() == {"topic": "t", "partition": 2, "offset": 0}
        (read,) = (await told(http, "topics/t/records", partition=2))["records"]
        assert (bytes_of(read["key"]).decode(), bytes_of(read["value"])) == ("ключ", b"\0\xff")
        assert [(each["name"], each["value"]) for each in read["headers"]] == [
            ("h", {"base64": "MQ==", "bytes": 1}),
            ("none", None),
        ]
        for body in (
            b"[]",
            b"{",
            b'{"value": 5}',
            b'{"partition": "1"}',
            b'{"headers": [{}]}',
            b" " * (MAX_PRODUCE_BYTES + 1),
        ):
            response = await http.post(
                "/console/api/topics/t/records", content=body, headers={"content-type": "application/json"}
            )
            assert (response.status_code, response.json()["error"]) == (400, "BAD_QUESTION")
        response = await http.post("/console/api/topics/absent/records", json={})
        assert response.status_code == 404  # and it is not created
        assert [topic["name"] for topic in (await told(http, "topics"))["topics"]] == ["t"]


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ({"origin": "http://evil.example"}, 403, "WRONG_ORIGIN"),
        ({"origin": "null"}, 403, "WRONG_ORIGIN"),
        ({"origin": "http://127.0.0.1:1"}, 403, "WRONG_ORIGIN"),
        ({"sec-fetch-site": "cross-site"}, 403, "WRONG_ORIGIN"),
        ({"sec-fetch-site": "same-site"}, 403, "WRONG_ORIGIN"),
        ({"content-type": "text/plain"}, 415, "NOT_JSON"),
        ({"content-type": "application/x-www-form-urlencoded"}, 415, "NOT_JSON"),
        ({"host": "evil.example"}, 403, "WRONG_HOST"),
    ],
)
async def test_foreign_pages_cannot_write(tmp_path: Path, headers: dict[str, str], status: int, error: str) -> None:
    async with console(tmp_path, pykbroker_http_console_write_enable="true") as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        asked = {"content-type": "application/json", "origin": str(http.base_url).rstrip("/")}
        path, body = "/console/api/topics/t/records", json.dumps({"value": {"text": "x"}})
        response = await http.post(path, content=body, headers=asked | headers)
        assert (response.status_code, response.json()["error"]) == (status, error)
        assert (await told(http, "topics/t"))["partitions_told"][0]["end"] == 0
        assert (await http.post(path, content=body, headers=asked)).status_code == 200  # without them it works


# Who is let in


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:9644", "localhost.evil.example", "10.0.0.1", "", "[::1"]
)
async def test_name_that_is_not_of_this_machine_is_refused(tmp_path: Path, host: str) -> None:
    async with console(tmp_path) as (_, _, http):
        for path in ("/console/", "/console/api/topics", "/console/static/js/app.js"):
            response = await http.get(path, headers={"host": host})
            assert response.status_code == 403
            assert "localhost" in response.text


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1234", "LOCALHOST", "127.0.0.1", "127.1.2.3:80", "[::1]:9644"]
)
async def test_names_of_this_machine_are_let_in(tmp_path: Path, host: str) -> None:
    async with console(tmp_path) as (_, _, http):
        assert (await http.get("/console/api/cluster", headers={"host": host})).status_code == 200


async def test_pages_of_others_cannot_read_either(tmp_path: Path) -> None:
    async with console(tmp_path) as (_, _, http):
        for headers in ({"origin": "http://evil.example"}, {"sec-fetch-site": "cross-site"}):
            for path in ("/console/api/topics", "/console/api/trace"):
                response = await http.get(path, headers=headers)
                assert (response.status_code, response.json()["error"]) == (403, "WRONG_ORIGIN")
        assert (await http.get("/console/", headers={"sec-fetch-site": "cross-site"})).status_code == 200  # a link


async def status_for(client: str, host: str, *, remote: bool, properties: Mapping[str, str] = NONE, **headers: str) -> int:
    """What the guard lets a client at this address do, that calls the console so."""
    statuses: list[int] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def receive() -> Message:
        return {"type": "http.request"}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    config = BrokerConfig.from_properties(
        {"pykbroker.http.console.remote.enable": str(remote).lower(), **properties}
    )
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


# The trace


class Trace:
    """A stream of events, read as what it is: a chunk for each send, and lines in it."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream
        self._received = b""
        self._name = ""

    async def line(self) -> str:
        while b"\n" not in self._received:
            self._received += await self._stream.receive()
        line, _, self._received = self._received.partition(b"\n")
        return line.decode().rstrip("\r")

    async def event(self) -> tuple[str, Any]:
        while True:
            line = await self.line()
            if line.startswith("event: "):
                self._name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                return self._name, json.loads(line.removeprefix("data: "))

    async def end(self) -> None:
        """Read until the chunk that says that there is no more, and no connection that just breaks."""
        while await self.line() != "0":
            pass


@contextlib.asynccontextmanager
async def trace(broker: Broker, query: str = "") -> AsyncIterator[tuple[int, Trace]]:
    """Follow the trace; its number, and what is to come."""
    assert broker.http_address is not None
    async with await anyio.connect_tcp(*broker.http_address) as stream:
        await stream.send(f"GET /console/api/trace{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        following = Trace(stream)
        assert await following.line() == "HTTP/1.1 200 "
        while line := await following.line():
            if line.startswith("content-type"):
                assert line == "content-type: text/event-stream; charset=utf-8"
        name, told = await following.event()
        assert name == "stream"
        yield told["number"], following


async def test_trace_is_live_and_explains_each_byte(tmp_path: Path) -> None:
    async with console(tmp_path) as (broker, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        untraced = broker.dispatcher
        async with trace(broker) as (stream, following):
            assert broker.dispatcher is not untraced
            await told(http, "topics")  # what the console asks itself is not shown
            await client.metadata(["t"])
            (_, request), (_, answer) = await following.event(), await following.event()
            assert (request["api"], request["is_request"], answer["is_request"]) == ("Metadata", True, False)
            assert request["correlation_id"] == answer["correlation_id"]
            assert request["client_id"] == "'pykbroker-client'"
        await until(lambda: broker.dispatcher is untraced)
        explained = await told(http, f"trace/{stream}/{request['number']}")  # still kept
        (frame,) = explained["buffers"]
        assert len(bytes.fromhex(frame["hex"])) == frame["bytes"] == request["bytes"]
        named = {row["name"]: row for row in explained["rows"] if row["value"] is not None}
        assert named["api_key"]["note"] == "Metadata"
        assert bytes.fromhex(frame["hex"])[named["name"]["start"] : named["name"]["end"]].endswith(b"t")
        leaves = [row for row in explained["rows"] if row["start"] < row["end"]]
        assert {at for row in leaves for at in range(row["start"], row["end"])} == set(range(frame["bytes"]))
        assert (await http.get("/console/api/trace/99/1")).status_code == 400


async def test_console_shows_its_own_requests_when_asked(tmp_path: Path) -> None:
    async with console(tmp_path) as (broker, _, http), trace(broker, "?own=true") as (_, following):
        await told(http, "cluster")
        while (await following.event())[1]["api"] != "Metadata":
            pass


async def test_traces_are_limited_and_a_closed_one_makes_room(tmp_path: Path) -> None:
    async with console(tmp_path, pykbroker_http_console_max_traces="1") as (broker, _, http):
        untraced = broker.dispatcher
        async with trace(broker):
            second = await http.get("/console/api/trace")
            assert (second.status_code, second.json()["error"]) == (503, "TOO_MANY_TRACES")
            assert (await http.head("/console/api/trace")).status_code == 200  # and ends
        await until(lambda: broker.dispatcher is untraced)
        async with trace(broker) as (stream, _):
            assert stream == 2


async def test_stop_ends_an_open_trace_at_once(tmp_path: Path) -> None:
    on = {"pykbroker_http_listener": "0", "pykbroker_http_console_enable": "true"}
    async with contextlib.AsyncExitStack() as stack:
        async with running(tmp_path, **on, pykbroker_http_timeout_ms="3600000") as broker:
            _, following = await stack.enter_async_context(trace(broker))
        await following.end()


async def test_browser_that_does_not_keep_up_is_told_what_it_lost(tmp_path: Path) -> None:
    async with console(tmp_path) as (broker, client, _):
        await create_topics(client, [NewTopic("t", 1, 1)])
        async with trace(broker) as (_, following):
            # The stream's task cannot run meanwhile: frames beyond its queue are lost.
            frame = TracedFrame(0, "c", "peer", Direction.REQUEST, -1, -1, bytes(MAX_QUEUED_BYTES // 2))
            assert isinstance(broker.dispatcher, TracingDispatcher)
            for _ in range(5):
                broker.dispatcher._frames.publish(frame)
            lost = 0
            while not lost:
                name, told_of = await following.event()
                lost = told_of["count"] if name == "lost" else 0
            assert lost == 4

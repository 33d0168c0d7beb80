"""The live trace over real HTTP: what comes, each byte of it, and when it ends."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest

from pykbroker.broker import Broker
from pykbroker.client.topics import NewTopic, create_topics
from pykbroker.study.tracing import Tracing
from pykbroker.web.console.frames import MAX_SHOWN_BYTES
from pykbroker.web.console.trace import MAX_QUEUED_FRAMES
from tests.support.running import running, until
from tests.web.test_console import console, json_of
from wire.study.exchanges import Direction, TracedFrame

pytestmark = pytest.mark.anyio


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
            await json_of(http, "topics")  # what the console asks itself is not shown
            await client.metadata(["t"])
            (_, request), (_, answer) = await following.event(), await following.event()
            assert (request["api"], request["is_request"], answer["is_request"]) == ("Metadata", True, False)
            assert request["correlation_id"] == answer["correlation_id"]
            assert request["client_id"] == "'pykbroker-client'"
        await until(lambda: broker.dispatcher is untraced)
        explained = await json_of(http, f"trace/{stream}/{request['number']}")  # still kept
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
        await json_of(http, "cluster")
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
            frame = TracedFrame(0, "c", "peer", Direction.REQUEST, -1, -1, b"*")
            for _ in range(MAX_QUEUED_FRAMES + 4):
                Tracing(broker).frames.publish(frame)
            lost = 0
            while not lost:
                name, told_of = await following.event()
                lost = told_of["count"] if name == "lost" else 0
            assert lost == 4


async def test_large_frame_is_shown_by_its_start(tmp_path: Path) -> None:
    async with console(tmp_path) as (broker, _, http), trace(broker) as (stream, following):
        frame = TracedFrame(0, "c", "peer", Direction.REQUEST, 0, 9, bytes.fromhex("00000009") + bytes(10_000_000))
        Tracing(broker).frames.publish(frame)
        _, told_of = await following.event()
        assert told_of["bytes"] == 10_000_004
        explained = await json_of(http, f"trace/{stream}/{told_of['number']}")
        (shown,) = explained["buffers"]
        assert (len(shown["hex"]) // 2, shown["bytes"]) == (MAX_SHOWN_BYTES, 10_000_004)

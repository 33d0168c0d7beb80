"""Traced frames in the worker: what is kept of them, and for how long."""

import json
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from pykbroker.web.console import frames as frame_pages
from pykbroker.web.console.api import json_endpoint
from pykbroker.web.console.frames import CLIENT_ID, FramePages, packed
from wire.frame import RequestHeader, encode_request
from wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from wire.study.exchanges import Direction, TracedFrame

pytestmark = pytest.mark.anyio

METADATA = 3


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def http() -> httpx.AsyncClient:
    made = FramePages()
    routes = [
        Route("/trace/{stream:int}", made.events, methods=["POST"]),
        Route("/trace/{stream:int}/{number:int}", json_endpoint(made.frame)),
    ]
    return httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=routes)), base_url="http://frames")


def request(*topics: str, client_id: str = "app", connection: str = "c-1") -> TracedFrame:
    asked = MetadataRequest([MetadataRequestTopic(name=topic) for topic in topics])
    data = encode_request(RequestHeader(METADATA, 9, 7, client_id), asked)[4:]
    return TracedFrame(1000, connection, "127.0.0.1:5000", Direction.REQUEST, METADATA, 9, data)


async def events(http: httpx.AsyncClient, *frames: TracedFrame, stream: int = 1, **query: str) -> list[Any]:
    response = await http.post(f"/trace/{stream}", params={"keep": str(stream), **query}, content=packed(frames))
    assert response.status_code == 200
    return [json.loads(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]


async def test_frames_arrive_as_they_were_sent(http: httpx.AsyncClient) -> None:
    first, second = await events(http, request("t"), request("a" * 200, "b"))
    assert (first["api"], first["version"], first["correlation_id"], first["is_request"]) == ("Metadata", 9, 7, True)
    assert (first["number"], second["number"]) == (1, 2)
    shown = (await http.get("/trace/1/2")).json()
    assert bytes.fromhex(shown["buffers"][0]["hex"]) == request("a" * 200, "b").data


async def test_requests_of_the_console_are_left_out_unless_asked_for(http: httpx.AsyncClient) -> None:
    own = request("t", client_id=CLIENT_ID, connection="c-2")
    answer = own._replace(direction=Direction.RESPONSE, data=bytes(8))
    assert [event["client_id"] for event in await events(http, own, request("t"), answer)] == ["'app'"]
    assert len(await events(http, own, answer, stream=2, own="true")) == 2


async def test_newest_frames_are_kept_up_to_a_number_and_a_size(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def kept(stream: int) -> list[int]:
        return [number for number in range(1, 7) if (await http.get(f"/trace/{stream}/{number}")).status_code == 200]

    monkeypatch.setattr(frame_pages, "MAX_KEPT_FRAMES", 3)
    await events(http, *[request("t")] * 5)
    assert await kept(1) == [3, 4, 5]
    monkeypatch.setattr(frame_pages, "MAX_KEPT_BYTES", 2 * len(request("t").data))
    await events(http, *[request("t")] * 5, stream=2, keep="1,2")
    assert await kept(2) == [4, 5]
    assert await kept(1) == [3, 4, 5]
    await events(http, stream=2, keep="2")  # the broker has dropped the other one
    assert await kept(1) == []


async def test_rows_and_bytes_of_a_large_frame_have_an_end(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_pages, "MAX_ROWS", 10)
    monkeypatch.setattr(frame_pages, "MAX_SHOWN_BYTES", 20)
    large = request(*[f"topic-{number}" for number in range(100)])
    await events(http, large)
    shown = (await http.get("/trace/1/1")).json()
    assert (len(shown["rows"]), shown["is_cut"]) == (10, True)
    (buffer,) = shown["buffers"]
    assert (len(buffer["hex"]) // 2, buffer["bytes"]) == (20, len(large.data))

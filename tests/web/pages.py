"""The console's pages in this process, over a real broker; what runs in the worker otherwise.

async with pages(tmp_path) as (broker, client, http):
    topics = await json_of(http, "topics")
"""

import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx

from pykbroker.broker import Broker
from pykbroker.client import Client
from pykbroker.client.producer import Producer
from pykbroker.web.console.pages import Pages, PageSettings
from tests.support.running import running


@contextlib.asynccontextmanager
async def pages_of(broker: Broker) -> AsyncIterator[httpx.AsyncClient]:
    """The pages as one who asks this broker has them."""
    host, port = broker.addresses[0]
    settings = PageSettings(host=host, port=port, node_id=broker.config.node_id, is_writable=True)
    async with (
        Pages(settings) as made,
        httpx.AsyncClient(transport=httpx.ASGITransport(made.app), base_url="http://pages/api/") as http,
    ):
        yield http


@contextlib.asynccontextmanager
async def pages(folder: Path, **properties: str) -> AsyncIterator[tuple[Broker, Client, httpx.AsyncClient]]:
    """A broker, a client of it, and one of the pages."""
    async with (
        running(folder, **properties) as broker,
        Client(broker.bootstrap) as client,
        pages_of(broker) as http,
    ):
        yield broker, client, http


async def json_of(http: httpx.AsyncClient, path: str, **query: str | int) -> Any:
    response = await http.get(path, params=query)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    return response.json()


async def send(client: Client, topic: str, *values: bytes | None, partition: int = 0, **more: Any) -> None:
    async with Producer(client) as producer:
        for value in values:
            await producer.send(topic, value, partition=partition, **more)


def bytes_of(shown: Any) -> bytes:
    return base64.b64decode(shown["base64"])

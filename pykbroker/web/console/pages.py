"""What the console answers, as an ASGI application: its routes, and the client that it asks by.

    async with Pages(PageSettings(host="127.0.0.1", port=9092, ...)) as pages:
        pages.app

Owns: the client, and by it a few connections to the cluster.
Not here: who may ask (guard), in which process this runs (worker), what is answered (cluster, records, groups, frames).
"""

from types import TracebackType

import attrs
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from pykbroker.client import Client, ClientSettings
from pykbroker.web.console.api import error_response, json_endpoint
from pykbroker.web.console.cluster import ClusterPages
from pykbroker.web.console.frames import CLIENT_ID, FramePages
from pykbroker.web.console.groups import GroupPages
from pykbroker.web.console.records import RecordPages

MAX_FETCH_BYTES = 1024 * 1024
MAX_DECOMPRESSED_BYTES = 64 * 1024 * 1024  # of a batch

# A page waits for all of this: rather say soon that somebody does not answer.
CLIENT_SETTINGS = ClientSettings(
    client_id=CLIENT_ID,
    request_timeout_ms=5000,
    default_api_timeout_ms=3000,
    socket_connection_setup_timeout_ms=2000,
    unknown_topic_timeout_ms=0,
    metadata_max_age_ms=5000,
    fetch_max_wait_ms=100,
    fetch_max_bytes=MAX_FETCH_BYTES,
    max_partition_fetch_bytes=MAX_FETCH_BYTES,
    max_decompressed_bytes=MAX_DECOMPRESSED_BYTES,
)


@attrs.frozen(kw_only=True)
class PageSettings:
    host: str  # where the broker is
    port: int
    node_id: int
    is_writable: bool


class Pages:
    def __init__(self, settings: PageSettings) -> None:
        self._client = client = Client([(settings.host, settings.port)], settings=CLIENT_SETTINGS)
        cluster = ClusterPages(client, is_writable=settings.is_writable, node_id=settings.node_id)
        records, groups, frames = RecordPages(client), GroupPages(client), FramePages()
        api = [
            Route("/cluster", json_endpoint(cluster.cluster)),
            Route("/brokers", json_endpoint(cluster.brokers)),
            Route("/topics", json_endpoint(cluster.topics)),
            Route("/topics/{topic}", json_endpoint(cluster.topic)),
            Route("/topics/{topic}/records", json_endpoint(records.browse), methods=["GET"]),
            Route("/topics/{topic}/records", json_endpoint(records.produce), methods=["POST"]),
            Route("/configs", json_endpoint(cluster.configs)),
            Route("/groups", json_endpoint(groups.groups)),
            Route("/group", json_endpoint(groups.group)),
            Route("/trace/{stream:int}/{number:int}", json_endpoint(frames.frame)),
            Route("/{rest:path}", _missing, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
        ]
        # What is not below /api no browser can ask.
        routes = [Mount("/api", routes=api), Route("/broker/trace/{stream:int}", frames.events, methods=["POST"])]
        self.app = Starlette(routes=routes)

    async def __aenter__(self) -> "Pages":
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.__aexit__(exc_type, exc, traceback)


async def _missing(request: Request) -> Response:
    return error_response(404, "NOT_FOUND", "There is nothing at this address.")

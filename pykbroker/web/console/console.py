"""The console put together: its routes, and the client that it asks by.

    async with Console(config, context, bootstrap, network) as console:
        app = Starlette(routes=console.routes())

Owns: the client, and by it a few connections, which are opened when somebody looks.
Not here: who may ask (guard), what is answered (cluster, records, groups, trace).
"""

from pathlib import Path
from types import TracebackType

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from pykbroker.client import Client, ClientSettings
from pykbroker.config import BrokerConfig
from pykbroker.peer import Network
from pykbroker.study.tracing import HasDispatcher
from pykbroker.web.console.api import answered, failure
from pykbroker.web.console.cluster import ClusterPages
from pykbroker.web.console.groups import GroupPages
from pykbroker.web.console.guard import Guard, is_api
from pykbroker.web.console.records import RecordPages
from pykbroker.web.console.trace import CLIENT_ID, TracePages

STATIC = Path(__file__).parent.parent / "static"
MAX_FETCH_BYTES = 1024 * 1024

# A page waits for all of this: rather say soon that somebody does not answer.
SETTINGS = ClientSettings(
    client_id=CLIENT_ID,
    request_timeout_ms=5000,
    default_api_timeout_ms=3000,
    socket_connection_setup_timeout_ms=2000,
    unknown_topic_timeout_ms=0,
    metadata_max_age_ms=5000,
    fetch_max_wait_ms=100,
    fetch_max_bytes=MAX_FETCH_BYTES,
    max_partition_fetch_bytes=MAX_FETCH_BYTES,
)


class Console:
    def __init__(
        self, config: BrokerConfig, broker: HasDispatcher, bootstrap: tuple[str, int], network: Network
    ) -> None:
        self._config = config
        self._client = Client([bootstrap], settings=SETTINGS, network=network)
        self._trace = TracePages(broker, config.pykbroker_http_console_max_traces)

    async def __aenter__(self) -> "Console":
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._client.__aexit__(exc_type, exc, traceback)

    def close_streams(self) -> None:
        """End what would not end by itself."""
        self._trace.close()

    def routes(self) -> list[BaseRoute]:
        cluster = ClusterPages(
            self._client,
            is_writable=self._config.pykbroker_http_console_write_enable,
            node_id=self._config.node_id,
        )
        records, groups, trace = RecordPages(self._client), GroupPages(self._client), self._trace
        rest = Route("/{rest:path}", _missing, methods=["GET", "POST", "PUT", "PATCH", "DELETE"])
        api: list[BaseRoute] = [
            Route("/cluster", answered(cluster.cluster)),
            Route("/brokers", answered(cluster.brokers)),
            Route("/topics", answered(cluster.topics)),
            Route("/topics/{topic}", answered(cluster.topic)),
            Route("/topics/{topic}/records", answered(records.browse), methods=["GET"]),
            Route("/topics/{topic}/records", answered(records.produce), methods=["POST"]),
            Route("/configs", answered(cluster.configs)),
            Route("/groups", answered(groups.groups)),
            Route("/group", answered(groups.group)),
            Route("/trace", trace.live),
            Route("/trace/{stream:int}/{number:int}", answered(trace.frame)),
            rest,
        ]
        pages: list[BaseRoute] = [
            Mount("/api", routes=api),
            Mount("/static", StaticFiles(directory=STATIC)),
            Route("/", _page),
            rest,
        ]
        return [
            Route("/", lambda request: RedirectResponse("/console/")),
            Mount("/console", routes=pages, middleware=[Middleware(Guard, self._config)]),
        ]


async def _page(request: Request) -> Response:
    return FileResponse(STATIC / "index.html")


async def _missing(request: Request) -> Response:
    if is_api(request.scope):
        return failure(404, "NO_SUCH_PAGE", "There is nothing at this address.")
    return FileResponse(STATIC / "missing.html", status_code=404)

"""HTTP for people and programs that look after a broker: Starlette on anycorn, in the broker's own task group.

    web = WebServer(listener, services, context=..., server=..., dispatcher=..., network=...)
    await web.start(tasks)      # serves
    await web.stop()

Owns: the HTTP server, the event loop's monitor, and the metering dispatcher.

Rules
- It is there only if `pykbroker.http.listener` is set; nothing of it is imported otherwise.
- Each feature is a module with `routes(...)`; which are served is decided here.
- There is no authentication: the address is of loopback unless somebody chose another.

Not here: HTTP (http_server), what is served (metrics, health, console), where it listens (config_tables/http_listener).
"""

import contextlib
from typing import TYPE_CHECKING, Any

from anyio.abc import TaskGroup, TaskStatus
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from pykbroker.handlers.context import Services
from pykbroker.peer import Network
from pykbroker.server.connection import ServerContext
from pykbroker.server.dispatch import Dispatcher
from pykbroker.server.listener import Listener, Server
from pykbroker.server.metering import MeteringDispatcher
from pykbroker.web import health, metrics
from pykbroker.web.end_offsets import EndOffsets
from pykbroker.web.http_server import HttpServer
from pykbroker.web.loop_monitor import LoopMonitor

if TYPE_CHECKING:  # they are imported where they are enabled
    from pykbroker.faults.control import Faults
    from pykbroker.web.console.console import Console


class WebServer:
    def __init__(
        self,
        listener: Listener,
        services: Services,
        *,
        context: ServerContext,
        server: Server,
        dispatcher: Dispatcher,
        network: Network,
        bootstrap: tuple[str, int],
        faults: "Faults | None" = None,
    ) -> None:
        """`dispatcher` is the one that calls the handlers, whatever is around it in `context`.

        `bootstrap` is where this broker itself is a client, for the console. `faults`: None where none can be ordered.
        """
        self._services = services
        self._loop = LoopMonitor(services.clock)
        self._end_offsets = EndOffsets(services.config, services.clock, services.cluster, network)
        metering = MeteringDispatcher(context.dispatcher, services)
        dispatcher.observe(metering.observe)
        context.dispatcher = metering
        context.new_outbox = metering.new_outbox
        for directory in services.log_dirs.directories:
            directory.observer = metering
        collector = metrics.BrokerCollector(services, metering, server, self._loop)
        routes: list[BaseRoute] = [
            *metrics.routes(metrics.Scrapes(collector, self._end_offsets, services.clock)),
            *health.routes(services, self._loop),
        ]
        if faults is not None:
            from pykbroker.web.faults import routes as of_faults

            routes += of_faults(faults, served_by=services.config.node_id)
        else:
            routes.append(Route("/faults{rest:path}", _refuse_faults, methods=["GET", "POST", "DELETE"]))
        self._console: Console | None = None
        if services.config.pykbroker_http_console_enable:
            from pykbroker.web.console import console

            self._console = console.Console(services.config, context, bootstrap)
            routes += self._console.routes()
        app: Any = Starlette(routes=routes, exception_handlers={Exception: self._on_bug})  # an ASGIFramework to anycorn
        self._http = HttpServer(
            app,
            listener,
            timeout_ms=services.config.pykbroker_http_timeout_ms,
            max_connections=services.config.pykbroker_http_max_connections,
        )

    async def start(self, tasks: TaskGroup) -> None:
        """Serve from now on."""
        await tasks.start(self._serve)

    async def stop(self) -> None:
        """Answer what was asked, and no more."""
        if self._console is not None:
            self._console.close_streams()
        await self._http.stop()

    async def _serve(self, *, task_status: TaskStatus[None]) -> None:
        self._loop.start()
        try:
            async with self._console or contextlib.nullcontext():
                await self._http.serve(task_status=task_status)
        finally:
            self._loop.stop()
            await self._end_offsets.aclose()

    async def _on_bug(self, request: Request, error: Exception) -> Response:
        """Answer for a bug of ours; anycorn logs it."""
        self._services.metrics.bugs_total += 1
        return PlainTextResponse("Internal Server Error", status_code=500)


async def _refuse_faults(request: Request) -> Response:
    return JSONResponse({"error": "faults are ordered only with pykbroker.http.faults.enable=true"}, 404)

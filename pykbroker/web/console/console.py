"""The console put together: its pages, and the API that its worker answers.

    async with Console(config, context, bootstrap) as console:
        app = Starlette(routes=console.routes())

Owns: the worker, and the streams of the trace.
Rules: the event loop passes on requests and responses; what they mean is the worker's.
Not here: who may ask (guard), what is answered (pages), the process that does it (worker).
"""

import contextlib
from pathlib import Path
from types import TracebackType

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from pykbroker.config import BrokerConfig
from pykbroker.study.tracing import HasDispatcher
from pykbroker.web.console.api import error_response
from pykbroker.web.console.guard import Guard
from pykbroker.web.console.trace import TracePages
from pykbroker.web.console.worker import Worker, WorkerError

STATIC = Path(__file__).parent.parent / "static"
MAX_BODY_BYTES = 2 * 1024 * 1024
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class Console:
    def __init__(self, config: BrokerConfig, broker: HasDispatcher, bootstrap: tuple[str, int]) -> None:
        self._config = config
        host, port = bootstrap
        self._worker = Worker(
            {
                "host": host,
                "port": port,
                "node_id": config.node_id,
                "is_writable": config.pykbroker_http_console_write_enable,
            }
        )
        self._trace = TracePages(broker, self._worker, config.pykbroker_http_console_max_traces)

    async def __aenter__(self) -> "Console":
        await self._worker.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._worker.__aexit__(exc_type, exc, traceback)

    def close_streams(self) -> None:
        """End what would not end by itself."""
        self._trace.close()

    def routes(self) -> list[BaseRoute]:
        pages: list[BaseRoute] = [
            Route("/api/trace", self._trace.live),
            Route("/api/{path:path}", self._ask_worker, methods=_METHODS),
            Mount("/static", StaticFiles(directory=STATIC)),
            Route("/", _page),
            Route("/{rest:path}", _missing, methods=_METHODS),
        ]
        return [
            Route("/", lambda request: RedirectResponse("/console/")),
            Mount("/console", routes=pages, middleware=[Middleware(Guard, self._config)]),
        ]

    async def _ask_worker(self, request: Request) -> Response:
        body = bytearray()
        async with contextlib.aclosing(request.stream()) as pieces:
            async for piece in pieces:
                body += piece
                if len(body) > MAX_BODY_BYTES:
                    return error_response(400, "BAD_REQUEST", f"The body has more than {MAX_BODY_BYTES} bytes.")
        method = "GET" if request.method == "HEAD" else request.method
        path = f"/api/{request.path_params['path']}"
        try:
            answer = await self._worker.ask(method, path, request.url.query, bytes(body))
        except WorkerError as error:
            return error_response(503, "NO_WORKER", f"The console does not answer: {error}.")
        if answer.status == 500:
            raise AssertionError("a bug in the console's worker; its log tells")
        return Response(answer.body, answer.status, media_type=answer.media_type)


async def _page(request: Request) -> Response:
    return FileResponse(STATIC / "index.html")


async def _missing(request: Request) -> Response:
    return FileResponse(STATIC / "missing.html", status_code=404)

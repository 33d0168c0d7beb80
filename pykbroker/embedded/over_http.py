"""An embedded cluster that tests of other languages get hold of by HTTP.

    async with AsyncCluster(brokers=3) as kafka, serving(kafka, "127.0.0.1:0") as address:
        ...

| request | |
|---|---|
| GET /cluster | `bootstrap`, the ids of the `brokers` that run, and how many `bugs` of their own they noticed |
| GET /readyz | 200, or 503 with what is wrong in `reasons` |
| /faults... | as pykbroker/web/faults, of all brokers together |

Rules: no broker serves this, so that each of them can be stopped.

Not here: the command for it (cli/testing).
"""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from pykbroker.config import BrokerConfig
from pykbroker.config_tables.http_listener import parse_http_listener
from pykbroker.embedded.cluster import AsyncCluster
from pykbroker.server.listener import Listener
from pykbroker.web import faults
from pykbroker.web.health import readiness
from pykbroker.web.http_server import HttpServer


@contextlib.asynccontextmanager
async def serving(kafka: AsyncCluster, where: str) -> AsyncIterator[tuple[str, int]]:
    """Serve in the body of a `with`, and yield the address. Raises: ListenError, ConfigError."""
    config = BrokerConfig.from_properties({})
    listener = Listener.bind("HTTP", *parse_http_listener(where), config)
    http = HttpServer(
        application(kafka),
        listener,
        timeout_ms=config.pykbroker_http_timeout_ms,
        max_connections=config.pykbroker_http_max_connections,
    )
    async with anyio.create_task_group() as tasks:
        await tasks.start(http.serve)
        yield listener.address
        kafka.faults.clear()  # nobody waits for them any more
        await http.stop()


def application(kafka: AsyncCluster) -> Any:  # Any: it is an ASGIFramework to anycorn
    async def tell_cluster(request: Request) -> Response:
        return faults.Answer({"bootstrap": kafka.bootstrap, "brokers": kafka.brokers, "bugs": kafka.bugs})

    async def tell_readiness(request: Request) -> Response:
        reasons = [
            f"broker {broker}: {reason}"
            for broker in kafka.brokers
            for reason in readiness(kafka.broker(broker).services).reasons
        ]
        if not kafka.brokers:
            reasons = ["no broker runs"]
        told = {"status": "not ready" if reasons else "ready", "reasons": reasons}
        return faults.Answer(told, 503 if reasons else 200)

    return Starlette(
        routes=[
            Route("/cluster", tell_cluster),
            Route("/readyz", tell_readiness),
            *faults.routes(kafka.faults),
        ]
    )

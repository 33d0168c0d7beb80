"""GET /metrics: what Prometheus scrapes.

Owns: the collectors, and what they need while they are there. Rules
- Families are built when somebody scrapes, from plain ints and the broker's state, and become text on the event loop,
  in steps of about MAX_STEP_MS: others have their turn in between, and nobody else wants the interpreter meanwhile, as
  a thread would. Only compressing is left to a thread, since that lets go of the interpreter.
- One scrape at a time; others wait, as many as there may be HTTP connections. Sending is nobody else's wait.

Not here: the families themselves (..._families), their text (exposition), the server (server).
"""

import zlib
from collections.abc import AsyncIterator, Iterable

import anyio
import anyio.lowlevel
import anyio.to_thread
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from pykbroker.clock import Clock
from pykbroker.handlers.context import Services
from pykbroker.server.listener import Server
from pykbroker.server.metering import MeteringDispatcher
from pykbroker.web.broker_families import BrokerFamilies
from pykbroker.web.coordinator_families import CoordinatorFamilies
from pykbroker.web.end_offsets import EndOffsets
from pykbroker.web.exposition import pieces
from pykbroker.web.families import PAUSE, Families, Family, labels
from pykbroker.web.group_families import Committed, EndOffsetOf, GroupFamilies
from pykbroker.web.log_families import LogFamilies
from pykbroker.web.loop_monitor import LoopMonitor
from pykbroker.web.replica_families import ReplicaFamilies
from pykbroker.web.request_families import RequestFamilies
from pykbroker.web.traffic import Traffic

MAX_STEP_MS = 1.0
SENT_BYTES = 128 * 1024  # that are compressed, and sent, at a time
_GZIP = 16 + zlib.MAX_WBITS


class BrokerCollector:
    """All families of one broker."""

    def __init__(self, services: Services, metering: MeteringDispatcher, server: Server, loop: LoopMonitor) -> None:
        self.groups = GroupFamilies(services)
        self.broker = BrokerFamilies(services)
        self._traffic = Traffic(services.cluster, services.replicas)
        self._replicas = ReplicaFamilies(services, self._traffic)
        self._logs = LogFamilies(services, metering.flush_us)
        self._requests = RequestFamilies(services, metering, server, loop)
        self._coordinators = CoordinatorFamilies(services)
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def collect(self, committed: Iterable[Committed], end_offset_of: EndOffsetOf) -> Families:
        for _ in self._traffic.settling():
            yield PAUSE
        yield from self._replicas.collect()
        yield from self._logs.collect()
        yield from self._requests.collect()
        yield from self.broker.collect()
        yield from self.groups.collect(committed, end_offset_of)
        yield from self._coordinators.collect()
        for metric in self._registry.collect():
            samples = [(sample.name, labels(sample.labels), sample.value) for sample in metric.samples]
            yield Family(metric.name, metric.documentation, metric.type, samples)


class Scrapes:
    def __init__(self, collector: BrokerCollector, end_offsets: EndOffsets, clock: Clock) -> None:
        self._collector = collector
        self._end_offsets = end_offsets
        self._clock = clock
        self._lock = anyio.Lock()

    async def answer(self, request: Request) -> Response:
        _, content_type = choose_encoder(request.headers.get("accept", ""))
        is_compressed = "gzip" in request.headers.get("accept-encoding", "")
        async with self._lock:
            parts = await self._parts(
                is_open_metrics=content_type.startswith("application/openmetrics"), is_compressed=is_compressed
            )
        headers = {"content-type": content_type, "vary": "accept-encoding", "content-length": str(sum(map(len, parts)))}
        if is_compressed:
            headers["content-encoding"] = "gzip"
        return StreamingResponse(_each(parts), headers=headers)

    async def _parts(self, *, is_open_metrics: bool, is_compressed: bool) -> list[bytes]:
        turns = _Turns(self._clock)
        await self._collector.broker.look_at_volumes()
        committed: list[Committed] = []
        for each in self._collector.groups.committed():
            committed += each
            await turns.pause()
        led_elsewhere = self._collector.groups.led_elsewhere(committed)
        known = await self._end_offsets.of(led_elsewhere, turns.pause)
        compressor = zlib.compressobj(1, zlib.DEFLATED, _GZIP)
        parts: list[bytes] = []
        text: list[str] = []
        size = 0
        for piece in pieces(self._collector.collect(committed, known.get), is_open_metrics=is_open_metrics):
            text.append(piece)
            size += len(piece)
            if size >= SENT_BYTES:
                parts.append("".join(text).encode())
                text, size = [], 0
                if is_compressed:
                    parts.append(await anyio.to_thread.run_sync(compressor.compress, parts.pop()))
            await turns.pause()
        parts.append("".join(text).encode())
        if is_compressed:
            parts.append(compressor.compress(parts.pop()) + compressor.flush())
        return parts


class _Turns:
    """Gives others a turn when the event loop was had for long enough."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began_ms = clock.monotonic_ms()

    async def pause(self) -> None:
        if self._clock.monotonic_ms() - self._began_ms >= MAX_STEP_MS:
            await anyio.lowlevel.checkpoint()
            self._began_ms = self._clock.monotonic_ms()


async def _each(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def routes(scrapes: Scrapes) -> list[BaseRoute]:
    return [Route("/metrics", scrapes.answer)]

"""GET /metrics: what Prometheus scrapes.

Owns: the collectors, and what they need while they are there. Rules
- Families are built when somebody scrapes, from plain ints and the broker's state, each in one go. They become text in
  a thread, a few at a time, so that others have their turn and the memory of all samples is never taken at once.
- One scrape at a time; others wait, as many as there may be HTTP connections.

Not here: the families themselves (..._families), the server (server).
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import anyio
import anyio.to_thread
from prometheus_client import CollectorRegistry, GCCollector, Metric, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pykbroker.handlers.context import Services
from pykbroker.server.listener import Server
from pykbroker.server.metering import MeteringDispatcher
from pykbroker.topic_partition import TopicPartition
from pykbroker.web.broker_families import BrokerFamilies
from pykbroker.web.end_offsets import EndOffsets
from pykbroker.web.group_families import GroupFamilies
from pykbroker.web.loop_monitor import LoopMonitor
from pykbroker.web.replica_families import ReplicaFamilies
from pykbroker.web.request_families import RequestFamilies
from pykbroker.web.traffic import Traffic

MAX_SAMPLES_AT_ONCE = 1000  # beyond that no further family is taken into the same step
_END = b"# EOF\n"


class BrokerCollector(Collector):
    """All families of one broker. `end_offsets` are those of partitions that others lead, as of the last scrape."""

    def __init__(
        self,
        services: Services,
        metering: MeteringDispatcher,
        server: Server,
        loop: LoopMonitor,
    ) -> None:
        self.end_offsets: dict[TopicPartition, int] = {}
        self.groups = GroupFamilies(services)
        self._traffic = Traffic(services.cluster, services.replicas)
        self._replicas = ReplicaFamilies(services, self._traffic)
        self._requests = RequestFamilies(services, metering, server, loop)
        self._broker = BrokerFamilies(services)

    def collect(self) -> Iterator[Metric]:
        self._traffic.settle()
        yield from self._replicas.collect()
        yield from self._requests.collect()
        yield from self._broker.collect()
        yield from self.groups.collect(self.end_offsets)


class Scrapes:
    def __init__(self, collector: BrokerCollector, end_offsets: EndOffsets) -> None:
        self._collector = collector
        self._end_offsets = end_offsets
        self._registry = CollectorRegistry()
        self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._lock = anyio.Lock()

    async def answer(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        async with self._lock:
            elsewhere = self._collector.groups.partitions_led_elsewhere()
            self._collector.end_offsets = await self._end_offsets.of(elsewhere)
            text = await self._text(encode)
        return Response(text, headers={"content-type": content_type})

    async def _text(self, encode: Callable[[Collector], bytes]) -> bytes:
        parts = []
        for families in _batches(self._registry.collect()):
            parts.append(await anyio.to_thread.run_sync(encode, _Collected(families)))
        # Each part of OpenMetrics says that it is the last.
        return b"".join(part.removesuffix(_END) for part in parts) + (_END if parts[-1].endswith(_END) else b"")


class _Collected(Collector):
    """Families that are there already, in the form that an encoder takes."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


def _batches(families: Iterable[Metric]) -> Iterator[list[Metric]]:
    batch: list[Metric] = []
    size = 0
    for family in families:
        batch.append(family)
        size += len(family.samples)
        if size > MAX_SAMPLES_AT_ONCE:
            yield batch
            batch, size = [], 0
    yield batch


def routes(scrapes: Scrapes) -> list[BaseRoute]:
    return [Route("/metrics", scrapes.answer)]

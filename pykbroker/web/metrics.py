"""GET /metrics: what Prometheus scrapes.

Owns: the collectors, and what they need while they are there. Rules
- Nothing is exported that was not asked for: families are built when somebody scrapes, from plain ints and the broker's
  state, a family at a time, and between two of them others have their turn. They become text in a thread.
- Scrapes that come while one is under way share the next one.

Not here: the families themselves (..._families), the server (server).
"""

from collections.abc import Iterator, Sequence

import anyio
import anyio.lowlevel
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


class _Collected(Collector):
    """Families that are there already, in the form that an encoder takes."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


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
        self._begun = 0  # how many were
        self._number = 0  # of the last that was completed
        self._families: list[Metric] = []

    async def families(self) -> Sequence[Metric]:
        """Return all families, as they are at some moment from now on."""
        wanted = self._begun + 1
        async with self._lock:
            if self._number < wanted:
                self._begun += 1
                elsewhere = self._collector.groups.partitions_led_elsewhere()
                self._collector.end_offsets = await self._end_offsets.of(elsewhere)
                families = []
                for family in self._registry.collect():
                    families.append(family)
                    await anyio.lowlevel.checkpoint()
                self._families, self._number = families, self._begun
            return self._families

    async def answer(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        families = await self.families()
        text = await anyio.to_thread.run_sync(encode, _Collected(families))
        return Response(text, headers={"content-type": content_type})


def routes(scrapes: Scrapes) -> list[BaseRoute]:
    return [Route("/metrics", scrapes.answer)]

"""What a broker tells by HTTP, as a program that asks sees it.

async with running(tmp_path, pykbroker_http_listener="0") as broker:
    scraped = await scrape(broker)
    scraped.value("kafka_log_log_size", topic="t", partition="0")
"""

from typing import Any

import attrs
import httpx
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from pykbroker.broker import Broker


@attrs.frozen
class Scraped:
    families: list[Metric]

    @property
    def samples(self) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
        found = [
            (sample.name, frozenset(sample.labels.items()), sample.value)
            for each in self.families
            for sample in each.samples
        ]
        assert len({(name, labels) for name, labels, _ in found}) == len(found), "a sample is there twice"
        return {(name, labels): value for name, labels, value in found}

    @property
    def names(self) -> set[str]:
        """All names that a query may use: of samples, and of gauges that have none now."""
        empty = {family.name for family in self.families if family.type == "gauge" and not family.samples}
        return {name for name, _ in self.samples} | empty

    def value(self, name: str, **labels: str) -> float:
        """The sample with just these labels."""
        return self.samples[name, frozenset(labels.items())]

    def has(self, name: str, **labels: str) -> bool:
        return (name, frozenset(labels.items())) in self.samples

    def values(self, name: str) -> dict[tuple[str, ...], float]:
        """All samples of a name, by the values of their labels in the order of the labels' names."""
        return {
            tuple(value for _, value in sorted(labels)): number
            for (sample, labels), number in self.samples.items()
            if sample == name
        }


def url(broker: Broker, path: str = "") -> str:
    assert broker.http_address is not None
    host, port = broker.http_address
    return f"http://{host}:{port}{path}"


def client_of(broker: Broker) -> httpx.AsyncClient:
    """Ask a broker, without TLS: to load the certificates for it would take longer than most tests."""
    return httpx.AsyncClient(trust_env=False, verify=False, base_url=url(broker), timeout=60)


async def get(broker: Broker, path: str, **headers: str) -> httpx.Response:
    async with client_of(broker) as client:
        return await client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


async def scrape(broker: Broker) -> Scraped:
    response = await get(broker, "/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return Scraped(list(text_string_to_metric_families(response.text)))


async def health(broker: Broker, path: str) -> tuple[int, dict[str, Any]]:
    response = await get(broker, path)
    body: dict[str, Any] = response.json()
    return response.status_code, body

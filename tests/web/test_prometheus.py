"""A real Prometheus scrapes two brokers, and answers what dashboards ask."""

import re
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cluster import cluster_of
from tests.support.prometheus import DEADLINE_S, JOB, NO_PROMETHEUS, PROMETHEUS, PROMTOOL, Prometheus
from tests.web.http import get, url
from tests.web.loads import load
from tests.web.test_dashboard import OPERATING, QUERIES, alerts, queries

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.parallel,
    pytest.mark.skipif(PROMETHEUS is None or PROMTOOL is None, reason=NO_PROMETHEUS),
]

# What promtool says of names that the JMX exporter's usual rules give Kafka's metrics, or kafka_exporter its own.
OF_KAFKAS_NAMES = (
    "metric names should not contain abbreviated units",
    'non-histogram and non-summary metrics should not have "_count" suffix',
    'non-histogram and non-summary metrics should not have "_sum" suffix',
)
OF_KAFKAS_LABELS = "label names should be written in 'snake_case' not 'camelCase'"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def filled_in(query: str) -> str:
    """Put values in the place of Grafana's variables; the query of a variable asks which values a label has."""
    query = re.sub(r"^\((\w+), (\w+)\)$", r"count by (\2) (\1)", query)
    return re.sub(r'"\$\w+"', '".+"', query.replace("$__rate_interval", "30s"))


def of_public_dashboards() -> Iterator[tuple[str, bool]]:
    """Yield each of the facts as a query, and whether it has an answer here."""
    for line in QUERIES.read_text().splitlines():
        if not line.startswith("#"):
            _, name, wanted, *reason = line.split("\t")
            labels = [label.partition("=") for label in wanted.split(",") if label != "-"]
            selector = ",".join(f'{label}="{value}"' if value else f'{label}!=""' for label, _, value in labels)
            yield f"{name}{{{selector}}}", not reason


async def test_every_query_of_dashboards_and_alerts_is_answered(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path, pykbroker_http_listener="0") as cluster:
        await load(cluster)
        targets = [url(broker).removeprefix("http://") for broker in cluster.brokers.values()]
        async with Prometheus.scraping(tmp_path, targets) as prometheus:
            await prometheus.until_found(f'count(up{{job="{JOB}"}} == 1) == {len(targets)}')
            asked = 0
            for query in queries():
                assert await prometheus.until_found(filled_in(query)), query
                asked += 1
            for query, has_answer in of_public_dashboards():
                assert bool(await prometheus.query(query)) == has_answer, query
                asked += 1
            for query in alerts():
                await prometheus.query(query)
                asked += 1
            assert asked > 140
            (lag,) = await prometheus.query('sum(kafka_consumergroup_lag{consumergroup="readers",topic="t"})')
            assert (
                lag["value"][1] == "4"
            )  # three records, a fourth in a transaction, its marker; the first is committed
            assert await prometheus.unhealthy() == []


async def test_promtool_finds_nothing_but_kafkas_own_names(tmp_path: Path) -> None:
    assert PROMTOOL is not None
    async with cluster_of(2, tmp_path, pykbroker_http_listener="0") as cluster:
        await load(cluster)
        text = (await get(cluster.brokers[1], "/metrics")).text
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    assert done.returncode in (0, 3), done.stderr  # 3: there is something that it does not like
    for finding in done.stderr.splitlines():
        name, _, complaint = finding.partition(" ")
        assert complaint == OF_KAFKAS_LABELS or (name.startswith("kafka_") and complaint in OF_KAFKAS_NAMES), finding


@pytest.mark.parametrize(("kind", "begins"), [("rules", "groups:"), ("config", "scrape_configs:")])
def test_promtool_accepts_what_the_documentation_says(tmp_path: Path, kind: str, begins: str) -> None:
    assert PROMTOOL is not None
    (block,) = re.findall(rf"(?m)^    {begins}\n(?:    .*\n|\n(?=    ))*", OPERATING.read_text())
    file = tmp_path / "file.yml"
    file.write_text(textwrap.dedent(block))
    done = subprocess.run(
        [PROMTOOL, "check", kind, str(file)], capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr

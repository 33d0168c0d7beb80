"""The dashboard and the alerts of the documentation name only metrics that there are."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client, create_topic, fetch_of, produce_of
from tests.support.running import running
from tests.web.http import scrape

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DASHBOARD = REPOSITORY / "docs" / "grafana" / "pykbroker.json"
OPERATING = REPOSITORY / "docs" / "OPERATING.md"
BY_PROMETHEUS = {"up"}
_NAME = re.compile(r"\b(?:kafka|pykbroker|process|python|up)(?:_[a-z_0-9]+)?\b")
_LABELS = re.compile(r"\{[^}]*\}|\bby \([^)]*\)|\"[^\"]*\"")


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    return found


def queries() -> Iterator[str]:
    for panel in dashboard()["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["definition"].removeprefix("label_values")


def alerts() -> list[str]:
    return [
        line.partition("expr:")[2].strip()
        for line in OPERATING.read_text().splitlines()
        if line.strip().startswith("expr:")
    ]


def names_in(query: str) -> set[str]:
    return set(_NAME.findall(_LABELS.sub("", query)))


def test_dashboard_is_what_the_script_writes() -> None:
    done = subprocess.run([sys.executable, REPOSITORY / "scripts" / "grafana_dashboard", "--check"], check=False)
    assert done.returncode == 0


def test_panels_have_names_of_their_own_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_every_query_names_only_metrics_that_there_are(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_topic(client, "t")
        await client.ask(produce_of("t", b"1"), 9)
        await client.ask(fetch_of("t"), 12)
        scraped = await scrape(broker)
    there = scraped.names | BY_PROMETHEUS
    all_queries = [*queries(), *alerts()]
    assert len(all_queries) > 60
    for query in all_queries:
        names = names_in(query)
        assert names, query
        assert names <= there, f"{query}: there is no {names - there}"
    assert names_in("sum(kafka_no_such_metric) / up") - there == {"kafka_no_such_metric"}


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_labels_in_queries_are_those_of_their_metrics(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_topic(client, "t")
        await client.ask(produce_of("t", b"1"), 9)
        await client.ask(fetch_of("t"), 12)
        samples = (await scrape(broker)).samples
    labels_of: dict[str, set[str]] = {}
    for name, labels in samples:
        labels_of.setdefault(name, {"instance"}).update(label for label, _ in labels)
    checked = 0
    for query in queries():
        for name, selector in re.findall(r"([a-z_0-9]+)\{([^}]*)\}", query):
            if name in labels_of:  # else there is no sample of it now
                assert set(re.findall(r"(\w+)=?[!=~]", selector)) <= labels_of[name], query
                checked += 1
    assert checked > 40

"""The dashboard and the alerts of the documentation name only metrics that there are, and so do those people have."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import pytest

from tests.support.cluster import cluster_of
from tests.web.http import scrape
from tests.web.loads import load

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DASHBOARD = REPOSITORY / "docs" / "grafana" / "pykbroker.json"
OPERATING = REPOSITORY / "docs" / "OPERATING.md"
QUERIES = REPOSITORY / "tests" / "data" / "dashboard_queries.tsv"
BY_PROMETHEUS = {"up"}
Samples: TypeAlias = dict[str, list[dict[str, str]]]
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


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    """What two brokers say together after some traffic: nothing is without samples."""

    async def collect() -> Samples:
        async with cluster_of(2, tmp_path_factory.mktemp("cluster"), pykbroker_http_listener="0") as cluster:
            await load(cluster)
            found: Samples = {}
            for broker in cluster.brokers.values():
                for name, labels in (await scrape(broker)).samples:
                    found.setdefault(name, []).append(dict(labels))
            return found

    return anyio.run(collect)


def test_every_query_names_only_metrics_that_there_are(samples: Samples) -> None:
    there = samples.keys() | BY_PROMETHEUS
    all_queries = [*queries(), *alerts()]
    assert len(all_queries) > 60
    for query in all_queries:
        names = names_in(query)
        assert names, query
        assert names <= there, f"{query}: there is no {names - there}"
    counter = "kafka_server_brokertopicmetrics_bytesin"
    missing = names_in(f"sum(kafka_no_such_metric) / rate({counter}[5m]) / up") - there
    assert missing == {"kafka_no_such_metric", counter}  # of a counter, `_total` is a part of the name


def test_labels_in_queries_are_those_of_their_metrics(samples: Samples) -> None:
    checked = 0
    for query in queries():
        for name, selector in re.findall(r"([a-z_0-9]+)\{([^}]*)\}", query):
            known = {"instance", *(label for labels in samples[name] for label in labels)}
            assert set(re.findall(r"(\w+)=?[!=~]", selector)) <= known, query
            checked += 1
    assert checked > 45


def test_dashboards_that_people_have_find_what_they_ask_for(samples: Samples) -> None:
    """Each of their queries is answered, with its labels, or is on the list with a reason, and then really absent."""
    answered = absent = 0
    for line in QUERIES.read_text().splitlines():
        if line.startswith("#"):
            continue
        _, name, wanted, *reason = line.split("\t")
        if reason:
            assert name not in samples, f"{name} is there after all"
            absent += 1
            continue
        pairs = [label.partition("=") for label in wanted.split(",") if label != "-"]
        assert any(
            all(label in labels and value in ("", labels[label]) for label, _, value in pairs)
            for labels in samples.get(name, [])
        ), line
        answered += 1
    assert answered > 70
    assert absent < 15

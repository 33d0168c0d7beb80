"""The text of families: what parsers read out of it, and that it comes in pieces."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from pykbroker.histogram import Histogram
from pykbroker.web.exposition import MAX_SAMPLES, pieces
from pykbroker.web.families import PAUSE, Families, counter, gauge, labels, partition_labels, summary
from tests.support.client import Client, create_topic
from tests.support.running import running
from tests.web.http import get

HOSTILE = 'a "quoted" \\ name\nin two lines'


def families() -> Families:
    histogram = Histogram(0)
    histogram.record(3000)
    yield counter("requests_total", "A counter\nin two lines.", [(labels(group=HOSTILE), 2**53 + 1)])
    yield PAUSE
    yield gauge("depth", "Nothing of it.", [])
    yield gauge("ratio", "A part.", 0.25)
    yield summary("time", "Times.", [("", histogram), (labels(request="Fetch"), histogram)], now_ms=0, unit=1000)


@pytest.mark.parametrize("is_open_metrics", [False, True])
def test_parsers_read_what_was_written(is_open_metrics: bool) -> None:
    text = "".join(pieces(families(), is_open_metrics=is_open_metrics))
    parse = parse_open_metrics if is_open_metrics else parse_text
    found = {family.name: family for family in parse(text)}
    assert {name: family.type for name, family in found.items()} == {
        "requests": "counter",
        "depth": "gauge",
        "ratio": "gauge",
        "time": "summary",
    }
    (requests,) = found["requests"].samples
    assert (requests.name, requests.labels) == ("requests_total", {"group": HOSTILE})
    assert f"}} {2**53 + 1}\n" in text  # as it is, and no float
    assert found["depth"].samples == []
    assert found["ratio"].samples[0].value == 0.25
    count = [sample for sample in found["time"].samples if sample.name == "time_count"]
    assert [(sample.labels, sample.value) for sample in count] == [({}, 1), ({"request": "Fetch"}, 1)]


def test_large_family_comes_in_pieces_under_one_head() -> None:
    read = 0

    def samples() -> Iterator[tuple[str, int]]:
        nonlocal read
        for index in range(2 * MAX_SAMPLES + 1):
            read += 1
            yield partition_labels("t", index), index

    text = pieces(iter([gauge("size", "Sizes.", samples())]), is_open_metrics=False)
    first = next(text)
    assert read == MAX_SAMPLES  # others have their turn before the next ones are looked at
    rest = list(text)
    assert [piece.count("\n") for piece in (first, *rest)] == [MAX_SAMPLES + 2, MAX_SAMPLES, 1]
    assert first.startswith("# HELP size Sizes.\n# TYPE size gauge\nsize{")
    assert len(next(parse_text("".join([first, *rest]))).samples) == 2 * MAX_SAMPLES + 1


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_whoever_takes_gzip_gets_it(tmp_path: Path) -> None:
    async with running(tmp_path, pykbroker_http_listener="0") as broker, Client.connect(broker) as client:
        await create_topic(client, "t", partitions=400)  # more than is sent at a time
        plain = await get(broker, "/metrics", accept_encoding="identity")
        packed = await get(broker, "/metrics", accept_encoding="gzip")
    assert "content-encoding" not in plain.headers
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 5 == len(plain.content) / 5
    assert packed.text.count("kafka_log_log_size{") == plain.text.count("kafka_log_log_size{") == 400

"""Metric families, as all that export some write them down: samples are read only while the text is made.

    yield gauge("kafka_log_log_size", "Bytes of a log.", ((labels(topic=..., partition=...), size) for ...))

Rules: labels are text already, `name="value",…`, since most of them are used in many families; who builds something
long before its families yields PAUSE, so that others have their turn.

Not here: the text (exposition).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from pykbroker.histogram import Histogram

Labels: TypeAlias = str
Value: TypeAlias = int | float
Samples: TypeAlias = Iterable[tuple[Labels, Value]]

NO_LABELS: Labels = ""
PAUSE = None
# Those of Kafka's histograms, as the exporter's rules write them: "0." and what stands before "thPercentile".
QUANTILES = {"0.50": 0.5, "0.75": 0.75, "0.95": 0.95, "0.98": 0.98, "0.99": 0.99, "0.999": 0.999}
_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})


class Family(NamedTuple):
    name: str  # of a counter without its `_total`
    documentation: str
    kind: str
    samples: Iterable[tuple[str, Labels, Value]]  # each with its own name


Families: TypeAlias = Iterator[Family | None]  # None: PAUSE


def labels(values: Mapping[str, object] | None = None, /, **more: object) -> Labels:
    """Write labels down; what the broker did not choose is escaped."""
    named = {**(values or {}), **more}
    return ",".join(f'{name}="{str(value).translate(_ESCAPES)}"' for name, value in named.items())


def partition_labels(topic: str, index: int) -> Labels:
    """The same for names that have been checked."""
    return f'topic="{topic}",partition="{index}"'


def gauge(name: str, documentation: str, samples: Samples | Value) -> Family:
    return Family(name, documentation, "gauge", _named(name, samples))


def counter(name: str, documentation: str, samples: Samples | Value) -> Family:
    """`name` ends in `_total`."""
    return Family(name.removesuffix("_total"), documentation, "counter", _named(name, samples))


def summary(
    name: str, documentation: str, samples: Iterable[tuple[Labels, Histogram]], *, now_ms: float, unit: float = 1
) -> Family:
    """One value of the histograms is `1 / unit` of what the name says."""

    def written() -> Iterator[tuple[str, Labels, Value]]:
        for of, histogram in samples:
            before = f"{of}," if of else ""
            values = histogram.quantiles(QUANTILES.values(), now_ms)
            for quantile, value in zip(QUANTILES, values, strict=True):
                yield name, f'{before}quantile="{quantile}"', value / unit
            yield f"{name}_sum", of, histogram.sum / unit
            yield f"{name}_count", of, histogram.count

    return Family(name, documentation, "summary", written())


def zeros(name: str, documentation: str, counts: Iterable[tuple[Labels, int]]) -> Family:
    """A summary of what happens so many times, and never takes any time."""

    def written() -> Iterator[tuple[str, Labels, Value]]:
        for of, count in counts:
            for quantile in QUANTILES:
                yield name, f'{of},quantile="{quantile}"', 0
            yield f"{name}_sum", of, 0
            yield f"{name}_count", of, count

    return Family(name, documentation, "summary", written())


def _named(name: str, samples: Samples | Value) -> Iterator[tuple[str, Labels, Value]]:
    if isinstance(samples, int | float):
        yield name, NO_LABELS, samples
        return
    for of, value in samples:
        yield name, of, value

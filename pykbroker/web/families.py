"""How metric families are written down, for all that export some."""

from collections.abc import Iterable, Mapping, Sequence

from prometheus_client import Metric

from pykbroker.histogram import Histogram

Labels = Mapping[str, str]
Samples = Iterable[tuple[Labels, float]]

NO_LABELS: Labels = {}
# Those of Kafka's histograms, as the exporter's rules write them: "0." and what stands before "thPercentile".
QUANTILES = {"0.50": 0.5, "0.75": 0.75, "0.95": 0.95, "0.98": 0.98, "0.99": 0.99, "0.999": 0.999}


def gauge(name: str, documentation: str, samples: Samples | float) -> Metric:
    return _family(name, documentation, "gauge", name, samples)


def counter(name: str, documentation: str, samples: Samples | float) -> Metric:
    """`name` ends in `_total`."""
    return _family(name.removesuffix("_total"), documentation, "counter", name, samples)


def summary(
    name: str, documentation: str, samples: Iterable[tuple[Labels, Histogram]], *, now_ms: float, unit: float = 1
) -> Metric:
    """One value of the histograms is `1 / unit` of what the name says."""
    family = Metric(name, documentation, "summary")
    for labels, histogram in samples:
        for quantile, value in zip(QUANTILES, histogram.quantiles(QUANTILES.values(), now_ms), strict=True):
            family.add_sample(name, {**labels, "quantile": quantile}, value / unit)
        family.add_sample(f"{name}_sum", dict(labels), histogram.sum / unit)
        family.add_sample(f"{name}_count", dict(labels), histogram.count)
    return family


def partition_labels(partitions: Iterable[tuple[str, int]]) -> Sequence[Labels]:
    """Make the labels of each partition once; families may share them."""
    return [{"topic": topic, "partition": str(index)} for topic, index in partitions]


def _family(name: str, documentation: str, kind: str, sample_name: str, samples: Samples | float) -> Metric:
    family = Metric(name, documentation, kind)
    if isinstance(samples, int | float):
        samples = ((NO_LABELS, samples),)
    for labels, value in samples:
        family.add_sample(sample_name, labels, value)  # type: ignore[arg-type]  # nobody changes them
    return family

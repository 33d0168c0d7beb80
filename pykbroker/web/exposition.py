"""The text that Prometheus reads, and OpenMetrics, in pieces.

Rules
- A piece has at most MAX_SAMPLES of a family, so that between two of them others can have their turn. It costs a
  microsecond a sample: a thread that did this would disturb the event loop more than the loop's doing it.
- Whole numbers stay whole numbers.

Not here: what there is to say (families), gzip and HTTP (metrics). Sources: Prometheus' exposition formats,
OpenMetrics 1.0.
"""

import itertools
import math
from collections.abc import Iterator

from pykbroker.web.families import Families, Family, Value

MAX_SAMPLES = 500
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


def pieces(families: Families, *, is_open_metrics: bool) -> Iterator[str]:
    """Yield the text; empty pieces where a family took its time before there was any."""
    for family in families:
        if family is None:
            yield ""
            continue
        yield from _of_family(family, is_open_metrics=is_open_metrics)
    if is_open_metrics:
        yield "# EOF\n"


def _of_family(family: Family, *, is_open_metrics: bool) -> Iterator[str]:
    name = family.name
    if family.kind == "counter" and not is_open_metrics:
        name += "_total"
    documentation = family.documentation.translate(_HELP_ESCAPES)
    head = f"# HELP {name} {documentation}\n# TYPE {name} {family.kind}\n"
    samples = iter(family.samples)
    while True:
        lines = [
            f"{sample}{{{labels}}} {_text(value)}\n" if labels else f"{sample} {_text(value)}\n"
            for sample, labels, value in itertools.islice(samples, MAX_SAMPLES)
        ]
        if head or lines:
            yield head + "".join(lines)
        if len(lines) < MAX_SAMPLES:
            return
        head = ""


def _text(value: Value) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value)

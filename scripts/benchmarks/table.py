"""The rows of the result, the bars that this broker must hold, and the markdown table.

Owns: ROWS and CLUSTER_ROWS, the only places where bars are written: those of one broker, and those of a cluster.
Rules: a ratio is ours divided by Apache Kafka's, whichever way is better. A bar is on the ratio or, for memory that
is added, on our value.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from statistics import median

from attrs import evolve, field, frozen


class Unit(enum.StrEnum):
    RECORDS = "records/s"
    REQUESTS = "requests/s"
    TRANSACTIONS = "transactions/s"
    MB_PER_S = "MB/s"
    MICROSECONDS = "µs"
    SECONDS = "s"
    MB = "MB"


class Bound(enum.Enum):
    RATIO_AT_LEAST = "ratio ≥"
    RATIO_AT_MOST = "ratio ≤"
    OURS_AT_MOST = "ours ≤"


@frozen
class Bar:
    bound: Bound
    value: float
    text: str = ""  # the value as it is said, where it is a fraction

    def holds(self, ours: float, kafka: float) -> bool:
        if self.bound is Bound.OURS_AT_MOST:
            return ours <= self.value
        ratio = ours / kafka
        return ratio >= self.value if self.bound is Bound.RATIO_AT_LEAST else ratio <= self.value

    def __str__(self) -> str:
        return f"{self.bound.value} {self.text or f'{self.value:g}'}"


@frozen
class Row:
    key: str
    title: str
    unit: Unit
    bar: Bar | None = None


def _at_least(ratio: float) -> Bar:
    return Bar(Bound.RATIO_AT_LEAST, ratio)


def _at_most(ratio: float, text: str = "") -> Bar:
    return Bar(Bound.RATIO_AT_MOST, ratio, text)


def _ours(value: float) -> Bar:
    return Bar(Bound.OURS_AT_MOST, value)


ROWS = (
    Row("librdkafka-produce-100", "librdkafka produce, 100 B", Unit.RECORDS, _at_least(1.4)),
    Row("librdkafka-produce-1k", "librdkafka produce, 1 KB", Unit.RECORDS, _at_least(1.4)),
    Row("librdkafka-consume-100", "librdkafka consume, 100 B", Unit.RECORDS, _at_least(1.0)),
    Row("librdkafka-consume-1k", "librdkafka consume, 1 KB", Unit.RECORDS, _at_least(1.0)),
    Row("transactions", "librdkafka, transactions of 100 records, 32 producers", Unit.TRANSACTIONS, _at_least(1.0)),
    Row("transactions-1", "the same with 1 producer (its own timers set the pace)", Unit.TRANSACTIONS),
    Row("produce-1m", "raw produce, 1 MB batches, 8 in flight", Unit.MB_PER_S, _at_least(2)),
    Row("produce-16k", "raw produce, 16 KB batches, 64 in flight", Unit.MB_PER_S, _at_least(3.5)),
    Row("produce-16k-4", "the same on 4 connections", Unit.MB_PER_S),
    Row("produce-single", "raw produce, single-record requests, 64 in flight", Unit.REQUESTS, _at_least(8)),
    Row("produce-single-4", "the same on 4 connections", Unit.REQUESTS),
    Row("fetch-1m", "raw fetch, 1 MB, 4 in flight", Unit.MB_PER_S, _at_least(1.5)),
    Row("produce-latency-p50", "synchronous produce, p50", Unit.MICROSECONDS, _at_most(0.5)),
    Row("produce-latency-p99", "synchronous produce, p99", Unit.MICROSECONDS, _at_most(0.7)),
    Row("end-to-end-p50", "produce to a waiting fetch, p50", Unit.MICROSECONDS, _at_most(0.75)),
    Row("end-to-end-p99", "produce to a waiting fetch, p99", Unit.MICROSECONDS),
    Row("start", "start to first Metadata answer", Unit.SECONDS, _at_most(1 / 20, "1/20")),
    Row("start-empty", "the same from an empty folder (Kafka formats it first)", Unit.SECONDS),
    Row("start-again", "the same, started again", Unit.SECONDS),
    Row("memory-idle", "memory, idle", Unit.MB, _at_most(1 / 6, "1/6")),
    Row("memory-idle-pss", "memory, idle, proportional (PSS)", Unit.MB),
    Row("memory-connections", "memory that 1,000 idle connections add", Unit.MB, _ours(10)),
    Row("memory-partitions", "memory that 10,000 partitions add", Unit.MB, _ours(100)),
    Row("memory-loaded", "memory after the load", Unit.MB),
)
_CLUSTER_BARS = {
    "librdkafka-produce-100": _at_least(1.0),
    "librdkafka-produce-1k": _at_least(1.0),
    "produce-latency-p99": _at_most(1.0),
}
CLUSTER_ROWS = (
    *(evolve(row, bar=_CLUSTER_BARS.get(row.key)) for row in ROWS),
    Row("failover-kill", "longest gap between acknowledgements, leader killed", Unit.SECONDS, _at_most(0.3)),
    Row("failover-stop", "the same, leader stopped", Unit.SECONDS),
)


@frozen
class Results:
    """All values measured: by row, those of each broker in the order of the rounds.

    A case that failed has no values but an entry in `failures`.
    """

    ours: Mapping[str, Sequence[float]]
    kafka: Mapping[str, Sequence[float]]
    sink: Mapping[str, Sequence[float]]
    failures: Sequence[str] = field(factory=list)
    table: Sequence[Row] = ROWS

    def rows(self) -> list[Row]:
        return [row for row in self.table if row.key in self.ours or row.key in self.kafka]

    def missed(self) -> list[str]:
        """Return a line per bar that is not held, and per measurement that failed."""
        lines = [f"failed: {failure}" for failure in self.failures]
        for row in self.rows():
            if row.bar is None or row.key not in self.ours:
                continue
            ours = median(self.ours[row.key])
            if row.bar.bound is not Bound.OURS_AT_MOST and row.key not in self.kafka:
                continue
            kafka = median(self.kafka.get(row.key, [1.0]))
            if not row.bar.holds(ours, kafka):
                lines.append(
                    f"missed: {row.title}: {_shown(ours)} against {_shown(kafka)} {row.unit}, must be {row.bar}"
                )
        return lines

    def markdown(self, kafka_name: str) -> str:
        with_sink = bool(self.sink)
        heads = ["case", "unit", "pykbroker", kafka_name, "ratio", "bar", ""]
        lines = [heads + (["no broker"] if with_sink else [])]
        for row in self.rows():
            ours, kafka = _median(self.ours, row.key), _median(self.kafka, row.key)
            both = ours is not None and kafka is not None
            ratio = ours / kafka if ours is not None and kafka else None
            verdict = ""
            if row.bar is not None and ours is not None and (both or row.bar.bound is Bound.OURS_AT_MOST):
                verdict = "ok" if row.bar.holds(ours, kafka or 1.0) else "**missed**"
            cells = [row.title, row.unit.value, _shown(ours), _shown(kafka), "-" if ratio is None else f"{ratio:.3g}"]
            cells += [str(row.bar) if row.bar else "", verdict]
            lines.append(cells + ([_shown(_median(self.sink, row.key))] if with_sink else []))
        aligned = ["---", "---", "---:", "---:", "---:", "---", "---"] + (["---:"] if with_sink else [])
        table = [lines[0], aligned, *lines[1:]]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def _median(values: Mapping[str, Sequence[float]], key: str) -> float | None:
    return median(values[key]) if values.get(key) else None


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"

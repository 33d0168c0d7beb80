"""Read everything back after a crash and hold it against what was acknowledged.

Rules
- Each partition's offsets go from 0 to its end without a gap, as a consumer sees them.
- Of each round, a partition holds the first so many values that were sent to it, in order, each once: a prefix.
- Each acknowledged record is at its acknowledged offset. The broker's segment files come to the same end offset.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from crash.load import value_of
from crash.segments import check_partition

CONSUME_TIMEOUT_S = 60.0


def read_back(bootstrap: str, topic: str, partitions: int) -> tuple[dict[int, list[bytes]], list[str]]:
    """Return the values of each partition by offset, and what was wrong with the offsets."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "read-back",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "check.crcs": True,
        }
    )
    complaints: list[str] = []
    found: dict[int, list[bytes]] = {partition: [] for partition in range(partitions)}
    try:
        ends = {}
        for partition in found:
            low, ends[partition] = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            if low:
                complaints.append(f"partition {partition} starts at {low}")
        consumer.assign([TopicPartition(topic, partition, 0) for partition in found])
        deadline = time.monotonic() + CONSUME_TIMEOUT_S
        while any(len(found[partition]) < end for partition, end in ends.items()):
            if time.monotonic() > deadline:
                complaints.append(f"read {[len(values) for values in found.values()]} of {list(ends.values())} records")
                break
            for message in consumer.consume(10_000, timeout=1.0):
                if message.error() is not None:
                    complaints.append(f"the consumer got {message.error()}")
                    deadline = 0.0
                    continue
                number, value = message.partition(), message.value()
                assert number is not None
                assert value is not None
                values = found[number]
                if message.offset() != len(values):
                    complaints.append(f"partition {number}: offset {message.offset()} where {len(values)} is due")
                values.append(value)
    finally:
        consumer.close()
    return found, complaints


def compare(found: Mapping[int, list[bytes]], acknowledged: Mapping[tuple[int, int], bytes]) -> list[str]:
    """Return what is wrong with the values that were read."""
    complaints = []
    for (partition, offset), value in acknowledged.items():
        values = found[partition]
        if offset >= len(values):
            complaints.append(
                f"lost: offset {offset} of partition {partition} was acknowledged, the log ends at {len(values)}"
            )
        elif values[offset] != value:
            complaints.append(
                f"offset {offset} of partition {partition} holds {values[offset][:20]!r}, not {value[:20]!r}"
            )
    for partition, values in found.items():
        complaints += _check_prefixes(partition, values)
    return complaints


def _check_prefixes(partition: int, values: list[bytes]) -> list[str]:
    expected: dict[int, int] = {}
    for offset, value in enumerate(values):
        round_number = int(value.split(b"/", 1)[0])
        number = expected.get(round_number, 0)
        if value != value_of(round_number, partition, number):
            return [f"offset {offset} of partition {partition} holds {value[:20]!r} where number {number} is due"]
        expected[round_number] = number + 1
    return []


def compare_files(data_dir: Path, topic: str, found: Mapping[int, list[bytes]]) -> list[str]:
    """Return what is wrong with the segment files, and where they end elsewhere than the consumer did."""
    complaints = []
    for partition, values in found.items():
        end_offset, wrong = check_partition(data_dir / f"{topic}-{partition}")
        complaints += [f"{topic}-{partition}/{line}" for line in wrong]
        if end_offset != len(values):
            complaints.append(f"the files of partition {partition} end at {end_offset}, the consumer at {len(values)}")
    return complaints

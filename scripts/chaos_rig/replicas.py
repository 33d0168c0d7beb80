"""Compare the replicas of a partition as they lie on disk: up to the high watermark they are the same bytes.

Format: the batches of a partition, one after the other, wherever one segment ends and the next begins; replicas roll
    their segments at different places.
Rules: only batches that end below the high watermark count. Every byte of such a batch is compared, its leader epoch
    too. The parser shares nothing with the broker.
Not here: checksums and offsets without gaps (crash/segments.py).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path

from support.frames import BATCH_HEADER, BATCH_OVERHEAD


def batches_of(directory: Path, high_watermark: int) -> Iterator[tuple[int, bytes]]:
    """Yield the base offset and the bytes of each batch below the high watermark; a torn end yields nothing."""
    for path in sorted(directory.glob("*.log")):
        with path.open("rb") as file:
            while len(head := file.read(BATCH_HEADER.size)) == BATCH_HEADER.size:
                base_offset, length, _, _, _, _, last_offset_delta, *_ = BATCH_HEADER.unpack(head)
                rest = BATCH_OVERHEAD + length - BATCH_HEADER.size
                if rest < 0 or base_offset + last_offset_delta >= high_watermark:
                    break
                batch = head + file.read(rest)
                if len(batch) < BATCH_OVERHEAD + length:
                    break
                yield base_offset, batch


def compare_replicas(directories: Mapping[int, Path], high_watermark: int) -> list[str]:
    """Return where the replicas of a partition differ, given each broker's directory of it: at the first place only."""
    brokers = list(directories)
    offset = 0
    for found in zip_longest(*(batches_of(directories[broker], high_watermark) for broker in brokers)):
        missing = [broker for broker, batch in zip(brokers, found, strict=True) if batch is None]
        if missing:
            return [f"the log of broker(s) {missing} ends at {offset}, below the high watermark {high_watermark}"]
        first = found[0]
        for broker, batch in zip(brokers[1:], found[1:], strict=True):
            if batch != first:
                return [
                    f"brokers {brokers[0]} and {broker} differ at offset {first[0]}: {_difference(first[1], batch[1])}"
                ]
        offset = first[0] + struct.unpack_from(">i", first[1], 23)[0] + 1
    if offset != high_watermark:
        return [f"the logs end at {offset}, the high watermark is {high_watermark}"]
    return []


def _difference(first: bytes, second: bytes) -> str:
    if len(first) != len(second):
        return f"a batch of {len(first)} bytes and one of {len(second)}"
    at = next(i for i, (one, other) in enumerate(zip(first, second, strict=True)) if one != other)
    return f"byte {at} of a batch of {len(first)} bytes is {first[at]:#04x} and {second[at]:#04x}"

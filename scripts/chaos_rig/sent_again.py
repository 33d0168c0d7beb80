"""Duplicates that are a client's doing: it wrote a record again under a later epoch.

When a broker refuses a request because it refused an earlier one of that partition, librdkafka raises its producer
epoch and begins anew in all partitions. What it had sent to the others and heard nothing of may be there already, and
is then there twice. Apache Kafka's brokers answer the same, and it was found with them: librdkafka's issue 4953.
Rules: both copies are of one producer id, the later one of a higher epoch; and librdkafka's log (`debug=eos`) says of
    each epoch that it raised that an earlier request was the reason. A broker that forgot what it had would make it do
    the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from support.frames import BATCH_HEADER

from chaos_rig.history import Anomaly, Violation
from chaos_rig.replicas import batches_of

REFUSED_SEQUENCE, CAUSE = " ERRSEQ ", "caused by previous failed request"  # in librdkafka's log


def raised_epochs(logs: Sequence[Path]) -> list[str]:
    """Return what librdkafka's logs say of requests that were refused for their sequence."""
    return [
        line.rstrip()
        for path in logs
        for line in path.read_text(errors="replace").splitlines()
        if REFUSED_SEQUENCE in line
    ]


def sent_again(
    found: Sequence[Violation], directories: Mapping[int, Path], ends: Mapping[int, int], reasons: Sequence[str]
) -> list[Violation]:
    """Return those of `found` that are a client's doing, given a replica and the high watermark of each partition, and
    why clients raised their epochs.
    """
    if not reasons or any(CAUSE not in reason for reason in reasons):
        return []
    again = []
    for violation in found:
        if violation.anomaly is Anomaly.DUPLICATE:
            directory, end = directories[violation.partition], ends[violation.partition]
            first, second = (_producer_at(directory, end, at) for at in (violation.before, violation.offset))
            if first[0] == second[0] >= 0 and first[1] < second[1]:
                again.append(violation)
    return again


def _producer_at(directory: Path, high_watermark: int, offset: int) -> tuple[int, int]:
    """Return the producer id and epoch of the batch that holds an offset; (-1, -1) where there is none."""
    for base_offset, batch in batches_of(directory, high_watermark):
        _, _, _, _, _, _, last_offset_delta, _, _, producer_id, producer_epoch, *_ = BATCH_HEADER.unpack_from(batch)
        if base_offset <= offset <= base_offset + last_offset_delta:
            return producer_id, producer_epoch
    return -1, -1

"""What a fetch brings of a partition, and the records in it that a consumer sees.

Rules
- With read_committed, batches of aborted transactions are left out: those of the listed producers, from the listed
  offset to the producer's abort marker. Control batches are always left out.
- A batch's CRC is checked before its records are read.

Not here: fetching (consumer). Sources: KIP-98 (aborted transactions).
"""

from collections.abc import Iterator
from typing import NamedTuple

import attrs

from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode
from wire.records import (
    BatchHeader,
    ControlType,
    TimestampType,
    batch_crc,
    iter_batches,
    iter_records,
    read_end_txn_marker,
    read_records,
)


class ConsumedRecord(NamedTuple):
    topic: str
    partition: int
    offset: int
    timestamp: int  # -1: none
    timestamp_type: TimestampType
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    leader_epoch: int
    producer_id: int  # -1: none
    producer_epoch: int
    attributes: int  # of its batch
    log_start_offset: int  # of the partition, as the answer told that brought the record; so the next two
    last_stable_offset: int
    high_watermark: int


@attrs.define(eq=False)
class Fetched:
    """What an answer brought of one partition."""

    tp: TopicPartition
    records: bytes
    first_offset: int  # records before it were not asked for
    next_offset: int
    aborted: list[tuple[int, int]]  # (first offset, producer id)
    log_start_offset: int
    last_stable_offset: int
    high_watermark: int
    leader_epoch: int  # of the last batch before `next_offset`; -1: not known
    notice: str | None = None  # why it goes on at `next_offset`, which is not behind what was read

    def visible_records(
        self, *, until: int | None, checks_crcs: bool, max_decompressed_bytes: int
    ) -> Iterator[ConsumedRecord]:
        """Raises: KafkaError, CORRUPT_MESSAGE; LimitError, ProtocolError."""
        for header, batch in visible_batches(self):
            if checks_crcs and header.crc != batch_crc(batch):
                raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{self.tp}: the batch at offset {header.base_offset}")
            for record in iter_records(batch, max_decompressed_bytes):
                if record.offset < self.first_offset:
                    continue
                if until is not None and record.offset >= until:
                    return
                yield ConsumedRecord(
                    self.tp.topic,
                    self.tp.partition,
                    record.offset,
                    record.timestamp,
                    header.timestamp_type,
                    record.key,
                    record.value,
                    record.headers,
                    header.partition_leader_epoch,
                    header.producer_id,
                    header.producer_epoch,
                    header.attributes,
                    self.log_start_offset,
                    self.last_stable_offset,
                    self.high_watermark,
                )


def visible_batches(fetched: Fetched) -> Iterator[tuple[BatchHeader, memoryview]]:
    """Leave out control batches, and with read_committed those of aborted transactions."""
    to_come = list(reversed(fetched.aborted))
    aborting: set[int] = set()
    for header, batch in iter_batches(fetched.records):
        while to_come and to_come[-1][0] <= header.last_offset:
            aborting.add(to_come.pop()[1])
        if header.is_control:
            if header.producer_id in aborting and _is_abort(batch):
                aborting.discard(header.producer_id)
        elif not (header.is_transactional and header.producer_id in aborting):
            yield header, batch


def _is_abort(batch: memoryview) -> bool:
    records = read_records(batch)
    marker = read_end_txn_marker(records[0]) if records else None
    return marker is not None and marker[0] is ControlType.ABORT

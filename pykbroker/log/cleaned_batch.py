"""What compaction keeps of one batch: a pure decision, and the batch that is left.

Rules
- A record stays unless a newer one has its key, or it has no key. A null value goes when the batch's delete horizon has
  passed; the first cleaning that meets one sets the horizon (`delete.retention.ms` from then), in base_timestamp.
- A batch that keeps all of its records stays as it is, byte for byte. Otherwise its offsets, sequences, epochs and
  bounds stay, and the records that are left are copied; the codec is the topic's, or the batch's where the topic has
  none.
- A batch without records goes, unless it is the last one of its producer, whose sequence it remembers, or the last that
  may be cleaned, which remembers where the log ended.

Sources: KIP-534; Kafka's Cleaner, MemoryRecords.filterTo.
"""

from collections.abc import Mapping

from attrs import frozen

from pykbroker.log.cleaned_transactions import CleanedTransactions
from pykbroker.log.key_offsets import KeyOffsets
from wire.compression import Codec, compress, decompress
from wire.crc32c import crc32c
from wire.errors import ProtocolError
from wire.record_spans import RecordSpan, join_spans, move_base_timestamp, record_spans, spans_of
from wire.records import (
    BATCH_HEADER_SIZE,
    BATCH_OVERHEAD,
    CODEC_MASK,
    CRC_START,
    DELETE_HORIZON_BIT,
    HEADER,
    LOG_APPEND_TIME_BIT,
    MAGIC,
    MAX_DECOMPRESSED_BYTES,
    NO_TIMESTAMP,
    BatchHeader,
    batch_crc,
)
from wire.schema import RecordBytes

_CRC = slice(17, 21)


@frozen(eq=False)
class KeepRules:
    """What of a topic and of a log the decisions rest on."""

    start_offset: int  # of the dirty part
    end_offset: int  # of what may be cleaned
    now_ms: int
    delete_retention_ms: int
    codec: Codec | None  # None: each batch's own
    level: int | None
    # Of each producer: the last offset of its newest data batch (None: there is none in its epoch), and its epoch.
    last_batches: Mapping[int, tuple[int | None, int]]


class BatchFilter:
    __slots__ = ("_keys", "_rules", "_transactions")

    def __init__(self, rules: KeepRules, keys: KeyOffsets, transactions: CleanedTransactions) -> None:
        self._rules = rules
        self._keys = keys
        self._transactions = transactions

    def keep(self, header: BatchHeader, batch: memoryview) -> RecordBytes | None:
        """Return what is left of a batch; None if nothing is. Raises: ProtocolError where it is damaged."""
        is_discarded = self._transactions.discards(header, batch)
        if header.is_control:
            return self._keep_marker(header, batch, is_discarded)
        if is_discarded or not header.record_count:
            return self._keep_empty(header)
        keys = self._keys
        if header.base_offset >= keys.end_offset:
            return batch
        if header.base_offset >= self._rules.start_offset and header.last_offset < keys.end_offset:
            offsets, has_null = keys.surviving(header.base_offset, header.last_offset)
            if not offsets:
                return self._keep_empty(header)
            if len(offsets) == header.record_count and not has_null:
                return batch
            if header.record_count == header.last_offset_delta + 1 and not has_null:
                data = batch_data(header, batch)
                wanted = {offset - header.base_offset for offset in offsets}
                return self._rebuild(header, data, spans_of(data, header.record_count, wanted), sets_horizon=False)
        return self._keep_records(header, batch)

    def _keep_marker(self, header: BatchHeader, batch: memoryview, is_discarded: bool) -> RecordBytes | None:
        if not header.record_count:
            return self._keep_empty(header)
        if not is_discarded:
            return batch
        if not header.has_delete_horizon:
            data = bytes(batch[BATCH_HEADER_SIZE:])
            return self._rebuild(header, data, record_spans(data, header.record_count), sets_horizon=True)
        return self._keep_empty(header) if self._has_expired(header) else batch

    def _has_expired(self, header: BatchHeader) -> bool:
        return header.has_delete_horizon and header.base_timestamp <= self._rules.now_ms

    def _keep_records(self, header: BatchHeader, batch: memoryview) -> RecordBytes | None:
        data = batch_data(header, batch)
        spans = record_spans(data, header.record_count)
        keys, base_offset, end_offset = self._keys, header.base_offset, self._keys.end_offset
        has_expired = self._has_expired(header)
        has_null = False
        kept = []
        for span in spans:
            offset = base_offset + span.offset_delta
            if offset < end_offset:
                if span.key is None or keys.is_superseded(span.key, offset):
                    continue
                if not span.has_value:
                    if has_expired:
                        continue
                    has_null = True
            kept.append(span)
        if not kept:
            return self._keep_empty(header)
        sets_horizon = has_null and not header.has_delete_horizon
        if len(kept) == len(spans) and not sets_horizon:
            return batch
        return self._rebuild(header, data, kept, sets_horizon=sets_horizon)

    def _rebuild(self, header: BatchHeader, data: bytes, kept: list[RecordSpan], *, sets_horizon: bool) -> bytearray:
        rules = self._rules
        codec = header.codec if rules.codec is None or header.is_control else rules.codec
        attributes = header.attributes & ~CODEC_MASK | codec
        base_timestamp = header.base_timestamp
        max_timestamp = header.max_timestamp
        if not header.attributes & LOG_APPEND_TIME_BIT:
            max_timestamp = base_timestamp + max(span.timestamp_delta for span in kept)
        if sets_horizon:
            horizon_ms = rules.now_ms + rules.delete_retention_ms
            body = move_base_timestamp(data, kept, base_timestamp - horizon_ms)
            attributes |= DELETE_HORIZON_BIT
            base_timestamp = horizon_ms
        else:
            body = join_spans(data, kept)
        if codec:
            body = compress(codec, body, rules.level if codec == rules.codec else None)
        return _batch(
            header,
            attributes,
            base_timestamp=base_timestamp,
            max_timestamp=max_timestamp,
            count=len(kept),
            body=body,
        )

    def _keep_empty(self, header: BatchHeader) -> RecordBytes | None:
        if not (header.last_offset + 1 == self._rules.end_offset or self._is_last_of_producer(header)):
            return None
        attributes = header.attributes & ~(CODEC_MASK | DELETE_HORIZON_BIT)
        return _batch(
            header, attributes, base_timestamp=NO_TIMESTAMP, max_timestamp=header.max_timestamp, count=0, body=b""
        )

    def _is_last_of_producer(self, header: BatchHeader) -> bool:
        last = self._rules.last_batches.get(header.producer_id)
        if last is None:
            return False
        last_offset, producer_epoch = last
        if last_offset is None:  # its epoch began with the marker that ended a transaction
            return header.is_control and header.producer_epoch == producer_epoch
        return header.last_offset == last_offset


def batch_data(header: BatchHeader, batch: memoryview) -> bytes:
    """Return the decompressed records of a batch. Raises: ProtocolError where it is damaged."""
    if crc32c(batch[CRC_START:]) != header.crc:
        raise ProtocolError(f"the batch at offset {header.base_offset} has another CRC")
    body = batch[BATCH_HEADER_SIZE:]
    if header.attributes & CODEC_MASK:
        return decompress(header.codec, body, MAX_DECOMPRESSED_BYTES)
    return bytes(body)


def _batch(
    header: BatchHeader, attributes: int, *, base_timestamp: int, max_timestamp: int, count: int, body: bytes
) -> bytearray:
    batch = bytearray(BATCH_HEADER_SIZE)
    batch += body
    HEADER.pack_into(
        batch,
        0,
        header.base_offset,
        len(batch) - BATCH_OVERHEAD,
        header.partition_leader_epoch,
        MAGIC,
        0,
        attributes,
        header.last_offset_delta,
        base_timestamp,
        max_timestamp,
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        count,
    )
    batch[_CRC] = batch_crc(batch).to_bytes(4, "big")
    return batch

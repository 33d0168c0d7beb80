"""What Kafka checks of a batch that a client sent, in Kafka's order and with its error codes and messages.

The log's hot path looks only at the header and the CRC, and comes here when something is not as it should be
(`reject`), or when the topic needs its records looked at (`check_records`).

Sources: Kafka's ProduceRequest.validateRecords, UnifiedLog.analyzeAndValidateRecords, LogValidator.
"""

import struct
from collections.abc import Callable

from pykbroker.errors import KafkaError
from pykbroker.log.refusal import RecordsError, Refusal
from pykbroker.log.rules import AppendRules
from pykbroker.topic_partition import TopicPartition
from wire.compression import Codec
from wire.errors import ErrorCode, ProtocolError
from wire.records import (
    BATCH_HEADER_SIZE,
    BATCH_OVERHEAD,
    CODEC_MASK,
    LOG_APPEND_TIME_BIT,
    MAGIC,
    MAGIC_POSITION,
    NO_TIMESTAMP,
    BatchHeader,
    Record,
    batch_crc,
    read_batch_header,
    read_records,
    recompress,
    set_create_time,
    set_log_append_time,
)

_MIN_RECORD_BYTES = 14  # of the oldest format: Kafka's first check


def prepare(records: memoryview, topic_partition: TopicPartition, rules: AppendRules, now: int) -> memoryview:
    """Check what the fast path does not, and change what the topic wants changed; return the batch to append.

    Raises: what PartitionLog.append_as_leader raises.
    """
    error = reject(records, topic_partition, rules.max_message_bytes)
    if error is not None:
        raise error
    batch = records[: BATCH_OVERHEAD + struct.unpack_from(">i", records, 8)[0]]
    header = read_batch_header(batch)
    latest = now + rules.timestamp_after_max_ms
    claims_append_time = header.attributes & LOG_APPEND_TIME_BIT
    if claims_append_time and not rules.log_append_time:
        set_create_time(batch, header.max_timestamp)  # Kafka takes the records' own timestamps instead
    is_odd = not header.base_timestamp <= header.max_timestamp <= latest
    if rules.walks or claims_append_time or (is_odd and not rules.log_append_time):
        unbounded = rules.log_append_time
        youngest = check_records(
            batch,
            topic_partition,
            compacted=rules.compacted,
            earliest_ms=-(1 << 63) if unbounded else now - rules.timestamp_before_max_ms,
            latest_ms=(1 << 63) - 1 if unbounded else latest,
            max_record_bytes=rules.max_record_bytes,
            max_batch_bytes=rules.max_batch_bytes,
        )
        if youngest != header.max_timestamp and not rules.log_append_time:
            set_create_time(batch, youngest)
    if rules.codec is not None and rules.codec != header.codec:
        try:
            batch = memoryview(recompress(batch, rules.codec, rules.level, rules.max_batch_bytes))
        except ProtocolError as broken:
            raise Refusal(ErrorCode.CORRUPT_MESSAGE, str(broken)) from None
        if len(batch) > rules.max_message_bytes:
            raise too_large(len(batch), topic_partition, rules.max_message_bytes)
    if rules.log_append_time:
        set_log_append_time(batch, now)
    return batch


def rejection(records: memoryview, topic_partition: TopicPartition, rules: AppendRules) -> KafkaError:
    """Say what is wrong with records that are too short for a batch."""
    error = reject(records, topic_partition, rules.max_message_bytes)
    assert error is not None
    return error


def check_one_batch(records: memoryview) -> None:
    """Check that a request holds exactly one batch of magic 2, before the log sees it.

    Raises: INVALID_RECORD, CORRUPT_MESSAGE.
    """
    size = _first_batch_size(records)
    if size is None or size > len(records):
        raise Refusal(ErrorCode.INVALID_RECORD, "Produce requests must have at least one record batch per partition")
    if records[MAGIC_POSITION] != MAGIC:
        raise Refusal(
            ErrorCode.INVALID_RECORD, "Produce requests are only allowed to contain record batches with magic version 2"
        )
    rest = records[size:]
    next_size = _first_batch_size(rest)
    if next_size is not None and next_size <= len(rest):
        raise Refusal(
            ErrorCode.INVALID_RECORD,
            "Produce requests are only allowed to contain exactly one record batch per partition",
        )


def _first_batch_size(records: memoryview) -> int | None:
    """Raises: CORRUPT_MESSAGE, where Kafka's reader gives up."""
    if len(records) < BATCH_OVERHEAD:
        return None
    (length,) = struct.unpack_from(">i", records, 8)
    if length < _MIN_RECORD_BYTES:
        raise KafkaError(
            ErrorCode.CORRUPT_MESSAGE,
            f"Record size {length} is less than the minimum record overhead ({_MIN_RECORD_BYTES})",
        )
    if len(records) <= MAGIC_POSITION:
        return None
    magic = struct.unpack_from(">b", records, MAGIC_POSITION)[0]
    if not 0 <= magic <= MAGIC:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"Invalid magic found in record: {magic}")
    return int(BATCH_OVERHEAD + length)


def reject(records: memoryview, topic_partition: TopicPartition, max_message_bytes: int) -> KafkaError | None:
    """Say what is wrong with a client's batch; None if nothing is that its header or CRC shows.

    Timestamps are not looked at.
    """
    try:
        check_one_batch(records)
        header_size = BATCH_OVERHEAD + struct.unpack_from(">i", records, 8)[0]
        if header_size < BATCH_HEADER_SIZE:
            return _corrupt(0, 0, topic_partition)
        header = read_batch_header(records)
        _check_header(header, records[:header_size], topic_partition, max_message_bytes)
    except KafkaError as error:
        return error
    return None


def _corrupt(stored: int, computed: int, topic_partition: TopicPartition) -> Refusal:
    return Refusal(
        ErrorCode.CORRUPT_MESSAGE,
        f"Record is corrupt (stored crc = {stored}, computed crc = {computed}) in topic partition {topic_partition}.",
    )


def _check_header(
    header: BatchHeader, batch: memoryview, topic_partition: TopicPartition, max_message_bytes: int
) -> None:
    """Raises: what `append_as_leader` raises for a header."""
    if header.base_offset != 0:
        raise Refusal(
            ErrorCode.INVALID_RECORD,
            f"The baseOffset of the record batch in the append to {topic_partition} should be 0, but it is "
            f"{header.base_offset}",
        )
    if header.size > max_message_bytes:
        raise too_large(header.size, topic_partition, max_message_bytes)
    if batch_crc(batch) != header.crc:
        raise _corrupt(header.crc, batch_crc(batch), topic_partition)
    if header.attributes & CODEC_MASK > Codec.ZSTD:
        raise Refusal(
            ErrorCode.UNSUPPORTED_COMPRESSION_TYPE, f"Unknown compression type id: {header.attributes & CODEC_MASK}"
        )
    count_from_offsets = header.last_offset_delta + 1
    if count_from_offsets <= 0:
        raise Refusal(
            ErrorCode.INVALID_RECORD, f"Batch has an invalid offset range: [{header.base_offset}, {header.last_offset}]"
        )
    if header.record_count <= 0:
        raise Refusal(ErrorCode.INVALID_RECORD, f"Invalid reported count for record batch: {header.record_count}")
    if header.record_count != count_from_offsets:
        raise Refusal(
            ErrorCode.INVALID_RECORD,
            f"Inconsistent batch offset range [{header.base_offset}, {header.last_offset}] and count of records "
            f"{header.record_count}",
        )
    if header.is_control:
        raise Refusal(ErrorCode.INVALID_RECORD, "Clients are not allowed to write control records")
    if header.producer_id >= 0 and header.base_sequence < 0:
        raise Refusal(
            ErrorCode.INVALID_RECORD,
            f"Invalid sequence number {header.base_sequence} in record batch with producerId {header.producer_id}",
        )


def too_large(size: int, topic_partition: TopicPartition, max_message_bytes: int) -> Refusal:
    return Refusal(
        ErrorCode.MESSAGE_TOO_LARGE,
        f"The record batch size in the append to {topic_partition} is {size} bytes which exceeds the maximum "
        f"configured value of {max_message_bytes}.",
    )


def check_records(
    batch: memoryview,
    topic_partition: TopicPartition,
    *,
    compacted: bool,
    earliest_ms: int,
    latest_ms: int,
    max_record_bytes: int,
    max_batch_bytes: int,
) -> int:
    """Walk the records of a client's batch and return their youngest timestamp.

    `earliest_ms` and `latest_ms` bound the timestamps. Raises: INVALID_RECORD, INVALID_TIMESTAMP (as RecordsError where
    single records are to blame).
    """
    header = read_batch_header(batch)
    try:
        records = read_records(batch, max_batch_bytes)
    except ProtocolError as error:
        raise Refusal(ErrorCode.INVALID_RECORD, f"Invalid record batch for {topic_partition}: {error}") from None
    check = _record_check(
        header,
        topic_partition,
        compacted=compacted,
        earliest_ms=earliest_ms,
        latest_ms=latest_ms,
        max_record_bytes=max_record_bytes,
    )
    errors: list[tuple[int, str]] = []
    bad_timestamp = False
    for index, record in enumerate(records):
        found = check(index, record)
        if found is not None:
            bad_timestamp |= found[0] == ErrorCode.INVALID_TIMESTAMP
            errors.append((index, found[1]))
    if errors:
        if bad_timestamp:
            raise RecordsError(
                ErrorCode.INVALID_TIMESTAMP, "One or more records have been rejected due to invalid timestamp", errors
            )
        shown = ", ".join(f"RecordError(batchIndex={index}, message='{message}')" for index, message in errors[:3])
        raise RecordsError(
            ErrorCode.INVALID_RECORD,
            f"One or more records have been rejected due to {len(errors)} record errors in total, and only showing the "
            f"first three errors at most: [{shown}]",
            errors,
        )
    return max(record.timestamp for record in records)


def _record_check(
    header: BatchHeader,
    topic_partition: TopicPartition,
    *,
    compacted: bool,
    earliest_ms: int,
    latest_ms: int,
    max_record_bytes: int,
) -> Callable[[int, Record], tuple[ErrorCode, str] | None]:
    set_by_client = bool(header.attributes & LOG_APPEND_TIME_BIT)

    def check(index: int, record: Record) -> tuple[ErrorCode, str] | None:
        if record.offset != header.base_offset + index:
            return ErrorCode.INVALID_RECORD, (
                f"Inner record {index} inside the record batch does not have incremental offsets, expected offset is "
                f"{index} in topic partition {topic_partition}."
            )
        if len(record.key or b"") + len(record.value or b"") > max_record_bytes:
            return ErrorCode.INVALID_RECORD, f"Record of more than {max_record_bytes} bytes"
        if compacted and record.key is None:
            return ErrorCode.INVALID_RECORD, (
                f"Compacted topic cannot accept message without key in topic partition {topic_partition}"
            )
        if record.timestamp != NO_TIMESTAMP and not earliest_ms <= record.timestamp <= latest_ms:
            return ErrorCode.INVALID_TIMESTAMP, (
                f"Timestamp {record.timestamp} of message with offset {index} is out of range. The timestamp should be "
                f"within [{earliest_ms}, {latest_ms}]"
            )
        if set_by_client:
            return ErrorCode.INVALID_TIMESTAMP, (
                f"Invalid timestamp type in message {index}. Producer should not set timestamp type to LogAppendTime."
            )
        return None

    return check

"""What Kafka checks of a batch that a client sent, in Kafka's order and with its error codes.

The log's hot path looks only at the header and the CRC, and comes here when something is not as it should be
(`reject`), or when the topic needs its records looked at (`check_records`).

Sources: Kafka's ProduceRequest.validateRecords, UnifiedLog.analyzeAndValidateRecords, LogValidator.
"""

import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from pykbroker.errors import KafkaError
from pykbroker.log.refusal import NotOneBatch, RecordsError, Refusal
from pykbroker.log.rules import AppendRules
from pykbroker.topic_partition import TopicPartition
from wire.compression import Codec
from wire.errors import ErrorCode, LimitError, ProtocolError
from wire.record_walk import WalkedRecord, walk_records
from wire.records import (
    BATCH_HEADER_SIZE,
    BATCH_OVERHEAD,
    CODEC_MASK,
    LOG_APPEND_TIME_BIT,
    MAGIC,
    MAGIC_POSITION,
    NO_TIMESTAMP,
    BatchHeader,
    batch_crc,
    read_batch_header,
    recompress,
    set_create_time,
    set_log_append_time,
)

if TYPE_CHECKING:
    from pykbroker.log.observer import LogObserver

MAX_RECORD_ERRORS = 10_000  # so many records of one batch are told to be bad; Kafka tells all
_MIN_RECORD_BYTES = 14  # of the oldest format: Kafka's first check


def prepare(
    records: memoryview,
    topic_partition: TopicPartition,
    rules: AppendRules,
    now: int,
    observer: "LogObserver | None" = None,
) -> memoryview:
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
        began_ns = time.perf_counter_ns()
        try:
            batch = memoryview(recompress(batch, rules.codec, rules.level, rules.max_recompressed_bytes))
        except LimitError as large:
            raise Refusal(ErrorCode.MESSAGE_TOO_LARGE, str(large)) from None
        except ProtocolError as broken:
            raise Refusal(ErrorCode.CORRUPT_MESSAGE, str(broken)) from None
        if len(batch) > rules.max_message_bytes:
            raise too_large(len(batch), topic_partition, rules.max_message_bytes)
        if observer is not None:
            took_ms = (time.perf_counter_ns() - began_ns) / 1_000_000
            observer.recompressed(topic_partition.topic, header.record_count, took_ms)
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
        raise NotOneBatch(ErrorCode.INVALID_RECORD, "there is no whole batch")
    if records[MAGIC_POSITION] != MAGIC:
        raise NotOneBatch(
            ErrorCode.INVALID_RECORD, f"a batch of magic {records[MAGIC_POSITION]}: clients write batches of magic 2"
        )
    rest = records[size:]
    next_size = _first_batch_size(rest)
    if next_size is not None and next_size <= len(rest):
        raise NotOneBatch(
            ErrorCode.INVALID_RECORD,
            "a second batch follows the first: a request has one for each partition",
        )


def _first_batch_size(records: memoryview) -> int | None:
    """Raises: CORRUPT_MESSAGE, where Kafka's reader gives up."""
    if len(records) < BATCH_OVERHEAD:
        return None
    (length,) = struct.unpack_from(">i", records, 8)
    if length < _MIN_RECORD_BYTES:
        raise KafkaError(
            ErrorCode.CORRUPT_MESSAGE,
            f"a batch of {length} bytes, of which {_MIN_RECORD_BYTES} are the least",
        )
    if len(records) <= MAGIC_POSITION:
        return None
    magic = struct.unpack_from(">b", records, MAGIC_POSITION)[0]
    if not 0 <= magic <= MAGIC:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"a batch of magic {magic}, which does not exist")
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
        f"a batch for {topic_partition} says that its CRC is {stored}, but it is {computed}",
    )


def _check_header(
    header: BatchHeader, batch: memoryview, topic_partition: TopicPartition, max_message_bytes: int
) -> None:
    """Raises: what `append_as_leader` raises for a header."""
    if header.base_offset != 0:
        raise Refusal(
            ErrorCode.INVALID_RECORD,
            f"a batch for {topic_partition} whose first offset is {header.base_offset} instead of 0",
        )
    if header.size > max_message_bytes:
        raise too_large(header.size, topic_partition, max_message_bytes)
    if batch_crc(batch) != header.crc:
        raise _corrupt(header.crc, batch_crc(batch), topic_partition)
    if header.attributes & CODEC_MASK > Codec.ZSTD:
        raise Refusal(  # an exception that Kafka's broker has no code for
            ErrorCode.UNKNOWN_SERVER_ERROR, f"there is no codec {header.attributes & CODEC_MASK}"
        )
    count_from_offsets = header.last_offset_delta + 1
    if count_from_offsets <= 0:
        raise Refusal(
            ErrorCode.INVALID_RECORD, f"a batch whose last offset is {header.last_offset_delta} behind its first"
        )
    if header.record_count <= 0:
        raise Refusal(ErrorCode.INVALID_RECORD, f"a batch of {header.record_count} records")
    if header.record_count != count_from_offsets:
        raise Refusal(
            ErrorCode.INVALID_RECORD,
            f"a batch of {header.record_count} records with {count_from_offsets} offsets",
        )
    if header.is_control:
        raise Refusal(ErrorCode.INVALID_RECORD, "a control batch, which is not for clients to write")
    if header.producer_id >= 0 and header.base_sequence < 0:
        raise Refusal(
            ErrorCode.INVALID_RECORD,
            f"a batch of producer {header.producer_id} with the sequence number {header.base_sequence}",
        )


def too_large(size: int, topic_partition: TopicPartition, max_message_bytes: int) -> Refusal:
    return Refusal(
        ErrorCode.MESSAGE_TOO_LARGE,
        f"a batch of {size} bytes for {topic_partition}, where max.message.bytes is {max_message_bytes}",
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
    single records are to blame), MESSAGE_TOO_LARGE where it would take too long to walk them.
    """
    header = read_batch_header(batch)
    check = _record_check(
        header,
        topic_partition,
        compacted=compacted,
        earliest_ms=earliest_ms,
        latest_ms=latest_ms,
        max_record_bytes=max_record_bytes,
    )
    faults = _Faults()
    youngest = NO_TIMESTAMP
    try:
        for index, record in enumerate(walk_records(batch, max_batch_bytes)):
            fault = check(index, record)
            if fault is not None:
                faults.add(index, *fault)
            youngest = max(youngest, record[1])
    except LimitError as error:
        # Producers split a batch that is too large, and try again with the parts.
        raise Refusal(ErrorCode.MESSAGE_TOO_LARGE, f"batch for {topic_partition}: {error}") from None
    except ProtocolError as error:
        raise Refusal(ErrorCode.INVALID_RECORD, f"batch for {topic_partition}: {error}") from None
    if faults.count:
        raise faults.error()
    return youngest


class _Faults:
    """The records of one batch that are refused."""

    def __init__(self) -> None:
        self.count = 0
        self._told: list[tuple[int, str]] = []
        self._has_bad_timestamp = False

    def add(self, index: int, code: ErrorCode, message: str) -> None:
        self.count += 1
        self._has_bad_timestamp |= code == ErrorCode.INVALID_TIMESTAMP
        if len(self._told) < MAX_RECORD_ERRORS:
            self._told.append((index, message))

    def error(self) -> RecordsError:
        if self._has_bad_timestamp:
            return RecordsError(
                ErrorCode.INVALID_TIMESTAMP,
                f"{self.count} records of the batch are refused for their timestamps",
                self._told,
            )
        first = "; ".join(f"record {index}: {message}" for index, message in self._told[:3])
        return RecordsError(
            ErrorCode.INVALID_RECORD, f"{self.count} records of the batch are refused: {first}", self._told
        )


def _record_check(
    header: BatchHeader,
    topic_partition: TopicPartition,
    *,
    compacted: bool,
    earliest_ms: int,
    latest_ms: int,
    max_record_bytes: int,
) -> Callable[[int, WalkedRecord], tuple[ErrorCode, str] | None]:
    set_by_client = bool(header.attributes & LOG_APPEND_TIME_BIT)
    base_offset = header.base_offset

    def check(index: int, record: WalkedRecord) -> tuple[ErrorCode, str] | None:
        offset, timestamp, key_size, value_size = record
        if offset != base_offset + index:
            return (
                ErrorCode.INVALID_RECORD,
                f"record {index} for {topic_partition} has the offset {offset - base_offset}",
            )
        if max(key_size, 0) + max(value_size, 0) > max_record_bytes:
            return ErrorCode.INVALID_RECORD, f"key and value of more than {max_record_bytes} bytes"
        if compacted and key_size < 0:
            return ErrorCode.INVALID_RECORD, f"{topic_partition} is compacted: each record needs a key"
        if timestamp != NO_TIMESTAMP and not earliest_ms <= timestamp <= latest_ms:
            return ErrorCode.INVALID_TIMESTAMP, (
                f"timestamp {timestamp} of record {index} is not between {earliest_ms} and {latest_ms}"
            )
        if set_by_client:
            return ErrorCode.INVALID_TIMESTAMP, f"record {index} claims LogAppendTime, which is for the broker to set"
        return None

    return check

"""Requests and record batches written by hand, so that what is measured is not measured with its own codec.

Format: every function returns bytes that are ready to send; `frame` puts size and header before a body. Versions are
fixed, one per API (VERSIONS), served by Apache Kafka 4.4, and all flexible but that of ApiVersions.
Rules: topics go by name. Requests are encoded once and sent many times, so every request of a kind has the same
correlation id.
Not here: sockets (connection.py).
Sources: KIP-98 (record batches), KIP-482 (flexible versions).
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping, Sequence

from crc32c import crc32c

PRODUCE, FETCH, LIST_OFFSETS, METADATA, FIND_COORDINATOR, API_VERSIONS = 0, 1, 2, 3, 10, 18
CREATE_TOPICS, DELETE_TOPICS = 19, 20
VERSIONS = {
    PRODUCE: 11,
    FETCH: 12,
    LIST_OFFSETS: 7,
    METADATA: 9,
    FIND_COORDINATOR: 3,
    API_VERSIONS: 0,
    CREATE_TOPICS: 7,
    DELETE_TOPICS: 5,
}
CORRELATION_ID = 7
CLIENT_ID = b"pykbroker-scripts"
BATCH_HEADER = struct.Struct(">qiibIhiqqqhii")
BATCH_OVERHEAD = 12  # base offset and length, which `batch_length` does not count
AFTER_FETCH_OFFSET = (
    4 + 8 + 4 + 5
)  # bytes of a fetch_request() behind its offset: two epochs and limits, then five empty ends


def uvarint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint(value: int) -> bytes:
    return uvarint((value << 1) ^ (value >> 63))


def compact(text: str | bytes) -> bytes:
    """Return a compact string (or bytes): its length plus one as a varint, and then the text."""
    raw = text.encode() if isinstance(text, str) else text
    return uvarint(len(raw) + 1) + raw


def frame(api_key: int, body: bytes, *, version: int | None = None, correlation_id: int = CORRELATION_ID) -> bytes:
    """Put size and header before a body. All versions of VERSIONS are flexible, except ApiVersions 0."""
    used = VERSIONS[api_key] if version is None else version
    tags = b"" if api_key == API_VERSIONS and used < 3 else b"\0"
    head = struct.pack(">hhih", api_key, used, correlation_id, len(CLIENT_ID)) + CLIENT_ID + tags
    return struct.pack(">i", len(head) + len(body)) + head + body


# Records


def record(offset_delta: int, value: bytes, *, key: bytes | None = None, timestamp_delta: int = 0) -> bytes:
    body = b"\0" + varint(timestamp_delta) + varint(offset_delta)
    body += varint(-1) if key is None else varint(len(key)) + key
    body += varint(len(value)) + value + b"\0"
    return varint(len(body)) + body


def batch(
    records: bytes,
    count: int,
    *,
    base_offset: int = 0,
    magic: int = 2,
    crc: int | None = None,
    attributes: int = 0,
    last_offset_delta: int | None = None,
    base_timestamp: int | None = None,
    max_timestamp: int | None = None,
    producer_id: int = -1,
    producer_epoch: int = -1,
    base_sequence: int = -1,
    batch_length: int | None = None,
) -> bytes:
    """Return a RecordBatch of magic 2 around encoded records.

    What is None is computed; the rest may be as wrong as the caller likes.
    """
    now = int(time.time() * 1000) if base_timestamp is None else base_timestamp
    tail = struct.pack(
        ">hiqqqhii",
        attributes,
        count - 1 if last_offset_delta is None else last_offset_delta,
        now,
        now if max_timestamp is None else max_timestamp,
        producer_id,
        producer_epoch,
        base_sequence,
        count,
    )
    checked = tail + records
    length = 9 + len(checked) if batch_length is None else batch_length
    return struct.pack(">qiibI", base_offset, length, -1, magic, crc32c(checked) if crc is None else crc) + checked


def batch_of(values: Sequence[bytes]) -> bytes:
    return batch(b"".join(record(i, value) for i, value in enumerate(values)), len(values))


def batch_of_size(target: int, record_bytes: int) -> tuple[bytes, int]:
    """Return a batch of at most `target` bytes of records with values of `record_bytes` (or one shorter value), and its
    record count.
    """
    overhead = len(batch(b"", 0))
    if target - overhead <= record_bytes:
        value = bytes(i * 31 % 251 for i in range(record_bytes))
        while len(made := batch_of([value])) > target:
            value = value[: len(value) - (len(made) - target)]
        return made, 1
    count, size = 0, overhead
    value = bytes(i * 31 % 251 for i in range(record_bytes))
    while size + len(record(count, value)) <= target:
        size += len(record(count, value))
        count += 1
    return batch_of([value] * count), count


# Requests


def produce_request(topic: str, partition: int, records: bytes, *, acks: int = 1, timeout_ms: int = 30_000) -> bytes:
    body = b"\0" + struct.pack(">hi", acks, timeout_ms) + b"\2" + compact(topic)
    body += b"\2" + struct.pack(">i", partition) + compact(records) + b"\0\0\0"
    return frame(PRODUCE, body)


def fetch_request(
    topic: str, partition: int, offset: int, *, max_bytes: int, min_bytes: int = 1, max_wait_ms: int = 500
) -> bytearray:
    """Return a Fetch of one partition without a session, ready for patch_fetch_offset()."""
    body = struct.pack(">iiiibii", -1, max_wait_ms, min_bytes, 0x7FFFFFFF, 0, 0, -1) + b"\2" + compact(topic)
    body += b"\2" + struct.pack(">iiqiqi", partition, -1, offset, -1, -1, max_bytes) + b"\0\0"
    return bytearray(frame(FETCH, body + b"\1" + b"\1" + b"\0"))


def patch_fetch_offset(request: bytearray, offset: int) -> None:
    struct.pack_into(">q", request, len(request) - AFTER_FETCH_OFFSET - 8, offset)


def list_offsets_request(topic: str, partition: int, timestamp: int) -> bytes:
    body = struct.pack(">ib", -1, 0) + b"\2" + compact(topic)
    return frame(LIST_OFFSETS, body + b"\2" + struct.pack(">iiq", partition, -1, timestamp) + b"\0\0\0")


def metadata_request(topics: Sequence[str]) -> bytes:
    named = uvarint(len(topics) + 1) + b"".join(compact(topic) + b"\0" for topic in topics)
    return frame(METADATA, named + b"\0\0\0\0")


def find_coordinator_request(group_id: str) -> bytes:
    return frame(FIND_COORDINATOR, compact(group_id) + b"\0\0")


def api_versions_request() -> bytes:
    return frame(API_VERSIONS, b"")


def create_topics_request(
    topics: Mapping[str, int],
    *,
    replication_factor: int,
    configs: Mapping[str, str] | None = None,
    timeout_ms: int = 120_000,
) -> bytes:
    """Create topics of the given names and partition counts."""
    options = b"".join(compact(name) + compact(value) + b"\0" for name, value in (configs or {}).items())
    options = uvarint(len(configs or {}) + 1) + options
    wanted = b"".join(
        compact(name) + struct.pack(">ih", partitions, replication_factor) + b"\1" + options + b"\0"
        for name, partitions in topics.items()
    )
    return frame(CREATE_TOPICS, uvarint(len(topics) + 1) + wanted + struct.pack(">i", timeout_ms) + b"\0\0")


def delete_topics_request(topics: Sequence[str], *, timeout_ms: int = 30_000) -> bytes:
    names = uvarint(len(topics) + 1) + b"".join(compact(topic) for topic in topics)
    return frame(DELETE_TOPICS, names + struct.pack(">i", timeout_ms) + b"\0")


# Answers


def produce_answer(topic: str, base_offset: int) -> bytes:
    """Return what a broker answers to a produce_request() that it accepted."""
    partition = struct.pack(">ihqqq", 0, 0, base_offset, -1, 0) + b"\1\0\0"
    body = struct.pack(">i", CORRELATION_ID) + b"\0" + b"\2" + compact(topic) + b"\2" + partition + b"\0"
    body += struct.pack(">i", 0) + b"\0"
    return struct.pack(">i", len(body)) + body

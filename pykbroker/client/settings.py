"""The limits of the client, under the names that Kafka's clients have for them; times in milliseconds."""

import enum

import attrs

from pykbroker.client.security import Security


class OffsetReset(enum.Enum):
    """Where a group without an offset begins, and where an offset that is out of range leads to."""

    EARLIEST = "earliest"
    LATEST = "latest"
    NONE = "none"  # nowhere: it is an error
    NEAREST = "nearest"  # to the end of the log that is nearer; a group begins as with EARLIEST


@attrs.frozen
class ClientSettings:
    client_id: str = "pykbroker-client"
    security: Security = attrs.field(factory=Security)
    request_timeout_ms: int = 30_000  # for the answer to one request
    default_api_timeout_ms: int = 60_000  # for what the caller asked for, with everything that is tried again
    socket_connection_setup_timeout_ms: int = 10_000
    retry_backoff_ms: int = 50  # the pause before the first retry; it doubles up to the next line
    retry_backoff_max_ms: int = 1_000
    metadata_max_age_ms: int = 300_000
    unknown_topic_timeout_ms: int = 3_000  # how long a topic may be unknown: a new one takes a moment to get around
    max_response_bytes: int = 256 * 1024 * 1024

    # Producing
    batch_size: int = 256 * 1024  # bytes of records in a batch of one partition
    buffer_memory: int = 8 * 1024 * 1024  # bytes of records that wait; beyond it, `send` sends
    max_request_size: int = 1024 * 1024  # bytes of one record

    # Consuming
    fetch_min_bytes: int = 1
    fetch_max_wait_ms: int = 500
    fetch_max_bytes: int = 50 * 1024 * 1024
    max_partition_fetch_bytes: int = 1024 * 1024
    max_decompressed_bytes: int = 256 * 1024 * 1024  # of one batch
    auto_offset_reset: OffsetReset | None = None  # None: as the caller thinks best
    session_timeout_ms: int = 45_000
    heartbeat_interval_ms: int = 3_000
    rebalance_timeout_ms: int = 60_000
    leave_timeout_ms: int = 5_000  # for the last commit and the good-bye of a member

"""The configs of the group coordinator, taken out of `BrokerConfig` under the names of their properties.

Rules: all of them are read-only in Kafka, so they are fixed when the broker starts.
"""

import attrs

from pykbroker.config import BrokerConfig


@attrs.frozen
class GroupSettings:
    group_min_session_timeout_ms: int = 6_000
    group_max_session_timeout_ms: int = 1_800_000
    group_initial_rebalance_delay_ms: int = 3_000
    group_max_size: int = 2**31 - 1
    offset_metadata_max_bytes: int = 4_096
    offsets_retention_minutes: int = 10_080
    offsets_retention_check_interval_ms: int = 600_000
    offsets_commit_timeout_ms: int = 5_000
    offsets_load_buffer_size: int = 5_242_880
    offsets_topic_compression_codec: int = 0  # none, gzip, snappy, lz4, zstd

    @classmethod
    def of(cls, config: BrokerConfig) -> "GroupSettings":
        return cls(**{field.name: getattr(config, field.name) for field in attrs.fields(cls)})

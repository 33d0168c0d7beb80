"""What appends need of a topic's configuration, computed once and shared by the logs that have it.

Not here: what the configurations are (topic_config.py).
"""

from pykbroker.topic_config import TopicConfig
from wire.compression import Codec

RECOMPRESSION_COST = 4  # times that of walking, at least: gzip manages no more than 50 MB a second
_FOREVER_MS = 0x7FFFFFFFFFFFFFFF
_CODECS = {"uncompressed": Codec.NONE, "gzip": Codec.GZIP, "snappy": Codec.SNAPPY, "lz4": Codec.LZ4, "zstd": Codec.ZSTD}


class AppendRules:
    __slots__ = (
        "codec",
        "compacted",
        "deletes",
        "file_delete_delay_ms",
        "flush_messages",
        "flush_ms",
        "index_interval_bytes",
        "level",
        "log_append_time",
        "max_batch_bytes",
        "max_message_bytes",
        "max_recompressed_bytes",
        "max_record_bytes",
        "retention_bytes",
        "retention_ms",
        "segment_bytes",
        "segment_index_bytes",
        "segment_jitter_ms",
        "segment_ms",
        "timestamp_after_max_ms",
        "timestamp_before_max_ms",
        "unexamined_bytes",
        "walks",
    )

    def __init__(self, config: TopicConfig, *, strict_records: bool, max_batch_bytes: int) -> None:
        self.segment_bytes = config.internal_segment_bytes or config.segment_bytes
        self.compacted = "compact" in config.cleanup_policy
        # The active segment is never compacted: only a new one lets what has waited for `max.compaction.lag.ms` go.
        self.segment_ms = min(config.segment_ms, config.max_compaction_lag_ms) if self.compacted else config.segment_ms
        self.segment_jitter_ms = min(config.segment_jitter_ms, self.segment_ms)
        self.segment_index_bytes = config.segment_index_bytes
        self.index_interval_bytes = config.index_interval_bytes
        self.max_message_bytes = config.max_message_bytes
        self.max_record_bytes = config.max_decompressed_message_bytes
        self.max_batch_bytes = max_batch_bytes  # of what is walked, when decompressed
        self.max_recompressed_bytes = max_batch_bytes // RECOMPRESSION_COST
        self.flush_messages = config.flush_messages
        self.flush_ms = config.flush_ms
        self.retention_ms = config.retention_ms
        self.retention_bytes = config.retention_bytes
        self.file_delete_delay_ms = config.file_delete_delay_ms
        self.deletes = "delete" in config.cleanup_policy
        self.log_append_time = config.message_timestamp_type == "LogAppendTime"
        self.timestamp_before_max_ms = config.message_timestamp_before_max_ms
        self.timestamp_after_max_ms = config.message_timestamp_after_max_ms
        self.codec = _CODECS.get(config.compression_type)  # None: as the producer sent it
        self.level = (
            {
                Codec.GZIP: config.compression_gzip_level,
                Codec.LZ4: config.compression_lz4_level,
                Codec.ZSTD: config.compression_zstd_level,
            }.get(self.codec)
            if self.codec is not None
            else None
        )
        # The header has the youngest timestamp only, so a limit to the past needs a look at the records.
        bounds_past = not self.log_append_time and self.timestamp_before_max_ms < _FOREVER_MS
        limits_records = self.max_record_bytes < 2_147_483_639
        self.walks = self.compacted or strict_records or bounds_past or limits_records
        is_examined = self.walks or self.log_append_time or self.codec is not None
        # Up to this size a batch whose header is right is stored as it is.
        self.unexamined_bytes = -1 if is_examined else min(self.max_message_bytes, self.segment_bytes)

"""The configuration of a topic: what the topic overrides, on top of the broker's defaults.

    config = TopicConfig.build(broker_config, {"retention.ms": "1000"})
    config.retention_ms                                         # 1000

Rules
- A TopicConfig is a value: when the topic's overrides or the broker's defaults change, build a new one.
- `validate` is what CreateTopics and the AlterConfigs requests go through; what it lets in, `build` can read.
- Most topic configurations have a broker configuration as their default (`BROKER_SYNONYMS`), several of them a chain
  (retention.ms: log.retention.ms, then minutes, then hours).

Not here: where overrides are kept (cluster/image), DescribeConfigs and its sources (handlers/configs).
Sources: Kafka's TopicConfig, LogConfig (defaults, checks across values), ServerTopicConfigSynonyms.
"""

import re
from collections.abc import Mapping

import attrs

from pykbroker.config import BrokerConfig
from pykbroker.config_tables.definition import (
    LONG_MAX,
    ConfigDef,
    ConfigError,
    ConfigValue,
    at_least,
    between,
    boolean,
    definitions_of,
    double,
    integer,
    long,
    minus_one_or_between,
    one_of,
    some_of,
    string,
    strings,
)
from pykbroker.errors import KafkaError
from wire.errors import ErrorCode

COMPACT, DELETE = "compact", "delete"
_THROTTLED = re.compile(r"\d+:\d+")


def _throttled_replicas(value: list[str]) -> str | None:
    if value == ["*"] or all(_THROTTLED.fullmatch(item) for item in value if item):
        return None
    return "* stands for all replicas; others are listed as partition:broker,partition:broker"


class _Table:
    """Types, defaults and checks; the attribute names are those of TopicConfig."""

    segment_bytes = integer(1_073_741_824, at_least(1_048_576))
    segment_ms = long(604_800_000, at_least(1))
    segment_jitter_ms = long(0, at_least(0))
    segment_index_bytes = integer(10_485_760, at_least(4))
    flush_messages = long(LONG_MAX, at_least(1))
    flush_ms = long(LONG_MAX, at_least(0))
    retention_bytes = long(-1)
    retention_ms = long(604_800_000, at_least(-1))
    max_message_bytes = integer(1_048_588, at_least(0))
    max_decompressed_message_bytes = integer(2_147_483_639, between(1, 2_147_483_639))
    index_interval_bytes = integer(4096, at_least(0))
    delete_retention_ms = long(86_400_000, at_least(0))
    min_compaction_lag_ms = long(0, at_least(0))
    max_compaction_lag_ms = long(LONG_MAX, at_least(1))
    file_delete_delay_ms = long(60_000, at_least(0))
    min_cleanable_dirty_ratio = double(0.5, between(0, 1))
    cleanup_policy = strings([DELETE], some_of(COMPACT, DELETE, empty=True, repeated=True))
    unclean_leader_election_enable = boolean(False)
    min_insync_replicas = integer(1, at_least(1))
    compression_type = string("producer", one_of("uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"))
    compression_gzip_level = integer(-1, minus_one_or_between(1, 9))
    compression_lz4_level = integer(9, between(1, 17))
    compression_zstd_level = integer(3, between(-131_072, 22))
    preallocate = boolean(False)
    message_timestamp_type = string("CreateTime", one_of("CreateTime", "LogAppendTime"))
    message_timestamp_before_max_ms = long(LONG_MAX, at_least(0))
    message_timestamp_after_max_ms = long(3_600_000, at_least(0))
    leader_replication_throttled_replicas = strings([], _throttled_replicas)
    follower_replication_throttled_replicas = strings([], _throttled_replicas)
    remote_storage_enable = boolean(False)
    local_retention_ms = long(-2, at_least(-2))
    local_retention_bytes = long(-2, at_least(-2))
    remote_log_copy_disable = boolean(False)
    remote_copy_lag_ms = long(0, at_least(-1))
    remote_copy_lag_bytes = long(-1, at_least(-1))
    remote_log_delete_on_disable = boolean(False)
    errors_deadletterqueue_group_enable = boolean(False)
    internal_segment_bytes = integer(None, internal=True)


DEFINITIONS: Mapping[str, ConfigDef] = definitions_of(_Table)

# The broker's configuration that gives the default, first choice first; `_UNITS_MS` tells what a number means there.
BROKER_SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "segment.bytes": ("log.segment.bytes",),
    "segment.ms": ("log.roll.ms", "log.roll.hours"),
    "segment.jitter.ms": ("log.roll.jitter.ms", "log.roll.jitter.hours"),
    "segment.index.bytes": ("log.index.size.max.bytes",),
    "flush.messages": ("log.flush.interval.messages",),
    "flush.ms": ("log.flush.interval.ms", "log.flush.scheduler.interval.ms"),
    "retention.bytes": ("log.retention.bytes",),
    "retention.ms": ("log.retention.ms", "log.retention.minutes", "log.retention.hours"),
    "max.message.bytes": ("message.max.bytes",),
    "max.decompressed.message.bytes": ("max.decompressed.message.bytes",),
    "index.interval.bytes": ("log.index.interval.bytes",),
    "delete.retention.ms": ("log.cleaner.delete.retention.ms",),
    "min.compaction.lag.ms": ("log.cleaner.min.compaction.lag.ms",),
    "max.compaction.lag.ms": ("log.cleaner.max.compaction.lag.ms",),
    "file.delete.delay.ms": ("log.segment.delete.delay.ms",),
    "min.cleanable.dirty.ratio": ("log.cleaner.min.cleanable.ratio",),
    "cleanup.policy": ("log.cleanup.policy",),
    "unclean.leader.election.enable": ("unclean.leader.election.enable",),
    "min.insync.replicas": ("min.insync.replicas",),
    "compression.type": ("compression.type",),
    "compression.gzip.level": ("compression.gzip.level",),
    "compression.lz4.level": ("compression.lz4.level",),
    "compression.zstd.level": ("compression.zstd.level",),
    "preallocate": ("log.preallocate",),
    "message.timestamp.type": ("log.message.timestamp.type",),
    "message.timestamp.before.max.ms": ("log.message.timestamp.before.max.ms",),
    "message.timestamp.after.max.ms": ("log.message.timestamp.after.max.ms",),
    "local.retention.ms": ("log.local.retention.ms",),
    "local.retention.bytes": ("log.local.retention.bytes",),
    "remote.copy.lag.ms": ("log.remote.copy.lag.ms",),
    "remote.copy.lag.bytes": ("log.remote.copy.lag.bytes",),
}


@attrs.frozen(eq=False, repr=False)
class TopicConfig:
    """The values in force for one topic."""

    segment_bytes: int
    segment_ms: int
    segment_jitter_ms: int
    segment_index_bytes: int
    flush_messages: int
    flush_ms: int
    retention_bytes: int
    retention_ms: int
    max_message_bytes: int
    max_decompressed_message_bytes: int
    index_interval_bytes: int
    delete_retention_ms: int
    min_compaction_lag_ms: int
    max_compaction_lag_ms: int
    file_delete_delay_ms: int
    min_cleanable_dirty_ratio: float
    cleanup_policy: tuple[str, ...]
    unclean_leader_election_enable: bool
    min_insync_replicas: int
    compression_type: str
    compression_gzip_level: int
    compression_lz4_level: int
    compression_zstd_level: int
    preallocate: bool
    message_timestamp_type: str
    message_timestamp_before_max_ms: int
    message_timestamp_after_max_ms: int
    leader_replication_throttled_replicas: tuple[str, ...]
    follower_replication_throttled_replicas: tuple[str, ...]
    remote_storage_enable: bool
    local_retention_ms: int
    local_retention_bytes: int
    remote_log_copy_disable: bool
    remote_copy_lag_ms: int
    remote_copy_lag_bytes: int
    remote_log_delete_on_disable: bool
    errors_deadletterqueue_group_enable: bool
    internal_segment_bytes: int | None

    @classmethod
    def build(cls, broker_config: BrokerConfig, overrides: Mapping[str, str]) -> "TopicConfig":
        """Resolve the values of a topic. Overrides that no table knows are left out."""
        values: dict[str, object] = broker_defaults(broker_config)
        values.update((name, row.parse(overrides[name])) for name, row in DEFINITIONS.items() if name in overrides)
        return cls(
            **{
                name.replace(".", "_"): tuple(value) if isinstance(value, list) else value
                for name, value in values.items()
            }  # type: ignore[arg-type]
        )

    @property
    def is_compacted(self) -> bool:
        return COMPACT in self.cleanup_policy

    @property
    def is_deleted_by_retention(self) -> bool:
        return DELETE in self.cleanup_policy

    @property
    def log_append_time(self) -> bool:
        return self.message_timestamp_type == "LogAppendTime"

    @property
    def segment_bytes_effective(self) -> int:
        """`segment.bytes`, unless the internal configuration allows smaller segments."""
        return self.segment_bytes if self.internal_segment_bytes is None else self.internal_segment_bytes


def broker_defaults(config: BrokerConfig) -> dict[str, object]:
    """What each topic configuration is on this broker when the topic does not override it, by name."""
    values: dict[str, object] = {name: definition.default for name, definition in DEFINITIONS.items()}
    for name, synonyms in BROKER_SYNONYMS.items():
        values[name] = getattr(config, synonyms[0].replace(".", "_"))
    values["segment.ms"] = config.log_roll_ms_effective
    values["segment.jitter.ms"] = config.log_roll_jitter_ms_effective
    values["retention.ms"] = config.log_retention_ms_effective
    values["flush.ms"] = config.log_flush_interval_ms_effective
    return values


def validate(overrides: Mapping[str, str | None]) -> None:
    """Check what a topic is to override. Raises: KafkaError INVALID_CONFIG with what is wrong."""
    from pykbroker.config_tables.effects import check_not_refused

    values: dict[str, ConfigValue] = {}
    for name, text in overrides.items():
        definition = DEFINITIONS.get(name)
        if definition is None:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"topics have no configuration {name}")
        if text is None:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"no value is given for {name}")
        try:
            values[name] = definition.parse(text)
            check_not_refused("topic", definition, values[name])
        except ConfigError as error:
            raise KafkaError(ErrorCode.INVALID_CONFIG, str(error)) from None
    _check_together(values)


def _check_together(values: Mapping[str, ConfigValue]) -> None:
    """Checks across values, on the overrides with the defaults behind them."""

    def value(name: str) -> int:
        found = values.get(name, DEFINITIONS[name].default)
        assert isinstance(found, int)
        return found

    if value("min.compaction.lag.ms") > value("max.compaction.lag.ms"):
        raise KafkaError(
            ErrorCode.INVALID_CONFIG,
            f"min.compaction.lag.ms={value('min.compaction.lag.ms')} is above "
            f"max.compaction.lag.ms={value('max.compaction.lag.ms')}",
        )

import pytest

from pykbroker.config import DEFINITIONS as BROKER_DEFINITIONS
from pykbroker.config import BrokerConfig
from pykbroker.errors import KafkaError
from pykbroker.topic_config import BROKER_SYNONYMS, DEFINITIONS, TopicConfig, broker_defaults, validate
from wire.errors import ErrorCode


def test_defaults_of_topic_and_broker_agree() -> None:
    config = BrokerConfig.from_properties({})
    assert broker_defaults(config) == {name: definition.default for name, definition in DEFINITIONS.items()}


def test_each_synonym_is_a_broker_configuration_of_the_same_type() -> None:
    for name, synonyms in BROKER_SYNONYMS.items():
        for synonym in synonyms[:1]:
            assert BROKER_DEFINITIONS[synonym].type is DEFINITIONS[name].type, name


def test_override_wins_over_the_broker_and_the_broker_over_the_default() -> None:
    broker = BrokerConfig.from_properties({"log.segment.bytes": "2000000", "log.retention.minutes": "1"})
    config = TopicConfig.build(broker, {"retention.ms": "5", "cleanup.policy": "compact, delete"})
    assert config.segment_bytes == 2_000_000
    assert config.retention_ms == 5
    assert config.cleanup_policy == ("compact", "delete")
    assert config.is_compacted
    assert config.is_deleted_by_retention
    assert TopicConfig.build(broker, {}).retention_ms == 60_000


def test_log_append_time_is_told_by_a_property() -> None:
    broker = BrokerConfig.from_properties({"log.message.timestamp.type": "LogAppendTime"})
    assert TopicConfig.build(broker, {}).log_append_time
    assert not TopicConfig.build(broker, {"message.timestamp.type": "CreateTime"}).log_append_time


def test_internal_segment_bytes_goes_below_the_least_segment() -> None:
    config = TopicConfig.build(BrokerConfig.from_properties({}), {"internal.segment.bytes": "1000"})
    assert config.segment_bytes_effective == 1000


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"nope": "1"}, "nope"),
        ({"retention.ms": None}, "retention.ms"),
        ({"retention.ms": "x"}, "retention.ms cannot be x"),
        ({"retention.ms": "-2"}, "retention.ms cannot be -2: -1 is the least"),
        ({"segment.bytes": "100"}, "1048576 is the least"),
        ({"cleanup.policy": "shrink"}, "one of compact, delete"),
        ({"min.cleanable.dirty.ratio": "2"}, "cannot be 2.0"),
        ({"message.timestamp.type": "x"}, "CreateTime, LogAppendTime"),
        ({"leader.replication.throttled.replicas": "1"}, "* stands for all"),
        ({"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "5"}, "min.compaction.lag.ms"),
        ({"remote.storage.enable": "true"}, "tiered storage"),
    ],
)
def test_wrong_override_is_refused_with_the_reason(overrides: dict[str, str | None], message: str) -> None:
    with pytest.raises(KafkaError) as caught:
        validate(overrides)
    assert caught.value.code is ErrorCode.INVALID_CONFIG
    assert message in str(caught.value.message)


@pytest.mark.parametrize(
    "overrides",
    [
        {"cleanup.policy": ""},
        {"cleanup.policy": "compact,compact"},
        {"leader.replication.throttled.replicas": "*"},
        {"follower.replication.throttled.replicas": "0:1,1:2"},
        {"retention.ms": " 5 "},
    ],
)
def test_unusual_override_that_kafka_takes_is_taken(overrides: dict[str, str | None]) -> None:
    validate(overrides)

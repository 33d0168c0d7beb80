import logging
from collections.abc import Iterator
from typing import Any

import pytest

from pykbroker.cluster.changes import create_topic
from pykbroker.cluster.image import ConfigResourceType
from tests.handlers.cluster_rig import ClusterRig
from tests.handlers.conftest import StartRig
from wire.errors import ErrorCode
from wire.messages.configs import (
    AlterConfigsRequestAlterableConfig,
    AlterConfigsRequestAlterConfigsResource,
    DescribeConfigsResource,
    IncrementalAlterConfigsRequestAlterableConfig,
    IncrementalAlterConfigsRequestAlterConfigsResource,
)

pytestmark = pytest.mark.anyio

TOPIC, BROKER, LOGGER, METRICS, GROUP = (
    ConfigResourceType.TOPIC,
    ConfigResourceType.BROKER,
    ConfigResourceType.BROKER_LOGGER,
    ConfigResourceType.CLIENT_METRICS,
    ConfigResourceType.GROUP,
)
SET, DELETE, APPEND, SUBTRACT = range(4)
DYNAMIC_TOPIC, DYNAMIC_BROKER, DYNAMIC_DEFAULT, STATIC, DEFAULT, LOGGER_LEVEL, CLIENT_METRICS, GROUP_SOURCE = range(
    1, 9
)


@pytest.fixture
async def rig(start_rig: StartRig) -> ClusterRig:
    rig = await start_rig(log_segment_bytes="2000000", ssl_keystore_password="secret")
    await rig.cluster.propose(lambda image: create_topic(image, "t", b"t" * 16, [(1,)], {}))
    return rig


async def describe(rig: ClusterRig, kind: int, name: str, *keys: str, version: int = 4, **fields: object) -> Any:
    resource = DescribeConfigsResource(resource_type=kind, resource_name=name, configuration_keys=list(keys) or None)
    fields.setdefault("include_synonyms", True)
    answer = await rig.call("DescribeConfigs", version, resources=[resource], **fields)
    (result,) = answer.results
    assert (result.resource_type, result.resource_name) == (kind, name)
    return result


async def entry(rig: ClusterRig, kind: int, name: str, key: str) -> tuple[str | None, int, list[tuple[str, Any, int]]]:
    """Return value, source and synonyms of one configuration."""
    (config,) = (await describe(rig, kind, name, key)).configs
    return config.value, config.config_source, [(each.name, each.value, each.source) for each in config.synonyms]


Changes = list[tuple[str, int, str | None]]


async def alter(
    rig: ClusterRig, *resources: tuple[int, str, Changes], version: int = 1, validate_only: bool = False
) -> list[tuple[ErrorCode, str]]:
    answer = await rig.call(
        "IncrementalAlterConfigs",
        version,
        resources=[
            IncrementalAlterConfigsRequestAlterConfigsResource(
                resource_type=kind,
                resource_name=name,
                configs=[
                    IncrementalAlterConfigsRequestAlterableConfig(name=key, config_operation=operation, value=value)
                    for key, operation, value in changes
                ],
            )
            for kind, name, changes in resources
        ],
        validate_only=validate_only,
    )
    assert [(each.resource_type, each.resource_name) for each in answer.responses] == [each[:2] for each in resources]
    return [(ErrorCode(each.error_code), each.error_message or "") for each in answer.responses]


async def replace(
    rig: ClusterRig, *resources: tuple[int, str, dict[str, str | None]], validate_only: bool = False
) -> list[tuple[ErrorCode, str]]:
    answer = await rig.call(
        "AlterConfigs",
        2,
        resources=[
            AlterConfigsRequestAlterConfigsResource(
                resource_type=kind,
                resource_name=name,
                configs=[AlterConfigsRequestAlterableConfig(name=key, value=value) for key, value in values.items()],
            )
            for kind, name, values in resources
        ],
        validate_only=validate_only,
    )
    return [(ErrorCode(each.error_code), each.error_message or "") for each in answer.responses]


OK = (ErrorCode.NONE, "")


async def test_topic_tells_where_each_value_comes_from(rig: ClusterRig) -> None:
    await alter(rig, (TOPIC, "t", [("retention.ms", SET, "5")]))
    assert await entry(rig, TOPIC, "t", "retention.ms") == ("5", DYNAMIC_TOPIC, [("retention.ms", "5", DYNAMIC_TOPIC)])
    assert await entry(rig, TOPIC, "t", "segment.bytes") == (
        "2000000",
        STATIC,
        [("log.segment.bytes", "2000000", STATIC), ("log.segment.bytes", "1073741824", DEFAULT)],
    )
    assert await entry(rig, TOPIC, "t", "cleanup.policy") == (
        "delete",
        DEFAULT,
        [("log.cleanup.policy", "delete", DEFAULT)],
    )
    assert await entry(rig, TOPIC, "t", "segment.ms") == ("604800000", DEFAULT, [])
    assert await entry(rig, TOPIC, "t", "min.insync.replicas") == (
        "1",
        DYNAMIC_DEFAULT,
        [("min.insync.replicas", "1", DYNAMIC_DEFAULT), ("min.insync.replicas", "1", DEFAULT)],
    )


async def test_all_are_described_when_no_key_is_named(rig: ClusterRig) -> None:
    result = await describe(rig, TOPIC, "t")
    assert len(result.configs) == 37
    assert not any(config.read_only or config.is_sensitive for config in result.configs)


async def test_types_and_documentation_come_with_version_three(rig: ClusterRig) -> None:
    for version in range(1, 5):
        fields = {"include_documentation": True} if version >= 3 else {}
        (config,) = (await describe(rig, TOPIC, "t", "retention.ms", version=version, **fields)).configs
        assert config.config_type == (5 if version >= 3 else 0)
        assert bool(config.documentation) is (version >= 3)
    (config,) = (await describe(rig, TOPIC, "t", "retention.ms", include_synonyms=False)).configs
    assert (config.documentation, config.synonyms) == (None, [])


async def test_every_configuration_that_is_shown_is_documented(rig: ClusterRig) -> None:
    for kind, name in ((TOPIC, "t"), (BROKER, "1"), (GROUP, "g"), (METRICS, "m")):
        result = await describe(rig, kind, name, include_documentation=True)
        assert [config.name for config in result.configs if not config.documentation] == []


async def test_broker_shows_all_of_kafkas_configurations(rig: ClusterRig) -> None:
    result = await describe(rig, BROKER, "1")
    assert len(result.configs) == 350
    shown = {config.name: config for config in result.configs}
    assert (shown["num.partitions"].value, shown["num.partitions"].read_only) == ("1", True)
    assert not shown["message.max.bytes"].read_only
    assert (shown["broker.id"].value, shown["broker.id"].config_source) == ("1", STATIC)
    assert shown["log.cleaner.io.max.bytes.per.second"].value == "1.7976931348623157E308"
    assert "log.initial.task.delay.ms" not in shown  # internal


async def test_secret_is_never_told(rig: ClusterRig) -> None:
    (config,) = (await describe(rig, BROKER, "1", "ssl.keystore.password")).configs
    assert (config.value, config.is_sensitive, config.config_source) == (None, True, STATIC)
    assert [synonym.value for synonym in config.synonyms] == [None]


@pytest.mark.parametrize(
    ("kind", "name", "code", "message"),
    [
        (TOPIC, "nope", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ""),
        (TOPIC, "a b", ErrorCode.INVALID_TOPIC_EXCEPTION, "a b"),
        (TOPIC, "", ErrorCode.INVALID_TOPIC_EXCEPTION, "empty"),
        (BROKER, "7", ErrorCode.INVALID_REQUEST, "broker 7 is asked for, but this is broker 1"),
        (BROKER, "x", ErrorCode.INVALID_REQUEST, "x is not the number of a broker"),
        (LOGGER, "7", ErrorCode.INVALID_REQUEST, "broker 7 is asked for, but this is broker 1"),
        (LOGGER, "", ErrorCode.INVALID_REQUEST, "number of the broker"),
        (GROUP, "", ErrorCode.INVALID_REQUEST, "name of the group"),
        (METRICS, "", ErrorCode.INVALID_REQUEST, "name of the subscription"),
        (1, "x", ErrorCode.INVALID_REQUEST, "type 1"),
        (99, "x", ErrorCode.INVALID_REQUEST, "type 99"),
    ],
)
async def test_resource_that_cannot_be_described_says_why(
    rig: ClusterRig, kind: int, name: str, code: ErrorCode, message: str
) -> None:
    result = await describe(rig, kind, name, include_documentation=True)
    assert (result.error_code, result.configs) == (code, [])
    assert message in result.error_message


# Changing topics


async def test_topic_configs_are_set_and_deleted(rig: ClusterRig) -> None:
    for version in (0, 1):
        changes: Changes = [("retention.ms", SET, "5"), ("cleanup.policy", SET, "compact")]
        assert await alter(rig, (TOPIC, "t", changes), version=version) == [OK]
        assert rig.cluster.topic_config("t").retention_ms == 5
        assert await alter(rig, (TOPIC, "t", [("retention.ms", DELETE, None)]), version=version) == [OK]
        assert rig.cluster.image.config(TOPIC, "t") == {"cleanup.policy": "compact"}


async def test_list_is_appended_to_and_subtracted_from(rig: ClusterRig) -> None:
    async def change(operation: int, value: str) -> str | None:
        assert await alter(rig, (TOPIC, "t", [("cleanup.policy", operation, value)])) == [OK]
        return rig.cluster.image.config(TOPIC, "t")["cleanup.policy"]

    assert await change(APPEND, "compact") == "delete,compact"  # to the broker's default
    assert await change(APPEND, "compact,delete") == "delete,compact"
    assert await change(SUBTRACT, "delete") == "compact"
    assert await change(SUBTRACT, "compact") == ""
    assert await change(APPEND, "delete") == "delete"


@pytest.mark.parametrize(
    ("name", "changes", "code", "message"),
    [
        (
            "nope",
            [("retention.ms", SET, "7")],
            ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
            "nope",
        ),
        ("", [("retention.ms", SET, "7")], ErrorCode.INVALID_REQUEST, "which topic"),
        ("t", [("nope", SET, "7")], ErrorCode.INVALID_CONFIG, "nope"),
        ("t", [("retention.ms", SET, "x")], ErrorCode.INVALID_CONFIG, "no LONG"),
        ("t", [("retention.ms", SET, None)], ErrorCode.INVALID_REQUEST, "retention.ms"),
        (
            "t",
            [("retention.ms", APPEND, "7")],
            ErrorCode.INVALID_CONFIG,
            "APPEND is for lists, and retention.ms",
        ),
        ("t", [("cleanup.policy", APPEND, "")], ErrorCode.INVALID_CONFIG, "an item is empty"),
        ("t", [("cleanup.policy", APPEND, "foo")], ErrorCode.INVALID_CONFIG, "compact, delete"),
        (
            "t",
            [("retention.ms", SET, "7"), ("retention.ms", DELETE, None)],
            ErrorCode.INVALID_REQUEST,
            "twice",
        ),
    ],
)
async def test_change_that_is_wrong_is_refused_with_the_reason(
    rig: ClusterRig, name: str, changes: Changes, code: ErrorCode, message: str
) -> None:
    ((found, told),) = await alter(rig, (TOPIC, name, changes))
    assert found is code
    assert message in told
    assert rig.cluster.image.config(TOPIC, name) == {}


async def test_operation_that_does_not_exist_is_an_error_without_a_reason(rig: ClusterRig) -> None:
    assert await alter(rig, (TOPIC, "t", [("retention.ms", 9, "7")])) == [(ErrorCode.UNKNOWN_SERVER_ERROR, "")]
    assert rig.cluster.image.config(TOPIC, "t") == {}


async def test_one_wrong_resource_does_not_hold_up_the_others(rig: ClusterRig) -> None:
    answers = await alter(
        rig, (TOPIC, "nope", [("retention.ms", SET, "7")]), (TOPIC, "t", [("retention.ms", SET, "7")])
    )
    assert [code for code, _ in answers] == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.NONE]
    assert rig.cluster.image.config(TOPIC, "t") == {"retention.ms": "7"}


async def test_resource_that_is_twice_in_a_request_is_refused_both_times(rig: ClusterRig) -> None:
    change: tuple[int, str, Changes] = (TOPIC, "t", [("retention.ms", SET, "7")])
    refused = (ErrorCode.INVALID_REQUEST, "the request names this resource more than once")
    assert await alter(rig, change, change) == [refused, refused]


async def test_change_that_is_only_validated_changes_nothing(rig: ClusterRig) -> None:
    changes: Changes = [("retention.ms", SET, "7")]
    assert await alter(rig, (TOPIC, "t", changes), validate_only=True) == [OK]
    assert await replace(rig, (TOPIC, "t", {"retention.ms": "7"}), validate_only=True) == [OK]
    assert rig.cluster.image.config(TOPIC, "t") == {}


async def test_older_request_replaces_all_that_was_set(rig: ClusterRig) -> None:
    assert await replace(rig, (TOPIC, "t", {"retention.ms": "9"}), (TOPIC, "nope", {})) == [
        OK,
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "there is no topic nope"),
    ]
    assert await replace(rig, (TOPIC, "t", {"cleanup.policy": "compact"})) == [OK]
    assert rig.cluster.image.config(TOPIC, "t") == {"cleanup.policy": "compact"}
    assert await replace(rig, (TOPIC, "t", {})) == [OK]
    assert rig.cluster.image.config(TOPIC, "t") == {}


async def test_older_request_refuses_nulls_and_loggers(rig: ClusterRig) -> None:
    assert await replace(rig, (TOPIC, "t", {"retention.ms": None}), (LOGGER, "1", {"root": "INFO"}), (99, "x", {})) == [
        (ErrorCode.INVALID_REQUEST, "no value is given for retention.ms"),
        (ErrorCode.INVALID_REQUEST, "there are no configurations of type 8"),
        (ErrorCode.INVALID_REQUEST, "there are no configurations of type 99"),
    ]


# Changing brokers


async def test_broker_value_overrides_the_default_of_all_brokers(rig: ClusterRig) -> None:
    name = "message.max.bytes"
    assert await alter(rig, (BROKER, "", [(name, SET, "20")]), (BROKER, "1", [(name, SET, "30")])) == [OK, OK]
    assert rig.config.message_max_bytes == 30
    synonyms = [(name, "30", DYNAMIC_BROKER), (name, "20", DYNAMIC_DEFAULT), (name, "1048588", DEFAULT)]
    assert await entry(rig, BROKER, "1", name) == ("30", DYNAMIC_BROKER, synonyms)
    assert await entry(rig, TOPIC, "t", "max.message.bytes") == ("30", DYNAMIC_BROKER, synonyms)
    assert await entry(rig, BROKER, "", name) == ("20", DYNAMIC_DEFAULT, [(name, "20", DYNAMIC_DEFAULT)])
    assert await alter(rig, (BROKER, "1", [(name, DELETE, None)])) == [OK]
    assert rig.config.message_max_bytes == 20


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("1", "num.partitions", "2", "num.partitions can only be set when the broker starts"),
        ("1", "message.max.bytes", "x", "no INT"),
        ("1", "message.max.bytes", "-1", "0 is the least"),
        ("", "listeners", "PLAINTEXT://:1", "listeners can only be set for one broker"),
        ("1", "ssl.keystore.password", "x", "for one listener"),
        ("1", "log.cleaner.threads", "9", "log.cleaner.threads=9"),
        ("1", "num.io.threads", "1", "num.io.threads=1"),
        ("7", "message.max.bytes", "1", "broker 7 is meant, but this is broker 1"),
        ("x", "message.max.bytes", "1", "x is not the number of a broker"),
    ],
)
async def test_broker_change_that_is_wrong_is_an_invalid_request(
    rig: ClusterRig, name: str, key: str, value: str, message: str
) -> None:
    ((code, told),) = await alter(rig, (BROKER, name, [(key, SET, value)]))
    assert code is ErrorCode.INVALID_REQUEST
    assert message in told


async def test_unknown_broker_config_is_kept_and_treated_as_a_secret(rig: ClusterRig) -> None:
    assert await alter(rig, (BROKER, "1", [("plugin.key", SET, "x")]), (BROKER, "", [("plugin.key", SET, "y")])) == [
        OK,
        OK,
    ]
    for name, source in (("1", DYNAMIC_BROKER), ("", DYNAMIC_DEFAULT)):
        (config,) = (await describe(rig, BROKER, name, "plugin.key")).configs
        assert (config.value, config.is_sensitive, config.read_only, config.config_source) == (None, True, True, source)


async def test_min_isr_of_the_cluster_cannot_be_unset(rig: ClusterRig) -> None:
    name = "min.insync.replicas"
    assert [code for code, _ in await alter(rig, (BROKER, "", [(name, DELETE, None)]))] == [ErrorCode.INVALID_CONFIG]
    assert [code for code, _ in await alter(rig, (BROKER, "1", [(name, SET, "2")]))] == [ErrorCode.INVALID_CONFIG]
    assert [code for code, _ in await replace(rig, (BROKER, "", {}))] == [ErrorCode.INVALID_CONFIG]
    assert await alter(rig, (BROKER, "", [(name, SET, "2")])) == [OK]
    assert rig.config.min_insync_replicas == 2


# Loggers


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("pykbroker.test_configs")
    logger.setLevel(logging.WARNING)
    yield logger
    logger.setLevel(logging.NOTSET)


async def test_level_of_a_logger_is_told_and_set(rig: ClusterRig, logger: logging.Logger) -> None:
    assert await entry(rig, LOGGER, "1", logger.name) == ("WARN", LOGGER_LEVEL, [])
    assert await alter(rig, (LOGGER, "1", [(logger.name, SET, "DEBUG")]), validate_only=True) == [OK]
    assert logger.level == logging.WARNING
    assert await alter(rig, (LOGGER, "1", [(logger.name, SET, "DEBUG")])) == [OK]
    assert logger.level == logging.DEBUG
    assert await alter(rig, (LOGGER, "1", [(logger.name, DELETE, None)])) == [OK]
    assert logger.level == logging.NOTSET


@pytest.mark.parametrize(
    ("name", "change", "code", "message"),
    [
        ("1", ("no.such.logger", SET, "INFO"), ErrorCode.INVALID_CONFIG, "no.such.logger"),
        ("1", ("root", SET, "LOUD"), ErrorCode.INVALID_CONFIG, "none of the log levels"),
        ("1", ("root", APPEND, "INFO"), ErrorCode.INVALID_REQUEST, "APPEND"),
        ("1", ("root", DELETE, None), ErrorCode.INVALID_REQUEST, "the root logger"),
        ("7", ("root", SET, "INFO"), ErrorCode.INVALID_REQUEST, "broker 7 is meant, but this is broker 1"),
        ("", ("root", SET, "INFO"), ErrorCode.INVALID_REQUEST, "is not the number of a broker"),
    ],
)
async def test_level_that_cannot_be_set_says_why(
    rig: ClusterRig, name: str, change: tuple[str, int, str | None], code: ErrorCode, message: str
) -> None:
    ((found, told),) = await alter(rig, (LOGGER, name, [change]))
    assert found is code
    assert message in told


# Groups and client metrics


async def test_group_overrides_what_the_broker_gives_all(rig: ClusterRig) -> None:
    name = "consumer.session.timeout.ms"
    broker_default = (f"group.{name}", "45000", DEFAULT)
    assert await entry(rig, GROUP, "g", name) == ("45000", DEFAULT, [broker_default])
    assert await alter(rig, (GROUP, "g", [(name, SET, "50000")])) == [OK]
    assert await entry(rig, GROUP, "g", name) == (
        "50000",
        GROUP_SOURCE,
        [(name, "50000", GROUP_SOURCE), broker_default],
    )
    assert await entry(rig, GROUP, "g", "streams.assignor.name") == (
        "sticky",
        DEFAULT,
        [("group.streams.assignors", "sticky", DEFAULT)],
    )
    assert len((await describe(rig, GROUP, "g")).configs) == 21


@pytest.mark.parametrize(
    ("group", "key", "value", "code", "message"),
    [
        ("g", "nope", "1", ErrorCode.INVALID_CONFIG, "nope"),
        ("g", "consumer.session.timeout.ms", "5", ErrorCode.INVALID_CONFIG, "from 45000 to 60000"),
        ("g", "streams.num.standby.replicas", "3", ErrorCode.INVALID_CONFIG, "at most 2"),
        ("g", "share.auto.offset.reset", "x", ErrorCode.INVALID_CONFIG, "earliest, latest"),
        ("", "consumer.session.timeout.ms", "50000", ErrorCode.INVALID_REQUEST, "which group"),
    ],
)
async def test_group_change_that_is_wrong_says_why(
    rig: ClusterRig, *, group: str, key: str, value: str, code: ErrorCode, message: str
) -> None:
    ((found, told),) = await alter(rig, (GROUP, group, [(key, SET, value)]))
    assert found is code
    assert message in told


@pytest.mark.parametrize("value", ["earliest", "latest", "by_duration:P1DT2H3.5S", "by_duration:PT1M"])
async def test_share_group_may_start_at_a_time_ago(rig: ClusterRig, value: str) -> None:
    assert await alter(rig, (GROUP, "g", [("share.auto.offset.reset", SET, value)])) == [OK]


async def test_client_metrics_subscription_is_set_and_told(rig: ClusterRig) -> None:
    changes: Changes = [("interval.ms", SET, "100"), ("metrics", SET, "a,b"), ("match", SET, "client_id=x.*")]
    assert await entry(rig, METRICS, "m", "interval.ms") == ("300000", DEFAULT, [])
    assert await alter(rig, (METRICS, "m", changes)) == [OK]
    assert await entry(rig, METRICS, "m", "metrics") == ("a,b", CLIENT_METRICS, [("metrics", "a,b", CLIENT_METRICS)])


@pytest.mark.parametrize(
    ("name", "key", "value", "code", "message"),
    [
        ("m", "interval.ms", "5", ErrorCode.INVALID_REQUEST, "from 100 to 3600000"),
        ("m", "match", "client_id", ErrorCode.INVALID_CONFIG, "match cannot be understood: client_id"),
        ("m", "match", "colour=x", ErrorCode.INVALID_CONFIG, "match cannot be understood: colour=x"),
        ("m", "match", "client_id=(", ErrorCode.INVALID_CONFIG, "match cannot be understood: client_id=("),
        ("m", "nope", "x", ErrorCode.INVALID_REQUEST, "nope"),
        ("", "interval.ms", "1000", ErrorCode.INVALID_REQUEST, "a name"),
    ],
)
async def test_client_metrics_change_that_is_wrong_says_why(
    rig: ClusterRig, *, name: str, key: str, value: str, code: ErrorCode, message: str
) -> None:
    ((found, told),) = await alter(rig, (METRICS, name, [(key, SET, value)]))
    assert found is code
    assert message in told


async def test_resources_are_listed_by_type(rig: ClusterRig) -> None:
    await alter(
        rig,
        (METRICS, "m", [("metrics", SET, "a")]),
        (GROUP, "g", [("consumer.session.timeout.ms", SET, "50000")]),
    )

    async def listed(version: int, *kinds: int) -> set[tuple[int, str]]:
        fields = {"resource_types": list(kinds)} if version else {}
        answer = await rig.call("ListConfigResources", version, **fields)
        assert answer.error_code == 0
        return {(each.resource_type, each.resource_name) for each in answer.config_resources}

    assert await listed(0) == {(METRICS, "m")}
    assert await listed(1, BROKER, GROUP) == {(BROKER, "1"), (GROUP, "g")}
    everything = {(TOPIC, "t"), (BROKER, "1"), (LOGGER, "1"), (METRICS, "m"), (GROUP, "g")}
    assert await listed(1) == everything
    answer = await rig.call("ListConfigResources", 1, resource_types=[TOPIC, 1])
    assert (answer.error_code, answer.config_resources) == (ErrorCode.UNSUPPORTED_VERSION, [])

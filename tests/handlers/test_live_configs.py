"""A change of a configuration counts where it is used, without a restart."""

import pytest

from pykbroker.cluster.changes import create_topic, set_configs
from pykbroker.cluster.image import ConfigResourceType
from pykbroker.config import base_name
from pykbroker.config_tables.definition import ConfigType
from pykbroker.config_tables.effects import Statement, effect_of
from pykbroker.topic_config import BROKER_SYNONYMS, DEFINITIONS
from tests.handlers.cluster_rig import ClusterRig
from tests.handlers.conftest import StartRig
from tests.handlers.test_configs import BROKER, OK, SET, TOPIC, alter, describe, entry

pytestmark = pytest.mark.anyio

INHERITED = sorted(
    name
    for name, row in DEFINITIONS.items()
    if name in BROKER_SYNONYMS and effect_of("topic", row).statement is Statement.LIVE
)
OTHER_VALUES = {
    "cleanup.policy": "compact",
    "compression.type": "zstd",
    "message.timestamp.type": "LogAppendTime",
    "max.decompressed.message.bytes": "1000000",
    "compression.gzip.level": "3",
    "min.cleanable.dirty.ratio": "0.25",
}


def other_value(name: str) -> str:
    row = DEFINITIONS[name]
    if row.type is ConfigType.BOOLEAN:
        return "true"
    return OTHER_VALUES.get(name) or str(max(int(str(row.default)) // 2, 2))


@pytest.fixture
async def rig(start_rig: StartRig) -> ClusterRig:
    rig = await start_rig()
    rig.replicas.open()
    rig.cluster.on_image.append(rig.replicas.on_image)
    await rig.cluster.propose(lambda image: create_topic(image, "t", b"t" * 16, [(1,)], {}))
    return rig


def in_force(rig: ClusterRig, name: str) -> str | None:
    """What the log of the topic goes by."""
    value = getattr(rig.replicas.partition("t", 0).log.config, name.replace(".", "_"))
    return DEFINITIONS[name].render(value)


@pytest.mark.parametrize("name", INHERITED)
async def test_topic_goes_by_what_is_set_for_all_brokers_and_by_its_own_first(rig: ClusterRig, name: str) -> None:
    value, usual = other_value(name), in_force(rig, name)
    assert value != usual
    synonym = BROKER_SYNONYMS[name][0]
    assert await alter(rig, (BROKER, "", [(synonym, SET, value)])) == [OK]
    assert in_force(rig, name) == value
    assert usual is not None
    assert await alter(rig, (TOPIC, "t", [(name, SET, usual)])) == [OK]
    assert in_force(rig, name) == usual


async def test_limit_of_all_brokers_is_that_of_the_next_append(rig: ClusterRig) -> None:
    log = rig.replicas.partition("t", 0).log
    assert log.append_rules.max_message_bytes == 1_048_588
    await alter(rig, (BROKER, "", [("message.max.bytes", SET, "1000")]))
    assert log.append_rules.max_message_bytes == 1000
    await alter(rig, (BROKER, "", [("compression.type", SET, "gzip"), ("compression.gzip.level", SET, "2")]))
    assert (log.append_rules.codec, log.append_rules.level) == (1, 2)


async def test_value_that_another_version_wrote_leaves_what_was_in_force(
    rig: ClusterRig, caplog: pytest.LogCaptureFixture
) -> None:
    await alter(rig, (BROKER, "", [("message.max.bytes", SET, "1000")]))
    values = {"message.max.bytes": "many", "log.cleaner.threads": "2"}
    await rig.cluster.propose(lambda image: set_configs(image, (ConfigResourceType.BROKER, ""), values))
    assert (rig.config.message_max_bytes, rig.config.log_cleaner_threads) == (1000, 2)
    assert "message.max.bytes cannot be many" in caplog.text


async def test_configuration_of_a_listener_is_described_with_what_it_overrides(rig: ClusterRig) -> None:
    name = "listener.name.plaintext.max.connections"
    secret, unknown = "listener.name.plaintext.ssl.keystore.password", "listener.name.plaintext.of.a.plugin"
    changes = [(name, SET, "5"), (secret, SET, "x"), (unknown, SET, "x")]
    assert await alter(rig, (BROKER, "1", changes)) == [OK]
    synonyms = [(name, "5", 2), ("max.connections", "2147483647", 5)]
    assert await entry(rig, BROKER, "1", name) == ("5", 2, synonyms)
    described = {each.name: each for each in (await describe(rig, BROKER, "1")).configs}
    assert [(described[each].is_sensitive, described[each].value) for each in (name, secret, unknown)] == [
        (False, "5"),
        (True, None),
        (True, None),
    ]
    assert all(described[each].read_only for each in (name, secret, unknown))  # in Kafka's words


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("listener.name.a.max.connections", "max.connections"),
        ("listener.name.a", "listener.name.a"),
        ("max.connections", "max.connections"),
        ("listener.security.protocol.map", "listener.security.protocol.map"),
    ],
)
def test_name_without_its_listener(name: str, base: str) -> None:
    assert base_name(name) == base


async def test_change_is_checked_together_with_what_is_set_already(rig: ClusterRig) -> None:
    assert await alter(rig, (BROKER, "", [("log.retention.ms", SET, "1000")])) == [OK]
    ((code, message),) = await alter(rig, (BROKER, "1", [("log.local.retention.ms", SET, "1001")]))
    assert (code, message) == (42, "log.local.retention.ms cannot be 1001: log.retention.ms is 1000")
    assert await alter(rig, (BROKER, "1", [("log.local.retention.ms", SET, "1000")])) == [OK]


async def test_list_is_changed_from_its_default_not_from_the_properties(start_rig: StartRig) -> None:
    rig = await start_rig(log_cleanup_policy="compact")
    assert await alter(rig, (BROKER, "1", [("log.cleanup.policy", 2, "compact")])) == [OK]
    assert rig.config.log_cleanup_policy == ["delete", "compact"]

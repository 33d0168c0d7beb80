from pathlib import Path

import pytest

from pykbroker.config import BrokerConfig, ConfigError
from pykbroker.config_tables.store_location import EtcdLocation, parse_store


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sqlite", None),
        ("sqlite:/some/where", Path("/some/where")),
        ("sqlite:here", Path("here")),
        ("etcd://h:2379", EtcdLocation((("h", 2379),), "/pykbroker")),
        ("etcd://h:2379/", EtcdLocation((("h", 2379),), "/pykbroker")),
        ("etcd://a.b:1,[::1]:2/x/y/", EtcdLocation((("a.b", 1), ("::1", 2)), "/x/y")),
    ],
)
def test_location_is_understood(text: str, expected: object) -> None:
    assert parse_store(text) == expected
    assert BrokerConfig.from_properties({"pykbroker.store": text}).pykbroker_store == text


@pytest.mark.parametrize(
    "text", ["", "sqlite:", "SQLITE", "etcd:", "etcd://", "etcd://h", "etcd://h:0", "etcd://h:65536", "etcd://h:1,/p"]
)
def test_wrong_location_is_told_at_start(text: str) -> None:
    with pytest.raises(ConfigError, match=r"pykbroker\.store"):
        BrokerConfig.from_properties({"pykbroker.store": text})

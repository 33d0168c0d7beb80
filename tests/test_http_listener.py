import pytest

from pykbroker.config import BrokerConfig, ConfigError
from pykbroker.config_tables.http_listener import parse_http_listener


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("9644", ("127.0.0.1", 9644)),
        (":0", ("127.0.0.1", 0)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("broker-1.example.org:9644", ("broker-1.example.org", 9644)),
        ("[::1]:9644", ("::1", 9644)),
    ],
)
def test_address_is_host_and_port_and_of_loopback_without_a_host(text: str, expected: tuple[str, int]) -> None:
    assert parse_http_listener(text) == expected


@pytest.mark.parametrize("text", ["", "host", "host:", "::1:80", "http://host:80", "host:65536", "[::1]", "a b:1"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is not HOST:PORT"):
        parse_http_listener(text)


def test_property_is_checked_when_the_broker_starts_and_off_unless_set() -> None:
    assert BrokerConfig.from_properties({}).pykbroker_http_listener == ""
    with pytest.raises(ConfigError, match=r"pykbroker\.http\.listener"):
        BrokerConfig.from_properties({"pykbroker.http.listener": "host"})

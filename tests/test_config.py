import logging
from pathlib import Path

import pytest

from pykbroker.config import DEFINITIONS, BrokerConfig, ConfigError, Endpoint, parse_properties, read_properties


def test_property_of_each_type_becomes_a_typed_field() -> None:
    config = BrokerConfig.from_properties(
        {
            "num.partitions": " 3 ",
            "auto.create.topics.enable": "FALSE",
            "log.cleaner.min.cleanable.ratio": "0.25",
            "log.dirs": "/a, /b",
            "log.retention.bytes": "-1",
            "broker.rack": "r1",
        }
    )
    assert config.num_partitions == 3
    assert config.auto_create_topics_enable is False
    assert config.log_cleaner_min_cleanable_ratio == 0.25
    assert config.log_dirs == ["/a", "/b"]
    assert config.log_retention_bytes == -1
    assert config.broker_rack == "r1"


def test_defaults_are_those_of_kafka() -> None:
    config = BrokerConfig.from_properties({})
    assert config.socket_request_max_bytes == 104_857_600
    assert config.message_max_bytes == 1_048_588
    assert config.offsets_topic_num_partitions == 50
    assert config.log_retention_ms is None
    assert config.log_retention_ms_effective == 168 * 3_600_000
    assert not config.is_set("message.max.bytes")


@pytest.mark.parametrize(
    ("properties", "line"),
    [
        ({"num.partitions": "many"}, "num.partitions cannot be many"),
        ({"num.partitions": "0"}, "num.partitions cannot be 0: 1 is the least"),
        ({"num.partitions": "99999999999"}, "no INT"),
        ({"delete.topic.enable": "yes"}, "true or false"),
        ({"log.cleaner.min.cleanable.ratio": "1.5"}, "1 is the most"),
        ({"compression.type": "bzip2"}, "one of uncompressed, zstd, lz4, snappy, gzip, producer"),
        ({"compression.gzip.level": "0"}, "1 to 9 are possible, and -1"),
        ({"log.cleanup.policy": "compact,shrink"}, "one of compact, delete"),
        ({"group.share.max.size": "0"}, "group.share.max.size cannot be 0"),
        ({"broker.id": "1", "node.id": "2"}, "they must be equal"),
        ({"log.dirs": "/a,,/b"}, "log.dirs has an empty entry"),
        ({"log.dirs": "/a,/b", "cordoned.log.dirs": "/c"}, "cordoned.log.dirs has /c, which is not among log.dirs"),
        ({"group.min.session.timeout.ms": "9", "group.max.session.timeout.ms": "8"}, "is greater than"),
        ({"listeners": "PLAINTEXT:9092"}, "is not NAME://host:port"),
        ({"listeners": "PLAINTEXT://:65536"}, "is not NAME://host:port"),
        ({"listeners": "OTHER://:9092"}, "OTHER has no entry in listener.security.protocol.map"),
        ({"listeners": "PLAINTEXT://:1,PLAINTEXT://:2"}, "the listener PLAINTEXT is there twice"),
        ({"listeners": "PLAINTEXT://:1,SSL://:1"}, "the port 1 is there twice"),
        ({"listeners": "C://:1", "controller.listener.names": "C"}, "no listener for clients"),
        ({"advertised.listeners": "SSL://h:1"}, "advertised.listeners names SSL but listeners has PLAINTEXT"),
        ({"advertised.listeners": ""}, "advertised.listeners names none but listeners has PLAINTEXT"),
        ({"advertised.listeners": "PLAINTEXT://0.0.0.0:1"}, "no client can reach it"),
        ({"pykbroker.cluster.id": "mine"}, "pykbroker.cluster.id cannot be mine: a cluster's id is 16 bytes"),
        ({"inter.broker.listener.name": "INTERNAL"}, "is not among the advertised listeners"),
        ({"listener.security.protocol.map": "A:B"}, "A:B is not NAME:PROTOCOL"),
        ({"offsets.topic.compression.codec": "7"}, "not the number of a codec"),
        ({"process.roles": "controller"}, "process.roles has no broker"),
        ({"log.retention.hours": "0"}, "log.retention.ms cannot be 0"),
        ({"log.local.retention.bytes": "9", "log.retention.bytes": "8"}, "log.local.retention.bytes cannot be 9"),
        ({"log.remote.copy.lag.ms": "9", "log.local.retention.ms": "8"}, "log.remote.copy.lag.ms cannot be 9"),
        ({"log.cleaner.dedupe.buffer.size": "2097152", "log.cleaner.threads": "2"}, "more than 1 MB for each of 2"),
        ({"max.connections.per.ip": "0"}, "only where max.connections.per.ip.overrides is set"),
        ({"cordoned.log.dirs": "*,/tmp/kafka-logs"}, "* stands for all"),
        ({"group.consumer.session.timeout.ms": "60001"}, "group.consumer.session.timeout.ms is to be from 45000"),
        ({"listener.name.plaintext.max.connections": "x"}, "max.connections cannot be x"),
        ({"log.cleaner.io.buffer.load.factor": "1_0"}, "no DOUBLE"),
        ({"ssl.enabled.protocols": "TLSv1.2,TLSv1.2"}, "an item is there twice"),
    ],
)
def test_wrong_properties_are_one_clear_line(properties: dict[str, str], line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        BrokerConfig.from_properties(properties)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fewer_listeners_may_be_advertised_than_there_are() -> None:
    properties = {"listeners": "PLAINTEXT://:1,SSL://:2", "advertised.listeners": "PLAINTEXT://h:1"}
    assert [each.listener for each in BrokerConfig.from_properties(properties).advertised_endpoints] == ["PLAINTEXT"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [("0.9", "0.9"), ("10000000", "1.0E7"), ("9999999", "9999999.0"), ("12345678.9f", "1.23456789E7"),
     ("5e-4", "5.0E-4"), ("-Infinity", "-Infinity"), ("NaN", "NaN"), ("-.5", "-0.5")],
)  # fmt: skip
def test_double_is_read_and_shown_as_java_does(text: str, shown: str) -> None:
    definition = DEFINITIONS["log.cleaner.io.max.bytes.per.second"]
    assert definition.render(definition.parse(text)) == shown


def test_password_keeps_its_spaces() -> None:
    config = BrokerConfig.from_properties({"ssl.keystore.password": " a b "})
    assert config.value_of("ssl.keystore.password") == " a b "


def test_unknown_property_is_ignored() -> None:
    assert BrokerConfig.from_properties({"my.plugin.setting": "x"}).properties == {"my.plugin.setting": "x"}


def test_properties_that_nothing_acts_on_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    properties = {"num.io.threads": "8", "num.partitons": "3", "listener.name.external.num.network.threads": "3"}
    BrokerConfig.from_properties({**properties, "num.partitions": "3"}).log_what_is_ignored()
    assert [(record.levelname, record.getMessage().rpartition(": ")[2]) for record in caplog.records] == [
        ("INFO", "listener.name.external.num.network.threads, num.io.threads"),
        ("WARNING", "num.partitons"),
    ]
    caplog.clear()
    BrokerConfig.from_properties({"num.partitions": "3", "process.roles": "broker"}).log_what_is_ignored()
    assert not caplog.records


def test_either_of_two_names_of_the_node_id_sets_both() -> None:
    assert BrokerConfig.from_properties({"broker.id": "7"}).node_id == 7
    assert BrokerConfig.from_properties({"node.id": "8"}).broker_id == 8


def test_log_dir_stands_in_for_log_dirs() -> None:
    assert BrokerConfig.from_properties({"log.dir": "/only"}).log_dirs == ["/only"]


def test_some_of_the_listeners_may_be_advertised() -> None:
    properties = {"listeners": "PLAINTEXT://:1,SSL://:2", "advertised.listeners": "SSL://h:3"}
    (endpoint,) = BrokerConfig.from_properties(properties).advertised_endpoints
    assert endpoint == Endpoint("SSL", "SSL", "h", 3)


def test_controller_listener_is_not_opened_for_clients() -> None:
    config = BrokerConfig.from_properties(
        {
            "listeners": "INTERNAL://[::1]:9092,CONTROLLER://:9093,plain://0.0.0.0:0",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "INTERNAL:SASL_SSL,PLAIN:PLAINTEXT",
            "advertised.listeners": "INTERNAL://kafka.example:19092,PLAIN://localhost:0",
        }
    )
    assert config.client_endpoints == [
        Endpoint("INTERNAL", "SASL_SSL", "::1", 9092),
        Endpoint("PLAIN", "PLAINTEXT", "0.0.0.0", 0),
    ]
    assert config.advertised_endpoints == [
        Endpoint("INTERNAL", "SASL_SSL", "kafka.example", 19092),
        Endpoint("PLAIN", "PLAINTEXT", "localhost", 0),
    ]


@pytest.mark.parametrize(
    ("properties", "effective_ms"),
    [
        ({"log.retention.hours": "1"}, 3_600_000),
        ({"log.retention.hours": "1", "log.retention.minutes": "2"}, 120_000),
        ({"log.retention.hours": "1", "log.retention.minutes": "2", "log.retention.ms": "3"}, 3),
        ({"log.retention.minutes": "-1"}, -1),
    ],
)
def test_retention_takes_the_finest_unit_that_is_set(properties: dict[str, str], effective_ms: int) -> None:
    assert BrokerConfig.from_properties(properties).log_retention_ms_effective == effective_ms


def test_dynamic_values_override_in_place_and_fall_back() -> None:
    config = BrokerConfig.from_properties({"message.max.bytes": "10"})
    config.apply_dynamic({"message.max.bytes": "20", "log.cleaner.threads": "2"}, {"message.max.bytes": "30"})
    assert (config.message_max_bytes, config.log_cleaner_threads) == (30, 2)
    assert config.is_set("log.cleaner.threads")
    config.apply_dynamic({"message.max.bytes": "20"}, {})
    assert (config.message_max_bytes, config.log_cleaner_threads) == (20, 1)
    config.apply_dynamic({}, {})
    assert config.message_max_bytes == 10


def test_read_only_property_is_not_changed_at_run_time() -> None:
    config = BrokerConfig.from_properties({})
    config.apply_dynamic({"num.partitions": "9", "unheard.of": "1"}, {})
    assert config.num_partitions == 1


def test_properties_file_is_read_as_java_does(tmp_path: Path) -> None:
    path = tmp_path / "server.properties"
    path.write_text(
        "# comment \\\n"
        "! another\n"
        "\n"
        "  plain = value with spaces  \n"
        "colon:1\n"
        "blank 2\n"
        "nothing\n"
        "long = one,\\\n"
        "       two,\\\r\n"
        "       # three\n"
        "escaped\\ key\\:x = a\\tb\\u0041\\\\\n"
        "odd = ends with \\\\\\\n"
        "  more\n"
        "last = cut\\"
    )
    assert read_properties(path) == {
        "plain": "value with spaces  ",
        "colon": "1",
        "blank": "2",
        "nothing": "",
        "long": "one,two,# three",
        "escaped key:x": "a\tbA\\",
        "odd": "ends with \\more",
        "last": "cut",
    }


def test_later_line_of_a_property_wins() -> None:
    assert parse_properties("a=1\na=2\n") == {"a": "2"}


def test_missing_properties_file_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*none\.properties: No such file"):
        read_properties(tmp_path / "none.properties")

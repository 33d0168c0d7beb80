"""Variables as container images name them, and as the libraries that start containers set them."""

import pytest

from pykbroker.config import BrokerConfig, ConfigError
from pykbroker.environment import lines_when_started, on_all_addresses, properties_from, property_name


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("KAFKA_NODE_ID", "node.id"),
        ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "offsets.topic.replication.factor"),
        ("KAFKA_ABC__DEF", "abc_def"),
        ("KAFKA_ABC___DEF", "abc-def"),
        ("KAFKA_A____B", "a-.b"),
        (
            "KAFKA_LISTENER_NAME_HOST_SCRAM___SHA___256_SASL_JAAS_CONFIG",
            "listener.name.host.scram-sha-256.sasl.jaas.config",
        ),
        ("KAFKA_PYKBROKER_STORE", "pykbroker.store"),
    ],
)
def test_variable_names_a_property(variable: str, name: str) -> None:
    assert property_name(variable) == name


def test_variable_goes_before_the_file_and_leaves_the_rest_of_it() -> None:
    properties = properties_from({"KAFKA_NUM_PARTITIONS": "4"}, {"num.partitions": "2", "broker.rack": "r"})
    assert (properties["num.partitions"], properties["broker.rack"]) == ("4", "r")


def test_variables_that_scripts_and_the_jvm_take_are_no_properties() -> None:
    environment = {
        "KAFKA_HEAP_OPTS": "-Xmx1G",
        "KAFKA_OPTS": "-Dx=y",
        "KAFKA_JMX_PORT": "9101",
        "KAFKA_LOG4J_ROOT_LOGLEVEL": "WARN",
        "KAFKA_ZOOKEEPER_CONNECT": "localhost:2181",
        "PATH": "/bin",
        "MY_KAFKA_NODE_ID": "9",
    }
    assert properties_from(environment, {}) == properties_from({}, {})


def test_nothing_told_listens_everywhere_and_tells_clients_localhost() -> None:
    config = BrokerConfig.from_properties(properties_from({}, {}))
    (listening,), (advertised,) = config.client_endpoints, config.advertised_endpoints
    assert (listening.host, listening.port) == ("", 9092)
    assert (advertised.host, advertised.port) == ("localhost", 9092)


@pytest.mark.parametrize(
    ("advertised", "listeners"),
    [
        ("PLAINTEXT://kafka:29092,HOST://localhost:9092", "PLAINTEXT://0.0.0.0:29092,HOST://0.0.0.0:9092"),
        ("PLAINTEXT://[::1]:9092", "PLAINTEXT://0.0.0.0:9092"),
        ("PLAINTEXT://:9092", "PLAINTEXT://0.0.0.0:9092"),
    ],
)
def test_listeners_follow_from_what_is_advertised(advertised: str, listeners: str) -> None:
    assert on_all_addresses(advertised) == listeners
    for empty in ({}, {"KAFKA_LISTENERS": ""}):
        told = properties_from({"KAFKA_ADVERTISED_LISTENERS": advertised, **empty}, {})
        assert (told["listeners"], told["advertised.listeners"]) == (listeners, advertised)


def test_listeners_alone_advertise_themselves() -> None:
    config = BrokerConfig.from_properties(properties_from({"KAFKA_LISTENERS": "PLAINTEXT://10.0.0.1:19092"}, {}))
    (advertised,) = config.advertised_endpoints
    assert (advertised.host, advertised.port) == ("10.0.0.1", 19092)


def test_cluster_id_becomes_a_property_that_is_checked() -> None:
    told = properties_from({"CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw"}, {})
    assert BrokerConfig.from_properties(told).pykbroker_cluster_id == "4L6g3nShT-eMCtK--X86sw"
    assert "pykbroker.cluster.id" not in properties_from({"CLUSTER_ID": ""}, {})
    with pytest.raises(ConfigError, match="22 characters"):
        BrokerConfig.from_properties(properties_from({"CLUSTER_ID": "my cluster"}, {}))


# What the libraries that start containers set, with the ports that they learn later. All of it is to be understood.
COMBINED = {
    "CLUSTER_ID": "4L6g3nShT-eMCtK--X86sw",
    "KAFKA_PROCESS_ROLES": "broker,controller",
    "KAFKA_CONTROLLER_LISTENER_NAMES": "CONTROLLER",
    "KAFKA_CONTROLLER_QUORUM_VOTERS": "1@localhost:9094",
    "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "KAFKA_INTER_BROKER_LISTENER_NAME": "BROKER",
    "KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
    "KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS": "1",
    "KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR": "1",
    "KAFKA_TRANSACTION_STATE_LOG_MIN_ISR": "1",
    "KAFKA_LOG_FLUSH_INTERVAL_MESSAGES": "9223372036854775807",
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
}
ALL_LISTENERS = "PLAINTEXT://0.0.0.0:9092,BROKER://0.0.0.0:9093,CONTROLLER://0.0.0.0:9094"
LIBRARIES = {
    "java": COMBINED
    | {
        "KAFKA_NODE_ID": "1",
        "KAFKA_LISTENERS": ALL_LISTENERS,
        "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://localhost:32768,BROKER://0b1c2d3e4f5a:9093",
    },
    "go": COMBINED
    | {
        "KAFKA_NODE_ID": "1",
        "KAFKA_BROKER_ID": "1",
        "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092,CONTROLLER://0.0.0.0:9094",
        "KAFKA_REST_BOOTSTRAP_SERVERS": "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092,CONTROLLER://0.0.0.0:9094",
        "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://localhost:32768,BROKER://0b1c2d3e4f5a:9092",
    },
    "dotnet": COMBINED
    | {
        "KAFKA_NODE_ID": "1",
        "KAFKA_BROKER_ID": "1",
        "KAFKA_LISTENERS": "PLAINTEXT://:9092,BROKER://:9093,CONTROLLER://:9094",
        "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://127.0.0.1:32768,BROKER://172.17.0.2:9093,",
    },
    "rust": COMBINED
    | {
        "KAFKA_BROKER_ID": "1",
        "KAFKA_LISTENERS": ALL_LISTENERS,
        "KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://127.0.0.1:32768,BROKER://localhost:9093",
    },
    "zookeeper": {  # Python and Node unless they are told KRaft: no node id, no controllers
        "KAFKA_BROKER_ID": "1",
        "KAFKA_ZOOKEEPER_CONNECT": "localhost:2181",
        "KAFKA_CONFLUENT_SUPPORT_METRICS_ENABLE": "false",
        "KAFKA_LISTENERS": "PLAINTEXT://0.0.0.0:9093,BROKER://0.0.0.0:9092",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP": "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "KAFKA_INTER_BROKER_LISTENER_NAME": "BROKER",
        "KAFKA_ADVERTISED_LISTENERS": "BROKER://0b1c2d3e4f5a:9092,PLAINTEXT://localhost:32768",
    },
}


@pytest.mark.parametrize("library", LIBRARIES)
def test_what_a_container_library_sets_is_a_configuration(library: str) -> None:
    config = BrokerConfig.from_properties(properties_from(LIBRARIES[library], {}))
    assert config.node_id == config.broker_id == 1
    assert {endpoint.listener for endpoint in config.client_endpoints} == {"PLAINTEXT", "BROKER"}
    assert {endpoint.listener for endpoint in config.advertised_endpoints} == {"PLAINTEXT", "BROKER"}
    has_controllers = "KAFKA_CONTROLLER_LISTENER_NAMES" in LIBRARIES[library]
    assert [entry.partition("://")[0] for entry in config.controller_listeners] == ["CONTROLLER"] * has_controllers


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"KAFKA_PROCESS_ROLES": "broker"}, "process.roles=broker expects others"),
        ({"KAFKA_CONTROLLER_QUORUM_VOTERS": "1@a:9093,2@b:9093"}, "controller.quorum.voters names several nodes"),
        ({"KAFKA_CONTROLLER_QUORUM_BOOTSTRAP_SERVERS": "a:9093,b:9093"}, "bootstrap.servers names several nodes"),
    ],
)
def test_node_that_expects_others_has_to_name_their_store(environment: dict[str, str], line: str) -> None:
    with pytest.raises(ConfigError, match=line) as refused:
        properties_from(environment, {})
    assert "KAFKA_PYKBROKER_STORE=etcd://" in str(refused.value)
    told = properties_from({**environment, "KAFKA_PYKBROKER_STORE": "etcd://etcd:2379/kafka"}, {})
    assert told["pykbroker.store"] == "etcd://etcd:2379/kafka"


@pytest.mark.parametrize("store", [{}, {"KAFKA_PYKBROKER_STORE": "etcd://etcd:2379/kafka"}], ids=["alone", "store"])
def test_node_that_is_only_a_controller_is_refused(store: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="leave this node out"):
        properties_from({"KAFKA_PROCESS_ROLES": "controller", **store}, {})


def test_lines_that_container_libraries_wait_for() -> None:
    lines = lines_when_started(1)
    for waited_for in ("[KafkaServer id=1] started", "Kafka Server started", "Transitioning from RECOVERY to RUNNING"):
        assert sum(waited_for in line for line in lines) == 1

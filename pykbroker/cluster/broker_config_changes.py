"""What a broker refuses to change while it runs; what is wrong is INVALID_REQUEST.

Rules
- A broker takes changes for itself and for the default of all brokers. It takes names that no table knows: they may be
  those of plug-ins.
- What is set for one listener (`listener.name.<listener>.<name>`) is checked like what holds for all of them.
- What has to hold between several configurations is checked on the configuration that the change would lead to.

Sources: KIP-226, KIP-402, KIP-966; Kafka's DynamicBrokerConfig and ConfigAdminManager.
"""

from collections.abc import Iterable, Mapping

from pykbroker.cluster.config_entries import changeable_definitions
from pykbroker.cluster.image import ConfigResourceType, MetadataImage
from pykbroker.config import BrokerConfig, base_name
from pykbroker.config_tables.definition import ConfigDef, ConfigError, Dynamic
from pykbroker.config_tables.effects import check_not_refused
from pykbroker.errors import KafkaError
from wire.errors import ErrorCode

MIN_ISR = "min.insync.replicas"
_ELR = "eligible.leader.replicas.version"
# A broker's thread counts change by at most a factor of two at a time, so that a slip does not take it down.
_THREADS = frozenset(
    {
        "num.io.threads",
        "num.network.threads",
        "num.replica.fetchers",
        "num.recovery.threads.per.data.dir",
        "background.threads",
        "log.cleaner.threads",
        "remote.log.reader.threads",
        "remote.log.manager.copier.thread.pool.size",
        "remote.log.manager.expiration.thread.pool.size",
        "remote.log.manager.follower.thread.pool.size",
    }
)
# Counts that may be 0 when a broker starts, but not from then on: it would shut everybody out.
_NEVER_SET_TO_ZERO = frozenset({"max.connections", "max.connection.creation.rate", "log.cleaner.threads"})
# What may be set for a listener of all brokers, since brokers may have different listeners.
_OF_ALL_BROKERS_LISTENERS = frozenset({"max.connections", "max.connection.creation.rate", "num.network.threads"})
# A listener's keys: these change for one listener at a time.
_OF_LISTENERS = frozenset(
    {
        "ssl.key.password",
        "ssl.keystore.type",
        "ssl.keystore.location",
        "ssl.keystore.password",
        "ssl.keystore.key",
        "ssl.keystore.certificate.chain",
        "ssl.truststore.type",
        "ssl.truststore.location",
        "ssl.truststore.password",
        "ssl.truststore.certificates",
    }
)


def check_broker_configs(
    image: MetadataImage, config: BrokerConfig, broker: str, values: Mapping[str, str], named: set[str]
) -> None:
    """Check what is to be set for a broker, or for all ("").

    `values` is all of it, `named` the names that the request mentions. Raises: KafkaError.
    """
    if broker and _number(broker) != config.node_id:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"broker {broker} is meant, but this is broker {config.node_id}")
    rows = changeable_definitions()
    changed = {name for name in named if name in values}
    _check_names(rows, broker, changed)
    for name in sorted(changed):
        if (definition := rows.get(base_name(name))) is not None:
            _check_value(definition, config, values[name])
    before, own = image.config(ConfigResourceType.BROKER, ""), image.config(ConfigResourceType.BROKER, broker)
    _check_min_isr(image, broker, named, own, values)
    cluster_wide, this_broker = (before, values) if broker else (values, _own(image, config))
    _check_outcome(config, config.with_dynamic(cluster_wide, this_broker))


def _own(image: MetadataImage, config: BrokerConfig) -> Mapping[str, str]:
    return image.config(ConfigResourceType.BROKER, str(config.node_id))


def _number(broker: str) -> int:
    try:
        return int(broker)
    except ValueError:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"{broker} is not the number of a broker") from None


def _check_names(rows: Mapping[str, ConfigDef], broker: str, changed: Iterable[str]) -> None:
    def refuse(names: list[str], text: str) -> None:
        if names:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"{', '.join(sorted(names))} {text}")

    known = [(name, rows[base_name(name)]) for name in changed if base_name(name) in rows]
    refuse(
        [name for name, row in known if row.dynamic is Dynamic.READ_ONLY and name == row.name],
        "can only be set when the broker starts",
    )
    if not broker:
        refuse(
            [
                name
                for name, row in known
                if row.dynamic is Dynamic.PER_BROKER or (name != row.name and row.name not in _OF_ALL_BROKERS_LISTENERS)
            ],
            "can only be set for one broker, not for all",
        )
    refuse(
        [name for name, _ in known if name in _OF_LISTENERS],
        "can only be set for one listener, with its prefix before the name",
    )


def _check_value(definition: ConfigDef, config: BrokerConfig, text: str) -> None:
    try:
        value = definition.parse(text)
        check_not_refused("broker", definition, value)
    except ConfigError as error:
        raise KafkaError(ErrorCode.INVALID_REQUEST, str(error)) from None
    if definition.name in _NEVER_SET_TO_ZERO and value == 0:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"{definition.name} cannot become 0")
    if definition.name in _THREADS:
        current = config.value_of(definition.name)
        assert isinstance(value, int)
        assert isinstance(current, int)
        if not current // 2 <= value <= current * 2:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"{definition.name}={value}: in one step, {current} threads can be halved or doubled at most",
            )


def _check_min_isr(
    image: MetadataImage, broker: str, named: set[str], before: Mapping[str, str], after: Mapping[str, str]
) -> None:
    """With eligible leader replicas, one min ISR holds for the whole cluster and is never unset (KIP-966)."""
    if not image.features.get(_ELR):
        return
    if broker and (MIN_ISR in named or before.get(MIN_ISR) != after.get(MIN_ISR)):
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"with ELR, {MIN_ISR} is the same for all brokers")
    if not broker and MIN_ISR in before and MIN_ISR not in after:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"with ELR, {MIN_ISR} has to stay set for the cluster")


def _check_outcome(before: BrokerConfig, after: BrokerConfig) -> None:
    from pykbroker.config_tables.group import problem_of_defaults

    try:
        after.check()
    except ConfigError as error:
        raise KafkaError(ErrorCode.INVALID_REQUEST, str(error)) from None
    protocols = {endpoint.listener: endpoint.protocol for endpoint in before.client_endpoints}
    for endpoint in after.client_endpoints:
        if protocols.get(endpoint.listener, endpoint.protocol) != endpoint.protocol:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST, f"the protocol of the listener {endpoint.listener} cannot change"
            )
    if problem := problem_of_defaults(after.value_of):
        raise KafkaError(ErrorCode.INVALID_REQUEST, problem)

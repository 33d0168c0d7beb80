"""What a request to change configurations makes of what was set before: pure, one resource at a time.

Rules
- An incremental request names operations (SET, DELETE, APPEND, SUBTRACT), the older one all values that shall remain.
- What topics, groups and subscriptions refuse is INVALID_CONFIG; what a broker refuses is INVALID_REQUEST, as in Kafka.
- A broker takes names that no table knows: they may be those of plug-ins.

Not here: writing the result (changes.set_configs), levels of loggers (handlers/configs).
Sources: KIP-226, KIP-339; Kafka's ConfigAdminManager, ConfigurationControlManager, DynamicBrokerConfig.
"""

import enum
import re
from collections.abc import Callable, Mapping, Sequence

import attrs

from pykbroker import topic_config
from pykbroker.cluster.config_entries import broker_definitions
from pykbroker.cluster.image import ConfigResource, ConfigResourceType, MetadataImage
from pykbroker.cluster.new_topics import check_topic_name
from pykbroker.config import DYNAMIC_ONLY, LISTENER_LIMIT, BrokerConfig
from pykbroker.config_tables.definition import ConfigDef, ConfigError, ConfigType, Dynamic
from pykbroker.errors import KafkaError
from wire.errors import ErrorCode


class Operation(enum.IntEnum):
    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


@attrs.frozen
class Alteration:
    """One entry of a request."""

    name: str
    operation: int
    value: str | None


_OF_LISTENER = re.compile(r"listener\.name\.[^.]*\.(.*)")
# The others of a listener are set for one broker, since brokers may have different listeners.
_CLUSTER_WIDE_OF_LISTENERS = frozenset({"max.connections", "max.connection.creation.rate", "num.network.threads"})
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
    }
)


def alter_incrementally(
    image: MetadataImage, config: BrokerConfig, resource: ConfigResource, alterations: Sequence[Alteration]
) -> Mapping[str, str]:
    """Return all that is set for `resource` afterwards. Raises: KafkaError."""
    _check_alterations(alterations, nullable=(Operation.DELETE,))
    table = _table(image, config, resource)
    values = dict(image.config(*resource))
    for alteration in alterations:
        name, text = alteration.name, alteration.value
        match alteration.operation:
            case Operation.SET:
                assert text is not None
                values[name] = text
            case Operation.DELETE:
                values.pop(name, None)
            case Operation.APPEND | Operation.SUBTRACT:
                assert text is not None
                values[name] = ",".join(_listed(table, values, alteration, text))
            case _:
                raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR)  # an operation that Kafka trips over
    changed = {alteration.name for alteration in alterations if alteration.operation != Operation.DELETE}
    table.check(values, changed)
    return values


def replace_all(
    image: MetadataImage, config: BrokerConfig, resource: ConfigResource, alterations: Sequence[Alteration]
) -> Mapping[str, str]:
    """Return what is set for `resource` when these values are all that remains. Raises: KafkaError."""
    _check_alterations(alterations, nullable=())
    table = _table(image, config, resource)
    values = {alteration.name: alteration.value for alteration in alterations if alteration.value is not None}
    table.check(values, set(values))
    return values


def _check_alterations(alterations: Sequence[Alteration], nullable: tuple[Operation, ...]) -> None:
    if len({alteration.name for alteration in alterations}) < len(alterations):
        raise KafkaError(ErrorCode.INVALID_REQUEST, "a configuration is altered twice by one request")
    null = [each.name for each in alterations if each.value is None and each.operation not in nullable]
    if null:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"no value is given for {', '.join(null)}")


def _listed(table: "_Table", values: Mapping[str, str], alteration: Alteration, text: str) -> list[str]:
    name = alteration.name
    definition = table.definitions.get(name)
    operation = Operation(alteration.operation)
    if definition is None or definition.type is not ConfigType.LIST:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"{operation.name} is for lists, and {name} is none")
    if not text.strip():
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"nothing is given to add to {name} or to take from it")
    before = values[name] if name in values else table.default(name)
    items = [item.strip() for item in before.split(",") if item.strip()]
    wanted = [item.strip() for item in text.split(",")]
    if operation is Operation.SUBTRACT:
        return [item for item in items if item not in wanted]
    return [*items, *(item for item in wanted if item not in items)]


@attrs.frozen
class _Table:
    """What may be set for a kind of resource."""

    definitions: Mapping[str, ConfigDef]
    default: Callable[[str], str]  # of a list, as text
    check: Callable[[Mapping[str, str], set[str]], None]  # (all that will be set, what of it is new)


def _table(image: MetadataImage, config: BrokerConfig, resource: ConfigResource) -> _Table:
    """Check that the resource is one that can be configured, and return the rules for it. Raises: KafkaError."""
    kind, name = resource
    match kind:
        case ConfigResourceType.TOPIC:
            if not name:
                raise KafkaError(
                    ErrorCode.INVALID_REQUEST,
                    "which topic is missing: there is none for all",
                )
            check_topic_name(name)
            if name not in image.topics:
                raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {name}")
            defaults = topic_config.broker_defaults(config)
            rows = topic_config.DEFINITIONS
            return _Table(
                rows,
                lambda key: rows[key].render(defaults[key]) or "",
                lambda values, changed: topic_config.validate(values),
            )
        case ConfigResourceType.BROKER:
            return _broker_table(image, config, name)
        case ConfigResourceType.GROUP:
            if not name:
                raise KafkaError(
                    ErrorCode.INVALID_REQUEST,
                    "which group is missing: there is none for all",
                )
            return _group_table(config)
        case ConfigResourceType.CLIENT_METRICS:
            if not name:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "a subscription to client metrics needs a name")
            return _client_metrics_table()
    raise KafkaError(ErrorCode.INVALID_REQUEST, f"there are no configurations of type {kind.value}")


def _default_of(rows: Mapping[str, ConfigDef], name: str) -> str:
    return rows[name].render(rows[name].default) or ""


# Brokers


def _broker_table(image: MetadataImage, config: BrokerConfig, name: str) -> _Table:
    if name:
        try:
            broker_id = int(name)
        except ValueError:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"{name} is not the number of a broker") from None
        if broker_id not in image.brokers:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"No broker with the id {broker_id} is registered")
    rows = {**broker_definitions(), **DYNAMIC_ONLY}
    set_before = image.config(ConfigResourceType.BROKER, name)

    def check(values: Mapping[str, str], changed: set[str]) -> None:
        _check_names(rows, name, changed)
        for key in sorted(changed):
            if key in rows:
                _check_broker_value(rows[key], config, values[key])
            elif (match := LISTENER_LIMIT.fullmatch(key)) is not None:
                _check_limit_of_listener(rows[match[1]], values[key])
        _check_min_isr(image, name, set_before, values)

    return _Table(rows, lambda key: _current_list(rows, config, key), check)


def _current_list(rows: Mapping[str, ConfigDef], config: BrokerConfig, name: str) -> str:
    value = getattr(config, name.replace(".", "_"), rows[name].default)
    return rows[name].render(value) or ""


def _check_names(rows: Mapping[str, ConfigDef], broker: str, changed: set[str]) -> None:
    def refuse(names: list[str], text: str) -> None:
        if names:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"{', '.join(sorted(names))} {text}")

    known = [rows[name] for name in changed if name in rows]
    fixed = [row.name for row in known if row.dynamic is Dynamic.READ_ONLY]
    refuse(fixed, "can only be set when the broker starts")
    single = [row.name for row in known if row.dynamic is Dynamic.PER_BROKER]
    of_listeners = ((name, _OF_LISTENER.fullmatch(name)) for name in changed)
    single += [name for name, match in of_listeners if match is not None and match[1] not in _CLUSTER_WIDE_OF_LISTENERS]
    if not broker:
        refuse(single, "can only be set for one broker, not for all")
    secure = [name for name in single if name.startswith(("ssl.", "sasl."))]
    refuse(
        secure,
        "can only be set for one listener, with its prefix before the name",
    )


def _check_broker_value(definition: ConfigDef, config: BrokerConfig, text: str) -> None:
    try:
        value = definition.parse(text)
    except ConfigError as error:
        raise KafkaError(ErrorCode.INVALID_REQUEST, str(error)) from None
    if definition.name in _THREADS:
        current = getattr(config, definition.name.replace(".", "_"), definition.default)
        assert isinstance(value, int)
        assert isinstance(current, int)
        if not current / 2 <= value <= current * 2:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"{definition.name}={value}: in one step, {current} threads can be halved or doubled at most",
            )


def _check_limit_of_listener(definition: ConfigDef, text: str) -> None:
    try:
        value = definition.parse(text)
    except ConfigError as error:
        raise KafkaError(ErrorCode.INVALID_REQUEST, str(error)) from None
    if value == 0 and definition.name == "max.connections":
        raise KafkaError(ErrorCode.INVALID_REQUEST, "a listener that lets nobody in is of no use")


def _check_min_isr(image: MetadataImage, broker: str, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """With eligible leader replicas, one min ISR holds for the whole cluster and is never unset (KIP-966)."""
    if not image.features.get(_ELR):
        return
    if broker and before.get(MIN_ISR) != after.get(MIN_ISR):
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"with ELR, {MIN_ISR} is the same for all brokers")
    if not broker and MIN_ISR in before and MIN_ISR not in after:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"with ELR, {MIN_ISR} has to stay set for the cluster")


# Groups and client metrics


def _group_table(config: BrokerConfig) -> _Table:
    from pykbroker.config_tables.group import DEFINITIONS, LIMITS

    def check(values: Mapping[str, str], changed: set[str]) -> None:
        for name, text in values.items():
            if name not in DEFINITIONS:
                raise KafkaError(ErrorCode.INVALID_CONFIG, f"groups have no configuration {name}")
            value = _parsed(DEFINITIONS[name], text)
            if name in LIMITS:
                low, high = (_limit(config, limit) for limit in LIMITS[name])
                assert isinstance(value, int)
                if not (low is None or low <= value) or not (high is None or value <= high):
                    raise KafkaError(ErrorCode.INVALID_CONFIG, f"{name} is to be {_range(low, high)}")

    return _Table(DEFINITIONS, lambda key: _default_of(DEFINITIONS, key), check)


def _limit(config: BrokerConfig, name: str | None) -> int | None:
    if name is None:
        return None
    definition = broker_definitions()[name]
    text = config.properties.get(name)
    value = definition.default if text is None else definition.parse(text)
    assert isinstance(value, int)
    return value


def _range(low: int | None, high: int | None) -> str:
    if low is None:
        return f"at most {high}"
    return f"at least {low}" if high is None else f"from {low} to {high}"


def _client_metrics_table() -> _Table:
    from pykbroker.config_tables.client_metrics import DEFINITIONS, MAX_INTERVAL_MS, MIN_INTERVAL_MS, wrong_pattern

    def check(values: Mapping[str, str], changed: set[str]) -> None:
        for name, text in values.items():
            if name not in DEFINITIONS:
                raise KafkaError(ErrorCode.INVALID_REQUEST, f"client metrics have no configuration {name}")
            value = _parsed(DEFINITIONS[name], text)
            if isinstance(value, int) and not MIN_INTERVAL_MS <= value <= MAX_INTERVAL_MS:
                raise KafkaError(
                    ErrorCode.INVALID_REQUEST,
                    f"{name}={value}: an interval is from {MIN_INTERVAL_MS} to {MAX_INTERVAL_MS} ms",
                )
            if name == "match" and isinstance(value, list) and (wrong := wrong_pattern(value)) is not None:
                raise KafkaError(ErrorCode.INVALID_CONFIG, f"match cannot be understood: {wrong}")

    return _Table(DEFINITIONS, lambda key: _default_of(DEFINITIONS, key), check)


def _parsed(definition: ConfigDef, text: str) -> object:
    try:
        return definition.parse(text)
    except ConfigError as error:
        raise KafkaError(ErrorCode.INVALID_CONFIG, str(error)) from None

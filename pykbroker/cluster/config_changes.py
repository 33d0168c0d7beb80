"""What a request to change configurations makes of what was set before: pure, one resource at a time.

Rules
- An incremental request names operations (SET, DELETE, APPEND, SUBTRACT), the older one all values that shall remain.
- What topics, groups and subscriptions refuse is INVALID_CONFIG; what a broker refuses is INVALID_REQUEST, as in Kafka.
- A broker takes names that no table knows: they may be those of plug-ins.

Not here: what a broker refuses (broker_config_changes), writing the result (changes.set_configs), levels of loggers
(handlers/configs).
Sources: KIP-226, KIP-339; Kafka's ConfigAdminManager, ConfigurationControlManager, DynamicBrokerConfig.
"""

from collections.abc import Callable, Mapping, Sequence

import attrs

from pykbroker import topic_config
from pykbroker.cluster.broker_config_changes import check_broker_configs
from pykbroker.cluster.config_entries import broker_definitions
from pykbroker.cluster.image import ConfigResource, ConfigResourceType, MetadataImage
from pykbroker.cluster.topic_names import check_topic_name
from pykbroker.config import BrokerConfig
from pykbroker.config_tables.definition import ConfigDef, ConfigError, ConfigType, Operation
from pykbroker.errors import KafkaError
from wire.errors import ErrorCode


@attrs.frozen
class Alteration:
    """One entry of a request."""

    name: str
    operation: int
    value: str | None


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
            case _ if resource[0] is ConfigResourceType.BROKER:
                raise KafkaError(ErrorCode.INVALID_REQUEST, f"there is no operation {alteration.operation}")
            case _:
                raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR)  # an operation that Kafka trips over
    table.check(values, {alteration.name for alteration in alterations})
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
    if not table.has_lists or definition is None or definition.type is not ConfigType.LIST:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"{operation.name} is for lists, and {name} is none")
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
    check: Callable[[Mapping[str, str], set[str]], None]  # (all that will be set, what the request names)
    has_lists: bool = True  # whether APPEND and SUBTRACT are for it


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
            topic_rows = topic_config.DEFINITIONS
            return _Table(
                topic_rows,
                lambda key: topic_rows[key].render(defaults[key]) or "",
                lambda values, changed: topic_config.validate(values),
            )
        case ConfigResourceType.BROKER:
            rows = broker_definitions()
            return _Table(
                rows,
                lambda key: _default_of(rows, key),  # Kafka does not look at what the broker was started with
                lambda values, changed: check_broker_configs(image, config, name, values, changed),
            )
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


# Groups and client metrics: Kafka has no lists there to append to


def _group_table(config: BrokerConfig) -> _Table:
    from pykbroker.config_tables.group import DEFINITIONS, LIMITS, problem_of_limits

    def check(values: Mapping[str, str], changed: set[str]) -> None:
        for name, text in values.items():
            if name not in DEFINITIONS:
                raise KafkaError(ErrorCode.INVALID_CONFIG, f"groups have no configuration {name}")
            value = _parsed(DEFINITIONS[name], text)
            problem = problem_of_limits(name, value, config.value_of) if name in LIMITS else None
            if name == "streams.assignor.name":
                assignors = config.value_of("group.streams.assignors")
                assert isinstance(assignors, list)
                problem = None if value in assignors else f"{name} is to be one of {', '.join(assignors)}"
            if problem is not None:
                raise KafkaError(ErrorCode.INVALID_CONFIG, problem)

    return _Table(DEFINITIONS, lambda key: _default_of(DEFINITIONS, key), check, has_lists=False)


def _client_metrics_table() -> _Table:
    from pykbroker.config_tables.client_metrics import DEFINITIONS, MAX_INTERVAL_MS, MIN_INTERVAL_MS, parse_match

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
            if name == "match" and isinstance(value, list):
                parse_match(value)

    return _Table(DEFINITIONS, lambda key: _default_of(DEFINITIONS, key), check, has_lists=False)


def _default_of(rows: Mapping[str, ConfigDef], name: str) -> str:
    return rows[name].render(rows[name].default) or ""


def _parsed(definition: ConfigDef, text: str) -> object:
    try:
        return definition.parse(text)
    except ConfigError as error:
        raise KafkaError(ErrorCode.INVALID_CONFIG, str(error)) from None

"""Configurations of topics, brokers, loggers, groups and client metrics subscriptions.

DescribeConfigs (32), versions 1-4
- Value, source and synonyms of each configuration, or of those that are named. A broker describes itself ("" for what
  was set for all brokers) and its own loggers.
- From version 3 types, and documentation if asked for.
- Errors: UNKNOWN_TOPIC_OR_PARTITION, INVALID_TOPIC_EXCEPTION, INVALID_REQUEST (another broker, an empty name, another
  type).

AlterConfigs (33), versions 0-2; IncrementalAlterConfigs (44), versions 0-1
- Each resource succeeds or fails by itself; those that succeed are written in one transaction. A resource that is in
  the request twice is INVALID_REQUEST, both times.
- The older request replaces all that is set; the newer one sets, deletes, appends to lists and subtracts from them.
  Levels of loggers change by the newer one alone, and only until the broker stops.
- Errors: UNKNOWN_TOPIC_OR_PARTITION, INVALID_CONFIG, INVALID_REQUEST.

ListConfigResources (74), versions 0-1
- Which resources can be described. Version 0 knows client metrics subscriptions alone; a type that does not exist is
  UNSUPPORTED_VERSION.

Sources: KIP-226, KIP-339, KIP-412 (loggers), KIP-714, KIP-1142; Kafka's ConfigHelper and ConfigAdminManager.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from pykbroker.cluster.changes import Change
from pykbroker.cluster.config_changes import Alteration, alter_incrementally, replace_all
from pykbroker.cluster.config_entries import (
    ConfigEntry,
    broker_entries,
    client_metrics_entries,
    default_broker_entries,
    group_entries,
    topic_entries,
)
from pykbroker.cluster.image import ConfigResource, ConfigResourceType, MetadataImage
from pykbroker.cluster.partition_changes import write_configs
from pykbroker.cluster.topic_names import check_topic_name
from pykbroker.config import BrokerConfig
from pykbroker.config_tables.definition import ConfigSource, Operation
from pykbroker.errors import KafkaError
from pykbroker.handlers.context import RequestContext
from wire.errors import ErrorCode
from wire.messages.configs import (
    AlterConfigsRequest,
    AlterConfigsResponse,
    AlterConfigsResponseAlterConfigsResourceResponse,
    DescribeConfigsRequest,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
    IncrementalAlterConfigsResponseAlterConfigsResourceResponse,
    ListConfigResourcesRequest,
    ListConfigResourcesResponse,
)
from wire.messages.configs import (
    ConfigResource as ListedResource,
)

TYPES_FROM = 3


def describe_configs(ctx: RequestContext, request: DescribeConfigsRequest) -> DescribeConfigsResponse:
    response = DescribeConfigsResponse()
    for resource in request.resources:
        result = DescribeConfigsResult(
            resource_type=resource.resource_type, resource_name=resource.resource_name, error_message=""
        )
        try:
            entries = _entries(ctx, resource.resource_type, resource.resource_name)
        except KafkaError as error:
            result.error_code, result.error_message = error.code, error.message or ""
        else:
            keys = resource.configuration_keys
            texts = _documentation(resource.resource_type) if request.include_documentation else {}
            result.configs = [
                _described(ctx, request, entry, texts) for entry in entries if not keys or entry.name in keys
            ]
        response.results.append(result)
    return response


def _described(
    ctx: RequestContext, request: DescribeConfigsRequest, entry: ConfigEntry, texts: Mapping[str, str]
) -> DescribeConfigsResourceResult:
    synonyms = entry.synonyms if request.include_synonyms else ()
    return DescribeConfigsResourceResult(
        name=entry.name,
        value=entry.value,
        read_only=entry.read_only,
        config_source=entry.source,
        is_sensitive=entry.sensitive,
        synonyms=[DescribeConfigsSynonym(name=name, value=value, source=source) for name, value, source in synonyms],
        config_type=entry.type or 0,
        documentation=texts.get(entry.name) if request.include_documentation else None,
    )


def _documentation(resource_type: int) -> Mapping[str, str]:
    from pykbroker.config_tables.documentation import documentation

    names = {
        ConfigResourceType.TOPIC: "topic",
        ConfigResourceType.BROKER: "broker",
        ConfigResourceType.GROUP: "group",
        ConfigResourceType.CLIENT_METRICS: "client_metrics",
    }
    name = names.get(ConfigResourceType(resource_type))
    return {} if name is None else documentation(name)


def _entries(ctx: RequestContext, resource_type: int, name: str) -> Iterable[ConfigEntry]:
    image, config = ctx.services.cluster.image, ctx.services.config
    broker_id = ctx.services.cluster.broker_id
    match resource_type:
        case ConfigResourceType.TOPIC:
            check_topic_name(name)
            if name not in image.topics:
                raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
            return topic_entries(image, config, broker_id, image.config(ConfigResourceType.TOPIC, name))
        case ConfigResourceType.BROKER if not name:
            return default_broker_entries(image)
        case ConfigResourceType.BROKER:
            _check_own_id(name, broker_id, " or nothing")
            return broker_entries(image, config, broker_id)
        case ConfigResourceType.BROKER_LOGGER:
            if not name:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "the number of the broker is missing")
            _check_own_id(name, broker_id)
            return _logger_entries()
        case ConfigResourceType.GROUP:
            if not name:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "the name of the group is missing")
            return group_entries(image, config, broker_id, name)
        case ConfigResourceType.CLIENT_METRICS:
            if not name:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "the name of the subscription to client metrics is missing")
            return client_metrics_entries(image, name)
    raise KafkaError(ErrorCode.INVALID_REQUEST, f"there are no configurations of type {resource_type}")


def _check_own_id(name: str, broker_id: int, alternative: str = "") -> None:
    try:
        asked = int(name)
    except ValueError:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"{name} is not the number of a broker") from None
    if asked != broker_id:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            f"broker {name} is asked for, but this is broker {broker_id}: ask for it{alternative}",
        )


async def incremental_alter_configs(
    ctx: RequestContext, request: IncrementalAlterConfigsRequest
) -> IncrementalAlterConfigsResponse:
    asked = [
        (
            (resource.resource_type, resource.resource_name),
            [Alteration(config.name, config.config_operation, config.value) for config in resource.configs],
        )
        for resource in request.resources
    ]
    errors = await _alter(ctx, asked, alter_incrementally, validate_only=request.validate_only, loggers=True)
    return IncrementalAlterConfigsResponse(
        responses=[
            IncrementalAlterConfigsResponseAlterConfigsResourceResponse(
                resource_type=resource_type,
                resource_name=name,
                error_code=error.code if error is not None else ErrorCode.NONE,
                error_message=error.message if error is not None else None,
            )
            for (resource_type, name), error in errors
        ]
    )


async def alter_configs(ctx: RequestContext, request: AlterConfigsRequest) -> AlterConfigsResponse:
    asked = [
        (
            (resource.resource_type, resource.resource_name),
            [Alteration(config.name, Operation.SET, config.value) for config in resource.configs],
        )
        for resource in request.resources
    ]
    errors = await _alter(ctx, asked, replace_all, validate_only=request.validate_only, loggers=False)
    return AlterConfigsResponse(
        responses=[
            AlterConfigsResponseAlterConfigsResourceResponse(
                resource_type=resource_type,
                resource_name=name,
                error_code=error.code if error is not None else ErrorCode.NONE,
                error_message=error.message if error is not None else None,
            )
            for (resource_type, name), error in errors
        ]
    )


Asked = tuple[tuple[int, str], Sequence[Alteration]]
Outcome = tuple[tuple[int, str], KafkaError | None]
Decide = Callable[[MetadataImage, BrokerConfig, ConfigResource, Sequence[Alteration]], Mapping[str, str]]


async def _alter(
    ctx: RequestContext, asked: Sequence[Asked], decide: Decide, *, validate_only: bool, loggers: bool
) -> list[Outcome]:
    """Alter each resource that can be altered, in one transaction, and return what became of each."""
    outcomes: list[Outcome] = []
    times = Counter(resource for resource, _ in asked)

    def one(image: MetadataImage, resource: tuple[int, str], alterations: Sequence[Alteration]) -> Change:
        if times[resource] > 1:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "the request names this resource more than once")
        if loggers and resource[0] == ConfigResourceType.BROKER_LOGGER:
            _check_levels(ctx, resource[1], alterations)
            return Change()
        if resource[0] not in set(ConfigResourceType):
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"there are no configurations of type {resource[0]}")
        known = (ConfigResourceType(resource[0]), resource[1])
        return write_configs(image, known, decide(image, ctx.services.config, known, alterations))

    def change(image: MetadataImage) -> Change:
        outcomes.clear()
        change = Change()
        for resource, alterations in asked:
            try:
                change += one(image, resource, alterations)
            except KafkaError as error:
                outcomes.append((resource, error))
            else:
                outcomes.append((resource, None))
        return change

    await ctx.services.cluster.decide(change, validate_only=validate_only)
    if validate_only:
        return outcomes
    for (resource, alterations), (_, error) in zip(asked, outcomes, strict=True):
        if error is None and resource[0] == ConfigResourceType.BROKER_LOGGER:
            _set_levels(alterations)
    return outcomes


# Loggers: the process's own, by Kafka's names for levels

ROOT = "root"
_LEVELS = {
    "OFF": logging.CRITICAL + 10,
    "FATAL": logging.CRITICAL,
    "ERROR": logging.ERROR,
    "WARN": logging.WARNING,
    "INFO": logging.INFO,
    "DEBUG": logging.DEBUG,
    "TRACE": logging.DEBUG - 5,
}


def _loggers() -> dict[str, logging.Logger]:
    root = logging.getLogger()
    named = {name: logger for name, logger in root.manager.loggerDict.items() if isinstance(logger, logging.Logger)}
    return {ROOT: root, **named}


def _level_name(level: int) -> str:
    return next(name for name, least in _LEVELS.items() if level >= least or name == "TRACE")


def _logger_entries() -> list[ConfigEntry]:
    source = ConfigSource.DYNAMIC_BROKER_LOGGER
    return [
        ConfigEntry(name, _level_name(logger.getEffectiveLevel()), source)
        for name, logger in sorted(_loggers().items())
    ]


def _check_levels(ctx: RequestContext, name: str, alterations: Sequence[Alteration]) -> None:
    broker_id = ctx.services.cluster.broker_id
    if not name.removeprefix("-").isdecimal():
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"{name} is not the number of a broker")
    if int(name) != broker_id:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"broker {name} is meant, but this is broker {broker_id}")
    loggers = _loggers()
    for alteration in alterations:
        if alteration.operation not in (Operation.SET, Operation.DELETE):
            shown = Operation(alteration.operation).name if alteration.operation in set(Operation) else "Unknown"
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"{shown}: the level of a logger is set or deleted",
            )
        if alteration.operation == Operation.DELETE and alteration.name == ROOT:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "the root logger needs a log level")
        if alteration.name not in loggers:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"there is no logger {alteration.name}")
        if alteration.operation == Operation.SET and alteration.value not in _LEVELS:
            raise KafkaError(
                ErrorCode.INVALID_CONFIG,
                f"{alteration.value} for {alteration.name} is none of the log levels {', '.join(_LEVELS)}",
            )


def _set_levels(alterations: Sequence[Alteration]) -> None:
    loggers = _loggers()
    for alteration in alterations:
        if alteration.operation == Operation.DELETE:
            loggers[alteration.name].setLevel(logging.NOTSET)
        else:
            loggers[alteration.name].setLevel(_LEVELS[alteration.value or ""])


def list_config_resources(ctx: RequestContext, request: ListConfigResourcesRequest) -> ListConfigResourcesResponse:
    listable: list[int] = [kind for kind in ConfigResourceType if kind is not ConfigResourceType.UNKNOWN]
    wanted = request.resource_types or listable
    if ctx.api_version == 0:
        wanted = [ConfigResourceType.CLIENT_METRICS]
    if any(kind not in listable for kind in wanted):
        return ListConfigResourcesResponse(error_code=ErrorCode.UNSUPPORTED_VERSION)
    image = ctx.services.cluster.image
    configured = {ConfigResourceType.GROUP, ConfigResourceType.CLIENT_METRICS}
    names: Mapping[int, Iterable[str]] = {
        ConfigResourceType.TOPIC: image.topics,
        ConfigResourceType.BROKER: map(str, sorted(image.brokers)),
        ConfigResourceType.BROKER_LOGGER: map(str, sorted(image.brokers)),
        **{kind: [name for other, name in image.configs if other is kind] for kind in configured},
    }
    return ListConfigResourcesResponse(
        config_resources=[
            ListedResource(resource_name=name, resource_type=kind)
            for kind in dict.fromkeys(wanted)
            for name in names[kind]
        ]
    )

"""Configs of topics, brokers, groups and client metrics: reading them, and changing single ones."""

import enum
from collections.abc import Iterable
from typing import Any

import attrs

from pykbroker.client.client import Client, check
from pykbroker.client.connection import Question
from pykbroker.config_tables.definition import ConfigSource, Operation
from pykbroker.errors import KafkaError
from wire.errors import ErrorCode
from wire.messages.configs import (
    DescribeConfigsRequest,
    DescribeConfigsResource,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsRequestAlterableConfig,
    IncrementalAlterConfigsRequestAlterConfigsResource,
)

__all__ = [
    "ConfigChange",
    "ConfigEntry",
    "ConfigSource",
    "Operation",
    "Resource",
    "ResourceType",
    "alter_configs",
    "describe_configs",
    "topic_configs",
]


class ResourceType(enum.IntEnum):
    TOPIC = 2
    BROKER = 4
    BROKER_LOGGER = 8
    CLIENT_METRICS = 16
    GROUP = 32


@attrs.frozen
class Resource:
    type: ResourceType
    name: str  # of a broker: its id, "" for the defaults of all brokers

    def __str__(self) -> str:
        return f"{self.type.name.lower().replace('_', '-')} {self.name or '<default>'}"


@attrs.frozen
class ConfigEntry:
    name: str
    value: str | None  # None: not set, or withheld because it is sensitive
    source: ConfigSource
    is_read_only: bool
    is_sensitive: bool
    documentation: str | None

    @property
    def is_set(self) -> bool:
        """Whether somebody set it for this resource, or for all brokers, while they ran."""
        return self.source not in (ConfigSource.DEFAULT, ConfigSource.STATIC_BROKER, ConfigSource.UNKNOWN)


@attrs.frozen
class ConfigChange:
    name: str
    operation: Operation
    value: str | None = None


async def describe_configs(
    client: Client, resource: Resource, names: Iterable[str] | None = None, *, include_documentation: bool = False
) -> list[ConfigEntry]:
    """Return these configs of a resource, or all. Raises: KafkaError."""
    keys = None if names is None else list(names)
    asked = DescribeConfigsResource(resource.type, resource.name, keys)

    def build(version: int) -> DescribeConfigsRequest:
        return DescribeConfigsRequest([asked], include_documentation=include_documentation and version >= 3)

    answer = await _ask(client, resource, Question(DescribeConfigsRequest, build))
    (result,) = answer.results
    check(result.error_code, result.error_message)
    return [_entry(told) for told in result.configs]


async def topic_configs(client: Client, topics: Iterable[str], name: str) -> dict[str, str | None]:
    """Return one config of many topics; those that cannot be read are left out. Raises: KafkaError, OSError."""
    resources = [DescribeConfigsResource(ResourceType.TOPIC, topic, [name]) for topic in topics]
    answer = await client.ask_any(Question.of(DescribeConfigsRequest(resources)))
    return {
        result.resource_name: result.configs[0].value
        for result in answer.results
        if not result.error_code and result.configs
    }


async def alter_configs(
    client: Client, resource: Resource, changes: Iterable[ConfigChange], *, validate_only: bool = False
) -> None:
    """Raises: KafkaError."""
    alterations = [
        IncrementalAlterConfigsRequestAlterableConfig(change.name, change.operation, change.value) for change in changes
    ]
    request = IncrementalAlterConfigsRequest(
        [IncrementalAlterConfigsRequestAlterConfigsResource(resource.type, resource.name, alterations)], validate_only
    )
    answer = await _ask(client, resource, Question.of(request))
    (result,) = answer.responses
    check(result.error_code, result.error_message)


async def _ask(client: Client, resource: Resource, question: Question) -> Any:
    """What is of one broker has to be asked of that broker."""
    if resource.type in (ResourceType.BROKER, ResourceType.BROKER_LOGGER) and resource.name:
        if not resource.name.isdecimal():
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"{resource.name!r} is not the id of a broker")
        return await client.retry(lambda: client.ask_broker(int(resource.name), question))
    return await client.ask_any(question)


def _entry(told: Any) -> ConfigEntry:
    try:
        source = ConfigSource(max(told.config_source, 0))
    except ValueError:
        source = ConfigSource.UNKNOWN
    return ConfigEntry(told.name, told.value, source, told.read_only, told.is_sensitive, told.documentation or None)

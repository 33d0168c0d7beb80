"""Configurations of topics, brokers, groups and client metrics: DescribeConfigs (key 32), AlterConfigs (33),
IncrementalAlterConfigs (44), ListConfigResources (74).

Resource types: 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group. A broker's name is its id, or "" for
the defaults of all brokers.
"""

from wire.schema import Kind, array, boolean, int8, int16, int32, request, response, string, struct


@struct()
class DescribeConfigsResource:
    resource_type: int = int8()
    resource_name: str = string()
    configuration_keys: list[str] | None = array(Kind.STRING, nullable="0+")  # null: all


@request(32, "1-4", flexible="4+")
class DescribeConfigsRequest:
    """Ask for the configs of resources (KIP-133).

    - 1: synonyms (KIP-226); version 0 is gone (KIP-896)
    - 2: only throttling differs: the answer comes before the pause (KIP-219)
    - 3: documentation (KIP-569)
    - 4: flexible
    """

    resources: list[DescribeConfigsResource] = array(DescribeConfigsResource)
    include_synonyms: bool = boolean("1+")  # where else the value could come from
    include_documentation: bool = boolean("3+")


@struct()
class DescribeConfigsSynonym:
    name: str = string("1+")
    value: str | None = string("1+", nullable="0+")
    source: int = int8("1+")  # as `config_source`


@struct()
class DescribeConfigsResourceResult:
    name: str = string()
    value: str | None = string(nullable="0+")  # null: not set, or withheld because it is sensitive
    read_only: bool = boolean()
    # 1 topic, 2 broker, 3 all brokers, 4 static broker, 5 default, 6 broker logger, 7 client metrics, 8 group
    config_source: int = int8("1+", default=-1, ignorable=True)
    is_sensitive: bool = boolean()
    # what would hold, by precedence
    synonyms: list[DescribeConfigsSynonym] = array(DescribeConfigsSynonym, "1+", ignorable=True)
    # 0 unknown, 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password
    config_type: int = int8("3+", ignorable=True)
    documentation: str | None = string("3+", nullable="0+", ignorable=True)


@struct()
class DescribeConfigsResult:
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    resource_type: int = int8()
    resource_name: str = string()
    configs: list[DescribeConfigsResourceResult] = array(DescribeConfigsResourceResult)


@response(32, "1-4", flexible="4+")
class DescribeConfigsResponse:
    """Describe configs of each resource.

    - 1: source and synonyms (KIP-226)
    - 3: type and documentation (KIP-569)
    - 4: flexible
    """

    throttle_time_ms: int = int32()
    results: list[DescribeConfigsResult] = array(DescribeConfigsResult)


@struct("AlterableConfig")
class AlterConfigsRequestAlterableConfig:
    name: str = string()
    value: str | None = string(nullable="0+")  # null: back to the default


@struct("AlterConfigsResource")
class AlterConfigsRequestAlterConfigsResource:
    resource_type: int = int8()
    resource_name: str = string()
    configs: list[AlterConfigsRequestAlterableConfig] = array(AlterConfigsRequestAlterableConfig)


@request(33, "0-2", flexible="2+")
class AlterConfigsRequest:
    """Replace all configs of resources: what is not named goes back to its default (KIP-133).

    - 1: only throttling differs: the answer comes before the pause (KIP-219)
    - 2: flexible
    """

    resources: list[AlterConfigsRequestAlterConfigsResource] = array(AlterConfigsRequestAlterConfigsResource)
    validate_only: bool = boolean()  # check everything, change nothing


@struct("AlterConfigsResourceResponse")
class AlterConfigsResponseAlterConfigsResourceResponse:
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    resource_type: int = int8()
    resource_name: str = string()


@response(33, "0-2", flexible="2+")
class AlterConfigsResponse:
    """Say of each resource whether its configs were replaced.

    - 2: flexible
    """

    throttle_time_ms: int = int32()
    responses: list[AlterConfigsResponseAlterConfigsResourceResponse] = array(
        AlterConfigsResponseAlterConfigsResourceResponse
    )


@struct("AlterableConfig")
class IncrementalAlterConfigsRequestAlterableConfig:
    name: str = string()
    config_operation: int = int8()  # 0 set, 1 delete, 2 append to a list, 3 subtract from a list
    value: str | None = string(nullable="0+")


@struct("AlterConfigsResource")
class IncrementalAlterConfigsRequestAlterConfigsResource:
    resource_type: int = int8()
    resource_name: str = string()
    configs: list[IncrementalAlterConfigsRequestAlterableConfig] = array(IncrementalAlterConfigsRequestAlterableConfig)


@request(44, "0-1", flexible="1+")
class IncrementalAlterConfigsRequest:
    """Change single configs of resources (KIP-339).

    - 1: flexible
    """

    resources: list[IncrementalAlterConfigsRequestAlterConfigsResource] = array(
        IncrementalAlterConfigsRequestAlterConfigsResource
    )
    validate_only: bool = boolean()  # check everything, change nothing


@struct("AlterConfigsResourceResponse")
class IncrementalAlterConfigsResponseAlterConfigsResourceResponse:
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    resource_type: int = int8()
    resource_name: str = string()


@response(44, "0-1", flexible="1+")
class IncrementalAlterConfigsResponse:
    """Say of each resource whether its configs were changed.

    - 1: flexible
    """

    throttle_time_ms: int = int32()
    responses: list[IncrementalAlterConfigsResponseAlterConfigsResourceResponse] = array(
        IncrementalAlterConfigsResponseAlterConfigsResourceResponse
    )


@request(74, "0-1", flexible="0+")
class ListConfigResourcesRequest:
    """Ask which resources have configs of their own.

    - 0: client metrics only (KIP-714)
    - 1: any resource type (KIP-1142)
    """

    resource_types: list[int] = array(
        Kind.INT8, "1+"
    )  # 2 topic, 4 broker, 8 broker logger, 16 client metrics, 32 group; empty: all


@struct()
class ConfigResource:
    resource_name: str = string()
    resource_type: int = int8("1+", default=16, ignorable=True)


@response(74, "0-1", flexible="0+")
class ListConfigResourcesResponse:
    """List resources.

    - 1: with their types (KIP-1142)
    """

    throttle_time_ms: int = int32()
    error_code: int = int16()
    config_resources: list[ConfigResource] = array(ConfigResource)

"""Quotas of clients: DescribeClientQuotas (key 48), AlterClientQuotas (49) (KIP-546).

An entity is a combination of "user", "client-id" and "ip" with a name each, null meaning the default of that type. Its
values are rates such as producer_byte_rate.
"""

from wire.schema import array, boolean, float64, int8, int16, int32, request, response, string, struct


@struct()
class ComponentData:
    entity_type: str = string()
    match_type: int = int8()  # 0 this name, 1 the default, 2 any name
    match: str | None = string(nullable="0+")  # null unless a name is asked for


@request(48, "0-1", flexible="1+")
class DescribeClientQuotasRequest:
    """Ask for the quotas of entities.

    - 1: flexible
    """

    components: list[ComponentData] = array(ComponentData)
    strict: bool = boolean()  # only entities of exactly these types


@struct("EntityData")
class DescribeClientQuotasResponseEntityData:
    entity_type: str = string()
    entity_name: str | None = string(nullable="0+")  # null: the default


@struct()
class ValueData:
    key: str = string()
    value: float = float64()


@struct("EntryData")
class DescribeClientQuotasResponseEntryData:
    entity: list[DescribeClientQuotasResponseEntityData] = array(DescribeClientQuotasResponseEntityData)
    values: list[ValueData] = array(ValueData)


@response(48, "0-1", flexible="1+")
class DescribeClientQuotasResponse:
    """List quotas by entity.

    - 1: flexible
    """

    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    # null on failure
    entries: list[DescribeClientQuotasResponseEntryData] | None = array(
        DescribeClientQuotasResponseEntryData, nullable="0+"
    )


@struct("EntityData")
class AlterClientQuotasRequestEntityData:
    entity_type: str = string()
    entity_name: str | None = string(nullable="0+")  # null: the default


@struct()
class OpData:
    key: str = string()
    value: float = float64()
    remove: bool = boolean()  # take the quota away instead of setting it


@struct("EntryData")
class AlterClientQuotasRequestEntryData:
    entity: list[AlterClientQuotasRequestEntityData] = array(AlterClientQuotasRequestEntityData)
    ops: list[OpData] = array(OpData)


@request(49, "0-1", flexible="1+")
class AlterClientQuotasRequest:
    """Set and remove quotas.

    - 1: flexible
    """

    entries: list[AlterClientQuotasRequestEntryData] = array(AlterClientQuotasRequestEntryData)
    validate_only: bool = boolean()  # check everything, change nothing


@struct("EntityData")
class AlterClientQuotasResponseEntityData:
    entity_type: str = string()
    entity_name: str | None = string(nullable="0+")  # null: the default


@struct("EntryData")
class AlterClientQuotasResponseEntryData:
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    entity: list[AlterClientQuotasResponseEntityData] = array(AlterClientQuotasResponseEntityData)


@response(49, "0-1", flexible="1+")
class AlterClientQuotasResponse:
    """Say of each entity whether its quotas changed.

    - 1: flexible
    """

    throttle_time_ms: int = int32()
    entries: list[AlterClientQuotasResponseEntryData] = array(AlterClientQuotasResponseEntryData)

from wire.schema import array, boolean, float64, int8, int16, int32, request, response, string, struct


@struct()
class ComponentData:
    entity_type: str = string()
    match_type: int = int8()
    match: str | None = string(nullable="0+")


@request(48, "0-1", flexible="1+")
class DescribeClientQuotasRequest:
    components: list[ComponentData] = array(ComponentData)
    strict: bool = boolean()


@struct("EntityData")
class DescribeClientQuotasResponseEntityData:
    entity_type: str = string()
    entity_name: str | None = string(nullable="0+")


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
    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    entries: list[DescribeClientQuotasResponseEntryData] | None = array(
        DescribeClientQuotasResponseEntryData, nullable="0+"
    )


@struct("EntityData")
class AlterClientQuotasRequestEntityData:
    entity_type: str = string()
    entity_name: str | None = string(nullable="0+")


@struct()
class OpData:
    key: str = string()
    value: float = float64()
    remove: bool = boolean()


@struct("EntryData")
class AlterClientQuotasRequestEntryData:
    entity: list[AlterClientQuotasRequestEntityData] = array(AlterClientQuotasRequestEntityData)
    ops: list[OpData] = array(OpData)


@request(49, "0-1", flexible="1+")
class AlterClientQuotasRequest:
    entries: list[AlterClientQuotasRequestEntryData] = array(AlterClientQuotasRequestEntryData)
    validate_only: bool = boolean()


@struct("EntityData")
class AlterClientQuotasResponseEntityData:
    entity_type: str = string()
    entity_name: str | None = string(nullable="0+")


@struct("EntryData")
class AlterClientQuotasResponseEntryData:
    error_code: int = int16()
    error_message: str | None = string(nullable="0+")
    entity: list[AlterClientQuotasResponseEntityData] = array(AlterClientQuotasResponseEntityData)


@response(49, "0-1", flexible="1+")
class AlterClientQuotasResponse:
    throttle_time_ms: int = int32()
    entries: list[AlterClientQuotasResponseEntryData] = array(AlterClientQuotasResponseEntryData)

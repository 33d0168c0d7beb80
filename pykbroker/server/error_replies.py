"""The answer to a request that failed as a whole: every place of the response that can carry the error code carries it.

A response mirrors its request – topics, their partitions – so one walk over both declarations serves every API: a list of
the response is filled from the list of the request that plays its part, scalars of the same name are copied, and
`error_code` and `error_message` are set at each level.

Source: what `AbstractRequest.getErrorResponse` answers for each API of Apache Kafka.
"""

from typing import Any

from pykbroker.errors import KafkaError
from wire.catalog import response_class
from wire.schema import FieldSpec, Kind, spec_of

# Where the two sides of an API call the same thing by different names: the response's name first.
_SAME = {
    "responses": ("topics", "topic_data", "resources"),
    "partition_responses": ("partition_data",),
    "results": ("resources", "topics", "groups_names"),
    "groups": ("groups", "groups_names"),
    "coordinators": ("coordinator_keys",),
    "topics": ("topics", "topic_names"),
    "name": ("name", "topic"),
    "topic": ("topic", "name"),
    "partition_index": ("partition_index", "partition", "index"),
    "partition": ("partition", "partition_index"),
    "index": ("index", "partition_index"),
    "group_id": ("group_id",),
    "key": ("key",),
}
# What a scalar of the request's list becomes in a struct of the response's list.
_SCALAR_NAMES = ("partition_index", "partition", "index", "name", "group_id", "key", "topic")


def error_response(api_key: int, request: object, error: KafkaError) -> object:
    return _mirror(response_class(api_key), request, error)


def _mirror(response_class: type[Any], request: object, error: KafkaError) -> object:
    response = response_class()
    fields = spec_of(response_class).fields
    for field in fields:
        if field.name == "error_code":
            response.error_code = int(error.code)
        elif field.name == "error_message":
            response.error_message = error.message
        elif field.kind is Kind.ARRAY and isinstance(field.element, type):
            items = _counterpart(field, request)
            if isinstance(items, list) and not _is_result_only(field):
                setattr(response, field.name, [_mirror(field.element, item, error) for item in items])
        elif field.kind not in (Kind.ARRAY, Kind.STRUCT, Kind.RECORDS):
            _copy_scalar(response, field, request)
    if isinstance(request, int | str):
        for name in _SCALAR_NAMES:
            if any(field.name == name and isinstance(field.default, type(request)) for field in fields):
                setattr(response, name, request)
                break
    return response


def _is_result_only(field: FieldSpec) -> bool:
    """Lists of the response that say what happened in detail have no error code below them: they stay empty."""
    assert isinstance(field.element, type)
    return not _carries_error(field.element)


def _carries_error(cls: type[Any]) -> bool:
    return any(
        field.name == "error_code" or (isinstance(field.element, type) and _carries_error(field.element))
        for field in spec_of(cls).fields
    )


def _counterpart(field: FieldSpec, request: object) -> object:
    for name in _SAME.get(field.name, (field.name,)):
        found = getattr(request, name, None)
        if found:
            return found
    return None


def _copy_scalar(response: object, field: FieldSpec, request: object) -> None:
    for name in _SAME.get(field.name, (field.name,)):
        found = getattr(request, name, None)
        if found is not None and type(found) is type(field.default):
            setattr(response, field.name, found)
            return

"""The answer to a request that failed as a whole: every place of the response that can carry the error code carries it.

A response mirrors its request – topics, their partitions – so one walk over both declarations serves every API: a list
of the response is filled from the list of the request that plays its part, what names each thing is copied, and
`error_code` and `error_message` are set at each level.

Source: what `AbstractRequest.getErrorResponse` answers for each API of Apache Kafka.
"""

from typing import Any

from pykbroker.errors import KafkaError
from wire.catalog import response_class
from wire.schema import FieldSpec, Kind, spec_of

# The request's list that plays the part of a list in the response, where their names differ; "a.b": all b of all a.
_LISTS = {
    "responses": ("topics", "topic_names", "topic_data", "resources"),
    "partition_responses": ("partition_data",),
    "partitions": ("partitions", "partition_indexes"),
    "results": ("resources", "topics", "groups_names", "dirs.topics"),
    "groups": ("groups", "groups_names"),
    "coordinators": ("coordinator_keys",),
    "topics": ("topics", "topic_names"),
    "replica_election_results": ("topic_partitions",),
    "partition_result": ("partitions",),
    "results_by_topic_v3_and_below": ("v3_and_below_topics",),
    "results_by_transaction": ("transactions",),
    "topic_results": ("topics",),
    "results_by_partition": ("partitions",),
    "transaction_states": ("transactional_ids",),
}
ERROR_CODES = ("error_code", "partition_error_code")
# What names a thing, by its name in the response, and the names that it can have in the request.
_IDENTITIES = {
    "name": ("name", "topic"),
    "topic": ("topic", "name"),
    "topic_name": ("name",),
    "topic_id": ("topic_id",),
    "partition_index": ("partition_index", "partition", "index"),
    "partition": ("partition", "partition_index"),
    "partition_id": ("partition",),
    "index": ("index", "partition_index"),
    "group_id": ("group_id",),
    "key": ("key",),
    "member_id": ("member_id",),
    "group_instance_id": ("group_instance_id",),
    "transactional_id": ("transactional_id",),
    "resource_type": ("resource_type",),
    "resource_name": ("resource_name",),
}


def error_response(api_key: int, version: int, request: object, error: KafkaError) -> object:
    return _mirror(response_class(api_key), version, request, error)


def _mirror(response_class: type[Any], version: int, request: object, error: KafkaError) -> object:
    response = response_class()
    for field in spec_of(response_class).fields:
        if version not in field.versions:
            continue
        if field.name in ERROR_CODES:
            setattr(response, field.name, int(error.code))
        elif field.name == "error_message":
            response.error_message = error.message
        elif field.kind is Kind.ARRAY and isinstance(field.element, type):
            items = _counterpart(field, request)
            if isinstance(items, list) and _carries_error(field.element):
                setattr(response, field.name, [_mirror(field.element, version, item, error) for item in items])
        elif isinstance(request, int | str):
            if field.name in _IDENTITIES and (field.kind is Kind.STRING) is isinstance(request, str):
                setattr(response, field.name, request)  # the request's list has the names alone
        else:
            _copy_identity(response, field, request)
    return response


def _carries_error(cls: type[Any]) -> bool:
    """Tell whether items of a list say how each ended; a list of other details stays empty."""
    return any(
        field.name in ERROR_CODES or (isinstance(field.element, type) and _carries_error(field.element))
        for field in spec_of(cls).fields
    )


def _counterpart(field: FieldSpec, request: object) -> object:
    for name in _LISTS.get(field.name, (field.name,)):
        outer, _, inner = name.partition(".")
        found = getattr(request, outer, None)
        if found:
            return [item for each in found for item in getattr(each, inner)] if inner else found
    return None


def _copy_identity(response: object, field: FieldSpec, request: object) -> None:
    for name in _IDENTITIES.get(field.name, ()):
        found = getattr(request, name, None)
        if found is not None:
            setattr(response, field.name, found)
            return

"""Turn messages into nested lists of plain values, so that those of two libraries can be compared field by field."""

import datetime
from typing import Any
from uuid import UUID

from wire.schema import ZERO_UUID, Kind, spec_of

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MILLISECOND = datetime.timedelta(milliseconds=1)


def our_values(message: Any, version: int) -> list[Any]:
    """The fields that the version has, in the declared order."""
    values = []
    for field in spec_of(type(message)).fields:
        if version in field.versions:
            held = getattr(message, field.name)
            if field.kind is Kind.STRUCT and held is not None:
                held = our_values(held, version)
            elif field.kind is Kind.ARRAY and held is not None and isinstance(field.element, type):
                held = [our_values(item, version) for item in held]
            values.append(plain(held))
    return values


def without_markers(value: Any) -> Any:
    """Other libraries show the zero uuid, and the number that means "operations not asked for", as None."""
    if isinstance(value, list):
        return [without_markers(item) for item in value]
    return None if value in (ZERO_UUID, -(1 << 31)) else value


def plain(value: Any) -> Any:
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, UUID):
        return value.bytes
    if isinstance(value, datetime.timedelta):
        return value // MILLISECOND
    if isinstance(value, datetime.datetime):
        return (value - EPOCH) // MILLISECOND
    return value

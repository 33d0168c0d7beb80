"""Requests with something in each of their fields, and what answers say went wrong."""

from typing import Any

from wire.schema import Kind, spec_of


def filled(cls: type[Any], version: int) -> Any:
    """Build a request with one item in each list that the version has."""
    made = cls()
    for field in spec_of(cls).fields:
        if version not in field.versions:
            continue
        if field.kind is Kind.ARRAY:
            if isinstance(field.element, type):
                setattr(made, field.name, [filled(field.element, version)])
            else:
                setattr(made, field.name, ["named"] if field.element is Kind.STRING else [7])
        elif field.kind is Kind.STRING:
            setattr(made, field.name, "named")
        elif field.kind is Kind.INT32:
            setattr(made, field.name, 7)
    return made


def error_codes(message: Any) -> list[int]:
    found = []
    for field in spec_of(type(message)).fields:
        value = getattr(message, field.name)
        if field.name in ("error_code", "partition_error_code"):
            found.append(value)
        elif field.kind is Kind.ARRAY and isinstance(field.element, type):
            found += [code for item in value or () for code in error_codes(item)]
    return found

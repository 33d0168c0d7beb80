"""Write a dissector for Wireshark from the declarations: dissector.lua, with records and messages in their places."""

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from wire.catalog import APIS, request_class, response_class
from wire.errors import ErrorCode
from wire.messages.log_records import ConsumerProtocolAssignment, ConsumerProtocolSubscription
from wire.schema import FieldSpec, Kind, Versions, spec_of
from wire.study.contents import CONSUMERS
from wire.study.secrets import CONFIG_CLASSES, SECRET_FIELDS, SENSITIVE_WORDS

# What may hold secrets, too, and is not looked into: answers, pieces of the log of Kafka's controllers.
_NOT_LOOKED_INTO = {
    ("EnvelopeResponse", "response_data"),
    ("FetchSnapshotResponsePartitionSnapshot", "unaligned_records"),
}


def dissector() -> str:
    """Return the source of the dissector."""
    folder = files("wire.study")
    runtime, records, compression = (
        folder.joinpath(f"dissector{part}.lua").read_text() for part in ("", "_records", "_compression")
    )
    errors = ", ".join(f'[{error.value}] = "{error.name}"' for error in ErrorCode)
    words = ", ".join(f'"{word}"' for word in SENSITIVE_WORDS)
    messages = "".join(
        _message(direction, api.key, api.name, cls(api.key))
        for api in APIS
        for direction, cls in (("request", request_class), ("response", response_class))
    )
    messages += "".join(_data(cls) for cls in (ConsumerProtocolSubscription, ConsumerProtocolAssignment))
    for name, text in (
        ("SENSITIVE_WORDS\n", f"{{ {words} }}\n"),
        ("ERROR_NAMES\n", f"{{ {errors} }}\n"),
        ("\nCOMPRESSION\n", f"\n{compression}\n"),
        ("\nRECORDS\n", f"\n{records}\n"),
        ("\nMESSAGES\n", f"\n{messages}\n"),
    ):
        assert runtime.count(name) == 1
        runtime = runtime.replace(name, text)
    return runtime


def _data(cls: type[Any]) -> str:
    spec = spec_of(cls)
    fields = "\n".join(_fields(cls, "  "))
    return f'D("{spec.name}", {_range(spec.versions)}, {_range(spec.flexible)}, {{\n{fields}\n}})\n'


def _message(direction: str, key: int, api: str, cls: type[Any]) -> str:
    spec = spec_of(cls)
    fields = "\n".join(_fields(cls, "  "))
    head = f'M("{direction}", {key}, "{api}", "{spec.name}", {_range(spec.versions)}, {_range(spec.flexible)}'
    return f"{head}, {{\n{fields}\n}})\n" if fields else f"{head}, {{}})\n"


def _fields(cls: type[Any], pad: str) -> Iterator[str]:
    has_verdict = any(field.name == "is_sensitive" for field in spec_of(cls).fields)
    for field in spec_of(cls).fields:
        more = list(_more(cls, field, has_verdict=has_verdict))
        head = f'{pad}F("{field.name}", "{field.kind}", {_range(field.versions)}, {_range(field.nullable)}'
        if isinstance(field.element, type):
            more.append("fields = {")
            yield f"{head}, {{ {', '.join(more)}"
            yield from _fields(field.element, f"{pad}  ")
            yield f"{pad}}} }}),"
        else:
            yield f"{head}{', { ' + ', '.join(more) + ' }' if more else ''}),"


def _more(cls: type[Any], field: FieldSpec, *, has_verdict: bool) -> Iterator[str]:
    if field.tag is not None:
        yield f"tag = {field.tag}, tag_low = {field.tagged.low}, tag_high = {field.tagged.high}"
    if field.kind is Kind.ARRAY and isinstance(field.element, Kind):
        yield f'element = "{field.element}"'
    if (cls.__name__, field.name) in SECRET_FIELDS or (cls.__name__, field.name) in _NOT_LOOKED_INTO:
        yield "is_secret = true"
    if (cls.__name__, field.name) == ("EnvelopeRequest", "request_data"):
        yield "is_request = true"
    if (cls.__name__, field.name) in CONSUMERS:
        yield f'inside = "{CONSUMERS[cls.__name__, field.name]}"'
    if cls.__name__ in CONFIG_CLASSES and field.name == "name":
        yield "is_config_name = true"
    if cls.__name__ in CONFIG_CLASSES and field.name == "value":
        yield "is_config_value = true"
        if has_verdict:
            yield "is_judged = true"


def _range(versions: Versions) -> str:
    return f"{versions.low}, {versions.high}"

"""What there is to say about a message: its versions, its fields, what changed and why; and about two of its versions.

All of it comes from the declarations (wire.schema) and what is written beside them (comments).
"""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from wire.catalog import API_BY_NAME, APIS, Api, request_class, response_class
from wire.schema import FieldSpec, Kind, MessageType, Versions, spec_of
from wire.study.comments import field_comment, summary, version_notes

DATA_FAMILIES = ("log_records", "control_records", "share_records", "streams_records", "cluster_records")


@attrs.frozen
class Field:
    """A field of a message or of a struct in it; `depth` is 0 for the message's own."""

    path: str
    depth: int
    name: str
    type: str
    versions: str
    nullable: str  # the versions in which it may be null
    tag: int | None
    default: str
    about: str


@attrs.frozen
class Message:
    name: str
    about: str
    versions: str
    flexible: str
    notes: Mapping[int, str]  # what a version brought
    fields: tuple[Field, ...]


@attrs.frozen
class Description:
    """An API, or a message that is none (then `key` is None and there is but one message)."""

    name: str
    key: int | None
    served: str
    messages: tuple[Message, ...]


@attrs.frozen
class Change:
    """What two versions of a message differ in: the sign is +, - or ~."""

    sign: str
    path: str
    what: str
    about: str = ""


@attrs.frozen
class MessageDiff:
    name: str
    notes: Mapping[int, str]
    changes: tuple[Change, ...]


def find_api(name: str) -> Api | None:
    """Return the API of a name in any case, or of a key's number."""
    if name.isdecimal():
        return next((api for api in APIS if api.key == int(name)), None)
    return {known.lower(): api for known, api in API_BY_NAME.items()}.get(name.lower())


def find_data(name: str) -> type[Any] | None:
    """Return the class of a message that lies inside others: a record's key or value, a protocol's metadata."""
    import importlib

    for family in DATA_FAMILIES:
        for known, cls in vars(importlib.import_module(f"wire.messages.{family}")).items():
            spec = getattr(cls, "__wire__", None)
            if known.lower() == name.lower() and spec is not None and spec.type is MessageType.DATA:
                assert isinstance(cls, type)
                return cls
    return None


def describe_api(api: Api, version: int | None = None) -> Description:
    """Describe an API, or only what is there in one version of it."""
    served = Versions(api.min_version, api.max_version)
    messages = tuple(describe_message(cls(api.key), version) for cls in (request_class, response_class))
    return Description(api.name, api.key, str(served), messages)


def describe_data(cls: type[Any], version: int | None = None) -> Description:
    return Description(spec_of(cls).name, None, str(spec_of(cls).versions), (describe_message(cls, version),))


def describe_message(cls: type[Any], version: int | None = None) -> Message:
    spec = spec_of(cls)
    flexible = _within(spec.flexible, spec.versions)
    return Message(
        name=spec.name,
        about=summary(cls),
        versions=str(spec.versions),
        flexible=flexible,
        notes=version_notes(cls),
        fields=tuple(_fields(cls, spec.versions, version, 0, "")),
    )


def diff_api(api: Api, old: int, new: int) -> tuple[MessageDiff, ...]:
    """Say what changed from one version to another, in the request and in the response."""
    return tuple(diff_message(cls(api.key), old, new) for cls in (request_class, response_class))


def diff_message(cls: type[Any], old: int, new: int) -> MessageDiff:
    spec = spec_of(cls)
    low, high = sorted((old, new))
    notes = {number: note for number, note in version_notes(cls).items() if low < number <= high}
    changes = list(_flexibility(spec.flexible, old, new))
    changes += _changes(cls, old, new, "")
    return MessageDiff(spec.name, notes, tuple(changes))


def _fields(cls: type[Any], versions: Versions, version: int | None, depth: int, path: str) -> Iterator[Field]:
    for field in spec_of(cls).fields:
        if version is not None and version not in field.versions:
            continue
        at = f"{path}.{field.name}" if path else field.name
        yield Field(
            path=at,
            depth=depth,
            name=field.name,
            type=type_name(field),
            versions=_within(field.versions, versions),
            nullable=_within(field.nullable, versions),
            tag=field.tag if version is None or version in field.tagged else None,
            default=_default(field),
            about=field_comment(cls, field.name),
        )
        if isinstance(field.element, type):
            yield from _fields(field.element, versions, version, depth + 1, at)


def type_name(field: FieldSpec) -> str:
    if field.kind is Kind.ARRAY:
        element = field.element
        return f"[{spec_of(element).name if isinstance(element, type) else element}]"
    return spec_of(field.element).name if isinstance(field.element, type) else str(field.kind)


def _within(versions: Versions, all_versions: Versions) -> str:
    """Return a range as far as the message has versions: "" for none."""
    low, high = max(versions.low, all_versions.low), min(versions.high, all_versions.high)
    if low > high:
        return ""
    return str(Versions(low, high))


def _default(field: FieldSpec) -> str:
    """Return the default where it is not the usual one of its type."""
    if field.default is None:
        return "null" if field.kind is not Kind.RECORDS else ""
    if field.default in (0, "", b"", ()) or field.kind is Kind.UUID:
        return ""
    return str(field.default).lower() if field.kind is Kind.BOOL else str(field.default)


def _flexibility(flexible: Versions, old: int, new: int) -> Iterator[Change]:
    if (old in flexible) != (new in flexible):
        what = "flexible" if new in flexible else "no longer flexible"
        about = "lengths are unsigned varints, structs end with tagged fields (KIP-482)" if new in flexible else ""
        yield Change("~", "", f"the encoding becomes {what}", about)


def _changes(cls: type[Any], old: int, new: int, path: str) -> Iterator[Change]:
    for field in spec_of(cls).fields:
        at = f"{path}.{field.name}" if path else field.name
        was, is_ = old in field.versions, new in field.versions
        if was != is_:
            what = type_name(field)
            if field.tag is not None and (new if is_ else old) in field.tagged:
                what += f", tag {field.tag}"
            yield Change("+" if is_ else "-", at, what, field_comment(cls, field.name))
        elif is_:
            if (old in field.nullable) != (new in field.nullable):
                may = "may be null" if new in field.nullable else "may no longer be null"
                yield Change("~", at, may, field_comment(cls, field.name))
            if (old in field.tagged) != (new in field.tagged):
                yield Change("~", at, f"tag {field.tag}" if new in field.tagged else "no longer a tagged field")
            if isinstance(field.element, type):
                yield from _changes(field.element, old, new, at)

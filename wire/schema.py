"""Declare the messages of the Kafka protocol: one attrs class for all versions of a message, one line per field.

    @request(1, "4-18", flexible="12+")
    class FetchRequest:
        cluster_id: str | None = string("12+", nullable="12+", tag=0, default=None, ignorable=True)
        replica_id: int = int32("0-14", default=-1)  # broker id of a follower, -1 for a consumer
        topics: list[FetchTopic] = array(FetchTopic)

Rules
- Fields stand in the official order, under the official names in snake_case.
- A version range is "n", "n-m", "n+" or "none". Where a field is not in a version, decoding gives its default;
  encoding drops it if it is `ignorable` and raises if it is not and differs from the default.
- Every field has a default (Kafka's: 0, "", false, empty array), so every message can be built with keywords alone.
- Unknown tagged fields are kept in `unknown_tags` and written back.
- A uuid is 16 bytes (`Uuid`); `records` are never copied: decoding yields a view of the frame, encoding takes anything
  that has a length (a slice of a file too).

Not here: how a declaration becomes code (codec), the table of all messages (catalog).
Sources: KIP-482 (flexible versions, tagged fields), KIP-893 (nullable structs).
"""

import enum
import functools
import re
from collections.abc import Callable, Mapping, Sized
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, TypeVar, dataclass_transform

import attrs

Uuid: TypeAlias = bytes  # 16 bytes, big-endian
RecordBytes: TypeAlias = bytes | bytearray | memoryview
Records: TypeAlias = Sized  # what an encoder accepts as records: bytes, or a slice of a file that is sent later

ZERO_UUID: Uuid = bytes(16)
NO_TAGS: Mapping[int, bytes] = MappingProxyType({})  # shared by all messages without unknown tagged fields
MAX_VERSION = 32767

T = TypeVar("T")


class Kind(enum.StrEnum):
    """The wire type of a field or of an array's elements."""

    BOOL = "bool"
    INT8 = "int8"
    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    UINT32 = "uint32"
    INT64 = "int64"
    FLOAT64 = "float64"
    UUID = "uuid"
    STRING = "string"
    BYTES = "bytes"
    RECORDS = "records"
    STRUCT = "struct"
    ARRAY = "array"


class MessageType(enum.StrEnum):
    REQUEST = "request"
    RESPONSE = "response"
    DATA = "data"  # bytes inside another message or in a record


@attrs.frozen
class Versions:
    """An inclusive range of versions; `low > high` is the empty range."""

    low: int
    high: int

    @classmethod
    @functools.cache
    def parse(cls, text: str) -> "Versions":
        """Read a range as it stands in a declaration; there are few different ones. Raises: ValueError."""
        if text == "none":
            return cls(0, -1)
        match = re.fullmatch(r"(\d+)(?:(\+)|-(\d+))?", text)
        if match is None:
            raise ValueError(f"not a version range: {text!r}")
        low = int(match[1])
        return cls(low, MAX_VERSION if match[2] else int(match[3] or low))

    def __contains__(self, version: int) -> bool:
        return self.low <= version <= self.high

    def __str__(self) -> str:
        if self.low > self.high:
            return "none"
        if self.high == MAX_VERSION:
            return f"{self.low}+"
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


class FieldSpec(NamedTuple):
    """What the wire needs to know of one field. `name` is filled in when its class is decorated."""

    kind: Kind
    versions: Versions
    nullable: Versions
    tagged: Versions
    tag: int | None
    default: object
    ignorable: bool
    element: "Kind | type[Any] | None" = None  # of an array; the class of a struct field
    name: str = ""


@attrs.frozen
class StructSpec:
    """The fields of a class on the wire, and for a message its key and version ranges."""

    name: str  # official
    fields: tuple[FieldSpec, ...]
    type: MessageType | None = None  # None: a struct inside messages
    key: int | None = None
    versions: Versions = Versions(0, MAX_VERSION)
    flexible: Versions = Versions(0, -1)


def spec_of(message: type[Any]) -> StructSpec:
    spec = message.__wire__
    assert isinstance(spec, StructSpec)
    return spec


@dataclass_transform()
def request(key: int, versions: str, *, flexible: str = "none", name: str = "") -> Callable[[type[T]], type[T]]:
    """Declare a request. `versions` are those with a definition; what is served stands in the catalog."""
    return _declare(MessageType.REQUEST, key, versions, flexible, name)


@dataclass_transform()
def response(key: int, versions: str, *, flexible: str = "none", name: str = "") -> Callable[[type[T]], type[T]]:
    return _declare(MessageType.RESPONSE, key, versions, flexible, name)


@dataclass_transform()
def data(
    versions: str, *, flexible: str = "none", key: int | None = None, name: str = ""
) -> Callable[[type[T]], type[T]]:
    """Declare a message that lies inside others: a header, a protocol's metadata, a record's key or value."""
    return _declare(MessageType.DATA, key, versions, flexible, name)


@dataclass_transform()
def struct(name: str = "") -> Callable[[type[T]], type[T]]:
    """Declare a struct used in messages. `name` is the official one where the class needs another."""
    return _declare(None, None, "0+", "none", name)


def _declare(
    type_: MessageType | None, key: int | None, versions: str, flexible: str, name: str
) -> Callable[[type[T]], type[T]]:
    def decorate(cls: type[T]) -> type[T]:
        # repr and eq by attrs cost half of the time that creating a class takes; ours walk the spec when called.
        cls.__repr__ = _repr  # type: ignore[method-assign]
        cls.__eq__ = _eq  # type: ignore[method-assign]
        cls.__hash__ = None  # type: ignore[method-assign,assignment]
        cls.__annotations__["unknown_tags"] = "Mapping[int, bytes]"
        cls.unknown_tags = attrs.field(default=NO_TAGS)  # type: ignore[attr-defined]
        made: type[Any] = attrs.define(eq=False, repr=False, hash=False, order=False)(cls)
        fields = tuple(
            attribute.metadata["wire"]._replace(name=attribute.name)
            for attribute in attrs.fields(made)
            if attribute.name != "unknown_tags"
        )
        made.__wire__ = StructSpec(
            name or cls.__name__, fields, type_, key, Versions.parse(versions), Versions.parse(flexible)
        )
        return made

    return decorate


def _repr(self: object) -> str:
    shown = [f"{field.name}={getattr(self, field.name)!r}" for field in spec_of(type(self)).fields]
    return f"{type(self).__name__}({', '.join(shown)})"


def _eq(self: object, other: object) -> bool:
    if type(self) is not type(other):
        return False
    names = [field.name for field in spec_of(type(self)).fields]
    return all(getattr(self, name) == getattr(other, name) for name in [*names, "unknown_tags"])


# The field functions return Any and are no `field_specifiers`: type checkers then see a field with a default value.


def _field(
    kind: Kind,
    versions: str,
    *,
    default: object,
    nullable: str,
    tag: int | None,
    tagged: str,
    ignorable: bool,
    element: "Kind | type[Any] | None" = None,
) -> Any:
    spec = FieldSpec(
        kind=kind,
        versions=Versions.parse(versions),
        nullable=Versions.parse(nullable),
        tagged=Versions.parse(tagged or ("none" if tag is None else versions)),
        tag=tag,
        default=default,
        ignorable=ignorable,
        element=element,
    )
    if kind is Kind.ARRAY and default is not None:
        return attrs.field(factory=list, metadata={"wire": spec})
    if kind is Kind.STRUCT and default is not None:
        assert isinstance(element, type)
        return attrs.field(factory=element, metadata={"wire": spec})
    return attrs.field(default=default, metadata={"wire": spec})


def _scalar(kind: Kind, zero: object) -> Callable[..., Any]:
    def declare(
        versions: str = "0+",
        *,
        default: object = zero,
        tag: int | None = None,
        tagged: str = "",
        ignorable: bool = False,
    ) -> Any:
        return _field(kind, versions, default=default, nullable="none", tag=tag, tagged=tagged, ignorable=ignorable)

    return declare


boolean = _scalar(Kind.BOOL, False)
int8 = _scalar(Kind.INT8, 0)
int16 = _scalar(Kind.INT16, 0)
uint16 = _scalar(Kind.UINT16, 0)
int32 = _scalar(Kind.INT32, 0)
uint32 = _scalar(Kind.UINT32, 0)
int64 = _scalar(Kind.INT64, 0)
float64 = _scalar(Kind.FLOAT64, 0.0)
uuid = _scalar(Kind.UUID, ZERO_UUID)


def _sized(kind: Kind, empty: object) -> Callable[..., Any]:
    def declare(
        versions: str = "0+",
        *,
        nullable: str = "none",
        default: object = empty,
        tag: int | None = None,
        tagged: str = "",
        ignorable: bool = False,
    ) -> Any:
        return _field(kind, versions, default=default, nullable=nullable, tag=tag, tagged=tagged, ignorable=ignorable)

    return declare


string = _sized(Kind.STRING, "")
bytes_ = _sized(Kind.BYTES, b"")
records = _sized(Kind.RECORDS, None)


def array(
    element: Kind | type[Any],
    versions: str = "0+",
    *,
    nullable: str = "none",
    default: object = (),
    tag: int | None = None,
    tagged: str = "",
    ignorable: bool = False,
) -> Any:
    """An array of structs or of a scalar kind; `default=None` where the official default is null."""
    return _field(
        Kind.ARRAY,
        versions,
        default=default,
        nullable=nullable,
        tag=tag,
        tagged=tagged,
        ignorable=ignorable,
        element=element,
    )


def one(
    element: type[Any],
    versions: str = "0+",
    *,
    nullable: str = "none",
    default: object = (),
    tag: int | None = None,
    tagged: str = "",
    ignorable: bool = False,
) -> Any:
    """A single struct; `default=None` where the official default is null."""
    return _field(
        Kind.STRUCT,
        versions,
        default=default,
        nullable=nullable,
        tag=tag,
        tagged=tagged,
        ignorable=ignorable,
        element=element,
    )

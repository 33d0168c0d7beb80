"""Write the Python source of the codecs: one function per message, version and direction, nested structs inline.

Rules
- Adjacent fixed-width values, and the length, null mark or empty tag section that follows them, are one
  `struct.Struct`: a partition of a Fetch request is one `unpack_from`.
- Names cannot collide: everything that the generated code names itself starts with an underscore, the classes of the
  messages with a capital, and fields appear as attributes only.
- A nullable struct begins with a byte: 1, or for null -1 in the body of a message and 0 in a tagged field.
- `_n` is a length as it stands on the wire: in flexible versions one more than the size, 0 for null; otherwise the
  size, negative for null.

Here is what both directions need. Not here: the directions (decoder_source, encoder_source), compiling and calling
(codec), what the helpers do (primitives).
Sources: KIP-482, KIP-893; Kafka's MessageDataGenerator, whose tagged null is not the one of KIP-893.
"""

import functools
from struct import Struct
from typing import Any

from wire import primitives
from wire.errors import ProtocolError
from wire.schema import NO_TAGS, ZERO_UUID, FieldSpec, Kind, spec_of

FORMATS = {
    Kind.BOOL: ("?", 1),
    Kind.INT8: ("b", 1),
    Kind.INT16: ("h", 2),
    Kind.UINT16: ("H", 2),
    Kind.INT32: ("i", 4),
    Kind.UINT32: ("I", 4),
    Kind.INT64: ("q", 8),
    Kind.FLOAT64: ("d", 8),
    Kind.UUID: ("16s", 16),
}
_SMALL_ARRAY = 16  # up to this many fixed-width elements have a Struct of their own


class CodecSource:
    """What both directions need: the lines, the names they use, and the facts of the version."""

    def __init__(self, message: type[Any], version: int) -> None:
        self.version = version
        self.flexible = version in spec_of(message).flexible
        self.names: dict[str, Any] = {
            "_NO_TAGS": NO_TAGS,
            "_ONE_BYTE": primitives.ONE_BYTE,
            "_ProtocolError": ProtocolError,
            "_ZERO_UUID": ZERO_UUID,
        }
        self.structs: dict[str, str] = {}
        self.lines: list[str] = []
        self._numbers = 0

    @property
    def text(self) -> str:
        header = [f"{name} = _Struct({format!r})" for format, name in self.structs.items()]
        return "\n".join([*header, "", "", *self.lines, ""])

    def line(self, pad: str, text: str) -> None:
        self.lines.append(pad + text)

    def name(self, stem: str) -> str:
        self._numbers += 1
        return f"_{stem}{self._numbers}"

    def helper(self, name: str, value: object) -> str:
        self.names[name] = value
        return name

    def class_name(self, cls: type[Any]) -> str:
        """The global name of a class; two classes of one name in one message get two."""
        name = cls.__name__
        assert name[0].isupper()
        while self.names.setdefault(name, cls) is not cls:
            name += "_"
        return name

    def struct(self, formats: str) -> str:
        self.names["_Struct"] = Struct
        return self.structs.setdefault(f">{formats}", f"_S{len(self.structs)}")

    def present(self, cls: type[Any]) -> tuple[list[FieldSpec], list[FieldSpec]]:
        """The fields that the version has: those in the body, and the tagged ones."""
        fields = [field for field in spec_of(cls).fields if self.version in field.versions]
        tagged = [field for field in fields if self.is_tagged(field)]
        return [field for field in fields if field not in tagged], tagged

    def is_tagged(self, field: FieldSpec) -> bool:
        return self.flexible and field.tag is not None and self.version in field.tagged

    def is_nullable(self, field: FieldSpec) -> bool:
        return self.version in field.nullable or field.kind is Kind.RECORDS

    def default(self, field: FieldSpec) -> str:
        """An expression for a new default value."""
        if field.default is None:
            return "None"
        if field.kind is Kind.ARRAY:
            return "[]"
        if field.kind is Kind.STRUCT:
            return f"{self.class_name(struct_of(field))}()"
        return "_ZERO_UUID" if field.kind is Kind.UUID else repr(field.default)

    def length_format(self, kind: Kind) -> tuple[str, int]:
        return ("B", 1) if self.flexible else ("h", 2) if kind is Kind.STRING else ("i", 4)


@functools.cache
def array_structs(prefix: str, format: str, flexible: bool) -> list[Struct]:
    """One Struct per small array of fixed-width elements, indexed by the length on the wire."""
    return [Struct(f">{prefix}{format * max(length - flexible, 0)}") for length in range(_SMALL_ARRAY + flexible + 1)]


def struct_of(field: FieldSpec) -> type[Any]:
    assert isinstance(field.element, type)
    return field.element

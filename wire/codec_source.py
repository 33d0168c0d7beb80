"""Write the Python source of the codecs: one function per message, version and direction, nested structs inline.

Rules
- Adjacent fixed-width values, and the length, null mark or empty tag section that follows them, are one
  `struct.Struct`: a partition of a Fetch request is one `unpack_from`.
- Names cannot collide: everything that the generated code names itself starts with an underscore, the classes of the
  messages with a capital, and fields appear as attributes only.
- A decoded object is made without its `__init__`: every attribute is set here, those that the version lacks too.
- A nullable struct begins with a byte: 1, or for null -1 in the body of a message and 0 in a tagged field.
- `_n` is a length as it stands on the wire: in flexible versions one more than the size, 0 for null; otherwise the
  size, negative for null.

Not here: compiling and calling (codec), what the helpers do (primitives).
Sources: KIP-482, KIP-893; Kafka's MessageDataGenerator, whose tagged null is not the one of KIP-893.
"""

import functools
from struct import Struct
from typing import Any

from wire import primitives
from wire.errors import ProtocolError
from wire.schema import NO_TAGS, ZERO_UUID, FieldSpec, Kind, spec_of

_FORMATS = {
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
_ONE_BYTE_LENGTHS = 128
_SMALL_ARRAY = 16  # up to this many fixed-width elements have a Struct of their own


@functools.cache
def _text_structs(flexible: bool) -> list[Struct]:
    """One Struct per short string, indexed by the length on the wire; cheaper than slicing a memoryview."""
    return [Struct(f"{max(length - flexible, 0)}s") for length in range(_ONE_BYTE_LENGTHS)]


@functools.cache
def _array_structs(prefix: str, format: str, flexible: bool) -> list[Struct]:
    """One Struct per small array of fixed-width elements, indexed by the length on the wire."""
    return [Struct(f">{prefix}{format * max(length - flexible, 0)}") for length in range(_SMALL_ARRAY + flexible + 1)]


class _Source:
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
            return f"{self.class_name(_struct_of(field))}()"
        return "_ZERO_UUID" if field.kind is Kind.UUID else repr(field.default)

    def length_format(self, kind: Kind) -> tuple[str, int]:
        return ("B", 1) if self.flexible else ("h", 2) if kind is Kind.STRING else ("i", 4)


class DecoderSource(_Source):
    """`_decode(buffer, pos, end, budget) -> (message, pos)`; `counted`: charge array elements to the budget, too."""

    def __init__(self, message: type[Any], version: int, *, counted: bool = False) -> None:
        super().__init__(message, version)
        self._counted = counted
        self._run: list[tuple[str, int, str]] = []  # format, size, target: to be read by one unpack_from
        self.helper("_new", object.__new__)
        self.helper("_short", primitives.short)
        self.helper("_uvarint", primitives.read_uvarint)
        self.line("", "def _decode(_buffer, _pos, _end, _budget):")
        if counted:
            self.helper("_charge", _charge)
        else:
            self.line("    ", "if _end - _pos > _budget[0]:")
            self.line("    ", "    return _decode_counted(_buffer, _pos, _end, _budget)")
        self._struct_value(message, "_message", "    ", "_end")
        self._read_run("    ")
        self.line("    ", "return _message, _pos")

    def _read_run(self, pad: str) -> None:
        """Write the one read of the values gathered in `_run`."""
        if not self._run:
            return
        if self._run == [("B", 1, "_n")]:
            self.line(pad, "_n = _buffer[_pos]")
            self.line(pad, "_pos += 1")
            self._run = []
            return
        struct = self.struct("".join(format for format, _, _ in self._run))
        targets = ", ".join(target for _, _, target in self._run) + "," * (len(self._run) == 1)
        self.line(pad, f"{targets} = {struct}.unpack_from(_buffer, _pos)")
        self.line(pad, f"_pos += {sum(size for _, size, _ in self._run)}")
        self._run = []

    def _struct_value(self, cls: type[Any], target: str, pad: str, end: str) -> None:
        self.line(pad, f"{target} = _new({self.class_name(cls)})")
        plain, tagged = self.present(cls)
        for field in spec_of(cls).fields:
            if field not in plain:
                self.line(pad, f"{target}.{field.name} = {self.default(field)}")
        if not self.flexible:
            self.line(pad, f"{target}.unknown_tags = _NO_TAGS")
        for field in plain:
            self._value(field, f"{target}.{field.name}", pad, end)
        if self.flexible:
            self._tags(tagged, target, pad, end)

    def _tags(self, tagged: list[FieldSpec], target: str, pad: str, end: str) -> None:
        self._run.append(("B", 1, "_n"))
        self._read_run(pad)
        self.line(pad, f"{target}.unknown_tags = _NO_TAGS")
        self.line(pad, "if _n:")
        pad += "    "
        if not tagged:
            self.helper("_unknown_tags", primitives.read_unknown_tags)
            self.line(pad, f"{target}.unknown_tags, _pos = _unknown_tags(_buffer, _pos - 1, {end}, _budget)")
            return
        tags, after, tag, tag_end = (self.name(stem) for stem in ("tags", "after", "tag", "tag_end"))
        self.helper("_read_tags", primitives.read_tags)
        self.helper("_tag_too_long", _tag_too_long)
        self.line(pad, f"{tags}, {after} = _read_tags(_buffer, _pos - 1, {end}, _budget)")
        self.line(pad, f"{target}.unknown_tags = {{}}")
        self.line(pad, f"for {tag}, _pos, {tag_end} in {tags}:")
        word = "if"
        for field in tagged:
            self.line(pad, f"    {word} {tag} == {field.tag}:")
            self._value(field, f"{target}.{field.name}", pad + " " * 8, tag_end)
            self._read_run(pad + " " * 8)
            self.line(pad, f"        if _pos != {tag_end}:")
            self.line(pad, f"            raise _tag_too_long({tag}, {tag_end} - _pos)")
            word = "elif"
        self.line(pad, "    else:")
        unknown = f"{self.helper('_bytes', bytes)}(_buffer[_pos:{tag_end}])"
        self.line(pad, f"        {target}.unknown_tags[{tag}] = {unknown}")
        self.line(pad, f"_pos = {after}")

    def _value(self, field: FieldSpec, target: str, pad: str, end: str) -> None:
        """Write the lines that set `target` and move `_pos`; fixed-width values are left in `_run`."""
        if field.kind in _FORMATS:
            self._run.append((*_FORMATS[field.kind], target))
        elif field.kind is Kind.STRUCT:
            self._one_struct(field, target, pad, end)
        else:
            self._run.append((*self.length_format(field.kind), "_n"))
            self._read_run(pad)
            if field.kind is Kind.STRING:
                self._string(target, self.is_nullable(field), pad, end)
            else:
                self._sized(field, target, pad, end)

    def _one_struct(self, field: FieldSpec, target: str, pad: str, end: str) -> None:
        made = self.name("v")
        if self.is_nullable(field):
            self._run.append(("b", 1, "_n"))
            self._read_run(pad)
            self.line(pad, "if _n <= 0:" if self.is_tagged(field) else "if _n < 0:")
            self.line(pad, f"    {target} = None")
            self.line(pad, "else:")
            pad += "    "
        self._struct_value(_struct_of(field), made, pad, end)
        if self.is_nullable(field):
            self._read_run(pad)
        self.line(pad, f"{target} = {made}")

    def _string(self, target: str, nullable: bool, pad: str, end: str) -> None:
        self.helper("_text", _text_structs(self.flexible))
        null = "not _n" if self.flexible else "_n < 0"
        if self.flexible:
            self.helper("_long_string", primitives.read_long_string)
            slow = f"_long_string(_buffer, _pos - 1, {end})"
        else:
            self.helper("_read_text", primitives.read_text)
            slow = f"_read_text(_buffer, _pos, _n, {end})"
        self.line(pad, "if _n > 127:")
        self.line(pad, f"    {target}, _pos = {slow}")
        self.line(pad, f"elif {null}:")
        self.line(pad, f"    {target} = None" if nullable else f"    raise _short({_last(target)!r}, -1, {end} - _pos)")
        self.line(pad, "else:")
        # Past the end of the buffer, unpack_from raises.
        self.line(pad, f"    {target} = _text[_n].unpack_from(_buffer, _pos)[0].decode('utf-8', 'replace')")
        self.line(pad, f"    _pos += _n{' - 1' if self.flexible else ''}")

    def _sized(self, field: FieldSpec, target: str, pad: str, end: str) -> None:
        """Write what follows the length of bytes, records or an array."""
        null, size = ("not _n", "_n - 1") if self.flexible else ("_n < 0", "_n")
        if self.flexible and field.kind is Kind.RECORDS:  # nearly always a varint of two or three bytes
            self.line(pad, "if _n > 127:")
            self.line(pad, "    if _buffer[_pos] < 128:")
            self.line(pad, "        _n += (_buffer[_pos] - 1) * 128")
            self.line(pad, "        _pos += 1")
            self.line(pad, "    else:")
            self.line(pad, "        _n, _pos = _uvarint(_buffer, _pos - 1)")
        elif self.flexible:
            self.line(pad, "if _n > 127:")
            self.line(pad, "    _n, _pos = _uvarint(_buffer, _pos - 1)")
        if self.is_nullable(field):
            self.line(pad, f"if {null}:")
            self.line(pad, f"    {target} = None")
            self.line(pad, "else:")
            pad += "    "
            null = ""
        if field.kind is Kind.ARRAY:
            self._array(field, target, null, pad, end)
            return
        self.line(pad, f"_after = _pos + {size}")
        self.line(pad, f"if {null and null + ' or '}_after > {end}:")
        self.line(pad, f"    raise _short({field.name!r}, {size}, {end} - _pos)")
        if field.kind is Kind.BYTES:
            self.line(pad, f"{target} = {self.helper('_bytes', bytes)}(_buffer[_pos:_after])")
        else:
            self.line(pad, f"{target} = _buffer[_pos:_after]")
        self.line(pad, "_pos = _after")

    def _array(self, field: FieldSpec, target: str, null: str, pad: str, end: str) -> None:
        """Write what follows the length; `null` is the test for a length that means null, "" where it is done."""
        element, size = field.element, "_n - 1" if self.flexible else "_n"
        assert element is not None
        if self._counted:
            self.line(pad, f"_charge(_budget, {size})")
        if isinstance(element, Kind) and element in _FORMATS:
            format = _FORMATS[element][0]
            structs = _array_structs("", format, self.flexible)
            table = self.helper(f"_{element}_array", structs)
            self.helper("_list", list)
            self.helper("_fixed_array", primitives.read_fixed_array)
            lowest = "" if not null else "0 < " if self.flexible else "0 <= "
            self.line(pad, f"if {lowest}_n < {len(structs)}:")
            self.line(pad, f"    {target} = _list({table}[_n].unpack_from(_buffer, _pos))")
            self.line(pad, f"    _pos += {table}[_n].size")
            self.line(pad, "else:")
            self.line(pad, f"    {target}, _pos = _fixed_array(_buffer, _pos, {format!r}, {size}, {end})")
            return
        smallest = self._smallest_element(element)
        room = f"({size}) * {smallest}" if smallest > 1 else size
        self.line(pad, f"if {null and null + ' or '}{room} > {end} - _pos:")
        self.line(pad, f"    raise _short({field.name!r}, {size}, {end} - _pos)")
        items, item = self.name("items"), self.name("v")
        self.line(pad, f"{target} = {items} = []")
        self.line(pad, f"for _ in {self.helper('_range', range)}({size}):")
        pad += "    "
        if isinstance(element, Kind):
            self._run.append((*self.length_format(element), "_n"))
            self._read_run(pad)
            assert element is Kind.STRING
            self._string(item, False, pad, end)
        else:
            self._struct_value(element, item, pad, end)
            self._read_run(pad)
        self.line(pad, f"{items}.append({item})")

    def _smallest_element(self, element: Kind | type[Any]) -> int:
        size = self.length_format(element)[1] if isinstance(element, Kind) else self._smallest_struct(element)
        assert size > 0  # what bounds the number of elements by the bytes of the message
        return size

    def _smallest_struct(self, cls: type[Any]) -> int:
        plain, _ = self.present(cls)
        return sum(self._smallest_value(field) for field in plain) + self.flexible

    def _smallest_value(self, field: FieldSpec) -> int:
        if field.kind in _FORMATS:
            return _FORMATS[field.kind][1]
        if field.kind is Kind.STRUCT:
            return 1 if self.is_nullable(field) else self._smallest_struct(_struct_of(field))
        return self.length_format(field.kind)[1]


class EncoderSource(_Source):
    """`_encode(write, message)`: every chunk goes to `write`."""

    def __init__(self, message: type[Any], version: int) -> None:
        super().__init__(message, version)
        self._run: list[tuple[str, str]] = []  # format, expression: to be written by one pack
        self.helper("_len", len)
        self.line("", "def _encode(_write, _message):")
        start = len(self.lines)
        self._struct_value(message, "_message", "    ", "_write")
        self._write_run("    ", "_write")
        if len(self.lines) == start:
            self.line("    ", "pass")

    def _packed(self, *more: tuple[str, str]) -> str:
        """The expression that packs the gathered run and `more`; an expression "" is a zero byte."""
        run = [*self._run, *more]
        struct = self.struct("".join(format for format, _ in run))
        return f"{struct}.pack({', '.join(expression for _, expression in run if expression)})"

    def _write_run(self, pad: str, write: str) -> None:
        if self._run == [("x", "")]:
            self.line(pad, f"{write}(_ONE_BYTE[0])")
        elif self._run:
            self.line(pad, f"{write}({self._packed()})")
        self._run = []

    def _struct_value(self, cls: type[Any], value: str, pad: str, write: str) -> None:
        spec = spec_of(cls)
        for field in spec.fields:
            if self.version not in field.versions and not field.ignorable:
                self.line(pad, f"if {self._differs(field, value)}:")
                message = f"{spec.name}.{field.name} is not in version {self.version}"
                self.line(pad, f"    raise _ProtocolError({message!r})")
        plain, tagged = self.present(cls)
        for field in plain:
            self._value(field, value, pad, write)
        if self.flexible:
            self._tags(tagged, value, pad, write)

    def _differs(self, field: FieldSpec, value: str) -> str:
        """An expression that is true where the field does not hold its default."""
        held = f"{value}.{field.name}"
        if field.default is None:
            return f"{held} is not None"
        nullable = f"{held} is None or " if field.nullable.low <= field.nullable.high else ""
        if field.kind is Kind.ARRAY:
            return nullable + held
        if field.kind is Kind.STRUCT:
            inner = [self._differs(part, held) for part in spec_of(_struct_of(field)).fields]
            return nullable + " or ".join([*inner, f"{held}.unknown_tags"])
        if not field.default and field.kind is not Kind.UUID and not nullable:
            return held
        return f"{held} != {self.default(field)}"

    def _tags(self, tagged: list[FieldSpec], value: str, pad: str, write: str) -> None:
        differs = [self._differs(field, value) for field in tagged]
        self.line(pad, f"if {' or '.join([*differs, f'{value}.unknown_tags'])}:")
        self.helper("_write_tags", primitives.write_tags)
        run = list(self._run)
        self._write_run(pad + "    ", write)
        tags = self.name("tags") if tagged else "[]"
        if tagged:
            self.line(pad, f"    {tags} = []")
        for field, test in zip(tagged, differs, strict=True):
            chunks = self.name("chunks")
            self.line(pad, f"    if {test}:")
            self.line(pad, f"        {chunks} = []")
            self._value(field, value, pad + " " * 8, f"{chunks}.append")
            self._write_run(pad + " " * 8, f"{chunks}.append")
            self.line(pad, f"        {tags}.append(({field.tag}, {chunks}))")
        self.line(pad, f"    _write_tags({write}, {tags}, {value}.unknown_tags)")
        self.line(pad, "else:")
        self._run = [*run, ("x", "")]
        self._write_run(pad + "    ", write)

    def _value(self, field: FieldSpec, value: str, pad: str, write: str) -> None:
        if field.kind in _FORMATS:
            self._run.append((_FORMATS[field.kind][0], f"{value}.{field.name}"))
            return
        item = self.name("v")
        self.line(pad, f"{item} = {value}.{field.name}")
        if not self.is_nullable(field):
            self._present_value(field, item, pad, write)
            return
        run = list(self._run)
        null = ("x", "")
        if field.kind is Kind.STRUCT and not self.is_tagged(field):
            null = ("b", "-1")
        elif not self.flexible:
            null = (self.length_format(field.kind)[0], "-1")
        self.line(pad, f"if {item} is None:")
        self._run = [*run, null]
        self._write_run(pad + "    ", write)
        self.line(pad, "else:")
        self._run = [*run, ("b", "1")] if field.kind is Kind.STRUCT else run
        self._present_value(field, item, pad + "    ", write)
        self._write_run(pad + "    ", write)

    def _present_value(self, field: FieldSpec, item: str, pad: str, write: str) -> None:
        """Write the lines for a value that is not null, in the local `item`."""
        if field.kind is Kind.STRUCT:
            self._struct_value(_struct_of(field), item, pad, write)
        elif field.kind is Kind.STRING:
            self._string(item, pad, write)
        elif field.kind is Kind.ARRAY:
            self._array(field, item, pad, write)
        else:
            self._length(item, field.kind, pad, write)
            self.line(pad, f"{write}({item})")

    def _length(self, item: str, kind: Kind, pad: str, write: str) -> None:
        """Write the run with the length of `item` behind it."""
        if not self.flexible:
            self._run.append((self.length_format(kind)[0], f"_len({item})"))
            self._write_run(pad, write)
            return
        self.helper("_long_size", primitives.write_uvarint)
        self.line(pad, f"_n = _len({item}) + 1")
        self.line(pad, "if _n < 128:")
        self.line(pad, f"    {write}({self._packed(('B', '_n')) if self._run else '_ONE_BYTE[_n]'})")
        self.line(pad, "else:")
        self._write_run(pad + "    ", write)
        self.line(pad, f"    {write}(_long_size(_n))")

    def _string(self, item: str, pad: str, write: str) -> None:
        self.line(pad, f"{item} = {item}.encode()")
        if not self.flexible:
            self._run.append(("h", f"_len({item})"))
            self.line(pad, f"{write}({self._packed()} + {item})")
            self._run = []
            return
        self.helper("_long_string_size", primitives.long_string_size)
        self.line(pad, f"_n = _len({item}) + 1")
        self.line(pad, "if _n < 128:")
        self.line(pad, f"    {write}({self._packed(('B', '_n')) if self._run else '_ONE_BYTE[_n]'} + {item})")
        self.line(pad, "else:")
        self._write_run(pad + "    ", write)
        self.line(pad, f"    {write}(_long_string_size(_n) + {item})")

    def _array(self, field: FieldSpec, item: str, pad: str, write: str) -> None:
        element = field.element
        assert element is not None
        if isinstance(element, Kind) and element in _FORMATS:
            self._fixed_array(element, item, pad, write)
            return
        self._length(item, Kind.ARRAY, pad, write)
        one = self.name("v")
        self.line(pad, f"for {one} in {item}:")
        if isinstance(element, Kind):
            assert element is Kind.STRING
            self._string(one, pad + "    ", write)
        else:
            self._struct_value(element, one, pad + "    ", write)
            self._write_run(pad + "    ", write)

    def _fixed_array(self, element: Kind, item: str, pad: str, write: str) -> None:
        self._write_run(pad, write)
        format = _FORMATS[element][0]
        prefix = self.length_format(Kind.ARRAY)[0]
        structs = _array_structs(prefix, format, self.flexible)
        table = self.helper(f"_{element}_array", structs)
        self.helper("_fixed_array", primitives.write_fixed_array)
        self.line(pad, f"_n = _len({item}){' + 1' if self.flexible else ''}")
        self.line(pad, f"if _n < {len(structs)}:")
        self.line(pad, f"    {write}({table}[_n].pack(_n, *{item}))")
        self.line(pad, "else:")
        self.helper("_long_size", primitives.write_uvarint)
        size = "_long_size(_n)" if self.flexible else f"{self.struct('i')}.pack(_n)"
        self.line(pad, f"    {write}({size} + _fixed_array({format!r}, {item}))")


def _struct_of(field: FieldSpec) -> type[Any]:
    assert isinstance(field.element, type)
    return field.element


def _last(target: str) -> str:
    return target.rpartition(".")[2]


def _charge(budget: list[int], count: int) -> None:
    budget[0] -= max(count, 0)
    if budget[0] < 0:
        raise ProtocolError("more array elements than one message may hold")


def _tag_too_long(tag: int, left: int) -> ProtocolError:
    return ProtocolError(f"{left} bytes left of tag {tag}")

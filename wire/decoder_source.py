"""Write the source of decoders: bytes become a message.

Rules
- A decoded object is made without its `__init__`: every attribute is set here, those that the version lacks too.
- No element of an array is made before the bytes left are known to suffice for all of them.

Not here: what holds for both directions (codec_source).
"""

import functools
from struct import Struct
from typing import Any

from wire import primitives
from wire.codec_source import FORMATS, CodecSource, array_structs, struct_of
from wire.errors import ProtocolError
from wire.schema import FieldSpec, Kind, spec_of

_ONE_BYTE_LENGTHS = 128


class DecoderSource(CodecSource):
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
        if field.kind in FORMATS:
            self._run.append((*FORMATS[field.kind], target))
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
        self._struct_value(struct_of(field), made, pad, end)
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
        if isinstance(element, Kind) and element in FORMATS:
            format = FORMATS[element][0]
            structs = array_structs("", format, self.flexible)
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
        if field.kind in FORMATS:
            return FORMATS[field.kind][1]
        if field.kind is Kind.STRUCT:
            return 1 if self.is_nullable(field) else self._smallest_struct(struct_of(field))
        return self.length_format(field.kind)[1]


@functools.cache
def _text_structs(flexible: bool) -> list[Struct]:
    """One Struct per short string, indexed by the length on the wire; cheaper than slicing a memoryview."""
    return [Struct(f"{max(length - flexible, 0)}s") for length in range(_ONE_BYTE_LENGTHS)]


def _last(target: str) -> str:
    return target.rpartition(".")[2]


def _charge(budget: list[int], count: int) -> None:
    budget[0] -= max(count, 0)
    if budget[0] < 0:
        raise ProtocolError("more array elements than one message may hold")


def _tag_too_long(tag: int, left: int) -> ProtocolError:
    return ProtocolError(f"{left} bytes left of tag {tag}")

"""Write the source of encoders: a message becomes chunks of bytes.

Rules
- A field that the version lacks is refused, unless it is ignorable or holds its default.
- Fixed-width values and the text behind them are packed as one chunk; bytes and records are chunks as they are given.

Not here: what holds for both directions (codec_source).
"""

from typing import Any

from wire import primitives
from wire.codec_source import FORMATS, CodecSource, array_structs, struct_of
from wire.schema import FieldSpec, Kind, spec_of


class EncoderSource(CodecSource):
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
            inner = [self._differs(part, held) for part in spec_of(struct_of(field)).fields]
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
        if field.kind in FORMATS:
            self._run.append((FORMATS[field.kind][0], f"{value}.{field.name}"))
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
            self._struct_value(struct_of(field), item, pad, write)
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
        if isinstance(element, Kind) and element in FORMATS:
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
        format = FORMATS[element][0]
        prefix = self.length_format(Kind.ARRAY)[0]
        structs = array_structs(prefix, format, self.flexible)
        table = self.helper(f"_{element}_array", structs)
        self.helper("_fixed_array", primitives.write_fixed_array)
        self.line(pad, f"_n = _len({item}){' + 1' if self.flexible else ''}")
        self.line(pad, f"if _n < {len(structs)}:")
        self.line(pad, f"    {write}({table}[_n].pack(_n, *{item}))")
        self.line(pad, "else:")
        self.helper("_long_size", primitives.write_uvarint)
        size = "_long_size(_n)" if self.flexible else f"{self.struct('i')}.pack(_n)"
        self.line(pad, f"    {write}({size} + _fixed_array({format!r}, {item}))")

"""Compile one decoder and one encoder per (message, version), on first use.

    decode(FetchRequest, 13, frame, pos)  ->  (FetchRequest, position after it)
    encode(response, 13)                  ->  chunks: bytes, and records as they were given

Rules
- Adjacent fixed-width fields become one `struct.Struct`; varints have a one-byte fast path; a struct is a function.
- Nothing is allocated before the bytes left are known to suffice: count x smallest element <= bytes left. Besides, a
  message may hold at most `max_elements` array elements, since an object costs more memory than its bytes.
- Whatever the bytes are, decoding returns or raises `ProtocolError`.
- The source of what is compiled is in `linecache` (tracebacks show it); `source()` returns it for reading.

Not here: frames and headers (frame), record batches (records).
"""

import functools
import linecache
from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import Any, TypeVar

from wire.errors import ProtocolError
from wire.primitives import ONE_BYTE, Buffer, read_uvarint, write_uvarint
from wire.schema import FieldSpec, Kind, Records, StructSpec, spec_of

T = TypeVar("T")
Chunks = list[Records]
Decoder = Callable[[Buffer, int, int, list[int]], tuple[Any, int]]
Encoder = Callable[[Callable[[Records], None], Any], None]

MAX_ELEMENTS = 1_000_000

_FIXED = {
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


def decode(
    message: type[T], version: int, buffer: Buffer, pos: int = 0, *, max_elements: int = MAX_ELEMENTS
) -> tuple[T, int]:
    """Decode `message` at `pos`; `records` fields are views of `buffer`. Raises: ProtocolError."""
    try:
        return decoder(message, version)(buffer, pos, len(buffer), [max_elements])
    except (StructError, IndexError, UnicodeDecodeError) as error:
        raise ProtocolError(f"{message.__name__} v{version}: {error}") from None
    except ProtocolError as error:
        raise ProtocolError(f"{message.__name__} v{version}: {error}") from None


def encode(message: object, version: int) -> Chunks:
    """Encode `message` as chunks to be sent in order; only `records` are not plain bytes."""
    chunks: Chunks = []
    encoder(type(message), version)(chunks.append, message)
    return chunks


def encode_bytes(message: object, version: int) -> bytes:
    """Encode a message whose records, if any, are in memory."""
    return b"".join(encode(message, version))  # type: ignore[arg-type]


@functools.cache
def decoder(message: type[Any], version: int) -> Decoder:
    compiled = _compile(message, version)["decode"]
    return compiled  # type: ignore[no-any-return]


@functools.cache
def encoder(message: type[Any], version: int) -> Encoder:
    compiled = _compile(message, version)["encode"]
    return compiled  # type: ignore[no-any-return]


def source(message: type[Any], version: int) -> str:
    """The Python source that serves `message` at `version`."""
    return _Source(message, version).text


@functools.cache
def _compile(message: type[Any], version: int) -> dict[str, Any]:
    spec = spec_of(message)
    if version not in spec.versions:
        raise ProtocolError(f"{spec.name} has no version {version}")
    made = _Source(message, version)
    name = f"<codec {spec.name} v{version}>"
    linecache.cache[name] = (len(made.text), None, made.text.splitlines(keepends=True), name)
    exec(compile(made.text, name, "exec"), made.names)
    root = made.functions[message]
    return {"decode": made.names[f"decode_{root}"], "encode": made.names[f"encode_{root}"]}


def read_tags(buffer: Buffer, pos: int, end: int) -> tuple[list[tuple[int, int, int]], int]:
    """Return (tag, start, end) of each tagged field, in ascending order of tag, and the position after them."""
    count, pos = read_uvarint(buffer, pos)
    if count * 2 > end - pos:
        raise ProtocolError(f"{count} tagged fields in {end - pos} bytes")
    found = []
    last = -1
    for _ in range(count):
        tag, pos = read_uvarint(buffer, pos)
        size, pos = read_uvarint(buffer, pos)
        if tag <= last:
            raise ProtocolError(f"tag {tag} after tag {last}")
        if size > end - pos:
            raise ProtocolError(f"tag {tag} of {size} bytes in {end - pos}")
        found.append((tag, pos, pos + size))
        last = tag
        pos += size
    return found, pos


def write_tags(write: Callable[[Records], None], tags: list[tuple[int, Chunks]]) -> None:
    write(write_uvarint(len(tags)))
    for tag, chunks in sorted(tags, key=lambda item: item[0]):
        write(write_uvarint(tag))
        write(write_uvarint(sum(map(len, chunks))))
        for chunk in chunks:
            write(chunk)


def short(what: str, size: int, left: int) -> ProtocolError:
    return ProtocolError(f"{what} of {size} in {left} bytes")


class _Source:
    """Writes the functions of one message at one version; `names` is the namespace they run in."""

    def __init__(self, message: type[Any], version: int) -> None:
        self.version = version
        self.flexible = version in spec_of(message).flexible
        self.names: dict[str, Any] = {
            "ONE_BYTE": ONE_BYTE,
            "ProtocolError": ProtocolError,
            "Struct": Struct,
            "read_tags": read_tags,
            "read_uvarint": read_uvarint,
            "short": short,
            "write_tags": write_tags,
            "write_uvarint": write_uvarint,
        }
        self.functions: dict[type[Any], str] = {}
        self.min_sizes: dict[type[Any], int] = {}
        self.structs: dict[str, str] = {}
        self.lines: list[str] = []
        self.temporaries = 0
        self._struct(message)
        header = [f"{name} = Struct({format!r})" for format, name in self.structs.items()]
        self.text = "\n".join([*header, *self.lines, ""])

    def _struct(self, cls: type[Any]) -> None:
        """Write the pair of functions of one class, after those of the classes it holds."""
        spec = spec_of(cls)
        present = [field for field in spec.fields if self.version in field.versions]
        for field in present:
            if isinstance(field.element, type) and field.element not in self.functions:
                self._struct(field.element)
        name = self.functions[cls] = cls.__name__
        self.names[name] = cls
        plain = [field for field in present if not self._is_tagged(field)]
        tagged = [field for field in present if self._is_tagged(field)]
        size = sum(self._min_size(field) for field in plain) + self.flexible
        self.min_sizes[cls] = size
        self._write_decoder(name, spec, plain, tagged)
        self._write_encoder(name, spec, plain, tagged)

    def _is_tagged(self, field: FieldSpec) -> bool:
        return field.tag is not None and self.version in field.tagged and self.flexible

    def _min_size(self, field: FieldSpec) -> int:
        if field.kind in _FIXED:
            return _FIXED[field.kind][1]
        if field.kind is Kind.STRUCT:
            if self.version in field.nullable:
                return 1
            assert isinstance(field.element, type)
            return self.min_sizes[field.element]
        if self.flexible:
            return 1
        return 2 if field.kind is Kind.STRING else 4

    def _packer(self, fields: list[FieldSpec]) -> str:
        """The name of the Struct of these adjacent fixed-width fields."""
        format = ">" + "".join(_FIXED[field.kind][0] for field in fields)
        return self.structs.setdefault(format, f"S{len(self.structs)}")

    def _temporary(self) -> str:
        self.temporaries += 1
        return f"t{self.temporaries}"

    # Decoding

    def _write_decoder(
        self, name: str, spec: StructSpec, plain: list[FieldSpec], tagged: list[FieldSpec]
    ) -> None:
        out = self.lines
        out += ["", "", f"def decode_{name}(buffer, pos, end, budget):"]
        for run in _runs(plain):
            if run[0].kind in _FIXED:
                packer = self._packer(run)
                size = sum(_FIXED[field.kind][1] for field in run)
                targets = "".join(f"{field.name}, " for field in run).strip()
                out.append(f"    {targets} = {packer}.unpack_from(buffer, pos)")
                out.append(f"    pos += {size}")
            else:
                self._decode_value(run[0], "    ")
        values = {field.name: field.name for field in plain}
        tags = ""
        if self.flexible:
            tags = self._decode_tags(tagged)
            values |= {field.name: field.name for field in tagged}
        arguments = ", ".join(values.get(field.name) or self._default(field) for field in spec.fields)
        separator = ", " if arguments and tags else ""
        out.append(f"    return {name}({arguments}{separator}{tags}), pos")

    def _decode_tags(self, tagged: list[FieldSpec]) -> str:
        out = self.lines
        out += [f"    {field.name} = {self._default(field)}" for field in tagged]
        out += [
            "    if buffer[pos] == 0:",
            "        pos += 1",
            "        unknown_tags = NO_TAGS",
            "    else:",
            "        tags, after = read_tags(buffer, pos, end)",
            "        unknown_tags = {}",
            "        for tag, pos, tag_end in tags:",
        ]
        self.names["NO_TAGS"] = {}
        word = "if"
        for field in tagged:
            out.append(f"            {word} tag == {field.tag}:")
            self._decode_value(field, " " * 16, end="tag_end")
            out += [
                "                if pos != tag_end:",
                "                    raise ProtocolError(f'tag {tag} is {tag_end - pos} bytes too long')",
            ]
            word = "elif"
        if tagged:
            out.append("            else:")
            out.append("                unknown_tags[tag] = bytes(buffer[pos:tag_end])")
        else:
            out.append("            unknown_tags[tag] = bytes(buffer[pos:tag_end])")
        out.append("        pos = after")
        return "unknown_tags"

    def _decode_value(self, field: FieldSpec, pad: str, end: str = "end") -> None:
        """Write the lines that set the local `field.name` and move `pos`."""
        out = self.lines
        name = field.name
        nullable = self.version in field.nullable
        if field.kind in _FIXED:
            out.append(f"{pad}{name}, = {self._packer([field])}.unpack_from(buffer, pos)")
            out.append(f"{pad}pos += {_FIXED[field.kind][1]}")
        elif field.kind is Kind.STRUCT:
            assert isinstance(field.element, type)
            call = f"{name}, pos = decode_{self.functions[field.element]}(buffer, pos, {end}, budget)"
            if nullable:
                out += [
                    f"{pad}present = buffer[pos]",
                    f"{pad}pos += 1",
                    f"{pad}if present == 255:",
                    f"{pad}    {name} = None",
                    f"{pad}else:",
                    f"{pad}    {call}",
                ]
            else:
                out.append(f"{pad}{call}")
        else:
            self._decode_length(field.kind, pad)
            if nullable or field.kind is Kind.RECORDS:
                out += [f"{pad}if n == -1:", f"{pad}    {name} = None", f"{pad}else:"]
                pad += "    "
            if field.kind is Kind.ARRAY:
                assert field.element is not None
                self._decode_array(name, field.element, pad, end)
            else:
                self._decode_slice(name, field.kind, pad, end)

    def _decode_length(self, kind: Kind, pad: str) -> None:
        """Write the lines that set `n` to the length, -1 for null."""
        out = self.lines
        if self.flexible:
            out += [
                f"{pad}n = buffer[pos] - 1",
                f"{pad}if n < 127:",
                f"{pad}    pos += 1",
                f"{pad}else:",
                f"{pad}    n, pos = read_uvarint(buffer, pos)",
                f"{pad}    n -= 1",
            ]
        else:
            format, size = (">h", 2) if kind is Kind.STRING else (">i", 4)
            packer = self.structs.setdefault(format, f"S{len(self.structs)}")
            out += [f"{pad}n, = {packer}.unpack_from(buffer, pos)", f"{pad}pos += {size}"]

    def _decode_slice(self, name: str, kind: Kind, pad: str, end: str) -> None:
        value = {
            Kind.STRING: f"{name} = str(buffer[pos:after], 'utf-8')",
            Kind.BYTES: f"{name} = bytes(buffer[pos:after])",
            Kind.RECORDS: f"{name} = memoryview(buffer)[pos:after]",
        }[kind]
        self.lines += [
            f"{pad}after = pos + n",
            f"{pad}if n < 0 or after > {end}:",
            f"{pad}    raise short({name!r}, n, {end} - pos)",
            f"{pad}{value}",
            f"{pad}pos = after",
        ]

    def _decode_array(self, name: str, element: Kind | type[Any], pad: str, end: str) -> None:
        out = self.lines
        smallest = self._element_min_size(element)
        out += [
            f"{pad}if n < 0 or n * {smallest} > {end} - pos:",
            f"{pad}    raise short({name!r}, n, {end} - pos)",
            f"{pad}budget[0] -= n",
            f"{pad}if budget[0] < 0:",
            f"{pad}    raise ProtocolError('more array elements than one message may hold')",
        ]
        if isinstance(element, Kind) and element in _FIXED:
            code, size = _FIXED[element]
            self.names["unpack_from"] = __import__("struct").unpack_from
            format = "16s" * 1 if element is Kind.UUID else code
            if element is Kind.UUID:
                out.append(f"{pad}{name} = [bytes(buffer[at:at + 16]) for at in range(pos, pos + 16 * n, 16)]")
            else:
                out.append(f"{pad}{name} = list(unpack_from(f'>{{n}}{format}', buffer, pos))")
            out.append(f"{pad}pos += n * {size}")
            return
        items, item = self._temporary(), self._temporary()
        out += [f"{pad}{items} = []", f"{pad}for _ in range(n):"]
        if isinstance(element, Kind):
            self._decode_length(element, pad + "    ")
            self._decode_slice(item, element, pad + "    ", end)
        else:
            out.append(f"{pad}    {item}, pos = decode_{self.functions[element]}(buffer, pos, {end}, budget)")
        out += [f"{pad}    {items}.append({item})", f"{pad}{name} = {items}"]

    def _element_min_size(self, element: Kind | type[Any]) -> int:
        if isinstance(element, Kind):
            if element in _FIXED:
                return _FIXED[element][1]
            return 1 if self.flexible else 2 if element is Kind.STRING else 4
        return max(self.min_sizes[element], 1)

    def _default(self, field: FieldSpec) -> str:
        if field.default is None:
            return "None"
        if field.kind is Kind.ARRAY:
            return "[]"
        if field.kind is Kind.STRUCT:
            assert isinstance(field.element, type)
            self.names[field.element.__name__] = field.element
            return f"{field.element.__name__}()"
        return repr(field.default)

    # Encoding

    def _write_encoder(
        self, name: str, spec: StructSpec, plain: list[FieldSpec], tagged: list[FieldSpec]
    ) -> None:
        out = self.lines
        out += ["", "", f"def encode_{name}(write, value):"]
        start = len(out)
        for field in spec.fields:
            if self.version not in field.versions and not field.ignorable:
                out += [
                    f"    if value.{field.name} != {self._default(field)}:",
                    f"        raise ProtocolError('{spec.name}.{field.name} is not in version {self.version}')",
                ]
        for run in _runs(plain):
            if run[0].kind in _FIXED:
                out.append(f"    write({self._packer(run)}.pack({', '.join(f'value.{f.name}' for f in run)}))")
            else:
                self._encode_value(run[0], "    ", "write")
        if self.flexible:
            self._encode_tags(tagged)
        if len(out) == start:
            out.append("    pass")

    def _encode_tags(self, tagged: list[FieldSpec]) -> None:
        out = self.lines
        if tagged:
            out.append("    tags = []")
            for field in tagged:
                out += [
                    f"    if value.{field.name} != {self._default(field)}:",
                    "        chunks = []",
                ]
                self._encode_value(field, "        ", "chunks.append")
                out.append(f"        tags.append(({field.tag}, chunks))")
            out += ["    if tags or value.unknown_tags:"]
            extra = "tags + "
        else:
            out += ["    if value.unknown_tags:"]
            extra = ""
        out += [
            f"        write_tags(write, {extra}[(tag, [data]) for tag, data in value.unknown_tags.items()])",
            "    else:",
            "        write(ONE_BYTE[0])",
        ]

    def _encode_value(self, field: FieldSpec, pad: str, write: str) -> None:
        out = self.lines
        nullable = self.version in field.nullable
        if field.kind in _FIXED:
            out.append(f"{pad}{write}({self._packer([field])}.pack(value.{field.name}))")
            return
        item = self._temporary()
        out.append(f"{pad}{item} = value.{field.name}")
        if field.kind is Kind.STRUCT:
            assert isinstance(field.element, type)
            call = f"encode_{self.functions[field.element]}({write}, {item})"
            if nullable:
                out += [
                    f"{pad}if {item} is None:",
                    f"{pad}    {write}(ONE_BYTE[255])",
                    f"{pad}else:",
                    f"{pad}    {write}(ONE_BYTE[1])",
                    f"{pad}    {call}",
                ]
            else:
                out.append(f"{pad}{call}")
            return
        if nullable or field.kind is Kind.RECORDS:
            null = "ONE_BYTE[0]" if self.flexible else repr(b"\xff" * (2 if field.kind is Kind.STRING else 4))
            out += [f"{pad}if {item} is None:", f"{pad}    {write}({null})", f"{pad}else:"]
            pad += "    "
        if field.kind is Kind.ARRAY:
            assert field.element is not None
            self._encode_array(item, field.element, pad, write)
        else:
            self._encode_slice(item, field.kind, pad, write)

    def _encode_length(self, length: str, kind: Kind, pad: str, write: str) -> None:
        out = self.lines
        if self.flexible:
            out += [
                f"{pad}n = {length} + 1",
                f"{pad}{write}(ONE_BYTE[n] if n < 128 else write_uvarint(n))",
            ]
        else:
            packer = ">h" if kind is Kind.STRING else ">i"
            packer = self.structs.setdefault(packer, f"S{len(self.structs)}")
            out.append(f"{pad}{write}({packer}.pack({length}))")

    def _encode_slice(self, item: str, kind: Kind, pad: str, write: str) -> None:
        if kind is Kind.STRING:
            self.lines.append(f"{pad}{item} = {item}.encode()")
        self._encode_length(f"len({item})", kind, pad, write)
        self.lines.append(f"{pad}{write}({item})")

    def _encode_array(self, item: str, element: Kind | type[Any], pad: str, write: str) -> None:
        out = self.lines
        self._encode_length(f"len({item})", Kind.ARRAY, pad, write)
        if isinstance(element, Kind) and element in _FIXED:
            if element is Kind.UUID:
                out.append(f"{pad}{write}(b''.join({item}))")
            else:
                self.names["pack"] = __import__("struct").pack
                out.append(f"{pad}{write}(pack(f'>{{len({item})}}{_FIXED[element][0]}', *{item}))")
            return
        one = self._temporary()
        out.append(f"{pad}for {one} in {item}:")
        if isinstance(element, Kind):
            self._encode_slice(one, element, pad + "    ", write)
        else:
            out.append(f"{pad}    encode_{self.functions[element]}({write}, {one})")


def _runs(fields: list[FieldSpec]) -> list[list[FieldSpec]]:
    """Group adjacent fixed-width fields; every other field stands alone."""
    runs: list[list[FieldSpec]] = []
    for field in fields:
        if field.kind in _FIXED and runs and runs[-1][-1].kind in _FIXED:
            runs[-1].append(field)
        else:
            runs.append([field])
    return runs

"""Read and write the variable-length primitives of the protocol; the compiled codecs inline their one-byte cases.

Format: an unsigned varint holds 7 bits per byte, least significant first, the high bit meaning "more follows"; at most
5 bytes for 32 bits, 10 for 64. A signed varint is zigzag: (n << 1) ^ (n >> 63). A section of tagged fields is their
number, then for each its tag, its size and its bytes; numbers are unsigned varints.

Rules
- Text that is not UTF-8 is read with U+FFFD for what cannot be decoded, as Kafka's `new String(bytes, UTF_8)` does.
- A string has at most 32767 bytes, also where its length is a varint.
- Of a tag that is there twice, the last one counts, and tags need not ascend: what Kafka reads it does not check.

Sources: KIP-482 (unsigned varints, tagged fields), KIP-98 (varints in records).
"""

import base64
import os
from collections.abc import Callable, Mapping
from struct import Struct

from wire.errors import ProtocolError
from wire.schema import Records, Uuid

Buffer = bytes | bytearray | memoryview
Chunks = list[Records]

ONE_BYTE = tuple(bytes((value,)) for value in range(256))
MAX_STRING_BYTES = 32767
MAX_TAGS = 1000  # in one place; the messages of Kafka have less than ten


def read_uvarint(buffer: Buffer, pos: int) -> tuple[int, int]:
    """Return the value of at most 32 bits and the position after it. Raises: ProtocolError, IndexError at the end."""
    value = shift = 0
    while True:
        byte = buffer[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value > 0xFFFFFFFF:
                raise ProtocolError("varint over 32 bits")
            return value, pos
        shift += 7
        if shift > 28:
            raise ProtocolError("varint longer than five bytes")


def write_uvarint(value: int) -> bytes:
    if value < 0x80:
        return ONE_BYTE[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varlong(buffer: Buffer, pos: int) -> tuple[int, int]:
    """Return the zigzag value of at most 64 bits and the position after it."""
    value = shift = 0
    while True:
        byte = buffer[pos]
        pos += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise ProtocolError("varlong over 64 bits")
            return (value >> 1) ^ -(value & 1), pos
        shift += 7
        if shift > 63:
            raise ProtocolError("varlong longer than ten bytes")


def read_varint(buffer: Buffer, pos: int) -> tuple[int, int]:
    """Return the zigzag value of at most 32 bits and the position after it."""
    value, pos = read_uvarint(buffer, pos)
    return (value >> 1) ^ -(value & 1), pos


def write_varint(value: int) -> bytes:
    """Write a zigzag varint; one function serves 32 and 64 bits, as the encodings agree."""
    return write_uvarint((value << 1) ^ (value >> 63))


def read_long_string(buffer: Buffer, pos: int, end: int) -> tuple[str, int]:
    """Read a string whose length at `pos` is a varint of several bytes; return it and the position after it."""
    size, pos = read_uvarint(buffer, pos)
    return read_text(buffer, pos, size - 1, end)


def read_text(buffer: Buffer, pos: int, size: int, end: int) -> tuple[str, int]:
    """Read `size` bytes as text; return it and the position after it."""
    if size < 0 or size > end - pos or size > MAX_STRING_BYTES:
        raise short("string", size, end - pos)
    return str(buffer[pos : pos + size], "utf-8", "replace"), pos + size


def long_string_size(size_and_one: int) -> bytes:
    """Return the varint before a string; raises ValueError where the string is longer than any may be."""
    if size_and_one > MAX_STRING_BYTES + 1:
        raise ValueError(f"a string of {size_and_one - 1} bytes is too long for the protocol")
    return write_uvarint(size_and_one)


def read_fixed_array(buffer: Buffer, pos: int, format: str, count: int, end: int) -> tuple[list[object], int]:
    """Read `count` fixed-width values of one struct format; return them and the position after them."""
    size = Struct(f">{format}").size
    if count < 0 or count * size > end - pos:
        raise short("array", count, end - pos)
    after = pos + count * size
    if format == "16s":
        return [bytes(buffer[at : at + 16]) for at in range(pos, after, 16)], after
    return list(Struct(f">{count}{format}").unpack_from(buffer, pos)), after


def write_fixed_array(format: str, values: list[object]) -> bytes:
    """Return the bytes of fixed-width values of one struct format, without their number."""
    return Struct(f">{format * len(values) if format == '16s' else f'{len(values)}{format}'}").pack(*values)


def read_tags(buffer: Buffer, pos: int, end: int, budget: list[int]) -> tuple[list[tuple[int, int, int]], int]:
    """Return (tag, start, end) of each tagged field in the order sent, and the position after the section.

    The number of fields is taken from `budget`, as array elements are. Raises: ProtocolError beyond it, or beyond
    MAX_TAGS.
    """
    count, pos = read_uvarint(buffer, pos)
    if count * 2 > end - pos:
        raise short("tagged fields", count, end - pos)
    budget[0] -= count
    if count > MAX_TAGS or budget[0] < 0:
        raise ProtocolError(f"{count} tagged fields in one place are too many")
    found = []
    for _ in range(count):
        tag, pos = read_uvarint(buffer, pos)
        size, pos = read_uvarint(buffer, pos)
        if size > end - pos:
            raise short(f"tag {tag}", size, end - pos)
        found.append((tag, pos, pos + size))
        pos += size
    return found, pos


def read_unknown_tags(buffer: Buffer, pos: int, end: int, budget: list[int]) -> tuple[dict[int, bytes], int]:
    """Return the bytes of each tagged field by its tag, and the position after the section."""
    tags, pos = read_tags(buffer, pos, end, budget)
    return {tag: bytes(buffer[start:after]) for tag, start, after in tags}, pos


def write_tags(
    write: Callable[[Records], None], tags: list[tuple[int, Chunks]], unknown_tags: Mapping[int, bytes]
) -> None:
    """Write a section of tagged fields in ascending order of tag."""
    tags = tags + [(tag, [value]) for tag, value in unknown_tags.items()]
    write(write_uvarint(len(tags)))
    for tag, chunks in sorted(tags, key=lambda item: item[0]):
        write(write_uvarint(tag) + write_uvarint(sum(map(len, chunks))))
        for chunk in chunks:
            write(chunk)


def short(what: str, size: int, left: int) -> ProtocolError:
    return ProtocolError(f"{what} of size {size} in {left} bytes")


def uuid_text(uuid: Uuid) -> str:
    """Kafka's text form: URL-safe base64 without padding, 22 characters."""
    return base64.urlsafe_b64encode(uuid).rstrip(b"=").decode()


def random_uuid() -> Uuid:
    """Return a random (version 4) id whose text does not start with a dash, which command lines would mistake."""
    while True:
        raw = bytearray(os.urandom(16))
        raw[6] = raw[6] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        if not uuid_text(bytes(raw)).startswith("-"):
            return bytes(raw)


def parse_uuid(text: str) -> Uuid:
    """Raises: ValueError where the text is not a uuid of 16 bytes."""
    uuid = base64.b64decode(text.rstrip("=") + "==", altchars=b"-_", validate=True)
    if len(uuid) != 16:
        raise ValueError(f"not a uuid: {text!r}")
    return uuid

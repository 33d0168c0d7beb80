"""A slow encoder that interprets the official facts field by field: what the compiled encoders are held against.

It shares nothing with wire.codec or wire.schema but the values: names, types, order, versions, tags and defaults come
from tests/data/official.
"""

import struct
from collections.abc import Mapping

from tests.wire.official import OfficialField, OfficialMessage, snake_case

FIXED = {
    "bool": ">?",
    "int8": ">b",
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "uint32": ">I",
    "int64": ">q",
    "float64": ">d",
    "uuid": "16s",
}


def reference_encode(message: OfficialMessage, version: int, value: object) -> bytes:
    return _struct(message.fields, version, version in message.flexible, value)


def _struct(fields: list[OfficialField], version: int, flexible: bool, value: object) -> bytes:
    body = b""
    tagged: dict[int, bytes] = {}
    for field in fields:
        if version not in field.versions:
            continue
        held = getattr(value, snake_case(field.name))
        encoded = _field(field, version, flexible, held)
        if flexible and version in field.tagged:
            assert field.tag is not None
            if not _is_default(field, held):
                tagged[field.tag] = encoded
        else:
            body += encoded
    if flexible:
        unknown: Mapping[int, bytes] = value.unknown_tags  # type: ignore[attr-defined]
        tagged |= unknown
        body += _uvarint(len(tagged))
        for tag in sorted(tagged):
            body += _uvarint(tag) + _uvarint(len(tagged[tag])) + tagged[tag]
    return body


def _field(field: OfficialField, version: int, flexible: bool, held: object) -> bytes:
    if field.is_array:
        if held is None:
            return _length(None, flexible, 4)
        assert isinstance(held, list)
        return _length(len(held), flexible, 4) + b"".join(_one(field, version, flexible, item) for item in held)
    if field.fields and version in field.nullable:
        if held is None:
            return b"\0" if version in field.tagged else b"\xff"
        return b"\x01" + _one(field, version, flexible, held)
    return _one(field, version, flexible, held)


def _one(field: OfficialField, version: int, flexible: bool, item: object) -> bytes:
    if field.fields:
        return _struct(field.fields, version, flexible, item)
    if field.element in FIXED:
        return struct.pack(FIXED[field.element], item)
    width = 2 if field.element == "string" else 4
    if item is None:
        return _length(None, flexible, width)
    assert isinstance(item, str | bytes | memoryview)
    data = item.encode() if isinstance(item, str) else bytes(item)
    return _length(len(data), flexible, width) + data


def _length(size: int | None, flexible: bool, width: int) -> bytes:
    if flexible:
        return _uvarint(0 if size is None else size + 1)
    return (-1 if size is None else size).to_bytes(width, "big", signed=True)


def _uvarint(value: int) -> bytes:
    more, low = value >> 7, value & 0x7F
    return bytes((low | 0x80,)) + _uvarint(more) if more else bytes((low,))


def _is_default(field: OfficialField, held: object) -> bool:
    if field.default == "null":
        return held is None
    if field.is_array:
        return held == []
    if field.fields:
        return (
            held is not None
            and all(_is_default(part, getattr(held, snake_case(part.name))) for part in field.fields)
            and not held.unknown_tags
        )  # type: ignore[attr-defined]
    if field.element in ("string", "bytes", "uuid"):
        return held in ("", b"", bytes(16))
    if field.element == "bool":
        return held is (field.default == "true")
    return held == int(field.default or 0)

r"""The language of `produce --format`: how records are read. What `consume --format` prints with it can be read again.

    %v or %s value   %k key   %t topic   %p partition   %T or %d timestamp, ms   %h headers as name=value,name=value
    %o offset, which is read and left aside

Modifiers: {hex} and {base64} of text. Literals and escapes are those of `format`.

Rules
- Records end with what the format ends with; a format that ends with a field goes on to the end of the line.
- A field ends where the literal behind it begins for the first time, so two fields need one between them.
- The last record need not be ended.

Not here: reading files (actions.produce).
"""

import base64
import binascii
import json
import re
from collections.abc import Callable
from typing import Any

import attrs

from pykbroker.cli.format import FormatError, Token, tokens

_FIELDS = "tpokvsTdh"
_NUMBERS = "poTd"


class InputError(ValueError):
    """A record that is not in the format; the message says which one."""


@attrs.frozen
class InputRecord:
    """What a record says of itself; None: it does not, or for key and value: null."""

    value: bytes | None = None
    key: bytes | None = None
    topic: str | None = None
    partition: int | None = None
    timestamp: int | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


Parser = Callable[[bytes], InputRecord]


def compile_input(text: str) -> tuple[bytes, Parser]:
    """Return what ends a record, and what reads one without its end. Raises: FormatError; the latter: InputError."""
    found = tokens(text)
    if not found or found[-1].field:
        found.append(Token(b"\n"))
    *inner, end = found
    pattern, fields = b"", []
    for token, following in zip(inner, [*inner[1:], Token()], strict=True):
        if not token.field:
            pattern += re.escape(token.literal)
            continue
        if token.field not in _FIELDS:
            raise FormatError(f"%{token.field} cannot be read")
        if following.field:
            raise FormatError(f"nothing tells where %{token.field} ends and %{following.field} begins")
        if token.modifier not in (None, "hex", "base64") or (token.modifier and token.field in _NUMBERS):
            raise FormatError(f"%{token.field}{{{token.modifier}}} cannot be read")
        pattern += rb"(-?\d+)" if token.field in _NUMBERS else rb"(.*?)"
        fields.append(token)
    if not any(token.field in "kvs" for token in fields):
        raise FormatError("a record needs a key or a value: %k, %v")
    matching = re.compile(pattern, re.DOTALL)

    def parse(data: bytes) -> InputRecord:
        match = matching.fullmatch(data)
        if match is None:
            raise InputError(f"it is not as {text!r} says")
        record = InputRecord()
        for token, part in zip(fields, match.groups(), strict=True):
            record = _with(record, token, part)
        return record

    return end.literal, parse


def _with(record: InputRecord, token: Token, part: bytes) -> InputRecord:
    data = _decoded(part, token.modifier)
    match token.field:
        case "v" | "s":
            return attrs.evolve(record, value=data)
        case "k":
            return attrs.evolve(record, key=data)
        case "t":
            return attrs.evolve(record, topic=_text(data))
        case "p":
            return attrs.evolve(record, partition=int(part))
        case "T" | "d":
            return attrs.evolve(record, timestamp=int(part))
        case "h":
            return attrs.evolve(record, headers=tuple(_header(pair) for pair in data.split(b",") if pair))
    return record


def _decoded(part: bytes, modifier: str | None) -> bytes:
    try:
        if modifier == "hex":
            return binascii.unhexlify(part)
        if modifier == "base64":
            return base64.b64decode(part, validate=True)
    except ValueError as error:
        raise InputError(f"{part[:40]!r} is not {modifier}: {error}") from None
    return part


def _header(pair: bytes) -> tuple[str, bytes | None]:
    name, separator, value = pair.partition(b"=")
    return _text(name), value if separator else None


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InputError(f"{data[:40]!r} is not UTF-8") from None


def with_key(separator: str) -> tuple[bytes, Parser]:
    """Lines of a value, or of a key, the separator and a value: a line without the separator has no key."""
    (token,) = tokens(separator) or [Token()]
    if token.field or not token.literal:
        raise FormatError(f"{separator!r} does not separate anything")

    def parse(data: bytes) -> InputRecord:
        key, found, value = data.partition(token.literal)
        return InputRecord(value, key) if found else InputRecord(data)

    return b"\n", parse


def parse_json(data: bytes) -> InputRecord:
    """Read an object as `consume --json` prints it. Raises: InputError."""
    try:
        told = json.loads(data)
        if not isinstance(told, dict):
            raise InputError("it is not a JSON object")
        return InputRecord(
            _bytes_of(told, "value"),
            _bytes_of(told, "key"),
            told.get("topic"),
            told.get("partition"),
            told.get("timestamp"),
            tuple((header["name"], _bytes_of(header, "value")) for header in told.get("headers", ())),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"it is not a record in JSON: {error}") from None


def _bytes_of(told: dict[str, Any], name: str) -> bytes | None:
    if told.get(f"{name}_base64") is not None:
        return base64.b64decode(told[f"{name}_base64"], validate=True)
    text = told.get(name)
    return None if text is None else text.encode() if isinstance(text, str) else json.dumps(text).encode()

r"""The language of `consume --format`: how a record is printed. That of kcat's -f and of rpk's, where they agree.

    %t topic   %p partition   %o offset   %k key   %v or %s value   %h headers   %T or %d timestamp, ms
    %K, %V or %S  size of key and value, -1 where it is null   %R  size of the value as a big-endian int32
    %H number of headers   %e leader epoch   %x producer id   %y producer epoch   %a attributes of the batch
    %[ log start offset   %| last stable offset   %] high watermark   %i how many records were printed before
    %% %{ %}  the character itself   \n \t \r \\ \xNN  a byte

Modifiers stand in braces behind the letter.
- Text: hex, base64, json (a JSON string, or null).
- Numbers: ascii, hex64 to hex4, big64 to big8, little64 to little8, byte; cut to their size.
- %d and %T: strftime[...], in UTC.
- %h{...}: a format for each header, with %k, %v, %K and %V its own. Without braces: name=value,name=value.

Rules
- Where kcat and rpk differ, kcat's meaning counts: %T is the timestamp (rpk: the topic's length), %h needs no braces.
- A null key or value is printed as nothing.

Not here: the language that reads (input_format). Sources: the help of kcat and of `rpk topic consume`.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

Headers = Sequence[tuple[str, bytes | None]]


class FormatError(ValueError):
    """The format is not one; the message says where."""


class Printable(Protocol):
    """What is printed: a consumed record."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def leader_epoch(self) -> int: ...
    @property
    def producer_id(self) -> int: ...
    @property
    def producer_epoch(self) -> int: ...
    @property
    def attributes(self) -> int: ...
    @property
    def log_start_offset(self) -> int: ...
    @property
    def last_stable_offset(self) -> int: ...
    @property
    def high_watermark(self) -> int: ...


class Header(NamedTuple):
    """What is printed inside %h{...}."""

    key: bytes | None
    value: bytes | None


Text = Callable[[bytes | None], bytes]
Number = Callable[[int], bytes]
Piece = Callable[[Printable, int], bytes]  # of a record and its number


def compile_format(text: str) -> Callable[[Printable, int], bytes]:
    """Return what prints a record and its number, counted from 0. Raises: FormatError."""
    pieces = [_record_piece(token) for token in tokens(text)]
    return lambda record, number: b"".join([piece(record, number) for piece in pieces])


# Reading a format


class Token(NamedTuple):
    """A literal, or a field with what stands in its braces (None: there are none)."""

    literal: bytes = b""
    field: str = ""
    modifier: str | None = None


_ESCAPES = {"n": b"\n", "t": b"\t", "r": b"\r", "\\": b"\\"}


def tokens(text: str) -> list[Token]:
    """Cut a format into literals, none beside another, and fields. Raises: FormatError."""
    found: list[Token] = []
    literal = bytearray()
    pos = 0
    while pos < len(text):
        char = text[pos]
        if char == "\\":
            data, pos = _escape(text, pos)
            literal += data
        elif char != "%":
            literal += char.encode(errors="surrogateescape")
            pos += 1
        elif pos + 1 == len(text):
            raise FormatError("a % at the end; %% is a percent sign")
        elif text[pos + 1] in "%{}":
            literal += text[pos + 1].encode()
            pos += 2
        else:
            if literal:
                found.append(Token(bytes(literal)))
                literal.clear()
            modifier, end = _braces(text, pos + 2)
            found.append(Token(field=text[pos + 1], modifier=modifier))
            pos = end
    return [*found, Token(bytes(literal))] if literal else found


def _escape(text: str, pos: int) -> tuple[bytes, int]:
    letter = text[pos + 1 : pos + 2]
    if letter in _ESCAPES:
        return _ESCAPES[letter], pos + 2
    match = re.compile(r"\\x([0-9a-fA-F]{2})").match(text, pos)
    if match is None:
        raise FormatError(f"{text[pos : pos + 2]!r} is no escape; there are \\n \\t \\r \\\\ \\xNN")
    return bytes.fromhex(match[1]), match.end()


def _braces(text: str, pos: int) -> tuple[str | None, int]:
    """Return what stands in the braces at `pos`, and where they end; %{ and %} inside are not counted."""
    if text[pos : pos + 1] != "{":
        return None, pos
    depth, at = 0, pos
    while at < len(text):
        if text[at] == "%" and text[at + 1 : at + 2] in ("{", "}", "%"):
            at += 2
            continue
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        at += 1
        if not depth:
            return text[pos + 1 : at - 1], at
    raise FormatError(f"no brace closes that of {text[pos - 2 : pos + 1]!r}")


# Printing


def _record_piece(token: Token) -> Piece:
    field, modifier = token.field, token.modifier
    if not field:
        return lambda record, number: token.literal
    if field in _TEXTS:
        get_text, show = _TEXTS[field], _text(modifier)
        return lambda record, number: show(get_text(record))
    if field in _NUMBERS:
        get_number, print_number = _NUMBERS[field], _number(modifier)
        return lambda record, number: print_number(get_number(record))
    if field in "Td":
        show_time = _time(modifier)
        return lambda record, number: show_time(record.timestamp)
    if field == "i":
        show_count = _number(modifier)
        return lambda record, number: show_count(number)
    if field == "R":
        return lambda record, number: _size(record.value).to_bytes(4, "big", signed=True)
    if field == "h":
        show_headers = _headers(modifier)
        return lambda record, number: show_headers(record.headers)
    raise FormatError(f"%{field} is no field")


_TEXTS: Mapping[str, Callable[[Printable], bytes | None]] = {
    "t": lambda record: record.topic.encode(),
    "k": lambda record: record.key,
    "v": lambda record: record.value,
    "s": lambda record: record.value,
}
_NUMBERS: Mapping[str, Callable[[Printable], int]] = {
    "p": lambda record: record.partition,
    "o": lambda record: record.offset,
    "K": lambda record: _size(record.key),
    "V": lambda record: _size(record.value),
    "S": lambda record: _size(record.value),
    "H": lambda record: len(record.headers),
    "e": lambda record: record.leader_epoch,
    "x": lambda record: record.producer_id,
    "y": lambda record: record.producer_epoch,
    "a": lambda record: record.attributes,
    "[": lambda record: record.log_start_offset,
    "|": lambda record: record.last_stable_offset,
    "]": lambda record: record.high_watermark,
}


def _size(data: bytes | None) -> int:
    return -1 if data is None else len(data)


def _text(modifier: str | None) -> Text:
    if modifier is None:
        return lambda data: data or b""
    if modifier not in _TEXT_MODIFIERS:
        raise FormatError(f"{{{modifier}}} is nothing for text; there are {', '.join(_TEXT_MODIFIERS)}")
    return _TEXT_MODIFIERS[modifier]


def _json(data: bytes | None) -> bytes:
    return b"null" if data is None else json.dumps(data.decode(errors="replace"), ensure_ascii=False).encode()


_TEXT_MODIFIERS: Mapping[str, Text] = {
    "hex": lambda data: (data or b"").hex().encode(),
    "base64": lambda data: base64.b64encode(data or b""),
    "json": _json,
}


def _number(modifier: str | None) -> Number:
    if modifier is None or modifier == "ascii":
        return lambda number: b"%d" % number
    match = re.fullmatch(r"(hex|big|little)(64|32|16|8|4)|byte", modifier)
    if match is None or modifier in ("big4", "little4"):
        raise FormatError(f"{{{modifier}}} is nothing for numbers; there are ascii, hex64, big32, little16, byte ...")
    if match[1] is None:
        return lambda number: bytes((number & 0xFF,))
    bits = int(match[2])
    mask = (1 << bits) - 1
    if match[1] == "hex":
        return lambda number: b"%0*x" % (bits // 4, number & mask)
    order: Callable[[int], bytes] = (
        (lambda number: (number & mask).to_bytes(bits // 8, "big"))
        if match[1] == "big"
        else (lambda number: (number & mask).to_bytes(bits // 8, "little"))
    )
    return order


def _time(modifier: str | None) -> Number:
    match = re.fullmatch(r"strftime\[(.*)\]", modifier or "", re.DOTALL)
    if match is None:
        return _number(modifier)
    pattern = match[1]

    def show(timestamp: int) -> bytes:
        if not 0 <= timestamp < _END_OF_TIME_MS:
            return b"%d" % timestamp
        return datetime.fromtimestamp(timestamp / 1000, UTC).strftime(pattern).encode()

    return show


_END_OF_TIME_MS = 253_402_300_800_000  # the year 10000, which has no date


def _headers(modifier: str | None) -> Callable[[Headers], bytes]:
    if modifier is None:
        return lambda headers: b",".join([name.encode() + b"=" + (value or b"") for name, value in headers])
    pieces = [_header_piece(token) for token in tokens(modifier)]

    def show(headers: Headers) -> bytes:
        shown = [Header(name.encode(), value) for name, value in headers]
        return b"".join([piece(header) for header in shown for piece in pieces])

    return show


def _header_piece(token: Token) -> Callable[[Header], bytes]:
    if not token.field:
        return lambda header: token.literal
    if token.field in ("k", "v"):
        show, number = _text(token.modifier), "kv".index(token.field)
        return lambda header: show(header[number])
    if token.field in ("K", "V"):
        show_size, number = _number(token.modifier), "KV".index(token.field)
        return lambda header: show_size(_size(header[number]))
    raise FormatError(f"%{token.field} is no field of a header")

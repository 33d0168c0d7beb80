r"""The language of `consume --format`: how a record is printed. That of kcat's -f and of rpk's, where they agree.

    %t topic   %p partition   %o offset   %k key   %v or %s value   %h headers   %T or %d timestamp, ms
    %K, %V or %S  size of key and value, -1 where it is null   %R  size of the value as a big-endian int32
    %H number of headers   %e leader epoch   %x producer id   %y producer epoch   %a attributes of the batch
    %[ log start offset   %| last stable offset   %] high watermark   %i how many records were printed, with this one

Modifiers stand in braces behind the letter: those of `modifiers`, and
- %a{compression}, by its name, or as a number with %a{compression;number}; %a{timestamp-type}, %a{transactional-bit},
  %a{control-bit}, numbers that may have a layout behind a semicolon.
- %h{...}: a format for each header, in which %k, %v, %K and %V are its own. Without braces: name=value,name=value.

Rules
- Where kcat and rpk differ, kcat's meaning counts: %T is the timestamp (rpk: the topic's length), sizes of null are -1
  (rpk: 0), %h needs no braces, and prints a null value as NULL.
- A null key or value is printed as nothing, or as `Shown` says.

Not here: how formats are written (format_syntax), the language that reads (input_format).
Sources: the help of kcat and of `rpk topic consume`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import attrs

from pykbroker.cli.format_syntax import FormatError, Token, tokens
from pykbroker.cli.modifiers import (
    Number,
    Text,
    number_layout,
    number_modifier,
    text_modifier,
    time_modifier,
    unpacker,
)

Headers = Sequence[tuple[str, bytes | None]]
NULL = b"NULL"
_CODECS = (b"none", b"gzip", b"snappy", b"lz4", b"zstd")


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


class _Moment(NamedTuple):
    """What is being printed: a record, how many there were with it, and inside of %h{...} one of its headers."""

    record: Printable
    number: int
    header: tuple[bytes | None, bytes | None] | None = None


@attrs.frozen
class Shown:
    """What the options of kcat change: how null is shown (-Z), and what a key and a value without modifier are (-s)."""

    null: bytes = b""
    key: Text | None = None
    value: Text | None = None

    @classmethod
    def of(cls, layouts: Sequence[str] = (), *, names_null: bool = False) -> "Shown":
        """Read what is given to -s: key=LAYOUT, value=LAYOUT, or one for both. Raises: FormatError."""
        texts: dict[str, Text] = {}
        for layout in layouts:
            part, separator, of_part = layout.partition("=")
            parts, text = ((part,), of_part) if separator else (("key", "value"), layout)
            if not set(parts) <= {"key", "value"} or not text:
                raise FormatError(f"{layout!r} is not key=LAYOUT, value=LAYOUT or LAYOUT")
            texts |= dict.fromkeys(parts, unpacker(text, ">"))
        return cls(NULL if names_null else b"", **texts)


Piece = Callable[[_Moment], bytes]


def compile_format(text: str, shown: Shown | None = None) -> Callable[[Printable, int], bytes]:
    """Return what prints a record, given how many there were before it. Raises: FormatError."""
    pieces = [_piece(token, shown or Shown(), is_inner=False) for token in tokens(text)]

    def show(record: Printable, number: int) -> bytes:
        moment = _Moment(record, number + 1)
        return b"".join([piece(moment) for piece in pieces])

    return show


def _piece(token: Token, shown: Shown, *, is_inner: bool) -> Piece:
    field = token.field
    if not field:
        return lambda _: token.literal
    if field in _TEXTS:
        return _text(token, shown, is_inner=is_inner)
    if field in _NUMBERS:
        get = _OF_HEADER_NUMBERS[field] if is_inner and field in _OF_HEADER_NUMBERS else _NUMBERS[field]
        show = time_modifier(token) if field in "Td" else number_modifier(token)
        return lambda moment: show(get(moment))
    if field == "R":
        return lambda moment: _size(moment.record.value).to_bytes(4, "big", signed=True)
    if field == "a":
        return _attribute(token)
    if field == "h" and not is_inner:
        return _headers(token, shown)
    raise FormatError(f"%{field} is no field" + (" of a header" if is_inner else ""))


def _text(token: Token, shown: Shown, *, is_inner: bool) -> Piece:
    get = _OF_HEADER_TEXTS[token.field] if is_inner and token.field in _OF_HEADER_TEXTS else _TEXTS[token.field]
    show = text_modifier(token)
    if token.modifier is None and not is_inner:
        show = {"k": shown.key, "v": shown.value, "s": shown.value}.get(token.field) or show
    null = show(None) if token.modifier == "json" else shown.null

    def piece(moment: _Moment) -> bytes:
        data = get(moment)
        return null if data is None else show(data)

    return piece


_TEXTS: Mapping[str, Callable[[_Moment], bytes | None]] = {
    "t": lambda moment: moment.record.topic.encode(),
    "k": lambda moment: moment.record.key,
    "v": lambda moment: moment.record.value,
    "s": lambda moment: moment.record.value,
}
_NUMBERS: Mapping[str, Callable[[_Moment], int]] = {
    "p": lambda moment: moment.record.partition,
    "o": lambda moment: moment.record.offset,
    "T": lambda moment: moment.record.timestamp,
    "d": lambda moment: moment.record.timestamp,
    "K": lambda moment: _size(moment.record.key),
    "V": lambda moment: _size(moment.record.value),
    "S": lambda moment: _size(moment.record.value),
    "H": lambda moment: len(moment.record.headers),
    "e": lambda moment: moment.record.leader_epoch,
    "x": lambda moment: moment.record.producer_id,
    "y": lambda moment: moment.record.producer_epoch,
    "[": lambda moment: moment.record.log_start_offset,
    "|": lambda moment: moment.record.last_stable_offset,
    "]": lambda moment: moment.record.high_watermark,
    "i": lambda moment: moment.number,
}


def _of_header(number: int) -> Callable[[_Moment], bytes | None]:
    def get(moment: _Moment) -> bytes | None:
        assert moment.header is not None
        return moment.header[number]

    return get


_OF_HEADER_TEXTS = {"k": _of_header(0), "v": _of_header(1), "s": _of_header(1)}
_OF_HEADER_NUMBERS: Mapping[str, Callable[[_Moment], int]] = {
    "K": lambda moment: _size(_OF_HEADER_TEXTS["k"](moment)),
    "V": lambda moment: _size(_OF_HEADER_TEXTS["v"](moment)),
    "S": lambda moment: _size(_OF_HEADER_TEXTS["v"](moment)),
}


def _size(data: bytes | None) -> int:
    return -1 if data is None else len(data)


def _attribute(token: Token) -> Piece:
    """One of the attributes by its name, or all of them as the number that they are."""
    name, separator, layout = (token.modifier or "").partition(";")
    if name not in _ATTRIBUTES:
        show_all = number_modifier(token)
        return lambda moment: show_all(moment.record.attributes)
    get = _ATTRIBUTES[name]
    show = number_layout(layout)
    if show is None or token.argument is not None:
        raise FormatError(f"{{{token.modifier}}}: {layout!r} is nothing for numbers")
    if name == "compression" and not separator:
        show = _codec_name
    chosen: Number = show
    return lambda moment: chosen(get(moment.record.attributes))


_ATTRIBUTES: Mapping[str, Callable[[int], int]] = {
    "compression": lambda attributes: attributes & 7,
    "timestamp-type": lambda attributes: attributes >> 3 & 1,
    "transactional-bit": lambda attributes: attributes >> 4 & 1,
    "control-bit": lambda attributes: attributes >> 5 & 1,
}


def _codec_name(codec: int) -> bytes:
    return _CODECS[codec] if codec < len(_CODECS) else b"unknown"


def _headers(token: Token, shown: Shown) -> Piece:
    if token.modifier is None:
        return lambda moment: b",".join(
            [name.encode() + b"=" + (NULL if value is None else value) for name, value in moment.record.headers]
        )
    pieces = [_piece(inner, shown, is_inner=True) for inner in token.inner]

    def show(moment: _Moment) -> bytes:
        moments = [moment._replace(header=(name.encode(), value)) for name, value in moment.record.headers]
        return b"".join([piece(of_header) for of_header in moments for piece in pieces])

    return show

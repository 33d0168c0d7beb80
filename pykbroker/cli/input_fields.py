"""Reading one record of `produce --format`, field by field: sizes, numbers, texts and what is around them.

A step takes what its field is from a `Reading`, and goes on behind it. Where what has come of the input ends in the
middle of a field, it raises MoreError, and the record is read again when more has come.

Not here: which steps a format has, and the words of it (input_format).
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from pykbroker.cli.format_syntax import FormatError, Token

MAX_RECORD_BYTES = 16 * 1024 * 1024

TEXTS = "tkvs"
_DECIMAL = re.compile(rb"-?[0-9]+")
_JSON_TOKEN = re.compile(rb'(?P<open>[\[{])|(?P<close>[\]}])|"(?:[^"\\]|\\.)*"|(?P<cut>")|[^\s"\[\]{},:]+', re.DOTALL)
_JSON_SPACE = re.compile(rb'("(?:[^"\\]|\\.)*")|\s+', re.DOTALL)
_MOST_DIGITS = 20  # of a number of 64 bits, with its sign


class InputError(ValueError):
    """A record that is not in the format; the message says why."""


class MoreError(Exception):
    """A record goes on behind what has come of the input."""


@attrs.frozen
class InputRecord:
    """What a record says of itself; None: it does not, or for key and value: null."""

    value: bytes | None = None
    key: bytes | None = None
    topic: str | None = None
    partition: int | None = None
    timestamp: int | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()


@attrs.define(eq=False)
class Reading:
    data: bytes
    pos: int
    is_last: bool
    sizes: dict[str, int] = attrs.field(factory=dict)  # told, of what comes
    fields: dict[str, Any] = attrs.field(factory=dict)
    headers: list[tuple[str, bytes | None]] = attrs.field(factory=list)

    def take(self, size: int) -> bytes:
        """Return so many bytes, and go on behind them."""
        if size > MAX_RECORD_BYTES:
            raise InputError(f"a size of {size} bytes")
        if size > len(self.data) - self.pos:
            raise MoreError
        start, self.pos = self.pos, self.pos + size
        return self.data[start : self.pos]

    def take_until(self, mark: bytes, *, is_end: bool) -> bytes:
        """Return what is before the first of these marks, which is left; where that ends a record, perhaps all."""
        found = self.data.find(mark, self.pos) if mark else len(self.data)
        if found < 0:
            if not (self.is_last and is_end):
                raise MoreError
            found = len(self.data)
        start, self.pos = self.pos, found
        return self.data[start:found]

    def record(self) -> InputRecord:
        return InputRecord(**self.fields, headers=tuple(self.headers))


Step = Callable[[Reading], None]


def kind_of(field: str) -> str:
    """Return the letter under which a field is known: %s is %v."""
    return "v" if field == "s" else field


def literal_step(expected: bytes, *, is_end: bool) -> Step:
    def step(reading: Reading) -> None:
        if is_end and reading.is_last and reading.pos == len(reading.data):
            return  # the last record need not be ended
        if reading.take(len(expected)) != expected:
            raise InputError(f"{expected!r} is not where the format has it")

    return step


def size_step(token: Token, kind: str) -> Step:
    if token.modifier is not None and token.modifier.isdecimal():
        fixed = int(token.modifier)

        def step(reading: Reading) -> None:
            reading.sizes[kind] = fixed

        return step
    take = _number(token)

    def step_of_number(reading: Reading) -> None:
        size = take(reading)
        if size < (0 if kind == "h" else -1):
            raise InputError(f"a size of {size}")
        reading.sizes[kind] = size

    return step_of_number


def number_step(token: Token) -> Step:
    take = _number(token)

    def step(reading: Reading) -> None:
        number = take(reading)
        if token.field == "p":
            reading.fields["partition"] = checked_partition(number)
        elif token.field in "Td":
            reading.fields["timestamp"] = checked_timestamp(number)

    return step


def checked_partition(number: int) -> int:
    """Raises: InputError."""
    if not 0 <= number < 1 << 31:
        raise InputError(f"there is no partition {number}")
    return number


def checked_timestamp(number: int) -> int | None:
    """Raises: InputError."""
    if not -1 <= number < 1 << 63:
        raise InputError(f"there is no time {number}")
    return None if number == -1 else number


def _number(token: Token) -> Callable[[Reading], int]:
    name = token.modifier or "ascii"
    if token.argument is None:
        if name in ("ascii", "number"):
            return _decimal
        if name == "bool":
            return _bool
        if name == "byte":
            return lambda reading: reading.take(1)[0]
        match = re.fullmatch(r"(hex)(64|32|16|8|4)|(big|little)(64|32|16|8)", name)
        if match is not None and match[1]:
            return _hex(int(match[2]))
        if match is not None:
            order: Any = match[3]
            bits = int(match[4])
            return lambda reading: int.from_bytes(reading.take(bits // 8), order, signed=bits >= 32)
    raise FormatError(f"{token} cannot be read")


def _decimal(reading: Reading) -> int:
    match = _DECIMAL.match(reading.data, reading.pos)
    if match is None:
        if reading.pos + 1 >= len(reading.data) and not reading.is_last:
            raise MoreError
        raise InputError(f"{reading.data[reading.pos : reading.pos + 20]!r} is no number")
    if len(match[0]) > _MOST_DIGITS:
        raise InputError(f"a number of {len(match[0])} digits")
    if match.end() == len(reading.data) and not reading.is_last:
        raise MoreError
    reading.pos = match.end()
    return int(match[0])


def _bool(reading: Reading) -> int:
    for word, number in ((b"true", 1), (b"false", 0)):
        if reading.data.startswith(word, reading.pos):
            reading.pos += len(word)
            return number
    if not reading.is_last and len(reading.data) - reading.pos < len(b"false"):
        raise MoreError
    raise InputError("neither true nor false")


def _hex(bits: int) -> Callable[[Reading], int]:
    def take(reading: Reading) -> int:
        digits = reading.take(bits // 4)
        try:
            number = int.from_bytes(binascii.unhexlify(digits.rjust(2, b"0")), "big")
        except ValueError:
            raise InputError(f"{digits!r} is not hex") from None
        return number - (1 << bits) if bits >= 32 and number >> (bits - 1) else number

    return take


# Texts


def text_step(token: Token, following: Token, *, is_sized: bool, is_end: bool) -> Step:
    kind = kind_of(token.field)
    decode = _DECODERS.get(token.modifier or "")
    take: Callable[[Reading], bytes | None]
    if token.modifier == "re" and token.argument is not None and not is_sized:
        decode = _DECODERS[""]
        take = _matching(token.argument)
    elif decode is None or token.argument is not None:
        raise FormatError(f"{token} cannot be read")
    elif is_sized:
        take = _sized(kind)
    elif token.modifier == "json":
        take = _json_text
    elif following.field:
        raise FormatError(f"nothing tells where %{token.field} ends and %{following.field} begins")
    else:
        mark = following.literal

        def take(reading: Reading) -> bytes | None:
            return reading.take_until(mark, is_end=is_end)

    put, decoded = _PUT[kind], decode

    def step(reading: Reading) -> None:
        data = take(reading)
        put(reading, None if data is None else decoded(data))

    return step


def _sized(kind: str) -> Callable[[Reading], bytes | None]:
    def take(reading: Reading) -> bytes | None:
        size = reading.sizes[kind]
        return None if size < 0 else reading.take(size)

    return take


def _matching(pattern: str) -> Callable[[Reading], bytes]:
    try:
        matching = re.compile(pattern.encode(errors="surrogateescape"))
    except re.error as error:
        raise FormatError(f"re: {error}") from None

    def take(reading: Reading) -> bytes:
        match = matching.match(reading.data, reading.pos)
        if not reading.is_last and (match is None or match.end() == len(reading.data)):
            raise MoreError
        if match is None:
            raise InputError(f"{reading.data[reading.pos : reading.pos + 20]!r} is not as {pattern!r} says")
        reading.pos = match.end()
        return match[0]

    return take


def _json_text(reading: Reading) -> bytes:
    """Take one JSON value, and the space before it."""
    depth = 0
    for match in _JSON_TOKEN.finditer(reading.data, reading.pos):
        if match["cut"]:
            break
        depth += bool(match["open"]) - bool(match["close"])
        is_whole = reading.is_last or match.end() < len(reading.data) or bool(match["close"])
        if depth <= 0 and is_whole:
            return reading.take(match.end() - reading.pos)
    raise MoreError


def _compacted(data: bytes) -> bytes:
    try:
        json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"it is not JSON: {error}") from None
    return _JSON_SPACE.sub(lambda match: match[1] or b"", data)


def _unhex(data: bytes) -> bytes:
    try:
        return binascii.unhexlify(data)
    except ValueError as error:
        raise InputError(f"{data[:40]!r} is not hex: {error}") from None


def _unbase64(data: bytes) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except ValueError as error:
        raise InputError(f"{data[:40]!r} is not base64: {error}") from None


_DECODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "hex": _unhex,
    "base64": _unbase64,
    "base64raw": lambda data: _unbase64(data + b"=" * (-len(data) % 4)),
    "json": _compacted,
}


def utf8(data: bytes) -> str:
    """Raises: InputError."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise InputError(f"{data[:40]!r} is not UTF-8") from None


def _put_topic(reading: Reading, data: bytes | None) -> None:
    reading.fields["topic"] = None if data is None else utf8(data)


def _put_key(reading: Reading, data: bytes | None) -> None:
    reading.fields["key"] = data


def _put_value(reading: Reading, data: bytes | None) -> None:
    reading.fields["value"] = data


def _put_headers(reading: Reading, data: bytes | None) -> None:
    for pair in (data or b"").split(b","):
        if pair:
            name, separator, value = pair.partition(b"=")
            reading.headers.append((utf8(name), value if separator else None))


_PUT: Mapping[str, Callable[[Reading, bytes | None], None]] = {
    "t": _put_topic,
    "k": _put_key,
    "v": _put_value,
    "h": _put_headers,
}

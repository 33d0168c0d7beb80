"""What stands in the braces of a field when records are printed: how bytes, numbers and times are shown.

    bytes     hex base64 base64raw json unpack[...]
    numbers   ascii (number) bool hex hex64 ... hex4 big64 ... big8 little64 ... little8 byte; cut to their size
    times     those of numbers, of ms since 1970; strftime[...] and go[...], in UTC

Format of unpack, as in Python's struct, a letter each: b B h H i I q Q are numbers of 1, 2, 4, 8 bytes, c or . is a
byte, s is the rest; $ is the end, < and > say that what follows is little- or big-endian, x is nothing.
What is wrong with the bytes is said in the output, behind %!.

Sources: the help of `rpk topic consume`; the format of times of Go's package time.
"""

import base64
import json
import re
import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from pykbroker.cli.format_syntax import FormatError, Token

Text = Callable[[bytes | None], bytes]
Number = Callable[[int], bytes]

_END_OF_TIME_MS = 253_402_300_800_000  # the year 10000, which has no date
_INTEGERS = "bBhHiIqQ"


# Bytes


def text_modifier(token: Token) -> Text:
    """Raises: FormatError."""
    if token.modifier == "unpack" and token.argument is not None:
        return unpacker(token.argument)
    if token.modifier not in _TEXTS or token.argument is not None:
        known = ", ".join(name for name in _TEXTS if name)
        raise FormatError(f"{{{token.modifier}}} is nothing for text; there are {known}, unpack[...]")
    return _TEXTS[token.modifier]


def _json(data: bytes | None) -> bytes:
    return b"null" if data is None else json.dumps(data.decode(errors="replace"), ensure_ascii=False).encode()


def _plain(data: bytes | None) -> bytes:
    return data or b""


_TEXTS: Mapping[str | None, Text] = {
    None: _plain,
    "": _plain,
    "hex": lambda data: (data or b"").hex().encode(),
    "base64": lambda data: base64.b64encode(data or b""),
    "base64raw": lambda data: base64.b64encode(data or b"").rstrip(b"="),
    "json": _json,
}


def unpacker(layout: str, order: str = "<") -> Text:
    """Return what shows bytes as the letters say; `order` is that of rpk, kcat begins with ">". Raises: FormatError."""
    if re.fullmatch(r"[<>bBhHiIqQc.x ]*s?\$?", layout) is None:
        raise FormatError(
            f"unpack: {layout!r} is not of the letters <>bBhHiIqQc.x, then s for the rest and $ for the end"
        )
    steps: list[tuple[str, struct.Struct | None]] = []
    for letter in layout:
        if letter in "<>":
            order = letter
        elif letter != "x":
            steps.append((letter, struct.Struct(order + letter) if letter in _INTEGERS else None))

    def show(data: bytes | None) -> bytes:
        data = data or b""
        shown = b""
        pos = 0
        for letter, number in steps:
            left = len(data) - pos
            if number is not None:
                if left < number.size:
                    return shown + b"%%!%c(%d of %d bytes)" % (ord(letter), left, number.size)
                shown += str(number.unpack_from(data, pos)[0]).encode()
                pos += number.size
            elif letter == " ":
                shown += b" "
            elif letter == "$":
                if left:
                    shown += b"%%!$(%d bytes more)" % left
            else:
                if letter != "s" and not left:
                    return shown + b"%!c(0 of 1 bytes)"
                size = left if letter == "s" else 1
                shown += data[pos : pos + size]
                pos += size
        return shown

    return show


# Numbers


def number_modifier(token: Token) -> Number:
    """Raises: FormatError."""
    number = None if token.argument is not None else number_layout(token.modifier)
    if number is None:
        raise FormatError(
            f"{{{token.modifier}}} is nothing for numbers; there are ascii, bool, hex, hex64, big32, little16, byte ..."
        )
    return number


def number_layout(name: str | None) -> Number | None:
    """Return what shows a number; None where no layout has that name."""
    if name in (None, "", "ascii", "number"):
        return lambda number: b"%d" % number
    if name == "bool":
        return lambda number: b"true" if number else b"false"
    if name == "hex":
        return lambda number: b"%x" % (number & 0xFFFFFFFFFFFFFFFF)
    match = re.fullmatch(r"(hex|big|little)(64|32|16|8|4)|byte", name)
    if match is None or name in ("big4", "little4"):
        return None
    bits = int(match[2] or 8)
    mask = (1 << bits) - 1
    if match[1] == "hex":
        return lambda number: b"%0*x" % (bits // 4, number & mask)
    if match[1] == "little":
        return lambda number: (number & mask).to_bytes(bits // 8, "little")
    return lambda number: (number & mask).to_bytes(bits // 8, "big")


# Times


def time_modifier(token: Token) -> Number:
    """Raises: FormatError."""
    if token.modifier not in ("strftime", "go") or token.argument is None:
        return number_modifier(token)
    try:
        token.argument.encode()
    except UnicodeEncodeError:
        raise FormatError(f"{token.argument!r} is no text") from None
    show_date = _strftime(token.argument) if token.modifier == "strftime" else _go(token.argument)

    def show(timestamp: int) -> bytes:
        if not 0 <= timestamp < _END_OF_TIME_MS:
            return b"%d" % timestamp
        seconds, ms = divmod(timestamp, 1000)
        return show_date(datetime.fromtimestamp(seconds, UTC).replace(microsecond=1000 * ms)).encode()

    return show


def _strftime(layout: str) -> Callable[[datetime], str]:
    return lambda time: time.strftime(layout)


_GO: Mapping[str, Callable[[datetime], str]] = {
    "January": lambda time: f"{time:%B}",
    "Jan": lambda time: f"{time:%b}",
    "Monday": lambda time: f"{time:%A}",
    "Mon": lambda time: f"{time:%a}",
    "2006": lambda time: f"{time.year:04}",
    "06": lambda time: f"{time.year % 100:02}",
    "01": lambda time: f"{time.month:02}",
    "1": lambda time: str(time.month),
    "002": lambda time: f"{time:%j}",
    "__2": lambda time: f"{int(time.strftime('%j')):3}",
    "02": lambda time: f"{time.day:02}",
    "_2": lambda time: f"{time.day:2}",
    "2": lambda time: str(time.day),
    "15": lambda time: f"{time.hour:02}",
    "03": lambda time: f"{(time.hour + 11) % 12 + 1:02}",
    "3": lambda time: str((time.hour + 11) % 12 + 1),
    "04": lambda time: f"{time.minute:02}",
    "4": lambda time: str(time.minute),
    "05": lambda time: f"{time.second:02}",
    "5": lambda time: str(time.second),
    "PM": lambda time: "PM" if time.hour >= 12 else "AM",
    "pm": lambda time: "pm" if time.hour >= 12 else "am",
    "MST": lambda _: "UTC",
}
# In the order in which they are tried. Names of months and days end where no small letter follows.
_GO_PATTERN = re.compile(
    r"January|Jan(?![a-z])|Monday|Mon(?![a-z])|MST|2006|__2|002|_2(?!006)|0[1-6]|15|PM|pm|[1-5]"
    r"|Z07(?::?00(?::?00)?)?|(?P<zone>-07(?P<minutes>:?00(?::?00)?)?)|(?P<fraction>[.,](?:0+|9+)(?![0-9]))"
)


def _go(layout: str) -> Callable[[datetime], str]:
    """Show a time as Go shows the moment of its reference, 2006-01-02T15:04:05, in `layout`."""

    def replaced(match: re.Match[str], time: datetime) -> str:
        found = match[0]
        if match["fraction"]:
            digits = f"{time.microsecond:06}000"[: len(found) - 1].ljust(len(found) - 1, "0")
            if found[1] == "9":
                digits = digits.rstrip("0")
            return found[0] + digits if digits else ""
        if match["zone"]:
            return "+00" + (match["minutes"] or "")
        return "Z" if found[0] == "Z" else _GO[found](time)

    return lambda time: _GO_PATTERN.sub(lambda match: replaced(match, time), layout)

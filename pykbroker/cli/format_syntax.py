r"""How a format is written: literals, and fields such as %v{hex}; the same for printing records and for reading them.

    %x  %x{modifier}  %x{modifier[argument]}  %h{a format of its own}
    %% %{ %}  the character itself   \n \t \r \xNN \033 \27  a byte   \q  any other character is itself

Rules
- An argument stands between any number of # or of {, [, ( and as many of what closes those; it may hold all but that.
- Digits behind a backslash are a number as in C: octal with a leading 0, else decimal; cut to a byte.

Sources: the help of kcat (whose escapes are a superset of rpk's) and of `rpk topic consume`.
"""

import re
from typing import NamedTuple

_CLOSING = {"{": "}", "[": "]", "(": ")"}
_ESCAPES = {"n": b"\n", "t": b"\t", "r": b"\r"}
_NUMBER = re.compile(r"x([0-9a-fA-F]{1,2})|(0[0-7]*|[1-9][0-9]*)")
_NAME = re.compile(r"[\w;-]*", re.ASCII)


class FormatError(ValueError):
    """The format is not one; the message says where."""


class Token(NamedTuple):
    """A literal, or a field with what stands in its braces."""

    literal: bytes = b""
    field: str = ""
    modifier: str | None = None  # None: there are no braces
    argument: str | None = None  # of the modifier
    inner: "tuple[Token, ...]" = ()  # of %h{...}

    def __str__(self) -> str:
        return f"%{self.field}" + ("" if self.modifier is None else f"{{{self.modifier}}}")


def tokens(text: str) -> list[Token]:
    """Cut a format into literals, none beside another, and fields. Raises: FormatError."""
    return _tokens(text, 0, is_inner=False)[0]


def _tokens(text: str, pos: int, *, is_inner: bool) -> tuple[list[Token], int]:
    """Read up to the end, or behind the brace that closes an inner format."""
    found: list[Token] = []
    literal = bytearray()
    depth = 0
    while pos < len(text):
        char = text[pos]
        if char == "\\":
            data, pos = _escape(text, pos)
            literal += data
        elif char != "%":
            depth += {"{": 1, "}": -1}.get(char, 0)
            if is_inner and depth < 0:
                break
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
            token, pos = _field(text, pos + 1)
            found.append(token)
    else:
        if is_inner:
            raise FormatError("no brace closes that of '%h{'")
    return [*found, Token(bytes(literal))] if literal else found, pos + 1


def _escape(text: str, pos: int) -> tuple[bytes, int]:
    match = _NUMBER.match(text, pos + 1)
    if match is not None:
        digits = match[2]
        value = int(match[1], 16) if digits is None else int(digits, 8 if digits[0] == "0" else 10)
        return bytes((value & 0xFF,)), match.end()
    letter = text[pos + 1 : pos + 2]
    if letter == "x":
        raise FormatError(f"{text[pos : pos + 3]!r} is no escape: two hex digits follow \\x")
    return _ESCAPES.get(letter, letter.encode(errors="surrogateescape")) or b"\\", pos + 2


def _field(text: str, pos: int) -> tuple[Token, int]:
    """Read a letter and what stands in the braces behind it."""
    letter = text[pos]
    if text[pos + 1 : pos + 2] != "{":
        return Token(field=letter), pos + 1
    if letter == "h":
        inner, end = _tokens(text, pos + 2, is_inner=True)
        return Token(field=letter, modifier="", inner=tuple(inner)), end
    name = _NAME.match(text, pos + 2)
    assert name is not None
    argument, end = None, name.end()
    if end < len(text) and text[end] != "}":
        argument, end = _argument(text, end)
    if text[end : end + 1] != "}":
        raise FormatError(f"no brace closes that of {text[pos - 1 : pos + 2]!r}")
    return Token(field=letter, modifier=name[0], argument=argument), end + 1


def _argument(text: str, pos: int) -> tuple[str, int]:
    """Return what stands between the delimiters at `pos`, and where they end."""
    delimiter = text[pos]
    count = len(text) - pos - len(text[pos:].lstrip(delimiter))
    closing = _CLOSING.get(delimiter, delimiter) * count
    start = pos + count
    end = text.find(closing, start)
    if end < 0:
        raise FormatError(f"no {closing} closes {text[pos:start]}")
    return text[start:end], end + len(closing)

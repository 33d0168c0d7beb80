"""Where to begin and where to stop: the words of `consume --offset` and of `groups reset`, turned into offsets.

    start, beginning, earliest, oldest    end, latest, newest    1000     an offset
    -10   ten before the end              +10   ten behind the start
    @TIME, s@TIME   the first record of that time or later
    FROM:TO         up to TO, exclusive; a side that is empty is the start or the end

A time is a date (2026-11-26, 2026-11-26T09:30:00Z; without a zone it is UTC), seconds or milliseconds since 1970, or
`-90s`, `-15m`, `-2h`, `-3d`: so long ago. Sources: the help of kcat and of `rpk topic consume`.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum, auto

import attrs

_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_MILLISECONDS_FROM = 100_000_000_000  # as seconds that would be the year 5138
_WORDS = {
    **dict.fromkeys(("start", "beginning", "earliest", "oldest"), "start"),
    **dict.fromkeys(("end", "latest", "newest"), "end"),
}


class PositionError(ValueError):
    """Not a position; the message says what is wrong."""


class From(Enum):
    ZERO = auto()
    START = auto()
    END = auto()
    TIME = auto()


@attrs.frozen
class Position:
    """A number of offsets from somewhere, or a time in ms."""

    anchor: From
    number: int = 0


START, END = Position(From.START), Position(From.END)


def parse_range(text: str, now_ms: int) -> tuple[Position, Position | None]:
    """Return where to begin, and where to stop if that is said. Raises: PositionError."""
    text = text.replace("s@", "@", 1) if text.startswith("s@") else text
    if text.startswith("@"):
        # A time may have colons of its own: the range is divided by the @ of the second time.
        first, separator, second = text.partition(":@")
        return parse_position(first, now_ms), parse_position("@" + second, now_ms) if separator else None
    first, separator, second = text.partition(":")
    begin = parse_position(first, now_ms) if first else START
    if not separator:
        return begin, None
    return begin, parse_position(second, now_ms) if second else END


def parse_position(text: str, now_ms: int) -> Position:
    """Raises: PositionError."""
    if text in _WORDS:
        return START if _WORDS[text] == "start" else END
    if text.startswith("@"):
        return Position(From.TIME, parse_time(text[1:], now_ms))
    match = re.fullmatch(r"([+-]?)(\d+)", text)
    if match is None:
        raise PositionError(f"{text!r} is not a position: start, end, 1000, -10, +10, @2026-11-26T09:30:00 or @-2h")
    number = int(match[2])
    if not match[1]:
        return Position(From.ZERO, number)
    return Position(From.START, number) if match[1] == "+" else Position(From.END, -number)


def parse_time(text: str, now_ms: int) -> int:
    """Return milliseconds since 1970. Raises: PositionError."""
    if match := re.fullmatch(r"-(\d+)([smhd])", text):
        return max(now_ms - int(match[1]) * _UNITS_MS[match[2]], 0)
    if re.fullmatch(r"\d{9,15}", text):
        number = int(text)
        return number if number >= _MILLISECONDS_FROM else 1000 * number
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise PositionError(
            f"{text!r} is not a time: 2026-11-26T09:30:00Z, seconds or milliseconds since 1970, or -2h"
        ) from None
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def offset_at(position: Position, start: int, end: int, at_time: int | None = None) -> int:
    """Return the offset of a position in a log, within its ends. `at_time`: what the time stands for, -1: nothing."""
    anchors: Mapping[From, int] = {From.ZERO: 0, From.START: start, From.END: end}
    if position.anchor is From.TIME:
        assert at_time is not None
        found = end if at_time < 0 else at_time
    else:
        found = anchors[position.anchor] + position.number
    return min(max(found, start), end)

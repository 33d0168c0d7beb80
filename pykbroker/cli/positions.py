"""Where to begin and where to stop: the words of `consume --offset` and of `groups reset`, turned into offsets.

    start, beginning, earliest, oldest    end, latest, newest    1000     an offset
    -10   ten before the end              +10   ten behind the start
    @TIME, s@TIME   the first record of that time or later
    FROM:TO         up to TO, exclusive; without FROM from the start, and without TO there is no end
    @TIME:TO        TO is a time, too, or another position
    e@TIME          where to stop
    stored          what a group has committed

A time is a date (2026-11-26, 2026-11-26T09:30:00Z; without a zone it is UTC), seconds or milliseconds since 1970
(behind s@ and e@ always milliseconds), or a duration as 90s, 1h30m, -2h, 3ms, -3d: so much later or earlier than now,
or as the second of two times than the first, unless that is a duration, too.

Sources: the help of kcat and of `rpk topic consume`.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum, auto

import attrs

_HOUR_MS = 3_600_000
_UNITS_MS = {
    "ns": 1e-6, "us": 1e-3, "ms": 1, "s": 1000, "m": 60_000, "h": _HOUR_MS, "hr": _HOUR_MS, "d": 24 * _HOUR_MS
}  # fmt: skip
_UNIT = "|".join(sorted(_UNITS_MS, key=len, reverse=True))
_DURATION = re.compile(rf"([+-]?)((?:[0-9]+(?:\.[0-9]*)?(?:{_UNIT}))+)")
_PART = re.compile(rf"([0-9]+(?:\.[0-9]*)?)({_UNIT})")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?", re.DOTALL)
_MILLISECONDS_FROM = 100_000_000_000  # as seconds that would be the year 5138
_END_OF_TIME_MS = (1 << 63) - 1
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
    STORED = auto()


@attrs.frozen
class Position:
    """A number of offsets from somewhere, or a time in ms."""

    anchor: From
    number: int = 0


START, END, STORED = Position(From.START), Position(From.END), Position(From.STORED)


def parse_ranges(texts: Sequence[str], now_ms: int) -> tuple[Position, Position | None]:
    """Return where to begin, and where to stop if that is said; either may have a word of its own.

    Raises: PositionError.
    """
    begin: Position | None = None
    end: Position | None = None
    for text in texts:
        if text.startswith("e@"):
            found: tuple[Position | None, Position | None] = None, _at_ms(text, now_ms)
        elif text.startswith("s@"):
            found = _at_ms(text, now_ms), None
        else:
            found = parse_range(text, now_ms)
        if (found[0] and begin) or (found[1] and end):
            raise PositionError(f"{text!r}: that is said twice")
        begin, end = found[0] or begin, found[1] or end
    return begin or START, end


def _at_ms(text: str, now_ms: int) -> Position:
    time = text[2:]
    return Position(From.TIME, int(time) if re.fullmatch(r"[0-9]{1,18}", time) else parse_time(time, now_ms))


def parse_range(text: str, now_ms: int) -> tuple[Position, Position | None]:
    """Return where to begin, and where to stop if that is said. Raises: PositionError."""
    if text == "stored":
        return STORED, None
    if text.startswith("@"):
        return _time_range(text[1:], now_ms)
    first, _, second = text.partition(":")
    if not text:
        raise PositionError("an empty position")
    return parse_position(first, now_ms) if first else START, parse_position(second, now_ms) if second else None


def _time_range(text: str, now_ms: int) -> tuple[Position, Position | None]:
    """A time may have colons of its own: the first one that leaves a time before it and a position behind it counts."""
    failure: PositionError | None = None
    for colon in [len(text), *(match.start() for match in re.finditer(":", text))]:
        first, second = text[:colon], text[colon + 1 :]
        try:
            if not first:
                return START, _end_of_range(second, now_ms, now_ms)
            begin_ms = parse_time(first, now_ms)
            if not second:
                return Position(From.TIME, begin_ms), None
            base_ms = now_ms if _DURATION.fullmatch(first) else begin_ms
            return Position(From.TIME, begin_ms), _end_of_range(second, base_ms, now_ms)
        except PositionError as error:
            failure = failure or error
    assert failure is not None
    raise failure


def _end_of_range(text: str, base_ms: int, now_ms: int) -> Position:
    text = text.removeprefix("@")
    try:
        return Position(From.TIME, parse_time(text, base_ms))
    except PositionError:
        return parse_position(text, now_ms)


def parse_position(text: str, now_ms: int) -> Position:
    """Raises: PositionError."""
    if text in _WORDS:
        return START if _WORDS[text] == "start" else END
    if text.startswith("@"):
        return Position(From.TIME, parse_time(text[1:], now_ms))
    match = re.fullmatch(r"([+-]?)([0-9]{1,18})", text)
    if match is None:
        raise PositionError(f"{text!r} is not a position: start, end, 1000, -10, +10, @2026-11-26T09:30:00 or @-2h")
    number = int(match[2])
    if not match[1]:
        return Position(From.ZERO, number)
    return Position(From.START, number) if match[1] == "+" else Position(From.END, -number)


def parse_time(text: str, base_ms: int) -> int:
    """Return milliseconds since 1970; a duration is from `base_ms` on. Raises: PositionError."""
    if match := _DURATION.fullmatch(text):
        ms = sum(float(number) * _UNITS_MS[unit] for number, unit in _PART.findall(match[2]))
        return int(min(max(base_ms + (-ms if match[1] == "-" else ms), 0), _END_OF_TIME_MS))
    if re.fullmatch(r"[0-9]{9,15}", text):
        number = int(text)
        return number if number >= _MILLISECONDS_FROM else 1000 * number
    try:
        if _DATE.fullmatch(text) is None:
            raise ValueError
        time = datetime.fromisoformat(text)
    except ValueError:
        raise PositionError(
            f"{text!r} is not a time: 2026-11-26T09:30:00Z, seconds or milliseconds since 1970, or -2h"
        ) from None
    return max(int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000), 0)


def offset_at(position: Position, start: int, end: int, at_time: int | None = None) -> int:
    """Return the offset of a position in a log, within its ends. `at_time`: what the time stands for, -1: nothing."""
    anchors: Mapping[From, int] = {From.ZERO: 0, From.START: start, From.END: end}
    if position.anchor is From.TIME:
        assert at_time is not None
        found = end if at_time < 0 else at_time
    else:
        found = anchors[position.anchor] + position.number
    return min(max(found, start), end)

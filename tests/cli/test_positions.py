"""Where to begin and to stop: the words, and what they mean in a log."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykbroker.cli.positions import (
    END,
    START,
    STORED,
    From,
    Position,
    PositionError,
    offset_at,
    parse_ranges,
    parse_time,
)

NOW = 1_700_000_000_000
HOUR = 3_600_000


def at(time_ms: int) -> Position:
    return Position(From.TIME, time_ms)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("start", (START, None)),
        ("beginning", (START, None)),
        ("earliest", (START, None)),
        ("end", (END, None)),
        ("latest", (END, None)),
        ("17", (Position(From.ZERO, 17), None)),
        ("+17", (Position(From.START, 17), None)),
        ("-17", (Position(From.END, -17), None)),
        (":", (START, None)),
        (":end", (START, END)),
        ("5:", (Position(From.ZERO, 5), None)),
        ("5:end", (Position(From.ZERO, 5), END)),
        ("stored", (STORED, None)),
        ("5:9", (Position(From.ZERO, 5), Position(From.ZERO, 9))),
        ("start:+3", (START, Position(From.START, 3))),
        ("@1700000000", (at(NOW), None)),
        ("@1700000000:", (at(NOW), None)),
        ("@:1700000000", (START, at(NOW))),
        ("@1700000000:end", (at(NOW), END)),
        ("@1700000000:1000", (at(NOW), Position(From.ZERO, 1000))),
        ("@2022-02-14:1h", (at(1_644_796_800_000), at(1_644_800_400_000))),
        ("@2023-11-14T22:13:20Z:2023-11-14T22:13:21Z", (at(NOW), at(NOW + 1000))),
        ("@-48h:-24h", (at(NOW - 48 * HOUR), at(NOW - 24 * HOUR))),
        ("@-1m:end", (at(NOW - 60_000), END)),
        ("@:-1hr", (START, at(NOW - HOUR))),
        ("@1700000000000:@1700000001", (at(NOW), at(NOW + 1000))),
        ("@2023-11-14T22:13:20:@2023-11-14T22:13:21Z", (at(NOW), at(NOW + 1000))),
        ("@-2h:@-90s", (at(NOW - 7_200_000), at(NOW - 90_000))),
    ],
)
def test_range_is_read(text: str, expected: tuple[Position, Position | None]) -> None:
    assert parse_ranges([text], NOW) == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((), (START, None)),
        (("s@1700000000",), (at(1_700_000_000), None)),  # as kcat: always milliseconds
        (("e@1700000000000",), (START, at(NOW))),
        (("s@1", "e@2"), (at(1), at(2))),
        (("e@2", "5"), (Position(From.ZERO, 5), at(2))),
    ],
)
def test_beginning_and_end_may_have_words_of_their_own(
    texts: tuple[str, ...], expected: tuple[Position, Position | None]
) -> None:
    assert parse_ranges(texts, NOW) == expected


@pytest.mark.parametrize("texts", [("s@-1h", "e@end"), ("1", "2"), ("1:2", "e@3")])
def test_what_is_said_twice_or_is_no_time_is_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(PositionError):
        parse_ranges(texts, NOW)


@pytest.mark.parametrize("text", ["", "x", "1.5", "--1", "@", "@x", "@2023-13-01", "@-2y", "1:x", "@1:2:3", "9" * 19])
def test_what_is_no_position_is_refused(text: str) -> None:
    with pytest.raises(PositionError):
        parse_ranges([text], NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1700000000", NOW),
        ("1700000000000", NOW),
        ("2023-11-14T22:13:20Z", NOW),
        ("2023-11-14 22:13:20", NOW),
        ("2023-11-14T23:13:20+01:00", NOW),
        ("2023-11-14", 1_699_920_000_000),
        ("-1d", NOW - 86_400_000),
        ("1m3ms", NOW + 60_003),
        ("1.5h", NOW + 5_400_000),
        ("+3us", NOW),
        ("9" * 400 + "h", 2**63 - 1),
        ("1969-12-31T23:59:59.999Z", 0),
        ("-15m", NOW - 900_000),
        ("-99999999d", 0),
    ],
)
def test_time_is_read(text: str, expected: int) -> None:
    assert parse_time(text, NOW) == expected


@pytest.mark.parametrize(
    ("position", "at_time", "expected"),
    [
        (START, None, 10),
        (END, None, 20),
        (Position(From.ZERO, 15), None, 15),
        (Position(From.START, 3), None, 13),
        (Position(From.END, -3), None, 17),
        (at(NOW), 12, 12),
        (at(NOW), -1, 20),  # nothing is that young
    ],
)
def test_position_means_an_offset(position: Position, at_time: int | None, expected: int) -> None:
    assert offset_at(position, 10, 20, at_time) == expected


@given(
    st.sampled_from([From.ZERO, From.START, From.END]), st.integers(-100, 100), st.integers(0, 50), st.integers(0, 50)
)
def test_offset_is_within_the_log(anchor: From, number: int, start: int, size: int) -> None:
    assert start <= offset_at(Position(anchor, number), start, start + size) <= start + size

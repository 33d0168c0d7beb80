"""Regular expressions of clients: what they match, what is refused, and that none takes long."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pykbroker.errors import KafkaError
from pykbroker.pattern import Pattern
from wire.errors import ErrorCode

TEXTS = ("", "a", "b", "ab", "abb", "aab", "ba", "a-7", "a.b", "A", "\n", "aaa", "abab", "7", "[x]", "ab\n")
PATTERNS = (
    "", "a", ".", ".*", "a|b", "(a|b)*", "a+b?", "a{2}", "a{2,}", "(?:ab){1,2}", "[ab]+", "[^ab]", "[a-c]{2,3}", r"\d",
    r"a-\d", r"\D", r"a\.b", "a$", "^a", "(a|)b", "a*?b", r"\[x\]", "[]x[]+", "[a-]+-[7]", "(^a|b)$", "()", "a||b",
    r"[\d.ab]+", r"\w+", r"\s", r"[^\d]",
)  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_pattern_matches_what_the_library_matches(pattern: str) -> None:
    known = re.compile(pattern.replace("$", r"\Z"), re.ASCII)
    assert [text for text in TEXTS if Pattern(pattern).matches(text)] == [
        text for text in TEXTS if known.fullmatch(text)
    ]


@pytest.mark.parametrize(
    "pattern",
    ["(", ")", "a)", "[", "[a", "*", "a**", "a{2", "a{x}", "{2}", "a{3,2}", "a{1001}", "(?=a)",
     r"(a)\1", "\\", r"\q", "[b-a]",
     "[[:alpha:]]", "(a{1000}){1000}", "(" * 200 + ")" * 200, "(?P<n>a)"],
)  # fmt: skip
def test_pattern_that_is_not_known_is_refused(pattern: str) -> None:
    with pytest.raises(KafkaError) as raised:
        Pattern(pattern)
    assert raised.value.code is ErrorCode.INVALID_REGULAR_EXPRESSION


def test_case_may_be_ignored() -> None:
    assert Pattern("(?i)ab[c-d]").matches("AbD")
    assert not Pattern("ab").matches("AB")


def test_pattern_that_backtracking_would_never_finish_is_quick() -> None:
    assert not Pattern("(a|a)*(a|a)*(a+)+$").matches("a" * 200 + "b")


@settings(deadline=None)
@given(st.text("ab|()[]{}*+?.^$\\-12d", max_size=12), st.text("ab1", max_size=6))
def test_any_text_is_a_pattern_or_refused(pattern: str, text: str) -> None:
    try:
        compiled = Pattern(pattern)
    except KafkaError:
        return
    assert compiled.matches(text) in (True, False)

"""Output: colours where a person sees it, plain text elsewhere, and never what a terminal would obey."""

import io

import pytest

from wire.study.lines import Line, print_lines, shown

LINES: list[Line] = [[("name", "topic"), ("value", " = [bold]x")], []]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_file_gets_plain_text() -> None:
    file = io.StringIO()
    print_lines(LINES, file)
    assert file.getvalue() == "topic = [bold]x\n\n"


def test_terminal_gets_colours_and_no_markup_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    file = Terminal()
    print_lines(LINES, file)
    assert "\x1b[" in file.getvalue()
    assert "[bold]x" in file.getvalue()


def test_text_from_the_network_cannot_command_a_terminal() -> None:
    assert shown("a\x1b[31m\n\u202eb") == "'a\\x1b[31m\\n\\u202eb'"
    assert len(shown("x" * 1000)) < 130

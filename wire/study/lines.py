"""Lines of styled text: what all output of the study commands is made of, for terminals and for files.

Rules: text that comes from the network is shown with `shown`, so that no terminal takes it for anything but text.
"""

import sys
from collections.abc import Callable, Iterable
from typing import TextIO

Span = tuple[str, str]  # style, text
Line = list[Span]

STYLES = {
    "": "",
    "offset": "dim",
    "hex": "blue",
    "name": "bold",
    "type": "cyan",
    "value": "green",
    "note": "magenta",
    "comment": "dim italic",
    "error": "bold red",
    "title": "bold underline",
    "request": "bold cyan",
    "response": "bold green",
    "added": "green",
    "removed": "red",
    "changed": "yellow",
}


def plain(line: Line) -> str:
    return "".join(text for _, text in line).rstrip()


def shown(text: str, limit: int = 120) -> str:
    """Return text from the network in quotes, with everything escaped that is not to be printed."""
    return repr(text if len(text) <= limit else f"{text[:limit]}…")


class Printer:
    """Prints lines, with colours where a person sees them and rich is installed."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._print_styled: Callable[[Line], None] | None = _styled_printing(file) if file.isatty() else None

    def print(self, lines: Iterable[Line]) -> None:
        for line in lines:
            if self._print_styled is not None:
                self._print_styled(line)
            else:
                print(plain(line), file=self._file)


def _styled_printing(file: TextIO) -> Callable[[Line], None] | None:
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        return None
    console = Console(file=file, highlight=False)

    def print_styled(line: Line) -> None:
        console.print(Text.assemble(*((text, STYLES[style]) for style, text in line)), soft_wrap=True)

    return print_styled


def print_lines(lines: Iterable[Line], file: TextIO | None = None) -> None:
    """Print lines once; who prints again and again keeps a Printer."""
    Printer(file or sys.stdout).print(lines)

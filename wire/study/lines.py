"""Lines of styled text: what all output of the study commands is made of, for terminals and for files.

Rules: text that comes from the network is shown with `shown`, so that no terminal takes it for anything but text.
"""

import sys
from collections.abc import Iterable
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


def print_lines(lines: Iterable[Line], file: TextIO | None = None) -> None:
    """Print lines, with colours where a person sees them and rich is installed."""
    file = file or sys.stdout
    if file.isatty():
        try:
            from rich.console import Console
            from rich.text import Text
        except ImportError:
            pass
        else:
            console = Console(file=file, highlight=False)
            for line in lines:
                console.print(Text.assemble(*((text, STYLES[style]) for style, text in line)), soft_wrap=True)
            return
    for line in lines:
        print(plain(line), file=file)

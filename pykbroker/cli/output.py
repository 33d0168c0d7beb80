"""What commands print: tables for people, JSON for programs, bars for long work.

Rules
- Everything for stdout goes through `write`; when nobody reads it any more (`... | head`), the command ends quietly.
- A table is as wide as it has to be where stdout is no terminal: no value is cut.
- Bars are on stderr, and only on a terminal.
- Names, hosts, configs and messages come from strangers: control characters in them are shown as \\xNN, so that none
  of them reaches a terminal. What `consume` prints is what is in the records.
- Bytes that are no text stand in JSON as base64, under a name that says so.
"""

import base64
import contextlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from typing import Any

import typer

SIGPIPE_STATUS = 128 + 13
_WIDE = 100_000
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_ABOVE_ASCII = re.compile(r"[\x7f-\x9f]")


def write(data: str | bytes) -> None:
    """Write to stdout. Raises: typer.Exit where nobody reads any more."""
    try:
        sys.stdout.buffer.write(data if isinstance(data, bytes) else data.encode(errors="surrogateescape"))
    except BrokenPipeError:
        _end()


def flush() -> None:
    """Raises: typer.Exit where nobody reads any more."""
    try:
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        _end()


def _end() -> None:
    # What is still buffered would be written, and fail, once more when the interpreter ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(SIGPIPE_STATUS)


def say(line: str) -> None:
    write(printable(line) + "\n")
    flush()


def complain(message: str) -> None:
    """Say on stderr what is wrong, in a line."""
    print(f"pykbroker: {printable(message)}", file=sys.stderr)


def fail(message: str) -> "typer.Exit":
    """Say on stderr what is wrong, and return what ends the command with status 1."""
    complain(message)
    return typer.Exit(1)


def printable(text: str) -> str:
    """Return a text that cannot steer a terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def as_json(value: object, *, indent: int | None = None) -> str:
    # What json leaves as it is, though terminals obey it.
    return _ABOVE_ASCII.sub(
        lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False, indent=indent)
    )


def print_json(value: object) -> None:
    write(as_json(value, indent=2) + "\n")
    flush()


def json_line(value: object) -> str:
    return as_json(value) + "\n"


def named_bytes(name: str, data: bytes | None) -> dict[str, str | None]:
    """Return `data` as an entry of a JSON object: text where it is some, else base64."""
    if data is None:
        return {name: None}
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode()}


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str = "") -> None:
    """Print a table; numbers stand at the right."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    is_terminal = sys.stdout.isatty()
    table = Table(box=None, pad_edge=False, header_style="bold", title=title or None, title_justify="left")
    for number, name in enumerate(columns):
        is_number = bool(rows) and all(isinstance(row[number], int) or row[number] in ("", "-") for row in rows)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold", no_wrap=not is_terminal)
    for row in rows:
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    text = StringIO()
    Console(file=text, force_terminal=is_terminal, width=None if is_terminal else _WIDE).print(table)
    write("".join(line.rstrip() + "\n" for line in text.getvalue().removesuffix("\n").split("\n")))
    flush()


@contextlib.contextmanager
def progress(description: str, total: float | None, *, prints: bool = False) -> Iterator[Callable[[float], None]]:
    """Show a bar while the body runs; what is yielded takes how much has been done since it was last called.

    There is none without a total, nor where the body `prints` and both would be on one terminal.
    """
    if not total or not has_bars() or (prints and sys.stdout.isatty()):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)
    with bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.advance(task, done)


def has_bars() -> bool:
    return sys.stderr.isatty()


def ids(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))


def record_json(record: Any) -> dict[str, object]:
    """Return a consumed record as `produce --json-lines` reads it."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp,
        **named_bytes("key", record.key),
        **named_bytes("value", record.value),
        "headers": [{"name": name, **named_bytes("value", value)} for name, value in record.headers],
    }

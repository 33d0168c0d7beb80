"""What commands print: tables for people, JSON for programs, bars for long work.

Rules
- Everything for stdout goes through `write`; when nobody reads it any more (`... | head`), the command ends quietly.
- A table is as wide as it has to be where stdout is no terminal: no value is cut.
- Bars are on stderr, and only on a terminal.
- Bytes that are no text stand in JSON as base64, under a name that says so.
"""

import base64
import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from typing import Any

import typer

SIGPIPE_STATUS = 128 + 13
_WIDE = 100_000


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
    write(line + "\n")
    flush()


def fail(message: str) -> "typer.Exit":
    """Say on stderr what is wrong, and return what ends the command with status 1."""
    print(f"pykbroker: {message}", file=sys.stderr)
    return typer.Exit(1)


def print_json(value: object) -> None:
    say(json.dumps(value, ensure_ascii=False, indent=2))


def json_line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


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
        table.add_row(*(Text(str(cell)) for cell in row))
    text = StringIO()
    Console(file=text, force_terminal=is_terminal, width=None if is_terminal else _WIDE).print(table)
    write("".join(line.rstrip() + "\n" for line in text.getvalue().splitlines()))
    flush()


@contextlib.contextmanager
def progress(description: str, total: float | None, *, prints: bool = False) -> Iterator[Callable[[float], None]]:
    """Show a bar while the body runs; what is yielded takes how much has been done since it was last called.

    There is none without a total, nor where the body `prints` and both would be on one terminal.
    """
    if not total or not sys.stderr.isatty() or (prints and sys.stdout.isatty()):
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    bar = Progress(console=Console(stderr=True), transient=True)
    with bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.advance(task, done)


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

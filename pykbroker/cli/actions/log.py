"""What `pykbroker log dump` does: print what is in files, a line for each entry."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import typer

from pykbroker.cli import log_files
from pykbroker.cli.log_files import Entry
from pykbroker.cli.output import as_json, complain, fail, json_line, printable, progress, say, write

_INDENT = "  "


def dump(paths: Sequence[Path], *, records: bool, topic: str, json: bool) -> None:
    """Raises: typer.Exit where something cannot be read, or is damaged."""
    damage = 0
    try:
        found = {file: size for path in paths for file, size in _files(path)}
        with progress("dump", sum(found.values()), prints=True) as advance:
            for file, size in found.items():
                if not log_files.is_readable(file):
                    raise fail(
                        f"{file} is no file of a log: they end in .log, .index, .timeindex, .txnindex, .snapshot"
                    )
                try:
                    damage += _dump_file(file, size, advance, records=records, topic=topic, json=json)
                except FileNotFoundError:  # a broker that runs has removed it meanwhile
                    complain(f"{file} is gone")
    except OSError as error:
        raise fail(f"{error.filename}: {error.strerror}") from None
    if damage:
        raise typer.Exit(1)


def _files(path: Path) -> Iterator[tuple[Path, int]]:
    """Yield what a path names, and how large each file is."""
    if not path.is_dir():
        yield path, path.stat().st_size
        return
    for file in log_files.files_in(path):
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            yield file, file.stat().st_size


def _dump_file(
    file: Path, size: int, advance: Callable[[float], None], *, records: bool, topic: str, json: bool
) -> int:
    """Print one file; return how many damaged places it has."""
    if not json:
        say(f"{file}")
    decoder = log_files.decoder_for(topic) if topic else log_files.decoder_of(file)
    damage = reached = 0
    for entry in log_files.read_file(file, records=records, decoder=decoder):
        if entry["kind"] == "damage" or entry.get("crc") == "wrong":
            damage += 1
            text = entry.get("text", "a batch whose CRC is wrong")
            complain(f"{file}: position {entry['position']}: {text}")
        write(json_line({"file": str(file), **entry}) if json else _line(entry))
        position = entry.get("position")
        if entry["kind"] == "batch" and isinstance(position, int):
            advance(position - reached)
            reached = position
    advance(size - reached)
    return damage


def _line(entry: Entry) -> str:
    if entry["kind"] == "line":
        return f"{_INDENT}{printable(str(entry['text']))}\n"
    depth = 2 if entry["kind"] == "record" else 1
    shown = " ".join(f"{name}={_shown(value)}" for name, value in entry.items() if name != "kind")
    return f"{_INDENT * depth}{shown}\n"


def _shown(value: object) -> str:
    shown = as_json(value)
    return shown[1:-1] if isinstance(value, str) else shown

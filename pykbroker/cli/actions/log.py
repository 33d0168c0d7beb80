"""What `pykbroker log dump` does: print what is in files, a line for each entry."""

import json as json_module
import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from pykbroker.cli import log_files
from pykbroker.cli.log_files import Entry
from pykbroker.cli.output import fail, json_line, progress, say, write

_INDENT = "  "


def dump(paths: Sequence[Path], *, records: bool, topic: str, json: bool) -> None:
    """Raises: typer.Exit where something cannot be read, or is damaged."""
    try:
        files = [file for path in paths for file in (log_files.files_in(path) if path.is_dir() else [path])]
        damage = 0
        with progress("dump", sum(file.stat().st_size for file in files), prints=True) as advance:
            for file in files:
                if not log_files.is_readable(file):
                    raise fail(
                        f"{file} is no file of a log: they end in .log, .index, .timeindex, .txnindex, .snapshot"
                    )
                damage += _dump_file(file, records=records, topic=topic, json=json)
                advance(file.stat().st_size)
    except OSError as error:
        raise fail(f"{error.filename}: {error.strerror}") from None
    if damage:
        raise typer.Exit(1)


def _dump_file(file: Path, *, records: bool, topic: str, json: bool) -> int:
    """Print one file; return how many damaged places it has."""
    decoder = log_files.decoder_for(topic) if topic else log_files.decoder_of(file)
    if not json:
        say(f"{file}")
    damage = 0
    for entry in log_files.read_file(file, records=records, decoder=decoder):
        if entry["kind"] == "damage" or entry.get("crc") == "wrong":
            damage += 1
            text = entry.get("text", "a batch whose CRC is wrong")
            print(f"pykbroker: {file}: position {entry['position']}: {text}", file=sys.stderr)
        write(json_line({"file": str(file), **entry}) if json else _line(entry))
    return damage


def _line(entry: Entry) -> str:
    if entry["kind"] == "line":
        return f"{_INDENT}{entry['text']}\n"
    depth = 2 if entry["kind"] == "record" else 1
    shown = " ".join(f"{name}={_shown(value)}" for name, value in entry.items() if name != "kind")
    return f"{_INDENT * depth}{shown}\n"


def _shown(value: object) -> str:
    return str(value) if isinstance(value, int) else json_module.dumps(value, ensure_ascii=False).strip('"')

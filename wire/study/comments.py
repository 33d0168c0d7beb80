"""What a declaration says about its fields: the comments behind the lines or before them, and the docstring's versions.

The sources of wire.messages are the documentation of the protocol; this reads them, so that nothing is said twice.
"""

import ast
import functools
import inspect
import io
import re
import sys
import tokenize
from collections.abc import Mapping
from typing import Any

_VERSION = re.compile(r"- (\d+(?:(?:, | to )\d+)*): ?(.*)")


def field_comment(cls: type[Any], name: str) -> str:
    """Return what is said about a field, "" where its name says it all."""
    return _comments(cls.__module__).get((cls.__name__, name), "")


def summary(cls: type[Any]) -> str:
    """Return what a message is for: the docstring's text before the list of versions, one line a paragraph."""
    text, _ = _split_docstring(inspect.getdoc(cls) or "")
    return text


def version_notes(cls: type[Any]) -> Mapping[int, str]:
    """Return what each version brought, as far as it is said."""
    _, notes = _split_docstring(inspect.getdoc(cls) or "")
    return notes


def _split_docstring(doc: str) -> tuple[str, dict[int, str]]:
    paragraphs: list[list[str]] = [[]]
    notes: dict[int, str] = {}
    last: list[int] = []  # the versions that the line before was about
    for line in doc.splitlines():
        match = _VERSION.fullmatch(line)
        if match:
            last = _numbers(match[1])
            notes |= dict.fromkeys(last, match[2].strip())
        elif last and line.startswith("  "):
            notes |= {version: f"{notes[version]} {line.strip()}" for version in last}
        elif not line.strip():
            last = []
            paragraphs.append([])
        else:
            paragraphs[-1].append(line.strip())
    return "\n".join(" ".join(lines) for lines in paragraphs if lines), notes


def _numbers(text: str) -> list[int]:
    """Read versions as they stand before a colon: "5", "5, 6" or "5 to 8"."""
    first, _, last = text.partition(" to ")
    return list(range(int(first), int(last) + 1)) if last else [int(number) for number in text.split(", ")]


@functools.cache
def _comments(module: str) -> Mapping[tuple[str, str], str]:
    """Read the comments of all fields of a module. Without its source there are none."""
    try:
        source = inspect.getsource(sys.modules[module])
    except (OSError, KeyError):
        return {}
    by_line = {
        token.start[0]: (token.string.lstrip("# "), not token.line[: token.start[1]].strip())
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    found = {}
    for cls in ast.walk(ast.parse(source)):
        if not isinstance(cls, ast.ClassDef):
            continue
        for field in cls.body:
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                text = _comment_of(field, by_line)
                if text:
                    found[cls.name, field.target.id] = text
    return found


def _comment_of(field: ast.AnnAssign, by_line: Mapping[int, tuple[str, bool]]) -> str:
    lines: list[str] = []
    line = field.lineno - 1
    while line in by_line and by_line[line][1]:
        lines.insert(0, by_line[line][0])
        line -= 1
    trailing = by_line.get(field.end_lineno or field.lineno)
    if trailing is not None and not trailing[1]:
        lines.append(trailing[0])
    return " ".join(lines)

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

_MEANING = re.compile(r"(?:^|: |^or )(-?\d+):? (?!or )(.+)")
# Fields that mean the same everywhere, and have no comment in their declarations (wire.messages says so).
COMMON_COMMENTS: Mapping[str, str] = {
    "throttle_time_ms": "how long a quota holds the client back",
    "error_message": "for people; null where the code says it all",
    "group_instance_id": "a static member's name; null: a dynamic member",
    "generation_id": "counts the rebalances of the group",
    "transactional_id": "by which a producer is known again after a restart",
    "producer_id": "-1: not idempotent",
    "producer_epoch": "a producer with a lower one is fenced",
    "leader_epoch": "counts the leaders that the partition has had",
}
# What no class declares: (kind of the node above, name) -> what it is.
FORMAT_COMMENTS: Mapping[tuple[str, str], str] = {
    ("RequestHeader", "correlation_id"): "the answer repeats it",
    ("RequestHeader", "client_id"): "as the client calls itself, in quotas and logs",
    ("ResponseHeader", "correlation_id"): "of the request that this answers",
    ("RecordBatch", "base_offset"): "of the first record, set by the broker",
    ("RecordBatch", "batch_length"): "of all that follows",
    ("RecordBatch", "partition_leader_epoch"): "of the leader that took it, set by the broker",
    ("RecordBatch", "magic"): "the format",
    ("RecordBatch", "crc"): "CRC-32C of all that follows",
    ("RecordBatch", "last_offset_delta"): "from the first record's offset to the last one's",
    ("RecordBatch", "base_timestamp"): "records count from it",
    ("RecordBatch", "producer_id"): "-1: not idempotent",
    ("RecordBatch", "producer_epoch"): "a producer with a lower one is fenced",
    ("RecordBatch", "base_sequence"): "of the first record: by it the broker knows what it has already",
    ("Record", "length"): "of all that follows",
    ("Record", "attributes"): "not used",
    ("Record", "timestamp_delta"): "from the batch's base_timestamp",
    ("Record", "offset_delta"): "from the batch's base_offset",
    ("Message", "message_size"): "of all that follows",
    ("Message", "crc"): "CRC-32 of all that follows",
    ("Message", "magic"): "the format",
}

_VERSION = re.compile(r"- (\d+(?:(?:, | to )\d+)*): ?(.*)")


def field_comment(cls: type[Any], name: str) -> str:
    """Return what is said about a field, "" where its name says it all."""
    return _comments(cls.__module__).get((cls.__name__, name), "")


def value_meaning(comment: str, value: int) -> str:
    """Return what a comment says of one value: it lists them as "0 set, 1 delete" or as "-1: not known"."""
    return _meanings(comment).get(value, "")


@functools.lru_cache(maxsize=4096)
def _meanings(comment: str) -> Mapping[int, str]:
    return {int(match[1]): match[2] for part in re.split("[,;] ", comment) if (match := _MEANING.search(part))}


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

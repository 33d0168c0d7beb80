"""One line for a frame: when, who, what, and the fields that say something.

Fields at the usual values of their types are left out, errors come first, and a line has an end.
"""

import datetime
from collections import OrderedDict
from collections.abc import Iterator

from wire.catalog import API_BY_KEY
from wire.study.exchanges import MAX_OUTSTANDING, Direction, TracedFrame
from wire.study.lines import Line, shown
from wire.study.show_tree import value_text
from wire.study.streams import Missing
from wire.study.trace import Lost
from wire.study.tree import TAGS, Node

MAX_FIELDS_TEXT = 160
_USUAL = (0, "", None, False, -1)
# What 0 means something for.
_ALWAYS = frozenset(
    {
        "partition",
        "partition_index",
        "index",
        "api_key",
        "producer_id",
        "offset",
        "fetch_offset",
        "base_offset",
        "committed_offset",
        "high_watermark",
    }
)
_LEFT_OUT = frozenset({"throttle_time_ms", "cluster_id"})


class Summaries:
    """Makes the lines; it knows when each request came, to say how long its answer took."""

    def __init__(self) -> None:
        self._asked_us: OrderedDict[tuple[str, int | None], int] = OrderedDict()

    def line(self, number: int, frame: TracedFrame, tree: Node) -> Line:
        is_request = frame.direction is Direction.REQUEST
        api = API_BY_KEY.get(frame.api_key)
        name = f"{api.name} v{frame.api_version}" if api else "unknown"
        line: Line = [
            ("offset", f"{number:>5} {time_of_day(frame.time_us)} "),
            ("", f"{_printable(frame.peer)} "),
            ("request" if is_request else "response", f"{'>' if is_request else '<'} {name}"),
        ]
        if api:
            line.append(("note", f" #{frame.correlation_id}"))
        line.append(("type", f" {len(frame.data) + frame.missing_bytes} B"))
        took = self._took(frame)
        if took is not None:
            line.append(("type", f" {took:.1f} ms"))
        if is_request and api:
            client_id = tree.find("header", "client_id")
            if client_id is not None and isinstance(client_id.value, str):
                line.append(("name", f" {shown(client_id.value, 40)}"))
        errors = _errors(tree)
        if errors:
            line.append(("error", f" {errors}"))
        body = tree.child("body")
        if body is not None:
            line.append(("value", f" {_cut(_fields(body))}"))
        return line

    def pass_over(self, frame: TracedFrame) -> None:
        """Take note of a frame that gets no line."""
        self._took(frame)

    def _took(self, frame: TracedFrame) -> float | None:
        key = (frame.connection, frame.correlation_id)
        if frame.direction is Direction.REQUEST:
            self._asked_us[key] = frame.time_us
            if len(self._asked_us) > MAX_OUTSTANDING:
                self._asked_us.popitem(last=False)
            return None
        asked = self._asked_us.pop(key, None)
        return None if asked is None else (frame.time_us - asked) / 1000


def missing_line(missing: Missing | Lost) -> Line:
    if isinstance(missing, Lost):
        return [("error", f"      {time_of_day(missing.time_us)} {missing.count} frames were not recorded")]
    end = "client" if missing.direction is Direction.REQUEST else "broker"
    text = f"{missing.count} bytes of the {end} are missing or not understood"
    return [("error", f"      {time_of_day(missing.time_us)} {_printable(missing.connection)}: {text}")]


def time_of_day(time_us: int) -> str:
    seconds, us = divmod(time_us, 1_000_000)
    try:
        return f"{datetime.datetime.fromtimestamp(seconds, datetime.UTC):%H:%M:%S}.{us:06}"
    except (ValueError, OverflowError, OSError):
        return "??:??:??"


def _printable(text: str) -> str:
    return shown(text, 100)[1:-1]


def _errors(tree: Node) -> str:
    """Return the names of the errors that an answer has, and what could not be read."""
    names: dict[str, None] = {}
    for node in tree.walk():
        if node.error:
            names[f"({node.error})"] = None
        elif node.name.endswith("error_code") and node.value != 0 and node.note:
            names[node.note] = None
    return " ".join(list(names)[:5])


def _cut(words: Iterator[str]) -> str:
    text = ""
    for word in words:
        text += word
        if len(text) > MAX_FIELDS_TEXT:
            return f"{text[:MAX_FIELDS_TEXT]}…"
    return text


def _fields(node: Node) -> Iterator[str]:
    """Yield the fields of a struct as short words, one after the other, as far as somebody reads them."""
    separator = ""
    for child in _parts(node):
        if child.name in _LEFT_OUT or child.name.endswith("error_code") or child.error:
            continue
        if child.is_container and child.children:
            parts = [part for part in child.children if part.name.startswith("[")]
            if child.kind.startswith("["):
                if not parts:
                    continue
                yield f"{separator}{child.name}=["
                yield from _elements(parts)
                yield "]"
            else:
                yield f"{separator}{child.name}={{"
                yield from _fields(child)
                yield "}"
        elif child.is_container or (child.value in _USUAL and child.name not in _ALWAYS) or child.note == "none":
            continue
        elif child.kind == "records":
            if not child.children[-1].children:
                continue
            yield f"{separator}{child.name}={_records(child.children[-1])}"
        else:
            yield f"{separator}{child.name}={_short(child)}"
        separator = " "


def _parts(node: Node) -> Iterator[Node]:
    for child in node.children:
        if child.name == TAGS:
            for tag in child.children:
                yield from tag.children[2:]
        elif child.name not in ("is_there", "count"):
            yield child


def _elements(parts: list[Node]) -> Iterator[str]:
    for index, part in enumerate(parts):
        yield " " if index else ""
        if part.is_container:
            yield "{"
            yield from _fields(part)
            yield "}"
        else:
            yield _short(part)


def _records(content: Node) -> str:
    batches = content.children
    count = sum(found.value for batch in batches if (found := batch.child("record_count")))
    count += sum(batch.kind == "Message" for batch in batches)
    return f"{count} records in {content.end - content.start} B"


def _short(node: Node) -> str:
    if node.kind == "uuid":
        return node.note
    if isinstance(node.value, str):
        return shown(node.value, 60)
    if isinstance(node.value, bytes):
        return f"{len(node.value)} B"
    return value_text(node)

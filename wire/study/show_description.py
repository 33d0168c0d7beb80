"""Show descriptions of messages and differences between versions as lines."""

from collections.abc import Iterator, Mapping

from wire.study.describe import Description, Message, MessageDiff
from wire.study.lines import Line

_SIGNS = {"+": "added", "-": "removed", "~": "changed"}


def description_lines(description: Description) -> Iterator[Line]:
    title = description.name if description.key is None else f"{description.name} (key {description.key})"
    served = description.served
    yield [("title", title), ("note", f"  versions {served}" if served != "none" else "  not served any more")]
    for message in description.messages:
        yield []
        yield from _message(message, alone=len(description.messages) == 1)


def _message(message: Message, *, alone: bool) -> Iterator[Line]:
    if not alone:
        yield [("title", message.name), ("note", f"  flexible {message.flexible}" if message.flexible else "")]
    for paragraph in message.about.splitlines():
        yield [("", f"  {paragraph}")]
    yield from _notes(message.notes)
    if not message.fields:
        yield [("comment", "  no fields")]
        return
    names = max(2 * field.depth + len(field.name) for field in message.fields)
    types = max(len(field.type) for field in message.fields)
    for field in message.fields:
        name = "  " * field.depth + field.name
        line: Line = [
            ("name", f"    {name:{names}}"),
            ("type", f"  {field.type:{types}}"),
            ("value", f"  {field.versions:6}"),
        ]
        facts = []
        if field.tag is not None:
            facts.append(f"tag {field.tag}")
        if field.nullable:
            facts.append("nullable" if field.nullable == field.versions else f"nullable {field.nullable}")
        if field.default:
            facts.append(f"default {field.default}")
        line.append(("note", f"  {', '.join(facts)}" if facts else ""))
        line.append(("comment", f"  # {field.about}" if field.about else ""))
        yield line


def _notes(notes: Mapping[int, str]) -> Iterator[Line]:
    for version, note in notes.items():
        yield [("value", f"    v{version:<3}"), ("", f" {note}")]


def diff_lines(diffs: tuple[MessageDiff, ...], old: int, new: int) -> Iterator[Line]:
    for number, diff in enumerate(diffs):
        if number:
            yield []
        yield [("title", diff.name), ("note", f"  v{old} to v{new}")]
        yield from _notes(diff.notes)
        if not diff.changes:
            yield [("comment", "  the same bytes")]
        for change in diff.changes:
            style = _SIGNS[change.sign]
            what = f"{change.path}: {change.what}" if change.path else change.what
            yield [(style, f"  {change.sign} {what}"), ("comment", f"  # {change.about}" if change.about else "")]

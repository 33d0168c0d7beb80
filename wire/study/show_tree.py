"""Show an annotated tree: as lines for people, as JSON for programs.

A line is `offset bytes  name: type = value  note  # comment`. A comment of the declaration stands at the first place
where its field occurs. Offsets in what was decompressed begin with a tilde.
"""

from collections.abc import Iterator
from typing import Any

from wire.study.comments import COMMON_COMMENTS, FORMAT_COMMENTS, field_comment, value_meaning
from wire.study.lines import Line, shown
from wire.study.tree import Node, NoValue

HEX_BYTES = 8
MAX_SHOWN_BYTES = 32
_HEX_WIDTH = 2 * HEX_BYTES + 1


def tree_lines(root: Node, buffer: bytes | bytearray, *, expand: bool = False, base: int = 0) -> Iterator[Line]:
    """Show a tree; `expand`: the parts of a string and of other values in lines of their own, too.

    `base` is where the buffer lies in its file.
    """
    yield [("title", root.name), ("type", f"  {len(buffer)} bytes")]
    shower = _Shower(expand, base)
    for child in root.children:
        yield from shower.lines(child, buffer, 0, "", root)


class _Shower:
    def __init__(self, expand: bool, base: int) -> None:
        self._expand = expand
        self._base = base
        self._explained: set[tuple[object, str]] = set()

    def lines(
        self, node: Node, buffer: bytes | bytearray, depth: int, mark: str, above: Node | None = None
    ) -> Iterator[Line]:
        is_value = not node.is_container
        held = buffer[node.start : node.end] if is_value or not node.children else b""
        offset = f"{mark}{node.start + (0 if mark else self._base)}"
        line: Line = [
            ("offset", f"{offset:>7}  "),
            ("hex", f"{_hex(held, node.is_secret):{_HEX_WIDTH}} "),
            ("", "  " * depth),
            ("name", node.name),
            ("type", f": {node.kind}"),
        ]
        if is_value:
            line.append(("value", f" = {value_text(node)}"))
        comment = comment_of(node, above)
        note = note_of(node, comment or comment_of(above))
        if note:
            line.append(("note", f"  {note}"))
        if node.error:
            line.append(("error", f"  <-- {node.error}"))
        if comment and self._is_new(node, above):
            line.append(("comment", f"  # {comment}"))
        yield line
        for child in self._shown_children(node):
            yield from self.lines(child, buffer, depth + 1, mark, node)
        if node.inner is not None:
            inner = node.inner
            yield [("", " " * (10 + _HEX_WIDTH + 2 * depth + 2)), ("title", f"{inner.name}, {len(inner.buffer)} bytes")]
            yield from self.lines(inner.root, inner.buffer, depth + 1, f"{mark}~")

    def _shown_children(self, node: Node) -> list[Node]:
        if node.is_container or self._expand:
            return node.children
        content = node.children[-1] if node.children else None
        return content.children if content is not None else []

    def _is_new(self, node: Node, above: Node | None) -> bool:
        """Tell whether a comment has not been shown yet."""
        key = (node.owner or (above.kind.split()[0] if above is not None else ""), node.name)
        if key in self._explained:
            return False
        self._explained.add(key)
        return True


def comment_of(node: Node | None, above: Node | None = None) -> str:
    """Return what is said about a field, where it is declared or as a part of the node above it."""
    if node is None:
        return ""
    if node.owner is not None:
        return field_comment(node.owner, node.name) or COMMON_COMMENTS.get(node.name, "")
    return FORMAT_COMMENTS.get((above.kind.split()[0], node.name), "") if above is not None else ""


def note_of(node: Node, comment: str) -> str:
    """Return what a value means: what the tree says of it, or the comment of its field, or of the array it is in."""
    if node.note or node.is_container or isinstance(node.value, bool) or not isinstance(node.value, int):
        return node.note
    return value_meaning(comment, node.value)


def value_text(node: Node) -> str:
    value = node.value
    if node.is_secret or value is NoValue.HIDDEN:
        return f"({node.end - node.start} bytes, hidden)"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return shown(value, 400)
    if isinstance(value, bytes):
        if node.kind == "uuid":
            return value.hex()
        if _is_shown_below(node):
            return f"{len(value)} bytes"
        text = repr(value[:MAX_SHOWN_BYTES])[1:]
        return f"{text}… ({len(value)} bytes)" if len(value) > MAX_SHOWN_BYTES else text
    return str(value)


def _is_shown_below(node: Node) -> bool:
    """Tell whether what is inside of bytes is below: of themselves, or of their content."""
    return any(child.kind != "bytes" or child.children for child in node.children[-1:])


def tree_json(node: Node, above: Node | None = None) -> dict[str, Any]:
    """Return a tree as what JSON knows; bytes are hexadecimal text, where they are not below; secrets are null."""
    made: dict[str, Any] = {"name": node.name, "type": node.kind, "start": node.start, "end": node.end}
    if not node.is_container:
        value = None if node.is_secret or node.value is NoValue.HIDDEN else node.value
        if not isinstance(value, bytes):
            made["value"] = value
        elif not _is_shown_below(node):
            made["value"] = value.hex()
    if node.is_secret:
        made["hidden"] = True
    comment = comment_of(node, above)
    note = note_of(node, comment or comment_of(above))
    for name, text in (("note", note), ("error", node.error), ("comment", comment)):
        if text:
            made[name] = text
    if node.children:
        made["children"] = [tree_json(child, node) for child in node.children]
    if node.inner is not None:
        made["inner"] = {
            "name": node.inner.name,
            "bytes": len(node.inner.buffer),
            "tree": tree_json(node.inner.root),
        }
    return made


def _hex(held: bytes | bytearray, is_secret: bool) -> str:
    if is_secret:
        return "**" if held else ""
    text = held[:HEX_BYTES].hex()
    return f"{text[:-1]}…" if len(held) > HEX_BYTES else text

"""Show an annotated tree: as lines for people, as JSON for programs.

A line is `offset bytes  name: type = value  note  # comment`. A comment of the declaration stands at the first place
where its field occurs. Offsets in what was decompressed begin with a tilde.
"""

from collections.abc import Iterator
from typing import Any

from wire.study.comments import field_comment
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
        yield from shower.lines(child, buffer, 0, "")


class _Shower:
    def __init__(self, expand: bool, base: int) -> None:
        self._expand = expand
        self._base = base
        self._explained: set[tuple[type[Any], str]] = set()

    def lines(self, node: Node, buffer: bytes | bytearray, depth: int, mark: str) -> Iterator[Line]:
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
        if node.note:
            line.append(("note", f"  {node.note}"))
        if node.error:
            line.append(("error", f"  <-- {node.error}"))
        comment = self._comment(node)
        if comment:
            line.append(("comment", f"  # {comment}"))
        yield line
        for child in self._shown_children(node):
            yield from self.lines(child, buffer, depth + 1, mark)
        if node.inner is not None:
            inner = node.inner
            yield [("", " " * (10 + _HEX_WIDTH + 2 * depth + 2)), ("title", f"{inner.name}, {len(inner.buffer)} bytes")]
            yield from self.lines(inner.root, inner.buffer, depth + 1, f"{mark}~")

    def _shown_children(self, node: Node) -> list[Node]:
        if node.is_container or self._expand:
            return node.children
        content = node.children[-1] if node.children else None
        return content.children if content is not None else []

    def _comment(self, node: Node) -> str:
        if node.owner is None or (node.owner, node.name) in self._explained:
            return ""
        self._explained.add((node.owner, node.name))
        return field_comment(node.owner, node.name)


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


def tree_json(node: Node) -> dict[str, Any]:
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
    for name in ("note", "error"):
        if getattr(node, name):
            made[name] = getattr(node, name)
    if node.owner is not None:
        comment = field_comment(node.owner, node.name)
        if comment:
            made["comment"] = comment
    if node.children:
        made["children"] = [tree_json(child) for child in node.children]
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

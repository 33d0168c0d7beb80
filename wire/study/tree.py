"""The annotated tree of decoded bytes: every node says which bytes it is, what they are called and what they mean.

Rules
- The leaves below a node cover its bytes exactly once, in order: nothing is left out, nothing is explained twice. Parts
  of a value (a string's length and its text) are leaves like all others; the value stands at the node above them.
- Bytes that had to be decompressed first are a tree in a buffer of their own (`inner`), whose offsets count from there.
- What could not be read is a node of its own with `error`, where it broke, to the end of what was given.
- A secret keeps its place in the tree and loses its value and its bytes (`hidden`).

Not here: how bytes become a tree (walk, records, frames), how it is shown (show_tree).
"""

from collections.abc import Iterator
from enum import Enum
from typing import Any

import attrs


class NoValue(Enum):
    """What a node has that is but the sum of its parts, and what a secret has."""

    CONTAINER = "container"
    HIDDEN = "hidden"


@attrs.define(eq=False)
class Node:
    name: str  # of the field, "[3]" for an element, or what the bytes are called elsewhere
    kind: str  # "int32", "string", "FetchTopic", "uvarint" …
    start: int
    end: int  # exclusive
    value: Any = NoValue.CONTAINER
    note: str = ""  # what the value means: an error's name, a time, a text form
    owner: type[Any] | None = None  # the class that declares the field
    children: list["Node"] = attrs.field(factory=list)
    inner: "Inner | None" = None
    error: str = ""
    is_secret: bool = False

    @property
    def is_container(self) -> bool:
        return self.value is NoValue.CONTAINER

    def walk(self) -> Iterator["Node"]:
        """Yield this node and all below it in the order of their bytes, inner trees left out."""
        below = [self]
        while below:
            node = below.pop()
            yield node
            below += reversed(node.children)

    def walk_all(self) -> Iterator["Node"]:
        """Yield what `walk` does, and the nodes of inner trees behind the node that they lie in."""
        for node in self.walk():
            yield node
            if node.inner is not None:
                yield from node.inner.root.walk_all()

    def leaves(self) -> Iterator["Node"]:
        return (node for node in self.walk() if not node.children)

    def errors(self) -> Iterator["Node"]:
        return (node for node in self.walk_all() if node.error)

    def child(self, name: str) -> "Node | None":
        return next((child for child in self.children if child.name == name), None)

    def find(self, *names: str) -> "Node | None":
        """Go down by names; tagged fields are found like the others."""
        node: Node | None = self
        for name in names:
            if node is None:
                return None
            found = node.child(name)
            if found is None and (tags := node.child(TAGS)) is not None:
                found = next((part for tag in tags.children if (part := tag.child(name))), None)
            node = found
        return node

    def hide_value(self) -> None:
        """Take the value of this node alone away: what is below it says itself what is secret of it."""
        self.is_secret = True
        self.value = NoValue.HIDDEN

    def hide(self) -> None:
        """Take the value away, and mark the bytes as not to be shown. Null is no secret."""
        if self.value is None:
            self.is_secret = False
            return
        for node in self.walk():
            node.is_secret = True
            if not node.is_container:
                node.value = NoValue.HIDDEN
            node.note = ""
            node.inner = None


@attrs.frozen(eq=False)
class Inner:
    """A tree in another buffer than the node that it belongs to."""

    name: str  # such as "gzip, decompressed"
    buffer: bytes
    root: Node


TAGS = "tagged_fields"

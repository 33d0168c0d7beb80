"""Read any message into an annotated tree, field by field as its declaration says: what the codec does, shown.

    tree = walk_message(FetchRequest, 13, frame, pos, len(frame))

Rules
- The same schemas as the codec's, and the same verdicts: a tree has an error where `codec.decode` raises, and the same
  values where it does not (tests hold the two against each other).
- Whatever the bytes are, there is a tree: it shows what was understood, and says where and why it broke.
- A tree has at most `max_nodes` nodes (NO_LIMIT: as many as its bytes make), and not more than MAX_DECOMPRESSED_BYTES
  are decompressed for it; where it would take more, it breaks off like malformed bytes.
- What lies inside bytes and records is not this module's affair: `contents` is asked, for each such field.

Not here: headers (frames), record batches (records), messages inside of messages (contents).
Sources: KIP-482, KIP-893.
"""

import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from wire.errors import ProtocolError
from wire.primitives import MAX_STRING_BYTES, MAX_TAGS, Buffer, read_uvarint, read_varint, read_varlong
from wire.schema import FieldSpec, Kind, spec_of
from wire.study.explain import explain
from wire.study.tree import TAGS, Node

MAX_NODES = 200_000
NO_LIMIT = sys.maxsize
MAX_DECOMPRESSED_BYTES = 64 * 1024 * 1024  # of all batches in a tree

_FORMATS = {
    Kind.BOOL: struct.Struct(">?"),
    Kind.INT8: struct.Struct(">b"),
    Kind.INT16: struct.Struct(">h"),
    Kind.UINT16: struct.Struct(">H"),
    Kind.INT32: struct.Struct(">i"),
    Kind.UINT32: struct.Struct(">I"),
    Kind.INT64: struct.Struct(">q"),
    Kind.FLOAT64: struct.Struct(">d"),
    Kind.UUID: struct.Struct("16s"),
}

# Asked of bytes and records that are not null: (walker, the field's node, the node of its struct).
Contents = Callable[["Walker", Node, Node], None]


class Walker:
    """A position in a buffer, and the nodes that are open there."""

    def __init__(
        self,
        buffer: Buffer,
        root: Node,
        *,
        max_nodes: int = MAX_NODES,
        contents: "Contents | None" = None,
    ) -> None:
        self.buffer = memoryview(buffer)
        self.pos = root.start
        self.end = root.end  # exclusive; what follows is not to be read now
        self.open: list[Node] = [root]
        self.nodes_left = max_nodes
        self.contents = contents
        self.decompressed_bytes_left = MAX_DECOMPRESSED_BYTES

    def inside(self, buffer: Buffer, root: Node, read: "Callable[[Walker], None]") -> bool:
        """Read what lies below `root`, in this buffer or in another; return whether it did not break.

        It counts for the same tree.
        """
        walker = Walker(buffer, root, max_nodes=self.nodes_left, contents=self.contents)
        walker.decompressed_bytes_left = self.decompressed_bytes_left
        is_whole = walker.guarded(lambda: read(walker))
        self.nodes_left = walker.nodes_left
        self.decompressed_bytes_left = walker.decompressed_bytes_left
        return is_whole

    # Nodes

    def leaf(self, name: str, type_: str, start: int, value: object, note: str = "") -> Node:
        """Add a node for the bytes from `start` to here."""
        self._charge()
        node = Node(name, type_, start, self.pos, value, note)
        self.open[-1].children.append(node)
        return node

    @contextmanager
    def group(self, name: str, type_: str) -> Iterator[Node]:
        """Open a node; what is read meanwhile is below it. It stays open where reading breaks off."""
        self._charge()
        node = Node(name, type_, self.pos, self.pos)
        self.open[-1].children.append(node)
        self.open.append(node)
        yield node
        node.end = self.pos
        self.open.pop()

    def guarded(self, read: Callable[[], None]) -> bool:
        """Do some reading, and return whether it did not break. Where it does, the rest is marked as not understood."""
        depth, end = len(self.open), self.end
        try:
            read()
        except (ProtocolError, IndexError, struct.error) as error:
            self.end = end
            self._break_off(str(error) if isinstance(error, ProtocolError) else "the bytes end here", depth)
            return False
        return True

    def _break_off(self, why: str, depth: int) -> None:
        start, self.pos = self.pos, self.end
        node = Node("?", "bytes", start, self.end, bytes(self.buffer[start : self.end]), error=why)
        node.owner = self.open[-1].owner
        self.open[-1].children.append(node)
        while len(self.open) > depth:
            self.open.pop().end = self.pos
        self.nodes_left = max(self.nodes_left, 0)

    def _charge(self) -> None:
        self.nodes_left -= 1
        if self.nodes_left < 0:
            raise ProtocolError("there is more, but the tree is large enough")

    # Primitives: they move `pos` only over what was read

    def fixed(self, name: str, kind: Kind) -> Node:
        format = _FORMATS[kind]
        if format.size > self.end - self.pos:
            raise ProtocolError(f"{name} takes {format.size} bytes, and {self.end - self.pos} are left")
        (value,) = format.unpack_from(self.buffer, self.pos)
        self.pos += format.size
        return self.leaf(name, str(kind), self.pos - format.size, value)

    def uvarint(self, name: str, note: Callable[[int], str] = lambda value: "") -> int:
        return self._variable(name, "uvarint", read_uvarint, note)

    def varint(self, name: str, note: Callable[[int], str] = lambda value: "") -> int:
        return self._variable(name, "varint", read_varint, note)

    def varlong(self, name: str, note: Callable[[int], str] = lambda value: "") -> int:
        return self._variable(name, "varlong", read_varlong, note)

    def _variable(
        self,
        name: str,
        type_: str,
        read: Callable[[memoryview, int], tuple[int, int]],
        note: Callable[[int], str],
    ) -> int:
        start = self.pos
        value, after = read(self.buffer[: self.end], start)
        self.pos = after
        self.leaf(name, type_, start, value, note(value))
        return value

    def raw(self, name: str, size: int) -> Node:
        """Add a node for so many bytes as they are."""
        if not 0 <= size <= self.end - self.pos:
            raise ProtocolError(f"{name} of {size} bytes, where {self.end - self.pos} are left")
        start = self.pos
        self.pos += size
        return self.leaf(name, "bytes", start, bytes(self.buffer[start : self.pos]))

    # Messages

    def message(self, cls: type[Any], version: int) -> None:
        """Read the fields of a message below the node that is open."""
        _Fields(self, version, version in spec_of(cls).flexible).struct(cls)


class _Fields:
    """The walk through one message of one version."""

    def __init__(self, walker: Walker, version: int, flexible: bool) -> None:
        self._walker = walker
        self._version = version
        self._flexible = flexible

    def struct(self, cls: type[Any]) -> None:
        tagged: dict[int, FieldSpec] = {}
        for field in spec_of(cls).fields:
            if self._version not in field.versions:
                continue
            if self._is_tagged(field):
                assert field.tag is not None
                tagged[field.tag] = field
            else:
                self._field(cls, field, self._walker.open[-1])
        if self._flexible:
            self._tags(cls, tagged)

    def _is_tagged(self, field: FieldSpec) -> bool:
        return self._flexible and field.tag is not None and self._version in field.tagged

    def _is_nullable(self, field: FieldSpec) -> bool:
        return self._version in field.nullable or field.kind is Kind.RECORDS

    def _tags(self, cls: type[Any], known: dict[int, FieldSpec]) -> None:
        walker = self._walker
        struct_node = walker.open[-1]
        if walker.pos < walker.end and walker.buffer[walker.pos] == 0:
            walker.uvarint(TAGS, lambda count: "none")
            return
        with walker.group(TAGS, "tagged fields"):
            count = walker.uvarint("count")
            if count * 2 > walker.end - walker.pos or count > MAX_TAGS:
                raise ProtocolError(f"{count} tagged fields in {walker.end - walker.pos} bytes")
            for _ in range(count):
                self._tag(cls, known, struct_node)

    def _tag(self, cls: type[Any], known: dict[int, FieldSpec], struct_node: Node) -> None:
        walker = self._walker
        with walker.group("tag", "tagged field") as node:
            tag = walker.uvarint("tag")
            node.name = f"tag {tag}"
            size = walker.uvarint("size")
            if size > walker.end - walker.pos:
                raise ProtocolError(f"tag {tag} of {size} bytes, where {walker.end - walker.pos} are left")
            field = known.get(tag)
            if field is None:
                walker.raw("unknown", size).note = "a tag of a later version than ours"
                return
            end, walker.end = walker.end, walker.pos + size
            self._field(cls, field, struct_node, in_tag=True)
            if walker.pos != walker.end:
                raise ProtocolError(f"{walker.end - walker.pos} bytes left of tag {tag}")
            walker.end = end

    def _field(self, cls: type[Any], field: FieldSpec, struct_node: Node, *, in_tag: bool = False) -> None:
        walker = self._walker
        if field.kind in _FORMATS:
            node = walker.fixed(field.name, field.kind)
            node.owner = cls
            node.note = explain(node)
            return
        with walker.group(field.name, _type_name(field)) as node:
            node.owner = cls
            if field.kind is Kind.STRUCT:
                self._one_struct(field, node, in_tag=in_tag)
            elif field.kind is Kind.ARRAY:
                self._array(field, node)
            elif field.kind is Kind.STRING:
                self._string(node, nullable=self._is_nullable(field))
            else:
                self._bytes(field, node)
        if node.value is not None and field.kind in (Kind.BYTES, Kind.RECORDS) and walker.contents is not None:
            walker.contents(walker, node, struct_node)

    def _one_struct(self, field: FieldSpec, node: Node, *, in_tag: bool) -> None:
        if self._is_nullable(field):
            there = self._walker.fixed("is_there", Kind.INT8)
            if there.value < 0 or (in_tag and there.value == 0):
                there.note = "null"
                node.value = None
                return
        assert isinstance(field.element, type)
        self.struct(field.element)

    def _array(self, field: FieldSpec, node: Node) -> None:
        walker, element = self._walker, field.element
        count = self._length("count", node.name, nullable=self._is_nullable(field), width=Kind.INT32)
        if count is None:
            node.value = None
            return
        if count > walker.end - walker.pos:  # an element takes a byte at least
            raise ProtocolError(f"{node.name} of {count} elements in {walker.end - walker.pos} bytes")
        for index in range(count):
            if isinstance(element, Kind):
                if element in _FORMATS:
                    made = walker.fixed(f"[{index}]", element)
                    made.note = explain(made)
                    continue
                with walker.group(f"[{index}]", str(element)) as made:
                    self._string(made, nullable=False)
            else:
                assert element is not None
                with walker.group(f"[{index}]", spec_of(element).name):
                    self.struct(element)

    def _string(self, node: Node, *, nullable: bool) -> None:
        walker = self._walker
        size = self._length("length", node.name, nullable=nullable, width=Kind.INT16)
        if size is None:
            node.value = None
            return
        if size > MAX_STRING_BYTES:
            raise ProtocolError(f"{node.name} of {size} bytes is longer than a string may be")
        text = walker.raw("text", size)
        text.kind = "utf-8"
        text.value = node.value = str(text.value, "utf-8", "replace")

    def _bytes(self, field: FieldSpec, node: Node) -> None:
        size = self._length("length", node.name, nullable=self._is_nullable(field), width=Kind.INT32)
        node.value = None if size is None else self._walker.raw("content", size).value

    def _length(self, name: str, of: str, *, nullable: bool, width: Kind) -> int | None:
        """Read a length or a count, None for null."""
        walker = self._walker
        if self._flexible:
            size = walker.uvarint(name, lambda value: f"means {value - 1}" if value else "means null") - 1
        else:
            node = walker.fixed(name, width)
            size = node.value
            node.note = "means null" if size < 0 else ""
        if size >= 0:
            return size
        if not nullable:
            raise ProtocolError(f"{of} is null, which this version does not allow")
        return None


def walk_message(
    cls: type[Any],
    version: int,
    buffer: Buffer,
    pos: int = 0,
    end: int | None = None,
    *,
    max_nodes: int = MAX_NODES,
) -> Node:
    """Read a message into a tree; `end` of the tree is behind the message, or behind what broke off."""
    root = Node(spec_of(cls).name, f"v{version}", pos, len(buffer) if end is None else end)
    walker = Walker(buffer, root, max_nodes=max_nodes)
    walker.guarded(lambda: walker.message(cls, version))
    root.end = walker.pos
    return root


def _type_name(field: FieldSpec) -> str:
    if field.kind is Kind.ARRAY:
        element = field.element
        return f"[{element if isinstance(element, Kind) else spec_of(element).name}]"  # type: ignore[arg-type]
    if field.kind is Kind.STRUCT:
        assert isinstance(field.element, type)
        return spec_of(field.element).name
    return str(field.kind)

"""Random bodies of any request, written from the declarations in wire/messages by an encoder of its own, with at most
one lie in them.

Rules
- Without a `Lie` a body is well formed: every length is right, null stands only where it may. Its values are
  plausible, or absurd but legal.
- A lie replaces one length prefix: of the n-th array, string or bytes.
- The values cannot take the broker under attack out of service: nobody's node id is named, and topics are only the
  targets.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from random import Random
from typing import Any

from attrs import define, field, frozen
from support.frames import uvarint

from hostile.batches import good_batch
from hostile.kinds import TARGETS, size_prefix
from wire.catalog import API_BY_KEY, request_class
from wire.schema import FieldSpec, Kind, spec_of

DELETE_TOPICS = 20
NAMES = ("", "nobody", "torture", "ünïcode", "a" * 249, "torture-group", "cleanup.policy", "consumer", "range")
INTEGERS = (
    -(1 << 63),
    -(1 << 31),
    -(1 << 15),
    -128,
    -2,
    -1,
    0,
    1,
    2,
    3,
    100,
    127,
    1000,
    (1 << 15) - 1,
    1_000_000,
    (1 << 31) - 1,
    (1 << 63) - 1,
)
USUAL = (0, 0, 1, 1, 2, 3, -1)
FORMATS = {
    Kind.INT8: ("b", 8),
    Kind.INT16: ("h", 16),
    Kind.UINT16: ("H", 16),
    Kind.INT32: ("i", 32),
    Kind.UINT32: ("I", 32),
    Kind.INT64: ("q", 64),
}
SIGNED = (Kind.INT8, Kind.INT16, Kind.INT32, Kind.INT64)
FOREIGN_NODE = 7_777
ARRAYS, TEXTS, ANY = (
    (Kind.ARRAY,),
    (Kind.STRING, Kind.BYTES, Kind.RECORDS),
    (Kind.ARRAY, Kind.STRING, Kind.BYTES, Kind.RECORDS),
)


@frozen
class Lie:
    """Say that the `index`-th length of these kinds is `size`."""

    kinds: Sequence[Kind]
    index: int
    size: int


def body(key: int, version: int, rng: Random) -> bytes:
    """Return a well-formed body."""
    return _Writer(key, version, rng).message()


def empty_body(key: int, version: int, rng: Random) -> bytes:
    """Return a well-formed body whose arrays are all empty."""
    return _Writer(key, version, rng, most_elements=0).message()


def lying_body(key: int, version: int, rng: Random, kinds: Sequence[Kind], size: int) -> bytes | None:
    """Return a body with one lie, None where the message has no length of these kinds."""
    seed = rng.getrandbits(64)
    honest = _Writer(key, version, Random(seed), at_least_one=True)
    honest.message()
    count = sum(honest.seen[kind] for kind in kinds)
    if not count:
        return None
    return _Writer(key, version, Random(seed), lie=Lie(kinds, rng.randrange(count), size), at_least_one=True).message()


@define
class _Writer:
    key: int
    version: int
    rng: Random
    lie: Lie | None = None
    at_least_one: bool = False
    most_elements: int = 2
    seen: dict[Kind, int] = field(factory=lambda: dict.fromkeys(ANY, 0))

    @property
    def flexible(self) -> bool:
        return API_BY_KEY[self.key].is_flexible(self.version)

    def message(self) -> bytes:
        return self._struct(request_class(self.key))

    def _struct(self, cls: type[Any]) -> bytes:
        out, tagged = [], []
        for spec in spec_of(cls).fields:
            if self.version not in spec.versions:
                continue
            if self.flexible and spec.tag is not None and self.version in spec.tagged:
                if self.rng.random() < 0.3:
                    tagged.append((spec.tag, self._field(spec)))
            else:
                out.append(self._field(spec))
        if self.flexible:
            out.append(uvarint(len(tagged)))
            out += [uvarint(tag) + uvarint(len(value)) + value for tag, value in sorted(tagged)]
        return b"".join(out)

    def _field(self, spec: FieldSpec) -> bytes:
        if self.version in spec.nullable and self.rng.random() < 0.15:
            return self._null(spec)
        if spec.kind is Kind.ARRAY:
            low = min(1 if self.at_least_one else 0, self.most_elements)
            count = self.rng.randint(low, self.most_elements)
            prefix = self._size(Kind.ARRAY, count, 4)
            return prefix + b"".join(self._element(spec) for _ in range(count))
        if spec.kind is Kind.STRUCT:
            present = b"\1" if self.version in spec.nullable else b""
            assert isinstance(spec.element, type)
            return present + self._struct(spec.element)
        return self._scalar(spec.kind, spec.name)

    def _element(self, spec: FieldSpec) -> bytes:
        if isinstance(spec.element, Kind):
            return self._scalar(spec.element, spec.name)
        assert spec.element is not None
        return self._struct(spec.element)

    def _null(self, spec: FieldSpec) -> bytes:
        if spec.kind is Kind.STRUCT:
            return b"\xff"
        if spec.kind in ANY:
            return self._size(spec.kind, -1, 2 if spec.kind is Kind.STRING else 4)
        return self._scalar(spec.kind, spec.name)

    def _scalar(self, kind: Kind, name: str) -> bytes:
        if kind is Kind.STRING:
            text = self._text(name).encode()
            return self._size(kind, len(text), 2) + text
        if kind in (Kind.BYTES, Kind.RECORDS):
            data = good_batch(self.rng) if kind is Kind.RECORDS else self.rng.randbytes(self.rng.choice((0, 1, 40)))
            return self._size(kind, len(data), 4) + data
        if kind is Kind.BOOL:
            return bytes([self.rng.randrange(2)])
        if kind is Kind.FLOAT64:
            return struct.pack(">d", self.rng.choice((0.0, -1.0, 1e300, float("nan"), float("inf"))))
        if kind is Kind.UUID:
            return self.rng.choice((bytes(16), bytes(15) + b"\1", self.rng.randbytes(16)))
        return self._integer(kind, name)

    def _integer(self, kind: Kind, name: str) -> bytes:
        form, bits = FORMATS[kind]
        if any(
            word in name for word in ("broker_id", "node_id", "controller_id", "voter_id", "replica_id", "leader_id")
        ):
            value = self.rng.choice((-1, FOREIGN_NODE % (1 << (bits - 1))))
        elif "wait" in name or "timeout" in name:
            value = self.rng.choice((0, 1, 10, 50, -1))
        else:
            value = self.rng.choice(INTEGERS if self.rng.random() < 0.3 else USUAL)
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if kind in SIGNED else (0, (1 << bits) - 1)
        return struct.pack(">" + form, max(low, min(value, high)))

    def _text(self, name: str) -> str:
        if self.key != DELETE_TOPICS and name in ("name", "topic", "topic_name", "topics", "resource_name"):
            return self.rng.choice((*TARGETS, *TARGETS, *NAMES))
        return self.rng.choice(NAMES)

    def _size(self, kind: Kind, size: int, width: int) -> bytes:
        """Write a length, or the lie about it."""
        lie = self.lie
        if lie is not None and kind in lie.kinds and sum(self.seen[each] for each in lie.kinds) == lie.index:
            size = lie.size
        self.seen[kind] += 1
        return size_prefix(size, self.flexible, width)

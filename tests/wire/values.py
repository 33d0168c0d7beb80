"""Make values of any message at any version: every field that the version has is filled, sizes and extremes mixed.

The source of chance is a `random.Random`: hypothesis gives one that shrinks, an ordinary seeded one is quick.
"""

from random import Random
from typing import Any

from wire.schema import ZERO_UUID, FieldSpec, Kind, spec_of

BITS = {
    Kind.INT8: (8, True),
    Kind.INT16: (16, True),
    Kind.UINT16: (16, False),
    Kind.INT32: (32, True),
    Kind.UINT32: (32, False),
    Kind.INT64: (64, True),
}
ALPHABET = "ab.-_0é語🦜"


def random_message(
    cls: type[Any],
    version: int,
    random: Random,
    *,
    unknown_tags: bool = True,
    large: bool = True,
    any_number: bool = True,
) -> Any:
    """Make a message of `version`.

    `large`: sometimes lengths whose varint takes two bytes or three, and more elements than the quick path takes.
    `any_number`: not only numbers that are valid whatever they stand for, an error code or a time.
    """
    flexible = version in spec_of(cls).flexible
    return _Maker(version, flexible, random, unknown_tags=unknown_tags, large=large, any_number=any_number).struct(cls)


class _Maker:
    def __init__(
        self, version: int, flexible: bool, random: Random, *, unknown_tags: bool, large: bool, any_number: bool
    ) -> None:
        self.version = version
        self.flexible = flexible
        self.random = random
        self.unknown_tags = unknown_tags
        self.any_number = any_number
        self.large_left = 2 if large else 0  # so that no message grows beyond all bounds

    def struct(self, cls: type[Any]) -> Any:
        fields = [field for field in spec_of(cls).fields if self.version in field.versions]
        made = cls(**{field.name: self.field(field) for field in fields})
        if self.flexible and self.unknown_tags and self.random.randrange(8) == 0:
            made.unknown_tags = {100: b"", 70000: self.random.randbytes(self.random.choice((0, 1, 200)))}
        return made

    def field(self, field: FieldSpec) -> object:
        if self.version in field.nullable and self.random.randrange(4) == 0:
            return None
        if field.kind is Kind.STRUCT:
            assert isinstance(field.element, type)
            return self.struct(field.element)
        if field.kind is not Kind.ARRAY:
            return self.scalar(field.kind)
        if isinstance(field.element, Kind):
            return [self.scalar(field.element) for _ in range(self.size(0, 1, 3, 15, 16, 17, 18))]
        assert field.element is not None
        return [self.struct(field.element) for _ in range(self.random.choice((0, 1, 1, 2)))]

    def size(self, *usual: int) -> int:
        if self.large_left and self.random.randrange(16) == 0:
            self.large_left -= 1
            return self.random.choice((126, 127, 128, 129, 16383, 16384))
        return self.random.choice(usual)

    def scalar(self, kind: Kind) -> object:
        if kind in BITS:
            return self.integer(*BITS[kind])
        if kind is Kind.BOOL:
            return self.random.randrange(2) == 1
        if kind is Kind.FLOAT64:
            return self.random.choice((0.0, -1.5, 1e300))
        if kind is Kind.UUID:
            return self.random.choice((ZERO_UUID, self.random.randbytes(16)))
        if kind is Kind.STRING:
            letter = self.random.choice(ALPHABET)
            return letter * (self.size(0, 1, 4, 20) // len(letter.encode()))
        return self.random.randbytes(self.size(0, 1, 3, 40))

    def integer(self, bits: int, signed: bool) -> int:
        if not self.any_number:
            return self.random.randrange(100)
        low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        return self.random.choice((low, high, 0, 1, self.random.randint(low, high)))

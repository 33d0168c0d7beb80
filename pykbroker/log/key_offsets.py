"""The newest offset of each key in the dirty part of a log: what compaction is decided by.

Owns: one dict of key (or its digest) to offset, ~offset where the newest value is null; bounded by a number of keys.

Rules
- Memory: a key costs about ENTRY_BYTES in the dict, so the number of keys follows from the bytes that are allowed. When
  they are used up, the map ends before the batch that does not fit: that batch is left to the next cleaning.
- In the dirty part exactly the offsets of the map survive, so most batches are kept or dropped there without a look
  at their records. Offsets are put into blocks, each sorted when it is first asked for: sorting a million of them at
  once would hold up the event loop.

Sources: Kafka's SkimpyOffsetMap (which keeps MD5 digests in a flat buffer, 24 bytes a key).
"""

from array import array
from bisect import bisect_left

from wire.record_spans import note_keys

ENTRY_BYTES = 160  # measured: key object 49 to 81, offset 32, dict slot up to 58, just after it has grown
_BLOCK_BITS = 14

Offsets = tuple["array[int]", "array[int]"]  # all, and those of null values; ascending


class KeyOffsets:
    __slots__ = ("_blocks", "_sorted", "end_offset", "latest", "max_keys")

    def __init__(self, start_offset: int, max_keys: int) -> None:
        self.end_offset = start_offset  # what lies below is in the map
        self.max_keys = max_keys
        self.latest: dict[bytes, int] = {}
        self._blocks: dict[int, Offsets] = {}
        self._sorted: set[int] = set()

    def add(self, data: bytes, count: int, base_offset: int, start_offset: int) -> bool:
        """Note the records of a batch from `start_offset` on; False, and nothing is done, where they do not fit.

        Raises: ProtocolError.
        """
        if len(self.latest) + count > self.max_keys and self.latest:
            return False
        note_keys(data, count, base_offset, start_offset, self.latest)
        return True

    def finish(self) -> None:
        """Call once, after the last `add`."""
        blocks = self._blocks
        for offset in self.latest.values():
            is_null = offset < 0
            if is_null:
                offset = ~offset  # noqa: PLW2901
            block = blocks.get(offset >> _BLOCK_BITS)
            if block is None:
                block = blocks[offset >> _BLOCK_BITS] = (array("q"), array("q"))
            block[0].append(offset)
            if is_null:
                block[1].append(offset)

    def surviving(self, base_offset: int, last_offset: int) -> tuple[list[int], bool]:
        """Return the offsets of the map between the two, inclusive; tell whether a null value is among them."""
        found: list[int] = []
        has_null = False
        for number in range(base_offset >> _BLOCK_BITS, (last_offset >> _BLOCK_BITS) + 1):
            if number in self._blocks:
                offsets, nulls = self._block(number)
                found += offsets[bisect_left(offsets, base_offset) : bisect_left(offsets, last_offset + 1)]
                if nulls and bisect_left(nulls, last_offset + 1) > bisect_left(nulls, base_offset):
                    has_null = True
        return found, has_null

    def _block(self, number: int) -> Offsets:
        block = self._blocks[number]
        if number not in self._sorted:
            self._sorted.add(number)
            block = self._blocks[number] = (array("q", sorted(block[0])), array("q", sorted(block[1])))
        return block

    def release(self) -> None:
        """Forget the keys, one by one: to let go of a million at once would hold up the event loop."""
        pop = self.latest.popitem
        for _ in range(len(self.latest)):
            pop()

    def is_superseded(self, key: bytes, offset: int) -> bool:
        """Whether a newer record of the key is known."""
        found = self.latest.get(key)
        return found is not None and (found if found >= 0 else ~found) > offset

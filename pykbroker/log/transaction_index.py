"""The aborted transactions of one segment: what a read_committed consumer is told to skip.

Format: 34-byte entries: version i16 (0), producer_id i64, first_offset i64, last_offset i64 (of the marker),
last_stable_offset i64 (when the transaction ended).

Rules: an entry lies in the segment of its marker; the file exists only when there is one; entries ascend by last
offset.
Sources: KIP-98, Kafka's TransactionIndex, AbortedTxn.
"""

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from pykbroker.log.files import FilePool, LogFile

_ENTRY = struct.Struct(">hqqqq")
_ENTRIES_READ_AT_ONCE = 1000


class AbortedTransaction(NamedTuple):
    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


def encode_transactions(transactions: Iterable[AbortedTransaction]) -> bytes:
    """Return the content of an index."""
    return b"".join(_ENTRY.pack(0, *transaction) for transaction in transactions)


class TransactionIndex:
    __slots__ = ("_entries", "file")

    def __init__(self, path: str, pool: FilePool) -> None:
        self.file = LogFile(path, pool)
        self._entries: int | None = None  # how many; None: not looked at yet

    def __len__(self) -> int:
        return self._count()

    def append(self, transaction: AbortedTransaction) -> None:
        """Raises: OSError."""
        entries = self._count()
        self.file.write_at(entries * _ENTRY.size, _ENTRY.pack(0, *transaction))
        self._entries = entries + 1

    def all(self) -> list[AbortedTransaction]:
        """Raises: OSError."""
        entries = self._count()
        if not entries:
            return []
        data = self.file.read_at(0, entries * _ENTRY.size)
        return [AbortedTransaction._make(entry[1:]) for entry in _ENTRY.iter_unpack(data)]

    def ending_from(self, offset: int) -> Iterator[AbortedTransaction]:
        """Yield the transactions whose markers lie at or after `offset`. Raises: OSError."""
        entries = self._count()
        first = bisect_left(range(entries), offset, key=self._last_offset)
        for start in range(first, entries, _ENTRIES_READ_AT_ONCE):
            count = min(entries - start, _ENTRIES_READ_AT_ONCE)
            data = self.file.read_at(start * _ENTRY.size, count * _ENTRY.size)
            for entry in _ENTRY.iter_unpack(data):
                yield AbortedTransaction._make(entry[1:])

    def _last_offset(self, number: int) -> int:
        last_offset: int = _ENTRY.unpack(self.file.read_at(number * _ENTRY.size, _ENTRY.size))[3]
        return last_offset

    def is_plausible(self, base_offset: int, end_offset: int) -> bool:
        """Whether the file holds whole, ascending entries for markers between the two offsets."""
        if self.file.size() % _ENTRY.size:
            return False
        lowest = base_offset
        for transaction in self.all():
            if not (
                lowest <= transaction.last_offset < end_offset and transaction.first_offset <= transaction.last_offset
            ):
                return False
            lowest = transaction.last_offset + 1
        return True

    def truncate(self, offset: int) -> None:
        """Remove the transactions whose markers lie at or after `offset`. Raises: OSError."""
        kept = sum(transaction.last_offset < offset for transaction in self.all())
        if kept < self._count():
            self.file.truncate(kept * _ENTRY.size)
            self._entries = kept

    def clear(self) -> None:
        """Raises: OSError."""
        self.file.remove()
        self._entries = 0

    def _count(self) -> int:
        if self._entries is None:
            self._entries = self.file.size() // _ENTRY.size
        return self._entries

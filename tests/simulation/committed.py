"""What a history must not show of transactions, and of those who read what is committed.

Rules: the records that the final log says are committed are derived from its markers here, not by the broker. Wanted is
- torn: of a transaction all records are committed, or none; all of one that its producer was told is committed, none of
  one that is aborted;
- open: in the end no transaction is open;
- aborted read (G1a), and early read: nobody who reads what is committed ever saw a record of an aborted transaction, or
  one whose end nobody had asked for;
- skipped: such a reader saw all that is committed below its position, at its offset.
Not here: what holds of all records, committed or not (checker).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import attrs

from wire.records import ControlType, iter_batches, read_end_txn_marker, read_records

Place = tuple[str, int]  # topic, partition
Found = Iterable[tuple[str, str]]  # the kind of a violation, and its text


@attrs.define(eq=False)
class Transaction:
    """One transaction, as its producer knows it. `is_committed` None: it was never told."""

    name: str
    began_ms: float = 0.0
    values: list[tuple[Place, bytes]] = attrs.field(factory=list)
    may_be_committed: bool = False  # the producer asked for that
    is_committed: bool | None = None


@attrs.frozen
class CommittedRead:
    reader: str
    offset: int
    value: bytes


class TransactionHistory:
    """What transactional producers, and readers of committed records, did and saw."""

    def __init__(self) -> None:
        self.transactions: list[Transaction] = []
        self._of_value: dict[bytes, Transaction] = {}
        self._reads: dict[Place, list[CommittedRead]] = defaultdict(list)
        self._positions: dict[tuple[str, Place], int] = {}
        self.refused: list[str] = []  # ends that had to be possible, unless a wall clock has jumped
        self._early: list[str] = []

    def begin(self, name: str, now_ms: float = 0.0) -> Transaction:
        self.transactions.append(Transaction(name, now_ms))
        return self.transactions[-1]

    def sent(self, transaction: Transaction, place: Place, value: bytes) -> None:
        transaction.values.append((place, value))
        self._of_value[value] = transaction

    def read(self, reader: str, place: Place, offset: int, value: bytes) -> None:
        """A reader was given a record as committed."""
        self._reads[place].append(CommittedRead(reader, offset, value))
        transaction = self._of_value.get(value)
        if transaction is not None and not transaction.may_be_committed:
            self._early.append(f"{reader} was given {value[:40]!r} at offset {offset} of {place}")

    def reached(self, reader: str, place: Place, position: int) -> None:
        """A reader has been given everything below `position`."""
        self._positions[reader, place] = position

    @property
    def ended(self) -> int:
        return sum(transaction.is_committed is not None for transaction in self.transactions)

    def check(self, logs: dict[Place, bytes]) -> Iterator[tuple[str, str]]:
        """Judge by the final logs, without the bytes above the high watermark."""
        views = {place: committed_view(log) for place, log in logs.items()}
        for text in self._early:
            yield "early read", text
        for place, view in views.items():
            for offset, value, is_committed in view:
                if is_committed is None:
                    yield "open", f"{value[:40]!r} at offset {offset} of {place} is in a transaction without end"
            yield from self._check_reads(place, view)
        committed = {(place, value) for place, view in views.items() for _, value, is_committed in view if is_committed}
        for transaction in self.transactions:
            yield from _check_whole(transaction, committed)

    def _check_reads(self, place: Place, view: Sequence[tuple[int, bytes, bool | None]]) -> Found:
        readers = defaultdict(dict)
        for read in self._reads.get(place, ()):
            readers[read.reader][read.offset] = read.value
        fate = {offset: (value, is_committed) for offset, value, is_committed in view}
        for reader, seen in readers.items():
            for offset, value in seen.items():
                there, is_committed = fate.get(offset, (None, None))
                if there == value and not is_committed:
                    yield "aborted read", f"{reader} was given {value[:40]!r} at offset {offset} of {place}"
            position = self._positions.get((reader, place), 0)
            for offset, value, is_committed in view:
                if is_committed and offset < position and seen.get(offset) != value:
                    yield "skipped", f"{reader}, which is at {position}, missed {value[:40]!r} at {offset} of {place}"


def _check_whole(transaction: Transaction, committed: set[tuple[Place, bytes]]) -> Found:
    there = [where for where in transaction.values if where in committed]
    if transaction.is_committed and len(there) < len(transaction.values):
        missing = [where for where in transaction.values if where not in committed]
        yield "torn", f"a transaction of {transaction.name} is committed, {missing[0]} is not there"
    elif transaction.is_committed is False and there:
        yield "torn", f"a transaction of {transaction.name} is aborted, {there[0]} is there"
    elif transaction.is_committed is None and 0 < len(there) < len(transaction.values):
        missing = [where for where in transaction.values if where not in committed]
        yield "torn", f"of a transaction of {transaction.name} {there[0]} is committed, and {missing[0]} is not"


def committed_view(log: bytes) -> list[tuple[int, bytes, bool | None]]:
    """Return offset, value and fate of each record: committed, aborted, or None, without an end."""
    view: list[tuple[int, bytes, bool | None]] = []
    open_since: dict[int, list[int]] = defaultdict(list)  # producer id -> places in `view`
    for header, batch in iter_batches(memoryview(log)):
        if header.is_control:
            marker = read_end_txn_marker(read_records(batch)[0])
            for at in open_since.pop(header.producer_id, ()) if marker is not None else ():
                assert marker is not None
                view[at] = (*view[at][:2], marker[0] is ControlType.COMMIT)
            continue
        for record in read_records(batch):
            if header.is_transactional:
                open_since[header.producer_id].append(len(view))
            view.append((record.offset, record.value or b"", None if header.is_transactional else True))
    return view

"""What producers were told of their transactions and what consumers of committed records saw, held against each other.

Format: a value is that of history.py; the numbers of one producer grow and are used once, whatever becomes of them.
Rules
- LOST, MOVED: the records of a transaction that committed are read at the offsets that were acknowledged.
- ABORTED: no consumer ever saw a record of a transaction that was aborted (what Adya calls G1a).
- TORN: of a transaction whose end nobody learned, all is there or nothing.
- UNSEEN: nothing is there that no transaction holds. VANISHED: what was once read stays where it was read.
- DUPLICATE, REORDERED: each record is there once, and those of a producer in a partition in the order it sent them.
- OPEN: in the end no transaction keeps a partition from being read to its end.
Not here: producing and reading (transactions.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from attrs import define, field

from chaos_rig.history import Anomaly, Violation, Written, check_order

Place = tuple[int, int]  # partition, offset
Read = Mapping[int, Mapping[int, Written | None]]  # by partition and offset, in the order of the offsets


@define(eq=False)
class Transaction:
    """One transaction: where each record was acknowledged, None for those that were not. `committed` is None while
    nobody knows."""

    records: dict[Written, Place | None] = field(factory=dict)
    committed: bool | None = None


@define
class TransactionHistory:
    """Owns all transactions and what was read while the cluster was being hurt. One thread at a time may add to it."""

    transactions: list[Transaction] = field(factory=list)
    read: dict[int, dict[int, Written | None]] = field(factory=lambda: defaultdict(dict))

    def begin(self) -> Transaction:
        self.transactions.append(Transaction())
        return self.transactions[-1]

    @property
    def committed(self) -> int:
        return sum(each.committed is True for each in self.transactions)

    def check(self, final: Read, ends: Mapping[int, tuple[int, int]]) -> list[Violation]:
        """Return what is wrong. `ends`: last stable offset and high watermark of each partition."""
        of_record = {written: each for each in self.transactions for written in each.records}
        found = [
            Violation(Anomaly.OPEN, partition, stable, f"a transaction is open, the high watermark is {end}")
            for partition, (stable, end) in sorted(ends.items())
            if stable != end
        ]
        for read in (final, self.read):
            found += _check_aborted(read, of_record)
        found += self._check_ended(final)
        found += _check_vanished(self.read, final)
        for partition, records in sorted(final.items()):
            found += check_order(partition, records.items())
        return found

    def _check_ended(self, final: Read) -> Iterator[Violation]:
        places: dict[Written, Place] = {
            written: (partition, offset)
            for partition, records in final.items()
            for offset, written in records.items()
            if written is not None
        }
        for transaction in self.transactions:
            there = [written for written in transaction.records if written in places]
            if transaction.committed is None and 0 < len(there) < len(transaction.records):
                partition, offset = places[there[0]]
                text = f"of {len(transaction.records)} records of a transaction {len(there)} are there"
                yield Violation(Anomaly.TORN, partition, offset, text)
            if not transaction.committed:
                continue
            for written, place in transaction.records.items():
                if written not in places:
                    partition, offset = place or (-1, -1)
                    yield Violation(Anomaly.LOST, partition, offset, f"{written} was committed")
                elif place is not None and places[written] != place:
                    yield Violation(Anomaly.MOVED, *place, f"{written} was acknowledged, it is at {places[written]}")


def _check_aborted(read: Read, of_record: Mapping[Written, Transaction]) -> Iterator[Violation]:
    for partition, records in sorted(read.items()):
        for offset, written in records.items():
            transaction = None if written is None else of_record.get(written)
            if transaction is None:
                yield Violation(Anomaly.UNSEEN, partition, offset, f"{written}")
            elif transaction.committed is False:
                yield Violation(Anomaly.ABORTED, partition, offset, f"{written}")


def _check_vanished(read: Read, final: Read) -> Iterator[Violation]:
    for partition, records in sorted(read.items()):
        for offset, written in records.items():
            there = final.get(partition, {}).get(offset)
            if there != written:
                text = f"{written} was read, there is {there} in the end"
                yield Violation(Anomaly.VANISHED, partition, offset, text)

"""What compaction knows of transactions while it reads a log from its start.

Rules
- Records of an aborted transaction are removed at once. Its marker, and its entry in the transaction index, stay until
  a cleaning meets no batch of it any more; then the marker gets a delete horizon, and goes when that has passed.
- A commit marker may get a delete horizon when no batch of its transaction is left.
- The entries of aborted transactions whose markers stay go into the index of the segment that the markers lie in now.

Sources: KIP-98, KIP-534; Kafka's CleanedTransactionMetadata.
"""

from collections.abc import Sequence

from pykbroker.log.transaction_index import AbortedTransaction
from wire.records import BatchHeader, ControlType, read_end_txn_marker, read_records


class CleanedTransactions:
    __slots__ = ("_aborted", "_aborted_now", "_committed_now", "_next", "_observed", "retained")

    def __init__(self, aborted: Sequence[AbortedTransaction]) -> None:
        self._aborted = sorted(aborted, key=lambda transaction: transaction.first_offset)
        self._next = 0
        self._aborted_now: dict[int, AbortedTransaction] = {}  # by producer id
        self._observed: set[int] = set()  # producers of `_aborted_now` of whose transaction there still are batches
        self._committed_now: set[int] = set()
        self.retained: list[AbortedTransaction] = []  # whose markers stay; taken by who writes the index

    def discards(self, header: BatchHeader, batch: memoryview) -> bool:
        """Take note of the next batch; return whether it is aborted data, or a marker of which nothing is left.

        Raises: ProtocolError.
        """
        if not header.is_transactional and not header.is_control:
            return False
        self._begin_up_to(header.last_offset)
        if header.is_control:
            return self._discards_marker(header, batch)
        producer_id = header.producer_id
        if producer_id in self._aborted_now:
            self._observed.add(producer_id)
            return True
        self._committed_now.add(producer_id)
        return False

    def _begin_up_to(self, offset: int) -> None:
        aborted = self._aborted
        while self._next < len(aborted) and aborted[self._next].first_offset <= offset:
            self._aborted_now.setdefault(aborted[self._next].producer_id, aborted[self._next])
            self._next += 1

    def _discards_marker(self, header: BatchHeader, batch: memoryview) -> bool:
        if not header.record_count:
            return True
        marker = read_end_txn_marker(read_records(batch)[0])
        if marker is None:
            return False
        producer_id = header.producer_id
        if marker[0] is ControlType.COMMIT:
            had_batches = producer_id in self._committed_now
            self._committed_now.discard(producer_id)
            return not had_batches
        transaction = self._aborted_now.pop(producer_id, None)
        if transaction is None or producer_id not in self._observed:
            return True
        self._observed.discard(producer_id)
        self.retained.append(transaction)
        return False

"""What transactions know of the group coordinator: that markers decide the offsets that are pending there.

Not here: who implements it (groups/coordinator), which gets to know nothing of transactions.
"""

from typing import Protocol


class PendingOffsets(Protocol):
    """The group coordinator, as far as transactions know it."""

    def is_ready(self, index: int) -> bool:
        """Say whether the offsets of partition `index` of the offsets topic are loaded."""

    def transaction_completed(self, index: int, producer_id: int, *, commit: bool, record_offset: int) -> None:
        """A marker was appended to partition `index` of the offsets topic."""

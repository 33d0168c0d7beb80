"""Which leader epoch began at which offset: how replicas find where their logs part.

Format of `leader-epoch-checkpoint`: text lines `0`, the number of entries, then `epoch start_offset` each.

Rules
- Epochs and start offsets ascend; a new entry removes those that contradict it.
- The file is written before the first record of an epoch is.

Sources: KIP-101, KIP-279, Kafka's LeaderEpochFileCache.
"""

from bisect import bisect_right

UNDEFINED = -1


class LeaderEpochs:
    __slots__ = ("entries",)

    def __init__(self, entries: list[tuple[int, int]] | None = None) -> None:
        self.entries: list[tuple[int, int]] = entries or []  # (epoch, start offset)

    @property
    def latest(self) -> int:
        return self.entries[-1][0] if self.entries else UNDEFINED

    def assign(self, epoch: int, start_offset: int) -> bool:
        """Note that `epoch` begins at `start_offset`; say whether anything changed."""
        entries = self.entries
        if entries and entries[-1][0] == epoch and start_offset >= entries[-1][1]:
            return False
        while entries and (entries[-1][0] >= epoch or entries[-1][1] >= start_offset):
            entries.pop()
        entries.append((epoch, start_offset))
        return True

    def end_offset_for(self, epoch: int, log_end_offset: int) -> tuple[int, int]:
        """Return the largest epoch at or below `epoch`, and where it ends; (-1, -1) if that is not known."""
        entries = self.entries
        if epoch == UNDEFINED or not entries or epoch > entries[-1][0]:
            return UNDEFINED, UNDEFINED
        if epoch == entries[-1][0]:
            return epoch, log_end_offset
        above = bisect_right(entries, epoch, key=lambda entry: entry[0])
        floor_epoch = entries[above - 1][0] if above else epoch
        return floor_epoch, entries[above][1]

    def epoch_for_offset(self, offset: int) -> int:
        """Return the epoch of the record at `offset`, -1 if it is not known."""
        found = bisect_right(self.entries, offset, key=lambda entry: entry[1])
        return self.entries[found - 1][0] if found else UNDEFINED

    def truncate_from_end(self, end_offset: int) -> bool:
        """Forget the epochs that began at or after `end_offset`; say whether anything changed."""
        before = len(self.entries)
        while self.entries and self.entries[-1][1] >= end_offset:
            self.entries.pop()
        return len(self.entries) != before

    def truncate_from_start(self, start_offset: int) -> bool:
        """Forget what is below `start_offset`; the epoch that holds it begins there. Say whether anything changed."""
        found = bisect_right(self.entries, start_offset, key=lambda entry: entry[1])
        if not found or (found == 1 and self.entries[0][1] == start_offset):
            return False
        self.entries[:found] = [(self.entries[found - 1][0], start_offset)]
        return True


def encode_leader_epochs(epochs: LeaderEpochs) -> bytes:
    lines = ["0", str(len(epochs.entries))]
    lines += (f"{epoch} {start_offset}" for epoch, start_offset in epochs.entries)
    return ("\n".join(lines) + "\n").encode()


def decode_leader_epochs(data: bytes) -> LeaderEpochs:
    """Raises: ValueError where the file is cut or garbage."""
    version, count, *lines = data.decode().splitlines()
    if version != "0" or int(count) != len(lines):
        raise ValueError("leader epoch checkpoint of another version or length")
    epochs = LeaderEpochs()
    for line in lines:
        epoch, start_offset = line.split(" ")
        if not epochs.assign(int(epoch), int(start_offset)):
            raise ValueError("leader epochs do not ascend")
    if len(epochs.entries) != len(lines):
        raise ValueError("leader epochs do not ascend")
    return epochs

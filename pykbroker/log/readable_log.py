"""The reading half of a partition's log: the state itself, and everything that changes nothing.

Rules
- Each record below the log end offset is in a segment; nothing else is visible to readers.
- An empty partition is a directory: segments, descriptors and tables come with the first record.

Not here: what changes the log (partition_log.py); the high watermark (replication/partition.py).
Sources: Kafka's UnifiedLog.
"""

from pathlib import Path

from pykbroker.errors import KafkaError
from pykbroker.log import lookup
from pykbroker.log.files import FileSlice
from pykbroker.log.leader_epochs import LeaderEpochs
from pykbroker.log.local_log import LocalLog
from pykbroker.log.producer_state import ProducerState, ProducerStates
from pykbroker.log.rules import AppendRules
from pykbroker.log.segment import Segment
from pykbroker.log.storage import LogDirectory
from pykbroker.log.transaction_index import AbortedTransaction
from pykbroker.topic_config import TopicConfig
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode
from wire.schema import Uuid

NOT_WRITTEN = -2  # the leader epochs in memory are not yet in the file


class ReadableLog:
    __slots__ = (
        "__weakref__",
        "_complete_at",
        "_epoch_on_disk",
        "_epochs",
        "_flush_requested",
        "_local",
        "_producers",
        "_rules",
        "_storage",
        "config",
        "cuts",
        "directory_name",
        "first_dirty_offset",
        "last_flush_ms",
        "log_end_offset",
        "log_start_offset",
        "recovery_point",
        "topic_id",
        "topic_partition",
    )

    def __init__(
        self, topic_partition: TopicPartition, topic_id: Uuid | None, config: TopicConfig, storage: LogDirectory
    ) -> None:
        """An empty log; its directory exists."""
        self.topic_partition = topic_partition
        self.topic_id = topic_id
        self.config = config
        self._storage = storage
        self._rules: AppendRules = storage.rules(config)
        self.log_start_offset = 0
        self.log_end_offset = 0
        self.recovery_point = 0  # below it, everything was flushed
        self._local: LocalLog | None = None
        self._producers: ProducerStates | None = None
        self._epochs: LeaderEpochs | None = None
        self._epoch_on_disk = NOT_WRITTEN
        self._flush_requested = 0  # below it, a flush was asked for
        self.last_flush_ms = 0
        self.first_dirty_offset = -1  # below it, compaction has been; -1: not known
        self.directory_name = str(topic_partition)
        self.cuts = 0  # how often its end was moved back: what a thread read before means nothing then
        self._complete_at = -1  # the end offset for which a clean stop has nothing left to write

    @property
    def directory(self) -> Path:
        return self._storage.path / self.directory_name

    @property
    def log_directory(self) -> LogDirectory:
        return self._storage

    @property
    def append_rules(self) -> AppendRules:
        return self._rules

    @property
    def size_bytes(self) -> int:
        return self._local.size_bytes if self._local is not None else 0

    @property
    def written_bytes(self) -> int:
        """What was appended since the log was opened, and what was there then; it does not shrink with the log."""
        return self._local.size_bytes + self._local.removed_bytes if self._local is not None else 0

    @property
    def segments(self) -> list[Segment]:
        return self._local.segments if self._local is not None else []

    @property
    def producers(self) -> ProducerStates:
        if self._producers is None:
            self._producers = ProducerStates(self.topic_partition)
        return self._producers

    # --- reading

    def read(self, offset: int, max_bytes: int, *, end_offset: int, min_one_batch: bool) -> FileSlice | None:
        """Return the batches from the one that holds `offset` on, as far as the segment goes, below `end_offset`.

        At most `max_bytes`, which may cut the last batch; with `min_one_batch` the first is whole even if it is larger,
        without it a first batch that does not fit gives nothing. None where there is nothing to read.
        Raises: OFFSET_OUT_OF_RANGE, CORRUPT_MESSAGE, KAFKA_STORAGE_ERROR.
        """
        if offset < self.log_start_offset or offset > self.log_end_offset:
            raise KafkaError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"{self.topic_partition} has the offsets from {self.log_start_offset} up to {self.log_end_offset}, "
                f"not {offset}",
            )
        local = self._local
        if offset >= end_offset or offset >= self.log_end_offset or local is None:
            return None
        if self._storage.offline is not None:
            self._storage.check_online()
        try:
            return local.read(offset, max_bytes, end_offset, min_one_batch)
        except OSError as error:
            raise self._storage.failed(error) from error

    def bytes_from(self, offset: int, end_offset: int) -> int:
        """Estimate how many bytes lie between two offsets, within the distance of index entries."""
        end_offset = min(end_offset, self.log_end_offset)
        if offset >= end_offset or self._local is None:
            return 0
        try:
            return self._local.bytes_between(max(offset, self.log_start_offset), end_offset)
        except OSError as error:
            raise self._storage.failed(error) from error

    def offset_for_timestamp(self, timestamp: int) -> tuple[int, int, int] | None:
        """Return (timestamp, offset, leader epoch) of the first record that is not older than `timestamp`."""
        try:
            return lookup.offset_for_timestamp(
                self.segments, timestamp, self.log_start_offset, self._rules.max_batch_bytes
            )
        except OSError as error:
            raise self._storage.failed(error) from error

    def offset_of_max_timestamp(self) -> tuple[int, int, int] | None:
        """Return (timestamp, offset, leader epoch) of the first of the youngest records."""
        try:
            return lookup.offset_of_max_timestamp(self.segments, self._rules.max_batch_bytes)
        except OSError as error:
            raise self._storage.failed(error) from error

    # --- transactions and producers

    def first_unstable_offset(self, high_watermark: int) -> int | None:
        """Return the first offset of a transaction that is open, or whose end is not below the high watermark."""
        return self._producers.first_unstable_offset(high_watermark) if self._producers is not None else None

    def oldest_open_transaction_ms(self) -> int | None:
        """Return when the producer of the first open transaction last wrote; None if none is open."""
        return self._producers.oldest_open_ms() if self._producers is not None else None

    def aborted_transactions(
        self, offset: int, end_offset: int, end_position: int | None = None
    ) -> list[AbortedTransaction]:
        """Return the aborted transactions with records from `offset` up to `end_offset`, exclusive.

        `end_position`: of the segment, where a read from `offset` ended; the list may go on a little further.
        """
        if self._local is None:
            return []
        try:
            return self._local.aborted_transactions(offset, end_offset, end_position)
        except OSError as error:
            raise self._storage.failed(error) from error

    def active_producers(self) -> list[tuple[int, ProducerState]]:
        """Return the producers that are remembered, by id."""
        return list(self._producers.producers.items()) if self._producers is not None else []

    def remove_expired_producers(self, now: int) -> None:
        if self._producers is not None:
            self._producers.remove_expired(now, self._storage.producer_id_expiration_ms)

    def remove_producers(self) -> None:
        """Forget all producers but those with an open transaction."""
        if self._producers is not None:
            self._producers.remove_expired(self._storage.clock.time_ms(), expiration_ms=0)

    # --- leader epochs

    @property
    def latest_epoch(self) -> int:
        """The newest leader epoch that the log knows; -1 if none."""
        return self._epochs.latest if self._epochs is not None else -1

    def epoch_for_offset(self, offset: int) -> int:
        """Return the leader epoch of the record at `offset`; -1 if it is not known."""
        return self._epochs.epoch_for_offset(offset) if self._epochs is not None else -1

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        """Return the largest epoch at or below `epoch` and where it ends; (-1, -1) if not known. Source: KIP-279."""
        return self._epochs.end_offset_for(epoch, self.log_end_offset) if self._epochs is not None else (-1, -1)

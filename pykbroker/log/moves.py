"""Moving replicas between log directories while they are used (AlterReplicaLogDirs).

    <from>/topic-0                     goes on being read and written
    <to>/topic-0.<32 hex>-future       is filled with copies of its batches, until it has all of them
    then, in one tick: future -> topic-0, the old one -> topic-0.<32 hex>-delete

Owns: the moves under way, and their `-future` directories.

Rules
- The copy reads as a follower does and appends byte for byte, COPY_BYTES at a time with a pause between, so that
  clients are served meanwhile. What is written to the log in a tick is copied in a later one.
- A log that was cut while it was copied, or has lost what comes next to retention, is copied anew.
- While copies are made faster than `replica.alter.log.dirs.io.max.bytes.per.second`, they wait.
- A move that a stop interrupted begins again when the replica is there again.
- A log that moves is not compacted.

Not here: which partition may move (replication/replica_manager.py).
Sources: KIP-113; Kafka's ReplicaAlterLogDirsThread, LogManager.replaceCurrentWithFutureLog.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define

from pykbroker.clock import Clock, Timer
from pykbroker.config import NO_RATE, BrokerConfig
from pykbroker.errors import KafkaError, StorageError
from pykbroker.log import checkpoints, directory_names
from pykbroker.log.partition_log import PartitionLog
from pykbroker.log.storage import LogDirectory
from pykbroker.quotas.replication_quotas import moves_quota
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode
from wire.records import BATCH_HEADER_SIZE, read_batch_header

if TYPE_CHECKING:
    from pykbroker.log.log_dirs import LogDirs

logger = logging.getLogger(__name__)

COPY_BYTES = 1024 * 1024
PAUSE_MS = 2
RETRY_MS = 1000
THROTTLED_MS = 100


@define(eq=False)
class Move:
    """A replica on its way. `future` is where the copy lies; made anew when `cuts` is no longer that of the log."""

    log: PartitionLog
    directory: LogDirectory
    future: PartitionLog
    cuts: int
    timer: Timer | None = None


class LogMoves:
    def __init__(
        self, log_dirs: "LogDirs", config: BrokerConfig, clock: Clock, on_moved: Callable[[PartitionLog], None]
    ) -> None:
        """`on_moved` is told of the log that is used from now on."""
        self._log_dirs = log_dirs
        self._config = config
        self._quota = moves_quota(config, clock)
        self._clock = clock
        self._moves: dict[TopicPartition, Move] = {}
        self._on_moved = on_moved

    def __contains__(self, topic_partition: TopicPartition) -> bool:
        return topic_partition in self._moves

    def futures(self) -> list[PartitionLog]:
        """Return the copies that are being made."""
        return [move.future for move in self._moves.values()]

    def begin(self, log: PartitionLog, directory: LogDirectory) -> None:
        """Move a log to a directory; another move of it ends. Where it is there already, nothing more happens.

        Raises: KAFKA_STORAGE_ERROR.
        """
        move = self._moves.get(log.topic_partition)
        if move is not None and move.directory is directory:
            return
        self.cancel(log.topic_partition)
        if log.log_directory is directory:
            return
        directory.check_online()
        self._log_dirs.stop_cleaning(log)
        move = Move(log, directory, self._new_future(log, directory), log.cuts)
        self._moves[log.topic_partition] = move
        self._schedule(move, 0)

    def _new_future(self, log: PartitionLog, directory: LogDirectory) -> PartitionLog:
        """Make an empty log that begins with the first batch that is still readable. Raises: KAFKA_STORAGE_ERROR."""
        future = PartitionLog(log.topic_partition, log.topic_id, log.config, directory)
        future.directory_name = directory_names.future(log.topic_partition)
        try:
            future.directory.mkdir()
            if log.topic_id is not None:
                checkpoints.write_topic_id(future.directory, log.topic_id)
        except OSError as error:
            raise directory.failed(error) from error
        start = log.log_start_offset
        first = log.read(start, BATCH_HEADER_SIZE, end_offset=log.log_end_offset, min_one_batch=True)
        if first is not None:
            start = min(read_batch_header(first.read()).base_offset, start)
        future.truncate_fully_and_start_at(start)
        return future

    def cancel(self, topic_partition: TopicPartition) -> None:
        """End a move, and forget the copy."""
        move = self._moves.pop(topic_partition, None)
        if move is not None:
            if move.timer is not None:
                move.timer.cancel()
            self._drop(move.future)

    def stop(self) -> None:
        """Leave the copies as they are; the next start begins anew."""
        for move in self._moves.values():
            if move.timer is not None:
                move.timer.cancel()
            move.future.abandon()
        self._moves.clear()

    def _drop(self, future: PartitionLog) -> None:
        future.abandon()
        future.log_directory.flusher.remove_directory(str(future.directory))

    def _schedule(self, move: Move, delay_ms: float) -> None:
        move.timer = self._clock.call_later(delay_ms, lambda: self._step(move))

    def _step(self, move: Move) -> None:
        """Copy a piece, or take the copy into use."""
        topic_partition = move.log.topic_partition
        if self._moves.get(topic_partition) is not move:
            return
        if move.directory.offline is not None or move.log.log_directory.offline is not None:
            logger.error("%s is not moved to %s: a log directory is offline", topic_partition, move.directory.path)
            self.cancel(topic_partition)
            return
        if self._is_throttled and self._quota.is_exceeded:
            self._schedule(move, THROTTLED_MS)
            return
        try:
            if move.cuts != move.log.cuts or move.future.log_end_offset < move.log.log_start_offset:
                self._drop(move.future)
                move.future, move.cuts = self._new_future(move.log, move.directory), move.log.cuts
            if self._copy(move):
                self._schedule(move, PAUSE_MS)
            else:
                self._finish(move)
        except (KafkaError, StorageError) as error:
            logger.warning("%s is not yet moved to %s: %s", topic_partition, move.directory.path, error)
            if topic_partition in self._moves:
                self._schedule(move, RETRY_MS)

    @property
    def _is_throttled(self) -> bool:
        return self._config.replica_alter_log_dirs_io_max_bytes_per_second != NO_RATE

    def _copy(self, move: Move) -> bool:
        """Copy the next batches; return whether there were any."""
        log, future = move.log, move.future
        offset = future.log_end_offset
        piece = log.read(
            max(offset, log.log_start_offset), COPY_BYTES, end_offset=log.log_end_offset, min_one_batch=True
        )
        if piece is None:
            return False
        future.append_as_follower(memoryview(bytearray(piece.read())))
        if self._is_throttled:
            self._quota.record(len(piece))
        if future.log_end_offset == offset:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"no whole batch at offset {offset} of {log.topic_partition}")
        return True

    def _finish(self, move: Move) -> None:
        """Take the copy into use. Raises: KAFKA_STORAGE_ERROR, StorageError."""
        log, future = move.log, move.future
        future.advance_log_start(log.log_start_offset)
        del self._moves[log.topic_partition]
        moved = self._log_dirs.replace(log, future)
        logger.info("%s moved from %s to %s", log.topic_partition, log.log_directory.path, move.directory.path)
        self._on_moved(moved)

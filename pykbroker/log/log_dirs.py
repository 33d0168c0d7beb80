"""All log directories of the broker: locks, logs, checkpoints, and the regular work on them.

Owns: `.lock`, `meta.properties`, `.kafka_cleanshutdown` and the checkpoint files of each directory of `log.dirs`;
which partition's log lies where.

Rules
- A directory that fails goes offline, and its logs with it; the broker goes on with the others.
- A deleted partition's directory is renamed `<topic>-<partition>.<hex>-delete` and removed after
  `file.delete.delay.ms`.
- What the metadata does not know at start is not removed but renamed `-stray`, for people to look at.

Not here: one partition's files (partition_log.py, recovery.py), where a partition goes (choice.py), locks
(identity.py), what lies in a directory at start (loading.py), compaction (cleaner.py), moves (moves.py).
Sources: Kafka's LogManager.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pykbroker.clock import Clock, Timer
from pykbroker.config import BrokerConfig
from pykbroker.errors import KafkaError, StorageError
from pykbroker.log import checkpoints, directory_names, identity, loading
from pykbroker.log.choice import DirectoryChoice
from pykbroker.log.directory_names import DELETE_SUFFIX, STRAY_SUFFIX
from pykbroker.log.files import FilePool
from pykbroker.log.storage import Flusher, LogDirectory
from pykbroker.topic_config import TopicConfig
from pykbroker.topic_partition import TopicPartition
from wire.schema import Uuid

if TYPE_CHECKING:  # imported with the first partition: a new broker answers sooner without it
    from pykbroker.log.cleaner import LogCleaner
    from pykbroker.log.moves import LogMoves
    from pykbroker.log.partition_log import PartitionLog

logger = logging.getLogger(__name__)

_OFFLINE_CHECK_MS = 500
_FOREVER_MS = 0x7FFFFFFFFFFFFFFF


class LogDirs:
    def __init__(
        self,
        dirs: list[Path],
        config: BrokerConfig,
        clock: Clock,
        *,
        ephemeral: bool = False,
        new_flusher: Callable[[LogDirectory], Flusher] | None = None,
    ) -> None:
        """`ephemeral`: the data goes with the process, so nothing is flushed when closing."""
        self._config = config
        self._clock = clock
        self._ephemeral = ephemeral
        soft_limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        # Half of what the process may open; the other half is for connections.
        pool = FilePool(max(min(soft_limit // 2, 8192), 16))
        self._directories = [
            LogDirectory(
                path,
                clock,
                pool,
                producer_id_expiration_ms=config.producer_id_expiration_ms,
                strict_records=config.pykbroker_strict_records,
                max_walked_batch_bytes=config.pykbroker_max_walked_batch_bytes,
                new_flusher=new_flusher,
            )
            for path in dirs
        ]
        self._locks: dict[LogDirectory, int] = {}
        self._logs: dict[TopicPartition, PartitionLog] = {}
        self.choice = DirectoryChoice(self._directories, config)
        self._timers: dict[Callable[[], None], Timer] = {}
        self._is_open = False
        self.cluster_id: str | None = None  # as in meta.properties; None in new directories
        self.was_unclean = False
        self.previous_broker_epoch: int | None = None  # of the last clean stop; -1: there was none
        self._broker_epoch = -1
        self.high_watermark_of: Callable[[TopicPartition], int | None] = lambda topic_partition: None
        self._cleaner: LogCleaner | None = None
        self.looked_for_compaction_ms = clock.monotonic_ms()  # the last time before there is a cleaner
        self._moves: LogMoves | None = None
        self.on_moved: Callable[[PartitionLog], None] = lambda log: None  # told of the log that is used from now on
        self.on_offline: Callable[[list[PartitionLog]], None] = lambda logs: None  # told of the logs that are lost
        self._known_offline: set[LogDirectory] = set()
        self._interrupted: dict[TopicPartition, LogDirectory] = {}  # moves that a stop interrupted, and their aims

    @property
    def offline(self) -> list[LogDirectory]:
        return [directory for directory in self._directories if directory.offline is not None]

    @property
    def directories(self) -> list[LogDirectory]:
        return self._directories

    # --- opening and closing

    def open(self) -> None:
        """Lock the directories and load their logs. Raises: StorageError, with a message fit for a person."""
        try:
            for directory in self._directories:
                self._open_or_leave(directory, self._open_directory)
            for directory in self._directories:
                if directory.offline is None:
                    self._open_or_leave(directory, self._load_directory)
        except StorageError:
            self._unlock()
            raise
        self._is_open = True
        config = self._config
        if config.log_cleaner_enable:
            self._timers[self._look_for_compaction] = self._clock.call_later(
                config.log_cleaner_backoff_ms, self._look_for_compaction
            )
        self._known_offline = set(self.offline)
        self._repeat(_OFFLINE_CHECK_MS, self._notice_offline)
        self._repeat(config.producer_id_expiration_check_interval_ms, self._remove_expired_producers)
        for interval_ms, work in (
            (config.log_retention_check_interval_ms, self.apply_retention),
            (config.log_flush_offset_checkpoint_interval_ms, self.checkpoint_recovery_points),
            (config.log_flush_start_offset_checkpoint_interval_ms, self.checkpoint_log_start_offsets),
            (config.log_flush_scheduler_interval_ms, self._flush_due),
        ):
            self._repeat(interval_ms, work, first_after_ms=config.log_initial_task_delay_ms)

    def _open_or_leave(self, directory: LogDirectory, step: Callable[[LogDirectory], None]) -> None:
        """Do a step of opening; a directory whose disk fails stays offline, as long as there are others.

        Raises: StorageError.
        """
        try:
            step(directory)
        except OSError as error:
            reason = f"cannot use {error.filename} as a log directory: {error.strerror}"
            if len(self.offline) == len(self._directories) - 1:
                raise StorageError(reason) from error
            directory.fail(reason)
            for log in self._logs_in(directory):
                log.abandon()
                del self._logs[log.topic_partition]

    def _repeat(self, interval_ms: int, work: Callable[[], None], *, first_after_ms: int | None = None) -> None:
        if interval_ms >= _FOREVER_MS or interval_ms <= 0:
            return

        def run() -> None:
            if self._is_open:
                work()
                self._timers[work] = self._clock.call_later(interval_ms, run)

        self._timers[work] = self._clock.call_later(interval_ms if first_after_ms is None else first_after_ms, run)

    def _open_directory(self, directory: LogDirectory) -> None:
        directory.path.mkdir(parents=True, exist_ok=True)
        self._locks[directory] = identity.lock(directory)
        cluster_id = identity.read(directory, self._config.node_id)
        if None not in (cluster_id, self.cluster_id) and cluster_id != self.cluster_id:
            raise StorageError(f"{directory.path} belongs to cluster {cluster_id}, the others to {self.cluster_id}")
        self.cluster_id = cluster_id or self.cluster_id

    def _unlock(self) -> None:
        for fd in self._locks.values():
            os.close(fd)
        self._locks.clear()

    def write_meta_properties(self, cluster_id: str) -> None:
        """Say whose the directories are. Raises: StorageError."""
        self.cluster_id = cluster_id
        for directory in self._directories:
            if directory.offline is None:
                identity.write(directory, self._config.node_id, cluster_id)

    def _load_directory(self, directory: LogDirectory) -> None:
        found = loading.load(directory, self._config)
        # All directories have to be of one stop: one whose disk was replaced, or is older, makes it an unclean one.
        is_first = self.previous_broker_epoch is None
        if is_first or found.broker_epoch == self.previous_broker_epoch:
            self.previous_broker_epoch = found.broker_epoch
        else:
            self.previous_broker_epoch = -1
        for topic_partition in found.interrupted_moves:
            self._interrupted[topic_partition] = directory
        for log in found.logs:
            other = self._logs.get(log.topic_partition)
            if other is None or self._is_better(log, other):
                self._logs[log.topic_partition] = log
                self.choice.counts[directory] += 1
        if found.was_clean:
            (directory.path / checkpoints.CLEAN_SHUTDOWN).unlink()
        elif found.logs:
            self.was_unclean = True
            logger.info("%s was not closed cleanly: %d logs were checked", directory.path, len(found.logs))

    def note_broker_epoch(self, epoch: int) -> None:
        """Say under which epoch this broker was registered, for the marker of a clean stop."""
        self._broker_epoch = epoch

    def _is_better(self, log: PartitionLog, other: PartitionLog) -> bool:
        """Decide between two logs of one partition: a stop came while a move took its copy into use.

        Both had everything then, so the longer one is kept. The other stays on disk, under a name that says so.
        Raises: OSError; StorageError where they are of different topics.
        """
        if log.topic_id != other.topic_id:
            raise StorageError(
                f"{log.topic_partition} is in {log.directory} and, of another topic, in {other.directory}"
            )
        is_better = log.log_end_offset > other.log_end_offset
        stray = other if is_better else log
        aside = directory_names.take_out_of_use(stray, STRAY_SUFFIX)
        logger.warning("%s was there twice, with fewer records in %s", log.topic_partition, aside)
        if is_better:
            self.choice.counts[other.log_directory] -= 1
        return is_better

    def close(self, clean: bool = True) -> None:
        """Complete the files and let go of the directories. Not `clean`: as a crash would leave them."""
        if not self._locks:
            return
        self._is_open = False
        if self._cleaner is not None:
            self._cleaner.stop()
        if self._moves is not None:
            self._moves.stop()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if clean and not self._ephemeral:
            for log in self._logs.values():
                with contextlib.suppress(KafkaError):  # its directory is offline now
                    if log.log_directory.offline is None:
                        log.close()
        for directory in self._directories:
            directory.flusher.stop()
            if clean and not self._ephemeral and directory.offline is None:
                self._close_directory(directory)
        for log in self._logs.values():
            log.abandon()
        self._logs.clear()
        self._unlock()

    def _close_directory(self, directory: LogDirectory) -> None:
        logs = self._logs_in(directory)
        try:
            ends = {log.topic_partition: log.log_end_offset for log in logs}
            checkpoints.write_offsets(directory.path / checkpoints.RECOVERY_POINTS, ends, sync=True)
            self._write_log_starts(directory, logs)
            checkpoints.write_clean_shutdown(directory.path, self._broker_epoch)
        except OSError as error:
            directory.failed(error)

    # --- logs

    def get(self, topic_partition: TopicPartition) -> PartitionLog | None:
        return self._logs.get(topic_partition)

    def all(self) -> list[PartitionLog]:
        return list(self._logs.values())

    def create(self, topic_partition: TopicPartition, topic_id: Uuid, config: TopicConfig) -> PartitionLog:
        """Make the directory of a new partition. Raises: StorageError."""
        from pykbroker.log.partition_log import PartitionLog

        directory = self.choice.for_new(topic_partition)
        log = PartitionLog(topic_partition, topic_id, config, directory)
        path = log.directory
        try:
            path.mkdir()
            checkpoints.write_topic_id(path, topic_id)
        except FileExistsError as error:
            raise StorageError(f"{path} exists already") from error
        except OSError as error:
            directory.failed(error)
            raise StorageError(f"cannot create {path}: {error}") from error
        self._logs[topic_partition] = log
        self.choice.counts[directory] += 1
        return log

    def delete(self, topic_partition: TopicPartition) -> None:
        """Take a partition's log out; its files go later. What is being read from them stays readable."""
        self._remove_directory(self._forget(topic_partition))

    def set_aside(self, topic_partition: TopicPartition) -> None:
        """Take out a log that the metadata does not know. Its files stay, as Kafka's do: the metadata may be wrong."""
        aside = self._take_out_of_use(self._forget(topic_partition), STRAY_SUFFIX)
        if aside is not None:
            logger.warning("%s is no replica of this broker: its log is kept aside in %s", topic_partition, aside)

    def _forget(self, topic_partition: TopicPartition) -> PartitionLog:
        log = self._logs.pop(topic_partition)
        if self._moves is not None:
            self._moves.cancel(topic_partition)
        self.stop_cleaning(log)
        self.choice.counts[log.log_directory] -= 1
        return log

    def _remove_directory(self, log: PartitionLog) -> None:
        directory, renamed = log.log_directory, self._take_out_of_use(log, DELETE_SUFFIX)
        if renamed is not None:
            delay_ms = log.config.file_delete_delay_ms
            self._clock.call_later(delay_ms, lambda: directory.flusher.remove_directory(str(renamed)))

    def _take_out_of_use(self, log: PartitionLog, suffix: str) -> Path | None:
        """Return the new path of a log's directory; None: it cannot be renamed, which is a failure of the disk."""
        try:
            return directory_names.take_out_of_use(log, suffix)
        except OSError as error:
            log.log_directory.failed(error)
            return None

    def _logs_in(self, directory: LogDirectory) -> list[PartitionLog]:
        return [log for log in self._logs.values() if log.log_directory is directory]

    # --- moves between directories

    @property
    def moves(self) -> LogMoves:
        """The moves under way, made with the first one."""
        if self._moves is None:
            from pykbroker.log.moves import LogMoves

            self._moves = LogMoves(self, self._config, self._clock, self.on_moved)
        return self._moves

    def futures(self) -> list[PartitionLog]:
        """Return the copies that moves are making."""
        return self._moves.futures() if self._moves is not None else []

    def resume_move(self, log: PartitionLog) -> None:
        """Begin a move again that a stop interrupted."""
        directory = self._interrupted.pop(log.topic_partition, None)
        if directory is not None:
            with contextlib.suppress(KafkaError):  # its directory is offline now
                self.moves.begin(log, directory)

    def stop_cleaning(self, log: PartitionLog) -> None:
        if self._cleaner is not None:
            self._cleaner.abandon(log)

    def replace(self, log: PartitionLog, future: PartitionLog) -> PartitionLog:
        """Take a copy that has everything into use in the place of a log; return it, loaded from its own directory.

        A crash in between leaves both; the next start takes the one that has more. Raises: KAFKA_STORAGE_ERROR.
        """
        topic_partition, directory = log.topic_partition, future.log_directory
        future.close()
        path = directory.path / str(topic_partition)
        try:
            os.rename(future.directory, path)
            moved = loading.load_log(
                topic_partition,
                directory,
                log.config,
                clean=True,
                recovery_point=future.recovery_point,
                log_start_offset=future.log_start_offset,
            )
        except OSError as error:
            raise directory.failed(error) from error
        moved.first_dirty_offset = log.first_dirty_offset
        self._logs[topic_partition] = moved
        self.choice.counts[log.log_directory] -= 1
        self.choice.counts[directory] += 1
        self._remove_directory(log)
        self.checkpoint_recovery_points()
        self.checkpoint_log_start_offsets()
        for each in (log.log_directory, directory):
            self._checkpoint_cleaned(each)
        return moved

    # --- checkpoints

    def high_watermarks(self) -> dict[TopicPartition, int]:
        """Return the high watermarks as they were last checkpointed. Raises: StorageError."""
        found: dict[TopicPartition, int] = {}
        try:
            for directory in self._directories:
                if directory.offline is not None:
                    continue
                found.update(checkpoints.read_offsets(directory.path / checkpoints.HIGH_WATERMARKS))
        except OSError as error:
            raise StorageError(str(error)) from error
        return found

    def checkpoint_high_watermarks(self, high_watermarks: Mapping[TopicPartition, int]) -> None:
        """Write each directory's high watermarks; one that fails goes offline."""
        by_directory: dict[LogDirectory, dict[TopicPartition, int]] = {each: {} for each in self._directories}
        for topic_partition, offset in high_watermarks.items():
            log = self._logs.get(topic_partition)
            if log is not None:
                by_directory[log.log_directory][topic_partition] = offset
        for directory, offsets in by_directory.items():
            self._write(directory, checkpoints.HIGH_WATERMARKS, offsets)

    def checkpoint_recovery_points(self) -> None:
        """Apply what the flushers did, and write up to where each log is flushed."""
        for directory in self._directories:
            for topic_partition, end_offset in directory.flusher.flushed():
                log = self._logs.get(topic_partition)
                if log is not None:
                    log.recovery_point = max(log.recovery_point, min(end_offset, log.log_end_offset))
            points = {log.topic_partition: log.recovery_point for log in self._logs_in(directory)}
            self._write(directory, checkpoints.RECOVERY_POINTS, points)

    def checkpoint_log_start_offsets(self) -> None:
        """Write the log start offsets that the segments do not tell."""
        for directory in self._directories:
            if directory.offline is None:
                try:
                    self._write_log_starts(directory, self._logs_in(directory))
                except OSError as error:
                    directory.failed(error)

    def _write_log_starts(self, directory: LogDirectory, logs: list[PartitionLog]) -> None:
        starts = {
            log.topic_partition: log.log_start_offset
            for log in logs
            if log.log_start_offset > (log.segments[0].base_offset if log.segments else 0)
        }
        checkpoints.write_offsets(directory.path / checkpoints.LOG_START_OFFSETS, starts, sync=False)

    def _write(self, directory: LogDirectory, name: str, offsets: Mapping[TopicPartition, int]) -> None:
        if directory.offline is None:
            try:
                checkpoints.write_offsets(directory.path / name, offsets, sync=False)
            except OSError as error:
                directory.failed(error)

    # --- regular work

    @property
    def cleaner(self) -> LogCleaner:
        """The log cleaner, made when it is first needed: most brokers start without a compacted log."""
        if self._cleaner is None:
            from pykbroker.log.cleaner import LogCleaner

            self._cleaner = LogCleaner(
                self._config,
                self._clock,
                self._cleanable_logs,
                self._high_watermark_of,
                lambda log: self._checkpoint_cleaned(log.log_directory),
            )
        return self._cleaner

    @property
    def cleaner_in_use(self) -> LogCleaner | None:
        return self._cleaner

    def _high_watermark_of(self, topic_partition: TopicPartition) -> int | None:
        return self.high_watermark_of(topic_partition)

    def _cleanable_logs(self) -> list[PartitionLog]:
        return [log for log in self._logs.values() if self._moves is None or log.topic_partition not in self._moves]

    def _look_for_compaction(self) -> None:
        """Start the cleaner with the first log for it."""
        self.looked_for_compaction_ms = self._clock.monotonic_ms()
        if any(log.config.is_compacted and len(log.segments) > 1 for log in self._logs.values()):
            self.cleaner.look()
            self.cleaner.start()
        else:
            self._timers[self._look_for_compaction] = self._clock.call_later(
                max(self._config.log_cleaner_backoff_ms, 1), self._look_for_compaction
            )

    def _checkpoint_cleaned(self, directory: LogDirectory) -> None:
        """Write where the dirty part of each compacted log begins."""
        cleaned = {log.topic_partition: log.first_dirty_offset for log in self._logs_in(directory)}
        offsets = {topic_partition: offset for topic_partition, offset in cleaned.items() if offset >= 0}
        self._write(directory, checkpoints.CLEANED_UP_TO, offsets)

    def _notice_offline(self) -> None:
        """Tell of directories that went offline, which any thread may have found out."""
        for directory in self.offline:
            if directory not in self._known_offline:
                self._known_offline.add(directory)
                self.on_offline(self._logs_in(directory))

    def apply_retention(self) -> None:
        """Delete the old segments of all logs."""
        now = self._clock.time_ms()
        for log in self.all():
            if log.log_directory.offline is None:
                with contextlib.suppress(KafkaError):  # its directory is offline now
                    log.apply_retention(now, high_watermark=self.high_watermark_of(log.topic_partition))

    def _remove_expired_producers(self) -> None:
        now = self._clock.time_ms()
        for directory in self._directories:
            directory.producer_id_expiration_ms = self._config.producer_id_expiration_ms
        for log in self._logs.values():
            log.remove_expired_producers(now)

    def _flush_due(self) -> None:
        """Flush the logs whose `flush.ms` has passed."""
        now = self._clock.time_ms()
        for log in self.all():
            if log.log_directory.offline is None and now - log.last_flush_ms >= log.config.flush_ms:
                try:
                    log.request_flush()
                except OSError as error:
                    log.log_directory.failed(error)

"""What an earlier run left in a log directory.

Rules
- Directories that were being deleted are removed. So are copies of moves that a stop interrupted: those begin anew.
- What is named like no partition is left alone: strays (log_dirs.py), and Kafka's own metadata.

Not here: one partition's files (recovery.py), which of two directories counts (log_dirs.py).
Sources: Kafka's LogManager.loadLogs.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import attrs

from pykbroker.config import BrokerConfig
from pykbroker.log import checkpoints, directory_names
from pykbroker.log.directory_names import DELETE_SUFFIX, FUTURE_SUFFIX
from pykbroker.log.storage import LogDirectory
from pykbroker.topic_config import TopicConfig
from pykbroker.topic_partition import TopicPartition

if TYPE_CHECKING:  # imported with the first partition: a new broker answers sooner without it
    from pykbroker.log.partition_log import PartitionLog


@attrs.frozen(eq=False, repr=False)
class Contents:
    logs: list[PartitionLog]
    interrupted_moves: list[TopicPartition]  # that led here
    was_clean: bool
    broker_epoch: int  # of the clean stop; -1: not known


def load(directory: LogDirectory, config: BrokerConfig) -> Contents:
    """Read the logs of a directory. Raises: OSError, StorageError."""
    path = directory.path
    was_clean = (path / checkpoints.CLEAN_SHUTDOWN).exists()
    recovery_points = checkpoints.read_offsets(path / checkpoints.RECOVERY_POINTS)
    log_starts = checkpoints.read_offsets(path / checkpoints.LOG_START_OFFSETS)
    cleaned = checkpoints.read_offsets(path / checkpoints.CLEANED_UP_TO)
    defaults = TopicConfig.build(config, {})
    logs: list[PartitionLog] = []
    interrupted = []
    for entry in sorted(os.scandir(path), key=lambda entry: entry.name):
        if not entry.is_dir():
            continue
        if entry.name.endswith((DELETE_SUFFIX, FUTURE_SUFFIX)):
            moved = directory_names.parse(entry.name.rpartition(".")[0])
            if moved is not None and entry.name.endswith(FUTURE_SUFFIX):
                interrupted.append(moved)
            directory.flusher.remove_directory(entry.path)
            continue
        topic_partition = directory_names.parse(entry.name)
        if topic_partition is None:
            continue
        log = load_log(
            topic_partition,
            directory,
            defaults,
            clean=was_clean,
            recovery_point=recovery_points.get(topic_partition, 0),
            log_start_offset=log_starts.get(topic_partition, 0),
        )
        log.first_dirty_offset = cleaned.get(topic_partition, -1)
        logs.append(log)
    return Contents(logs, interrupted, was_clean, checkpoints.read_clean_shutdown(path))


def load_log(
    topic_partition: TopicPartition,
    directory: LogDirectory,
    config: TopicConfig,
    *,
    clean: bool,
    recovery_point: int,
    log_start_offset: int,
) -> PartitionLog:
    """Read what an earlier run left of a partition."""
    from pykbroker.log import recovery
    from pykbroker.log.partition_log import PartitionLog

    topic_id = checkpoints.read_topic_id(directory.path / str(topic_partition))
    log = PartitionLog(topic_partition, topic_id, config, directory)
    recovery.load(log, clean=clean, recovery_point=recovery_point, log_start_offset=log_start_offset)
    return log

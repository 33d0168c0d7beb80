"""What the directory of a replica's log is called, and what it is called when it is none any more.

Format: `<topic>-<partition>`. A copy that a move makes, a log that is to be removed and one that the metadata does not
know are `<topic>-<partition>.<32 hex digits>` and the suffix that says which; a long topic is cut for the last two.
Sources: Kafka's UnifiedLog and LogManager.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pykbroker.topic_partition import TopicPartition

if TYPE_CHECKING:  # imported with the first partition: a new broker answers sooner without it
    from pykbroker.log.partition_log import PartitionLog

FUTURE_SUFFIX = "-future"
DELETE_SUFFIX = "-delete"
STRAY_SUFFIX = "-stray"
_NAME_MAX = 255
_KAFKAS_METADATA = "__cluster_metadata"


def parse(name: str) -> TopicPartition | None:
    """Return the partition that a directory is named after; None if it is something else, or Kafka's own metadata."""
    topic, _, partition = name.rpartition("-")
    if not topic or not partition.isdecimal() or topic == _KAFKAS_METADATA:
        return None
    return TopicPartition(topic, int(partition))


def future(topic_partition: TopicPartition) -> str:
    """Name the copy that a move makes: its partition can be told from it."""
    return f"{topic_partition}{_unique(FUTURE_SUFFIX)}"


def can_be_moved(topic_partition: TopicPartition) -> bool:
    return len(future(topic_partition)) <= _NAME_MAX


def take_out_of_use(log: PartitionLog, suffix: str) -> Path:
    """Let go of a log's files and rename its directory; return the new path. Raises: OSError."""
    log.abandon()
    topic, partition = log.topic_partition.topic, log.topic_partition.partition
    ending = f"-{partition}{_unique(suffix)}"
    renamed = log.log_directory.path / f"{topic[: _NAME_MAX - len(ending)]}{ending}"
    os.rename(log.directory, renamed)
    return renamed


def _unique(suffix: str) -> str:
    return f".{os.urandom(16).hex()}{suffix}"

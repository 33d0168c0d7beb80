"""Which log directory a partition goes to.

Owns: how many partitions each directory has; where partitions that are yet to come were asked to be put.

Rules
- A new partition goes where it was asked for, else to the directory with the fewest.
- Cordoned directories get none, unless there are no others.

Sources: KIP-112, KIP-113, KIP-1066; Kafka's LogManager.nextLogDirs.
"""

import os
from collections.abc import Sequence

from pykbroker.config import BrokerConfig
from pykbroker.errors import KafkaError, StorageError
from pykbroker.log import directory_names
from pykbroker.log.storage import LogDirectory
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode

_ALL = "*"
_MAX_PREFERRED = 10_000


class DirectoryChoice:
    def __init__(self, directories: Sequence[LogDirectory], config: BrokerConfig) -> None:
        self._directories = directories
        self._config = config
        self._preferred: dict[TopicPartition, LogDirectory] = {}
        self.counts = dict.fromkeys(directories, 0)

    def for_new(self, topic_partition: TopicPartition) -> LogDirectory:
        """Choose where a new partition goes. Raises: StorageError where no directory is online."""
        online = [directory for directory in self._directories if directory.offline is None]
        if not online:
            raise StorageError("no log directory is online")
        preferred = self._preferred.pop(topic_partition, None)
        if preferred is not None and preferred.offline is None:
            return preferred
        not_cordoned = [directory for directory in online if not self.is_cordoned(directory)]
        return min(not_cordoned or online, key=self.counts.__getitem__)

    def is_cordoned(self, directory: LogDirectory) -> bool:
        """Whether `cordoned.log.dirs` keeps new partitions away from it."""
        cordoned = self._config.cordoned_log_dirs
        return _ALL in cordoned or any(os.path.abspath(each) == directory.absolute_path for each in cordoned)

    def for_move(self, topic_partition: TopicPartition, path: str) -> LogDirectory:
        """Return the directory of this absolute path, which a replica is asked to move to.

        Raises: INVALID_TOPIC_EXCEPTION, LOG_DIR_NOT_FOUND, KAFKA_STORAGE_ERROR, INVALID_REPLICA_ASSIGNMENT.
        """
        if not directory_names.can_be_moved(topic_partition):
            raise KafkaError(
                ErrorCode.INVALID_TOPIC_EXCEPTION, f"the name of {topic_partition.topic} is too long to move"
            )
        for directory in self._directories:
            if directory.absolute_path == path:
                directory.check_online()
                if self.is_cordoned(directory):
                    raise KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, f"{path} is cordoned")
                return directory
        raise KafkaError(ErrorCode.LOG_DIR_NOT_FOUND, f"{path} is no log directory of this broker")

    def prefer(self, topic_partition: TopicPartition, directory: LogDirectory) -> None:
        """Have a partition that is yet to come go to this directory."""
        if len(self._preferred) >= _MAX_PREFERRED:
            del self._preferred[next(iter(self._preferred))]
        self._preferred[topic_partition] = directory

"""What lies in which log directory of this broker.

AlterReplicaLogDirs (34), versions 1-2
- Each replica is answered when its move has begun; it goes on being read and written where it is.
- Where this broker has no such replica, that is an error, but the replica will be put there when it comes.
- Errors: LOG_DIR_NOT_FOUND (no directory of `log.dirs`, by its absolute path), KAFKA_STORAGE_ERROR (offline),
  INVALID_TOPIC_EXCEPTION (too long a name), INVALID_REPLICA_ASSIGNMENT (cordoned),
  UNKNOWN_TOPIC_OR_PARTITION, REPLICA_NOT_AVAILABLE (other brokers have the replicas).

DescribeLogDirs (35), versions 1-5
- All directories are answered, an offline one with KAFKA_STORAGE_ERROR and nothing else; of the topics those that were
  asked for, or all. A replica on its move is there twice, the copy with `is_future_key`.
- From version 4 the size of the volume and what is free of it (KIP-827), from 5 whether it is cordoned (KIP-1066).

Sources: KIP-113; Kafka's ReplicaManager.describeLogDirs, alterReplicaLogDirs.
"""

import os
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pykbroker.errors import KafkaError
from pykbroker.handlers.context import RequestContext
from pykbroker.log.storage import LogDirectory
from wire.errors import ErrorCode
from wire.messages.placement import (
    AlterReplicaLogDirPartitionResult,
    AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
    AlterReplicaLogDirTopicResult,
    DescribeLogDirsPartition,
    DescribeLogDirsRequest,
    DescribeLogDirsResponse,
    DescribeLogDirsResult,
    DescribeLogDirsTopic,
)

if TYPE_CHECKING:
    from pykbroker.log.partition_log import PartitionLog

_NO_LAG = -1


def alter_replica_log_dirs(ctx: RequestContext, request: AlterReplicaLogDirsRequest) -> AlterReplicaLogDirsResponse:
    results: dict[str, list[AlterReplicaLogDirPartitionResult]] = defaultdict(list)
    for directory in request.dirs:
        for topic in directory.topics:
            for index in topic.partitions:
                error = _alter(ctx, topic.name, index, directory.path)
                results[topic.name].append(AlterReplicaLogDirPartitionResult(index, error))
    return AlterReplicaLogDirsResponse(
        results=[AlterReplicaLogDirTopicResult(name, partitions) for name, partitions in results.items()]
    )


def _alter(ctx: RequestContext, topic: str, index: int, path: str) -> ErrorCode:
    try:
        ctx.services.replicas.alter_log_dir(topic, index, path)
    except KafkaError as error:
        return error.code
    return ErrorCode.NONE


def describe_log_dirs(ctx: RequestContext, request: DescribeLogDirsRequest) -> DescribeLogDirsResponse:
    wanted = None
    if request.topics is not None:
        wanted = {(topic.topic, index) for topic in request.topics for index in topic.partitions}
    log_dirs = ctx.services.log_dirs
    logs: dict[LogDirectory, list[tuple[PartitionLog, bool]]] = defaultdict(list)
    for is_future, found in ((False, log_dirs.all()), (True, log_dirs.futures())):
        for log in found:
            if wanted is None or tuple(log.topic_partition) in wanted:
                logs[log.log_directory].append((log, is_future))
    return DescribeLogDirsResponse(
        results=[_describe(ctx, directory, logs[directory]) for directory in log_dirs.directories]
    )


def _describe(
    ctx: RequestContext, directory: LogDirectory, logs: "Iterable[tuple[PartitionLog, bool]]"
) -> DescribeLogDirsResult:
    try:
        directory.check_online()
        volume = os.statvfs(directory.path)
    except (KafkaError, OSError):
        return DescribeLogDirsResult(error_code=ErrorCode.KAFKA_STORAGE_ERROR, log_dir=directory.absolute_path)
    topics: dict[str, list[DescribeLogDirsPartition]] = defaultdict(list)
    for log, is_future in logs:
        topics[log.topic_partition.topic].append(
            DescribeLogDirsPartition(
                partition_index=log.topic_partition.partition,
                partition_size=log.size_bytes,
                offset_lag=_lag(ctx, log, is_future),
                is_future_key=is_future,
            )
        )
    return DescribeLogDirsResult(
        log_dir=directory.absolute_path,
        topics=[DescribeLogDirsTopic(name, partitions) for name, partitions in topics.items()],
        total_bytes=volume.f_blocks * volume.f_frsize,
        usable_bytes=volume.f_bavail * volume.f_frsize,
        is_cordoned=ctx.services.log_dirs.choice.is_cordoned(directory),
    )


def _lag(ctx: RequestContext, log: "PartitionLog", is_future: bool) -> int:
    """How far a copy is behind the replica, or the replica behind its high watermark."""
    try:
        partition = ctx.services.replicas.partition(*log.topic_partition)
    except KafkaError:
        return _NO_LAG
    if is_future:
        return partition.log.log_end_offset - log.log_end_offset
    return max(partition.high_watermark - log.log_end_offset, 0)

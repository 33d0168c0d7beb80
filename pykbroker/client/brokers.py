"""Brokers: whether they answer, where their data is, and who is the controller."""

from collections.abc import Sequence
from typing import Any

import attrs

from pykbroker.client.client import Client, check
from pykbroker.client.connection import Question
from pykbroker.client.errors import NotServedError
from pykbroker.errors import KafkaError, error_of
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode
from wire.messages.placement import DescribableLogDirTopic, DescribeLogDirsRequest
from wire.messages.raft import (
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
)

METADATA_TOPIC = "__cluster_metadata"


@attrs.frozen
class LogDir:
    path: str
    error: ErrorCode
    replicas: int
    bytes: int  # of the replicas


async def active_controller(client: Client) -> int:
    """Return the id of the controller, -1 if there is none. Raises: KafkaError, OSError."""
    partition = DescribeQuorumRequestTopicData(METADATA_TOPIC, [DescribeQuorumRequestPartitionData(0)])
    try:
        answer = await client.ask_any(Question.of(DescribeQuorumRequest([partition])))
    except NotServedError:  # a cluster with ZooKeeper: its brokers know the controller
        return (await client.metadata([])).controller
    check(answer.error_code, answer.error_message)
    told = answer.topics[0].partitions[0]
    check(told.error_code, told.error_message)
    leader: int = told.leader_id
    return leader


async def log_dirs(client: Client, broker_id: int) -> list[LogDir]:
    """Return the log directories of a broker. Raises: KafkaError, OSError."""
    dirs = []
    for told in await _describe_log_dirs(client, broker_id, None):
        partitions = [each for topic in told.topics for each in topic.partitions]
        size = sum(each.partition_size for each in partitions)
        dirs.append(LogDir(told.log_dir, error_of(told.error_code), len(partitions), size))
    return dirs


async def replica_sizes(client: Client, broker_id: int, topic: str | None = None) -> dict[TopicPartition, int]:
    """Return the bytes of each replica that a broker has, of one topic or of all. Raises: KafkaError, OSError."""
    wanted = None
    if topic is not None:
        partitions = range(len((await client.topic(topic)).partitions))
        wanted = [DescribableLogDirTopic(topic, list(partitions))]
    return {
        TopicPartition(of_topic.name, each.partition_index): each.partition_size
        for told in await _describe_log_dirs(client, broker_id, wanted)
        for of_topic in told.topics
        for each in of_topic.partitions
        if not each.is_future_key
    }


async def _describe_log_dirs(
    client: Client, broker_id: int, topics: list[DescribableLogDirTopic] | None
) -> Sequence[Any]:
    answer = await client.ask_broker(broker_id, Question.of(DescribeLogDirsRequest(topics)))
    if answer.error_code:
        raise KafkaError(error_of(answer.error_code))
    results: Sequence[Any] = answer.results
    return results

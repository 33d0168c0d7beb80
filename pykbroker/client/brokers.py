"""Brokers: which there are, whether they answer, where their data is, who is the controller, and forgetting one."""

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import anyio
import attrs

from pykbroker.client.client import Client, check, check_answer
from pykbroker.client.connection import Question
from pykbroker.client.errors import NotServedError
from pykbroker.errors import KafkaError, error_of
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode
from wire.messages.brokers import DescribeClusterRequest, UnregisterBrokerRequest
from wire.messages.placement import DescribableLogDirTopic, DescribeLogDirsRequest
from wire.messages.raft import (
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
)

METADATA_TOPIC = "__cluster_metadata"

T = TypeVar("T")


@attrs.frozen
class Broker:
    id: int
    host: str
    port: int
    rack: str | None
    is_fenced: bool


@attrs.frozen
class LogDir:
    path: str
    error: ErrorCode
    replicas: int
    bytes: int  # of the replicas


async def registered_brokers(client: Client) -> list[Broker]:
    """Return the brokers in the order of their ids, fenced ones too where the cluster tells (KIP-1073)."""

    def build(version: int) -> DescribeClusterRequest:
        return DescribeClusterRequest(include_fenced_brokers=version >= 2)

    try:
        answer = await client.ask_controller(Question(DescribeClusterRequest, build), check_answer)
    except NotServedError:  # older than Kafka 2.8
        known = (await client.metadata([])).brokers.values()
        brokers = [Broker(each.id, each.host, each.port, each.rack, False) for each in known]
    else:
        brokers = [Broker(each.broker_id, each.host, each.port, each.rack, each.is_fenced) for each in answer.brokers]
    return sorted(brokers, key=lambda broker: broker.id)


async def unregister_broker(client: Client, broker_id: int) -> None:
    """Let the cluster forget a broker. Raises: KafkaError, BROKER_ID_NOT_REGISTERED; OSError."""
    await client.ask_controller(Question.of(UnregisterBrokerRequest(broker_id)), check_answer)


async def told_by_each(broker_ids: Iterable[int], ask: Callable[[int], Awaitable[T]]) -> dict[int, T]:
    """Ask brokers at once; those that are away, or have reasons not to tell, are left out."""
    told: dict[int, T] = {}

    async def ask_one(broker_id: int) -> None:
        with contextlib.suppress(KafkaError, NotServedError, OSError):
            told[broker_id] = await ask(broker_id)

    async with anyio.create_task_group() as tasks:
        for broker_id in broker_ids:
            tasks.start_soon(ask_one, broker_id)
    return told


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
    if topic is None:
        return await _replica_sizes(client, broker_id, None)
    return await sizes_of(client, broker_id, {topic: range(len((await client.topic(topic)).partitions))})


async def sizes_of(
    client: Client, broker_id: int, partitions: Mapping[str, Sequence[int]]
) -> dict[TopicPartition, int]:
    """Return the bytes of these replicas, as far as a broker has them. Raises: KafkaError, OSError."""
    wanted = [DescribableLogDirTopic(topic, list(indexes)) for topic, indexes in partitions.items()]
    return await _replica_sizes(client, broker_id, wanted)


async def _replica_sizes(
    client: Client, broker_id: int, wanted: list[DescribableLogDirTopic] | None
) -> dict[TopicPartition, int]:
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

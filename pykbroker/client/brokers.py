"""Brokers: whether they answer, where their data is, and who is the controller."""

import attrs

from pykbroker.client.client import Client, check, error_of
from pykbroker.client.connection import Question
from pykbroker.client.errors import NotServedError
from pykbroker.errors import KafkaError
from wire.errors import ErrorCode
from wire.messages.placement import DescribeLogDirsRequest
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
    answer = await client.ask_broker(broker_id, Question.of(DescribeLogDirsRequest(None)))
    if answer.error_code:
        raise KafkaError(error_of(answer.error_code))
    dirs = []
    for told in answer.results:
        partitions = [each for topic in told.topics for each in topic.partitions]
        size = sum(each.partition_size for each in partitions)
        dirs.append(LogDir(told.log_dir, error_of(told.error_code), len(partitions), size))
    return dirs

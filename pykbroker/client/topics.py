"""Topics: making them, deleting them, more partitions for them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from pykbroker.client.client import Client, check
from pykbroker.client.connection import Question
from pykbroker.errors import KafkaError, error_of
from wire.errors import ErrorCode
from wire.messages.topics import (
    CreatableReplicaAssignment,
    CreatableTopic,
    CreatableTopicConfig,
    CreatePartitionsRequest,
    CreatePartitionsTopic,
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DeleteTopicState,
)

BROKER_DEFAULT = -1


@attrs.frozen
class NewTopic:
    name: str
    partitions: int = BROKER_DEFAULT
    replication_factor: int = BROKER_DEFAULT
    configs: Mapping[str, str] = attrs.field(factory=dict)
    assignment: Sequence[Sequence[int]] = ()  # the replicas of each partition; empty: the cluster chooses


async def create_topics(
    client: Client, topics: Iterable[NewTopic], *, validate_only: bool = False
) -> dict[str, KafkaError | None]:
    """Return what became of each topic: None, or why not. Raises: NotServedError, OSError."""
    wanted = [
        CreatableTopic(
            topic.name,
            topic.partitions,
            topic.replication_factor,
            [CreatableReplicaAssignment(index, list(ids)) for index, ids in enumerate(topic.assignment)],
            [CreatableTopicConfig(name, value) for name, value in topic.configs.items()],
        )
        for topic in topics
    ]
    request = CreateTopicsRequest(wanted, client.settings.request_timeout_ms, validate_only)
    answer = await client.ask_controller(Question.of(request), lambda answer: _check_controller(answer.topics))
    return {told.name: _outcome(told) for told in answer.topics}


async def delete_topics(client: Client, names: Iterable[str]) -> dict[str, KafkaError | None]:
    """Return what became of each topic: None, or why not. Raises: NotServedError, OSError."""
    asked = list(names)

    def build(version: int) -> DeleteTopicsRequest:
        timeout_ms = client.settings.request_timeout_ms
        if version >= 6:
            return DeleteTopicsRequest(topics=[DeleteTopicState(name) for name in asked], timeout_ms=timeout_ms)
        return DeleteTopicsRequest(topic_names=asked, timeout_ms=timeout_ms)

    question = Question(DeleteTopicsRequest, build)
    answer = await client.ask_controller(question, lambda answer: _check_controller(answer.responses))
    client.forget()
    return {told.name: _outcome(told) for told in answer.responses}


async def create_partitions(
    client: Client, counts: Mapping[str, int], *, validate_only: bool = False
) -> dict[str, KafkaError | None]:
    """Let topics have so many partitions in all. Raises: NotServedError, OSError."""
    topics = [CreatePartitionsTopic(name, count, None) for name, count in counts.items()]
    request = CreatePartitionsRequest(topics, client.settings.request_timeout_ms, validate_only)
    answer = await client.ask_controller(Question.of(request), lambda answer: _check_controller(answer.results))
    client.forget()
    return {told.name: _outcome(told) for told in answer.results}


def _check_controller(outcomes: Iterable[Any]) -> None:
    """Raises: KafkaError, if all was refused for a reason that may pass, such as NOT_CONTROLLER."""
    codes = {error_of(told.error_code) for told in outcomes}
    if codes and all(code.retriable and code is not ErrorCode.UNKNOWN_TOPIC_OR_PARTITION for code in codes):
        check(codes.pop())


def _outcome(told: Any) -> KafkaError | None:
    return KafkaError(error_of(told.error_code), told.error_message) if told.error_code else None

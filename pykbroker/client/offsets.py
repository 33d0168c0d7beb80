"""Offsets of partitions: where they begin and end, what belongs to a time; and deleting what is before an offset."""

import enum
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pykbroker.client.client import Client, Lane
from pykbroker.client.connection import Question
from pykbroker.errors import KafkaError, error_of
from pykbroker.topic_partition import TopicPartition
from wire.messages.offsets import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
    ListOffsetsPartition,
    ListOffsetsRequest,
    ListOffsetsTopic,
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)

CONSUMER = -1
END = -1
BEGINNING = -2
TO_HIGH_WATERMARK = -1
UNKNOWN_EPOCH = -1


class IsolationLevel(enum.IntEnum):
    READ_UNCOMMITTED = 0
    READ_COMMITTED = 1


async def list_offsets(
    client: Client,
    timestamps: Mapping[TopicPartition, int],
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> dict[TopicPartition, int]:
    """Return the first offset at or after a time, in ms, or of BEGINNING or END; -1 where no record is that young.

    Raises: KafkaError of the first partition that has none.
    """
    return _without_errors(await list_offsets_or_errors(client, timestamps, isolation))


async def list_offsets_or_errors(
    client: Client,
    timestamps: Mapping[TopicPartition, int],
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> dict[TopicPartition, int | KafkaError]:
    """Do what `list_offsets` does, for callers to whom some of the offsets are better than none."""

    async def ask(leader: int, led: list[TopicPartition]) -> dict[TopicPartition, int | KafkaError]:
        by_topic: dict[str, list[ListOffsetsPartition]] = {}
        for tp in led:
            wanted = ListOffsetsPartition(tp.partition, client.known_leader_epoch(tp), timestamps[tp])
            by_topic.setdefault(tp.topic, []).append(wanted)
        topics = [ListOffsetsTopic(name, partitions) for name, partitions in by_topic.items()]
        timeout_ms = client.settings.request_timeout_ms
        request = ListOffsetsRequest(CONSUMER, isolation, topics, timeout_ms)
        answer = await client.ask_broker(leader, Question.of(request))
        return _results(answer, "offset")

    return await client.per_leader(timestamps, ask)


async def beginnings(client: Client, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """Return the log start offsets. Raises: KafkaError."""
    return await list_offsets(client, dict.fromkeys(partitions, BEGINNING))


async def ends(
    client: Client,
    partitions: Iterable[TopicPartition],
    isolation: IsolationLevel = IsolationLevel.READ_UNCOMMITTED,
) -> dict[TopicPartition, int]:
    """Return the high watermarks, or with read_committed the last stable offsets. Raises: KafkaError."""
    return await list_offsets(client, dict.fromkeys(partitions, END), isolation)


class EpochQuestion(NamedTuple):
    leader_epoch: int  # of the leader that is asked, as far as it is known
    epoch: int


class EpochEnd(NamedTuple):
    epoch: int  # the one that was asked for, or the largest before it that the leader's log has; -1: none
    offset: int  # exclusive; -1: not known


async def ends_of_epochs(
    client: Client, leader: int, asked: Mapping[TopicPartition, EpochQuestion]
) -> dict[TopicPartition, EpochEnd | KafkaError]:
    """Ask a leader where the records of epochs end in its logs. Raises: OSError, NotServedError."""
    by_topic: dict[str, list[OffsetForLeaderPartition]] = {}
    for tp, question in asked.items():
        by_topic.setdefault(tp.topic, []).append(OffsetForLeaderPartition(tp.partition, *question))
    topics = [OffsetForLeaderTopic(name, partitions) for name, partitions in by_topic.items()]
    request = Question.of(OffsetForLeaderEpochRequest(CONSUMER, topics))
    answer = await client.ask_broker(leader, request, lane=Lane.FETCH)
    return {
        TopicPartition(topic.topic, told.partition): KafkaError(error_of(told.error_code))
        if told.error_code
        else EpochEnd(told.leader_epoch, told.end_offset)
        for topic in answer.topics
        for told in topic.partitions
    }


async def delete_records(
    client: Client, before: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int | KafkaError]:
    """Delete what is before the offsets, TO_HIGH_WATERMARK: all; return where each partition begins now."""

    async def ask(leader: int, led: list[TopicPartition]) -> dict[TopicPartition, int | KafkaError]:
        by_topic: dict[str, list[DeleteRecordsPartition]] = {}
        for tp in led:
            by_topic.setdefault(tp.topic, []).append(DeleteRecordsPartition(tp.partition, before[tp]))
        topics = [DeleteRecordsTopic(name, partitions) for name, partitions in by_topic.items()]
        answer = await client.ask_broker(
            leader, Question.of(DeleteRecordsRequest(topics, client.settings.request_timeout_ms))
        )
        return _results(answer, "low_watermark")

    return await client.per_leader(before, ask)


def _results(answer: Any, field: str) -> dict[TopicPartition, int | KafkaError]:
    return {
        TopicPartition(topic.name, told.partition_index): KafkaError(error_of(told.error_code))
        if told.error_code
        else getattr(told, field)
        for topic in answer.topics
        for told in topic.partitions
    }


def _without_errors(results: Mapping[TopicPartition, int | KafkaError]) -> dict[TopicPartition, int]:
    offsets = {}
    for tp, result in results.items():
        if isinstance(result, KafkaError):
            raise KafkaError(result.code, f"{tp}: {result.message}" if result.message else str(tp))
        offsets[tp] = result
    return offsets

"""Topics come, grow and go.

CreateTopics (19), versions 2-7
- Each topic succeeds or fails by itself, and those that succeed are written in one transaction. A name that is in the
  request twice is INVALID_REQUEST; two names that differ only in "." and "_" collide (INVALID_TOPIC_EXCEPTION), also
  within one request.
- More than 10,000 partitions in one request: POLICY_VIOLATION for all of it.
- From version 5 the answer tells partitions, replication factor and the configs in force; from version 7 the topic id.
- Errors: INVALID_TOPIC_EXCEPTION, TOPIC_ALREADY_EXISTS, INVALID_CONFIG, INVALID_REPLICATION_FACTOR, INVALID_PARTITIONS,
  INVALID_REPLICA_ASSIGNMENT, INVALID_REQUEST, POLICY_VIOLATION.

DeleteTopics (20), versions 1-6
- By name, and from version 6 by id. TOPIC_DELETION_DISABLED if the broker's configuration forbids it.
- Errors: UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, INVALID_REQUEST (twice in the request; both or neither of name
  and id).

CreatePartitions (37), versions 0-3
- The count only grows: INVALID_PARTITIONS otherwise. Assignments are of the new partitions alone.
- Errors: UNKNOWN_TOPIC_OR_PARTITION, INVALID_PARTITIONS, INVALID_REPLICA_ASSIGNMENT, POLICY_VIOLATION, INVALID_REQUEST.

Rules: partitions that are created or deleted count for the client's controller mutation quota (KIP-599). Beyond it a
topic is THROTTLING_QUOTA_EXCEEDED in the versions that know that (6, 5 and 3); in older ones the client is throttled.
A timeout of the request needs no attention, since the answer waits for one write to the store.
Sources: Kafka's ReplicationControlManager and ControllerApis; KIP-525 (configs in the answer), KIP-516.
"""

import os
import random
from collections import Counter
from collections.abc import Mapping, Sequence

from pykbroker.cluster.changes import Change, delete_topic
from pykbroker.cluster.changes import create_partitions as add_partitions
from pykbroker.cluster.config_entries import ConfigEntry, topic_entries
from pykbroker.cluster.image import MetadataImage, TopicImage
from pykbroker.cluster.keys import collision_name
from pykbroker.cluster.new_topics import (
    MAX_PARTITIONS_PER_REQUEST,
    NewTopic,
    PlannedTopic,
    check_assignment,
    check_equal_replication,
    plan_topic,
)
from pykbroker.cluster.placement import assign_replicas
from pykbroker.errors import KafkaError
from pykbroker.handlers.context import RequestContext
from pykbroker.handlers.partition_quota import PartitionQuota
from wire.errors import ErrorCode
from wire.messages.topics import (
    CreatableTopic,
    CreatableTopicConfigs,
    CreatableTopicResult,
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreatePartitionsTopic,
    CreatePartitionsTopicResult,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from wire.primitives import uuid_text
from wire.schema import ZERO_UUID

CONFIGS_FROM = 5


async def create_topics(ctx: RequestContext, request: CreateTopicsRequest) -> CreateTopicsResponse:
    creation = _Creation(ctx, request.topics)
    await ctx.services.cluster.decide(creation.change, validate_only=request.validate_only)
    return CreateTopicsResponse(throttle_time_ms=creation.quota.throttle_ms, topics=creation.results)


class _Creation:
    """The topics of one CreateTopics request; `change` may be called again, and then decides all anew."""

    def __init__(self, ctx: RequestContext, topics: Sequence[CreatableTopic]) -> None:
        self.results: list[CreatableTopicResult] = []
        self._ctx = ctx
        self._config = ctx.services.config
        self._topics = topics
        self._default_configs: list[CreatableTopicConfigs] | None = None
        self.quota = PartitionQuota(ctx, strict_from=6)

    def change(self, image: MetadataImage) -> Change:
        self.results = []
        change = Change()
        taken: dict[str, str] = {}
        times = Counter(topic.name for topic in self._topics)
        wanted = [_wanted(topic) for topic in self._topics if times[topic.name] == 1]
        partitions = sum(max(topic.partition_count(self._config), 0) for topic in wanted)
        for topic in wanted:
            try:
                if partitions > MAX_PARTITIONS_PER_REQUEST:
                    raise _too_many(partitions)
                planned = plan_topic(image, self._config, topic)
                self.quota.check(topic.name, len(planned.replicas))
                other = taken.setdefault(collision_name(topic.name), topic.name)
                if other != topic.name:
                    raise KafkaError(
                        ErrorCode.INVALID_TOPIC_EXCEPTION,
                        f"{topic.name} is too much like {other} in the same request",
                    )
            except KafkaError as error:
                self.results.append(_refused(topic.name, error))
                continue
            change += planned.change
            self.results.append(self._created(image, planned))
        for name in (name for name, count in times.items() if count > 1):
            self.results.append(
                _refused(name, KafkaError(ErrorCode.INVALID_REQUEST, "the topic is named more than once"))
            )
        return change

    def _created(self, image: MetadataImage, planned: PlannedTopic) -> CreatableTopicResult:
        return CreatableTopicResult(
            name=planned.name,
            topic_id=planned.id,
            error_message=None,
            num_partitions=len(planned.replicas),
            replication_factor=len(planned.replicas[0]),
            configs=self._configs(image, planned) if self._ctx.api_version >= CONFIGS_FROM else [],
        )

    def _configs(self, image: MetadataImage, planned: PlannedTopic) -> list[CreatableTopicConfigs]:
        if planned.configs:
            return self._effective(image, planned.configs)
        if self._default_configs is None:
            self._default_configs = self._effective(image, {})
        return self._default_configs

    def _effective(self, image: MetadataImage, configs: Mapping[str, str]) -> list[CreatableTopicConfigs]:
        broker_id = self._ctx.services.cluster.broker_id
        return [_shown(entry) for entry in topic_entries(image, self._config, broker_id, configs, whole_chains=True)]


def _wanted(topic: CreatableTopic) -> NewTopic:
    return NewTopic(
        name=topic.name,
        num_partitions=topic.num_partitions,
        replication_factor=topic.replication_factor,
        assignments=[(each.partition_index, each.broker_ids) for each in topic.assignments],
        configs={config.name: config.value for config in topic.configs},
    )


def _refused(name: str, error: KafkaError) -> CreatableTopicResult:
    return CreatableTopicResult(name=name, error_code=error.code, error_message=error.message, configs=[])


def _shown(entry: ConfigEntry) -> CreatableTopicConfigs:
    return CreatableTopicConfigs(
        name=entry.name,
        value=entry.value,
        read_only=entry.read_only,
        config_source=entry.source,
        is_sensitive=entry.sensitive,
    )


async def delete_topics(ctx: RequestContext, request: DeleteTopicsRequest) -> DeleteTopicsResponse:
    if not ctx.services.config.delete_topic_enable:
        raise KafkaError(
            ErrorCode.TOPIC_DELETION_DISABLED if ctx.api_version >= 3 else ErrorCode.INVALID_REQUEST,
            "delete.topic.enable is false",
        )
    asked = request.topics or [DeleteTopicState(name=name) for name in request.topic_names]
    results: list[DeletableTopicResult] = []
    quota = PartitionQuota(ctx, strict_from=5)

    def change(image: MetadataImage) -> Change:
        results.clear()
        change = Change()
        for state, wrong in _without_repetitions(image, asked):
            topic = image.topics.get(state.name) if state.name is not None else image.topic_by_id(state.topic_id)
            error = _unknown(state) if wrong is None and topic is None else wrong
            result = DeletableTopicResult(name=state.name, topic_id=state.topic_id)
            results.append(result)
            try:
                if error is not None:
                    raise error
                assert topic is not None
                result.name, result.topic_id = topic.name, topic.id
                quota.check(topic.name, len(topic.partitions))
                change += delete_topic(image, topic)
            except KafkaError as error:
                result.error_code, result.error_message = error.code, error.message
        return change

    await ctx.services.cluster.decide(change)
    return DeleteTopicsResponse(throttle_time_ms=quota.throttle_ms, responses=results)


def _without_repetitions(
    image: MetadataImage, asked: Sequence[DeleteTopicState]
) -> list[tuple[DeleteTopicState, KafkaError | None]]:
    """Return each topic that is asked for once, and what is wrong with how it is asked for."""

    def wrong(text: str) -> KafkaError:
        return KafkaError(ErrorCode.INVALID_REQUEST, text)

    names = Counter(state.name for state in asked if state.topic_id == ZERO_UUID and state.name is not None)
    ids = Counter(state.topic_id for state in asked if state.name is None and state.topic_id != ZERO_UUID)
    found: list[tuple[DeleteTopicState, KafkaError | None]] = []
    for state in asked:
        if state.name is None and state.topic_id == ZERO_UUID:
            found.append((state, wrong("a topic without a name or an id")))
        elif state.name is not None and state.topic_id != ZERO_UUID:
            found.append((state, wrong("a topic with both a name and an id")))
    for name, count in names.items():
        topic = image.topics.get(name)
        if count > 1:
            found.append((DeleteTopicState(name=name), wrong("the topic is named more than once")))
        elif topic is not None and topic.id in ids:
            text = "the request has the id of this topic, too"
            found.append((DeleteTopicState(name=name, topic_id=topic.id), wrong(text)))
            del ids[topic.id]
        else:
            found.append((DeleteTopicState(name=name), None))
    for topic_id, count in ids.items():
        state = DeleteTopicState(name=None, topic_id=topic_id)
        found.append((state, wrong("the request has this topic id more than once") if count > 1 else None))
    return found


def _too_many(partitions: int) -> KafkaError:
    return KafkaError(
        ErrorCode.POLICY_VIOLATION,
        f"{partitions} new partitions are too many for one request, {MAX_PARTITIONS_PER_REQUEST} are the most",
    )


def _unknown(state: DeleteTopicState) -> KafkaError:
    if state.name is not None:
        return KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {state.name}")
    return KafkaError(ErrorCode.UNKNOWN_TOPIC_ID, f"no topic has the id {uuid_text(state.topic_id)}")


async def create_partitions(ctx: RequestContext, request: CreatePartitionsRequest) -> CreatePartitionsResponse:
    results: list[CreatePartitionsTopicResult] = []
    quota = PartitionQuota(ctx, strict_from=3)

    def change(image: MetadataImage) -> Change:
        results.clear()
        change = Change()
        times = Counter(topic.name for topic in request.topics)
        for topic in request.topics:
            if times[topic.name] > 1:
                continue
            result = CreatePartitionsTopicResult(name=topic.name)
            try:
                change += _grown(image, topic, quota)
            except KafkaError as error:
                result.error_code, result.error_message = error.code, error.message
            results.append(result)
        results.extend(
            CreatePartitionsTopicResult(
                name=name,
                error_code=ErrorCode.INVALID_REQUEST,
                error_message="the topic is named more than once",
            )
            for name, count in times.items()
            if count > 1
        )
        return change

    await ctx.services.cluster.decide(change, validate_only=request.validate_only)
    return CreatePartitionsResponse(throttle_time_ms=quota.throttle_ms, results=results)


def _grown(image: MetadataImage, request: CreatePartitionsTopic, quota: PartitionQuota) -> Change:
    topic = image.topics.get(request.name)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
    current = len(topic.partitions)
    added = request.count - current
    if added == 0:
        raise KafkaError(ErrorCode.INVALID_PARTITIONS, f"{topic.name} has {current} partitions already")
    if added < 0:
        raise KafkaError(
            ErrorCode.INVALID_PARTITIONS,
            f"{topic.name} has {current} partitions: {request.count} would be fewer",
        )
    if added > MAX_PARTITIONS_PER_REQUEST:
        raise _too_many(added)
    replicas = _new_replicas(image, topic, request, added)
    quota.check(topic.name, added)
    return add_partitions(image, topic, replicas)


def _new_replicas(
    image: MetadataImage, topic: TopicImage, request: CreatePartitionsTopic, added: int
) -> Sequence[tuple[int, ...]]:
    factor = len(topic.partitions[0].replicas)
    if request.assignments is None:
        return assign_replicas(image.brokers.values(), added, factor, random.Random(os.urandom(8)))
    if len(request.assignments) != added:
        raise KafkaError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"{added} partitions are to be added, but {len(request.assignments)} are assigned",
        )
    for assignment in request.assignments:
        check_assignment(image, assignment.broker_ids)
    replicas = [tuple(assignment.broker_ids) for assignment in request.assignments]
    check_equal_replication(replicas, factor)
    return replicas

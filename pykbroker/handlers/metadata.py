"""Which brokers there are, what they lead, and who coordinates what.

Metadata (3), versions 0-13
- Topics null: all of them; empty: none, except in version 0, where empty means all.
- A topic that does not exist is created if client and broker allow it; the answer says UNKNOWN_TOPIC_OR_PARTITION all
  the same, as Kafka's does, and the client asks again.
- By id from version 12: UNKNOWN_TOPIC_ID. An id, or no name, in an older version is INVALID_REQUEST.
- A partition without a reachable leader: LEADER_NOT_AVAILABLE; from version 6 LISTENER_NOT_FOUND where only the
  listener is missing. Version 0 leaves unreachable replicas out.
- Authorized operations from version 8 if asked for; those of the cluster moved to DescribeCluster with version 11.

DescribeTopicPartitions (75), version 0
- Topics in the order of their names, from a cursor on, up to a limit of partitions; the next cursor says where to go
  on. A partition without a leader is no error here.

FindCoordinator (10), versions 0-6
- Of groups, transactional ids (1+), share partitions (6+); several keys from version 4. The topic that assigns keys to
  brokers is created on first use, and the answer meanwhile is COORDINATOR_NOT_AVAILABLE.

Sources: KIP-516 (topic ids), KIP-430, KIP-699 (several keys), KIP-932, KIP-966; Kafka's KRaftMetadataCache.
"""

import re
from collections.abc import Callable, Coroutine, Iterable, Sequence

from pykbroker.cluster.hashing import partition_for_key
from pykbroker.cluster.image import MetadataImage, PartitionImage, TopicImage
from pykbroker.cluster.topic_names import (
    CONSUMER_OFFSETS,
    INTERNAL_TOPICS,
    SHARE_GROUP_STATE,
    TRANSACTION_STATE,
    is_valid_topic_name,
)
from pykbroker.errors import KafkaError
from pykbroker.handlers.context import RequestContext
from pykbroker.handlers.operations import CLUSTER_OPERATIONS, NOT_ASKED, TOPIC_OPERATIONS
from pykbroker.handlers.partition_quota import PartitionQuota
from wire.errors import ErrorCode
from wire.messages.metadata import (
    Coordinator,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    DescribeTopicPartitionsResponseCursor,
    DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    MetadataRequest,
    MetadataRequestTopic,
    MetadataResponse,
    MetadataResponseBroker,
    MetadataResponsePartition,
    MetadataResponseTopic,
)
from wire.schema import ZERO_UUID

IDS_FROM = 12


def metadata(
    ctx: RequestContext, request: MetadataRequest
) -> MetadataResponse | Coroutine[object, object, MetadataResponse]:
    image = ctx.services.cluster.image
    asked = request.topics
    if asked is None or (ctx.api_version == 0 and not asked):
        return _metadata_answer(ctx, request, [_Topics(ctx, request, image).known(t) for t in image.topics.values()])
    _check_names_and_ids(ctx, asked)
    topics = _Topics(ctx, request, image)
    if any(topic.topic_id != ZERO_UUID for topic in asked):
        found = [topics.by_id(topic.topic_id) for topic in asked if topic.topic_id != ZERO_UUID]
        return _metadata_answer(ctx, request, found)
    names = dict.fromkeys(topic.name for topic in asked if topic.name is not None)
    answer = _metadata_answer(ctx, request, [topics.by_name(name) for name in names])
    if request.allow_auto_topic_creation and ctx.services.config.auto_create_topics_enable:
        missing = [name for name in names if name not in image.topics and is_valid_topic_name(name)]
        if missing:
            return _after_creation(ctx, missing, answer)
    return answer


async def _after_creation(ctx: RequestContext, names: Sequence[str], answer: MetadataResponse) -> MetadataResponse:
    config = ctx.services.config
    quota = PartitionQuota(ctx, strict_from=0)
    from pykbroker.cluster.new_topics import create_automatically

    await ctx.services.cluster.propose(lambda image: create_automatically(image, config, names, quota.check))
    return answer


def _check_names_and_ids(ctx: RequestContext, asked: Iterable[MetadataRequestTopic]) -> None:
    for topic in asked:
        if ctx.api_version < IDS_FROM and (topic.name is None or topic.topic_id != ZERO_UUID):
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"version {ctx.api_version} asks for topics by their names")
    if all(topic.name is None and topic.topic_id == ZERO_UUID for topic in asked) and asked:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "A topic has neither a name nor an id")


def _metadata_answer(
    ctx: RequestContext, request: MetadataRequest, topics: list[MetadataResponseTopic]
) -> MetadataResponse:
    image = ctx.services.cluster.image
    return MetadataResponse(
        brokers=[
            MetadataResponseBroker(node_id=broker.id, host=endpoint.host, port=endpoint.port, rack=broker.rack)
            for broker in image.alive_brokers()
            if (endpoint := broker.listeners.get(ctx.connection.listener)) is not None
        ],
        cluster_id=image.cluster_id,
        controller_id=image.controller_id,
        topics=topics,
        cluster_authorized_operations=(
            CLUSTER_OPERATIONS if request.include_cluster_authorized_operations else NOT_ASKED
        ),
    )


class _Topics:
    """Builds the topics of one Metadata answer."""

    def __init__(self, ctx: RequestContext, request: MetadataRequest, image: MetadataImage) -> None:
        self._image = image
        self._operations = TOPIC_OPERATIONS if request.include_topic_authorized_operations else NOT_ASKED
        self._reachability = _Reachability(image, ctx.connection.listener)
        self._hide_unreachable = ctx.api_version == 0
        self._tell_missing_listener = ctx.api_version >= 6

    def by_name(self, name: str) -> MetadataResponseTopic:
        topic = self._image.topics.get(name)
        if topic is not None:
            return self.known(topic)
        valid = is_valid_topic_name(name)
        return MetadataResponseTopic(
            error_code=ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if valid else ErrorCode.INVALID_TOPIC_EXCEPTION,
            name=name,
            is_internal=name in INTERNAL_TOPICS,
            topic_authorized_operations=self._operations,
        )

    def by_id(self, topic_id: bytes) -> MetadataResponseTopic:
        topic = self._image.topic_by_id(topic_id)
        if topic is not None:
            return self.known(topic)
        return MetadataResponseTopic(error_code=ErrorCode.UNKNOWN_TOPIC_ID, name=None, topic_id=topic_id)

    def known(self, topic: TopicImage) -> MetadataResponseTopic:
        partition = self._partition
        return MetadataResponseTopic(
            name=topic.name,
            topic_id=topic.id,
            is_internal=topic.is_internal,
            partitions=[partition(index, state) for index, state in enumerate(topic.partitions)],
            topic_authorized_operations=self._operations,
        )

    def _partition(self, index: int, state: PartitionImage) -> MetadataResponsePartition:
        reachability = self._reachability
        error = reachability.leader_error(state)
        if error is ErrorCode.LISTENER_NOT_FOUND and not self._tell_missing_listener:
            error = ErrorCode.LEADER_NOT_AVAILABLE
        leader = -1 if error else state.leader
        replicas, isr = list(state.replicas), list(state.isr)
        if self._hide_unreachable:
            replicas, isr = reachability.only_reachable(replicas), reachability.only_reachable(isr)
            if not error and (len(replicas) < len(state.replicas) or len(isr) < len(state.isr)):
                error = ErrorCode.REPLICA_NOT_AVAILABLE
        return MetadataResponsePartition(
            error_code=error,
            partition_index=index,
            leader_id=leader,
            leader_epoch=state.leader_epoch,
            replica_nodes=replicas,
            isr_nodes=isr,
            offline_replicas=reachability.offline(state),
        )


class _Reachability:
    """Which brokers a client of a listener can reach."""

    def __init__(self, image: MetadataImage, listener: str) -> None:
        self._alive = {broker.id for broker in image.brokers.values() if not broker.fenced}
        self._reachable = {broker_id for broker_id in self._alive if listener in image.brokers[broker_id].listeners}

    def leader_error(self, state: PartitionImage) -> ErrorCode:
        if state.leader in self._reachable:
            return ErrorCode.NONE
        return ErrorCode.LISTENER_NOT_FOUND if state.leader in self._alive else ErrorCode.LEADER_NOT_AVAILABLE

    def only_reachable(self, broker_ids: list[int]) -> list[int]:
        return [broker_id for broker_id in broker_ids if broker_id in self._reachable]

    def offline(self, state: PartitionImage) -> list[int]:
        if self._alive.issuperset(state.replicas):
            return []
        return [broker_id for broker_id in state.replicas if broker_id not in self._alive]


def describe_topic_partitions(
    ctx: RequestContext, request: DescribeTopicPartitionsRequest
) -> DescribeTopicPartitionsResponse:
    image = ctx.services.cluster.image
    cursor = request.cursor
    names = {topic.name for topic in request.topics} or set(image.topics)
    if cursor is not None:
        if cursor.partition_index < 0:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "The cursor's partition index must not be negative")
        if request.topics and cursor.topic_name not in names:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "The cursor's topic is not among the topics of the request")
        names = {name for name in names if name >= cursor.topic_name}
    left = min(max(1, request.response_partition_limit), ctx.services.config.max_request_partition_size_limit)
    response = DescribeTopicPartitionsResponse()
    reachability = _Reachability(image, ctx.connection.listener)
    for name in sorted(names):
        topic = image.topics.get(name)
        if topic is None:
            if not request.topics:
                continue
            valid = is_valid_topic_name(name)
            error = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION if valid else ErrorCode.INVALID_TOPIC_EXCEPTION
            response.topics.append(
                DescribeTopicPartitionsResponseTopic(
                    error_code=error, name=name, topic_authorized_operations=TOPIC_OPERATIONS
                )
            )
            continue
        first = cursor.partition_index if cursor is not None and cursor.topic_name == name else 0
        if not left:
            response.next_cursor = DescribeTopicPartitionsResponseCursor(topic_name=name, partition_index=first)
            break
        end = min(first + left, len(topic.partitions))
        response.topics.append(_described(topic, first, end, reachability))
        left -= max(0, end - first)
        if end < len(topic.partitions):
            response.next_cursor = DescribeTopicPartitionsResponseCursor(topic_name=name, partition_index=end)
            break
    return response


def _described(
    topic: TopicImage, first: int, end: int, reachability: _Reachability
) -> DescribeTopicPartitionsResponseTopic:
    return DescribeTopicPartitionsResponseTopic(
        name=topic.name,
        topic_id=topic.id,
        is_internal=topic.is_internal,
        partitions=[_described_partition(topic, index, reachability) for index in range(first, end)],
        topic_authorized_operations=TOPIC_OPERATIONS,
    )


def _described_partition(
    topic: TopicImage, index: int, reachability: _Reachability
) -> DescribeTopicPartitionsResponsePartition:
    state = topic.partitions[index]
    return DescribeTopicPartitionsResponsePartition(
        partition_index=index,
        leader_id=-1 if reachability.leader_error(state) else state.leader,
        leader_epoch=state.leader_epoch,
        replica_nodes=list(state.replicas),
        isr_nodes=list(state.isr),
        eligible_leader_replicas=list(state.elr),
        last_known_elr=list(state.last_known_elr),
        offline_replicas=reachability.offline(state),
    )


_COORDINATORS = {0: CONSUMER_OFFSETS, 1: TRANSACTION_STATE, 2: SHARE_GROUP_STATE}  # by key type
_SHARE_KEY_TYPE = 2
_SHARE_KEY = re.compile(r".+:[A-Za-z0-9_-]{22}:\d+", re.DOTALL)  # group id, topic id, partition


def find_coordinator(
    ctx: RequestContext, request: FindCoordinatorRequest
) -> FindCoordinatorResponse | Coroutine[object, object, FindCoordinatorResponse]:
    keys = request.coordinator_keys if ctx.api_version >= 4 else [request.key]
    found = [_coordinator(ctx, request.key_type, key) for key in keys]
    topic = _COORDINATORS.get(request.key_type)
    missing = topic is not None and topic not in ctx.services.cluster.image.topics
    answer = _several if ctx.api_version >= 4 else _single
    if missing and any(one.error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE for one in found):
        assert topic is not None
        return _after_topic(ctx, topic, answer, found)
    return answer(found)


Answer = Callable[[list[Coordinator]], FindCoordinatorResponse]


async def _after_topic(
    ctx: RequestContext, topic: str, answer: Answer, found: list[Coordinator]
) -> FindCoordinatorResponse:
    config = ctx.services.config
    from pykbroker.cluster.new_topics import create_automatically

    await ctx.services.cluster.propose(lambda image: create_automatically(image, config, [topic]))
    return answer(found)


def _several(found: list[Coordinator]) -> FindCoordinatorResponse:
    return FindCoordinatorResponse(coordinators=found)


def _single(found: list[Coordinator]) -> FindCoordinatorResponse:
    one = found[0]
    message = {
        ErrorCode.NONE: "NONE",
        ErrorCode.COORDINATOR_NOT_AVAILABLE: "no broker coordinates it at present",
    }.get(ErrorCode(one.error_code), one.error_message)
    return FindCoordinatorResponse(
        error_code=one.error_code, error_message=message, node_id=one.node_id, host=one.host, port=one.port
    )


def _coordinator(ctx: RequestContext, key_type: int, key: str) -> Coordinator:
    topic_name = _COORDINATORS.get(key_type)
    if topic_name is None:
        return _no_coordinator(key, ErrorCode.INVALID_REQUEST, f"there is no type {key_type} of coordinators")
    if key_type == _SHARE_KEY_TYPE and (ctx.api_version < 6 or not _SHARE_KEY.fullmatch(key)):
        return _no_coordinator(key, ErrorCode.INVALID_REQUEST)
    image = ctx.services.cluster.image
    topic = image.topics.get(topic_name)
    if topic is None:
        return _no_coordinator(key, ErrorCode.COORDINATOR_NOT_AVAILABLE)
    leader = image.brokers.get(topic.partitions[partition_for_key(key, len(topic.partitions))].leader)
    endpoint = None if leader is None or leader.fenced else leader.listeners.get(ctx.connection.listener)
    if leader is None or endpoint is None:
        return _no_coordinator(key, ErrorCode.COORDINATOR_NOT_AVAILABLE)
    return Coordinator(key=key, node_id=leader.id, host=endpoint.host, port=endpoint.port, error_message="")


def _no_coordinator(key: str, error: ErrorCode, message: str = "") -> Coordinator:
    return Coordinator(key=key, node_id=-1, host="", port=-1, error_code=error, error_message=message)

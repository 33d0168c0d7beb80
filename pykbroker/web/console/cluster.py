"""Brokers, topics, partitions and configs as JSON.

Rules
- What costs a question to every broker (sizes) or to every leader (offsets) is null where it is not answered: half a
  page is better than none.
- A list has at most MAX_TOPICS topics, a topic at most MAX_PARTITIONS partitions; `left_out` says how many more.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence

import anyio
from starlette.requests import Request

from pykbroker.client import Client, NotServedError
from pykbroker.client.brokers import active_controller, log_dirs, replica_sizes
from pykbroker.client.configs import ConfigEntry, ConfigSource, Resource, ResourceType, describe_configs
from pykbroker.client.metadata import NOBODY, ClusterMetadata, PartitionMetadata, TopicMetadata
from pykbroker.client.offsets import BEGINNING, END, list_offsets_or_errors
from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition
from pykbroker.web.console.api import BadRequestError, Json, text_param

MAX_TOPICS = 5000
MAX_PARTITIONS = 1000

Sizes = Mapping[int, Mapping[TopicPartition, int]]  # of replicas, by broker


class ClusterPages:
    def __init__(self, client: Client, *, is_writable: bool, node_id: int) -> None:
        self._client = client
        self._is_writable = is_writable
        self._node_id = node_id

    async def cluster(self, request: Request) -> Mapping[str, Json]:
        """What every page shows."""
        metadata = await self._client.metadata([])
        return {
            "cluster_id": metadata.cluster_id,
            "node_id": self._node_id,
            "brokers": len(metadata.brokers),
            "is_writable": self._is_writable,
        }

    async def brokers(self, request: Request) -> Mapping[str, Json]:
        metadata = await self._client.metadata()
        controller = await active_controller(self._client)
        dirs: dict[int, list[Mapping[str, Json]]] = {}

        async def ask_dirs(broker_id: int) -> None:
            with contextlib.suppress(KafkaError, OSError, NotServedError):
                found = await log_dirs(self._client, broker_id)
                dirs[broker_id] = [{"path": each.path, "error": each.error.name, "bytes": each.bytes} for each in found]

        async with anyio.create_task_group() as tasks:
            for broker_id in metadata.brokers:
                tasks.start_soon(ask_dirs, broker_id)
        partitions = [each for topic in metadata.topics.values() for each in topic.partitions]
        ids = metadata.brokers.keys() | {broker for each in partitions for broker in each.replicas}
        return {
            "brokers": [
                {
                    "id": broker_id,
                    "address": None if broker is None else f"{broker.host}:{broker.port}",  # null: it is not there
                    "rack": None if broker is None else broker.rack,
                    "is_controller": broker_id == controller,
                    "leads": sum(each.leader == broker_id for each in partitions),
                    "replicas": sum(broker_id in each.replicas for each in partitions),
                    "not_in_sync": sum(broker_id in each.replicas and broker_id not in each.isr for each in partitions),
                    "log_dirs": dirs.get(broker_id),
                }
                for broker_id in sorted(ids)
                for broker in [metadata.brokers.get(broker_id)]
            ]
        }

    async def topics(self, request: Request) -> Mapping[str, Json]:
        metadata = await self._client.metadata()
        sizes = await self._sizes(metadata, None)
        topics = sorted((topic for topic in metadata.topics.values() if not topic.error), key=lambda topic: topic.name)
        shown = topics[:MAX_TOPICS]
        leaders = _leader_sizes(shown, sizes)
        return {
            "topics": [_topic(topic, leaders.get(topic.name)) for topic in shown],
            "left_out": len(topics) - len(shown),
        }

    async def topic(self, request: Request) -> Mapping[str, Json]:
        name = request.path_params["topic"]
        metadata = await self._client.metadata([name])
        topic = metadata.topics[name]
        if topic.error:
            raise KafkaError(topic.error, f"There is no topic {name}.")
        shown = topic.partitions[:MAX_PARTITIONS]
        led = [TopicPartition(name, each.index) for each in shown if each.leader != NOBODY]
        beginnings = await list_offsets_or_errors(self._client, dict.fromkeys(led, BEGINNING))
        ends = await list_offsets_or_errors(self._client, dict.fromkeys(led, END))
        sizes = await self._sizes(metadata, name)
        return {
            **_topic(topic, _leader_sizes([topic], sizes).get(name)),
            "left_out": len(topic.partitions) - len(shown),
            "partitions": [
                {
                    **_partition(each),
                    "beginning": _number(beginnings.get(TopicPartition(name, each.index))),
                    "end": _number(ends.get(TopicPartition(name, each.index))),
                    "bytes": _size(sizes, each.leader, TopicPartition(name, each.index)),
                }
                for each in shown
            ],
        }

    async def configs(self, request: Request) -> Mapping[str, Json]:
        try:
            kind = ResourceType[text_param(request, "type").upper()]
        except KeyError:
            raise BadRequestError("type is none of topic, broker, group, client_metrics") from None
        resource = Resource(kind, text_param(request, "name"))
        entries = await describe_configs(self._client, resource, include_documentation=True)
        return {
            "configs": [
                {
                    "name": entry.name,
                    "value": entry.value,
                    "is_sensitive": entry.is_sensitive,
                    "is_set": entry.is_set,
                    "source": entry.source.name,
                    "is_read_only": entry.is_read_only,
                    "documentation": entry.documentation,
                }
                for entry in sorted(entries, key=_set_first)
            ]
        }

    async def _sizes(self, metadata: ClusterMetadata, topic: str | None) -> Sizes:
        sizes: dict[int, Mapping[TopicPartition, int]] = {}

        async def ask(broker_id: int) -> None:
            with contextlib.suppress(KafkaError, OSError, NotServedError):
                sizes[broker_id] = await replica_sizes(self._client, broker_id, topic)

        async with anyio.create_task_group() as tasks:
            for broker_id in metadata.brokers:
                tasks.start_soon(ask, broker_id)
        return sizes


def _set_first(entry: ConfigEntry) -> tuple[bool, bool, str]:
    return not entry.is_set, entry.source is ConfigSource.DYNAMIC_DEFAULT_BROKER, entry.name


def _topic(topic: TopicMetadata, size: int | None) -> Mapping[str, Json]:
    return {
        "name": topic.name,
        "id": topic.id.hex(),
        "is_internal": topic.is_internal,
        "partition_count": len(topic.partitions),
        "replication_factor": topic.replication_factor,
        "under_replicated": sum(each.is_under_replicated for each in topic.partitions),
        "without_leader": sum(each.leader == NOBODY for each in topic.partitions),
        "bytes": size,
    }


def _partition(partition: PartitionMetadata) -> Mapping[str, Json]:
    return {
        "index": partition.index,
        "leader": partition.leader,
        "leader_epoch": partition.leader_epoch,
        "replicas": list(partition.replicas),
        "isr": list(partition.isr),
        "offline_replicas": list(partition.offline_replicas),
    }


def _leader_sizes(topics: Iterable[TopicMetadata], sizes: Sizes) -> dict[str, int]:
    """Return the bytes that the leaders of each topic have, where all of them tell."""
    told = {}
    for topic in topics:
        parts: Sequence[int | None] = [
            _size(sizes, each.leader, TopicPartition(topic.name, each.index)) for each in topic.partitions
        ]
        known = [part for part in parts if part is not None]
        if len(known) == len(parts):
            told[topic.name] = sum(known)
    return told


def _size(sizes: Sizes, broker_id: int, tp: TopicPartition) -> int | None:
    return sizes.get(broker_id, {}).get(tp)


def _number(told: int | KafkaError | None) -> int | None:
    return told if isinstance(told, int) else None

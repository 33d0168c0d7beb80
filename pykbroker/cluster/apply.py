"""From one image to the next: what a batch of the store's events changes.

Rules
- What is touched is copied once per batch; the rest is shared with the image before.
- Within a batch topics come before partitions, wherever they stand: an engine may tell only the last state of each key.
- Keys of unknown families are ignored: a newer version may have written them.

Not here: the format of keys and values (keys), when batches come (store, membership).
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from pykbroker.cluster.image import (
    EMPTY,
    NO_BROKER,
    BrokerImage,
    ConfigResource,
    ConfigResourceType,
    ImageDelta,
    MetadataImage,
    PartitionImage,
    TopicImage,
)
from pykbroker.cluster.keys import partition_of, quota_entity_of, uuid_of_text
from pykbroker.cluster.store import Batch, Event
from pykbroker.config import Endpoint
from wire.schema import Uuid


def apply(image: MetadataImage, batch: Batch) -> tuple[MetadataImage, ImageDelta]:
    """Return the image after `batch`, and what is different."""
    step = _Step(EMPTY if batch.is_reset else image)
    deferred = []
    for event in batch.events:
        if event.key.startswith("/partitions/"):
            deferred.append(event)  # a topic comes before its partitions, wherever it stands in the batch
        else:
            step.apply(event)
    for event in deferred:
        step.apply_partition(event)
    made = step.finish(batch.revision)
    return made, (_difference(image, made) if batch.is_reset else step.delta())


class _Step:
    """An image in the making: what is touched is copied once."""

    def __init__(self, image: MetadataImage) -> None:
        self.image = image
        self.changed: dict[str, Any] = {}  # field of the image -> its new value
        self.created: dict[Uuid, None] = {}
        self.deleted: dict[Uuid, TopicImage] = {}
        self.partitions: dict[tuple[Uuid, int], None] = {}
        self.new_partitions: dict[Uuid, list[PartitionImage]] = {}
        self.configs: set[ConfigResource] = set()
        self.brokers: set[int] = set()
        self.alive_values: dict[int, bytes | None] = {}

    def _copy(self, field: str) -> Any:
        if field not in self.changed:
            self.changed[field] = dict(getattr(self.image, field))
        return self.changed[field]

    def apply(self, event: Event) -> None:
        _, family, *rest = event.key.split("/", 3)
        reader = _READERS.get(family)
        if reader is None:
            return
        if family != "topics":
            revisions = self._copy("key_revisions")
            if event.value is None:
                revisions.pop(event.key, None)
            else:
                revisions[event.key] = event.revision
        reader(self, event, rest)

    def topic(self, event: Event, rest: list[str]) -> None:
        topics, by_id, collisions = map(self._copy, ("topics", "topic_names_by_id", "collision_names"))
        value = None if event.value is None else json.loads(event.value)
        # A topic without "." and "_" has its name for a key, and is in no other list.
        old_name = collisions.get(rest[0], rest[0])
        old: TopicImage | None = topics.get(old_name)
        topic_id = None if value is None else uuid_of_text(value["id"])
        kept: tuple[PartitionImage, ...] = ()
        if old is not None and old.id == topic_id:
            kept = old.partitions
        elif old is not None:
            del topics[old_name], by_id[old.id]
            collisions.pop(rest[0], None)
            if old.id in self.created:
                del self.created[old.id]
            else:
                self.deleted[old.id] = old
        if value is None or topic_id is None:
            return
        name = value["name"]
        shared: dict[tuple[int, ...], PartitionImage] = {}
        added = []
        for replicas in map(tuple, value["replicas"][len(kept) :]):
            if replicas not in shared:
                shared[replicas] = PartitionImage.created(replicas)
            added.append(shared[replicas])
        topics[name] = TopicImage(name, topic_id, (*kept, *added), event.revision)
        by_id[topic_id] = name
        if "." in name or "_" in name:
            collisions[rest[0]] = name
        if kept:
            self.partitions.update(((topic_id, index), None) for index in range(len(kept), len(kept) + len(added)))
        else:
            self.created[topic_id] = None

    def apply_partition(self, event: Event) -> None:
        _, _, topic_text, index_text = event.key.split("/")
        topic_id, index = uuid_of_text(topic_text), int(index_text)
        name = self._current("topic_names_by_id").get(topic_id)
        if name is None or event.value is None:
            return
        if topic_id not in self.new_partitions:
            self.new_partitions[topic_id] = list(self._current("topics")[name].partitions)
        partitions = self.new_partitions[topic_id]
        if index < len(partitions):
            partitions[index] = partition_of(event.value, event.revision)
            self.partitions[topic_id, index] = None

    def _current(self, field: str) -> Any:
        return self.changed[field] if field in self.changed else getattr(self.image, field)

    def broker(self, event: Event, rest: list[str]) -> None:
        broker_id = int(rest[0])
        brokers = self._copy("brokers")
        self.brokers.add(broker_id)
        if event.value is None:
            brokers.pop(broker_id, None)
            return
        value = json.loads(event.value)
        listeners = {fields[0]: Endpoint(*fields) for fields in value["listeners"]}
        broker = BrokerImage(broker_id, value["rack"], listeners, event.revision, fenced=True)
        # Of a batch, the key that says that the broker is alive may have come before this one.
        if (known := self.alive_values.get(broker_id)) is not None:
            broker = _alive(broker, known)
        elif (before := self.image.brokers.get(broker_id)) is not None and not before.fenced:
            broker = attrs.evolve(before, rack=broker.rack, listeners=listeners, epoch=event.revision)
        brokers[broker_id] = broker

    def alive(self, event: Event, rest: list[str]) -> None:
        brokers = self._copy("brokers")
        broker_id = int(rest[0])
        self.alive_values[broker_id] = event.value
        if (broker := brokers.get(broker_id)) is not None:
            brokers[broker_id] = _alive(broker, event.value)
            self.brokers.add(broker_id)

    def config(self, event: Event, rest: list[str]) -> None:
        resource = (ConfigResourceType[rest[0].upper()], rest[1])
        configs = self._copy("configs")
        self.configs.add(resource)
        if event.value is None:
            configs.pop(resource, None)
        else:
            configs[resource] = json.loads(event.value)

    def quota(self, event: Event, rest: list[str]) -> None:
        quotas = self._copy("client_quotas")
        entity = quota_entity_of(rest[0])
        if event.value is None:
            quotas.pop(entity, None)
        else:
            quotas[entity] = json.loads(event.value)

    def cluster(self, event: Event, rest: list[str]) -> None:
        self.changed["cluster_id"] = "" if event.value is None else json.loads(event.value)["cluster_id"]

    def feature(self, event: Event, rest: list[str]) -> None:
        self.changed["features"] = {} if event.value is None else json.loads(event.value)

    def controller(self, event: Event, rest: list[str]) -> None:
        self.changed["controller_id"] = NO_BROKER if event.value is None else json.loads(event.value)["id"]

    def producer_ids(self, event: Event, rest: list[str]) -> None:
        self.changed["next_producer_id"] = 0 if event.value is None else json.loads(event.value)["next"]

    def finish(self, revision: int) -> MetadataImage:
        if self.new_partitions:
            topics = self._copy("topics")
            for topic_id, partitions in self.new_partitions.items():
                name = self._current("topic_names_by_id")[topic_id]
                topics[name] = attrs.evolve(topics[name], partitions=tuple(partitions))
        self.image = attrs.evolve(self.image, revision=revision, **self.changed)
        return self.image

    def delta(self) -> ImageDelta:
        """What was changed; to be called after `finish`."""
        names, topics = self.image.topic_names_by_id, self.image.topics
        return ImageDelta(
            created_topics=tuple(topics[names[topic_id]] for topic_id in self.created),
            deleted_topics=tuple(self.deleted.values()),
            changed_partitions=tuple(
                (topics[names[topic_id]], index)
                for topic_id, index in self.partitions
                if topic_id in names and topic_id not in self.created
            ),
            configs=frozenset(self.configs),
            brokers=frozenset(self.brokers),
            client_quotas_changed="client_quotas" in self.changed,
            controller_changed="controller_id" in self.changed,
        )


def _alive(broker: BrokerImage, value: bytes | None) -> BrokerImage:
    told = {} if value is None else json.loads(value)
    return attrs.evolve(
        broker,
        fenced=value is None,
        is_stopping=told.get("is_stopping", False),
        incarnation_id=told.get("incarnation_id", ""),
        directory_id=told.get("directory_id", ""),
    )


_READERS: Mapping[str, Callable[[_Step, Event, list[str]], None]] = {
    "topics": _Step.topic,
    "brokers": _Step.broker,
    "alive": _Step.alive,
    "configs": _Step.config,
    "quotas": _Step.quota,
    "cluster": _Step.cluster,
    "features": _Step.feature,
    "controller": _Step.controller,
    "producer_ids": _Step.producer_ids,
}


def _difference(old: MetadataImage, new: MetadataImage) -> ImageDelta:
    """Compare two images that no chain of events connects."""
    old_ids, new_ids = old.topic_names_by_id, new.topic_names_by_id
    changed = []
    for topic_id in old_ids.keys() & new_ids.keys():
        before, after = old.topics[old_ids[topic_id]], new.topics[new_ids[topic_id]]
        changed += [
            (after, index)
            for index, partition in enumerate(after.partitions)
            if index >= len(before.partitions) or before.partitions[index] != partition
        ]
    return ImageDelta(
        created_topics=tuple(new.topics[new_ids[topic_id]] for topic_id in new_ids.keys() - old_ids.keys()),
        deleted_topics=tuple(old.topics[old_ids[topic_id]] for topic_id in old_ids.keys() - new_ids.keys()),
        changed_partitions=tuple(changed),
        configs=frozenset(
            resource
            for resource in old.configs.keys() | new.configs.keys()
            if old.configs.get(resource) != new.configs.get(resource)
        ),
        brokers=frozenset(
            broker_id
            for broker_id in old.brokers.keys() | new.brokers.keys()
            if old.brokers.get(broker_id) != new.brokers.get(broker_id)
        ),
        client_quotas_changed=old.client_quotas != new.client_quotas,
        controller_changed=old.controller_id != new.controller_id,
    )

"""The format of the metadata in the store: keys, and values in JSON.

    /cluster                    cluster_id                              /features        level by feature name
    /brokers/<id>               rack, listeners; its revision is the broker's epoch
    /alive/<id>                 incarnation_id, directory_id, is_stopping; under the broker's lease: it is not fenced
    /controller                 id; under the controller's lease
    /topics/<collision name>    name, id, replicas of each partition    (the name with "_" for ".": those two collide)
    /partitions/<topic id>/<n>  leader, leader_epoch, isr, ...          once it differs from the state at creation
    /configs/<type>/<name>      value by config name                    /producer_ids    the first id not yet given out
    /quotas/<entity>            value by quota; client-id=N, ip=N, user=N, joined by "&"; without "=N": the default

Rules
- A topic's creation writes one key, whatever its number of partitions; a change of leader or ISR writes one small key.
- Two names that collide have one key: of two brokers that create them at the same time, one fails.
"""

import base64
import json
from collections.abc import Iterable
from typing import Any

import attrs

from pykbroker.cluster.image import ConfigResource, PartitionImage, QuotaEntity
from pykbroker.config import Endpoint
from wire.primitives import uuid_text
from wire.schema import Uuid

CLUSTER_KEY = "/cluster"
FEATURES_KEY = "/features"
CONTROLLER_KEY = "/controller"
PRODUCER_IDS_KEY = "/producer_ids"
BROKERS_PREFIX, ALIVE_PREFIX = "/brokers/", "/alive/"
TOPICS_PREFIX, ALL_PARTITIONS_PREFIX = "/topics/", "/partitions/"


def broker_key(broker_id: int) -> str:
    return f"{BROKERS_PREFIX}{broker_id}"


def alive_key(broker_id: int) -> str:
    return f"{ALIVE_PREFIX}{broker_id}"


def collision_name(topic: str) -> str:
    return topic.replace(".", "_")


def topic_key(topic: str) -> str:
    return f"{TOPICS_PREFIX}{collision_name(topic)}"


def partitions_prefix(topic_id: Uuid) -> str:
    return f"{ALL_PARTITIONS_PREFIX}{uuid_text(topic_id)}/"


def partition_key(topic_id: Uuid, partition: int) -> str:
    return f"{partitions_prefix(topic_id)}{partition}"


def config_key(resource: ConfigResource) -> str:
    return f"/configs/{resource[0].name.lower()}/{resource[1]}"


def quota_key(entity: QuotaEntity) -> str:
    from urllib.parse import quote

    return "/quotas/" + "&".join(kind if name is None else f"{kind}={quote(name, safe='')}" for kind, name in entity)


def quota_entity_of(text: str) -> QuotaEntity:
    """Read an entity out of the last part of its key."""
    from urllib.parse import unquote

    parts = (part.partition("=") for part in text.split("&"))
    return tuple((kind, unquote(name) if equals else None) for kind, equals, name in parts)


# Values


def uuid_of_text(text: str) -> Uuid:
    """Read an id out of a key or value. Unlike `parse_uuid` it takes any length: a reader tolerates foreign keys."""
    return base64.urlsafe_b64decode(text + "==")


def to_json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def alive_value(incarnation_id: str, directory_id: str, *, is_stopping: bool = False) -> bytes:
    told = {"incarnation_id": incarnation_id, "directory_id": directory_id, "is_stopping": is_stopping}
    return to_json({name: value for name, value in told.items() if value})


def broker_value(rack: str | None, listeners: Iterable[Endpoint]) -> bytes:
    return to_json({"rack": rack, "listeners": [attrs.astuple(endpoint) for endpoint in listeners]})


def topic_value(name: str, topic_id: Uuid, replicas: Iterable[tuple[int, ...]]) -> bytes:
    return to_json({"name": name, "id": uuid_text(topic_id), "replicas": list(replicas)})


_PARTITION_FIELDS = tuple(field.name for field in attrs.fields(PartitionImage) if field.name != "revision")


def partition_value(partition: PartitionImage) -> bytes:
    fields = {name: getattr(partition, name) for name in _PARTITION_FIELDS}
    return to_json({name: value for name, value in fields.items() if value != () or name == "isr"})


def partition_of(value: bytes, revision: int) -> PartitionImage:
    fields = json.loads(value)
    known: dict[str, Any] = {"isr": ()} | {  # empty ones are not written
        name: tuple(fields[name]) if isinstance(fields[name], list) else fields[name]
        for name in _PARTITION_FIELDS
        if name in fields
    }
    return PartitionImage(**known, revision=revision)

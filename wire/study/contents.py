"""What lies inside of bytes: records, what consumers tell each other in groups, the records of internal topics.

Rules
- Whether bytes are a consumer's is told by the protocol type that stands in the message; where a version has none, they
  are tried as such, and stay bytes if they are none.
- Which topic records belong to is told by the message, by name or, in later versions, by an id whose name was seen
  before (`topic_names`).
- What is inside stays where it is: the content's node gets children, with the offsets of the whole.
- Of `__cluster_metadata`, which holds credentials and sensitive configs, what cannot be read is hidden.

Not here: the format of records (records). Frames inside an Envelope are read by frames.
Sources: KIP-98, KIP-848, KIP-932, KIP-1071 (records of coordinators), Kafka's CoordinatorRecordType.
"""

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from wire.errors import ProtocolError
from wire.records import BatchHeader
from wire.schema import Kind, spec_of
from wire.study.records import walk_batches
from wire.study.secrets import hide_secrets, hide_values_above
from wire.study.tree import Node
from wire.study.walk import Walker

CONSUMER_OFFSETS = "__consumer_offsets"
TRANSACTION_STATE = "__transaction_state"
SHARE_GROUP_STATE = "__share_group_state"
CLUSTER_METADATA = "__cluster_metadata"
COORDINATOR_TOPICS = (CONSUMER_OFFSETS, TRANSACTION_STATE, SHARE_GROUP_STATE)
CLUSTER_METADATA_ID = (1).to_bytes(16, "big")  # in every cluster

CONSUMER = "consumer"  # the protocol type of consumers' groups
_SUBSCRIPTION, _ASSIGNMENT = "ConsumerProtocolSubscription", "ConsumerProtocolAssignment"
CONSUMERS = {  # (class, field) -> what a consumer's bytes are there
    ("JoinGroupRequestProtocol", "metadata"): _SUBSCRIPTION,
    ("JoinGroupResponseMember", "metadata"): _SUBSCRIPTION,
    ("SyncGroupRequestAssignment", "assignment"): _ASSIGNMENT,
    ("SyncGroupResponse", "assignment"): _ASSIGNMENT,
    ("DescribedGroupMember", "member_metadata"): _SUBSCRIPTION,
    ("DescribedGroupMember", "member_assignment"): _ASSIGNMENT,
    ("MemberMetadata", "subscription"): _SUBSCRIPTION,
    ("MemberMetadata", "assignment"): _ASSIGNMENT,
    ("ClassicProtocol", "metadata"): _SUBSCRIPTION,
}
_CONTROL_RECORDS = {  # by the type in the key: what it is called, the class of the value
    0: ("abort", "EndTxnMarker"),
    1: ("commit", "EndTxnMarker"),
    2: ("leader change", "LeaderChangeMessage"),
    3: ("snapshot header", "SnapshotHeaderRecord"),
    4: ("snapshot footer", "SnapshotFooterRecord"),
    5: ("KRaft version", "KRaftVersionRecord"),
    6: ("voters", "VotersRecord"),
}
HAS_OWN_VERSION = range(2, 7)  # types whose values begin with the version that all others have before them


class RecordType(NamedTuple):
    key: type[Any]
    value: type[Any]


class Contents:
    """Reads what is inside the bytes of messages; `topic_names` may grow meanwhile."""

    def __init__(self, topic_names: Mapping[bytes, str] | None = None) -> None:
        self._topic_names = {} if topic_names is None else topic_names

    def __call__(self, walker: Walker, node: Node, struct_node: Node) -> None:
        """Look into a field of bytes or records. (walk.Contents)"""
        assert node.owner is not None
        content = node.children[-1]
        place = (node.owner.__name__, node.name)
        if node.name == "unaligned_records" and (position := struct_node.child("position")) and position.value:
            node.hide()
            node.note = "a later piece of a snapshot: where its batches begin, the earlier ones tell"
        elif node.kind == Kind.RECORDS:
            topic = self._topic(walker.open)
            read_topic(walker, content, topic)
            if content.is_secret:
                node.hide_value()
        elif place in CONSUMERS:
            protocol_type = _nearest(walker.open, "protocol_type")
            if protocol_type in (None, CONSUMER) and content.value:
                _inside(walker, content, functools.partial(_consumer_protocol, CONSUMERS[place]))
        elif place == ("EnvelopeRequest", "request_principal"):
            _inside(walker, content, _principal)

    def _topic(self, ancestors: list[Node]) -> str | None:
        for node in reversed(ancestors):
            for name in ("topic", "name"):
                child = node.child(name)
                if child is not None and isinstance(child.value, str):
                    return child.value
            topic_id = node.child("topic_id")
            if topic_id is not None:
                if topic_id.value == CLUSTER_METADATA_ID:
                    return CLUSTER_METADATA
                return self._topic_names.get(topic_id.value)
        return None


def tells_of_metadata(tree: Node) -> bool:
    """Tell whether a frame is about `__cluster_metadata`."""
    return any(node.value in (CLUSTER_METADATA, CLUSTER_METADATA_ID) for node in tree.walk() if node.owner is not None)


def read_topic(walker: Walker, root: Node, topic: str | None) -> None:
    """Read the record batches of a topic below a node of bytes."""
    walker.inside(walker.buffer, root, lambda inside: walk_batches(inside, _record_contents(topic)))
    if topic == CLUSTER_METADATA:
        for node in [*(child for child in root.children if child.kind != "RecordBatch"), *root.errors()]:
            _hide_noted(node)
        hide_values_above(root)


def _record_contents(topic: str | None) -> Callable[[Walker, BatchHeader, Node, Node], None]:
    """Return what reads the keys and values of a topic's records."""

    def read(walker: Walker, header: BatchHeader, key: Node, value: Node) -> None:
        if header.is_control:
            _control_record(walker, key, value)
            return
        if topic == CLUSTER_METADATA:
            _metadata_record(walker, value)
            return
        if topic in COORDINATOR_TOPICS:
            _internal_record(walker, key, value, internal_records(topic))

    return read


@functools.cache
def internal_records(topic: str) -> dict[int, RecordType]:
    """The record types of an internal topic by the number that its keys begin with."""
    classes: dict[tuple[str, int, str], type[Any]] = {}
    for family in ("log_records", "share_records", "streams_records", "control_records"):
        for cls in vars(importlib.import_module(f"wire.messages.{family}")).values():
            spec = getattr(cls, "__wire__", None)
            if spec is not None and spec.type is not None and spec.key is not None:
                suffix = "Key" if spec.name.endswith("Key") else "Value"
                classes[_topic_of(family, spec.name), spec.key, suffix] = cls
    keys = sorted(number for of, number, suffix in classes if of == topic and suffix == "Key")
    return {number: RecordType(classes[topic, number, "Key"], classes[topic, number, "Value"]) for number in keys}


def _topic_of(family: str, name: str) -> str:
    if family == "control_records":
        return TRANSACTION_STATE
    return SHARE_GROUP_STATE if name.startswith(("ShareSnapshot", "ShareUpdate")) else CONSUMER_OFFSETS


@functools.cache
def metadata_records() -> dict[int, type[Any]]:
    """The record types of `__cluster_metadata` by their numbers."""
    found: dict[int, type[Any]] = {}
    for cls in vars(importlib.import_module("wire.messages.cluster_records")).values():
        spec = getattr(cls, "__wire__", None)
        if spec is not None and spec.key is not None:
            found[spec.key] = cls
    return found


def control_record_type(number: int) -> tuple[str, type[Any] | None]:
    """Return what a control record of that type is called, and the class of its value; None: nobody knows."""
    name, value = _CONTROL_RECORDS.get(number, ("", ""))
    return name, getattr(importlib.import_module("wire.messages.control_records"), value) if value else None


def _internal_record(walker: Walker, key: Node, value: Node, types: Mapping[int, RecordType]) -> None:
    if key.value is None or len(key.value) < 2:
        return
    type_ = types.get(int.from_bytes(key.value[:2], "big"))
    if type_ is None:
        return

    def read_key(inside: Walker) -> None:
        inside.fixed("record_type", Kind.INT16).note = spec_of(type_.key).name.removesuffix("Key")
        inside.message(type_.key, 0)

    _inside(walker, key.children[-1], read_key)
    if value.value is None:
        value.note = "deletes the key"
    else:
        _inside(walker, value.children[-1], functools.partial(_versioned, type_.value))


def _metadata_record(walker: Walker, value: Node) -> None:
    if value.value is None:
        return
    content, records = value.children[-1], metadata_records()

    def read(inside: Walker) -> None:
        inside.uvarint("frame_version")
        number = inside.uvarint("record_type", lambda number: records[number].__name__ if number in records else "")
        version = inside.uvarint("version")
        if number not in records or version not in spec_of(records[number]).versions:
            raise ProtocolError(f"version {version} of record {number} is not known")
        inside.message(records[number], version)

    if _inside(walker, content, read):
        hide_secrets(content)
    else:
        _hide_noted(content)


def _hide_noted(node: Node) -> None:
    note = node.note
    node.hide()
    node.note = note


def _control_record(walker: Walker, key: Node, value: Node) -> None:
    if key.value is None or value.value is None or len(key.value) < 4:
        return
    type_ = int.from_bytes(key.value[2:4], "big")
    name, cls = control_record_type(type_)

    def read_key(inside: Walker) -> None:
        inside.fixed("version", Kind.INT16)
        inside.fixed("type", Kind.INT16).note = name

    _inside(walker, key.children[-1], read_key)
    if cls is None:
        return
    if type_ in HAS_OWN_VERSION:
        version = min(int.from_bytes(value.value[:2], "big"), spec_of(cls).versions.high)
        _inside(walker, value.children[-1], functools.partial(_message, cls, version))
    else:
        _inside(walker, value.children[-1], functools.partial(_versioned, cls))


def _message(cls: type[Any], version: int, walker: Walker) -> None:
    walker.message(cls, version)


def _versioned(cls: type[Any], walker: Walker) -> None:
    """Read a message that two bytes of version precede. A newer version than ours adds something at the end."""
    version = walker.fixed("version", Kind.INT16).value
    versions = spec_of(cls).versions
    if version < versions.low:
        raise ProtocolError(f"{spec_of(cls).name} has no version {version}")
    walker.message(cls, min(version, versions.high))
    if version > versions.high and walker.pos < walker.end:
        walker.raw("later", walker.end - walker.pos).note = "of a later version than ours"


def _consumer_protocol(name: str, walker: Walker) -> None:
    _versioned(consumer_message(name), walker)


def consumer_message(name: str) -> type[Any]:
    """Return the class that CONSUMERS names."""
    found: type[Any] = getattr(importlib.import_module("wire.messages.log_records"), name)
    return found


def _principal(walker: Walker) -> None:
    from wire.messages.control_records import DefaultPrincipalData

    _versioned(DefaultPrincipalData, walker)


def _inside(walker: Walker, content: Node, read: Callable[[Walker], None]) -> bool:
    """Give a node of bytes children, if the bytes are what they are taken for, to the last one."""

    def read_all(inside: Walker) -> None:
        read(inside)
        if inside.pos != inside.end:
            raise ProtocolError(f"{inside.end - inside.pos} bytes are left")

    if walker.inside(walker.buffer, content, read_all):
        return True
    error = next(node.error for node in content.walk() if node.error)
    content.children = []
    content.note = f"not what is expected here: {error}"
    return False


def _nearest(ancestors: list[Node], name: str) -> object:
    """Return the value of the field of that name in the innermost struct that has it."""
    for node in reversed(ancestors):
        child = node.child(name)
        if child is not None:
            return child.value
    return None

"""The records of `__consumer_offsets`, as Apache Kafka 4.4 writes them.

Format: key = int16 type | body at version 0; value = int16 version | body, or null for a tombstone.

    key type  value                 written at version
    0, 1      OffsetCommitValue     4, or 1 where the client asked for a retention time of its own (OffsetCommit v2-4)
    2         GroupMetadataValue    3

Rules: all versions of these values are read. A key type that is not known here is no error: it is what a newer broker
wrote, and the loader passes over it (KIP-915).
Not here: what a record does to the state (shard, offsets).
"""

from collections.abc import Mapping
from struct import Struct
from typing import TypeAlias

import attrs

from pykbroker.groups.classic_group import ClassicGroup, ClassicMember
from pykbroker.groups.offsets import CommittedOffset
from pykbroker.replication.coordinator_log import CoordinatorRecord
from wire.codec import decode, encode_bytes
from wire.errors import ProtocolError
from wire.messages.log_records import (
    GroupMetadataKey,
    GroupMetadataValue,
    MemberMetadata,
    OffsetCommitKey,
    OffsetCommitValue,
)

OFFSET_COMMIT_KEY_TYPES = (0, 1)  # 0 was written before Kafka 0.9 had leader epochs and expiry; its key is the same
GROUP_METADATA_KEY_TYPE = 2

_VERSION = Struct(">h")
_OFFSET_COMMIT_VALUE_VERSION = 4
_OFFSET_COMMIT_VALUE_VERSION_WITH_EXPIRY = 1
_GROUP_METADATA_VALUE_VERSION = 3
_NO_TIMESTAMP = -1


@attrs.frozen
class OffsetCommitRecord:
    group_id: str
    topic: str
    partition: int
    committed: CommittedOffset | None


@attrs.frozen
class GroupMetadataRecord:
    group_id: str
    value: GroupMetadataValue | None


GroupRecord: TypeAlias = OffsetCommitRecord | GroupMetadataRecord


def offset_commit_record(
    group_id: str, topic: str, partition: int, committed: CommittedOffset | None
) -> CoordinatorRecord:
    """Build the record that stores an offset, or for None the tombstone that deletes it."""
    key = _versioned(1, OffsetCommitKey(group=group_id, topic=topic, partition=partition), 0)
    if committed is None:
        return CoordinatorRecord(key, None)
    expires = committed.expire_timestamp_ms is not None
    version = _OFFSET_COMMIT_VALUE_VERSION_WITH_EXPIRY if expires else _OFFSET_COMMIT_VALUE_VERSION
    value = OffsetCommitValue(
        offset=committed.offset,
        leader_epoch=committed.leader_epoch,
        metadata=committed.metadata,
        commit_timestamp=committed.commit_timestamp_ms,
        expire_timestamp=_NO_TIMESTAMP if committed.expire_timestamp_ms is None else committed.expire_timestamp_ms,
        topic_id=committed.topic_id,
    )
    return CoordinatorRecord(key, _versioned(version, value, version))


def group_metadata_record(group: ClassicGroup, assignment: Mapping[str, bytes]) -> CoordinatorRecord:
    """Build the record of a group's generation. `assignment` is by member id, as the members do not have it yet."""
    protocol_name = group.protocol_name
    value = GroupMetadataValue(
        protocol_type=group.protocol_type or "",
        generation=group.generation_id,
        protocol=protocol_name,
        leader=group.leader_id,
        current_state_timestamp=_timestamp(group),
        members=[
            MemberMetadata(
                member_id=member.member_id,
                group_instance_id=member.group_instance_id,
                client_id=member.client_id,
                client_host=member.client_host,
                rebalance_timeout=member.rebalance_timeout_ms,
                session_timeout=member.session_timeout_ms,
                subscription=member.metadata(protocol_name),
                assignment=assignment[member.member_id],
            )
            for member in group.members.values()
        ],
    )
    return CoordinatorRecord(_group_key(group.group_id), _versioned(_GROUP_METADATA_VALUE_VERSION, value))


def empty_group_metadata_record(group: ClassicGroup) -> CoordinatorRecord:
    """Build the record that makes a new group known before its first generation."""
    value = GroupMetadataValue(
        protocol_type="", generation=0, protocol=None, leader=None, current_state_timestamp=_timestamp(group)
    )
    return CoordinatorRecord(_group_key(group.group_id), _versioned(_GROUP_METADATA_VALUE_VERSION, value))


def group_tombstone(group_id: str) -> CoordinatorRecord:
    return CoordinatorRecord(_group_key(group_id), None)


def decode_record(key: bytes, value: bytes | None, record_offset: int) -> GroupRecord | None:
    """Read a record; None where its key type is unknown. Raises: ProtocolError."""
    key_type = _read_version(key)
    if key_type in OFFSET_COMMIT_KEY_TYPES:
        where, _ = decode(OffsetCommitKey, 0, key, _VERSION.size)
        committed = None if value is None else _committed_offset(value, record_offset)
        return OffsetCommitRecord(where.group, where.topic, where.partition, committed)
    if key_type == GROUP_METADATA_KEY_TYPE:
        group_id, _ = _decode_group_key(key)
        if value is None:
            return GroupMetadataRecord(group_id, None)
        metadata, _ = decode(GroupMetadataValue, _read_version(value), value, _VERSION.size)
        return GroupMetadataRecord(group_id, metadata)
    return None


def classic_group(group_id: str, value: GroupMetadataValue) -> ClassicGroup:
    """Rebuild a group from its last record: Stable with members, Empty without."""
    group = ClassicGroup.loaded(
        group_id,
        generation_id=value.generation,
        protocol_type=value.protocol_type or None,
        protocol_name=value.protocol,
        leader_id=value.leader,
        state_timestamp_ms=None if value.current_state_timestamp == _NO_TIMESTAMP else value.current_state_timestamp,
    )
    for stored in value.members:
        member = ClassicMember(
            member_id=stored.member_id,
            group_instance_id=stored.group_instance_id,
            client_id=stored.client_id,
            client_host=stored.client_host,
            # Version 0 has no rebalance timeout: then the session timeout serves for both, as it did at the time.
            rebalance_timeout_ms=stored.session_timeout if stored.rebalance_timeout == -1 else stored.rebalance_timeout,
            session_timeout_ms=stored.session_timeout,
            protocol_type=value.protocol_type,
            protocols={value.protocol or "": bytes(stored.subscription)},
            assignment=bytes(stored.assignment),
        )
        group.add(member)
    group.finish_loading()
    return group


def _committed_offset(value: bytes, record_offset: int) -> CommittedOffset:
    stored, _ = decode(OffsetCommitValue, _read_version(value), value, _VERSION.size)
    return CommittedOffset(
        offset=stored.offset,
        leader_epoch=stored.leader_epoch,
        metadata=stored.metadata,
        commit_timestamp_ms=stored.commit_timestamp,
        expire_timestamp_ms=None if stored.expire_timestamp == _NO_TIMESTAMP else stored.expire_timestamp,
        topic_id=stored.topic_id,
        record_offset=record_offset,
    )


def _group_key(group_id: str) -> bytes:
    return _versioned(GROUP_METADATA_KEY_TYPE, GroupMetadataKey(group=group_id), 0)


def _decode_group_key(key: bytes) -> tuple[str, int]:
    decoded, end = decode(GroupMetadataKey, 0, key, _VERSION.size)
    return decoded.group, end


def _versioned(prefix: int, message: object, version: int | None = None) -> bytes:
    return _VERSION.pack(prefix) + encode_bytes(message, prefix if version is None else version)


def _read_version(data: bytes) -> int:
    if len(data) < _VERSION.size:
        raise ProtocolError(f"a key or value of {len(data)} bytes in __consumer_offsets")
    version: int = _VERSION.unpack_from(data)[0]
    return version


def _timestamp(group: ClassicGroup) -> int:
    return _NO_TIMESTAMP if group.state_timestamp_ms is None else group.state_timestamp_ms

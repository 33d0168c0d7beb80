"""The records of `__consumer_offsets`: bytes as Apache Kafka 4.4.0 wrote them into its log for the same requests."""

import pytest

from pykbroker.groups.classic_group import ClassicGroup, ClassicGroupState, ClassicMember
from pykbroker.groups.offsets import CommittedOffset
from pykbroker.groups.records import (
    CoordinatorRecord,
    GroupMetadataRecord,
    OffsetCommitRecord,
    classic_group,
    decode_record,
    empty_group_metadata_record,
    group_metadata_record,
    group_tombstone,
    offset_commit_record,
)
from wire.codec import encode_bytes
from wire.errors import ProtocolError
from wire.messages.log_records import GroupMetadataValue, MemberMetadata
from wire.primitives import parse_uuid

MEMBER_ID = "probe-7b731cf4-7e43-4058-887b-57e243e000c4"
SUBSCRIPTION = bytes.fromhex("0000000000010002743100000000")

OFFSET_KEY = bytes.fromhex("0001000268310002743100000000")
OFFSET_VALUE = bytes.fromhex("0004000000000000000700000003026d000001a208957305010010656a1b7410db4eb2aaf2c5ff7842b6de")
EXPIRING_KEY = bytes.fromhex("0001000268310002743100000001")
EXPIRING_VALUE = bytes.fromhex("0001fffffffffffffffb0000000001a208957335000001a208965d95")
GROUP_KEY = bytes.fromhex("000200026831")
NEW_GROUP_VALUE = bytes.fromhex("0003000000000000ffffffff000001a20895670000000000")
GROUP_VALUE = bytes.fromhex(
    "00030008636f6e73756d657200000001000572616e6765002a70726f62652d37623733316366342d376534332d343035382d383837622d"
    "353765323433653030306334000001a2089572d200000001002a70726f62652d37623733316366342d376534332d343035382d38383762"
    "2d353765323433653030306334ffff000570726f6265000a2f3132372e302e302e310000138800002710"
    "0000000e00000000000100027431000000000000000141"
)
EMPTIED_GROUP_VALUE = bytes.fromhex("00030008636f6e73756d657200000002ffffffff000001a2089573ce00000000")

OFFSET = CommittedOffset(
    offset=7,
    leader_epoch=3,
    metadata="m",
    commit_timestamp_ms=1795440341765,
    topic_id=parse_uuid("ZWobdBDbTrKq8sX_eEK23g"),
)
EXPIRING_OFFSET = CommittedOffset(
    offset=-5,
    leader_epoch=-1,
    metadata="",
    commit_timestamp_ms=1795440341813,
    expire_timestamp_ms=1795440401813,
    topic_id=parse_uuid("ZWobdBDbTrKq8sX_eEK23g"),
)


def stable_group() -> ClassicGroup:
    group = ClassicGroup("h1")
    group.add(
        ClassicMember(
            member_id=MEMBER_ID,
            group_instance_id=None,
            client_id="probe",
            client_host="/127.0.0.1",
            rebalance_timeout_ms=5000,
            session_timeout_ms=10000,
            protocol_type="consumer",
            protocols={"range": SUBSCRIPTION, "other": b""},
        )
    )
    group.transition_to(ClassicGroupState.PREPARING_REBALANCE, 1795440338689)
    group.next_generation(1795440341714)
    return group


def decoded_group(value: bytes) -> GroupMetadataValue:
    decoded = decode_record(GROUP_KEY, value, 0)
    assert isinstance(decoded, GroupMetadataRecord)
    assert decoded.group_id == "h1"
    assert decoded.value is not None
    return decoded.value


def test_offset_commit_is_written_as_kafka_writes_it() -> None:
    assert offset_commit_record("h1", "t1", 0, OFFSET) == CoordinatorRecord(OFFSET_KEY, OFFSET_VALUE)


def test_offset_commit_with_retention_time_is_written_at_version_1() -> None:
    assert offset_commit_record("h1", "t1", 1, EXPIRING_OFFSET) == CoordinatorRecord(EXPIRING_KEY, EXPIRING_VALUE)


def test_offset_commit_without_value_is_a_tombstone() -> None:
    assert offset_commit_record("h1", "t1", 0, None) == CoordinatorRecord(OFFSET_KEY, None)


def test_new_group_is_written_as_kafka_writes_it() -> None:
    group = ClassicGroup("h1", state_timestamp_ms=1795440338688)

    assert empty_group_metadata_record(group) == CoordinatorRecord(GROUP_KEY, NEW_GROUP_VALUE)


def test_generation_is_written_as_kafka_writes_it() -> None:
    assert group_metadata_record(stable_group(), {MEMBER_ID: b"A"}) == CoordinatorRecord(GROUP_KEY, GROUP_VALUE)


def test_emptied_group_is_written_as_kafka_writes_it() -> None:
    group = stable_group()
    group.remove(MEMBER_ID)
    group.transition_to(ClassicGroupState.PREPARING_REBALANCE, 1795440341966)
    group.next_generation(1795440341966)

    assert group_metadata_record(group, {}) == CoordinatorRecord(GROUP_KEY, EMPTIED_GROUP_VALUE)


def test_offset_commit_of_kafka_is_read() -> None:
    decoded = decode_record(OFFSET_KEY, OFFSET_VALUE, 42)

    assert isinstance(decoded, OffsetCommitRecord)
    assert (decoded.group_id, decoded.topic, decoded.partition) == ("h1", "t1", 0)
    assert decoded.committed is not None
    assert decoded.committed.offset == 7
    assert decoded.committed.record_offset == 42
    assert decoded.committed.expire_timestamp_ms is None


def test_offset_commit_of_version_1_is_read_with_its_expiry() -> None:
    decoded = decode_record(EXPIRING_KEY, EXPIRING_VALUE, 42)

    assert isinstance(decoded, OffsetCommitRecord)
    assert decoded.committed is not None
    assert decoded.committed.expire_timestamp_ms == 1795440401813


def test_group_of_kafka_is_rebuilt_as_it_was() -> None:
    group = classic_group("h1", decoded_group(GROUP_VALUE))

    assert group.state is ClassicGroupState.STABLE
    assert (group.generation_id, group.protocol_type, group.protocol_name) == (1, "consumer", "range")
    assert group.is_leader(MEMBER_ID)
    assert group.subscribed_topics == {"t1"}
    assert group.members[MEMBER_ID].assignment == b"A"


def test_group_that_is_rebuilt_and_written_again_has_the_same_bytes() -> None:
    group = classic_group("h1", decoded_group(GROUP_VALUE))

    assert group_metadata_record(group, {MEMBER_ID: group.members[MEMBER_ID].assignment}).value == GROUP_VALUE


def test_new_group_of_kafka_is_rebuilt_without_protocol() -> None:
    group = classic_group("h1", decoded_group(NEW_GROUP_VALUE))

    assert group.is_empty
    assert group.protocol_type is None


def test_group_of_version_0_takes_the_session_timeout_for_rebalances() -> None:
    member = MemberMetadata(member_id="m", client_id="c", client_host="/h", session_timeout=9000)
    stored = GroupMetadataValue(protocol_type="consumer", generation=1, protocol="range", leader="m", members=[member])

    group = classic_group("h1", decoded_group(b"\0\0" + encode_bytes(stored, 0)))

    assert group.members["m"].rebalance_timeout_ms == 9000
    assert group.state_timestamp_ms is None


def test_group_tombstone_is_read_without_value() -> None:
    tombstone = group_tombstone("h1")

    assert tombstone.value is None
    assert decode_record(tombstone.key, None, 0) == GroupMetadataRecord("h1", None)


def test_unknown_key_type_is_passed_over() -> None:
    assert decode_record(b"\x00\x63unknown", b"\0\0", 0) is None


@pytest.mark.parametrize("key", [b"", b"\0", b"\0\1\0\x09abc", b"\0\2\0"])
def test_torn_key_is_a_protocol_error(key: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_record(key, b"\0\1", 0)


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\x09", OFFSET_VALUE[:-1]])
def test_torn_value_is_a_protocol_error(value: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_record(OFFSET_KEY, value, 0)

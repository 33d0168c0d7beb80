"""Loading a shard from its partition, and what stands in it besides offsets."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pykbroker.groups.coordinator import OFFSETS_TOPIC
from pykbroker.groups.offsets import CommittedOffset
from pykbroker.groups.records import offset_commit_record
from pykbroker.topic_partition import TopicPartition
from tests.handlers.rig import ANOTHER_BROKER, BROKER_ID, TOPIC_ID, HandlerRig, offsets_topic, topic
from wire.compression import Codec
from wire.crc32c import crc32c
from wire.errors import ErrorCode
from wire.messages.classic_groups import HeartbeatRequest, ListGroupsRequest
from wire.messages.group_offsets import OffsetFetchRequest, OffsetFetchRequestGroup
from wire.records import ControlType, Record, build_batch, build_end_txn_marker

T = topic("t", TOPIC_ID, 100)
OFFSETS_PARTITION = TopicPartition(OFFSETS_TOPIC, 0)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[HandlerRig]:
    rig = HandlerRig(tmp_path, {"offsets.load.buffer.size": "1000"})
    rig.set_topics(T, offsets_topic())
    yield rig
    rig.close()


def reload(rig: HandlerRig) -> None:
    rig.set_topics(T, offsets_topic(leader=ANOTHER_BROKER))
    rig.set_topics(T, offsets_topic())


def commit(rig: HandlerRig, offset: int, partition: int = 0) -> None:
    outcome: list[ErrorCode] = []
    rig.groups.shard_for("g").commit_offsets(
        "g",
        member_id="",
        group_instance_id=None,
        generation_id=-1,
        offsets=[("t", partition, CommittedOffset(offset, -1, "m" * 50, 0))],
        done=outcome.append,
    )
    assert outcome == [ErrorCode.NONE]


def append_in_transaction(rig: HandlerRig, offset: int, producer_id: int = 9) -> None:
    record = offset_commit_record("g", "t", 0, CommittedOffset(offset, -1, "", 0))
    batch = build_batch(
        [Record(timestamp=1, key=record.key, value=record.value)],
        producer_id=producer_id,
        producer_epoch=0,
        base_sequence=0,
        is_transactional=True,
    )
    rig.replicas.append_internal(OFFSETS_PARTITION, batch)


def append_marker(rig: HandlerRig, control_type: ControlType, producer_id: int = 9) -> int:
    marker = build_end_txn_marker(
        control_type, producer_id=producer_id, producer_epoch=0, coordinator_epoch=0, timestamp=1
    )
    return rig.replicas.append_internal(OFFSETS_PARTITION, marker).last_offset


def fetched(rig: HandlerRig) -> dict[int, int]:
    response = rig.call(OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id="g", topics=None)]), 9)
    (group,) = response.groups
    assert group.error_code == 0
    return {row.partition_index: row.committed_offset for found in group.topics for row in found.partitions}


def test_long_partition_is_loaded_a_slice_at_a_time(rig: HandlerRig) -> None:
    for partition in range(60):
        commit(rig, 1000 + partition, partition)
    reload(rig)

    response = rig.call(OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id="g", topics=None)]), 9)
    assert response.groups[0].error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert rig.call(ListGroupsRequest()).error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert rig.call(HeartbeatRequest(group_id="g", generation_id=1, member_id="m")).error_code == ErrorCode.NONE
    rig.clock.advance(0)
    assert fetched(rig) == {partition: 1000 + partition for partition in range(60)}


def test_loading_stops_when_the_partition_is_lost_meanwhile(rig: HandlerRig) -> None:
    for partition in range(60):
        commit(rig, 1, partition)
    reload(rig)
    rig.set_topics(T, offsets_topic(leader=ANOTHER_BROKER))
    rig.clock.advance(0)

    assert (
        rig.call(HeartbeatRequest(group_id="g", generation_id=1, member_id="m")).error_code == ErrorCode.NOT_COORDINATOR
    )


def test_new_coordinator_serves_when_all_that_it_loaded_is_committed(rig: HandlerRig) -> None:
    # Its predecessor may have shown records that are above the high watermark as this broker knows it.
    commit(rig, 5)
    rig.set_topics(T, offsets_topic(isr=(BROKER_ID, ANOTHER_BROKER)))
    record = offset_commit_record("g", "t", 0, CommittedOffset(6, -1, "", 0))
    rig.replicas.append_internal(
        OFFSETS_PARTITION, build_batch([Record(timestamp=1, key=record.key, value=record.value)])
    )
    rig.set_topics(T, offsets_topic(leader=ANOTHER_BROKER))
    rig.set_topics(T, offsets_topic(isr=(BROKER_ID, ANOTHER_BROKER)))

    response = rig.call(OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id="g", topics=None)]), 9)
    assert response.groups[0].error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    rig.replicas.partition(*OFFSETS_PARTITION).follower_fetched(
        ANOTHER_BROKER, fetch_offset=2, log_start_offset=0, broker_epoch=-1
    )
    assert fetched(rig) == {0: 6}


def test_records_that_cannot_be_read_are_passed_over(rig: HandlerRig) -> None:
    commit(rig, 5)
    keys = [b"\x00\x63a newer broker's", b"\x00\x01torn", b"", None]
    records = [Record(timestamp=1, key=key, value=b"\0\0") for key in keys]
    rig.replicas.append_internal(OFFSETS_PARTITION, build_batch(records))
    reload(rig)

    assert fetched(rig) == {0: 5}


def test_partition_that_cannot_be_read_has_no_coordinator(rig: HandlerRig) -> None:
    batch = build_batch([Record(timestamp=1, key=b"\0\1", value=b"not what the codec says")])
    batch[22] |= Codec.GZIP  # the low byte of the attributes
    batch[17:21] = crc32c(batch[21:]).to_bytes(4, "big")
    rig.replicas.append_internal(OFFSETS_PARTITION, batch)
    reload(rig)

    heartbeat = HeartbeatRequest(group_id="g", generation_id=1, member_id="m")
    assert rig.call(heartbeat).error_code == ErrorCode.NOT_COORDINATOR
    assert rig.call(ListGroupsRequest()).groups == []


def test_unfinished_transaction_is_pending_after_loading(rig: HandlerRig) -> None:
    append_in_transaction(rig, 7)
    reload(rig)

    assert fetched(rig) == {}
    assert rig.groups.shard_for("g").offsets.has_pending_transaction("g", "t", 0)
    record_offset = append_marker(rig, ControlType.COMMIT)
    rig.groups.transaction_completed(0, 9, commit=True, record_offset=record_offset)
    assert fetched(rig) == {0: 7}


@pytest.mark.parametrize(("control_type", "offsets"), [(ControlType.COMMIT, {0: 7}), (ControlType.ABORT, {})])
def test_finished_transaction_is_decided_after_loading(
    rig: HandlerRig, control_type: ControlType, offsets: dict[int, int]
) -> None:
    append_in_transaction(rig, 7)
    append_marker(rig, control_type)
    reload(rig)

    assert fetched(rig) == offsets


def test_many_tombstones_are_written_in_several_batches(rig: HandlerRig) -> None:
    shard = rig.groups.shard_for("g")
    keys = [("g" * 200, "t" * 200, partition) for partition in range(3000)]
    shard.commit_in_parts([offset_commit_record(*key, CommittedOffset(1, -1, "", 0)) for key in keys])
    shard.topics_deleted(["t" * 200])

    assert shard.offsets.keys_of_topic("t" * 200) == []

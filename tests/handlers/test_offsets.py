from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from pykbroker.cluster.image import BrokerImage
from pykbroker.handlers.offsets import (
    EARLIEST,
    EARLIEST_LOCAL,
    EARLIEST_PENDING_UPLOAD,
    LATEST,
    LATEST_TIERED,
    MAX_TIMESTAMP,
)
from tests.handlers.rig import ANOTHER_BROKER, BROKER_ID, TOPIC_ID, HandlerRig, topic
from wire.errors import ErrorCode
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
from wire.records import Record, build_batch

T = topic("t", TOPIC_ID, 1)
START_MS = 1_700_000_000_000
NEWEST = 11


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[HandlerRig]:
    rig = HandlerRig(tmp_path)
    rig.set_topics(T)
    yield rig
    rig.close()


def append(rig: HandlerRig, *timestamps: int) -> None:
    for timestamp in timestamps:
        batch = build_batch([Record(0, timestamp, None, b"v", ())])
        rig.replicas.partition("t", 0).append(memoryview(batch), acks=1)


def list_offset(rig: HandlerRig, timestamp: int, version: int = NEWEST, **fields: Any) -> Any:
    partition = {name: fields.pop(name) for name in ("partition_index", "current_leader_epoch") if name in fields}
    request = ListOffsetsRequest(
        replica_id=fields.pop("replica_id", -1),
        topics=[ListOffsetsTopic(fields.pop("name", "t"), [ListOffsetsPartition(timestamp=timestamp, **partition)])],
        **fields,
    )
    return rig.call(request, version).topics[0].partitions[0]


@pytest.mark.parametrize("version", range(1, NEWEST + 1))
def test_list_offsets_of_every_version_finds_both_ends(rig: HandlerRig, version: int) -> None:
    append(rig, START_MS, START_MS + 1, START_MS + 2)
    rig.replicas.partition("t", 0).delete_records(1)
    assert list_offset(rig, EARLIEST, version).offset == 1
    latest = list_offset(rig, LATEST, version)
    assert (latest.offset, latest.timestamp, latest.error_code) == (3, -1, ErrorCode.NONE)


@pytest.mark.parametrize(
    ("timestamp", "offset", "found"),
    [
        (START_MS - 1, 0, START_MS),
        (START_MS, 0, START_MS),
        (START_MS + 1, 1, START_MS + 10),
        (START_MS + 10, 1, START_MS + 10),
        (START_MS + 11, -1, -1),
    ],
)
def test_list_offsets_by_time_finds_the_first_record_not_older(
    rig: HandlerRig, timestamp: int, offset: int, found: int
) -> None:
    append(rig, START_MS, START_MS + 10)
    answer = list_offset(rig, timestamp)
    assert (answer.offset, answer.timestamp) == (offset, found)


def test_list_offsets_finds_the_greatest_timestamp_wherever_it_is(rig: HandlerRig) -> None:
    append(rig, START_MS, START_MS + 99, START_MS + 5)
    answer = list_offset(rig, MAX_TIMESTAMP)
    assert (answer.offset, answer.timestamp) == (1, START_MS + 99)


def test_list_offsets_of_an_empty_log(rig: HandlerRig) -> None:
    assert list_offset(rig, EARLIEST).offset == 0
    assert list_offset(rig, LATEST).offset == 0
    assert list_offset(rig, MAX_TIMESTAMP).offset == -1
    assert list_offset(rig, START_MS).offset == -1


def test_list_offsets_without_tiered_storage(rig: HandlerRig) -> None:
    append(rig, START_MS)
    assert list_offset(rig, EARLIEST_LOCAL).offset == 0
    assert list_offset(rig, LATEST_TIERED).offset == -1


@pytest.mark.parametrize(
    ("timestamp", "first_version"),
    [(MAX_TIMESTAMP, 7), (EARLIEST_LOCAL, 8), (LATEST_TIERED, 9), (EARLIEST_PENDING_UPLOAD, 11)],
)
def test_list_offsets_of_a_special_timestamp_before_its_version_is_unsupported(
    rig: HandlerRig, timestamp: int, first_version: int
) -> None:
    assert list_offset(rig, timestamp, first_version - 1).error_code == ErrorCode.UNSUPPORTED_VERSION
    assert list_offset(rig, timestamp, first_version).error_code == ErrorCode.NONE


def test_list_offsets_errors(rig: HandlerRig) -> None:
    assert list_offset(rig, LATEST, name="nobody").error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert list_offset(rig, LATEST, partition_index=5).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert list_offset(rig, LATEST, current_leader_epoch=7).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH
    rig.set_topics(topic("t", TOPIC_ID, 1, leader=ANOTHER_BROKER))
    assert list_offset(rig, LATEST).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_list_offsets_of_a_partition_named_twice_is_answered_once_as_invalid(rig: HandlerRig) -> None:
    twice = [ListOffsetsPartition(timestamp=LATEST), ListOffsetsPartition(timestamp=EARLIEST)]
    response = rig.call(ListOffsetsRequest(replica_id=-1, topics=[ListOffsetsTopic("t", twice)]))
    assert [answer.error_code for answer in response.topics[0].partitions] == [ErrorCode.INVALID_REQUEST]


def delete_records(rig: HandlerRig, offset: int, version: int = 2) -> Any:
    request = DeleteRecordsRequest([DeleteRecordsTopic("t", [DeleteRecordsPartition(0, offset)])], timeout_ms=1000)
    return rig.call(request, version).topics[0].partitions[0]


@pytest.mark.parametrize("version", range(3))
def test_delete_records_moves_the_log_start(rig: HandlerRig, version: int) -> None:
    append(rig, *range(START_MS, START_MS + 5))
    answer = delete_records(rig, 3, version)
    assert (answer.error_code, answer.low_watermark) == (ErrorCode.NONE, 3)
    assert delete_records(rig, 1, version).low_watermark == 3
    assert delete_records(rig, -1, version).low_watermark == 5
    assert list_offset(rig, EARLIEST).offset == 5


def test_delete_records_beyond_the_high_watermark_is_out_of_range(rig: HandlerRig) -> None:
    append(rig, START_MS)
    assert delete_records(rig, 2).error_code == ErrorCode.OFFSET_OUT_OF_RANGE
    assert delete_records(rig, -2).error_code == ErrorCode.OFFSET_OUT_OF_RANGE


def end_of_epoch(rig: HandlerRig, epoch: int, version: int = 4) -> Any:
    wanted = OffsetForLeaderPartition(partition=0, leader_epoch=epoch)
    request = OffsetForLeaderEpochRequest(topics=[OffsetForLeaderTopic("t", [wanted])])
    return rig.call(request, version).topics[0].partitions[0]


@pytest.mark.parametrize("version", range(2, 5))
def test_leader_epoch_ends_at_the_log_end(rig: HandlerRig, version: int) -> None:
    append(rig, START_MS, START_MS)
    answer = end_of_epoch(rig, 0, version)
    assert (answer.error_code, answer.leader_epoch, answer.end_offset) == (ErrorCode.NONE, 0, 2)


def test_end_of_an_unknown_leader_epoch_is_undefined(rig: HandlerRig) -> None:
    append(rig, START_MS)
    answer = end_of_epoch(rig, 5)
    assert (answer.error_code, answer.leader_epoch, answer.end_offset) == (ErrorCode.NONE, -1, -1)


@pytest.mark.parametrize(
    ("version", "code"), [(4, ErrorCode.LEADER_NOT_AVAILABLE), (5, ErrorCode.OFFSET_NOT_AVAILABLE)]
)
def test_end_is_not_known_to_a_new_leader_whose_followers_have_not_come(
    rig: HandlerRig, version: int, code: ErrorCode
) -> None:
    append(rig, START_MS)
    rig.set_topics(topic("t", TOPIC_ID, 1, isr=(BROKER_ID, ANOTHER_BROKER), leader_epoch=1))
    partition = rig.replicas.partition("t", 0)
    partition.high_watermark = 0  # as it is with a follower that learned no more before it was elected
    assert list_offset(rig, LATEST, version).error_code == code
    assert list_offset(rig, START_MS, version).error_code == code
    start = list_offset(rig, EARLIEST, version)
    assert (start.error_code, start.offset) == (ErrorCode.NONE, 0)
    of_follower = list_offset(rig, LATEST, version, replica_id=ANOTHER_BROKER)
    assert (of_follower.error_code, of_follower.offset) == (ErrorCode.NONE, 1)
    partition.follower_fetched(ANOTHER_BROKER, fetch_offset=1, log_start_offset=0, broker_epoch=-1)
    end = list_offset(rig, LATEST, version)
    assert (end.error_code, end.offset) == (ErrorCode.NONE, 1)


def test_delete_records_waits_for_followers_that_are_alive(rig: HandlerRig) -> None:
    append(rig, START_MS, START_MS)
    rig.cluster.image = attrs.evolve(
        rig.cluster.image, brokers={ANOTHER_BROKER: BrokerImage(ANOTHER_BROKER, None, {}, 1, False)}
    )
    partition = rig.replicas.partition("t", 0)
    wanted = DeleteRecordsRequest([DeleteRecordsTopic("t", [DeleteRecordsPartition(0, 1)])], timeout_ms=100)
    waiting, timed_out = rig.send(wanted, 2), rig.send(wanted, 2)
    assert waiting.response is None
    timed_out.parked.release()
    (answer,) = timed_out.response.topics[0].partitions
    assert answer.error_code == ErrorCode.REQUEST_TIMED_OUT
    partition.follower_fetched(ANOTHER_BROKER, fetch_offset=2, log_start_offset=1, broker_epoch=1)
    (answer,) = waiting.response.topics[0].partitions
    assert (answer.error_code, answer.low_watermark) == (ErrorCode.NONE, 1)


def test_delete_records_does_not_wait_for_a_follower_that_is_down(rig: HandlerRig) -> None:
    append(rig, START_MS, START_MS)
    rig.cluster.image = attrs.evolve(
        rig.cluster.image, brokers={ANOTHER_BROKER: BrokerImage(ANOTHER_BROKER, None, {}, 1, True)}
    )
    wanted = DeleteRecordsRequest([DeleteRecordsTopic("t", [DeleteRecordsPartition(0, 1)])], timeout_ms=100)
    (answer,) = rig.call(wanted).topics[0].partitions
    assert (answer.error_code, answer.low_watermark) == (ErrorCode.NONE, 1)

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pykbroker.errors import CloseConnection
from tests.handlers.rig import ANOTHER_BROKER, BROKER_ID, TOPIC_ID, HandlerRig, offsets_topic, topic
from wire.compression import Codec
from wire.errors import ErrorCode
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.records import Record, build_batch

T = topic("t", TOPIC_ID, 2)
ALL_VERSIONS = range(3, 14)
LAST_BY_NAME = 12


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[HandlerRig]:
    rig = HandlerRig(tmp_path)
    rig.set_topics(T)
    yield rig
    rig.close()


def batch(*values: bytes, **fields: Any) -> bytearray:
    records = [Record(index, 1_700_000_000_000, None, value, ()) for index, value in enumerate(values)]
    return build_batch(records, **fields)


def request(*data: tuple[int, bytearray | None], acks: int = 1, name: str = "t", **fields: Any) -> ProduceRequest:
    partitions = [PartitionProduceData(index, records) for index, records in data]
    return ProduceRequest(
        acks=acks, topic_data=[TopicProduceData(name, TOPIC_ID, partitions)], **{"timeout_ms": 1000, **fields}
    )


def partitions_of(response: Any) -> list[Any]:
    return [partition for topic in response.responses for partition in topic.partition_responses]


def codes_of(response: Any) -> list[ErrorCode]:
    return [ErrorCode(partition.error_code) for partition in partitions_of(response)]


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_produce_of_every_version_appends_and_answers_offsets(rig: HandlerRig, version: int) -> None:
    rig.call(request((0, batch(b"a", b"b"))), version)
    (partition,) = partitions_of(rig.call(request((0, batch(b"c"))), version))
    assert partition.error_code == ErrorCode.NONE
    assert partition.base_offset == 2
    assert partition.log_append_time_ms == -1
    assert rig.replicas.partition("t", 0).log.log_end_offset == 3


def test_produce_answers_each_partition_by_itself(rig: HandlerRig) -> None:
    broken = batch(b"x")
    broken[-1] ^= 1
    response = rig.call(request((0, batch(b"a")), (1, broken), (7, batch(b"b"))), LAST_BY_NAME)
    assert codes_of(response) == [
        ErrorCode.NONE,
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    ]
    assert [partition.base_offset for partition in partitions_of(response)] == [0, -1, -1]


def test_produce_to_an_unknown_topic_id_is_unknown_topic_id(rig: HandlerRig) -> None:
    unknown = request((0, batch(b"a")))
    unknown.topic_data[0].topic_id = b"?" * 16
    assert codes_of(rig.call(unknown)) == [ErrorCode.UNKNOWN_TOPIC_ID]


def test_produce_with_odd_acks_is_refused_and_appends_nothing(rig: HandlerRig) -> None:
    assert codes_of(rig.call(request((0, batch(b"a")), acks=2))) == [ErrorCode.INVALID_REQUIRED_ACKS]
    assert rig.replicas.partition("t", 0).log.log_end_offset == 0


def test_produce_without_records_is_invalid_record(rig: HandlerRig) -> None:
    assert codes_of(rig.call(request((0, None)))) == [ErrorCode.INVALID_RECORD]


def test_produce_with_acks_0_is_not_answered(rig: HandlerRig) -> None:
    answered = rig.send(request((0, batch(b"a")), acks=0), LAST_BY_NAME)
    assert answered.response is None
    assert answered.parked is None
    assert rig.replicas.partition("t", 0).log.log_end_offset == 1


def test_failed_produce_with_acks_0_closes_the_connection(rig: HandlerRig) -> None:
    with pytest.raises(CloseConnection):
        rig.send(request((9, batch(b"a")), acks=0), LAST_BY_NAME)


def test_produce_to_an_internal_topic_is_for_coordinators(rig: HandlerRig) -> None:
    rig.set_topics(T, offsets_topic())
    internal = request((0, batch(b"a")), name="__consumer_offsets")
    assert codes_of(rig.call(internal, LAST_BY_NAME)) == [ErrorCode.INVALID_TOPIC_EXCEPTION]


def test_produce_to_another_brokers_partition_names_the_leader(rig: HandlerRig) -> None:
    rig.set_topics(topic("t", TOPIC_ID, 2, leader=ANOTHER_BROKER))
    (partition,) = partitions_of(rig.call(request((0, batch(b"a")))))
    assert partition.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert partition.current_leader.leader_id == ANOTHER_BROKER


def test_produce_with_too_few_in_sync_replicas_is_refused_for_acks_all_only(tmp_path: Path) -> None:
    rig = HandlerRig(tmp_path, {"min.insync.replicas": "2"})
    rig.set_topics(topic("t", TOPIC_ID, 1, isr=(BROKER_ID,)))
    assert codes_of(rig.call(request((0, batch(b"a")), acks=-1))) == [ErrorCode.NOT_ENOUGH_REPLICAS]
    assert codes_of(rig.call(request((0, batch(b"a")), acks=1))) == [ErrorCode.NONE]
    rig.close()


def test_produce_with_acks_all_waits_for_the_high_watermark_until_its_timeout(rig: HandlerRig) -> None:
    rig.set_topics(topic("t", TOPIC_ID, 2, isr=(BROKER_ID, ANOTHER_BROKER)))
    answered = rig.send(request((0, batch(b"a")), acks=-1, timeout_ms=500), 9)
    rig.clock.advance(499)
    assert answered.parked is not None
    rig.clock.advance(1)
    assert codes_of(answered.response) == [ErrorCode.REQUEST_TIMED_OUT]


def test_produce_with_acks_all_is_answered_when_the_isr_shrinks_to_the_leader(rig: HandlerRig) -> None:
    rig.set_topics(topic("t", TOPIC_ID, 2, isr=(BROKER_ID, ANOTHER_BROKER)))
    answered = rig.send(request((0, batch(b"a")), (1, batch(b"b")), acks=-1), 9)
    assert answered.response is None
    rig.set_topics(topic("t", TOPIC_ID, 2, isr=(BROKER_ID,)))
    assert codes_of(answered.response) == [ErrorCode.NONE, ErrorCode.NONE]
    assert [partition.base_offset for partition in partitions_of(answered.response)] == [0, 0]


def test_produce_with_acks_all_learns_that_the_leader_changed(rig: HandlerRig) -> None:
    rig.set_topics(topic("t", TOPIC_ID, 2, isr=(BROKER_ID, ANOTHER_BROKER)))
    answered = rig.send(request((0, batch(b"a")), acks=-1), 9)
    rig.set_topics(topic("t", TOPIC_ID, 2, leader=ANOTHER_BROKER))
    assert codes_of(answered.response) == [ErrorCode.NOT_LEADER_OR_FOLLOWER]
    assert partitions_of(answered.response)[0].base_offset == -1


def test_duplicate_of_an_idempotent_producer_gets_the_original_offset(rig: HandlerRig) -> None:
    def send(sequence: int) -> Any:
        sent = batch(b"a", b"b", producer_id=5, producer_epoch=0, base_sequence=sequence)
        return partitions_of(rig.call(request((0, sent))))[0]

    assert [send(0).base_offset, send(2).base_offset, send(0).base_offset] == [0, 2, 0]
    assert rig.replicas.partition("t", 0).log.log_end_offset == 4
    assert send(6).error_code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_transactional_batch_without_a_transactional_id_fails_the_whole_request(rig: HandlerRig) -> None:
    transactional = batch(b"x", producer_id=5, producer_epoch=0, base_sequence=0, is_transactional=True)
    response = rig.call(request((0, transactional), (1, batch(b"a"))), LAST_BY_NAME)
    assert codes_of(response) == [ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED] * 2
    assert {answer.log_start_offset for answer in partitions_of(response)} == {-1}
    assert [rig.replicas.partition("t", index).log.log_end_offset for index in (0, 1)] == [0, 0]


def test_transactional_batch_without_a_transactional_id_and_acks_closes_the_connection(rig: HandlerRig) -> None:
    transactional = batch(b"x", producer_id=5, producer_epoch=0, base_sequence=0, is_transactional=True)
    with pytest.raises(CloseConnection):
        rig.send(request((0, transactional), acks=0), LAST_BY_NAME)


def test_zstd_batch_is_served_from_version_7(rig: HandlerRig) -> None:
    zstd = batch(b"x", codec=Codec.ZSTD)
    assert codes_of(rig.call(request((0, zstd)), 6)) == [ErrorCode.UNSUPPORTED_COMPRESSION_TYPE]
    assert codes_of(rig.call(request((0, zstd)), 7)) == [ErrorCode.NONE]


def test_acks_out_of_range_are_looked_at_after_the_partition(rig: HandlerRig) -> None:
    response = rig.call(request((0, batch(b"a")), (7, batch(b"a")), acks=2), LAST_BY_NAME)
    assert codes_of(response) == [ErrorCode.INVALID_REQUIRED_ACKS, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


def test_log_start_offset_is_told_with_an_error_that_the_log_found(rig: HandlerRig) -> None:
    rig.call(request((0, batch(b"a")), (1, batch(b"a"))), LAST_BY_NAME)
    for index in (0, 1):
        rig.replicas.partition("t", index).delete_records(1)
    control, two = batch(b"x", is_control=True), batch(b"x") + batch(b"y")
    response = rig.call(request((0, control), (1, two)), LAST_BY_NAME)
    assert codes_of(response) == [ErrorCode.INVALID_RECORD] * 2
    assert [answer.log_start_offset for answer in partitions_of(response)] == [1, -1]

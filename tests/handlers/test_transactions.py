"""The handlers of transactions, where the recorded answers of Apache Kafka (test_golden_answers) do not lead.

Not here: what happens in a transaction (tests/transactions).
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from pykbroker.cluster.image import ConfigResourceType
from pykbroker.transactions.coordinator import VERIFICATION
from pykbroker.transactions.state import MAX_EPOCH
from tests.handlers.conftest import StartRig
from tests.handlers.rig import (
    ANOTHER_BROKER,
    BROKER_ID,
    TOPIC_ID,
    Answered,
    HandlerRig,
    offsets_topic,
    topic,
    transaction_topic,
)
from wire.errors import ErrorCode
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.messages.transactions import (
    AddOffsetsToTxnRequest,
    AddPartitionsToTxnRequest,
    AddPartitionsToTxnTopic,
    AddPartitionsToTxnTransaction,
    DescribeTransactionsRequest,
    EndTxnRequest,
    InitProducerIdRequest,
    ListTransactionsRequest,
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
    WritableTxnMarker,
    WritableTxnMarkerTopic,
    WriteTxnMarkersRequest,
)
from wire.records import Record, build_batch

T = topic("t", TOPIC_ID, 2)
WITH_ANOTHER = (BROKER_ID, ANOTHER_BROKER)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[HandlerRig]:
    rig = HandlerRig(tmp_path, {"request.timeout.ms": "1000"})
    rig.set_topics(T, offsets_topic(), transaction_topic())
    init(rig)
    yield rig
    rig.close()


def init(rig: HandlerRig, transactional_id: str = "p", producer_id: int = 1) -> None:
    rig.transactions.shard_for(transactional_id).init_producer_id(
        transactional_id, expected=None, timeout_ms=60_000, new_producer_id=producer_id, told=lambda *_: None
    )


def added(transactional_id: str, *partitions: int, verify_only: bool = False) -> AddPartitionsToTxnTransaction:
    return AddPartitionsToTxnTransaction(
        transactional_id=transactional_id,
        producer_id=1,
        producer_epoch=0,
        verify_only=verify_only,
        topics=[AddPartitionsToTxnTopic("t", list(partitions))],
    )


def produce(rig: HandlerRig, *, acks: int = -1, sequence: int = 0, version: int = 12) -> Answered:
    records = build_batch(
        [Record(timestamp=rig.clock.time_ms(), value=b"v")],
        producer_id=1,
        producer_epoch=0,
        base_sequence=sequence,
        is_transactional=True,
    )
    data = [TopicProduceData("t", TOPIC_ID, [PartitionProduceData(0, records)])]
    request = ProduceRequest(transactional_id="p", acks=acks, timeout_ms=1000, topic_data=data)
    return rig.send(request, version)


def marker(*partitions: int, epoch: int = 1) -> WriteTxnMarkersRequest:
    topics = [WritableTxnMarkerTopic("t", list(partitions))]
    return WriteTxnMarkersRequest(markers=[WritableTxnMarker(1, epoch, True, topics, 0, 2)])


def rows(response: Any) -> list[ErrorCode]:
    return [
        ErrorCode(row.error_code) for result in response.markers for found in result.topics for row in found.partitions
    ]


def test_several_transactions_of_a_request_are_settled_each_for_itself(rig: HandlerRig) -> None:
    rig.set_topics(T, offsets_topic(), transaction_topic(isr=WITH_ANOTHER))
    answered = rig.send(AddPartitionsToTxnRequest(transactions=[added("p", 0), added("unknown", 0), added("p", 9)]), 5)
    assert answered.parked is not None  # for the first, whose record is not committed
    rig.set_topics(T, offsets_topic(), transaction_topic())
    assert [
        (result.transactional_id, ErrorCode(result.topic_results[0].results_by_partition[0].partition_error_code))
        for result in answered.response.results_by_transaction
    ] == [
        ("p", ErrorCode.NONE),
        ("unknown", ErrorCode.INVALID_PRODUCER_ID_MAPPING),
        ("p", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]


def test_partition_that_is_not_committed_is_not_vouched_for(rig: HandlerRig) -> None:
    rig.set_topics(T, offsets_topic(), transaction_topic(isr=WITH_ANOTHER))
    rig.send(AddPartitionsToTxnRequest(transactions=[added("p", 0)]), 5)
    response = rig.call(AddPartitionsToTxnRequest(transactions=[added("p", 0, verify_only=True)]), 5)
    (row,) = response.results_by_transaction[0].topic_results[0].results_by_partition
    assert row.partition_error_code == ErrorCode.TRANSACTION_ABORTABLE


def test_request_without_transactions_is_answered(rig: HandlerRig) -> None:
    assert rig.call(AddPartitionsToTxnRequest(), 5).results_by_transaction == []


def test_change_that_is_not_committed_in_time_is_retriable_and_counts_later(rig: HandlerRig) -> None:
    rig.set_topics(T, offsets_topic(), transaction_topic(isr=WITH_ANOTHER))
    answered = rig.send(AddPartitionsToTxnRequest(transactions=[added("p", 0)]), 5)
    rig.clock.advance(60_000)
    (row,) = answered.response.results_by_transaction[0].topic_results[0].results_by_partition
    assert row.partition_error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE
    rig.set_topics(T, offsets_topic(), transaction_topic())
    assert state(rig) == "Ongoing"


def state(rig: HandlerRig) -> str:
    (found,) = rig.call(DescribeTransactionsRequest(transactional_ids=["p"]), 0).transaction_states
    return str(found.transaction_state) if not found.error_code else ErrorCode(found.error_code).name


def test_coordinator_elsewhere_is_told_by_each_request(rig: HandlerRig) -> None:
    rig.set_topics(T, offsets_topic(), transaction_topic(leader=ANOTHER_BROKER))
    who = {"transactional_id": "p", "producer_id": 1, "producer_epoch": 0}
    assert rig.call(EndTxnRequest(**who, committed=True), 5).error_code == ErrorCode.NOT_COORDINATOR
    assert rig.call(AddOffsetsToTxnRequest(**who, group_id="g"), 4).error_code == ErrorCode.NOT_COORDINATOR
    assert state(rig) == "NOT_COORDINATOR"
    assert rig.call(ListTransactionsRequest(), 2).transaction_states == []


def test_coordinator_that_may_have_lost_its_role_is_silent_and_gives_no_final_error(rig: HandlerRig) -> None:
    end = EndTxnRequest("p", 1, 0, committed=True)
    assert rig.call(end, 5).error_code == ErrorCode.INVALID_TXN_STATE  # nothing is open, as far as it knows
    rig.set_topics(T, offsets_topic(isr=WITH_ANOTHER), transaction_topic(isr=WITH_ANOTHER))
    rig.cluster.lease_ends_ms = rig.clock.monotonic_ms()
    assert rig.call(end, 5).error_code == ErrorCode.NOT_COORDINATOR
    assert rig.call(AddOffsetsToTxnRequest("p", 1, 0, "g"), 4).error_code == ErrorCode.NOT_COORDINATOR
    rig.cluster.lease_ends_ms = math.inf
    assert rig.call(end, 5).error_code == ErrorCode.INVALID_TXN_STATE


def test_coordinator_alone_in_the_isr_needs_no_lease(rig: HandlerRig) -> None:
    rig.cluster.lease_ends_ms = rig.clock.monotonic_ms()
    assert rig.call(EndTxnRequest("p", 1, 0, committed=True), 5).error_code == ErrorCode.INVALID_TXN_STATE


def test_list_while_a_shard_loads_says_so(tmp_path: Path) -> None:
    rig = HandlerRig(tmp_path, {"transaction.state.log.load.buffer.size": "100"})
    rig.set_topics(T, transaction_topic())
    for number in range(5):
        init(rig, f"p{number}")
    rig.set_topics(T, transaction_topic(leader=ANOTHER_BROKER))
    rig.set_topics(T, transaction_topic())
    assert rig.call(ListTransactionsRequest(), 2).error_code == ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    rig.clock.advance(1)
    assert len(rig.call(ListTransactionsRequest(), 2).transaction_states) == 5
    rig.close()


def test_produce_to_a_coordinator_that_loads_is_tried_again(tmp_path: Path) -> None:
    rig = HandlerRig(tmp_path)
    rig.set_topics(T, transaction_topic())
    init(rig)
    rig.set_topics(T, transaction_topic(leader=-1))
    response = produce(rig).response
    assert response.responses[0].partition_responses[0].error_code == ErrorCode.NOT_ENOUGH_REPLICAS
    rig.close()


def test_produce_without_acks_is_appended_once_the_coordinator_has_answered(rig: HandlerRig) -> None:
    rig.set_topics(T, offsets_topic(), transaction_topic(isr=WITH_ANOTHER))
    answered = produce(rig, acks=0)
    assert (answered.response, answered.parked) == (None, None)
    assert rig.replicas.partition("t", 0).log.log_end_offset == 0
    rig.set_topics(T, offsets_topic(), transaction_topic())
    assert rig.replicas.partition("t", 0).log.log_end_offset == 1


def test_produce_that_waited_for_the_coordinator_waits_for_its_replicas_then(rig: HandlerRig) -> None:
    held = topic("t", TOPIC_ID, 2, isr=WITH_ANOTHER)
    rig.set_topics(held, offsets_topic(), transaction_topic(isr=WITH_ANOTHER))
    answered = produce(rig)
    rig.set_topics(held, offsets_topic(), transaction_topic())
    assert rig.replicas.partition("t", 0).log.log_end_offset == 1
    assert answered.parked is not None
    rig.set_topics(T, offsets_topic(), transaction_topic())
    assert answered.response.responses[0].partition_responses[0].error_code == ErrorCode.NONE


def test_client_that_leaves_while_the_coordinator_is_asked_leaves_its_batch(rig: HandlerRig) -> None:
    rig.set_topics(T, offsets_topic(), transaction_topic(isr=WITH_ANOTHER))
    answered = produce(rig)
    assert answered.parked is not None
    answered.parked.cancel()
    rig.set_topics(T, offsets_topic(), transaction_topic())
    assert rig.replicas.partition("t", 0).log.log_end_offset == 1
    assert answered.response is None


def test_verification_may_be_switched_off_for_older_producers(tmp_path: Path) -> None:
    rig = HandlerRig(tmp_path, {"transaction.partition.verification.enable": "false"})
    rig.set_topics(T, transaction_topic())
    for version, expected in ((11, ErrorCode.NONE), (12, ErrorCode.INVALID_PRODUCER_ID_MAPPING)):
        partition = 0 if version == 11 else 1
        records = build_batch(
            [Record(timestamp=rig.clock.time_ms(), value=b"v")],
            producer_id=9,
            producer_epoch=0,
            base_sequence=0,
            is_transactional=True,
        )
        data = [TopicProduceData("t", TOPIC_ID, [PartitionProduceData(partition, records)])]
        response = rig.call(ProduceRequest(transactional_id="p", acks=-1, topic_data=data), version)
        assert response.responses[0].partition_responses[0].error_code == expected
    rig.close()


def test_verification_is_switched_off_while_running(rig: HandlerRig) -> None:
    assert produce_code(produce(rig, version=11)) is ErrorCode.TRANSACTION_ABORTABLE
    rig.cluster.image = attrs.evolve(
        rig.cluster.image, configs={(ConfigResourceType.BROKER, ""): {VERIFICATION: "false"}}
    )
    assert produce_code(produce(rig, version=11)) is ErrorCode.NONE


def produce_code(answered: Answered) -> ErrorCode:
    return ErrorCode(answered.response.responses[0].partition_responses[0].error_code)


def test_batches_of_two_producers_in_a_request_are_refused(rig: HandlerRig) -> None:
    data = [
        PartitionProduceData(
            index,
            build_batch(
                [Record(timestamp=rig.clock.time_ms(), value=b"v")],
                producer_id=1 + index,
                producer_epoch=0,
                base_sequence=0,
                is_transactional=True,
            ),
        )
        for index in (0, 1)
    ]
    request = ProduceRequest(transactional_id="p", acks=-1, topic_data=[TopicProduceData("t", TOPIC_ID, data)])
    answers = rig.call(request, 12).responses[0].partition_responses
    assert {each.error_code for each in answers} == {ErrorCode.INVALID_PRODUCER_ID_MAPPING}


def test_markers_are_answered_when_they_are_committed(rig: HandlerRig) -> None:
    rig.set_topics(topic("t", TOPIC_ID, 2, isr=WITH_ANOTHER), offsets_topic(), transaction_topic())
    answered = rig.send(marker(0, 1, 9), 2)
    assert answered.parked is not None
    rig.set_topics(T, offsets_topic(), transaction_topic())
    assert rows(answered.response) == [ErrorCode.NONE, ErrorCode.NONE, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]


def test_markers_that_are_not_committed_in_time_say_so(rig: HandlerRig) -> None:
    rig.set_topics(topic("t", TOPIC_ID, 2, isr=WITH_ANOTHER), offsets_topic(), transaction_topic())
    answered = rig.send(marker(0), 2)
    rig.clock.advance(1000)
    assert rows(answered.response) == [ErrorCode.REQUEST_TIMED_OUT]


def test_marker_for_a_partition_that_is_led_elsewhere_is_refused(rig: HandlerRig) -> None:
    rig.set_topics(topic("t", TOPIC_ID, 2, leader=ANOTHER_BROKER), offsets_topic(), transaction_topic())
    assert rows(rig.call(marker(0), 2)) == [ErrorCode.NOT_LEADER_OR_FOLLOWER]


def test_offsets_by_topic_id_are_answered_by_it(rig: HandlerRig) -> None:
    rows = [TxnOffsetCommitRequestPartition(partition_index=0, committed_offset=7)]
    request = TxnOffsetCommitRequest(
        transactional_id="p",
        group_id="g",
        producer_id=1,
        producer_epoch=0,
        topics=[
            TxnOffsetCommitRequestTopic(topic_id=TOPIC_ID, partitions=rows),
            TxnOffsetCommitRequestTopic(topic_id=b"?" * 16, partitions=rows),
        ],
    )
    found = {each.topic_id: each.partitions[0].error_code for each in rig.call(request, 6).topics}
    assert found == {TOPIC_ID: ErrorCode.NONE, b"?" * 16: ErrorCode.UNKNOWN_TOPIC_ID}


@pytest.mark.anyio
async def test_init_gives_ids_epochs_and_a_new_id_where_epochs_are_used_up(start_rig: StartRig) -> None:
    rig = await start_rig(transaction_state_log_num_partitions="1")
    rig.cluster.on_image += [rig.replicas.on_image, rig.transactions.on_image]
    await rig.call("FindCoordinator", 4, key_type=1, coordinator_keys=["p"])
    request = InitProducerIdRequest(transactional_id="p", transaction_timeout_ms=1000)
    first, again = await rig.ask(request, 5), await rig.ask(request, 5)
    assert (first.error_code, first.producer_epoch) == (ErrorCode.NONE, 0)
    assert (again.producer_id, again.producer_epoch) == (first.producer_id, 1)
    plain = await rig.ask(InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=1000), 5)
    transactions = rig.transactions.shard_for("p").transactions
    transactions["p"] = attrs.evolve(transactions["p"], producer_epoch=MAX_EPOCH - 1)
    fresh = await rig.ask(request, 5)
    assert (fresh.producer_id, fresh.producer_epoch) == (plain.producer_id + 1, 0)
    transactions["p"] = attrs.evolve(transactions["p"], producer_epoch=MAX_EPOCH - 1)
    ended = await rig.ask(
        EndTxnRequest(
            transactional_id="p", producer_id=fresh.producer_id, producer_epoch=MAX_EPOCH - 1, committed=False
        ),
        5,
    )
    assert (ended.producer_id, ended.producer_epoch) == (fresh.producer_id + 1, 0)


def test_requests_that_wait_for_the_coordinator_are_bounded(tmp_path: Path) -> None:
    rig = HandlerRig(tmp_path, {"pykbroker.max.waiting.transaction.checks": "2"})
    rig.set_topics(T, transaction_topic())
    init(rig)
    rig.set_topics(T, transaction_topic(isr=WITH_ANOTHER))
    waiting = [produce(rig, sequence=sequence) for sequence in (0, 1)]
    beyond = produce(rig, sequence=2).response.responses[0].partition_responses[0]
    assert beyond.error_code == ErrorCode.NOT_ENOUGH_REPLICAS
    rig.set_topics(T, transaction_topic())
    assert [each.response.responses[0].partition_responses[0].base_offset for each in waiting] == [0, 1]
    rig.close()

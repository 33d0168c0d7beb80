"""Duplicates, gaps, epochs and transactions of producers."""

from pathlib import Path

import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.errors import KafkaError
from pykbroker.log.partition_log import AppendInfo, PartitionLog
from pykbroker.log.producer_state import MAX_VERIFICATIONS, ProducerBatch, ProducerStates, Verification
from tests.log.support import NOW, TOPIC_ID, TP, append, crash, new_log, open_dirs, reopen, topic_config
from wire.errors import ErrorCode
from wire.records import ControlType, build_end_txn_marker

INT_MAX = 2**31 - 1

EVERYTHING = 2**31  # bytes of a segment


def produce(
    log: PartitionLog, sequence: int, count: int = 1, *, epoch: int = 0, producer: int = 1, transactional: bool = False
) -> AppendInfo:
    return append(
        log,
        *[b"v"] * count,
        producer_id=producer,
        producer_epoch=epoch,
        base_sequence=sequence,
        is_transactional=transactional,
    )


def end(
    log: PartitionLog, control_type: ControlType, *, producer: int = 1, epoch: int = 0, coordinator: int = 0
) -> None:
    marker = build_end_txn_marker(
        control_type, producer_id=producer, producer_epoch=epoch, coordinator_epoch=coordinator, timestamp=NOW
    )
    log.append_as_leader(memoryview(marker), leader_epoch=0, from_client=False)


def refused(log: PartitionLog, sequence: int, **options: int) -> ErrorCode:
    before = log.log_end_offset
    with pytest.raises(KafkaError) as raised:
        produce(log, sequence, **options)
    assert log.log_end_offset == before
    return raised.value.code


def test_duplicates_of_the_last_five_batches_return_their_offsets(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    for number in range(6):
        produce(log, 2 * number, 2)
    for number in range(1, 6):
        info = produce(log, 2 * number, 2)
        assert info == (2 * number, 2 * number + 1, NOW, 0, True)
    assert refused(log, 0, count=2) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert log.log_end_offset == 12


def test_gap_and_partial_overlap_are_out_of_order(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    produce(log, 0, 3)
    assert refused(log, 4) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert refused(log, 2) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert refused(log, 0, count=2) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert produce(log, 3).base_offset == 3


def test_unknown_producer_may_begin_anywhere(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    assert produce(log, 77).base_offset == 0
    assert produce(log, 78).base_offset == 1


@pytest.mark.parametrize(("first", "count", "following"), [(INT_MAX - 1, 3, 1), (INT_MAX, 1, 0)])
def test_sequence_wraps_after_the_largest(tmp_path: Path, first: int, count: int, following: int) -> None:
    _, log = new_log(tmp_path)
    produce(log, first, count)
    assert produce(log, following).base_offset == count
    assert produce(log, first, count).is_duplicate


def test_new_epoch_begins_at_zero_and_fences_the_old(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    produce(log, 0)
    assert refused(log, 1, epoch=1) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert produce(log, 0, epoch=1).base_offset == 1
    assert refused(log, 1, epoch=0) == ErrorCode.INVALID_PRODUCER_EPOCH
    assert refused(log, 0, epoch=0) == ErrorCode.INVALID_PRODUCER_EPOCH


@pytest.mark.parametrize("stop", ["clean", "crash"])
def test_state_survives_a_restart(tmp_path: Path, stop: str) -> None:
    dirs, log = new_log(tmp_path)
    for sequence in range(3):
        produce(log, sequence)
    if stop == "clean":
        dirs.close()
    else:
        crash(dirs)
    _, log = reopen(tmp_path)
    assert produce(log, 2).base_offset == 2
    assert refused(log, 4) == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert produce(log, 3).base_offset == 3


def test_state_survives_a_roll_and_a_crash(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path, internal_segment_bytes=300)
    for sequence in range(20):
        produce(log, sequence)
    assert len(log.segments) > 3
    crash(dirs)
    _, log = reopen(tmp_path)
    assert produce(log, 19).is_duplicate
    assert produce(log, 20).base_offset == 20


def test_silent_producers_expire_except_in_a_transaction(tmp_path: Path) -> None:
    clock = SimulatedClock(NOW)
    dirs = open_dirs(tmp_path, clock, producer_id_expiration_ms="1000")
    log = dirs.create(TP, TOPIC_ID, topic_config())
    produce(log, 0, producer=1)
    produce(log, 0, producer=2, transactional=True)
    clock.advance(600_000)
    assert [producer_id for producer_id, _ in log.active_producers()] == [2]
    assert produce(log, 9, producer=1).base_offset == 2


def test_snapshot_is_read_back(tmp_path: Path) -> None:
    states = ProducerStates(TP)
    states.update(5, 1, ProducerBatch(7, 20, 2, NOW), False)
    states.update(6, 0, ProducerBatch(0, 21, 0, NOW), True)
    again = ProducerStates(TP)
    again.decode(states.encode(), now_ms=NOW, expiration_ms=1000)
    assert again.encode() == states.encode()
    assert again.first_unstable_offset(100) == 21
    assert again.check(5, 1, 5, 2, False) == ProducerBatch(7, 20, 2, NOW)


def test_snapshot_damaged_anywhere_is_refused() -> None:
    states = ProducerStates(TP)
    states.update(5, 1, ProducerBatch(7, 20, 2, NOW), False)
    data = states.encode()
    for end_at in range(len(data)):
        with pytest.raises(ValueError):
            ProducerStates(TP).decode(data[:end_at], now_ms=NOW, expiration_ms=1000)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 4
        with pytest.raises(ValueError):
            ProducerStates(TP).decode(damaged, now_ms=NOW, expiration_ms=1000)


def test_open_transaction_holds_the_first_unstable_offset(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    append(log, b"v")
    produce(log, 0, producer=1, transactional=True)
    produce(log, 0, producer=2, transactional=True)
    assert log.first_unstable_offset(3) == 1
    end(log, ControlType.COMMIT, producer=1)
    assert log.first_unstable_offset(3) == 1  # the marker at 3 is not below the high watermark
    assert log.first_unstable_offset(4) == 2
    end(log, ControlType.ABORT, producer=2)
    assert log.first_unstable_offset(5) is None


@pytest.mark.parametrize("stop", ["clean", "crash"])
def test_aborted_transactions_are_listed_where_they_overlap(tmp_path: Path, stop: str) -> None:
    dirs, log = new_log(tmp_path)
    produce(log, 0, 2, transactional=True)  # 0, 1
    end(log, ControlType.ABORT)  # 2
    produce(log, 2, transactional=True)  # 3
    end(log, ControlType.COMMIT)  # 4
    produce(log, 3, transactional=True)  # 5
    end(log, ControlType.ABORT)  # 6
    if stop == "clean":
        dirs.close()
    else:
        crash(dirs)
    _, log = reopen(tmp_path)
    assert [each[:3] for each in log.aborted_transactions(0, 7, EVERYTHING)] == [(1, 0, 2), (1, 5, 6)]
    assert [each[:3] for each in log.aborted_transactions(3, 7, EVERYTHING)] == [(1, 5, 6)]
    assert log.aborted_transactions(3, 5, EVERYTHING) == []
    assert [each[:3] for each in log.aborted_transactions(0, 1, EVERYTHING)] == [(1, 0, 2)]


def test_data_outside_an_open_transaction_is_refused(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    produce(log, 0, transactional=True)
    assert refused(log, 1) == ErrorCode.INVALID_TXN_STATE


def test_marker_of_a_zombie_coordinator_is_refused(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    produce(log, 0, epoch=3, transactional=True)
    end(log, ControlType.COMMIT, epoch=3, coordinator=5)
    with pytest.raises(KafkaError) as raised:
        end(log, ControlType.ABORT, epoch=3, coordinator=4)
    assert raised.value.code == ErrorCode.TRANSACTION_COORDINATOR_FENCED
    with pytest.raises(KafkaError) as raised:
        end(log, ControlType.ABORT, epoch=2, coordinator=5)
    assert raised.value.code == ErrorCode.INVALID_PRODUCER_EPOCH


def test_aborted_transactions_end_with_what_was_read(tmp_path: Path) -> None:
    _, log = new_log(tmp_path, index_interval_bytes=0)
    for epoch in range(20):
        produce(log, 0, epoch=epoch, transactional=True)
        end(log, ControlType.ABORT, epoch=epoch)
    data = log.read(10, 290, end_offset=40, min_one_batch=True)
    assert data is not None
    listed = log.aborted_transactions(10, 40, data.position + len(data))
    assert [each.first_offset for each in listed] == [10, 12]


def verification_error(
    log: PartitionLog, sequence: int, verification: Verification | None, epoch: int = 0
) -> ErrorCode:
    with pytest.raises(KafkaError) as raised:
        log.producers.check_verified(1, epoch, sequence, verification)
    return raised.value.code


def test_batch_that_nobody_vouched_for_is_outside_of_a_transaction(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    assert verification_error(log, 0, None) is ErrorCode.INVALID_TXN_STATE
    verification = log.producers.begin_verification(1, 0, 0, raises_epoch=False)
    log.producers.check_verified(1, 0, 0, verification)
    produce(log, 0, transactional=True)
    log.producers.check_verified(1, 0, 1, None)  # it is in the transaction by now
    assert verification_error(log, 0, None, epoch=1) is ErrorCode.INVALID_TXN_STATE


def test_batch_vouched_for_before_a_marker_does_not_join_the_next_transaction(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    late = log.producers.begin_verification(1, 0, 0, raises_epoch=False)
    end(log, ControlType.ABORT)
    again = log.producers.begin_verification(1, 0, 0, raises_epoch=False)
    assert verification_error(log, 0, late) is ErrorCode.INVALID_TXN_STATE
    log.producers.check_verified(1, 0, 0, again)


def test_batch_vouched_for_before_the_marker_of_the_transaction_before_is_taken_where_ends_raise_the_epoch(
    tmp_path: Path,
) -> None:
    _, log = new_log(tmp_path)
    produce(log, 0, transactional=True)
    verification = log.producers.begin_verification(1, 1, 0, raises_epoch=True)
    end(log, ControlType.COMMIT, epoch=1)
    log.producers.check_verified(1, 1, 0, verification)
    end(log, ControlType.ABORT, epoch=2)
    assert verification_error(log, 0, verification, epoch=1) is ErrorCode.INVALID_TXN_STATE


def test_lowest_sequence_that_waits_comes_first(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    first = log.producers.begin_verification(1, 0, 0, raises_epoch=False)
    second = log.producers.begin_verification(1, 0, 1, raises_epoch=False)
    assert verification_error(log, 1, second) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    log.producers.check_verified(1, 0, 0, first)
    next_epoch = log.producers.begin_verification(1, 1, 7, raises_epoch=False)
    log.producers.check_verified(1, 1, 7, next_epoch)


def test_verifications_are_bounded(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    first = log.producers.begin_verification(1, 0, 0, raises_epoch=False)
    for producer_id in range(2, MAX_VERIFICATIONS + 2):
        log.producers.begin_verification(producer_id, 0, 0, raises_epoch=False)
    assert verification_error(log, 0, first) is ErrorCode.INVALID_TXN_STATE


def marker_error(log: PartitionLog, epoch: int, version: int) -> ErrorCode:
    with pytest.raises(KafkaError) as raised:
        log.producers.check_marker(1, epoch, 0, version)
    return raised.value.code


def test_marker_of_transactions_version_2_has_a_higher_epoch_than_the_transaction(tmp_path: Path) -> None:
    _, log = new_log(tmp_path)
    produce(log, 0, epoch=3, transactional=True)
    log.producers.check_marker(1, 3, 0, 0)
    assert marker_error(log, 3, 2) is ErrorCode.INVALID_PRODUCER_EPOCH
    assert marker_error(log, 2, 2) is ErrorCode.INVALID_PRODUCER_EPOCH
    log.producers.check_marker(1, 4, 0, 2)
    end(log, ControlType.COMMIT, epoch=4)
    log.producers.check_marker(1, 4, 0, 2)  # a repetition
    assert marker_error(log, 3, 2) is ErrorCode.INVALID_PRODUCER_EPOCH


@pytest.mark.parametrize("stop", ["clean", "crash"])
def test_duplicates_of_the_last_five_batches_are_recognized_after_a_restart(tmp_path: Path, stop: str) -> None:
    dirs, log = new_log(tmp_path)
    for sequence in range(7):
        produce(log, sequence)
        produce(log, sequence, producer=2)
    if stop == "clean":
        dirs.close()
    else:
        crash(dirs)
    _, log = reopen(tmp_path)
    assert [produce(log, sequence).base_offset for sequence in range(2, 7)] == [4, 6, 8, 10, 12]
    assert log.log_end_offset == 14
    with pytest.raises(KafkaError, match="OUT_OF_ORDER_SEQUENCE_NUMBER"):
        produce(log, 1)
    assert produce(log, 7).base_offset == 14


def test_duplicates_are_recognized_in_segments_before_the_snapshot(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path)
    for sequence in range(4):
        produce(log, sequence)
        log.roll()
    dirs.close()
    _, log = reopen(tmp_path)
    produce(log, 4)
    assert [produce(log, sequence).base_offset for sequence in range(5)] == [0, 1, 2, 3, 4]


def test_batches_of_an_earlier_epoch_are_not_recalled(tmp_path: Path) -> None:
    dirs, log = new_log(tmp_path)
    for sequence in range(3):
        produce(log, sequence)
    produce(log, 0, epoch=1)
    dirs.close()
    _, log = reopen(tmp_path)
    with pytest.raises(KafkaError, match="OUT_OF_ORDER_SEQUENCE_NUMBER"):
        produce(log, 2, epoch=1)
    assert produce(log, 0, epoch=1).base_offset == 3

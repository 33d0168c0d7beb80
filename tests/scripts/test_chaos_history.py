"""The history checker of scripts/chaos: each anomaly is found, and nothing else is taken for one.

A log is written as the values at its offsets from 0 on, an acknowledgement as `offset=value`.
"""

import pytest
from chaos_rig.history import Anomaly, History, Written, value_of

SENT = {1: 100, 2: 100}


def history(acknowledged: str = "", read: str = "") -> History:
    found = History(sent=dict(SENT))
    for entry in acknowledged.split():
        offset, _, value = entry.partition("=")
        written = Written.parse(value.encode())
        assert written is not None
        found.acknowledge(0, int(offset), written)
    for entry in read.split():
        offset, _, value = entry.partition("=")
        found.observe(0, int(offset), value.encode())
    return found


def anomalies(found: History, log: str, *, idempotent: bool = True) -> list[tuple[Anomaly, int]]:
    values = [value.encode() for value in log.split()]
    return [(each.anomaly, each.offset) for each in found.check({0: values}, idempotent=idempotent)]


def test_log_with_everything_where_it_was_acknowledged_is_right() -> None:
    assert anomalies(history("0=1.0 1=2.0 2=1.1", read="0=1.0 1=2.0"), "1.0 2.0 1.1") == []


def test_record_that_was_not_acknowledged_may_be_there_or_not() -> None:
    assert anomalies(history("0=1.0 1=1.2"), "1.0 1.2") == []
    assert anomalies(history("0=1.0 2=1.2"), "1.0 1.1 1.2") == []


@pytest.mark.parametrize("log", ["1.0", "1.0 2.5"], ids=["behind the end", "replaced"])
def test_acknowledged_record_that_is_nowhere_is_lost(log: str) -> None:
    assert anomalies(history("0=1.0 1=1.1"), log) == [(Anomaly.LOST, 1)]


def test_acknowledged_record_at_another_offset_has_moved() -> None:
    assert anomalies(history("0=1.0"), "2.0 1.0") == [(Anomaly.MOVED, 0)]


def test_partition_without_a_log_loses_everything() -> None:
    assert [each.anomaly for each in history("0=1.0").check({}, idempotent=True)] == [Anomaly.LOST]


def test_offset_acknowledged_twice_for_different_records_holds_two_values() -> None:
    assert (Anomaly.TWO_VALUES, 0) in anomalies(history("0=1.0 0=2.0"), "1.0 2.0")


def test_offset_acknowledged_twice_for_one_record_is_right() -> None:
    assert anomalies(history("0=1.0 0=1.0"), "1.0") == []


def test_offset_read_as_two_records_holds_two_values() -> None:
    assert (Anomaly.TWO_VALUES, 0) in anomalies(history(read="0=1.0 0=2.0"), "1.0 2.0")


@pytest.mark.parametrize("log", ["1.0", "1.0 2.0"], ids=["behind the end", "replaced"])
def test_record_that_a_consumer_read_and_that_is_gone_has_vanished(log: str) -> None:
    assert anomalies(history(read="0=1.0 1=1.1"), log) == [(Anomaly.VANISHED, 1)]


@pytest.mark.parametrize("value", ["1.100", "3.0", "garbage", "1.x"], ids=["number", "producer", "no value", "half"])
def test_record_that_nobody_sent_is_unseen(value: str) -> None:
    assert anomalies(history(), f"1.0 {value}") == [(Anomaly.UNSEEN, 1)]


def test_record_twice_in_the_log_of_an_idempotent_producer_is_a_duplicate() -> None:
    assert anomalies(history("0=1.0"), "1.0 1.1 1.0") == [(Anomaly.DUPLICATE, 2)]
    assert anomalies(history("0=1.0"), "1.0 1.1 1.0", idempotent=False) == []


def test_records_of_an_idempotent_producer_in_another_order_are_reordered() -> None:
    assert anomalies(history(), "1.0 2.5 1.2 1.1") == [(Anomaly.REORDERED, 3)]
    assert anomalies(history(), "1.0 2.5 1.2 1.1", idempotent=False) == []


def test_partitions_are_apart() -> None:
    found = History(sent=dict(SENT))
    found.acknowledge(0, 0, Written(1, 0))
    found.acknowledge(1, 0, Written(1, 1))
    assert found.check({0: [b"1.0"], 1: [b"1.1"]}, idempotent=True) == []
    assert [each.partition for each in found.check({0: [b"1.0"], 1: [b"1.5"]}, idempotent=True)] == [1]


def test_value_names_its_record_and_has_its_size() -> None:
    value = value_of(Written(3, 17), 100)
    assert len(value) == 100
    assert Written.parse(value) == Written(3, 17)

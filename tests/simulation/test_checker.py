"""Each violation is found, and a history without one passes."""

from collections.abc import Callable

import pytest

from tests.simulation.checker import History, Place, Replica, check
from wire.records import Record, build_batch

PLACE: Place = ("t", 0)


def log_of(*values: bytes, base_offset: int = 0) -> bytes:
    """A batch of a log for each value."""
    data = b""
    for offset, value in enumerate(values, base_offset):
        batch = build_batch([Record(value=value)])
        batch[:8] = offset.to_bytes(8, "big")
        data += batch
    return data


def kinds(history: History, *logs: bytes) -> list[str]:
    copies = [Replica(f"broker-{number}", data) for number, data in enumerate(logs, 1)]
    return [violation.kind for violation in check(history, {PLACE: copies})]


def sent(*values: bytes, is_idempotent: bool = True) -> History:
    history = History()
    for number, value in enumerate(values):
        history.produced("p", PLACE, value, number, is_idempotent=is_idempotent)
    return history


def test_history_in_which_all_is_well_passes() -> None:
    history = sent(b"a", b"b", b"never acknowledged")
    history.acknowledged(PLACE, b"a", 0)
    history.acknowledged(PLACE, b"b", 1)
    history.read("c", PLACE, 0, b"a")
    history.read("c", PLACE, 1, b"b")
    history.high_watermark("c", PLACE, 1)
    history.high_watermark("c", PLACE, 2)
    assert kinds(history, log_of(b"a", b"b"), log_of(b"a", b"b")) == []


def test_acknowledged_record_that_is_not_there_is_lost() -> None:
    history = sent(b"a", b"b")
    history.acknowledged(PLACE, b"b", 1)
    assert kinds(history, log_of(b"a")) == ["lost"]


def test_acknowledged_record_that_is_elsewhere_is_lost() -> None:
    history = sent(b"a", b"b")
    history.acknowledged(PLACE, b"b", 0)
    assert kinds(history, log_of(b"a", b"b")) == ["lost"]


def test_acknowledged_record_of_unknown_offset_may_be_anywhere_but_must_be_somewhere() -> None:
    history = sent(b"a", b"b")
    history.acknowledged(PLACE, b"b", -1)
    assert kinds(history, log_of(b"a", b"b")) == []
    assert kinds(history, log_of(b"a")) == ["lost"]


def test_record_of_an_idempotent_producer_that_is_there_twice_is_a_duplicate() -> None:
    history = sent(b"a")
    history.produced("p", PLACE, b"a", 0, is_idempotent=True)
    assert kinds(history, log_of(b"a", b"a")) == ["duplicate"]


def test_other_records_may_be_there_as_often_as_they_were_sent() -> None:
    history = sent(b"a", is_idempotent=False)
    history.produced("p", PLACE, b"a", 0, is_idempotent=False)
    assert kinds(history, log_of(b"a", b"a")) == []
    assert kinds(history, log_of(b"a", b"a", b"a")) == ["duplicate"]


def test_records_of_an_idempotent_producer_in_another_order_are_found() -> None:
    assert kinds(sent(b"a", b"b"), log_of(b"b", b"a")) == ["order"]
    assert kinds(sent(b"a", b"b", is_idempotent=False), log_of(b"b", b"a")) == []


def test_record_that_nobody_sent_is_invented() -> None:
    assert kinds(sent(b"a"), log_of(b"a", b"x")) == ["invented"]


def test_record_of_another_partition_is_invented() -> None:
    history = History()
    history.produced("p", ("t", 1), b"a", 0, is_idempotent=True)
    assert kinds(history, log_of(b"a")) == ["invented"]


def test_record_that_was_read_and_is_gone_has_vanished() -> None:
    history = sent(b"a", b"b")
    history.read("c", PLACE, 1, b"b")
    assert kinds(history, log_of(b"a")) == ["vanished"]


def test_two_values_at_one_offset_are_found() -> None:
    history = sent(b"a", b"b")
    history.read("c", PLACE, 0, b"a")
    history.read("d", PLACE, 0, b"b")
    assert kinds(history, log_of(b"a")) == ["two values"]


def test_value_that_is_read_where_another_was_acknowledged_is_found() -> None:
    history = sent(b"a", b"b")
    history.acknowledged(PLACE, b"a", 0)
    history.read("d", PLACE, 0, b"b")
    assert kinds(history, log_of(b"a")) == ["two values"]


def test_log_with_an_offset_twice_is_found() -> None:
    assert kinds(sent(b"a", b"b"), log_of(b"a") + log_of(b"b")) == ["two values"]


def test_replicas_that_differ_have_diverged() -> None:
    history = sent(b"a", b"b", is_idempotent=False)
    assert kinds(history, log_of(b"a"), log_of(b"b")) == ["diverged"]
    assert kinds(history, log_of(b"a", b"b"), log_of(b"a")) == ["diverged"]


def test_consumer_that_is_given_an_offset_again_went_back() -> None:
    history = sent(b"a")
    history.read("c", PLACE, 0, b"a")
    history.read("c", PLACE, 0, b"a")
    assert kinds(history, log_of(b"a")) == ["back"]


def test_high_watermark_that_goes_back_is_found_for_each_client() -> None:
    history = sent(b"a")
    history.high_watermark("c", PLACE, 5)
    history.high_watermark("d", PLACE, 4)
    assert kinds(history, log_of(b"a")) == []
    history.high_watermark("c", PLACE, 4)
    assert kinds(history, log_of(b"a")) == ["back"]


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda history: history.commit_read("g", PLACE, 5, at_least=5), []),
        (lambda history: history.commit_read("g", PLACE, 7, at_least=5), []),  # sent, not yet acknowledged
        (lambda history: history.commit_read("g", PLACE, 4, at_least=5), ["group"]),
        (lambda history: history.commit_read("g", PLACE, -1, at_least=5), ["group"]),
        (lambda history: history.commit_read("g", PLACE, 8, at_least=5), ["group"]),
    ],
)
def test_committed_offset_must_be_the_newest_acknowledged_or_one_that_was_sent_since(
    act: Callable[[History], None], expected: list[str]
) -> None:
    history = History()
    history.commit_sent("g", PLACE, 5)
    history.commit_acknowledged("g", PLACE, 5)
    history.commit_sent("g", PLACE, 7)
    assert history.committed("g", PLACE) == 5
    act(history)
    assert [violation.kind for violation in history.found] == expected


def test_commit_of_a_lost_connection_may_come_late() -> None:
    history = History()
    history.commit_sent("g", PLACE, 4)
    history.commit_may_come_late("g", PLACE, 4)
    history.commit_sent("g", PLACE, 5)
    history.commit_acknowledged("g", PLACE, 5)
    history.commit_read("g", PLACE, 4, at_least=5)
    assert history.found == []
    history.commit_read("g", PLACE, 3, at_least=5)
    assert [violation.kind for violation in history.found] == ["group"]

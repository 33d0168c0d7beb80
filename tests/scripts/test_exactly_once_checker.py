"""The checker of scripts/exactly_once: each anomaly is found, and nothing else is taken for one.

A partition is written as its records' values, or `key=value`, from offset 0 on.
"""

import pytest
from exactly_once_rig.checker import COPIES, COUNTS, NUMBERS, SENTENCES, Anomaly, Attempt, Place, Read, Told, check

TWO = "0.0.0 a b|0.0.1 b"
COPIED = "0-0=0.0.0 a b|0-1=0.0.1 b"
COUNTED = "a=1|b=1|b=2"


def reads(text: str) -> list[Read]:
    found = []
    for offset, record in enumerate(filter(None, text.split("|"))):
        key, equals, value = record.rpartition("=")
        found.append(Read(offset, key if equals else "", value))
    return found


def records(sentences: str = TWO, copies: str = COPIED, counts: str = COUNTED) -> dict[Place, list[Read]]:
    return {
        Place(topic, 0): reads(text) for topic, text in ((SENTENCES, sentences), (COPIES, copies), (COUNTS, counts))
    }


def told(**unknown: int) -> Told:
    return Told(
        committed={} if unknown else {Attempt(0, 0): 2}, unknown={Attempt(0, 0): count for count in unknown.values()}
    )


def anomalies(
    final: dict[Place, list[Read]],
    live: dict[Place, list[Read]] | None = None,
    of: Told | None = None,
    ends: dict[Place, tuple[int, int]] | None = None,
) -> set[Anomaly]:
    found = check(of if of is not None else told(), final, live if live is not None else final, ends or {})
    return {violation.anomaly for violation in found}


def test_everything_once_and_in_order_is_right() -> None:
    assert anomalies(records()) == set()
    assert anomalies(records(), live=records("0.0.0 a b", "", "a=1")) == set()


def test_outcome_that_nobody_knows_may_be_all_or_nothing() -> None:
    assert anomalies(records(), of=told(unknown=2)) == set()
    assert anomalies(records("", "", ""), of=told(unknown=2)) == set()
    assert anomalies(records("0.0.1 b", "0-0=0.0.1 b", "b=1"), of=told(unknown=2)) == {Anomaly.TORN}


def test_committed_record_that_is_not_there_is_lost_or_its_transaction_torn() -> None:
    assert anomalies(records("", "", "")) == {Anomaly.LOST}
    assert anomalies(records("0.0.0 a b", "0-0=0.0.0 a b", "a=1|b=1")) == {Anomaly.TORN}


def test_record_twice_is_a_duplicate() -> None:
    sentences, copies = TWO + "|0.0.1 b", COPIED + "|0-2=0.0.1 b"
    assert anomalies(records(sentences, copies, COUNTED + "|b=3")) == {Anomaly.DUPLICATE}


def test_records_of_a_partition_in_another_order_are_reordered() -> None:
    assert anomalies(records("0.0.1 b|0.0.0 a b", "0-0=0.0.1 b|0-1=0.0.0 a b")) == {Anomaly.REORDERED}


def test_attempt_that_nobody_committed_is_aborted() -> None:
    assert anomalies(records(TWO + "|0.1.0 a", COPIED + "|0-2=0.1.0 a", COUNTED + "|a=2")) == {Anomaly.ABORTED}


@pytest.mark.parametrize(
    "final",
    [
        records(copies=COPIED.replace("0.0.1 b", "0.0.1 b aborted")),
        records(counts=COUNTED + "|aborted=1"),
    ],
    ids=["copy", "count"],
)
def test_record_that_was_aborted_on_purpose_is_found_wherever_it_went(final: dict[Place, list[Read]]) -> None:
    assert Anomaly.ABORTED in anomalies(final)
    assert Anomaly.ABORTED in anomalies(records(), live=final)


@pytest.mark.parametrize(
    ("copies", "anomaly"),
    [
        ("0-0=0.0.0 a b", Anomaly.LOST),
        (COPIED + "|0-1=0.0.1 b", Anomaly.DUPLICATE),
        ("0-1=0.0.1 b|0-0=0.0.0 a b", Anomaly.REORDERED),
        (COPIED + "|0-7=0.0.1 b", Anomaly.MISCOPIED),
    ],
)
def test_copies_have_to_be_the_originals(copies: str, anomaly: Anomaly) -> None:
    assert anomalies(records(copies=copies)) == {anomaly}


@pytest.mark.parametrize(
    ("counts", "anomaly"),
    [
        ("a=1|b=1", Anomaly.MISCOUNTED),
        ("a=1|b=1|b=2|b=3", Anomaly.MISCOUNTED),
        ("b=1|b=2", Anomaly.MISCOUNTED),
        ("a=1|b=1|b=1|b=2", Anomaly.DUPLICATE),
        ("a=1|b=2", Anomaly.DUPLICATE),
    ],
)
def test_counts_go_up_by_one_to_how_often_the_word_is_there(counts: str, anomaly: Anomaly) -> None:
    assert anomalies(records(counts=counts)) == {anomaly}


def test_record_that_a_reader_saw_and_that_is_not_what_is_there_in_the_end_has_vanished() -> None:
    assert anomalies(records(), live=records(counts="a=1|b=2")) == {Anomaly.VANISHED}
    assert anomalies(records(), live=records(counts=COUNTED + "|b=3")) == {Anomaly.VANISHED}


@pytest.mark.parametrize(
    ("numbers", "printed", "expected"),
    [
        ("0|1|2", "0 1 2", set()),
        ("0|1|2", "0 1", {Anomaly.LOST}),
        ("0|2", "0 1 2", {Anomaly.LOST}),
        ("0|1|1|2", "0 1 2", {Anomaly.DUPLICATE}),
        ("1|0|2", "0 1 2", {Anomaly.REORDERED}),
        ("0|1|2", "0 1 2 7", {Anomaly.ABORTED}),
    ],
)
def test_numbers_of_kafkas_own_producer_are_there_once_and_all_printed(
    numbers: str, printed: str, expected: set[Anomaly]
) -> None:
    of = told()
    of.numbers, of.printed = 3, set(printed.split())
    assert anomalies(records() | {Place(NUMBERS, 0): reads(numbers)}, of=of) == expected


def test_transaction_that_is_left_open_is_found() -> None:
    assert anomalies(records(), ends={Place(SENTENCES, 0): (2, 3)}) == {Anomaly.OPEN}
    assert anomalies(records(), ends={Place(SENTENCES, 0): (3, 3)}) == set()

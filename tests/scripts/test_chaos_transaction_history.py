"""The checker of scripts/chaos for transactions: each anomaly is found, and nothing else is taken for one.

A transaction is written as `offset=value …`, what is read likewise; all is in partition 0, and `-=value` was not
acknowledged.
"""

from chaos_rig.history import Anomaly, Written
from chaos_rig.transaction_history import Place, Transaction, TransactionHistory


def records(text: str) -> dict[int, Written | None]:
    found = {}
    for entry in text.split():
        offset, _, value = entry.partition("=")
        found[int(offset)] = Written.parse(value.encode())
    return found


def transaction(text: str, *, committed: bool | None) -> Transaction:
    places: dict[Written, Place | None] = {}
    for entry in text.split():
        offset, _, value = entry.partition("=")
        written = Written.parse(value.encode())
        assert written is not None
        places[written] = None if offset == "-" else (0, int(offset))
    return Transaction(places, committed)


def anomalies(
    final: str,
    *,
    committed: str = "",
    aborted: str = "",
    unknown: str = "",
    read: str | None = None,
    end: tuple[int, int] = (9, 9),
) -> set[tuple[Anomaly, int]]:
    history = TransactionHistory(
        [
            transaction(committed, committed=True),
            transaction(aborted, committed=False),
            transaction(unknown, committed=None),
        ],
        {0: records(final if read is None else read)},
    )
    return {(each.anomaly, each.offset) for each in history.check({0: records(final)}, {0: end})}


def test_what_is_committed_is_there_and_what_is_aborted_is_not() -> None:
    assert anomalies("0=1.0 1=1.1", committed="0=1.0 1=1.1", aborted="3=1.2 -=1.3") == set()


def test_committed_record_that_is_not_there_is_lost() -> None:
    assert anomalies("0=1.0", committed="0=1.0 1=1.1") == {(Anomaly.LOST, 1)}
    assert anomalies("0=1.0", committed="0=1.0 -=1.1") == {(Anomaly.LOST, -1)}


def test_committed_record_at_another_offset_has_moved() -> None:
    assert anomalies("4=1.0", committed="0=1.0") == {(Anomaly.MOVED, 0)}


def test_aborted_record_is_not_to_be_read_not_even_for_a_while() -> None:
    assert anomalies("0=1.0 1=1.1", committed="0=1.0", aborted="1=1.1") == {(Anomaly.ABORTED, 1)}
    read = anomalies("0=1.0", committed="0=1.0", aborted="1=1.1", read="0=1.0 1=1.1")
    assert read == {(Anomaly.ABORTED, 1), (Anomaly.VANISHED, 1)}


def test_transaction_whose_end_nobody_learned_is_there_as_a_whole_or_not_at_all() -> None:
    assert anomalies("", unknown="0=1.0 1=1.1") == set()
    assert anomalies("0=1.0 1=1.1", unknown="0=1.0 1=1.1") == set()
    assert anomalies("0=1.0", unknown="0=1.0 1=1.1") == {(Anomaly.TORN, 0)}


def test_record_that_no_transaction_holds_is_unseen() -> None:
    assert anomalies("0=1.0") == {(Anomaly.UNSEEN, 0)}


def test_record_that_was_read_and_is_not_there_in_the_end_has_vanished() -> None:
    assert anomalies("0=1.0", committed="0=1.0", read="0=1.0 5=1.0") == {(Anomaly.VANISHED, 5)}


def test_record_twice_is_a_duplicate_and_one_before_an_earlier_one_reordered() -> None:
    assert (Anomaly.DUPLICATE, 1) in anomalies("0=1.0 1=1.0", committed="0=1.0")
    assert anomalies("0=1.1 1=1.0", committed="0=1.1 1=1.0") == {(Anomaly.REORDERED, 1)}


def test_transaction_that_is_left_open_is_found() -> None:
    assert anomalies("0=1.0", committed="0=1.0", end=(2, 3)) == {(Anomaly.OPEN, 2)}

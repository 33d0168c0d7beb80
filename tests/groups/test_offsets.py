import attrs

from pykbroker.groups.offsets import CommittedOffset, Key, OffsetStore

KEY: Key = ("g", "t", 0)
A_TOPIC, ANOTHER_TOPIC = b"a" * 16, b"b" * 16


def offset(value: int, record_offset: int = 0) -> CommittedOffset:
    return CommittedOffset(value, -1, "", 1_000, record_offset=record_offset)


def committed_value(store: OffsetStore) -> int | None:
    committed = store.read_committed("g").get("t", {}).get(0)
    return None if committed is None else committed.offset


def test_offset_below_the_high_watermark_is_read() -> None:
    store = OffsetStore()
    store.put(KEY, offset(5))

    assert committed_value(store) == 5


def test_uncommitted_offset_is_not_read_but_decided_on() -> None:
    store = OffsetStore()
    store.put(KEY, offset(5, 0))
    store.put(KEY, offset(6, 1), is_committed=False)

    assert committed_value(store) == 5
    assert store.group("g") == {"t": {0: offset(6, 1)}}


def test_uncommitted_first_offset_is_absent_for_readers() -> None:
    store = OffsetStore()
    store.put(KEY, offset(6, 1), is_committed=False)

    assert committed_value(store) is None
    assert store.read_committed("g") == {}


def test_offsets_become_readable_one_by_one_as_the_high_watermark_moves() -> None:
    store = OffsetStore()
    for record_offset in range(3):
        store.put(KEY, offset(10 + record_offset, record_offset), is_committed=False)

    seen = []
    for high_watermark in (0, 1, 2, 3):
        store.commit_up_to(high_watermark)
        seen.append(committed_value(store))

    assert seen == [None, 10, 11, 12]


def test_uncommitted_tombstone_hides_nothing_yet() -> None:
    store = OffsetStore()
    store.put(KEY, offset(5, 0))
    store.remove(KEY, record_offset=1, is_committed=False)

    assert committed_value(store) == 5
    store.commit_up_to(2)
    assert committed_value(store) is None
    assert store.keys_of_group("g") == []


def test_transactional_offset_is_pending_until_the_transaction_commits() -> None:
    store = OffsetStore()
    store.put(KEY, offset(5, 0), producer_id=9)

    assert store.has_pending_transaction(*KEY)
    assert committed_value(store) is None

    store.complete_transaction(9, commit=True, record_offset=1)
    assert not store.has_pending_transaction(*KEY)
    assert committed_value(store) == 5


def test_transactional_offset_is_forgotten_when_the_transaction_aborts() -> None:
    store = OffsetStore()
    store.put(KEY, offset(5, 0), producer_id=9)
    store.complete_transaction(9, commit=False, record_offset=1)

    assert not store.has_pending_transaction(*KEY)
    assert store.keys_of_group("g") == []


def test_plain_commit_after_a_transactional_one_wins_over_it() -> None:
    store = OffsetStore()
    store.put(KEY, offset(5, 0), producer_id=9)
    store.put(KEY, offset(7, 1))
    store.complete_transaction(9, commit=True, record_offset=2)

    assert committed_value(store) == 7


def test_tombstone_also_forgets_what_a_transaction_has_not_decided() -> None:
    store = OffsetStore()
    store.put(KEY, offset(5, 0), producer_id=9)
    store.remove(KEY, record_offset=1)
    store.complete_transaction(9, commit=True, record_offset=2)

    assert committed_value(store) is None


def test_keys_of_a_topic_are_found_in_all_groups() -> None:
    store = OffsetStore()
    store.put(("g1", "t", 0), offset(1))
    store.put(("g2", "t", 3), offset(1), producer_id=4)
    store.put(("g2", "u", 0), offset(1))

    assert store.keys_of_topic("t") == [("g1", "t", 0), ("g2", "t", 3)]


def test_offset_of_a_deleted_topic_of_the_same_name_is_told_apart() -> None:
    stored = attrs.evolve(offset(5), topic_id=A_TOPIC)

    assert stored.is_of_other_topic(ANOTHER_TOPIC)
    assert not stored.is_of_other_topic(A_TOPIC)
    assert not stored.is_of_other_topic(bytes(16))
    assert not offset(5).is_of_other_topic(A_TOPIC)

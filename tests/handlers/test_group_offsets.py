from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.handlers.rig import (
    ANOTHER_BROKER,
    BROKER_ID,
    TOPIC_ID,
    HandlerRig,
    offsets_topic,
    topic,
)
from wire.errors import ErrorCode
from wire.messages.classic_groups import (
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    LeaveGroupRequest,
    ListGroupsRequest,
    MemberIdentity,
    SyncGroupRequest,
)
from wire.messages.group_offsets import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetDeleteRequest,
    OffsetDeleteRequestPartition,
    OffsetDeleteRequestTopic,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopic,
    OffsetFetchRequestTopics,
)

T = topic("t", TOPIC_ID, 3)
UNKNOWN_ID = b"?" * 16
SUBSCRIPTION = b"\0\1\0\0\0\1\0\1t\xff\xff\xff\xff\0\0\0\0"
MINUTE_MS = 60_000
RETENTION_MINUTES = 60


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[HandlerRig]:
    retention = {
        "offsets.retention.minutes": str(RETENTION_MINUTES),
        "offsets.retention.check.interval.ms": str(MINUTE_MS),
    }
    rig = HandlerRig(tmp_path, retention)
    rig.set_topics(T, offsets_topic())
    yield rig
    rig.close()


def commit_request(
    offsets: dict[int, int],
    *,
    group_id: str = "g",
    member_id: str = "",
    generation_id: int = -1,
    metadata: str | None = "m",
    name: str = "t",
    topic_id: bytes = TOPIC_ID,
    retention_ms: int = -1,
) -> OffsetCommitRequest:
    partitions = [
        OffsetCommitRequestPartition(partition_index=index, committed_offset=offset, committed_metadata=metadata)
        for index, offset in offsets.items()
    ]
    return OffsetCommitRequest(
        group_id=group_id,
        generation_id_or_member_epoch=generation_id,
        member_id=member_id,
        retention_time_ms=retention_ms,
        topics=[OffsetCommitRequestTopic(name=name, topic_id=topic_id, partitions=partitions)],
    )


def commit(rig: HandlerRig, offsets: dict[int, int], version: int = 9, **options: Any) -> dict[int, ErrorCode]:
    response = rig.call(commit_request(offsets, **options), version)
    (answered,) = response.topics
    return {each.partition_index: ErrorCode(each.error_code) for each in answered.partitions}


def fetch_request(
    *indexes: int, group_id: str = "g", require_stable: bool = False, topic_id: bytes = TOPIC_ID
) -> OffsetFetchRequest:
    topics = [OffsetFetchRequestTopics(name="t", topic_id=topic_id, partition_indexes=list(indexes))]
    group = OffsetFetchRequestGroup(group_id=group_id, topics=topics if indexes else None)
    return OffsetFetchRequest(groups=[group], require_stable=require_stable)


def offsets_in(response: Any) -> dict[int, int]:
    (group,) = response.groups
    assert group.error_code == 0
    return {
        row.partition_index: row.committed_offset if row.error_code == 0 else ErrorCode(row.error_code)
        for found in group.topics
        for row in found.partitions
    }


def fetch(rig: HandlerRig, *indexes: int, version: int = 9, **options: Any) -> dict[int, int]:
    return offsets_in(rig.call(fetch_request(*indexes, **options), version))


def stable_member(rig: HandlerRig, group_id: str = "g", protocol_type: str = "consumer") -> str:
    """Take a group to Stable with one member and return its id; its generation is 1."""
    joining = rig.send(
        JoinGroupRequest(
            group_id=group_id,
            session_timeout_ms=10_000,
            rebalance_timeout_ms=10_000,
            protocol_type=protocol_type,
            protocols=[JoinGroupRequestProtocol(name="range", metadata=SUBSCRIPTION)],
        ),
        3,
    )
    rig.clock.advance(3_000)
    member_id: str = joining.response.member_id
    synced = rig.call(SyncGroupRequest(group_id=group_id, generation_id=1, member_id=member_id), 4)
    assert synced.error_code == 0
    return member_id


# OffsetCommit


@pytest.mark.parametrize("version", range(2, 11))
def test_commit_is_fetched_again_in_every_version(rig: HandlerRig, version: int) -> None:
    assert commit(rig, {0: 5, 2: 7}, version) == {0: ErrorCode.NONE, 2: ErrorCode.NONE}
    assert fetch(rig, 0, 1, 2) == {0: 5, 1: -1, 2: 7}


def test_coordinator_that_may_have_lost_its_role_tells_no_offsets_that_may_be_old(rig: HandlerRig) -> None:
    commit(rig, {0: 7})
    rig.set_topics(T, offsets_topic(isr=(BROKER_ID, ANOTHER_BROKER)))
    rig.cluster.lease_ends_ms = rig.clock.monotonic_ms()
    answer = rig.call(fetch_request(0), 9)
    assert answer.groups[0].error_code == ErrorCode.NOT_COORDINATOR


def test_commit_names_unknown_partitions_first(rig: HandlerRig) -> None:
    request = commit_request({0: 1, 9: 1})
    request.topics[0].partitions.reverse()
    request.topics.append(
        OffsetCommitRequestTopic(name="nowhere", partitions=[OffsetCommitRequestPartition(partition_index=0)])
    )
    response = rig.call(request, 9)

    assert [
        (each.name, [(row.partition_index, ErrorCode(row.error_code)) for row in each.partitions])
        for each in response.topics
    ] == [
        ("t", [(9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), (0, ErrorCode.NONE)]),
        ("nowhere", [(0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)]),
    ]


def test_commit_by_unknown_topic_id_returns_unknown_topic_id(rig: HandlerRig) -> None:
    assert commit(rig, {0: 1}, 10, topic_id=UNKNOWN_ID) == {0: ErrorCode.UNKNOWN_TOPIC_ID}


def test_commit_with_metadata_over_the_limit_returns_offset_metadata_too_large(rig: HandlerRig) -> None:
    assert commit(rig, {0: 1}, metadata="x" * 100) == {0: ErrorCode.NONE}
    assert commit(rig, {0: 2}, metadata="x" * 101) == {0: ErrorCode.OFFSET_METADATA_TOO_LARGE}
    assert fetch(rig, 0) == {0: 1}


def test_commit_of_null_metadata_is_fetched_as_empty(rig: HandlerRig) -> None:
    commit(rig, {0: 1}, metadata=None)

    assert rig.call(fetch_request(0), 9).groups[0].topics[0].partitions[0].metadata == ""


@pytest.mark.parametrize(("version", "error"), [(8, ErrorCode.ILLEGAL_GENERATION), (9, ErrorCode.GROUP_ID_NOT_FOUND)])
def test_commit_of_a_generation_of_an_unknown_group_is_an_error(
    rig: HandlerRig, version: int, error: ErrorCode
) -> None:
    assert commit(rig, {0: 1}, version, member_id="m", generation_id=3) == {0: error}


def test_commit_of_a_member_is_checked_against_its_generation(rig: HandlerRig) -> None:
    member_id = stable_member(rig)

    assert commit(rig, {0: 1}, member_id=member_id, generation_id=1) == {0: ErrorCode.NONE}
    assert commit(rig, {0: 1}, member_id=member_id, generation_id=2) == {0: ErrorCode.ILLEGAL_GENERATION}
    assert commit(rig, {0: 1}, member_id="other", generation_id=1) == {0: ErrorCode.UNKNOWN_MEMBER_ID}
    assert commit(rig, {0: 1}) == {0: ErrorCode.UNKNOWN_MEMBER_ID}


def test_commit_of_the_old_generation_is_accepted_while_preparing_a_rebalance(rig: HandlerRig) -> None:
    member_id = stable_member(rig)
    rig.send(
        JoinGroupRequest(
            group_id="g",
            session_timeout_ms=10_000,
            rebalance_timeout_ms=10_000,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=SUBSCRIPTION)],
        ),
        3,
    )

    assert commit(rig, {0: 1}, member_id=member_id, generation_id=1) == {0: ErrorCode.NONE}


def test_commit_keeps_the_session_alive(rig: HandlerRig) -> None:
    member_id = stable_member(rig)
    for _ in range(3):
        rig.clock.advance(9_000)
        assert commit(rig, {0: 1}, member_id=member_id, generation_id=1) == {0: ErrorCode.NONE}
    rig.clock.advance(10_000)

    assert commit(rig, {0: 1}, member_id=member_id, generation_id=1) == {0: ErrorCode.UNKNOWN_MEMBER_ID}


def test_commit_for_the_empty_group_id_is_accepted(rig: HandlerRig) -> None:
    assert commit(rig, {0: 4}, group_id="") == {0: ErrorCode.NONE}
    assert fetch(rig, 0, group_id="") == {0: 4}


def test_commit_without_partitions_is_answered_without_looking_at_the_group(rig: HandlerRig) -> None:
    request = OffsetCommitRequest(group_id="nobody", generation_id_or_member_epoch=5)

    assert rig.call(request, 9).topics == []


def test_commit_at_another_broker_returns_not_coordinator(rig: HandlerRig) -> None:
    rig.set_topics(T, offsets_topic(leader=ANOTHER_BROKER))

    assert commit(rig, {0: 1}) == {0: ErrorCode.NOT_COORDINATOR}
    assert rig.call(fetch_request(0), 9).groups[0].error_code == ErrorCode.NOT_COORDINATOR


def test_commit_survives_a_new_coordinator(rig: HandlerRig) -> None:
    commit(rig, {0: 5, 1: 6})
    commit(rig, {0: 8})
    rig.set_topics(T, offsets_topic(leader=ANOTHER_BROKER))
    rig.set_topics(T, offsets_topic())

    assert fetch(rig, 0, 1) == {0: 8, 1: 6}


# What is not below the high watermark


def test_commit_is_answered_when_the_high_watermark_has_passed_it(rig: HandlerRig) -> None:
    rig.set_topics(T, offsets_topic(isr=(BROKER_ID, ANOTHER_BROKER)))
    answered = rig.send(commit_request({0: 5}), 9)

    assert answered.response is None
    assert fetch(rig, 0) == {0: -1}
    rig.set_topics(T, offsets_topic())
    assert answered.response.topics[0].partitions[0].error_code == 0
    assert fetch(rig, 0) == {0: 5}


def test_commit_that_followers_do_not_get_times_out(rig: HandlerRig) -> None:
    rig.set_topics(T, offsets_topic(isr=(BROKER_ID, ANOTHER_BROKER)))
    answered = rig.send(commit_request({0: 5}), 9)
    rig.clock.advance(5_000)

    assert answered.response.topics[0].partitions[0].error_code == ErrorCode.COORDINATOR_NOT_AVAILABLE


def test_commit_whose_coordinator_loses_the_partition_returns_not_coordinator(rig: HandlerRig) -> None:
    rig.set_topics(T, offsets_topic(isr=(BROKER_ID, ANOTHER_BROKER)))
    answered = rig.send(commit_request({0: 5}), 9)
    rig.set_topics(T, offsets_topic(leader=ANOTHER_BROKER))

    assert answered.response.topics[0].partitions[0].error_code == ErrorCode.NOT_COORDINATOR


def test_fetch_that_requires_stable_offsets_waits_for_what_is_being_committed(rig: HandlerRig) -> None:
    rig.set_topics(T, offsets_topic(isr=(BROKER_ID, ANOTHER_BROKER)))
    rig.send(commit_request({0: 5}), 9)
    answered = rig.send(fetch_request(0, require_stable=True), 9)

    assert answered.response is None
    rig.set_topics(T, offsets_topic())
    assert offsets_in(answered.response) == {0: 5}


# OffsetFetch


@pytest.mark.parametrize("version", range(1, 8))
def test_fetch_of_one_group_answers_by_topic(rig: HandlerRig, version: int) -> None:
    commit(rig, {0: 5})
    topics = [
        OffsetFetchRequestTopic(name="t", partition_indexes=[0, 1]),
        OffsetFetchRequestTopic(name="nowhere", partition_indexes=[0]),
    ]
    response = rig.call(OffsetFetchRequest(group_id="g", topics=topics), version)

    assert response.error_code == 0
    assert [
        (
            each.name,
            [(row.partition_index, row.committed_offset, row.metadata, row.error_code) for row in each.partitions],
        )
        for each in response.topics
    ] == [("t", [(0, 5, "m", 0), (1, -1, "", 0)]), ("nowhere", [(0, -1, "", 0)])]


@pytest.mark.parametrize("version", range(2, 8))
def test_fetch_of_null_topics_returns_all(rig: HandlerRig, version: int) -> None:
    commit(rig, {0: 5, 2: 6})
    response = rig.call(OffsetFetchRequest(group_id="g", topics=None), version)

    assert [[row.partition_index for row in each.partitions] for each in response.topics] == [[0, 2]]


@pytest.mark.parametrize(("version", "in_response", "in_row"), [(1, 0, 16), (2, 16, None), (7, 16, None)])
def test_fetch_error_of_a_group_stands_where_the_version_has_a_place(
    rig: HandlerRig, version: int, in_response: int, in_row: int | None
) -> None:
    rig.set_topics(T)
    topics = [OffsetFetchRequestTopic(name="t", partition_indexes=[0])]
    response = rig.call(OffsetFetchRequest(group_id="g", topics=topics), version)

    assert response.error_code == in_response
    assert [row.error_code for each in response.topics for row in each.partitions] == (
        [] if in_row is None else [in_row]
    )


def test_fetch_of_several_groups_answers_each_in_order(rig: HandlerRig) -> None:
    commit(rig, {0: 5}, group_id="a")
    commit(rig, {0: 6}, group_id="b")
    groups = [OffsetFetchRequestGroup(group_id=each, topics=None) for each in ("b", "unknown", "a")]
    response = rig.call(OffsetFetchRequest(groups=groups), 9)

    found = [
        (each.group_id, [row.committed_offset for t in each.topics for row in t.partitions]) for each in response.groups
    ]
    assert found == [("b", [6]), ("unknown", []), ("a", [5])]


def test_fetch_of_no_groups_is_answered(rig: HandlerRig) -> None:
    assert rig.call(OffsetFetchRequest(groups=[]), 9).groups == []


def test_fetch_by_topic_id_names_the_topic_by_id(rig: HandlerRig) -> None:
    commit(rig, {0: 5})
    for request in (fetch_request(0), fetch_request()):
        response = rig.call(request, 10)
        assert response.groups[0].topics[0].topic_id == TOPIC_ID
        assert offsets_in(response) == {0: 5}


def test_fetch_by_unknown_topic_id_returns_unknown_topic_id_after_the_known(rig: HandlerRig) -> None:
    commit(rig, {0: 5})
    request = fetch_request(0)
    assert request.groups[0].topics is not None
    request.groups[0].topics.insert(0, OffsetFetchRequestTopics(topic_id=UNKNOWN_ID, partition_indexes=[1]))

    assert list(offsets_in(rig.call(request, 10)).items()) == [(0, 5), (1, ErrorCode.UNKNOWN_TOPIC_ID)]


def test_fetch_of_an_open_transaction_returns_unstable_offset_commit(rig: HandlerRig) -> None:
    commit(rig, {0: 5})
    offsets = rig.groups.shard_for("g").offsets
    offsets.put(("g", "t", 0), offsets.group("g")["t"][0], producer_id=4)

    assert fetch(rig, 0, require_stable=True) == {0: ErrorCode.UNSTABLE_OFFSET_COMMIT}
    assert fetch(rig, 0) == {0: 5}


# Deleted topics, expiry


def test_offsets_of_a_deleted_topic_are_forgotten(rig: HandlerRig) -> None:
    commit(rig, {0: 5})
    rig.set_topics(offsets_topic())
    rig.set_topics(T, offsets_topic())

    assert fetch(rig, 0) == {0: -1}


def test_offsets_of_a_standalone_consumer_expire_after_the_retention(rig: HandlerRig) -> None:
    commit(rig, {0: 5})
    rig.clock.advance(59 * MINUTE_MS)
    commit(rig, {1: 6})
    assert fetch(rig, 0, 1) == {0: 5, 1: 6}
    rig.clock.advance(1 * MINUTE_MS)

    assert fetch(rig, 0, 1) == {0: -1, 1: 6}


def test_group_of_which_nothing_is_left_is_deleted(rig: HandlerRig) -> None:
    commit(rig, {0: 5})
    rig.clock.advance(RETENTION_MINUTES * MINUTE_MS)

    assert rig.call(ListGroupsRequest()).groups == []


def test_offsets_with_a_retention_time_of_their_own_expire_by_it(rig: HandlerRig) -> None:
    commit(rig, {0: 5}, 4, retention_ms=90_000)
    rig.clock.advance(MINUTE_MS)
    assert fetch(rig, 0) == {0: 5}
    rig.clock.advance(MINUTE_MS)

    assert fetch(rig, 0) == {0: -1}


def test_offsets_of_an_emptied_group_expire_from_when_it_became_empty(rig: HandlerRig) -> None:
    member_id = stable_member(rig)
    commit(rig, {0: 5}, member_id=member_id, generation_id=1)
    for _ in range(100):
        rig.clock.advance(9_000)
        assert rig.call(HeartbeatRequest(group_id="g", generation_id=1, member_id=member_id)).error_code == 0
    rig.call(LeaveGroupRequest(group_id="g", members=[MemberIdentity(member_id=member_id)]))
    rig.clock.advance((RETENTION_MINUTES - 1) * MINUTE_MS)
    assert fetch(rig, 0) == {0: 5}
    rig.clock.advance(2 * MINUTE_MS)

    assert fetch(rig, 0) == {0: -1}


def test_offsets_of_a_topic_that_members_consume_do_not_expire(rig: HandlerRig) -> None:
    member_id = stable_member(rig)
    commit(rig, {0: 5}, member_id=member_id, generation_id=1)
    for _ in range(8 * RETENTION_MINUTES):
        rig.clock.advance(9_000)
        assert rig.call(HeartbeatRequest(group_id="g", generation_id=1, member_id=member_id)).error_code == 0

    assert fetch(rig, 0) == {0: 5}


# OffsetDelete


def delete_request(*indexes: int, group_id: str = "g", name: str = "t") -> OffsetDeleteRequest:
    partitions = [OffsetDeleteRequestPartition(partition_index=index) for index in indexes]
    return OffsetDeleteRequest(group_id=group_id, topics=[OffsetDeleteRequestTopic(name=name, partitions=partitions)])


def test_delete_forgets_offsets_and_names_unknown_partitions(rig: HandlerRig) -> None:
    commit(rig, {0: 5, 1: 6})
    response = rig.call(delete_request(0, 2, 9))

    rows = [(row.partition_index, ErrorCode(row.error_code)) for row in response.topics[0].partitions]
    assert rows == [(9, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION), (0, ErrorCode.NONE), (2, ErrorCode.NONE)]
    assert fetch(rig, 0, 1) == {0: -1, 1: 6}


def test_delete_of_a_consumed_topic_returns_group_subscribed_to_topic(rig: HandlerRig) -> None:
    stable_member(rig)
    response = rig.call(delete_request(0))

    assert response.topics[0].partitions[0].error_code == ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC


def test_delete_of_a_topic_that_members_do_not_consume_succeeds(rig: HandlerRig) -> None:
    rig.set_topics(T, topic("u", b"u" * 16, 1), offsets_topic())
    stable_member(rig)

    assert rig.call(delete_request(0, name="u")).topics[0].partitions[0].error_code == 0


@pytest.mark.parametrize(
    ("group_id", "error"), [("", ErrorCode.INVALID_GROUP_ID), ("nobody", ErrorCode.GROUP_ID_NOT_FOUND)]
)
def test_delete_of_no_group_is_an_error(rig: HandlerRig, group_id: str, error: ErrorCode) -> None:
    response = rig.call(delete_request(0, group_id=group_id))

    assert (response.error_code, response.topics) == (error, [])


def test_delete_in_a_live_group_of_another_protocol_returns_non_empty_group(rig: HandlerRig) -> None:
    stable_member(rig, protocol_type="connect")

    assert rig.call(delete_request(0)).error_code == ErrorCode.NON_EMPTY_GROUP

"""What the responses of the classic group APIs look like; what groups do is told by the stories in tests/groups."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.handlers.rig import ANOTHER_BROKER, BROKER_ID, TOPIC_ID, Answered, HandlerRig, offsets_topic, topic
from wire.errors import ErrorCode
from wire.messages.classic_groups import (
    DeleteGroupsRequest,
    DescribeGroupsRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    LeaveGroupRequest,
    ListGroupsRequest,
    MemberIdentity,
    SyncGroupRequest,
    SyncGroupRequestAssignment,
)
from wire.messages.group_offsets import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
)

T = topic("t", TOPIC_ID, 1)
GROUP_OPERATIONS = 3400  # what Apache Kafka 4.4 answers without an authorizer
NOT_ASKED = -(2**31)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[HandlerRig]:
    rig = HandlerRig(tmp_path, {"group.initial.rebalance.delay.ms": "0"})
    rig.set_topics(T, offsets_topic(partitions=3))
    yield rig
    rig.close()


def join_request(group_id: str = "g", **fields: Any) -> JoinGroupRequest:
    defaults: dict[str, Any] = {
        "session_timeout_ms": 10_000,
        "rebalance_timeout_ms": 20_000,
        "protocol_type": "consumer",
        "protocols": [JoinGroupRequestProtocol(name="range", metadata=b"M")],
    }
    return JoinGroupRequest(group_id=group_id, **(defaults | fields))


def joined(rig: HandlerRig, answered: Answered) -> Any:
    rig.clock.advance(0)  # the initial rebalance delay
    return answered.response


def stable_member(rig: HandlerRig, group_id: str = "g", **fields: Any) -> str:
    """Take a group to Stable with one member and return its id; its generation is 1."""
    member_id: str = joined(rig, rig.send(join_request(group_id, **fields), 9 if fields else 3)).member_id
    assignments = [SyncGroupRequestAssignment(member_id=member_id, assignment=b"A")]
    synced = rig.call(
        SyncGroupRequest(group_id=group_id, generation_id=1, member_id=member_id, assignments=assignments), 4
    )
    assert (synced.error_code, synced.assignment) == (0, b"A")
    return member_id


def commit_offset(rig: HandlerRig, group_id: str) -> None:
    partition = OffsetCommitRequestPartition(partition_index=0, committed_offset=5)
    topics = [OffsetCommitRequestTopic(name="t", partitions=[partition])]
    response = rig.call(OffsetCommitRequest(group_id=group_id, topics=topics), 9)
    assert response.topics[0].partitions[0].error_code == 0


# JoinGroup


@pytest.mark.parametrize("version", range(4))
def test_join_before_version_4_is_answered_by_the_round(rig: HandlerRig, version: int) -> None:
    response = joined(rig, rig.send(join_request(), version))

    assert (response.error_code, response.generation_id, response.protocol_name) == (0, 1, "range")
    assert response.leader == response.member_id == "c-1"
    assert [(each.member_id, each.metadata) for each in response.members] == [("c-1", b"M")]


@pytest.mark.parametrize("version", range(4, 10))
def test_join_from_version_4_on_needs_the_member_id(rig: HandlerRig, version: int) -> None:
    first = rig.call(join_request(), version)
    assert (first.error_code, first.member_id) == (ErrorCode.MEMBER_ID_REQUIRED, "c-1")

    response = joined(rig, rig.send(join_request(member_id="c-1"), version))
    assert (response.error_code, response.member_id) == (0, "c-1")
    assert response.protocol_type == ("consumer" if version >= 7 else None)


@pytest.mark.parametrize(("version", "name"), [(6, ""), (7, None), (9, None)])
def test_join_error_has_no_protocol_name(rig: HandlerRig, version: int, name: str | None) -> None:
    response = rig.call(join_request(member_id="nobody"), version)

    assert (response.error_code, response.member_id) == (ErrorCode.UNKNOWN_MEMBER_ID, "nobody")
    assert response.protocol_name == name


@pytest.mark.parametrize("session_timeout_ms", [5_999, 1_800_001])
def test_join_with_a_session_timeout_out_of_bounds_is_an_error(rig: HandlerRig, session_timeout_ms: int) -> None:
    response = rig.call(join_request(session_timeout_ms=session_timeout_ms))

    assert response.error_code == ErrorCode.INVALID_SESSION_TIMEOUT


def test_join_of_version_0_takes_the_session_timeout_for_rebalances(rig: HandlerRig) -> None:
    member_id = joined(rig, rig.send(join_request(), 0)).member_id

    member = rig.groups.shard_for("g").group("g").members[member_id]
    assert member.rebalance_timeout_ms == 10_000


def test_join_of_the_empty_group_id_returns_invalid_group_id(rig: HandlerRig) -> None:
    assert rig.call(join_request("")).error_code == ErrorCode.INVALID_GROUP_ID


@pytest.mark.parametrize("fields", [{"protocols": []}, {"protocol_type": ""}])
def test_join_without_protocols_returns_inconsistent_group_protocol(rig: HandlerRig, fields: dict[str, Any]) -> None:
    assert rig.call(join_request(**fields)).error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL


def test_join_at_another_broker_returns_not_coordinator(rig: HandlerRig) -> None:
    rig.set_topics(T, offsets_topic(partitions=3, leader=ANOTHER_BROKER))
    response = rig.call(join_request(member_id="m"))

    assert (response.error_code, response.member_id) == (ErrorCode.NOT_COORDINATOR, "m")


def test_join_that_waits_when_the_coordinator_moves_returns_not_coordinator(rig: HandlerRig) -> None:
    stable_member(rig)
    waiting = rig.send(join_request(), 3)
    rig.set_topics(T, offsets_topic(partitions=3, leader=ANOTHER_BROKER))

    assert waiting.response.error_code == ErrorCode.NOT_COORDINATOR


def test_join_without_client_id_gets_a_member_id(rig: HandlerRig) -> None:
    assert rig.call(join_request(), client_id="").member_id == "-1"


# SyncGroup, Heartbeat


def test_sync_from_version_5_on_needs_protocol_type_and_name(rig: HandlerRig) -> None:
    member_id = stable_member(rig)
    request = SyncGroupRequest(group_id="g", generation_id=1, member_id=member_id)
    assert rig.call(request, 5).error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL

    request.protocol_type, request.protocol_name = "consumer", "range"
    response = rig.call(request, 5)
    assert (response.protocol_type, response.protocol_name, response.assignment) == ("consumer", "range", b"A")


def test_sync_waits_until_the_assignment_is_committed(rig: HandlerRig) -> None:
    member_id = joined(rig, rig.send(join_request(), 3)).member_id
    rig.set_topics(T, offsets_topic(partitions=3, isr=(BROKER_ID, ANOTHER_BROKER)))
    assignments = [SyncGroupRequestAssignment(member_id=member_id, assignment=b"A")]
    waiting = rig.send(SyncGroupRequest(group_id="g", generation_id=1, member_id=member_id, assignments=assignments), 4)

    assert waiting.response is None
    rig.set_topics(T, offsets_topic(partitions=3))
    assert waiting.response.assignment == b"A"


@pytest.mark.parametrize(
    ("group_id", "generation_id", "error"),
    [
        ("g", 1, ErrorCode.NONE),
        ("g", 2, ErrorCode.ILLEGAL_GENERATION),
        ("other", 1, ErrorCode.UNKNOWN_MEMBER_ID),
    ],
)
def test_heartbeat_is_checked(rig: HandlerRig, group_id: str, generation_id: int, error: ErrorCode) -> None:
    member_id = stable_member(rig)
    request = HeartbeatRequest(group_id=group_id, generation_id=generation_id, member_id=member_id)

    assert rig.call(request).error_code == error


@pytest.mark.parametrize("request_class", [SyncGroupRequest, HeartbeatRequest, LeaveGroupRequest])
def test_empty_group_id_returns_invalid_group_id(rig: HandlerRig, request_class: type[Any]) -> None:
    assert rig.call(request_class(group_id=""), 2).error_code == ErrorCode.INVALID_GROUP_ID


# LeaveGroup


@pytest.mark.parametrize("version", range(3))
def test_leave_of_one_member_has_its_error_in_the_response(rig: HandlerRig, version: int) -> None:
    member_id = stable_member(rig)

    assert rig.call(LeaveGroupRequest(group_id="g", member_id="x"), version).error_code == ErrorCode.UNKNOWN_MEMBER_ID
    assert rig.call(LeaveGroupRequest(group_id="g", member_id=member_id), version).error_code == ErrorCode.NONE


@pytest.mark.parametrize("version", range(3, 6))
def test_leave_of_several_members_has_an_error_for_each(rig: HandlerRig, version: int) -> None:
    member_id = stable_member(rig)
    identities = [MemberIdentity(member_id=member_id), MemberIdentity(group_instance_id="i")]
    response = rig.call(LeaveGroupRequest(group_id="g", members=identities), version)

    assert response.error_code == 0
    assert [(each.member_id, each.group_instance_id, each.error_code) for each in response.members] == [
        (member_id, None, ErrorCode.NONE),
        ("", "i", ErrorCode.UNKNOWN_MEMBER_ID),
    ]


def test_leave_of_an_unknown_group_names_each_member(rig: HandlerRig) -> None:
    response = rig.call(LeaveGroupRequest(group_id="nobody", members=[MemberIdentity(member_id="m")]))

    assert [each.error_code for each in response.members] == [ErrorCode.UNKNOWN_MEMBER_ID]


# DescribeGroups, ListGroups


def test_describe_shows_members_of_a_stable_group(rig: HandlerRig) -> None:
    stable_member(rig, group_instance_id="i")
    (described,) = rig.call(DescribeGroupsRequest(groups=["g"], include_authorized_operations=True)).groups

    assert (described.error_code, described.group_state) == (0, "Stable")
    assert (described.protocol_type, described.protocol_data) == ("consumer", "range")
    assert described.authorized_operations == GROUP_OPERATIONS
    (member,) = described.members
    assert (member.member_id, member.group_instance_id) == ("i-1", "i")
    assert (member.client_id, member.client_host) == ("c", "/127.0.0.1")
    assert (member.member_metadata, member.member_assignment) == (b"M", b"A")


def test_describe_during_a_round_shows_members_without_what_they_bring(rig: HandlerRig) -> None:
    stable_member(rig)
    rig.send(join_request(), 3)
    (described,) = rig.call(DescribeGroupsRequest(groups=["g"])).groups

    assert (described.group_state, described.protocol_type) == ("PreparingRebalance", "consumer")
    assert described.protocol_data == ""
    assert described.authorized_operations == NOT_ASKED
    assert [(each.member_metadata, each.member_assignment) for each in described.members] == [(b"", b"")] * 2


def test_describe_of_an_unknown_group_is_dead(rig: HandlerRig) -> None:
    (described,) = rig.call(DescribeGroupsRequest(groups=["nobody"], include_authorized_operations=True), 5).groups

    assert (described.error_code, described.group_state) == (0, "Dead")
    assert described.authorized_operations == GROUP_OPERATIONS


def test_describe_of_an_unknown_group_from_version_6_on_returns_group_id_not_found(rig: HandlerRig) -> None:
    (described,) = rig.call(DescribeGroupsRequest(groups=["nobody"], include_authorized_operations=True), 6).groups

    assert (described.error_code, described.group_state) == (ErrorCode.GROUP_ID_NOT_FOUND, "Dead")
    assert "nobody" in described.error_message
    assert described.authorized_operations == NOT_ASKED


def test_describe_at_another_broker_returns_not_coordinator(rig: HandlerRig) -> None:
    rig.set_topics(T, offsets_topic(partitions=3, leader=ANOTHER_BROKER))
    (described,) = rig.call(DescribeGroupsRequest(groups=["g"])).groups

    assert (described.error_code, described.group_state) == (ErrorCode.NOT_COORDINATOR, "")


@pytest.mark.parametrize(
    ("states", "types", "listed"),
    [
        ([], [], {"live", "simple"}),
        (["stable"], [], {"live"}),
        ([" EMPTY ", "Dead"], [], {"simple"}),
        (["nonsense"], [], set()),
        ([], ["Classic"], {"live", "simple"}),
        ([], ["consumer"], set()),
        (["Stable"], ["classic", "nonsense"], {"live"}),
    ],
)
def test_list_filters_by_state_and_type(rig: HandlerRig, states: list[str], types: list[str], listed: set[str]) -> None:
    stable_member(rig, "live")
    commit_offset(rig, "simple")
    response = rig.call(ListGroupsRequest(states_filter=states, types_filter=types), 5)

    assert {each.group_id for each in response.groups} == listed


@pytest.mark.parametrize("version", range(6))
def test_list_shows_what_the_version_has(rig: HandlerRig, version: int) -> None:
    stable_member(rig)
    (listed,) = rig.call(ListGroupsRequest(), version).groups

    assert (listed.group_id, listed.protocol_type) == ("g", "consumer")
    assert listed.group_state == ("Stable" if version >= 4 else "")
    assert listed.group_type == ("classic" if version >= 5 else "")


# DeleteGroups


@pytest.mark.parametrize("version", range(4))
def test_delete_answers_for_each_group(rig: HandlerRig, version: int) -> None:
    stable_member(rig, "live")
    commit_offset(rig, "simple")
    request = DeleteGroupsRequest(groups_names=["live", "nobody", "simple", "simple"])
    response = rig.call(request, version)

    assert {each.group_id: ErrorCode(each.error_code) for each in response.results} == {
        "live": ErrorCode.NON_EMPTY_GROUP,
        "nobody": ErrorCode.GROUP_ID_NOT_FOUND,
        "simple": ErrorCode.NONE,
    }


def test_deleted_group_is_gone_with_its_offsets_and_stays_gone(rig: HandlerRig) -> None:
    commit_offset(rig, "simple")
    rig.call(DeleteGroupsRequest(groups_names=["simple"]))
    for _ in range(2):
        fetched = rig.call(OffsetFetchRequest(groups=[OffsetFetchRequestGroup(group_id="simple", topics=None)]), 9)
        assert fetched.groups[0].topics == []
        assert rig.call(ListGroupsRequest()).groups == []
        rig.set_topics(T, offsets_topic(partitions=3, leader=ANOTHER_BROKER))
        rig.set_topics(T, offsets_topic(partitions=3))


def test_delete_of_no_groups_is_answered(rig: HandlerRig) -> None:
    assert rig.call(DeleteGroupsRequest(groups_names=[])).results == []


def test_delete_waits_until_it_is_committed(rig: HandlerRig) -> None:
    commit_offset(rig, "simple")
    rig.set_topics(T, offsets_topic(partitions=3, isr=(BROKER_ID, ANOTHER_BROKER)))
    waiting = rig.send(DeleteGroupsRequest(groups_names=["simple", "nobody"]), 2)

    assert waiting.response is None
    rig.set_topics(T, offsets_topic(partitions=3))
    assert [each.error_code for each in waiting.response.results] == [ErrorCode.NONE, ErrorCode.GROUP_ID_NOT_FOUND]


# A new coordinator


def test_members_survive_a_new_coordinator(rig: HandlerRig) -> None:
    member_id = stable_member(rig)
    rig.set_topics(T, offsets_topic(partitions=3, leader=ANOTHER_BROKER))
    rig.set_topics(T, offsets_topic(partitions=3))

    assert rig.call(HeartbeatRequest(group_id="g", generation_id=1, member_id=member_id)).error_code == 0
    request = SyncGroupRequest(group_id="g", generation_id=1, member_id=member_id)
    assert rig.call(request, 4).assignment == b"A"


def test_connection_that_dies_takes_its_waiting_member_along(rig: HandlerRig) -> None:
    stable_member(rig)
    waiting = rig.send(join_request(), 3)
    assert waiting.parked is not None
    waiting.parked.cancel()
    (described,) = rig.call(DescribeGroupsRequest(groups=["g"])).groups

    assert [each.member_id for each in described.members] == ["c-1"]

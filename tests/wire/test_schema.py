import pytest

from wire.messages.classic_groups import HeartbeatRequest, JoinGroupRequest, JoinGroupRequestProtocol
from wire.messages.fetch import FetchRequest
from wire.schema import Versions, spec_of


@pytest.mark.parametrize("text", ["0", "7", "3-5", "0+", "12+", "none"])
def test_version_range_is_written_as_it_was_read(text: str) -> None:
    assert str(Versions.parse(text)) == text


def test_version_range_holds_its_ends() -> None:
    assert [version for version in range(8) if version in Versions.parse("3-5")] == [3, 4, 5]
    assert 32767 in Versions.parse("3+")
    assert 0 not in Versions.parse("none")


@pytest.mark.parametrize("text", ["", "a", "3-", "-3", "3 - 5", "3++"])
def test_text_that_is_no_version_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a version range"):
        Versions.parse(text)


def test_messages_are_equal_by_their_fields_and_unknown_tags() -> None:
    assert HeartbeatRequest(group_id="g") == HeartbeatRequest(group_id="g")
    assert HeartbeatRequest(group_id="g") != HeartbeatRequest(group_id="h")
    assert HeartbeatRequest() != JoinGroupRequest()
    tagged = HeartbeatRequest(group_id="g")
    tagged.unknown_tags = {1: b""}
    assert tagged != HeartbeatRequest(group_id="g")


def test_messages_are_mutable_and_so_not_hashable() -> None:
    with pytest.raises(TypeError):
        hash(HeartbeatRequest())


def test_lists_and_structs_of_two_new_messages_are_their_own() -> None:
    first, second = FetchRequest(), FetchRequest()
    assert first.topics is not second.topics
    assert first.replica_state is not second.replica_state


def test_message_is_shown_with_all_its_fields() -> None:
    shown = repr(JoinGroupRequest(group_id="g", protocols=[JoinGroupRequestProtocol(name="range")]))
    assert shown.startswith("JoinGroupRequest(group_id='g', session_timeout_ms=0")
    assert "JoinGroupRequestProtocol(name='range', metadata=b'')" in shown


def test_attributes_that_are_no_fields_are_refused() -> None:
    with pytest.raises(AttributeError):
        HeartbeatRequest().grup_id = "g"  # type: ignore[attr-defined]
    assert spec_of(HeartbeatRequest).key == 12

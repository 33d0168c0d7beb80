"""Records of internal topics as plain values. What files of controllers hold: tests/cli/test_log_dump."""

import struct

import pytest

from wire import codec
from wire.messages.log_records import (
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    GroupMetadataKey,
    GroupMetadataValue,
    MemberMetadata,
)
from wire.study.internal_records import record_explainer


def versioned(version: int, message: object, of: int) -> bytes:
    return struct.pack(">h", version) + codec.encode_bytes(message, of)


@pytest.mark.parametrize("protocol_type", ["consumer", "connect"])
def test_what_members_of_a_group_said_is_read_where_they_are_consumers(protocol_type: str) -> None:
    explain = record_explainer("__consumer_offsets")
    assert explain is not None
    said = versioned(0, ConsumerProtocolSubscription(topics=["t"]), 0)
    member = MemberMetadata(
        member_id="m", subscription=said, assignment=versioned(0, ConsumerProtocolAssignment(user_data=b"\1"), 0)
    )
    group = GroupMetadataValue(protocol_type=protocol_type, members=[member])
    explained = explain(versioned(2, GroupMetadataKey(group="g"), 0), versioned(3, group, 3))
    assert explained is not None
    key, value = explained
    assert key == {"type": "GroupMetadataKey", "group": "g"}
    assert value is not None
    (shown,) = value["members"]
    if protocol_type == "consumer":
        assert (shown["subscription"]["version"], shown["subscription"]["topics"]) == (0, ["t"])
        assert shown["assignment"]["user_data"] == "01"
    else:
        assert shown["subscription"] == said.hex()

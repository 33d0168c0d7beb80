"""What tshark's own dissector says of the same bytes: it agrees with our trees on the fields that both know.

Needs tshark; without it this test is skipped, which says so.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.wire.study.golden import golden_frames
from tests.wire.study.tshark import NEEDS_TSHARK, items, pdml, place
from wire.catalog import API_BY_KEY
from wire.study.exchanges import Direction, TracedFrame
from wire.study.tree import Node

pytestmark = NEEDS_TSHARK


# (its field, ours) -> why the values need not be the same although the bytes are.
EXPLAINED = {
    ("kafka.offset", "offset_delta"): "it shows the offset that the delta makes",
    ("kafka.batch_codec", "attributes"): "one of the bits",
    ("kafka.batch_timestamp_type", "attributes"): "one of the bits",
    ("kafka.batch_transactional", "attributes"): "one of the bits",
    ("kafka.batch_control_batch", "attributes"): "one of the bits",
    ("kafka.batch_last_offset_delta", "last_offset_delta"): "it takes it for unsigned",
    ("kafka.topic_authorized_ops", "topic_authorized_operations"): "it takes it for unsigned",
    ("kafka.cluster_authorized_ops", "cluster_authorized_operations"): "it takes it for unsigned",
    ("kafka.group_authorized_ops", "authorized_operations"): "it takes it for unsigned",
    ("kafka.protocol_metadata", "name"): "it goes on at the wrong place behind metadata that is no consumer's",
    ("kafka.member_metadata", "protocol_data"): "it goes on at the wrong place behind metadata that is no consumer's",
}  # fmt: skip
REQUEST, RESPONSE = Direction
SHORT = "it takes the length of bytes for one of two bytes"
SHORT_ELEMENT = "it reads arrays of int32 as if something else were in them, and goes on at the wrong place"
# What it shows at places where we see nothing of the kind: (API, direction) -> the versions, its fields, and why.
ELSEWHERE: dict[tuple[str, Direction], tuple[range, str, str]] = {
    ("ApiVersions", RESPONSE): (range(3, 4), "tagged_field_data", "it takes the features for one piece"),
    ("CreateDelegationToken", RESPONSE): (range(1, 2), "token_hmac throttle_time", SHORT),
    ("CreatePartitions", REQUEST): (
        range(3), "node_id partition_count tagged_field_tag timeout topic_name validate_only", SHORT_ELEMENT,
    ),
    ("CreateTopics", REQUEST): (range(2, 6), "config_key config_value timeout validate_only", SHORT_ELEMENT),
    ("DescribeGroups", RESPONSE): (
        range(5),
        "consumer_group error group_state member_assignment member_id member_metadata protocol_name protocol_type",
        SHORT,
    ),
    ("ElectLeaders", REQUEST): (range(3), "partition_id tagged_field_tag timeout", SHORT_ELEMENT),
    ("ExpireDelegationToken", REQUEST): (range(1, 2), "token_hmac expiry_time", SHORT),
    ("JoinGroup", REQUEST): (range(6), "protocol_metadata protocol_name", SHORT),
    ("JoinGroup", RESPONSE): (range(6), "member_metadata", SHORT),
    ("RenewDelegationToken", REQUEST): (range(1, 2), "token_hmac renew_time", SHORT),
    ("SaslAuthenticate", REQUEST): (range(2), "sasl_authentication", SHORT),
    ("SaslAuthenticate", RESPONSE): (range(2), "sasl_authentication session_lifetime_ms", SHORT),
    ("SyncGroup", REQUEST): (range(4), "member_assignment", SHORT),
    ("SyncGroup", RESPONSE): (range(4), "member_assignment", SHORT),
}  # fmt: skip
COMPARED_AT_LEAST = 40_000
PAIRS_AT_LEAST = 390


@pytest.mark.slow
@pytest.mark.parallel
def test_tsharks_own_dissector_agrees_on_the_fields_that_both_know(tmp_path: Path) -> None:
    frames = golden_frames()
    protos = pdml(tmp_path, frames, "kafka")
    assert len(protos) == len(frames)
    disagreements: Counter[tuple[str, str]] = Counter()
    elsewhere: set[tuple[str, Direction, int, str]] = set()
    compared = 0
    pairs = set()
    for frame, proto in zip(frames, protos, strict=True):
        if not is_supported(proto):
            continue
        name = API_BY_KEY[frame.api_key].name
        values = {(node.start, node.end): node for node in values_of(frame.tree())}
        for item in items(proto):
            start, end = place(item, proto)
            if start < 0 or end <= start or not item.get("name", "").startswith("kafka."):
                continue
            node = values.get((start, end))
            if node is None:
                if not is_wrong_on_purpose(frame):
                    field_name = item.get("name", "").removeprefix("kafka.")
                    elsewhere.add((name, frame.direction, frame.api_version, field_name))
                continue
            verdict = agrees(item, node)
            if verdict is None:
                continue
            compared += 1
            pairs.add((frame.api_key, frame.api_version, frame.direction))
            if not verdict:
                disagreements[item.get("name", ""), node.name] += 1
    assert {what: count for what, count in disagreements.items() if what not in EXPLAINED} == {}
    assert compared >= COMPARED_AT_LEAST
    assert elsewhere - elsewhere_explained() == set()
    assert {(api, direction, field_name) for api, direction, _, field_name in elsewhere} == {
        (api, direction, field_name) for api, direction, _, field_name in elsewhere_explained()
    }
    assert len(pairs) >= PAIRS_AT_LEAST


def elsewhere_explained() -> set[tuple[str, Direction, int, str]]:
    return {
        (api, direction, version, field_name)
        for (api, direction), (versions, fields, _) in ELSEWHERE.items()
        for version in versions
        for field_name in fields.split()
    }


def is_wrong_on_purpose(frame: TracedFrame) -> bool:
    """Tell whether a request has batches that Kafka was to refuse: both readers go on in them as they please."""
    if frame.api_key != 0 or frame.direction is Direction.RESPONSE:
        return False
    tree = frame.tree()
    records = (node.children[-1] for node in tree.walk() if node.kind == "records" and node.children)
    return any(tree.errors()) or any(batch.kind != "RecordBatch" for content in records for batch in content.children)


def is_supported(proto: ElementTree.Element) -> bool:
    """Tell whether tshark says that it knows the version."""
    for item in proto.iter("field"):
        if item.get("name") in ("kafka.api_version", "kafka.response.version"):
            return not any("Unsupported" in part.get("showname", "") for part in item.iter("field"))
    return False


def values_of(tree: Node) -> Iterator[Node]:
    """Yield the nodes with values, one for each place: a string rather than its parts."""
    for node in reversed(list(tree.walk())):
        if not node.is_container:
            yield node


def agrees(item: ElementTree.Element, node: Node) -> bool | None:
    """Compare what both show; None: one of them shows it as something that is not compared."""
    show = item.get("show", "")
    value: Any = node.value
    if isinstance(value, int):
        try:
            return int(show, 0) == value
        except ValueError:  # a time
            return None
    if isinstance(value, str):
        return show == value
    if value is None:
        return show in ("", "[ Null ]")
    return None

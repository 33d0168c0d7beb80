"""The annotated tree beside the codec: the same values, the same verdicts, and every byte exactly once."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.official import OfficialMessage, body_messages, codec_cases, our_class
from tests.wire.values import random_message
from wire import codec
from wire.errors import ProtocolError
from wire.messages.classic_groups import HeartbeatRequest
from wire.messages.fetch import FetchRequest
from wire.messages.metadata import MetadataRequest, MetadataRequestTopic
from wire.schema import FieldSpec, Kind, spec_of
from wire.study.tree import Node
from wire.study.walk import walk_message

by_message = pytest.mark.parametrize("message", body_messages(), ids=lambda message: message.name)
quick = settings(derandomize=True, max_examples=300, deadline=None)


def assert_covers(tree: Node, start: int, end: int) -> None:
    """Every byte belongs to exactly one leaf, and every node spans what is below it."""
    pos = start
    for node in tree.walk():
        if node.children:
            assert (node.children[0].start, node.children[-1].end) == (node.start, node.end)
        else:
            assert node.start == pos
            assert node.end >= pos
            pos = node.end
    assert pos == end


def assert_same(node: Node, message: Any, version: int) -> None:
    """The fields of a struct's node hold what the decoded struct does, and what is not there is at its default."""
    default = type(message)()
    unknown = {}
    for tag in tags_of(node):
        if (found := tag.child("unknown")) is not None:
            unknown[tag.children[0].value] = found.value
    assert unknown == message.unknown_tags
    for field in spec_of(type(message)).fields:
        found = node.find(field.name)
        held = getattr(message, field.name)
        if found is None:
            assert held == getattr(default, field.name)
        else:
            assert version in field.versions
            assert_same_value(found, field, held, version)


def tags_of(node: Node) -> list[Node]:
    tags = node.child("tagged_fields")
    return [] if tags is None else tags.children[1:]


def assert_same_value(node: Node, field: FieldSpec, held: Any, version: int) -> None:
    if held is None:
        assert node.value is None
    elif field.kind is Kind.STRUCT:
        assert_same(node, held, version)
    elif field.kind is Kind.ARRAY:
        elements = node.children[1:]
        assert len(elements) == len(held)
        for element, item in zip(elements, held, strict=True):
            if isinstance(field.element, type):
                assert_same(element, item, version)
            else:
                assert element.value == item
    else:
        assert node.value == (bytes(held) if isinstance(held, memoryview) else held)


@by_message
def test_tree_holds_what_the_codec_decodes_in_every_version(message: OfficialMessage) -> None:
    cls = our_class(message)
    for version in message.version_numbers():
        random = Random(f"{message.name} {version}")
        for large in (True, False):
            encoded = codec.encode_bytes(random_message(cls, version, random, large=large), version)
            buffer = b"head" + encoded + b"tail"
            decoded, end = codec.decode(cls, version, buffer, 4)
            tree = walk_message(cls, version, buffer, 4)
            assert not list(tree.errors())
            assert tree.end == end == 4 + len(encoded)
            assert_covers(tree, 4, end)
            assert_same(tree, decoded, version)


def assert_same_verdict(cls: type[Any], version: int, data: bytes) -> None:
    tree = walk_message(cls, version, data)
    assert_covers(tree, 0, tree.end)
    try:
        decoded, end = codec.decode(cls, version, data)
    except ProtocolError:
        assert list(tree.errors())
        assert tree.end == len(data)
    else:
        assert not list(tree.errors())
        assert tree.end == end
        assert_same(tree, decoded, version)


@by_message
def test_tree_breaks_where_the_codec_refuses(message: OfficialMessage) -> None:
    cls = our_class(message)
    random = Random(message.name)
    for version in message.version_numbers():
        encoded = codec.encode_bytes(random_message(cls, version, random, large=False), version)
        for size in range(0, len(encoded), max(1, len(encoded) // 20)):
            assert_same_verdict(cls, version, encoded[:size])
        for _ in range(12):
            changed = bytearray(encoded)
            for _ in range(random.choice((1, 1, 4))):
                if changed:
                    changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
            assert_same_verdict(cls, version, bytes(changed))


@quick
@given(case=st.sampled_from(codec_cases()), noise=st.binary(max_size=120))
def test_any_bytes_give_a_tree_with_the_codecs_verdict(case: tuple[OfficialMessage, int], noise: bytes) -> None:
    assert_same_verdict(our_class(case[0]), case[1], noise)


def test_break_is_where_the_bytes_are_wrong_and_says_why() -> None:
    encoded = codec.encode_bytes(HeartbeatRequest(group_id="g", generation_id=7, member_id="member"), 4)
    tree = walk_message(HeartbeatRequest, 4, encoded[:9])
    (broken,) = tree.errors()
    assert (broken.start, broken.end) == (7, 9)
    assert broken.error == "text of 6 bytes, where 2 are left"
    assert tree.find("generation_id").value == 7  # type: ignore[union-attr]


def test_huge_count_costs_nothing() -> None:
    tree = walk_message(MetadataRequest, 9, b"\xff\xff\xff\xff\x07" + bytes(100))
    assert len(list(tree.walk())) < 10
    assert next(tree.errors()).error == "topics of 2147483646 elements in 100 bytes"


def test_tree_has_no_more_nodes_than_it_may() -> None:
    encoded = codec.encode_bytes(MetadataRequest(topics=[MetadataRequestTopic(name="")] * 5000), 9)
    tree = walk_message(MetadataRequest, 9, encoded, max_nodes=1000)
    assert len(list(tree.walk())) < 1010
    assert_covers(tree, 0, len(encoded))
    assert next(tree.errors()).error == "there is more, but the tree is large enough"


def test_tagged_fields_are_found_by_name_and_unknown_ones_are_kept() -> None:
    request = FetchRequest(cluster_id="c")
    request.unknown_tags = {7: b"later"}
    tree = walk_message(FetchRequest, 15, codec.encode_bytes(request, 15))
    assert tree.find("cluster_id").value == "c"  # type: ignore[union-attr]
    assert tree.find("tagged_fields", "tag 7", "unknown").value == b"later"  # type: ignore[union-attr]

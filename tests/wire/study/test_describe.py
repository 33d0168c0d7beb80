"""What is said about messages: fields with their versions, what changed, and why."""

import importlib

import pytest

from wire.catalog import API_BY_NAME, APIS, Api, request_class, response_class
from wire.messages.fetch import FetchRequest
from wire.schema import MessageType, spec_of
from wire.study.comments import COMMON_COMMENTS, field_comment, summary, value_meaning, version_notes
from wire.study.describe import (
    DATA_FAMILIES,
    Change,
    describe_api,
    describe_data,
    diff_api,
    diff_message,
    find_api,
    find_data,
)
from wire.study.lines import plain
from wire.study.show_description import description_lines, diff_lines

FETCH = API_BY_NAME["Fetch"]


def test_comments_before_a_field_and_behind_it_are_found() -> None:
    assert field_comment(FetchRequest, "max_wait_ms") == "how long to wait for min_bytes"
    assert field_comment(FetchRequest, "cluster_id") == "refused if it is another cluster's"
    assert field_comment(FetchRequest, "no_such_field") == ""


@pytest.mark.parametrize(
    ("comment", "value", "meaning"),
    [
        ("0 set, 1 delete, 2 append to a list", 1, "delete"),
        ("0: read uncommitted; 1: read committed, nothing beyond", 1, "read committed"),
        ("ms; or -1 end, -2 begin", -1, "end"),
        ("one for all, or one per offset: 0 gap, 1 accept", 0, "gap"),
        ("-1 on failure", -1, "on failure"),
        ("-1: not known", 7, ""),
        ("with Kafka 4.4 of 2024", 4, ""),
        ("0, 1 or 2: a level", 1, ""),
    ],
)
def test_comment_tells_what_a_value_means(comment: str, value: int, meaning: str) -> None:
    assert value_meaning(comment, value) == meaning


def test_common_fields_have_no_comments_that_say_the_same() -> None:
    names = {field.name for api in APIS for cls in (request_class(api.key), response_class(api.key))
             for field in spec_of(cls).fields}  # fmt: skip
    assert {"throttle_time_ms", "error_message", "transactional_id"} <= names & COMMON_COMMENTS.keys()
    assert field_comment(response_class(12), "throttle_time_ms") == ""


def test_docstring_tells_what_each_version_brought() -> None:
    assert summary(FetchRequest) == "Ask for records from given offsets on."
    assert version_notes(FetchRequest)[13] == "topic ids instead of names (KIP-516)"


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.name)
def test_every_message_says_what_it_does_and_every_version_what_it_brought(api: Api) -> None:
    told: set[int] = set()
    for cls in (request_class(api.key), response_class(api.key)):
        assert summary(cls)
        told |= version_notes(cls).keys()
        assert set(version_notes(cls)) <= set(range(spec_of(cls).versions.high + 1))
        assert not [version for version, note in version_notes(cls).items() if not note]
    versions = spec_of(request_class(api.key)).versions
    assert set(range(versions.low + 1, versions.high + 1)) <= told
    of_response = version_notes(response_class(api.key)).keys() | {versions.low}
    for version, note in version_notes(request_class(api.key)).items():
        assert "only the response differs" not in note or version in of_response


@pytest.mark.parametrize("family", DATA_FAMILIES)
def test_every_version_of_a_message_inside_of_others_says_what_it_brought(family: str) -> None:
    for cls in vars(importlib.import_module(f"wire.messages.{family}")).values():
        spec = getattr(cls, "__wire__", None)
        if spec is not None and spec.type is MessageType.DATA:
            assert summary(cls)
            assert set(range(spec.versions.low + 1, spec.versions.high + 1)) <= version_notes(cls).keys(), cls


def test_api_is_found_by_name_in_any_case_and_by_key() -> None:
    assert find_api("fetch") is find_api("1") is FETCH
    assert find_api("Fetsch") is None
    found = find_data("offsetcommitvalue")
    assert found is not None
    assert found.__name__ == "OffsetCommitValue"


def test_description_of_a_version_has_only_its_fields() -> None:
    names = {field.path for field in describe_api(FETCH, 12).messages[0].fields}
    assert "topics.topic" in names
    assert "topics.topic_id" not in names
    everything = {field.path: field for field in describe_api(FETCH).messages[0].fields}
    assert everything["topics.topic"].versions == "4-12"
    assert everything["topics.topic_id"].versions == "13-18"
    assert (everything["cluster_id"].tag, everything["cluster_id"].default) == (0, "null")


def test_difference_of_two_versions_is_what_was_added_removed_and_changed() -> None:
    request, _ = diff_api(FETCH, 12, 13)
    assert request.notes == {13: "topic ids instead of names (KIP-516)"}
    assert [(change.sign, change.path) for change in request.changes] == [
        ("-", "topics.topic"),
        ("+", "topics.topic_id"),
        ("-", "forgotten_topics_data.topic"),
        ("+", "forgotten_topics_data.topic_id"),
    ]


def test_difference_backwards_is_the_opposite() -> None:
    signs = {change.path: change.sign for change in diff_message(FetchRequest, 13, 12).changes}
    assert signs["topics.topic"] == "+"


def test_difference_tells_of_flexible_encoding_and_of_null() -> None:
    request, _ = diff_api(FETCH, 11, 12)
    assert request.changes[0].what == "the encoding becomes flexible"
    _, joined = diff_api(API_BY_NAME["JoinGroup"], 6, 7)
    assert (
        Change("~", "protocol_name", "may be null", field_comment(response_class(11), "protocol_name"))
        in joined.changes
    )


def test_every_description_and_difference_can_be_shown() -> None:
    for api in APIS:
        assert plain(next(iter(description_lines(describe_api(api))))).startswith(api.name)
        list(description_lines(describe_api(api)))
        for version in range(max(api.min_version, 0), api.max_version):
            assert list(diff_lines(diff_api(api, version, version + 1), version, version + 1))


def test_message_inside_of_others_is_described() -> None:
    found = find_data("OffsetCommitValue")
    assert found is not None
    lines = [plain(line) for line in description_lines(describe_data(found))]
    assert lines[0] == "OffsetCommitValue  versions 0-4"
    assert any("topic_id" in line and "zero: not known" in line for line in lines)

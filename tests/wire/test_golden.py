"""Frames of a real Apache Kafka 4.4 (recorded by scripts/capture_frames): read, understood, and written back alike."""

import functools
from pathlib import Path
from typing import Any

import pytest

from wire import codec
from wire.catalog import API_BY_KEY, API_BY_NAME, request_class, response_class
from wire.errors import ErrorCode
from wire.frame import decode_request_header, decode_response_header, encode_request, encode_response

FOLDER = Path(__file__).resolve().parent.parent / "data" / "golden"
BROKER = "# Apache Kafka 4.4.0"
# A broker without a receiver of metrics answers these, too.
NOT_LISTED = {("GetTelemetrySubscriptions", 0), ("PushTelemetry", 0)}

Frames = list[tuple[str, int, str, bytes]]  # API, version, "request" or "response", the frame without its size


@functools.cache
def frames(family: str) -> Frames:
    first, *lines = (FOLDER / f"{family}.txt").read_text().splitlines()
    assert first == BROKER
    words = [line.split(" ") for line in lines]
    return [(name, int(version), direction, bytes.fromhex(text)) for name, version, direction, text in words]


FAMILIES = sorted(path.stem for path in FOLDER.glob("*.txt"))


def answers(api: str) -> list[tuple[int, Any]]:
    """All recorded answers of an API, with their versions."""
    found = []
    for name, version, direction, frame in frames(API_BY_NAME[api].family):
        if name == api and direction == "response":
            key = API_BY_NAME[api].key
            _, pos = decode_response_header(key, version, frame)
            found.append((version, codec.decode(response_class(key), version, frame, pos)[0]))
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_request_is_read_whole_and_written_back_alike(family: str) -> None:
    for name, version, direction, frame in frames(family):
        if direction == "request":
            header, pos = decode_request_header(frame)
            assert (header.api_key, header.api_version) == (API_BY_NAME[name].key, version)
            request, end = codec.decode(request_class(header.api_key), version, memoryview(frame), pos)
            assert end == len(frame)
            assert encode_request(header, request)[4:] == frame


@pytest.mark.parametrize("family", FAMILIES)
def test_response_is_read_whole_and_written_back_alike(family: str) -> None:
    for name, version, direction, frame in frames(family):
        if direction == "response":
            key = API_BY_NAME[name].key
            correlation_id, pos = decode_response_header(key, version, frame)
            response, end = codec.decode(response_class(key), version, memoryview(frame), pos)
            assert end == len(frame)
            chunks = encode_response(key, version, correlation_id, response)
            assert b"".join(bytes(chunk) for chunk in chunks)[4:] == frame  # type: ignore[call-overload]


def test_every_version_that_the_broker_serves_is_recorded() -> None:
    recorded = {(name, version) for family in FAMILIES for name, version, _, _ in frames(family)}
    (served, *_) = (answer for version, answer in answers("ApiVersions") if version == 4)
    expected = set(NOT_LISTED)
    for key in served.api_keys:
        api = API_BY_KEY[key.api_key]
        # Produce is listed from 0 for old clients' sake, though 0 to 2 have no definition any more.
        low = max(key.min_version, api.min_version)
        expected |= {(api.name, version) for version in range(low, key.max_version + 1)}
    assert recorded == expected


def test_recorded_broker_serves_what_the_catalog_says() -> None:
    understood = [answer for _, answer in answers("ApiVersions") if answer.error_code == ErrorCode.NONE]
    assert len(understood) >= len(range(API_BY_NAME["ApiVersions"].max_version + 1))
    for answer in understood:
        for key in answer.api_keys:
            api = API_BY_KEY[key.api_key]
            assert key.max_version == api.max_version
            assert key.min_version == (0 if api.name == "Produce" else api.min_version)


def test_metadata_names_the_topic_and_its_partitions_in_every_version() -> None:
    named = [
        (version, topic)
        for version, answer in answers("Metadata")
        for topic in answer.topics
        if topic.name == "golden" and topic.error_code == ErrorCode.NONE
    ]
    assert {version for version, _ in named} == set(range(14))
    for version, topic in named:
        partitions = sorted((partition.partition_index, partition.leader_id) for partition in topic.partitions)
        assert partitions == [(0, 1), (1, 1)]
        assert all(partition.isr_nodes == [1] for partition in topic.partitions)
        assert (topic.topic_id != bytes(16)) == (version >= 10)


def test_produce_answers_count_the_offsets_up() -> None:
    offsets = [
        partition.base_offset
        for _, answer in answers("Produce")
        for topic in answer.responses
        for partition in topic.partition_responses
        if partition.index == 0 and partition.error_code == ErrorCode.NONE
    ]
    # Two records a request in versions 3 to 13, then one at a time.
    assert offsets[:12] == list(range(0, 24, 2))
    assert offsets[12:15] == [23, 24, 25]


def test_fetch_answers_hold_the_batch_that_was_asked_for() -> None:
    held = [
        (version, partition)
        for version, answer in answers("Fetch")
        for topic in answer.responses
        for partition in topic.partitions
        if partition.error_code == ErrorCode.NONE and partition.records
    ]
    assert {version for version, _ in held} >= set(range(4, 19))
    for _, partition in held:
        assert partition.records is not None
        assert int.from_bytes(partition.records[:8], "big") in (0, 2, 22)
        assert b"one" in bytes(partition.records)

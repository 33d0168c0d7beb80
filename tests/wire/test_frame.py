"""Headers and frames: what precedes a body, in every version of the headers, and bytes that are wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire.errors import ProtocolError
from wire.frame import (
    RequestHeader,
    decode_request_header,
    decode_response_header,
    encode_request,
    encode_response,
)
from wire.messages.brokers import ApiVersionsRequest, ApiVersionsResponse
from wire.messages.classic_groups import HeartbeatRequest, HeartbeatResponse
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.primitives import write_uvarint

HEARTBEAT = b"\x00\x0c\x00\x04" + b"\x00\x00\x00\x07" + b"\x00\x02me" + b"\x00"


@pytest.mark.parametrize("version", [0, 3, 4])
@pytest.mark.parametrize("client_id", [None, "", "me", "é" * 200])
def test_request_frame_is_read_back(version: int, client_id: str | None) -> None:
    header = RequestHeader(12, version, -5, client_id)
    body = HeartbeatRequest(group_id="g")
    frame = encode_request(header, body)
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    decoded, pos = decode_request_header(memoryview(frame), 4)
    assert decoded == header
    assert frame[pos:] == encode_request(RequestHeader(12, version, 0), body)[14 + (version == 4) :]


def test_tagged_fields_of_a_request_header_are_kept() -> None:
    header = RequestHeader(12, 4, 1, "me", {0: b"abc", 200: b""})
    decoded, _ = decode_request_header(encode_request(header, HeartbeatRequest()), 4)
    assert decoded == header


def test_flood_of_tagged_fields_in_a_request_header_is_a_protocol_error() -> None:
    flood = HEARTBEAT[:-1] + write_uvarint(1_000_000) + b"\x00\x00" * 1_000_000
    with pytest.raises(ProtocolError, match="1000000 tagged fields"):
        decode_request_header(flood)


def test_header_of_an_unknown_key_or_version_can_be_read() -> None:
    """ApiVersions of a newer client, and keys that are not ours, must reach dispatch with their correlation id."""
    newer, _ = decode_request_header(b"\x00\x12\x00\x63" + b"\x00\x00\x00\x07" + b"\x00\x02me" + b"\x00")
    assert newer[:4] == (18, 99, 7, "me")
    unknown, pos = decode_request_header(b"\x7f\xff\x00\x00" + b"\x00\x00\x00\x07" + b"\xff\xff")
    assert (unknown[:4], pos) == ((32767, 0, 7, None), 10)


@pytest.mark.parametrize("size", range(len(HEARTBEAT)))
def test_truncated_request_header_is_a_protocol_error(size: int) -> None:
    assert decode_request_header(HEARTBEAT)[0].client_id == "me"
    with pytest.raises(ProtocolError, match="request header"):
        decode_request_header(memoryview(HEARTBEAT)[:size])


@settings(derandomize=True, max_examples=300, deadline=None)
@given(noise=st.binary(max_size=40))
def test_random_bytes_are_a_header_or_a_protocol_error(noise: bytes) -> None:
    try:
        _, pos = decode_request_header(noise)
    except ProtocolError:
        return
    assert pos <= len(noise)


def test_client_id_that_is_not_utf8_is_read_with_replacement_characters() -> None:
    assert decode_request_header(HEARTBEAT.replace(b"me", b"\xffe"))[0].client_id == "\N{REPLACEMENT CHARACTER}e"


@pytest.mark.parametrize(("version", "head"), [(3, b"\0\0\0\x09"), (4, b"\0\0\0\x09\0")])
def test_response_frame_has_tags_in_flexible_versions(version: int, head: bytes) -> None:
    frame = b"".join(bytes(chunk) for chunk in encode_response(12, version, 9, HeartbeatResponse()))  # type: ignore[call-overload]
    assert frame[4 : 4 + len(head)] == head
    assert decode_response_header(12, version, frame, 4) == (9, 4 + len(head))
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4


def test_response_to_api_versions_never_has_tags_in_its_header() -> None:
    frame = b"".join(bytes(chunk) for chunk in encode_response(18, 4, 9, ApiVersionsResponse(error_code=1)))  # type: ignore[call-overload]
    assert frame[4:10] == b"\0\0\0\x09" + b"\0\x01"
    assert encode_request(RequestHeader(18, 4, 9), ApiVersionsRequest())[14:15] == b"\0"


def test_truncated_response_header_is_a_protocol_error() -> None:
    for short in (b"", b"\0\0\0", b"\0\0\0\1", b"\0\0\0\1\1", b"\0\0\0\1\1\0\5"):
        with pytest.raises(ProtocolError, match="response header"):
            decode_response_header(12, 4, short)


def test_records_lie_in_the_request_frame_as_given() -> None:
    topic = TopicProduceData(name="t", partition_data=[PartitionProduceData(records=memoryview(b"batch"))])
    frame = encode_request(RequestHeader(0, 9, 1), ProduceRequest(topic_data=[topic]))
    assert b"\x06batch" in frame

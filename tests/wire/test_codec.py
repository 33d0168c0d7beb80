"""The compiled codecs: every message at every version, unknown tags, null, defaults, and bytes that are wrong."""

import tracemalloc
from random import Random
from traceback import format_exception
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire.official import OfficialMessage, body_messages, codec_cases, our_class
from tests.wire.reference_codec import reference_encode
from tests.wire.values import random_message
from wire import codec
from wire.errors import ProtocolError
from wire.messages.brokers import ApiVersionsRequest, ApiVersionsResponse
from wire.messages.classic_groups import HeartbeatRequest
from wire.messages.consumer_groups import ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse
from wire.messages.fetch import FetchRequest, FetchResponse
from wire.messages.log_records import ConsumerGroupMemberMetadataValue
from wire.messages.metadata import DescribeTopicPartitionsRequest, MetadataRequest, MetadataRequestTopic
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.schema import (
    NO_TAGS,
    Kind,
    array,
    boolean,
    bytes_,
    data,
    float64,
    int16,
    int32,
    int64,
    one,
    records,
    spec_of,
    string,
    struct,
    uuid,
)

CASES = codec_cases()
quick = settings(derandomize=True, max_examples=100, deadline=None)


def cases_of(message: OfficialMessage) -> list[tuple[type[Any], int]]:
    return [(our_class(message), version) for version in message.version_numbers()]


by_message = pytest.mark.parametrize("message", body_messages(), ids=lambda message: message.name)


@by_message
def test_every_version_round_trips_and_equals_the_reference(message: OfficialMessage) -> None:
    for cls, version in cases_of(message):
        random = Random(f"{message.name} {version}")
        for _ in range(4):
            value = random_message(cls, version, random)
            encoded = codec.encode_bytes(value, version)
            assert encoded == reference_encode(message, version, value)
            for buffer in (encoded, memoryview(bytearray(b"head" + encoded + b"tail"))):
                start = 0 if buffer is encoded else 4
                decoded, pos = codec.decode(cls, version, buffer, start)
                assert (decoded, pos) == (value, start + len(encoded))


@settings(quick, max_examples=60)
@given(case=st.sampled_from(CASES), random=st.randoms(use_true_random=False))
def test_generated_value_round_trips(case: tuple[OfficialMessage, int], random: Random) -> None:
    message, version = case
    value = random_message(our_class(message), version, random, large=False)
    encoded = codec.encode_bytes(value, version)
    assert encoded == reference_encode(message, version, value)
    assert codec.decode(our_class(message), version, encoded) == (value, len(encoded))


@by_message
def test_new_message_round_trips_as_it_is(message: OfficialMessage) -> None:
    for cls, version in cases_of(message):
        encoded = codec.encode_bytes(cls(), version)
        assert codec.decode(cls, version, encoded) == (cls(), len(encoded))


@by_message
def test_counting_decoder_agrees_with_the_quick_one(message: OfficialMessage) -> None:
    for cls, version in cases_of(message)[-1:]:
        value = random_message(cls, version, Random(message.name))
        encoded = codec.encode_bytes(value, version)
        decode = codec._counting_decoder(cls, version)
        assert decode(encoded, 0, len(encoded), [codec.MAX_ELEMENTS]) == (value, len(encoded))


# Bytes that are wrong


@by_message
def test_truncation_at_any_byte_is_a_protocol_error(message: OfficialMessage) -> None:
    for cls, version in cases_of(message):
        encoded = codec.encode_bytes(random_message(cls, version, Random(version), large=False), version)
        view = memoryview(encoded)
        # The ends of a long message, and a sample between them.
        step = max(1, len(encoded) // 60)
        for size in range(0, len(encoded), step):
            with pytest.raises(ProtocolError):
                codec.decode(cls, version, view[:size])


@by_message
def test_changed_bytes_decode_to_a_value_or_a_protocol_error(message: OfficialMessage) -> None:
    random = Random(message.name)
    for cls, version in cases_of(message):
        encoded = codec.encode_bytes(random_message(cls, version, random, large=False), version)
        for _ in range(12):
            changed = bytearray(encoded)
            if not changed:
                continue
            for _ in range(random.choice((1, 1, 4))):
                changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
            assert_value_or_protocol_error(cls, version, changed)


def assert_value_or_protocol_error(cls: type[Any], version: int, wrong: bytes | bytearray) -> None:
    try:
        decoded, pos = codec.decode(cls, version, wrong)
    except ProtocolError:
        return
    assert 0 <= pos <= len(wrong)
    again = codec.encode_bytes(decoded, version)
    decoded_again, _ = codec.decode(cls, version, again)
    assert codec.encode_bytes(decoded_again, version) == again


@settings(quick, max_examples=300)
@given(case=st.sampled_from(CASES), noise=st.binary(max_size=120))
def test_random_bytes_decode_to_a_value_or_a_protocol_error(case: tuple[OfficialMessage, int], noise: bytes) -> None:
    assert_value_or_protocol_error(our_class(case[0]), case[1], noise)


HUGE = (b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\x07", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\0\0\0")


@by_message
def test_huge_or_negative_number_anywhere_decodes_to_a_value_or_a_protocol_error(message: OfficialMessage) -> None:
    for cls, version in (cases_of(message)[:1] + cases_of(message)[-1:])[:2]:
        overwrite_with_huge_numbers(cls, version)


def overwrite_with_huge_numbers(cls: type[Any], version: int) -> None:
    encoded = codec.encode_bytes(random_message(cls, version, Random(version), large=False), version)
    for huge in HUGE:
        for at in range(0, len(encoded), max(1, len(encoded) // 20)):
            assert_value_or_protocol_error(cls, version, encoded[:at] + huge + encoded[at + len(huge) :])


@pytest.mark.parametrize("cls", [MetadataRequest, FetchRequest, ProduceRequest, ConsumerGroupHeartbeatRequest])
def test_huge_numbers_take_little_memory(cls: type[Any]) -> None:
    version = spec_of(cls).versions.high
    overwrite_with_huge_numbers(cls, version)  # compiles
    tracemalloc.start()
    overwrite_with_huge_numbers(cls, version)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000


def test_count_of_two_thousand_million_is_refused_before_anything_is_allocated() -> None:
    for version, count in ((8, b"\x7f\xff\xff\xff"), (9, b"\xff\xff\xff\xff\x07")):
        with pytest.raises(ProtocolError, match="topics of size 2147483"):
            codec.decode(MetadataRequest, version, count + bytes(100))


def test_more_elements_than_one_message_may_hold_are_a_protocol_error() -> None:
    encoded = codec.encode_bytes(MetadataRequest(topics=[MetadataRequestTopic(name="")] * 300), 9)
    decoded, _ = codec.decode(MetadataRequest, 9, encoded, max_elements=300)
    assert len(decoded.topics or ()) == 300
    with pytest.raises(ProtocolError, match="more array elements"):
        codec.decode(MetadataRequest, 9, encoded, max_elements=299)


def test_more_tagged_fields_than_one_message_may_hold_are_a_protocol_error() -> None:
    topic = MetadataRequestTopic(name="")
    topic.unknown_tags = dict.fromkeys(range(9), b"")
    request = MetadataRequest(topics=[topic] * 30)
    encoded = codec.encode_bytes(request, 9)
    assert codec.decode(MetadataRequest, 9, encoded, max_elements=300)[0] == request
    with pytest.raises(ProtocolError, match="tagged fields"):
        codec.decode(MetadataRequest, 9, encoded, max_elements=299)


def test_null_where_the_version_has_none_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="topics"):
        codec.decode(MetadataRequest, 0, b"\xff\xff\xff\xff")
    with pytest.raises(ProtocolError, match="group_id"):
        codec.decode(HeartbeatRequest, 4, bytes(20))


def test_any_negative_length_is_null_in_versions_without_varints() -> None:
    """Kafka's own reader takes every negative length for null, not only -1."""
    decoded, pos = codec.decode(MetadataRequest, 1, b"\x80\0\0\0")
    assert (decoded.topics, pos) == (None, 4)


def test_string_over_32767_bytes_is_refused_both_ways() -> None:
    fits = HeartbeatRequest(group_id="x" * 32767)
    for version in (0, 4):
        encoded = codec.encode_bytes(fits, version)
        assert codec.decode(HeartbeatRequest, version, encoded)[0] == fits
    too_long = b"\x81\x80\x02" + b"x" * 32768 + bytes(20)
    with pytest.raises(ProtocolError, match="32768"):
        codec.decode(HeartbeatRequest, 4, too_long)
    with pytest.raises(ValueError, match="too long"):
        codec.encode(HeartbeatRequest(group_id="x" * 32768), 4)


def test_text_that_is_not_utf8_is_read_with_replacement_characters() -> None:
    encoded = codec.encode_bytes(HeartbeatRequest(group_id="abc"), 4).replace(b"abc", b"a\xffc")
    assert codec.decode(HeartbeatRequest, 4, encoded)[0].group_id == "a\N{REPLACEMENT CHARACTER}c"
    long = codec.encode_bytes(HeartbeatRequest(group_id="b" * 200), 4).replace(b"bb", b"b\xff", 1)
    assert codec.decode(HeartbeatRequest, 4, long)[0].group_id[:3] == "b\N{REPLACEMENT CHARACTER}b"


# Tagged fields


def test_unknown_tagged_fields_are_kept_and_written_back() -> None:
    request = HeartbeatRequest(group_id="g", member_id="m")
    request.unknown_tags = {300: b"later", 5: b""}
    encoded = codec.encode_bytes(request, 4)
    assert encoded.endswith(b"\x02" + b"\x05\x00" + b"\xac\x02\x05later")
    decoded, _ = codec.decode(HeartbeatRequest, 4, encoded)
    assert decoded.unknown_tags == {5: b"", 300: b"later"}
    assert codec.encode_bytes(decoded, 4) == encoded


def test_unknown_tagged_fields_of_known_and_nested_structs_are_kept() -> None:
    request = FetchRequest(cluster_id="c")
    request.replica_state.unknown_tags = {9: b"x"}
    request.unknown_tags = {7: b"y"}
    encoded = codec.encode_bytes(request, 15)
    assert codec.decode(FetchRequest, 15, encoded) == (request, len(encoded))


def test_unknown_tags_are_dropped_where_the_version_has_no_place_for_them() -> None:
    request = HeartbeatRequest()
    request.unknown_tags = {1: b"x"}
    assert codec.encode_bytes(request, 3) == codec.encode_bytes(HeartbeatRequest(), 3)


def test_tagged_fields_at_their_defaults_are_not_written() -> None:
    assert codec.encode_bytes(ApiVersionsResponse(), 3) == b"\0\0" + b"\x01" + bytes(4) + b"\0"
    assert codec.encode_bytes(ApiVersionsResponse(finalized_features_epoch=0), 3).endswith(b"\x01\x01\x08" + bytes(8))


def test_tagged_fields_may_come_in_any_order() -> None:
    """Kafka's reader asks for no order, so neither do we; what we write is ascending."""
    request = FetchRequest(cluster_id="c")
    request.replica_state.replica_id = 1
    encoded = codec.encode_bytes(request, 15)
    cluster, replica = b"\x00\x02\x02c", b"\x01\x0d" + (1).to_bytes(4, "big") + b"\xff" * 8 + b"\0"
    assert encoded.endswith(b"\x02" + cluster + replica)
    swapped = encoded.removesuffix(cluster + replica) + replica + cluster
    assert codec.decode(FetchRequest, 15, swapped)[0] == request


def test_known_tag_of_the_wrong_size_is_a_protocol_error() -> None:
    head = codec.encode_bytes(ApiVersionsResponse(), 3)[:-1]
    for wrong in (b"\x01\x01\x09" + bytes(9), b"\x01\x01\x07" + bytes(7), b"\x01\x01\x08" + bytes(7)):
        with pytest.raises(ProtocolError):
            codec.decode(ApiVersionsResponse, 3, head + wrong)


def test_message_without_unknown_tags_cannot_be_given_some_by_mutation() -> None:
    """They share one empty mapping, which must not be changed by accident."""
    decoded, _ = codec.decode(HeartbeatRequest, 4, codec.encode_bytes(HeartbeatRequest(), 4))
    assert decoded.unknown_tags is HeartbeatRequest().unknown_tags is NO_TAGS
    with pytest.raises(TypeError):
        decoded.unknown_tags[1] = b""  # type: ignore[index]


# Null, defaults and versions


def test_nullable_struct_is_marked_present_or_null() -> None:
    request = DescribeTopicPartitionsRequest()
    assert codec.encode_bytes(request, 0)[-2:] == b"\xff\0"
    decoded, _ = codec.decode(DescribeTopicPartitionsRequest, 0, codec.encode_bytes(request, 0))
    assert decoded.cursor is None
    answer = ConsumerGroupHeartbeatResponse()
    assert codec.encode_bytes(answer, 0).endswith(b"\xff\0")


def test_null_struct_in_a_tagged_field_is_a_zero_byte() -> None:
    """Kafka's generator writes another null there than KIP-893 says; members of modern groups are stored so."""
    member = ConsumerGroupMemberMetadataValue(classic_member_metadata=None)
    encoded = codec.encode_bytes(member, 0)
    assert encoded.endswith(b"\x01" + b"\x00\x01\x00")
    assert codec.decode(ConsumerGroupMemberMetadataValue, 0, encoded)[0] == member


def test_field_that_the_version_lacks_is_refused_unless_ignorable_or_at_its_default() -> None:
    with pytest.raises(ProtocolError, match=r"HeartbeatRequest\.group_instance_id is not in version 2"):
        codec.encode(HeartbeatRequest(group_instance_id="static"), 2)
    assert codec.encode(HeartbeatRequest(), 2)
    with pytest.raises(ProtocolError, match=r"ConsumerGroupHeartbeatRequest\.subscribed_topic_regex"):
        codec.encode(ConsumerGroupHeartbeatRequest(subscribed_topic_regex="a.*"), 0)
    named = ApiVersionsRequest(client_software_name="kcat", client_software_version="1")
    assert codec.encode_bytes(named, 0) == b""
    assert codec.decode(ApiVersionsRequest, 0, b"")[0] == ApiVersionsRequest()


def test_version_without_a_definition_is_a_protocol_error() -> None:
    for version in (-1, 3, 19, 32767):
        with pytest.raises(ProtocolError, match="FetchRequest has no version"):
            codec.decode(FetchRequest, version, b"")
        with pytest.raises(ProtocolError, match="FetchRequest has no version"):
            codec.encode(FetchRequest(), version)


# Records, names and the source


def test_records_are_decoded_as_a_view_of_the_frame() -> None:
    request = ProduceRequest(
        topic_data=[TopicProduceData(name="t", partition_data=[PartitionProduceData(records=b"batch")])]
    )
    frame = bytearray(codec.encode_bytes(request, 9))
    decoded, _ = codec.decode(ProduceRequest, 9, memoryview(frame))
    view = decoded.topic_data[0].partition_data[0].records
    assert isinstance(view, memoryview)
    view[:] = b"BATCH"
    assert b"BATCH" in frame


def test_records_are_encoded_as_the_object_that_was_given() -> None:
    class FileSlice:
        def __len__(self) -> int:
            return 300

    response = FetchResponse()
    topic = codec.decode(FetchResponse, 12, one_partition(12))[0].responses[0]
    topic.partitions[0].records = slice_ = FileSlice()
    response.responses = [topic]
    chunks = codec.encode(response, 12)
    assert sum(1 for chunk in chunks if chunk is slice_) == 1
    assert bytes(chunks[chunks.index(slice_) - 1]).endswith(b"\xad\x02")  # type: ignore[call-overload]


def one_partition(version: int) -> bytes:
    from wire.messages.fetch import FetchableTopicResponse, PartitionData

    return codec.encode_bytes(
        FetchResponse(responses=[FetchableTopicResponse(topic="t", partitions=[PartitionData(records=b"")])]), version
    )


@struct()
class Inner:
    buffer: int = int32()
    value: str = string()
    items: list[int] = array(Kind.INT64)


@struct()
class Struct:
    """A struct that is called like the helper of the generated code."""

    n: int = int16()


@data("0-1", flexible="1+")
class Names:
    """Fields called like anything that generated code may use."""

    pos: int = int32()
    end: str = string()
    n: int = int64()
    tag: bytes = bytes_()
    tags: list[Inner] = array(Inner)
    budget: Inner = one(Inner)
    value: str | None = string(nullable="0+")
    message: bool = boolean()
    write: float = float64()
    range: Any = uuid()
    len: list[str] = array(Kind.STRING)
    str: Struct = one(Struct)
    bytes: Any = records()
    list: Any = array(Kind.BOOL)
    memoryview: int = int32()
    decode: int = int32()
    encode: int = int32("1+", tag=0)
    new: Inner | None = one(Inner, "1+", nullable="1+", tag=1, default=None)
    after: Any = array(Kind.UUID, "1+", tag=2)
    buffer: int = int32("1+", tag=3, default=-1)


def test_fields_may_be_called_like_anything_in_the_generated_code() -> None:
    for version in (0, 1):
        for seed in range(30):
            value = random_message(Names, version, Random(seed))
            encoded = codec.encode_bytes(value, version)
            assert codec.decode(Names, version, encoded) == (value, len(encoded))


def test_two_structs_of_one_name_in_one_message_stay_apart() -> None:
    def make(width: Any) -> type[Any]:
        @struct()
        class Twin:
            x: int = width()

        return Twin

    first, second = make(int16), make(int64)

    @data("0")
    class Both:
        a: Any = one(first)
        b: Any = array(second)

    value = Both(a=first(x=1), b=[second(x=2)])
    encoded = codec.encode_bytes(value, 0)
    assert encoded == b"\0\1" + b"\0\0\0\1" + (2).to_bytes(8, "big")
    decoded, _ = codec.decode(Both, 0, encoded)
    assert (type(decoded.a), type(decoded.b[0])) == (first, second)


def test_traceback_through_a_codec_shows_its_source() -> None:
    with pytest.raises(Exception) as caught:
        codec.encode(HeartbeatRequest(group_id=None), 4)  # type: ignore[arg-type]
    assert "_v1 = _v1.encode()" in "".join(format_exception(caught.value))


def test_source_holds_both_directions_of_the_version() -> None:
    text = codec.source(FetchRequest, 13)
    assert "def _decode(" in text
    assert "def _encode(" in text
    assert "forgotten_topics_data" in text
    with pytest.raises(ProtocolError):
        codec.source(FetchRequest, 99)

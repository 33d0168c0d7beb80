"""Whole frames as trees: headers, what lies inside of bodies, and Apache Kafka's recorded frames."""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from tests.wire.study.golden import golden_frames
from tests.wire.study.test_walk import assert_covers
from wire import codec
from wire.compression import Codec
from wire.frame import RequestHeader, encode_request, encode_response
from wire.messages.acls import AclCreation, CreateAclsRequest
from wire.messages.brokers import ApiVersionsRequest, ApiVersionsResponse
from wire.messages.classic_groups import (
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupRequestProtocol,
    SyncGroupRequest,
    SyncGroupRequestAssignment,
)
from wire.messages.cluster_records import PartitionRecord, TopicRecord
from wire.messages.configs import DescribeConfigsRequest, DescribeConfigsResource
from wire.messages.control_records import DefaultPrincipalData, PartitionsSchema, TransactionLogKey, TransactionLogValue
from wire.messages.fetch import FetchableTopicResponse, FetchResponse, PartitionData
from wire.messages.log_records import (
    ConsumerProtocolAssignment,
    ConsumerProtocolAssignmentTopicPartition,
    ConsumerProtocolSubscription,
    GroupMetadataKey,
    GroupMetadataValue,
    MemberMetadata,
    OffsetCommitKey,
    OffsetCommitValue,
)
from wire.messages.metadata import MetadataRequest, MetadataResponse, MetadataResponseTopic
from wire.messages.offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.messages.raft import EnvelopeRequest
from wire.messages.telemetry import GetTelemetrySubscriptionsResponse
from wire.messages.transactions import InitProducerIdResponse
from wire.records import ControlType, Record, build_batch, build_end_txn_marker
from wire.schema import spec_of
from wire.study.contents import internal_records
from wire.study.exchanges import Direction, TracedFrame
from wire.study.frames import walk_request, walk_response
from wire.study.lines import plain
from wire.study.show_tree import tree_json, tree_lines
from wire.study.summary import Summaries
from wire.study.tree import Node


def request_tree(message: object, version: int) -> Node:
    key = type(message).__wire__.key  # type: ignore[attr-defined]
    frame = encode_request(RequestHeader(key, version, 7, "me"), message)
    tree = walk_request(frame, has_size=True)
    assert_covers(tree, 0, len(frame))
    return tree


def response_tree(key: int, version: int, message: object, names: dict[bytes, str] | None = None) -> Node:
    frame = b"".join(map(bytes, encode_response(key, version, 7, message)))  # type: ignore[arg-type]
    tree = walk_response(key, version, frame, has_size=True, topic_names=names)
    assert_covers(tree, 0, len(frame))
    return tree


def found(tree: Node, *names: str) -> Node:
    node = tree.find(*names)
    assert node is not None, names
    return node


def test_every_byte_of_kafkas_frames_is_explained() -> None:
    broken = set()
    for frame in golden_frames():
        tree = frame.tree()
        assert_covers(tree, 0, len(frame.data))
        if any(tree.errors()):
            broken.add((frame.api_key, frame.direction))
    assert broken == {(0, Direction.REQUEST)}  # batches that were made wrong, to see Kafka refuse them


def test_header_of_a_request_is_read_with_its_size() -> None:
    tree = request_tree(MetadataRequest(), 9)
    assert (found(tree, "size").start, found(tree, "size").end) == (0, 4)
    assert found(tree, "header", "api_key").note == "Metadata"
    assert found(tree, "header", "client_id").value == "me"
    assert found(tree, "header").kind == "RequestHeader v2"


def test_refused_version_of_api_versions_is_read_in_version_0() -> None:
    tree = walk_response(18, 99, struct.pack(">ihi", 1, 35, 0))
    assert not list(tree.errors())
    assert found(tree, "body", "error_code").note == "UNSUPPORTED_VERSION"
    asked = encode_request(RequestHeader(18, 5, 1, "me"), ApiVersionsRequest(client_software_name="new"))[4:]
    later = asked[:2] + b"\x00\x63" + asked[4:]
    assert found(walk_request(later), "body", "client_software_name").value == "new"
    understood = response_tree(18, 3, ApiVersionsResponse())
    assert found(understood, "body").kind == "ApiVersionsResponse v3"


def test_bytes_behind_the_message_are_an_error() -> None:
    frame = encode_request(RequestHeader(3, 9, 7, "me"), MetadataRequest())[4:]
    (broken,) = walk_request(frame + b"xy").errors()
    assert (broken.error, broken.start) == ("2 bytes follow the message", len(frame))


def test_unknown_request_shows_nothing() -> None:
    tree = walk_request(b"\0user\0password")
    (content,) = tree.children
    assert content.is_secret
    assert b"password" not in [node.value for node in tree.walk()]


# What lies inside


def batch_with(*records: Record, **settings: Any) -> bytes:
    return bytes(build_batch(records, **settings))


@pytest.mark.parametrize("compression", list(Codec))
def test_records_are_shown_whatever_they_are_compressed_with(compression: Codec) -> None:
    batch = batch_with(
        Record(timestamp=1_700_000_000_000, key=b"k", value=b"v", headers=(("h", None),)), codec=compression
    )
    topics = [TopicProduceData(name="t", partition_data=[PartitionProduceData(records=batch)])]
    tree = request_tree(ProduceRequest(topic_data=topics), 9)
    assert not list(tree.errors())
    node = found(tree, "body", "topic_data", "[0]", "partition_data", "[0]", "records", "content", "[0]")
    assert found(node, "crc").note == "right"
    held = found(node, "records")
    if compression:
        assert held.inner is not None
        assert_covers(held.inner.root, 0, len(held.inner.buffer))
        held = held.inner.root
    record = found(held, "[0]")
    assert (found(record, "key").value, found(record, "value").value) == (b"k", b"v")
    assert found(record, "timestamp_delta").note == "2023-11-14 22:13:20.000 UTC"
    assert (found(record, "headers[0]", "key").value, found(record, "headers[0]", "value").value) == ("h", None)


def test_wrong_checksum_is_said_and_records_are_shown_all_the_same() -> None:
    batch = bytearray(batch_with(Record(value=b"value")))
    batch[-2] ^= 1
    tree = fetched(bytes(batch))
    assert found(tree, "crc").note.startswith("wrong")
    assert found(tree, "records", "[0]", "value").value != b"value"


def test_batch_that_a_fetch_cuts_short_is_no_error() -> None:
    batch = batch_with(Record(value=b"value"))
    response = response_tree(1, 11, fetch_answer(batch + batch[:30]))
    assert not list(response.errors())
    content = found(response, "body", "responses", "[0]", "partitions", "[0]", "records", "content")
    assert [child.end - child.start for child in content.children] == [len(batch), 30]


def test_summary_shows_zeros_that_say_something() -> None:
    frame = TracedFrame(0, "c", "p", Direction.RESPONSE, 22, 1, b"")
    tree = response_tree(22, 1, InitProducerIdResponse(producer_id=0))
    assert plain(Summaries().line(1, frame, tree)).endswith(" producer_id=0")


def test_summary_leaves_out_records_where_there_are_none() -> None:
    frame = TracedFrame(0, "c", "p", Direction.RESPONSE, 1, 11, b"")
    for batches, text in ((b"", ""), (batch_with(Record(value=b"value")), "records=1 records in 73 B")):
        line = plain(Summaries().line(1, frame, response_tree(1, 11, fetch_answer(batches))))
        assert ("records" in line) == bool(text)
        assert text in line


@pytest.mark.parametrize("magic", [0, 1])
def test_messages_of_the_old_formats_are_shown(magic: int) -> None:
    timestamp = struct.pack(">q", 1_700_000_000_000) if magic else b""
    checked = bytes([magic, 0]) + timestamp + struct.pack(">i", -1) + struct.pack(">i5s", 5, b"value")
    message = struct.pack(">qiI", 7, len(checked) + 4, zlib.crc32(checked)) + checked
    response = response_tree(1, 4, fetch_answer(message + message[:-1] + b"!" + message[:20]))
    assert not list(response.errors())
    content = found(response, "body", "responses", "[0]", "partitions", "[0]", "records", "content")
    first, second, cut = content.children
    assert (found(first, "offset").value, found(first, "crc").note) == (7, "right")
    assert (found(first, "key").value, found(first, "value").value) == (None, b"value")
    assert first.child("timestamp") is None or found(first, "timestamp").note == "2023-11-14 22:13:20.000 UTC"
    assert found(second, "crc").note.startswith("wrong")
    assert cut.note.startswith("the start of a batch")
    line = Summaries().line(1, TracedFrame(0, "c", "p", Direction.RESPONSE, 1, 4, b""), response)
    assert "2 records in" in plain(line)


def test_bytes_that_are_no_messages_of_an_old_format_stay_bytes() -> None:
    bytes_ = struct.pack(">qiI", 7, 20, 0) + bytes([0, 0]) + struct.pack(">i", 99) + bytes(10)
    response = response_tree(1, 4, fetch_answer(bytes_))
    assert not list(response.errors())
    content = found(response, "body", "responses", "[0]", "partitions", "[0]", "records", "content")
    assert [(child.children, child.note) for child in content.children] == [([], "a message of the old format 0")]


def test_decompression_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of all batches together: a small frame may hold many."""
    monkeypatch.setattr("wire.study.walk.MAX_DECOMPRESSED_BYTES", 12_000)
    batch = batch_with(Record(value=bytes(5000)), codec=Codec.GZIP)
    tree = response_tree(1, 11, fetch_answer(3 * batch))
    content = found(tree, "body", "responses", "[0]", "partitions", "[0]", "records", "content")
    errors = [found(batch, "records").error for batch in content.children]
    assert errors[:2] == ["", ""]
    assert "bytes when decompressed" in errors[2]


def fetch_answer(records: bytes, **topic: Any) -> FetchResponse:
    topic = topic or {"topic": "t"}
    return FetchResponse(responses=[FetchableTopicResponse(partitions=[PartitionData(records=records)], **topic)])


def fetched(batch: bytes, topic: str = "t") -> Node:
    tree = response_tree(1, 11, fetch_answer(batch, topic=topic))
    return found(tree, "body", "responses", "[0]", "partitions", "[0]", "records", "content", "[0]")


def first_record(batch: bytes, topic: str) -> tuple[Node, Node]:
    record = found(fetched(batch, topic), "records", "[0]")
    return found(record, "key", "content"), found(record, "value")


def typed(number: int, message: object, version: int = 0) -> bytes:
    return number.to_bytes(2, "big") + codec.encode_bytes(message, version)


def test_committed_offset_is_shown() -> None:
    key = typed(1, OffsetCommitKey(group="g", topic="t", partition=3))
    value = typed(4, OffsetCommitValue(offset=42, metadata="note"), 4)
    shown_key, shown_value = first_record(batch_with(Record(key=key, value=value)), "__consumer_offsets")
    assert found(shown_key, "record_type").note == "OffsetCommit"
    assert (found(shown_key, "group").value, found(shown_key, "partition").value) == ("g", 3)
    assert found(shown_value, "content", "offset").value == 42


def test_deleted_key_of_an_internal_topic_is_said_to_be() -> None:
    key = typed(2, GroupMetadataKey(group="g"))
    _, value = first_record(batch_with(Record(key=key, value=None)), "__consumer_offsets")
    assert value.note == "deletes the key"


def test_group_record_shows_what_its_members_said() -> None:
    subscription = typed(1, ConsumerProtocolSubscription(topics=["t"]), 1)
    member = MemberMetadata(member_id="m", subscription=subscription, assignment=b"")
    value = typed(3, GroupMetadataValue(protocol_type="consumer", members=[member]), 3)
    batch = batch_with(Record(key=typed(2, GroupMetadataKey(group="g")), value=value))
    _, shown = first_record(batch, "__consumer_offsets")
    topics = found(shown, "content", "members", "[0]", "subscription", "content", "topics")
    assert found(topics, "[0]").value == "t"


def test_transaction_is_shown() -> None:
    value = TransactionLogValue(producer_id=9, transaction_partitions=[PartitionsSchema(topic="t", partition_ids=[2])])
    batch = batch_with(Record(key=typed(0, TransactionLogKey(transactional_id="x")), value=typed(1, value, 1)))
    key, shown = first_record(batch, "__transaction_state")
    assert found(key, "transactional_id").value == "x"
    assert found(shown, "content", "transaction_partitions", "[0]", "topic").value == "t"


def test_internal_topic_is_recognized_by_an_id_whose_name_was_told() -> None:
    topic_id = bytes(range(16))
    batch = batch_with(Record(key=typed(2, GroupMetadataKey(group="g")), value=None))
    names = {topic_id: "__consumer_offsets"}
    tree = response_tree(1, 13, fetch_answer(batch, topic_id=topic_id), names)
    batches = found(tree, "body", "responses", "[0]", "partitions", "[0]", "records", "content", "[0]")
    assert found(batches, "records", "[0]", "key", "content", "group").value == "g"


def test_marker_of_a_transaction_is_shown() -> None:
    marker = build_end_txn_marker(
        ControlType.COMMIT, producer_id=1, producer_epoch=2, coordinator_epoch=5, timestamp=1_700_000_000_000
    )
    key, value = first_record(bytes(marker), "t")
    assert found(key, "type").note == "commit"
    assert found(value, "content", "coordinator_epoch").value == 5


def test_every_record_type_of_internal_topics_has_a_key_and_a_value() -> None:
    assert set(internal_records("__consumer_offsets")) == {*range(9), *range(10, 18), *range(19, 24)}
    assert set(internal_records("__transaction_state")) == {0}
    assert set(internal_records("__share_group_state")) == {0, 1}


def metadata_record(message: object, version: int = 0) -> bytes:
    """A value of `__cluster_metadata`."""
    return bytes([1, spec_of(type(message)).key or 0, version]) + codec.encode_bytes(message, version)


def test_record_of_the_controllers_is_shown() -> None:
    partition = PartitionRecord(partition_id=2, topic_id=bytes(range(16)), isr=[1, 3])
    tree = fetched(batch_with(Record(value=metadata_record(partition, 2))), "__cluster_metadata")
    value = found(tree, "records", "[0]", "value")
    assert found(value, "content", "record_type").note == "PartitionRecord"
    assert found(value, "content", "isr", "[1]").value == 3
    assert not value.is_secret


def test_log_of_the_controllers_is_recognized_by_its_id() -> None:
    batch = batch_with(Record(value=metadata_record(TopicRecord(name="t"))))
    tree = response_tree(1, 13, fetch_answer(batch, topic_id=bytes(15) + b"\1"))
    batches = found(tree, "body", "responses", "[0]", "partitions", "[0]", "records", "content", "[0]")
    assert found(batches, "records", "[0]", "value", "content", "name").value == "t"


def test_subscription_of_a_consumer_is_shown_in_join_group() -> None:
    metadata = typed(3, ConsumerProtocolSubscription(topics=["t"], rack_id="r"), 3)
    request = JoinGroupRequest(
        protocol_type="consumer", protocols=[JoinGroupRequestProtocol(name="range", metadata=metadata)]
    )
    tree = request_tree(request, 7)
    content = found(tree, "body", "protocols", "[0]", "metadata", "content")
    assert found(content, "rack_id").value == "r"


@pytest.mark.parametrize("version", [0, 5])
def test_assignment_of_a_consumer_is_shown_in_sync_group(version: int) -> None:
    partition = ConsumerProtocolAssignmentTopicPartition(topic="t", partitions=[4])
    assignment = typed(0, ConsumerProtocolAssignment(assigned_partitions=[partition]))
    request = SyncGroupRequest(
        protocol_type="consumer" if version else None,
        assignments=[SyncGroupRequestAssignment(member_id="m", assignment=assignment)],
    )
    content = found(request_tree(request, version), "body", "assignments", "[0]", "assignment", "content")
    assert found(content, "assigned_partitions", "[0]", "partitions", "[0]").value == 4


def test_bytes_of_another_protocol_stay_bytes() -> None:
    protocol = JoinGroupRequestProtocol(name="sessioned", metadata=b"\0\1connect")
    for protocol_type, note in (("connect", ""), ("consumer", "not what is expected here")):
        tree = request_tree(JoinGroupRequest(protocol_type=protocol_type, protocols=[protocol]), 7)
        content = found(tree, "body", "protocols", "[0]", "metadata", "content")
        assert not content.children
        assert content.note.startswith(note)
        assert not list(tree.errors())


def test_request_in_an_envelope_is_shown() -> None:
    inner = encode_request(RequestHeader(3, 9, 1, "inner"), MetadataRequest(topics=[]))[4:]
    principal = typed(0, DefaultPrincipalData(type="User", name="alice"))
    tree = request_tree(
        EnvelopeRequest(request_data=inner, request_principal=principal, client_host_address=b"1234"), 0
    )
    assert found(tree, "body", "request_data", "content", "header", "client_id").value == "inner"
    assert found(tree, "body", "request_principal", "content", "name").value == "alice"


# What values mean


def lines_of(tree: Node, data: bytes = b"") -> list[str]:
    return [plain(line).strip() for line in tree_lines(tree, data or bytes(tree.end))]


def test_numbers_of_acls_and_operations_have_names() -> None:
    creation = AclCreation(resource_type=2, resource_pattern_type=4, operation=15, permission_type=2)
    tree = request_tree(CreateAclsRequest(creations=[creation]), 3)
    notes = {node.name: node.note for node in tree.walk() if node.owner is AclCreation}
    assert (notes["resource_type"], notes["resource_pattern_type"]) == ("topic", "prefixed")
    assert (notes["operation"], notes["permission_type"]) == ("two-phase commit", "deny")
    described = DescribeConfigsRequest(resources=[DescribeConfigsResource(resource_type=32)])
    assert found(request_tree(described, 4), "body", "resources", "[0]", "resource_type").note == "group"
    for bits, note in ((-(1 << 31), "not asked for"), (0b11000, "read, write"), (0, "")):
        topic = MetadataResponseTopic(name="t", topic_authorized_operations=bits)
        tree = response_tree(3, 9, MetadataResponse(topics=[topic]))
        assert found(tree, "body", "topics", "[0]", "topic_authorized_operations").note == note


def test_values_are_shown_with_what_their_comments_say_of_them() -> None:
    lines = lines_of(
        request_tree(ListOffsetsRequest(topics=[ListOffsetsTopic(partitions=[ListOffsetsPartition(timestamp=-2)])]), 1)
    )
    assert any("timestamp: int64 = -2  begin  # ms; or -1 end" in line for line in lines)
    answer = GetTelemetrySubscriptionsResponse(accepted_compression_types=[4, 1])
    lines = lines_of(response_tree(71, 0, answer))
    assert [line.split(" = ")[1] for line in lines if "]: int8" in line] == ["4  zstd", "1  gzip"]
    tree = response_tree(71, 0, answer)
    (types,) = [node for node in walked(tree_json(tree)) if node["name"] == "accepted_compression_types"]
    assert types["children"][1]["note"] == "zstd"


def walked(made: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield made
    for child in made.get("children", ()):
        yield from walked(child)


def test_parts_of_headers_and_batches_are_explained_once() -> None:
    lines = lines_of(fetched(batch_with(Record(value=b"a"), Record(value=b"b"))))
    assert len([line for line in lines if "# the format" in line]) == 1
    assert len([line for line in lines if "# from the batch's base_offset" in line]) == 1
    lines = lines_of(request_tree(MetadataRequest(), 9))
    assert any("correlation_id: int32 = 7  # the answer repeats it" in line for line in lines)
    assert any(
        "throttle_time_ms: int32 = 0  # how long a quota" in line
        for line in lines_of(response_tree(12, 1, HeartbeatResponse()))
    )

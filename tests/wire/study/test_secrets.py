"""Secrets are shown nowhere: not in trees, not in lines or JSON, not in what is recorded."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from wire import codec
from wire.catalog import APIS, request_class, response_class
from wire.compression import Codec
from wire.frame import RequestHeader, encode_request, encode_response
from wire.messages.authentication import (
    AlterUserScramCredentialsRequest,
    CreateDelegationTokenResponse,
    DescribedDelegationToken,
    DescribeDelegationTokenResponse,
    ExpireDelegationTokenRequest,
    RenewDelegationTokenRequest,
    SaslAuthenticateRequest,
    SaslAuthenticateResponse,
    ScramCredentialUpsertion,
)
from wire.messages.cluster_records import ConfigRecord, UserScramCredentialRecord
from wire.messages.configs import (
    AlterConfigsRequest,
    AlterConfigsRequestAlterableConfig,
    AlterConfigsRequestAlterConfigsResource,
    DescribeConfigsResourceResult,
    DescribeConfigsResponse,
    DescribeConfigsResult,
    DescribeConfigsSynonym,
    IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsRequestAlterableConfig,
    IncrementalAlterConfigsRequestAlterConfigsResource,
)
from wire.messages.fetch import FetchableTopicResponse, FetchResponse, PartitionData
from wire.messages.raft import (
    EnvelopeRequest,
    FetchSnapshotResponse,
    FetchSnapshotResponsePartitionSnapshot,
    FetchSnapshotResponseTopicSnapshot,
)
from wire.records import Record, build_batch
from wire.schema import spec_of
from wire.study.exchanges import UNKNOWN, Direction, TracedFrame, public
from wire.study.frames import walk_request
from wire.study.lines import plain
from wire.study.secret_search import has_secret
from wire.study.secrets import SECRET_KEYS, has_secrets, is_sensitive_config
from wire.study.show_tree import tree_json, tree_lines
from wire.study.summary import Summaries

SECRET = "s3cr3t-value"
RAW = SECRET.encode()
CONFIGS = Path(__file__).resolve().parents[2] / "data" / "configs.tsv"


def alter(name: str) -> IncrementalAlterConfigsRequest:
    config = IncrementalAlterConfigsRequestAlterableConfig(name=name, value=SECRET)
    resource = IncrementalAlterConfigsRequestAlterConfigsResource(resource_type=4, configs=[config])
    return IncrementalAlterConfigsRequest(resources=[resource])


def replace(name: str) -> AlterConfigsRequest:
    config = AlterConfigsRequestAlterableConfig(name=name, value=SECRET)
    return AlterConfigsRequest(resources=[AlterConfigsRequestAlterConfigsResource(configs=[config])])


def described(name: str, *, is_sensitive: bool) -> DescribeConfigsResponse:
    synonym = DescribeConfigsSynonym(name="other.name", value=SECRET)
    config = DescribeConfigsResourceResult(name=name, value=SECRET, is_sensitive=is_sensitive, synonyms=[synonym])
    return DescribeConfigsResponse(results=[DescribeConfigsResult(configs=[config])])


ENVELOPED = encode_request(RequestHeader(44, 1, 1, "me"), alter("ssl.key.password"))[4:]
SECRETS: list[Any] = [
    SaslAuthenticateRequest(auth_bytes=RAW),
    SaslAuthenticateResponse(auth_bytes=RAW),
    AlterUserScramCredentialsRequest(upsertions=[ScramCredentialUpsertion(name="u", salt=RAW, salted_password=RAW)]),
    CreateDelegationTokenResponse(hmac=RAW),
    RenewDelegationTokenRequest(hmac=RAW),
    ExpireDelegationTokenRequest(hmac=RAW),
    DescribeDelegationTokenResponse(tokens=[DescribedDelegationToken(hmac=RAW)]),
    alter("ssl.keystore.password"),
    replace("listener.name.sasl.scram-sha-256.sasl.jaas.config"),
    described("my.own.thing", is_sensitive=True),
    described("sasl.jaas.config", is_sensitive=False),
    EnvelopeRequest(request_data=ENVELOPED),
]


def frames_of(message: Any) -> list[TracedFrame]:
    """The frame of a message in its lowest and its highest version."""
    key = spec_of(type(message)).key
    assert key is not None
    versions = spec_of(type(message)).versions
    made = []
    for version in {versions.low, versions.high}:
        if type(message) is request_class(key):
            direction, data = Direction.REQUEST, encode_request(RequestHeader(key, version, 1, "me"), message)
        else:
            direction, data = Direction.RESPONSE, b"".join(encode_response(key, version, 1, message))  # type: ignore[arg-type]
        made.append(TracedFrame(0, "c", "p", direction, key, version, data[4:]))
    return made


def is_found_secret(frame: TracedFrame) -> bool:
    is_request = frame.direction is Direction.REQUEST
    return has_secret(frame.data, None if is_request else (frame.api_key, frame.api_version))


def everything_shown(frame: TracedFrame) -> str:
    tree = frame.tree()
    lines = [plain(line) for line in tree_lines(tree, frame.data, expand=True)]
    return "\n".join([*lines, plain(Summaries().line(1, frame, tree)), json.dumps(tree_json(tree))])


def assert_hidden(shown: str) -> None:
    assert SECRET not in shown
    assert RAW.hex() not in shown.replace("…", "")
    assert RAW[:4].hex() not in shown


@pytest.mark.parametrize("message", SECRETS, ids=lambda message: type(message).__name__)
def test_secret_is_neither_shown_nor_recorded(message: Any) -> None:
    for frame in frames_of(message):
        assert RAW in frame.data
        assert_hidden(everything_shown(frame))
        assert is_found_secret(frame)
        recorded = public(frame.direction, frame.api_key, frame.api_version, frame.data)
        assert RAW not in recorded
        assert len(recorded) == len(frame.data)
        assert not list(
            TracedFrame(0, "c", "p", frame.direction, frame.api_key, frame.api_version, recorded).tree().errors()
        )


@pytest.mark.parametrize("message", SECRETS, ids=lambda message: type(message).__name__)
def test_secret_stays_hidden_where_the_message_breaks_off(message: Any) -> None:
    for frame in frames_of(message):
        for size in range(frame.data.index(RAW) + 4, len(frame.data)):
            data = frame.data[:size]
            assert is_found_secret(frame._replace(data=data))
            cut = TracedFrame(0, "c", "p", frame.direction, frame.api_key, frame.api_version, data)
            assert_hidden(everything_shown(cut))
            assert RAW[:4] not in public(frame.direction, frame.api_key, frame.api_version, data)


def test_configs_that_are_not_sensitive_are_shown() -> None:
    for message in (alter("retention.ms"), replace("retention.ms"), described("retention.ms", is_sensitive=False)):
        for frame in frames_of(message):
            assert SECRET in everything_shown(frame)
            assert not is_found_secret(frame)
            assert public(frame.direction, frame.api_key, frame.api_version, frame.data) == frame.data


def test_names_of_all_password_configs_are_recognized() -> None:
    rows = [line.split("\t") for line in CONFIGS.read_text().splitlines()[1:]]
    passwords = [row[1] for row in rows if row[2] == "PASSWORD"]
    assert len(passwords) > 5
    assert [name for name in passwords if not is_sensitive_config(name)] == []


def test_raw_sasl_tokens_are_not_recorded() -> None:
    for direction in Direction:
        token = b"\0user\0" + RAW
        recorded = public(direction, UNKNOWN, UNKNOWN, token)
        assert recorded == b"*" * len(token)


def test_keys_with_secrets_are_those_whose_declarations_have_some() -> None:
    declared = {api.key for api in APIS if has_secrets(request_class(api.key)) or has_secrets(response_class(api.key))}
    assert declared | {58} == SECRET_KEYS


# Records of `__cluster_metadata`, as brokers fetch them from controllers.
CREDENTIAL = UserScramCredentialRecord(name="alice", salt=RAW, stored_key=RAW, server_key=RAW)
SENSITIVE = ConfigRecord(resource_type=4, resource_name="1", name="ssl.key.password", value=SECRET)
PUBLIC = ConfigRecord(resource_type=2, resource_name="alice", name="retention.ms", value=SECRET)


def metadata_value(message: object) -> bytes:
    return bytes([1, spec_of(type(message)).key or 0, 0]) + codec.encode_bytes(message, 0)


def fetched_metadata(batches: bytes) -> Iterator[TracedFrame]:
    partitions = [PartitionData(records=batches)]
    piece = FetchSnapshotResponsePartitionSnapshot(unaligned_records=batches)
    snapshot = FetchSnapshotResponseTopicSnapshot(name="__cluster_metadata", partitions=[piece])
    for key, version, message in (
        (1, 12, FetchResponse(responses=[FetchableTopicResponse(topic="__cluster_metadata", partitions=partitions)])),
        (1, 17, FetchResponse(responses=[FetchableTopicResponse(topic_id=bytes(15) + b"\1", partitions=partitions)])),
        (59, 1, FetchSnapshotResponse(topics=[snapshot])),
    ):
        data = b"".join(map(bytes, encode_response(key, version, 1, message)))[4:]  # type: ignore[arg-type]
        yield TracedFrame(0, "c", "p", Direction.RESPONSE, key, version, data)


@pytest.mark.parametrize("record", [CREDENTIAL, SENSITIVE], ids=lambda record: type(record).__name__)
@pytest.mark.parametrize("compression", [Codec.NONE, Codec.LZ4], ids=lambda codec: codec.name)
def test_secret_in_the_log_of_controllers_is_neither_shown_nor_recorded(record: object, compression: Codec) -> None:
    batch = bytes(build_batch([Record(value=metadata_value(record))], codec=compression))
    for frame in fetched_metadata(batch):
        assert "alice" in everything_shown(frame) or record is SENSITIVE
        assert_hidden(everything_shown(frame))
        recorded = public(frame.direction, frame.api_key, frame.api_version, frame.data)
        assert len(recorded) == len(frame.data)
        assert compression.name == "LZ4" or recorded == frame.data.replace(RAW, b"*" * len(RAW))
        assert RAW not in recorded
        assert_hidden(everything_shown(frame._replace(data=recorded)))


def test_what_cannot_be_read_of_the_log_of_controllers_is_hidden() -> None:
    whole = bytes(build_batch([Record(value=metadata_value(CREDENTIAL))]))
    later = bytearray(whole)
    later[whole.index(metadata_value(CREDENTIAL)) + 1] = 99  # a type of record that we do not know
    for batches in (*(whole[:size] for size in range(62, len(whole))), whole + whole[:-1], bytes(later)):
        for frame in fetched_metadata(batches):
            assert_hidden(everything_shown(frame))
            recorded = public(frame.direction, frame.api_key, frame.api_version, frame.data)
            assert RAW[:4] not in recorded


def test_frame_about_the_log_of_controllers_that_breaks_off_hides_the_rest() -> None:
    for frame in fetched_metadata(bytes(build_batch([Record(value=metadata_value(CREDENTIAL))]))):
        for size in range(frame.data.index(RAW) + 4, len(frame.data)):
            cut = frame._replace(data=frame.data[:size])
            assert_hidden(everything_shown(cut))
            assert RAW[:4] not in public(cut.direction, cut.api_key, cut.api_version, cut.data)


def test_log_of_controllers_without_secrets_is_shown_and_recorded_as_it_is() -> None:
    for frame in fetched_metadata(bytes(build_batch([Record(value=metadata_value(PUBLIC))]))):
        assert SECRET in everything_shown(frame)
        assert public(frame.direction, frame.api_key, frame.api_version, frame.data) == frame.data


def test_later_piece_of_a_snapshot_is_hidden() -> None:
    piece = FetchSnapshotResponsePartitionSnapshot(position=1000, unaligned_records=RAW * 20)
    topic = FetchSnapshotResponseTopicSnapshot(name="__cluster_metadata", partitions=[piece])
    for frame in frames_of(FetchSnapshotResponse(topics=[topic])):
        assert not any(frame.tree().errors())
        assert_hidden(everything_shown(frame))
        assert RAW not in public(frame.direction, frame.api_key, frame.api_version, frame.data)


def test_large_answer_without_secrets_is_recorded_as_it_was() -> None:
    config = DescribeConfigsResourceResult(name="retention.ms", value="1", synonyms=[DescribeConfigsSynonym()] * 2)
    answer = DescribeConfigsResponse(results=[DescribeConfigsResult(configs=[config] * 50)] * 250)
    frame = frames_of(answer)[0]
    assert any(frame.tree().errors())  # what is shown has a limit
    assert public(frame.direction, frame.api_key, frame.api_version, frame.data) == frame.data


def test_large_request_with_a_secret_at_its_end_is_recorded_without_it() -> None:
    request = alter("ssl.key.password")
    public_ones = [IncrementalAlterConfigsRequestAlterableConfig(name="retention.ms", value="1")] * 20_000
    request.resources[0].configs = [*public_ones, *request.resources[0].configs]
    for frame in frames_of(request):
        recorded = public(frame.direction, frame.api_key, frame.api_version, frame.data)
        assert recorded == frame.data.replace(RAW, b"*" * len(RAW))
        assert recorded != frame.data


def test_envelopes_in_envelopes_are_hidden_without_going_down() -> None:
    frame = ENVELOPED
    for _ in range(1000):
        frame = encode_request(RequestHeader(58, 0, 1, "me"), EnvelopeRequest(request_data=frame))[4:]
    tree = walk_request(frame)
    assert not any(tree.errors())
    inner = tree.find("body", "request_data", "content", "body", "request_data")
    assert inner is None
    outer = tree.find("body", "request_data")
    assert outer is not None
    assert (outer.is_secret, outer.note) == (True, "an envelope in an envelope, which Kafka refuses")
    traced = TracedFrame(0, "c", "p", Direction.REQUEST, 58, 0, frame)
    assert_hidden(everything_shown(traced))
    assert RAW not in public(Direction.REQUEST, 58, 0, frame)

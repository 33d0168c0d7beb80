"""What is understood is answered; what is not closes the connection it came on, and no other."""

import logging
from pathlib import Path
from struct import pack
from typing import Any

import pytest

from pykbroker.errors import KafkaError, StorageError
from pykbroker.handlers import brokers, topics
from pykbroker.server.dispatch import HANDLERS, TELEMETRY_KEYS
from tests.support.client import Client, create_topic
from tests.support.running import running, until
from wire import codec
from wire.catalog import API_BY_KEY, APIS
from wire.errors import ErrorCode
from wire.frame import decode_response_header
from wire.messages.brokers import ApiVersionsRequest, ApiVersionsResponse, DescribeClusterRequest
from wire.messages.topics import CreatableTopic, CreateTopicsRequest

pytestmark = pytest.mark.anyio

API_VERSIONS, PRODUCE = 18, 0
VERSIONS = ApiVersionsRequest("test", "1.0")


def frame(key: int, version: int, body: bytes = b"", *, correlation_id: int = 7) -> bytes:
    data = pack(">hhih", key, version, correlation_id, -1) + body
    return pack(">i", len(data)) + data


NOT_UNDERSTOOD = [
    pytest.param(frame(9999, 0), "unknown key 9999", id="unknown-key"),
    pytest.param(frame(-1, 0), "unknown key -1", id="negative-key"),
    pytest.param(frame(4, 7), "unknown key 4", id="removed-key"),
    pytest.param(frame(3, API_BY_KEY[3].max_version + 1, b"\0"), "Metadata v14 is not served", id="too-new"),
    pytest.param(frame(3, -1), "Metadata v-1 is not served", id="negative-version"),
    pytest.param(frame(3, 32767, b"\0"), "Metadata v32767 is not served", id="largest-version"),
    pytest.param(frame(1, 3), "Fetch v3 is not served", id="too-old"),
    pytest.param(frame(3, 9, b"\0" + b"\xff" * 20), "Metadata v9", id="garbage-body"),
    pytest.param(frame(3, 9, b"\0"), "Metadata v9", id="no-body"),
    pytest.param(frame(3, 1, pack(">i", 2**31 - 1)), "Metadata v1", id="huge-array"),
    pytest.param(frame(18, 3, b"\0\x05\xff\xff\xff\xff\x04\x31\0"), "ApiVersions v3", id="not-utf-8"),
    pytest.param(pack(">i", 3) + b"abc", "request header", id="half-a-header"),
    pytest.param(pack(">i", 10) + pack(">hhih", 18, 0, 1, 50), "request header", id="client-id-too-long"),
]


@pytest.mark.parametrize(("sent", "reason"), NOT_UNDERSTOOD)
async def test_request_not_understood_closes_its_connection_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, sent: bytes, reason: str
) -> None:
    with caplog.at_level(logging.WARNING):
        async with (
            running(tmp_path) as broker,
            Client.connect(broker) as client,
            Client.connect(broker) as other,
        ):
            await client.ask(VERSIONS, 3)
            await other.ask(VERSIONS, 3)
            await client.send_bytes(sent + client.encode(VERSIONS, 3))
            assert await client.is_closed()
            assert (await other.ask(VERSIONS, 3)).error_code == 0
            assert broker.metrics.protocol_errors_total == 1
    (record,) = caplog.records
    assert reason in record.getMessage()


@pytest.mark.parametrize("version", [-1, API_BY_KEY[API_VERSIONS].max_version + 1, 32767])
async def test_unknown_version_of_api_versions_is_answered_in_version_0(tmp_path: Path, version: int) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        for _ in range(2):
            await client.send_bytes(frame(API_VERSIONS, version, b"\0\xff\xfe what nobody can know", correlation_id=41))
            answer = await client.receive_frame()
            correlation_id, pos = decode_response_header(API_VERSIONS, 0, answer)
            response, end = codec.decode(ApiVersionsResponse, 0, answer, pos)
            assert (correlation_id, end) == (41, len(answer))
            assert response.error_code == ErrorCode.UNSUPPORTED_VERSION
            own = API_BY_KEY[API_VERSIONS]
            assert [(api.api_key, api.min_version, api.max_version) for api in response.api_keys] == [
                (API_VERSIONS, own.min_version, own.max_version)
            ]
        assert (await client.ask(VERSIONS, 3)).error_code == 0


async def test_api_versions_promises_what_is_served(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        answer = await client.ask(VERSIONS, 3)
        promised = {api.api_key: (api.min_version, api.max_version) for api in answer.api_keys}
        listed = HANDLERS.keys() - TELEMETRY_KEYS
        served = {api.key: (api.min_version, api.max_version) for api in APIS if api.key in listed}
        assert promised == served | {PRODUCE: (0, served[PRODUCE][1])}  # librdkafka looks for the old ones


async def test_bug_in_a_handler_is_answered_logged_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*args: object) -> None:
        raise ZeroDivisionError("our bug")

    monkeypatch.setattr(brokers, "describe_cluster", fail)
    async with running(tmp_path, bugs=2) as broker, Client.connect(broker) as client:
        for _ in range(2):
            answer = await client.ask(DescribeClusterRequest(), 2)
            assert answer.error_code == ErrorCode.UNKNOWN_SERVER_ERROR
        assert (await client.ask(VERSIONS, 3)).error_code == 0
        assert broker.metrics.bugs_total == 2
    assert [record.getMessage().startswith("bug in DescribeCluster v2: ") for record in caplog.records] == [True] * 2


async def test_answer_that_cannot_be_encoded_is_a_bug_and_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_an_answer(*args: object) -> Any:
        return ApiVersionsResponse(error_code=1_000_000)

    monkeypatch.setattr(brokers, "describe_cluster", half_an_answer)
    async with running(tmp_path, bugs=1) as broker, Client.connect(broker) as client:
        assert (await client.ask(DescribeClusterRequest(), 2)).error_code == ErrorCode.UNKNOWN_SERVER_ERROR


@pytest.mark.parametrize(
    ("error", "code", "bugs"),
    [
        (KafkaError(ErrorCode.POLICY_VIOLATION, "no"), ErrorCode.POLICY_VIOLATION, 0),
        (StorageError("the disk failed"), ErrorCode.KAFKA_STORAGE_ERROR, 0),
        (ZeroDivisionError("our bug"), ErrorCode.UNKNOWN_SERVER_ERROR, 1),
    ],
    ids=["outcome", "disk", "bug"],
)
async def test_error_of_a_handler_that_awaits_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: ErrorCode, bugs: int
) -> None:
    async def fail(*args: object) -> None:
        raise error

    monkeypatch.setattr(topics, "create_topics", fail)
    async with running(tmp_path, bugs=bugs) as broker, Client.connect(broker) as client:
        answer = await client.ask(CreateTopicsRequest([CreatableTopic("any", 1, 1)]), 7)
        assert [(topic.name, topic.error_code) for topic in answer.topics] == [("any", code)]
        assert (await client.ask(VERSIONS, 3)).error_code == 0


async def test_requests_are_counted_once_each(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        await create_topic(client, "any")
        await client.ask(VERSIONS, 3)
        await client.send_bytes(frame(3, 9, b"\0\xff"))
        assert await client.is_closed()
        await until(lambda: broker.metrics.connections == 0)
        assert broker.metrics.requests_total == 2

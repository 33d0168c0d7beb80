"""The console's JSON about records: where they are read from, what is shown of them, and producing."""

import base64
from pathlib import Path
from typing import Any

import pytest

from pykbroker.broker import Broker
from pykbroker.client.groups import CommittedOffset, commit_offsets
from pykbroker.client.topics import NewTopic, create_topics
from pykbroker.topic_partition import TopicPartition
from pykbroker.web.console import records as record_pages
from pykbroker.web.console.pages import MAX_DECOMPRESSED_BYTES
from pykbroker.web.console.records import MAX_HEADERS, MAX_SHOWN_BYTES
from tests.support.client import Client as BareClient
from tests.web.pages import bytes_of, json_of, pages, send
from wire.compression import Codec
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.records import Record, batch_crc, build_batch

pytestmark = pytest.mark.anyio

SCRIPT = b"<script>alert(1)</script>"


@pytest.fixture
def anyio_backend() -> str:
    """The worker runs on asyncio, whatever the broker runs on."""
    return "asyncio"


async def produce(broker: Broker, topic: str, batch: bytes | bytearray) -> None:
    """Send a batch as it is."""
    data = [TopicProduceData(topic, partition_data=[PartitionProduceData(0, batch)])]
    async with BareClient.connect(broker) as bare:
        answer = await bare.ask(ProduceRequest(acks=1, timeout_ms=1000, topic_data=data), 12)
    assert answer.responses[0].partition_responses[0].error_code == 0


def offsets_of(response: Any) -> list[int]:
    return [record["offset"] for record in response["records"]]


@pytest.mark.parametrize(
    ("query", "offsets", "older", "newer"),
    [
        ({"from": "beginning", "limit": 2}, [0, 1], None, "0:2"),
        ({"from": "beginning"}, [0, 1, 2, 3, 4], None, None),
        ({"from": "end", "limit": 2}, [4, 3], "0:3", None),
        ({"from": "end"}, [4, 3, 2, 1, 0], None, None),
        ({"from": "older", "at": "0:3", "limit": 2}, [2, 1], "0:1", "0:3"),
        ({"from": "newer", "at": "0:3", "limit": 1}, [3], "0:3", "0:4"),
        ({"from": "offset", "at": 3}, [3, 4], "0:3", None),
        ({"from": "offset", "at": 99}, [], "0:5", None),
        ({"from": "timestamp", "at": 2000, "limit": 1}, [2], "0:2", "0:3"),
        ({"from": "timestamp", "at": 9000}, [], "0:5", None),
    ],
)
async def test_records_are_read_from_where_the_query_says(
    tmp_path: Path, query: dict[str, str | int], offsets: list[int], older: str | None, newer: str | None
) -> None:
    async with pages(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        for number in range(5):
            await send(client, "t", b"%d" % number, timestamp=number * 1000)
        response = await json_of(http, "topics/t/records", partition=0, **query)
        assert offsets_of(response) == offsets
        assert [bytes_of(record["value"]) for record in response["records"]] == [b"%d" % offset for offset in offsets]
        assert (response["older"], response["newer"], response["is_complete"]) == (older, newer, True)
        assert response["partitions"] == [{"partition": 0, "beginning": 0, "end": 5}]


async def test_all_partitions_are_merged_by_time_and_paged_without_gaps(tmp_path: Path) -> None:
    async with pages(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 3, 1)])
        for number in range(20):
            await send(client, "t", b"%d" % number, partition=number % 3, timestamp=1000 + number)
        for first, onwards, expected in (
            ("end", "older", list(range(19, -1, -1))),
            ("beginning", "newer", list(range(20))),
        ):
            response = await json_of(http, "topics/t/records", limit=7, **{"from": first})
            seen = response["records"]
            while response[onwards] is not None:
                at = response[onwards]
                response = await json_of(http, "topics/t/records", limit=7, at=at, **{"from": onwards})
                assert response["records"]
                seen += response["records"]
            assert [int(bytes_of(record["value"])) for record in seen] == expected


async def test_reading_goes_back_in_larger_steps_until_there_are_enough(tmp_path: Path) -> None:
    async with pages(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        await send(client, "t", b"old", b"older", *[b"gone"] * 100)
        response = await json_of(http, "topics/t/records", limit=2, contains="old")
        assert [bytes_of(record["value"]) for record in response["records"]] == [b"older", b"old"]
        assert response["older"] is None


async def test_only_records_that_contain_a_text_are_shown(tmp_path: Path) -> None:
    async with pages(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        await send(client, "t", b"tea", b"coffee", None, key=b"k")
        await send(client, "t", b"x", key=b"teapot")
        await send(client, "t", b"x", headers=[("kind", b"some tea")])
        await send(client, "t", b"x", headers=[("tea", None)])
        assert offsets_of(await json_of(http, "topics/t/records", contains="tea")) == [5, 4, 3, 0]
        response = await json_of(http, "topics/t/records", contains="nothing has this")
        assert (response["records"], response["older"], response["newer"]) == ([], None, None)


@pytest.mark.parametrize(
    "query",
    [
        "from=middle",
        "from=offset",
        "from=offset&at=-1",
        "from=timestamp&at=x",
        "from=older&at=x",
        "from=newer",
        "limit=0",
        "limit=501",
        "partition=x",
    ],
)
async def test_request_without_sense_says_what_is_wrong(tmp_path: Path, query: str) -> None:
    async with pages(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        response = await http.get(f"topics/t/records?{query}")
        assert (response.status_code, response.json()["error"]) == (400, "BAD_REQUEST")


async def test_hostile_record_goes_as_data(tmp_path: Path) -> None:
    async with pages(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        long = b"x" * (MAX_SHOWN_BYTES + 1)
        await send(client, "t", SCRIPT, None, b"\xff\x00", long, key=SCRIPT, headers=[("<b>", SCRIPT)])
        await send(client, "t", b"", headers=[(str(number), b"") for number in range(MAX_HEADERS + 3)])
        response = await http.get("topics/t/records?from=beginning")
        assert "script" not in response.text
        hostile, null, binary, long_one, many = response.json()["records"]
        assert bytes_of(hostile["key"]) == bytes_of(hostile["value"]) == SCRIPT
        assert [(each["name"], bytes_of(each["value"])) for each in hostile["headers"]] == [("<b>", SCRIPT)]
        assert null["value"] is None
        assert bytes_of(binary["value"]) == b"\xff\x00"
        assert (len(bytes_of(long_one["value"])), long_one["value"]["bytes"]) == (MAX_SHOWN_BYTES, len(long))
        assert (len(many["headers"]), many["headers_left_out"]) == (MAX_HEADERS, 3)


async def test_response_has_no_more_bytes_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_pages, "MAX_ANSWER_BYTES", 3000)
    async with pages(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        await send(client, "t", *[b"x" * 1000] * 10)
        response = await json_of(http, "topics/t/records")
        assert offsets_of(response) == [9, 8]
        assert response["older"] == "0:8"


def unreadable_batch() -> bytearray:
    """Brokers do not look into headers, and no text is written so."""
    batch = build_batch([Record(value=b"x", headers=(("name", None),))])
    at = batch.index(b"name")
    batch[at : at + 4] = b"\xff\xff\xff\xff"
    batch[17:21] = batch_crc(batch).to_bytes(4, "big")
    return batch


async def test_batch_that_cannot_be_read_is_told_in_its_place(tmp_path: Path) -> None:
    async with pages(tmp_path) as (broker, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        await send(client, "t", b"before")
        await produce(broker, "t", unreadable_batch())
        await send(client, "t", b"after")
        for first, offsets in (("beginning", [0, 1, 2]), ("end", [2, 1, 0])):
            response = await json_of(http, "topics/t/records", **{"from": first})
            assert offsets_of(response) == offsets
            assert response["records"][1]["problem"].startswith("A batch that cannot be read: ")
            assert bytes_of(response["records"][0]["value"]) in (b"before", b"after")


async def test_batch_that_is_too_large_decompressed_is_not_read(tmp_path: Path) -> None:
    """It is small on the wire: a few KB of zeros in place of many MB."""
    async with pages(tmp_path) as (broker, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        await send(client, "t", b"before")
        await produce(broker, "t", build_batch([Record(value=bytes(MAX_DECOMPRESSED_BYTES))], codec=Codec.ZSTD))
        await produce(broker, "t", build_batch([Record()] * 300_000, codec=Codec.ZSTD))
        response = await json_of(http, "topics/t/records", limit=3)
        assert [(each["offset"], "too large" in each.get("problem", "")) for each in response["records"]] == [
            (2, True),
            (1, True),
            (0, False),
        ]
        # Offsets in the middle of such a batch lead out of it, both ways.
        inside = await json_of(http, "topics/t/records", limit=3, at=1000, **{"from": "offset"})
        assert (offsets_of(inside), inside["newer"]) == ([2], None)
        back = await json_of(http, "topics/t/records", limit=3, at="0:1000", **{"from": "older"})
        assert offsets_of(back) == [2, 1, 0]


async def test_records_of_internal_topics_are_explained(tmp_path: Path) -> None:
    async with pages(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 1, 1)])
        await commit_offsets(client, "readers", {TopicPartition("t", 0): CommittedOffset(7, "note")})
        response = await json_of(http, "topics/__consumer_offsets/records")
        keys = [record["explained"]["key"] for record in response["records"]]
        assert {"type": "OffsetCommitKey", "group": "readers", "topic": "t", "partition": 0} in keys
        value = response["records"][keys.index(keys[0])]["explained"]["value"]
        assert (value["offset"], value["metadata"]) == (7, "note")
        await send(client, "t", b"\0\1", key=b"\0\1\0\1")
        assert (await json_of(http, "topics/t/records"))["records"][0]["explained"] is None


async def test_record_is_produced(tmp_path: Path) -> None:
    async with pages(tmp_path) as (_, client, http):
        await create_topics(client, [NewTopic("t", 3, 1)])
        record = {
            "partition": 2,
            "key": {"text": "ключ"},
            "value": {"base64": base64.b64encode(b"\0\xff").decode()},
            "headers": [{"name": "h", "value": {"text": "1"}}, {"name": "none", "value": None}],
        }
        response = await http.post("topics/t/records", json=record)
        assert response.json() == {"topic": "t", "partition": 2, "offset": 0}
        (read,) = (await json_of(http, "topics/t/records"))["records"]
        assert (bytes_of(read["key"]).decode(), bytes_of(read["value"])) == ("ключ", b"\0\xff")
        assert [(each["name"], each["value"]) for each in read["headers"]] == [
            ("h", {"base64": "MQ==", "bytes": 1}),
            ("none", None),
        ]
        for body in (b"[]", b"{", b'{"value": 5}', b'{"partition": "1"}', b'{"partition": NaN}', b"[" * 100_000):
            response = await http.post("topics/t/records", content=body)
            assert (response.status_code, response.json()["error"]) == (400, "BAD_REQUEST")
        response = await http.post("topics/absent/records", json={})
        assert response.status_code == 404  # and it is not created
        assert [topic["name"] for topic in (await json_of(http, "topics"))["topics"]] == ["t"]

"""Requests as a connection receives them: in pieces, in heaps, too large, and no requests at all."""

import logging
from pathlib import Path
from struct import pack

import pytest

from pykbroker.server.buffers import LARGE_BYTES, SCRATCH_BYTES
from tests.support.client import Client, base_offset_of, create_topic, fetch_of, produce_of, values_of
from tests.support.running import has_received, running, until
from wire.messages.brokers import ApiVersionsRequest
from wire.messages.metadata import MetadataRequest
from wire.messages.topics import CreatableTopic, CreateTopicsRequest

pytestmark = pytest.mark.anyio

VERSIONS = ApiVersionsRequest("test", "1.0")
TOPIC = "lines"


async def test_frames_in_one_packet_are_all_answered_in_order(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        await client.send(*(VERSIONS if number % 3 else MetadataRequest([]) for number in range(3)), version=3)
        requests = [client.encode(VERSIONS, 3) for _ in range(1000)]
        await client.send_bytes(b"".join(requests))
        for _ in range(1003):
            assert (await client.receive()) is not None
        assert broker.metrics.requests_total == 1003


async def test_frame_cut_at_every_byte_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        received = 0
        for cut in range(1, len(client.encode(VERSIONS, 3, answered=False))):
            frame = client.encode(VERSIONS, 3)
            await client.send_bytes(frame[:cut])
            received += cut
            await until(has_received(broker, received))
            assert not client.has_received()
            await client.send_bytes(frame[cut:])
            received += len(frame) - cut
            assert (await client.receive()).error_code == 0


async def test_frame_that_comes_byte_by_byte_is_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        for received, byte in enumerate(client.encode(VERSIONS, 3)):
            await until(has_received(broker, received))
            await client.send_bytes(bytes([byte]))
        assert (await client.receive()).error_code == 0


async def test_end_of_a_frame_may_come_with_the_next_ones(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        stream = b"".join(client.encode(VERSIONS, 3) for _ in range(50))
        for start in range(0, len(stream), 77):  # cuts anywhere
            await client.send_bytes(stream[start : start + 77])
            sent = min(start + 77, len(stream))
            await until(has_received(broker, sent))
        for _ in range(50):
            assert (await client.receive()).error_code == 0


@pytest.mark.parametrize(
    "size",
    [
        SCRATCH_BYTES - 200,
        SCRATCH_BYTES,
        SCRATCH_BYTES + 1,
        LARGE_BYTES - 100,
        LARGE_BYTES + 1,
        2 * LARGE_BYTES + 12345,
    ],
)
async def test_large_frames_between_small_ones_arrive_whole(tmp_path: Path, size: int) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        values = [bytes([number]) * size for number in (1, 2)]
        await client.send(VERSIONS, version=3)
        frames = [
            client.encode(VERSIONS, 3),
            client.encode(produce_of(TOPIC, values[0]), 9),
            client.encode(produce_of(TOPIC, values[1]), 9),
            client.encode(VERSIONS, 3),
        ]
        await client.send_bytes(b"".join(frames))
        for _ in range(2):
            assert (await client.receive()).error_code == 0
        assert base_offset_of(await client.receive()) == 0
        assert base_offset_of(await client.receive()) == 1
        assert (await client.receive()).error_code == 0
        assert values_of(await client.ask(fetch_of(TOPIC), 12)) == values


@pytest.mark.parametrize("beyond", [0, 1, 100], ids=["scratch-exactly", "one-more", "hundred-more"])
async def test_frame_of_about_the_size_of_the_scratch_is_answered(tmp_path: Path, beyond: int) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        overhead = len(client.encode(produce_of(TOPIC, bytes(SCRATCH_BYTES)), 7, answered=False)) - SCRATCH_BYTES
        frame = client.encode(produce_of(TOPIC, b"v" * (SCRATCH_BYTES - overhead + beyond)), 7)
        assert len(frame) == SCRATCH_BYTES + beyond
        await client.send_bytes(frame + client.encode(VERSIONS, 3))
        assert base_offset_of(await client.receive()) == 0
        assert (await client.receive()).error_code == 0


async def test_frames_of_several_clients_that_come_in_turns_do_not_mix(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as first, Client.connect(broker) as second:
        await create_topic(first, TOPIC)
        values = [b"1" * (SCRATCH_BYTES - 1000), b"2" * 300, b"3" * (LARGE_BYTES + 1000), b"4" * (LARGE_BYTES + 1000)]
        clients = [first, second, first, second]
        frames = [client.encode(produce_of(TOPIC, value), 9) for client, value in zip(clients, values, strict=True)]
        streams = [(first, frames[0] + frames[2]), (second, frames[1] + frames[3])]
        received = broker.metrics.bytes_in_total
        step = SCRATCH_BYTES // 3
        for start in range(0, max(len(stream) for _, stream in streams), step):
            for client, stream in streams:
                piece = stream[start : start + step]
                await client.send_bytes(piece)
                received += len(piece)
                await until(has_received(broker, received))
        offsets = [base_offset_of(await client.receive()) for client in clients]
        assert sorted(offsets) == [0, 1, 2, 3]
        stored = values_of(await first.ask(fetch_of(TOPIC), 12))
        assert [stored[offset] for offset in offsets] == values


async def test_what_follows_a_request_that_waits_for_the_store_is_kept(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client, Client.connect(broker) as other:
        await create_topic(other, TOPIC)
        value = b"kept" * 10_000
        frames = [
            client.encode(CreateTopicsRequest([CreatableTopic("another", 1, 1)]), 7),
            client.encode(produce_of(TOPIC, value), 9),
            client.encode(produce_of("another", b"in its order"), 9),
        ]
        stream = b"".join(frames)
        await client.send_bytes(stream[:-10])  # the store needs a thread, meanwhile others use the scratch
        for _ in range(20):
            await other.ask(produce_of(TOPIC, b"other" * 40_000, acks=1), 9)
        await client.send_bytes(stream[-10:])
        assert (await client.receive()).topics[0].error_code == 0
        offset = base_offset_of(await client.receive())
        assert base_offset_of(await client.receive()) == 0
        assert values_of(await client.ask(fetch_of(TOPIC, offset), 12))[0] == value


@pytest.mark.parametrize(
    ("first_bytes", "reason"),
    [
        (pack(">i", -1), "a frame of -1 bytes"),
        (pack(">i", -(2**31)), "a frame of -2147483648 bytes"),
        (pack(">i", 0), "a frame of 0 bytes"),
        (pack(">i", 1_000_001), "a frame of 1000001 bytes"),
        (pack(">i", 2**31 - 1), "a frame of 2147483647 bytes"),
        (b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n", "an HTTP request on the Kafka port"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "a TLS handshake on a plaintext port"),
    ],
)
async def test_wrong_size_closes_the_connection_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, first_bytes: bytes, reason: str
) -> None:
    with caplog.at_level(logging.WARNING):
        async with (
            running(tmp_path, socket_request_max_bytes="1000000") as broker,
            Client.connect(broker) as client,
            Client.connect(broker) as other,
        ):
            await other.ask(VERSIONS, 3)
            await client.ask(VERSIONS, 3)
            await client.send_bytes(first_bytes)
            assert await client.is_closed()
            assert broker.metrics.protocol_errors_total == 1
            assert (await other.ask(VERSIONS, 3)).error_code == 0
    (record,) = caplog.records
    assert record.getMessage().endswith(reason)


async def test_frame_of_the_largest_size_is_received(tmp_path: Path) -> None:
    async with running(tmp_path, socket_request_max_bytes="1000000") as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        overhead = len(client.encode(produce_of(TOPIC, bytes(900_000)), 7, answered=False)) - 900_000
        frame = client.encode(produce_of(TOPIC, bytes(1_000_004 - overhead)), 7)
        assert len(frame) == 1_000_004
        await client.send_bytes(frame)
        assert base_offset_of(await client.receive()) == 0


async def test_answers_before_a_broken_frame_are_sent(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        await client.send_bytes(client.encode(VERSIONS, 3) + pack(">i", -1))
        assert (await client.receive()).error_code == 0
        assert await client.is_closed()


@pytest.mark.parametrize("left", [1, 3, 4, 100, SCRATCH_BYTES + 10, LARGE_BYTES + 10])
async def test_client_that_leaves_in_the_middle_of_a_frame_leaves_nothing(tmp_path: Path, left: int) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as other:
        async with Client.connect(broker) as client:
            frame = pack(">i", LARGE_BYTES * 3) + bytes(left)
            await client.send_bytes(frame[:left])
            await until(has_received(broker, left))
        await until(lambda: broker.metrics.connections == 1)
        assert (await other.ask(VERSIONS, 3)).error_code == 0
        assert broker.metrics.protocol_errors_total == 0


async def test_size_alone_allocates_no_memory_for_the_frame(tmp_path: Path) -> None:
    async with running(tmp_path, socket_request_max_bytes=str(2**31 - 1)) as broker:
        before = resident_bytes()
        async with Client.connect(broker) as client:
            await client.send_bytes(pack(">i", 2**31 - 1) + b"start")
            await until(has_received(broker, 9))
            assert resident_bytes() - before < 1024 * 1024


def resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")

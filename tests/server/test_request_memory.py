"""Requests that are not complete take bounded memory, all connections together."""

from pathlib import Path

import pytest

from pykbroker.broker import Broker
from pykbroker.config import BrokerConfig, ConfigError
from tests.support.client import Client, create_topic, produce_of
from tests.support.running import has_received, running, until
from wire.messages.brokers import ApiVersionsRequest

pytestmark = pytest.mark.anyio

VERSIONS = ApiVersionsRequest("test", "1.0")
TOPIC = "lines"


async def stays_silent(client: Client, broker: Broker, other: Client) -> bool:
    """Whether a client gets nothing while the broker reads what another one sends, who holds memory already."""
    for _ in range(20):
        before = broker.metrics.bytes_in_total
        await other.send_bytes(b"x")
        await until(lambda before=before: broker.metrics.bytes_in_total > before)
    return not client.has_received()


@pytest.mark.parametrize("frame_bytes", [90_000, 900_000])  # within the scratch buffer, and beyond it
async def test_nobody_else_is_read_while_unfinished_requests_hold_all_memory(tmp_path: Path, frame_bytes: int) -> None:
    limits = {
        "socket.request.max.bytes": str(frame_bytes + 1000),
        "queued.max.request.bytes": str(frame_bytes * 3 // 2),
    }
    async with (
        running(tmp_path, **limits) as broker,
        Client.connect(broker) as first,
        Client.connect(broker) as second,
        Client.connect(broker) as third,
    ):
        await create_topic(first, TOPIC)
        received = broker.metrics.bytes_in_total
        frame = first.encode(produce_of(TOPIC, b"x" * frame_bytes), 9)
        unfinished = second.encode(produce_of(TOPIC, b"x" * frame_bytes), 9, answered=False)[:10_000]
        await first.send_bytes(frame[:-1])
        await until(has_received(broker, received + len(frame) - 1))
        await second.send_bytes(unfinished)  # there is still some left
        await until(has_received(broker, received + len(frame) - 1 + len(unfinished)))
        await third.send(VERSIONS, version=3)
        assert await stays_silent(third, broker, second)
        await first.send_bytes(frame[-1:])
        assert (await first.receive()).responses[0].partition_responses[0].error_code == 0
        assert (await third.receive()).error_code == 0


async def test_client_that_leaves_gives_its_memory_back(tmp_path: Path) -> None:
    limits = {"socket.request.max.bytes": "100000", "queued.max.request.bytes": "100001"}
    async with (
        running(tmp_path, **limits) as broker,
        Client.connect(broker) as waiting,
        Client.connect(broker) as other,
    ):
        async with Client.connect(broker) as leaving:
            for client, size in ((other, 50_000), (leaving, 100_000)):
                before = broker.metrics.bytes_in_total
                await client.send_bytes(size.to_bytes(4, "big") + b"x")
                await until(has_received(broker, before + 5))
            await waiting.send(VERSIONS, version=3)
            assert await stays_silent(waiting, broker, other)
        assert (await waiting.receive()).error_code == 0


def test_memory_for_less_than_one_request_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"queued\.max\.request\.bytes"):
        BrokerConfig.from_properties({"socket.request.max.bytes": "1000", "queued.max.request.bytes": "1000"})

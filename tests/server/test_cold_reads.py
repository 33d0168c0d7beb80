"""Records that have left the page cache are read by a thread and answered like all others."""

from pathlib import Path

import anyio
import pytest

from pykbroker.broker import Broker
from pykbroker.server.outbox import COPY_BELOW_BYTES, WINDOW_BYTES
from tests.log.support import forget_pages, skip_unless_pages_can_be_forgotten
from tests.support.client import Client, create_topic, fetch_of, partition_of, produce_of, values_of
from tests.support.running import BACKENDS, running
from wire.messages.brokers import ApiVersionsRequest

pytestmark = pytest.mark.anyio

TOPIC = "cold"


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


def make_cold(broker: Broker) -> None:
    (segment,) = partition_of(broker, TOPIC).log.segments
    forget_pages(segment.file.open().fd)


@pytest.mark.parametrize("size", [100, COPY_BELOW_BYTES, 3 * WINDOW_BYTES])
async def test_fetch_of_cold_records_brings_them(disk_path: Path, size: int) -> None:
    values = [bytes([number]) * size for number in range(3)]
    skip_unless_pages_can_be_forgotten(disk_path)
    async with running(disk_path) as broker, Client.connect(broker) as client:
        await create_topic(client, TOPIC)
        for value in values:
            await client.ask(produce_of(TOPIC, value), 9)
        make_cold(broker)
        assert values_of(await client.ask(fetch_of(TOPIC), 12)) == values
        assert values_of(await client.ask(fetch_of(TOPIC), 12)) == values


async def test_answers_behind_a_cold_fetch_keep_their_order(disk_path: Path) -> None:
    values = [b"v" * WINDOW_BYTES] * 2
    skip_unless_pages_can_be_forgotten(disk_path)
    async with running(disk_path) as broker, Client.connect(broker) as client, Client.connect(broker) as other:
        await create_topic(client, TOPIC)
        for value in values:
            await client.ask(produce_of(TOPIC, value), 9)
        make_cold(broker)
        await client.send(fetch_of(TOPIC), fetch_of(TOPIC, 1), version=12)
        await client.send(ApiVersionsRequest("test", "1.0"), version=3)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.ask, fetch_of(TOPIC), 12)
            assert values_of(await client.receive()) == values
            assert values_of(await client.receive()) == values[1:]
            assert (await client.receive()).error_code == 0

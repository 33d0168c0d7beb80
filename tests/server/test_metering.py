"""The dispatcher that counts, as one that is exchanged while requests wait. What it counts: tests/web/test_metrics."""

from pathlib import Path

import pytest

from pykbroker.broker import Broker
from pykbroker.server.metering import MeteringDispatcher
from tests.support.client import Client, create_topic, create_topic_with, fetch_of, produce_of, values_of
from tests.support.running import have_started, running, until
from wire.errors import ErrorCode

pytestmark = pytest.mark.anyio


def metering_around(broker: Broker) -> MeteringDispatcher:
    return MeteringDispatcher(broker.dispatcher, broker.services)


async def test_request_that_waits_is_answered_by_whoever_is_the_dispatcher_by_then(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as consumer, Client.connect(broker) as producer:
        await create_topic(producer, "t")
        usual, metering = broker.dispatcher, metering_around(broker)
        cases = ((usual, metering, 0), (metering, usual, 1), (metering, metering, 2))
        for offset, (first, then, counted) in enumerate(cases):
            broker.dispatcher = first
            started = have_started(broker, 1)
            await consumer.send(fetch_of("t", offset, max_wait_ms=20_000), version=12)
            await until(started)
            broker.dispatcher = then
            await producer.ask(produce_of("t", b"%d" % offset), 9)
            assert values_of(await consumer.receive()) == [b"%d" % offset]
            assert metering.requests["Fetch", 12] == counted
        assert metering.apis["Fetch"].remote_us.count == 1  # the one that was its own from the beginning to the end
        assert metering.parked[1] == 0


async def test_request_that_awaits_the_store_is_counted_once(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client.connect(broker) as client:
        broker.dispatcher = metering = metering_around(broker)
        await client.ask(create_topic_with("t"), 7)
        stats = metering.apis["CreateTopics"]
        assert metering.requests == {("CreateTopics", 7): 1}
        assert stats.local_us.count == stats.remote_us.count == stats.request_bytes.count == 1
        assert metering.errors == {("CreateTopics", ErrorCode.NONE): 1}

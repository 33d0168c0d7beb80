import asyncio

import pykbroker
import pytest
from orders import place, ship


@pytest.fixture(autouse=True)
def empty_kafka(kafka):
    kafka.reset()


def test_what_was_ordered_is_shipped_once(kafka, kafka_topic):
    async def story():
        assert await place(kafka.bootstrap, kafka_topic, b"tea", b"cake") == [0, 1]
        assert await ship(kafka.bootstrap, kafka_topic, 2) == [b"tea", b"cake"]
        assert await place(kafka.bootstrap, kafka_topic, b"milk") == [2]
        assert await ship(kafka.bootstrap, kafka_topic, 1) == [b"milk"]

    asyncio.run(story())


def test_order_is_placed_although_the_leader_moves(kafka, kafka_topic):
    with kafka.faults(api="Produce", client_id="orders", error="NOT_LEADER_OR_FOLLOWER", times=2) as fault:
        assert asyncio.run(place(kafka.bootstrap, kafka_topic, b"tea")) == [0]
    assert fault.hits == 2


def test_connection_that_is_lost_costs_no_order(kafka, kafka_topic):
    with kafka.faults(api="Produce", topic=kafka_topic, drop=True, times=1) as fault:
        assert asyncio.run(place(kafka.bootstrap, kafka_topic, b"tea")) == [0]
    assert fault.hits == 1


def test_broker_in_the_loop_of_the_program():
    async def story():
        async with pykbroker.Broker() as kafka:
            await kafka.create_topic("orders")
            with kafka.faults(api="Metadata", delay_ms=50, times=1):
                assert await place(kafka.bootstrap, "orders", b"tea") == [0]

    asyncio.run(story())

import pytest
from orders import Refused, place, ship

from confluent_kafka import Consumer, TopicPartition


@pytest.fixture(autouse=True)
def empty_kafka(kafka):
    kafka.reset()


@pytest.fixture
def shipped(kafka):
    return kafka.create_topic("shipped", 1)


def read(kafka, topic, count):
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": "check"})
    consumer.assign([TopicPartition(topic, 0, 0)])
    values = [consumer.poll(20).value() for _ in range(count)]
    assert consumer.poll(0.3) is None
    consumer.close()
    return values


def test_what_was_ordered_is_shipped_once(kafka, kafka_topic, shipped):
    assert place(kafka.bootstrap, kafka_topic, b"tea") == 0
    assert ship(kafka.bootstrap, kafka_topic, shipped, 1)
    assert place(kafka.bootstrap, kafka_topic, b"cake") == 1
    assert ship(kafka.bootstrap, kafka_topic, shipped, 1)
    assert read(kafka, shipped, 2) == [b"tea", b"cake"]


def test_answer_that_is_lost_costs_no_second_order(kafka, kafka_topic):
    with kafka.faults(api="Produce", client_id="orders", drop=True, when="after", times=1) as fault:
        place(kafka.bootstrap, kafka_topic, b"tea")
    assert fault.hits == 1
    assert read(kafka, kafka_topic, 1) == [b"tea"]


def test_order_that_may_not_be_placed_is_refused(kafka, kafka_topic):
    with (
        kafka.faults(api="Produce", topic=kafka_topic, error="TOPIC_AUTHORIZATION_FAILED"),
        pytest.raises(Refused, match="TOPIC_AUTHORIZATION_FAILED"),
    ):
        place(kafka.bootstrap, kafka_topic, b"tea")


def test_shipping_that_cannot_commit_ships_nothing(kafka, kafka_topic, shipped):
    place(kafka.bootstrap, kafka_topic, b"tea")
    with kafka.faults(api="TxnOffsetCommit", group="shipping", error="GROUP_AUTHORIZATION_FAILED"):
        assert not ship(kafka.bootstrap, kafka_topic, shipped, 1)
    assert ship(kafka.bootstrap, kafka_topic, shipped, 1)
    assert read(kafka, shipped, 1) == [b"tea"]

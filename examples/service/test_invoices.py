"""Tests of the service with pykbroker's pytest plugin: `kafka` is one broker for all, and empty when a test starts.

pip install pykbroker kafka-python pytest
pytest examples/service
"""

import json

import pytest
from invoices import InvoiceService
from kafka import KafkaConsumer, KafkaProducer, TopicPartition


@pytest.fixture
def service(kafka):
    kafka.reset()
    for topic in ("orders", "invoices"):
        kafka.create_topic(topic, 1)
    service = InvoiceService(kafka.bootstrap)
    service.start()
    yield service
    service.stop()


@pytest.fixture
def order(kafka):
    """A function that places an order of two of a thing, and returns when the order is stored."""
    with KafkaProducer(bootstrap_servers=kafka.bootstrap) as producer:

        def place(customer, price):
            value = json.dumps([{"price": price, "count": 2}]).encode()
            producer.send("orders", key=customer.encode(), value=value).get(timeout=10)

        yield place


def read_invoices(kafka, count):
    """Return so many invoices; there must not be more of them."""
    consumer = KafkaConsumer(
        "invoices", bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=30_000
    )
    found = []
    for record in consumer:
        found.append((record.key.decode(), json.loads(record.value)["total"]))
        if len(found) == count:
            break
    partition = TopicPartition("invoices", 0)
    assert consumer.end_offsets([partition]) == {partition: count}
    consumer.close()
    return found


def test_each_order_gets_an_invoice(kafka, service, order):
    order("ann", 2.5)
    order("bob", 4.0)
    assert read_invoices(kafka, 2) == [("ann", 5.0), ("bob", 8.0)]


def test_invoice_is_written_once_although_the_answer_is_lost(kafka, service, order):
    with kafka.faults(api="Produce", topic="invoices", drop=True, when="after", times=1) as fault:
        order("ann", 2.5)
        fault.wait()
    order("bob", 4.0)
    assert read_invoices(kafka, 2) == [("ann", 5.0), ("bob", 8.0)]


def test_service_goes_on_although_its_coordinator_has_moved(kafka, service, order):
    with kafka.faults(api="OffsetCommit", group="invoices", error="NOT_COORDINATOR", times=1) as fault:
        order("ann", 2.5)
        fault.wait()
    order("bob", 4.0)
    assert read_invoices(kafka, 2) == [("ann", 5.0), ("bob", 8.0)]


def test_service_goes_on_after_a_rebalance(kafka, service, order):
    order("ann", 2.5)
    assert read_invoices(kafka, 1) == [("ann", 5.0)]
    kafka.faults.rebalance("invoices")
    order("bob", 4.0)
    assert read_invoices(kafka, 2) == [("ann", 5.0), ("bob", 8.0)]

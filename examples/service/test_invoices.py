"""An integration test of the service: a broker of its own on a free port, for all tests of this file.

pytest examples/service
"""

import json
import subprocess
import sys

import pytest
from invoices import InvoiceService
from kafka import KafkaConsumer, KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic


@pytest.fixture(scope="module")
def bootstrap():
    command = [sys.executable, "-m", "pykbroker", "start", "--ephemeral", "--port", "0"]
    command += ["--set", "group.initial.rebalance.delay.ms=0"]  # groups form at once
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as broker:
        for line in broker.stdout:
            if "accepts clients on " in line:
                yield line.split()[-1]
                break
        broker.terminate()


@pytest.fixture
def service(bootstrap):
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=1) for name in ("orders", "invoices")])
    admin.close()
    service = InvoiceService(bootstrap)
    service.start()
    yield service
    service.stop()


def test_each_order_gets_an_invoice(bootstrap, service):
    with KafkaProducer(bootstrap_servers=bootstrap) as producer:
        for customer, price in (("ann", 2.5), ("bob", 4.0)):
            order = json.dumps([{"price": price, "count": 2}])
            producer.send("orders", key=customer.encode(), value=order.encode())

    consumer = KafkaConsumer(
        "invoices", bootstrap_servers=bootstrap, auto_offset_reset="earliest", consumer_timeout_ms=30_000
    )
    found = {}
    for record in consumer:
        found[record.key.decode()] = json.loads(record.value)
        if len(found) == 2:
            break
    consumer.close()
    assert found == {"ann": {"total": 5.0}, "bob": {"total": 8.0}}

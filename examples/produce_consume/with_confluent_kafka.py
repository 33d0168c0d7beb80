"""Produce ten records and consume them with confluent-kafka.   python with_confluent_kafka.py [HOST:PORT]"""

import sys

from confluent_kafka import Consumer, Producer

bootstrap = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
topic = "greetings-of-confluent-kafka"

producer = Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": "zstd"})
for number in range(10):
    producer.produce(topic, f"hello {number}".encode())
assert producer.flush(30) == 0

consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "readers", "auto.offset.reset": "earliest"})
consumer.subscribe([topic])
for number in range(10):
    record = consumer.poll(30)
    assert record is not None
    assert record.error() is None
    print(f"{record.topic()}/{record.partition()}/{record.offset()} {record.value().decode()}")
    assert record.value() == f"hello {number}".encode()
consumer.close()

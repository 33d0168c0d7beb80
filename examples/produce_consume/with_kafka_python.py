"""Produce ten records and consume them with kafka-python.   python with_kafka_python.py [HOST:PORT]"""

import sys

from kafka import KafkaConsumer, KafkaProducer

bootstrap = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
topic = "greetings-of-kafka-python"

with KafkaProducer(bootstrap_servers=bootstrap, acks="all", compression_type="gzip") as producer:
    for number in range(10):
        producer.send(topic, key=b"greeting", value=f"hello {number}".encode())
    producer.flush()

consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id="readers", auto_offset_reset="earliest")
for number, record in zip(range(10), consumer, strict=False):
    print(f"{record.topic}/{record.partition}/{record.offset} {record.value.decode()}")
    assert record.value == f"hello {number}".encode()
consumer.close()

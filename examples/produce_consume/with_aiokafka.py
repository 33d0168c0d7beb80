"""Produce ten records and consume them with aiokafka.   python with_aiokafka.py [HOST:PORT]"""

import asyncio
import sys

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

bootstrap = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
topic = "greetings-of-aiokafka"


async def main() -> None:
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, enable_idempotence=True) as producer:
        for number in range(10):
            await producer.send_and_wait(topic, f"hello {number}".encode())

    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id="readers", auto_offset_reset="earliest")
    async with consumer:
        for number in range(10):
            record = await consumer.getone()
            print(f"{record.topic}/{record.partition}/{record.offset} {record.value.decode()}")
            assert record.value == f"hello {number}".encode()


asyncio.run(main())

"""Copy a topic exactly once: what is written and how far was read are committed together, or not at all.

python exactly_once_copy.py [HOST:PORT]

The first copy of every batch is aborted on purpose, as if the program had crashed. A reader of committed records sees
each of them once.
"""

import sys

from confluent_kafka import Consumer, Message, Producer
from confluent_kafka.admin import AdminClient, NewTopic

bootstrap = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9092"
RECORDS, BATCH = 100, 20
SOURCE, COPY = "orders", "orders-copy"


def main() -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for created in admin.create_topics([NewTopic(SOURCE, 1), NewTopic(COPY, 1)]).values():
        created.result()
    producer = Producer({"bootstrap.servers": bootstrap})
    for number in range(RECORDS):
        producer.produce(SOURCE, f"order {number}".encode())
    producer.flush()

    copy()

    values = [record.value().decode() for record in read(new_consumer("checker", COPY), RECORDS)]
    assert values == [f"order {number}" for number in range(RECORDS)]
    print(f"{len(values)} orders were copied, each once")


def copy() -> None:
    consumer = new_consumer("copier", SOURCE)
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "copier-1"})
    producer.init_transactions()
    for _ in range(RECORDS // BATCH):
        batch = read(consumer, BATCH)
        for is_first_attempt in (True, False):
            producer.begin_transaction()
            for record in batch:
                producer.produce(COPY, record.value())
            if is_first_attempt:
                producer.flush()
                producer.abort_transaction()
            else:
                positions = consumer.position(consumer.assignment())
                producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
                producer.commit_transaction()
    consumer.close()


def new_consumer(group: str, topic: str) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([topic])
    return consumer


def read(consumer: Consumer, count: int) -> list[Message]:
    records = consumer.consume(count, timeout=30)
    assert len(records) == count
    assert all(record.error() is None for record in records)
    return records


main()

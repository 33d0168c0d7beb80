"""A small program that its users test: orders come in, and are moved to what is shipped in one transaction."""

from confluent_kafka import Consumer, KafkaException, Producer


class Refused(Exception):
    """An order was not taken; the text says why."""


def place(bootstrap: str, topic: str, order: bytes) -> int:
    """Return the number that the order was given. Raises: Refused."""
    outcomes = []
    settings = {"bootstrap.servers": bootstrap, "client.id": "orders", "enable.idempotence": True}
    producer = Producer(settings)
    producer.produce(topic, order, on_delivery=lambda error, record: outcomes.append((error, record)))
    producer.flush(20)
    ((error, record),) = outcomes
    if error is not None:
        raise Refused(error.name())
    return record.offset()


def ship(bootstrap: str, orders: str, shipped: str, count: int) -> bool:
    """Move the next orders to what is shipped, all or none; return whether that worked."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "shipping",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": "shipping"})
    producer.init_transactions(20)
    consumer.subscribe([orders])
    producer.begin_transaction()
    try:
        for _ in range(count):
            producer.produce(shipped, consumer.poll(20).value())
        offsets = consumer.position(consumer.assignment())
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 20)
        producer.commit_transaction(20)
    except KafkaException:
        producer.abort_transaction(20)
        return False
    finally:
        consumer.close()
    return True

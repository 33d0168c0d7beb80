"""A small program that its users test: orders come in, what was shipped goes out."""

from kafka import KafkaConsumer, KafkaProducer


class Orders:
    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", client_id="orders")

    def place(self, order: bytes) -> int:
        """Return the number that the order was given."""
        return self._producer.send(self._topic, order).get(timeout=20).offset

    def close(self) -> None:
        self._producer.close()


def ship(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """Ship the next orders that nobody has shipped yet."""
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id="shipping",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_poll_records=count,
    )
    shipped: list[bytes] = []
    while len(shipped) < count:
        shipped += [record.value for records in consumer.poll(timeout_ms=500).values() for record in records]
    consumer.commit()
    consumer.close()
    return shipped

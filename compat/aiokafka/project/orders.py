"""A small program that its users test: orders come in, what was shipped goes out. It is asynchronous."""

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def place(bootstrap: str, topic: str, *orders: bytes) -> list[int]:
    """Return the numbers that the orders were given."""
    async with AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", client_id="orders") as producer:
        return [(await producer.send_and_wait(topic, order)).offset for order in orders]


async def ship(bootstrap: str, topic: str, count: int) -> list[bytes]:
    """Ship the next orders that nobody has shipped yet."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id="shipping",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    async with consumer:
        shipped = [(await consumer.getone()).value for _ in range(count)]
        await consumer.commit()
        return shipped

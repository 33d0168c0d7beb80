"""A small Kafka client over `wire`: what the command line uses, and what one reads to learn how clients work.

    async with Client("127.0.0.1:9092") as client:
        await create_topic(client, NewTopic("t", partitions=3))     topics
        async with Producer(client) as producer:                   producer
            await producer.send("t", b"value", key=b"key")
        positions = await offsets.list_offsets(...)                 offsets
        async with Consumer(client, positions) as consumer:         consumer
            async for record in consumer: ...

Read `connection` (versions), `client` (who is asked, and when again), then the parts in any order. Works with any Kafka
from 2.1 on.
"""

from pykbroker.client.client import Client, CoordinatorType, Lane
from pykbroker.client.connection import Question
from pykbroker.client.errors import NoBrokerError, NotServedError
from pykbroker.client.settings import ClientSettings

__all__ = ["Client", "ClientSettings", "CoordinatorType", "Lane", "NoBrokerError", "NotServedError", "Question"]

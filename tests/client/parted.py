"""Two brokers that are cut off from one another, so that each has records that the other one lacks."""

import contextlib
from collections.abc import AsyncIterator

import anyio
import attrs

from pykbroker.client import Client
from pykbroker.client.producer import Producer
from pykbroker.embedded import AsyncCluster
from pykbroker.topic_partition import TopicPartition
from tests.client.support import QUICK
from tests.support.partitions import set_partition
from tests.support.running import DEADLINE_S


@attrs.define(eq=False)
class Parted:
    """A topic t with a replica on each."""

    kafka: AsyncCluster
    leader: int
    other: int

    @classmethod
    @contextlib.asynccontextmanager
    async def soon(cls) -> AsyncIterator["Parted"]:
        """They are not yet."""
        # What groups commit is not to wait for the other broker.
        properties = {"offsets.topic.replication.factor": 1}
        with anyio.fail_after(DEADLINE_S):
            async with AsyncCluster(brokers=2, properties=properties) as kafka:
                await kafka.create_topic("t")
                async with Client(kafka.bootstrap) as client:
                    leader = await client.leader_of(TopicPartition("t", 0))
                yield cls(kafka, leader, 3 - leader)

    @classmethod
    @contextlib.asynccontextmanager
    async def logs(cls) -> AsyncIterator["Parted"]:
        """Both have a record, and only the leader has two more."""
        async with cls.soon() as parted:
            await parted.produce(b"0")
            await parted.part()
            await parted.produce(b"1")
            await parted.produce(b"2")
            yield parted

    async def part(self) -> None:
        await self.kafka.faults.partition([1], [2])
        await self.be_led_by(self.leader)

    async def be_led_by(self, leader: int) -> None:
        """Do what an unclean election would."""
        await self.kafka.faults.propose(
            lambda image: set_partition(image, "t", leader=leader, isr=(leader,), new_leader_epoch=True)
        )

    async def elect_other(self) -> None:
        """Have the one lead that lacks records, and write another one there."""
        await self.be_led_by(self.other)
        await self.produce(b"another")

    async def produce(self, value: bytes) -> None:
        async with Client(self.kafka.bootstrap, settings=QUICK) as client:
            await produce(client, value)


async def produce(client: Client, value: bytes) -> None:
    async with Producer(client) as producer:
        await producer.send("t", value)

"""Members of a group share its partitions, and go on where the last one stopped."""

from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykbroker.client import Client, groups, offsets
from pykbroker.client.member import GroupConsumer, range_assignment
from pykbroker.client.producer import Producer
from pykbroker.topic_partition import TopicPartition
from tests.client.support import QUICK, create
from tests.support.running import DEADLINE_S, running

pytestmark = pytest.mark.anyio
AT_ONCE = {"group_initial_rebalance_delay_ms": "0"}


async def produce(client: Client, *values: bytes, partition: int = 0) -> None:
    async with Producer(client) as producer:
        for value in values:
            await producer.send("t", value, partition=partition)


async def test_new_member_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    async with running(tmp_path, **AT_ONCE) as broker, Client(broker.bootstrap, settings=QUICK) as client:
        await create(client, "t")
        for value in (b"first", b"second"):
            await produce(client, value)
            async with GroupConsumer(client, "g", ["t"]) as member:
                assert [record.value for record in await member.poll()] == [value]
        assert (await groups.describe_group(client, "g")).is_empty


async def test_group_without_offsets_begins_where_it_is_told(tmp_path: Path) -> None:
    async with running(tmp_path, **AT_ONCE) as broker, Client(broker.bootstrap, settings=QUICK) as client:
        await create(client, "t")
        await produce(client, b"before")
        async with GroupConsumer(client, "g", ["t"], auto_offset_reset=offsets.END) as member:
            with anyio.fail_after(DEADLINE_S):
                while not member.assignment:
                    await anyio.sleep(0.01)
            await produce(client, b"after")
            assert [record.value for record in await member.poll()] == [b"after"]


async def test_what_the_caller_is_busy_with_is_not_committed(tmp_path: Path) -> None:
    tp = TopicPartition("t", 0)
    async with running(tmp_path, **AT_ONCE) as broker, Client(broker.bootstrap, settings=QUICK) as client:
        await create(client, "t")
        await produce(client, b"first")
        async with GroupConsumer(client, "g", ["t"]) as member:
            await member.poll()
            await member.commit()
            assert await groups.committed_offsets(client, "g") == {}
            await produce(client, b"second")
            await member.poll()  # so the first is done with
            await member.commit()
            assert await groups.committed_offsets(client, "g") == {tp: groups.CommittedOffset(1)}


async def test_second_member_takes_its_share_and_gives_it_back(tmp_path: Path) -> None:
    async with (
        running(tmp_path, **AT_ONCE) as broker,
        Client(broker.bootstrap, settings=QUICK) as client,
        Client(broker.bootstrap, settings=QUICK) as other,
    ):
        await create(client, "t", 2)

        async def until_assigned(member: GroupConsumer, count: int) -> None:
            with anyio.fail_after(DEADLINE_S):
                while len(member.assignment) != count:
                    await anyio.sleep(0.01)

        async with GroupConsumer(client, "g", ["t"]) as first:
            await until_assigned(first, 2)
            async with GroupConsumer(other, "g", ["t"]) as second:
                await until_assigned(second, 1)
                await until_assigned(first, 1)
                assert {*first.assignment, *second.assignment} == {TopicPartition("t", 0), TopicPartition("t", 1)}
                for partition in (0, 1):
                    await produce(client, b"%d" % partition, partition=partition)
                got = [*await first.poll(), *await second.poll()]
                assert sorted(record.value or b"" for record in got) == [b"0", b"1"]
            await until_assigned(first, 2)


@given(
    st.dictionaries(st.sampled_from("abcde"), st.lists(st.sampled_from("xyz"), unique=True), min_size=1),
    st.dictionaries(st.sampled_from("xyz"), st.integers(0, 7)),
)
def test_assignment_gives_everything_to_one_and_evenly(
    members: dict[str, list[str]], partitions: dict[str, int]
) -> None:
    assigned = range_assignment(members, partitions)
    assert set(assigned) == set(members)
    everything = sorted(tp for tps in assigned.values() for tp in tps)
    subscribed = {topic for topics in members.values() for topic in topics}
    assert everything == [
        TopicPartition(topic, index)
        for topic, count in sorted(partitions.items())
        if topic in subscribed
        for index in range(count)
    ]
    for topic in partitions:
        sizes = [
            sum(tp.topic == topic for tp in assigned[member]) for member in sorted(members) if topic in members[member]
        ]
        assert sizes == sorted(sizes, reverse=True)
        assert not sizes or sizes[0] - sizes[-1] <= 1

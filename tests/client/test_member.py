"""Members of a group share its partitions, and go on where the last one stopped."""

from pathlib import Path

import anyio
import anyio.lowlevel
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykbroker.client import Client, groups, topics
from pykbroker.client.member import GroupConsumer, range_assignment
from pykbroker.client.producer import Producer
from pykbroker.client.settings import OffsetReset
from pykbroker.topic_partition import TopicPartition
from tests.client.support import QUICK, create
from tests.support.running import running, until

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
        async with GroupConsumer(client, "g", ["t"], auto_offset_reset=OffsetReset.LATEST) as member:
            await until(lambda: member.assignment)
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
            assert await groups.committed_offsets(client, "g") == {tp: groups.CommittedOffset(1, leader_epoch=0)}


async def test_second_member_takes_its_share_and_gives_it_back(tmp_path: Path) -> None:
    async with (
        running(tmp_path, **AT_ONCE) as broker,
        Client(broker.bootstrap, settings=QUICK) as client,
        Client(broker.bootstrap, settings=QUICK) as other,
    ):
        await create(client, "t", 2)

        async with GroupConsumer(client, "g", ["t"]) as first:
            await until(lambda: len(first.assignment) == 2)
            async with GroupConsumer(other, "g", ["t"]) as second:
                await until(lambda: len(second.assignment) == 1)
                await until(lambda: len(first.assignment) == 1)
                assert {*first.assignment, *second.assignment} == {TopicPartition("t", 0), TopicPartition("t", 1)}
                for partition in (0, 1):
                    await produce(client, b"%d" % partition, partition=partition)
                got = [*await first.poll(), *await second.poll()]
                assert sorted(record.value or b"" for record in got) == [b"0", b"1"]
            await until(lambda: len(first.assignment) == 2)


async def test_records_that_were_not_taken_are_not_committed(tmp_path: Path) -> None:
    """All of them come in one batch; where the body fails, that of the last record is not known to be done with."""
    tp = TopicPartition("t", 0)
    async with running(tmp_path, **AT_ONCE) as broker, Client(broker.bootstrap, settings=QUICK) as client:
        await create(client, "t")
        await produce(client, b"0", b"1", b"2", b"3", b"4")

        async def fail_at(value: bytes) -> None:
            async with GroupConsumer(client, "g", ["t"]) as member:
                async for record in member:
                    if record.value == value:
                        raise ZeroDivisionError

        async with GroupConsumer(client, "g", ["t"]) as member:
            async for record in member:
                if record.value == b"1":
                    break
        assert await groups.committed_offsets(client, "g") == {tp: groups.CommittedOffset(2, leader_epoch=0)}

        with pytest.raises(ZeroDivisionError):
            await fail_at(b"3")
        assert await groups.committed_offsets(client, "g") == {tp: groups.CommittedOffset(3, leader_epoch=0)}

        async with GroupConsumer(client, "g", ["t"]) as member:
            assert [record.value for record in await member.poll(max_records=1)] == [b"3"]
            assert [record.value for record in await member.poll(max_records=9)] == [b"4"]
        assert await groups.committed_offsets(client, "g") == {tp: groups.CommittedOffset(5, leader_epoch=0)}


async def test_what_was_taken_in_one_generation_is_not_committed_in_the_next(tmp_path: Path) -> None:
    """The caller comes back while the members join, held up by one of them that sends no heartbeats."""
    silent = attrs.evolve(QUICK, heartbeat_interval_ms=60_000)
    enough = anyio.Event()
    async with (
        running(tmp_path, **AT_ONCE) as broker,
        Client(broker.bootstrap, settings=QUICK) as client,
        Client(broker.bootstrap, settings=silent) as silent_client,
        Client(broker.bootstrap, settings=QUICK) as other_client,
        anyio.create_task_group() as tasks,
    ):
        await create(client, "t", 2)
        for partition in (0, 1):
            await produce(client, b"0", b"1", partition=partition)

        async def be_silent() -> None:
            async with GroupConsumer(silent_client, "g", ["t"]):
                await enough.wait()

        async with GroupConsumer(client, "g", ["t"]) as member:
            await until(lambda: len(member.assignment) == 2)
            tasks.start_soon(be_silent)
            await until(lambda: len(member.assignment) == 1)
            assert len(await member.poll(max_records=1)) == 1
            async with GroupConsumer(other_client, "g", ["t"]):
                await until(lambda: not member.assignment)
                with anyio.move_on_after(0):
                    await member.poll()
                enough.set()
                await until(lambda: member.assignment)
                await member.commit()
                assert await groups.committed_offsets(client, "g") == {}


async def test_topics_that_come_or_grow_are_assigned_to_those_who_wait_for_them(tmp_path: Path) -> None:
    settings = attrs.evolve(QUICK, metadata_max_age_ms=0)
    async with (
        running(tmp_path, **AT_ONCE) as broker,
        Client(broker.bootstrap, settings=settings) as client,
        Client(broker.bootstrap) as admin,
        GroupConsumer(client, "g", ["t"]) as member,
    ):
        while not any(group.state == "Stable" for group in await groups.list_groups(admin)):
            await anyio.lowlevel.checkpoint()
        await create(admin, "t")
        await until(lambda: len(member.assignment) == 1)
        assert await topics.create_partitions(admin, {"t": 2}) == {"t": None}
        await until(lambda: len(member.assignment) == 2)


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

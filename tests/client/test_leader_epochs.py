"""Leaders that were elected without what a consumer has read: it goes back to where the logs part (KIP-320).

Both brokers are cut off from one another, so that each log has records that the other one lacks.
"""

import attrs
import pytest

from pykbroker.client import Client, groups
from pykbroker.client.consumer import Consumer
from pykbroker.client.member import GroupConsumer
from pykbroker.client.metadata import PartitionMetadata, TopicMetadata, newest
from pykbroker.client.settings import OffsetReset
from pykbroker.client.topics import delete_topics
from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition
from tests.client.parted import Parted, produce
from tests.client.support import KAFKA_2_6, QUICK, OldBroker, Rerouted, create, one_broker
from wire.errors import ErrorCode

pytestmark = pytest.mark.anyio
TP = TopicPartition("t", 0)
TRUNCATED = "t-0: what was read from offset 1 to 3 was truncated; going on at 1"


async def values(consumer: Consumer | GroupConsumer, count: int) -> list[bytes | None]:
    return [(await anext(consumer)).value for _ in range(count)]


async def test_consumer_goes_back_to_where_the_logs_part() -> None:
    notices: list[str] = []
    async with (
        Parted.logs() as parted,
        Client(parted.kafka.bootstrap, settings=QUICK) as client,
        Consumer(client, {TP: 0}, on_notice=notices.append) as consumer,
    ):
        assert await values(consumer, 3) == [b"0", b"1", b"2"]
        epoch = consumer.leader_epochs[TP]
        await parted.elect_other()
        assert await values(consumer, 1) == [b"another"]
        assert notices == [TRUNCATED]
        assert consumer.positions == {TP: 2}
        assert consumer.leader_epochs[TP] > epoch


async def test_consumer_does_not_go_ahead_to_where_an_epoch_of_the_leader_ends() -> None:
    """The one that lacked records has led; what it wrote is not in the log of the other one, which is longer."""
    notices: list[str] = []
    async with Parted.logs() as parted, Client(parted.kafka.bootstrap, settings=QUICK) as client:
        await parted.elect_other()
        async with Consumer(client, {TP: 0}, on_notice=notices.append) as consumer:
            assert await values(consumer, 2) == [b"0", b"another"]
            await parted.be_led_by(parted.leader)
            await parted.produce(b"new")
            assert await values(consumer, 2) == [b"2", b"new"]
        assert notices == []


async def test_new_leader_is_asked_where_it_does_not_say_so_itself() -> None:
    notices: list[str] = []
    async with (
        Parted.logs() as parted,
        OldBroker.before(parted.kafka.broker(1), KAFKA_2_6) as one,
        OldBroker.before(parted.kafka.broker(2), KAFKA_2_6) as two,
    ):
        network = Rerouted({old.broker.addresses[0]: old.address for old in (one, two)})
        async with (
            Client(parted.kafka.bootstrap, settings=QUICK, network=network) as client,
            Consumer(client, {TP: 0}, on_notice=notices.append) as consumer,
        ):
            assert await values(consumer, 3) == [b"0", b"1", b"2"]
            await parted.elect_other()
            assert await values(consumer, 1) == [b"another"]
            assert notices == [TRUNCATED]
            await parted.kafka.faults.move_leader("t")  # the same leader under a new epoch: nothing is lost
            await produce(client, b"more")
            assert await values(consumer, 1) == [b"more"]
            assert notices == [TRUNCATED]


async def test_truncation_is_an_error_where_offsets_are_not_to_be_reset() -> None:
    async with (
        Parted.logs() as parted,
        Client(parted.kafka.bootstrap, settings=QUICK) as client,
        Consumer(client, {TP: 0}, auto_offset_reset=OffsetReset.NONE) as consumer,
    ):
        assert await values(consumer, 3) == [b"0", b"1", b"2"]
        await parted.elect_other()
        with pytest.raises(KafkaError, match=r"t-0: .* was truncated, and auto\.offset\.reset is none") as raised:
            await values(consumer, 1)
        assert raised.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


async def test_end_that_was_truncated_is_not_waited_for() -> None:
    one_by_one = attrs.evolve(QUICK, max_partition_fetch_bytes=1)
    async with (
        Parted.logs() as parted,
        Client(parted.kafka.bootstrap, settings=one_by_one) as client,
        Consumer(client, {TP: 0}, until={TP: 3}) as consumer,
    ):
        assert await values(consumer, 1) == [b"0"]
        await parted.elect_other()
        rest = [record.value async for record in consumer]
        assert rest[-1] == b"another"  # before it, what was fetched already
        assert consumer.positions == {TP: 2}


async def test_member_that_starts_from_a_committed_offset_finds_out() -> None:
    notices: list[str] = []
    async with Parted.logs() as parted, Client(parted.kafka.bootstrap, settings=QUICK) as client:
        async with GroupConsumer(client, "g", ["t"]) as member:
            assert await values(member, 3) == [b"0", b"1", b"2"]
        committed = (await groups.committed_offsets(client, "g"))[TP]
        assert committed.offset == 3
        await parted.elect_other()
        async with GroupConsumer(client, "g", ["t"], on_notice=notices.append) as member:
            assert await values(member, 1) == [b"another"]
        assert notices == [TRUNCATED]
        after = (await groups.committed_offsets(client, "g"))[TP]
        assert after.offset == 2
        assert after.leader_epoch > committed.leader_epoch


@pytest.mark.parametrize("records", [1, 3])
@pytest.mark.parametrize("has_other_epochs", [True, False])
async def test_offset_of_a_topic_that_was_made_anew_is_none_of_the_new_one(
    *, has_other_epochs: bool, records: int
) -> None:
    """Where there is such an offset, the record before it is another one."""
    notices: list[str] = []
    async with (
        one_broker() as kafka,
        Client(kafka.bootstrap, settings=QUICK) as client,
        Client(kafka.bootstrap, settings=QUICK) as other,
    ):
        await kafka.create_topic("t")
        if has_other_epochs:
            await kafka.faults.move_leader("t")
        for _ in range(records):
            await produce(other, b"old")
        async with Consumer(client, {TP: 0}, on_notice=notices.append) as consumer:
            assert await values(consumer, records) == [b"old"] * records
            assert await delete_topics(other, ["t"]) == {"t": None}
            await create(other, "t")
            await produce(other, b"0")
            await produce(other, b"1")
            assert await values(consumer, 2) == [b"0", b"1"]
        assert notices == [f"t-0: offset {records} is of another log; going on at 0"]


async def test_records_of_a_topic_that_was_made_anew_are_not_taken_for_those_that_follow() -> None:
    """Both logs have the offset of the fetch that is on its way, in the same epoch."""
    notices: list[str] = []
    async with (
        one_broker() as kafka,
        Client(kafka.bootstrap, settings=attrs.evolve(QUICK, client_id="slow")) as client,
        Client(kafka.bootstrap, settings=QUICK) as other,
    ):
        await kafka.create_topic("t")
        for _ in range(2):
            await produce(other, b"old")
        async with Consumer(client, {TP: 0}, on_notice=notices.append) as consumer:
            with kafka.faults(api="Fetch", client_id="slow", freeze=True, skip=1) as fault:
                assert await values(consumer, 2) == [b"old", b"old"]
                await fault.wait()
                assert await delete_topics(other, ["t"]) == {"t": None}
                await create(other, "t")
                for number in range(3):
                    await produce(other, b"%d" % number)
            assert await values(consumer, 3) == [b"0", b"1", b"2"]
        assert notices == ["t-0: offset 2 is of another log; going on at 0"]


async def test_topic_of_which_an_older_broker_tells_no_id_is_not_one_that_was_made_anew() -> None:
    """As while a cluster is upgraded: the client comes to the older broker when it has lost its connections."""
    notices: list[str] = []
    async with one_broker() as kafka, OldBroker.before(kafka.broker(), KAFKA_2_6) as old:
        (address,) = kafka.broker().addresses
        addresses = {address: address}
        settings = attrs.evolve(QUICK, client_id="mixed")
        async with (
            Client(kafka.bootstrap, settings=settings, network=Rerouted(addresses)) as client,
            Client(kafka.bootstrap, settings=QUICK) as other,
        ):
            await kafka.create_topic("t")
            await produce(other, b"0")
            async with Consumer(client, {TP: 0}, on_notice=notices.append) as consumer:
                assert await values(consumer, 1) == [b"0"]
                addresses[address] = old.address
                with kafka.faults(client_id="mixed", drop=True) as fault:
                    await fault.wait(2)  # a fetch, and the look for the leader
                await produce(other, b"1")
                assert await values(consumer, 1) == [b"1"]
        assert notices == []
        assert (3, 9) in old.used


def topic_of(topic_id: int, *epochs: int) -> TopicMetadata:
    partitions = [PartitionMetadata(index, epoch, epoch, (), (), ()) for index, epoch in enumerate(epochs)]
    return TopicMetadata("t", ErrorCode.NONE, topic_id.to_bytes(16), partitions=tuple(partitions))


def test_broker_that_is_behind_does_not_lead_back_to_leaders_of_before() -> None:
    assert newest(topic_of(1, 5, 5), topic_of(1, 6, 4, 0)) == topic_of(1, 6, 5, 0)


def test_topic_that_was_made_anew_or_may_have_been_begins_with_epochs_from_0() -> None:
    assert newest(topic_of(1, 5), topic_of(2, 0)) == topic_of(2, 0)
    assert newest(topic_of(0, 5), topic_of(0, 0)) == topic_of(0, 0)

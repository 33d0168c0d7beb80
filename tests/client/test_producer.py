"""Producing: where records go, what comes back, and what happens to a batch whose answer is lost."""

from pathlib import Path

import anyio
import pytest

from pykbroker.client import Client, ClientSettings, offsets
from pykbroker.client.consumer import Consumer
from pykbroker.client.fetched import ConsumedRecord
from pykbroker.client.partitioner import partition_of_key
from pykbroker.client.producer import NOT_KNOWN, Producer
from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition
from tests.client.parted import Parted
from tests.client.support import QUICK, Via, create
from tests.support.client import partition_of
from tests.support.proxy import Fate, Proxy
from tests.support.running import running, until
from wire.compression import Codec
from wire.errors import ErrorCode

pytestmark = pytest.mark.anyio
TP = TopicPartition("t", 0)


async def read(client: Client, *partitions: TopicPartition) -> list[ConsumedRecord]:
    starts, ends = await offsets.beginnings(client, partitions), await offsets.ends(client, partitions)
    async with Consumer(client, starts, until=ends) as consumer:
        return [record async for record in consumer]


async def test_record_is_stored_with_all_that_it_was_given(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t")
        async with Producer(client) as producer:
            await producer.send("t", None, key=b"k", headers=[("h", b"1"), ("h", None)], timestamp=123)
        (record,) = await read(client, TP)
        assert (record.key, record.value, record.timestamp) == (b"k", None, 123)
        assert record.headers == (("h", b"1"), ("h", None))


async def test_key_decides_the_partition(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t", 5)
        async with Producer(client) as producer:
            keys = [b"%d" % number for number in range(20)]
            sent = [await producer.send("t", b"", key=key) for key in keys]
        assert [each.tp.partition for each in sent] == [partition_of_key(key, 5) for key in keys]
        assert all(each.offset >= 0 for each in sent)


async def test_records_without_keys_take_turns_by_batch(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t", 2)
        producer = Producer(client)
        went = []
        for _ in range(4):
            went.append([(await producer.send("t", b"")).tp.partition for _ in range(3)])
            await producer.flush()
        assert went == [[0] * 3, [1] * 3, [0] * 3, [1] * 3]


@pytest.mark.parametrize("codec", list(Codec), ids=lambda codec: codec.name)
async def test_batches_are_compressed_as_asked(tmp_path: Path, codec: Codec) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t")
        async with Producer(client, codec=codec) as producer:
            for _ in range(10):
                await producer.send("t", bytes(1000))
        records = await read(client, TP)
        assert [record.value for record in records] == [bytes(1000)] * 10
        assert {record.attributes & 7 for record in records} == {codec}


async def test_full_batch_is_sent_before_the_flush(tmp_path: Path) -> None:
    settings = ClientSettings(batch_size=1000)
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=settings) as client:
        await create(client, "t")
        producer = Producer(client)
        sent = [await producer.send("t", bytes(400)) for _ in range(3)]
        assert [each.offset for each in sent] == [0, 1, NOT_KNOWN]
        await producer.flush()
        assert sent[2].offset == 2


async def test_headers_count_where_a_batch_is_full(tmp_path: Path) -> None:
    async with running(tmp_path, message_max_bytes="600000") as broker, Client(broker.bootstrap) as client:
        await create(client, "t")
        async with Producer(client) as producer:
            for _ in range(100):
                await producer.send("t", b"", headers=[("h", bytes(10_000))])
        assert len(await read(client, TP)) == 100
        with pytest.raises(KafkaError) as raised:
            await producer.send("t", b"", headers=[("h", bytes(client.settings.max_request_size))])
        assert raised.value.code is ErrorCode.MESSAGE_TOO_LARGE


async def test_tasks_that_flush_at_once_keep_the_order(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t")
        producer = Producer(client, is_idempotent=True)

        async def send_and_flush(value: bytes) -> None:
            await producer.send("t", value)
            await producer.flush()

        async with anyio.create_task_group() as tasks:
            for number in range(5):
                tasks.start_soon(send_and_flush, b"%d" % number)
        records = await read(client, TP)
        assert sorted(record.value or b"" for record in records) == [b"%d" % number for number in range(5)]
        assert len({record.producer_id for record in records}) == 1


async def test_without_acks_nothing_is_told_but_it_arrives(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t")
        async with Producer(client, acks=0) as producer:
            sent = await producer.send("t", b"value")
        assert sent.offset == NOT_KNOWN
        await until(lambda: partition_of(broker, "t").log.log_end_offset == 1)


async def test_topic_is_created_where_the_broker_does_that(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=QUICK) as client:
        async with Producer(client) as producer:
            sent = await producer.send("new", b"value")
        assert sent.offset == 0


async def test_topic_is_not_created_where_that_is_unwanted(tmp_path: Path) -> None:
    settings = ClientSettings(retry_backoff_ms=1, unknown_topic_timeout_ms=10)
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=settings) as client:
        with pytest.raises(KafkaError) as raised:
            await Producer(client, allow_auto_topic_creation=False).send("new", b"value")
        assert raised.value.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


async def test_batch_that_is_refused_is_an_error_and_the_next_one_is_not(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t", max_message_bytes="200")
        producer = Producer(client, is_idempotent=True)
        await producer.send("t", bytes(1000))
        with pytest.raises(KafkaError, match="t-0") as raised:
            await producer.flush()
        assert raised.value.code is ErrorCode.MESSAGE_TOO_LARGE
        sent = await producer.send("t", b"small")
        await producer.flush()
        assert sent.offset == 0


@pytest.mark.parametrize("is_idempotent", [True, False])
async def test_batch_that_is_too_large_for_its_topic_goes_in_parts(tmp_path: Path, is_idempotent: bool) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t", max_message_bytes="200")
        producer = Producer(client, is_idempotent=is_idempotent)
        for _ in range(2):
            sent = [await producer.send("t", b"%60d" % number) for number in range(10)]
            await producer.flush()
        assert [each.offset for each in sent] == list(range(10, 20))
        values = [record.value for record in await read(client, TP)]
        assert values == [b"%60d" % number for number in range(10)] * 2


async def test_part_that_is_too_large_by_itself_is_an_error_and_the_parts_before_it_are_in(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t", max_message_bytes="200")
        producer = Producer(client, is_idempotent=True)
        sent = [await producer.send("t", value) for value in (b"0", b"1", bytes(1000), b"3")]
        with pytest.raises(KafkaError, match="t-0"):
            await producer.flush()
        assert [each.offset for each in sent] == [0, 1, -1, -1]


async def test_leader_that_lost_batches_is_sent_the_next_one_all_the_same() -> None:
    async with Parted.soon() as parted, Client(parted.kafka.bootstrap, settings=QUICK) as client:
        producer = Producer(client, is_idempotent=True)

        async def send(value: bytes) -> int:
            sent = await producer.send("t", value)
            await producer.flush()
            return sent.offset

        assert await send(b"0") == 0
        await parted.part()
        assert [await send(b"lost") for _ in range(2)] == [1, 2]
        await parted.be_led_by(parted.other)
        assert await send(b"1") == 1
        assert [record.value for record in await read(client, TP)] == [b"0", b"1"]


async def test_record_over_the_limit_is_refused_here(tmp_path: Path) -> None:
    settings = ClientSettings(max_request_size=100)
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=settings) as client:
        with pytest.raises(KafkaError) as raised:
            await Producer(client).send("t", bytes(100))
        assert raised.value.code is ErrorCode.MESSAGE_TOO_LARGE


@pytest.mark.parametrize(("is_idempotent", "copies"), [(True, 1), (False, 2)])
async def test_batch_whose_answer_is_lost_is_there_once_if_idempotent(
    tmp_path: Path, is_idempotent: bool, copies: int
) -> None:
    async with running(tmp_path) as broker, Proxy.to(*broker.addresses[0]) as proxy:
        async with Client([proxy.address], settings=QUICK, network=Via(proxy.address)) as client:
            await create(client, "t")
            producer = Producer(client, is_idempotent=is_idempotent)
            await producer.send("t", b"first")
            await producer.flush()
            lost = []

            def lose_the_answer(data: bytes) -> Fate:
                # Nothing else is asked: the first answer that comes is that to Produce.
                if lost or partition_of(broker, "t").log.log_end_offset < 2:
                    return Fate.PASS
                lost.append(data)
                return Fate.CUT

            proxy.on_answer = lose_the_answer
            sent = await producer.send("t", b"second")
            await producer.flush()
            assert lost
            assert sent.offset == (1 if is_idempotent else 2)
            values = [record.value for record in await read(client, TP)]
        assert values == [b"first", *[b"second"] * copies]


def test_idempotence_needs_acks_of_all() -> None:
    with pytest.raises(ValueError, match="acks=all"):
        Producer(Client("127.0.0.1:1"), acks=1, is_idempotent=True)

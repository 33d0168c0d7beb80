"""Consuming: from where to where, across leaders, without what was aborted or is gone."""

from collections.abc import Sequence
from pathlib import Path

import anyio
import attrs
import pytest

from pykbroker.client import Client, ClientSettings, CoordinatorType, Question, offsets
from pykbroker.client.client import check
from pykbroker.client.consumer import Consumer
from pykbroker.client.offsets import IsolationLevel, delete_records, list_offsets
from pykbroker.client.producer import Producer
from pykbroker.client.settings import OffsetReset
from pykbroker.client.topics import create_partitions
from pykbroker.errors import KafkaError
from pykbroker.topic_partition import TopicPartition
from tests.client.support import QUICK, create
from tests.support.client import partition_of
from tests.support.cluster import cluster_of
from tests.support.running import DEADLINE_S, running
from wire.compression import Codec
from wire.errors import ErrorCode, LimitError
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.messages.transactions import EndTxnRequest, InitProducerIdRequest
from wire.records import Record, build_batch

pytestmark = pytest.mark.anyio
TP = TopicPartition("t", 0)


async def produce(client: Client, *values: bytes, partition: int = 0) -> None:
    async with Producer(client) as producer:
        for value in values:
            await producer.send("t", value, partition=partition)


async def values_until_end(client: Client, start: int, end: int) -> list[bytes | None]:
    async with Consumer(client, {TP: start}, until={TP: end}) as consumer:
        return [record.value async for record in consumer]


async def test_records_between_two_offsets_are_read(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t")
        await produce(client, b"0", b"1", b"2", b"3")  # one batch: it is cut on both sides
        assert await values_until_end(client, 1, 3) == [b"1", b"2"]
        assert await values_until_end(client, 2, 2) == []


async def test_position_is_behind_what_was_taken(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t")
        await produce(client, b"0", b"1")
        async with Consumer(client, {TP: 0}) as consumer:
            assert consumer.positions == {TP: 0}
            assert len(await consumer.poll() or ()) == 2
            assert consumer.positions == {TP: 2}


async def test_consumer_follows_what_is_written(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t")
        async with Consumer(client, {TP: 0}) as consumer:
            for number in range(3):
                await produce(client, b"%d" % number)
                assert [record.value for record in await consumer.poll() or ()] == [b"%d" % number]


async def test_more_than_one_answer_holds_comes_in_order(tmp_path: Path) -> None:
    settings = ClientSettings(max_partition_fetch_bytes=1, batch_size=500)
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=settings) as client:
        await create(client, "t", 2)
        for partition in (0, 1):
            await produce(client, *(b"%d" % number for number in range(50)), partition=partition)
        tps = [TP, TopicPartition("t", 1)]
        async with Consumer(client, dict.fromkeys(tps, 0), until=dict.fromkeys(tps, 50)) as consumer:
            records = [record async for record in consumer]
        for tp in tps:
            assert [record.offset for record in records if record.partition == tp.partition] == list(range(50))


async def test_offset_before_the_log_goes_to_its_start(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=QUICK) as client:
        await create(client, "t")
        await produce(client, b"0", b"1")
        assert await delete_records(client, {TP: 1}) == {TP: 1}
        assert await values_until_end(client, 0, 2) == [b"1"]


async def test_offset_behind_the_log_goes_to_its_end(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=QUICK) as client:
        await create(client, "t")
        await produce(client, b"0")
        async with Consumer(client, {TP: 100}) as consumer:
            assert await consumer.poll() == []
            assert consumer.positions == {TP: 1}
            await produce(client, b"1")
            assert [record.value for record in await consumer.poll() or ()] == [b"1"]


@pytest.mark.parametrize(
    ("start", "reset", "first"),
    [
        (0, OffsetReset.EARLIEST, b"1"),
        (9, OffsetReset.EARLIEST, b"1"),
        (0, OffsetReset.LATEST, b"later"),
        (9, OffsetReset.LATEST, b"later"),
        (0, OffsetReset.NEAREST, b"1"),
        (9, OffsetReset.NEAREST, b"later"),
    ],
)
async def test_offset_that_is_out_of_range_is_reset_as_it_is_told(
    tmp_path: Path, start: int, reset: OffsetReset, first: bytes
) -> None:
    notices: list[str] = []
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=QUICK) as client:
        await create(client, "t")
        await produce(client, b"0", b"1", b"2")
        await delete_records(client, {TP: 1})
        async with Consumer(client, {TP: start}, auto_offset_reset=reset, on_notice=notices.append) as consumer:
            assert await consumer.poll() == []
            await produce(client, b"later")
            assert (await anext(consumer)).value == first
        assert notices == [f"t-0: offset {start} is out of range; going on at {1 if first == b'1' else 3}"]


async def test_offset_that_is_out_of_range_is_an_error_where_it_is_not_to_be_reset(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=QUICK) as client:
        await create(client, "t")
        async with Consumer(client, {TP: 9}, auto_offset_reset=OffsetReset.NONE) as consumer:
            with pytest.raises(KafkaError, match=r"offset 9 is out of range, and auto\.offset\.reset is none"):
                await consumer.poll()


async def test_consumer_goes_on_with_another_leader(tmp_path: Path) -> None:
    async with cluster_of(2, tmp_path) as cluster:
        await cluster.create_topic("t", [(1, 2)])
        async with (
            Client(cluster.brokers[2].bootstrap, settings=QUICK) as client,
            Consumer(client, {TP: 0}, until={TP: 3}) as consumer,
        ):
            await cluster.produce(1, "t", b"0")
            assert [record.value for record in await consumer.poll() or ()] == [b"0"]
            await cluster.elect("t", 2)
            await cluster.produce(2, "t", b"1")
            assert [record.value for record in await consumer.poll() or ()] == [b"1"]
            await cluster.stop(1)
            await cluster.produce(2, "t", b"2", acks=1)
            assert [record.value async for record in consumer] == [b"2"]


async def test_topic_that_is_deleted_is_an_error(tmp_path: Path) -> None:
    settings = ClientSettings(retry_backoff_ms=1, unknown_topic_timeout_ms=20)
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=settings) as client:
        with anyio.fail_after(DEADLINE_S), pytest.raises(KafkaError) as raised:
            async with Consumer(client, {TopicPartition("nope", 0): 0}) as consumer:
                await consumer.poll()
        assert raised.value.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


async def test_batch_whose_crc_is_wrong_is_an_error(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t")
        await produce(client, b"value")
        (segment,) = (tmp_path / "t-0").glob("*.log")
        data = bytearray(segment.read_bytes())
        data[-2] ^= 1
        segment.write_bytes(data)
        with pytest.raises(KafkaError) as raised:
            await values_until_end(client, 0, 1)
        assert raised.value.code is ErrorCode.CORRUPT_MESSAGE
        async with Consumer(client, {TP: 0}, until={TP: 1}, check_crcs=False) as consumer:
            assert len([record async for record in consumer]) == 1


async def test_time_leads_to_the_first_record_of_it_or_later(tmp_path: Path) -> None:
    async with running(tmp_path) as broker, Client(broker.bootstrap) as client:
        await create(client, "t")
        async with Producer(client) as producer:
            for timestamp in (1000, 2000, 3000):
                await producer.send("t", b"", timestamp=timestamp)
        for timestamp, expected in [(0, 0), (1001, 1), (2000, 1), (3000, 2), (3001, -1)]:
            assert await list_offsets(client, {TP: timestamp}) == {TP: expected}


class Transaction:
    """One transaction after another with one transactional id, by transactions version 2."""

    def __init__(self, client: Client, transactional_id: str) -> None:
        self._client = client
        self._id = transactional_id
        self._producer_id, self._epoch = -1, -1
        self._sequence = 0

    async def begin(self) -> None:
        self._go_on(await self._ask(InitProducerIdRequest(self._id, 60_000)))

    async def produce(self, value: bytes) -> None:
        batch = build_batch(
            [Record(value=value)],
            producer_id=self._producer_id,
            producer_epoch=self._epoch,
            base_sequence=self._sequence,
            is_transactional=True,
        )
        self._sequence += 1
        data = [TopicProduceData("t", partition_data=[PartitionProduceData(0, batch)])]
        request = ProduceRequest(self._id, -1, 10_000, data)

        async def attempt() -> None:
            answer = await self._client.ask_broker(await self._client.leader_of(TP), Question.of(request, 12))
            check(answer.responses[0].partition_responses[0].error_code)

        await self._client.retry(attempt)

    async def end(self, *, committed: bool) -> None:
        self._go_on(await self._ask(EndTxnRequest(self._id, self._producer_id, self._epoch, committed)))

    async def _ask(self, request: object) -> object:
        question = Question.of(request)
        return await self._client.ask_coordinator(
            CoordinatorType.TRANSACTION, self._id, question, lambda answer: check(answer.error_code)
        )

    def _go_on(self, answer: object) -> None:
        self._producer_id, self._epoch, self._sequence = answer.producer_id, answer.producer_epoch, 0  # type: ignore[attr-defined]


async def test_read_committed_leaves_out_what_was_aborted(tmp_path: Path) -> None:
    async with (
        running(tmp_path, transaction_state_log_num_partitions="1") as broker,
        Client(broker.bootstrap, settings=QUICK) as client,
    ):
        await create(client, "t")
        one, another = Transaction(client, "one"), Transaction(client, "another")
        await one.begin()
        await another.begin()
        await one.produce(b"aborted 0")
        await another.produce(b"committed 1")
        await produce(client, b"plain 2")
        await one.end(committed=False)  # its marker is 3
        await another.end(committed=True)  # 4
        await one.produce(b"committed 5")
        await one.end(committed=True)  # 6
        await another.produce(b"open 7")

        async def read(isolation: IsolationLevel) -> Sequence[bytes | None]:
            ends = await offsets.ends(client, [TP], isolation)
            async with Consumer(client, {TP: 0}, until=ends, isolation=isolation) as consumer:
                return [record.value async for record in consumer]

        assert partition_of(broker, "t").log.log_end_offset == 8
        committed = [b"committed 1", b"plain 2", b"committed 5"]
        assert await read(IsolationLevel.READ_COMMITTED) == committed
        everything = [b"aborted 0", *committed, b"open 7"]
        assert await read(IsolationLevel.READ_UNCOMMITTED) == everything


async def test_batch_that_decompresses_to_too_much_is_an_error_and_is_not_read(tmp_path: Path) -> None:
    settings = ClientSettings(max_decompressed_bytes=100_000)
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=settings) as client:
        await create(client, "t")
        async with Producer(client, codec=Codec.ZSTD) as producer:
            await producer.send("t", bytes(200_000), partition=0)
        async with Consumer(client, {TP: 0}) as consumer:
            with pytest.raises(LimitError):
                await consumer.poll()
            assert consumer.positions == {TP: 0}  # nobody has seen it


async def test_partitions_that_are_added_are_read_from_their_beginning(tmp_path: Path) -> None:
    settings = attrs.evolve(QUICK, metadata_max_age_ms=10)
    async with running(tmp_path) as broker, Client(broker.bootstrap, settings=settings) as client:
        await create(client, "t")
        async with Consumer(client, {TP: 0}, grows=True) as consumer, Client(broker.bootstrap) as other:
            assert await create_partitions(other, {"t": 2}) == {"t": None}
            await produce(other, b"value", partition=1)
            assert [record.value for record in await consumer.poll() or ()] == [b"value"]

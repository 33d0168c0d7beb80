"""Transactions on three real brokers: partitions of different leaders, and a coordinator that goes in the middle."""

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import anyio
import attrs
import pytest

from pykbroker.errors import KafkaError
from tests.support.client import Client, fetch_of, values_of
from tests.support.cluster import DEADLINE_S, POLL_INTERVAL_S, RunningCluster, cluster_of
from wire.errors import ErrorCode
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.messages.transactions import DescribeTransactionsRequest, EndTxnRequest, InitProducerIdRequest
from wire.records import Record, build_batch

COORDINATOR = 1
READ_COMMITTED, READ_UNCOMMITTED = 1, 0
TRY_AGAIN = (
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.CONCURRENT_TRANSACTIONS,
    ErrorCode.NOT_ENOUGH_REPLICAS,
    ErrorCode.NOT_LEADER_OR_FOLLOWER,
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[RunningCluster]:
    """Broker 1 coordinates as long as it runs."""
    async with cluster_of(3, tmp_path) as cluster:
        await cluster.create_topic(
            "__transaction_state", [(COORDINATOR, 2, 3)], cleanup_policy="compact", min_insync_replicas="2"
        )
        yield cluster


@attrs.define(eq=False)
class Producer:
    """A producer of transactions version 2: it writes, and the broker has the partition join the transaction."""

    cluster: RunningCluster
    transactional_id: str
    producer_id: int = -1
    producer_epoch: int = -1
    sequences: dict[int, int] = attrs.field(factory=dict)

    async def init(self) -> None:
        request = InitProducerIdRequest(transactional_id=self.transactional_id, transaction_timeout_ms=60_000)
        self._go_on(await self._ask_coordinator(request, 5))

    async def produce(self, index: int, value: bytes) -> None:
        sequence = self.sequences.get(index, 0)
        records = build_batch(
            [Record(value=value)],
            producer_id=self.producer_id,
            producer_epoch=self.producer_epoch,
            base_sequence=sequence,
            is_transactional=True,
        )
        request = ProduceRequest(
            transactional_id=self.transactional_id,
            acks=-1,
            timeout_ms=20_000,
            topic_data=[TopicProduceData("t", partition_data=[PartitionProduceData(index, records)])],
        )

        def code(answer: Any) -> int:
            error_code: int = answer.responses[0].partition_responses[0].error_code
            return error_code

        await self._ask("t", index, request, 12, code)
        self.sequences[index] = sequence + 1

    async def commit(self) -> None:
        request = EndTxnRequest(self.transactional_id, self.producer_id, self.producer_epoch, committed=True)
        self._go_on(await self._ask_coordinator(request, 5))

    async def state(self) -> str:
        answer = await self._ask(
            "__transaction_state",
            0,
            DescribeTransactionsRequest([self.transactional_id]),
            0,
            lambda answer: answer.transaction_states[0].error_code,
        )
        state: str = answer.transaction_states[0].transaction_state
        return state

    async def until_state(self, expected: str) -> None:
        with anyio.fail_after(DEADLINE_S):
            while await self.state() != expected:
                await anyio.sleep(POLL_INTERVAL_S)

    def _go_on(self, answer: Any) -> None:
        self.producer_id, self.producer_epoch = answer.producer_id, answer.producer_epoch
        self.sequences.clear()

    async def _ask_coordinator(self, request: object, version: int) -> Any:
        return await self._ask("__transaction_state", 0, request, version, lambda answer: answer.error_code)

    async def _ask(self, topic: str, index: int, request: object, version: int, code: Callable[[Any], int]) -> Any:
        """Ask the leader of a partition, whoever that is by then, until it has an answer."""
        with anyio.fail_after(DEADLINE_S):
            while True:
                for leader in leaders_of(self.cluster, topic, index):
                    async with Client.connect(self.cluster.brokers[leader]) as client:
                        answer = await client.ask(request, version)
                    if code(answer) not in TRY_AGAIN:
                        assert code(answer) == ErrorCode.NONE, answer
                        return answer
                await anyio.sleep(POLL_INTERVAL_S)


def leaders_of(cluster: RunningCluster, topic: str, index: int) -> list[int]:
    """Return who leads as far as it knows: nobody, while leadership is on its way."""
    leaders = []
    for node_id in cluster.brokers:
        with contextlib.suppress(KafkaError):
            if cluster.replica(node_id, topic, index).is_leader:
                leaders.append(node_id)
    return leaders


async def read(cluster: RunningCluster, indexes: Iterable[int], isolation_level: int) -> list[list[bytes | None]]:
    """Return the values of records in these partitions, without markers."""
    found = []
    for index in indexes:
        request = fetch_of("t", partition=index)
        request.isolation_level = isolation_level
        with anyio.fail_after(DEADLINE_S):
            while not leaders_of(cluster, "t", index):
                await anyio.sleep(POLL_INTERVAL_S)
        (leader,) = leaders_of(cluster, "t", index)
        async with Client.connect(cluster.brokers[leader]) as client:
            values = values_of(await client.ask(request, 12))
        found.append([value for value in values if value is not None and value.startswith(b"value")])
    return found


async def until_committed(cluster: RunningCluster, expected: list[list[bytes | None]]) -> None:
    with anyio.fail_after(DEADLINE_S):
        while await read(cluster, range(len(expected)), READ_COMMITTED) != expected:
            await anyio.sleep(POLL_INTERVAL_S)


@pytest.mark.anyio
async def test_transaction_over_partitions_of_three_leaders_commits(cluster: RunningCluster) -> None:
    await cluster.create_topic("t", [(1, 2, 3), (2, 3, 1), (3, 1, 2)])
    producer = Producer(cluster, "p")
    await producer.init()
    for index in range(3):
        await producer.produce(index, b"value %d" % index)
    written = [[b"value 0"], [b"value 1"], [b"value 2"]]
    assert await read(cluster, range(3), READ_UNCOMMITTED) == written
    assert await read(cluster, range(3), READ_COMMITTED) == [[], [], []]
    await producer.commit()
    await producer.until_state("CompleteCommit")
    await until_committed(cluster, written)


@pytest.mark.anyio
async def test_transaction_goes_on_with_another_coordinator(cluster: RunningCluster) -> None:
    await cluster.create_topic("t", [(1, 2, 3), (2, 3, 1), (3, 1, 2)])
    producer = Producer(cluster, "p")
    await producer.init()
    await producer.produce(0, b"value 0")
    await producer.produce(1, b"value 1")
    await cluster.stop(COORDINATOR)
    await producer.produce(2, b"value 2")
    await producer.commit()
    await producer.until_state("CompleteCommit")
    await until_committed(cluster, [[b"value 0"], [b"value 1"], [b"value 2"]])
    await producer.produce(1, b"value 3")  # and the next transaction begins
    await producer.commit()
    await until_committed(cluster, [[b"value 0"], [b"value 1", b"value 3"], [b"value 2"]])


@pytest.mark.anyio
async def test_decided_transaction_is_finished_by_another_coordinator(cluster: RunningCluster) -> None:
    await cluster.create_topic("t", [(3,), (2,)])
    producer = Producer(cluster, "p")
    await producer.init()
    await producer.produce(0, b"value 0")
    await producer.produce(1, b"value 1")
    await cluster.stop(2)  # nobody can write the marker of partition 1
    await producer.commit()
    assert await producer.state() == "PrepareCommit"
    await cluster.stop(COORDINATOR)
    await cluster.start(2)
    await producer.until_state("CompleteCommit")
    await until_committed(cluster, [[b"value 0"], [b"value 1"]])

"""Transactions whose partitions are led by two brokers: markers and questions travel between them."""

from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.cluster.image import BrokerImage, PartitionImage, TopicImage
from pykbroker.config import BrokerConfig
from pykbroker.topic_partition import TopicPartition
from pykbroker.transactions.other_brokers import OtherBrokers
from tests.handlers.rig import ANOTHER_BROKER, BROKER_ID, TOPIC_ID, Answered, HandlerRig, transaction_topic
from wire.errors import ErrorCode
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.messages.transactions import DescribeTransactionsRequest
from wire.records import Record, build_batch, iter_batches

DEADLINE_S = 20
BROKERS = (BROKER_ID, ANOTHER_BROKER)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@attrs.define(eq=False)
class Wire:
    """What carries requests from one broker to another, until it is cut."""

    to: HandlerRig
    is_cut: bool = False
    gate: anyio.Event | None = None  # answers wait for it
    asked: list[str] = attrs.field(factory=list)

    async def call(self, request: object, version: int, *, timeout_ms: int) -> Any:
        await anyio.lowlevel.checkpoint()
        if self.is_cut:
            raise ConnectionError("cut")
        self.asked.append(type(request).__name__)
        response = await response_of(self.to.send(request, version))
        if self.gate is not None:
            await self.gate.wait()
        return response

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()


async def response_of(answered: Answered) -> Any:
    while answered.response is None:
        await anyio.lowlevel.checkpoint()
    return answered.response


class Pair:
    """Broker 1 coordinates and leads t-0, broker 2 leads t-1."""

    def __init__(self, folder: Path) -> None:
        self.rigs: list[HandlerRig] = []
        self.brokers: list[OtherBrokers] = []
        for broker_id in BROKERS:
            clock = SimulatedClock()
            brokers = OtherBrokers(BrokerConfig.from_properties({}), clock, self._connect)
            self.brokers.append(brokers)
            self.rigs.append(
                HandlerRig(folder / str(broker_id), {"node.id": str(broker_id)}, clock=clock, brokers=brokers)
            )
        self.wires = {broker_id: Wire(rig) for broker_id, rig in zip(BROKERS, self.rigs, strict=True)}
        for rig in self.rigs:
            rig.set_brokers({each: BrokerImage(each, None, {}, 0, fenced=False) for each in BROKERS})
        self.lead(*BROKERS)

    def _connect(self, broker_id: int) -> Wire:
        return self.wires[broker_id]

    def lead(self, *leaders: int, epoch: int = 0) -> None:
        """Make these the leaders of the partitions."""
        partitions = tuple(
            attrs.evolve(
                PartitionImage.created(BROKERS), leader=leader, isr=(leader,), leader_epoch=epoch, partition_epoch=epoch
            )
            for leader in leaders
        )
        for rig in self.rigs:
            rig.set_topics(TopicImage("t", TOPIC_ID, partitions, 1), transaction_topic())

    @property
    def coordinator(self) -> HandlerRig:
        return self.rigs[0]

    @property
    def other(self) -> HandlerRig:
        return self.rigs[1]

    def log(self, rig: HandlerRig, index: int) -> list[str]:
        log = rig.replicas.partition("t", index).log
        data = log.read(0, 1 << 20, end_offset=log.log_end_offset, min_one_batch=True)
        batches = iter_batches(data.read()) if data is not None else ()
        return [f"{'marker' if header.is_control else 'data'} {header.producer_epoch}" for header, _ in batches]

    async def settle(self, rig: HandlerRig, index: int, expected: Iterable[str]) -> None:
        while self.log(rig, index) != list(expected):
            await anyio.lowlevel.checkpoint()

    async def state(self, expected: str) -> None:
        request = DescribeTransactionsRequest(transactional_ids=["p"])
        while self.coordinator.call(request, 0).transaction_states[0].transaction_state != expected:
            await anyio.lowlevel.checkpoint()

    def init(self) -> None:
        self.coordinator.transactions.shard_for("p").init_producer_id(
            "p", expected=None, timeout_ms=60_000, new_producer_id=1, told=lambda *_: None
        )

    def end(self, epoch: int) -> list[ErrorCode]:
        told: list[ErrorCode] = []
        self.coordinator.transactions.shard_for("p").end(
            "p",
            1,
            epoch,
            commit=True,
            client_version=2,
            new_producer_id=None,
            told=lambda error, *_: told.append(error),
        )
        return told

    def produce(self, rig: HandlerRig, index: int, epoch: int, sequence: int = 0) -> Answered:
        records = build_batch(
            [Record(timestamp=rig.clock.time_ms(), value=b"v")],
            producer_id=1,
            producer_epoch=epoch,
            base_sequence=sequence,
            is_transactional=True,
        )
        data = [TopicProduceData("t", TOPIC_ID, [PartitionProduceData(index, records)])]
        return rig.send(ProduceRequest(transactional_id="p", acks=-1, timeout_ms=1000, topic_data=data), 12)


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    pair = Pair(tmp_path)
    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            for brokers in pair.brokers:
                tasks.start_soon(brokers.run)
            await anyio.lowlevel.checkpoint()
            yield pair
            tasks.cancel_scope.cancel()
    for rig in pair.rigs:
        rig.close()


def code(response: Any) -> ErrorCode:
    return ErrorCode(response.responses[0].partition_responses[0].error_code)


@pytest.mark.anyio
async def test_partition_of_another_broker_joins_and_gets_its_marker(pair: Pair) -> None:
    pair.init()
    first, second = pair.produce(pair.other, 1, 0), pair.produce(pair.other, 1, 0, 1)
    assert code(await response_of(first)) is ErrorCode.NONE
    assert code(await response_of(second)) is ErrorCode.NONE
    assert pair.wires[BROKER_ID].asked[0] == "AddPartitionsToTxnRequest"
    assert code(await response_of(pair.produce(pair.coordinator, 0, 0))) is ErrorCode.NONE
    assert pair.end(0) == [ErrorCode.NONE]
    await pair.settle(pair.other, 1, ["data 0", "data 0", "marker 1"])
    await pair.state("CompleteCommit")
    assert pair.log(pair.coordinator, 0) == ["data 0", "marker 1"]
    assert pair.wires[ANOTHER_BROKER].asked == ["WriteTxnMarkersRequest"]


@pytest.mark.anyio
async def test_marker_is_tried_until_the_other_broker_is_back(pair: Pair) -> None:
    pair.init()
    await response_of(pair.produce(pair.other, 1, 0))
    pair.wires[ANOTHER_BROKER].is_cut = True
    assert pair.end(0) == [ErrorCode.NONE]
    await pair.state("PrepareCommit")
    assert pair.end(0) == [ErrorCode.CONCURRENT_TRANSACTIONS]
    pair.wires[ANOTHER_BROKER].is_cut = False
    while pair.log(pair.other, 1) != ["data 0", "marker 1"]:
        pair.coordinator.clock.advance(100)
        await anyio.lowlevel.checkpoint()
    await pair.state("CompleteCommit")
    assert pair.end(0) == [ErrorCode.NONE]


@pytest.mark.anyio
async def test_end_that_cannot_be_written_is_counted_once_all_markers_are(pair: Pair) -> None:
    pair.init()
    await response_of(pair.produce(pair.other, 1, 0))
    pair.wires[ANOTHER_BROKER].gate = anyio.Event()
    assert pair.end(0) == [ErrorCode.NONE]
    await pair.settle(pair.other, 1, ["data 0", "marker 1"])
    (shard,) = (each for each in pair.coordinator.transactions.led() if "p" in each.transactions)
    assert list(shard.missing_markers()) == [TopicPartition("t", 1)]
    assert shard.count_unwritten_completions() == 0
    pair.coordinator.log_dirs.directories[0].fail("by order of the test")
    pair.wires[ANOTHER_BROKER].gate.set()
    while list(shard.missing_markers()):
        await anyio.lowlevel.checkpoint()
    assert shard.count_unwritten_completions() == 1


@pytest.mark.anyio
async def test_coordinator_that_cannot_be_reached_is_tried_again_by_the_producer(pair: Pair) -> None:
    pair.init()
    pair.wires[BROKER_ID].is_cut = True
    assert code(await response_of(pair.produce(pair.other, 1, 0))) is ErrorCode.NOT_ENOUGH_REPLICAS
    assert pair.log(pair.other, 1) == []
    pair.wires[BROKER_ID].is_cut = False
    assert code(await response_of(pair.produce(pair.other, 1, 0))) is ErrorCode.NONE


@pytest.mark.anyio
async def test_batch_whose_transaction_ended_while_the_coordinator_answered_joins_no_other(pair: Pair) -> None:
    pair.init()
    wire = pair.wires[BROKER_ID]
    wire.gate = anyio.Event()
    late = pair.produce(pair.other, 1, 0)
    while not wire.asked:
        await anyio.lowlevel.checkpoint()
    assert pair.end(0) == [ErrorCode.NONE]
    await pair.settle(pair.other, 1, ["marker 1"])
    wire.gate.set()
    assert code(await response_of(late)) is ErrorCode.INVALID_TXN_STATE
    partition = pair.other.replicas.partition("t", 1)
    assert partition.last_stable_offset == partition.log.log_end_offset


async def begun_before_the_last_one_is_complete(pair: Pair) -> list[Answered]:
    """Return two batches that wait, since the marker of the transaction before is not known to be written."""
    pair.init()
    await response_of(pair.produce(pair.other, 1, 0))
    pair.wires[ANOTHER_BROKER].gate = anyio.Event()
    assert pair.end(0) == [ErrorCode.NONE]
    await pair.state("PrepareCommit")
    return [pair.produce(pair.coordinator, 0, 1, sequence) for sequence in (0, 1)]


@pytest.mark.anyio
async def test_batch_that_comes_before_the_last_transaction_is_complete_waits_a_moment_and_joins_the_next(
    pair: Pair,
) -> None:
    answers = await begun_before_the_last_one_is_complete(pair)
    pair.coordinator.clock.advance(20)
    assert [answer.response for answer in answers] == [None, None]
    gate = pair.wires[ANOTHER_BROKER].gate
    assert gate is not None
    gate.set()
    await pair.state("CompleteCommit")
    pair.coordinator.clock.advance(20)
    assert [code(await response_of(answer)) for answer in answers] == [ErrorCode.NONE, ErrorCode.NONE]
    assert pair.log(pair.coordinator, 0) == ["data 1", "data 1"]


@pytest.mark.anyio
async def test_producer_is_told_of_a_transaction_that_is_not_complete_for_long(pair: Pair) -> None:
    answers = await begun_before_the_last_one_is_complete(pair)
    pair.coordinator.clock.advance(100)
    assert [code(await response_of(answer)) for answer in answers] == [ErrorCode.CONCURRENT_TRANSACTIONS] * 2


@pytest.mark.anyio
async def test_batch_for_a_partition_that_is_led_elsewhere_is_sent_away_and_not_called_outside_of_the_transaction(
    pair: Pair,
) -> None:
    pair.init()
    assert code(await response_of(pair.produce(pair.coordinator, 1, 0))) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert code(await response_of(pair.produce(pair.other, 1, 0))) is ErrorCode.NONE


@pytest.mark.anyio
async def test_partition_that_is_led_here_only_since_the_coordinator_was_asked_about_others_takes_no_batch(
    pair: Pair,
) -> None:
    pair.init()
    wire = pair.wires[BROKER_ID]
    wire.gate = anyio.Event()
    first = pair.produce(pair.other, 1, 0)
    second = pair.produce(pair.other, 0, 0)  # comes too early, and waits behind the question about the first
    pair.lead(ANOTHER_BROKER, ANOTHER_BROKER, epoch=1)
    wire.gate.set()
    assert code(await response_of(first)) is ErrorCode.NONE
    assert code(await response_of(second)) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert code(await response_of(pair.produce(pair.other, 0, 0))) is ErrorCode.NONE


@pytest.mark.anyio
async def test_broker_without_others_fails_what_it_is_to_ask(tmp_path: Path) -> None:
    clock = SimulatedClock()
    brokers = OtherBrokers(BrokerConfig.from_properties({}), clock)
    answers: list[object] = []
    brokers.call(7, object(), 0, answers.append)
    assert answers == []
    clock.advance(0)
    assert answers == [None]

"""Simulated producers: they send, and send again until they are told that it is there.

Rules
- A producer writes to one partition: batches of a few records, several requests under way. After a failure it waits
  for the answers that are still to come, and sends what is not acknowledged again, in the same order.
- An idempotent one sends again under the same sequence numbers. A sequence that does not follow, although everything
  before it was acknowledged, is one that the broker had, and has forgotten (a snapshot of producers has the last batch
  only, in Kafka, too), or acknowledged records are lost, which the checker finds. Like Kafka's own it then goes on
  under another id; what it had sent and was not acknowledged it gives up.
- What an earlier attempt left behind may arrive late: nobody takes it back.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import attrs

from tests.simulation.checker import History, Place
from tests.simulation.client import Client
from tests.simulation.network import SimulatedNetwork
from tests.simulation.world import STARTED_MS, World
from wire.errors import ErrorCode
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.messages.transactions import InitProducerIdRequest
from wire.records import Record, build_batch

PRODUCE_VERSION = 12
INIT_PRODUCER_ID_VERSION = 5
ALL = -1
MAX_BATCH_RECORDS = 4
LARGE_RECORD = 0.02  # how often
MAX_PAUSE_MS = 400


@attrs.define(eq=False)
class _Batch:
    values: list[bytes]
    number: int  # of the first record
    times_sent: int = 0


class Producer(Client):
    def __init__(
        self,
        world: World,
        network: SimulatedNetwork,
        history: History,
        name: str,
        brokers: Sequence[int],
        *,
        place: Place,
        acks: int,
        is_idempotent: bool,
        max_in_flight: int,
    ) -> None:
        super().__init__(world, network, history, name, brokers)
        self.place = place
        self.is_stopping = False
        self.is_done = False
        self.acknowledged = 0  # records
        self.acks = acks
        self._is_idempotent = is_idempotent
        self._max_in_flight = max_in_flight
        self._next_number = 0
        self._is_forgotten = False
        self._first_number = 0  # of the present producer id
        self._unacknowledged: deque[_Batch] = deque()
        self._producer: tuple[int, int] = (-1, -1)  # id and epoch

    async def run(self) -> None:
        """Send until `is_stopping`, then until all is acknowledged."""
        if self._is_idempotent:
            await self._init_producer_id()
        while not self.is_stopping or self._unacknowledged:
            if self._is_forgotten:
                await self._begin_anew()
            try:
                failed = await self._round()
            except OSError as error:
                failed = repr(error)
            if failed:
                self.problem = failed
                self.forget_leader(self.place)
                await self.back_off()
            elif self.world.random.random() < 0.7:
                await self.world.sleep(self.world.random.uniform(0, MAX_PAUSE_MS))
        self.is_done = True

    async def _init_producer_id(self) -> None:
        while True:
            try:
                connection = await self.any_connection()
                request = InitProducerIdRequest(transactional_id=None, transaction_timeout_ms=60_000)
                answer = await connection.ask(request, INIT_PRODUCER_ID_VERSION)
            except OSError as error:
                self.problem = repr(error)
            else:
                if answer.error_code == 0:
                    self._producer = (answer.producer_id, answer.producer_epoch)
                    return
                self.problem = f"no producer id: {answer.error_code}"
            await self.back_off()

    async def _begin_anew(self) -> None:
        self.note("begins anew")
        self._is_forgotten = False
        self._unacknowledged.clear()
        self._first_number = self._next_number
        await self._init_producer_id()

    async def _round(self) -> str:
        """Send what is not acknowledged, and new batches; return what went wrong. Raises: OSError."""
        if not self._unacknowledged:  # the broker remembers five batches: nothing new before the old is settled
            for _ in range(self.world.random.randint(1, self._max_in_flight)):
                self._unacknowledged.append(self._new_batch())
        leader = await self.leader(self.place)
        connection = await self.connection(leader.broker_id)
        batches = list(self._unacknowledged)
        pending = []
        for batch in batches:
            pending.append(connection.send(self._request(batch), PRODUCE_VERSION))
            batch.times_sent += 1
            for number, value in enumerate(batch.values, batch.number):
                self.history.produced(self.name, self.place, value, number, is_idempotent=self._is_idempotent)
        problem = ""
        for batch, waiting in zip(batches, pending, strict=True):
            problem = self._take(batch, await connection.wait(waiting)) or problem
        return problem

    def _new_batch(self) -> _Batch:
        random = self.world.random
        count = random.randint(1, MAX_BATCH_RECORDS)
        size = 3_000 if random.random() < LARGE_RECORD else random.randint(0, 200)
        values = [b"%s/%d/" % (self.name.encode(), self._next_number + n) + b"." * size for n in range(count)]
        self._next_number += count
        return _Batch(values, self._next_number - count)

    def _request(self, batch: _Batch) -> ProduceRequest:
        now = int(STARTED_MS + self.world.now_ms)
        producer_id, epoch = self._producer
        data = build_batch(
            [Record(timestamp=now, value=value) for value in batch.values],
            producer_id=producer_id,
            producer_epoch=epoch,
            base_sequence=batch.number - self._first_number if self._is_idempotent else -1,
        )
        topic, partition = self.place
        return ProduceRequest(
            acks=self.acks,
            timeout_ms=self.world.random.choice((500, 3000)),
            topic_data=[TopicProduceData(name=topic, partition_data=[PartitionProduceData(partition, data)])],
        )

    def _take(self, batch: _Batch, answer: Any) -> str:
        """Note what became of a batch; return what went wrong."""
        ((partition,),) = ([*topic.partition_responses] for topic in answer.responses)
        code, offset = partition.error_code, partition.base_offset
        if code == ErrorCode.DUPLICATE_SEQUENCE_NUMBER and self._is_idempotent:
            code, offset = 0, -1
        if code != 0:
            if code == ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER and batch is self._unacknowledged[0]:
                self._is_forgotten = True
            self.note(f"has {batch.number} + {len(batch.values)} refused: {ErrorCode(code).name}")
            return f"{self.place}: {ErrorCode(code).name}"
        self._unacknowledged.remove(batch)
        self.acknowledged += len(batch.values)
        self.note(f"has {batch.number} + {len(batch.values)} acknowledged at {self.place[1]}:{offset}")
        if self.acks == ALL:
            for n, value in enumerate(batch.values):
                self.history.acknowledged(self.place, value, offset + n if offset >= 0 else -1)
        return ""

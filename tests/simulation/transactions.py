"""Simulated producers of transactions, and readers of what they commit.

Rules
- A producer speaks the protocol of transactions version 2: partitions and groups join a transaction by being written
  to, and each transaction has an epoch of its own. (Under version 1 an EndTxn that arrives late may end the next
  transaction, with Kafka's brokers, too: nothing could be wanted of it.)
- It tries again what may succeed, aborts what has to be aborted, and where it is fenced, by an InitProducerId of its
  own that arrived late, or since its transaction took too long, it begins anew. Its values are never sent in two
  transactions.
- Of a transaction whose end it asked for and never learned, it knows nothing. Only after its next id it is decided.
- One that took too long is aborted, and to be committed in vain: INVALID_TXN_STATE, as of Kafka's brokers.
- In some transactions it commits an offset for a group of its own, which is looked at now and then.
"""

from collections.abc import Sequence
from typing import Any

from tests.simulation.checker import History, Place
from tests.simulation.client import GROUP, TRANSACTION, Client
from tests.simulation.committed import Transaction
from tests.simulation.consumers import OFFSET_FETCH_VERSION, Consumer
from tests.simulation.network import SimulatedNetwork
from tests.simulation.world import STARTED_MS, World
from wire.errors import ErrorCode
from wire.messages.group_offsets import (
    OffsetFetchRequest,
    OffsetFetchRequestGroup,
    OffsetFetchRequestTopics,
)
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.messages.transactions import (
    EndTxnRequest,
    InitProducerIdRequest,
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)
from wire.records import ControlType, Record, build_batch, iter_batches, read_end_txn_marker, read_records

PRODUCE_VERSION = 12
INIT_PRODUCER_ID_VERSION = 5
TXN_OFFSET_COMMIT_VERSION = 5
END_TXN_VERSION = 5
READ_COMMITTED = 1
ALL = -1
TRANSACTION_TIMEOUT_MS = 6000
COMMIT_SHARE, OFFSETS_SHARE = 0.7, 0.5
MAX_BATCHES, MAX_BATCH_RECORDS = 4, 3
MAX_PAUSE_MS = 400
FENCED = frozenset({ErrorCode.PRODUCER_FENCED, ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.INVALID_PRODUCER_ID_MAPPING})
ABORTABLE = frozenset({ErrorCode.TRANSACTION_ABORTABLE, ErrorCode.INVALID_TXN_STATE})


class _Fenced(Exception):
    """The producer's epoch is not the newest any more."""


class _Aborted(Exception):
    """The transaction has to be aborted."""


class TransactionalProducer(Client):
    """Writes to several partitions at a time."""

    def __init__(
        self,
        world: World,
        network: SimulatedNetwork,
        history: History,
        name: str,
        brokers: Sequence[int],
        *,
        places: Sequence[Place],
    ) -> None:
        super().__init__(world, network, history, name, brokers)
        self.is_stopping = False
        self.is_done = False
        self.acknowledged = 0  # records
        self._places = places
        self._group = f"{name}-group"
        self._producer: tuple[int, int] = (-1, -1)  # id and epoch
        self._sequences: dict[Place, int] = {}
        self._number = 0
        self._transaction_number = 0

    async def run(self) -> None:
        """Do one transaction after the other, until `is_stopping`."""
        await self._init()
        while not self.is_stopping:
            await self._transaction()
            if self.world.random.random() < 0.3:
                await self._look_at_offset()
            await self.world.sleep(self.world.random.uniform(0, MAX_PAUSE_MS))
        await self._init()  # whatever the last end was: it is decided then
        self.is_done = True

    async def _transaction(self) -> None:
        random = self.world.random
        transaction = self.history.transactions.begin(self.name, self.world.now_ms)
        offset = self._transaction_number if random.random() < OFFSETS_SHARE else -1
        self._transaction_number += 1
        commit = random.random() < COMMIT_SHARE
        try:
            try:
                for _ in range(random.randint(1, MAX_BATCHES)):
                    await self._produce(transaction, random.choice(self._places))
                if offset >= 0:
                    await self._commit_offset(offset)
            except _Aborted:
                commit = False
            await self._end(transaction, commit=commit)
        except _Fenced:
            self.note("is fenced")
            if not transaction.may_be_committed:
                transaction.is_committed = False
            await self._init()
        if offset >= 0:
            self._offset_ended(offset, transaction)

    async def _ask(self, key: str, kind: int, request: object, version: int) -> Any:
        """Ask a coordinator, and return its answer, or None where that has to be tried again."""
        try:
            connection = await self.coordinator(key, kind)
            return await connection.ask(request, version)
        except OSError as error:
            self.problem = repr(error)
            self.forget_coordinator(key, kind)
            await self.back_off()
            return None

    async def _failed(self, key: str, kind: int, code: int) -> None:
        """Wait before a request is tried again. Raises: _Fenced, _Aborted, where that is of no use."""
        self.problem = f"{key}: {ErrorCode(code).name}"
        self.note(f"is told {ErrorCode(code).name}")
        if code in FENCED:
            raise _Fenced
        if code in ABORTABLE:
            raise _Aborted
        self.forget_coordinator(key, kind)
        await self.back_off()

    async def _init(self) -> None:
        request = InitProducerIdRequest(transactional_id=self.name, transaction_timeout_ms=TRANSACTION_TIMEOUT_MS)
        while True:
            answer = await self._ask(self.name, TRANSACTION, request, INIT_PRODUCER_ID_VERSION)
            if answer is None:
                continue
            if answer.error_code == 0:
                break
            try:
                await self._failed(self.name, TRANSACTION, answer.error_code)
            except (_Fenced, _Aborted):
                self.history.violation("refused", f"{self.name} gets no id: {ErrorCode(answer.error_code).name}")
                await self.back_off()
        self._go_on(answer.producer_id, answer.producer_epoch)

    def _go_on(self, producer_id: int, producer_epoch: int) -> None:
        self._producer = (producer_id, producer_epoch)
        self._sequences.clear()
        self.note(f"is producer {producer_id} epoch {producer_epoch}")

    async def _produce(self, transaction: Transaction, place: Place) -> None:
        """Write a batch. Raises: _Fenced, _Aborted."""
        count = self.world.random.randint(1, MAX_BATCH_RECORDS)
        first, self._number = self._number, self._number + count
        values = [b"%s/%d/" % (self.name.encode(), number) for number in range(first, first + count)]
        for value in values:
            self.history.transactions.sent(transaction, place, value)
        while True:
            for number, value in enumerate(values, first):
                self.history.produced(self.name, place, value, number, is_idempotent=True)
            try:
                leader = await self.leader(place)
                connection = await self.connection(leader.broker_id)
                answer = await connection.ask(self._produce_request(place, values), PRODUCE_VERSION)
            except OSError as error:
                self.problem = repr(error)
                self.forget_leader(place)
                await self.back_off()
                continue
            ((partition,),) = ([*topic.partition_responses] for topic in answer.responses)
            if partition.error_code == 0:
                break
            self.forget_leader(place)
            await self._failed(self.name, TRANSACTION, partition.error_code)
        self._sequences[place] = self._sequences.get(place, 0) + count
        self.acknowledged += count
        self.note(f"has {first} + {count} acknowledged at {place[1]}:{partition.base_offset}")
        for n, value in enumerate(values):
            self.history.acknowledged(place, value, partition.base_offset + n)

    def _produce_request(self, place: Place, values: list[bytes]) -> ProduceRequest:
        producer_id, producer_epoch = self._producer
        data = build_batch(
            [Record(timestamp=int(STARTED_MS + self.world.now_ms), value=value) for value in values],
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            base_sequence=self._sequences.get(place, 0),
            is_transactional=True,
        )
        topic, partition = place
        return ProduceRequest(
            transactional_id=self.name,
            acks=ALL,
            timeout_ms=3000,
            topic_data=[TopicProduceData(name=topic, partition_data=[PartitionProduceData(partition, data)])],
        )

    async def _end(self, transaction: Transaction, *, commit: bool) -> None:
        """Raises: _Fenced."""
        producer_id, producer_epoch = self._producer
        request = EndTxnRequest(self.name, producer_id, producer_epoch, commit)
        transaction.may_be_committed = commit
        while True:
            answer = await self._ask(self.name, TRANSACTION, request, END_TXN_VERSION)
            if answer is None:
                continue
            if answer.error_code == 0:
                break
            try:
                await self._failed(self.name, TRANSACTION, answer.error_code)
            except _Aborted:
                transaction.is_committed = False
                if not commit or self.world.now_ms < transaction.began_ms + TRANSACTION_TIMEOUT_MS:
                    text = f"{self.name} cannot end its transaction: {ErrorCode(answer.error_code).name}"
                    self.history.transactions.refused.append(text)
                raise _Fenced from None
        transaction.is_committed = commit
        self.note(f"{'commits' if commit else 'aborts'}")
        self._go_on(answer.producer_id, answer.producer_epoch)

    # Offsets

    async def _commit_offset(self, offset: int) -> None:
        """Raises: _Fenced, _Aborted."""
        topic, index = self._places[0]
        self.history.commit_sent(self._group, self._places[0], offset)
        producer_id, producer_epoch = self._producer
        partition = TxnOffsetCommitRequestPartition(index, offset, committed_metadata="")
        request = TxnOffsetCommitRequest(
            transactional_id=self.name,
            group_id=self._group,
            producer_id=producer_id,
            producer_epoch=producer_epoch,
            topics=[TxnOffsetCommitRequestTopic(name=topic, partitions=[partition])],
        )
        while True:
            answer = await self._ask(self._group, GROUP, request, TXN_OFFSET_COMMIT_VERSION)
            if answer is None:
                continue
            ((stored,),) = ([*response.partitions] for response in answer.topics)
            if stored.error_code == 0:
                return
            await self._failed(self._group, GROUP, stored.error_code)

    def _offset_ended(self, offset: int, transaction: Transaction) -> None:
        if transaction.is_committed:
            self.history.commit_acknowledged(self._group, self._places[0], offset)
        elif transaction.is_committed is False:
            self.history.commit_aborted(self._group, self._places[0], offset)

    async def _look_at_offset(self) -> None:
        topic, index = self._places[0]
        at_least = self.history.committed(self._group, self._places[0])
        wanted = OffsetFetchRequestGroup(
            group_id=self._group, topics=[OffsetFetchRequestTopics(name=topic, partition_indexes=[index])]
        )
        request = OffsetFetchRequest(groups=[wanted], require_stable=True)
        answer = await self._ask(self._group, GROUP, request, OFFSET_FETCH_VERSION)
        if answer is None or answer.groups[0].error_code:
            return
        ((partition,),) = ([*response.partitions] for response in answer.groups[0].topics)
        if partition.error_code == 0:
            self.note(f"found {partition.committed_offset}")
            self.history.commit_read(self._group, self._places[0], partition.committed_offset, at_least=at_least)


class CommittedConsumer(Consumer):
    """Reads what is committed of one partition, and leaves out what was aborted, as clients do it."""

    isolation_level = READ_COMMITTED

    def _take_records(self, partition: Any) -> None:
        aborted = sorted((each.first_offset, each.producer_id) for each in partition.aborted_transactions or ())
        skipping: set[int] = set()
        for header, batch in iter_batches(memoryview(bytearray(partition.records or b""))):
            while aborted and aborted[0][0] <= header.last_offset:
                skipping.add(aborted.pop(0)[1])
            if header.is_control:
                marker = read_end_txn_marker(read_records(batch)[0])
                if marker is not None and marker[0] is ControlType.ABORT:
                    skipping.discard(header.producer_id)
            elif not (header.is_transactional and header.producer_id in skipping):
                for record in read_records(batch):
                    if record.offset >= self.position:
                        self.history.transactions.read(self.name, self.place, record.offset, record.value or b"")
            self.position = max(self.position, header.last_offset + 1)
        self.history.transactions.reached(self.name, self.place, self.position)
        if partition.records and self.position > partition.last_stable_offset:
            self.history.violation(
                "early read",
                f"{self.name} was given {self.position} of {self.place}, which is stable up to "
                f"{partition.last_stable_offset}",
            )

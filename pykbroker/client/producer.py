"""Producing records: batches by partition, one request to each leader at a time, tried again until they are in.

    async with Producer(client, acks=-1, codec=Codec.ZSTD) as producer:
        sent = await producer.send("t", b"value", key=b"key", headers=[("h", b"1")])
        await producer.flush()
        sent.partition, sent.offset

Owns: the records that wait, and as an idempotent producer the producer id and the sequence of each partition.

Rules
- `send` collects; it sends where a partition has a full batch or `buffer.memory` is used up. `flush` sends all.
- Headers count as much as keys and values, wherever sizes are compared.
- A partition has one batch under way at most, so order holds across retries, idempotent or not.
- A record without a key goes where the last one went; with the next flush the next partition has its turn.
- An idempotent producer repeats a batch with the sequence that it had: DUPLICATE_SEQUENCE_NUMBER then means that an
  answer was lost, and that the batch is in. A leader that expects another sequence does not have the batch, nor some
  before it: it is sent once more, by another producer id.
- A batch that is too large for its topic goes in halves.

Not here: transactions. Sources: KIP-98 (idempotence), KIP-480 (records without a key).
"""

import itertools
from collections.abc import Iterable, Mapping
from types import TracebackType

import anyio
import attrs

from pykbroker.client.client import Client, check
from pykbroker.client.connection import Question
from pykbroker.client.partitioner import partition_of_key
from pykbroker.errors import KafkaError, error_of
from pykbroker.topic_partition import TopicPartition
from wire.compression import Codec
from wire.errors import ErrorCode
from wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from wire.messages.transactions import InitProducerIdRequest
from wire.records import NO_PRODUCER_ID, Record, build_batch, increment_sequence

Headers = tuple[tuple[str, bytes | None], ...]

NOT_KNOWN = -1
_MAX_PRODUCE_VERSION = 12  # later ones name topics by id
_TOO_LARGE = (ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.RECORD_LIST_TOO_LARGE)
_UNKNOWN_SEQUENCE = (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode.UNKNOWN_PRODUCER_ID)
_RECORD_OVERHEAD = 32
_HEADER_OVERHEAD = 10


@attrs.define(eq=False)
class SentRecord:
    """A record on its way. `offset` is set by the flush that sends it; -1 where the broker does not tell (acks=0)."""

    tp: TopicPartition
    record: Record
    offset: int = NOT_KNOWN


@attrs.define(eq=False)
class _Batch:
    tp: TopicPartition
    encoded: bytearray
    records: list[SentRecord]


class Producer:
    def __init__(
        self,
        client: Client,
        *,
        acks: int = -1,
        codec: Codec = Codec.NONE,
        level: int | None = None,
        is_idempotent: bool = False,
        allow_auto_topic_creation: bool = True,
    ) -> None:
        if is_idempotent and acks != -1:
            raise ValueError("an idempotent producer needs acks=all")
        self._client = client
        self._acks = acks
        self._codec = codec
        self._level = level
        self._is_idempotent = is_idempotent
        self._creates_topics = allow_auto_topic_creation
        self._waiting: dict[TopicPartition, list[SentRecord]] = {}
        self._waiting_bytes: dict[TopicPartition, int] = {}
        self._total_bytes = 0  # of those
        self._flushing = anyio.Lock()
        self._turns: dict[str, itertools.count[int]] = {}
        self._sticky: dict[str, int] = {}
        self._producer_id, self._producer_epoch = NO_PRODUCER_ID, -1
        self._sequences: dict[TopicPartition, int] = {}  # of the next batch

    async def __aenter__(self) -> "Producer":
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Send what waits, unless the body failed."""
        if exc_type is None:
            await self.flush()

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        headers: Iterable[tuple[str, bytes | None]] = (),
        timestamp: int | None = None,
        partition: int | None = None,
    ) -> SentRecord:
        """Take a record. Raises: KafkaError, of this record or of those that had to be sent before."""
        headers = tuple(headers)
        size = _size(key, value, headers)
        if size > self._client.settings.max_request_size:
            raise KafkaError(ErrorCode.MESSAGE_TOO_LARGE, f"a record of {size} bytes")
        count = len((await self._client.topic(topic, allow_auto_topic_creation=self._creates_topics)).partitions)
        if partition is None:
            partition = self._turn(topic, count) if key is None else partition_of_key(key, count)
        elif not 0 <= partition < count:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"{topic} has no partition {partition}")
        tp = TopicPartition(topic, partition)
        if self._waiting_bytes.get(tp, 0) + size > self._client.settings.batch_size or (
            self._total_bytes + size > self._client.settings.buffer_memory
        ):
            await self.flush()
        timestamp = self._client.clock.time_ms() if timestamp is None else timestamp
        sent = SentRecord(tp, Record(timestamp=timestamp, key=key, value=value, headers=headers))
        self._waiting.setdefault(tp, []).append(sent)
        self._waiting_bytes[tp] = self._waiting_bytes.get(tp, 0) + size
        self._total_bytes += size
        return sent

    async def flush(self) -> None:
        """Send all records that wait. Raises: KafkaError of the first batch that was refused for good."""
        async with self._flushing:
            is_complete = False
            try:
                await self._flush()
                is_complete = True
            finally:
                if not is_complete:
                    # Nobody knows the sequences of what was given up: go on as another producer.
                    self._forget_producer_id()

    async def _flush(self) -> None:
        waiting, self._waiting, self._waiting_bytes, self._total_bytes = self._waiting, {}, {}, 0
        self._sticky.clear()
        parts = {tp: [records] for tp, records in waiting.items()}  # to send, one after another
        failed: dict[TopicPartition, KafkaError] = {}
        is_known = False  # whether the producer id was there before, so that leaders may have lost what it sent
        while parts:
            if self._is_idempotent and self._producer_id == NO_PRODUCER_ID:
                await self._init_producer_id()
            else:
                is_known = True
            is_forgotten = False
            batches = {tp: self._build(tp, ahead[0]) for tp, ahead in parts.items()}
            for tp, result in (await self._send(batches)).items():
                ahead = parts[tp]
                if not isinstance(result, KafkaError):
                    self._sent(batches[tp], result)
                    del ahead[0]
                elif result.code in _TOO_LARGE and len(ahead[0]) > 1:
                    middle = len(ahead[0]) // 2
                    ahead[0:1] = [ahead[0][:middle], ahead[0][middle:]]
                elif self._is_idempotent and is_known and result.code in _UNKNOWN_SEQUENCE:
                    is_forgotten = True
                else:
                    failed[tp] = result
                    ahead.clear()
            parts = {tp: ahead for tp, ahead in parts.items() if ahead}
            if is_forgotten:
                is_known = False
                self._forget_producer_id()
        if failed:
            tp, error = next(iter(failed.items()))
            raise KafkaError(error.code, f"{tp}: {error.message}" if error.message else str(tp))

    def _turn(self, topic: str, partitions: int) -> int:
        """The partition of a record without a key: the same one until the next flush."""
        if topic not in self._sticky:
            self._sticky[topic] = next(self._turns.setdefault(topic, itertools.count())) % partitions
        return self._sticky[topic]

    def _build(self, tp: TopicPartition, records: list[SentRecord]) -> _Batch:
        encoded = build_batch(
            [sent.record for sent in records],
            codec=self._codec,
            level=self._level,
            producer_id=self._producer_id,
            producer_epoch=self._producer_epoch,
            base_sequence=self._sequences.get(tp, 0) if self._is_idempotent else -1,
        )
        return _Batch(tp, encoded, records)

    async def _send(self, batches: Mapping[TopicPartition, _Batch]) -> dict[TopicPartition, int | KafkaError]:
        async def ask(leader: int, led: list[TopicPartition]) -> dict[TopicPartition, int | KafkaError]:
            return await self._produce(leader, [batches[tp] for tp in led])

        return await self._client.per_leader(batches, ask)

    def _sent(self, batch: _Batch, base_offset: int) -> None:
        self._sequences[batch.tp] = increment_sequence(self._sequences.get(batch.tp, 0), len(batch.records))
        for number, sent in enumerate(batch.records):
            sent.offset = base_offset + number if base_offset >= 0 else NOT_KNOWN

    def _forget_producer_id(self) -> None:
        self._producer_id, self._producer_epoch = NO_PRODUCER_ID, -1
        self._sequences.clear()

    async def _produce(self, leader: int, batches: list[_Batch]) -> dict[TopicPartition, int | KafkaError]:
        """Send one request, and return the base offset or the error of each partition. Raises: OSError."""
        by_topic: dict[str, list[PartitionProduceData]] = {}
        for batch in batches:
            by_topic.setdefault(batch.tp.topic, []).append(PartitionProduceData(batch.tp.partition, batch.encoded))
        request = ProduceRequest(
            acks=self._acks,
            timeout_ms=self._client.settings.request_timeout_ms,
            topic_data=[TopicProduceData(name, partition_data=data) for name, data in by_topic.items()],
        )
        question = Question.of(request, _MAX_PRODUCE_VERSION)
        if self._acks == 0:
            await (await self._client.connection_to(leader)).send(question)
            return {batch.tp: NOT_KNOWN for batch in batches}
        answer = await self._client.ask_broker(leader, question)
        results: dict[TopicPartition, int | KafkaError] = {}
        for topic in answer.responses:
            for told in topic.partition_responses:
                error = error_of(told.error_code)
                if error is ErrorCode.DUPLICATE_SEQUENCE_NUMBER and self._is_idempotent:
                    error = ErrorCode.NONE
                result = KafkaError(error, told.error_message) if error else told.base_offset
                results[TopicPartition(topic.name, told.index)] = result
        return results

    async def _init_producer_id(self) -> None:
        async def attempt() -> None:
            answer = await self._client.ask_any(Question.of(InitProducerIdRequest(None, 60_000)))
            check(answer.error_code)
            self._producer_id, self._producer_epoch = answer.producer_id, answer.producer_epoch

        await self._client.retry(attempt)


def _size(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    """About what a record takes in a batch; never less."""
    size = _RECORD_OVERHEAD + len(key or b"") + len(value or b"")
    return size + sum(_HEADER_OVERHEAD + len(name.encode()) + len(content or b"") for name, content in headers)

"""Producers of transactions for confluent-kafka, and what a consumer of committed records finds in the end.

Rules
- Every producer has a number and a transactional id of its own; a share of its transactions is aborted on purpose.
- What is retriable is tried again without end, what has to be aborted is aborted, and its records are not sent again.
  What is fatal is a complaint: nobody fences these producers. Another with the next number goes on then.
- A request is waited for as long as the library's default says, and what is aborted on purpose was delivered before.
  librdkafka speaks the protocol of transactions version 1, in which all transactions of a producer have one epoch: an
  EndTxn that it gave up and that arrives late ends the next transaction, and a record that it gave up when it aborted
  may be in the log, so that the next one with that sequence is taken for its duplicate. Apache Kafka's brokers do the
  same with it (KIP-890 says why), so a run would show that and nothing else.
Not here: what has to hold of it (transaction_history.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from random import Random

from attrs import define, field
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from chaos_rig.history import Written, value_of
from chaos_rig.load import DELIVERY_TIMEOUT_MS, SOCKET_TIMEOUT_MS, TICK_S, VALUE_BYTES, Worker
from chaos_rig.transaction_history import Transaction, TransactionHistory

RECORDS = 10  # of a transaction
ABORTED_SHARE = 0.2
CALL_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0


@define
class TransactionRecorder:
    """Owns the history; producers and consumers share it."""

    history: TransactionHistory = field(factory=TransactionHistory)
    complaints: list[str] = field(factory=list)
    aborted_by_error: int = 0
    _producers: int = 0
    _lock: threading.Lock = field(factory=threading.Lock)

    def new_producer(self) -> int:
        with self._lock:
            self._producers += 1
            return self._producers

    def begin(self) -> Transaction:
        with self._lock:
            return self.history.begin()

    def observed(self, partition: int, offset: int, value: bytes) -> None:
        with self._lock:
            self.history.read[partition][offset] = Written.parse(value)


@define
class TransactionalProducer(Worker):
    """`rate` records a second to each partition, RECORDS of them in a transaction."""

    recorder: TransactionRecorder
    settings: Mapping[str, str | int | bool]
    topic: str
    partitions: int
    rate: float
    rng: Random
    _number: int = 0

    def run(self) -> None:
        while not self._ended.is_set():
            name = self.recorder.new_producer()
            producer = Producer(
                {
                    **self.settings,
                    "socket.timeout.ms": SOCKET_TIMEOUT_MS,
                    "transactional.id": f"chaos-{name}",
                    "transaction.timeout.ms": DELIVERY_TIMEOUT_MS,
                }
            )
            try:
                self._produce(producer, name)
            except KafkaException as error:
                self.recorder.complaints.append(f"transactional producer failed for good: {name}: {error}")

    def _produce(self, producer: Producer, name: int) -> None:
        """Raises: KafkaException, where the producer is of no use any more."""
        self._number = 0
        _until_done(producer.init_transactions)
        while not self._ended.is_set():
            started = time.monotonic()
            self._transaction(producer, name)
            due = started + RECORDS / (self.rate * self.partitions)
            while time.monotonic() < due and not self._ended.is_set():
                producer.poll(TICK_S)

    def _transaction(self, producer: Producer, name: int) -> None:
        """Raises: KafkaException, where the producer is of no use any more."""
        transaction = self.recorder.begin()
        abort = self.rng.random() < ABORTED_SHARE
        try:
            producer.begin_transaction()
            for _ in range(RECORDS):
                written = Written(name, self._number)
                self._number += 1
                transaction.records[written] = None
                producer.produce(
                    self.topic,
                    value_of(written, VALUE_BYTES),
                    partition=self.rng.randrange(self.partitions),
                    on_delivery=partial(_delivered, transaction, written),
                )
                producer.poll(0)
            if not abort:
                _until_done(producer.commit_transaction)
                transaction.committed = True
                return
            while producer.flush(CALL_TIMEOUT_S):
                pass
        except KafkaException as error:
            if not error.args[0].txn_requires_abort():
                raise
            self.recorder.aborted_by_error += 1
        _until_done(producer.abort_transaction)
        transaction.committed = False


def _delivered(transaction: Transaction, written: Written, error: KafkaError | None, message: Message) -> None:
    place, offset = message.partition(), message.offset()
    if error is None and place is not None and offset is not None:
        transaction.records[written] = (place, offset)


def _until_done(call: Callable[[float], object]) -> None:
    """Raises: KafkaException, if it is of no use to try again."""
    while True:
        try:
            call(CALL_TIMEOUT_S)
            return
        except KafkaException as error:
            if not error.args[0].retriable():
                raise


def read_committed(
    bootstrap: str, topic: str, partitions: int
) -> tuple[dict[int, dict[int, Written | None]], dict[int, tuple[int, int]], list[str]]:
    """Read all that is committed; return it by partition and offset, with the last stable offset and the high watermark
    of each partition, and what went wrong.
    """
    ends = _ends(bootstrap, topic, partitions)
    found: dict[int, dict[int, Written | None]] = {partition: {} for partition in ends}
    consumer = _consumer(bootstrap, "read_committed")
    at_end: set[int] = {partition for partition, (stable, _) in ends.items() if not stable}
    try:
        consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
        deadline = time.monotonic() + READ_TIMEOUT_S
        while len(at_end) < partitions and time.monotonic() < deadline:
            for message in consumer.consume(1000, timeout=0.5):
                error, partition, offset, value = (
                    message.error(),
                    message.partition(),
                    message.offset(),
                    message.value(),
                )
                assert partition is not None
                assert offset is not None
                if error is not None and error.code() == KafkaError._PARTITION_EOF:
                    at_end.add(partition)
                elif error is not None:
                    return found, ends, [f"the consumer got {error}"]
                else:
                    found[partition][offset] = Written.parse(value or b"")
    finally:
        consumer.close()
    missing = sorted(set(ends) - at_end)
    return found, ends, [f"partitions {missing} of {topic} were not read to their ends"] if missing else []


def _ends(bootstrap: str, topic: str, partitions: int) -> dict[int, tuple[int, int]]:
    """Return last stable offsets and high watermarks, equal ones if that comes within READ_TIMEOUT_S."""
    committed, everything = (_consumer(bootstrap, level) for level in ("read_committed", "read_uncommitted"))
    try:
        deadline = time.monotonic() + READ_TIMEOUT_S
        while True:
            ends = {}
            for partition in range(partitions):
                where = TopicPartition(topic, partition)
                _, stable = committed.get_watermark_offsets(where, timeout=30)
                _, end = everything.get_watermark_offsets(where, timeout=30)
                ends[partition] = (stable, end)
            if all(stable == end for stable, end in ends.values()) or time.monotonic() > deadline:
                return ends
            time.sleep(1)
    finally:
        committed.close()
        everything.close()


def _consumer(bootstrap: str, isolation: str) -> Consumer:
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "read-back",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "isolation.level": isolation,
            "enable.partition.eof": True,
            "check.crcs": True,
        }
    )

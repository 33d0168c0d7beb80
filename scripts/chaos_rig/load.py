"""Producers and a consumer that go on whatever happens to the cluster, and note what they are told.

Rules
- Every producer has a number of its own. One that fails for good, as an idempotent one must not whatever is done to the
  brokers, is a complaint; another with the next number goes on.
- Clients retry without end, and soon: a request that a silent broker does not answer is given up after
  REQUEST_TIMEOUT_MS, so that what is measured is the cluster and not the client's patience. All else is the client's
  default.
- While nothing is acknowledged, a producer keeps at most OUTSTANDING records, and sends no more.
- The consumer reads from offset 0 on while the faults go on: what it has seen must not change.
Not here: what has to hold of it (history.py), how long the gaps were (gaps.py).
"""

from __future__ import annotations

import json
import logging
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

from attrs import define, field
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from support import kafka_tools

from chaos_rig.history import History, Written, value_of

REQUEST_TIMEOUT_MS = 1500
SOCKET_TIMEOUT_MS = 60_000  # librdkafka's, for a request
DELIVERY_TIMEOUT_MS = 300_000
RETRY_MS, RETRY_MAX_MS = 50, 250
TICK_S = 0.02
OUTSTANDING = 5_000
FLUSH_S = 60.0
VALUE_BYTES = 120
ENDLESS = 1 << 62
CODECS = ("none", "lz4", "zstd", "gzip", "snappy")


@define
class Recorder:
    """Owns the history and the times of acknowledgements by partition; producers and consumers share it."""

    history: History = field(factory=History)
    times: dict[int, list[float]] = field(factory=lambda: defaultdict(list))
    failed: dict[str, int] = field(factory=lambda: defaultdict(int))
    complaints: list[str] = field(factory=list)
    _producers: int = 0
    _lock: threading.Lock = field(factory=threading.Lock)

    def new_producer(self, sent: int = 0) -> int:
        with self._lock:
            self._producers += 1
            self.history.sent[self._producers] = sent
            return self._producers

    def acknowledged(self, partition: int, offset: int, written: Written) -> None:
        with self._lock:
            self.history.acknowledge(partition, offset, written)
            self.times[partition].append(time.monotonic())

    def not_acknowledged(self, why: str) -> None:
        with self._lock:
            self.failed[why] += 1

    def observed(self, partition: int, offset: int, value: bytes) -> None:
        with self._lock:
            self.history.observe(partition, offset, value)


@define
class Worker:
    """A thread that works until it is told to end."""

    _ended: threading.Event = field(factory=threading.Event, kw_only=True)
    _thread: threading.Thread | None = field(default=None, kw_only=True)

    def start(self) -> None:
        self._thread = threading.Thread(target=self.run, daemon=True)
        self._thread.start()

    def run(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        self._ended.set()

    def join(self) -> None:
        if self._thread is not None:
            self._thread.join(2 * FLUSH_S)


@define
class NativeProducer(Worker):
    """confluent-kafka: `rate` records a second to each partition in turn."""

    recorder: Recorder
    settings: Mapping[str, str | int | bool]
    topic: str
    partitions: int
    rate: float
    log: logging.Logger | None = None
    _fatal: str = ""
    _outstanding: int = 0

    def run(self) -> None:
        while not self._ended.is_set():
            self._fatal = ""
            logged = {} if self.log is None else {"logger": self.log}
            self._produce(Producer({**self.settings, "error_cb": self._on_error}, **logged))

    def _produce(self, producer: Producer) -> None:
        name = self.recorder.new_producer()
        started, number = time.monotonic(), 0
        while not self._ended.is_set() and not self._fatal:
            due = int((time.monotonic() - started) * self.rate * self.partitions)
            while number < due and self._outstanding < OUTSTANDING and not self._fatal:
                self._send(producer, Written(name, number))
                number += 1
            if number < due:  # the cluster takes nothing: what was not sent meanwhile is not made up for
                started = time.monotonic() - number / (self.rate * self.partitions)
            self._poll(producer)
        if not self._fatal:
            self._poll(producer, FLUSH_S)
        if self._fatal:
            self.recorder.complaints.append(f"producer failed for good: {name}: {self._fatal}")
            producer.purge()
            self._poll(producer, 1.0)
        self._outstanding = 0

    def _poll(self, producer: Producer, flush_s: float | None = None) -> None:
        """Let callbacks be called, or wait until all is delivered; the library raises what is fatal here, too."""
        try:
            if flush_s is None:
                producer.poll(TICK_S)
            else:
                producer.flush(flush_s)
        except KafkaException as error:
            self._fatal = self._fatal or str(error)

    def _send(self, producer: Producer, written: Written) -> None:
        self.recorder.history.sent[written.producer] = written.number + 1
        self._outstanding += 1
        try:
            producer.produce(
                self.topic,
                value_of(written, VALUE_BYTES),
                partition=written.number % self.partitions,
                on_delivery=partial(self._delivered, written),
            )
        except KafkaException as error:
            self._fatal = self._fatal or str(error)

    def _delivered(self, written: Written, error: KafkaError | None, message: Message) -> None:
        self._outstanding -= 1
        if error is not None:
            self.recorder.not_acknowledged(error.name())
            return
        place, offset = message.partition(), message.offset()
        assert place is not None
        assert offset is not None
        self.recorder.acknowledged(place, offset, written)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error.str()


def client_log(path: Path) -> logging.Logger:
    """Return a logger that writes what librdkafka logs into a file."""
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log = logging.Logger(path.stem)
    log.addHandler(handler)
    return log


def native_settings(bootstrap: str, *, acks: str, codec: str, debug: str = "") -> dict[str, str | int | bool]:
    """Return the settings of a NativeProducer; it is idempotent unless acks forbid it."""
    logged: dict[str, str | int | bool] = {"debug": debug, "log_level": 7} if debug else {"log_level": 0}
    return {
        **logged,
        "bootstrap.servers": bootstrap,
        "acks": acks,
        "enable.idempotence": acks == "all",
        "compression.type": codec,
        "socket.timeout.ms": REQUEST_TIMEOUT_MS,
        "message.timeout.ms": DELIVERY_TIMEOUT_MS,
        "retry.backoff.ms": RETRY_MS,
        "retry.backoff.max.ms": RETRY_MAX_MS,
        "reconnect.backoff.max.ms": RETRY_MAX_MS,
        "queue.buffering.max.messages": 2 * OUTSTANDING,
    }


@define
class JavaProducer(Worker):
    """Kafka's own VerifiableProducer, `rate` records a second over all partitions."""

    recorder: Recorder
    directory: Path
    bootstrap: str
    acks: str
    topic: str
    rate: int
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        settings = self.directory / "producer.properties"
        wanted = {
            "enable.idempotence": str(self.acks == "all").lower(),
            "retries": (1 << 31) - 1,
            "delivery.timeout.ms": DELIVERY_TIMEOUT_MS,
            "max.block.ms": DELIVERY_TIMEOUT_MS,
            "request.timeout.ms": REQUEST_TIMEOUT_MS,
            "retry.backoff.ms": RETRY_MS,
            "retry.backoff.max.ms": RETRY_MAX_MS,
            "reconnect.backoff.max.ms": RETRY_MAX_MS,
        }
        settings.write_text("".join(f"{name}={value}\n" for name, value in wanted.items()))
        command = kafka_tools.java(
            *("VerifiableProducer", "--topic", self.topic, "--throughput", str(self.rate)),
            *("--acks", "-1" if self.acks == "all" else self.acks, "--command-config", str(settings)),
            *("--value-prefix", str(self.recorder.new_producer(ENDLESS)), "--bootstrap-server", self.bootstrap),
        )
        with (self.directory / "verifiable-producer.log").open("wb") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True
            )
        super().start()

    def run(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._read(line)
        if not self._ended.is_set():
            self.recorder.complaints.append(f"VerifiableProducer ended with status {self.process.wait()}")

    def end(self) -> None:
        super().end()
        if self.process is not None:
            self.process.terminate()

    def join(self) -> None:
        super().join()
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def _read(self, line: str) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            return
        if said.get("name") == "producer_send_success":
            written = Written.parse(said["value"].encode())
            assert written is not None
            self.recorder.acknowledged(said["partition"], said["offset"], written)
        elif said.get("name") == "producer_send_error":
            self.recorder.not_acknowledged(said.get("exception", "?"))


class Observer(Protocol):
    """Who is told what a consumer reads."""

    complaints: list[str]

    def observed(self, partition: int, offset: int, value: bytes) -> None: ...


@define
class Reader(Worker):
    """Reads every partition from its beginning, what is committed of it, and goes on as records come."""

    recorder: Observer
    bootstrap: str
    topic: str
    partitions: int

    def run(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": "chaos-reader",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "check.crcs": True,
                "socket.timeout.ms": 2 * REQUEST_TIMEOUT_MS,
                "fetch.wait.max.ms": 100,
                "reconnect.backoff.max.ms": RETRY_MAX_MS,
                "log_level": 0,
            }
        )
        try:
            consumer.assign([TopicPartition(self.topic, partition, 0) for partition in range(self.partitions)])
            while not self._ended.is_set():
                for message in consumer.consume(500, timeout=0.1):
                    self._note(message)
        finally:
            consumer.close()

    def _note(self, message: Message) -> None:
        error, partition, offset, value = message.error(), message.partition(), message.offset(), message.value()
        if error is not None:
            if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError._BAD_MSG, KafkaError.OFFSET_OUT_OF_RANGE):
                self.recorder.complaints.append(f"a consumer of partition {partition} was told: {error.str()}")
            return
        assert partition is not None
        assert offset is not None
        assert value is not None
        self.recorder.observed(partition, offset, value)

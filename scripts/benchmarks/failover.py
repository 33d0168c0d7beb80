"""How long a partition takes no writes when its leader goes: the longest gap between the acknowledgements of a load.

Rules: one partition with all its replicas in sync, records at RATE from a stock confluent-kafka whose backoffs are
short (SETTINGS), so that it asks again soon. The leader is started again afterwards, and the case ends with all
replicas in sync. Measured as scripts/chaos does it.
"""

from __future__ import annotations

import threading
import time

from attrs import define, field
from chaos_rig.gaps import longest_gap
from chaos_rig.load import native_settings
from clients import Unavailable
from confluent_kafka import KafkaError, Message, Producer
from support.brokers import ClusterBroker
from support.connection import Refused

from benchmarks.subject import Subject

RATE = 200
BEFORE_S, AFTER_S, LONGEST_S = 2.0, 3.0, 60.0


def gap(subject: Subject, row: str, *, is_clean: bool) -> dict[str, float]:
    """Return the seconds. Raises: Refused where the cluster is not ours to hurt, or does not come back."""
    broker = subject.broker
    if not isinstance(broker, ClusterBroker):
        raise Refused(f"{broker.name} was started by somebody else")
    cluster = broker.running
    acks = "all" if subject.effort.acks == -1 else str(subject.effort.acks)
    with subject.topic() as (topic, _):
        load = _Load(Producer(native_settings(broker.bootstrap, acks=acks, codec="none")), topic)
        try:
            cluster.wait_in_sync([topic])
            load.start()
            time.sleep(BEFORE_S)
            state = cluster.state([topic])
            if state is None or not state.partitions:
                raise Refused(f"no broker knows {topic}")
            leader, started = state.partitions[0].leader, time.monotonic()
            if is_clean:
                cluster.stop(leader)
            else:
                cluster.kill(leader)
            load.wait_for_acknowledgement(after=time.monotonic())
            time.sleep(AFTER_S)
            ended = time.monotonic()
            load.stop()
            cluster.start(leader)
            cluster.wait_in_sync()
        except Unavailable as error:
            raise Refused(str(error)) from error
        finally:
            load.stop()
        if load.failures:
            raise Refused(f"{len(load.failures)} records were not acknowledged: {load.failures[0]}")
    return {row: longest_gap(load.acknowledged, started, ended)}


@define
class _Load:
    """Owns the thread that sends. `acknowledged` has the time of each acknowledgement."""

    producer: Producer
    topic: str
    acknowledged: list[float] = field(factory=list)
    failures: list[str] = field(factory=list)
    _ended: threading.Event = field(factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def wait_for_acknowledgement(self, *, after: float) -> None:
        """Wait for one that came `after` this time and a moment: then nothing is left that was on its way before.

        Raises: Refused.
        """
        deadline = time.monotonic() + LONGEST_S
        while not self.acknowledged or self.acknowledged[-1] < after + 0.1:
            if time.monotonic() > deadline:
                raise Refused(f"nothing was acknowledged for {LONGEST_S:.0f} s")
            time.sleep(0.01)

    def _run(self) -> None:
        while not self._ended.is_set():
            self.producer.produce(self.topic, b"x" * 100, partition=0, on_delivery=self._delivered)
            self.producer.poll(1 / RATE)
        self.producer.flush(LONGEST_S)

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.acknowledged.append(time.monotonic())
        else:
            self.failures.append(error.str())

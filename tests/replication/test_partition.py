"""When what a leader appends becomes visible."""

import os
from pathlib import Path

import pytest

from pykbroker.errors import KafkaError
from tests.handlers.rig import TOPIC_ID, HandlerRig, topic
from wire.errors import ErrorCode
from wire.records import Record, build_batch


def test_batch_whose_flush_fails_is_never_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = HandlerRig(tmp_path, {"log.flush.interval.messages": "1"})
    rig.set_topics(topic("t", TOPIC_ID, 1))
    partition = rig.replicas.partition("t", 0)
    record = Record(timestamp=rig.clock.time_ms())
    partition.append(memoryview(build_batch([record])), acks=1)
    assert partition.high_watermark == 1

    def broken(fd: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(KafkaError) as raised:
        partition.append(memoryview(build_batch([record])), acks=1)
    assert raised.value.code == ErrorCode.KAFKA_STORAGE_ERROR
    assert partition.high_watermark == 1
    rig.close()

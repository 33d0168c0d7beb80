"""What transactional ids were up to survives the compaction of the topic that tells it."""

from pathlib import Path
from typing import Any

from pykbroker.transactions.coordinator import TRANSACTION_TOPIC
from tests.handlers.rig import HandlerRig, transaction_topic
from tests.handlers.test_transactions import T
from tests.log.support import topic_config
from wire.errors import ErrorCode
from wire.messages.transactions import DescribeTransactionsRequest

IDS = ["p0", "p1", "p2", "p3"]


def start(tmp_path: Path) -> HandlerRig:
    rig = HandlerRig(tmp_path, {"log.cleaner.backoff.ms": "1000"})
    rig.set_topics(T, transaction_topic())
    config = topic_config(cleanup_policy="compact", internal_segment_bytes=1000, min_cleanable_dirty_ratio=0.1)
    rig.replicas.partition(TRANSACTION_TOPIC, 0).log.update_config(config)
    rig.clock.advance(1)
    return rig


def describe(rig: HandlerRig) -> list[Any]:
    answer = rig.call(DescribeTransactionsRequest(IDS), 0)
    states: list[Any] = answer.transaction_states
    assert {state.error_code for state in states} == {ErrorCode.NONE}
    return states


def test_shard_loads_from_a_compacted_log(tmp_path: Path) -> None:
    rig = start(tmp_path)
    for number in range(100):
        rig.transactions.shard_for("").init_producer_id(
            IDS[number % 4],
            expected=None,
            timeout_ms=60_000,
            new_producer_id=number % 4,
            told=lambda *_: None,
        )
    log = rig.replicas.partition(TRANSACTION_TOPIC, 0).log
    size = log.size_bytes
    rig.clock.advance(1000)
    while rig.log_dirs.cleaner.is_busy:
        rig.log_dirs.cleaner.join()
        rig.clock.advance(20)
    assert log.size_bytes < size / 2
    expected = describe(rig)
    assert [state.producer_epoch for state in expected] == [24] * 4
    rig.close()
    rig = start(tmp_path)
    rig.clock.advance(100)
    assert describe(rig) == expected
    rig.close()

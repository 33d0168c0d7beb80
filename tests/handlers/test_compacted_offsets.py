"""Committed offsets survive the compaction of the topic that they are in."""

from pathlib import Path

from pykbroker.groups.coordinator import OFFSETS_TOPIC
from tests.handlers.rig import HandlerRig, offsets_topic
from tests.handlers.test_group_offsets import T, commit, fetch
from tests.log.support import topic_config


def start(tmp_path: Path) -> HandlerRig:
    rig = HandlerRig(tmp_path, {"log.cleaner.backoff.ms": "1000", "offsets.load.buffer.size": "500"})
    rig.set_topics(T, offsets_topic())
    config = topic_config(cleanup_policy="compact", internal_segment_bytes=1000, min_cleanable_dirty_ratio=0.1)
    rig.replicas.partition(OFFSETS_TOPIC, 0).log.update_config(config)
    rig.clock.advance(1)
    return rig


def test_shard_loads_from_a_compacted_log(tmp_path: Path) -> None:
    rig = start(tmp_path)
    for number in range(100):
        commit(rig, {number % 3: number}, group_id=f"g{number % 4}")
    log = rig.replicas.partition(OFFSETS_TOPIC, 0).log
    size = log.size_bytes
    rig.clock.advance(1000)
    while rig.log_dirs.cleaner.is_busy:
        rig.log_dirs.cleaner.join()
        rig.clock.advance(20)
    assert log.size_bytes < size / 2
    expected = {group: fetch(rig, 0, 1, 2, group_id=group) for group in ("g0", "g1", "g2", "g3")}
    assert expected["g3"] == {0: 99, 1: 91, 2: 95}
    rig.close()
    rig = start(tmp_path)
    rig.clock.advance(100)
    assert {group: fetch(rig, 0, 1, 2, group_id=group) for group in expected} == expected
    rig.close()

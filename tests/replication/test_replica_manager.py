"""What the replica manager does beside the requests: what the log directories are told."""

from pathlib import Path

import anyio
import pytest

from tests.handlers.rig import ANOTHER_BROKER, BROKER_ID, TOPIC_ID, HandlerRig, topic
from wire.records import Record, build_batch

RETENTION_MS = 1000


def test_retention_keeps_what_is_not_committed_yet(tmp_path: Path) -> None:
    rig = HandlerRig(tmp_path, {"log.retention.ms": str(RETENTION_MS)})
    rig.set_topics(topic("t", TOPIC_ID, 1, isr=(BROKER_ID, ANOTHER_BROKER)))
    partition = rig.replicas.partition("t", 0)
    partition.append(memoryview(build_batch([Record(timestamp=rig.clock.time_ms())])), acks=1)
    rig.clock.advance(10 * RETENTION_MS)
    rig.log_dirs.apply_retention()
    assert (partition.log.log_start_offset, partition.high_watermark) == (0, 0)
    rig.set_topics(topic("t", TOPIC_ID, 1, isr=(BROKER_ID,)))
    rig.log_dirs.apply_retention()
    assert (partition.log.log_start_offset, partition.high_watermark) == (1, 1)
    rig.close()


def test_retention_waits_for_the_metadata_where_no_high_watermark_is_known(tmp_path: Path) -> None:
    first = HandlerRig(tmp_path, {"log.retention.ms": str(RETENTION_MS)})
    first.set_topics(topic("t", TOPIC_ID, 1, isr=(BROKER_ID, ANOTHER_BROKER)))
    batch = build_batch([Record(timestamp=first.clock.time_ms())])
    first.replicas.partition("t", 0).append(memoryview(batch), acks=1)
    first.close()
    rig = HandlerRig(tmp_path, {"log.retention.ms": str(RETENTION_MS)})
    rig.clock.advance(10 * RETENTION_MS)
    rig.log_dirs.apply_retention()
    assert [log.log_start_offset for log in rig.log_dirs.all()] == [0]
    rig.close()


@pytest.mark.anyio
async def test_metadata_that_changes_while_the_broker_stops_starts_no_fetcher(tmp_path: Path) -> None:
    rig = HandlerRig(tmp_path)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rig.replicas.run)
        await anyio.wait_all_tasks_blocked()
        rig.replicas.stop()
    rig.set_topics(topic("t", TOPIC_ID, 1, leader=ANOTHER_BROKER))
    assert not rig.replicas.partition("t", 0).is_leader
    rig.close()

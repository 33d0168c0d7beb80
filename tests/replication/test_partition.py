"""When what a leader appends becomes visible, and who is in sync."""

import os
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from pykbroker.cluster.image import BrokerImage, ImageDelta
from pykbroker.cluster.partition_changes import alter_isr
from pykbroker.errors import KafkaError
from pykbroker.replication.partition import ALL, ISR_RETRY_MS, Partition
from tests.handlers.rig import ANOTHER_BROKER, BROKER_ID, TOPIC_ID, HandlerRig, topic
from wire.errors import ErrorCode
from wire.records import Record, build_batch

THIRD = 3
THREE = (BROKER_ID, ANOTHER_BROKER, THIRD)
BROKER_EPOCH = 7
MAX_LAG_MS = 1000


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[HandlerRig]:
    rig = HandlerRig(tmp_path, {"replica.lag.time.max.ms": str(MAX_LAG_MS)})
    set_brokers(rig)
    yield rig
    rig.close()


def set_brokers(rig: HandlerRig, **fenced: bool) -> None:
    brokers = {
        broker_id: BrokerImage(broker_id, None, {}, BROKER_EPOCH, fenced.get(f"broker_{broker_id}", False))
        for broker_id in THREE
    }
    rig.cluster.image = attrs.evolve(rig.cluster.image, brokers=brokers)


def leader_of_three(rig: HandlerRig, *, isr: tuple[int, ...] = THREE, min_isr: int = 1, epoch: int = 0) -> Partition:
    rig.set_topics(topic("t", TOPIC_ID, 1, replicas=THREE, isr=isr, leader_epoch=epoch))
    partition = rig.replicas.partition("t", 0)
    partition.log.update_config(attrs.evolve(partition.log.config, min_insync_replicas=min_isr))
    return partition


def append(rig: HandlerRig, partition: Partition, *, acks: int = 1) -> int:
    batch = build_batch([Record(timestamp=rig.clock.time_ms())])
    return partition.append(memoryview(batch), acks=acks).last_offset


def fetch(partition: Partition, broker_id: int, offset: int, *, broker_epoch: int = BROKER_EPOCH) -> None:
    partition.check_follower(broker_id, broker_epoch, partition.leader_epoch)
    partition.follower_fetched(broker_id, fetch_offset=offset, log_start_offset=0, broker_epoch=broker_epoch)


# The high watermark


def test_high_watermark_is_the_smallest_end_in_the_isr(rig: HandlerRig) -> None:
    partition = leader_of_three(rig)
    committed: list[ErrorCode] = []
    partition.when_committed(append(rig, partition), committed.append)
    fetch(partition, ANOTHER_BROKER, 1)
    assert (partition.high_watermark, committed) == (0, [])
    fetch(partition, THIRD, 1)
    assert (partition.high_watermark, committed) == (1, [ErrorCode.NONE])


def test_high_watermark_stays_while_the_isr_is_below_the_minimum(rig: HandlerRig) -> None:
    partition = leader_of_three(rig, isr=(BROKER_ID,), min_isr=2)
    append(rig, partition)
    assert partition.high_watermark == 0
    with pytest.raises(KafkaError, match="NOT_ENOUGH_REPLICAS"):
        append(rig, partition, acks=ALL)
    partition.log.update_config(attrs.evolve(partition.log.config, min_insync_replicas=1))
    partition.conditions_changed()
    assert partition.high_watermark == 1


def test_what_is_committed_when_the_isr_is_too_small_is_said_to_be(rig: HandlerRig) -> None:
    partition = leader_of_three(rig, isr=(BROKER_ID,))
    offset = append(rig, partition)
    partition.log.update_config(attrs.evolve(partition.log.config, min_insync_replicas=2))
    told: list[ErrorCode] = []
    partition.when_committed(offset, told.append)
    assert told == [ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND]


def test_high_watermark_waits_for_who_is_about_to_join(rig: HandlerRig) -> None:
    partition = leader_of_three(rig, isr=(BROKER_ID, ANOTHER_BROKER))
    fetch(partition, THIRD, 0)  # caught up: it will join
    append(rig, partition)
    fetch(partition, ANOTHER_BROKER, 1)
    assert partition.high_watermark == 0
    fetch(partition, THIRD, 1)
    assert partition.high_watermark == 1


def test_who_was_about_to_join_and_is_gone_is_not_waited_for(rig: HandlerRig) -> None:
    partition = leader_of_three(rig, isr=(BROKER_ID,))
    partition.isr_refused()  # so that it does not join
    fetch(partition, THIRD, 0)
    told: list[ErrorCode] = []
    partition.when_committed(append(rig, partition), told.append)
    assert told == []
    set_brokers(rig, broker_3=True)
    rig.replicas.on_image(rig.cluster.image, ImageDelta(brokers=frozenset({THIRD})))
    assert told == [ErrorCode.NONE]


def test_who_was_about_to_join_and_falls_behind_is_not_waited_for(rig: HandlerRig) -> None:
    partition = leader_of_three(rig, isr=(BROKER_ID,))
    partition.isr_refused()
    fetch(partition, THIRD, 0)
    append(rig, partition)
    rig.clock.advance(MAX_LAG_MS / 2)
    assert partition.high_watermark == 0
    rig.clock.advance(MAX_LAG_MS)
    assert partition.high_watermark == 1


def test_leader_whose_lease_may_have_ended_commits_nothing(rig: HandlerRig) -> None:
    partition = leader_of_three(rig, isr=(BROKER_ID, ANOTHER_BROKER))
    rig.cluster.lease_ends_ms = rig.clock.monotonic_ms() + 100
    told: list[ErrorCode] = []
    partition.when_committed(append(rig, partition), told.append)
    rig.clock.advance(100)
    fetch(partition, ANOTHER_BROKER, 1)
    assert (partition.high_watermark, told) == (0, [])
    rig.cluster.lease_ends_ms = rig.clock.monotonic_ms() + 100  # renewed
    fetch(partition, ANOTHER_BROKER, 1)
    assert (partition.high_watermark, told) == (1, [ErrorCode.NONE])


def test_leader_alone_in_the_isr_needs_no_lease(rig: HandlerRig) -> None:
    partition = leader_of_three(rig, isr=(BROKER_ID,))
    rig.cluster.lease_ends_ms = rig.clock.monotonic_ms()
    append(rig, partition)
    assert partition.high_watermark == 1


def test_new_leader_does_not_know_what_was_committed_until_its_followers_have_come(rig: HandlerRig) -> None:
    partition = leader_of_three(rig)
    append(rig, partition)
    rig.set_topics(topic("t", TOPIC_ID, 1, replicas=THREE, leader=ANOTHER_BROKER, leader_epoch=1, isr=THREE))
    leader_of_three(rig, epoch=2)
    assert not partition.knows_what_was_committed
    append(rig, partition)
    fetch(partition, ANOTHER_BROKER, 1)
    assert partition.high_watermark == 0
    fetch(partition, THIRD, 1)
    assert (partition.high_watermark, partition.knows_what_was_committed) == (1, True)


def test_losing_leadership_fails_who_waits_and_the_high_watermark_stays(rig: HandlerRig) -> None:
    partition = leader_of_three(rig)
    told: list[ErrorCode] = []
    partition.when_committed(append(rig, partition), told.append)
    rig.set_topics(topic("t", TOPIC_ID, 1, replicas=THREE, leader=-1, leader_epoch=1, isr=THREE))
    assert told == [ErrorCode.NOT_LEADER_OR_FOLLOWER]
    with pytest.raises(KafkaError, match="NOT_LEADER_OR_FOLLOWER"):
        append(rig, partition)
    assert partition.high_watermark == 0


def test_follower_takes_the_high_watermark_as_far_as_its_log_reaches(rig: HandlerRig) -> None:
    partition = leader_of_three(rig, isr=(BROKER_ID,))
    for _ in range(3):
        append(rig, partition)
    rig.set_topics(topic("t", TOPIC_ID, 1, replicas=THREE, leader=ANOTHER_BROKER, leader_epoch=1))
    partition.follow(high_watermark=9, log_start_offset=0)
    assert partition.high_watermark == 3
    partition.follow(high_watermark=2, log_start_offset=1)
    assert (partition.high_watermark, partition.log.log_start_offset) == (3, 1)
    partition.truncate_to(2)
    assert partition.high_watermark == 2


def test_epoch_without_records_goes_when_the_leader_does_not_know_it(rig: HandlerRig) -> None:
    partition = leader_of_three(rig, isr=(BROKER_ID,))
    append(rig, partition)
    leader_of_three(rig, isr=(BROKER_ID,), epoch=3)
    assert partition.log.latest_epoch == 3
    partition.truncate_to(1)
    assert (partition.log.latest_epoch, partition.log.log_end_offset) == (0, 1)


# The ISR


def test_follower_that_falls_behind_is_proposed_to_leave(rig: HandlerRig) -> None:
    partition = leader_of_three(rig)
    for broker_id in (ANOTHER_BROKER, THIRD):
        fetch(partition, broker_id, 0)
    append(rig, partition)
    fetch(partition, ANOTHER_BROKER, 1)
    rig.clock.advance(MAX_LAG_MS)
    assert partition.pending_isr is None
    rig.clock.advance(MAX_LAG_MS)
    assert partition.pending_isr == (BROKER_ID, ANOTHER_BROKER)
    assert partition.high_watermark == 0  # not before the metadata has it
    leader_of_three(rig)  # told again: no decision
    assert (partition.high_watermark, partition.pending_isr) == (0, (BROKER_ID, ANOTHER_BROKER))
    old = rig.cluster.image.topics["t"].partitions[0]
    partition.apply(attrs.evolve(old, isr=(BROKER_ID, ANOTHER_BROKER), partition_epoch=1))
    assert (partition.high_watermark, partition.pending_isr) == (1, None)


def test_follower_that_caught_up_is_proposed_to_join_and_counts_from_then_on(rig: HandlerRig) -> None:
    partition = leader_of_three(rig, isr=(BROKER_ID,))
    append(rig, partition)
    fetch(partition, ANOTHER_BROKER, 0)
    assert partition.pending_isr is None
    fetch(partition, ANOTHER_BROKER, 1)
    assert partition.pending_isr == (BROKER_ID, ANOTHER_BROKER)
    append(rig, partition)
    rig.clock.advance(10 * MAX_LAG_MS)
    append(rig, partition)
    assert partition.high_watermark == 1


def test_refused_proposal_is_made_again_after_a_while(rig: HandlerRig) -> None:
    partition = leader_of_three(rig, isr=(BROKER_ID,))
    fetch(partition, ANOTHER_BROKER, 0)
    assert partition.pending_isr is not None
    partition.isr_refused()
    fetch(partition, ANOTHER_BROKER, 0)
    assert (partition.pending_isr, partition.maximal_isr) == (None, (BROKER_ID,))
    rig.clock.advance(ISR_RETRY_MS)
    fetch(partition, ANOTHER_BROKER, 0)
    assert partition.pending_isr == (BROKER_ID, ANOTHER_BROKER)


def test_proposal_is_for_the_process_that_fetched_and_not_for_one_that_came_after(rig: HandlerRig) -> None:
    partition = leader_of_three(rig, isr=(BROKER_ID,))
    fetch(partition, ANOTHER_BROKER, 0)
    assert partition.pending_isr == (BROKER_ID, ANOTHER_BROKER)
    later = {broker_id: attrs.evolve(broker, epoch=9) for broker_id, broker in rig.cluster.image.brokers.items()}
    rig.cluster.image = attrs.evolve(rig.cluster.image, brokers=later)
    fetch(partition, ANOTHER_BROKER, 0, broker_epoch=9)
    assert partition.pending_broker_epochs == {ANOTHER_BROKER: BROKER_EPOCH}
    with pytest.raises(KafkaError) as refused:  # its disk may have been emptied in between (KIP-903)
        alter_isr(
            rig.cluster.image,
            TOPIC_ID,
            0,
            broker_id=BROKER_ID,
            leader_epoch=partition.leader_epoch,
            partition_epoch=partition.partition_epoch,
            isr=partition.pending_isr,
            broker_epochs=partition.pending_broker_epochs,
        )
    assert refused.value.code is ErrorCode.INELIGIBLE_REPLICA


def test_fenced_follower_does_not_join(rig: HandlerRig) -> None:
    partition = leader_of_three(rig, isr=(BROKER_ID,))
    set_brokers(rig, broker_2=True)
    fetch(partition, ANOTHER_BROKER, 0)
    assert partition.pending_isr is None


def test_stopping_follower_does_not_join(rig: HandlerRig) -> None:
    partition = leader_of_three(rig, isr=(BROKER_ID,))
    brokers = dict(rig.cluster.image.brokers)
    brokers[ANOTHER_BROKER] = attrs.evolve(brokers[ANOTHER_BROKER], is_stopping=True)
    rig.cluster.image = attrs.evolve(rig.cluster.image, brokers=brokers)
    fetch(partition, ANOTHER_BROKER, 0)
    assert partition.pending_isr is None


def test_follower_of_an_earlier_life_is_refused_and_of_a_later_one_does_not_join_yet(rig: HandlerRig) -> None:
    partition = leader_of_three(rig, isr=(BROKER_ID,))
    with pytest.raises(KafkaError, match="NOT_LEADER_OR_FOLLOWER"):
        fetch(partition, ANOTHER_BROKER, 0, broker_epoch=BROKER_EPOCH - 1)
    fetch(partition, ANOTHER_BROKER, 0, broker_epoch=BROKER_EPOCH + 1)  # its registration is not known here yet
    assert partition.pending_isr is None


# The log


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

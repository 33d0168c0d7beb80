"""That the simulation finds bugs: each of these is planted into the broker, and must be found by one of a few seeds.

Here the broker's own methods are replaced, which no other test does: a checker that never fails proves nothing.
"""

from collections.abc import Callable, Sequence

import attrs
import pytest

from pykbroker.cluster import partition_changes
from pykbroker.cluster.membership import Cluster
from pykbroker.groups.offsets import CommittedOffset, Key, OffsetStore
from pykbroker.log.producer_state import ProducerStates
from pykbroker.replication import isr
from pykbroker.replication.fetchers import Fetchers
from pykbroker.replication.partition import Partition
from pykbroker.topic_partition import TopicPartition
from pykbroker.transactions.markers import Ending, MarkerWriter
from pykbroker.transactions.shard import TransactionShard
from tests.simulation.scenario import Settings, simulate
from wire.errors import ErrorCode

pytestmark = [pytest.mark.slow, pytest.mark.parallel]

MAX_SEEDS = 60
PROCESSES = ("kill", "stop", "bounce", "all down")


def truncate_to_the_high_watermark(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Kafka did before KIP-101: a follower learns the high watermark one fetch late, and may lead next."""
    follow = Fetchers.follow

    def following(self: Fetchers, partition: Partition) -> None:
        partition.truncate_to(partition.high_watermark)
        follow(self, partition)

    monkeypatch.setattr(Fetchers, "follow", following)


def acknowledge_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer acks=all when the leader has it."""

    def when_committed(self: Partition, last_offset: int, callback: Callable[[ErrorCode], None]) -> None:
        callback(ErrorCode.NONE)

    monkeypatch.setattr(Partition, "when_committed", when_committed)


def elect_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elect outside of the ISR although the topic does not allow it."""
    monkeypatch.setattr(partition_changes, "allows_unclean_election", lambda *_: True)


def show_what_is_not_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the high watermark be the leader's end."""
    monkeypatch.setattr(isr, "committed_offset", lambda log_end_offset, *_: log_end_offset)


def forget_producers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take what an idempotent producer sends again for something new."""
    monkeypatch.setattr(ProducerStates, "check", lambda *_: None)


def trust_a_disk_that_lost_its_power(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stay in the ISR after an unclean stop."""

    async def stay(self: Cluster) -> None:
        return

    monkeypatch.setattr(Cluster, "_leave_in_sync_replicas", stay)


def read_over_open_transactions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give readers of committed records all that is below the high watermark."""
    monkeypatch.setattr(Partition, "last_stable_offset", property(lambda self: self.high_watermark))


def write_markers_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a marker for written that a partition has refused, or that never arrived."""

    def outcome(self: MarkerWriter, ending: Ending, topic_partition: TopicPartition, error: ErrorCode) -> None:
        ending.missing.discard(topic_partition)

    monkeypatch.setattr(MarkerWriter, "_outcome", outcome)


def count_offsets_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let offsets of a transaction count before it is committed."""
    put = OffsetStore.put

    def put_at_once(
        self: OffsetStore, key: Key, committed: CommittedOffset, *, producer_id: int = -1, is_committed: bool = True
    ) -> None:
        put(self, key, committed, is_committed=is_committed)

    monkeypatch.setattr(OffsetStore, "put", put_at_once)


def forget_the_end_that_was_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take what a coordinator finds decided, but not complete, for complete."""

    def load(self: TransactionShard, is_complete: bool) -> None:
        self.is_loading = False

    monkeypatch.setattr(TransactionShard, "_loaded", load)


@attrs.frozen
class Planted:
    plant: Callable[[pytest.MonkeyPatch], None]
    kinds: frozenset[str]  # violations that show it
    faults: Sequence[str]  # those that bring it out soonest

    def is_found_by(self, seed: int) -> bool:
        outcome = simulate(seed, Settings(faults=self.faults))
        return not self.kinds.isdisjoint(violation.kind for violation in outcome.violations)


PLANTED = [
    Planted(acknowledge_at_once, frozenset({"lost"}), ("isolate and kill",)),
    Planted(show_what_is_not_committed, frozenset({"vanished", "lost", "two values"}), ("isolate and kill",)),
    Planted(forget_producers, frozenset({"duplicate", "order"}), ("lose connections", *PROCESSES)),
    Planted(read_over_open_transactions, frozenset({"early read", "aborted read"}), ("slow",)),
    Planted(count_offsets_at_once, frozenset({"group"}), ("slow",)),
    # These take more seeds.
    Planted(forget_the_end_that_was_decided, frozenset({"open", "torn", "stuck"}), PROCESSES),
    Planted(write_markers_once, frozenset({"open", "torn"}), PROCESSES),
    Planted(truncate_to_the_high_watermark, frozenset({"lost", "vanished", "diverged", "two values"}), PROCESSES),
    Planted(elect_anybody, frozenset({"lost", "vanished"}), ("strand",)),
    Planted(trust_a_disk_that_lost_its_power, frozenset({"lost", "vanished"}), ("lose power", "all down")),
]


def name_of(planted: Planted) -> str:
    return planted.plant.__name__


@pytest.mark.parametrize("planted", PLANTED, ids=name_of)
def test_planted_bug_is_found(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.plant(monkeypatch)
    assert any(planted.is_found_by(seed) for seed in range(MAX_SEEDS))

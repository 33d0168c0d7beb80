"""What a leader concludes from its followers' fetches: who is in sync, and what is committed. Pure decisions.

Rules
- A follower's fetch offset is its log end offset: everything below is on its disk.
- It is caught up at a moment when its fetch reached the leader's end as of that moment, or as of its fetch before: it
  had read all that there was when it last asked.
- Out of sync is who has not been caught up for longer than `replica.lag.time.max.ms` and is behind now.
- The high watermark is the smallest log end offset of the maximal ISR, which includes proposals in flight, and of
  whoever is caught up and will join: it must not have to go back when they do.

Sources: Kafka's Replica and ReplicaState, Partition; KIP-16, KIP-497, KIP-903.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence

import attrs

UNKNOWN_OFFSET = -1
UNKNOWN_EPOCH = -1
NEVER = -math.inf


@attrs.define(eq=False)
class FollowerState:
    """What a leader knows of a follower, all of it from the follower's fetches. Times are monotonic."""

    log_end_offset: int = UNKNOWN_OFFSET
    log_start_offset: int = UNKNOWN_OFFSET
    broker_epoch: int = UNKNOWN_EPOCH
    last_caught_up_ms: float = NEVER
    last_fetch_ms: float = NEVER
    leader_end_at_last_fetch: int = UNKNOWN_OFFSET

    def fetched(
        self, *, fetch_offset: int, log_start_offset: int, broker_epoch: int, leader_end_offset: int, now_ms: float
    ) -> None:
        """Note a fetch that the leader is about to answer."""
        if fetch_offset >= leader_end_offset:
            self.last_caught_up_ms = max(self.last_caught_up_ms, now_ms)
        elif fetch_offset >= self.leader_end_at_last_fetch:
            self.last_caught_up_ms = max(self.last_caught_up_ms, self.last_fetch_ms)
        self.log_end_offset = fetch_offset
        self.log_start_offset = log_start_offset
        self.broker_epoch = broker_epoch
        self.last_fetch_ms = now_ms
        self.leader_end_at_last_fetch = max(self.leader_end_at_last_fetch, leader_end_offset)

    def was_caught_up(self, last_fetch_ms: float) -> None:
        """Make up for fetches that had nothing new here, the last of them at this time: it had all that there was."""
        self.last_caught_up_ms = max(self.last_caught_up_ms, last_fetch_ms)
        self.last_fetch_ms = max(self.last_fetch_ms, last_fetch_ms)
        self.leader_end_at_last_fetch = max(self.leader_end_at_last_fetch, self.log_end_offset)

    def epoch_began(self, *, is_new_leader: bool, is_in_sync: bool, leader_end_offset: int, now_ms: float) -> None:
        """A leader epoch begins: who is in the ISR has until the lag time to fetch. A new leader knows nothing yet."""
        self.last_caught_up_ms = now_ms if is_in_sync else NEVER
        if is_new_leader:
            self.log_end_offset = self.log_start_offset = self.leader_end_at_last_fetch = UNKNOWN_OFFSET
            self.broker_epoch = UNKNOWN_EPOCH
            self.last_fetch_ms = NEVER
        else:
            self.leader_end_at_last_fetch = leader_end_offset
            self.last_fetch_ms = now_ms if is_in_sync else NEVER

    def is_caught_up(self, *, leader_end_offset: int, now_ms: float, max_lag_ms: int) -> bool:
        return self.log_end_offset == leader_end_offset or now_ms - self.last_caught_up_ms <= max_lag_ms


def committed_offset(
    log_end_offset: int,
    followers: Mapping[int, FollowerState],
    maximal_isr: Collection[int],
    will_join: Collection[int],
) -> int:
    """Return where the high watermark may go. `will_join` are eligible and caught up, though not in the ISR yet."""
    offset = log_end_offset
    for broker_id, follower in followers.items():
        if follower.log_end_offset < offset and (broker_id in maximal_isr or broker_id in will_join):
            offset = follower.log_end_offset
    return offset


def out_of_sync(
    isr: Iterable[int],
    followers: Mapping[int, FollowerState],
    *,
    leader_end_offset: int,
    now_ms: float,
    max_lag_ms: int,
) -> list[int]:
    """Return the followers in the ISR that have to leave it."""
    return [
        broker_id
        for broker_id in isr
        if (follower := followers.get(broker_id)) is not None
        and not follower.is_caught_up(leader_end_offset=leader_end_offset, now_ms=now_ms, max_lag_ms=max_lag_ms)
    ]


def has_caught_up(follower: FollowerState, *, high_watermark: int, epoch_start_offset: int) -> bool:
    """Tell whether a follower may enter the ISR: it has all that is committed, and all from before this leader."""
    return follower.log_end_offset >= max(high_watermark, epoch_start_offset)


def union(isr: Sequence[int], proposed: Sequence[int]) -> tuple[int, ...]:
    """Return the maximal ISR while a proposal is in flight: the leader knows neither outcome yet."""
    return (*isr, *(broker_id for broker_id in proposed if broker_id not in isr))

"""How far a follower goes back when its log and its leader's part. A pure decision.

Rules
- The leader names the largest epoch at or below the follower's last one, and where it ends there. Where the follower
  knows that epoch, both logs agree up to the smaller of the two ends. Where it does not, it goes back to the end of the
  largest epoch below it, and asks again: until epochs meet.
- Never to the high watermark: that may keep records that the leader has not, or drop ones that are committed.

Sources: KIP-101, KIP-279, KIP-595; Kafka's AbstractFetcherThread.
"""

UNDEFINED = -1


def truncation_offset(
    *, diverging_epoch: int, leader_end_offset: int, own_epoch: int, own_end_offset: int, log_end_offset: int
) -> int:
    """Return the offset to truncate to.

    The leader's `diverging_epoch` ends there at `leader_end_offset`; `own_epoch` is the largest one at or below it that
    this log has (-1: none), and ends here at `own_end_offset`.
    """
    if UNDEFINED in (diverging_epoch, own_epoch):
        return min(leader_end_offset, log_end_offset)
    if own_epoch != diverging_epoch:
        return min(own_end_offset, log_end_offset)
    return min(own_end_offset, leader_end_offset, log_end_offset)

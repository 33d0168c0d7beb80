"""Truncation by epochs, on two logs that part: told as the rounds of fetch and answer that bring them together."""

import pytest

from pykbroker.log.leader_epochs import LeaderEpochs
from pykbroker.replication.truncation import truncation_offset

Log = tuple[list[tuple[int, int]], int]  # (epoch, start offset) and the log end offset


def rounds(leader: Log, follower: Log) -> list[int]:
    """Let the follower ask until the leader sees no divergence; return what it truncates to in each round."""
    leader_epochs, leader_end = LeaderEpochs(list(leader[0])), leader[1]
    own_epochs, own_end = LeaderEpochs(list(follower[0])), follower[1]
    truncated: list[int] = []
    while True:
        epoch, end_offset = leader_epochs.end_offset_for(own_epochs.latest, leader_end)
        if own_epochs.latest == -1 or (epoch == own_epochs.latest and end_offset >= own_end):
            return truncated
        assert len(truncated) < 10, "it never ends"
        found_epoch, found_end = own_epochs.end_offset_for(epoch, own_end)
        own_end = truncation_offset(
            diverging_epoch=epoch,
            leader_end_offset=end_offset,
            own_epoch=found_epoch,
            own_end_offset=found_end,
            log_end_offset=own_end,
        )
        own_epochs.truncate_from_end(own_end)
        truncated.append(own_end)


@pytest.mark.parametrize(
    ("leader", "follower", "expected"),
    [
        pytest.param(([(0, 0)], 10), ([(0, 0)], 7), [], id="behind"),
        pytest.param(([(0, 0), (2, 5)], 8), ([(0, 0)], 9), [5], id="had more of the common epoch"),
        pytest.param(([(0, 0), (2, 5)], 8), ([(0, 0), (1, 5)], 7), [5], id="had an epoch of its own"),
        pytest.param(([(0, 0), (3, 4)], 9), ([(0, 0), (1, 6), (2, 7)], 8), [4], id="had two epochs of its own"),
        pytest.param(
            ([(0, 0), (2, 6), (4, 9)], 12), ([(0, 0), (1, 4), (3, 7)], 10), [7, 4], id="epochs alternate: KIP-279"
        ),
        pytest.param(([(5, 0)], 3), ([(1, 0), (2, 2)], 4), [0], id="nothing in common"),
        pytest.param(([(0, 0), (2, 5)], 8), ([(0, 0), (1, 5)], 5), [5], id="led without a record"),
    ],
)
def test_logs_meet_where_they_part(leader: Log, follower: Log, expected: list[int]) -> None:
    assert rounds(leader, follower) == expected

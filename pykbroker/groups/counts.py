"""What the group coordinator of a broker counts: over all its shards, and for as long as the process lives.

Source: the sensors of Kafka's GroupCoordinatorMetrics.
"""

import attrs


@attrs.define(eq=False)
class GroupCounts:
    offset_commits: int = 0  # offsets, not requests; those of transactions when they are sent
    offset_deletions: int = 0  # by OffsetDelete; what goes with a group or a topic does not count
    offset_expirations: int = 0
    completed_rebalances: int = 0  # of classic groups: all members have their assignments

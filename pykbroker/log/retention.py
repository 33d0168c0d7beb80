"""Which old segments may go: a pure decision, made from the oldest on.

Rules
- Never a segment that holds an offset at or above the high watermark.
- By time: the youngest record is older than `retention.ms`; a segment stops the search, even if a later one is older.
- By size: as many as fit into what the log is larger than `retention.bytes`.
- Below the log start offset: always, whatever the cleanup policy.

Sources: Kafka's UnifiedLog.deleteOldSegments.
"""

from collections.abc import Sequence

from pykbroker.log.rules import AppendRules
from pykbroker.log.segment import Segment


def deletable_segments(
    segments: Sequence[Segment],
    rules: AppendRules,
    *,
    now_ms: int,
    size_bytes: int,
    log_start_offset: int,
    log_end_offset: int,
    high_watermark: int,
) -> int:
    """Return how many segments, from the first on, may be deleted."""
    count = 0
    excess = size_bytes - rules.retention_bytes if rules.deletes and rules.retention_bytes >= 0 else 0
    by_time = rules.deletes and rules.retention_ms >= 0
    for number, segment in enumerate(segments):
        is_last = number + 1 == len(segments)
        end_offset = log_end_offset if is_last else segments[number + 1].base_offset
        if end_offset > high_watermark or (is_last and not segment.size):
            break
        below_start = not is_last and end_offset <= log_start_offset
        # Compaction may leave a segment without a batch; then nothing tells its age, and nothing is lost with it.
        expired = by_time and (not segment.size or now_ms - segment.largest_timestamp > rules.retention_ms)
        if not (below_start or expired or excess >= segment.size > 0):
            break
        excess -= segment.size
        count += 1
    return count

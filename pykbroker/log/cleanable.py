"""Which part of a compacted log may be cleaned, and how much it needs it: pure decisions.

Rules
- Never the active segment, nor one that reaches to or above min(high watermark, last stable offset), nor one with a
  record younger than `min.compaction.lag.ms`.
- A log is cleaned when the dirty part of what could be clean is larger than `min.cleanable.dirty.ratio`, or when its
  oldest dirty record is older than `max.compaction.lag.ms`.
- The first dirty offset is where the last cleaning ended, as far as that lies within the log.

Sources: KIP-354 (max lag), KIP-58 (min lag); Kafka's LogCleanerManager.cleanableOffsets, LogToClean.
"""

from collections.abc import Sequence

from attrs import frozen

from pykbroker.log.segment import Segment
from pykbroker.topic_config import TopicConfig


@frozen
class Cleanable:
    segments: int  # how many, from the first of the log on
    first_dirty_offset: int
    end_offset: int
    clean_bytes: int
    dirty_bytes: int
    overdue_ms: int  # how much older than `max.compaction.lag.ms` the oldest dirty record is; 0: it is not

    @property
    def dirty_ratio(self) -> float:
        return self.dirty_bytes / max(self.clean_bytes + self.dirty_bytes, 1)


def cleanable_part(
    segments: Sequence[Segment],
    config: TopicConfig,
    *,
    first_dirty_offset: int,
    log_start_offset: int,
    log_end_offset: int,
    stable_offset: int,
    now_ms: int,
) -> Cleanable | None:
    """Return what of a log may be cleaned; None if nothing dirty may. Raises: OSError.

    `stable_offset` is the smaller of high watermark and last stable offset; a `first_dirty_offset` below 0 is unknown.
    """
    if not log_start_offset <= first_dirty_offset <= log_end_offset:
        first_dirty_offset = log_start_offset
    count = clean_bytes = dirty_bytes = 0
    overdue_ms = 0
    end_offset = first_dirty_offset
    for segment in segments[:-1]:
        if segment.end_offset > stable_offset:
            break
        is_dirty = segment.end_offset > first_dirty_offset
        if is_dirty:
            if config.min_compaction_lag_ms > 0 and segment.largest_timestamp > now_ms - config.min_compaction_lag_ms:
                break
            dirty_bytes += segment.size
            first_timestamp = segment.first_timestamp
            if first_timestamp > 0:
                overdue_ms = max(overdue_ms, now_ms - config.max_compaction_lag_ms - first_timestamp)
            end_offset = segment.end_offset
        else:
            clean_bytes += segment.size
        count += 1
    if not dirty_bytes:
        return None
    return Cleanable(count, first_dirty_offset, end_offset, clean_bytes, dirty_bytes, overdue_ms)


def is_due(part: Cleanable, config: TopicConfig) -> bool:
    return part.overdue_ms > 0 or part.dirty_ratio > config.min_cleanable_dirty_ratio

"""The log cleaner: chooses the compacted log that needs it most, has a thread clean it, and puts in what comes back.

Owns: the threads, at most `log.cleaner.threads`; which logs are being cleaned; the first dirty offset of each log and
its file `cleaner-offset-checkpoint`.

Rules
- The thread gets a CompactionJob and reports through a queue, which the loop looks at while a thread is busy. Before
  anything is put in, the log must still be there, online, and not cut since the job began.
- After a cleaning the next log is looked for at once; when there is none, again after `log.cleaner.backoff.ms`.
- A log whose batches cannot be read is left alone until the next start, with one line in the log.
- A thread that computes keeps the interpreter from the event loop for a switch interval, each time the loop comes back
  from a system call. So the interval is short while there is a cleaning: it costs nothing where the loop is idle.
- The checkpoint is written after the segments: a crash in between cleans again what is clean.

Not here: what may be cleaned (cleanable.py), the work itself (compaction.py).
Sources: Kafka's LogCleaner, LogCleanerManager.
"""

import logging
import queue
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from attrs import define, field, frozen

from pykbroker.clock import Clock, Timer
from pykbroker.config import BrokerConfig
from pykbroker.errors import KafkaError
from pykbroker.log.cleanable import Cleanable, cleanable_part, is_due
from pykbroker.log.cleaned_batch import KeepRules
from pykbroker.log.compaction import (
    Abandoned,
    Compacted,
    CompactionJob,
    Pace,
    Replacement,
    SourceSegment,
    Throttle,
    compact,
)
from pykbroker.log.key_offsets import ENTRY_BYTES
from pykbroker.log.partition_log import PartitionLog
from pykbroker.topic_partition import TopicPartition
from wire.errors import ProtocolError

logger = logging.getLogger(__name__)

_POLL_MS = 20
_SWITCH_INTERVAL_S = 0.000_2
_MIN_BUFFER_BYTES = 64 * 1024

Outcome = Replacement | Compacted | Exception  # a segment, the end of the job, or what went wrong


@frozen
class CleaningStats:
    """What a cleaning that is over took."""

    took_ms: float
    read_bytes: int
    written_bytes: int
    buffer_utilization: float


@define(eq=False)
class CleanerStats:
    """For whoever watches over the cleaner; the names that Kafka gives these are in web/log_families."""

    looked_ms: float  # when logs to clean were last looked for, by the monotonic clock
    dirtiest_ratio: float = 0.0  # of all logs, when they were last looked at
    most_overdue_ms: int = 0  # of all logs, when one was last found that is due
    dead_threads: int = 0  # ended by a bug; others took their place
    last: deque[CleaningStats] = field(factory=deque)  # as many as there may be threads


@define(eq=False)
class Cleaning:
    """One log in the hands of a thread."""

    log: PartitionLog
    part: Cleanable
    cuts: int
    pace: Pace
    max_keys: int
    outcomes: queue.SimpleQueue[Outcome]
    thread: threading.Thread | None = None
    started_ms: float = 0.0


class LogCleaner:
    def __init__(
        self,
        config: BrokerConfig,
        clock: Clock,
        logs: Callable[[], Iterable[PartitionLog]],
        high_watermark_of: Callable[[TopicPartition], int | None],
        checkpoint: Callable[[PartitionLog], None],
    ) -> None:
        """`checkpoint` writes the first dirty offsets of the directory of a log."""
        self._config = config
        self._clock = clock
        self._logs = logs
        self._high_watermark_of = high_watermark_of
        self._checkpoint = checkpoint
        self._throttle = Throttle(config.log_cleaner_io_max_bytes_per_second)
        self._busy: list[Cleaning] = []
        self._uncleanable: weakref.WeakSet[PartitionLog] = weakref.WeakSet()
        self._timer: Timer | None = None
        self._poll_timer: Timer | None = None
        self._usual_switch_interval_s = sys.getswitchinterval()
        self.cleaned_total = 0
        self.stats = CleanerStats(clock.monotonic_ms())

    def start(self) -> None:
        if self._config.log_cleaner_enable:
            self._timer = self._clock.call_later(self._config.log_cleaner_backoff_ms, self._look_regularly)

    def stop(self) -> None:
        """End the threads; what they have not finished is thrown away."""
        for timer in (self._timer, self._poll_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._poll_timer = None
        for cleaning in self._busy:
            cleaning.pace.stopped.set()
        for cleaning in list(self._busy):
            self._drop(cleaning)

    def abandon(self, log: PartitionLog) -> None:
        """Stop cleaning a log that goes away or moves. A thread may go on for a moment; nothing of it is put in."""
        for cleaning in self._busy:
            if cleaning.log is log:
                cleaning.pace.stopped.set()

    def _drop(self, cleaning: Cleaning) -> None:
        cleaning.pace.stopped.set()
        self._ended(cleaning)
        while not cleaning.outcomes.empty():
            outcome = cleaning.outcomes.get()
            if isinstance(outcome, Replacement):
                _remove(outcome)

    def _ended(self, cleaning: Cleaning) -> None:
        _join(cleaning)
        self._busy.remove(cleaning)
        if not self._busy:
            sys.setswitchinterval(self._usual_switch_interval_s)

    @property
    def is_busy(self) -> bool:
        return bool(self._busy)

    def join(self) -> None:
        """Wait until the threads at hand have done their work, without applying it. For tests."""
        for cleaning in self._busy:
            _join(cleaning)

    def _look_regularly(self) -> None:
        self.look()
        self._timer = self._clock.call_later(max(self._config.log_cleaner_backoff_ms, 1), self._look_regularly)

    # --- choosing

    def look(self) -> None:
        """Give the logs that need it most to the threads that are idle."""
        free = self._config.log_cleaner_threads - len(self._busy)
        if free <= 0:
            return
        dirty = []
        for log in self._logs():
            if log not in self._uncleanable and all(cleaning.log is not log for cleaning in self._busy):
                part = self._dirty_part(log)
                if part is not None:
                    dirty.append((part.dirty_ratio, part, log))
        dirty.sort(key=lambda entry: -entry[0])
        stats = self.stats
        stats.looked_ms = self._clock.monotonic_ms()
        stats.dirtiest_ratio = dirty[0][0] if dirty else 0.0
        due = [(part, log) for _, part, log in dirty if is_due(part, log.config)]
        if due:
            stats.most_overdue_ms = max(part.overdue_ms for _, part, _ in dirty)
        for part, log in due[:free]:
            self._begin(log, part)

    def uncleanable(self) -> Iterator[tuple[PartitionLog, int]]:
        """Yield the logs that are left alone, and how many bytes of each would be due."""
        for log in self._logs() if self._uncleanable else ():
            if log in self._uncleanable:
                part = self._dirty_part(log)
                yield log, 0 if part is None else part.dirty_bytes

    def _dirty_part(self, log: PartitionLog) -> Cleanable | None:
        segments = log.segments
        if (
            not log.config.is_compacted
            or len(segments) < 2
            or log.first_dirty_offset == segments[-1].base_offset
            or log.log_directory.offline is not None
        ):
            return None
        high_watermark = self._high_watermark_of(log.topic_partition)
        if high_watermark is None:
            high_watermark = log.log_end_offset
        unstable = log.first_unstable_offset(high_watermark)
        try:
            return cleanable_part(
                segments,
                log.config,
                first_dirty_offset=log.first_dirty_offset,
                log_start_offset=log.log_start_offset,
                log_end_offset=log.log_end_offset,
                stable_offset=high_watermark if unstable is None else min(unstable, high_watermark),
                now_ms=self._clock.time_ms(),
            )
        except OSError as error:
            log.log_directory.failed(error)
            return None

    # --- the threads

    def _begin(self, log: PartitionLog, part: Cleanable) -> None:
        self._throttle.change(self._config.log_cleaner_io_max_bytes_per_second)
        try:
            job = self._job(log, part)
        except KafkaError:
            return  # its directory is offline now
        cleaning = Cleaning(log, part, log.cuts, Pace(self._throttle), job.max_keys, queue.SimpleQueue())
        cleaning.started_ms = self._clock.monotonic_ms()
        cleaning.thread = threading.Thread(
            target=_run, args=(job, cleaning.pace, cleaning.outcomes), name="log-cleaner", daemon=True
        )
        self._busy.append(cleaning)
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        cleaning.thread.start()
        if self._poll_timer is None:
            self._poll_timer = self._clock.call_later(_POLL_MS, self._poll)

    def _job(self, log: PartitionLog, part: Cleanable) -> CompactionJob:
        config, threads = self._config, max(self._config.log_cleaner_threads, 1)
        segments = log.segments[: part.segments]
        rules = log.append_rules
        return CompactionJob(
            directory=str(log.directory),
            sources=tuple(SourceSegment(each.base_offset, each.end_offset, each.size) for each in segments),
            rules=KeepRules(
                start_offset=part.first_dirty_offset,
                end_offset=part.end_offset,
                now_ms=self._clock.time_ms(),
                delete_retention_ms=log.config.delete_retention_ms,
                codec=rules.codec,
                level=rules.level,
                last_batches={
                    producer_id: (state.batches[-1].last_offset if state.batches else None, state.producer_epoch)
                    for producer_id, state in log.active_producers()
                },
            ),
            aborted=tuple(log.aborted_transactions(segments[0].base_offset, part.end_offset)),
            segment_bytes=rules.segment_bytes,
            segment_index_bytes=rules.segment_index_bytes,
            index_interval_bytes=rules.index_interval_bytes,
            max_keys=int(
                config.log_cleaner_dedupe_buffer_size
                * config.log_cleaner_io_buffer_load_factor
                / (threads * ENTRY_BYTES)
            ),
            buffer_bytes=max(config.log_cleaner_io_buffer_size // threads // 2, _MIN_BUFFER_BYTES),
        )

    # --- what comes back

    def _poll(self) -> None:
        """Put in what the threads have finished."""
        self._poll_timer = None
        self._throttle.change(self._config.log_cleaner_io_max_bytes_per_second)
        ended = [cleaning for cleaning in self._busy if self._apply(cleaning)]
        for cleaning in ended:
            self._ended(cleaning)
        if ended:
            self.look()
        if self._busy and self._poll_timer is None:
            self._poll_timer = self._clock.call_later(_POLL_MS, self._poll)

    def _apply(self, cleaning: Cleaning) -> bool:
        """Apply what a thread has reported since the last time; return whether it has ended."""
        has_died = cleaning.thread is not None and not cleaning.thread.is_alive()
        while not cleaning.outcomes.empty():
            outcome = cleaning.outcomes.get()
            if isinstance(outcome, Replacement):
                self._replace(cleaning, outcome)
            else:
                self._end(cleaning, outcome)
                return True
        if has_died:
            self.stats.dead_threads += 1
            self._uncleanable.add(cleaning.log)  # by a bug, which the thread has told
        return has_died

    def _replace(self, cleaning: Cleaning, replacement: Replacement) -> None:
        log = cleaning.log
        try:
            if (
                log.cuts == cleaning.cuts
                and not cleaning.pace.stopped.is_set()
                and log.replace_segments(replacement.base_offsets, replacement.cleaned)
            ):
                return
        except KafkaError:
            pass  # the directory is offline, and has said why
        cleaning.pace.stopped.set()
        _remove(replacement)

    def _end(self, cleaning: Cleaning, outcome: Compacted | Exception) -> None:
        log = cleaning.log
        if isinstance(outcome, Compacted):
            took_ms = self._clock.monotonic_ms() - cleaning.started_ms
            self._note(cleaning, outcome, took_ms)
            if log.cuts != cleaning.cuts or cleaning.pace.stopped.is_set():
                return
            log.first_dirty_offset = outcome.end_offset
            self._checkpoint(log)
            self.cleaned_total += 1
            logger.info(
                "%s: compacted from offset %d to %d in %.1f s, %d bytes became %d",
                log.topic_partition,
                cleaning.part.first_dirty_offset,
                outcome.end_offset,
                took_ms / 1000,
                cleaning.part.clean_bytes + cleaning.part.dirty_bytes,
                sum(segment.size for segment in log.segments if segment.end_offset <= outcome.end_offset),
            )
        elif isinstance(outcome, OSError):
            log.log_directory.failed(outcome)
        elif not isinstance(outcome, Abandoned):
            self._uncleanable.add(log)
            logger.error("%s cannot be compacted: %s", log.topic_partition, outcome)

    def _note(self, cleaning: Cleaning, compacted: Compacted, took_ms: float) -> None:
        last = self.stats.last
        utilization = compacted.keys / max(cleaning.max_keys, 1)
        last.append(CleaningStats(took_ms, compacted.read_bytes, compacted.written_bytes, utilization))
        while len(last) > max(self._config.log_cleaner_threads, 1):
            last.popleft()


def _run(job: CompactionJob, pace: Pace, outcomes: queue.SimpleQueue[Outcome]) -> None:
    try:
        outcomes.put(compact(job, pace, outcomes.put))
    except (Abandoned, OSError, ProtocolError) as error:
        outcomes.put(error)


def _join(cleaning: Cleaning) -> None:
    if cleaning.thread is not None:
        cleaning.thread.join()


def _remove(replacement: Replacement) -> None:
    try:
        replacement.cleaned.remove()
    except OSError as error:
        logger.warning("cannot remove what compaction wrote: %s", error)  # the next start does

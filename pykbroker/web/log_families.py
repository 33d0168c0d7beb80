"""Families about logs, their directories, flushes and compaction, by the names that the JMX exporter gives Kafka's.

The cleaner's values are those of the last cleanings, as many as there may be threads, and of the last look for
something to clean. Without `log.cleaner.enable` there is no cleaner, and nothing is told of it.
Sources: Kafka's UnifiedLog, LogManager, LogFlushStats, LogCleaner, LogCleanerManager, ReplicaAlterLogDirsManager.
"""

from collections import Counter
from collections.abc import Iterator, Sequence

from pykbroker.handlers.context import Services
from pykbroker.histogram import Histogram
from pykbroker.log.log_dirs import LogDirs
from pykbroker.log.partition_log import PartitionLog
from pykbroker.replication.partition import Partition
from pykbroker.web.families import NO_LABELS, PAUSE, Families, Family, gauge, labels, partition_labels, summary


class LogFamilies:
    def __init__(self, services: Services, flush_us: Histogram) -> None:
        self._services = services
        self._flush_us = flush_us

    def collect(self) -> Families:
        log_dirs = self._services.log_dirs
        yield from _logs(list(self._services.replicas.partitions()))
        yield from self._directories()
        yield summary(
            "kafka_log_logflushstats_logflushrateandtimems",
            "Time that the flush of a log took.",
            [(NO_LABELS, self._flush_us)],
            now_ms=self._services.clock.monotonic_ms(),
            unit=1000,
        )
        if self._services.config.log_cleaner_enable:
            yield from self._cleaner(log_dirs)
        yield gauge(
            "kafka_server_replicaalterlogdirsmanager_maxlag",
            "The largest number of records that a replica on its way to another log directory lacks there.",
            [
                (
                    labels(clientId="ReplicaAlterLogDirs"),
                    max((_lag(log_dirs, each) for each in log_dirs.futures()), default=0),
                )
            ],
        )

    def _directories(self) -> Families:
        log_dirs = self._services.log_dirs
        of_each = [(labels(logDirectory=each.absolute_path), each) for each in log_dirs.directories]
        offline = [(of, int(each.offline is not None)) for of, each in of_each]
        cordoned = [(of, int(log_dirs.choice.is_cordoned(each))) for of, each in of_each]
        prefix = "kafka_log_logmanager"
        yield gauge(f"{prefix}_logdirectoryoffline", "1: the log directory failed.", offline)
        yield gauge(f"{prefix}_offlinelogdirectorycount", "Log directories that failed.", sum(n for _, n in offline))
        yield gauge(f"{prefix}_logdirectorycordoned", "1: the log directory gets no new partitions.", cordoned)
        yield gauge(f"{prefix}_cordonedlogdirectorycount", "Those that get none.", sum(n for _, n in cordoned))

    def _cleaner(self, log_dirs: LogDirs) -> Families:
        now_ms, cleaner = self._services.clock.monotonic_ms(), log_dirs.cleaner_in_use
        last = [] if cleaner is None else cleaner.stats.last
        looked_ms = log_dirs.looked_for_compaction_ms if cleaner is None else cleaner.stats.looked_ms
        read_bytes = sum(each.read_bytes for each in last)
        prefix = "kafka_log_logcleaner"
        yield gauge(
            f"{prefix}_max_clean_time_secs",
            "How long the last cleaning took.",
            int(max((each.took_ms for each in last), default=0) / 1000),
        )
        yield gauge(
            f"{prefix}_cleaner_recopy_percent",
            "What was left of what the last cleaning read.",
            100 * sum(each.written_bytes for each in last) // max(read_bytes, 1),
        )
        yield gauge(
            f"{prefix}_max_buffer_utilization_percent",
            "How much of log.cleaner.dedupe.buffer.size the last cleaning used.",
            int(100 * max((each.buffer_utilization for each in last), default=0)),
        )
        yield gauge(
            f"{prefix}_max_compaction_delay_secs",
            "How long a log had been due by max.compaction.lag.ms when one was last cleaned.",
            0 if cleaner is None else cleaner.stats.most_overdue_ms // 1000,
        )
        yield gauge(
            f"{prefix}_deadthreadcount",
            "Threads of the cleaner that a bug has ended; others took their place.",
            0 if cleaner is None else cleaner.stats.dead_threads,
        )
        prefix = "kafka_log_logcleanermanager"
        yield gauge(
            f"{prefix}_max_dirty_percent",
            "The dirty part of the dirtiest log, at the last look.",
            0 if cleaner is None else int(100 * cleaner.stats.dirtiest_ratio),
        )
        yield gauge(
            f"{prefix}_time_since_last_run_ms", "Since the last look for logs to clean.", int(now_ms - looked_ms)
        )
        counts: Counter[str] = Counter()
        sizes: Counter[str] = Counter()
        for log, size in () if cleaner is None else cleaner.uncleanable():
            counts[log.log_directory.absolute_path] += 1
            sizes[log.log_directory.absolute_path] += size
        paths = [(each.absolute_path, labels(logDirectory=each.absolute_path)) for each in log_dirs.directories]
        yield gauge(
            f"{prefix}_uncleanable_partitions_count",
            "Logs that the cleaner leaves alone, since it could not read them.",
            [(of, counts[path]) for path, of in paths],
        )
        yield gauge(
            f"{prefix}_uncleanable_bytes", "What it would clean of them.", [(of, sizes[path]) for path, of in paths]
        )


def _lag(log_dirs: LogDirs, future: PartitionLog) -> int:
    log = log_dirs.get(future.topic_partition)
    return 0 if log is None else max(log.log_end_offset - future.log_end_offset, 0)


def _logs(partitions: Sequence[Partition]) -> Families:
    of_each = [partition_labels(*each.topic_partition) for each in partitions]
    yield PAUSE

    def family(name: str, documentation: str, values: Iterator[int]) -> Family:
        return gauge(f"kafka_log_log_{name}", documentation, zip(of_each, values, strict=True))

    yield family("size", "Bytes of the segments of a log.", (each.log.size_bytes for each in partitions))
    yield family("logendoffset", "The offset of a log's next record.", (each.log.log_end_offset for each in partitions))
    yield family("logstartoffset", "The first offset of a log.", (each.log.log_start_offset for each in partitions))
    yield family("numlogsegments", "Segments of a log.", (max(len(each.log.segments), 1) for each in partitions))

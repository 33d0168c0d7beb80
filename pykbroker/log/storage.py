"""One log directory's common things: its state, its open files, its flusher thread, and what an I/O error means.

Rules
- An I/O error takes the directory offline for good: nothing in it is read or written any more. A failed fsync most of
  all, since the kernel forgets what it could not write.
- A full disk, a quota, and too many open files are not errors of the disk: the request fails, and the next may succeed.
- The thread gets open files and paths, never logs; what it did is applied by the owner, in `flushed()`.

Sources: KIP-112 (JBOD), Kafka's LogDirFailureChannel.
"""

from __future__ import annotations

import errno
import logging
import os
import queue
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pykbroker.clock import Clock
from pykbroker.errors import KafkaError
from pykbroker.log.files import FilePool, OpenFile, sync_directory
from pykbroker.topic_config import TopicConfig
from pykbroker.topic_partition import TopicPartition
from wire.errors import ErrorCode

if TYPE_CHECKING:
    from pykbroker.log.observer import LogObserver
    from pykbroker.log.rules import AppendRules

logger = logging.getLogger(__name__)

_PASSING = frozenset(
    (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EINTR, errno.EAGAIN, errno.ENOMEM)
)


class FlushJob(NamedTuple):
    """Files to flush so that all records of a log below `end_offset` survive a loss of power."""

    topic_partition: TopicPartition
    end_offset: int
    files: tuple[OpenFile, ...]
    directory: str


class LogDirectory:
    """One of `log.dirs`. `fail` may be called by any thread."""

    __slots__ = (
        "__weakref__",
        "_rules",
        "absolute_path",
        "clock",
        "directory_id",
        "flusher",
        "max_walked_batch_bytes",
        "observer",
        "offline",
        "on_offline",
        "path",
        "pool",
        "producer_id_expiration_ms",
        "strict_records",
    )

    def __init__(
        self,
        path: Path,
        clock: Clock,
        pool: FilePool,
        *,
        producer_id_expiration_ms: int = 86_400_000,
        strict_records: bool = False,
        max_walked_batch_bytes: int = 64 * 1024 * 1024,
        new_flusher: Callable[[LogDirectory], Flusher] | None = None,
    ) -> None:
        self.path = path
        self.absolute_path = os.path.abspath(path)
        self.clock = clock
        self.pool = pool
        self.producer_id_expiration_ms = producer_id_expiration_ms
        self.strict_records = strict_records
        self.max_walked_batch_bytes = max_walked_batch_bytes
        self.directory_id = bytes(16)
        self.offline: str | None = None  # why
        self.on_offline: list[Callable[[LogDirectory], None]] = []
        self.observer: LogObserver | None = None
        self.flusher = (new_flusher or Flusher)(self)
        self._rules: weakref.WeakKeyDictionary[TopicConfig, AppendRules] = weakref.WeakKeyDictionary()

    def rules(self, config: TopicConfig) -> AppendRules:
        """Return what appends need of a configuration; logs with the same configuration share it."""
        rules = self._rules.get(config)
        if rules is None:
            from pykbroker.log.rules import AppendRules

            rules = self._rules[config] = AppendRules(
                config, strict_records=self.strict_records, max_batch_bytes=self.max_walked_batch_bytes
            )
        return rules

    def failed(self, error: OSError) -> KafkaError:
        """Note an I/O error; return what the request is answered with."""
        if error.errno in _PASSING:
            logger.warning("%s: %s", self.path, error)
        else:
            self.fail(str(error))
        return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"{os.strerror(error.errno or errno.EIO)} in {self.path}")

    def fail(self, reason: str) -> None:
        """Take the directory offline."""
        if self.offline is None:
            self.offline = reason
            logger.error("%s goes offline: %s", self.path, reason)

    def flush(self, job: FlushJob) -> None:
        """Raises: OSError."""
        began_ms = self.clock.monotonic_ms()
        for file in job.files:
            os.fsync(file.fd)
        sync_directory(job.directory)
        if self.observer is not None and job.files:
            self.observer.flushed(self.clock.monotonic_ms() - began_ms)

    def check_online(self) -> None:
        """Raises: KAFKA_STORAGE_ERROR."""
        if self.offline is not None:
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, f"{self.path} is offline")


class Flusher:
    """A thread that flushes files, started with the first job."""

    def __init__(self, directory: LogDirectory) -> None:
        self._directory = weakref.ref(directory)
        self._jobs: queue.SimpleQueue[FlushJob | str | None] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[FlushJob] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def remove_directory(self, path: str) -> None:
        """Remove a deleted partition's directory; large files take their time."""
        self._submit(path)

    def submit(self, job: FlushJob) -> None:
        self._submit(job)

    def _submit(self, job: FlushJob | str) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="log-flusher", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def flushed(self) -> list[tuple[TopicPartition, int]]:
        """Return which logs were flushed below which offsets since the last call."""
        done = []
        while not self._done.empty():
            job = self._done.get()
            done.append((job.topic_partition, job.end_offset))
        return done

    def stop(self) -> None:
        """Finish the jobs at hand and end the thread."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._directory() is None:
                return
            self._do(job)

    def _do(self, job: FlushJob | str) -> None:
        if isinstance(job, str):
            import shutil

            shutil.rmtree(job, ignore_errors=True)
            return
        directory = self._directory()
        if directory is None:
            return
        try:
            directory.flush(job)
        except FileNotFoundError:
            return  # the partition was deleted meanwhile
        except OSError as error:
            directory.fail(f"flush failed: {error}")
        else:
            self._done.put(job)

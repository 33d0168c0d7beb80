"""When leases end that several processes keep in one SQLite file.

Owns: what this process has seen of every lease; the lock files of its own ones.

Rules
- A lease ends when its holder is dead, or when its counter of renewals has stood still for its time to live. Time is
  measured by the monotonic clock of whoever watches, from when it saw the last renewal: later than the holder counts.
- A holder lives as long as it has the lock (flock) of `<file>-lease-<id>`. It takes the lock before others can see the
  lease, and the kernel takes it away with the process, however that ends. A frozen holder keeps it: its time runs out.
- Where a lock file is missing, only time decides.

Not here: the table of leases and the keys under them (sqlite_store).
"""

import contextlib
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path

import attrs

from pykbroker.errors import StorageError


@attrs.define
class _Seen:
    renewals: int
    since_ms: float  # by our monotonic clock


class SharedLeases:
    def __init__(self, store: Path) -> None:
        self._store = store
        self._seen: dict[int, _Seen] = {}
        self._held: dict[int, int] = {}  # lease -> descriptor of its locked file

    def hold(self, lease: int) -> None:
        """Show that this process lives, for as long as it does. Raises: StorageError."""
        try:
            descriptor = os.open(self._path(lease), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"cannot create {self._path(lease)}: {error.strerror}") from error
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._held[lease] = descriptor

    def forget(self, lease: int) -> None:
        """The lease has ended, whoever held it."""
        self._seen.pop(lease, None)
        with contextlib.suppress(FileNotFoundError):
            self._path(lease).unlink()
        if lease in self._held:
            os.close(self._held.pop(lease))

    def close(self) -> None:
        """Let go of what this process holds: to the others it is dead."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def ended(self, leases: Iterable[tuple[int, int, int]], now_ms: float) -> list[int]:
        """Return those that have ended of all leases, given as id, time to live in ms, renewals."""
        known = self._seen
        self._seen = {}
        ended = []
        for lease, ttl_ms, renewals in leases:
            seen = known.get(lease)
            if seen is None or seen.renewals != renewals:
                seen = _Seen(renewals, now_ms)
            self._seen[lease] = seen
            if now_ms - seen.since_ms > ttl_ms or self._is_holder_dead(lease):
                ended.append(lease)
        return ended

    def has_ended(self, lease: int, renewals: int) -> bool:
        """Tell whether what `ended` found is still so: the lease was not renewed meanwhile."""
        return lease in self._seen and self._seen[lease].renewals == renewals

    def _is_holder_dead(self, lease: int) -> bool:
        if lease in self._held:
            return False
        try:
            descriptor = os.open(self._path(lease), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def _path(self, lease: int) -> Path:
        return self._store.with_name(f"{self._store.name}-lease-{lease}")

"""The embedded engine: one SQLite file, for one process or for several on one machine.

Owns: the file and the one connection to it. Format:

    kv     key, value (NULL: deleted), revision, lease        lease   id, ttl_ms, renewals
    meta   revision, compacted (what was deleted up to this revision is forgotten), next_lease

Rules
- Write-ahead log; `synchronous=FULL`, so that a commit survives a loss of power; OFF where the data is ephemeral.
- All statements run in a worker thread of the store's own, one at a time, and their results are delivered before the
  next one starts: listeners see revisions in order.
- Alone (`shared=False`) the file is locked against other processes, deleted keys are removed, and leases live in
  memory: those of an earlier process end when the file is opened.
- Shared, deleted keys stay as tombstones for `KEPT_TOMBSTONES` revisions; whoever is further behind gets a reset. A
  lease is a counter of renewals, which each process watches (sqlite_leases).
- Every `POLL_INTERVAL_MS` a process that shares the file asks for its data version, on the event loop: about 5 µs
  and no waiting. It reads when that has changed, and at each `POLLS_PER_LOOK`th poll, when it looks after the leases.
- A process that is frozen in the middle of a commit holds the file's lock: the others fail after `BUSY_TIMEOUT_S`, and
  go on when it is continued or killed.

Sources: https://www.sqlite.org/wal.html, PRAGMA data_version (changes when another connection has written).
"""

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import anyio
import anyio.to_thread

from pykbroker.clock import Clock, Timer
from pykbroker.cluster.store import (
    NO_LEASE,
    Batch,
    Condition,
    Delete,
    DeletePrefix,
    Event,
    KeyValue,
    Listener,
    Operation,
    Put,
    Snapshot,
    Store,
    TxnResult,
    prefix_end,
)
from pykbroker.errors import StorageError

if TYPE_CHECKING:
    from pykbroker.cluster.sqlite_leases import SharedLeases

logger = logging.getLogger("pykbroker.cluster")

FORMAT = 1
POLL_INTERVAL_MS = 10  # a client that asks another broker next should find what it has changed
KEPT_TOMBSTONES = 10_000  # revisions
POLLS_PER_LOOK = 40
BUSY_TIMEOUT_S = 5

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS kv (
    key TEXT PRIMARY KEY, value BLOB, revision INTEGER NOT NULL, lease INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS kv_by_revision ON kv (revision);
CREATE INDEX IF NOT EXISTS kv_by_lease ON kv (lease) WHERE lease <> 0;
CREATE TABLE IF NOT EXISTS lease (id INTEGER PRIMARY KEY, ttl_ms INTEGER NOT NULL, renewals INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS meta (revision INTEGER NOT NULL, compacted INTEGER NOT NULL, next_lease INTEGER NOT NULL);
INSERT INTO meta SELECT 0, 0, 1 WHERE NOT EXISTS (SELECT * FROM meta);
PRAGMA user_version = {FORMAT};
COMMIT;
"""

T = TypeVar("T")


class SqliteStore(Store):
    def __init__(self, path: Path, clock: Clock, *, shared: bool = False, ephemeral: bool = False) -> None:
        self._path = path
        self._clock = clock
        self._shared = shared
        self._ephemeral = ephemeral
        self._lock = anyio.Lock()
        self._thread = anyio.CapacityLimiter(1)  # its own: a renewal must not wait for the log's reads and flushes
        self._connection: sqlite3.Connection | None = None
        self._is_closed = False
        self._poll_connection: sqlite3.Connection | None = None  # used on the event loop
        self._listeners: list[Listener] = []
        self._delivered = 0  # revision that the listeners know
        self._written: list[Event] = []  # by the transaction in progress
        self._data_version = -1
        self._shared_leases_or_none: SharedLeases | None = None
        self._own_leases: set[int] = set()

    @property
    def _shared_leases(self) -> "SharedLeases":
        if self._shared_leases_or_none is None:
            from pykbroker.cluster.sqlite_leases import SharedLeases  # a broker alone starts without

            self._shared_leases_or_none = SharedLeases(self._path)
        return self._shared_leases_or_none

    async def range(self, prefix: str) -> Snapshot:
        return await self._run(lambda db: _snapshot(db, prefix))

    async def txn(self, conditions: list[Condition], operations: list[Operation]) -> TxnResult:
        return await self._write(lambda db: self._txn(db, conditions, operations))

    async def catch_up(self) -> None:
        if self._shared:  # else nobody else writes
            await super().catch_up()

    async def watch(self, listener: Listener) -> Snapshot:
        def read(db: sqlite3.Connection) -> tuple[Batch | None, Snapshot]:
            self._written.clear()
            with _transaction(db, "BEGIN"):
                return self._news(db), _snapshot(db, "")

        async with self._lock:
            news, snapshot = await self._in_thread(read)
            self._deliver(news)
            self._delivered = snapshot.revision
            self._listeners.append(listener)
        return snapshot

    async def grant_lease(self, ttl_ms: int) -> int:
        if not self._shared:
            lease = max(self._own_leases, default=NO_LEASE) + 1
            self._own_leases.add(lease)
            return lease

        def allocate(db: sqlite3.Connection) -> int:
            (lease,) = db.execute("UPDATE meta SET next_lease = next_lease + 1 RETURNING next_lease - 1").fetchone()
            assert isinstance(lease, int)
            return lease

        def begin(db: sqlite3.Connection) -> None:
            self._shared_leases.hold(lease)
            db.execute("INSERT INTO lease VALUES (?, ?, 0)", (lease, ttl_ms))

        # In two steps: an id that was locked is never given out again, even if the second one fails.
        lease = await self._write(allocate)
        await self._write(begin)
        return lease

    async def keep_alive(self, lease: int) -> bool:
        if not self._shared:
            return lease in self._own_leases
        return await self._write(
            lambda db: db.execute("UPDATE lease SET renewals = renewals + 1 WHERE id = ?", (lease,)).rowcount == 1
        )

    async def revoke_lease(self, lease: int) -> None:
        self._own_leases.discard(lease)
        await self._write(lambda db: self._end_leases(db, [lease]))

    async def run(self) -> None:
        while self._shared and not self._is_closed:
            await self._something_to_see()
            try:
                await self._look()
                self.is_up_to_date = True
            except StorageError as error:
                if self.is_up_to_date and not self._is_closed:
                    logger.error("cannot follow the metadata: %s", error)
                self.is_up_to_date = False

    async def close(self) -> None:
        async with self._lock:
            self._is_closed = True
            if self._shared:
                self._shared_leases.close()
            if self._poll_connection is not None:
                self._poll_connection.close()
                self._poll_connection = None
            if self._connection is not None:
                await anyio.to_thread.run_sync(self._connection.close, limiter=self._thread)
                self._connection = None

    # On the event loop

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        async with self._lock:
            return await self._in_thread(work)

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction, then tell the listeners all that is new, before anyone else's turn."""

        def transaction(db: sqlite3.Connection) -> tuple[Batch | None, T]:
            self._written.clear()
            with _transaction(db, "BEGIN IMMEDIATE"):
                result = work(db)
                return self._news(db), result

        async with self._lock:
            news, result = await self._in_thread(transaction)
            self._deliver(news)
            return result

    async def _something_to_see(self) -> None:
        """Poll until the file was written or the leases are to be looked after.

        By timers: a task that sleeps costs three times as much.
        """
        over = anyio.Event()
        timers: list[Timer] = []
        polls = 0

        def poll() -> None:
            nonlocal polls
            polls += 1
            if self._others_wrote() or polls == POLLS_PER_LOOK:
                over.set()
            else:
                timers[:] = [self._clock.call_later(POLL_INTERVAL_MS, poll)]

        timers.append(self._clock.call_later(POLL_INTERVAL_MS, poll))
        try:
            await over.wait()
        finally:
            timers[0].cancel()

    def _others_wrote(self) -> bool:
        """Tell whether the file was written since the last time, by whomever."""
        try:
            if self._poll_connection is None:
                self._poll_connection = sqlite3.connect(self._path, isolation_level=None, timeout=0)
            (data_version,) = self._poll_connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            return True  # most likely busy: the look, which may wait, will tell
        is_new: bool = data_version != self._data_version
        self._data_version = data_version
        return is_new

    async def _look(self) -> None:
        async with self._lock:
            news, ended = await self._in_thread(self._look_around)
            self._deliver(news)
        if ended:
            await self._write(lambda db: self._end_leases(db, ended, unless_renewed=True))

    def _deliver(self, news: Batch | None) -> None:
        if news is not None:
            self._delivered = news.revision
            for listener in self._listeners:
                listener(news)

    async def _in_thread(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` with the connection in a worker thread. The lock is held: there is no second one."""

        def call() -> T:
            try:
                if self._is_closed:
                    raise StorageError("the store is closed")
                if self._connection is None:
                    self._connection = self._open()
                return work(self._connection)
            except sqlite3.Error as error:
                if "locked" in str(error):
                    how = f"is kept locked for {BUSY_TIMEOUT_S} s" if self._shared else "is in use"
                    raise StorageError(f"{self._path} {how} by another process") from error
                raise StorageError(f"{self._path}: {error}") from error

        return await anyio.to_thread.run_sync(call, limiter=self._thread)

    # In the worker thread

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(
            self._path,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_TIMEOUT_S if self._shared else 0,
        )
        try:
            if not self._shared:
                db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(f"PRAGMA synchronous = {'OFF' if self._ephemeral else 'FULL'}")
            (found,) = db.execute("PRAGMA user_version").fetchone()
            if found > FORMAT:
                raise StorageError(f"{self._path} was written by a newer version (format {found})")
            if found < FORMAT:
                db.executescript(_SCHEMA)
            self._end_leases_of_killed(db)
        except BaseException:
            db.close()
            raise
        return db

    def _txn(self, db: sqlite3.Connection, conditions: list[Condition], operations: list[Operation]) -> TxnResult:
        (revision,) = db.execute("SELECT revision FROM meta").fetchone()
        for key, expected in conditions:
            row = db.execute("SELECT revision FROM kv WHERE key = ? AND value IS NOT NULL", (key,)).fetchone()
            if (row[0] if row else 0) != expected:
                return TxnResult(False, revision)
        leases = {operation.lease for operation in operations if isinstance(operation, Put) and operation.lease}
        if not all(self._is_alive(db, lease) for lease in leases):
            return TxnResult(False, revision)
        revision += 1
        rows: dict[str, tuple[str, bytes | None, int, int]] = {}
        for operation in operations:
            match operation:
                case Put(key, value, lease):
                    rows[key] = (key, value, revision, lease)
                case Delete(key):
                    if key in rows or self._exists(db, key):
                        rows[key] = (key, None, revision, NO_LEASE)
                case DeletePrefix(prefix):
                    found = [entry.key for entry in _snapshot(db, prefix).entries]
                    rows.update((key, (key, None, revision, NO_LEASE)) for key in found)
                    rows.update((key, (key, None, revision, NO_LEASE)) for key in rows if key.startswith(prefix))
        self._store(db, revision, list(rows.values()))
        return TxnResult(True, revision)

    def _store(self, db: sqlite3.Connection, revision: int, rows: list[tuple[str, bytes | None, int, int]]) -> None:
        kept = rows if self._shared else [row for row in rows if row[1] is not None]
        db.executemany("INSERT OR REPLACE INTO kv VALUES (?, ?, ?, ?)", kept)
        if len(kept) < len(rows):
            db.executemany("DELETE FROM kv WHERE key = ?", [row[:1] for row in rows if row[1] is None])
        self._written += [Event(*row[:3]) for row in rows]
        db.execute("UPDATE meta SET revision = ?", (revision,))
        if self._shared and revision % KEPT_TOMBSTONES == 0:
            old = revision - KEPT_TOMBSTONES
            db.execute("DELETE FROM kv WHERE value IS NULL AND revision <= ?", (old,))
            db.execute("UPDATE meta SET compacted = ?", (old,))

    def _exists(self, db: sqlite3.Connection, key: str) -> bool:
        return db.execute("SELECT 1 FROM kv WHERE key = ? AND value IS NOT NULL", (key,)).fetchone() is not None

    def _is_alive(self, db: sqlite3.Connection, lease: int) -> bool:
        if not self._shared:
            return lease in self._own_leases
        return db.execute("SELECT 1 FROM lease WHERE id = ?", (lease,)).fetchone() is not None

    def _end_leases_of_killed(self, db: sqlite3.Connection) -> None:
        """End the leases that nobody can hold: alone, all; shared, those of a process that had the file alone."""
        nobodys = "lease <> 0 AND lease NOT IN (SELECT id FROM lease)" if self._shared else "lease <> 0"
        query = f"SELECT DISTINCT lease FROM kv WHERE {nobodys}"
        if db.execute(query).fetchone():
            with _transaction(db, "BEGIN IMMEDIATE"):
                self._end_leases(db, [lease for (lease,) in db.execute(query)])
            self._written.clear()

    def _end_leases(self, db: sqlite3.Connection, leases: list[int], *, unless_renewed: bool = False) -> None:
        for lease in leases:
            if unless_renewed:
                row = db.execute("SELECT renewals FROM lease WHERE id = ?", (lease,)).fetchone()
                if row is None or not self._shared_leases.has_ended(lease, row[0]):
                    continue
            db.execute("DELETE FROM lease WHERE id = ?", (lease,))
            if self._shared:
                self._shared_leases.forget(lease)
            keys = [key for (key,) in db.execute("SELECT key FROM kv WHERE lease = ?", (lease,))]
            if keys:
                (revision,) = db.execute("SELECT revision + 1 FROM meta").fetchone()
                self._store(db, revision, [(key, None, revision, NO_LEASE) for key in keys])

    def _news(self, db: sqlite3.Connection) -> Batch | None:
        """Return what is newer than what the listeners know."""
        if not self._listeners:
            return None
        revision, compacted = db.execute("SELECT revision, compacted FROM meta").fetchone()
        if revision == self._delivered:
            return None
        if not self._shared or (self._written and self._written[0].revision == self._delivered + 1):
            return Batch(revision, self._written.copy())
        if self._delivered < compacted:
            entries = _snapshot(db, "").entries
            return Batch(revision, [Event(*entry) for entry in entries], is_reset=True)
        rows = db.execute(
            "SELECT key, value, revision FROM kv WHERE revision > ? ORDER BY revision, key", (self._delivered,)
        )
        return Batch(revision, [Event(*row) for row in rows])

    def _look_around(self, db: sqlite3.Connection) -> tuple[Batch | None, list[int]]:
        """Return what others changed, and the leases that have ended."""
        self._written.clear()
        with _transaction(db, "BEGIN"):
            news = self._news(db)
            leases = db.execute("SELECT id, ttl_ms, renewals FROM lease").fetchall()
        # Read before the clock: a renewal that was not seen yet only makes the lease longer.
        return news, self._shared_leases.ended(leases, self._clock.monotonic_ms())


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection, begin: str) -> Iterator[None]:
    """Commit what the body does, or nothing of it: also where the commit itself fails."""
    db.execute(begin)
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _snapshot(db: sqlite3.Connection, prefix: str) -> Snapshot:
    # One statement, so that the revision and the rows are of one moment also when another process writes.
    rows = db.execute(
        "SELECT meta.revision, kv.key, kv.value, kv.revision FROM meta LEFT JOIN kv"
        " ON kv.key >= ? AND kv.key < ? AND kv.value IS NOT NULL ORDER BY kv.key",
        (prefix, prefix_end(prefix)),
    ).fetchall()
    return Snapshot(rows[0][0], [KeyValue(*row[1:]) for row in rows if row[1] is not None])

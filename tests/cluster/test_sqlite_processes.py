"""A file that several processes share: what each of them may do to the others by dying."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from pykbroker.clock import SystemClock
from pykbroker.cluster import sqlite_store
from pykbroker.cluster.sqlite_store import SqliteStore
from pykbroker.cluster.store import Batch, Put
from pykbroker.errors import StorageError
from tests.cluster.test_store import Mirror
from tests.support.running import DEADLINE_S, until

pytestmark = pytest.mark.anyio

HOLDER = """
import anyio, sys
from pathlib import Path
from pykbroker.clock import SystemClock
from pykbroker.cluster.sqlite_store import SqliteStore
from pykbroker.cluster.store import Put

async def main():
    store = SqliteStore(Path(sys.argv[1]), SystemClock(), shared=True)
    await store.txn([], [Put("/held", b"", await store.grant_lease(600_000))])
    print("ready", flush=True)
    await anyio.sleep_forever()

anyio.run(main)
"""

IN_A_TRANSACTION = """
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
db.execute("UPDATE meta SET revision = revision + 100")
db.execute("UPDATE kv SET value = 'torn', revision = 101")
print("ready", flush=True)
time.sleep(600)
"""

WRITER = """
import anyio, sys
from pathlib import Path
from pykbroker.clock import SystemClock
from pykbroker.cluster.sqlite_store import SqliteStore
from pykbroker.cluster.store import Put

async def main():
    store = SqliteStore(Path(sys.argv[1]), SystemClock(), shared=True)
    for number in range(20):
        assert (await store.txn([], [Put(f"/{sys.argv[2]}/{number}", b"")])).committed
    await store.close()

anyio.run(main)
"""


def process(code: str, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, text=True)


@contextlib.contextmanager
def ready(code: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has done what it should and waits for its end."""
    with process(code, path) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "ready\n"
            yield other
        finally:
            other.kill()


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    clock = SystemClock()
    store = SqliteStore(tmp_path / "s", clock, shared=True)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(clock.run)
        tasks.start_soon(store.run)
        yield store
        tasks.cancel_scope.cancel()
    await store.close()


async def test_lease_of_a_killed_process_ends_at_once(tmp_path: Path, store: SqliteStore) -> None:
    told: list[Batch] = []
    with ready(HOLDER, tmp_path / "s") as holder:
        await store.watch(told.append)
        assert await store.get("/held") is not None
        holder.send_signal(signal.SIGKILL)
        await until(lambda: bool(told))
    assert [event[:2] for batch in told for event in batch.events] == [("/held", None)]
    assert not list(tmp_path.glob("*-lease-*"))


async def test_lease_of_a_process_that_lives_does_not_end(tmp_path: Path, store: SqliteStore) -> None:
    told: list[Batch] = []
    with ready(HOLDER, tmp_path / "s"):
        await store.watch(told.append)
        with process(HOLDER, tmp_path / "s") as second:  # its death shows that the leases were looked after
            assert second.stdout is not None
            assert second.stdout.readline() == "ready\n"
            await until(lambda: bool(told))
            second.kill()
            await until(lambda: told[-1].events[-1].value is None)
        lease_files = list(tmp_path.glob("*-lease-*"))
        assert len(lease_files) == 1


async def test_transaction_of_a_killed_process_leaves_nothing(tmp_path: Path, store: SqliteStore) -> None:
    await store.txn([], [Put("/a", b"whole")])
    with ready(IN_A_TRANSACTION, tmp_path / "s") as other:
        assert await store.get("/a") == ("/a", b"whole", 1)
        other.kill()
        other.wait(DEADLINE_S)
    assert await store.txn([], [Put("/b", b"")]) == (True, 2)
    assert await store.get("/a") == ("/a", b"whole", 1)


async def test_process_that_holds_the_lock_is_told_of_and_the_others_go_on_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "BUSY_TIMEOUT_S", 0.1)
    store = SqliteStore(tmp_path / "s", SystemClock(), shared=True)
    mirror = await Mirror.of(store)
    await store.txn([], [Put("/a", b"")])
    with ready(IN_A_TRANSACTION, tmp_path / "s") as other:
        other.send_signal(signal.SIGSTOP)
        with pytest.raises(StorageError, match=r"is kept locked for 0\.1 s by another process"):
            await store.txn([], [Put("/b", b"")])
        assert (await store.range("")).revision == 1  # who only reads is not kept waiting
        other.kill()
        other.wait(DEADLINE_S)
    assert await store.txn([], [Put("/b", b"")]) == (True, 2)
    assert mirror.keys == ["/a", "/b"]
    await store.close()


@pytest.mark.slow
@pytest.mark.parallel
async def test_processes_that_open_a_new_file_at_the_same_time_all_write(tmp_path: Path) -> None:
    with contextlib.ExitStack() as writers:
        started = [writers.enter_context(process(WRITER, tmp_path / "new", name)) for name in "abcd"]
        assert [writer.wait(DEADLINE_S) for writer in started] == [0] * 4
    store = SqliteStore(tmp_path / "new", SystemClock(), shared=True)
    snapshot = await store.range("")
    assert (snapshot.revision, len(snapshot.entries)) == (80, 80)
    assert sorted(entry.revision for entry in snapshot.entries) == list(range(1, 81))
    await store.close()


async def test_leases_of_a_process_that_had_the_file_alone_end_when_it_is_shared(tmp_path: Path) -> None:
    alone = SqliteStore(tmp_path / "s", SystemClock())
    await alone.txn([], [Put("/leased", b"", await alone.grant_lease(600_000)), Put("/kept", b"")])
    await alone.close()  # without revoking, as after kill -9
    store = SqliteStore(tmp_path / "s", SystemClock(), shared=True)
    assert [entry.key for entry in (await store.range("")).entries] == ["/kept"]
    await store.close()

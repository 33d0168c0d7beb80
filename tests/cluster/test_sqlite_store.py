from pathlib import Path

import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.cluster import sqlite_store
from pykbroker.cluster.sqlite_store import SqliteStore
from pykbroker.cluster.store import Batch, Delete, Put
from pykbroker.errors import StorageError

pytestmark = pytest.mark.anyio


async def test_file_of_a_running_process_is_refused(tmp_path: Path) -> None:
    first, second = (SqliteStore(tmp_path / "s", SimulatedClock()) for _ in range(2))
    await first.txn([], [Put("/a", b"")])
    with pytest.raises(StorageError, match="is in use by another process"):
        await second.range("")
    await first.close()
    assert (await second.range("")).revision == 1
    await second.close()


async def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(b"garbage" * 1000)
    store = SqliteStore(tmp_path / "s", SimulatedClock())
    with pytest.raises(StorageError, match="not a database"):
        await store.range("")


async def test_file_of_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(tmp_path / "s", SimulatedClock())
    await store.range("")
    await store.close()
    monkeypatch.setattr(sqlite_store, "FORMAT", 0)
    with pytest.raises(StorageError, match="written by a newer version"):
        await SqliteStore(tmp_path / "s", SimulatedClock()).range("")


async def test_leases_of_a_killed_process_end_when_the_file_is_opened(tmp_path: Path) -> None:
    killed = SqliteStore(tmp_path / "s", SimulatedClock())
    await killed.txn([], [Put("/leased", b"", await killed.grant_lease(1000)), Put("/kept", b"")])
    await killed.close()  # without revoking, as after kill -9
    store = SqliteStore(tmp_path / "s", SimulatedClock())
    snapshot = await store.range("")
    assert [entry.key for entry in snapshot.entries] == ["/kept"]
    assert snapshot.revision == 2
    await store.close()


async def test_listener_behind_the_kept_tombstones_gets_a_reset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_store, "KEPT_TOMBSTONES", 4)
    here, there = (SqliteStore(tmp_path / "s", SimulatedClock(), shared=True) for _ in range(2))
    told: list[Batch] = []
    await there.txn([], [Put("/gone", b""), Put("/stays", b"")])
    await here.watch(told.append)
    await there.txn([], [Delete("/gone")])
    for number in range(8):
        await there.txn([], [Put("/counter", str(number).encode())])
    await here.txn([], [Put("/own", b"")])
    assert [batch.is_reset for batch in told] == [True]
    assert sorted(event.key for event in told[0].events) == ["/counter", "/own", "/stays"]
    await here.close()
    await there.close()

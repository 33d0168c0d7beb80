"""What can happen to an etcd and to the way there. What all engines have to keep is in test_store."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest

from pykbroker.clock import SystemClock
from pykbroker.cluster import etcd_store
from pykbroker.cluster.etcd_store import EtcdStore
from pykbroker.cluster.store import Condition, Delete, Put
from pykbroker.errors import StorageError
from tests.cluster.test_store import Mirror
from tests.support.etcd import ETCD, NO_ETCD, Etcd
from tests.support.proxy import Fate, Proxy, once
from tests.support.running import until

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(ETCD is None, reason=NO_ETCD)]

TXN = b"/v3/kv/txn"
TIMEOUT_MS = 500


@pytest.fixture
async def stores() -> AsyncIterator["Stores"]:
    stores = Stores()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stores.clock.run)
        yield stores
        await stores.close()
        tasks.cancel_scope.cancel()


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[Etcd]:
    """An etcd to do harm to."""
    with Etcd(tmp_path) as etcd:
        yield etcd


class Stores:
    """Opens stores, and closes what it opened."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self._opened: list[EtcdStore] = []

    def open(
        self,
        endpoints: list[tuple[str, int]],
        root: str = "/own",
        name: str = "1",
        *,
        timeout_ms: int = 2000,
        memory: Path | None = None,
    ) -> EtcdStore:
        store = EtcdStore(endpoints, root, name, self.clock, timeout_ms=timeout_ms, memory=memory)
        self._opened.append(store)
        return store

    async def close(self) -> None:
        for store in self._opened:
            await store.close()


@pytest.mark.slow
@pytest.mark.parallel
async def test_watch_goes_on_without_gaps_after_etcd_was_killed_and_started(own_etcd: Etcd, stores: Stores) -> None:
    here, there = stores.open(own_etcd.endpoints), stores.open(own_etcd.endpoints, name="2")
    mirror = await Mirror.of(here)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(here.run)
        await there.txn([], [Put("/before", b""), Put("/deleted", b"")])
        await until(lambda: "/before" in mirror.entries)
        for number in range(3):
            own_etcd.kill()
            own_etcd.start()
            await there.txn([], [Put(f"/after/{number}", b""), Delete("/deleted")])
            last = await there.txn([], [Delete("/before"), Put("/last", str(number).encode())])
            await mirror.reaches(last)
        assert mirror.keys == ["/after/0", "/after/1", "/after/2", "/last"]
        assert sorted(mirror.entries.values()) == (await there.range("")).entries
        tasks.cancel_scope.cancel()


async def test_watcher_that_was_away_during_a_compaction_gets_a_reset(etcd: Etcd, stores: Stores) -> None:
    root = etcd.fresh_root()
    here, there = stores.open(etcd.endpoints, root), stores.open(etcd.endpoints, root, name="2")
    await there.txn([], [Put("/gone", b""), Put("/stays", b"")])
    mirror = await Mirror.of(here)
    for number in range(3):
        await there.txn([], [Delete("/gone"), Put("/counter", str(number).encode())])
    etcd.compact()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(here.run)
        await until(lambda: "/counter" in mirror.entries)
        assert [batch.is_reset for batch in mirror.batches] == [True]
        assert mirror.keys == ["/counter", "/stays"]
        await there.txn([], [Put("/then", b"")])  # from here on it is told by the watch
        await until(lambda: "/then" in mirror.entries)
        assert not mirror.batches[-1].is_reset
        tasks.cancel_scope.cancel()


async def test_watch_that_is_silent_is_opened_anew_and_misses_nothing(
    etcd: Etcd, stores: Stores, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(etcd_store, "WATCH_IDLE_MS", 300)
    root = etcd.fresh_root()
    there = stores.open(etcd.endpoints, root, name="2")
    async with Proxy.to(*etcd.endpoints[0]) as proxy:
        here = stores.open([proxy.address], root, timeout_ms=2000)
        mirror = await Mirror.of(here)
        proxy.on_answer = once(Fate.HOLD, b'"created":true')  # the connection stays open, and nothing comes
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(here.run)
            await there.txn([], [Put("/a", b"")])
            await until(lambda: "/a" in mirror.entries)
            assert not mirror.batches[0].is_reset
            tasks.cancel_scope.cancel()


async def test_writes_below_other_roots_are_not_told(etcd: Etcd, stores: Stores) -> None:
    root = etcd.fresh_root()
    here, other = stores.open(etcd.endpoints, root), stores.open(etcd.endpoints, root + "-other")
    mirror = await Mirror.of(here)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(here.run)
        for number in range(3):
            await other.txn([], [Put("/theirs", b"")])
            result = await here.txn([], [Put(f"/{number}", b"")])
            assert mirror.revision == result.revision
        assert mirror.keys == ["/0", "/1", "/2"]
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_transaction_whose_request_or_answer_is_lost_happens_once(etcd: Etcd, stores: Stores, lost: str) -> None:
    root = etcd.fresh_root()
    async with Proxy.to(*etcd.endpoints[0]) as proxy:
        store = stores.open([proxy.address], root, timeout_ms=TIMEOUT_MS)
        mirror = await Mirror.of(store)
        first = await store.txn([], [Put("/a", b"0"), Put("/b", b"0")])
        if lost == "request":
            proxy.on_request = once(Fate.CUT, TXN)
        else:
            proxy.on_answer = once(Fate.CUT, b"succeeded")
        result = await store.txn([Condition("/a", first.revision)], [Put("/a", b"1"), Delete("/b")])
        assert result.committed
        assert mirror.entries == {"/a": ("/a", b"1", result.revision)}
        answer = etcd.post("/v3/kv/range", {"key": etcd_store.encode(f"{root}/data/a".encode())})
        assert answer["kvs"][0]["version"] == "2"  # type: ignore[index]  # written twice in all


async def test_refused_transaction_whose_answer_is_lost_is_refused(etcd: Etcd, stores: Stores) -> None:
    async with Proxy.to(*etcd.endpoints[0]) as proxy:
        store = stores.open([proxy.address], etcd.fresh_root(), timeout_ms=TIMEOUT_MS)
        await store.txn([], [Put("/a", b"0")])
        proxy.on_answer = once(Fate.CUT, b"succeeded")
        assert not (await store.txn([Condition("/a", 0)], [Put("/a", b"1")])).committed


async def test_transaction_that_arrives_after_it_was_given_up_does_nothing(etcd: Etcd, stores: Stores) -> None:
    root = etcd.fresh_root()
    other = stores.open(etcd.endpoints, root, name="2")
    async with Proxy.to(*etcd.endpoints[0]) as proxy:
        store = stores.open([proxy.address], root, timeout_ms=TIMEOUT_MS)
        await store.txn([], [Put("/a", b"0")])
        passed: list[bytes] = []
        proxy.on_request = once(Fate.HOLD, b'"success"')  # the body, which may come apart from the headers
        proxy.on_answer = lambda data: passed.append(data) or Fate.PASS  # type: ignore[func-returns-value]
        assert (await store.txn([], [Put("/a", b"1")])).committed
        await other.txn([], [Put("/a", b"2")])
        answers = len(passed)
        proxy.release()
        await until(lambda: len(passed) > answers)
        assert b"succeeded" not in passed[-1]
        found = await other.get("/a")
        assert found is not None
        assert found.value == b"2"


async def test_lease_that_ends_after_many_conditions_were_looked_at_is_noticed(etcd: Etcd, stores: Stores) -> None:
    async with Proxy.to(*etcd.endpoints[0]) as proxy:
        store = stores.open([proxy.address], etcd.fresh_root())
        lease = await store.grant_lease(60_000)
        leased = await store.txn([], [Put("/leased", b"", lease)])
        revoked = []

        def revoke(data: bytes) -> Fate:
            if TXN in data and not revoked:
                revoked.append(etcd.post("/v3/lease/revoke", {"ID": str(lease)}))
            return Fate.PASS

        proxy.on_request = revoke
        conditions = [Condition("/leased", leased.revision), *(Condition(f"/{number}", 0) for number in range(100))]
        assert not (await store.txn(conditions, [Put("/0", b"")])).committed
        assert revoked
        assert (await store.range("")).entries == []


async def test_two_processes_of_one_name_do_not_harm_each_other(etcd: Etcd, stores: Stores) -> None:
    root = etcd.fresh_root()
    twins = [stores.open(etcd.endpoints, root) for _ in range(2)]
    for number in range(3):
        for store in twins:
            before = await store.get("/a")
            condition = Condition("/a", before.revision if before else 0)
            assert (await store.txn([condition], [Put("/a", str(number).encode())])).committed


@pytest.mark.slow
async def test_cluster_of_three_goes_on_while_a_majority_lives(tmp_path: Path, stores: Stores) -> None:
    with Etcd(tmp_path, members=3) as etcd:
        store = stores.open(etcd.endpoints, timeout_ms=TIMEOUT_MS)
        other = stores.open(etcd.endpoints, name="2", timeout_ms=TIMEOUT_MS)
        mirror = await Mirror.of(store)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.run)
            lease = await store.grant_lease(10_000)
            for member in range(3):
                etcd.kill(member)
                await store.txn([], [Put(f"/{member}", b"", lease)])
                assert await store.keep_alive(lease)
                last = await other.txn([], [Put("/other", b"")])
                await mirror.reaches(last)
                etcd.start()
            etcd.freeze(0)
            await store.txn([], [Put("/frozen", b"")])
            etcd.go_on(0)
            etcd.kill(1)
            etcd.kill(2)
            with pytest.raises(StorageError, match="no etcd answers at"):
                await other.txn([], [Put("/minority", b"")])
            etcd.start()
            last = await other.txn([], [Put("/again", b"")])
            await mirror.reaches(last)
            assert sorted(mirror.entries.values()) == (await other.range("")).entries
            tasks.cancel_scope.cancel()


async def test_old_backup_is_refused_by_who_has_seen_more(tmp_path: Path, own_etcd: Etcd, stores: Stores) -> None:
    memory = tmp_path / "memory"
    running, earlier = stores.open(own_etcd.endpoints), stores.open(own_etcd.endpoints, name="2", memory=memory)
    await earlier.txn([], [Put("/a", b"")])
    await earlier.close()
    await running.watch(lambda batch: None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(running.run)
        own_etcd.kill()
        shutil.rmtree(own_etcd.data_dir())
        own_etcd.start()
        await until(lambda: not running._client.is_usable)  # also if nobody asks it for anything
    with pytest.raises(StorageError, match=r"its revision went down from \d+ to 1"):
        await running.txn([], [Put("/a", b"")])
    later = stores.open(own_etcd.endpoints, name="2", memory=memory)
    with pytest.raises(StorageError, match=f"its revision went down .* delete {memory}"):
        await later.watch(lambda batch: None)
    memory.unlink()
    accepting = stores.open(own_etcd.endpoints, name="2", memory=memory)
    assert (await accepting.range("")).entries == []


async def test_other_etcd_is_refused(tmp_path: Path, etcd: Etcd, own_etcd: Etcd, stores: Stores) -> None:
    memory = tmp_path / "memory"
    store = stores.open(own_etcd.endpoints, memory=memory)
    await store.range("")
    await store.close()
    with pytest.raises(StorageError, match="it is another cluster"):
        await stores.open(etcd.endpoints, memory=memory).range("")


async def test_memory_that_cannot_be_read_is_told(tmp_path: Path, own_etcd: Etcd, stores: Stores) -> None:
    (tmp_path / "memory").write_text("{}")
    with pytest.raises(StorageError, match="delete it if this etcd is the right one"):
        stores.open(own_etcd.endpoints, memory=tmp_path / "memory")


async def test_lease_lasts_as_long_as_asked_for_or_longer(etcd: Etcd, stores: Stores) -> None:
    store = stores.open(etcd.endpoints, etcd.fresh_root())
    lease = await store.grant_lease(5001)
    answer = etcd.post("/v3/lease/timetolive", {"ID": str(lease)})
    assert answer["grantedTTL"] == "6"


async def test_etcd_that_is_not_there_is_told(stores: Stores) -> None:
    store = stores.open([("127.0.0.1", 1)], timeout_ms=TIMEOUT_MS)
    with pytest.raises(StorageError, match=r"no etcd answers at 127\.0\.0\.1:1"):
        await store.range("")

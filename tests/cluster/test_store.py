"""What every engine of the store has to keep. An engine is added to `ENGINES` and passes as it is."""

import anyio
import pytest

from pykbroker.cluster.store import Batch, Condition, Delete, DeletePrefix, KeyValue, Put, Snapshot, Store, TxnResult
from pykbroker.errors import StorageError
from tests.cluster.worlds import World
from tests.support.running import until

pytestmark = pytest.mark.anyio


class Mirror:
    """A listener that keeps what it is told, and minds the order."""

    def __init__(self) -> None:
        self.entries: dict[str, KeyValue] = {}
        self.revision = 0
        self.batches: list[Batch] = []

    @classmethod
    async def of(cls, store: Store) -> "Mirror":
        mirror = cls()
        mirror.load(await store.watch(mirror.told))
        return mirror

    def load(self, snapshot: Snapshot) -> None:
        assert not self.batches, "nothing is told before the snapshot"
        self.revision = snapshot.revision
        self.entries = {entry.key: entry for entry in snapshot.entries}

    def told(self, batch: Batch) -> None:
        assert batch.revision > self.revision, "revisions only grow"
        revisions = [event.revision for event in batch.events]
        assert batch.is_reset or all(self.revision < revision <= batch.revision for revision in revisions)
        assert batch.is_reset or revisions == sorted(revisions)
        self.batches.append(batch)
        self.revision = batch.revision
        if batch.is_reset:
            self.entries.clear()
        for key, value, revision in batch.events:
            if value is None:
                self.entries.pop(key, None)
            else:
                self.entries[key] = KeyValue(key, value, revision)

    async def reaches(self, result: TxnResult) -> None:
        await until(lambda: self.revision >= result.revision)

    @property
    def keys(self) -> list[str]:
        return sorted(self.entries)


async def keys_of(store: Store) -> list[str]:
    return [entry.key for entry in (await store.range("")).entries]


async def test_new_store_is_empty(world: World) -> None:
    store = world.open()
    assert (await store.range("")).entries == []
    assert await store.get("/a") is None


async def test_put_is_read_back_with_the_revision_of_its_transaction(world: World) -> None:
    store = world.open()
    first = await store.txn([], [Put("/a", b"1"), Put("/b", b"\0\xff")])
    second = await store.txn([], [Put("/a", b"2")])
    assert first.committed
    assert second.committed
    assert second.revision > first.revision > 0
    assert await store.get("/a") == ("/a", b"2", second.revision)
    assert await store.get("/b") == ("/b", b"\0\xff", first.revision)
    assert await store.get("/") is None
    assert (await store.range("")).revision >= second.revision


async def test_who_catches_up_was_told_what_others_committed_before(shared_world: World) -> None:
    store, other = shared_world.open(), shared_world.open()
    mirror = await Mirror.of(store)
    for keys in (["/a"], ["/a", "/b"]):
        await other.txn([], [Put(keys[-1], b"")])
        await store.catch_up()
        assert mirror.keys == keys == await keys_of(store)


async def test_range_returns_the_prefix_in_order(world: World) -> None:
    store = world.open()
    await store.txn([], [Put(key, b"") for key in ("/b/2", "/a", "/b/10", "/c", "/b", "/bb", "/b/\U0001f600")])
    assert [entry.key for entry in (await store.range("/b/")).entries] == ["/b/10", "/b/2", "/b/\U0001f600"]


async def test_failed_condition_changes_nothing(world: World) -> None:
    store = world.open()
    revision = (await store.txn([], [Put("/a", b"1")])).revision
    for condition in (Condition("/a", 0), Condition("/a", revision + 1), Condition("/b", revision)):
        result = await store.txn([Condition("/a", revision), condition], [Put("/b", b""), Delete("/a")])
        assert not result.committed
    assert await keys_of(store) == ["/a"]


async def test_condition_of_revision_zero_holds_for_absent_and_deleted_keys(world: World) -> None:
    store = world.open()
    assert (await store.txn([Condition("/a", 0)], [Put("/a", b"1")])).committed
    await store.txn([], [Delete("/a")])
    again = await store.txn([Condition("/a", 0)], [Put("/a", b"2")])
    assert again.committed
    assert await store.get("/a") == ("/a", b"2", again.revision)


async def test_delete_prefix_takes_all_below_and_nothing_else(world: World) -> None:
    store = world.open()
    mirror = await Mirror.of(store)
    await store.txn([], [Put(key, b"") for key in ("/p/1/0", "/p/1/1", "/p/10/0", "/p/1")])
    await store.txn([], [DeletePrefix("/p/1/")])
    assert await keys_of(store) == mirror.keys == ["/p/1", "/p/10/0"]


async def test_later_operation_of_a_transaction_wins(world: World) -> None:
    store = world.open()
    mirror = await Mirror.of(store)
    await store.txn([], [Put("/a", b"1"), Put("/a", b"2"), Put("/b", b""), Delete("/b"), Put("/c/1", b"")])
    await store.txn([], [Put("/c/2", b""), DeletePrefix("/c/")])
    assert [(entry.key, entry.value) for entry in (await store.range("")).entries] == [("/a", b"2")]
    await store.txn([], [Put(f"/d/{number}", b"old") for number in range(4)])
    await store.txn([], [DeletePrefix("/d/"), Put("/d/1", b"new"), Delete("/a"), Put("/a", b"3"), Put("/d/9", b"")])
    entries = (await store.range("")).entries
    assert [(entry.key, entry.value) for entry in entries] == [("/a", b"3"), ("/d/1", b"new"), ("/d/9", b"")]
    assert sorted(mirror.entries.values()) == entries


async def test_listener_is_told_before_the_transaction_returns(world: World) -> None:
    store = world.open()
    await store.txn([], [Put("/old", b"")])
    mirror = await Mirror.of(store)
    assert mirror.keys == ["/old"]
    result = await store.txn([], [Put("/a", b"1"), Delete("/old"), Delete("/never")])
    (batch,) = mirror.batches
    assert batch.revision == result.revision
    if not batch.is_reset:
        changed = [("/a", b"1", result.revision), ("/old", None, result.revision)]
        assert sorted(event for event in batch.events if event.key != "/never") == changed
    assert mirror.keys == ["/a"]


async def test_refused_transaction_returns_a_revision_that_was_told(world: World) -> None:
    store = world.open()
    mirror = await Mirror.of(store)
    committed = await store.txn([], [Put("/a", b"1")])
    refused = await store.txn([Condition("/a", 0)], [Put("/a", b"2")])
    assert refused == (False, mirror.revision)
    assert mirror.revision == committed.revision


async def test_listener_is_told_in_order_and_without_gaps_by_concurrent_transactions(world: World) -> None:
    store = world.open()
    mirror = await Mirror.of(store)
    revisions = []

    async def put(number: int) -> None:
        result = await store.txn([], [Put(f"/{number}", b"")])
        assert mirror.entries[f"/{number}"].revision == result.revision
        revisions.append(result.revision)

    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(put, number)
    assert len(set(revisions)) == 30
    assert mirror.revision >= max(revisions)
    assert mirror.keys == await keys_of(store)


async def test_second_listener_starts_where_the_first_one_is(world: World) -> None:
    store = world.open()
    first = await Mirror.of(store)
    await store.txn([], [Put("/a", b"")])
    second = await Mirror.of(store)
    await store.txn([], [Put("/b", b"")])
    assert first.entries == second.entries
    assert len(second.batches) == 1


async def test_only_one_of_those_that_compare_and_set_wins(world: World) -> None:
    store = world.open()
    won = []

    async def attempt(name: bytes) -> None:
        if (await store.txn([Condition("/lock", 0)], [Put("/lock", name)])).committed:
            won.append(name)

    async with anyio.create_task_group() as tasks:
        for name in (b"a", b"b", b"c"):
            tasks.start_soon(attempt, name)
    found = await store.get("/lock")
    assert found is not None
    assert won == [found.value]


async def test_large_values_are_kept(world: World) -> None:
    store = world.open()
    mirror = await Mirror.of(store)
    values = {f"/large/{number}": bytes([number]) * 1_000_000 for number in range(8)}
    for key, value in values.items():
        assert (await store.txn([], [Put(key, value)])).committed
    entries = (await store.range("/large/")).entries
    assert {entry.key: entry.value for entry in entries} == values
    assert sorted(mirror.entries.values()) == entries


async def test_many_conditions_and_operations_are_one_transaction(world: World) -> None:
    store = world.open()
    mirror = await Mirror.of(store)
    names = [f"/{number:05}" for number in range(3000)]
    created = await store.txn([Condition(name, 0) for name in names], [Put(name, b"x" * 100) for name in names])
    assert created.committed
    assert mirror.keys == names
    conditions = [Condition(name, created.revision) for name in names]
    changed = await store.txn(conditions, [Put(name, b"y") for name in names[1:]] + [Delete(names[0])])
    assert changed.committed
    assert {entry.revision for entry in mirror.entries.values()} == {changed.revision}
    refused = await store.txn(conditions, [Put("/never", b"")])
    assert not refused.committed
    assert mirror.keys == await keys_of(store) == names[1:]


async def test_revoked_lease_takes_its_keys_along(world: World) -> None:
    store = world.open()
    lease, other = await store.grant_lease(world.lease_ms), await store.grant_lease(60_000)
    assert lease != other
    await store.txn([], [Put("/mine", b"", lease), Put("/theirs", b"", other), Put("/free", b"")])
    mirror = await Mirror.of(store)
    await store.revoke_lease(lease)
    assert await keys_of(store) == mirror.keys == ["/free", "/theirs"]
    assert not await store.keep_alive(lease)
    assert await store.keep_alive(other)
    await store.revoke_lease(lease)  # does nothing


async def test_put_under_a_lost_lease_is_refused(world: World) -> None:
    store = world.open()
    lease = await store.grant_lease(world.lease_ms)
    await store.revoke_lease(lease)
    mirror = await Mirror.of(store)
    assert not (await store.txn([], [Put("/mine", b"", lease), Put("/other", b"")])).committed
    assert await keys_of(store) == mirror.keys == []
    assert (await store.txn([], [Put("/other", b"")])).committed


async def test_many_conditions_on_keys_whose_lease_ended_are_refused(world: World) -> None:
    store = world.open()
    lease = await store.grant_lease(60_000)
    leased = await store.txn([], [Put("/leased", b"", lease)])
    names = [f"/{number}" for number in range(100)]
    conditions = [Condition("/leased", leased.revision), *(Condition(name, 0) for name in names)]
    assert (await store.txn(conditions, [Put(names[0], b"")])).committed
    await store.revoke_lease(lease)
    assert not (await store.txn([conditions[0], *conditions[2:]], [Put(names[1], b"")])).committed
    assert await keys_of(store) == [names[0]]


async def test_key_that_is_put_again_without_its_lease_outlives_it(world: World) -> None:
    store = world.open()
    lease = await store.grant_lease(world.lease_ms)
    await store.txn([], [Put("/a", b"", lease)])
    await store.txn([], [Put("/a", b"")])
    await store.revoke_lease(lease)
    assert await store.get("/a") is not None


async def test_data_survives_closing(world: World) -> None:
    store = world.open()
    await store.txn([], [Put("/a", b"1")])
    last = await store.txn([], [Put("/b", b"2"), Delete("/a")])
    await store.close()
    snapshot = await world.open().range("")
    assert snapshot.revision == last.revision
    assert snapshot.entries == [("/b", b"2", last.revision)]


# Several processes


async def test_other_process_is_told_by_its_run(shared_world: World) -> None:
    here, there = shared_world.open(), shared_world.open()
    mirror = await Mirror.of(there)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(there.run)
        await here.txn([], [Put("/a", b"1")])
        last = await here.txn([], [Put("/b", b"1"), Delete("/a")])
        await shared_world.settle(lambda: mirror.revision == last.revision)
        assert mirror.entries == {"/b": KeyValue("/b", b"1", last.revision)}
        tasks.cancel_scope.cancel()


async def test_own_transaction_first_tells_what_others_did_before(shared_world: World) -> None:
    here, there = shared_world.open(), shared_world.open()
    mirror = await Mirror.of(here)
    theirs = await there.txn([], [Put("/theirs", b"")])
    ours = await here.txn([], [Put("/ours", b"")])
    assert {key: entry.revision for key, entry in mirror.entries.items()} == {
        "/theirs": theirs.revision,
        "/ours": ours.revision,
    }


async def test_failed_transaction_tells_why(shared_world: World) -> None:
    here, there = shared_world.open(), shared_world.open()
    mirror = await Mirror.of(here)
    await there.txn([], [Put("/taken", b"")])
    assert not (await here.txn([Condition("/taken", 0)], [Put("/taken", b"")])).committed
    assert mirror.keys == ["/taken"]


async def test_all_processes_end_with_the_same_when_all_write(shared_world: World) -> None:
    stores = [shared_world.open() for _ in range(3)]
    mirrors = [await Mirror.of(store) for store in stores]

    async def count_up(store: Store, mirror: Mirror) -> None:
        done = 0
        while done < 15:
            found = mirror.entries.get("/counter", KeyValue("/counter", b"0", 0))
            changed = str(int(found.value) + 1).encode()
            own = Put(f"/own/{mirrors.index(mirror)}/{done % 3}", changed)
            result = await store.txn([Condition("/counter", found.revision)], [Put("/counter", changed), own])
            assert mirror.revision >= result.revision
            done += result.committed

    async with anyio.create_task_group() as following:
        for store in stores:
            following.start_soon(store.run)
        async with anyio.create_task_group() as writing:
            for store, mirror in zip(stores, mirrors, strict=True):
                writing.start_soon(count_up, store, mirror)
        await shared_world.settle(lambda: len({mirror.revision for mirror in mirrors}) == 1)
        following.cancel_scope.cancel()
    expected = (await stores[0].range("")).entries
    assert [sorted(mirror.entries.values()) for mirror in mirrors] == [expected] * 3
    assert mirrors[0].entries["/counter"].value == b"45"


async def test_lease_that_nobody_renews_ends(shared_world: World) -> None:
    dead, alive = shared_world.open(), shared_world.open()
    lease = await dead.grant_lease(shared_world.lease_ms)
    await dead.txn([], [Put("/dead", b"", lease)])
    renewed = await alive.grant_lease(shared_world.lease_ms)
    await alive.txn([], [Put("/alive", b"", renewed)])
    mirror = await Mirror.of(alive)
    last_renewed_ms = shared_world.clock.monotonic_ms()
    assert await dead.keep_alive(lease)

    async def only_alive_is_left() -> bool:
        assert await alive.keep_alive(renewed)
        return mirror.keys == ["/alive"]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(alive.run)
        await shared_world.settle(only_alive_is_left)
        tasks.cancel_scope.cancel()
    assert shared_world.clock.monotonic_ms() >= last_renewed_ms + shared_world.lease_ms
    # It was only frozen, and wakes up.
    assert not await dead.keep_alive(lease)
    assert not (await dead.txn([], [Put("/dead", b"", lease)])).committed
    assert await keys_of(alive) == ["/alive"]


async def test_closed_store_refuses_everything(world: World) -> None:
    store = world.open()
    await store.range("/")
    await store.close()
    for question in (store.range("/"), store.txn([], [Put("/a", b"")]), store.watch(lambda batch: None)):
        with pytest.raises(StorageError, match="closed"):
            await question

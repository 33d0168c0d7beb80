"""What every engine of the store has to keep. An engine is added to `ENGINES` and passes as it is."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from pykbroker.clock import SimulatedClock
from pykbroker.cluster.sqlite_store import POLL_INTERVAL_MS, SqliteStore
from pykbroker.cluster.store import Batch, Condition, Delete, DeletePrefix, Put, Store

pytestmark = pytest.mark.anyio

LEASE_MS = 9000


class World:
    """A place where stores of one engine meet: `open` gives another process's view of the same data."""

    def __init__(self, folder: Path, *, shared: bool) -> None:
        self.clock = SimulatedClock()
        self.is_shared = shared
        self._folder = folder
        self._stores: list[Store] = []

    def open(self) -> Store:
        store = SqliteStore(self._folder / "store.sqlite", self.clock, shared=self.is_shared, ephemeral=True)
        self._stores.append(store)
        return store

    async def close(self) -> None:
        for store in self._stores:
            await store.close()


ENGINES = ["sqlite alone", "sqlite shared"]


@pytest.fixture(params=ENGINES)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, shared=request.param == "sqlite shared")
    yield world
    await world.close()


@pytest.fixture
async def shared_world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, shared=True)
    yield world
    await world.close()


async def settle(world: World, condition: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Let simulated time pass, a poll at a time, until `condition` holds."""
    for _ in range(2000):
        held = condition()
        if held if isinstance(held, bool) else await held:
            return
        world.clock.advance(POLL_INTERVAL_MS)
        await anyio.lowlevel.checkpoint()
        await anyio.to_thread.run_sync(lambda: None)
    raise AssertionError("did not settle")


async def test_new_store_is_empty_at_revision_zero(world: World) -> None:
    snapshot = await world.open().range("")
    assert (snapshot.revision, snapshot.entries) == (0, [])


async def test_put_is_read_back_with_the_revision_of_its_transaction(world: World) -> None:
    store = world.open()
    first = await store.txn([], [Put("/a", b"1"), Put("/b", b"\0\xff")])
    second = await store.txn([], [Put("/a", b"2")])
    assert (first, second) == ((True, 1), (True, 2))
    assert await store.get("/a") == ("/a", b"2", 2)
    assert await store.get("/b") == ("/b", b"\0\xff", 1)
    assert await store.get("/") is None


async def test_range_returns_the_prefix_in_order(world: World) -> None:
    store = world.open()
    await store.txn([], [Put(key, b"") for key in ("/b/2", "/a", "/b/10", "/c", "/b", "/bb", "/b/\U0001f600")])
    assert [entry.key for entry in (await store.range("/b/")).entries] == ["/b/10", "/b/2", "/b/\U0001f600"]


async def test_failed_condition_changes_nothing(world: World) -> None:
    store = world.open()
    await store.txn([], [Put("/a", b"1")])
    for condition in (Condition("/a", 0), Condition("/a", 2), Condition("/b", 1)):
        assert await store.txn([Condition("/a", 1), condition], [Put("/b", b""), Delete("/a")]) == (False, 1)
    assert [entry.key for entry in (await store.range("")).entries] == ["/a"]


async def test_condition_of_revision_zero_holds_for_absent_and_deleted_keys(world: World) -> None:
    store = world.open()
    assert (await store.txn([Condition("/a", 0)], [Put("/a", b"1")])).committed
    await store.txn([], [Delete("/a")])
    assert (await store.txn([Condition("/a", 0)], [Put("/a", b"2")])).committed
    assert await store.get("/a") == ("/a", b"2", 3)


async def test_delete_prefix_takes_all_below_and_nothing_else(world: World) -> None:
    store = world.open()
    await store.txn([], [Put(key, b"") for key in ("/p/1/0", "/p/1/1", "/p/10/0", "/p/1")])
    await store.txn([], [DeletePrefix("/p/1/")])
    assert [entry.key for entry in (await store.range("")).entries] == ["/p/1", "/p/10/0"]


async def test_later_operation_of_a_transaction_wins(world: World) -> None:
    store = world.open()
    await store.txn([], [Put("/a", b"1"), Put("/a", b"2"), Put("/b", b""), Delete("/b"), Put("/c/1", b"")])
    await store.txn([], [Put("/c/2", b""), DeletePrefix("/c/")])
    assert [entry[:2] for entry in (await store.range("")).entries] == [("/a", b"2")]


async def test_listener_is_told_before_the_transaction_returns(world: World) -> None:
    store = world.open()
    told: list[Batch] = []
    await store.txn([], [Put("/old", b"")])
    snapshot = await store.watch(told.append)
    assert [entry.key for entry in snapshot.entries] == ["/old"]
    await store.txn([], [Put("/a", b"1"), Delete("/old"), Delete("/never")])
    assert [(batch.revision, sorted(batch.events)) for batch in told] == [(2, [("/a", b"1", 2), ("/old", None, 2)])]


async def test_listener_is_told_in_order_and_without_gaps_by_concurrent_transactions(world: World) -> None:
    store = world.open()
    told: list[Batch] = []
    await store.watch(told.append)
    async with anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(store.txn, [], [Put(f"/{number}", b"")])
    assert [batch.revision for batch in told] == list(range(1, 31))
    assert {event.key for batch in told for event in batch.events} == {f"/{number}" for number in range(30)}


async def test_only_one_of_two_that_compare_and_set_wins(world: World) -> None:
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


async def test_revoked_lease_takes_its_keys_along(world: World) -> None:
    store = world.open()
    told: list[Batch] = []
    lease, other = await store.grant_lease(LEASE_MS), await store.grant_lease(LEASE_MS)
    assert lease != other
    await store.txn([], [Put("/mine", b"", lease), Put("/theirs", b"", other), Put("/free", b"")])
    await store.watch(told.append)
    await store.revoke_lease(lease)
    assert [entry.key for entry in (await store.range("")).entries] == ["/free", "/theirs"]
    assert [event[:2] for batch in told for event in batch.events] == [("/mine", None)]
    assert not await store.keep_alive(lease)
    assert await store.keep_alive(other)


async def test_put_under_a_lost_lease_is_refused(world: World) -> None:
    store = world.open()
    lease = await store.grant_lease(LEASE_MS)
    await store.revoke_lease(lease)
    assert not (await store.txn([], [Put("/mine", b"", lease)])).committed
    assert await store.get("/mine") is None


async def test_key_that_is_put_again_without_its_lease_outlives_it(world: World) -> None:
    store = world.open()
    lease = await store.grant_lease(LEASE_MS)
    await store.txn([], [Put("/a", b"", lease)])
    await store.txn([], [Put("/a", b"")])
    await store.revoke_lease(lease)
    assert await store.get("/a") is not None


async def test_data_survives_closing(world: World) -> None:
    store = world.open()
    await store.txn([], [Put("/a", b"1")])
    await store.txn([], [Put("/b", b"2"), Delete("/a")])
    await store.close()
    snapshot = await world.open().range("")
    assert (snapshot.revision, [entry.key for entry in snapshot.entries]) == (2, ["/b"])


# Several processes


async def test_other_process_is_told_by_its_poll(shared_world: World) -> None:
    here, there = shared_world.open(), shared_world.open()
    told: list[Batch] = []
    await there.watch(told.append)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(there.run)
        await here.txn([], [Put("/a", b"1")])
        await here.txn([], [Put("/b", b"1"), Delete("/a")])
        await settle(shared_world, lambda: bool(told) and told[-1].revision == 2)
        tasks.cancel_scope.cancel()
    final = {event.key: event.value for batch in told for event in batch.events}
    assert final == {"/a": None, "/b": b"1"}


async def test_own_transaction_first_tells_what_others_did_before(shared_world: World) -> None:
    here, there = shared_world.open(), shared_world.open()
    told: list[Batch] = []
    await here.watch(told.append)
    await there.txn([], [Put("/theirs", b"")])
    await here.txn([], [Put("/ours", b"")])
    assert [(event.key, event.revision) for batch in told for event in batch.events] == [("/theirs", 1), ("/ours", 2)]


async def test_failed_transaction_tells_why(shared_world: World) -> None:
    here, there = shared_world.open(), shared_world.open()
    told: list[Batch] = []
    await here.watch(told.append)
    await there.txn([], [Put("/taken", b"")])
    assert not (await here.txn([Condition("/taken", 0)], [Put("/taken", b"")])).committed
    assert [event.key for batch in told for event in batch.events] == ["/taken"]


async def test_lease_that_nobody_renews_ends(shared_world: World) -> None:
    dead, alive = shared_world.open(), shared_world.open()
    await dead.txn([], [Put("/dead", b"", await dead.grant_lease(LEASE_MS))])
    lease = await alive.grant_lease(LEASE_MS)
    await alive.txn([], [Put("/alive", b"", lease)])

    async def only_alive_is_left() -> bool:
        assert await alive.keep_alive(lease)
        return [entry.key for entry in (await alive.range("")).entries] == ["/alive"]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(alive.run)
        await settle(shared_world, only_alive_is_left)
        tasks.cancel_scope.cancel()
    assert shared_world.clock.monotonic_ms() > LEASE_MS

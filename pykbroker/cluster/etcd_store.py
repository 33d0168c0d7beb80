"""The engine for several machines: etcd, by its JSON gateway.

Owns: what the listeners know, and the slots of this process. Format, below the root that the URL names:

    <root>/data<key>           a key of the store; its revision is etcd's mod_revision
    <root>/slots/<name>/<n>    which transaction was the last that broker <name> made in its slot <n>

Rules
- Revisions are etcd's own. They also grow when others write below another root, and with transactions that fail.
- Each transaction writes the slot that it uses, whether its conditions hold or not, and compares the slot's revision.
  So the watch tells of every transaction, and one whose answer was lost can be looked up: if the slot still has its old
  revision it is written anew, and then the transaction can never happen any more; if not it tells how it went.
- A watch is a hint. It is followed as long as nothing is wrong with it; after an error, a compaction or whatever else
  leaves a doubt, everything is read again and told as a reset. One that is silent for `WATCH_IDLE_MS` is opened anew
  from where it was: its connection may be gone without a word. Nobody waits for a watch longer than for a request.
- A transaction of which nobody else's is in between, by the revisions, is told from its own answer, without the watch.
- More than `WIDTH` conditions are compared here, at one revision; etcd then only has to compare that no slot was
  written since, and the keys under leases, which vanish without a transaction.
- etcd counts leases in seconds: they are rounded up.

Not here: HTTP, endpoints, the check that etcd is the one it was (etcd_client); its limits of transactions (etcd_txn).
"""

import itertools
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import attrs

from pykbroker.clock import Clock
from pykbroker.cluster.etcd_client import (
    NOT_FOUND,
    OUT_OF_RANGE,
    RESOURCE_EXHAUSTED,
    AnswerLost,
    EtcdClient,
    EtcdError,
    Silence,
    decode,
    encode,
)
from pykbroker.cluster.etcd_txn import (
    WIDTH,
    Json,
    deleted_keys,
    nested,
    nothing_newer,
    operations_of,
    put_request,
    range_end,
    revision_is,
)
from pykbroker.cluster.store import (
    Batch,
    Condition,
    Event,
    KeyValue,
    Listener,
    Operation,
    Snapshot,
    Store,
    TxnResult,
)
from pykbroker.errors import StorageError

logger = logging.getLogger("pykbroker.cluster")

SLOTS = 8  # transactions of one broker at the same time
ATTEMPTS = 10  # at a transaction that others get in the way of, and at a list that is compacted meanwhile
PAGE_KEYS = 1000
WATCH_IDLE_MS = 5000
WATCH_RETRY_MS = 200


@attrs.define
class _Slot:
    key: bytes
    revision: int | None = None  # of the key, 0 if there is none; None: not known


class _Outcome(NamedTuple):
    committed: bool
    revision: int
    responses: Sequence[Json] | None = None  # to the operations; None: they were lost


class EtcdStore(Store):
    def __init__(
        self,
        endpoints: Sequence[tuple[str, int]],
        root: str,
        name: str,
        clock: Clock,
        *,
        timeout_ms: int,
        memory: Path | None = None,
    ) -> None:
        """`name`: which of those that share the root this is. `memory`: the file that outlives the process."""
        self._clock = clock
        self._timeout_ms = timeout_ms
        self._client = EtcdClient(endpoints, clock, timeout_ms=timeout_ms, memory=memory)
        self._root = root.encode() + b"/"
        self._data = self._root + b"data"
        self._all_slots = self._root + b"slots/"
        self._free_slots = [_Slot(self._all_slots + f"{name}/{number}".encode()) for number in range(SLOTS)]
        self._slots = anyio.Semaphore(SLOTS)
        self._tokens = (f"{os.urandom(8).hex()}-{number}" for number in itertools.count())
        self._page_keys = PAGE_KEYS
        self._listeners: list[Listener] = []
        self._has_listener = anyio.Event()
        self._known = 0  # revision up to which the listeners know everything
        self._told = 0  # of the last batch that they were told
        self._is_following = False
        self._progress = anyio.Event()  # replaced whenever it is set: more is known, or the watch was lost
        self._reading = anyio.Lock()

    async def range(self, prefix: str) -> Snapshot:
        revision, pairs = await self._list(self._data + prefix.encode())
        return Snapshot(revision, [self._key_value(pair) for pair in pairs])

    async def get(self, key: str) -> KeyValue | None:
        answer = await self._client.call("/v3/kv/range", {"key": encode(self._data + key.encode())})
        pairs = answer.get("kvs", ())
        return self._key_value(pairs[0]) if pairs else None

    async def txn(self, conditions: list[Condition], operations: list[Operation]) -> TxnResult:
        made = operations_of(operations, self._data)
        compares = list(dict.fromkeys((self._data + key.encode(), revision) for key, revision in conditions))
        async with self._slots:
            slot = self._free_slots.pop()
            try:
                if len(compares) > WIDTH:
                    outcome = await self._commit_under_many(slot, compares, made)
                else:
                    outcome = await self._commit(slot, [revision_is(*compare) for compare in compares], made)
            finally:
                self._free_slots.append(slot)
        if not self._listeners:
            return TxnResult(outcome.committed, outcome.revision)
        if outcome.responses is not None and outcome.revision == self._known + 1:
            self._advance(outcome.revision, self._events_of(outcome, operations) if outcome.committed else [])
        else:
            await self._catch_up(outcome.revision)
        return TxnResult(outcome.committed, min(outcome.revision, self._told))

    async def watch(self, listener: Listener) -> Snapshot:
        async with self._reading:
            snapshot = await self.range("")
            while snapshot.revision < self._known:
                snapshot = await self.range("")
            self._reset(snapshot)
            self._listeners.append(listener)
            self._has_listener.set()
        return snapshot

    async def grant_lease(self, ttl_ms: int) -> int:
        answer = await self._client.call("/v3/lease/grant", {"TTL": str(-(-ttl_ms // 1000))}, is_linearizable=False)
        if int(answer.get("TTL", 0)) * 1000 < ttl_ms:
            raise StorageError(f"etcd grants a lease of {answer.get('TTL')} s only, not of {ttl_ms} ms")
        return int(answer["ID"])

    async def keep_alive(self, lease: int) -> bool:
        answer = await self._client.call("/v3/lease/keepalive", {"ID": str(lease)}, is_linearizable=False)
        self._client.remember()
        return int(answer.get("TTL", 0)) > 0

    async def revoke_lease(self, lease: int) -> None:
        try:
            await self._client.call("/v3/lease/revoke", {"ID": str(lease)}, is_linearizable=False)
        except EtcdError as error:
            if error.code != NOT_FOUND:
                raise
        if self._listeners:
            await self.txn([], [])  # what is told of it comes after the end of the lease

    async def run(self) -> None:
        await self._has_listener.wait()
        is_failing = is_in_doubt = False
        while self._client.is_usable:
            try:
                if is_in_doubt:
                    await self._read_again(self._known + 1)
                    is_failing = False
                    self.is_up_to_date = True
                is_in_doubt = True
                await self._follow()
            except Silence:
                is_in_doubt = False
            except StorageError as error:
                if not is_failing and self._client.is_usable:
                    logger.warning("cannot follow the metadata: %s", error)
                is_failing = True
                self.is_up_to_date = False
                await self._clock.sleep(WATCH_RETRY_MS)
        self.is_up_to_date = False

    async def close(self) -> None:
        await self._client.close()

    # Transactions

    async def _commit(self, slot: _Slot, compares: Sequence[Json], operations: Sequence[Json]) -> _Outcome:
        """Carry out a transaction exactly once. Raises: StorageError, also where nobody can tell what became of it."""
        for _ in range(ATTEMPTS):
            before = slot.revision
            if before is None:
                before = await self._slot_revision(slot)
            slot.revision = None  # until we know
            token = next(self._tokens)
            body = {
                "compare": [revision_is(slot.key, before)],
                "success": [
                    {
                        "request_txn": {
                            "compare": compares,
                            "success": [*nested(operations), put_request(slot.key, f"{token} committed".encode())],
                            "failure": [put_request(slot.key, f"{token} refused".encode())],
                        }
                    }
                ],
            }
            try:
                answer = await self._client.call("/v3/kv/txn", body, once=True)
            except AnswerLost as lost:
                outcome = await self._look_up(slot, before, token, lost)
                if outcome is not None:
                    return outcome
                continue
            except EtcdError as error:
                slot.revision = before
                if error.code != NOT_FOUND:
                    raise
                # The conditions held, but a lease is lost, and nothing was written.
                return (await self._commit(slot, [], []))._replace(committed=False)
            if not answer.get("succeeded"):
                continue  # another process of this name used the slot, or we did before we gave up
            slot.revision = int(answer["header"]["revision"])
            inner = answer["responses"][0]["response_txn"]
            return _Outcome(inner.get("succeeded", False), slot.revision, inner["responses"])
        raise StorageError("another broker of this id writes to etcd at the same time")

    async def _look_up(self, slot: _Slot, before: int, token: str, lost: AnswerLost) -> _Outcome | None:
        """Find out what became of a transaction; None: nothing, and nothing will."""
        fence = next(self._tokens).encode()
        body = {
            "compare": [revision_is(slot.key, before)],
            "success": [put_request(slot.key, fence)],
            "failure": [{"request_range": {"key": encode(slot.key)}}],
        }
        answer = await self._client.call("/v3/kv/txn", body)
        if answer.get("succeeded"):
            slot.revision = int(answer["header"]["revision"])
            return None
        pairs = answer["responses"][0]["response_range"].get("kvs", ())
        value = decode(pairs[0].get("value", "")) if pairs else b""
        if value == fence:  # the answer to an earlier attempt at this was lost, too
            return None
        if not value.startswith(token.encode()):
            raise StorageError(f"whether the metadata was changed is not known: {lost}") from lost
        slot.revision = int(pairs[0]["mod_revision"])
        return _Outcome(value.endswith(b" committed"), slot.revision)

    async def _commit_under_many(
        self, slot: _Slot, compares: Sequence[tuple[bytes, int]], operations: Sequence[Json]
    ) -> _Outcome:
        for _ in range(ATTEMPTS):
            revision, pairs = await self._list(self._data, keys_only=True)
            found = {decode(pair["key"]): (int(pair["mod_revision"]), int(pair.get("lease", 0))) for pair in pairs}
            if any(found.get(key, (0, 0))[0] != expected for key, expected in compares):
                break
            leased = [revision_is(*compare) for compare in compares if found.get(compare[0], (0, 0))[1]]
            if len(leased) >= WIDTH:
                raise StorageError(f"a transaction depends on {len(leased)} keys under leases, more than {WIDTH - 1}")
            outcome = await self._commit(slot, [nothing_newer(self._all_slots, revision), *leased], operations)
            if outcome.committed:
                return outcome
        return (await self._commit(slot, [], []))._replace(committed=False)

    async def _slot_revision(self, slot: _Slot) -> int:
        answer = await self._client.call("/v3/kv/range", {"key": encode(slot.key)})
        return int(answer["kvs"][0]["mod_revision"]) if "kvs" in answer else 0

    def _events_of(self, outcome: _Outcome, operations: Sequence[Operation]) -> list[Event]:
        made = operations_of(operations, self._data)
        puts = [operation["request_put"] for operation in made if "request_put" in operation]
        events = [Event(self._key(decode(put["key"])), decode(put["value"]), outcome.revision) for put in puts]
        gone = dict.fromkeys(deleted_keys(outcome.responses or ()))
        return events + [Event(self._key(key), None, outcome.revision) for key in gone]

    # What the listeners know

    def _advance(self, revision: int, events: list[Event]) -> None:
        """Everything up to `revision` is known; of it the listeners have not been told `events`."""
        self._known = revision
        if events:
            self._told = revision
            for listener in self._listeners:
                listener(Batch(revision, events))
        self._wake()

    def _reset(self, snapshot: Snapshot) -> None:
        """Tell the listeners everything, unless they know it."""
        if snapshot.revision <= self._known:
            return
        self._known = self._told = snapshot.revision
        for listener in self._listeners:
            listener(Batch(snapshot.revision, [Event(*entry) for entry in snapshot.entries], is_reset=True))
        self._wake()

    def _wake(self) -> None:
        self._progress.set()
        self._progress = anyio.Event()

    async def _catch_up(self, revision: int) -> None:
        """Return when the listeners know all up to `revision`, which etcd has reached."""
        with anyio.move_on_after(self._timeout_ms / 1000):
            while self._known < revision and self._is_following:
                await self._progress.wait()
        await self._read_again(revision)

    async def _read_again(self, revision: int) -> None:
        """Read everything if the listeners do not know all up to `revision`."""
        async with self._reading:
            if self._known < revision:
                self._reset(await self.range(""))

    # Reading

    async def _follow(self) -> None:
        """Follow a watch until it is compacted. Raises: StorageError; Silence if there is no doubt but nothing came."""
        create = {
            "key": encode(self._root),
            "range_end": encode(range_end(self._root)),
            "start_revision": str(self._known + 1),
            "fragment": True,
        }
        try:
            # The stream may be of a member that lags behind: only this answer shows that etcd is the one it was.
            await self._client.call("/v3/kv/range", {"key": encode(self._all_slots), "count_only": True})
            async with self._client.stream("/v3/watch", {"create_request": create}, idle_ms=WATCH_IDLE_MS) as messages:
                fragments: list[Json] = []
                async for message in messages:
                    self._client.check_identity(message.get("header", {}))
                    if "compact_revision" in message:
                        return
                    if message.get("canceled"):
                        raise StorageError(f"etcd cancelled the watch: {message.get('cancel_reason', 'no reason')}")
                    self._is_following = True
                    fragments += message.get("events", ())
                    if not message.get("fragment"):
                        self._on_events(fragments)
                        fragments = []
                raise StorageError("etcd ended the watch")
        finally:
            self._is_following = False
            self._wake()

    def _on_events(self, raw: Sequence[Any]) -> None:
        """Tell what is new of a message's events, which are in the order of their revisions."""
        revision = self._known
        events = []
        for event in raw:
            pair = event["kv"]
            revision = int(pair["mod_revision"])
            key = decode(pair["key"])
            if revision > self._known and key.startswith(self._data):
                value = None if event.get("type") == "DELETE" else decode(pair.get("value", ""))
                events.append(Event(self._key(key), value, revision))
        if revision > self._known:
            self._advance(revision, events)

    async def _list(self, prefix: bytes, *, keys_only: bool = False) -> tuple[int, list[Json]]:
        """Return the keys with this prefix at one revision, and that revision."""
        for _ in range(ATTEMPTS):
            try:
                return await self._pages(prefix, keys_only=keys_only)
            except EtcdError as error:
                if error.code == RESOURCE_EXHAUSTED and self._page_keys > 1:
                    self._page_keys = self._page_keys // 4 or 1  # the gateway limits the size of an answer
                elif error.code != OUT_OF_RANGE:  # the revision was compacted between two pages
                    raise
        raise StorageError("etcd is compacted faster than it can be read")

    async def _pages(self, prefix: bytes, *, keys_only: bool) -> tuple[int, list[Json]]:
        start, revision = prefix, 0
        pairs: list[Json] = []
        while True:
            answer = await self._client.call(
                "/v3/kv/range",
                {
                    "key": encode(start),
                    "range_end": encode(range_end(prefix)),
                    "limit": str(self._page_keys),
                    "revision": str(revision),
                    "keys_only": keys_only,
                },
            )
            pairs += answer.get("kvs", ())
            revision = revision or int(answer["header"]["revision"])
            if not answer.get("more"):
                return revision, pairs
            start = decode(pairs[-1]["key"]) + b"\0"

    def _key_value(self, pair: Json) -> KeyValue:
        return KeyValue(self._key(decode(pair["key"])), decode(pair.get("value", "")), int(pair["mod_revision"]))

    def _key(self, raw: bytes) -> str:
        return raw.removeprefix(self._data).decode()

"""The store of the cluster's metadata: keys and values under revisions. The interface; engines stand beside it.

Rules that every engine keeps, and that the contract test checks
- The store has one revision, which grows with each committed transaction, by one or more; a key's revision is that of
  the transaction that wrote it last. Revisions never go down.
- `txn` commits all operations or none; its conditions compare a key's revision (0: there is no such key).
- What a listener is told is in revision order, without gaps. The batches up to the revision of a `txn` have been
  delivered before it returns, whether it committed or not: whoever proposes sees the result in the image.
- An engine may leave out states between two batches and tell only the last; it then tells it of every key concerned.
- Keys put under a lease vanish when the lease is revoked or not kept alive for its time to live, measured by clocks
  that do not jump. It ends later than its holder reckons, never earlier, unless the holder is dead.
- Thousands of conditions and operations are one transaction; their size is limited (etcd: 1.5 MB unless set otherwise).
- Listeners run on the event loop, must not await and must not fail.

Not here: what the keys mean (image, changes).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

NO_LEASE = 0


class KeyValue(NamedTuple):
    key: str
    value: bytes
    revision: int


class Event(NamedTuple):
    """A key's new value; None: it was deleted."""

    key: str
    value: bytes | None
    revision: int


class Batch(NamedTuple):
    """What changed up to `revision`. A reset replaces everything: the keys that it does not name are gone."""

    revision: int
    events: list[Event]
    is_reset: bool = False


class Snapshot(NamedTuple):
    revision: int
    entries: list[KeyValue]


class Condition(NamedTuple):
    """The key has this revision; 0: it does not exist."""

    key: str
    revision: int


class Put(NamedTuple):
    key: str
    value: bytes
    lease: int = NO_LEASE


class Delete(NamedTuple):
    key: str


class DeletePrefix(NamedTuple):
    prefix: str


Operation = Put | Delete | DeletePrefix


class TxnResult(NamedTuple):
    committed: bool
    revision: int  # of this transaction if it wrote something; in any case listeners were told up to it


Listener = Callable[[Batch], None]

_NEVER = Condition("never", -1)  # a revision that no key has


class Store(ABC):
    """All methods raise StorageError when the engine fails."""

    is_up_to_date = True  # False while what others commit cannot be seen: what listeners were told may be old

    @abstractmethod
    async def range(self, prefix: str) -> Snapshot:
        """Return the keys that start with `prefix`, in their order."""

    async def get(self, key: str) -> KeyValue | None:
        entries = (await self.range(key)).entries
        return entries[0] if entries and entries[0].key == key else None

    @abstractmethod
    async def txn(self, conditions: list[Condition], operations: list[Operation]) -> TxnResult:
        """Apply `operations` in one step if all `conditions` hold. A lost lease counts as a condition that fails."""

    async def catch_up(self) -> None:
        """Return when listeners were told all that was committed before the call, by whomever."""
        await self.txn([_NEVER], [])

    @abstractmethod
    async def watch(self, listener: Listener) -> Snapshot:
        """Return everything, and from then on tell `listener` what changes after that."""

    @abstractmethod
    async def grant_lease(self, ttl_ms: int) -> int:
        """Return a new lease's id; keys put under it live as long as it does."""

    @abstractmethod
    async def keep_alive(self, lease: int) -> bool:
        """Renew the lease for its time to live. False: it is lost, and its keys are gone."""

    @abstractmethod
    async def revoke_lease(self, lease: int) -> None:
        """Delete the lease and its keys; does nothing if it is lost already."""

    @abstractmethod
    async def run(self) -> None:
        """Follow what other processes change, until cancelled. Returns at once where nobody else can.

        What fails is logged and tried again.
        """

    @abstractmethod
    async def close(self) -> None:
        """Whoever asks it or writes to it from now on gets a StorageError."""


def prefix_end(prefix: str) -> str:
    """Return the first key behind all keys with this prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1) if prefix else chr(0x10FFFF)

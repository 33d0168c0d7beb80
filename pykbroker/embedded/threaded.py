"""A cluster in a thread of its own, for callers without an event loop, or with one that is theirs.

Owns: the thread and its event loop (uvloop where it is installed).

Rules: each method runs in the brokers' loop and returns, or raises, when it is done there. They may be called from any
thread but that one.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from typing import TypeVar, Unpack, overload

from anyio.from_thread import BlockingPortal, start_blocking_portal

from pykbroker.cluster.new_topics import DEFAULT
from pykbroker.embedded.cluster import AsyncCluster
from pykbroker.errors import KafkaError
from pykbroker.faults.control import Faults
from pykbroker.faults.rules import ActiveFault, Fault, FaultError, FaultFields

T = TypeVar("T")


@contextlib.contextmanager
def in_thread(cluster: AsyncCluster) -> Iterator["ThreadedCluster"]:
    """Run a cluster in a thread while the body lasts. Raises: StartError, ConfigError."""
    with start_blocking_portal("asyncio", {"use_uvloop": _has_uvloop()}) as portal:
        with portal.wrap_async_context_manager(cluster) as started:
            yield ThreadedCluster(started, portal)
        # Calls whose callers were interrupted still wait: they are not waited for.
        portal.call(portal.stop, True)


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return False
    return True


class Call:
    """Calls a function in the brokers' loop; what is wrong with an order is raised as if it were raised here."""

    def __init__(self, portal: BlockingPortal) -> None:
        self._portal = portal

    @overload
    def __call__(self, function: Callable[..., Awaitable[T]], *arguments: object) -> T: ...

    @overload
    def __call__(self, function: Callable[..., T], *arguments: object) -> T: ...

    def __call__(self, function: Callable[..., object], *arguments: object) -> object:
        __tracebackhide__ = True
        try:
            return self._portal.call(function, *arguments)
        except (KafkaError, FaultError) as error:
            raise error.with_traceback(None) from None


class ThreadedCluster:
    def __init__(self, cluster: AsyncCluster, portal: BlockingPortal) -> None:
        self._cluster = cluster
        self._call = Call(portal)
        self.data_dir = cluster.data_dir
        self.bootstrap = cluster.bootstrap
        self.faults = ThreadedFaults(cluster.faults, self._call)

    def __repr__(self) -> str:
        return f"<Kafka at {self.bootstrap}>"

    @property
    def brokers(self) -> list[int]:
        """The ids of the brokers that run."""
        return self._call(lambda: self._cluster.brokers)

    @property
    def bugs(self) -> int:
        """How many bugs of ours the running brokers have noticed; each is in the log."""
        return self._call(lambda: self._cluster.bugs)

    def start(self, broker: int = 1) -> None:
        """Start a broker that is down, on its own port and data."""
        self._call(self._cluster.start, broker)

    def stop(self, broker: int = 1) -> None:
        """Stop a broker in order; what it leads goes to others first."""
        self._call(self._cluster.stop, broker)

    def kill(self, broker: int = 1) -> None:
        """Let a broker end as in a crash."""
        self._call(self._cluster.kill, broker)

    def restart(self, broker: int = 1) -> None:
        """Stop a broker in order, and start it again."""
        self._call(self._cluster.restart, broker)

    def create_topic(
        self,
        name: str,
        partitions: int = DEFAULT,
        *,
        replication_factor: int = DEFAULT,
        configs: Mapping[str, object] | None = None,
    ) -> str:
        """Create a topic, and return its name when all brokers know it. Raises: KafkaError."""
        return self._call(
            lambda: self._cluster.create_topic(name, partitions, replication_factor=replication_factor, configs=configs)
        )

    def reset(self) -> None:
        """Forget all topics, groups, transactions and configs, and end all faults, within milliseconds."""
        self._call(self._cluster.reset)


class ThreadedFault:
    """A fault in force. `hits` counts the requests that met it."""

    def __init__(self, active: ActiveFault, call: Call) -> None:
        self._active = active
        self._call = call
        self.fault = active.fault

    @property
    def hits(self) -> int:
        return self._active.hits

    def remove(self) -> None:
        """End it; does nothing the second time."""
        self._call(self._active.remove)

    def wait(self, hits: int = 1, *, timeout_s: float = 10) -> None:
        """Wait until it was met so many times. Raises: TimeoutError; FaultError once it is removed."""
        self._call(lambda: self._active.wait(hits, timeout_s=timeout_s))


class ThreadedFaults:
    """Faults on order: see pykbroker.faults.control.Faults, whose methods these are."""

    def __init__(self, faults: Faults, call: Call) -> None:
        self._faults = faults
        self._call_there = call

    def _call(self, method: Callable[..., Awaitable[T]], *arguments: object, **named: object) -> T:
        result: T = self._call_there(lambda: method(*arguments, **named))
        return result

    def __call__(self, **fields: Unpack[FaultFields]) -> contextlib.AbstractContextManager[ThreadedFault]:
        """Have a fault in force in the body of a `with`; the fields are those of `Fault`. Raises: FaultError."""
        return self._in_force(Fault.of(fields))

    @contextlib.contextmanager
    def _in_force(self, fault: Fault) -> Iterator[ThreadedFault]:
        active = self.add(fault)
        try:
            yield active
        finally:
            active.remove()

    def add(self, fault: Fault) -> ThreadedFault:
        """Put a fault in force until it is removed."""
        return ThreadedFault(self._call_there(self._faults.add, fault), self._call_there)

    def clear(self) -> None:
        """Remove all faults that requests meet."""
        self._call_there(self._faults.clear)

    def rebalance(self, group: str) -> None:
        """Have a group's members join anew."""
        self._call(self._faults.rebalance, group)

    def expire_member(self, group: str, member_id: str | None = None) -> None:
        """End the session of a member, or of all members, of a group."""
        self._call(self._faults.expire_member, group, member_id)

    def expire_transaction(self, transactional_id: str) -> None:
        """Abort the open transaction as its timeout would; its producer is fenced."""
        self._call(self._faults.expire_transaction, transactional_id)

    def expire_transactional_id(self, transactional_id: str) -> None:
        """Forget a transactional id without an open transaction."""
        self._call(self._faults.expire_transactional_id, transactional_id)

    def expire_producer_ids(self, topic: str) -> None:
        """Have the partitions of a topic forget their producers."""
        self._call(self._faults.expire_producer_ids, topic)

    def expire_broker(self, broker: int) -> None:
        """End the session of a broker. It registers again as soon as it learns of that."""
        self._call(self._faults.expire_broker, broker)

    def move_leader(self, topic: str, partition: int = 0, *, to: int | None = None) -> int:
        """Have another replica lead, by default the next in the ISR; return who does."""
        return self._call(self._faults.move_leader, topic, partition, to=to)

    def move_coordinator(
        self, group: str | None = None, *, transactional_id: str | None = None, to: int | None = None
    ) -> int:
        """Have another broker coordinate a group or a transactional id; return which."""
        return self._call(self._faults.move_coordinator, group, transactional_id=transactional_id, to=to)

    def jump_clock(self, ms: float, *, broker: int | None = None) -> None:
        """Move the wall clock of a broker, or of all, forwards or back; timers do not notice."""
        self._call(self._faults.jump_clock, ms, broker=broker)

    def pass_time(self, ms: float, *, broker: int | None = None) -> None:
        """Let time pass at once: sessions, timeouts and retention that end by then do."""
        self._call(self._faults.pass_time, ms, broker=broker)

    def freeze(self, broker: int | None = None) -> None:
        """Let a broker stand still as after SIGSTOP: sockets stay open, nothing is answered."""
        self._call(self._faults.freeze, broker)

    def thaw(self, broker: int | None = None) -> None:
        self._call(self._faults.thaw, broker)

    def partition(self, *sides: Iterable[int]) -> None:
        """Cut the brokers of each side off from those of all other sides."""
        self._call(self._faults.partition, *sides)

    def cut_store(self, broker: int | None = None) -> None:
        """Cut a broker off from the store of the metadata."""
        self._call(self._faults.cut_store, broker)

    def heal(self) -> None:
        """End all faults that last: also frozen brokers and cuts. Brokers that are down stay down."""
        self._call(self._faults.heal)

    def reset(self) -> None:
        """The same as `reset` of the brokers."""
        self._call(self._faults.reset)

    def start(self, broker: int | None = None) -> None:
        self._call(self._faults.start, broker)

    def stop(self, broker: int | None = None) -> None:
        self._call(self._faults.stop, broker)

    def kill(self, broker: int | None = None) -> None:
        self._call(self._faults.kill, broker)

    def restart(self, broker: int | None = None) -> None:
        """Stop a broker in order, and start it again."""
        self._call(self._faults.restart, broker)

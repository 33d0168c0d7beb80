"""Faults on order, of one broker or of all brokers of a process.

    with faults(api="Produce", topic="orders", error="NOT_LEADER_OR_FOLLOWER", times=1) as fault:
        ...
    await faults.move_leader("orders", to=2)

Owns: what lasts of each broker's faults (`lasting`), whether it runs or not; the faults in force are in `rules`.

Rules
- All methods belong to the brokers' event loop. What they change is in force, and known to all brokers here that run
  and reach the store, when they return.
- What cannot be done, or would do nothing because what it is about is not there, raises FaultError, or the KafkaError
  that a client would get; TimeoutError, what does not come about.
- `heal` ends all that lasts: faults, cuts, frozen brokers, wall clocks that are wrong. Brokers that were stopped are
  started by whoever runs them.

Not here: what a fault does with requests (rules, dispatcher), the same over HTTP (web/faults).
"""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from itertools import combinations
from typing import Unpack

import anyio
import attrs

from pykbroker.cluster.changes import Change, fence_broker
from pykbroker.cluster.image import ImageDelta, MetadataImage
from pykbroker.cluster.partition_changes import put_partition, settled
from pykbroker.errors import KafkaError
from pykbroker.faults.broker import FaultyBroker
from pykbroker.faults.rules import ActiveFault, Fault, FaultError, FaultFields, FaultRules
from pykbroker.faults.seams import Lasting, Seams
from pykbroker.groups.shard import GroupShard
from pykbroker.transactions.shard import TransactionShard
from wire.errors import ErrorCode

GROUPS_TOPIC, TRANSACTIONS_TOPIC = "__consumer_offsets", "__transaction_state"
_PATIENCE_S = 10.0  # until all brokers know of a change, or one has loaded what it coordinates
_POLL_INTERVAL_S = 0.002
logger = logging.getLogger("pykbroker.faults")

MAX_WALL_OFFSET_MS = 50 * 365 * 86_400_000.0  # no clock gets before 1970, or where the protocol has no numbers


class Lifecycle(ABC):
    """Who can start and stop brokers. Raises: FaultError, of an id that it has not."""

    @abstractmethod
    async def start(self, broker: int) -> None: ...

    @abstractmethod
    async def stop(self, broker: int) -> None: ...

    @abstractmethod
    async def kill(self, broker: int) -> None: ...


class Faults:
    def __init__(
        self,
        brokers: Callable[[], Mapping[int, FaultyBroker]],
        lifecycle: Lifecycle | None = None,
    ) -> None:
        """`brokers`: those that run now. `lifecycle`: None where brokers cannot be started and stopped from here."""
        self.rules = FaultRules()
        self._brokers = brokers
        self._lifecycle = lifecycle
        self._lasting: dict[int, Lasting] = {}

    def lasting(self, broker: int) -> Lasting:
        """Return what lasts of a broker's faults. Whoever runs brokers asks for that of each, before they run."""
        return self._lasting.setdefault(broker, Lasting())

    def run_by(self, lifecycle: Lifecycle) -> None:
        """Have brokers be started and stopped by somebody."""
        self._lifecycle = lifecycle

    # Requests

    def __call__(self, **fields: Unpack[FaultFields]) -> AbstractContextManager[ActiveFault]:
        """Have a fault in force in the body of a `with`; the fields are those of `Fault`. Raises: FaultError."""
        return self._in_force(Fault.of(fields))

    @contextmanager
    def _in_force(self, fault: Fault) -> Iterator[ActiveFault]:
        active = self.add(fault)
        try:
            yield active
        finally:
            active.remove()

    def add(self, fault: Fault) -> ActiveFault:
        """Put a fault in force until it is removed."""
        return self.rules.add(fault)

    def clear(self) -> None:
        """Remove all faults that requests meet."""
        self.rules.clear()

    # Groups, transactions, leaders

    async def rebalance(self, group: str) -> None:
        """Have a group's members join anew."""

        def begin(shard: GroupShard) -> None:
            _check_members(shard, group)
            shard.rebalance(group)

        await self._at_group(group, begin)
        logger.info("on order: group %s joins anew", group)

    async def expire_member(self, group: str, member_id: str | None = None) -> None:
        """End the session of a member, or of all members, of a group."""

        def expire(shard: GroupShard) -> None:
            _check_members(shard, group)
            for each in [member_id] if member_id is not None else list(shard.group(group).members):
                shard.expire_session(group, each)

        await self._at_group(group, expire)
        logger.info("on order: sessions of group %s ended", group)

    async def expire_transaction(self, transactional_id: str) -> None:
        """Abort the open transaction as its timeout would; its producer is fenced."""
        await self._at_transaction(transactional_id, lambda shard: shard.time_out(transactional_id))
        logger.info("on order: the transaction of %s timed out", transactional_id)

    async def expire_transactional_id(self, transactional_id: str) -> None:
        """Forget a transactional id without an open transaction, as `transactional.id.expiration.ms` would."""
        await self._at_transaction(transactional_id, lambda shard: shard.expire(transactional_id))
        logger.info("on order: %s is forgotten", transactional_id)

    async def expire_producer_ids(self, topic: str) -> None:
        """Have the partitions of a topic forget their producers, as `producer.id.expiration.ms` would."""
        logs = [
            partition.log
            for broker in self._brokers().values()
            for partition in broker.services.replicas.partitions()
            if partition.topic_partition.topic == topic
        ]
        if not logs:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"there is no partition of {topic} here")
        if not any(log.active_producers() for log in logs):
            raise FaultError(f"no partition of {topic} knows a producer")
        for log in logs:
            log.remove_producers()
        logger.info("on order: producers of %s are forgotten", topic)

    async def expire_broker(self, broker: int) -> None:
        """End the session of a broker: others lead what it led. It registers again as soon as it learns of that."""

        def change(image: MetadataImage) -> Change:
            registered = image.brokers.get(broker)
            if registered is None or registered.fenced:
                raise FaultError(f"broker {broker} has no session")
            made = fence_broker(image, broker, registered.epoch)
            # Decided at once, as by Kafka's controller: the broker may be back before ours looks.
            without = attrs.evolve(image, brokers={**image.brokers, broker: attrs.evolve(registered, fenced=True)})
            for topic in without.topics.values():
                for index, state in enumerate(topic.partitions):
                    decided = settled(without, topic, index, unclean=False)
                    if decided != state:
                        made += put_partition(image, topic, index, decided)
            return made

        await self.propose(change)
        logger.info("on order: the session of broker %d ended", broker)

    async def move_leader(self, topic: str, partition: int = 0, *, to: int | None = None) -> int:
        """Have another replica lead, by default the next in the ISR; return who does.

        Where there is no other, the same leads under a new leader epoch.
        """
        chosen = -1

        def change(image: MetadataImage) -> Change:
            nonlocal chosen
            state = image.partition(topic, partition)
            if state is None:
                raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"there is no {topic}-{partition}")
            others = [each for each in state.isr if each != state.leader and each in image.active_brokers]
            chosen = to if to is not None else (others or [state.leader])[0]
            if chosen not in state.isr or chosen not in image.active_brokers:
                raise FaultError(f"broker {chosen} is not in the ISR of {topic}-{partition}")
            led = attrs.evolve(
                state,
                leader=chosen,
                leader_epoch=state.leader_epoch + 1,
                partition_epoch=state.partition_epoch + 1,
            )
            return put_partition(image, image.topics[topic], partition, led)

        await self.propose(change)
        logger.info("on order: broker %d leads %s-%d", chosen, topic, partition)
        return chosen

    async def move_coordinator(
        self, group: str | None = None, *, transactional_id: str | None = None, to: int | None = None
    ) -> int:
        """Have another broker coordinate a group or a transactional id; return which."""
        if (group is None) == (transactional_id is None):
            raise FaultError("the coordinator of a group or of a transactional id")
        services = self.any_broker().services
        topic = TRANSACTIONS_TOPIC if group is None else GROUPS_TOPIC
        if topic not in services.cluster.image.topics:
            raise FaultError(f"no client has used a {'transactional id' if group is None else 'group'} yet")
        if group is not None:
            return await self.move_leader(GROUPS_TOPIC, services.groups.partition_for(group), to=to)
        assert transactional_id is not None
        index = services.transactions.partition_for(transactional_id)
        return await self.move_leader(TRANSACTIONS_TOPIC, index, to=to)

    # Time

    async def jump_clock(self, ms: float, *, broker: int | None = None) -> None:
        """Move the wall clock of a broker, or of all, forwards or back; timers do not notice."""
        clocks = [self._lasting[each] for each in self._ids(broker)]
        limit = MAX_WALL_OFFSET_MS
        if not abs(ms) <= 2 * limit or any(abs(each.wall_offset_ms + ms) > limit for each in clocks):  # or it is NaN
            raise FaultError(f"a clock may be wrong by {limit:g} ms at most")
        for each in clocks:
            each.wall_offset_ms += ms
        logger.info("on order: the clock of %s jumps by %g ms", _told(broker), ms)

    async def pass_time(self, ms: float, *, broker: int | None = None) -> None:
        """Let time pass at once: sessions, timeouts and retention that end by then do.

        The wall clock is ahead by it until it is healed; timers never go back.
        """
        if ms < 0:
            raise FaultError("time does not go back; the wall clock does, see jump_clock")
        await self.jump_clock(ms, broker=broker)
        for each in self._ids(broker):
            if (running := self._brokers().get(each)) is not None:
                running.seams.clock.pass_time(ms)
        logger.info("on order: %g ms passed for %s", ms, _told(broker))

    # Brokers and what is between them

    async def freeze(self, broker: int | None = None) -> None:
        """Let a broker stand still as after SIGSTOP: sockets stay open, nothing is answered.

        `broker` may be left out where there is only one, here and below.
        """
        self._seams(broker).freeze()
        logger.info("on order: broker %d is frozen", self._one(broker))

    async def thaw(self, broker: int | None = None) -> None:
        self._seams(broker).thaw()
        logger.info("on order: broker %d goes on", self._one(broker))

    async def partition(self, *sides: Iterable[int]) -> None:
        """Cut the brokers of each side off from those of all other sides; clients and the store reach them all.

        Of two brokers that are cut from one another, one at least has to be here.
        """
        groups = [frozenset(side) for side in sides]
        everybody = frozenset().union(*groups)
        if len(groups) < 2 or not all(groups) or len(everybody) < sum(map(len, groups)):
            raise FaultError("there are two sides or more, each with brokers of its own")
        known = set(self._lasting).union(*(each.services.cluster.image.brokers for each in self._brokers().values()))
        if unknown := everybody - known:
            raise FaultError(f"there is no broker {', '.join(map(str, sorted(unknown)))}")
        for side, other in combinations(groups, 2):
            if (far := side - self._lasting.keys()) and (from_far := other - self._lasting.keys()):
                raise FaultError(f"{min(far)} and {min(from_far)} run elsewhere: cut them off where one of them runs")
        for side in groups:
            for broker in side & self._lasting.keys():
                self._lasting[broker].cut_brokers |= everybody - side
        self._notify()
        logger.info("on order: cut off from one another are %s", " and ".join(str(sorted(side)) for side in groups))

    async def cut_store(self, broker: int | None = None) -> None:
        """Cut a broker off from the store of the metadata."""
        (one,) = self._ids(self._one(broker))
        self._lasting[one].is_store_cut = True
        self._notify()
        logger.info("on order: broker %d is cut off from the store", one)

    async def heal(self) -> None:
        """End all faults that last."""
        for lasting in self._lasting.values():
            lasting.cut_brokers.clear()
            lasting.is_store_cut = False
            lasting.wall_offset_ms = 0.0
        for broker in self._brokers().values():
            broker.seams.thaw()
        self._notify()
        self.rules.clear()

    async def reset(self) -> None:
        """Forget all topics, groups, transactions and configs, end all faults, and start the brokers that are down."""
        await self.heal()
        for broker in sorted(self._lasting.keys() - self._brokers().keys()):
            await self.start(broker)
        await self.until_all_know(await self.any_broker().services.cluster.forget_everything())

    async def start(self, broker: int | None = None) -> None:
        """Start a broker that is down; those here know of it then."""
        one = self._one(broker)
        await self._started_by().start(one)
        await self.until_known(lambda image: one in image.active_brokers)

    async def stop(self, broker: int | None = None) -> None:
        """Stop a broker in order; what it leads goes to others first."""
        await self._started_by().stop(self._one(broker))

    async def kill(self, broker: int | None = None) -> None:
        """Stop a broker like a crash."""
        await self._started_by().kill(self._one(broker))

    async def restart(self, broker: int | None = None) -> None:
        """Stop a broker in order, and start it again."""
        await self.stop(broker)
        await self.start(broker)

    # Helpers

    def _started_by(self) -> Lifecycle:
        if self._lifecycle is None:
            raise FaultError("this broker is a process of its own: it is stopped and started from outside")
        return self._lifecycle

    def any_broker(self) -> FaultyBroker:
        """Return a broker that reaches the store, if one does. Raises: FaultError, where none can do anything."""
        awake = [each for each in self._brokers().values() if not each.seams.is_frozen]
        if not awake:
            raise FaultError("every broker is frozen" if self._brokers() else "no broker runs")
        return next((each for each in awake if not each.seams.is_store_cut), awake[0])

    def _one(self, broker: int | None) -> int:
        if broker is not None:
            return broker
        if len(self._lasting) > 1:
            raise FaultError(f"which broker? There are {', '.join(map(str, self._lasting))}")
        return next(iter(self._lasting))

    def _ids(self, broker: int | None) -> list[int]:
        if broker is not None and broker not in self._lasting:
            raise FaultError(f"there is no broker {broker} here")
        return list(self._lasting) if broker is None else [broker]

    def _seams(self, broker: int | None) -> Seams:
        one = self._one(broker)
        if one not in self._brokers():
            raise FaultError(f"no broker {one} runs here")
        return self._brokers()[one].seams

    def _notify(self) -> None:
        for broker in self._brokers().values():
            broker.seams.change()

    async def _at_group(self, group: str, act: Callable[[GroupShard], None]) -> None:
        def act_there(broker: FaultyBroker) -> None:
            if GROUPS_TOPIC not in broker.services.cluster.image.topics:
                raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"there is no group {group}")
            act(broker.services.groups.shard_for(group))

        await self._at_coordinator(act_there)

    async def _at_transaction(self, transactional_id: str, act: Callable[[TransactionShard], None]) -> None:
        def act_there(broker: FaultyBroker) -> None:
            if TRANSACTIONS_TOPIC not in broker.services.cluster.image.topics:
                missing = f"there is no transactional id {transactional_id}"
                raise KafkaError(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND, missing)
            act(broker.services.transactions.shard_for(transactional_id))

        await self._at_coordinator(act_there)

    async def _at_coordinator(self, act: Callable[[FaultyBroker], None]) -> None:
        """Have the broker act that coordinates what it is about, as soon as it has loaded it. Raises: KafkaError."""
        with anyio.move_on_after(_PATIENCE_S):
            while (failure := self._try_at_coordinator(act)) is not None:
                if failure.code is not ErrorCode.COORDINATOR_LOAD_IN_PROGRESS:
                    break
                await anyio.sleep(_POLL_INTERVAL_S)
        if failure is not None:
            raise failure

    def _try_at_coordinator(self, act: Callable[[FaultyBroker], None]) -> KafkaError | None:
        failure = KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE, "no broker runs")
        for broker in self._brokers().values():
            try:
                act(broker)
            except KafkaError as error:
                failure = error
                if error.code is not ErrorCode.NOT_COORDINATOR:
                    break
            else:
                return None
        return failure

    async def propose(self, change: Callable[[MetadataImage], Change]) -> None:
        """Change the metadata; all brokers that reach the store know it then. Raises: KafkaError, TimeoutError."""
        cluster = self.any_broker().services.cluster
        with anyio.fail_after(_PATIENCE_S):
            image = await cluster.propose(change)
        await self.until_all_know(image)

    async def until_all_know(self, image: MetadataImage) -> None:
        await self.until_known(lambda known: known.revision >= image.revision)

    async def until_known(self, is_true: Callable[[MetadataImage], bool]) -> None:
        """Wait until something holds in what each broker here knows, if it reaches the store. Raises: TimeoutError."""
        with anyio.fail_after(_PATIENCE_S):
            for broker in self._brokers().values():
                if _is_reachable(broker):
                    await _knows(broker, is_true)


def _told(broker: int | None) -> str:
    return "all brokers" if broker is None else f"broker {broker}"


def _is_reachable(broker: FaultyBroker) -> bool:
    return not (broker.seams.is_frozen or broker.seams.is_store_cut)


def _check_members(shard: GroupShard, group: str) -> None:
    if not shard.group(group).members:
        raise FaultError(f"group {group} has no members")


async def _knows(broker: FaultyBroker, is_true: Callable[[MetadataImage], bool]) -> None:
    cluster = broker.services.cluster
    news = anyio.Event()

    def look(image: MetadataImage, delta: ImageDelta) -> None:
        if is_true(image):
            news.set()

    if not is_true(cluster.image):
        cluster.on_image.append(look)
        try:
            await news.wait()
        finally:
            cluster.on_image.remove(look)

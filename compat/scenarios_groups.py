"""The scenarios of README.md about members that come and go. Shared by the Python clients.

Rules: each member polls in a thread of its own, as an application would; the scenario only looks at what members own
       and processed.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing, suppress

from library import BrokerError, Library, Partition, Send, Unsupported
from program import Context, check, equal

RECORDS = 600
PARTITIONS = 6


class Member:
    """A consumer that polls in a thread until it is told to stop; commits what it processed on revocation and at its
    end."""

    def __init__(
        self,
        library: Library,
        context: Context,
        *,
        group: str,
        topic: str,
        name: str,
        strategy: str,
        instance_id: str | None = None,
    ) -> None:
        self.name = name
        self.processed: list[int] = []
        self.owned: frozenset[Partition] = frozenset()
        self.revocations = 0
        self.error: Exception | None = None
        self.generation = -1
        self._next: dict[Partition, int] = {}
        self._consumer = library.consumer(
            group=group,
            strategy=strategy,
            instance_id=instance_id,
            client_id=context.name(name),
            session_timeout_ms=30_000,
        )
        self._stop = threading.Event()
        self._commit_often = threading.Event()
        self._leave = True
        self._consumer.subscribe([topic], self._on_assigned, self._on_revoked)
        self._thread = threading.Thread(target=self._run, name=f"{context.name(name)}-{strategy}", daemon=True)
        self._thread.start()

    def stop(self, *, leave: bool = True) -> None:
        """Close the consumer in its own thread (without leaving the group if `leave` is false) and wait for it."""
        self._leave = leave
        self._stop.set()
        self._thread.join(30)
        check(not self._thread.is_alive(), f"member {self.name} does not close within 30 s")

    def commit_often(self) -> None:
        """Make the member commit offset 0 for what it owns at every poll: some libraries learn only so that they are
        fenced."""
        self._commit_often.set()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                if self._commit_often.is_set():
                    self._consumer.commit(dict.fromkeys(self.owned, (0, "")))
                for message in self._consumer.poll(0.1):
                    self.processed.append(int(message.value or b""))
                    self._next[Partition(message.topic, message.partition)] = message.offset + 1
                self.owned = frozenset(self._consumer.assignment())
                with suppress(Unsupported):
                    self.generation = self._consumer.generation()
            self._commit(list(self.owned))
        except Exception as error:  # handed to the scenario, which fails with it
            self.error = error
        finally:
            if self._leave:
                self._consumer.close()
            else:
                self._consumer.stop_without_leaving()
            self.owned = frozenset()

    def _on_assigned(self, partitions: list[Partition]) -> None:
        for partition in partitions:
            self._next.pop(partition, None)

    def _on_revoked(self, partitions: list[Partition]) -> None:
        if partitions and not self._stop.is_set():
            self.revocations += 1
        self._commit(partitions)

    def _commit(self, partitions: Sequence[Partition]) -> None:
        offsets = {tp: (self._next.pop(tp), "") for tp in partitions if tp in self._next}
        if offsets:
            self._consumer.commit(offsets)


def group_rebalance(library: Library, context: Context) -> None:
    for strategy in library.strategies:
        try:
            _rebalance(library, context, strategy)
        except AssertionError as error:
            raise AssertionError(f"{strategy}: {error}") from error


def _rebalance(library: Library, context: Context, strategy: str) -> None:
    topic, group = context.name(strategy), context.name(strategy, "group")
    library.create_topic(topic, partitions=PARTITIONS)
    finish = threading.Event()
    producing = threading.Thread(target=_produce_slowly, args=(library, topic, finish), daemon=True)
    producing.start()
    members = [Member(library, context, group=group, topic=topic, name="a", strategy=strategy)]
    try:
        _wait_for_shares(context, members, [6])
        members += [Member(library, context, group=group, topic=topic, name=name, strategy=strategy) for name in "bc"]
        _wait_for_shares(context, members, [2, 2, 2])
        members[1].stop()
        _wait_for_shares(context, members, [0, 3, 3])
        members[2].stop()
        _wait_for_shares(context, members, [0, 0, 6])
        finish.set()
        producing.join(30)
        context.wait_until("every record was processed", lambda: len(_processed(members)) == RECORDS)
    finally:
        finish.set()
        for member in members:
            member.stop()
    for member in members:
        check(member.error is None, f"member {member.name} failed: {member.error!r}")
    equal(sorted(_processed(members)), list(range(RECORDS)), "processed records")
    again = sum(count - 1 for count in _processed(members).values())
    print(f"{strategy}: {again} records were processed more than once", flush=True)
    with closing(library.consumer(group=group)) as reader:
        committed = [reader.committed(Partition(topic, number)) for number in range(PARTITIONS)]
        equal(sum(each[0] for each in committed if each), RECORDS, "sum of the committed offsets")


def _produce_slowly(library: Library, topic: str, finish: threading.Event) -> None:
    """Produce the records in portions for as long as the members come and go, and the rest when told to finish."""
    with closing(library.producer()) as producer:
        for start in range(0, RECORDS, PARTITIONS):
            records = range(start, start + PARTITIONS)
            producer.produce([Send(topic, b"%d" % index, partition=index % PARTITIONS) for index in records])
            finish.wait(0.1)
            if start + 2 * PARTITIONS >= RECORDS:  # the last portion waits for the last leave
                finish.wait(60)


def _processed(members: Sequence[Member]) -> Counter[int]:
    return Counter(value for member in members for value in member.processed)


def _wait_for_shares(context: Context, members: Sequence[Member], shares: list[int]) -> None:
    def settled() -> bool:
        for member in members:
            if member.error is not None:
                raise AssertionError(f"member {member.name} failed: {member.error!r}")
        owned = [member.owned for member in members]
        return sorted(map(len, owned)) == shares and len(frozenset().union(*owned)) == sum(shares)

    try:
        context.wait_until(f"the members own {shares} partitions", settled)
    except AssertionError as error:
        owned = {member.name: sorted(tp.partition for tp in member.owned) for member in members}
        raise AssertionError(f"{error}; they own {owned}") from error


def static_membership(library: Library, context: Context) -> None:
    topic, group = context.name(), context.name("group")
    library.create_topic(topic, partitions=4)

    def member(instance: str) -> Member:
        names = {"name": instance, "instance_id": context.name(instance)}
        return Member(library, context, group=group, topic=topic, strategy="eager", **names)

    one, two = member("one"), member("two")
    members = [one, two]
    try:
        _wait_for_shares(context, members, [2, 2])
        if library.tells_instance_ids:
            described = {each.instance_id for each in library.describe_group(group).members}
            equal(described, {context.name("one"), context.name("two")}, "described instance ids")
        before = (one.owned, one.revocations, one.generation)
        owned_by_two = two.owned
        two.stop(leave=False)
        members[1] = two = member("two")
        context.wait_until("the restarted member owns its partitions again", lambda: two.owned == owned_by_two)
        time.sleep(1)
        equal(
            (one.owned, one.revocations, one.generation), before, "member one's (partitions, revocations, generation)"
        )
        if not library.carries_instance_ids:
            print("left out: its heartbeats and commits have no instance id, so it cannot be fenced", file=sys.stderr)
            return
        usurper = member("one")
        members.append(usurper)
        context.wait_until("the new member one owns two partitions", lambda: len(usurper.owned) == 2)
        one.commit_often()
        context.wait_until("the replaced member is told that it is fenced", lambda: one.error)
        check(
            isinstance(one.error, BrokerError) and one.error.name == "FENCED_INSTANCE_ID",
            f"replaced member: expected FENCED_INSTANCE_ID, got {one.error!r}",
        )
    finally:
        for each in members:
            each.stop()


def group_scenarios() -> dict[str, Callable[[Library, Context], None]]:
    """Return the scenarios of this file by name."""
    return {"group_rebalance": group_rebalance, "static_membership": static_membership}

"""Kafka's own command line tools: groups of kafka-verifiable-consumer, each in a JVM of its own."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence

from program import Context, check, equal
from tools import RETRIES, Background, Tools, table

ASSIGNORS = {
    "eager": "org.apache.kafka.clients.consumer.RangeAssignor",
    "cooperative": "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
}


class Member:
    """A verifiable consumer; what it owns and read follows from the events that it prints."""

    def __init__(self, tool: Background) -> None:
        self.tool = tool
        self.running = True
        self.revocations = 0
        self._owned: set[int] = set()
        self._read: set[tuple[int, int]] = set()

    @property
    def owned(self) -> set[int]:
        self._take_events()
        return self._owned if self.running else set()

    @property
    def read(self) -> set[tuple[int, int]]:
        """Return (partition, offset) of every record that it read."""
        self._take_events()
        return self._read

    def stop(self) -> None:
        """Let it close its consumer."""
        if self.running:
            self.tool.terminate()
            self._take_events()
            self.running = False

    def _take_events(self) -> None:
        while True:
            try:
                event = self.tool.events.get_nowait()
            except queue.Empty:
                return
            partitions = event.get("partitions", ())
            if event["name"] == "partitions_assigned":
                self._owned = self._owned | {each["partition"] for each in partitions}
            elif event["name"] == "partitions_revoked":
                self._owned = self._owned - {each["partition"] for each in partitions}
                self.revocations += bool(partitions)
            elif event["name"] == "records_consumed":
                for each in partitions:
                    self._read |= {
                        (each["partition"], offset) for offset in range(each["minOffset"], each["maxOffset"] + 1)
                    }


def group_rebalance(tools: Tools, context: Context) -> None:
    for strategy, assignor in ASSIGNORS.items():
        topic, group = context.name(strategy), context.name(strategy, "group")
        tools.succeed(context, "kafka-topics", "--create", "--topic", topic, "--partitions", "6")
        arguments = ["--topic", topic, "--group-id", group, "--reset-policy", "earliest"]
        arguments += ["--assignment-strategy", assignor]
        # The verifiable producer's keyless records stay on one partition for a while: repeating keys spread them.
        produced = ["--topic", topic, "--max-messages", "600", "--throughput", "40", "--repeating-keys", "60"]
        produced += ["--command-config", str(tools.file("retries.properties", RETRIES))]
        producer = tools.start(context, "kafka-verifiable-producer", *produced)
        members: list[Member] = []
        try:
            for shares, change in ((6, "join"), (3, "join"), (2, "join"), (3, "leave"), (6, "leave")):
                if change == "join":
                    members.append(Member(tools.start(context, "kafka-verifiable-consumer", *arguments)))
                else:
                    next(member for member in members[1:] if member.running).stop()
                _wait_for_shares(context, members, shares, 6)
            context.wait_until("every record was read", lambda members=members: len(_read(members)) == 600)
        finally:
            producer.kill()
            for member in members:
                member.stop()
        rows = table(tools.succeed(context, "kafka-consumer-groups", "--describe", "--group", group))
        equal(
            sum(int(row["CURRENT-OFFSET"].replace("-", "") or 0) for row in rows), 600, "sum of the committed offsets"
        )


def _read(members: Sequence[Member]) -> set[tuple[int, int]]:
    return set().union(*(member.read for member in members))


def _wait_for_shares(context: Context, members: Sequence[Member], share: int, partitions: int) -> None:
    def settled() -> bool:
        owned = [member.owned for member in members if member.running]
        return all(len(each) == share for each in owned) and len(set().union(*owned)) == partitions

    what = f"the {sum(member.running for member in members)} members own {share} partitions each"
    try:
        context.wait_until(what, settled)
    except AssertionError as error:
        raise AssertionError(f"{error}; they own {[sorted(member.owned) for member in members]}") from error


def static_membership(tools: Tools, context: Context) -> None:
    topic, group = context.name(), context.name("group")
    tools.succeed(context, "kafka-topics", "--create", "--topic", topic, "--partitions", "4")
    arguments = ["--topic", topic, "--group-id", group, "--session-timeout", "30000"]

    def member(name: str) -> Member:
        instance = ["--group-instance-id", context.name(name)]
        return Member(tools.start(context, "kafka-verifiable-consumer", *arguments, *instance))

    one, two = member("one"), member("two")
    members = [one, two]
    try:
        _wait_for_shares(context, members, 2, 4)
        rows = table(tools.succeed(context, "kafka-consumer-groups", "--describe", "--group", group, "--members"))
        expected = {context.name("one"), context.name("two")}
        equal({row["GROUP-INSTANCE-ID"] for row in rows}, expected, "described instance ids")
        before, owned_by_two = (one.owned, one.revocations), set(two.owned)
        two.stop()
        again = member("two")
        members.append(again)
        context.wait_until("the restarted member owns its partitions again", lambda: again.owned == owned_by_two)
        time.sleep(1)
        equal((one.owned, one.revocations), before, "member one's partitions and revocations")
        usurper = member("one")
        members.append(usurper)
        context.wait_until("the new member one owns two partitions", lambda: len(usurper.owned) == 2)
        context.wait_until("the replaced member ends, being fenced", lambda: one.tool.ended)
        check(again.owned == owned_by_two, "the other member lost its partitions")
    finally:
        for each in members:
            each.stop()


GROUP_SCENARIOS: dict[str, Callable[[Tools, Context], None]] = {
    "group_rebalance": group_rebalance,
    "static_membership": static_membership,
}

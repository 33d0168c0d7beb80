"""kcat, as a shell uses it: one process for each step.

It cannot create topics but by producing to them, so topics have one partition here, and groups share several topics
instead.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from program import BASE_TIMESTAMP, STANDARD_RECORDS, Context, check, equal, main

TIMEOUT_S = 30
QUIET_S = 2.0
CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


class Result(NamedTuple):
    """What kcat gave."""

    status: int
    out: bytes
    err: str

    def records(self) -> list[dict[str, object]]:
        """Return what -J printed, one record a line."""
        return [json.loads(line) for line in self.out.decode().splitlines() if line.startswith("{")]


def kcat(context: Context, *arguments: str, stdin: bytes = b"", timeout_s: float = TIMEOUT_S) -> Result:
    """Run kcat to its end, or to the timeout (then its status is -9)."""
    command = ["kcat", "-b", context.bootstrap, "-m", "10", *arguments]
    print(f"$ kcat {' '.join(arguments)[:300]}", file=sys.stderr)
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=timeout_s, check=False)
        result = Result(done.returncode, done.stdout, done.stderr.decode(errors="replace"))
    except subprocess.TimeoutExpired as expired:
        result = Result(-9, expired.stdout or b"", (expired.stderr or b"").decode(errors="replace"))
    print(f"  status {result.status}: {result.err.strip()[:600]}", file=sys.stderr, flush=True)
    return result


def produce(context: Context, topic: str, data: bytes, *more: str) -> None:
    """Produce lines to partition 0; fail unless kcat succeeds."""
    result = kcat(context, "-P", "-t", topic, *more, stdin=data)
    equal(result.status, 0, f"status of kcat -P -t {topic}, which said {result.err.strip()[-200:]!r}")


def read(context: Context, topic: str, *more: str) -> list[dict[str, object]]:
    """Read partition 0 to its end as JSON records; fail unless kcat succeeds."""
    result = kcat(context, "-C", "-q", "-J", "-e", "-t", topic, "-p", "0", *more)
    equal(result.status, 0, f"status of kcat -C -t {topic}, which said {result.err.strip()[-200:]!r}")
    return result.records()


def numbers(count: int) -> bytes:
    """Return lines of numbers."""
    return b"".join(b"%d\n" % index for index in range(count))


def produce_consume(context: Context) -> None:
    # Its timestamps cannot be chosen, and a header has one value for a whole run.
    topic = context.name()
    before = int(time.time() * 1000)
    lines = [
        f"{'' if i % 10 == 3 else f'key-{i}'}:{'' if i % 10 == 7 else f'value-{i}' + 'x' * i}" for i in range(1000)
    ]
    headers = ["-H", "index=0", "-H", "empty=", "-H", "index=again"]
    produce(context, topic, "\n".join(lines).encode() + b"\n", "-K", ":", "-Z", *headers)
    records = read(context, topic)
    equal(len(records), 1000, "number of records")
    for index, record in enumerate(records):
        equal(record["offset"], index, "offset")
        equal(record["key"] or "", "" if index % 10 == 3 else f"key-{index}", f"key of record {index}")
        expected = None if index % 10 == 7 else f"value-{index}" + "x" * index
        equal(record["payload"], expected, f"value of record {index}")
        equal(record["headers"], ["index", "0", "empty", "", "index", "again"], f"headers of record {index}")
        check(before <= int(str(record["ts"])) <= time.time() * 1000, f"timestamp of record {index} is {record['ts']}")


def compression(context: Context) -> None:
    data = b"".join(key + b":" + value + b"\n" for key, value in STANDARD_RECORDS)
    for codec in CODECS:
        topic = context.name(codec)
        produce(context, topic, data, "-K", ":", "-X", f"compression.codec={codec}", "-X", "linger.ms=50")
        _check_standard_records(context, topic)


def cross_compression(context: Context) -> None:
    for topic in context.topics:
        _check_standard_records(context, topic)


def _check_standard_records(context: Context, topic: str) -> None:
    found = [(record["key"], record["payload"]) for record in read(context, topic)]
    equal(found, [(key.decode(), value.decode()) for key, value in STANDARD_RECORDS], f"records of {topic}")


def acks(context: Context) -> None:
    for setting in ("0", "1", "all"):
        topic = context.name(setting)
        produce(context, topic, numbers(100), "-X", f"acks={setting}")
        wanted = [str(index) for index in range(100)]
        # With acks=0 the last records may still be on their way.
        context.wait_until(
            f"100 records sent with acks={setting} are read back",
            lambda topic=topic, wanted=wanted: [record["payload"] for record in read(context, topic)] == wanted,
        )


def idempotent(context: Context) -> None:
    topic = context.name()
    for half in (range(500), range(500, 1000)):
        data = b"".join(b"%d\n" % index for index in half)
        produce(context, topic, data, "-X", "enable.idempotence=true", "-X", "batch.num.messages=20")
    equal([record["payload"] for record in read(context, topic)], [str(index) for index in range(1000)], "records")


def large_messages(context: Context) -> None:
    # No topic with a larger limit: kcat cannot set a topic's config.
    topic = context.name()
    with tempfile.TemporaryDirectory(prefix="kcat-") as directory:
        large, too_large = Path(directory, "large"), Path(directory, "too-large")
        large.write_bytes(b"0123456789" * 90_000)
        too_large.write_bytes(b"0123456789" * 150_000)
        produce(context, topic, b"", str(large))
        result = kcat(context, "-P", "-t", topic, "-X", "message.max.bytes=2000000", str(too_large))
        check(
            "Message size too large" in result.err, f"value of 1 500 000 bytes: kcat said {result.err.strip()[-200:]!r}"
        )
        records = read(context, topic, "-X", "fetch.message.max.bytes=1000")
        equal([record["payload"] == large.read_text() for record in records], [True], "the value came back whole")


def seek_replay(context: Context) -> None:
    topic = context.name()
    produce(context, topic, numbers(500))
    records = read(context, topic)
    equal([record["payload"] for record in records], [str(index) for index in range(500)], "replay")
    for where, first in (("123", 123), ("beginning", 0), ("-10", 490)):
        found = read(context, topic, "-o", where, "-c", "1")
        equal(found[0]["offset"], first, f"first record at {where}")
    equal(read(context, topic, "-o", "end"), [], "records after the end")
    first_stamp = int(str(records[0]["ts"]))
    for when, offset in ((-2, 0), (-1, 500), (BASE_TIMESTAMP, 0), (first_stamp, 0), (first_stamp + 3_600_000, -1)):
        said = kcat(context, "-Q", "-t", f"{topic}:0:{when}").out.decode()
        equal(said.strip(), f"{topic} [0] offset {offset}", f"offset for time {when}")


def commit_resume(context: Context) -> None:
    topic, group = context.name(), context.name("group")
    produce(context, topic, numbers(100))

    def consume(*more: str, timeout_s: float = TIMEOUT_S) -> list[str]:
        settings = ["-q", "-J", "-X", "auto.offset.reset=earliest", "-X", "heartbeat.interval.ms=500"]
        records = kcat(context, "-G", group, *settings, *more, topic, timeout_s=timeout_s).records()
        return [str(record["payload"]) for record in records]

    wanted = [str(index) for index in range(100)]
    equal(consume("-c", "40"), wanted[:40], "first consumer's records")
    equal(consume("-e"), wanted[40:], "second consumer's records")
    equal(consume("-e"), [], "third consumer's records")


class Member:
    """A `kcat -G` that runs until it is stopped; what it owns and read follows from what it prints."""

    def __init__(self, context: Context, group: str, topics: Sequence[str], *settings: str) -> None:
        command = ["kcat", "-b", context.bootstrap, "-G", group, "-u", "-f", "%t %p %o\n"]
        command += ["-X", "auto.offset.reset=earliest", "-X", "heartbeat.interval.ms=500", *settings, *topics]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.owned: frozenset[str] = frozenset()
        self.revocations = 0
        self.read: set[str] = set()
        self.said: list[str] = []
        self.running = True
        self._readers = [threading.Thread(target=each, daemon=True) for each in (self._records, self._messages)]
        for reader in self._readers:
            reader.start()

    def _records(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.read.add(line.strip())

    def _messages(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.said.append(line.strip())
            # "… rebalanced (memberid …): assigned: t [0]", "… rebalanced: incremental revoke of 1 partition(s) (…):
            # t [0]"
            if found := re.search(r"rebalanced.*?(assign|revoke).*: ?(.*)$", line.strip()):
                partitions = frozenset(each.strip() for each in found[2].split(",") if each.strip())
                if found[1] == "assign":
                    self.owned |= partitions
                elif partitions:
                    self.revocations += 1
                    self.owned -= partitions

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def stop(self) -> None:
        """End it as Ctrl-C does: it leaves the group (unless it is a static member)."""
        if self.running:
            self.running = False
            self._process.send_signal(2)
            self._process.wait(20)
            for reader in self._readers:
                reader.join(5)
            self.owned = frozenset()


def group_rebalance(context: Context) -> None:
    for strategy, assignor in (("eager", "roundrobin"), ("cooperative", "cooperative-sticky")):
        group = context.name(strategy, "group")
        topics = [context.name(strategy, str(number)) for number in range(6)]
        for topic in topics:
            produce(context, topic, numbers(50))
        settings = ["-X", f"partition.assignment.strategy={assignor}"]
        members: list[Member] = []
        try:
            for share, change in ((6, "join"), (3, "join"), (2, "join"), (3, "leave"), (6, "leave")):
                if change == "join":
                    members.append(Member(context, group, topics, *settings))
                else:
                    next(member for member in members[1:] if member.running).stop()
                _wait_for_shares(context, strategy, members, share, 6)
                for topic in topics:
                    produce(context, topic, numbers(10))
            everything = {f"{topic} 0 {offset}" for topic in topics for offset in range(100)}
            context.wait_until(
                f"{strategy}: every record was read",
                lambda members=members, everything=everything: (
                    set().union(*(each.read for each in members)) == everything
                ),
            )
        finally:
            for member in members:
                member.stop()
        # What all of them committed: one more member reads nothing.
        left = kcat(context, "-G", group, "-q", "-J", *settings, "-X", "auto.offset.reset=earliest", "-e", *topics)
        equal(left.records(), [], f"{strategy}: records that nobody committed")


def _wait_for_shares(context: Context, strategy: str, members: Sequence[Member], share: int, partitions: int) -> None:
    def settled() -> bool:
        owned = [member.owned for member in members if member.running]
        return all(len(each) == share for each in owned) and len(frozenset().union(*owned)) == partitions

    try:
        context.wait_until(f"{strategy}: {sum(each.running for each in members)} members own {share} each", settled)
    except AssertionError as error:
        said = [f"{sorted(member.owned)} {member.said[-2:]}" for member in members]
        raise AssertionError(f"{error}; they own {said}") from error


def static_membership(context: Context) -> None:
    group = context.name("group")
    topics = [context.name(str(number)) for number in range(4)]
    for topic in topics:
        produce(context, topic, b"x\n")

    def member(name: str) -> Member:
        instance = ["-X", f"group.instance.id={context.name(name)}", "-X", "session.timeout.ms=30000"]
        return Member(context, group, topics, *instance, "-X", "partition.assignment.strategy=roundrobin")

    one, two = member("one"), member("two")
    members = [one, two]
    try:
        _wait_for_shares(context, "static", members, 2, 4)
        before, owned_by_two = (one.owned, one.revocations), two.owned
        two.stop()
        again = member("two")
        members.append(again)
        context.wait_until("the restarted member owns its partitions again", lambda: again.owned == owned_by_two)
        time.sleep(1)
        equal((one.owned, one.revocations), before, "member one's partitions and revocations")
        usurper = member("one")
        members.append(usurper)
        context.wait_until("the new member one owns two partitions", lambda: len(usurper.owned) == 2)
        context.wait_until("the replaced member is fenced", lambda: any("fenced" in line for line in one.said))
    finally:
        for each in members:
            each.stop()


def auto_create(context: Context) -> None:
    topic, never = context.name(), context.name("never")
    produce(context, topic, b"hello\n")
    equal([record["payload"] for record in read(context, topic)], ["hello"], "value")
    equal(len(_metadata(context, topic)["partitions"]), 1, "number of partitions of the created topic")
    kcat(context, "-G", context.name("group"), "-q", never, timeout_s=QUIET_S)
    listed = json.loads(kcat(context, "-L", "-J").out)["topics"]
    check(never not in {each["topic"] for each in listed}, "a consumer without auto-creation created its topic")


def _metadata(context: Context, topic: str) -> dict[str, list[object]]:
    (described,) = json.loads(kcat(context, "-L", "-J", "-t", topic).out)["topics"]
    return described


def errors(context: Context) -> None:
    topic, unknown = context.name(), context.name("unknown")
    # Not by -L: its metadata requests allow auto-creation,
    # and the second of the two that it sends may find the topic created.
    said = kcat(context, "-C", "-t", unknown, "-p", "0", "-e", timeout_s=10).err
    check("Unknown topic or partition" in said, f"consume from an unknown topic: kcat said {said.strip()[-200:]!r}")
    listed = {each["topic"] for each in json.loads(kcat(context, "-L", "-J").out)["topics"]}
    check(unknown not in listed, "consuming from an unknown topic created it")
    produce(context, topic, numbers(10))
    earliest = read(context, topic, "-o", "1000", "-X", "auto.offset.reset=earliest")
    equal([record["offset"] for record in earliest], list(range(10)), "records after reset to earliest")
    equal(read(context, topic, "-o", "1000", "-X", "auto.offset.reset=latest"), [], "records after reset to latest")
    result = kcat(context, "-C", "-t", topic, "-p", "0", "-o", "1000", "-X", "auto.offset.reset=error")
    check("Offset out of range" in result.err, f"reset policy none: kcat said {result.err.strip()[-200:]!r}")
    hour = ["-X", "session.timeout.ms=3600000", "-X", "max.poll.interval.ms=3600000"]
    result = kcat(context, "-G", context.name("group"), *hour, topic, timeout_s=5)
    check(
        "session timeout" in result.err.lower(), f"session timeout of an hour: kcat said {result.err.strip()[-200:]!r}"
    )


if __name__ == "__main__":
    main(
        {
            "produce_consume": produce_consume,
            "compression": compression,
            "cross_compression": cross_compression,
            "acks": acks,
            "idempotent": idempotent,
            "large_messages": large_messages,
            "seek_replay": seek_replay,
            "commit_resume": commit_resume,
            "group_rebalance": group_rebalance,
            "static_membership": static_membership,
            "auto_create": auto_create,
            "errors": errors,
        }
    )

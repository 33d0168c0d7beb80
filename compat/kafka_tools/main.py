"""Kafka's own command line tools: the scenarios about records and offsets, and what only the tools have.

Not here: topics, configs, groups (admin_tools.py, group_tools.py), the cleaner's files (log_tools.py), quotas
(quota_tools.py), how a tool is run (tools.py).
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from quota_tools import QUOTA_SCENARIOS

from admin_tools import ADMIN_SCENARIOS
from config_tools import CONFIG_SCENARIOS
from group_tools import GROUP_SCENARIOS
from log_tools import LOG_SCENARIOS
from program import STANDARD_RECORDS, Context, NotApplicable, check, equal, main
from tools import RETRIES, Tools, table

Scenario = Callable[[Tools, Context], None]
PLACES = ["--formatter-property", "print.partition=true", "--formatter-property", "print.offset=true"]
KEYS = ["--formatter-property", "print.key=true"]
WITH_KEYS = ["--reader-property", "parse.key=true"]
NULLS = ["--reader-property", "null.marker=NULL"]
NUMBERS_TIMEOUT = "5000"


def create(tools: Tools, context: Context, topic: str, partitions: int = 1, *more: str) -> None:
    """Create a topic and wait until the leaders of its partitions answer (why: README.md)."""
    tools.succeed(context, "kafka-topics", "--create", "--topic", topic, "--partitions", str(partitions), *more)
    led = ["--topic", topic, "--time", "latest"]
    context.wait_until(
        "the leaders of the created topic answer",
        lambda: len(tools.run(context, "kafka-get-offsets", *led).out.splitlines()) == partitions,
    )


def consume(tools: Tools, context: Context, topic: str, count: int, *more: str) -> list[str]:
    """Read `count` records of a topic from its beginning; fail if there are fewer or more."""
    where = [] if "--partition" in more else ["--from-beginning"]
    wanted = ["--timeout-ms", NUMBERS_TIMEOUT, "--max-messages", str(count)]
    out = tools.succeed(context, "kafka-console-consumer", "--topic", topic, *where, *wanted, *more)
    lines = out.splitlines()
    equal(len(lines), count, f"number of records in {topic}")
    return lines


def offsets(tools: Tools, context: Context, topic: str, when: str) -> list[int]:
    """Return kafka-get-offsets' answer for each partition, -1 where it has none."""
    out = tools.succeed(context, "kafka-get-offsets", "--topic", topic, "--time", when)
    return [int(line.rpartition(":")[2] or -1) for line in sorted(out.splitlines())]


def numbers(count: int) -> str:
    """Return lines of numbers, for the console producer."""
    return "".join(f"{index}\n" for index in range(count))


def produce_consume(tools: Tools, context: Context) -> None:
    # The console producer chooses partition and timestamp itself: their equality is left out.
    topic = context.name()
    create(tools, context, topic, 4)
    lines = []
    for index in range(1000):
        key = "NULL" if index % 10 == 3 else f"key-{index}"
        value = "NULL" if index % 10 == 7 else f"value-{index}" + "x" * index
        lines.append(f"index:{index},empty:,index:again\t{key}\t{value}")
    headers = ["--reader-property", "parse.headers=true"]
    before = int(time.time() * 1000)
    arguments = ["--topic", topic, *WITH_KEYS, *headers, *NULLS]
    tools.succeed(context, "kafka-console-producer", *arguments, stdin="\n".join(lines) + "\n")
    shown = [*PLACES, *KEYS, "--formatter-property", "print.headers=true", "--formatter-property", "null.literal=NULL"]
    read = consume(tools, context, topic, 1000, *shown, "--formatter-property", "print.timestamp=true")
    places: dict[str, list[int]] = {}
    contents = []
    for line in read:
        stamp, partition, offset, content = line.split("\t", 3)
        check(before <= int(stamp.removeprefix("CreateTime:")) <= time.time() * 1000, f"timestamp {stamp}")
        places.setdefault(partition, []).append(int(offset.removeprefix("Offset:")))
        contents.append(content)
    for partition, found in places.items():
        equal(found, list(range(len(found))), f"offsets read from {partition}")
    equal(sorted(contents), sorted(lines), "headers, keys and values")


def compression(tools: Tools, context: Context) -> None:
    records = "".join(f"{key.decode()}\t{value.decode()}\n" for key, value in STANDARD_RECORDS)
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        topic = context.name(codec)
        create(tools, context, topic)
        arguments = ["--topic", topic, "--compression-codec", codec, *WITH_KEYS]
        tools.succeed(context, "kafka-console-producer", *arguments, stdin=records)
        _check_standard_records(tools, context, topic)


def cross_compression(tools: Tools, context: Context) -> None:
    for topic in context.topics:
        _check_standard_records(tools, context, topic)


def _check_standard_records(tools: Tools, context: Context, topic: str) -> None:
    read = consume(tools, context, topic, 200, *KEYS, "--partition", "0", "--offset", "earliest")
    equal(read, [f"{key.decode()}\t{value.decode()}" for key, value in STANDARD_RECORDS], f"records of {topic}")


def acks(tools: Tools, context: Context) -> None:
    for setting in ("0", "1", "-1"):
        topic = context.name(setting.replace("-1", "all"))
        create(tools, context, topic)
        found = _verifiable(tools, context, topic, 100, "--acks", setting)
        if setting != "0":
            equal(found, list(range(100)), f"offsets acknowledged with acks={setting}")
        equal(consume(tools, context, topic, 100), numbers(100).split(), f"records sent with acks={setting}")


def _verifiable(tools: Tools, context: Context, topic: str, count: int, *more: str) -> list[int]:
    """Produce numbers with kafka-verifiable-producer; return the offsets that it was told."""
    arguments = ["--topic", topic, "--max-messages", str(count), *more]
    # It flushes as its JVM ends, so it needs one of its own.
    producer = tools.start(context, "kafka-verifiable-producer", *arguments)
    equal(producer.wait(30), 0, "status of kafka-verifiable-producer")
    events = []
    while not producer.events.empty():
        events.append(producer.events.get())
    return [event["offset"] for event in events if event["name"] == "producer_send_success"]


def idempotent(tools: Tools, context: Context) -> None:
    topic = context.name()
    create(tools, context, topic, 3)
    config = tools.file("idempotent.properties", f"enable.idempotence=true\n{RETRIES}batch.size=100\nlinger.ms=0\n")
    for prefix in ("1", "2"):
        arguments = ["--acks", "-1", "--value-prefix", prefix, "--command-config", str(config)]
        equal(len(_verifiable(tools, context, topic, 500, *arguments)), 500, "acknowledged records")
    seen: dict[str, list[tuple[str, int]]] = {}
    for line in consume(tools, context, topic, 1000, *PLACES):
        partition, _, value = line.split("\t")
        prefix, _, number = value.partition(".")
        seen.setdefault(partition, []).append((prefix, int(number)))
    for partition, values in seen.items():
        equal(values, sorted(values), f"order in {partition}")
    every = [(prefix, number) for prefix in "12" for number in range(500)]
    equal(sorted(value for values in seen.values() for value in values), every, "records")


def large_messages(tools: Tools, context: Context) -> None:
    topic, raised = context.name(), context.name("raised")
    create(tools, context, topic)
    create(tools, context, raised, 1, "--config", "max.message.bytes=2000000")
    large, too_large = "0123456789" * 90_000, "0123456789" * 150_000
    more = ["--command-property", "max.request.size=2000000"]
    tools.succeed(context, "kafka-console-producer", "--topic", topic, stdin=large + "\n")
    too_large_line = too_large + "\n"
    expected = "RecordTooLargeException"
    tools.fail(context, expected, "kafka-console-producer", "--topic", topic, *more, stdin=too_large_line)
    tools.succeed(context, "kafka-console-producer", "--topic", raised, *more, stdin=too_large_line)
    small_fetch = ["--command-property", "max.partition.fetch.bytes=1000"]
    for name, value in ((topic, large), (raised, too_large)):
        (read,) = consume(tools, context, name, 1, *small_fetch)
        check(read == value, f"{name}: the value of {len(value)} bytes came back changed")


def seek_replay(tools: Tools, context: Context) -> None:
    # The console producer stamps records itself: the offset for a time is asked for by a time before and after all
    # of them.
    topic = context.name()
    create(tools, context, topic)
    before = int(time.time() * 1000)
    tools.succeed(context, "kafka-console-producer", "--topic", topic, stdin=numbers(500))
    at = ["--partition", "0", *PLACES]
    equal(consume(tools, context, topic, 1, *at, "--offset", "123"), ["Partition:0\tOffset:123\t123"], "at offset 123")
    replay = consume(tools, context, topic, 500, *at, "--offset", "earliest")
    equal(replay, [f"Partition:0\tOffset:{index}\t{index}" for index in range(500)], "replay")
    where = ["--topic", topic, "--partition", "0", "--offset", "latest", "--timeout-ms", "1500"]
    equal(tools.run(context, "kafka-console-consumer", *where).out, "", "records after the end")
    after = str(int(time.time() * 1000) + 1_000)
    for when, offset in (("-2", 0), ("-1", 500), ("earliest", 0), (str(before), 0), (after, -1)):
        found = offsets(tools, context, topic, when)
        equal([each for each in found if each >= 0] or [-1], [offset], f"offset for time {when}")
    (newest,) = offsets(tools, context, topic, "max-timestamp")
    check(0 <= newest < 500, f"offset of the largest timestamp is {newest}")


def commit_resume(tools: Tools, context: Context) -> None:
    topic, group = context.name(), context.name("group")
    create(tools, context, topic)
    tools.succeed(context, "kafka-console-producer", "--topic", topic, stdin=numbers(100))
    equal(consume(tools, context, topic, 40, "--group", group), numbers(40).split(), "first consumer's records")
    _check_lag(tools, context, group, "40", "60")
    equal(consume(tools, context, topic, 60, "--group", group), numbers(100).split()[40:], "second consumer's records")
    _check_lag(tools, context, group, "100", "0")
    nothing = ["--topic", topic, "--group", group, "--timeout-ms", "3000"]
    equal(tools.run(context, "kafka-console-consumer", *nothing).out, "", "third consumer's records")


def _check_lag(tools: Tools, context: Context, group: str, offset: str, lag: str) -> None:
    (row,) = table(tools.succeed(context, "kafka-consumer-groups", "--describe", "--group", group))
    equal((row["CURRENT-OFFSET"], row["LOG-END-OFFSET"], row["LAG"]), (offset, "100", lag), "offset, end and lag")


def auto_create(tools: Tools, context: Context) -> None:
    topic = context.name()
    tools.succeed(context, "kafka-console-producer", "--topic", topic, stdin="hello\n")
    equal(consume(tools, context, topic, 1), ["hello"], "value")
    described = tools.succeed(context, "kafka-topics", "--describe", "--topic", topic)
    check("PartitionCount: 1" in described, f"the created topic is described as {described}")
    never = context.name("never")
    no_creation = ["--command-property", "allow.auto.create.topics=false", "--timeout-ms", "2000"]
    tools.run(context, "kafka-console-consumer", "--topic", never, *no_creation)
    listed = tools.succeed(context, "kafka-topics", "--list").split()
    check(never not in listed, "a consumer without auto-creation created its topic")


def errors(tools: Tools, context: Context) -> None:
    topic, unknown = context.name(), context.name("unknown")
    create(tools, context, topic)
    tools.fail(context, "does not exist as expected", "kafka-topics", "--describe", "--topic", unknown)
    check(unknown not in tools.succeed(context, "kafka-topics", "--list").split(), "describing a topic created it")
    tools.succeed(context, "kafka-console-producer", "--topic", topic, stdin=numbers(10))
    at1000 = ["--topic", topic, "--partition", "0", "--offset", "1000", "--timeout-ms", "3000"]
    for policy, read in (("earliest", numbers(10)), ("latest", "")):
        result = tools.run(
            context, "kafka-console-consumer", *at1000, "--command-property", f"auto.offset.reset={policy}"
        )
        equal(result.out, read, f"records after reset to {policy}")
    none = ["--command-property", "auto.offset.reset=none"]
    tools.fail(context, "is out of range for partition", "kafka-console-consumer", *at1000, *none)
    hour = ["--topic", topic, "--group", context.name("group"), "--command-property", "session.timeout.ms=3600000"]
    tools.fail(context, "InvalidSessionTimeoutException", "kafka-console-consumer", *hour, "--timeout-ms", "5000")


def api_versions(tools: Tools, context: Context) -> None:
    """kafka-broker-api-versions shows the broker with its APIs."""
    out = tools.succeed(context, "kafka-broker-api-versions")
    shown = dict(re.findall(r"(?m)^\t(\w+)\(\d+\): ([^\[\n]*)", out))
    for api in (
        "Produce",
        "Fetch",
        "ListOffsets",
        "Metadata",
        "OffsetCommit",
        "JoinGroup",
        "ApiVersions",
        "CreateTopics",
    ):
        check(api in shown, f"{api} is not shown")
        check("UNSUPPORTED" not in shown[api], f"{api} is shown as {shown[api]}")


def perf_tools(tools: Tools, context: Context) -> None:
    """The perf tools move 200,000 records of 100 bytes and count all of them."""
    topic, count = context.name(), "200000"
    create(tools, context, topic, 3)
    arguments = ["--topic", topic, "--num-records", count, "--record-size", "100", "--throughput", "-1"]
    out = tools.succeed(context, "kafka-producer-perf-test", *arguments)
    check(f"{count} records sent" in out, f"kafka-producer-perf-test said {out.strip()[-200:]}")
    equal(sum(offsets(tools, context, topic, "-1")), int(count), "sum of the end offsets")
    arguments = ["--topic", topic, "--num-records", count, "--group", context.name("group"), "--hide-header"]
    out = tools.succeed(context, "kafka-consumer-perf-test", *arguments)
    cells = out.strip().splitlines()[-1].split(", ")
    check(int(cells[4]) >= int(count), f"kafka-consumer-perf-test said {out.strip()[-200:]}")


def dump_log(tools: Tools, context: Context) -> None:
    """kafka-dump-log reads the files that the broker wrote: segments of every codec, indexes, producer snapshots."""
    if context.data_dir is None:
        raise NotApplicable("the broker's data directory is not known (--data-dir)")
    topic = context.name()
    create(tools, context, topic, 1, "--config", "segment.bytes=1048576", "--config", "index.interval.bytes=100")
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        sizes = ["--topic", topic, "--num-records", "3000", "--record-size", "300", "--throughput", "-1"]
        codecs = ["--command-property", f"compression.type={codec}", "batch.size=4000"]
        tools.succeed(context, "kafka-producer-perf-test", *sizes, *codecs)
    directory = context.data_dir / f"{topic}-0"
    segments = sorted(directory.glob("*.log"))
    check(len(segments) > 1, f"segment.bytes made only {len(segments)} segment")
    dumped = tools.succeed(context, "kafka-dump-log", "--deep-iteration", "--files", _files(segments))
    equal(len(re.findall(r"(?m)^\| offset: ", dumped)), 15_000, "dumped records")
    check("isvalid: false" not in dumped, "kafka-dump-log says that a batch is not valid")
    for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
        check(f"compresscodec: {codec}" in dumped, f"no batch with {codec} was dumped")
    for kind in ("index", "timeindex"):
        text = tools.succeed(context, "kafka-dump-log", "--files", _files(sorted(directory.glob(f"*.{kind}"))))
        for complaint in ("Mismatches", "not found", "out of order"):
            check(complaint not in text, f"kafka-dump-log finds faults in *.{kind}: {text[-300:]}")
    _check_dumped_offsets(tools, context, topic)
    if snapshots := sorted(directory.glob("*.snapshot")):
        text = tools.succeed(context, "kafka-dump-log", "--files", _files(snapshots))
        check("producerId:" in text, f"kafka-dump-log reads no producer in the snapshots: {text[-300:]}")


def _check_dumped_offsets(tools: Tools, context: Context, topic: str) -> None:
    """A committed offset is found in the dump of __consumer_offsets."""
    assert context.data_dir is not None
    group = context.name("group")
    consume(tools, context, topic, 7, "--group", group)
    segments = [path for path in context.data_dir.glob("__consumer_offsets-*/*.log") if path.stat().st_size]
    dumped = tools.succeed(context, "kafka-dump-log", "--offsets-decoder", "--files", _files(segments))
    ours = [line for line in dumped.splitlines() if group in line]
    for text in (f'"topic":"{topic}"', '"offset":7', '"protocolType":"consumer"'):
        check(any(text in line for line in ours), f"kafka-dump-log --offsets-decoder shows no {text} of {group}")


def transaction_tools(tools: Tools, context: Context) -> None:
    """kafka-transactions and kafka-dump-log know what kafka-producer-perf-test wrote in transactions."""
    topic, transactional_id = context.name(), context.name("id")
    create(tools, context, topic)
    sizes = ["--topic", topic, "--num-records", "2000", "--record-size", "100", "--throughput", "1000"]
    duration = ["--transactional-id", transactional_id, "--transaction-duration-ms", "200"]
    tools.succeed(context, "kafka-producer-perf-test", *sizes, *duration)
    listed = tools.succeed(context, "kafka-transactions", "list")
    rows = [line.split() for line in listed.splitlines() if line.startswith(transactional_id)]
    equal(len(rows), 1, f"rows of the transactional id in {listed}")
    _, _, producer_id, state = rows[0]
    equal(state, "CompleteCommit", "state of the transactional id")
    described = tools.succeed(context, "kafka-transactions", "describe", "--transactional-id", transactional_id)
    check("CompleteCommit" in described, f"kafka-transactions describe said {described}")
    producers = tools.succeed(context, "kafka-transactions", "describe-producers", "--topic", topic, "--partition", "0")
    check(producer_id in producers and "None" in producers, f"kafka-transactions describe-producers said {producers}")
    filtered = tools.succeed(context, "kafka-transactions", "list", "--transactional-id-pattern", "absent.*")
    check(transactional_id not in filtered, "a pattern that does not match lists the transactional id")
    if context.data_dir is None:
        raise NotApplicable("the broker's data directory is not known (--data-dir)")
    segments = [path for path in context.data_dir.glob("__transaction_state-*/*.log") if path.stat().st_size]
    dumped = tools.succeed(context, "kafka-dump-log", "--transaction-log-decoder", "--files", _files(segments))
    for state in (0, 1, 2, 4):  # Empty, Ongoing, PrepareCommit, CompleteCommit
        check(f'"transactionStatus":{state}' in dumped, f"no record of state {state} of __transaction_state was dumped")
    check("isvalid: false" not in dumped, "kafka-dump-log says that a batch is not valid")
    data = context.data_dir / f"{topic}-0"
    dumped = tools.succeed(context, "kafka-dump-log", "--deep-iteration", "--files", _files(sorted(data.glob("*.log"))))
    check("endTxnMarker: COMMIT" in dumped, f"no marker was dumped: {dumped[-300:]}")


def _files(paths: list[object]) -> str:
    return ",".join(str(path) for path in paths)


SCENARIOS: dict[str, Scenario] = {
    "produce_consume": produce_consume,
    "compression": compression,
    "cross_compression": cross_compression,
    "acks": acks,
    "idempotent": idempotent,
    "large_messages": large_messages,
    "seek_replay": seek_replay,
    "commit_resume": commit_resume,
    "auto_create": auto_create,
    "errors": errors,
    "api_versions": api_versions,
    "perf_tools": perf_tools,
    "dump_log": dump_log,
    "transaction_tools": transaction_tools,
    **ADMIN_SCENARIOS,
    **CONFIG_SCENARIOS,
    **GROUP_SCENARIOS,
    **LOG_SCENARIOS,
    **QUOTA_SCENARIOS,
}


if __name__ == "__main__":
    shared = Tools()
    main({name: lambda context, scenario=scenario: scenario(shared, context) for name, scenario in SCENARIOS.items()})

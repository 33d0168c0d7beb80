"""Kill a broker in the middle of cleaning a compacted topic, again and again; the reader's table must be the writer's.

Each round writes its share of the updates, all acknowledged, waits until the log cleaner has a file under way, and
kills the broker with SIGKILL a moment later. After the last round the cleaner may finish; then librdkafka reads the
topic from its beginning, and Apache Kafka's kafka-dump-log reads all files, where java and Maven are there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from random import Random

from clients import Unavailable
from confluent_kafka import Consumer, KafkaError, TopicPartition
from crash.segments import dump
from support.brokers import Failed, OurBroker
from support.connection import Address, Refused, served_topic, wait_until_served

from compacting.updates import RECORDS_PER_BATCH, Updates, produce, wait_until

TOPIC = "compacted"
UPDATES_A_SECOND = 1_000_000  # about what the cleaner does: the kill comes anywhere in a cleaning
CLEANING_DEADLINE_S = 60.0


def main() -> int:
    arguments = _arguments()
    try:
        with tempfile.TemporaryDirectory(
            prefix="kill-cleaner-", dir=arguments.data_dir_root, ignore_cleanup_errors=True
        ) as folder:
            broker = OurBroker(Path(folder) / "ours", {"log.cleaner.backoff.ms": "50"})
            try:
                complaints = run(broker, arguments)
            finally:
                broker.kill()
    except (Failed, Refused, TimeoutError) as error:
        print(f"FAILED: {error}")
        return 1
    for complaint in complaints[:10]:
        print(f"FAILED: {complaint}")
    print("the reader's table is the writer's" if not complaints else f"{len(complaints)} complaints")
    return 1 if complaints else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="kill_cleaner", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--updates", type=int, default=5_000_000)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--segment-mb", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--no-dump", action="store_true", help="without kafka-dump-log")
    parser.add_argument("--data-dir-root", type=Path, help="where data lies")
    return parser.parse_args()


def run(broker: OurBroker, arguments: argparse.Namespace) -> list[str]:
    """Do all rounds; return what is wrong."""
    rng = Random(arguments.seed)
    broker.start()
    address = Address.parse(broker.bootstrap)
    configs = {
        "cleanup.policy": "compact",
        "min.cleanable.dirty.ratio": "0.01",
        "segment.bytes": str(int(arguments.segment_mb * (1 << 20))),
        "delete.retention.ms": "86400000",
    }
    served_topic(address, TOPIC, configs=configs)
    directory = broker.data_dir / f"{TOPIC}-0"
    updates = Updates(arguments.keys, arguments.seed, tombstone_every=50)
    share = -(-arguments.updates // (arguments.kills + 1) // RECORDS_PER_BATCH) * RECORDS_PER_BATCH
    in_cleaning = 0
    for number in range(arguments.kills):
        produce(address, TOPIC, updates.batches(share))
        in_cleaning += _kill_in_cleaning(broker, directory, rng.random() * share / UPDATES_A_SECOND)
        broker.start()
        wait_until_served(address, TOPIC)
        print(
            f"kill {number + 1}: {updates.written:,} updates written, {len(_segments(directory))} segments", flush=True
        )
    produce(address, TOPIC, updates.batches(max(arguments.updates - updates.written, RECORDS_PER_BATCH)))
    wait_until(CLEANING_DEADLINE_S, "the cleaner is done", lambda: _is_clean(broker.data_dir, directory))
    complaints = compare(updates, read_table(broker.bootstrap))
    print(f"{in_cleaning} of {arguments.kills} kills came while a file was being written or swapped")
    broker.stop()
    if broker.bugs_total():
        complaints.append(f"bugs_total is {broker.bugs_total()}")
    if not arguments.no_dump:
        try:
            complaints += dump([directory])
        except Unavailable as error:
            print(f"not read by kafka-dump-log: {error}")
    return complaints


def _kill_in_cleaning(broker: OurBroker, directory: Path, delay_s: float) -> bool:
    """Kill the broker a moment after the cleaner has begun; return whether it was at work still."""
    deadline = time.monotonic() + CLEANING_DEADLINE_S
    while not _under_way(directory):
        if time.monotonic() > deadline:
            break
        time.sleep(0.002)
    time.sleep(delay_s)
    broker.kill()
    return bool(_under_way(directory))


def _under_way(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.suffix in (".cleaned", ".swap")]


def _segments(directory: Path) -> list[int]:
    return sorted(int(path.stem) for path in directory.glob("*.log"))


def _is_clean(data_dir: Path, directory: Path) -> bool:
    """Whether everything before the active segment was cleaned."""
    checkpoint = data_dir / "cleaner-offset-checkpoint"
    lines = checkpoint.read_text().split("\n") if checkpoint.exists() else []
    return f"{TOPIC} 0 {_segments(directory)[-1]}" in lines


def read_table(bootstrap: str) -> dict[bytes, bytes]:
    """Read the topic from its beginning, as an application that keeps a table does."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "reader",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    table: dict[bytes, bytes] = {}
    last_offset = -1
    while True:
        for message in consumer.consume(1000, 30):
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    consumer.close()
                    return table
                raise Failed(f"the reader got {error}")
            offset, key, value = message.offset(), message.key(), message.value()
            assert offset is not None
            assert isinstance(key, bytes)
            if offset <= last_offset:
                raise Failed(f"the reader got offset {offset} after {last_offset}")
            last_offset = offset
            if value is None:
                table.pop(key, None)
            else:
                assert isinstance(value, bytes)
                table[key] = value


def compare(updates: Updates, table: dict[bytes, bytes]) -> list[str]:
    wanted = {b"key-%07d" % key: b"%010d" % number for key, number in updates.table.items()}
    found = {key: value[:10] for key, value in table.items()}
    return [
        f"{key.decode()}: {found.get(key)!r} instead of {wanted.get(key)!r}"
        for key in sorted(wanted.keys() | found.keys())
        if wanted.get(key) != found.get(key)
    ]

"""Let Apache Kafka and this broker clean the same segments, and show every batch that is not the same afterwards.

Apache Kafka is written to: plain, idempotent and transactional producers, commits and aborts, tombstones, all codecs.
Its partition directory is copied before its cleaner may begin. Ours cleans the copy. Compared are the headers of all
batches, all records, and the entries of the transaction indexes; what may differ is the base timestamp (Kafka takes the
first record that is left) and compressed bytes.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path
from random import Random

from clients import Unavailable
from confluent_kafka import Producer
from support.brokers import ApacheKafka, Failed, remove
from support.connection import Address, Refused, served_topic

from compacting.benchmark import PROPERTIES, TOPIC, alter
from compacting.updates import wait_until
from pykbroker.clock import SimulatedClock
from pykbroker.config import BrokerConfig
from pykbroker.log.log_dirs import LogDirs
from pykbroker.topic_config import TopicConfig
from pykbroker.topic_partition import TopicPartition
from wire.records import CODEC_MASK, iter_batches, read_records

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")
SHOWN = 20
Batch = tuple[object, ...]


def main() -> int:
    arguments = _arguments()
    try:
        with tempfile.TemporaryDirectory(prefix="compare-cleaner-", ignore_cleanup_errors=True) as folder:
            differences = run(Path(folder), arguments)
    except (Failed, Refused, Unavailable, TimeoutError) as error:
        print(f"FAILED: {error}")
        return 2
    for line in differences[:SHOWN]:
        print(line)
    print(f"{len(differences)} differences")
    return 1 if differences else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="compare_cleaner", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=60, help="batches of each producer (default 60)")
    parser.add_argument("--keys", type=int, default=300)
    parser.add_argument("--seed", type=int, default=3)
    return parser.parse_args()


def run(folder: Path, arguments: argparse.Namespace) -> list[str]:
    kafka = ApacheKafka(folder / "kafka", PROPERTIES)
    try:
        kafka.start()
        configs = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "1", "segment.bytes": str(1 << 20)}
        served_topic(Address.parse(kafka.bootstrap), TOPIC, configs=configs)
        _write(kafka.bootstrap, arguments)
        alter(kafka.bootstrap, {"segment.ms": "1"})
        time.sleep(0.1)
        _last_record(kafka.bootstrap)
        theirs = folder / "kafka" / "node1" / "data" / f"{TOPIC}-0"
        ours = folder / "ours" / f"{TOPIC}-0"
        shutil.copytree(theirs, ours)
        alter(kafka.bootstrap, {"min.cleanable.dirty.ratio": "0.01"})
        wait_until(120, "Apache Kafka cleans the log", lambda: f"cleaned log {TOPIC}-0" in kafka.logs())
        _clean(folder / "ours")
        return _compare(_batches(theirs), _batches(ours))
    finally:
        remove(kafka)


def _write(bootstrap: str, arguments: argparse.Namespace) -> None:
    rng = Random(arguments.seed)

    def producer(codec: str, **more: object) -> Producer:
        options = {"bootstrap.servers": bootstrap, "compression.type": codec, "linger.ms": 50, "log_level": 0}
        return Producer({**options, **{name.replace("_", "."): value for name, value in more.items()}})

    plain = [producer(codec, enable_idempotence=bool(number % 2)) for number, codec in enumerate(CODECS)]
    transactional = [producer(codec, transactional_id=f"id-{codec}") for codec in CODECS[2:]]
    for each in transactional:
        each.init_transactions(60)
    for number in range(arguments.rounds):
        for each in (*plain, *transactional):
            if each in transactional:
                each.begin_transaction()
            for _ in range(rng.randrange(1, 60)):
                value = None if rng.random() < 0.05 else b"%d-" % number + rng.randbytes(rng.randrange(100))
                headers = [("h", b"v"), ("n", None)] if rng.random() < 0.1 else []
                key = b"key-%d" % rng.randrange(arguments.keys) * rng.choice((1, 1, 1, 9))
                each.produce(TOPIC, value, key, partition=0, headers=headers)
            each.flush()
            if each in transactional:
                (each.abort_transaction if rng.random() < 0.4 else each.commit_transaction)(60)


def _last_record(bootstrap: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "log_level": 0})
    producer.produce(TOPIC, b"last", b"last", partition=0)
    producer.flush()


def _clean(root: Path) -> None:
    """Clean the copy with our cleaner."""
    config = BrokerConfig.from_properties({"log.dirs": str(root)})
    clock = SimulatedClock(time.time_ns() // 1_000_000)
    dirs = LogDirs([root], config, clock)
    dirs.open()
    log = dirs.get(TopicPartition(TOPIC, 0))
    assert log is not None
    names = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.bytes": str(1 << 20)}
    log.update_config(TopicConfig.build(config, names))
    dirs.cleaner.look()
    while dirs.cleaner.is_busy:
        dirs.cleaner.join()
        clock.advance(20)
    assert dirs.cleaner.cleaned_total, "nothing was cleaned"
    dirs.close()


def _batches(directory: Path) -> dict[int, Batch]:
    """Return what is compared of each batch of the closed segments, by its first offset."""
    found: dict[int, Batch] = {}
    segments = sorted(directory.glob("*.log"))
    for path in segments[:-1]:
        for header, batch in iter_batches(path.read_bytes()):
            records = read_records(batch)
            found[header.base_offset] = (
                header.last_offset_delta,
                header.attributes & (CODEC_MASK if header.record_count else 0) | header.attributes & ~CODEC_MASK,
                header.max_timestamp,
                header.producer_id,
                header.producer_epoch,
                header.base_sequence,
                header.record_count,
                header.partition_leader_epoch,
                tuple(records),
            )
    for path in sorted(directory.glob("*.txnindex")):
        if path.stem != segments[-1].stem and path.stat().st_size:
            found[-1 - int(path.stem)] = (path.read_bytes(),)
    return found


def _compare(theirs: dict[int, Batch], ours: dict[int, Batch]) -> list[str]:
    print(f"{len(theirs)} batches of Apache Kafka, {len(ours)} of ours")
    return [
        f"offset {offset}:\n  kafka {theirs.get(offset)}\n  ours  {ours.get(offset)}"
        for offset in sorted(theirs.keys() | ours.keys())
        if theirs.get(offset) != ours.get(offset)
    ]

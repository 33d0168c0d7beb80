"""Write the same updates to Apache Kafka and to this broker, let each one's log cleaner clean them, print the ratio.

Both get the same batches in segments of the same size. Cleaning is held back until all is written; then the active
segment is rolled and min.cleanable.dirty.ratio lowered. The time is what each broker's own log line says of the
cleaning, from the first read to the last swap; the other broker is not running then.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from clients import Unavailable
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from support.brokers import ApacheKafka, Failed, OurBroker, remove
from support.connection import Address, Refused, served_topic

from compacting.updates import Updates, produce, wait_until

TOPIC = "compacted"
PROPERTIES = {"log.cleaner.backoff.ms": "1000"}
BAR = 0.5
_KAFKA_LINE = re.compile(r"([\d.,]+) MB of log processed in ([\d.,]+) seconds")
_OUR_LINE = re.compile(rf"{TOPIC}-0: compacted from offset \d+ to \d+ in ([\d.]+) s, (\d+) bytes became (\d+)")


class Cleaned(NamedTuple):
    seconds: float
    bytes_after: int


def main() -> int:
    arguments = _arguments()
    found: dict[str, list[Cleaned]] = {"ours": [], "kafka": []}
    try:
        with tempfile.TemporaryDirectory(
            prefix="bench-cleaner-", dir=arguments.data_dir_root, ignore_cleanup_errors=True
        ) as folder:
            for number in range(arguments.rounds):
                for name in ("kafka", "ours"):
                    if name == "kafka" and arguments.no_kafka:
                        continue
                    found[name].append(_measure(name, Path(folder) / f"{name}-{number}", arguments))
                    print(f"{name:6} {found[name][-1].seconds:6.1f} s", file=sys.stderr)
    except (Failed, Refused, Unavailable, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 2
    return _print(arguments, found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench_cleaner", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--updates", type=int, default=5_000_000)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--segment-mb", type=int, default=100, help="segment.bytes (default 100)")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--codec", default="producer", help="compression.type of the topic (default: as it comes)")
    parser.add_argument("--no-kafka", action="store_true", help="only ours")
    parser.add_argument("--check", action="store_true", help=f"exit status 1 where the ratio is below {BAR}")
    parser.add_argument("--data-dir-root", type=Path, help="where data lies")
    return parser.parse_args()


def _measure(name: str, directory: Path, arguments: argparse.Namespace) -> Cleaned:
    broker: OurBroker | ApacheKafka = (
        ApacheKafka(directory, PROPERTIES) if name == "kafka" else OurBroker(directory, PROPERTIES)
    )
    try:
        broker.start()
        address = Address.parse(broker.bootstrap)
        configs = {
            "cleanup.policy": "compact",
            "min.cleanable.dirty.ratio": "1",
            "compression.type": arguments.codec,
            "segment.bytes": str(arguments.segment_mb << 20),
        }
        served_topic(address, TOPIC, configs=configs)
        updates = Updates(arguments.keys)
        produce(address, TOPIC, updates.batches(arguments.updates))
        alter(broker.bootstrap, {"segment.ms": "1", "min.cleanable.dirty.ratio": "0.01"})
        produce(address, TOPIC, updates.batches(1))
        line = _KAFKA_LINE if name == "kafka" else _OUR_LINE
        wait_until(1800, f"{name} cleans the log", lambda: line.search(_of_topic(broker)))
        match = line.search(_of_topic(broker))
        assert match is not None
        return Cleaned(float(match[2 if name == "kafka" else 1].replace(",", "")), _bytes_after(broker, name))
    finally:
        remove(broker)


def alter(bootstrap: str, configs: Mapping[str, str]) -> None:
    entries = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in configs.items()]
    resource = ConfigResource(ResourceType.TOPIC, TOPIC, incremental_configs=entries)
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(30)


def _of_topic(broker: OurBroker | ApacheKafka) -> str:
    """Return what the broker has logged from the first line on that names the topic's cleaning."""
    text = broker.logs()
    at = text.find(f"cleaned log {TOPIC}-0")
    return text[max(at, 0) :] if isinstance(broker, OurBroker) or at >= 0 else ""


def _bytes_after(broker: OurBroker | ApacheKafka, name: str) -> int:
    """Return the size of the partition's closed segments."""
    root = broker.data_dir / "node1" / "data" if name == "kafka" else broker.data_dir
    segments = sorted((root / f"{TOPIC}-0").glob("*.log"))
    return sum(path.stat().st_size for path in segments[:-1])


def _print(arguments: argparse.Namespace, found: Mapping[str, list[Cleaned]]) -> int:
    print(f"{arguments.updates:,} updates of {arguments.keys:,} keys, {arguments.rounds} rounds, best of each")
    best = {name: min(rounds) for name, rounds in found.items() if rounds}
    for name, cleaned in best.items():
        rate = arguments.updates / max(cleaned.seconds, 0.05)
        size = cleaned.bytes_after / 1e6
        print(f"  {name:6} {cleaned.seconds:6.1f} s  {rate:12,.0f} updates/s  {size:8.1f} MB left")
    if "kafka" not in best:
        return 0
    ratio = best["kafka"].seconds / max(best["ours"].seconds, 0.05)
    print(f"  ratio  {ratio:.2f} (at least {BAR})")
    return 1 if arguments.check and ratio < BAR else 0

"""Kill a broker with SIGKILL under load (acks=1), start it again, and look for every record that it had acknowledged.

Each round goes on with the same data. After each, a consumer reads everything back, and a parser of this script's own
reads the segment files; in the end, after a clean stop, Apache Kafka's kafka-dump-log reads them and their indexes,
where java and Maven are there. The exit status is 1 if anything was lost, moved, repeated or unreadable.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from random import Random

from clients import Unavailable
from support.brokers import ApacheKafka, Failed, OurBroker
from support.connection import Address, Refused, served_topic, wait_until_served

from crash.load import Load
from crash.segments import dump
from crash.verify import compare, compare_files, read_back

TOPIC = "kill9"
SHOWN = 10


def main() -> int:
    arguments = _arguments()
    try:
        root = arguments.data_dir_root
        with tempfile.TemporaryDirectory(prefix="kill9-", dir=root, ignore_cleanup_errors=True) as folder:
            broker = _broker(arguments, Path(folder))
            try:
                complaints = run(broker, arguments)
            finally:
                broker.kill()
    except (Failed, Refused, Unavailable) as error:
        print(f"FAILED: {error}")
        return 1
    for complaint in complaints[:SHOWN]:
        print(f"FAILED: {complaint}")
    if len(complaints) > SHOWN:
        print(f"... and {len(complaints) - SHOWN} more")
    print("nothing acknowledged was lost" if not complaints else f"{len(complaints)} complaints")
    return 1 if complaints else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="kill9", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often it is killed (default 5)")
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=2.0, help="load before a kill, up to half more (default 2)")
    parser.add_argument("--segment-mb", type=float, default=4.0, help="segment.bytes of the topic (default 4)")
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--apache-kafka", action="store_true", help="do it to an Apache Kafka, to test this script")
    parser.add_argument("--kafka-port", type=int, help="its client port")
    parser.add_argument("--data-dir-root", type=Path, help="where data lies")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a property of the broker")
    parser.add_argument("--no-dump", action="store_true", help="without kafka-dump-log")
    return parser.parse_args()


def _broker(arguments: argparse.Namespace, folder: Path) -> OurBroker | ApacheKafka:
    properties: Mapping[str, str] = dict(setting.split("=", 1) for setting in arguments.set)
    if arguments.apache_kafka:
        ports = [arguments.kafka_port] if arguments.kafka_port else []
        return ApacheKafka(folder / "kafka", properties, ports=ports)
    return OurBroker(folder / "ours", properties)


def run(broker: OurBroker | ApacheKafka, arguments: argparse.Namespace) -> list[str]:
    """Do all rounds; return what is wrong. Stops at the first round that shows a fault."""
    rng = Random(arguments.seed)
    broker.start()
    configs = {"segment.bytes": str(int(arguments.segment_mb * (1 << 20)))}
    served_topic(Address.parse(broker.bootstrap), TOPIC, arguments.partitions, configs=configs)
    data_dir = _data_dir(broker)
    acknowledged: dict[tuple[int, int], bytes] = {}
    for round_number in range(arguments.rounds):
        load = Load(broker.bootstrap, TOPIC, arguments.partitions, round_number)
        load.run(arguments.seconds * (1 + rng.random() / 2), broker.kill)
        overlap = acknowledged.keys() & load.acknowledged.keys()
        complaints = [
            *load.complaints,
            *(f"{place} was acknowledged in two rounds" for place in sorted(overlap)[:SHOWN]),
        ]
        acknowledged.update(load.acknowledged)
        took = broker.start()
        wait_until_served(Address.parse(broker.bootstrap), TOPIC)
        started = time.monotonic()
        found, wrong = read_back(broker.bootstrap, TOPIC, arguments.partitions)
        complaints += wrong + compare(found, acknowledged) + compare_files(data_dir, TOPIC, found)
        print(
            f"round {round_number + 1}: {len(load.acknowledged)} acknowledged, {load.failed} not, "
            f"up again after {took:.2f} s, "
            f"{sum(map(len, found.values()))} records read back in {time.monotonic() - started:.1f} s",
            flush=True,
        )
        if not load.acknowledged:
            complaints.append("nothing was acknowledged")
        if complaints:
            return complaints
    return _after_stop(broker, data_dir, arguments)


def _after_stop(broker: OurBroker | ApacheKafka, data_dir: Path, arguments: argparse.Namespace) -> list[str]:
    status = broker.stop()
    complaints = [f"the broker ended with status {status}"] if status else []
    if isinstance(broker, OurBroker) and (bugs := broker.bugs_total()):
        complaints.append(f"bugs_total is {bugs}")
    if not arguments.no_dump:
        directories = [data_dir / f"{TOPIC}-{partition}" for partition in range(arguments.partitions)]
        try:
            complaints += dump(directories)
            print("kafka-dump-log read every segment and index")
        except Unavailable as error:
            print(f"kafka-dump-log was skipped: {error}", file=sys.stderr)
    return complaints


def _data_dir(broker: OurBroker | ApacheKafka) -> Path:
    if isinstance(broker, OurBroker):
        return broker.data_dir
    assert broker.cluster is not None
    return broker.cluster.nodes[0].data_dir

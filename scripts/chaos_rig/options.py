"""The command line of `scripts/chaos`."""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from attrs import frozen

from chaos_rig.faults import Kind

DESCRIPTION = """Hurt a cluster of three brokers at random under load, and look for everything it had acknowledged.

Each broker is a process of its own, in a network namespace of its own where that can be made. Load comes from
confluent-kafka and from Kafka's VerifiableProducer, on a topic with three replicas, while a consumer reads along;
a second topic is written in transactions, some of which are aborted.
At the end all is healed; then every acknowledged record must be where it was acknowledged, each once, nothing that was
aborted may ever have been read, and the replicas must hold the same bytes, which kafka-dump-log must be able to read.
The table says how long partitions took no writes after each kind of fault.
Exit status: 0 when all holds, 1 when something does not, 2 when it could not run.

  scripts/chaos --seconds 600 --store etcd
  scripts/chaos --against kafka --seconds 120
  scripts/chaos --seconds 60 --faults kill,stop --acks 1 --topic-config min.insync.replicas=1 \\
      --topic-config unclean.leader.election.enable=true --rate 1000    # must find lost writes
"""


@frozen
class Options:
    seconds: float
    seed: int
    faults: tuple[Kind, ...]
    against: str
    store: str
    partitions: int
    acks: str
    rate: float
    producers: int
    java: bool
    transactional: int
    dump: bool
    overlapping: float
    session_ms: int
    topic_configs: dict[str, str]
    properties: dict[str, str]
    data_dir_root: Path | None
    keep: bool
    namespaces: bool
    client_debug: str

    @property
    def session_s(self) -> float:
        return self.session_ms / 1000


def parse() -> Options:
    parser = argparse.ArgumentParser(
        prog="chaos", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--seconds", type=float, default=60, help="how long faults are made (default 60)")
    add("--seed", type=int, help="of the choice of faults (default: any, and it is printed)")
    add("--faults", default=",".join(Kind), help=f"which, of {', '.join(Kind)} (default: all)")
    add("--against", choices=("ours", "kafka"), default="ours", help="whose cluster (default: ours)")
    add("--store", choices=("sqlite", "etcd"), default="sqlite", help="our cluster's store (default: sqlite)")
    add("--partitions", type=int, default=6)
    add(
        "--acks", choices=("1", "all"), default="all", help="all (default): idempotent producers; 1: writes may be lost"
    )
    add("--rate", type=float, default=40, help="records a second, producer and partition (default 40)")
    add("--producers", type=int, default=2, help="of confluent-kafka (default 2)")
    add("--no-java", action="store_true", help="without the VerifiableProducer")
    add("--transactional", type=int, default=1, help="producers of transactions among them (default 1)")
    add("--no-dump", action="store_true", help="without kafka-dump-log")
    add("--overlapping", type=float, default=0.15, metavar="P", help="share of faults of two brokers at once (0.15)")
    add("--session-ms", type=int, default=9000, help="broker.session.timeout.ms of the cluster (default 9000)")
    add("--topic-config", action="append", default=[], metavar="NAME=VALUE", help="config of the topic (repeatable)")
    add("--set", action="append", default=[], metavar="NAME=VALUE", help="property of the brokers (repeatable)")
    add("--data-dir-root", type=Path, help="where data lies, e.g. on a tmpfs")
    add("--keep", action="store_true", help="keep data, logs and events even when nothing was wrong")
    add("--no-namespaces", action="store_true", help="run on loopback, without network partitions")
    add("--client-debug", default="eos", metavar="CONTEXTS", help="of librdkafka, e.g. eos,msg: into producer-N.log")
    found = parser.parse_args()
    try:
        faults = tuple(Kind(name) for name in found.faults.split(","))
    except ValueError as error:
        parser.error(str(error))
    properties = dict(setting.split("=", 1) for setting in found.set)
    return Options(
        seconds=found.seconds,
        seed=random.SystemRandom().randrange(1 << 31) if found.seed is None else found.seed,
        faults=faults,
        against=found.against,
        store=found.store,
        partitions=found.partitions,
        acks=found.acks,
        rate=found.rate,
        producers=found.producers,
        java=not found.no_java,
        transactional=found.transactional,
        dump=not found.no_dump,
        overlapping=found.overlapping,
        session_ms=found.session_ms,
        topic_configs={
            "min.insync.replicas": "2",
            "segment.bytes": str(8 << 20),
            "retention.ms": "-1",
            **dict(setting.split("=", 1) for setting in found.topic_config),
        },
        properties={"broker.session.timeout.ms": str(found.session_ms), **properties},
        data_dir_root=found.data_dir_root,
        keep=found.keep,
        namespaces=not found.no_namespaces,
        client_debug=found.client_debug,
    )

"""Send thousands of malformed frames to a broker while an ordinary client uses it.

Without --bootstrap a broker of ours is started, and its own counter of bugs must be 0 when it stops. The exit status
is 1 when the broker is gone, when the ordinary client was not served, when memory grew beyond --memory-mb, or when
bugs were counted.

--compare sends the same frames to Apache Kafka and prints, kind by kind, where the two react differently.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from fnmatch import fnmatch
from functools import partial
from itertools import takewhile
from pathlib import Path
from random import Random

from attrs import define, field
from clients import Unavailable
from support import frames
from support.brokers import ApacheKafka, Broker, Failed, OurBroker, Running
from support.connection import Address, Connection, Refused, known_brokers, served_topic, until_allowed

from hostile import batches, bodies, framing
from hostile.attack import Attack, Reaction
from hostile.kinds import TARGETS, Hostile, Kind
from hostile.siege import Siege
from hostile.witness import TOPIC, MemoryWatch, Witness

TARGET_CONFIGS: tuple[dict[str, str], ...] = (
    {},
    {"cleanup.policy": "compact"},
    {"message.timestamp.type": "LogAppendTime"},
    {"compression.type": "gzip"},
)
OUR_MEMORY_MB = 400
PATIENT_PARALLEL, PATIENT_S = 6, 5.0  # to compare reactions: a broker that is merely busy does not "wait"


@define
class Outcome:
    """What an attack on one broker came to."""

    reactions: list[Reaction]
    served_keys: set[int]
    complaints: list[str] = field(factory=list)


def main() -> int:
    arguments = _arguments()
    inputs = generate(arguments.frames, arguments.seed, arguments.only)
    print(f"{len(inputs)} inputs of {len({kind.name for kind, _ in inputs})} kinds, seed {arguments.seed}", flush=True)
    try:
        with tempfile.TemporaryDirectory(
            prefix="torture-", dir=arguments.data_dir_root, ignore_cleanup_errors=True
        ) as folder:
            outcomes = [_attack(broker, inputs, arguments) for broker in _brokers(arguments, Path(folder))]
    except (Failed, Refused, Unavailable) as error:
        print(error, file=sys.stderr)
        return 1
    if arguments.compare:
        print(difference(inputs, outcomes[0], outcomes[1], arguments.examples))
    complaints = outcomes[-1].complaints
    for complaint in complaints:
        print(f"FAILED: {complaint}")
    if not complaints:
        print("passed")
    return 1 if complaints else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="torture", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frames", type=int, default=12_000, help="how many (default 12000)")
    parser.add_argument("--seed", type=int, default=4, help="the same seed gives the same frames")
    parser.add_argument("--only", nargs="+", metavar="KIND", help="kinds or patterns, e.g. 'records:*'")
    parser.add_argument("--bootstrap", help="attack this running broker")
    parser.add_argument("--pid", type=int, help="its process, to watch its memory")
    parser.add_argument("--apache-kafka", action="store_true", help="attack an Apache Kafka that is started for it")
    parser.add_argument("--compare", action="store_true", help="attack Apache Kafka too, and print the differences")
    parser.add_argument("--examples", type=int, default=3, help="differing reactions shown per kind (default 3)")
    parser.add_argument("--kafka-port", type=int, help="client port of the Apache Kafka that is started")
    parser.add_argument("--no-siege", action="store_true", help="without idle, slow and deaf connections")
    parser.add_argument("--memory-mb", type=int, default=OUR_MEMORY_MB, help="what memory may grow by (default 400)")
    parser.add_argument("--data-dir-root", type=Path, help="where data lies")
    parser.add_argument("--reactions", type=Path, metavar="FILE", help="write number, kind and reaction of every input")
    return parser.parse_args()


def generate(count: int, seed: int, only: Sequence[str] | None = None) -> list[tuple[Kind, Hostile]]:
    """Return `count` inputs, kinds mixed in proportion to their weights; the same for the same arguments."""
    kinds = [*framing.framing_kinds(), *framing.header_kinds(), *bodies.kinds(), *batches.kinds()]
    if only:
        kinds = [kind for kind in kinds if any(fnmatch(kind.name, pattern) for pattern in only)]
    if not kinds:
        raise SystemExit("no such kind of input")
    rng = Random(seed)
    used: Counter[str] = Counter()
    chosen: list[Kind] = []
    while len(chosen) < count:
        open_kinds = [kind for kind in kinds if kind.at_most is None or used[kind.name] < kind.at_most]
        if not open_kinds:
            break
        for kind in rng.choices(open_kinds, [kind.weight for kind in open_kinds], k=min(64, count - len(chosen))):
            if kind.at_most is None or used[kind.name] < kind.at_most:
                used[kind.name] += 1
                chosen.append(kind)
    return [(kind, kind.make(rng)) for kind in chosen]


def _brokers(arguments: argparse.Namespace, folder: Path) -> list[Broker]:
    """Return what is attacked, the one that is judged last."""
    if arguments.bootstrap:
        judged: Broker = Running("the broker", arguments.bootstrap, [arguments.pid] if arguments.pid else [])
    elif arguments.apache_kafka:
        judged = _kafka(arguments, folder)
    else:
        judged = OurBroker(folder / "ours")
    return [_kafka(arguments, folder), judged] if arguments.compare else [judged]


def _kafka(arguments: argparse.Namespace, folder: Path) -> Broker:
    return ApacheKafka(folder / "kafka", ports=[arguments.kafka_port] if arguments.kafka_port else [])


def _attack(broker: Broker, inputs: list[tuple[Kind, Hostile]], arguments: argparse.Namespace) -> Outcome:
    """Start what is to be attacked, attack it, and gather what there is to complain of."""
    if not isinstance(broker, Running):
        broker.start()
    try:
        outcome = _attack_started(broker, inputs, arguments)
    finally:
        status = broker.stop()
    if isinstance(broker, OurBroker):
        if status != 0:
            outcome.complaints.append(f"the broker ended with status {status}")
        if bugs := broker.bugs_total():
            outcome.complaints.append(f"bugs_total is {bugs}; the first of them:\n{_first_traceback(broker.logs())}")
    if arguments.reactions:
        lines = [f"{reaction.number}\t{reaction.kind}\t{reaction.text}\n" for reaction in outcome.reactions]
        arguments.reactions.write_text("".join(lines))
    return outcome


def _first_traceback(log: str) -> str:
    before, _, after = log.partition("Traceback (most recent call last)")
    trace = list(takewhile(lambda line: not line[:4].isdigit(), after.splitlines()[1:]))
    return "\n".join([*(line[:300] for line in before.splitlines()[-1:]), *trace])


def _attack_started(broker: Broker, inputs: list[tuple[Kind, Hostile]], arguments: argparse.Namespace) -> Outcome:
    address = Address.parse(broker.bootstrap)
    prepare(address)
    with Connection(address) as connection:
        served = connection.served_keys()
    witness, memory = Witness(address), MemoryWatch(broker.pids)
    witness.start()
    memory.start()
    attack = Attack(address, PATIENT_PARALLEL, PATIENT_S) if arguments.compare else Attack(address)
    # With its stock heap of 1 GB Apache Kafka runs out of memory when ten clients announce requests of 100 MB.
    with_siege = not arguments.no_siege and not isinstance(broker, ApacheKafka)
    started = time.monotonic()
    asyncio.run(_under_siege(attack, inputs, with_siege=with_siege))
    took = time.monotonic() - started
    witness.stop()
    memory.stop()
    print(
        f"{broker.name}: {len(attack.reactions)} inputs in {took:.1f} s, "
        f"{attack.refused_connections} connections refused"
    )
    print(
        f"  the ordinary client was served {witness.served} times, the longest took {witness.longest_s * 1000:.0f} ms"
    )
    if broker.pids:
        before, peak = memory.before / 1e6, memory.peak / 1e6
        print(f"  memory: {before:.0f} MB before, {peak:.0f} MB at most", flush=True)
    outcome = Outcome(attack.reactions, served)
    if witness.complaint:
        outcome.complaints.append(f"the ordinary client was not served {witness.complaint}")
    if memory.peak - memory.before > arguments.memory_mb * 1e6:
        outcome.complaints.append(f"memory grew by more than {arguments.memory_mb} MB")
    if not known_brokers(address):
        outcome.complaints.append(f"the broker does not answer any more:\n{broker.logs()[-3000:]}")
    return outcome


async def _under_siege(attack: Attack, inputs: list[tuple[Kind, Hostile]], *, with_siege: bool) -> None:
    siege = Siege(attack.address, TOPIC)
    if with_siege:
        await siege.start()
    try:
        await attack.run(inputs)
    finally:
        await siege.stop()


def prepare(address: Address) -> None:
    """Create the topics that are attacked, each with a record in it."""
    for topic, configs in zip(TARGETS, TARGET_CONFIGS, strict=True):
        leader = served_topic(address, topic, configs=configs)[0]
        with Connection(leader) as connection:
            keyed = frames.batch(frames.record(0, b"first", key=b"key"), 1)
            connection.produce(frames.produce_request(topic, 0, keyed))
    with Connection(address) as connection:
        until_allowed(partial(connection.find_coordinator, "torture-group"))


def difference(inputs: list[tuple[Kind, Hostile]], kafka: Outcome, ours: Outcome, examples: int) -> str:
    """Return, for each kind, how many reactions differ and the most frequent pairs.

    Requests that only one of the two serves are counted in a line of their own.
    """
    pairs: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    first: dict[tuple[str, str, str], int] = {}
    totals: Counter[str] = Counter()
    unserved = kafka.served_keys ^ ours.served_keys
    left_out = 0
    for theirs, mine in zip(kafka.reactions, ours.reactions, strict=True):
        if inputs[theirs.number][1].key in unserved:
            left_out += 1
            continue
        totals[theirs.kind] += 1
        if theirs.text != mine.text:
            pairs[theirs.kind][theirs.text, mine.text] += 1
            first.setdefault((theirs.kind, theirs.text, mine.text), theirs.number)
    lines = []
    for kind, counted in sorted(pairs.items()):
        lines.append(f"{kind}: {counted.total()} of {totals[kind]} differ")
        for (theirs_text, our_text), count in counted.most_common(examples):
            hostile = inputs[first[kind, theirs_text, our_text]][1]
            lines.append(f"  {count} x Apache Kafka: {theirs_text} | ours: {our_text}")
            lines.append(f"      key {hostile.key} version {hostile.version}: {hostile.payload[:60].hex()}")
    same = totals.total() - sum(counted.total() for counted in pairs.values())
    lines.append(f"{same} of {totals.total()} reactions are the same")
    lines.append(f"{left_out} inputs were left out: only one of the two serves the keys {sorted(unserved)}")
    return "\n".join(lines)

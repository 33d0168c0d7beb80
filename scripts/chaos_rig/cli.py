"""`scripts/chaos`: start a cluster, hurt it under load for a time, verify. options.py has the command line."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from random import Random

from apache_kafka import start_cluster
from attrs import define
from clients import Unavailable
from cluster import Cluster, Place
from our_cluster import start_our_cluster
from support import kafka_tools
from support.connection import Address, Refused, served_topic
from support.etcd import Etcd

from chaos_rig import network, verify
from chaos_rig.events import Events
from chaos_rig.faults import Cut, Kind, plan
from chaos_rig.gaps import summarise, table
from chaos_rig.injector import STORE, Hurt, Injector
from chaos_rig.load import (
    CODECS,
    JavaProducer,
    NativeProducer,
    Reader,
    Recorder,
    Worker,
    client_log,
    native_settings,
)
from chaos_rig.network import Network
from chaos_rig.options import Options, parse
from chaos_rig.rebalance import Rebalance
from chaos_rig.sent_again import raised_epochs, sent_again
from chaos_rig.transactions import TransactionalProducer, TransactionRecorder, read_committed

TOPIC, TRANSACTIONS = "chaos", "chaos-transactions"
BROKERS = 3
WARM_UP_S = 3.0
KILL_BAR_S, STOP_BAR_S, AFTER_SESSION_S = 3.0, 1.0, 3.0


def main() -> int:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if options.namespaces and not network.is_entered() and _may_enter(options):
        sys.stdout.flush()
        network.enter()
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir=options.data_dir_root))
    events = Events(folder / "events.jsonl")
    command = " ".join(sys.argv[1:])
    events.write("start", seed=options.seed, against=options.against, store=options.store, command=command)
    status = 2
    try:
        complaints = run(options, folder, events)
        status = 1 if complaints else 0
    except (Unavailable, network.NoNetwork, Refused, OSError) as error:
        print(f"FAILED: {error}", file=sys.stderr)
    if status or options.keep:
        print(f"seed {options.seed}; events, logs and data are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return status


def _may_enter(options: Options) -> bool:
    """Say whether there can be a network of our own; where not, say so loudly."""
    why = network.why_not()
    if why:
        lost = "; NO NETWORK PARTITIONS are made" if Kind.PARTITION in options.faults else ""
        print(f"WARNING: {why}{lost}, everything runs on loopback", file=sys.stderr, flush=True)
    return not why


@define
class Stage:
    """Where the run takes place: the cluster, and the network where there is one."""

    cluster: Cluster
    network: Network | None
    cuts: tuple[Cut, ...]
    kinds: tuple[Kind, ...]

    @property
    def hosts(self) -> Mapping[int, str]:
        return {node.id: f"broker{node.id}" for node in self.cluster.nodes}


@contextmanager
def _stage(options: Options, folder: Path) -> Iterator[Stage]:
    hosts = [f"broker{number}" for number in range(1, BROKERS + 1)]
    own = Network.create([*hosts, STORE]) if network.is_entered() else None
    places = [own.place(host) for host in hosts] if own is not None else []
    etcd = None
    try:
        if options.against == "kafka":
            cluster: Cluster = start_cluster(
                folder / "kafka", nodes=BROKERS, places=places, properties=options.properties
            )
            cuts = (Cut.BROKERS, Cut.ONE_BROKER, Cut.FROM_BROKERS, Cut.TO_BROKERS, Cut.ALL)
        else:
            if options.store == "etcd":
                etcd = Etcd.start(folder / "etcd", own.place(STORE) if own is not None else Place())
            cluster = start_our_cluster(
                folder / "ours",
                nodes=BROKERS,
                places=places,
                properties=options.properties,
                store=etcd.url if etcd is not None else None,
            )
            cuts = (Cut.BROKERS, Cut.ONE_BROKER, Cut.FROM_BROKERS, Cut.TO_BROKERS)
            # Where the store is a file, no packet goes there: a broker stays what it was, only nobody can reach it.
            cuts += (Cut.STORE, Cut.ALL) if etcd is not None else ()
        with cluster:
            kinds = tuple(kind for kind in options.faults if own is not None or kind is not Kind.PARTITION)
            yield Stage(cluster, own, cuts, kinds)
    finally:
        if etcd is not None:
            etcd.stop()


def run(options: Options, folder: Path, events: Events) -> list[str]:
    """Do it all; return what is wrong. Raises: Unavailable, NoNetwork, Refused."""
    if options.java:
        kafka_tools.tools()  # they are there before anything is started
    with _stage(options, folder) as stage:
        cluster = stage.cluster
        events.write("cluster", name=cluster.name, bootstrap=cluster.bootstrap, pids=cluster.pids)
        for topic in (TOPIC, TRANSACTIONS):
            served_topic(
                Address.parse(cluster.bootstrap),
                topic,
                options.partitions,
                replication_factor=BROKERS,
                configs=options.topic_configs,
            )
        recorder, transactions = Recorder(), TransactionRecorder()
        workers = _workers(options, cluster, recorder, folder) + _transactional(options, cluster, transactions)
        for worker in workers:
            worker.start()
        injector = Injector(cluster, TOPIC, events, stage.network, stage.hosts, Rebalance(cluster.bootstrap))
        complaints = _hurt(options, stage, injector, events, recorder)
        for worker in workers:
            worker.end()
        for worker in workers:
            worker.join()
        complaints += recorder.complaints + transactions.complaints
        complaints += _check_transactions(options, cluster, transactions, events)
        complaints += _verify(options, cluster, recorder, folder, events)
    complaints += _report(options, injector, recorder, events)
    print(verify.shown(complaints) or "nothing acknowledged was lost, no replica differs")
    return complaints


def _workers(options: Options, cluster: Cluster, recorder: Recorder, folder: Path) -> list[Worker]:
    rng = Random(options.seed)
    workers: list[Worker] = []
    for number in range(1, options.producers + 1):
        codec = rng.choice(CODECS)
        settings = native_settings(cluster.bootstrap, acks=options.acks, codec=codec, debug=options.client_debug)
        log = client_log(folder / f"producer-{number}.log") if options.client_debug else None
        workers.append(NativeProducer(recorder, settings, TOPIC, options.partitions, options.rate, log))
    if options.java:
        rate = int(options.rate * options.partitions)
        workers.append(JavaProducer(recorder, folder, cluster.bootstrap, options.acks, TOPIC, rate))
    workers.append(Reader(recorder, cluster.bootstrap, TOPIC, options.partitions))
    return workers


def _transactional(options: Options, cluster: Cluster, recorder: TransactionRecorder) -> list[Worker]:
    settings = native_settings(cluster.bootstrap, acks="all", codec="none")
    workers: list[Worker] = [
        TransactionalProducer(
            recorder, settings, TRANSACTIONS, options.partitions, options.rate, Random(options.seed + number)
        )
        for number in range(options.transactional)
    ]
    if workers:
        workers.append(Reader(recorder, cluster.bootstrap, TRANSACTIONS, options.partitions))
    return workers


def _check_transactions(options: Options, cluster: Cluster, recorder: TransactionRecorder, events: Events) -> list[str]:
    if not options.transactional:
        return []
    final, ends, wrong = read_committed(cluster.bootstrap, TRANSACTIONS, options.partitions)
    history = recorder.history
    events.write(
        "read what is committed",
        transactions=len(history.transactions),
        committed=history.committed,
        aborted_by_error=recorder.aborted_by_error,
        records=sum(map(len, final.values())),
    )
    wrong += [] if history.committed else ["no transaction was committed"]
    wrong += [f"in transactions: {violation}" for violation in history.check(final, ends)]
    return wrong


def _hurt(options: Options, stage: Stage, injector: Injector, events: Events, recorder: Recorder) -> list[str]:
    """Do faults until the time is over; return what went wrong with the cluster itself."""
    time.sleep(WARM_UP_S)
    deadline = time.monotonic() + options.seconds
    steps = plan(options.seed, stage.kinds, stage.cuts, session_s=options.session_s, overlapping=options.overlapping)
    complaints = []
    while time.monotonic() < deadline and not complaints:
        try:
            injector.run(next(steps))
        except Hurt as hurt:
            complaints.append(str(hurt))
    try:
        injector.settle()
    except Hurt as hurt:
        complaints.append(str(hurt))
    events.write("healed for good", acknowledged=recorder.history.acknowledgements)
    time.sleep(WARM_UP_S)
    return complaints


def _verify(options: Options, cluster: Cluster, recorder: Recorder, folder: Path, events: Events) -> list[str]:
    events.write("verify", acknowledged=recorder.history.acknowledgements, failed=dict(recorder.failed))
    wrong, found, records = verify.check_history(
        cluster, TOPIC, options.partitions, recorder.history, idempotent=options.acks == "all"
    )
    wrong += [] if recorder.history.acknowledgements else ["nothing was acknowledged"]
    events.write("read back", records=records)
    ends = {}
    for topic in (TOPIC, TRANSACTIONS):
        wrong += verify.check_replicas(cluster, topic, options.partitions)
        ends[topic] = verify.high_watermarks(cluster, topic)
        events.write("compared replicas", topic=topic, high_watermarks=ends[topic])
    reasons = raised_epochs(sorted(folder.glob("producer-*.log")))
    directories = {each: cluster.nodes[0].data_dir / f"{TOPIC}-{each}" for each in range(options.partitions)}
    again = sent_again(found, directories, ends[TOPIC], reasons)
    if again:
        events.write("a client raised its epoch and sent again", records=len(again), reasons=reasons)
    wrong += [str(violation) for violation in found if violation not in again]
    wrong += verify.check_stop(cluster)
    for topic, its_ends in ends.items():
        wrong += verify.check_files(cluster, topic, its_ends)
    if options.dump:
        try:
            for topic in ends:
                wrong += verify.check_dump(cluster, topic, options.partitions, events)
        except Unavailable as error:
            print(f"WARNING: kafka-dump-log was skipped: {error}", file=sys.stderr)
    for complaint in wrong:
        events.write("violation", quiet=True, text=complaint)
    return wrong


def _report(options: Options, injector: Injector, recorder: Recorder, events: Events) -> list[str]:
    """Print the table; return the bars that were missed. Apache Kafka is measured the same way, but has no bars."""
    bars = _bars(options) if options.against == "ours" else {}
    summaries = summarise(injector.measured, recorder.times, bars)
    for summary in summaries:
        events.write("measured", quiet=True, kind=summary.kind, gaps=[round(gap, 3) for gap in summary.gaps])
    print(f"\n{table(summaries)}\n")
    return [
        f"{summary.kind}: {summary.worst:.2f} s without writes, at most {summary.bar_s:g} s are allowed"
        for summary in summaries
        if not summary.holds
    ]


def _bars(options: Options) -> dict[str, float | None]:
    after_session = options.session_s + AFTER_SESSION_S
    return {
        Kind.KILL: KILL_BAR_S,
        Kind.STOP: STOP_BAR_S,
        Kind.BOUNCE: STOP_BAR_S,
        Kind.FREEZE: after_session,
        f"{Kind.PARTITION}: {Cut.STORE}": after_session,
        f"{Kind.PARTITION}: {Cut.ALL}": after_session,
    }

"""Run a cluster with very many partitions, and see how long it takes to tell all brokers of a change, and to fail over.

After the topics are made, small ones are created one by one: the time from sending CreateTopics until every broker's
Metadata shows the topic with its leader. Then the broker that leads the most partitions is killed with SIGKILL: the
time until both others show another leader for each of them, and until each has taken a write with acks=all.

  scripts/cluster_scale
  scripts/cluster_scale --against kafka --partitions 3000
"""

from __future__ import annotations

import argparse
import struct
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import cluster_state
from attrs import define, field
from clients import Unavailable
from cluster import Cluster, Node
from support import frames
from support.brokers import ApacheKafka, ClusterBroker, Failed, OurBrokers, last_lines, rss_bytes
from support.connection import Address, Connection, Reader, Refused

BROKERS = 3
PER_TOPIC = 1000
KNOWN_BAR_S, FAILOVER_BAR_S = 1.0, 10.0
TIMEOUT_S = 300.0
FAILOVER_TIMEOUT_S = 60.0
SLOW_ASK_S = 60.0
IN_FLIGHT = 100
VALUE = frames.batch_of([b"after the failover"])


def main() -> int:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(
        prefix="cluster-scale-", dir=arguments.data_dir_root, ignore_cleanup_errors=True
    ) as folder:
        make = ApacheKafka if arguments.against == "kafka" else OurBrokers
        broker = make(Path(folder) / "data", {}, BROKERS)
        try:
            broker.start()
            return Scale(broker, arguments.partitions, arguments.changes).run(has_bars=arguments.against == "ours")
        except (Failed, Refused, Unavailable, OSError) as error:
            print(f"FAILED: {error}", file=sys.stderr)
            print(last_lines(broker.logs()), file=sys.stderr)
            return 2
        finally:
            broker.kill()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="cluster_scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--partitions", type=int, default=10_000, help="with three replicas each (default 10000)")
    parser.add_argument("--changes", type=int, default=20, help="small topics that are created (default 20)")
    parser.add_argument("--against", choices=("ours", "kafka"), default="ours")
    parser.add_argument("--data-dir-root", type=Path, help="where data lies, e.g. on a tmpfs")
    return parser.parse_args()


@define
class Scale:
    """One run. `missed` collects the bars that do not hold."""

    broker: ClusterBroker
    partitions: int
    changes: int
    missed: list[str] = field(factory=list)

    @property
    def cluster(self) -> Cluster:
        return self.broker.running

    def run(self, *, has_bars: bool) -> int:
        started = time.monotonic()
        topics = self._create()
        self.cluster.wait_in_sync()
        memory = rss_bytes(self.broker.pids) / 1e6
        self._row(f"{self.partitions} partitions created and in sync", time.monotonic() - started, None)
        print(f"memory of the {BROKERS} brokers: {memory:,.0f} MB", flush=True)
        taken = [self._known_everywhere(f"small-{number}") for number in range(self.changes)]
        self._row("a new topic known to all brokers, median", median(taken), None)
        self._row("the same, worst", max(taken), KNOWN_BAR_S if has_bars else None)
        self._fail_over(topics, FAILOVER_BAR_S if has_bars else None)
        for line in self.missed:
            print(f"missed: {line}", file=sys.stderr)
        return 1 if self.missed else 0

    def _row(self, what: str, seconds: float, bar: float | None) -> None:
        print(f"{what}: {seconds:.2f} s{'' if bar is None else f', must be < {bar:g} s'}", flush=True)
        if bar is not None and seconds >= bar:
            self.missed.append(f"{what}: {seconds:.2f} s, must be < {bar:g} s")

    def _create(self) -> list[str]:
        topics = []
        left = self.partitions
        with Connection(Address.parse(self.broker.bootstrap), TIMEOUT_S) as connection:
            while left:
                count = min(PER_TOPIC, left)
                topics.append(f"many-{len(topics)}")
                connection.create_topics({topics[-1]: count}, replication_factor=BROKERS)
                left -= count
        return topics

    def _known_everywhere(self, topic: str) -> float:
        with Connection(Address.parse(self.broker.bootstrap), TIMEOUT_S) as connection:
            started = time.monotonic()
            connection.ask(frames.create_topics_request({topic: 1}, replication_factor=BROKERS))
        waiting = list(self.cluster.nodes)
        while waiting:
            waiting = [node for node in waiting if not _knows(node, topic)]
            if time.monotonic() - started > TIMEOUT_S:
                raise Refused(f"brokers {[node.id for node in waiting]} do not know {topic}")
        return time.monotonic() - started

    def _fail_over(self, topics: Sequence[str], bar: float | None) -> None:
        led = self._led(topics)
        victim = max(led, key=lambda broker: len(led[broker]))
        lost = set(led[victim])
        started = time.monotonic()
        self.cluster.kill(victim)
        left = [node for node in self.cluster.nodes if node.id != victim]
        leaders: dict[tuple[str, int], int] = {}
        for node in left:
            while True:
                leaders = _leaders(node, topics)
                left_over = {p for p in lost if leaders.get(p, victim) in (victim, cluster_state.NO_LEADER)}
                if not left_over:
                    break
                if time.monotonic() - started > FAILOVER_TIMEOUT_S:
                    shown = ", ".join(f"{place} led by {leaders.get(place)}" for place in sorted(left_over)[:3])
                    raise Refused(f"broker {node.id} shows no new leader for {len(left_over)} partitions: {shown}")
                time.sleep(0.1)
        what = f"the broker that leads {len(lost)} partitions killed"
        self._row(f"{what}, both others show new leaders for all", time.monotonic() - started, None)
        self._write_all(lost, leaders)
        self._row(f"{what}, all take writes", time.monotonic() - started, bar)

    def _led(self, topics: Sequence[str]) -> dict[int, list[tuple[str, int]]]:
        """Return the partitions of these topics by their leaders."""
        led = defaultdict(list)
        state = self.cluster.state(topics)
        for each in state.partitions if state is not None else ():
            led[each.leader].append((each.topic, each.partition))
        return led

    def _write_all(self, places: set[tuple[str, int]], leaders: dict[tuple[str, int], int]) -> None:
        """Write a record to each partition; those that refuse it are tried again. Raises: Refused."""
        deadline = time.monotonic() + TIMEOUT_S
        by_leader = defaultdict(set)
        for place in places:
            by_leader[leaders[place]].add(place)
        for leader, led in by_leader.items():
            node, left = self.cluster.node(leader), led
            with Connection(Address(node.place.host, node.port), TIMEOUT_S) as connection:
                while left:
                    left = {place for place, code in _write(connection, sorted(left)) if code}
                    if left and time.monotonic() > deadline:
                        raise Refused(f"{len(left)} partitions take no writes, {min(left)} for one")


def _knows(node: Node, topic: str) -> bool:
    state = cluster_state.ask(node.place.host, node.port, [topic])
    return state is not None and any(each.leader != cluster_state.NO_LEADER for each in state.partitions)


def _leaders(node: Node, topics: Sequence[str]) -> dict[tuple[str, int], int]:
    state = cluster_state.ask(node.place.host, node.port, topics, SLOW_ASK_S)
    return {(each.topic, each.partition): each.leader for each in state.partitions} if state is not None else {}


def _write(connection: Connection, places: Sequence[tuple[str, int]]) -> list[tuple[tuple[str, int], int]]:
    """Return the error code with which each partition answered a record; IN_FLIGHT requests are under way at once."""
    found = []
    for start in range(0, len(places), IN_FLIGHT):
        some = places[start : start + IN_FLIGHT]
        connection.socket.sendall(
            b"".join(frames.produce_request(topic, index, VALUE, acks=-1, timeout_ms=5000) for topic, index in some)
        )
        for place in some:
            reader = Reader(connection.receive(), struct.calcsize(">ib"))
            reader.count()
            reader.string()
            reader.count()
            _, error_code = reader.unpack(">ih")
            found.append((place, error_code))
    return found

"""What is looked at once a cluster is whole again: the history, the replicas' bytes, the segments, the stop.

Rules: replicas are compared when no producer is left, so that their logs come to rest; what they hold below the high
    watermark of the leader is what counts, and they get REST_S to get there.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster import Cluster
from crash.segments import check_partition, dump
from crash.verify import read_back
from our_cluster import OurCluster, Uncounted
from support.connection import Address, Connection, Refused

from chaos_rig.events import Events
from chaos_rig.history import History, Violation
from chaos_rig.injector import JVM_STATUS
from chaos_rig.replicas import compare_replicas

REST_S = 20.0
SHOWN = 5


def check_history(
    cluster: Cluster, topic: str, partitions: int, history: History, *, idempotent: bool
) -> tuple[list[str], list[Violation], int]:
    """Read all partitions back; return what went wrong, what is wrong with the history, and the number of records."""
    logs, wrong = read_back(cluster.bootstrap, topic, partitions)
    return wrong, history.check(logs, idempotent=idempotent), sum(map(len, logs.values()))


def high_watermarks(cluster: Cluster, topic: str) -> dict[int, int]:
    """Ask the leaders. Raises: Refused."""
    with Connection(Address.parse(cluster.bootstrap)) as connection:
        leaders = connection.leaders(topic)
    found = {}
    for partition, leader in leaders.items():
        with Connection(leader) as connection:
            found[partition] = connection.end_offset(topic, partition)
    return found


def check_replicas(cluster: Cluster, topic: str, partitions: int) -> list[str]:
    """Compare all replicas while the cluster runs."""
    deadline = time.monotonic() + REST_S
    while True:
        try:
            wrong = _compare(cluster, topic, high_watermarks(cluster, topic))
        except (Refused, OSError) as error:
            wrong = [f"the high watermarks are not to be had: {error}"]
        if not wrong or time.monotonic() > deadline:
            return wrong
        time.sleep(0.5)


def check_files(cluster: Cluster, topic: str, ends: Mapping[int, int]) -> list[str]:
    """Look at the files of a cluster that has stopped: replicas, checksums, offsets without gaps."""
    wrong = _compare(cluster, topic, ends)
    for node in cluster.nodes:
        for partition, end in ends.items():
            found, complaints = check_partition(node.data_dir / f"{topic}-{partition}")
            wrong += [f"broker {node.id}: {topic}-{partition}/{complaint}" for complaint in complaints]
            if found < end:
                wrong.append(f"broker {node.id}: the files of {topic}-{partition} end at {found}, not at {end}")
    return wrong


def check_stop(cluster: Cluster) -> list[str]:
    """Stop every broker: how it ends, and how many bugs it counted."""
    statuses = cluster.stop()
    wrong = [
        f"broker {broker} ended with status {status}"
        for broker, status in statuses.items()
        if status not in (0, JVM_STATUS)
    ]
    if isinstance(cluster, OurCluster):
        try:
            if bugs := cluster.bugs_total():
                wrong.append(f"bugs_total is {bugs}")
        except Uncounted as error:
            wrong.append(str(error))
    return wrong


def check_dump(cluster: Cluster, topic: str, partitions: int, events: Events) -> list[str]:
    """Run kafka-dump-log over the replicas of each broker, and over every record of the first one's, as the others
    hold the same bytes. Raises: Unavailable.
    """
    wrong = []
    for node in cluster.nodes:
        directories = [node.data_dir / f"{topic}-{partition}" for partition in range(partitions)]
        lines = dump(directories, deep=node is cluster.nodes[0])
        wrong += [f"broker {node.id}: kafka-dump-log: {line}" for line in lines]
    events.write("kafka-dump-log read every segment and index of all replicas")
    return wrong


def _compare(cluster: Cluster, topic: str, ends: Mapping[int, int]) -> list[str]:
    return [
        f"{topic}-{partition}: {complaint}"
        for partition, end in sorted(ends.items())
        for complaint in compare_replicas(_directories(cluster, topic, partition), end)
    ]


def _directories(cluster: Cluster, topic: str, partition: int) -> dict[int, Path]:
    return {node.id: node.data_dir / f"{topic}-{partition}" for node in cluster.nodes}


def shown(complaints: Sequence[str]) -> str:
    """Return the first few complaints of each kind, which is what stands before the first colon, with their number."""
    by_kind: dict[str, list[str]] = {}
    for complaint in complaints:
        by_kind.setdefault(complaint.partition(":")[0], []).append(complaint)
    lines = []
    for kind, each in by_kind.items():
        lines += [f"FAILED: {complaint}" for complaint in each[:SHOWN]]
        lines += [f"        ... {len(each)} times {kind}"] if len(each) > SHOWN else []
    return "\n".join(lines)
